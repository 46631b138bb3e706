"""`act` as hurried users have it: tools that use the model themselves, close its client, or run by the hundred."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import Reply, ToolCall
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server
    from lmstudio.server.engine.base import GenerationRequest


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def add_then_answer(request: GenerationRequest) -> Reply:
    """Two calls in the first round, an answer in the second."""
    if "<|tool|>" in request.prompt:
        return Reply("Done.")
    return Reply([ToolCall("add", {"a": 1, "b": 2}, id="x"), ToolCall("add", {"a": 3, "b": 4}, id="y")])


async def test_tool_may_ask_the_model_again(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("ask", {})]), Reply("inner answer"), Reply("outer answer")]
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")

        async def ask() -> str:
            """Ask."""
            return (await model.respond("inner question")).content

        result = await model.act("outer question", [ask])
    assert result.content == "outer answer"
    assert engine.chats[-1].messages[-1]["content"] == '"inner answer"'


async def test_tool_may_act_itself(server: Server, engine: ScriptedEngine) -> None:
    call_add = Reply([ToolCall("add", {"a": 1, "b": 2})])
    engine.reply = [Reply([ToolCall("delegate", {})]), call_add, Reply("It is 3."), Reply("outer answer")]
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")

        async def delegate() -> str:
            """Delegate."""
            return (await model.act("inner task", [add])).content

        result = await model.act("outer task", [delegate])
    assert (result.content, result.rounds) == ("outer answer", 2)
    assert engine.chats[-1].messages[-1]["content"] == '"It is 3."'


async def test_tool_that_closes_the_client_ends_act(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("close", {})]), Reply("never")]
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")

        async def close() -> None:
            """Close."""
            await client.aclose()

        with pytest.raises(lms.LMStudioError, match="closed"):
            await model.act("Hi", [close])


async def test_forty_at_once_do_not_mix(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = add_then_answer
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        chats = [lms.Chat(f"Chat {number}.") for number in range(40)]

        async def run(chat: lms.Chat) -> Any:
            chat.add_user_message("Go")
            return await model.act(chat, [add], max_parallel_tool_calls=None, on_message=chat.append)

        async with AsyncBackground() as background:
            calls = [background.start(partial(run, chat)) for chat in chats]
            for call in calls:
                assert (await call.result()).rounds == 2
    for number, chat in enumerate(chats):
        assert chat.get_system_prompt() == f"Chat {number}."
        results = chat[3].get_tool_call_results()
        assert [(result.tool_call_id, result.content) for result in results] == [("x", "3"), ("y", "7")]


async def test_hundred_calls_of_one_round_keep_their_order(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": number, "b": 0}) for number in range(100)]), Reply("Done.")]
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        await model.act("Go", [add], max_parallel_tool_calls=8)
    results = [message["content"] for message in engine.chats[-1].messages if message["role"] == "tool"]
    assert results == [str(number) for number in range(100)]
