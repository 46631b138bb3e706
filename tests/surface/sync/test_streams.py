# Generated from ../async/test_streams.py by tools/make_sync.py. Edit that file instead.
"""Streams as objects: iterated again, by several at once, not awaited, stopped by a signal; and coroutine callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import Reasoning, Reply
from surface.background import Background

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server

REASONING: Any = {"reasoningParsing": {"enabled": True, "startString": "<think>", "endString": "</think>"}}


def test_a_stream_can_be_iterated_again(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "one", " two", "", " grüße 🙂", "x" * 70_000])
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi", config=REASONING)
        first = [fragment for fragment in stream]
        second = [fragment for fragment in stream]
    assert first == second
    assert "".join(fragment.content for fragment in second) == stream.result().content


def test_log_probabilities_are_there_again(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi", config={"logProbs": 2})
        first = [fragment for fragment in stream]
        second = [fragment for fragment in stream]
    assert first == second
    assert first[0].tokens is not None
    assert first[0].tokens[0].candidates is not None


def test_a_second_loop_begins_with_what_the_first_has_read(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with model.respond_stream("Hi") as stream:
            for _ in stream:
                break
            rest = [fragment.content for fragment in stream]
    assert rest[0] == "one"
    assert stream.result().stop_reason == "userStopped"


def test_a_stream_ends_by_a_signal_with_the_text_so_far(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    signal = lms.AbortSignal()
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with Background() as background:
            running = background.start(lambda: model.respond("Hi", signal=signal))
            background.wait(gate.reached)
            signal.abort()
            result = running.result()
    assert result.stop_reason == "userStopped"
    assert engine.wait_for_cancel()


def test_a_signal_that_was_aborted_before_sends_nothing(server: Server, engine: ScriptedEngine) -> None:
    signal = lms.AbortSignal()
    signal.abort("no time")
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioCancelledError, match="no time"):
            model.complete("Hi", signal=signal)
    assert engine.requests == []


def test_one_signal_stops_all_that_use_it(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    signal = lms.AbortSignal()
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        with Background() as background:
            running = [background.start(lambda: model.respond("Hi", signal=signal)) for _ in range(5)]
            background.until(lambda: len(engine.requests) == 5)
            signal.abort()
            results = [each.result() for each in running]
    assert {result.stop_reason for result in results} == {"userStopped"}


def test_progress_has_token_counts(server: Server) -> None:
    seen: list[lms.PromptProcessingProgress] = []
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hi", on_prompt_processing_progress=seen.append)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    details = seen[-1].details
    assert details is not None
    assert details.total_prompt_token_count == result.stats.prompt_tokens_count
    assert details.unprocessed_prompt_token_count == 0


def test_results_say_model_and_usage(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        result = model.respond("Hello there", config={"stopStrings": ["there"]})
    assert result.model == "scripted-chat"
    assert (result.stop_reason, result.stop_string) == ("stopStringFound", "there")
    assert result.usage.total_tokens == result.usage.prompt_tokens + result.usage.predicted_tokens
