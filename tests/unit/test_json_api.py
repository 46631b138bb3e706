"""The protocol without I/O: ids, routing, and what each waiter gets when something goes wrong."""

from __future__ import annotations

import logging
import traceback
import warnings
from typing import Any

import msgspec
import pytest
from scripted_runtime import (
    ScriptedRuntime,
    WaitsForeverError,
    channel_error,
    close,
    packet,
    result,
    rpc_error,
    run,
    void,
)

from lmstudio import _wire
from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioModelNotFoundError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioUnknownMessageWarning,
    LMStudioValueError,
    LMStudioWebsocketError,
)
from lmstudio.json_api import Channel, Multiplexer, closed_error, run_blocking


class Answer(msgspec.Struct):
    text: str


class Word(msgspec.Struct, tag_field="type", tag="word"):
    text: str


class Done(msgspec.Struct, tag_field="type", tag="done"):
    pass


class Stop(msgspec.Struct, tag_field="type", tag="stop"):
    pass


ASK: Rpc[Any, Answer] = Rpc("ask", Any, Answer)
TELL: Rpc[Any, None] = Rpc("tell", Any, None)
TALK: ChannelSpec[Any, Word | Done, Stop] = ChannelSpec("talk", Any, Word | Done, Stop)


def word(text: str, channel_id: int = 1) -> dict[str, Any]:
    return packet({"type": "word", "text": text}, channel_id)


def talk(runtime: ScriptedRuntime) -> Channel[Word | Done, Stop]:
    return runtime.llm().channel(TALK, None, "talk").open()


LOST = LMStudioWebsocketError("The connection was lost.")


# Calls ---------------------------------------------------------------------------------------------------------------


def test_a_call_sends_its_parameter_and_returns_the_typed_result() -> None:
    runtime = ScriptedRuntime(result({"text": "yes"}))
    assert run(runtime.llm().call(ASK, {"question": "?"}, "ask")) == Answer("yes")
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "ask", "callId": 1, "parameter": {"question": "?"}}]


def test_a_void_parameter_is_left_out_and_a_void_result_is_none() -> None:
    runtime = ScriptedRuntime(void())
    run(runtime.llm().call(TELL, None, "tell"))
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "tell", "callId": 1}]


def test_whatever_a_void_rpc_returns_is_ignored() -> None:
    runtime = ScriptedRuntime(result({"unexpected": 1}))
    run(runtime.llm().call(TELL, None, "tell"))


def test_an_absent_result_stands_for_null() -> None:
    rpc: Rpc[None, Answer | None] = Rpc("find", None, Answer | None)
    assert run(ScriptedRuntime(void()).llm().call(rpc, None, "find")) is None


def test_replies_in_any_order_reach_their_parameters() -> None:
    runtime = ScriptedRuntime(result({"text": "c"}, 3), result({"text": "a"}, 1), result({"text": "b"}, 2))
    assert run(runtime.llm().call_many(ASK, ["A", "B", "C"], "ask")) == [Answer("a"), Answer("b"), Answer("c")]
    assert [message["parameter"] for message in runtime.sent] == ["A", "B", "C"]


def test_many_calls_are_all_sent_before_the_first_reply_is_awaited() -> None:
    runtime = ScriptedRuntime(lambda: counts.append(len(runtime.sent)), *(result({"text": ""}, n) for n in (1, 2, 3)))
    counts: list[int] = []
    run(runtime.llm().call_many(ASK, ["A", "B", "C"], "ask"))
    assert counts == [3]


def test_no_parameters_mean_no_connection() -> None:
    runtime = ScriptedRuntime()
    assert run(runtime.llm().call_many(ASK, [], "ask")) == []
    assert runtime.multiplexers == []


def test_the_first_failure_of_many_is_raised_and_the_other_replies_are_ignored() -> None:
    runtime = ScriptedRuntime(result({"text": "a"}, 1), rpc_error({"title": "No"}, 2))
    with pytest.raises(LMStudioServerError, match="Could not ask: No"):
        run(runtime.llm().call_many(ASK, ["A", "B", "C"], "ask"))
    assert runtime.multiplexers[0].is_idle
    runtime.arrive(result({"text": "late"}, 3))


def test_an_rpc_error_says_what_was_attempted() -> None:
    runtime = ScriptedRuntime(rpc_error({"title": "Boom", "rootTitle": "Boom", "cause": "why", "suggestion": "do x"}))
    with pytest.raises(LMStudioServerError) as caught:
        run(runtime.llm().call(ASK, None, "ask the oracle"))
    assert str(caught.value) == "Could not ask the oracle: Boom\nCause: why\nSuggestion: do x"


@pytest.mark.parametrize("error", [b'"Boom"', b'{"title":5}', b"null", b"[1]", b"{}", b""])
def test_an_error_of_any_form_ends_the_call(error: bytes) -> None:
    member = b',"error":' + error if error else b""
    runtime = ScriptedRuntime(b'{"type":"rpcError","callId":1' + member + b"}")
    with pytest.raises(LMStudioServerError, match=r"Could not ask: \S"):
        run(runtime.llm().call(ASK, None, "ask"))


def test_an_error_without_content_reads_well() -> None:
    runtime = ScriptedRuntime(rpc_error(None))
    with pytest.raises(LMStudioServerError, match=r"^Could not ask: Unknown server error$"):
        run(runtime.llm().call(ASK, None, "ask"))


def test_a_result_of_another_form_names_the_endpoint_and_the_path() -> None:
    runtime = ScriptedRuntime(result({"txt": "yes"}))
    with pytest.raises(LMStudioServerError, match=r"Could not ask: the server's result of 'ask'.*`\$`"):
        run(runtime.llm().call(ASK, None, "ask"))


def test_a_timeout_forgets_the_call_and_its_late_reply_is_ignored() -> None:
    runtime = ScriptedRuntime(LMStudioTimeoutError("Could not ask: No message."))
    with pytest.raises(LMStudioTimeoutError, match=r"^Could not ask: No message.$"):
        run(runtime.llm().call(ASK, None, "ask"))
    assert runtime.timeouts == [pytest.approx(7.5, abs=1)]
    assert runtime.multiplexers[0].is_idle
    runtime.arrive(result({"text": "late"}))
    assert not runtime.inboxes[0].has_items


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_interrupted_call_is_forgotten(interrupt: BaseException) -> None:
    runtime = ScriptedRuntime(interrupt)
    with pytest.raises(type(interrupt)):
        run(runtime.llm().call_many(ASK, ["A", "B"], "ask"))
    assert runtime.multiplexers[0].is_idle


def test_a_call_is_forgotten_even_if_it_was_never_started() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    runtime.hold_posts = True
    with pytest.raises(KeyboardInterrupt):
        run(runtime.llm().call(ASK, None, "ask"))
    runtime.run_posts()
    assert runtime.multiplexers[0].is_idle


def test_forgetting_before_the_call_was_made_does_nothing() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    runtime.hold_posts = True
    with pytest.raises(KeyboardInterrupt):
        run(runtime.llm().call(ASK, None, "ask"))
    start, forget = runtime.posts
    forget()
    assert runtime.multiplexers == []
    start()
    assert len(runtime.sent) == 1


# Channels ------------------------------------------------------------------------------------------------------------


def test_a_channel_delivers_its_packets_in_order() -> None:
    runtime = ScriptedRuntime(word("a"), word("b"), packet({"type": "done"}))
    channel = runtime.llm().channel(TALK, {"topic": "tea"}, "talk").open()
    received = [run(channel.receive()) for _ in range(3)]
    assert received == [Word("a"), Word("b"), Done()]
    assert runtime.sent == [
        {"type": "channelCreate", "endpoint": "talk", "channelId": 1, "creationParameter": {"topic": "tea"}}
    ]


def test_packets_reach_their_own_channel() -> None:
    runtime = ScriptedRuntime()
    first, second = talk(runtime), talk(runtime)
    runtime.arrive(word("for two", 2), word("for one", 1))
    assert run(first.receive()) == Word("for one")
    assert run(second.receive()) == Word("for two")


def test_calls_and_channels_never_share_an_id() -> None:
    runtime = ScriptedRuntime(result({"text": "yes"}, 2), word("a", 1))
    channel = talk(runtime)
    assert run(runtime.llm().call(ASK, None, "ask")) == Answer("yes")
    assert run(channel.receive()) == Word("a")


def test_a_closed_channel_has_no_next_packet() -> None:
    channel = talk(ScriptedRuntime(close()))
    with pytest.raises(LMStudioChannelClosedError, match="Could not talk: the server closed the channel"):
        run(channel.receive())
    assert channel.finished


def test_receiving_again_after_the_end_raises_instead_of_waiting_for_ever() -> None:
    channel = talk(ScriptedRuntime(close()))
    for _ in range(2):
        with pytest.raises(LMStudioChannelClosedError):
            run(channel.receive())


def test_a_channel_error_is_raised_with_its_class() -> None:
    error = {"title": "x", "displayData": {"code": "generic.specificModelUnloaded"}}
    channel = talk(ScriptedRuntime(channel_error(error)))
    with pytest.raises(LMStudioModelNotFoundError, match="Could not talk: x"):
        run(channel.receive())
    assert channel.finished


def test_a_channel_error_without_details_ends_the_channel() -> None:
    channel = talk(ScriptedRuntime(b'{"type":"channelError","channelId":1}'))
    with pytest.raises(LMStudioServerError, match="Could not talk: Unknown server error"):
        run(channel.receive())


def test_an_error_packet_of_an_older_server_is_a_failure() -> None:
    runtime = ScriptedRuntime(packet({"type": "error", "error": {"title": "Out of memory"}}))
    channel = talk(runtime)
    with pytest.raises(LMStudioServerError, match="Could not talk: Out of memory"):
        run(channel.receive())
    assert channel.finished
    assert runtime.multiplexers[0].is_idle


def test_packets_are_sent_on_an_open_channel_only() -> None:
    runtime = ScriptedRuntime(close())
    channel = talk(runtime)
    channel.send(Stop())
    with pytest.raises(LMStudioChannelClosedError):
        run(channel.receive())
    channel.send(Stop())
    assert runtime.sent_packets() == [{"type": "stop"}]


def test_a_packet_posted_before_the_channel_ended_is_not_sent_after_it() -> None:
    runtime = ScriptedRuntime()
    channel = talk(runtime)
    runtime.hold_posts = True
    channel.send(Stop())
    runtime.arrive(close())
    runtime.run_posts()
    assert runtime.sent_packets() == []


def test_posts_run_in_the_order_of_the_calls() -> None:
    runtime = ScriptedRuntime()
    runtime.hold_posts = True
    channel = talk(runtime)
    channel.send(Stop())
    channel.close()
    assert runtime.sent == []
    runtime.run_posts()
    assert [message["type"] for message in runtime.sent] == ["channelCreate", "channelSend"]
    assert runtime.multiplexers[0].is_idle


def test_late_packets_of_a_closed_channel_are_dropped_silently(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    runtime = ScriptedRuntime()
    channel = talk(runtime)
    channel.close()
    delivered = len(runtime.inboxes[0]._items)
    runtime.arrive(word("late"), channel_error({"title": "late"}), close(), word("later"))
    assert len(runtime.inboxes[0]._items) == delivered
    assert caplog.records == []


def test_closing_a_channel_from_elsewhere_wakes_who_waits_on_it() -> None:
    runtime = ScriptedRuntime()
    channel = talk(runtime)
    before = runtime.inboxes[0].wakes
    runtime.script(channel.close)
    with pytest.raises(LMStudioCancelledError, match="talk"):
        run(channel.receive())
    assert runtime.inboxes[0].wakes == before + 1


def test_a_timeout_leaves_the_channel_open_so_that_it_can_be_cancelled() -> None:
    runtime = ScriptedRuntime(LMStudioTimeoutError("Could not talk: No message."), word("after all"))
    channel = talk(runtime)
    with pytest.raises(LMStudioTimeoutError, match=r"^Could not talk: No message.$"):
        run(channel.receive())
    assert not channel.finished
    assert run(channel.receive()) == Word("after all")


# What a newer server says --------------------------------------------------------------------------------------------

ODD_PACKETS = [
    packet({"type": "picture", "url": "x"}),
    packet({"no": "type"}),
    packet({"type": 5}),
    packet({"type": ["word"]}),
    packet("text"),
    packet(None),
    packet([]),
    {"type": "channelSend", "channelId": 1},
]


@pytest.mark.parametrize("odd", ODD_PACKETS)
def test_a_packet_of_unknown_kind_is_a_warning_and_the_channel_lives_on(odd: dict[str, Any]) -> None:
    channel = talk(ScriptedRuntime(odd, word("next")))
    with pytest.warns(LMStudioUnknownMessageWarning, match="Ignored a packet of 'talk'"):
        assert run(channel.receive()) == Word("next")


@pytest.mark.parametrize("odd", ODD_PACKETS)
def test_an_unknown_packet_is_harmless_under_warnings_as_errors(
    odd: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    channel = talk(ScriptedRuntime(odd, word("next")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(channel.receive()) == Word("next")
    assert "Ignored a packet of 'talk'" in caplog.text


def test_unknown_members_of_a_packet_are_dropped_silently() -> None:
    channel = talk(ScriptedRuntime(packet({"type": "word", "text": "a", "colour": "red"})))
    assert run(channel.receive()) == Word("a")


def test_a_known_packet_with_an_odd_member_is_used() -> None:
    channel = talk(ScriptedRuntime(packet({"type": "word", "text": 5})))
    assert run(channel.receive()) == Word("")


ODD_FRAMES = [
    b"not json",
    b"",
    b"[]",
    b"null",
    b"{}",
    b"\xff\xfe",
    b'{"type":"hologram","channelId":1}',
    b'{"type":"channelSend"}',
    b'{"type":"channelSend","channelId":"1"}',
    b'{"type":"rpcResult"}',
    b'{"type":"rpcResult","callId":null}',
    b'{"type":"channelClose"}',
    b'{"type":"communicationWarning","warning":5}',
]


def test_a_message_nested_too_deeply_is_a_warning() -> None:
    runtime = ScriptedRuntime(b'{"type":"rpcResult","callId":1,"result":' + b"[" * 100_000, result({"text": "yes"}))
    with pytest.warns(LMStudioUnknownMessageWarning, match="Ignored a message"):
        assert run(runtime.llm().call(ASK, None, "ask")) == Answer("yes")


@pytest.mark.parametrize("odd", ODD_FRAMES)
def test_an_odd_frame_is_a_warning_and_the_calls_live_on(odd: bytes) -> None:
    runtime = ScriptedRuntime(odd, result({"text": "yes"}))
    with pytest.warns(LMStudioUnknownMessageWarning, match="Ignored a message"):
        assert run(runtime.llm().call(ASK, None, "ask")) == Answer("yes")


@pytest.mark.parametrize("odd", ODD_FRAMES)
def test_an_odd_frame_is_harmless_under_warnings_as_errors(odd: bytes, caplog: pytest.LogCaptureFixture) -> None:
    runtime = ScriptedRuntime()
    channel = talk(runtime)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.arrive(odd, word("next in the same read"))
    assert run(channel.receive()) == Word("next in the same read")
    assert "Ignored a message" in caplog.text


def test_the_warning_of_an_odd_frame_does_not_repeat_its_content() -> None:
    # Python remembers every warning text that it has shown, for ever.
    multiplexer = Multiplexer()
    with pytest.warns(LMStudioUnknownMessageWarning) as caught:
        multiplexer.receive([b'{"type":"hologram","serial":%d}' % number for number in range(3)])
    assert len({str(warning.message) for warning in caught}) == 1


def test_a_warning_of_the_server_is_passed_on() -> None:
    with pytest.warns(LMStudioUnknownMessageWarning, match="no such endpoint"):
        Multiplexer().receive([b'{"type":"communicationWarning","warning":"no such endpoint","kind":"new"}'])


@pytest.mark.parametrize(
    "message",
    [
        {"type": "keepAliveAck"},
        {"type": "channelAck", "channelId": 1, "ackId": 2},
        {"type": "signalError", "subscribeId": 1, "error": {}},
        {"type": "writableSignalError", "subscribeId": 1, "error": {}},
        word("x", 99),
        close(99),
        channel_error({}, 99),
        result({}, 99),
        rpc_error({}, 99),
        {"type": "channelSend", "channelId": 1, "message": {"type": "word", "text": "a"}, "ackId": 4, "new": True},
    ],
)
def test_messages_that_concern_nobody_are_ignored_silently(message: dict[str, Any]) -> None:
    runtime = ScriptedRuntime()
    talk(runtime)
    runtime.arrive(message)


@pytest.mark.parametrize("text", [r"half \ud83d", r"\udca9 half", r"\ud83d\ud83d\udca9 \\ud83d"])
def test_half_a_surrogate_pair_does_not_lose_the_message(text: str) -> None:
    # JavaScript strings may be cut inside a character, and JSON.stringify writes that as an escape.
    runtime = ScriptedRuntime(b'{"type":"rpcResult","callId":1,"result":{"text":"' + text.encode() + b'"}}')
    answer = run(runtime.llm().call(ASK, None, "ask"))
    assert "\N{REPLACEMENT CHARACTER}" in answer.text
    assert answer.text.encode().decode() == answer.text


def test_input_that_cannot_be_json_is_refused_before_anything_is_sent() -> None:
    runtime = ScriptedRuntime()
    for parameter in (object(), {"text": "half \ud83d"}, {(1, 2): 3}):
        with pytest.raises(LMStudioValueError, match="cannot be JSON"):
            run(runtime.llm().call(ASK, parameter, "ask"))
    assert runtime.multiplexers == []


# One read, many waiters ----------------------------------------------------------------------------------------------


def test_a_batch_wakes_each_run_of_deliveries_once() -> None:
    runtime = ScriptedRuntime()
    talk(runtime)
    talk(runtime)
    before = [inbox.wakes for inbox in runtime.inboxes]
    runtime.arrive(word("a", 1), word("b", 1), word("c", 2), word("d", 2), word("e", 2))
    assert [inbox.wakes for inbox in runtime.inboxes] == [count + 1 for count in before]
    assert [len(inbox._items) for inbox in runtime.inboxes] == [2, 3]


# The end of a connection ---------------------------------------------------------------------------------------------


def test_a_lost_connection_reaches_every_waiter() -> None:
    runtime = ScriptedRuntime(lambda: runtime.multiplexers[0].fail(LOST))
    channel = talk(runtime)
    with pytest.raises(LMStudioWebsocketError, match="lost"):
        run(runtime.llm().call(ASK, None, "ask"))
    with pytest.raises(LMStudioWebsocketError, match="lost"):
        run(channel.receive())
    assert channel.finished
    # Of the first, also that its connection is known.
    assert [inbox.wakes for inbox in runtime.inboxes] == [2, 1]


def test_each_waiter_gets_the_error_with_a_traceback_of_its_own() -> None:
    cause = OSError("reset by peer")
    lost = LMStudioWebsocketError("lost")
    lost.__cause__ = cause
    runtime = ScriptedRuntime()
    channels = [talk(runtime), talk(runtime)]
    runtime.multiplexers[0].fail(lost)
    caught = []
    for channel in channels:
        with pytest.raises(LMStudioWebsocketError) as info:
            run(channel.receive())
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert all(error is not lost and error.__cause__ is cause for error in caught)
    assert lost.__traceback__ is None
    lengths = [len(traceback.extract_tb(error.__traceback__)) for error in caught]
    assert lengths[0] == lengths[1]


def test_many_calls_in_flight_fail_once_with_the_connection() -> None:
    runtime = ScriptedRuntime(result({"text": "a"}), lambda: runtime.multiplexers[0].fail(LOST))
    with pytest.raises(LMStudioWebsocketError):
        run(runtime.llm().call_many(ASK, ["A", "B", "C"], "ask"))


def test_the_next_call_after_a_loss_connects_again() -> None:
    runtime = ScriptedRuntime()
    talk(runtime)
    runtime.multiplexers[0].fail(LOST)
    runtime.script(result({"text": "again"}))
    assert run(runtime.llm().call(ASK, None, "ask")) == Answer("again")
    assert len(runtime.multiplexers) == 2
    assert runtime.multiplexers[1].failure is None


def test_calls_share_a_connection_while_it_lives() -> None:
    runtime = ScriptedRuntime(void(1), void(2))
    run(runtime.llm().call(TELL, None, "tell"))
    run(runtime.llm().call(TELL, None, "tell"))
    assert len(runtime.multiplexers) == 1


def test_each_namespace_has_a_connection_of_its_own() -> None:
    runtime = ScriptedRuntime(void(), void())
    run(runtime.port("llm").call(TELL, None, "tell"))
    run(runtime.port("embedding").call(TELL, None, "tell"))
    assert len(runtime.multiplexers) == 2
    assert runtime.port("llm") is runtime.port("llm")


def test_a_connection_that_fails_while_it_is_made_refuses_what_follows() -> None:
    class Unreachable(ScriptedRuntime):
        def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
            super().connect(namespace, multiplexer)
            multiplexer.fail(LMStudioWebsocketError("refused"))

    runtime = Unreachable()
    channel = talk(runtime)
    with pytest.raises(LMStudioWebsocketError, match="refused"):
        run(channel.receive())
    with pytest.raises(LMStudioWebsocketError, match="refused"):
        run(runtime.llm().call_many(ASK, ["A", "B"], "ask"))
    assert runtime.sent == []


def test_the_first_reason_for_the_end_of_a_connection_stands() -> None:
    multiplexer = Multiplexer()
    multiplexer.fail(LOST)
    multiplexer.fail(closed_error())
    assert multiplexer.failure is LOST


def test_a_lost_connection_drops_what_was_not_sent_yet() -> None:
    multiplexer = Multiplexer()
    runtime = ScriptedRuntime()
    multiplexer.call("ask", _wire.ABSENT, runtime.new_inbox())
    multiplexer.fail(LOST)
    assert multiplexer.take_outgoing() == []
    assert multiplexer.is_idle


def test_frames_queue_until_the_writer_takes_them() -> None:
    multiplexer = Multiplexer()
    inbox = ScriptedRuntime().new_inbox()
    multiplexer.call("a", _wire.ABSENT, inbox)
    multiplexer.open("b", _wire.ABSENT, inbox)
    assert not multiplexer.is_idle
    assert [b'"a"' in bytes(message) for message in multiplexer.take_outgoing()] == [True, False]
    assert multiplexer.take_outgoing() == []


def test_a_large_parameter_waits_for_the_writer_without_a_copy() -> None:
    runtime = ScriptedRuntime()
    multiplexer = Multiplexer()
    payload = _wire.encode_payload("x" * 100_000)
    assert isinstance(payload, _wire.LongText)
    (whole,) = payload.parts
    multiplexer.call("a", payload, runtime.new_inbox())
    multiplexer.open("b", payload, runtime.new_inbox())
    for message in multiplexer.take_outgoing():
        assert isinstance(message, _wire.LongText)
        assert any(part is whole for part in message.parts)


def test_a_large_parameter_arrives_whole() -> None:
    text = "é" * 100_000
    runtime = ScriptedRuntime(result({"text": text}))
    assert run(runtime.llm().call(ASK, {"question": text}, "ask")) == Answer(text)
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "ask", "callId": 1, "parameter": {"question": text}}]


def test_a_call_may_be_given_its_parameter_in_parts() -> None:
    runtime = ScriptedRuntime(result({"text": "yes"}))
    parts = _wire.LongText(iter((b'{"question":', b'"?"}')), 16)
    assert run(runtime.llm().call(ASK, parts, "ask")) == Answer("yes")
    assert runtime.sent[0]["parameter"] == {"question": "?"}


def test_the_error_of_a_closed_client_says_so() -> None:
    assert "client was closed" in str(closed_error())


# run_blocking --------------------------------------------------------------------------------------------------------


def test_an_operation_that_never_suspends_returns_its_value() -> None:
    async def operation() -> int:
        return 5

    assert run_blocking(operation()) == 5


def test_an_operation_that_suspends_is_refused_and_finished() -> None:
    class Suspends:
        def __await__(self) -> Any:
            yield

    finished = []

    async def operation() -> None:
        try:
            await Suspends()
        finally:
            finished.append(True)

    with pytest.raises(RuntimeError, match="only through its Runtime"):
        run_blocking(operation())
    assert finished == [True]


def test_the_scripted_runtime_does_not_wait_for_ever() -> None:
    with pytest.raises(WaitsForeverError):
        run(talk(ScriptedRuntime()).receive())
