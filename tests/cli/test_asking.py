"""`python -m lmstudio ping` and `models`: what they print and write, and their exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from surface.odd_servers import free_port, mute_server

import lmstudio as lms
from lmstudio.__main__ import COMMANDS, main
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "sk-lm-AbCd1234:abcdefghij0123456789"
OTHER_TOKEN = "sk-lm-ZyXw9876:zyxwvutsrq9876543210"
WAYS = pytest.mark.parametrize("way", [[], ["--http"]], ids=["native", "http"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with two models, one of which is loaded, as "mine"."""
    with Server(engine=ScriptedEngine()) as server, lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine", config={"contextLength": 99})
        yield server


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that wants the token."""
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        yield server


def run(*arguments: str, code: str = "from lmstudio.__main__ import main; sys.exit(main(sys.argv[1:]))") -> Any:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", f"import sys\n{code}", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_SECONDS,
        check=False,
    )


# ping ----------------------------------------------------------------------------------------------------------------


@WAYS
def test_ping_tells_times_version_and_what_is_loaded(
    server: Server, way: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ping", server.api_host, *way]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert server.api_host in first
    assert f"answers ({'http' if way else 'native'}), version {lms.__version__[:5]}" in first
    assert second.startswith("connected in ")
    assert " ms, round trip " in second
    assert third == "models loaded: 1 - mine"


@WAYS
def test_ping_answers_in_json(server: Server, way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ping", server.api_host, "--json", "--count", "5", *way]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["reachable"], answer["protocol"]) == (True, "http" if way else "native")
    assert answer["version"].startswith(lms.__version__[:5])
    assert len(answer["round_trip_ms"]) == 5
    assert all(time > 0 for time in (*answer["round_trip_ms"], answer["connect_ms"]))
    assert answer["models_loaded"] == ["mine"]


@WAYS
def test_the_address_may_come_from_the_environment_or_a_file(
    server: Server, way: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"api_host = '{server.api_host}'")
    assert main(["ping", "--settings", str(file), *way]) == 0
    monkeypatch.setenv("LM_STUDIO_BASE_URL", f"http://{server.api_host}/v1")
    assert main(["ping", *way]) == 0


def test_ping_runs_as_a_program(server: Server) -> None:
    done = run("ping", server.api_host)
    assert (done.returncode, done.stderr) == (0, "")
    assert "models loaded: 1 - mine" in done.stdout
    assert "\x1b" not in done.stdout


# How it ends ---------------------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("command", ["ping", "models"])
def test_a_server_that_is_not_there_is_exit_code_1(
    command: str, way: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert main([command, address, "--json", *way]) == 1
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["address"], answer["reachable"], answer["error_type"]) == (address, False, "network_error")
    assert err.startswith("error: ")
    assert "Connection refused" in err


@WAYS
def test_a_server_that_says_nothing_is_exit_code_1(way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with mute_server() as mute:
        assert main(["ping", mute.api_host, "--timeout", "0.3", *way]) == 1
    assert "within 0.3 seconds" in capsys.readouterr().err


@WAYS
@pytest.mark.parametrize("command", ["ping", "models"])
def test_credentials_that_are_refused_are_exit_code_3(
    guarded: Server,
    command: str,
    way: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([command, guarded.api_host, *way]) == 3
    assert "LM_API_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("LM_API_TOKEN", OTHER_TOKEN)
    assert main([command, guarded.api_host, *way]) == 3
    monkeypatch.setenv("LM_API_TOKEN", TOKEN)
    assert main([command, guarded.api_host, *way]) == 0


class _Failing(BaseHTTPRequestHandler):
    """A server with an error for everything."""

    def do_GET(self) -> None:
        self.send_error(500)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def test_a_server_that_fails_is_exit_code_4() -> None:
    with HTTPServer(("127.0.0.1", 0), _Failing) as failing:
        thread = threading.Thread(target=failing.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            for command in ("ping", "models"):
                assert main([command, f"127.0.0.1:{failing.server_port}", "--http"]) == 4
        finally:
            failing.shutdown()
            thread.join()


@WAYS
@pytest.mark.parametrize(
    "arguments",
    [
        ["http://a b"],
        ["--settings", "/nonexistent/settings.toml"],
        ["--timeout", "0"],
        ["--count", "0"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_exit_code_2(
    way: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["ping", *arguments, *way])
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert "error: " in capsys.readouterr().err


@WAYS
def test_wrong_settings_are_exit_code_2(
    way: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LM_STUDIO_REQUIRE_TOKEN_FOR_REMOTE", "true")
    assert main(["ping", "lm.example.com", *way]) == 2
    assert "require_token_for_remote is on" in capsys.readouterr().err


# models --------------------------------------------------------------------------------------------------------------


def test_models_are_rows_with_tabs_for_other_programs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", server.api_host]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "scripted-chat\tllm\t1.0 MB\tQ8_0\t4096\tmine",
        "scripted-embed\tembedding\t1.0 MB\tQ8_0\t512\t",
    ]


def test_models_are_a_table_in_a_terminal(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["models", server.api_host]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "MODEL           TYPE       SIZE    QUANTIZATION  CONTEXT  LOADED",
        "scripted-chat   llm        1.0 MB  Q8_0          4096     mine",
        "scripted-embed  embedding  1.0 MB  Q8_0          512",
    ]


def test_models_over_http_are_what_that_tells(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", server.api_host, "--http"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mine\tllm\t\tQ8_0\t99\tmine",
        "scripted-embed\tembedding\t\tQ8_0\t512\t",
    ]


@WAYS
def test_loaded_models_only(server: Server, way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", server.api_host, "--loaded", "--json", *way]) == 0
    (model,) = json.loads(capsys.readouterr().out)
    assert (model["type"], model["loaded_as"], model["context_length"]) == ("llm", ["mine"], 99)
    assert main(["models", server.api_host, "--loaded", "--type", "embedding", "--json", *way]) == 0
    assert json.loads(capsys.readouterr().out) == []


@WAYS
def test_models_of_one_kind(server: Server, way: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", server.api_host, "--type", "embedding", "--json", *way]) == 0
    assert [model["model"] for model in json.loads(capsys.readouterr().out)] == ["scripted-embed"]


class _OpenAiOnly(BaseHTTPRequestHandler):
    """A server that has OpenAI's list, and no other path."""

    def do_GET(self) -> None:
        body = b'{"object": "list", "data": [{"id": "one", "object": "model", "created": 0, "owned_by": "me"}]}'
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body if self.path == "/v1/models" else b'{"error": {"message": "no such path"}}')

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def test_another_server_with_openais_list(capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), _OpenAiOnly) as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            assert main(["models", f"127.0.0.1:{other.server_port}", "--http"]) == 0
            assert capsys.readouterr().out == "one\t\t\t\t\t\n"
            assert main(["ping", f"127.0.0.1:{other.server_port}", "--http"]) == 0
            assert "answers (http)\n" in capsys.readouterr().out
        finally:
            other.shutdown()
            thread.join()


@pytest.mark.parametrize(("name", "more"), [("list.json", []), ("list", ["--json"])])
def test_the_list_can_be_written_to_a_file(
    server: Server, name: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_text("old")
    assert main(["models", server.api_host, "--output", str(file), *more]) == 0
    assert [model["model"] for model in json.loads(file.read_text())] == ["scripted-chat", "scripted-embed"]
    assert capsys.readouterr().out == f"2 models written to {file}\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_of_another_name_gets_the_rows(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "list.tsv"
    assert main(["models", server.api_host, "--loaded", "--output", str(file)]) == 0
    assert file.read_text() == "scripted-chat\tllm\t1.0 MB\tQ8_0\t99\tmine\n"


def test_a_file_that_cannot_be_written_is_exit_code_1(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", server.api_host, "--output", str(tmp_path / "none" / "list.json")]) == 1
    assert "Could not write the models to " in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    assert main(["models", server.api_host, "--output", str(tmp_path / "folder")]) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_reader_that_has_had_enough_is_no_trouble(server: Server) -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio", "models", server.api_host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_SECONDS) == 1


# The packages that it needs ------------------------------------------------------------------------------------------

ONLY_CORE = """
for name in ('starlette', 'uvicorn', 'rich', 'pypdf', 'xllamacpp', 'lmstudio.server'):
    sys.modules[name] = None
from lmstudio.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["ping", "--help"], ["models", "--help"]], ids=" ".join
)
def test_the_help_needs_the_core_only(arguments: list[str]) -> None:
    done = run(*arguments, code=ONLY_CORE)
    assert (done.returncode, done.stderr) == (0, "")
    if arguments == ["--help"]:
        assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("way", [["ping"], ["ping", "--http"], ["models"], ["models", "--http"]], ids=" ".join)
def test_asking_needs_the_core_only(server: Server, way: list[str]) -> None:
    done = run(*way, server.api_host, code=ONLY_CORE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("command", "extra"), [("serve", "server"), ("ls", "cli")])
def test_a_command_that_needs_more_says_what_to_install(command: str, extra: str) -> None:
    done = run(command, code=ONLY_CORE)
    assert done.returncode == 1
    assert f"pip install 'lmstudio[{extra}]'" in done.stderr
