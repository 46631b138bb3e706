"""Plugins: their tools in `act`, their generators in place of models, and what their developers do."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio._sdk_models import SerializedKVConfigSchematics
from lmstudio.server import Reply, ToolCall
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

MANIFEST = {"type": "plugin", "runner": "node", "owner": "me", "name": "helper"}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    },
}
NOOP = {"type": "function", "function": {"name": "noop"}}
FAILURE = {"title": "No luck", "rootTitle": "No luck", "cause": "The dice."}
CALL_REQUEST = {"type": "function", "id": "x", "name": "own", "arguments": {}}


def own() -> str:
    """A tool of the user."""
    return "mine"


class AsyncStage:
    """A registered plugin, the host as its process sees it, and a client of a user."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.user = lms.AsyncClient(server.api_host)

    async def __aenter__(self) -> Self:
        self.registration = self.user.plugins.register_development_plugin(MANIFEST)
        await self.registration.__aenter__()
        self.process = lms.AsyncClient(
            self._server.api_host,
            client_identifier=self.registration.client_identifier,
            client_passkey=self.registration.client_passkey,
        )
        self.host = self.process.plugins.get_self_registration_host()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.registration.__aexit__(exc_type, exc, traceback)
        await self.process.aclose()
        await self.user.aclose()

    async def act(self, tools: Any, **options: Any) -> lms.ActResult:
        model = await self.user.llm.model("scripted-chat")
        result: lms.ActResult = await model.act("Go.", tools, **options)
        return result


class AsyncHook:
    """Serves a hook: *answer* says what to send for each packet. Serve it in the background."""

    def __init__(self, channel: Any, answer: Callable[[Any], list[dict[str, Any]]]) -> None:
        self._channel = channel
        self._answer = answer
        self.heard: list[Any] = []

    async def serve(self) -> None:
        try:
            while True:
                packet = await self._channel.receive()
                for answer in self._answer(packet):
                    self._channel.send(answer)
                self.heard.append(packet)
        except (lms.LMStudioChannelClosedError, lms.LMStudioWebsocketError):
            return  # the registration has ended

    def kinds(self) -> list[str]:
        return [packet.type for packet in self.heard]

    def has_heard(self, kind: str) -> Callable[[], bool]:
        return lambda: kind in self.kinds()


def said(call: Any, kind: str, **members: Any) -> dict[str, Any]:
    """About a call of a tool."""
    return {"type": kind, "sessionId": call.session_id, "callId": call.call_id, **members}


def offering(
    answer: Callable[[Any], list[dict[str, Any]]] = lambda _: [], *tools: Any
) -> Callable[[Any], list[dict[str, Any]]]:
    """A tools provider that answers calls with *answer*."""

    def provide(packet: Any) -> list[dict[str, Any]]:
        if packet.type == "initSession":
            ready = {"type": "sessionInitialized", "sessionId": packet.session_id, "toolDefinitions": [*tools] or [ADD]}
            return [ready]
        return answer(packet) if packet.type == "callTool" else []

    return provide


def tool_messages(engine: ScriptedEngine) -> list[Any]:
    """The contents of the tool results in the last request that the engine got."""
    return [message["content"] for message in engine.chats[-1].messages if message["role"] == "tool"]


# Tools ---------------------------------------------------------------------------------------------------------------


async def test_tools_of_a_plugin_run_beside_those_of_the_user(
    server: Server, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(call: Any) -> list[dict[str, Any]]:
        if call.tool_name == "noop":
            return [said(call, "toolCallComplete", result=None)]
        speech = [said(call, "toolCallStatus", statusText="Adding."), said(call, "toolCallWarn", warnText="Only one?")]
        return [*speech, said(call, "toolCallComplete", result={"sum": call.parameters["a"]})]

    caplog.set_level(logging.INFO, "lmstudio.tools")
    engine.reply = [Reply([ToolCall("add", {"a": 2}), ToolCall("noop", {"b": 1}), ToolCall("own", {})]), Reply("Done.")]
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_tools_provider(), offering(answer, ADD, NOOP))
        background.start(hook.serve)
        config = {"loud": True}
        async with stage.user.plugins.plugin_tools(
            "me/helper", plugin_config=config, working_directory="/work"
        ) as tools:
            assert [tool.name for tool in tools] == ["add", "noop"]
            assert (len(tools), tools[0].description, tools[:1]) == (2, "Add two numbers.", tools.tools[:1])
            result = await stage.act([*tools, own])
        await background.until(hook.has_heard("discardSession"))
    assert (result.content, tool_messages(engine)) == ("Done.", ['{"sum": 2}', "null", '"mine"'])
    assert [tool["function"]["name"] for tool in engine.chats[0].tools] == ["add", "noop", "own"]
    start = hook.heard[0]
    assert start.plugin_config.to_dict() == {"fields": [{"key": "loud", "value": True}]}
    assert start.working_directory_path == "/work"
    assert [record.message for record in caplog.records] == ["add: Adding.", "add: Only one?"]
    assert repr(tools) == "<AsyncRemoteToolUseSession 'me/helper': ['add', 'noop']>"


async def test_what_does_not_fit_a_tool_is_not_sent_and_its_failure_is_told(
    server: Server, engine: ScriptedEngine
) -> None:
    engine.reply = [Reply([ToolCall("add", {"a": "two"}), ToolCall("add", {"a": 2})]), Reply("Done.")]
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        fail = offering(lambda call: [said(call, "toolCallError", error=FAILURE)])
        hook = AsyncHook(stage.host.set_tools_provider(), fail)
        background.start(hook.serve)
        async with stage.user.plugins.plugin_tools("me/helper") as tools:
            await stage.act(tools)
    assert hook.kinds().count("callTool") == 1
    refused, failed = tool_messages(engine)
    assert "Invalid arguments for tool 'add'" in refused
    assert "No luck" in failed
    assert "The dice." in failed


async def test_calls_run_at_the_same_time(server: Server, engine: ScriptedEngine) -> None:
    calls: list[Any] = []

    def answer(call: Any) -> list[dict[str, Any]]:
        calls.append(call)
        if len(calls) < 3:
            return []
        return [said(each, "toolCallComplete", result=each.parameters["a"]) for each in reversed(calls)]

    engine.reply = [Reply([ToolCall("add", {"a": number}) for number in range(3)]), Reply("Done.")]
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_tools_provider(), offering(answer))
        background.start(hook.serve)
        async with stage.user.plugins.plugin_tools("me/helper") as tools:
            await stage.act(tools, max_parallel_tool_calls=None)
    assert tool_messages(engine) == ["0", "1", "2"]


async def test_a_plugin_hears_that_nobody_wants_a_result_any_more(server: Server, engine: ScriptedEngine) -> None:
    call = Reply([ToolCall("add", {"a": 1})])
    engine.reply = [call, call, Reply("Done.")]
    signal = lms.AbortSignal()
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_tools_provider(), offering())
        background.start(hook.serve)
        async with stage.user.plugins.plugin_tools("me/helper") as tools:
            acting = background.start(lambda: stage.act(tools, signal=signal))
            await background.until(hook.has_heard("callTool"))
            signal.abort("enough")
            with pytest.raises(lms.LMStudioCancelledError, match="enough"):
                await acting.result()
            await background.until(hook.has_heard("abortToolCall"))
            result = await stage.act(tools, tool_timeout=0.01, max_prediction_rounds=2)
            await background.until(lambda: hook.kinds().count("abortToolCall") == 2)
    assert result.rounds == 2
    assert "took longer" in tool_messages(engine)[0]


async def test_calls_fail_when_the_session_is_over(server: Server) -> None:
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_tools_provider(), offering())
        background.start(hook.serve)
        async with stage.user.plugins.plugin_tools("me/helper") as left, AsyncBackground() as calls:
            running = calls.start(lambda: left[0].implementation(a=1))
            await background.until(hook.has_heard("callTool"))
            await left.aclose()
            with pytest.raises(lms.LMStudioCancelledError, match="'me/helper' has been ended"):
                await running.result()
            with pytest.raises(lms.LMStudioRuntimeError, match=r"'add'.* has been ended"):
                await left[0].implementation(a=1)
        async with stage.user.plugins.plugin_tools("me/helper") as lost, AsyncBackground() as calls:
            running = calls.start(lambda: lost[0].implementation(a=1))
            await background.until(lambda: hook.kinds().count("callTool") == 2)
            await stage.registration.unregister()
            for call in (running.result, lambda: lost[0].implementation(a=1)):
                with pytest.raises(lms.LMStudioServerError, match="Could not call the tool 'add'"):
                    await call()


async def test_tools_belong_to_the_event_loop_of_their_session(server: Server) -> None:  # sync: skip
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        background.start(AsyncHook(stage.host.set_tools_provider(), offering()).serve)
        async with stage.user.plugins.plugin_tools("me/helper") as tools:
            with pytest.raises(lms.LMStudioRuntimeError, match="another event loop"):
                await background.wait(lambda: asyncio.run(tools[0].implementation(a=1)))


async def test_a_session_that_cannot_begin_says_why(server: Server) -> None:
    def fail(packet: Any) -> list[dict[str, Any]]:
        return [{"type": "sessionInitializationFailed", "sessionId": packet.session_id, "error": FAILURE}]

    aborted = lms.AbortSignal()
    aborted.abort("too late")
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        background.start(AsyncHook(stage.host.set_tools_provider(), fail).serve)
        for identifier, signal, error, message in (
            ("me/helper", None, lms.LMStudioServerError, "No luck"),
            ("me/nobody", None, lms.LMStudioServerError, "'me/nobody' is registered"),
            ("me/helper", aborted, lms.LMStudioCancelledError, "too late"),
            ("helper", None, lms.LMStudioValueError, "'owner/name'"),
        ):
            with pytest.raises(error, match=message):
                async with stage.user.plugins.plugin_tools(identifier, signal=signal):
                    pass


# Generators ----------------------------------------------------------------------------------------------------------


def fragment(task: Any, content: str, **options: Any) -> dict[str, Any]:
    return {"type": "fragmentGenerated", "taskId": task.task_id, "content": content, "opts": options}


async def test_a_generator_answers_as_a_model_does(server: Server) -> None:
    def answer(task: Any) -> list[dict[str, Any]]:
        thought = fragment(task, "Hm.", reasoningType="reasoning")
        return [thought, fragment(task, "Good "), fragment(task, "day"), {"type": "complete", "taskId": task.task_id}]

    chat, seen = lms.Chat.from_history("Hi"), []
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_generator(), answer)
        background.start(hook.serve)
        generator = stage.user.plugins.create_generator_handle("me/helper")
        assert generator == stage.user.plugins.create_generator_handle("me/helper")
        result = await generator.respond(
            chat,
            plugin_config={"topic": "weather"},
            working_directory="/work",
            on_first_token=lambda: seen.append("first"),
            on_prediction_fragment=lambda fragment: seen.append(fragment.content),
            on_message=chat.append,
        )
        async with generator.respond_stream("Hi") as stream:
            streamed = [fragment.content async for fragment in stream]
            assert stream.result() == result
    assert (result.content, str(result), result.plugin_identifier) == ("Hm.Good day", "Hm.Good day", "me/helper")
    assert (result.reasoning_content, result.non_reasoning_content) == ("Hm.", "Good day")
    assert (seen, streamed) == (["first", "Hm.", "Good ", "day"], ["Hm.", "Good ", "day"])
    assert [message.role for message in chat] == ["user", "assistant"]
    task = hook.heard[0]
    assert (task.tool_definitions, task.working_directory_path) == ([], "/work")
    assert task.plugin_config.to_dict() == {"fields": [{"key": "topic", "value": "weather"}]}


async def test_a_generator_that_is_left_early_is_told(server: Server) -> None:
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(
            stage.host.set_generator(), lambda task: [fragment(task, "Once")] if task.type == "generate" else []
        )
        background.start(hook.serve)
        async with stage.user.plugins.create_generator_handle("me/helper").respond_stream("Hi") as stream:
            async for each in stream:
                assert each.content == "Once"
                break
        await background.until(hook.has_heard("abort"))
        stopped = stage.user.plugins.create_generator_handle("me/helper").respond_stream("Hi")
        async with stopped:
            await anext(aiter(stopped))
            await stopped.cancel()
            assert (await stopped.wait_for_result()).content == "Once"


async def test_act_with_a_generator_calls_tools_and_offers_none_in_the_last_round(server: Server) -> None:
    def answer(task: Any) -> list[dict[str, Any]]:
        if not task.tool_definitions:
            return [fragment(task, "Done."), {"type": "complete", "taskId": task.task_id}]
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("toolCallGenerationStarted", {"toolCallId": "x"}),
            ("toolCallGenerationNameReceived", {"toolName": "own"}),
            ("toolCallGenerationArgumentFragmentGenerated", {"content": "{}"}),
            ("toolCallGenerationEnded", {"toolCallRequest": CALL_REQUEST}),
            ("complete", {}),
        ]
        return [{"type": kind, "taskId": task.task_id, **members} for kind, members in kinds]

    completed: list[Any] = []
    chat = lms.Chat.from_history("Go.")
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        hook = AsyncHook(stage.host.set_generator(), answer)
        background.start(hook.serve)
        generator = stage.user.plugins.create_generator_handle("me/helper")
        result = await generator.act(
            chat, [own], max_prediction_rounds=2, on_prediction_completed=completed.append, on_message=chat.append
        )
    assert (result.rounds, result.content) == (2, "Done.")
    assert [(each.round_index, each.plugin_identifier) for each in completed] == [(0, "me/helper"), (1, "me/helper")]
    assert completed[1] == result.final_result
    assert [message.role for message in chat] == ["user", "assistant", "tool", "assistant"]
    assert [len(task.tool_definitions) for task in hook.heard] == [1, 0]
    assert hook.heard[1].input.messages[2].content[0].content == '"mine"'


async def test_a_tool_call_that_a_generator_cannot_complete_ends_act(server: Server) -> None:
    def answer(task: Any) -> list[dict[str, Any]]:
        return [
            {"type": "toolCallGenerationStarted", "taskId": task.task_id},
            {"type": "toolCallGenerationFailed", "taskId": task.task_id, "error": FAILURE},
        ]

    async with AsyncBackground() as background, AsyncStage(server) as stage:
        background.start(AsyncHook(stage.host.set_generator(), answer).serve)
        generator = stage.user.plugins.create_generator_handle("me/helper")
        with pytest.raises(lms.ToolCallRequestInvalidFormatError, match="the generator could not complete it"):
            await generator.act("Go.", [own])


# Development ---------------------------------------------------------------------------------------------------------


async def test_a_registration_has_credentials_and_ends_when_asked(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        async with client.plugins.register_development_plugin(MANIFEST) as registration:
            assert registration.identifier == "me/helper"
            assert registration.client_identifier
            assert registration.client_passkey
            assert server.api_host in str(registration.base_url)
            assert registration.deno_broker_ipc_path is None
            with pytest.raises(lms.LMStudioServerError, match="registered already"):
                async with client.plugins.register_development_plugin(MANIFEST):
                    pass
            await registration.unregister()
            await registration.unregister()
        with pytest.raises(ZeroDivisionError):
            async with client.plugins.register_development_plugin(MANIFEST):
                raise ZeroDivisionError
        async with client.plugins.register_development_plugin(lms.PluginManifest.from_dict(MANIFEST)):
            await client.plugins.reindex_plugins()


async def test_a_registration_can_be_given_up(proxy: FaultProxy) -> None:
    signal = lms.AbortSignal()

    async def register() -> None:
        async with client.plugins.register_development_plugin(MANIFEST, signal=signal):
            pass

    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        await client.plugins.reindex_plugins()
        proxy.hold()
        call = background.start(register)
        await background.until(lambda: bool(proxy.messages("channelCreate")))
        signal.abort()
        for attempt in (call.result, register):
            with pytest.raises(lms.LMStudioCancelledError, match="Aborted"):
                await attempt()
        proxy.release()
        assert len(proxy.messages("channelCreate")) == 1
        await background.until(lambda: bool(proxy.messages("channelSend")))
        assert proxy.messages("channelSend")[0]["message"] == {"type": "end"}


async def test_a_plugin_tells_its_host_about_itself(server: Server) -> None:
    schematics = SerializedKVConfigSchematics(fields=[])
    async with AsyncBackground() as background, AsyncStage(server) as stage:
        await stage.host.set_config_schematics(schematics)
        await stage.host.set_global_config_schematics(schematics)
        await stage.host.report_error(
            {"type": "unauthorized", "plugin_run_id": "1", "server_url": "http://a", "message": "Log in."}
        )
        await stage.host.init_completed()
        for open_hook in (stage.host.set_prompt_preprocessor, stage.host.set_prediction_loop_handler):
            channel: Any = open_hook()
            waiting = background.start(channel.receive)
            channel.close()
            with pytest.raises(lms.LMStudioCancelledError):
                await waiting.result()
        with pytest.raises(lms.LMStudioServerError, match="this client is none"):
            await stage.user.plugins.get_self_registration_host().set_generator().receive()
