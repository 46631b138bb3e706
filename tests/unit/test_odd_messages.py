"""Messages that no server should send, or not now: late, twice, for nobody, of unknown kinds, too deep, too long.

At most there is a warning. The calls in flight end as they would have without, and the connection goes on.
"""

from __future__ import annotations

import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replayed_client import ReplayedClient
from scripted_runtime import ScriptedRuntime, close, packet, result, run
from server_calls import CALLS
from server_messages import NO_ENDPOINT, recorded

import lmstudio as lms
from lmstudio._ops.models import identifier_target
from lmstudio._ops.prediction import respond
from lmstudio._ops.prediction_options import PredictionOptions
from lmstudio._ops.system import remote_call, when_disconnected
from lmstudio._runtime import UnknownItem
from lmstudio.history import read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'"' + b"x" * 1_000_000 + b'"'
ODD_IDS = (b"null", b"true", b'"1"', b"1.5", b"-1", b"0", b"99", b"1180591620717411303424", b"[1]", b"{}")

ODD = [
    b"",
    b" ",
    b"null",
    b"1",
    b'"text"',
    b"[]",
    b'[{"type":"keepAliveAck"}]',
    b"{}",
    b'{"type":null}',
    b'{"type":["channelSend"],"channelId":1}',
    b'{"type":"somethingNew","channelId":1,"callId":1}',
    b'{"type":"channelCreate","endpoint":"predict","channelId":1}',
    b'{"type":"somethingNew","more":' + LONG + b"}",
    b'{"type":"somethingNew","more":' + DEEP + b"}",
    b'{"type":"channelSend","channelId":1,"message":' + DEEP,
    b'{"type":"channelSend","channelId":1',
    b'{"type":"channelSend","channelId":1,"message":{"type":"frag\xff"}}',
    b'{"type":"channelSend","channelId":1,"message":{"type":"\\ud83d"}}',
    b'{"type":"channelSend","channelId":1,"message":{"type":NaN}}',
    b'{"type":"channelSend","channelId":1}',
    b'{"type":"channelSend","channelId":1,"message":[]}',
    b'{"type":"channelAck","channelId":1,"ackId":"x"}',
    b'{"type":"signalUpdate","subscribeId":1,"patches":[],"tags":[]}',
    b"\xff\xfe\x00",
    b'{"type":"keepAliveAck","more":' + LONG + b"}",
    *(json.dumps(message).encode() for item in recorded()[NO_ENDPOINT] for message in item),
    *(
        b'{"type":"' + kind + b'","' + member + b'":' + value + b',"message":{"type":"success"},"error":{},"result":{}}'
        for kind, member in (
            (b"channelSend", b"channelId"),
            (b"channelClose", b"channelId"),
            (b"channelError", b"channelId"),
            (b"rpcResult", b"callId"),
            (b"rpcError", b"callId"),
        )
        for value in ODD_IDS
    ),
]
ENDPOINTS = (
    "llm/predict",
    "llm/getOrLoad",
    "llm/listLoaded",
    "embedding/embedString",
    "files/retrieve",
    "files/uploadFileBase64",
    "repository/downloadModel",
    "system/listDownloadedModels",
)


@pytest.fixture(autouse=True)
def _unknown_is_no_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lms.LMStudioUnknownMessageWarning)
        yield


def good(endpoint: str) -> list[bytes]:
    """A recorded conversation that ends well."""
    items = (item for item in recorded()[endpoint] if not item[-1]["type"].endswith("Error"))
    return [json.dumps(message).encode() for message in next(items)]


GOOD = {endpoint: [good(endpoint)] for endpoint in (*ENDPOINTS, "embedding/listLoaded", "embedding/getModelInfo")}
GOOD["repository/searchModels"] = [good("repository/searchModels")]
GOOD["repository/getModelDownloadOptions"] = [good("repository/getModelDownloadOptions")]


def outcome(endpoint: str, messages: list[bytes], call: Callable[[lms.Client], Any]) -> str:
    """What *call* returns, which must not fail, and on the same connection once more without anything odd."""
    client = ReplayedClient({**GOOD, endpoint: [messages, *GOOD[endpoint]]})
    first = repr(call(client))
    assert repr(call(client)) == repr(call(ReplayedClient(GOOD)))
    assert len({id(each) for each in client.replay.multiplexers}) == len(client.replay.multiplexers)
    assert all(each.failure is None for each in client.replay.multiplexers)
    return first


@pytest.mark.parametrize("odd", ODD, ids=lambda message: repr(message[:60]))
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_call_ends_as_ever_between_odd_messages(endpoint: str, odd: bytes) -> None:
    call = CALLS[endpoint][0]
    disturbed = [each for message in GOOD[endpoint][0] for each in (odd, message)] + [odd]
    assert outcome(endpoint, disturbed, call) == repr(call(ReplayedClient(GOOD)))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_comes_after_the_end_is_ignored(endpoint: str) -> None:
    call = CALLS[endpoint][0]
    messages = GOOD[endpoint][0]
    assert outcome(endpoint, [*messages, *messages, *reversed(messages)], call) == repr(call(ReplayedClient(GOOD)))


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ENDPOINTS if len(GOOD[endpoint][0]) > 1])
def test_a_second_last_packet_is_ignored(endpoint: str) -> None:
    call = CALLS[endpoint][0]
    *others, last, end = GOOD[endpoint][0]
    assert outcome(endpoint, [*others, last, last, end], call) == repr(call(ReplayedClient(GOOD)))


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in ENDPOINTS if len(GOOD[endpoint][0]) > 1])
def test_a_channel_that_is_closed_before_its_last_packet_ends_the_call_with_an_error(endpoint: str) -> None:
    *_, last, end = GOOD[endpoint][0]
    client = ReplayedClient({**GOOD, endpoint: [[end, last], *GOOD[endpoint]]})
    call = CALLS[endpoint][0]
    with pytest.raises(lms.LMStudioChannelClosedError, match=r"closed the channel early\.$"):
        call(client)
    call(client)


@given(data=st.data())
@settings(max_examples=150, derandomize=True, deadline=None)
def test_packets_in_any_order_never_lead_to_anything_but_a_clean_error(data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(ENDPOINTS))
    messages = data.draw(st.permutations(GOOD[endpoint][0] * 2))
    try:
        CALLS[endpoint][0](ReplayedClient({**GOOD, endpoint: [messages, *GOOD[endpoint]]}))
    except lms.LMStudioServerError:
        assert len(messages) > 2  # of an rpc there is one answer


def test_a_real_answer_may_have_long_and_deep_members_that_are_unknown() -> None:
    depth = 300
    for more in (LONG, b"[" * depth + b"]" * depth):
        answer = b'{"type":"rpcResult","more":%s,"callId":1,"result":{"tokens":[1],"more":%s}}' % (more, more)
        client = ReplayedClient({"llm/tokenize": [[answer]]})
        assert client.llm.create_dynamic_handle("some-model").tokenize("x") == [1]


def test_an_odd_member_of_the_envelope_loses_nothing() -> None:
    client = ReplayedClient({"llm/tokenize": [[b'{"type":"rpcResult","callId":1.0,"result":{"tokens":[1]}}']]})
    assert client.llm.create_dynamic_handle("some-model").tokenize("x") == [1]
    messages = [message[:-1] + b',"ackId":"odd"}' for message in GOOD["llm/predict"][0]]
    call = CALLS["llm/predict"][0]
    assert outcome("llm/predict", messages, call) == repr(call(ReplayedClient(GOOD)))


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\xbd"])
def test_text_that_is_not_valid_unicode_is_replaced(text: bytes) -> None:
    # A fast path hands text frames on unchecked, and JSON that stays encoded for now is not looked into.
    messages = [message.replace(b'"content": "', b'"content": "' + text) for message in GOOD["llm/predict"][0]]
    reply = ReplayedClient({"llm/predict": [messages]}).llm.create_dynamic_handle("some-model").respond("Hi")
    assert reply.content.startswith("\N{REPLACEMENT CHARACTER}")
    answer = b'{"type":"rpcResult","callId":1,"result":{"formatted":"a%s"}}' % text
    client = ReplayedClient({"llm/applyPromptTemplate": [[answer]]})
    formatted = client.llm.create_dynamic_handle("some-model").apply_prompt_template("Hi")
    assert formatted.startswith("a\N{REPLACEMENT CHARACTER}")


def test_packets_of_a_channel_without_any_are_ignored() -> None:
    values: list[Any] = [{"type": "success"}, None, [], "x", 1]
    odd = [packet(value) for value in values]
    run(when_disconnected(ScriptedRuntime(*odd, close()).port("system")))


def test_an_early_end_tells_what_was_not_understood() -> None:
    runtime = ScriptedRuntime(packet({"type": "success2"}), close())
    prediction = respond(runtime.llm(), identifier_target("qwen"), read_history("Hi"), PredictionOptions[Any]())
    with pytest.raises(
        lms.LMStudioChannelClosedError, match=r"packet of 'predict'.*'success2' of member 'type' - at `\$`"
    ):
        run(prediction.run())


# Who is told ---------------------------------------------------------------------------------------------------------


def fragment(content: str, **members: Any) -> dict[str, Any]:
    return packet({"type": "fragment", "fragment": {"content": content, "tokensCount": 1, **members}})


NEWER = (
    {"type": "somethingNew"},
    {"type": "somethingNew"},
    fragment("One", containsDrafted=False, reasoningType="none", colour="red"),
    fragment(" two", containsDrafted=False, reasoningType="none", colour="blue"),
    packet({"type": "picture"}),
    packet({"type": "picture"}),
    packet({"type": "success", "stats": {"stopReason": "newReason"}}),
)
PATHS_OF_NEWER = {
    ("llm", "$"),
    ("llm/predict", "$.fragment.colour"),
    ("llm/predict", "$"),
    ("llm/predict", "$.stats.stopReason"),
}


def predict_newer(runtime: ScriptedRuntime) -> str:
    prediction = respond(runtime.llm(), identifier_target("qwen"), read_history("Hi"), PredictionOptions[Any]())
    return run(prediction.run()).content


def test_a_callback_is_told_of_everything_unknown_once() -> None:
    told: list[UnknownItem] = []
    runtime = ScriptedRuntime(*NEWER)
    runtime.on_unknown = told.append
    assert predict_newer(runtime) == "One two"
    assert len(told) == len(set(told))
    assert {(item.endpoint, item.path) for item in told} == PATHS_OF_NEWER
    assert UnknownItem("llm/predict", "$.fragment.colour", "Unknown member") in told
    assert UnknownItem("llm/predict", "$.stats.stopReason", "Unknown value 'newReason'") in told


def test_the_log_is_told_of_everything_unknown_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.protocol")
    assert predict_newer(ScriptedRuntime(*NEWER)) == "One two"
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("In a message of ")]
    assert len(lines) == len(set(lines))
    for endpoint, path in PATHS_OF_NEWER:
        assert any(f"of {endpoint}: " in line and f"`{path}`" in line for line in lines), path


def test_elements_of_a_list_are_told_of_once_together() -> None:
    told: list[UnknownItem] = []
    (answer,) = recorded()["system/listDownloadedModels"][0]
    models = [{**model, "colour": "red"} for model in answer["result"]]
    runtime = ScriptedRuntime(result(models), result(models, 2))
    runtime.on_unknown = told.append
    client = ReplayedClient({})
    client.replay = runtime  # type: ignore[assignment]  # as scripted as the other
    assert len(client.list_downloaded_models()) == len(client.list_downloaded_models()) == 2
    assert told == [UnknownItem("system/listDownloadedModels", "$[].colour", "Unknown member")]


def test_a_failing_callback_is_logged_and_the_call_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_item: UnknownItem) -> None:
        raise RuntimeError("on purpose")

    runtime = ScriptedRuntime(*NEWER)
    runtime.on_unknown = fail
    assert predict_newer(runtime) == "One two"
    assert {record.name for record in caplog.records if record.levelno == logging.ERROR} == {"lmstudio.callbacks"}


def test_nothing_is_looked_for_when_nobody_wants_to_know() -> None:
    runtime = ScriptedRuntime(result({"free": ["form"]}))
    assert not runtime.looks_for_unknown
    assert run(remote_call(runtime.llm(), "anything", None)) == {"free": ["form"]}
