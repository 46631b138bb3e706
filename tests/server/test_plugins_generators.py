"""Generator plugins, between a plugin and those who use them as a model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from native_client import Refused, run
from plugin_kit import config
from plugin_stage import ADD, FAILURE, HISTORY, PluginProcess, PluginStage, plugin_stage

from lmstudio._sdk_models import ChatHistoryData, KvConfig
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.hooks import MAX_TASKS
from lmstudio.server.plugins.runs import MAX_UNREAD

if TYPE_CHECKING:
    from native_client import OpenChannel


class GeneratorStage:
    """A plugin that generates."""

    def __init__(self, stage: PluginStage, plugin: PluginProcess) -> None:
        self.stage = stage
        self.plugin = plugin
        self.hook = plugin.generate()

    @classmethod
    async def start(cls, stage: PluginStage) -> GeneratorStage:
        return cls(stage, await stage.start())

    async def begin(self, **members: Any) -> tuple[OpenChannel, str]:
        """A generation that has begun, and the plugin's name for it."""
        channel = self.stage.use_generator(**members)
        return channel, (await self.said("generate"))["taskId"]

    async def said(self, kind: str) -> dict[str, Any]:
        packet = await self.hook.next()
        assert packet is not None
        assert packet["type"] == kind
        return packet

    def answer(self, task_id: str, kind: str, **members: Any) -> None:
        self.hook.send({"type": kind, "taskId": task_id, **members})

    def fragment(self, task_id: str, content: str, **opts: Any) -> None:
        self.answer(task_id, "fragmentGenerated", content=content, opts=opts)


def test_plugin_gets_history_tools_and_settings() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            stage.host.global_configs["me/helper"] = KvConfig.from_dict(config(key="secret"))
            specifier = {"type": "direct", "config": config(loud=True)}
            stage.use_generator(tools=[ADD], pluginConfigSpecifier=specifier)
            task = await generator.said("generate")
            assert task["input"] == HISTORY
            assert task["toolDefinitions"] == [ADD]
            assert task["pluginConfig"] == config(loud=True)
            assert task["globalPluginConfig"] == config(key="secret")
            assert task["workingDirectoryPath"] is None

    run(test)


def test_fragments_get_defaults_for_what_the_plugin_leaves_out() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.fragment(task, "One")
            generator.fragment(task, " two", tokenCount=3, containsDrafted=True, reasoningType="reasoning")
            generator.answer(task, "complete")
            first, second, last = await channel.rest()
            assert first["fragment"] == {
                "content": "One",
                "tokensCount": 1,
                "containsDrafted": False,
                "reasoningType": "none",
                "isStructural": False,
            }
            assert second["fragment"] == {
                "content": " two",
                "tokensCount": 3,
                "containsDrafted": True,
                "reasoningType": "reasoning",
                "isStructural": False,
            }
            assert last == {"type": "success"}

    run(test)


def test_tool_calls_are_passed_on_in_order() -> None:
    request = {"type": "function", "id": "7", "name": "add", "arguments": {"a": 1}}

    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin(tools=[ADD])
            generator.answer(task, "toolCallGenerationStarted", toolCallId="7")
            generator.answer(task, "toolCallGenerationNameReceived", toolName="add")
            generator.answer(task, "toolCallGenerationArgumentFragmentGenerated", content='{"a"')
            generator.answer(task, "toolCallGenerationEnded", toolCallRequest=request)
            generator.answer(task, "toolCallGenerationStarted")
            generator.answer(task, "toolCallGenerationFailed", error=FAILURE)
            generator.answer(task, "complete")
            assert await channel.rest() == [
                {"type": "toolCallGenerationStart", "toolCallId": "7"},
                {"type": "toolCallGenerationNameReceived", "name": "add"},
                {"type": "toolCallGenerationArgumentFragmentGenerated", "content": '{"a"'},
                {"type": "toolCallGenerationEnd", "toolCallRequest": request},
                {"type": "toolCallGenerationStart"},
                {"type": "toolCallGenerationFailed"},
                {"type": "success"},
            ]

    run(test)


def test_generations_at_the_same_time_do_not_mix() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            begun = [await generator.begin() for _ in range(2)]
            for number, (_, task) in reversed(list(enumerate(begun))):
                generator.fragment(task, str(number))
                generator.answer(task, "complete")
            for number, (channel, _) in enumerate(begun):
                assert (await channel.rest())[0]["fragment"]["content"] == str(number)

    run(test)


def test_ended_generations_make_room_for_others() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            for _ in range(MAX_TASKS + 1):
                channel, task = await generator.begin()
                generator.answer(task, "complete")
                assert await channel.rest() == [{"type": "success"}]

    run(test)


def test_fragments_wait_for_a_user_who_does_not_keep_up() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            may_go_on = asyncio.Event()
            is_waiting = asyncio.Event()

            async def drain() -> None:
                is_waiting.set()
                await may_go_on.wait()

            stage.user.port.drain = drain
            channel, task = await generator.begin()
            for _ in range(3):
                generator.fragment(task, "x")
            generator.answer(task, "complete")
            await is_waiting.wait()
            assert channel.messages.qsize() == 1
            may_go_on.set()
            assert len(await channel.rest()) == 4

    run(test)


def test_cancelled_generation_ends_well_and_the_plugin_stops() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.fragment(task, "One")
            await channel.next()
            channel.send({"type": "cancel"})
            assert await generator.said("abort") == {"type": "abort", "taskId": task}
            generator.fragment(task, "too late")
            generator.answer(task, "aborted")
            assert await channel.rest() == [{"type": "success"}]

    run(test)


def test_generation_cancelled_before_the_plugin_has_started() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            await stage.register()
            channel = stage.use_generator()
            channel.send({"type": "cancel"})
            assert await channel.rest() == [{"type": "success"}]

    run(test)


def test_generation_of_a_user_who_goes_is_aborted() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            _, task = await generator.begin()
            await stage.user.hang_up()
            assert (await generator.said("abort"))["taskId"] == task

    run(test)


@pytest.mark.parametrize(
    ("packet", "title", "cause"),
    [
        ({"type": "error", "error": FAILURE}, "No luck", "The dice."),
        (
            {"type": "error", "error": {"title": "No luck"}},
            "No luck",
            "The plugin 'me/helper' failed to generate text.",
        ),
        ({"type": "error", "error": {}}, "The plugin 'me/helper' failed to generate text", None),
        ({"type": "aborted"}, "The plugin 'me/helper' refused to generate text", None),
    ],
    ids=["error", "without-cause", "empty", "aborted"],
)
def test_error_comes_after_what_was_generated(packet: dict[str, Any], title: str, cause: str | None) -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.fragment(task, "One")
            generator.hook.send({**packet, "taskId": task})
            assert (await channel.next() or {})["type"] == "fragment"
            with pytest.raises(Refused) as caught:
                await channel.next()
            assert caught.value.error["title"] == title
            if cause is not None:
                assert caught.value.error["cause"] == cause

    run(test)


def test_plugin_lost_in_the_middle_of_a_generation() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.fragment(task, "One")
            await generator.plugin.session.hang_up()
            assert (await channel.next() or {})["type"] == "fragment"
            with pytest.raises(Refused, match="The plugin 'me/helper' has gone"):
                await channel.next()

    run(test)


def test_packet_that_makes_no_sense_is_ignored() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.fragment("no such task", "One")
            generator.fragment(task, "Two")
            generator.answer(task, "complete")
            generator.answer(task, "complete")
            assert [packet["type"] for packet in await channel.rest()] == ["fragment", "success"]

    run(test)


def test_answer_that_is_not_valid_ends_the_generation() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            channel, task = await generator.begin()
            generator.answer(task, "somethingNew")  # what later versions may say is ignored
            generator.answer(task, "fragmentGenerated", content=5, opts={})
            with pytest.raises(Refused, match="gave an answer that is not valid: fragmentGenerated") as caught:
                await channel.next()
            assert "content" in caught.value.error["cause"]
            assert (await generator.said("abort"))["taskId"] == task

    run(test)


def test_generator_that_is_not_read_is_stopped() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            generating = stage.host.generate("me/helper", ChatHistoryData.from_dict(HISTORY))
            async with generating:
                task = (await generator.said("generate"))["taskId"]
                for _ in range(MAX_UNREAD + 1):
                    generator.fragment(task, "x")
                assert (await generator.said("abort"))["taskId"] == task
                with pytest.raises(RequestError, match="which is the limit"):
                    async for _ in generating:
                        pass

    run(test)


def test_server_itself_generates_and_leaves_early() -> None:
    async def test() -> None:
        async with plugin_stage() as stage:
            generator = await GeneratorStage.start(stage)
            async with stage.host.generate("me/helper", ChatHistoryData.from_dict(HISTORY)) as generating:
                task = (await generator.said("generate"))["taskId"]
                reading = asyncio.ensure_future(generating.__anext__())
                await asyncio.sleep(0)
                generator.fragment(task, "One")
                assert (await reading).type == "fragment"
            assert (await generator.said("abort"))["taskId"] == task

    run(test)
