"""Prompts: what a chat looks like to the model, and what is left out of one that is too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lmstudio.server.config import DEFAULT_PREDICTION_FIELDS, PredictionConfig
from lmstudio.server.engine.base import (
    ModelDiedError,
    PromptTooLongError,
)
from lmstudio.server.engine.scripted import ScriptedEngine
from lmstudio.server.errors import RequestError
from lmstudio.server.prompt import ContinuedPrompt, RawPrompt, chat_prompt, template_messages
from lmstudio.server.tool_calls.naming import ToolNames

if TYPE_CHECKING:
    from lmstudio._sdk_models import (
        ChatHistoryData,
    )

from prediction_stage import Events, Stage, chat, config_of, history, predict, run

# Chats that are too long ---------------------------------------------------------------------------------------------

SYSTEM = ("system", "be brief")
WORDS = 20
NAMES = ToolNames((), "passThrough")


def long_chat(turns: int) -> list[tuple[str, str]]:
    return [(role, f"{role[0]}{turn} " + "word " * WORDS) for turn in range(turns) for role in ("user", "assistant")]


async def overflow(messages: ChatHistoryData, context_length: int, **fields: Any) -> ScriptedEngine:
    stage = await Stage(ScriptedEngine("ok")).load()
    stage.instance.model.context_length = context_length
    prompt = chat_prompt(stage.instance.model, messages, config_of(**fields))
    stats = await stage.prediction(prompt, **fields).run()
    assert stats.predicted_tokens_count == 1
    return stage.engine


def kept(engine: ScriptedEngine) -> list[str]:
    """The first word of each message that was shown to the model in the end."""
    prompt = engine.requests[-1].prompt
    chat = next(chat for chat in engine.chats if chat.prompt == prompt)
    return [message["content"].split()[0] for message in chat.messages]


def test_chat_that_fits_is_rendered_once_and_never_counted() -> None:
    engine = asyncio.run(overflow(chat(SYSTEM, *long_chat(2), ("user", "u2")), 4096))
    assert (len(engine.chats), len(engine.requests)) == (1, 1)


def test_rolling_window_drops_the_oldest_turns_and_keeps_the_system_prompt() -> None:
    messages = chat(SYSTEM, *long_chat(5), ("user", "u5"))
    engine = asyncio.run(overflow(messages, 150, contextOverflowPolicy="rollingWindow"))
    assert kept(engine) == ["be", "u3", "a3", "u4", "a4", "u5"]


def test_truncate_middle_keeps_the_first_user_message_as_well() -> None:
    messages = chat(SYSTEM, *long_chat(5), ("user", "u5"))
    engine = asyncio.run(overflow(messages, 150, contextOverflowPolicy="truncateMiddle"))
    assert kept(engine) == ["be", "u0", "a3", "u4", "a4", "u5"]


def test_truncate_middle_keeps_first_and_last_user_message_at_least() -> None:
    messages = chat(*long_chat(5), ("user", "u5"))
    assert kept(asyncio.run(overflow(messages, 40))) == ["u0", "u5"]


def test_room_for_the_answer_is_no_more_than_the_answer_may_take() -> None:
    messages = chat(*long_chat(3), ("user", "u3"))
    fields = {"contextOverflowPolicy": "rollingWindow", "maxPredictedTokens": {"checked": True, "value": 1}}
    assert kept(asyncio.run(overflow(messages, 110, **fields))) == ["u1", "a1", "u2", "a2", "u3"]
    del fields["maxPredictedTokens"]
    assert kept(asyncio.run(overflow(messages, 110, **fields))) == ["u2", "a2", "u3"]


def test_long_chat_is_shortened_in_a_logarithmic_number_of_attempts() -> None:
    messages = chat(*long_chat(500), ("user", "u"))
    engine = asyncio.run(overflow(messages, 300, contextOverflowPolicy="rollingWindow"))
    assert len(engine.chats) <= 2 + 9


def tool_turn(number: int) -> list[dict[str, Any]]:
    request = {"type": "function", "id": f"c{number}", "name": "look", "arguments": {}}
    return [
        {"role": "assistant", "content": [{"type": "toolCallRequest", "toolCallRequest": request}]},
        {
            "role": "tool",
            "content": [
                {"type": "toolCallResult", "content": f"r{number} " + "word " * WORDS, "toolCallId": f"c{number}"}
            ],
        },
    ]


@pytest.mark.parametrize("policy", ["rollingWindow", "truncateMiddle"])
def test_last_turn_loses_early_tool_rounds_but_never_a_request_without_its_result(policy: str) -> None:
    question = {"role": "user", "content": [{"type": "text", "text": "look!"}]}
    messages = history(question, *(part for number in range(6) for part in tool_turn(number)))
    engine = asyncio.run(overflow(messages, 130, contextOverflowPolicy=policy))
    shown = next(each.messages for each in engine.chats if each.prompt == engine.requests[-1].prompt)
    assert [message["role"] for message in shown] == ["user", *["assistant", "tool"] * ((len(shown) - 1) // 2)]
    assert shown[-1]["content"].startswith("r5")
    assert 1 < len(shown) < 13


def test_earlier_turns_go_before_tool_rounds_of_the_last_turn() -> None:
    question = {"role": "user", "content": [{"type": "text", "text": "look!"}]}
    early = msgspec.to_builtins(chat(*long_chat(2)))["messages"]
    messages = history(*early, question, *(part for number in range(2) for part in tool_turn(number)))
    engine = asyncio.run(overflow(messages, 100))
    prompt = engine.requests[-1].prompt
    assert "u0 " in prompt
    assert "look!" in prompt
    assert "a0 " not in prompt


def test_greeting_before_the_first_user_message_may_go_in_a_rolling_window() -> None:
    messages = chat(("assistant", "hello " + "word " * WORDS), *long_chat(1), ("user", "u1"))
    engine = asyncio.run(overflow(messages, 60, contextOverflowPolicy="rollingWindow"))
    assert kept(engine)[0] != "hello"


@pytest.mark.parametrize(
    ("messages", "policy"),
    [
        (chat(*long_chat(3), ("user", "u")), "stopAtLimit"),
        (chat(("user", "word " * 100)), "rollingWindow"),
        (chat(("user", "word " * 100)), "truncateMiddle"),
        (chat(("user", "u"), ("assistant", "a"), ("user", "word " * 100)), "rollingWindow"),
        (chat(("system", "word " * 100)), "truncateMiddle"),
    ],
)
def test_chat_that_cannot_be_shortened_enough_is_an_error(messages: ChatHistoryData, policy: str) -> None:
    with pytest.raises(PromptTooLongError, match="context of 30"):
        asyncio.run(overflow(messages, 30, contextOverflowPolicy=policy))


def test_raw_text_that_is_too_long_is_an_error_under_every_policy() -> None:
    with pytest.raises(PromptTooLongError):
        predict("ok", "word " * 5000, contextOverflowPolicy="truncateMiddle")


# Prompts -------------------------------------------------------------------------------------------------------------


def test_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    roles = ("system", "user", "assistant")
    messages = template_messages(history(*({"role": role, "content": parts} for role in roles)), NAMES)
    assert messages == [{"role": role, "content": "one two"} for role in roles]


def test_tool_requests_and_results_get_the_shape_that_templates_expect() -> None:
    request = {"type": "function", "id": "t1", "name": "add", "arguments": {"ä": 1}}
    messages = template_messages(
        history(
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "hi"}, {"type": "toolCallRequest", "toolCallRequest": request}],
            },
            {
                "role": "tool",
                "content": [{"type": "toolCallResult", "content": "3", "toolCallId": "t1", "name": "sum"}],
            },
        ),
        NAMES,
    )
    call = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"ä": 1}'}}
    assert messages == [
        {"role": "assistant", "content": "hi", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "t1", "name": "sum"},
    ]


def test_requests_and_results_without_ids_are_tied_in_order() -> None:
    requests = [
        {"type": "toolCallRequest", "toolCallRequest": {"type": "function", "name": name}} for name in ("a", "b")
    ]
    results = [{"type": "toolCallResult", "content": text} for text in ("1", "2", "3")]
    assistant, *answers = template_messages(
        history({"role": "assistant", "content": requests}, {"role": "tool", "content": results}), NAMES
    )
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert len(set(ids)) == 2
    assert answers == [
        {"role": "tool", "content": "1", "tool_call_id": ids[0], "name": "a"},
        {"role": "tool", "content": "2", "tool_call_id": ids[1], "name": "b"},
        {"role": "tool", "content": "3", "tool_call_id": ""},
    ]


def test_result_for_an_unknown_request_keeps_its_id() -> None:
    results = [{"type": "toolCallResult", "content": "1", "toolCallId": "x"}]
    assert template_messages(history({"role": "tool", "content": results}), NAMES) == [
        {"role": "tool", "content": "1", "tool_call_id": "x"}
    ]


@pytest.mark.parametrize("is_raw", [False, True])
def test_file_in_a_chat_is_refused_by_name(is_raw: bool) -> None:
    part = {"type": "file", "name": "cat.png", "identifier": "f", "sizeBytes": 1, "fileType": "image"}
    config = PredictionConfig({}, is_raw=is_raw)
    with pytest.raises(RequestError, match=r"the file 'cat\.png', but this server does not support images"):
        chat_prompt(Events(), history({"role": "user", "content": [part]}), config)


def test_template_tools_and_thinking_reach_the_engine() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine("ok")).load()
        tool = {"type": "function", "function": {"name": "add"}}
        config = config_of(
            promptTemplate={"type": "jinja", "stopStrings": [], "jinjaPromptTemplate": {"template": "{{ tools }}"}},
            tools={"type": "toolArray", "tools": [tool]},
            reasoning__enableThinking=False,
        )
        await chat_prompt(stage.instance.model, chat(("user", "hi")), config).text()
        (rendered,) = stage.engine.chats
        assert (rendered.template, rendered.tools, rendered.enable_thinking) == ("{{ tools }}", [tool], False)

    run(test)


def test_manual_template_is_written_around_the_messages() -> None:
    manual = {
        "beforeSystem": "S:",
        "afterSystem": "/",
        "beforeUser": "U:",
        "afterUser": "/",
        "beforeAssistant": "A:",
        "afterAssistant": "/",
    }
    config = config_of(promptTemplate={"type": "manual", "stopStrings": [], "manualPromptTemplate": manual})
    messages = history(
        *msgspec.to_builtins(chat(("system", "s"), ("user", "u"), ("assistant", "a")))["messages"],
        {"role": "tool", "content": [{"type": "toolCallResult", "content": "t"}]},
    )
    assert asyncio.run(chat_prompt(Events(), messages, config).text()) == (
        "S:s/U:u/A:a/U:<tool_response>\nt\n</tool_response>/A:"
    )


@pytest.mark.parametrize("kind", ["manual", "jinja"])
def test_template_without_content_leaves_the_models_own(kind: str) -> None:
    config = config_of(promptTemplate={"type": kind, "stopStrings": []})
    assert asyncio.run(chat_prompt(Events(), chat(("user", "u")), config).text()) == "prompt"


def test_raw_completion_is_the_text_itself() -> None:
    config = PredictionConfig({}, is_raw=True)
    messages = chat(("user", "Once upon"), ("user", " a time"))
    assert asyncio.run(chat_prompt(Events(), messages, config).text()) == "Once upon a time"


def test_model_that_dies_while_the_prompt_is_made_is_reported() -> None:
    async def test() -> None:
        stage = await Stage(ScriptedEngine("ok")).load()
        prompt = chat_prompt(stage.instance.model, chat(("user", "hi")), config_of())
        stage.engine.kill_models()
        with pytest.raises(RequestError, match="stopped unexpectedly") as caught:
            await stage.prediction(prompt).run()
        assert isinstance(caught.value.__cause__, ModelDiedError)

    run(test)


# Answers whose beginning is given ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<|assistant|>\n", "<|assistant|>\nThe sky is"),
        ("<|assistant|>\n<think>\n", "<|assistant|>\n<think>\n</think>\n\nThe sky is"),
    ],
    ids=["at once", "after reasoning"],
)
def test_given_beginning_follows_the_prompt_and_is_no_reasoning(prompt: str, expected: str) -> None:
    continued = ContinuedPrompt(RawPrompt(prompt), PredictionConfig(DEFAULT_PREDICTION_FIELDS), "The sky is")
    assert asyncio.run(continued.text()) == expected


def test_chat_with_a_given_beginning_is_shortened_as_any_other() -> None:
    async def test() -> ScriptedEngine:
        stage = await Stage(ScriptedEngine("ok")).load()
        stage.instance.model.context_length = 100
        config = config_of(contextOverflowPolicy="rollingWindow")
        prompt = chat_prompt(stage.instance.model, chat(SYSTEM, *long_chat(9), ("user", "u9")), config)
        await stage.prediction(ContinuedPrompt(prompt, config, "Well,")).run()
        return stage.engine

    prompt = asyncio.run(test()).requests[-1].prompt
    assert prompt.endswith("Well,")
    assert "u0" not in prompt
