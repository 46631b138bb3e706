"""Prompt preprocessors and prediction loop handlers, and what they ask and say while they work on a message."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from native_client import Refused, run
from plugin_kit import config, message, turn_settings, user_message
from plugin_stage import ADD, FAILURE, PluginProcess, PluginStage, plugin_stage

from lmstudio._endpoints import plugins
from lmstudio._sdk_models import (
    KvConfig,
    ProcessingRequest,
    ProcessingRequestConfirmToolCall,
    ProcessingRequestResponse,
    ProcessingRequestResponseConfirmToolCall,
    ProcessingRequestResponseConfirmToolCallResultDeny,
    ProcessingRequestResponseTextInput,
    TokenSourceIdentifierGenerator,
)
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.runs import BUSY_ABOVE, MAX_UNREAD
from lmstudio.server.plugins.turns import NameSuggestion, Turn, TurnItem, TurnRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from native_client import OpenChannel


def status(text: str) -> dict[str, Any]:
    return {"type": "status.create", "id": text, "state": {"status": "loading", "text": text}}


async def said(hook: OpenChannel, kind: str) -> dict[str, Any]:
    packet = await hook.next()
    assert packet is not None
    assert packet["type"] == kind
    return packet


async def rest(reader: TurnRun) -> list[TurnItem]:
    return [item async for item in reader]


@dataclass
class Loop:
    """A prediction loop handler at work on a turn."""

    stage: PluginStage
    plugin: PluginProcess
    hook: OpenChannel
    turn: Turn
    reader: TurnRun
    task: dict[str, Any]

    async def call(self, spec: Any, **members: Any) -> Any:
        return await self.plugin.process(spec, self.task, **members)

    def complete(self) -> None:
        self.hook.send({"type": "complete", "taskId": self.task["taskId"]})


@asynccontextmanager
async def loop(**settings: Any) -> AsyncIterator[Loop]:
    async with plugin_stage() as stage:
        plugin = await stage.start()
        hook = plugin.handle_loop()
        with stage.host.turn(user_message("Hi"), turn_settings(**settings)) as turn:
            async with stage.host.run_loop("me/helper", turn) as reader:
                yield Loop(stage, plugin, hook, turn, reader, await said(hook, "handlePredictionLoop"))


# Preprocessors -------------------------------------------------------------------------------------------------------


def test_preprocessor_gets_the_message_and_changes_it() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.preprocess()
            settings = turn_settings(
                config=KvConfig.from_dict(config(temperature=1)),
                plugin_configs={"me/helper": KvConfig.from_dict(config(loud=True))},
                working_directory="/work",
                enabled_plugins=["me/helper", "me/absent"],
            )
            with stage.host.turn(user_message("Hi"), settings) as turn:
                async with stage.host.preprocess("me/helper", turn) as reader:
                    task = await said(hook, "preprocess")
                    assert task["input"] == message("Hi")
                    assert (task["config"], task["pluginConfig"]) == (config(temperature=1), config(loud=True))
                    assert (task["globalPluginConfig"], task["workingDirectoryPath"]) == (config(), "/work")
                    (info,) = task["enabledPluginInfos"]
                    assert (info["identifier"], info["hasPromptPreprocessor"]) == ("me/helper", True)
                    assert not any(info[name] for name in ("hasToolsProvider", "hasGenerator"))
                    hook.send({"type": "complete", "taskId": task["taskId"], "processed": message("HI")})
                    assert await rest(reader) == []
                assert turn.message.to_dict() == message("HI")

    run(test)


def test_preprocessors_are_chained() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            hooks = [(await stage.start(name)).preprocess() for name in ("one", "two")]
            with stage.host.turn(user_message("0"), turn_settings()) as turn:
                for number, (name, hook) in enumerate(zip(("one", "two"), hooks, strict=True)):
                    async with stage.host.preprocess(f"me/{name}", turn) as reader:
                        task = await said(hook, "preprocess")
                        assert task["input"] == message(str(number))
                        hook.send({"type": "complete", "taskId": task["taskId"], "processed": message(str(number + 1))})
                        await rest(reader)
                assert turn.message.to_dict() == message("2")

    run(test)


def test_history_of_a_preprocessor_ends_before_the_message() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.preprocess()
            with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                async with stage.host.preprocess("me/helper", turn):
                    task = await said(hook, "preprocess")
                    for with_current, expected in (
                        (False, ["user", "assistant"]),
                        (True, ["user", "assistant", "user"]),
                    ):
                        history = await plugin.process(
                            plugins.PROCESSING_PULL_HISTORY, task, includeCurrent=with_current
                        )
                        assert [each["role"] for each in history["messages"]] == expected

    run(test)


def test_failed_preprocessor_leaves_the_message_as_it_was() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            hook = (await stage.start()).preprocess()
            with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                async with stage.host.preprocess("me/helper", turn) as reader:
                    task = await said(hook, "preprocess")
                    hook.send({"type": "error", "taskId": task["taskId"], "error": FAILURE})
                    with pytest.raises(RequestError, match="No luck") as caught:
                        await rest(reader)
                assert caught.value.cause == "The dice."
                assert turn.message.to_dict() == message("Hi")

    run(test)


def test_cancelled_preprocessor_is_aborted() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            hook = (await stage.start()).preprocess()

            async def preprocess() -> None:
                with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                    async with stage.host.preprocess("me/helper", turn) as reader:
                        await rest(reader)

            preprocessing = asyncio.ensure_future(preprocess())
            task = await said(hook, "preprocess")
            preprocessing.cancel()
            assert await said(hook, "abort") == {"type": "abort", "taskId": task["taskId"]}

    run(test)


def test_plugin_lost_while_it_preprocesses() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.preprocess()
            with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                async with stage.host.preprocess("me/helper", turn) as reader:
                    await said(hook, "preprocess")
                    await plugin.session.hang_up()
                    with pytest.raises(RequestError, match="'me/helper' has gone"):
                        await rest(reader)

    run(test)


def test_message_is_worked_on_by_one_plugin_at_a_time() -> None:
    async def test() -> None:
        async with loop() as running:
            with pytest.raises(RequestError, match="'me/helper' is still working on this message"):
                await running.stage.host.run_loop("me/helper", running.turn).__aenter__()

    run(test)


# Updates -------------------------------------------------------------------------------------------------------------

UPDATES: list[dict[str, Any]] = [
    status("Thinking"),
    {"type": "contentBlock.create", "id": "b", "includeInContext": True, "style": {"type": "default"}},
    {"type": "contentBlock.appendText", "id": "b", "text": "Good", "tokensCount": 1},
    {"type": "contentBlock.appendText", "id": "b", "text": " day"},
    {"type": "toolStatus.argumentFragment", "id": "t", "content": "{"},
    {"type": "setSenderName", "name": "Bot"},
]


def test_updates_come_in_order_and_before_the_end() -> None:
    async def test() -> None:
        async with loop() as running:
            for update in UPDATES:  # as lmstudio.js does it: it waits for no answer
                running.plugin.say(plugins.PROCESSING_HANDLE_UPDATE, running.task, update=update)
            running.complete()
            shown = [item.to_dict() for item in await rest(running.reader) if not isinstance(item, NameSuggestion)]
            assert shown == UPDATES

    run(test)


def test_plugin_waits_while_nobody_reads() -> None:
    async def test() -> None:
        async with loop() as running:
            answers = [
                running.plugin.say(plugins.PROCESSING_HANDLE_UPDATE, running.task, update=status(str(number)))
                for number in range(BUSY_ABOVE - 1)
            ]
            await answers[-1]
            extra = [
                running.plugin.say(plugins.PROCESSING_HANDLE_UPDATE, running.task, update=status(f"extra {number}"))
                for number in range(3)
            ]
            await extra[0]
            assert [each.done() for each in extra] == [True, False, False]
            texts = [getattr(await running.reader.__anext__(), "id", None) for _ in range(BUSY_ABOVE + 2)]
            assert texts[-3:] == ["extra 0", "extra 1", "extra 2"]
            await asyncio.gather(*extra)

    run(test)


def test_waiting_updates_are_answered_when_the_reader_leaves() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.handle_loop()
            with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                async with stage.host.run_loop("me/helper", turn):
                    task = await said(hook, "handlePredictionLoop")
                    answers = [
                        plugin.say(plugins.PROCESSING_HANDLE_UPDATE, task, update=status(str(number)))
                        for number in range(BUSY_ABOVE + 1)
                    ]
                    await answers[0]
                    assert not answers[-1].done()
                assert (await answers[-1])["type"] == "rpcResult"
                await said(hook, "abort")

    run(test)


def test_plugin_whose_updates_nobody_reads_is_stopped() -> None:
    async def test() -> None:
        async with loop() as running:
            for number in range(MAX_UNREAD + 1):
                running.plugin.say(plugins.PROCESSING_HANDLE_UPDATE, running.task, update=status(str(number)))
            assert (await said(running.hook, "abort"))["taskId"] == running.task["taskId"]
            with pytest.raises(RequestError, match="which is the limit"):
                await rest(running.reader)

    run(test)


def test_status_is_remembered() -> None:
    async def test() -> None:
        async with loop() as running:
            assert await running.call(plugins.PROCESSING_HAS_STATUS) is False
            await running.call(plugins.PROCESSING_HANDLE_UPDATE, update=status("Thinking"))
            assert await running.call(plugins.PROCESSING_HAS_STATUS) is True

    run(test)


@pytest.mark.parametrize("needs_name", [True, False])
def test_name_is_wanted_until_one_is_suggested(needs_name: bool) -> None:
    async def test() -> None:
        async with loop(needs_name=needs_name) as running:
            assert await running.call(plugins.PROCESSING_NEEDS_NAMING) is needs_name
            await running.call(plugins.PROCESSING_SUGGEST_NAME, name="Greetings")
            assert await running.call(plugins.PROCESSING_NEEDS_NAMING) is False
            assert await running.reader.__anext__() == NameSuggestion("Greetings")

    run(test)


def test_sender_is_named_by_rpc_as_by_update() -> None:
    async def test() -> None:
        async with loop() as running:
            await running.call(plugins.PROCESSING_SET_SENDER_NAME, name="Bot")
            item = await running.reader.__anext__()
            assert not isinstance(item, NameSuggestion)
            assert item.to_dict() == {"type": "setSenderName", "name": "Bot"}

    run(test)


def test_nobody_else_can_speak_about_a_message() -> None:
    async def test() -> None:
        async with loop() as running:
            for change in ({"token": "guessed"}, {"pci": "guessed"}):
                with pytest.raises(Refused, match="no prediction process with this identifier and token"):
                    await running.plugin.process(plugins.PROCESSING_HAS_STATUS, {**running.task, **change})

    run(test)


def test_message_is_forgotten_when_its_turn_is_over() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            plugin = await stage.start()
            hook = plugin.handle_loop()
            with stage.host.turn(user_message("Hi"), turn_settings()) as turn:
                async with stage.host.run_loop("me/helper", turn):
                    task = await said(hook, "handlePredictionLoop")
                await plugin.process(plugins.PROCESSING_HANDLE_UPDATE, task, update=status("late"))
            with pytest.raises(Refused, match="it may be over"):
                await plugin.process(plugins.PROCESSING_HANDLE_UPDATE, task, update=status("too late"))

    run(test)


# Token sources -------------------------------------------------------------------------------------------------------


def test_model_of_the_chat_is_loaded_when_a_plugin_asks_for_it() -> None:
    async def test() -> None:
        async with loop() as running:
            instances = running.stage.core.instances
            assert list(instances.loaded("llm")) == []
            for _ in range(2):
                source = await running.call(plugins.PROCESSING_GET_OR_LOAD_TOKEN_SOURCE)
                assert source == {"tokenSourceIdentifier": {"type": "model", "identifier": "scripted-chat"}}
            assert [each.identifier for each in instances.loaded("llm")] == ["scripted-chat"]

    run(test)


def test_generator_of_the_chat_is_named() -> None:
    async def test() -> None:
        source = TokenSourceIdentifierGenerator(plugin_identifier="me/writer")
        async with loop(token_source=source) as running:
            found = await running.call(plugins.PROCESSING_GET_OR_LOAD_TOKEN_SOURCE)
            assert found == {"tokenSourceIdentifier": {"type": "generator", "pluginIdentifier": "me/writer"}}

    run(test)


def test_plugins_used_within_a_turn_get_its_settings() -> None:
    async def test() -> None:
        configs = {"me/adder": KvConfig.from_dict(config(base=10))}
        async with loop(plugin_configs=configs, working_directory="/work") as running:
            adder = (await running.stage.start("adder")).provide_tools()
            specifier = {"type": "predictionProcess", "pci": running.task["pci"], "token": running.task["token"]}
            channel = running.stage.use_tools(
                running.plugin.session, pluginIdentifier="me/adder", pluginConfigSpecifier=specifier
            )
            begun = await said(adder, "initSession")
            assert (begun["pluginConfig"], begun["workingDirectoryPath"]) == (config(base=10), "/work")
            adder.send({"type": "sessionInitialized", "sessionId": begun["sessionId"], "toolDefinitions": [ADD]})
            assert (await channel.next() or {})["type"] == "sessionReady"
            stranger = running.stage.use_tools(pluginConfigSpecifier={**specifier, "token": "guessed"})
            with pytest.raises(Refused, match="no prediction process"):
                await stranger.next()

    run(test)


# Requests ------------------------------------------------------------------------------------------------------------

CONFIRM = {"type": "confirmToolCall", "callId": 1, "name": "add", "parameters": {"a": 1}}
PROMPT = {"type": "textInput", "prompt": "Your name?"}


async def answer(request: ProcessingRequest) -> ProcessingRequestResponse:
    if isinstance(request, ProcessingRequestConfirmToolCall):
        denied = ProcessingRequestResponseConfirmToolCallResultDeny(deny_reason=f"No {request.name}.")
        return ProcessingRequestResponseConfirmToolCall(result=denied)
    return ProcessingRequestResponseTextInput(result=request.prompt.upper())


@pytest.mark.parametrize(
    ("request_", "result"),
    [(CONFIRM, {"type": "deny", "denyReason": "No add."}), (PROMPT, "YOUR NAME?")],
    ids=["confirm", "text"],
)
def test_user_answers_what_a_plugin_asks(request_: dict[str, Any], result: Any) -> None:
    async def test() -> None:
        async with loop(ask=answer) as running:
            response = await running.call(plugins.PROCESSING_HANDLE_REQUEST, request=request_)
            assert response == {"response": {"type": request_["type"], "result": result}}

    run(test)


def test_request_is_refused_where_nobody_can_be_asked() -> None:
    async def test() -> None:
        async with loop() as running:
            with pytest.raises(Refused, match="there is nobody to ask"):
                await running.call(plugins.PROCESSING_HANDLE_REQUEST, request=PROMPT)

    run(test)


class ThinkingUser:
    """Is asked, and does not answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.is_released = False

    async def ask(self, _: ProcessingRequest) -> ProcessingRequestResponse:
        self.asked.set()
        forever: asyncio.Future[ProcessingRequestResponse] = asyncio.get_running_loop().create_future()
        try:
            return await forever
        finally:
            self.is_released = True


def test_question_ends_with_the_work_it_is_about() -> None:
    async def test() -> None:
        user = ThinkingUser()
        async with loop(ask=user.ask) as running:
            answer = running.plugin.say(plugins.PROCESSING_HANDLE_REQUEST, running.task, request=PROMPT)
            await user.asked.wait()
            running.complete()
            assert await rest(running.reader) == []
            assert "nobody answers" in (await answer)["error"]["title"]
            assert user.is_released

    run(test)


def test_question_ends_with_the_plugin() -> None:
    async def test() -> None:
        user = ThinkingUser()
        async with loop(ask=user.ask) as running:
            running.plugin.say(plugins.PROCESSING_HANDLE_REQUEST, running.task, request=PROMPT)
            await user.asked.wait()
            await running.plugin.session.hang_up()
            assert user.is_released

    run(test)
