"""`lmstudio log stream`: which events are shown, how, and how it ends."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from log_watchers import is_watched
from patience import PATIENCE_SECONDS
from programs import uncovered
from surface.background import Background

import lmstudio as lms
from lmstudio.__main__ import main
from lmstudio.cli.log import _lines
from lmstudio.server import ScriptedEngine, Server, diagnostics
from lmstudio.server.diagnostics import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STREAM = ["log", "stream"]
PATH = "lmstudio-python/scripted-chat/scripted-chat.gguf"


class Screen(io.StringIO):
    """Standard output, in front of which somebody presses Ctrl-C once he has seen *last*."""

    def __init__(self, last: str, *, is_terminal: bool) -> None:
        super().__init__()
        self._last = last
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def flush(self) -> None:
        if self._last in self.getvalue():
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all tests."""
    with Server(engine=ScriptedEngine()) as server:
        yield server


def predict(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.model("scripted-chat").respond("Hello \x1b[1mthere")


def notify(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.system.notify("over here")


def streamed(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
    last: str,
    happens: Callable[[Server], object] = predict,
    is_terminal: bool = False,
) -> str:
    """What the command shows of what *happens*, until it has shown *last*."""
    screen = Screen(last, is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    with Background() as background:
        background.until(lambda: not is_watched(server))  # by the test before

        def act() -> None:
            background.until(lambda: is_watched(server))
            happens(server)

        acting = background.start(act)
        assert main([*STREAM, *options, "--port", str(server.port)]) == 0
        acting.result()
    return screen.getvalue()


def test_prompts_and_replies_are_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = streamed(server, monkeypatch, "--stats", last="totalTokensCount").splitlines()
    when, *rest = lines
    assert when.startswith("timestamp: 20")
    end = rest.index("output:")
    assert rest[: rest.index("input:")] == [
        "type: llm.prediction.input",
        "modelIdentifier: scripted-chat",
        f"modelPath: {PATH}",
    ]
    assert "Hello \x1b[1mthere" in rest[:end]
    assert rest[end - 5 : end - 3] == ["", ""]
    assert rest[end - 2 : end] == ["type: llm.prediction.output", "modelIdentifier: scripted-chat"]
    assert "You said: Hello" in rest[end + 1]
    assert "  stopReason: eosFound" in rest[rest.index("stats:") :]


def test_a_terminal_is_not_controlled_by_what_it_shows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    text = streamed(server, monkeypatch, "--filter", "output", last="You said", is_terminal=True)
    assert "You said: Hello \ufffd[1mthere\n" in text
    assert "\x1b" not in text
    assert "input" not in text


@pytest.mark.parametrize(
    ("options", "types"),
    [
        (["--filter", "input", "--stats"], ["llm.prediction.input"]),
        (["--filter", "output"], ["llm.prediction.output"]),
        (["--filter", "input,output", "--stats"], ["llm.prediction.input", "llm.prediction.output"]),
    ],
    ids=" ".join,
)
def test_json_has_one_object_per_line(
    server: Server, monkeypatch: pytest.MonkeyPatch, options: list[str], types: list[str]
) -> None:
    text = streamed(server, monkeypatch, "--json", *options, last=f'"{types[-1]}"')
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["data"].pop("type") for event in events] == types
    for event in events:
        assert isinstance(event["timestamp"], int)
        is_input = "input" in event["data"]
        members = {"modelIdentifier", *(["input", "modelPath"] if is_input else ["output"])}
        if not is_input and "--stats" in options:
            members.add("stats")
        assert event["data"].keys() == members


def test_the_servers_log(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    last = "Notification: over here"
    lines = streamed(server, monkeypatch, "--source", "server", last=last, happens=notify).splitlines()
    assert lines[-1] == last
    assert "Connected to system" in lines


def test_the_engines_log() -> None:
    data: dict[str, Any] = {
        "type": "runtime.log",
        "level": "warn",
        "message": "slow",
        "engineName": "llama.cpp-linux-x86_64",
        "engineVersion": "1.2",
    }
    assert list(_lines(0, data, is_terminal=True)) == ["[WARN] llama.cpp-linux-x86_64@1.2: slow"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--filter", "imput"], "--filter is input, output or input,output, not 'imput'"),
        (["--filter", ""], "--filter is input, output or input,output, not ''"),
        (["--source", "server", "--stats"], "--stats is for predictions"),
        (["--source", "runtime", "--filter", "input"], "--filter is for predictions"),
    ],
    ids=["wrong", "empty", "stats", "filter"],
)
def test_what_makes_no_sense_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*STREAM, *options]) == 1
    assert words in capsys.readouterr().err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log"]) == 0
    assert "stream" in capsys.readouterr().out


def test_the_end_of_the_server_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Background() as background, Server(engine=ScriptedEngine()) as server:

        def end() -> None:
            background.until(lambda: is_watched(server))
            server.stop()

        ending = background.start(end)
        assert main([*STREAM, "--port", str(server.port)]) == 1
        ending.result()
    assert "\nerror: The connection to LM Studio was lost" in capsys.readouterr().err


def test_the_end_of_the_stream_is_said(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class EndedWatcher(Watcher):
        async def next(self) -> None:
            return None

    monkeypatch.setattr(diagnostics, "Watcher", EndedWatcher)
    assert main([*STREAM, "--port", str(server.port)]) == 1
    assert "error: The server has ended the stream." in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_ctrl_c_ends_it_cleanly(server: Server) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio", *STREAM, "--port", str(server.port)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with (
        Background() as background,
        subprocess.Popen(command, env=uncovered(), **pipes) as process,
    ):
        assert process.stderr is not None
        # While Python imports something, it says what Ctrl-C leaves open.
        assert process.stderr.readline() == f"Watching 127.0.0.1:{server.port}. Ctrl-C ends it.\n"
        background.until(lambda: is_watched(server))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        background.until(lambda: not is_watched(server))
    assert (process.returncode, out, err) == (0, "", "")
