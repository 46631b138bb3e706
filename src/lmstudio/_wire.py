"""The messages that travel inside WebSocket text frames, in both directions.

Shared by the client and the embedded server. Payloads stay encoded (`msgspec.Raw`): whoever consumes a message decodes
its payload with the type of its endpoint.
"""

from __future__ import annotations

import json
from typing import TypeAlias

import msgspec

from .errors import LMStudioValueError

ABSENT = msgspec.Raw()
"""The payload of a message whose parameter or result is void: the member is left out, never null."""


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
encode = msgspec.json.Encoder().encode


def encode_payload(value: object | None) -> msgspec.Raw:
    """Encode a parameter, result or packet; None is void.

    Raises:
        LMStudioValueError: something in it has no form in JSON.
    """
    try:
        return ABSENT if value is None else msgspec.Raw(encode(value))
    except (TypeError, ValueError) as error:
        raise LMStudioValueError(f"Cannot send {type(value).__name__}, because it cannot be JSON: {error}") from error


def without_half_characters(message: bytes) -> bytes:
    """JSON with halves of surrogate pairs replaced by U+FFFD.

    JavaScript cuts strings between the halves and writes each as an escape, which is not valid for most others.
    Raises ValueError if *message* is not JSON.
    """
    text = json.dumps(json.loads(message), ensure_ascii=False)
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
