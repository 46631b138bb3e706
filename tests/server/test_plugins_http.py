"""Chats over HTTP with the tools of a plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from native_client import run
from plugin_stage import ADD, FAILURE, PluginStage, plugin_stage

from lmstudio.server.app import AppSettings, create_app
from lmstudio.server.engine.scripted import Reply, ScriptedEngine, ToolCall
from lmstudio.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from native_client import OpenChannel

PLUGIN = "me/helper"
ALLOWED = HttpSettings(allow_plugins=True)


async def post(stage: PluginStage, integration: Any, settings: HttpSettings = ALLOWED) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(stage.core, AppSettings(http=settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        body = {"model": "scripted-chat", "input": "What is 1?", "integrations": [integration]}
        return await client.post("/api/v1/chat", json=body)


async def said(hook: OpenChannel, kind: str) -> dict[str, Any]:
    packet = await hook.next()
    assert packet is not None
    assert packet["type"] == kind
    return packet


def answering(answer: dict[str, Any], integration: Any) -> dict[str, Any]:
    """The reply to a chat whose model calls the tool of a plugin, which gives *answer*."""
    replies: list[dict[str, Any]] = []

    async def test() -> None:
        async with plugin_stage() as stage:
            engine = stage.core.engine
            assert isinstance(engine, ScriptedEngine)
            engine.reply = [Reply([ToolCall("add", {"a": 1})]), Reply("Done.")]
            hook = (await stage.start()).provide_tools()
            asking = asyncio.ensure_future(post(stage, integration))
            session = (await said(hook, "initSession"))["sessionId"]
            hook.send({"type": "sessionInitialized", "sessionId": session, "toolDefinitions": [ADD]})
            call = await said(hook, "callTool")
            assert (call["toolName"], call["parameters"]) == ("add", {"a": 1})
            hook.send({**answer, "sessionId": session, "callId": call["callId"]})
            response = await asking
            assert response.status_code == 200, response.text
            await said(hook, "discardSession")
            replies.append(response.json())

    run(test)
    return replies[0]


def test_tool_of_a_plugin_is_called() -> None:
    for integration in (PLUGIN, {"type": "plugin", "id": PLUGIN, "allowed_tools": ["add"]}):
        call, last = answering({"type": "toolCallComplete", "result": {"sum": 1}}, integration)["output"]
        assert call == {
            "type": "tool_call",
            "tool": "add",
            "arguments": {"a": 1},
            "output": '{"sum": 1}',
            "provider_info": {"type": "plugin", "plugin_id": PLUGIN},
        }
        assert last == {"type": "message", "content": "Done."}


def test_tool_that_fails_tells_the_model() -> None:
    call, last = answering({"type": "toolCallError", "error": FAILURE}, PLUGIN)["output"]
    assert "No luck" in call["output"]
    assert last["content"] == "Done."


def refused(check: Callable[[PluginStage], Awaitable[httpx.Response]]) -> tuple[int, dict[str, Any]]:
    answers: list[httpx.Response] = []

    async def test() -> None:
        async with plugin_stage() as stage:
            answers.append(await check(stage))

    run(test)
    error: dict[str, Any] = answers[0].json()["error"]
    assert error["param"] == "integrations"
    return answers[0].status_code, error


def test_plugin_that_is_not_there() -> None:
    status, error = refused(lambda stage: post(stage, PLUGIN))
    assert (status, error["type"]) == (502, "plugin_connection_error")
    assert PLUGIN in error["message"]


def test_plugins_are_not_for_everybody() -> None:
    status, error = refused(lambda stage: post(stage, PLUGIN, HttpSettings()))
    assert (status, error["type"]) == (501, "not_implemented")


@pytest.mark.parametrize("is_calling", [False, True])
def test_plugin_is_told_of_a_client_that_leaves(*, is_calling: bool) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            engine = stage.core.engine
            assert isinstance(engine, ScriptedEngine)
            engine.reply = [Reply([ToolCall("add", {"a": 1})])]
            hook = (await stage.start()).provide_tools()
            asking = asyncio.ensure_future(post(stage, PLUGIN))
            session = (await said(hook, "initSession"))["sessionId"]
            if is_calling:
                hook.send({"type": "sessionInitialized", "sessionId": session, "toolDefinitions": [ADD]})
                await said(hook, "callTool")
            asking.cancel()
            if is_calling:
                await said(hook, "abortToolCall")
            assert (await said(hook, "discardSession"))["sessionId"] == session
            await asyncio.wait((asking,))
            assert stage.core.places.taken == {}
            assert all(instance.uses == [] for instance in stage.core.instances.loaded("llm"))

    run(test)
