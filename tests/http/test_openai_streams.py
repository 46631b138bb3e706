"""The pieces of streamed chats and texts, put together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmstudio._http_models.openai import (
    ChatCompletionChunk,
    CompletionResponse,
    CompletionUsage,
    FunctionCall,
    ToolCall,
)
from lmstudio.errors import LMStudioProtocolError
from lmstudio.http._sse import ServerSentEvent
from lmstudio.http._streams_openai import ChatReader, TextReader

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m", "system_fingerprint": "m"}


def event(data: Any) -> ServerSentEvent:
    return ServerSentEvent(data=data if isinstance(data, str) else json.dumps(data))


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> ServerSentEvent:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}
    return event({**HEAD, "choices": [choice]})


def usage() -> ServerSentEvent:
    return event({**HEAD, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})


def read(*events: ServerSentEvent, shows_usage: bool = False) -> tuple[ChatReader, list[ChatCompletionChunk | None]]:
    reader = ChatReader(shows_usage=shows_usage)
    return reader, [reader.feed(each) for each in events]


def test_the_text_and_its_head_are_put_together() -> None:
    reader, chunks = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Four"}),
        chunk({"role": "assistant", "content": "teen"}),  # LM Studio repeats the role
        chunk({}, "stop"),
        event("[DONE]"),
    )
    result = reader.result()
    assert (result.id, result.created, result.model, result.system_fingerprint) == ("chatcmpl-1", 5, "m", "m")
    assert result.object == "chat.completion"
    assert (result.choices[0].message.role, result.choices[0].message.content) == ("assistant", "Fourteen")
    assert result.choices[0].finish_reason == "stop"
    assert [each is None for each in chunks] == [False, False, False, False, True]
    assert reader.is_over


def test_the_first_token_is_neither_the_role_nor_the_head() -> None:
    reader, chunks = read(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "F"}), chunk({"reasoning_content": "h"}), usage()
    )
    assert [each is not None and reader.has_content(each) for each in chunks] == [False, True, True, False]


def test_reasoning_is_kept_apart_under_both_names() -> None:
    reader, _ = read(
        chunk({"reasoning": "Hm", "reasoning_content": "Hm"}), chunk({"reasoning": "m."}), chunk({"content": "Yes"})
    )
    message = reader.result().choices[0].message
    assert (message.reasoning, message.reasoning_content, message.content) == ("Hmm.", "Hm", "Yes")


def test_tool_calls_are_told_apart_by_their_index() -> None:
    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        return {
            "tool_calls": [{"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}]
        }

    reader, _ = read(
        chunk(piece(0, "", id="c0", type="function", function={"name": "tide"})),
        chunk(piece(1, "", id="c1", type="function", function={"name": "wind"})),
        chunk(piece(0, '{"port":')),
        chunk(piece(1, "{}", function={"name": ""})),  # an empty name says nothing
        chunk(piece(0, '"Brest"}', id=None)),
        chunk({}, "tool_calls"),
    )
    (choice,) = reader.result().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls == [
        ToolCall(id="c0", type="function", function=FunctionCall(name="tide", arguments='{"port":"Brest"}')),
        ToolCall(id="c1", type="function", function=FunctionCall(name="wind", arguments="{}")),
    ]


def test_tool_calls_without_an_index_follow_each_other() -> None:
    reader, _ = read(
        chunk({"tool_calls": [{"id": "a", "function": {"name": "tide", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"function": {"arguments": "}"}}]}),
        chunk({"tool_calls": [{"id": "b", "function": {"name": "wind", "arguments": "{}"}}]}),
    )
    calls = reader.result().choices[0].message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("a", "tide", "{}"),
        ("b", "wind", "{}"),
    ]


def test_several_answers_are_put_together_side_by_side() -> None:
    reader, _ = read(
        chunk({"content": "b"}, index=1), chunk({"content": "a"}), chunk({"content": "B"}, "length", index=1)
    )
    assert [(each.index, each.message.content, each.finish_reason) for each in reader.result().choices] == [
        (0, "a", None),
        (1, "bB", "length"),
    ]


def test_probabilities_are_joined() -> None:
    reader, _ = read(
        chunk({"content": "a"}, logprobs={"content": [{"token": "a"}]}),
        chunk({"content": "b"}),
        chunk({"content": "c"}, logprobs={"content": [{"token": "c"}], "refusal": None}),
    )
    assert reader.result().choices[0].logprobs == {"content": [{"token": "a"}, {"token": "c"}], "refusal": None}


def test_the_number_of_tokens_comes_in_the_result_and_to_those_who_asked() -> None:
    expected = CompletionUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    reader, chunks = read(chunk({"content": "a"}), usage())
    assert (chunks[1], reader.result().usage) == (None, expected)
    reader, chunks = read(chunk({"content": "a"}), usage(), shows_usage=True)
    assert chunks[1] is not None
    assert (chunks[1].usage, reader.result().usage) == (expected, expected)


def test_the_number_of_tokens_may_come_with_the_finish_reason() -> None:
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    tokens = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
    reader, chunks = read(chunk({"content": "a"}), event({**HEAD, "choices": [last], "usage": tokens}))
    assert chunks[1] is not None
    result = reader.result()
    assert result.usage is not None
    assert result.usage.total_tokens == 60


def test_unknown_members_of_a_chunk_are_kept() -> None:
    _, (first, *_) = read(chunk({"content": "a", "mood": "good"}))
    assert first is not None
    assert first.choices[0].delta.extra == {"mood": "good"}


def test_an_event_that_is_no_chunk_is_an_error() -> None:
    with pytest.raises(LMStudioProtocolError, match="choices"):
        read(event({"hello": "world"}))
    with pytest.raises(LMStudioProtocolError, match=r"truncated.*'\{'"):
        read(event("{"))


def test_a_stream_that_has_not_ended_has_a_result_so_far() -> None:
    assert ChatReader(shows_usage=False).result().choices == []


def test_texts_are_put_together() -> None:
    reader = TextReader(shows_usage=False)
    pieces = [
        {"index": 0, "text": "a", "logprobs": {"tokens": ["a"], "text_offset": [0]}, "finish_reason": None},
        {"index": 1, "text": "x", "logprobs": None, "finish_reason": "stop"},
        {"index": 0, "text": "b", "logprobs": {"tokens": ["b"], "text_offset": [1]}, "finish_reason": "length"},
    ]
    chunks = [reader.feed(event({"id": "cmpl-1", "model": "m", "choices": [piece]})) for piece in pieces]
    assert [isinstance(each, CompletionResponse) for each in chunks] == [True] * 3
    result = reader.result()
    assert [(each.index, each.text, each.finish_reason) for each in result.choices] == [
        (0, "ab", "length"),
        (1, "x", "stop"),
    ]
    assert result.choices[0].logprobs == {"tokens": ["a", "b"], "text_offset": [0, 1]}
    assert (result.id, result.model, result.object) == ("cmpl-1", "m", "text_completion")
