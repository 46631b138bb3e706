"""What a prediction result says, compares to, and survives."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from scripted_prediction import result

from lmstudio.errors import LMStudioStructuredOutputError

if TYPE_CHECKING:
    from lmstudio.results import PredictionResult


def structured(data: object, content: str | None = None) -> PredictionResult[Any]:
    return result(json.dumps(data) if content is None else content, structured=True, parsed=data)


def test_the_text_of_a_result_is_its_content() -> None:
    assert str(result("Hello 😀")) == "Hello 😀"


def test_the_text_of_a_structured_result_is_indented_json() -> None:
    assert str(structured({"b": "ä", "a": [1]})) == '{\n  "b": "ä",\n  "a": [\n    1\n  ]\n}'


def test_the_text_of_a_structured_result_leaves_out_the_reasoning() -> None:
    text = str(result('<think>hm</think>{"a": 1}', non_reasoning_content='{"a": 1}', structured=True, parsed={"a": 1}))
    assert json.loads(text) == {"a": 1}


def test_the_text_of_a_result_that_only_its_class_could_read_is_its_content() -> None:
    # A response format of the user's own may accept more than JSON.
    assert str(structured({"a": 1}, "```json\n{}\n```")) == "```json\n{}\n```"


def test_the_text_of_a_grammar_is_its_content() -> None:
    assert str(result("yes", structured=True)) == "yes"


def test_the_repr_is_short() -> None:
    assert repr(result("Hello")) == "PredictionResult(content='Hello')"


def test_the_stop_reason_is_that_of_the_stats() -> None:
    assert result().stop_reason == "eosFound"


def test_the_configurations_are_typed() -> None:
    assert result().load_config.context_length == 4096
    assert result().load_config.seed is False
    assert result().prediction_config.temperature == 0.8
    assert result().prediction_config.max_tokens == 100


def test_the_configurations_are_made_once() -> None:
    one = result()
    assert one.load_config is one.load_config
    assert one.prediction_config is one.prediction_config


def test_results_are_compared_by_value() -> None:
    assert result() == result()
    assert result() != result("Other")


def test_results_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        result().content = "x"  # type: ignore[misc]  # as type checkers say


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_results_can_be_pickled(protocol: int) -> None:
    original = structured({"a": 1})
    _ = original.load_config
    copied = pickle.loads(pickle.dumps(original, protocol))
    assert copied == original
    assert copied.parsed == {"a": 1}
    assert copied.load_config == original.load_config


def test_a_result_that_did_not_parse_can_be_pickled_and_copied() -> None:
    error = LMStudioStructuredOutputError("no match", "text", "eosFound")
    original = result("text", structured=True, parsed=error)
    for copied in (pickle.loads(pickle.dumps(original)), copy.copy(original), copy.deepcopy(original)):
        with pytest.raises(LMStudioStructuredOutputError, match="no match") as caught:
            _ = copied.parsed
        assert (caught.value.content, caught.value.stop_reason) == ("text", "eosFound")
        assert str(copied) == "text"
