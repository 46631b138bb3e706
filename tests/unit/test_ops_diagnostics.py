"""The stream of a server's log, with a scripted server."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, run

from lmstudio import _bounded_channel
from lmstudio._abort import AbortSignal
from lmstudio._ops.diagnostics import LogEvents
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioRuntimeError,
    LMStudioServerError,
    LMStudioUnknownMessageWarning,
)

if TYPE_CHECKING:
    from lmstudio._sdk_models import DiagnosticsLogEvent

STOP = {"type": "stop"}


def line(content: str) -> dict[str, Any]:
    """What the server sends of one line of its log."""
    data = {"type": "server.log", "content": content, "level": "info"}
    return packet({"type": "log", "log": {"timestamp": 1.0, "data": data}})


def stream(runtime: ScriptedRuntime, signal: AbortSignal | None = None) -> LogEvents:
    events = LogEvents(runtime.port("diagnostics"), None, signal)
    events.start()
    return events


def content(event: DiagnosticsLogEvent | None) -> str | None:
    return None if event is None else getattr(event.data, "content", None)


def rest(events: LogEvents) -> list[str | None]:
    contents = []
    while (event := run(events.next_event())) is not None:
        contents.append(content(event))
    return contents


def test_the_end_of_the_channel_is_the_end_of_the_stream() -> None:
    runtime = ScriptedRuntime(line("one"), line("two"), close())
    events = stream(runtime)
    assert runtime.sent == [{"type": "channelCreate", "endpoint": "streamLogs", "channelId": 1}]
    assert rest(events) == ["one", "two"]
    assert run(events.next_event()) is None
    assert events.state == "ended"
    assert runtime.sent_packets() == []


def test_an_error_of_the_server_is_raised_each_time() -> None:
    events = stream(ScriptedRuntime(line("one"), channel_error({"title": "No log today"})))
    assert content(run(events.next_event())) == "one"
    for _ in range(2):
        with pytest.raises(LMStudioServerError, match="Could not stream the server's log: No log today") as caught:
            run(events.next_event())
        assert caught.value.context["endpoint"] == "streamLogs"
    assert events.state == "failed"


def test_silence_is_no_failure() -> None:
    runtime = ScriptedRuntime(line("late"))
    run(stream(runtime).next_event())
    assert runtime.timeouts == [None]


def test_an_interrupted_wait_loses_nothing() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt(), line("one"))
    events = stream(runtime)
    with pytest.raises(KeyboardInterrupt):
        run(events.next_event())
    assert content(run(events.next_event())) == "one"
    assert runtime.sent_packets() == []


def test_closing_stops_the_server_once() -> None:
    runtime = ScriptedRuntime()
    events = stream(runtime)
    events.close()
    events.close()
    runtime.arrive(line("late"))
    assert run(events.next_event()) is None
    assert runtime.sent_packets() == [STOP]
    with pytest.raises(LMStudioRuntimeError, match="has ended"):
        events.start()


def test_an_interrupted_start_is_taken_back() -> None:
    runtime = ScriptedRuntime()
    runtime.interrupt_next_post = True
    with pytest.raises(KeyboardInterrupt):
        stream(runtime)
    assert runtime.sent_packets() == [STOP]


def test_a_signal_stops_the_server() -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(signal.abort)
    events = stream(runtime, signal)
    with pytest.raises(LMStudioCancelledError, match="stream the server's log: Aborted") as caught:
        run(events.next_event())
    assert caught.value.context["endpoint"] == "streamLogs"
    assert runtime.sent_packets() == [STOP]


def test_an_event_of_an_unknown_type_hides_no_others() -> None:
    unknown = packet({"type": "log", "log": {"timestamp": 1, "data": {"type": "weather.report"}}})
    events = stream(ScriptedRuntime(unknown, line("one")))
    with pytest.warns(LMStudioUnknownMessageWarning, match=r"weather\.report"):
        assert content(run(events.next_event())) == "one"


def test_a_stream_that_has_failed_is_in_no_cycle() -> None:
    events = stream(ScriptedRuntime(channel_error({"title": "No log today"})))
    with pytest.raises(LMStudioServerError):
        run(events.next_event())
    gc.disable()
    try:
        left = weakref.ref(events)
        del events
        assert left() is None
    finally:
        gc.enable()


# Readers that fall behind ---------------------------------------------------------------------------------------------


def test_who_falls_behind_gets_what_there_is_and_then_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_channel, "MAX_WAITING_PACKETS", 3)
    runtime = ScriptedRuntime()
    events = stream(runtime)
    runtime.arrive(line("0"))
    assert content(run(events.next_event())) == "0"
    runtime.arrive(*(line(str(number)) for number in range(1, 9)))
    assert runtime.sent_packets() == [STOP]
    assert [content(run(events.next_event())) for _ in range(3)] == ["1", "2", "3"]
    with pytest.raises(LMStudioRuntimeError, match="any longer: 3 messages had come that were not read"):
        run(events.next_event())
    assert runtime.sent_packets() == [STOP]


def test_who_keeps_up_may_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_channel, "MAX_WAITING_PACKETS", 2)
    monkeypatch.setattr(_bounded_channel, "MAX_WAITING_BYTES", 300)
    runtime = ScriptedRuntime()
    events = stream(runtime)
    for _ in range(20):
        runtime.arrive(line("one"), line("two"))
        assert [content(run(events.next_event())) for _ in range(2)] == ["one", "two"]


def test_the_size_of_what_waits_is_limited_but_not_that_of_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_channel, "MAX_WAITING_BYTES", 100)
    runtime = ScriptedRuntime()
    events = stream(runtime)
    runtime.arrive(line("long" * 100), line("more"))
    assert content(run(events.next_event())) == "long" * 100
    with pytest.raises(LMStudioRuntimeError, match="1 messages had come"):
        run(events.next_event())
