"""The messages that travel inside WebSocket text frames, in both directions.

Shared by the client and the embedded server. Payloads stay encoded (`msgspec.Raw`): whoever consumes a message decodes
its payload with the type of its endpoint.
"""

from __future__ import annotations

import base64
import json
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from . import _lenient
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ABSENT = msgspec.Raw()
"""The payload of a message whose parameter or result is void: the member is left out, never null."""

LONG_BYTES = 64 * 1024
"""A payload above this is not copied into its message."""
_BASE64_INPUT_BYTES = 48 * 1024  # becomes 64 KiB; divisible by three, so that padding comes at the end only


class LongText(msgspec.Struct, frozen=True):
    """Encoded JSON in parts that are not joined before they leave: a payload, or the message around it."""

    parts: Iterable[bytes]
    """Taken once, one at a time while they are sent; taking one must not fail."""
    size_bytes: int
    """Of all parts together."""

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


Payload: TypeAlias = msgspec.Raw | LongText
Outgoing: TypeAlias = bytes | LongText
"""A message as it waits for the writer."""


class _Message(msgspec.Struct, tag_field="type", rename="camel", omit_defaults=True, gc=False):
    """Base of all messages: no reference cycles are possible, so the garbage collector need not track them."""


# Both directions -----------------------------------------------------------------------------------------------------


class CommunicationWarning(_Message, tag="communicationWarning"):
    """One side could not make sense of something. Informational only."""

    warning: str = ""
    kind: str | None = None


class ChannelSend(_Message, tag="channelSend"):
    """A packet of an open channel."""

    channel_id: int
    message: msgspec.Raw = ABSENT
    ack_id: int | None = None


class ChannelAck(_Message, tag="channelAck"):
    """Vestigial: nobody waits for it."""

    channel_id: int
    ack_id: int


# Client to server ----------------------------------------------------------------------------------------------------


class KeepAlive(_Message, tag="keepAlive"):
    """Answered by KeepAliveAck."""


class ChannelCreate(_Message, tag="channelCreate"):
    """Opens a channel; the client chooses the id."""

    endpoint: str
    channel_id: int
    creation_parameter: msgspec.Raw = ABSENT


class RpcCall(_Message, tag="rpcCall"):
    """Answered by exactly one RpcResult or RpcError with the same id."""

    endpoint: str
    call_id: int
    parameter: msgspec.Raw = ABSENT


class SignalSubscribe(_Message, tag="signalSubscribe"):
    """No public namespace has signals; a server refuses it with SignalError."""

    endpoint: str
    subscribe_id: int
    creation_parameter: msgspec.Raw = ABSENT


class WritableSignalSubscribe(_Message, tag="writableSignalSubscribe"):
    """As SignalSubscribe; refused with WritableSignalError."""

    endpoint: str
    subscribe_id: int
    creation_parameter: msgspec.Raw = ABSENT


# Server to client ----------------------------------------------------------------------------------------------------


class KeepAliveAck(_Message, tag="keepAliveAck"):
    """The answer to KeepAlive."""


class ChannelClose(_Message, tag="channelClose"):
    """The normal end of a channel."""

    channel_id: int


class ChannelError(_Message, tag="channelError"):
    """The end of a channel that failed. *error* is a serialized error."""

    channel_id: int
    error: msgspec.Raw = ABSENT


class RpcResult(_Message, tag="rpcResult"):
    """The answer to an RpcCall."""

    call_id: int
    result: msgspec.Raw = ABSENT


class RpcError(_Message, tag="rpcError"):
    """The answer to an RpcCall that failed. *error* is a serialized error."""

    call_id: int
    error: msgspec.Raw = ABSENT


class SignalError(_Message, tag="signalError"):
    """The end of a subscription that failed."""

    subscribe_id: int
    error: msgspec.Raw


class WritableSignalError(_Message, tag="writableSignalError"):
    """The end of a writable subscription that failed."""

    subscribe_id: int
    error: msgspec.Raw


ClientMessage: TypeAlias = (
    CommunicationWarning
    | KeepAlive
    | ChannelCreate
    | ChannelSend
    | ChannelAck
    | RpcCall
    | SignalSubscribe
    | WritableSignalSubscribe
)
ServerMessage: TypeAlias = (
    CommunicationWarning
    | KeepAliveAck
    | ChannelSend
    | ChannelAck
    | ChannelClose
    | ChannelError
    | RpcResult
    | RpcError
    | SignalError
    | WritableSignalError
)

decode_client_message = msgspec.json.Decoder(ClientMessage).decode
decode_server_message = msgspec.json.Decoder(ServerMessage).decode
SERVER_MESSAGE_ESSENTIALS = (
    "communicationWarning.warning",
    *(f"{kind}.channelId" for kind in ("channelSend", "channelAck", "channelClose", "channelError")),
    *(f"{kind}.callId" for kind in ("rpcResult", "rpcError")),
)
"""What no default can stand for: see `_lenient.Essentials`."""


def plain_scalar(value: object) -> str | int | float:
    """A text or number of a subclass, such as those of numpy, as the plain one; TypeError for anything else."""
    if isinstance(value, str):
        return str.__str__(value)  # `str(value)` could be anything
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


encode = msgspec.json.Encoder(enc_hook=plain_scalar).encode


def encode_payload(value: object | None) -> Payload:
    """Encode a parameter or packet; None is void, and a `LongText` is encoded already.

    Raises:
        LMStudioValueError: something in it has no form in JSON.
    """
    if value is None:
        return ABSENT
    if type(value) is LongText:  # isinstance() takes several times longer for a struct class
        return value
    try:
        encoded = encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LMStudioValueError(f"Cannot send {type(value).__name__}, because it cannot be JSON: {error}") from error
    return msgspec.Raw(encoded) if len(encoded) <= LONG_BYTES else LongText((encoded,), len(encoded))


def encode_with_base64(parameter: msgspec.Struct, member: str, content: bytes | memoryview) -> LongText:
    """Encode *parameter* with *content* in the place of its empty text *member*, in base64.

    The base64 is made piece by piece while it is sent: of 20 MiB it would take 27 MB, and as much again as JSON.

    Args:
        parameter: Has *member* as an empty text.
        member: Its name on the wire.
        content: Must not change before it is sent.
    """
    # Cannot be part of a text: the quotes in it would have a backslash.
    before, found, after = encode(parameter).partition(f'"{member}":""'.encode())
    assert found
    view = memoryview(content)
    pieces = (
        base64.b64encode(view[start : start + _BASE64_INPUT_BYTES])
        for start in range(0, len(view), _BASE64_INPUT_BYTES)
    )
    before, after = before + found[:-1], b'"' + after
    size = len(before) + (len(view) + 2) // 3 * 4 + len(after)
    return LongText(chain((before,), pieces, (after,)), size)


_Carrier: TypeAlias = "Callable[..., RpcCall | ChannelCreate | ChannelSend]"
_PAYLOAD_MEMBERS: dict[_Carrier, bytes] = {
    RpcCall: b',"parameter":',
    ChannelCreate: b',"creationParameter":',
    ChannelSend: b',"message":',
}


def encode_with(payload: Payload, kind: _Carrier, *members: str | int) -> Outgoing:
    """Encode a message of *kind*, whose *members* end with *payload*."""
    if isinstance(payload, msgspec.Raw):
        return encode(kind(*members, payload))
    head = encode(kind(*members))[:-1] + _PAYLOAD_MEMBERS[kind]
    return LongText(chain((head,), payload.parts, (b"}",)), len(head) + payload.size_bytes + 1)


def without_half_characters(message: bytes) -> bytes:
    """JSON with halves of surrogate pairs replaced by U+FFFD, and so is what is no UTF-8; NaN and the like become null.

    JavaScript cuts strings between the halves and writes each as an escape, which is not valid for most others.
    Raises ValueError if *message* is not JSON.
    """
    value = json.loads(message.decode("utf-8", "replace"), parse_constant=lambda _name: None)
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


# Authentication: the first frame in each direction -------------------------------------------------------------------


class AuthPacket(msgspec.Struct, rename="camel"):
    """What a client says first. Each string has at most 256 characters."""

    client_identifier: str
    client_passkey: str
    auth_version: int = 1

    def __repr__(self) -> str:
        return f"AuthPacket(client_identifier={self.client_identifier!r})"  # the rest is secret

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("client_identifier", self.client_identifier)]


class AuthResult(msgspec.Struct, omit_defaults=True):
    """What the server answers; *error* only with success == False."""

    success: bool
    error: str | None = None


_decode_auth_result = msgspec.json.Decoder(AuthResult).decode


def read_auth_result(message: bytes) -> AuthResult:
    """The answer to an AuthPacket, as far as it can be understood; raises one of `_lenient.DECODE_ERRORS`."""
    return _lenient.decode(_decode_auth_result, AuthResult, message, ("success",))
