"""The messages as text: what is written, and what is understood."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from server_messages import AUTHENTICATION, changes_at, paths, recorded

from lmstudio import _lenient, _wire
from lmstudio._sdk_models import FilesRpcUploadFileBase64Parameter

CLIENT_MESSAGES: list[tuple[_wire.ClientMessage, str]] = [
    (_wire.KeepAlive(), '{"type":"keepAlive"}'),
    (_wire.CommunicationWarning("odd", "unknown"), '{"type":"communicationWarning","warning":"odd","kind":"unknown"}'),
    (
        _wire.ChannelCreate("predict", 1, msgspec.Raw(b'{"a":1}')),
        '{"type":"channelCreate","endpoint":"predict","channelId":1,"creationParameter":{"a":1}}',
    ),
    (_wire.ChannelCreate("alive", 2), '{"type":"channelCreate","endpoint":"alive","channelId":2}'),
    (
        _wire.ChannelSend(1, msgspec.Raw(b'{"type":"cancel"}')),
        '{"type":"channelSend","channelId":1,"message":{"type":"cancel"}}',
    ),
    (_wire.ChannelAck(1, 2), '{"type":"channelAck","channelId":1,"ackId":2}'),
    (
        _wire.RpcCall("tokenize", 3, msgspec.Raw(b"[]")),
        '{"type":"rpcCall","endpoint":"tokenize","callId":3,"parameter":[]}',
    ),
    (_wire.RpcCall("version", 4), '{"type":"rpcCall","endpoint":"version","callId":4}'),
    (_wire.SignalSubscribe("s", 1), '{"type":"signalSubscribe","endpoint":"s","subscribeId":1}'),
    (_wire.WritableSignalSubscribe("s", 1), '{"type":"writableSignalSubscribe","endpoint":"s","subscribeId":1}'),
]

SERVER_MESSAGES: list[tuple[_wire.ServerMessage, str]] = [
    (_wire.KeepAliveAck(), '{"type":"keepAliveAck"}'),
    (_wire.CommunicationWarning("odd"), '{"type":"communicationWarning","warning":"odd"}'),
    (_wire.ChannelSend(1, msgspec.Raw(b"[]"), 7), '{"type":"channelSend","channelId":1,"message":[],"ackId":7}'),
    (_wire.ChannelClose(1), '{"type":"channelClose","channelId":1}'),
    (_wire.ChannelError(1, msgspec.Raw(b"{}")), '{"type":"channelError","channelId":1,"error":{}}'),
    (_wire.RpcResult(1), '{"type":"rpcResult","callId":1}'),
    (_wire.RpcResult(1, msgspec.Raw(b"null")), '{"type":"rpcResult","callId":1,"result":null}'),
    (_wire.RpcError(1, msgspec.Raw(b"{}")), '{"type":"rpcError","callId":1,"error":{}}'),
    (_wire.SignalError(1, msgspec.Raw(b"{}")), '{"type":"signalError","subscribeId":1,"error":{}}'),
    (_wire.WritableSignalError(1, msgspec.Raw(b"{}")), '{"type":"writableSignalError","subscribeId":1,"error":{}}'),
]


@pytest.mark.parametrize(("message", "text"), CLIENT_MESSAGES)
def test_client_messages_have_their_form_on_the_wire(message: _wire.ClientMessage, text: str) -> None:
    assert _wire.encode(message) == text.encode()
    assert _wire.decode_client_message(text.encode()) == message


@pytest.mark.parametrize(("message", "text"), SERVER_MESSAGES)
def test_server_messages_have_their_form_on_the_wire(message: _wire.ServerMessage, text: str) -> None:
    assert _wire.encode(message) == text.encode()
    assert _wire.decode_server_message(text.encode()) == message


def test_a_void_payload_is_absent_and_never_null() -> None:
    message = _wire.encode_with(_wire.encode_payload(None), _wire.RpcCall, "version", 1)
    assert message == b'{"type":"rpcCall","endpoint":"version","callId":1}'


@pytest.mark.parametrize("payload", [[1, 2], "x" * (_wire.LONG_BYTES - 2), "é" * _wire.LONG_BYTES])
@pytest.mark.parametrize("cls", [_wire.RpcCall, _wire.ChannelCreate])
def test_a_message_around_its_payload_is_the_same_whatever_the_size(
    cls: type[_wire.RpcCall | _wire.ChannelCreate], payload: object
) -> None:
    message = _wire.encode_with(_wire.encode_payload(payload), cls, "e", 5)
    expected = _wire.encode(cls("e", 5, msgspec.Raw(_wire.encode(payload))))
    assert len(expected) == (len(message) if isinstance(message, bytes) else message.size_bytes)
    assert bytes(message) == expected


def test_a_packet_around_its_payload_has_its_form_on_the_wire() -> None:
    message = _wire.encode_with(_wire.encode_payload({"type": "cancel"}), _wire.ChannelSend, 1)
    assert message == b'{"type":"channelSend","channelId":1,"message":{"type":"cancel"}}'


@pytest.mark.parametrize("size", [0, 1, 2, 3, 48 * 1024, 100_000])
def test_base64_is_put_into_its_member_in_parts(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"\xff" * (size % 256)
    name = 'a "contentBase64":"" b'  # looks like the member, and is not
    parameter = FilesRpcUploadFileBase64Parameter(name=name, content_base64="")
    payload = _wire.encode_with_base64(parameter, "contentBase64", content)
    parts = list(payload.parts)
    assert max(map(len, parts)) <= 64 * 1024
    assert sum(map(len, parts)) == payload.size_bytes
    read = json.loads(b"".join(parts))
    assert read == {"name": name, "contentBase64": base64.b64encode(content).decode()}


def test_the_order_of_members_in_free_form_data_is_kept() -> None:
    data = {"zebra": {"b": 1, "a": 2}, "apple": [{"y": 1, "x": 2}]}
    assert bytes(_wire.encode_payload(data)) == b'{"zebra":{"b":1,"a":2},"apple":[{"y":1,"x":2}]}'


def test_the_greeting_has_the_form_the_server_expects() -> None:
    greeting = _wire.AuthPacket("guest:1", "secret")
    assert json.loads(_wire.encode(greeting)) == {
        "authVersion": 1,
        "clientIdentifier": "guest:1",
        "clientPasskey": "secret",
    }


def test_the_passkey_is_not_in_the_repr_of_the_greeting() -> None:
    assert "hush-hush" not in repr(_wire.AuthPacket("guest:1", "hush-hush"))
    assert "guest:1" in repr(_wire.AuthPacket("guest:1", "hush-hush"))


def test_the_answer_to_the_greeting_is_understood() -> None:
    assert msgspec.json.decode(b'{"success":true}', type=_wire.AuthResult) == _wire.AuthResult(True)
    refused = msgspec.json.decode(b'{"success":false,"error":"Invalid passkey"}', type=_wire.AuthResult)
    assert refused.error == "Invalid passkey"


def test_the_answer_to_the_greeting_may_have_anything_but_another_success() -> None:
    for message in (message for item in recorded()[AUTHENTICATION] for message in item):
        for place, _, _ in paths(message):
            for changed in changes_at(message, place):
                data = json.dumps(changed).encode()
                if isinstance(changed, dict) and isinstance(changed.get("success"), bool):
                    assert _wire.read_auth_result(data).success == changed["success"]
                else:
                    with pytest.raises(_lenient.DECODE_ERRORS):
                        _wire.read_auth_result(data)


def test_what_is_no_text_and_no_number_does_not_lose_the_message() -> None:
    assert json.loads(_wire.without_half_characters(b'["a\xff", NaN, Infinity]')) == ["a\ufffd", None, None]


def test_text_without_half_characters_is_the_same_text() -> None:
    message = '{"text":"\\ud83d\\ude00 😀 \\\\ud83d","number":1.5}'
    assert json.loads(_wire.without_half_characters(message.encode())) == json.loads(message)


def test_half_characters_become_replacement_characters() -> None:
    assert json.loads(_wire.without_half_characters(b'["\\ud83d!"]')) == ["\N{REPLACEMENT CHARACTER}!"]
