"""What a prediction makes of the text: reasoning and answer, and the value that was asked for."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest
from recorded_packets import fragment, success
from scripted_prediction import ANSWER_SCHEMA, predict, reply
from scripted_runtime import ScriptedRuntime, packet, run

from lmstudio.errors import LMStudioStructuredOutputError

# Reasoning -----------------------------------------------------------------------------------------------------------


def test_reasoning_is_split_from_the_answer() -> None:
    result = reply(
        fragment("Well, "),
        fragment("<think>", "reasoningStartTag"),
        fragment("hm", "reasoning"),
        fragment("m", "reasoning"),
        fragment("</think>", "reasoningEndTag"),
        fragment("4"),
        fragment("2"),
        success(),
    )
    assert result.content == "Well, <think>hmm</think>42"
    assert result.reasoning_content == "hmm"
    assert result.non_reasoning_content == "Well, 42"


def test_structural_text_is_neither_reasoning_nor_answer() -> None:
    result = reply(
        fragment("a"), fragment("|sep|", isStructural=True), fragment("r", "reasoning"), fragment("b"), success()
    )
    assert (result.content, result.reasoning_content, result.non_reasoning_content) == ("a|sep|rb", "r", "ab")


def test_text_of_a_new_reasoning_type_is_in_the_content_only() -> None:
    result = reply(fragment("a"), fragment("s", "reasoningSummary"), fragment("b"), success())
    assert (result.content, result.reasoning_content, result.non_reasoning_content) == ("asb", "", "ab")


def test_a_structured_answer_is_parsed_without_the_reasoning() -> None:
    result = reply(
        fragment("<think>", "reasoningStartTag"),
        fragment("{not json", "reasoning"),
        fragment("</think>", "reasoningEndTag"),
        fragment('{"zebra": 1}'),
        success(),
        response_format=ANSWER_SCHEMA,
    )
    assert result.parsed == {"zebra": 1}
    assert str(result) == '{\n  "zebra": 1\n}'


@pytest.mark.parametrize(
    "texts",
    [
        ['{"zebra": 1}'],
        ["<think>hm", "m</think>", '\n{"zebra": 1}'],
        ["\n<think>\n</think>\n\n", '{"zebra": 1}'],
        ["hm", 'm</think>{"zebra": 1}'],
        ['hmm LSEP_SYNTHETIC_REASONING_END_0a1b2c3d {"zebra": 1}'],
        ["hmm LSEP_SYNTHETIC_REASO", 'NING_END_0a1b2c3d {"zebra": 1}'],
        ['hmm <|LSEP_SYNTHETIC_REASONING_END_0a1b2c3d|>{"zebra": 1}'],
        ['<think>hmm</think> [[LSEP_SYNTHETIC_REASONING_END_0A1B]]\n{"zebra": 1}'],
    ],
)
def test_reasoning_that_the_server_did_not_mark_does_not_spoil_a_structured_answer(texts: list[str]) -> None:
    result = reply(*map(fragment, texts), success(), response_format=ANSWER_SCHEMA)
    assert result.parsed == {"zebra": 1}
    assert result.content == "".join(texts)
    assert result.reasoning_content in ("", "hmm", "hmmm")
    assert json.loads(str(result)) == {"zebra": 1}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "\n" * 100_000, "<think>" * 20_000, "LSEP_SYNTHETIC_REASONING_END_" * 5_000]
)
def test_a_reply_that_repeats_itself_is_searched_for_reasoning_only_once(text: str) -> None:
    # Takes no time; with a careless regular expression it would take minutes.
    with pytest.raises(LMStudioStructuredOutputError):
        _ = reply(fragment(text), success(), response_format=ANSWER_SCHEMA).parsed


def test_tags_in_free_text_are_the_models_own() -> None:
    result = reply(fragment("Use <think>x</think> tags."), success())
    assert result.non_reasoning_content == result.content == "Use <think>x</think> tags."


# Structured output that does not match -------------------------------------------------------------------------------


def test_a_truncated_answer_says_why_and_keeps_the_text() -> None:
    result = reply(
        fragment('{"zebra": 1'), success(stopReason="maxPredictedTokensReached"), response_format=ANSWER_SCHEMA
    )
    assert result.content == '{"zebra": 1'
    for _ in range(2):
        with pytest.raises(
            LMStudioStructuredOutputError, match="stopped because of 'maxPredictedTokensReached'"
        ) as caught:
            _ = result.parsed
        assert caught.value.content == '{"zebra": 1'
        assert caught.value.stop_reason == "maxPredictedTokensReached"
    assert str(result) == '{"zebra": 1'


def test_a_format_that_failed_does_not_fail_the_prediction() -> None:
    messages: list[Any] = []
    reply(fragment("no"), success(), response_format=ANSWER_SCHEMA, on_message=messages.append)
    assert [message.content[0].text for message in messages] == ["no"]


def test_asking_again_for_a_value_that_did_not_parse_does_not_pile_up_tracebacks() -> None:
    result = reply(fragment("no"), success(), response_format=ANSWER_SCHEMA)
    lengths: list[int] = []
    for _ in range(3):
        with pytest.raises(LMStudioStructuredOutputError) as caught:
            _ = result.parsed
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


def test_a_result_that_did_not_parse_does_not_keep_the_prediction_alive() -> None:
    prediction = predict(ScriptedRuntime(*map(packet, [fragment("no"), success()])), response_format=ANSWER_SCHEMA)
    result = run(prediction.run())
    alive = weakref.ref(prediction)
    gc.disable()
    try:
        del prediction
        assert alive() is None
    finally:
        gc.enable()
    assert result.content == "no"
