"""The plugins in docs/plugins.md, used by the embedded server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from pages import snippets
from plugin_kit import config, turn_settings, user_message
from running_stage import RunningStage, running_stage, write_plugin

from lmstudio._sdk_models import (
    ChatHistoryData,
    KvConfig,
    LlmTool,
    ProcessingUpdateContentBlockAppendText,
)
from lmstudio.server import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
PLUGINS = dict(zip(("tools", "message", "generator", "loop", "settings", "builder"), snippets(PAGE), strict=True))
Run: TypeAlias = "Callable[[str], AbstractContextManager[Any]]"


@pytest.fixture(scope="module")
def stage() -> Iterator[RunningStage]:
    with running_stage() as stage:
        yield stage


@pytest.fixture
def run(stage: RunningStage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs one of the plugins, as me/*name*."""

    def run(name: str) -> AbstractContextManager[Any]:
        return stage.running(monkeypatch, write_plugin(tmp_path / name, PLUGINS[name], name), name)

    return run


def test_tools(stage: RunningStage, run: Run) -> None:
    with run("tools"):
        called = stage.call(("weather", {"day": "Monday"}), plugin="me/tools", city="Bergen")
    assert called == ["Snow in Bergen on Monday.", ["Looking up Bergen"]]


def test_preprocessors(stage: RunningStage, run: Run) -> None:
    with run("message"):
        text, shown = stage.preprocess("Hi", "me/message")
    assert text.startswith("Hi\n\n(It is ")
    assert [item.state.status for item in shown] == ["waiting", "done"]  # type: ignore[union-attr]
    chosen = {"me/settings": KvConfig.from_dict(config(units="imperial", **{"forecast.days": 5}))}
    with run("settings"):
        assert stage.preprocess("Hi", "me/settings", plugin_configs=chosen)[0] == "Hi (5 days, imperial)"
    with run("builder"):
        assert stage.preprocess("Hi", "me/builder")[0] == "Hi (Oslo, 3 days)"


def test_generator(stage: RunningStage, run: Run) -> None:
    history = ChatHistoryData.from_dict({"messages": [user_message("Please start.").to_dict()]})
    tool = LlmTool.from_dict({"type": "function", "function": {"name": "start"}})

    async def generate() -> list[Any]:
        async with stage.host.generate("me/generator", history, [tool]) as run:
            return [packet async for packet in run]

    with run("generator"):
        packets = stage.within(generate)
    assert [packet.tool_call_request.name for packet in packets if hasattr(packet, "tool_call_request")] == ["start"]
    assert "".join(packet.fragment.content for packet in packets if hasattr(packet, "fragment")) == "3 2 1 "


def test_prediction_loop_handler(stage: RunningStage, run: Run) -> None:
    stage.engine.reply = [Reply([ToolCall("weather", {"day": "Monday"})]), Reply("Snow."), Reply("It will snow.")]

    async def answer() -> str:
        settings = turn_settings(enabled_plugins=["me/tools"])
        with stage.host.turn(user_message("The weather?"), settings) as turn:
            async with stage.host.run_loop("me/loop", turn) as run:
                shown = [item async for item in run]
        return "".join(item.text for item in shown if isinstance(item, ProcessingUpdateContentBlockAppendText))

    with run("tools"), run("loop"):
        assert stage.within(answer) == "It will snow."
    assert stage.engine.chats[-1].messages[-1]["content"].endswith("This was found out: Snow.")
