# Generated from ../async/test_diagnostics.py by tools/make_sync.py. Edit that file instead.
"""The server's log, as its clients read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from log_watchers import is_watched
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from surface.background import Background
from surface.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that several tests watch, one after the other."""
    with Server(engine=ScriptedEngine()) as server:
        yield server


def content(event: lms.DiagnosticsLogEvent) -> str:
    assert isinstance(event.data, lms.DiagnosticsLogEventDataServerLog)
    return event.data.content


def test_events_of_the_types_that_are_wanted_arrive(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        types: list[lms.LogEventType] = ["llm.prediction.input", "llm.prediction.output"]
        with client.diagnostics.stream_logs(types, timeout=PATIENCE_SECONDS) as events:
            background.until(lambda: is_watched(server))
            client.system.notify("nobody asked for this")
            (client.llm.model("scripted-chat")).respond("Hello!")
            first, second = next(events), next(events)
        background.until(lambda: not is_watched(server))
    assert isinstance(first.data, lms.DiagnosticsLogEventDataLlmPredictionInput)
    assert "Hello!" in first.data.input
    assert isinstance(second.data, lms.DiagnosticsLogEventDataLlmPredictionOutput)
    assert "Hello!" in second.data.output
    assert second.data.stats is not None
    assert second.timestamp >= first.timestamp > 1e12


def test_loops_go_on_where_the_last_one_was_left(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        events = client.diagnostics.stream_logs("server.log", timeout=PATIENCE_SECONDS)
        events.start()
        background.until(lambda: is_watched(server))
        client.system.notify("one")
        client.system.notify("two")
        notes = []
        for event in events:
            if "Notification" in content(event):
                notes.append(content(event))
                break
        for event in events:
            if "Notification" in content(event):
                notes.append(content(event))
                break
        assert notes == ["Notification: one", "Notification: two"]
        assert "running" in repr(events)
        events.close()
        assert [event for event in events] == []
        assert "ended" in repr(events)
        with pytest.raises(lms.LMStudioRuntimeError, match="has ended"):
            events.start()


def test_a_stream_that_nobody_holds_is_stopped(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        events = client.diagnostics.stream_logs()
        events.start()
        background.until(lambda: is_watched(server))
        del events
        background.until(lambda: not is_watched(server))


def test_closing_it_ends_the_wait_for_the_next_event(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        events = client.diagnostics.stream_logs("runtime.log")

        def read() -> list[lms.DiagnosticsLogEvent]:
            return [event for event in events]

        waiting = [background.start(read) for _ in range(2)]
        background.until(lambda: is_watched(server))
        events.close()
        assert [each.result() for each in waiting] == [[], []]


def test_a_lost_connection_is_an_error(server: Server) -> None:
    with FaultProxy(server.port, patience_seconds=PATIENCE_SECONDS) as proxy:
        with lms.Client(proxy.api_host) as client, Background() as background:
            events = client.diagnostics.stream_logs("runtime.log", timeout=PATIENCE_SECONDS)
            events.start()
            background.until(lambda: is_watched(server))
            proxy.reset_connections()
            for _ in range(2):
                with pytest.raises(lms.LMStudioWebsocketError, match=r"reset by peer|forcibly closed"):
                    next(events)
            assert "failed" in repr(events)


def test_an_aborted_stream_says_so(server: Server) -> None:
    signal = lms.AbortSignal()
    with lms.Client(server.api_host) as client, Background() as background:
        events = client.diagnostics.stream_logs("runtime.log", signal=signal)
        waiting = background.start(events.__next__)
        background.until(lambda: is_watched(server))
        signal.abort("enough")
        with pytest.raises(lms.LMStudioCancelledError, match="stream the server's log: Aborted: enough"):
            waiting.result()
        with pytest.raises(lms.LMStudioCancelledError, match="enough"):
            client.diagnostics.stream_logs(signal=signal).start()


def test_without_a_server_there_is_nothing_to_stream() -> None:
    with lms.Client("127.0.0.1:1") as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="not reachable"):
            for _ in client.diagnostics.stream_logs():
                pass


def test_types_that_there_are_not_are_refused() -> None:
    client = lms.Client("127.0.0.1:1")
    for types, words in (("llm", "'llm' is not a type of events"), ([], "no event could ever"), (5, "list of types")):
        with pytest.raises(lms.LMStudioValueError, match=words):
            client.diagnostics.stream_logs(types)  # type: ignore[arg-type]
    client.close()
