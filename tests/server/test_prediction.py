"""Predictions: progress, fragments, statistics, and every way in which one can end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from prediction_stage import END, Events, Output, Stage, predict, run

from lmstudio._sdk_models import (
    LlmPredictionFragment,
    LlmPredictionStats,
)
from lmstudio.server.engine.base import (
    EngineError,
    GenerationEnd,
    PromptProgress,
    TextChunk,
    TokenInfo,
)
from lmstudio.server.engine.scripted import Gate, Reasoning, Reply, ScriptedEngine
from lmstudio.server.errors import RequestError

# Progress ------------------------------------------------------------------------------------------------------------


def test_progress_goes_from_0_to_1_before_the_first_fragment() -> None:
    _, output = predict(Reply("Hello there", prompt_steps=4), "a b c d")
    assert output.progress == [0.0, 0.25, 0.5, 0.75, 1.0]
    kinds = [packet.type for packet in output.packets]
    assert kinds.index("fragment") == len(output.progress)


def test_progress_tells_cached_processed_and_remaining_tokens() -> None:
    _, output = predict(model=Events(PromptProgress(2, 0, 10), PromptProgress(2, 4, 10), END))
    details = [packet.details for packet in output.packets if packet.type == "promptProcessingProgress"]
    assert [
        (each.cached_token_count, each.processed_prompt_token_count, each.unprocessed_prompt_token_count)
        for each in details
    ] == [(2, 0, 8), (2, 4, 4), (2, 8, 0)]
    assert {each.total_prompt_token_count for each in details} == {10}
    assert output.progress == [0.0, 0.5, 1.0]


def test_progress_of_a_prompt_that_is_all_cached_still_begins_with_0_and_ends_with_1() -> None:
    _, output = predict(model=Events(PromptProgress(5, 0, 5), TextChunk("a", 1), END))
    assert output.progress == [0.0, 1.0]


def test_progress_is_sent_even_if_the_engine_reports_none() -> None:
    _, output = predict(model=Events(TextChunk("a", 1), END))
    assert output.progress == [0.0, 1.0]


def test_progress_never_decreases_and_never_repeats() -> None:
    reports = [PromptProgress(0, done, 4) for done in (1, 3, 2, 3, 4, 4)]
    _, output = predict(model=Events(*reports, TextChunk("a", 1), END))
    assert output.progress == [0.0, 0.75, 1.0]


def test_progress_is_complete_even_without_text() -> None:
    _, output = predict(model=Events(PromptProgress(0, 0, 4), END))
    assert output.progress == [0.0, 1.0]


# Fragments -----------------------------------------------------------------------------------------------------------


def test_each_chunk_becomes_a_fragment_at_once() -> None:
    _, output = predict(["Hel", "lo", " there"])
    assert output.fragments == [
        LlmPredictionFragment(
            content=text, tokens_count=1, contains_drafted=False, reasoning_type="none", is_structural=False
        )
        for text in ("Hel", "lo", " there")
    ]
    assert output.drained == 3


def test_reasoning_is_told_apart_and_its_tags_remain() -> None:
    _, output = predict(["<th", "ink>", "hm", "</think>", "Yes"])
    assert [(each.reasoning_type, each.content) for each in output.fragments] == [
        ("reasoningStartTag", "<think>"),
        ("reasoning", "hm"),
        ("reasoningEndTag", "</think>"),
        ("none", "Yes"),
    ]


def test_reasoning_that_the_prompt_has_opened_is_reasoning_from_the_start() -> None:
    _, output = predict(["hm", "</think>", "Yes"], "Think!\n<think>\n")
    assert [each.reasoning_type for each in output.fragments] == ["reasoning", "reasoningEndTag", "none"]


def test_reasoning_is_plain_text_when_parsing_is_off() -> None:
    parsing = {"enabled": False, "startString": "<think>", "endString": "</think>"}
    _, output = predict(["<think>hm</think>"], reasoning__parsing=parsing)
    assert [(each.reasoning_type, each.content) for each in output.fragments] == [("none", "<think>hm</think>")]


def test_text_held_back_for_a_tag_comes_out_at_the_end() -> None:
    _, output = predict(["a", "<thi"])
    assert output.text == "a<thi"


def test_tokens_are_sent_when_log_probs_are_wanted() -> None:
    candidates = (TokenInfo(7, "a", -0.5), TokenInfo(8, "b", float("-inf")), TokenInfo(9, "c"))
    chunk = TextChunk("ab", 2, [TokenInfo(7, "a", -0.5, candidates), TokenInfo(8, "b", float("-inf"))])
    _, output = predict(model=Events(chunk, END), logProbs={"checked": True, "value": 3})
    assert msgspec.to_builtins(output.fragments[0].tokens) == [
        {"text": "a", "id": 7, "logProb": -0.5, "candidates": [{"text": "a", "id": 7, "logProb": -0.5}]},
        {"text": "b", "id": 8},
    ]


def test_tokens_are_absent_otherwise() -> None:
    _, output = predict(["a"])
    assert output.fragments[0].tokens is None


# Statistics ----------------------------------------------------------------------------------------------------------


def test_statistics_of_a_normal_end() -> None:
    # The clock of these tests ticks when it is read: at the start, at the first text, and at the end.
    stats, _ = predict(["a", "b"], "one two three")
    assert stats == LlmPredictionStats(
        stop_reason="eosFound",
        tokens_per_second=1000.0,
        time_to_first_token_sec=1.0,
        total_time_sec=2.0,
        prompt_tokens_count=3,
        predicted_tokens_count=2,
        total_tokens_count=5,
    )


def test_stop_string_is_reported_and_not_part_of_the_text() -> None:
    stats, output = predict("one two three", stopStrings=["two"])
    assert (stats.stop_reason, stats.stop_string, output.text) == ("stopStringFound", "two", "one ")


def test_stop_string_of_tool_calls_has_a_stop_reason_of_its_own() -> None:
    stats, _ = predict("one two three", toolCallStopStrings=["two"])
    assert (stats.stop_reason, stats.stop_string) == ("toolCalls", None)


def test_token_limit_is_reported() -> None:
    stats, output = predict("one two three", maxPredictedTokens={"checked": True, "value": 2})
    assert (stats.stop_reason, output.text) == ("maxPredictedTokensReached", "one two")


@pytest.mark.parametrize("speed", [float("inf"), float("nan")])
def test_speed_that_json_cannot_express_is_left_out(speed: float) -> None:
    stats, _ = predict(model=Events(GenerationEnd("eosFound", None, 1, 1, speed)))
    assert stats.tokens_per_second is None


def test_speed_is_measured_where_the_engine_does_not_tell_it() -> None:
    stats, _ = predict(model=Events(TextChunk("ab", 2), END))
    assert stats.tokens_per_second == 2.0  # the clock was read once since the first text


def test_speed_without_text_is_left_out() -> None:
    stats, _ = predict(model=Events(END))
    assert (stats.tokens_per_second, stats.time_to_first_token_sec) == (None, None)


def test_statistics_of_a_draft_model_are_reported() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine()).load()
        stage.instance.model = Events(GenerationEnd("eosFound", None, 1, 5, 1.0, 10, 4))
        stage.instance.draft_model_key = "draft"
        stats = await stage.prediction().run()
        assert (
            stats.used_draft_model_key,
            stats.total_draft_tokens_count,
            stats.accepted_draft_tokens_count,
            stats.rejected_draft_tokens_count,
            stats.ignored_draft_tokens_count,
        ) == ("draft", 10, 4, 6, 0)

    run(test)


def test_generation_without_an_end_has_failed() -> None:
    stats, _ = predict(model=Events(TextChunk("a", 1)))
    assert stats.stop_reason == "failed"


# Other ends ----------------------------------------------------------------------------------------------------------


def test_cancel_ends_the_generation_at_once_and_keeps_what_there_is() -> None:
    async def test() -> None:
        gate = Gate()
        stage = await Stage(ScriptedEngine(Reply(["Hello", "<thi", gate, "nk>"]))).load()
        prediction = stage.prediction("one two")
        running = asyncio.ensure_future(prediction.run())
        await gate.wait_reached()
        assert stage.instance.state().status == "generating"
        prediction.cancel()
        stats = await running
        assert (stats.stop_reason, stage.output.text) == ("userStopped", "Hello<thi")
        assert (stats.prompt_tokens_count, stats.predicted_tokens_count, stats.total_tokens_count) == (2, 2, 4)
        assert stage.engine.cancelled == 1
        assert stage.instance.state().status == "idle"

    run(test)


def test_cancel_ends_the_reading_of_the_prompt_at_once() -> None:
    async def test() -> None:
        gate = Gate()
        stage = await Stage(ScriptedEngine(Reply("Hello", prompt_gate=gate))).load()
        prediction = stage.prediction("one two")
        running = asyncio.ensure_future(prediction.run())
        await gate.wait_reached()
        assert stage.instance.state().status == "processingPrompt"
        prediction.cancel()
        stats = await running
        assert (stats.stop_reason, stats.prompt_tokens_count, stats.predicted_tokens_count) == ("userStopped", 2, 0)
        assert (stats.time_to_first_token_sec, stage.output.progress) == (None, [0.0])

    run(test)


def test_prediction_that_was_cancelled_before_it_began_does_not_reach_the_engine() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine("Hello")).load()
        prediction = stage.prediction()
        prediction.cancel()
        stats = await prediction.run()
        assert (stats.stop_reason, stats.prompt_tokens_count, stats.total_tokens_count) == ("userStopped", None, None)
        assert (stage.engine.requests, stage.output.packets) == ([], [])

    run(test)


def test_cancel_after_the_end_changes_nothing() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine("Hello")).load()
        prediction = stage.prediction()
        stats = await prediction.run()
        prediction.cancel()
        assert stats.stop_reason == "eosFound"

    run(test)


def test_task_that_is_cancelled_from_outside_aborts_the_generation_and_ends_cancelled() -> None:
    async def test() -> None:
        gate = Gate()
        stage = await Stage(ScriptedEngine(Reply(["Hello", gate]))).load()
        running = asyncio.ensure_future(stage.prediction().run())
        await gate.wait_reached()
        running.cancel()
        await asyncio.wait([running])
        assert (running.cancelled(), stage.engine.cancelled) == (True, 1)
        assert stage.instance.state().queued == 0

    run(test)


def test_unloading_the_model_ends_the_prediction_with_a_reason() -> None:
    async def test() -> None:
        gate = Gate()
        stage = await Stage(ScriptedEngine(Reply(["Hello", gate]))).load()
        running = asyncio.ensure_future(stage.prediction().run())
        await gate.wait_reached()
        await stage.instances.unload(stage.instance, "test")
        stats = await running
        assert (stats.stop_reason, stats.predicted_tokens_count) == ("modelUnloaded", 1)

    run(test)


def test_model_that_dies_fails_the_prediction_and_is_forgotten() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine(Reply("one two three", die_after=2))).load()
        with pytest.raises(RequestError, match="'scripted-chat' stopped unexpectedly") as caught:
            await stage.prediction().run()
        assert caught.value.cause
        assert stage.instances.loaded("llm") == []

    run(test)


def test_error_of_the_engine_passes_through() -> None:
    with pytest.raises(EngineError, match=r"Out of paper\."):
        predict(Reply(error="Out of paper."))


def test_structured_output_reaches_the_engine() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    _, output = predict(structured={"type": "json", "jsonSchema": schema})
    assert isinstance(json.loads(output.text)["a"], int)


# A budget for reasoning ----------------------------------------------------------------------------------------------

BUDGET = {"checked": True, "value": 2}
THOUGHTS = Reasoning(["One", " two", " three", " four"])


def kinds(output: Output) -> list[tuple[str, str]]:
    return [(each.reasoning_type, each.content) for each in output.fragments]


def test_reasoning_ends_after_its_budget_and_the_answer_follows() -> None:
    stats, output = predict(Reply([THOUGHTS, "Four."]), "Count!", reasoning__budgetTokens=BUDGET)
    assert kinds(output) == [
        ("reasoningStartTag", "<think>"),
        ("reasoning", "One"),
        ("reasoning", " two"),
        ("reasoning", "\n"),
        ("reasoningEndTag", "</think>"),
        ("none", "\n\n"),
        ("none", "Four."),
    ]
    assert (stats.stop_reason, stats.prompt_tokens_count, stats.predicted_tokens_count) == ("eosFound", 1, 4)
    assert output.progress == [0.0, 1.0]


@pytest.mark.parametrize(
    ("load_fields", "expected"),
    [
        ({}, "Count!<think>One two\n</think>\n\n"),
        ({"llm.load.llama.reasoningBudgetMessage": "Enough."}, "Count!<think>One two\nEnough.\n</think>\n\n"),
    ],
    ids=["silently", "with a message"],
)
def test_model_sees_its_reasoning_as_ended(load_fields: dict[str, Any], expected: str) -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine(Reply([THOUGHTS, "Four."]))).load(load_fields)
        await stage.prediction("Count!", reasoning__budgetTokens=BUDGET).run()
        assert stage.engine.requests[-1].prompt == expected

    run(test)


def test_reasoning_within_its_budget_is_not_touched() -> None:
    _, output = predict(Reply([THOUGHTS, "Four."]), reasoning__budgetTokens={"checked": True, "value": 5})
    assert output.text == "<think>One two three four</think>Four."


def test_reasoning_without_a_budget_is_not_touched() -> None:
    _, output = predict(Reply([THOUGHTS, "Four."]), reasoning__budgetTokens={"checked": False, "value": 0})
    assert output.text == "<think>One two three four</think>Four."


def test_reasoning_without_any_budget_that_the_prompt_has_opened_is_ended_in_the_prompt() -> None:
    _, output = predict(
        Reply([THOUGHTS, "Four."]), "Count!<think>\n", reasoning__budgetTokens={"checked": True, "value": 0}
    )
    assert kinds(output) == [("none", "Four.")]


def test_limit_of_tokens_holds_over_reasoning_and_answer() -> None:
    limit = {"checked": True, "value": 4}
    stats, output = predict(
        Reply([THOUGHTS, "Four", " and", " five"]), reasoning__budgetTokens=BUDGET, maxPredictedTokens=limit
    )
    assert output.text == "<think>One two\n</think>\n\nFour"
    assert (stats.stop_reason, stats.predicted_tokens_count) == ("maxPredictedTokensReached", 4)


def test_limit_of_tokens_that_reasoning_has_used_up_leaves_no_answer() -> None:
    limit = {"checked": True, "value": 3}
    stats, output = predict(Reply([THOUGHTS, "Four"]), reasoning__budgetTokens=BUDGET, maxPredictedTokens=limit)
    assert output.text == "<think>One two\n</think>\n\n"
    assert (stats.stop_reason, stats.predicted_tokens_count) == ("maxPredictedTokensReached", 3)


def test_context_that_reasoning_has_filled_leaves_no_answer() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine(Reply([THOUGHTS, "Four."]))).load()
        # With its reasoning the prompt has four words, as many as the context.
        stage.instance.model.context_length = 4
        stats = await stage.prediction("Count!", reasoning__budgetTokens=BUDGET).run()
        assert stats.stop_reason == "contextLengthReached"

    run(test)
