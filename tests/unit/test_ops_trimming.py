"""Chats cut to a number of tokens: what stays, and how often the server is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_runtime import ScriptedRuntime, result, rpc_error, run

from lmstudio._ops.models import identifier_target
from lmstudio._ops.trimming import trim_history, turn_starts
from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    SystemPrompt,
    ToolCallRequest,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioServerError, LMStudioValueError
from lmstudio.history import Chat

TARGET = identifier_target("qwen")
TOOL = {"type": "function", "function": {"name": "add"}}


class WordCounter(ScriptedRuntime):
    """A server whose template writes a message as a line, its role first, and whose tokens are words."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []

    def take_step(self) -> None:
        request = self.sent[-1]
        parameter = request["parameter"]
        if request["endpoint"] == "applyPromptTemplate":
            lines = [" ".join(self._words(message)) for message in parameter["history"]["messages"]]
            lines += [str(tool["function"]["name"]) for tool in parameter["opts"].get("toolDefinitions", [])]
            self.arrive(result({"formatted": "\n".join(lines)}, request["callId"]))
        else:
            self.counted.append(parameter["inputString"])
            self.arrive(result({"tokenCount": len(parameter["inputString"].split())}, request["callId"]))

    @staticmethod
    def _words(message: Any) -> list[str]:
        return [message["role"], *(part.get("text", "part") for part in message["content"])]


def trim(chat: Chat, max_tokens: int, *, server: WordCounter | None = None, **options: Any) -> Chat:
    port = (server or WordCounter()).llm()
    return Chat.from_history(run(trim_history(port, TARGET, chat.to_history_data(), max_tokens, **options)))


def tokens(chat: Chat) -> int:
    return sum(1 + sum(len(getattr(part, "text", "part").split()) for part in message.content) for message in chat)


def dialogue(turns: int) -> Chat:
    """A system prompt and turns of four tokens each: user u0, assistant a0, user u1, ..."""
    chat = Chat("System")
    for number in range(turns):
        chat.add_user_message(f"u{number}")
        chat.add_assistant_response(f"a{number}")
    return chat


def texts(chat: Chat) -> list[str]:
    return [message.get_text() for message in chat]


def test_a_chat_that_fits_is_counted_once_and_stays_as_it_is() -> None:
    server, history = WordCounter(), dialogue(3).to_history_data()
    assert run(trim_history(server.llm(), TARGET, history, 14)) is history
    assert len(server.counted) == 1


def test_the_oldest_turns_are_left_out_as_far_as_needed() -> None:
    chat = dialogue(4)  # 18 tokens
    assert texts(trim(chat, 17)) == ["System", "u1", "a1", "u2", "a2", "u3", "a3"]
    assert texts(trim(chat, 14)) == ["System", "u1", "a1", "u2", "a2", "u3", "a3"]
    assert texts(trim(chat, 13)) == ["System", "u2", "a2", "u3", "a3"]
    assert texts(trim(chat, 6)) == ["System", "u3", "a3"]
    assert chat == dialogue(4)


def test_a_chat_is_counted_a_few_times_only() -> None:
    for limit in (6, 100, 2000, 4001):
        server = WordCounter()
        trimmed = trim(dialogue(1000), limit, server=server)
        assert limit - 4 < tokens(trimmed) <= limit
        assert len(server.counted) <= 12


def test_nothing_is_counted_twice() -> None:
    for limit in range(6, 34):
        server = WordCounter()
        trim(dialogue(8), limit, server=server)
        assert len(server.counted) == len(set(server.counted))
    server = WordCounter()
    with pytest.raises(LMStudioValueError):
        trim(Chat("System"), 1, server=server)
    assert len(server.counted) == 1


def test_what_must_stay_and_does_not_fit_is_an_error_with_the_numbers() -> None:
    expected = r"to 5 tokens: it has 18, and the part that must stay \(the system prompts and the last turn\) has 6"
    with pytest.raises(LMStudioValueError, match=expected):
        trim(dialogue(4), 5)
    with pytest.raises(LMStudioValueError, match=r"it has 18, .* the last 3 turns\) has 14"):
        trim(dialogue(4), 13, keep_last=3)
    with pytest.raises(LMStudioValueError, match=r"it has 2, .* has 2"):
        trim(Chat("System"), 1)


def test_more_turns_than_there_are_can_be_kept() -> None:
    assert trim(dialogue(2), 10, keep_last=99) == dialogue(2)
    with pytest.raises(LMStudioValueError, match=r"it has 10, .*the last 2 turns\) has 10"):
        trim(dialogue(2), 9, keep_last=99)


def test_system_prompts_stay_wherever_they_stand() -> None:
    chat = dialogue(2)
    chat.insert(3, SystemPrompt(content=[]))
    chat.insert(4, {"role": "system", "content": "Late"})
    assert [message.role for message in trim(chat, 9)] == ["system", "system", "system", "user", "assistant"]


def test_system_prompts_go_with_their_turn_if_they_need_not_stay() -> None:
    assert texts(trim(dialogue(3), 9, keep_system=False)) == ["u1", "a1", "u2", "a2"]
    with pytest.raises(LMStudioValueError, match=r"\(the last turn\) has 4"):
        trim(dialogue(3), 3, keep_system=False)


def test_tools_take_tokens() -> None:
    assert texts(trim(dialogue(2), 10, tool_definitions=[TOOL])) == ["System", "u1", "a1"]


def test_a_chat_without_messages_is_not_counted() -> None:
    server = WordCounter()
    assert trim(Chat(), 1, server=server) == Chat()
    assert server.sent == []


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"max_tokens": 1.5}, {"max_tokens": True}, {"keep_last": 0}])
def test_limits_that_are_none_are_refused_before_anything_is_sent(options: dict[str, Any]) -> None:
    server = WordCounter()
    with pytest.raises(LMStudioValueError, match="must be a whole number of at least 1"):
        trim(dialogue(2), **{"max_tokens": 5, **options, "server": server})
    assert server.sent == []


def test_the_errors_of_the_server_are_the_callers() -> None:
    runtime = ScriptedRuntime(rpc_error({"title": "No template"}))
    with pytest.raises(LMStudioServerError, match="No template"):
        run(trim_history(runtime.llm(), TARGET, dialogue(2).to_history_data(), 5))


# Turns ---------------------------------------------------------------------------------------------------------------


def asks(*ids: str | None) -> AssistantResponse:
    return AssistantResponse.from_dict(
        {
            "content": [
                {"type": "toolCallRequest", "toolCallRequest": ToolCallRequest(name="f", id=i).to_dict()} for i in ids
            ]
        }
        | {"role": "assistant"}
    )


def answers(*ids: str | None) -> ToolResultMessage:
    return ToolResultMessage(content=[ToolCallResultData(content="1", tool_call_id=i) for i in ids])


SYSTEM, USER, ASSISTANT = SystemPrompt(content=[]), UserMessage(content=[]), AssistantResponse(content=[])


@pytest.mark.parametrize(
    ("messages", "starts"),
    [
        ([], []),
        ([SYSTEM], [0]),
        ([USER, ASSISTANT, USER], [0, 2]),
        ([SYSTEM, SYSTEM, USER, ASSISTANT, USER], [0, 4]),
        ([USER, USER, ASSISTANT, USER, SYSTEM, USER], [0, 3]),
        ([ASSISTANT, USER, ASSISTANT, ASSISTANT, USER], [0, 1, 4]),
        ([USER, asks("1", "2"), answers("1", "2"), asks("3"), answers("3"), ASSISTANT, USER], [0, 6]),
        # The user speaks before the results are there.
        ([USER, ASSISTANT, USER, asks("1"), USER, answers("1"), ASSISTANT, USER], [0, 2, 7]),
        ([USER, asks("1"), USER, asks("2"), answers("2"), USER, answers("1"), USER], [0, 7]),
        ([USER, asks(None), USER, answers("1"), USER], [0, 4]),
        ([USER, asks("1"), USER, answers(None), USER], [0, 4]),
        ([USER, asks("1"), USER, asks("1"), answers("1"), USER], [0, 2, 5]),
        # A result that nobody has asked for belongs to the turn it stands in.
        ([USER, ASSISTANT, USER, answers("9"), USER], [0, 2, 4]),
    ],
)
def test_turns_begin_where_the_user_speaks_and_no_result_is_due(messages: list[Any], starts: list[int]) -> None:
    assert turn_starts(messages) == starts


MESSAGES = st.sampled_from([SYSTEM, USER, ASSISTANT, asks("1"), asks("2"), answers("1"), answers("2")])


@given(st.lists(MESSAGES, min_size=1, max_size=9), st.integers(1, 20), st.integers(1, 3))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_a_trimmed_chat_is_the_longest_end_of_whole_turns_that_fits(
    messages: list[Any], limit: int, keep_last: int
) -> None:
    history = ChatHistoryData(messages=messages)
    starts = turn_starts(messages)
    ends = [Chat.from_history([m for m in messages[:start] if m is SYSTEM] + messages[start:]) for start in starts]
    allowed = [end for end in ends[: max(1, len(ends) - keep_last + 1)] if tokens(end) <= limit]
    try:
        trimmed = run(trim_history(WordCounter().llm(), TARGET, history, limit, keep_last=keep_last))
    except LMStudioValueError:
        assert allowed == []
        return
    assert Chat.from_history(trimmed) == allowed[0]
    speakers = [message.role for message in trimmed.messages if message.role != "system"]
    if starts[-1] > 0 and len(trimmed.messages) < len(messages):
        assert speakers[0] == "user"
