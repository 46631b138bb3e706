"""`python -m lmstudio gateway`: what it says, when it starts, and how it ends."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from openai import OpenAI
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.gateway import command
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"

signals_only = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM, and no SIGINT for one process")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser("lmstudio gateway")
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


class Process:
    """A gateway in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def introduced(self) -> Process:
        """Itself, when it has said all that it has to say at first."""
        assert self.process.stdout is not None
        while not self.lines or not self.lines[-1].startswith("Press Ctrl-C"):
            line = self.process.stdout.readline()
            assert line, (self.lines, self.process.communicate(timeout=PATIENCE_SECONDS))
            self.lines.append(line.rstrip("\n"))
        return self

    @property
    def address(self) -> str:
        """Without the path."""
        return self.lines[0].split(" at ")[1].split("/v1")[0]

    def client(self) -> OpenAI:
        """A client of OpenAI's, as the gateway tells people to make it."""
        return OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS)

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """The exit code after a signal, and what it said then on stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, err


@contextmanager
def gateway(*arguments: str, **environment: str) -> Iterator[Process]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "lmstudio", "gateway", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine("Hello!")


@pytest.fixture
def upstream(engine: ScriptedEngine) -> Iterator[Server]:
    with Server(engine=engine) as server:
        yield server


@pytest.fixture
def model(upstream: Server) -> Iterator[str]:
    """A model that upstream has loaded."""
    with lms.Client(upstream.api_host) as client:
        client.llm.load_new_instance("scripted-chat")
        yield "scripted-chat"


def ask(process: Process, model: str) -> str | None:
    with process.client() as client:
        reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    return reply.choices[0].message.content


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@signals_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_gateway_says_where_it_is_and_answers_until_a_signal(
    number: signal.Signals, upstream: Server, model: str
) -> None:
    with gateway("--base-url", f"http://{upstream.api_host}") as process:
        lines = process.introduced().lines
        assert f"Upstream       LM Studio at http://{upstream.api_host}" in lines
        assert f'Connect with   openai.OpenAI(base_url="{process.address}/v1", api_key="none")' in lines
        assert f"Model          {model}" in lines
        assert ask(process, model) == "Hello!"
        assert process.end(number) == (0, "Stopped.\n", "")


@signals_only
@pytest.mark.usefixtures("model")
def test_file_and_environment_are_read(upstream: Server, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("inference:\n  base_url: http://127.0.0.1:1\n  default_model: chat\n")
    with gateway("--config", str(file), INFERENCE_INFERENCE_BASE_URL=f"http://{upstream.api_host}") as process:
        assert ask(process.introduced(), "") == "Hello!"
        assert process.end()[0] == 0


@signals_only
def test_gateway_starts_before_lm_studio_and_finds_it_later() -> None:
    port = free_port()
    with gateway("--base-url", f"http://127.0.0.1:{port}") as process:
        lines = process.introduced().lines
        assert any(line.startswith("No models now  Could not connect to ws://127.0.0.1:") for line in lines)
        assert httpx.get(f"{process.address}/v1/models", trust_env=False).status_code == 502
        with Server(engine=ScriptedEngine("Here I am."), port=port) as server, lms.Client(server.api_host) as client:
            client.llm.load_new_instance("scripted-chat")
            assert ask(process, "scripted-chat") == "Here I am."
        assert process.end()[0] == 0


@signals_only
def test_models_are_loaded_before_it_says_that_it_serves(upstream: Server, engine: ScriptedEngine) -> None:
    with gateway("--base-url", upstream.api_host, "--preload", "scripted-chat") as process:
        assert "Model          scripted-chat" in process.introduced().lines
        assert [file.model_key for file, _ in engine.loads] == ["scripted-chat"]
        assert process.end()[0] == 0


@signals_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_gateway_that_still_loads(number: signal.Signals) -> None:
    gate = Gate()
    with (
        Server(engine=ScriptedEngine(load_gate=gate)) as server,
        gateway("--base-url", server.api_host, "--preload", "scripted-chat") as process,
    ):
        assert gate.reached(PATIENCE_SECONDS)
        assert process.end(number) == (0, "Stopped.\n", "")


def test_model_that_cannot_be_loaded_ahead_is_an_error(upstream: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", "0", "--base-url", upstream.api_host, "--preload", "nothing-like-it") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lmstudio gateway: Could not load 'nothing-like-it' ahead")


@signals_only
def test_streams_end_properly_before_the_gateway_does(upstream: Server, engine: ScriptedEngine, model: str) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    with gateway("--base-url", upstream.api_host) as process, process.introduced().client() as client:
        stream = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Count."}], stream=True
        )
        chunks = iter(stream)
        while next(chunks).choices[0].delta.content != "one":
            pass
        assert gate.reached(PATIENCE_SECONDS)
        process.process.send_signal(signal.SIGTERM)
        finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        assert finish[-1] is not None
        assert process.process.wait(PATIENCE_SECONDS) == 0


@signals_only
def test_clients_need_the_token_and_nobody_sees_it(upstream: Server, model: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the lab\n{TOKEN}\n")
    file.chmod(0o600)
    with gateway("--base-url", upstream.api_host, "--api-token-file", str(file)) as process:
        text = "\n".join(process.introduced().lines)
        assert f"Model          {model}" in text
        assert 'api_key="sk-lm-..."' in text
        refused = httpx.get(f"{process.address}/v1/models", trust_env=False)
        assert refused.status_code == 401
        code, out, err = process.end()
        assert (code, err) == (0, "")
        assert "sk-lm-abcdefgh" not in text + out


@signals_only
def test_json_log_has_all_that_people_are_told(upstream: Server, model: str) -> None:
    with gateway("--base-url", upstream.api_host, "--log-format", "json", "--log-level", "info") as process:
        assert process.process.stderr is not None
        entries = [json.loads(process.process.stderr.readline())]
        while not entries[-1]["message"].startswith("Serving"):
            entries.append(json.loads(process.process.stderr.readline()))
        assert model in [entry.get("model") for entry in entries]
        assert entries[-1]["message"].endswith(f"for LM Studio at {upstream.api_host}")
        code, out, _ = process.end()
        assert (code, out) == (0, "")


@signals_only
def test_mock_needs_no_lm_studio() -> None:
    with gateway("--provider", "mock") as process:
        assert "Upstream       nobody: replies are made up (provider mock)" in process.introduced().lines
        assert ask(process, "scripted-chat") == "You said: Hi"
        assert process.end()[0] == 0


# What keeps it from starting -----------------------------------------------------------------------------------------


def test_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert run("--port", str(port)) == 1
    assert capsys.readouterr().err == (
        f"lmstudio gateway: Port {port} on 127.0.0.1 is already in use; choose another port, or 0 for a free one.\n"
    )


def test_open_gateway_without_token_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", "0", "--host", "0.0.0.0") == 1
    err = capsys.readouterr().err
    assert err.startswith("lmstudio gateway: Everybody who can reach 0.0.0.0 could use this server")
    assert "--api-token-file" in err


def test_remote_lm_studio_without_token_is_refused_when_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--base-url", "http://10.0.0.5:1234", "--require-token-for-remote") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lmstudio gateway: Refused to connect to http://10.0.0.5:1234: it is another machine")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Cannot read the settings in {file}: No such file or directory."),
        ("inference: {provider: mok}", "In {file}, inference.provider: 'mok' is not one of lmstudio, http, mock"),
        ("gateway: {prot: 1}", "In {file}, gateway: there is no setting 'prot'. Did you mean port?"),
    ],
    ids=["absent", "value", "name"],
)
def test_wrong_file_exits_with_two(
    content: str | None, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    if content is not None:
        file.write_text(content)
    assert run("--config", str(file)) == 2
    assert capsys.readouterr().err == f"lmstudio gateway: {words.format(file=file)}\n"


def test_wrong_option_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--temperature", "3")
    assert ended.value.code == 2
    assert "'3' is not a number from 0 to 2" in capsys.readouterr().err


def test_file_of_tokens_without_one_does_not_open_the_gateway(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("# nothing\n")
    assert run("--port", "0", "--api-token-file", str(file)) == 1
    assert capsys.readouterr().err == f"lmstudio gateway: There is no API token in {file}; write one per line.\n"
