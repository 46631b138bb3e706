"""`lmstudio server`, `status` and `daemon`: the server in the background, and what commands remember."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from surface.odd_servers import free_port

import lmstudio as lms
from lmstudio.__main__ import main
from lmstudio._auth import Secret
from lmstudio.cli import background, daemon_program
from lmstudio.cli import state as state_module
from lmstudio.cli.state import EXIT_ANOTHER_RUNS, Daemon
from lmstudio.errors import LMStudioOSError
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.auth import ApiTokens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lmstudio.cli.state import StateFolder

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio"]


@pytest.fixture
def engine() -> ScriptedEngine:
    """Of the server in the background."""
    return ScriptedEngine()


@pytest.fixture
def daemon(state: StateFolder, engine: ScriptedEngine) -> Iterator[Server]:
    """A server that commands take for the one in the background."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(engine=engine, owner=ApiTokens([TOKEN])))
        assert stack.enter_context(state.being_daemon())
        state.remember_daemon(Daemon(os.getpid(), server.api_host, "2.0.0", Secret(TOKEN), "mine"))
        yield server


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command says, on stdout and stderr."""
    assert main(arguments) == code
    return "".join(capsys.readouterr())


# server --------------------------------------------------------------------------------------------------------------


def test_the_http_server_is_switched_on_and_off(daemon: Server, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    assert json.loads(said(capsys, "server", "status", "--json")) == {"running": False}
    assert said(capsys, "server", "start", "--port", str(port)) == f"The HTTP server is on, at port {port}.\n"
    assert lms.Client.is_valid_api_host(f"127.0.0.1:{port}")
    assert json.loads(said(capsys, "server", "status", "--json")) == {"running": True, "port": port}
    assert said(capsys, "server", "status") == f"The HTTP server is on, at port {port}.\n"
    assert said(capsys, "server", "stop") == f"The HTTP server at port {port} is off.\n"
    assert "is not on" in said(capsys, "server", "stop", code=1)
    assert json.loads(said(capsys, "server", "status", "--json")) == {"running": False, "port": port}
    assert said(capsys, "server", "status") == "The HTTP server is not on.\n"
    assert str(port) in said(capsys, "server", "start", "--cors")  # the last port


def test_the_http_server_warns_of_what_is_open(
    daemon: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    assert "warning: web pages of all origins" in said(capsys, "server", "start", "-p", port, "--cors")
    shown = said(capsys, "server", "start", "-p", port, "--bind", "0.0.0.0", code=1)
    assert "warning: other machines can reach" in shown
    assert "it has no API token" in shown
    monkeypatch.setenv("LMS_SERVER_HOST", "0.0.0.0")
    assert "warning: other machines can reach" in said(capsys, "server", "start", "-p", port, code=1)


def test_a_port_that_is_taken_is_exit_code_1(daemon: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert "in use" in said(capsys, "server", "start", "--port", str(daemon.port), code=1)
    assert json.loads(said(capsys, "server", "status", "--json")) == {"running": False}


def test_stopping_the_http_server_ends_what_runs_there(
    daemon: Server, engine: ScriptedEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.reply = Reply(["one", gate := Gate(), "two"])
    port = free_port()
    said(capsys, "server", "start", "--port", str(port))
    errors: list[BaseException] = []

    def predict() -> None:
        with lms.Client(f"127.0.0.1:{port}", retry=lms.RetryConfig(max_retries=0)) as client:
            try:
                client.llm.model("scripted-chat").respond("hi")
            except lms.LMStudioError as error:
                errors.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    assert gate.reached(PATIENCE_SECONDS)
    said(capsys, "server", "stop")
    thread.join(PATIENCE_SECONDS)
    assert len(errors) == 1


def test_status_says_what_is_on_and_loaded(daemon: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Server: OFF" in said(capsys, "status")
    port = free_port()
    said(capsys, "server", "start", "--port", str(port))
    said(capsys, "load", "chat")
    assert said(capsys, "status") == f"Server: ON (port {port})\nLoaded models:\n  scripted-chat  1.00 MB\n"


def test_lm_studio_itself_is_asked_where_there_is_no_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        file = tmp_path / "http-server.json"
        file.write_text(json.dumps({"port": server.port}))
        monkeypatch.setenv("LMS_API_SERVER_INFO_PATH", str(file))
        monkeypatch.setenv("LM_API_TOKEN", TOKEN)
        assert said(capsys, "server", "start", "--port", str(port)).startswith("The HTTP server is on")
        said(capsys, "server", "stop")
        status = json.loads(said(capsys, "daemon", "status", "--json"))
        assert (status["status"], status["pid"], status["isDaemon"]) == ("running", os.getpid(), False)
        assert "no daemon, runs (process" in said(capsys, "daemon", "status")
        assert "end it where it was started" in said(capsys, "daemon", "down", code=1)


def test_a_group_of_commands_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert "usage: python -m lmstudio server [-h] COMMAND" in said(capsys, "server")
    assert "start it, unless it runs" in said(capsys, "daemon")


# daemon --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent below")
def test_the_order_of_a_unit_of_systemd(
    state: StateFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMSTUDIO_SERVER_ENGINE", "scripted")
    monkeypatch.setenv("LMSTUDIO_SERVER_PORT", "0")
    port = free_port()
    both = [subprocess.Popen([*COMMAND, "daemon", "up", "--json"], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        found: list[Any] = [json.loads(each.communicate(timeout=PATIENCE_SECONDS)[0]) for each in both]
        assert [each.returncode for each in both] == [0, 0]
        assert found[0] == found[1]
        known = {"status": "running", "pid": found[0]["pid"], "isDaemon": True, "version": lms.__version__[:5]}
        assert found[0] == known
        assert "process" in said(capsys, "daemon", "up")
        said(capsys, "load", "chat", "--yes")
        assert f"at port {port}" in said(capsys, "server", "start", "--port", str(port))
        assert json.loads(said(capsys, "daemon", "status", "--json")) == known
        assert [file.stat().st_mode & 0o077 for file in (state.path, *state.path.iterdir())] == [0] * 6
        assert "It has ended." in said(capsys, "daemon", "down")
        assert json.loads(said(capsys, "daemon", "status", "--json")) == {"status": "not-running"}
        assert "Stopped." in state.log.read_text()
    finally:
        for each in both:
            each.kill()
        left = state.daemon()
        if left is not None:
            os.kill(left.pid, signal.SIGKILL)


def test_the_http_server_brings_its_own_server_where_there_is_none(
    state: StateFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMSTUDIO_SERVER_ENGINE", "scripted")
    monkeypatch.setenv("LMSTUDIO_SERVER_PORT", "0")
    port = free_port()
    try:
        shown = said(capsys, "server", "start", "--port", str(port))
        assert "Started a server in the background" in shown
        assert lms.Client.is_valid_api_host(f"127.0.0.1:{port}")
    finally:
        daemon = state.daemon()
        assert daemon is not None
        background.stop(state, daemon)
    assert state.is_daemon_gone()


def test_ctrl_c_leaves_no_server_that_has_not_started(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_seconds: float) -> None:
        if not state.is_daemon_gone():
            raise KeyboardInterrupt

    monkeypatch.setenv("LMSTUDIO_SERVER_ENGINE", "scripted")
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    with pytest.raises(KeyboardInterrupt):
        background.start(state, ["--port", "0"])
    assert state.is_daemon_gone()


def test_a_daemon_that_cannot_start_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("nonsense = 1")
    shown = said(capsys, "daemon", "up", "--config", str(file), code=1)
    assert "has not started. It said: lmstudio daemon: " in shown
    assert "nonsense" in shown


def test_nothing_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert said(capsys, "daemon", "status") == "Nothing runs in the background.\n"
    assert "No server of `lmstudio daemon up` runs." in said(capsys, "daemon", "down", code=1)
    assert "neither" not in said(capsys, "server", "stop", code=1)
    assert not any(tmp_path.iterdir())


def test_another_daemon_gives_way(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "_LOCK_SECONDS", 0.0)
    with state.being_daemon() as is_first:
        assert is_first
        assert state.daemon() is None  # it has not begun to listen
        assert daemon_program.main([str(state.path), "other"]) == EXIT_ANOTHER_RUNS


def test_a_daemon_that_was_killed_is_forgotten(state: StateFolder) -> None:
    state.prepare()
    state.remember_daemon(Daemon(1, "127.0.0.1:1", "2.0.0", Secret(TOKEN), "mine"))
    assert "abcdefghij" not in repr(Daemon(1, "127.0.0.1:1", "2.0.0", Secret(TOKEN), "mine"))
    assert state.daemon() is None
    assert not (state.path / "daemon.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_folder_that_others_can_write_to_is_not_trusted(state: StateFolder) -> None:
    state.path.mkdir()
    state.path.chmod(0o777)
    with pytest.raises(LMStudioOSError, match="nobody else may write to it"):
        state.prepare()


def test_a_file_that_says_nothing_is_no_port(state: StateFolder) -> None:
    state.prepare()
    for name, text in (("server.json", "{"), ("models.json", '{"recent": 1}'), ("daemon.json", "[]")):
        (state.path / name).write_text(text)
    with state.being_daemon():
        assert (state.last_port, state.recent_models, state.daemon()) == (None, [], None)


def test_the_last_models_are_remembered_once_each(state: StateFolder) -> None:
    for number in (*range(30), 25):
        state.remember_model(f"model-{number}")
    assert state.recent_models[:3] == ["model-25", "model-29", "model-28"]
    assert len(state.recent_models) == len(set(state.recent_models)) == 20
