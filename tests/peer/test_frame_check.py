"""`check_frames` condemns what lmstudio.js would not accept, or would silently ignore."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from .frame_relay import Direction, RecordedFrame, check_frames

if TYPE_CHECKING:
    from collections.abc import Callable

Message = dict[str, Any]

SPECIFIER = {"type": "query", "query": {"identifier": "a"}}
MODEL_INFO = {
    "type": "llm",
    "modelKey": "a",
    "format": "gguf",
    "displayName": "A",
    "publisher": "p",
    "path": "p/a/a.gguf",
    "sizeBytes": 1,
    "indexedModelIdentifier": "p/a/a.gguf",
    "deviceIdentifier": None,
    "identifier": "a",
    "instanceReference": "r",
    "ttlMs": None,
    "lastUsedTime": None,
    "vision": False,
    "trainedForToolUse": False,
    "maxContextLength": 10,
    "contextLength": 10,
}
CONVERSATION: dict[str, tuple[Direction, Message]] = {
    "hello": ("toServer", {"authVersion": 1, "clientIdentifier": "me", "clientPasskey": "secret"}),
    "welcome": ("toClient", {"success": True}),
    "tokenize": (
        "toServer",
        {
            "type": "rpcCall",
            "endpoint": "tokenize",
            "callId": 0,
            "parameter": {"specifier": SPECIFIER, "inputString": "x"},
        },
    ),
    "tokens": ("toClient", {"type": "rpcResult", "callId": 0, "result": {"tokens": [1]}}),
    "unload": (
        "toServer",
        {"type": "rpcCall", "endpoint": "unloadModel", "callId": 1, "parameter": {"identifier": "b"}},
    ),
    "unloaded": ("toClient", {"type": "rpcResult", "callId": 1}),
    "ask": (
        "toServer",
        {
            "type": "rpcCall",
            "endpoint": "getModelInfo",
            "callId": 2,
            "parameter": {"specifier": SPECIFIER, "throwIfNotFound": True},
        },
    ),
    "refusal": (
        "toClient",
        {
            "type": "rpcError",
            "callId": 2,
            "error": {"title": "No", "displayData": {"code": "generic.specificModelUnloaded"}},
        },
    ),
    "predict": (
        "toServer",
        {
            "type": "channelCreate",
            "endpoint": "predict",
            "channelId": 3,
            "creationParameter": {
                "modelSpecifier": SPECIFIER,
                "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
                "predictionConfigStack": {
                    "layers": [
                        {
                            "layerName": "apiOverride",
                            "config": {
                                "fields": [
                                    {"key": "llm.prediction.temperature", "value": 1},
                                    {"key": "llm.prediction.structured", "value": {"type": "none"}},
                                    {"key": "ext.virtualModel.customField.any", "value": {"of": "any form"}},
                                ]
                            },
                        }
                    ]
                },
            },
        },
    ),
    "fragment": (
        "toClient",
        {
            "type": "channelSend",
            "channelId": 3,
            "message": {
                "type": "fragment",
                "fragment": {
                    "content": "y",
                    "tokensCount": 1,
                    "containsDrafted": False,
                    "reasoningType": "none",
                    "isStructural": False,
                },
            },
        },
    ),
    "cancel": ("toServer", {"type": "channelSend", "channelId": 3, "message": {"type": "cancel"}}),
    "success": (
        "toClient",
        {
            "type": "channelSend",
            "channelId": 3,
            "message": {
                "type": "success",
                "stats": {"stopReason": "userStopped"},
                "modelInfo": MODEL_INFO,
                "loadModelConfig": {"fields": []},
                "predictionConfig": {"fields": []},
            },
        },
    ),
    "close": ("toClient", {"type": "channelClose", "channelId": 3}),
    "crossing cancel": ("toServer", {"type": "channelSend", "channelId": 3, "message": {"type": "cancel"}}),
}


def put(path: str, value: Any) -> Callable[[Message], None]:
    """Another value at *path*, or a new member there."""

    def damage(message: Message) -> None:
        owner, name = _owner(message, path)
        owner[name] = value

    return damage


def drop(path: str) -> Callable[[Message], None]:
    """Nothing at *path*, where there should be something."""

    def damage(message: Message) -> None:
        owner, name = _owner(message, path)
        del owner[name]

    return damage


def _owner(message: Message, path: str) -> tuple[Any, str | int]:
    *names, last = (int(name) if name.isdigit() else name for name in path.split("."))
    owner: Any = message
    for name in names:
        owner = owner[name]
    return owner, last


_FIELDS = "creationParameter.predictionConfigStack.layers.0.config.fields"

# The frame, what happens to it, and what is to be said about it.
DAMAGES: dict[str, tuple[str, Callable[[Message], None], str]] = {
    "unknown member of the envelope": ("tokenize", put("extra", 1), "extra: lmstudio.js ignores this"),
    "unknown member deep inside": (
        "tokenize",
        put("parameter.specifier.query.extra", 1),
        "parameter.specifier.query.extra: lmstudio.js ignores this",
    ),
    "missing member of a parameter": ("tokenize", drop("parameter.inputString"), "parameter.inputString: Required"),
    "wrong type in a parameter": ("tokenize", put("parameter.inputString", 1), "Expected string, received number"),
    "no parameter at all": ("tokenize", drop("parameter"), "parameter: Required"),
    "id of another type": ("tokenize", put("callId", "0"), "callId: Expected number"),
    "unknown endpoint": ("tokenize", put("endpoint", "tokenise"), "llm has no such endpoint: tokenise"),
    "rpc as a channel": ("predict", put("endpoint", "tokenize"), "llm has no such endpoint: tokenize"),
    "null for an absent member": ("predict", put("creationParameter.fuzzyPresetIdentifier", None), "received null"),
    "unknown role": ("predict", put("creationParameter.history.messages.0.role", "bot"), "messages.0.role: Invalid"),
    "unknown layer": (
        "predict",
        put("creationParameter.predictionConfigStack.layers.0.layerName", "mine"),
        "layerName: Invalid enum value",
    ),
    "unknown configuration key": ("predict", put(f"{_FIELDS}.0.key", "llm.heat"), "does not know this configuration"),
    "configuration key twice": (
        "predict",
        put(f"{_FIELDS}.1", {"key": "llm.prediction.temperature", "value": 1}),
        "is there twice",
    ),
    "bad configuration value": ("predict", put(f"{_FIELDS}.0.value", -1), "{llm.prediction.temperature}: Number must"),
    "unknown member of a configuration value": (
        "predict",
        put(f"{_FIELDS}.1.value.extra", 1),
        "{llm.prediction.structured}.extra: lmstudio.js ignores this",
    ),
    "unknown packet for the server": (
        "cancel",
        put("message.type", "stop"),
        "toServerPacket.type: Invalid discriminator",
    ),
    "packet on a channel never opened": ("cancel", put("channelId", 9), "was never opened"),
    "null for a void result": ("unloaded", put("result", None), "returns: Expected void"),
    "unknown member of a result": ("tokens", put("result.extra", None), "returns.extra: lmstudio.js ignores this"),
    "missing member of a result": ("tokens", put("result", {}), "returns.tokens: Required"),
    "answer to no call": ("tokens", put("callId", 9), "answers 9, which is not open"),
    "second answer to a call": ("unloaded", put("callId", 0), "answers 0, which is not open"),
    "error without a title": ("refusal", drop("error.title"), "error.title: is missing"),
    "unknown error code": ("refusal", put("error.displayData.code", "odd"), "error.displayData"),
    "unknown member of display data": ("refusal", put("error.displayData.extra", 1), "displayData.extra: lmstudio.js"),
    "wrong type in an error": ("refusal", put("error.cause", ["a"]), "error.cause: lmstudio.js ignores this"),
    "missing member of a packet": ("fragment", drop("message.fragment.isStructural"), "isStructural: Required"),
    "unknown kind of packet": ("fragment", put("message.type", "piece"), "toClientPacket.type: Invalid discriminator"),
    "missing member of a model": ("success", drop("message.modelInfo.publisher"), "modelInfo.publisher: Required"),
    "fraction for an integer": ("success", put("message.modelInfo.sizeBytes", 1.5), "Expected integer"),
    "warning": ("close", put("type", "communicationWarning"), "the other side was not understood"),
    "unknown kind of message": ("close", put("type", "channelEnd"), "type: Invalid discriminator"),
    "message of the other direction": ("close", put("type", "channelCreate"), "type: Invalid discriminator"),
    "unknown member of the authentication": ("hello", put("extra", 1), "extra: lmstudio.js ignores this"),
    "authentication of another version": ("hello", put("authVersion", 2), "authVersion: Invalid literal"),
    "overlong identifier": ("hello", put("clientIdentifier", "x" * 257), "at most 256"),
    "odd answer to the authentication": ("welcome", put("success", "yes"), "success: Invalid discriminator"),
}

# After which frame another one comes, from whom and which, and what is to be said about it.
INTRUDERS: dict[str, tuple[str, Direction, Message, str]] = {
    "id that is in use": ("predict", "toServer", CONVERSATION["predict"][1], "the id 3 is in use"),
    "packet after the end": ("close", "toClient", CONVERSATION["fragment"][1], "answers 3, which is not open"),
    "second end of a channel": ("close", "toClient", {"type": "channelClose", "channelId": 3}, "which is not open"),
    "end after an error": (
        "predict",
        "toClient",
        {"type": "channelError", "channelId": 3, "error": {"title": "No"}},
        "answers 3, which is not open",
    ),
    "signal that does not exist": (
        "close",
        "toServer",
        {"type": "signalSubscribe", "endpoint": "any", "subscribeId": 0},
        "has no place in this conversation",
    ),
}


def judge(conversation: list[tuple[Direction, Message]], connection: int = 0) -> list[RecordedFrame]:
    return [RecordedFrame(connection, "llm", direction, json.dumps(message)) for direction, message in conversation]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[str]]:
    """What is said about each conversation with something wrong in it. All in one go: starting Node takes longest."""
    frames: list[RecordedFrame] = []
    for connection, (name, damage, _) in enumerate(DAMAGES.values()):
        conversation = copy.deepcopy(CONVERSATION)
        damage(conversation[name][1])
        frames += judge(list(conversation.values()), connection)
    for connection, (name, direction, message, _) in enumerate(INTRUDERS.values(), len(DAMAGES)):
        conversation_with_intruder: list[tuple[Direction, Message]] = []
        for each, frame in CONVERSATION.items():
            conversation_with_intruder.append(frame)
            if each == name:
                conversation_with_intruder.append((direction, message))
        frames += judge(conversation_with_intruder, connection)
    names = [*DAMAGES, *INTRUDERS]
    verdicts: dict[str, list[str]] = {name: [] for name in names}
    for violation in check_frames(frames).violations:
        verdicts[names[violation.connection]].append(f"{violation.path}: {violation.problem}")
    return verdicts


def test_good_conversation_is_not_objected_to() -> None:
    keep_alive: list[tuple[Direction, Message]] = [
        ("toServer", {"type": "keepAlive"}),
        ("toClient", {"type": "keepAliveAck"}),
    ]
    report = check_frames(judge([*CONVERSATION.values(), *keep_alive]))

    assert report.violations == []
    assert report.frames == len(CONVERSATION) + 2
    assert report.endpoints["llm/predict"] == {"kind": "channel", "toServer": 3, "toClient": 3}
    assert report.endpoints["llm/tokenize"] == {"kind": "rpc", "toServer": 1, "toClient": 1}
    assert len(report.endpoints) == 93


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_reported(verdicts: dict[str, list[str]], name: str) -> None:
    expected = DAMAGES[name][2]

    assert any(expected in verdict for verdict in verdicts[name]), verdicts[name]


@pytest.mark.parametrize("name", INTRUDERS)
def test_frame_out_of_place_is_reported(verdicts: dict[str, list[str]], name: str) -> None:
    expected = INTRUDERS[name][3]

    assert any(expected in verdict for verdict in verdicts[name]), verdicts[name]


def test_payload_that_cannot_be_checked_is_reported() -> None:
    call = {"type": "rpcCall", "endpoint": "getEngineSelections", "callId": 0, "parameter": {"json": None}}
    hello = judge(list(CONVERSATION.values())[:2])
    frames = [RecordedFrame(0, "runtime", *each) for each in ((frame.direction, frame.frame) for frame in hello)]
    frames.append(RecordedFrame(0, "runtime", "toServer", json.dumps(call)))

    assert [violation.problem for violation in check_frames(frames).violations] == [
        "cannot be checked: it is serialized as superjson"
    ]


def test_frame_that_is_no_json_is_reported() -> None:
    frames = [RecordedFrame(0, "llm", "toServer", text) for text in ("{", '{"authVersion": NaN}')]

    assert [violation.problem[:12] for violation in check_frames(frames).violations] == ["is not JSON:"] * 2
