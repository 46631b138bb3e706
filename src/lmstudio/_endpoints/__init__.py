"""Each endpoint of the protocol, declared once, for the client and for the embedded server.

An endpoint is a name and the types on each side. The submodules hold the declarations, one per namespace; importing one
imports the generated structs of that namespace, so they are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

P = TypeVar("P")
"""Parameter, or creation parameter, as sent by the client. None is void."""
R = TypeVar("R")
"""Result of an rpc."""
InT = TypeVar("InT")
"""Packets to the client."""
OutT = TypeVar("OutT")
"""Packets to the server."""

Decode = Callable[["bytes | msgspec.Raw"], Any]


def _decoder(packet_type: Any, omissible: Mapping[str, str] | None = None) -> Decode:
    decode = msgspec.json.Decoder(packet_type).decode
    if not omissible:
        return decode

    def decode_with_omissions(data: bytes | msgspec.Raw) -> Any:
        try:
            return decode(data)
        except msgspec.ValidationError:
            packet = msgspec.json.decode(data)
            member = omissible.get(str(packet.get("type"))) if isinstance(packet, dict) else None
            if member is None or member in packet:
                raise
            return decode(msgspec.json.encode({**packet, member: None}))

    return decode_with_omissions


class Rpc(Generic[P, R]):
    """One request/response endpoint.

    The types are given as values (`list[LlmInstanceInfo]`, `X | None`); None where the wire has nothing at all.
    """

    def __init__(
        self, name: str, parameter: Any, returns: Any, essentials: tuple[str, ...] = (), *, is_read: bool = False
    ) -> None:
        self.name = name
        self.parameter_type = parameter
        self.result_type = returns
        self.essentials = essentials
        """Members without which a result is not used: see `_lenient.Essentials`."""
        self.is_read = is_read
        """It changes nothing on the server and costs little: a client may send it again when the connection is lost."""

    # Decoders are built on first use: building all of them costs more than importing the package.
    @cached_property
    def decode_parameter(self) -> Callable[[bytes | msgspec.Raw], P]:
        """Server side."""
        return _decoder(self.parameter_type)

    @cached_property
    def decode_result(self) -> Callable[[bytes | msgspec.Raw], R]:
        """Client side."""
        return _decoder(self.result_type)

    def __repr__(self) -> str:
        return f"Rpc({self.name!r})"


class ChannelSpec(Generic[P, InT, OutT]):
    """One streaming endpoint. Packet types are tagged unions, or None where nothing flows that way."""

    def __init__(
        self,
        name: str,
        parameter: Any,
        to_client: Any,
        to_server: Any,
        essentials: tuple[str, ...] = (),
        *,
        omissible: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.parameter_type = parameter
        self.to_client_type = to_client
        self.to_server_type = to_server
        self.essentials = essentials
        """Members without which a packet to the client is not used: see `_lenient.Essentials`."""
        self.omissible = omissible
        """Members of packets to the server, by the types of these, that senders leave out where they mean nothing.

        They are any JSON, so the schema does not say that they may be `undefined` in JavaScript.
        """

    @cached_property
    def decode_parameter(self) -> Callable[[bytes | msgspec.Raw], P]:
        """Server side."""
        return _decoder(self.parameter_type)

    @cached_property
    def decode_to_client(self) -> Callable[[bytes | msgspec.Raw], InT]:
        """Client side."""
        return _decoder(self.to_client_type)

    @cached_property
    def decode_to_server(self) -> Callable[[bytes | msgspec.Raw], OutT]:
        """Server side."""
        return _decoder(self.to_server_type, self.omissible)

    def __repr__(self) -> str:
        return f"ChannelSpec({self.name!r})"
