"""Tools offered to `respond`: the model's calls come back, nobody runs them. And the events of a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import BrokenToolCall, Reasoning, Reply, ToolCall

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server


def add(a: int, b: int) -> int:
    """Add two numbers."""
    raise AssertionError("respond() does not run tools")


@pytest.fixture
def call(engine: ScriptedEngine) -> ToolCall:
    """The call that *engine* makes after some text."""
    call = ToolCall("add", {"a": 1, "b": 2}, id="x")
    engine.reply = Reply(["Let me add.", call])
    return call


async def test_requests_are_returned_and_not_run(server: Server, engine: ScriptedEngine, call: ToolCall) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        result = await model.respond("What is 1 + 2?", tools=[add])
    assert result.content == "Let me add."
    assert [(each.id, each.name, each.arguments) for each in result.tool_call_requests] == [
        ("x", "add", {"a": 1, "b": 2})
    ]
    assert result.tool_calls[0].raw_content is not None
    assert "add" in result.tool_calls[0].raw_content
    assert engine.chats[0].tools[0]["function"]["name"] == "add"


async def test_a_turn_with_tools_continues_without_act(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2}, id="x")]), Reply("It is 3.")]
    chat = lms.Chat.from_history("What is 1 + 2?")
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        first = await model.respond(chat, tools=[add])
        chat.add_assistant_response(first)
        for request in first.tool_call_requests:
            arguments = request.arguments or {}
            total = arguments["a"] + arguments["b"]
            chat.add_tool_result({"content": json.dumps(total), "tool_call_id": request.id})
        second = await model.respond(chat, tools=[add])
    assert second.content == "It is 3."
    messages = engine.chats[1].messages
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert (messages[2]["content"], messages[2]["tool_call_id"]) == ("3", "x")


async def test_on_message_carries_the_requests(server: Server, call: ToolCall) -> None:
    chat = lms.Chat.from_history("What is 1 + 2?")
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        await model.respond(chat, tools=[add], on_message=chat.append)
    assert [type(part) for part in chat[1].content] == [lms.TextData, lms.ToolCallRequestData]


async def test_every_stage_of_a_request_is_reported(server: Server, call: ToolCall) -> None:
    seen: list[Any] = []

    def note(name: str) -> Any:
        return lambda *arguments: seen.append((name, *arguments))

    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        result = await model.respond(
            "What is 1 + 2?",
            tools=[add],
            on_tool_call_request_start=note("start"),
            on_tool_call_request_name_received=note("name"),
            on_tool_call_request_argument_fragment_generated=note("arguments"),
            on_tool_call_request_end=note("end"),
        )
    assert seen[0][:2] == ("start", 0)
    assert seen[1] == ("name", 0, "add")
    assert json.loads("".join(item[2] for item in seen if item[0] == "arguments")) == {"a": 1, "b": 2}
    assert seen[-1] == ("end", 0, result.tool_calls[0])


async def test_a_request_that_cannot_be_read_is_in_the_result(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([BrokenToolCall("oops"), "Sorry."])
    failures: list[Any] = []
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        result = await model.respond(
            "Hi", tools=[add], on_tool_call_request_failure=lambda call_id, error: failures.append((call_id, error))
        )
    assert (result.content, result.tool_call_requests) == ("Sorry.", [])
    assert failures == [(0, result.tool_call_errors[0])]
    assert isinstance(failures[0][1], lms.ToolCallRequestInvalidFormatError)


async def test_no_tools_means_that_none_may_be_called(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        await model.respond("Hi", tools=[])
    assert list(engine.chats[0].tools) == []


async def test_tools_are_given_once(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioValueError, match="twice"):
            await model.respond("Hi", tools=[add], config={"rawTools": {"type": "none"}})
        with pytest.raises(lms.LMStudioValueError, match="raw_tools"):
            await model.complete("Hi", config={"rawTools": {"type": "none"}})
    assert engine.requests == []


async def test_a_misspelt_keyword_is_a_type_error(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(TypeError, match=r"'on_tool_call_request_ended'.*Did you mean 'on_tool_call_request_end'"):
            await model.respond("Hi", on_tool_call_request_ended=print)  # type: ignore[call-overload]


# Events --------------------------------------------------------------------------------------------------------------


async def test_events_tell_everything_in_order(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("A sum."), "Let me add.", ToolCall("add", {"a": 1, "b": 2}, id="x")])
    config: Any = {"reasoningParsing": {"enabled": True, "startString": "<think>", "endString": "</think>"}}
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("What is 1 + 2?", tools=[add], config=config)
        events: list[Any] = [event async for event in stream.events()]
    kinds = list(dict.fromkeys(event.kind for event in events))
    assert kinds == [
        "prompt_progress",
        "reasoning",
        "text",
        "tool_call_start",
        "tool_call_name",
        "tool_call_arguments",
        "tool_call",
        "result",
    ]
    assert [event.progress for event in events if event.kind == "prompt_progress"][-1] == 1.0
    assert "".join(event.content for event in events if event.kind == "reasoning") == "A sum."
    assert "".join(event.content for event in events if event.kind == "text") == "Let me add."
    assert events[-2].tool_call_request.arguments == {"a": 1, "b": 2}
    assert events[-1].result is stream.result()


async def test_events_of_one_call_do_not_repeat(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
        async for _ in stream.events():
            pass
        again = [event async for event in stream.events()]
    assert again == []


async def test_leaving_the_events_cancels(server: Server, engine: ScriptedEngine, gate: Any) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
        async for event in stream.events():
            if event.kind == "text":
                break
        assert engine.wait_for_cancel()
        result = await stream.wait_for_result()
    assert result.stop_reason == "userStopped"
