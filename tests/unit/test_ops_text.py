"""Texts, tokens and vectors, with a scripted server."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_runtime import ScriptedRuntime, result, rpc_error, run

from lmstudio._ops.models import identifier_target
from lmstudio._ops.text import (
    MAX_IN_FLIGHT,
    apply_prompt_template,
    as_texts,
    count_chat_tokens,
    count_tokens,
    embed,
    read_template_opts,
    tokenize,
)
from lmstudio._sdk_models import KvConfig, LlmApplyPromptTemplateOpts
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioServerError, LMStudioValueError
from lmstudio.history import read_history

TARGET = identifier_target("qwen")
SPECIFIER = {"type": "query", "query": {"identifier": "qwen"}}


def test_tokens_belong_to_their_texts_whatever_the_order_of_the_replies() -> None:
    runtime = ScriptedRuntime(result({"tokens": [2]}, 2), result({"tokens": [1, 1]}, 1))
    assert run(tokenize(runtime.llm(), TARGET, ["one", "two"])) == [[1, 1], [2]]
    assert [message["parameter"] for message in runtime.sent] == [
        {"specifier": SPECIFIER, "inputString": "one"},
        {"specifier": SPECIFIER, "inputString": "two"},
    ]


def replies(runtime: ScriptedRuntime, **values: Any) -> Any:
    """A step of the server: the answers to all calls that have no answer yet."""
    answered = 0

    def step() -> None:
        nonlocal answered
        calls = runtime.sent[answered:]
        answered += len(calls)
        runtime.arrive(*(result(values, message["callId"]) for message in reversed(calls)))

    return step


@pytest.mark.parametrize("count", [MAX_IN_FLIGHT, MAX_IN_FLIGHT + 1, 3 * MAX_IN_FLIGHT])
def test_many_texts_are_not_all_on_their_way_at_once(count: int) -> None:
    runtime = ScriptedRuntime()
    step = replies(runtime, tokens=[1])
    waiting: list[int] = []

    def answer() -> None:
        waiting.append(len(runtime.sent) - sum(waiting))
        step()

    runtime.script(*[answer] * -(-count // MAX_IN_FLIGHT))
    assert run(tokenize(runtime.llm(), TARGET, [str(number) for number in range(count)])) == [[1]] * count
    assert sum(waiting) == count
    assert max(waiting) == MAX_IN_FLIGHT
    assert [message["parameter"]["inputString"] for message in runtime.sent] == [str(n) for n in range(count)]


def test_no_texts_have_no_tokens() -> None:
    assert run(tokenize(ScriptedRuntime().llm(), TARGET, [])) == []
    assert run(embed(ScriptedRuntime().port("embedding"), TARGET, [])) == []


def test_several_texts_to_count_are_refused_before_anything_is_sent() -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match="one text at a time; expected text, got list"):
        run(count_tokens(runtime.llm(), TARGET, ["a", "b"]))  # type: ignore[arg-type]  # the mistake
    assert runtime.sent == []


def test_tokens_are_counted_by_the_server() -> None:
    runtime = ScriptedRuntime(result({"tokenCount": 3}))
    assert run(count_tokens(runtime.llm(), TARGET, "one two three")) == 3
    assert runtime.sent[0]["endpoint"] == "countTokens"
    assert runtime.sent[0]["parameter"] == {"specifier": SPECIFIER, "inputString": "one two three"}


def test_vectors_belong_to_their_texts() -> None:
    runtime = ScriptedRuntime(result({"embedding": [0.5, -1]}, 1), result({"embedding": [0.25, 2]}, 2))
    assert run(embed(runtime.port("embedding"), TARGET, ["a", "b"])) == [[0.5, -1.0], [0.25, 2.0]]
    assert runtime.sent[0]["parameter"] == {"modelSpecifier": SPECIFIER, "inputString": "a"}


def test_a_template_is_applied_to_a_chat() -> None:
    runtime = ScriptedRuntime(result({"formatted": "<|user|>Hi"}))
    opts = read_template_opts({"omit_bos_token": True})
    assert run(apply_prompt_template(runtime.llm(), TARGET, read_history("Hi"), opts)) == "<|user|>Hi"
    assert runtime.sent[0]["parameter"] == {
        "specifier": SPECIFIER,
        "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        "predictionConfigStack": {"layers": []},
        "opts": {"omitBosToken": True},
    }


def test_a_template_is_applied_with_the_settings_of_the_chat() -> None:
    runtime = ScriptedRuntime(result({"formatted": "Hi"}))
    chat_config = KvConfig(fields=[])
    opts = LlmApplyPromptTemplateOpts()
    run(apply_prompt_template(runtime.llm(), TARGET, read_history("Hi"), opts, chat_config))
    parameter = runtime.sent[0]["parameter"]
    assert parameter["predictionConfigStack"] == {
        "layers": [{"layerName": "conversationSpecific", "config": {"fields": []}}]
    }


def test_the_tokens_of_a_chat_are_those_of_its_template_with_the_tools() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    runtime = ScriptedRuntime(result({"formatted": "<|user|>Hi"}), result({"tokenCount": 4}, 2))
    assert run(count_chat_tokens(runtime.llm(), TARGET, read_history("Hi"), [tool])) == 4
    assert [message["endpoint"] for message in runtime.sent] == ["applyPromptTemplate", "countTokens"]
    assert runtime.sent[0]["parameter"]["opts"] == {"toolDefinitions": [tool]}
    assert runtime.sent[1]["parameter"]["inputString"] == "<|user|>Hi"


@pytest.mark.parametrize(
    ("operation", "damaged"),
    [
        (lambda port: tokenize(port, TARGET, ["a"]), [{}, {"tokens": None}, {"tokens": [1, None]}, {"tokens": "1"}, 5]),
        (lambda port: count_tokens(port, TARGET, "a"), [{}, {"tokenCount": "3"}, {"tokenCount": None}, None]),
        (lambda port: embed(port, TARGET, ["a"]), [{}, {"embedding": [0.5, None]}, {"embedding": {}}, []]),
        (
            lambda port: apply_prompt_template(port, TARGET, read_history("Hi"), LlmApplyPromptTemplateOpts()),
            [{}, {"formatted": None}],
        ),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_never_an_empty_result(operation: Any, damaged: list[Any]) -> None:
    for value in damaged:
        with pytest.raises(LMStudioServerError, match="has an unexpected form"):
            run(operation(ScriptedRuntime(result(value)).llm()))


def test_an_error_names_the_model() -> None:
    error = {"title": "Gone", "displayData": {"code": "generic.noModelMatchingQuery"}}
    with pytest.raises(LMStudioModelNotFoundError, match=r"^Could not tokenize with model 'qwen': Gone"):
        run(tokenize(ScriptedRuntime(rpc_error(error)).llm(), TARGET, ["a"]))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [("one", ["one"]), (["a", "b"], ["a", "b"]), (("a",), ["a"]), (iter(["a"]), ["a"]), ([], []), ("", [""])],
)
def test_texts_may_come_as_one_or_as_many(texts: Any, expected: list[str]) -> None:
    assert as_texts(texts) == expected


@pytest.mark.parametrize("texts", [None, 5, b"bytes", ["a", 5], ["a", None], [["a"]], {"a": 1}.items()])
def test_what_is_no_text_is_refused(texts: Any) -> None:
    with pytest.raises(LMStudioValueError, match="Expected text"):
        as_texts(texts)


@pytest.mark.parametrize("opts", [None, {}, {"omitBosToken": True}, LlmApplyPromptTemplateOpts(omit_bos_token=True)])
def test_template_options_may_be_absent_a_dict_or_a_struct(opts: Any) -> None:
    expected = LlmApplyPromptTemplateOpts(omit_bos_token=True) if opts else LlmApplyPromptTemplateOpts()
    assert read_template_opts(opts) == expected


def test_an_unknown_template_option_is_refused() -> None:
    with pytest.raises(LMStudioValueError, match="Did you mean 'omit_bos_token'"):
        read_template_opts({"omit_bos_tokens": True})
