# Generated from ../async/test_load.py by tools/make_sync.py. Edit that file instead.
"""Many predictions at once on one client: each complete, in order, and no longer in memory than necessary."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio._runtime import Inbox
from lmstudio.server import Reply
from surface.background import Background

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.unmeasured]

STREAMS = 100
FRAGMENTS = 200
CALLS_AT_ONCE = 50


def numbered(engine: ScriptedEngine, *before: Gate) -> None:
    """Each reply counts, and says in every fragment whose it is."""
    engine.reply = lambda request: Reply(
        [*before, *(f"{request.prompt.split()[-1]}.{number} " for number in range(FRAGMENTS))]
    )


def test_hundred_streams_are_complete_and_in_order(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    numbered(engine, gate)
    with lms.Client(proxy.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")

        def read(number: int) -> list[str]:
            with model.complete_stream(f"number {number}") as stream:
                return [fragment.content for fragment in stream]

        calls = [background.start(partial(read, number)) for number in range(STREAMS)]
        assert background.wait(lambda: proxy.wait_for_message("channelCreate", STREAMS + 1))
        gate.open()
        for number, call in enumerate(calls):
            assert call.result() == [f"{number}.{index} " for index in range(FRAGMENTS)]
    assert proxy.accepted == ["llm"]


def test_thousand_predictions_complete(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")

        def work(numbers: range) -> list[str]:
            return [(model.respond(f"number {number}")).content for number in numbers]

        shares = [range(start, 1000, CALLS_AT_ONCE) for start in range(CALLS_AT_ONCE)]
        calls = [background.start(partial(work, share)) for share in shares]
        for call, share in zip(calls, shares, strict=True):
            assert call.result() == [f"You said: number {number}" for number in share]
    assert len(engine.requests) == 1000


def test_consumer_that_stops_reading_delays_nobody(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    """Its own fragments wait for it, all of them, while others get a hundred times as many."""
    numbered(engine)
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.complete_stream("number 0") as stalled:
            fragments = iter(stalled)
            assert (next(fragments)).content == "0.0 "
            for number in range(1, STREAMS):
                result = model.complete(f"number {number}")
                assert result.stats.predicted_tokens_count == FRAGMENTS
            assert [fragment.content for fragment in fragments] == [f"0.{n} " for n in range(1, FRAGMENTS)]
    assert proxy.accepted == ["llm"]


def waiting() -> int:
    """How many packets have arrived and have not been read, in all calls of this process."""
    inboxes = [each for each in gc.get_objects() if isinstance(each, Inbox)]
    return sum(len(inbox._items) for inbox in inboxes)


def test_only_what_was_not_read_is_kept_and_only_until_it_is_left(server: Server, engine: ScriptedEngine) -> None:
    numbered(engine)
    gc.collect()  # what earlier tests have left
    with lms.Client(server.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        stalled = [model.complete_stream(f"number {number}") for number in range(5)]
        for stream in stalled:
            stream.start()
        # Besides the fragments: progress, the result, the end.
        background.until(lambda: waiting() >= 5 * FRAGMENTS)
        for number in range(5, 20):
            model.complete(f"number {number}")
        assert 5 * FRAGMENTS <= waiting() <= 5 * (FRAGMENTS + 10)
        assert (stalled[0].wait_for_result()).stats.predicted_tokens_count == FRAGMENTS
        assert 4 * FRAGMENTS <= waiting() <= 4 * (FRAGMENTS + 10)
        del stream, stalled
        gc.collect()
        background.until(lambda: waiting() == 0)
