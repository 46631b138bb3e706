"""The plugins in `examples/plugins`, used by the embedded server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugin_kit import config, turn_settings, user_message
from running_stage import RunningStage, running_stage

from lmstudio._sdk_models import ChatHistoryData, KvConfig, ProcessingUpdateContentBlockAppendText
from lmstudio.server import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"


@pytest.fixture(scope="module")
def stage() -> Iterator[RunningStage]:
    with running_stage("examples") as stage:
        yield stage


@pytest.fixture
def notes(tmp_path: Path) -> str:
    (tmp_path / "notes.txt").write_text("Oslo is the capital of Norway.")
    (tmp_path / ".secret").write_text("hidden")
    return str(tmp_path)


def test_every_example_has_a_test_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.parent.name for path in PLUGINS.glob("*/manifest.json") if f'"{path.parent.name}"' not in source] == []


def test_prompt_preprocessor_adds_mentioned_files(
    stage: RunningStage, monkeypatch: pytest.MonkeyPatch, notes: str
) -> None:
    with stage.running(monkeypatch, PLUGINS / "prompt_preprocessor", "mentioned-files"):
        text, shown = stage.preprocess(
            "What do @notes.txt and @../x say?", "examples/mentioned-files", working_directory=notes
        )
    assert text.endswith("Content of notes.txt:\n\nOslo is the capital of Norway.")
    assert [item.state.status for item in shown] == ["waiting", "done", "waiting", "error"]  # type: ignore[union-attr]


def test_tools_provider_reads_the_working_directory(
    stage: RunningStage, monkeypatch: pytest.MonkeyPatch, notes: str
) -> None:
    async def use() -> list[Any]:
        async with stage.host.tools("examples/folder-reader", working_directory=notes) as session:
            found = [await session.call("list_folder", {}), await session.call("read_file", {"name": "notes.txt"})]
            for name in (".secret", "../other"):
                with pytest.raises(Exception, match="that can be read"):
                    await session.call("read_file", {"name": name})
        return found

    with stage.running(monkeypatch, PLUGINS / "tools_provider", "folder-reader"):
        assert stage.within(use) == [["notes.txt"], "Oslo is the capital of Norway."]


def test_generator_passes_on_what_another_server_answers(stage: RunningStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.engine.reply = "Good morning."
    stage.host.global_configs["examples/other-server"] = KvConfig.from_dict(config(address=stage.server.api_host))
    history = ChatHistoryData.from_dict({"messages": [user_message("Hi").to_dict()]})

    async def generate() -> str:
        settings = KvConfig.from_dict(config(model="scripted-chat"))
        async with stage.host.generate("examples/other-server", history, config=settings) as run:
            return "".join([packet.fragment.content async for packet in run])  # type: ignore[union-attr]

    with stage.running(monkeypatch, PLUGINS / "generator", "other-server"):
        assert stage.within(generate) == "Good morning."


def test_prediction_loop_handler_answers_twice(stage: RunningStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.engine.reply = [Reply("It is Bergen."), Reply("It is Oslo.")]

    async def answer() -> dict[str, str]:
        texts: dict[str, str] = {}
        with stage.host.turn(user_message("The capital of Norway?"), turn_settings()) as turn:
            async with stage.host.run_loop("examples/second-thoughts", turn) as run:
                async for item in run:
                    if isinstance(item, ProcessingUpdateContentBlockAppendText):
                        texts[item.id] = texts.get(item.id, "") + item.text
        return texts

    with stage.running(monkeypatch, PLUGINS / "prediction_loop_handler", "second-thoughts"):
        assert list(stage.within(answer).values()) == ["It is Bergen.", "It is Oslo."]
    assert stage.engine.chats[-1].messages[-2]["content"] == "It is Bergen."
