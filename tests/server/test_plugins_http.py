"""Chats over HTTP with the tools of a plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from native_client import Refused, run
from patience import PATIENCE_SECONDS
from plugin_stage import ADD, FAILURE, PluginStage, plugin_stage

from lmstudio._endpoints import plugins
from lmstudio.server.app import AppSettings, create_app
from lmstudio.server.engine.scripted import Reply, ScriptedEngine, ToolCall
from lmstudio.server.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from native_client import OpenChannel

PLUGIN = "me/helper"
ALLOWED = HttpSettings(allow_plugins=True)


async def post(stage: PluginStage, *integrations: Any, settings: HttpSettings = ALLOWED) -> httpx.Response:
    transport = httpx.ASGITransport(app=create_app(stage.core, AppSettings(http=settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        body = {"model": "scripted-chat", "input": "What is 1?", "integrations": [*integrations]}
        return await client.post("/api/v1/chat", json=body)


async def provided_tools(stage: PluginStage) -> OpenChannel:
    plugin = await stage.start()
    hook = plugin.provide_tools()
    await plugin.init_completed()
    return hook


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
            hook = await provided_tools(stage)
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
    status, error = refused(lambda stage: post(stage, PLUGIN, settings=HttpSettings()))
    assert (status, error["type"]) == (501, "not_implemented")


def test_preprocessor_that_fails_is_no_mistake_of_the_request() -> None:
    async def check(stage: PluginStage) -> httpx.Response:
        plugin = await stage.start()
        hook = plugin.preprocess()
        await plugin.init_completed()
        asking = asyncio.ensure_future(post(stage, PLUGIN))
        task = await said(hook, "preprocess")
        hook.send({"type": "error", "taskId": task["taskId"], "error": FAILURE})
        return await asyncio.wait_for(asking, PATIENCE_SECONDS)

    status, error = refused(check)
    assert (status, error["type"]) == (502, "plugin_connection_error")
    assert "No luck" in error["message"]


def test_only_one_plugin_can_answer() -> None:
    async def check(stage: PluginStage) -> httpx.Response:
        for name in ("one", "two"):
            plugin = await stage.start(name)
            plugin.handle_loop()
            await plugin.init_completed()
        return await asyncio.wait_for(post(stage, "me/one", "me/two"), PATIENCE_SECONDS)

    status, error = refused(check)
    assert (status, error["type"]) == (400, "invalid_request")
    assert "me/one, me/two" in error["message"]


def test_plugin_that_answers_may_call_tools_but_can_ask_nobody() -> None:
    async def check() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.handle_loop()
            await plugin.init_completed()
            asking = asyncio.ensure_future(post(stage, PLUGIN))
            task = await said(hook, "handlePredictionLoop")
            confirm = {"type": "confirmToolCall", "callId": 1, "name": "add", "parameters": {}}
            answer = await plugin.process(plugins.PROCESSING_HANDLE_REQUEST, task, request=confirm)
            assert answer["response"]["result"] == {"type": "allow"}
            with pytest.raises(Refused, match="nobody to ask"):
                prompt = {"type": "textInput", "prompt": "Your name?"}
                await plugin.process(plugins.PROCESSING_HANDLE_REQUEST, task, request=prompt)
            for update in (
                {"type": "contentBlock.create", "id": "a", "includeInContext": True, "style": {"type": "thinking"}},
                {"type": "contentBlock.appendText", "id": "a", "text": "Hm."},
                {"type": "contentBlock.create", "id": "b", "includeInContext": True},
                {"type": "contentBlock.appendText", "id": "b", "text": "Well."},
            ):
                await plugin.process(plugins.PROCESSING_HANDLE_UPDATE, task, update=update)
            hook.send({"type": "complete", "taskId": task["taskId"]})
            output = (await asking).json()["output"]
            assert output == [{"type": "reasoning", "content": "Hm."}, {"type": "message", "content": "Well."}]

    run(lambda: asyncio.wait_for(check(), PATIENCE_SECONDS))


@pytest.mark.parametrize("is_calling", [False, True])
def test_plugin_is_told_of_a_client_that_leaves(*, is_calling: bool) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            engine = stage.core.engine
            assert isinstance(engine, ScriptedEngine)
            engine.reply = [Reply([ToolCall("add", {"a": 1})])]
            hook = await provided_tools(stage)
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
