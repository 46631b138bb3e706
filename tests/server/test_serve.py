"""`python -m lmstudio serve`: options, what it prints, how it ends."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

import pytest
from patience import PATIENCE_SECONDS
from transport_stub import OTHER_TOKEN, TOKEN, call, client, token_packet

from lmstudio._address import API_SERVER_PORTS
from lmstudio.server import Server, serve
from lmstudio.server.settings import TOKENS_VARIABLE, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
LAST_TOKEN = "sk-lm-qrstuvwx:ABCDEFGHIJ0123456789"

RUNNER = """
import argparse, sys
from lmstudio.server import serve
parser = argparse.ArgumentParser("lmstudio serve")
serve.add_arguments(parser)
sys.exit(serve.run(parser.parse_args()))
"""


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser("lmstudio serve")
    serve.add_arguments(parser)
    return parser.parse_args(arguments)


class Running:
    """`serve` on the main thread, which this test's main thread is; *visit* runs beside it and then it is stopped."""

    def __init__(self, visit: Callable[[Server], object], number: int = signal.SIGINT) -> None:
        self._visit = visit
        self._number = number
        self._servers: queue.SimpleQueue[Server] = queue.SimpleQueue()
        self.failure: BaseException | None = None

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = Server.start

        def start_and_tell(server: Server) -> None:
            start(server)
            self._servers.put(server)

        monkeypatch.setattr(Server, "start", start_and_tell)

    def _beside(self) -> None:
        server = self._servers.get(timeout=PATIENCE_SECONDS)
        try:
            self._visit(server)
        except BaseException as error:
            self.failure = error
        finally:
            os.kill(os.getpid(), self._number)

    def run(self, *arguments: str) -> int:
        visitor = threading.Thread(target=self._beside)
        visitor.start()
        try:
            return serve.run(parse(*arguments))
        finally:
            visitor.join()
            if self.failure is not None:
                raise self.failure


def serve_and_visit(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    visit: Callable[[Server], object] = lambda server: None,
    number: int = signal.SIGINT,
) -> int:
    running = Running(visit, number)
    running.watch(monkeypatch)
    return running.run("--engine", "scripted", *arguments)


def test_server_runs_until_ctrl_c_and_exits_with_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ports: list[int] = []

    def visit(server: Server) -> None:
        ports.append(server.port)
        with client(server.api_host, "system") as websocket:
            assert len(call(websocket, "listDownloadedModels")) == 2

    before = signal.getsignal(signal.SIGINT)
    assert serve_and_visit(monkeypatch, "--port", "0", visit=visit) == 0
    assert signal.getsignal(signal.SIGINT) is before
    out, err = capsys.readouterr()
    assert err == ""
    assert f'lms.Client("127.0.0.1:{ports[0]}")' in out
    assert "scripted-chat (llm, 1.0 MB)" in out
    assert out.endswith("Press Ctrl-C to stop.\nStopped.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_sigterm_stops_the_server_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve_and_visit(monkeypatch, "--port", "0", number=signal.SIGTERM) == 0


def test_required_token_is_mentioned_but_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def visit(server: Server) -> None:
        with client(server.api_host, "system", packet=token_packet(TOKEN)) as websocket:
            call(websocket, "version")

    assert serve_and_visit(monkeypatch, "--port", "0", "--api-token", TOKEN, visit=visit) == 0
    out, _err = capsys.readouterr()
    assert "LM_API_TOKEN" in out
    assert TOKEN not in out


def test_open_server_without_token_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.run(parse("--engine", "scripted", "--port", "0", "--host", "0.0.0.0")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lmstudio serve: Everybody who can reach 0.0.0.0 could use this server")
    assert "--api-token-file" in err
    assert "--insecure" in err
    assert err.count("\n") == 1


def test_open_server_without_token_is_warned_about_if_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve_and_visit(monkeypatch, "--port", "0", "--host", "0.0.0.0", "--insecure") == 0
    out, err = capsys.readouterr()
    assert err == "lmstudio serve: warning: everybody who can reach 0.0.0.0 may use this server; see --api-token-file\n"
    assert 'lms.Client("127.0.0.1:' in out
    assert serve_and_visit(monkeypatch, "--port", "0", "--host", "0.0.0.0", "--api-token", TOKEN) == 0
    assert serve_and_visit(monkeypatch, "--port", "0", "--host", "localhost") == 0
    assert capsys.readouterr().err == ""


def test_tokens_come_from_files_and_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the lab\n\n {TOKEN}\n")
    file.chmod(0o600)
    monkeypatch.setenv(TOKENS_VARIABLE, f" {OTHER_TOKEN} {LAST_TOKEN} ")

    def visit(server: Server) -> None:
        for token in (TOKEN, OTHER_TOKEN, LAST_TOKEN):
            with client(server.api_host, "system", packet=token_packet(token)) as websocket:
                call(websocket, "version")

    assert serve_and_visit(monkeypatch, "--port", "0", "--api-token-file", str(file), visit=visit) == 0
    out, err = capsys.readouterr()
    assert "LM_API_TOKEN" in out
    assert err == ""
    assert not [token for token in (TOKEN, OTHER_TOKEN, LAST_TOKEN) if token in out]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_file_of_tokens_that_others_can_read_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN)
    file.chmod(0o640)
    assert serve_and_visit(monkeypatch, "--port", "0", "--api-token-file", str(file)) == 0
    assert capsys.readouterr().err == (
        f"lmstudio serve: warning: other users of this machine may read {file}; run: chmod 600 {file}\n"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Cannot read the API tokens in {file}: No such file or directory."),
        (b"\xff", "Cannot read the API tokens in {file}: it is not text."),
        (b"# nothing\n", "There is no API token in {file}; write one per line."),
        (b"\nsk-secret\n", "{file}, line 2: An API token has the form"),
    ],
    ids=["absent", "binary", "empty", "another form"],
)
def test_file_without_usable_tokens_does_not_open_the_server_to_everybody(
    content: bytes | None, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    assert serve.run(parse("--engine", "scripted", "--port", "0", "--api-token-file", str(file))) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lmstudio serve: {words.format(file=file)}")
    assert "sk-secret" not in err


def test_bad_token_in_the_environment_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKENS_VARIABLE, "sk-secret")
    assert serve.run(parse("--engine", "scripted", "--port", "0")) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"lmstudio serve: In the environment variable {TOKENS_VARIABLE}: An API token has")
    assert "sk-secret" not in err


def test_help_recommends_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    words = " ".join(capsys.readouterr().out.split())
    assert "Other users of this machine can see it in the list of processes: better use --api-token-file" in words
    assert TOKENS_VARIABLE in words


@pytest.fixture
def discovery_ports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two free ports in the place of those at which clients look: the real ones may be taken."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    monkeypatch.setattr(serve, "API_SERVER_PORTS", tuple(ports))
    return ports


def test_without_a_port_the_first_one_at_which_clients_look_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], discovery_ports: list[int]
) -> None:
    assert serve_and_visit(monkeypatch) == 0
    out = capsys.readouterr().out
    assert f"ws://127.0.0.1:{discovery_ports[0]}/" in out
    assert "without an address finds it as well\n" in out


def test_without_a_port_the_next_one_is_taken_if_the_first_is_in_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], discovery_ports: list[int]
) -> None:
    with socket.create_server(("127.0.0.1", discovery_ports[0])):
        assert serve_and_visit(monkeypatch) == 0
    out = capsys.readouterr().out
    assert f"ws://127.0.0.1:{discovery_ports[1]}/" in out
    assert "finds it as well, unless a server on an earlier port answers first" in out


def test_all_ports_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str], discovery_ports: list[int]) -> None:
    with (
        socket.create_server(("127.0.0.1", discovery_ports[0])),
        socket.create_server(("127.0.0.1", discovery_ports[1])),
    ):
        assert serve.run(parse("--engine", "scripted")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    first, second = discovery_ports
    assert err == f"lmstudio serve: The ports {first}, {second} are all in use; choose another one with --port.\n"


def test_given_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert serve.run(parse("--engine", "scripted", "--port", str(port))) == 1
    assert capsys.readouterr().err == (
        f"lmstudio serve: Port {port} on 127.0.0.1 is already in use; choose another port, or 0 for a free one.\n"
    )


def test_bad_model_file_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"not a model")
    assert serve.run(parse("--port", "0", "--model", str(file))) == 1
    err = capsys.readouterr().err
    assert err.startswith("lmstudio serve: ")
    assert str(file) in err
    assert err.count("\n") == 1


def test_server_that_ends_by_itself_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ended(Server):
        @property
        def is_running(self) -> bool:
            return False

    monkeypatch.setattr(serve, "Server", Ended)
    assert serve.run(parse("--engine", "scripted", "--port", "0")) == 1
    assert capsys.readouterr().err == "lmstudio serve: the server has ended by itself; its log says why\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "x"], "'x' is not a port"),
        (["--port", "65536"], "'65536' is not a port"),
        (["--engine", "magic"], "invalid choice"),
        (["--api-token", "sk-secret"], "An API token has the form"),
    ],
)
def test_bad_arguments_exit_with_two(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert words in err
    assert "sk-secret" not in err


def test_defaults_are_those_of_a_local_server() -> None:
    values = vars(resolve_settings(vars(parse()), {}).values)
    expected = {
        "host": "127.0.0.1",
        "port": None,
        "models": None,
        "engine": "llama_cpp",
        "api_tokens": (),
        "api_token_files": (),
        "insecure": False,
        "allowed_origins": (),
    }
    assert {name: values[name] for name in expected} == expected
    assert API_SERVER_PORTS[0] == 41343


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_process_ends_cleanly_with_a_client_connected(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUNNER, "--engine", "scripted", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("Press Ctrl-C"):
            assert lines[-1], lines
            lines.append(process.stdout.readline())
        api_host = lines[0].split("ws://")[1].split("/")[0]
        with client(api_host, "system"):
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")
