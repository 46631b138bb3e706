"""`python -m lmstudio.plugin`, in this process and in processes of its own."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS
from running_stage import RunningStage, running_stage, write_plugin

from lmstudio.errors import LMStudioValueError
from lmstudio.plugin import (
    LMStudioPluginInitError,
    LMStudioPluginRuntimeError,
    get_tool_call_context,
    get_tool_call_context_async,
    run_plugin,
)
from lmstudio.plugin.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

TOOL = '''
import helper_words

async def list_provided_tools(ctl):
    async def word() -> str:
        """Say a word."""
        return helper_words.WORD

    return [word]
'''


@pytest.fixture(scope="module")
def stage() -> Iterator[RunningStage]:
    with running_stage() as stage:
        yield stage


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command configures the log of the whole process."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    levels = {logger: logger.level for logger in map(logging.getLogger, ("httpx", "httpcore"))}
    yield
    for logger, level in levels.items():
        logger.setLevel(level)


# What cannot run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "source", "expected"),
    [
        ({"type": "model"}, "", 'expected "type": "plugin", found "model"'),
        ({"runner": "deno"}, "", 'expected "runner": "python", found "deno"'),
        ({"owner": "Not Kebab"}, "", "owner"),
        ({}, "x = 1", "has no hook. Define at least one of these functions"),
        ({}, "def preprocess_prompt(", "with SyntaxError"),
        ({}, "preprocess_prompt = 5", "Cannot use 5 as the prompt preprocessor"),
        ({}, "ConfigSchema = 5\ndef preprocess_prompt(ctl, message): ...", "Cannot use 5 as ConfigSchema"),
        ({}, "async def main(context): context.with_generator(1 / 0)", "main() of"),
        (
            {},
            "def handle_prediction_loop(ctl): ...\ndef list_provided_tools(ctl): ...",
            "which exclude each other",
        ),
        (
            {},
            "def generate_tokens(ctl): ...\ndef main(context): context.with_generator(print)",
            "has a generator already",
        ),
    ],
)
def test_what_is_no_plugin_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, str], source: str, expected: str
) -> None:
    monkeypatch.setenv("LMS_PLUGIN_CLIENT_IDENTIFIER", "plugin:me/helper")
    monkeypatch.setenv("LMS_PLUGIN_CLIENT_PASSKEY", "secret")
    with pytest.raises(LMStudioPluginInitError) as caught:
        run_plugin(write_plugin(tmp_path, source, **members))
    assert expected in str(caught.value)


def test_manifest_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (write_plugin(tmp_path, "") / "manifest.json").write_text("{")
    with pytest.raises(LMStudioPluginInitError, match="it is not JSON"):
        run_plugin(tmp_path)


def test_limit_of_parallel_calls_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_plugin(tmp_path, TOOL)
    with pytest.raises(LMStudioValueError, match="must be a number from 1 on, got 0"):
        run_plugin(folder, max_parallel_tool_calls=0)
    with pytest.raises(SystemExit):
        main(["--max-parallel-tool-calls", "no", str(folder)])
    assert "expected a number from 1 on, got 'no'" in capsys.readouterr().err


def test_context_of_a_call_is_there_only_in_a_call() -> None:
    for get_context in (get_tool_call_context, get_tool_call_context_async):
        with pytest.raises(LMStudioPluginRuntimeError, match="No tool call of a plugin is running here"):
            get_context()


def test_folder_without_a_plugin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "Could not find" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "nowhere")])
    assert caught.value.code == 2


def test_plugin_without_credentials_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_plugin(tmp_path, TOOL))]) == 1
    error = capsys.readouterr().err
    assert "no LMS_PLUGIN_CLIENT_IDENTIFIER and no LMS_PLUGIN_CLIENT_PASSKEY" in error
    assert "python -m lmstudio.plugin --dev FOLDER" in error


def test_code_that_fails_is_shown_without_frames_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LMS_PLUGIN_CLIENT_IDENTIFIER", "plugin:me/helper")
    monkeypatch.setenv("LMS_PLUGIN_CLIENT_PASSKEY", "secret")
    assert main([str(write_plugin(tmp_path, "def f():\n    1 / 0\nf()"))]) == 1
    error = capsys.readouterr().err
    assert "line 2, in f" in error
    assert "_definition.py" not in error


def test_host_that_is_gone_ends_the_command(
    stage: RunningStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
import threading
from lmstudio.plugin import PluginContext, config_schemas

def main(context: PluginContext) -> None:
    context.with_prompt_preprocessor(lambda ctl, message: None)
"""
    registry = stage.host.registry

    def leave() -> None:
        async def end() -> None:
            plugin = registry.find("me/helper")
            await plugin.hook("promptPreprocessor", PATIENCE_SECONDS)
            plugin.end()

        stage.within(end)

    with stage.registered(monkeypatch, "helper"):
        leaving = threading.Thread(target=leave)
        leaving.start()
        assert main([str(write_plugin(tmp_path, source))]) == 3
        leaving.join()
    printed = capsys.readouterr()
    assert printed.out in ("", "The plugin me/helper is running. Ctrl-C ends it.\n")
    assert "error: The plugin 'me/helper' has lost its host" in printed.err


# In development ------------------------------------------------------------------------------------------------------


class Command:
    """The command in a process of its own, and what it prints."""

    def __init__(self, folder: Path, api_host: str) -> None:
        env = {**os.environ, "LM_STUDIO_BASE_URL": api_host}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "lmstudio.plugin", "--dev", str(folder)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("(the end)")

    def until(self, text: str) -> None:
        """Wait for a line with *text*."""
        line = ""
        while text not in line:
            line = self._lines.get(timeout=PATIENCE_SECONDS)
            self.seen.append(line)
            assert line != "(the end)", self.seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        self.process.stdout.close()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)


@pytest.mark.skipif(sys.platform == "win32", reason="a process there cannot be sent Ctrl-C alone")
def test_plugin_in_development_follows_its_files_and_its_host(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path, TOOL)
    words = folder / "src" / "helper_words.py"
    words.write_text("WORD = 'one'")
    with ExitStack() as stack:
        with running_stage() as stage:
            command = stack.enter_context(Command(folder, stage.server.api_host))
            command.until("me/helper is running")
            assert stage.call(("word", {}))[0] == "one"
            words.write_text("WORD = ")
            command.until("Starting the plugin again")
            command.until("SyntaxError")
            command.until("has ended, with exit code 1. Waiting for a change.")
            words.write_text("WORD = 'two and three'")
            command.until("me/helper is running")
            assert stage.call(("word", {}))[0] == "two and three"
        command.until("Trying again until it can.")
        with running_stage(port=stage.server.port) as stage:
            command.until("me/helper is running")
            assert stage.call(("word", {}))[0] == "two and three"
            assert command.end() == 0
            assert stage.host.registry.all() == ()
