"""Tools of plugins, between a plugin and those who use them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from native_client import Refused, run
from patience import PATIENCE_SECONDS
from plugin_kit import config
from plugin_stage import ADD, FAILURE, PluginProcess, PluginStage, plugin_stage

from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.hooks import MAX_TASKS
from lmstudio.server.plugins.host import PluginHost
from lmstudio.server.plugins.tool_sessions import MAX_CALLS

if TYPE_CHECKING:
    from native_client import OpenChannel, Session


class ToolStage:
    """A plugin that provides tools."""

    def __init__(self, stage: PluginStage, plugin: PluginProcess) -> None:
        self.stage = stage
        self.plugin = plugin
        self.hook = plugin.provide_tools()

    @classmethod
    async def start(cls, stage: PluginStage) -> ToolStage:
        return cls(stage, await stage.start())

    async def begin(self, session: Session | None = None, **members: Any) -> tuple[OpenChannel, str]:
        """A session that is ready, and the plugin's name for it."""
        channel = self.stage.use_tools(session, **members)
        identifier = (await self.said("initSession"))["sessionId"]
        self.initialize(identifier, ADD)
        ready = await channel.next()
        assert ready is not None
        assert ready["type"] == "sessionReady"
        return channel, identifier

    def initialize(self, session_id: str, *tools: dict[str, Any]) -> None:
        self.hook.send({"type": "sessionInitialized", "sessionId": session_id, "toolDefinitions": [*tools]})

    async def said(self, kind: str) -> dict[str, Any]:
        """The next packet to the plugin."""
        packet = await self.hook.next()
        assert packet is not None
        assert packet["type"] == kind
        return packet

    async def called(self, channel: OpenChannel, call_id: int = 0) -> dict[str, Any]:
        """What the plugin hears when the user calls a tool."""
        channel.send({"type": "callTool", "callId": call_id, "name": "add", "arguments": {"a": 1}})
        return await self.said("callTool")

    def answer(self, call: dict[str, Any], kind: str, **members: Any) -> None:
        self.hook.send({"type": kind, "sessionId": call["sessionId"], "callId": call["callId"], **members})


# Sessions ------------------------------------------------------------------------------------------------------------


def test_plugin_gets_the_settings_of_the_session() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            specifier = {"type": "direct", "config": config(loud=True), "workingDirectoryPath": "/work"}
            stage.use_tools(pluginConfigSpecifier=specifier)
            packet = await tools.said("initSession")
            assert packet["pluginConfig"] == config(loud=True)
            assert packet["globalPluginConfig"] == config()
            assert packet["workingDirectoryPath"] == "/work"

    run(test)


def test_tool_without_parameters_gets_an_empty_schema() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel = stage.use_tools()
            identifier = (await tools.said("initSession"))["sessionId"]
            tools.initialize(identifier, {"type": "function", "function": {"name": "noop"}})
            ready = await channel.next()
            assert ready is not None
            assert ready["toolDefinitions"][0]["function"]["parameters"] == {"type": "object", "properties": {}}

    run(test)


def test_sessions_of_several_users_do_not_mix() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            one, first = await tools.begin()
            two, second = await tools.begin(stage.connect("another user"))
            assert first != second
            calls = [await tools.called(one), await tools.called(two)]
            for call, result in reversed(list(zip(calls, (1, 2), strict=True))):
                tools.answer(call, "toolCallComplete", result=result)
            assert [(await each.next() or {})["result"] for each in (one, two)] == [1, 2]

    run(test)


def test_failed_session_is_told_with_title_and_cause() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel = stage.use_tools()
            identifier = (await tools.said("initSession"))["sessionId"]
            tools.hook.send({"type": "sessionInitializationFailed", "sessionId": identifier, "error": FAILURE})
            with pytest.raises(Refused, match="No luck") as caught:
                await channel.next()
            assert caught.value.error["cause"] == "The dice."
            await tools.begin()  # and the next that the plugin hears of is another one

    run(test)


def test_discarded_session_ends_on_both_sides() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, identifier = await tools.begin()
            channel.send({"type": "discardSession"})
            assert await channel.next() is None
            assert await tools.said("discardSession") == {"type": "discardSession", "sessionId": identifier}

    run(test)


@pytest.mark.parametrize("is_ready", [True, False])
def test_session_of_a_user_who_goes_is_discarded(is_ready: bool) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            if is_ready:
                await tools.begin()
            else:
                stage.use_tools()
                await tools.said("initSession")
            await stage.user.hang_up()
            await tools.said("discardSession")

    run(test)


def test_session_waits_for_a_plugin_that_is_starting() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            channel = stage.use_tools()
            await asyncio.sleep(0)
            tools = ToolStage(stage, plugin)
            identifier = (await tools.said("initSession"))["sessionId"]
            tools.initialize(identifier)
            assert await channel.next() == {"type": "sessionReady", "toolDefinitions": []}

    run(test)


def test_plugin_that_does_not_start_is_an_error() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.register()
            host = PluginHost(stage.core.credentials, start_seconds=0.01)
            host.registry = stage.host.registry
            with pytest.raises(RequestError, match=r"did not become ready in 0\.01 s"):
                await host.tools("me/helper").__aenter__()

    run(test)


def test_plugin_without_tools_says_what_it_has() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            plugin.generate()
            await plugin.init_completed()
            with pytest.raises(Refused, match="has no tools provider") as caught:
                await stage.use_tools().next()
            assert caught.value.error["suggestion"] == "It has: generator."

    run(test)


def test_unknown_plugin_gets_a_proposal() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.start()
            with pytest.raises(Refused, match="No plugin 'me/helpr' is registered") as caught:
                await stage.use_tools(pluginIdentifier="me/helpr").next()
            assert caught.value.error["suggestion"] == "There is: me/helper."

    run(test)


@pytest.mark.parametrize("way", ["discard", "disconnect"])
def test_sessions_are_limited_and_their_end_makes_room(way: str) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            another = stage.connect("another user")
            channels = [stage.use_tools(another) for _ in range(MAX_TASKS)]
            for _ in channels:
                await tools.said("initSession")
            with pytest.raises(Refused, match="which is the limit"):
                await stage.use_tools().next()
            if way == "discard":
                for channel in channels:
                    channel.send({"type": "discardSession"})
                    assert await channel.next() is None
            else:
                await another.hang_up()
            for _ in channels:
                await tools.said("discardSession")
            await tools.begin()

    run(test)


# Calls ---------------------------------------------------------------------------------------------------------------


def test_call_reaches_the_plugin_and_its_words_the_user() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, identifier = await tools.begin()
            call = await tools.called(channel, 7)
            assert call == {**call, "sessionId": identifier, "toolName": "add", "parameters": {"a": 1}}
            tools.answer(call, "toolCallStatus", statusText="Adding.")
            tools.answer(call, "toolCallWarn", warnText="Only one?")
            tools.answer(call, "toolCallComplete", result={"sum": 1})
            assert [await channel.next() for _ in range(3)] == [
                {"type": "toolCallStatus", "callId": 7, "statusText": "Adding."},
                {"type": "toolCallWarn", "callId": 7, "warnText": "Only one?"},
                {"type": "toolCallComplete", "callId": 7, "result": {"sum": 1}},
            ]

    run(test)


def test_failed_call_keeps_title_and_cause_and_the_session() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            tools.answer(await tools.called(channel), "toolCallError", error=FAILURE)
            assert await channel.next() == {"type": "toolCallError", "callId": 0, "error": FAILURE}
            tools.answer(await tools.called(channel), "toolCallComplete", result=None)
            assert await channel.next() == {"type": "toolCallComplete", "callId": 0, "result": None}

    run(test)


def test_answer_that_is_not_valid_fails_the_call() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            tools.answer(await tools.called(channel), "toolCallStatus", statusText=5)
            failed = await channel.next()
            assert failed is not None
            assert "gave an answer that is not valid: toolCallStatus" in failed["error"]["title"]
            assert len(tools.plugin.session.warnings) == 1
            tools.answer(await tools.called(channel), "toolCallComplete", result=1)
            assert (await channel.next() or {})["result"] == 1

    run(test)


def test_what_is_undefined_in_javascript_is_absent_and_means_nothing() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            channel.send({"type": "callTool", "callId": 0, "name": "add"})
            called = await tools.said("callTool")
            assert called["parameters"] is None
            tools.answer(called, "toolCallComplete")
            assert await channel.next() == {"type": "toolCallComplete", "callId": 0, "result": None}
            assert tools.plugin.session.warnings == stage.user.warnings == []

    run(lambda: asyncio.wait_for(test(), PATIENCE_SECONDS))


def test_tools_that_are_not_valid_fail_the_session() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel = stage.use_tools()
            tools.initialize((await tools.said("initSession"))["sessionId"], {"type": "function"})
            with pytest.raises(Refused, match="gave an answer that is not valid: sessionInitialized"):
                await channel.next()

    run(test)


def test_aborted_call_is_over_for_both() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            first = await tools.called(channel, 0)
            channel.send({"type": "abortToolCall", "callId": 0})
            assert (await tools.said("abortToolCall"))["callId"] == first["callId"]
            second = await tools.called(channel, 1)
            tools.answer(first, "toolCallComplete", result="too late")
            tools.answer(second, "toolCallComplete", result="in time")
            assert (await channel.next() or {})["result"] == "in time"
            channel.send({"type": "abortToolCall", "callId": 1})  # too late is no error
            channel.send({"type": "discardSession"})
            await tools.said("discardSession")

    run(test)


def test_tool_that_does_not_exist_is_refused_without_asking_the_plugin() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            channel.send({"type": "callTool", "callId": 0, "name": "ad", "arguments": {}})
            refusal = await channel.next()
            assert refusal is not None
            assert refusal["error"]["rootTitle"] == "The plugin 'me/helper' has no tool 'ad'"
            assert refusal["error"]["suggestion"] == "Call one of: add."
            assert (await tools.called(channel))["toolName"] == "add"  # the first that the plugin has heard of

    run(test)


def test_call_before_the_tools_are_there_is_refused() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel = stage.use_tools()
            await tools.said("initSession")
            channel.send({"type": "callTool", "callId": 0, "name": "add", "arguments": {}})
            refusal = await channel.next()
            assert refusal is not None
            assert "are not ready" in refusal["error"]["title"]

    run(test)


def test_number_of_a_running_call_cannot_be_taken() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            call = await tools.called(channel)
            channel.send({"type": "callTool", "callId": 0, "name": "add", "arguments": {}})
            assert (await channel.next() or {})["type"] == "toolCallWarn"
            for result in (1, 2):  # once it has ended, it is free
                tools.answer(call, "toolCallComplete", result=result)
                assert (await channel.next() or {})["result"] == result
                call = await tools.called(channel)

    run(test)


def test_number_of_running_calls_is_limited() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            for number in range(MAX_CALLS):
                await tools.called(channel, number)
            channel.send({"type": "callTool", "callId": MAX_CALLS, "name": "add", "arguments": {}})
            refusal = await channel.next()
            assert refusal is not None
            assert "which is the limit" in refusal["error"]["title"]

    run(test)


@pytest.mark.parametrize("way", ["process", "registration"])
def test_plugin_lost_in_the_middle_of_a_call(way: str) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel, _ = await tools.begin()
            await tools.called(channel)
            await (tools.plugin.session if way == "process" else stage.developer).hang_up()
            lost = await channel.next()
            assert lost is not None
            assert (lost["type"], lost["error"]["title"]) == ("toolCallError", "The plugin 'me/helper' has gone")
            with pytest.raises(Refused, match="has gone"):
                await channel.next()

    run(test)


def test_plugin_lost_before_its_tools_are_there() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            channel = stage.use_tools()
            await tools.said("initSession")
            await tools.plugin.session.hang_up()
            with pytest.raises(Refused, match="has gone"):
                await channel.next()

    run(test)


# Inside the server ---------------------------------------------------------------------------------------------------


def test_server_itself_calls_a_tool() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            heard: list[str] = []
            starting = asyncio.ensure_future(stage.host.tools("me/helper").__aenter__())
            tools.initialize((await tools.said("initSession"))["sessionId"], ADD)
            session = await starting
            assert [tool.function.name for tool in session.definitions] == ["add"]
            calling = asyncio.ensure_future(session.call("add", {"a": 1}, on_status=heard.append, on_warn=heard.append))
            call = await tools.said("callTool")
            tools.answer(call, "toolCallStatus", statusText="Adding.")
            tools.answer(call, "toolCallWarn", warnText="Hm.")
            tools.answer(call, "toolCallComplete", result=3)
            assert (await calling, heard) == (3, ["Adding.", "Hm."])
            failing = asyncio.ensure_future(session.call("add", {}))
            tools.answer(await tools.said("callTool"), "toolCallError", error=FAILURE)
            with pytest.raises(RequestError, match="No luck"):
                await failing
            await session.__aexit__(None, None, None)
            await tools.said("discardSession")

    run(test)


def test_cancelled_call_of_the_server_is_aborted() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            tools = await ToolStage.start(stage)
            starting = asyncio.ensure_future(stage.host.tools("me/helper").__aenter__())
            tools.initialize((await tools.said("initSession"))["sessionId"], ADD)
            session = await starting
            calling = asyncio.ensure_future(session.call("add", {"a": 1}))
            call = await tools.said("callTool")
            calling.cancel()
            assert (await tools.said("abortToolCall"))["callId"] == call["callId"]

    run(test)
