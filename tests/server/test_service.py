"""`serve` as a service: what it tells the service manager, its log, and how it ends while it works."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from transport_stub import TOKEN

import lmstudio as lms
from lmstudio.errors import LMStudioError, LMStudioValueError
from lmstudio.logs import fields, get_logger
from lmstudio.server.log_output import log_shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="service managers and signals of POSIX")

RUNNER = """
import asyncio, sys
from lmstudio.__main__ import main
from lmstudio.server.engine.scripted import ScriptedModel
async def never(self, text, *, special=True):
    print("tokenizing", flush=True)
    await asyncio.Event().wait()
ScriptedModel.tokenize = never
sys.exit(main(["serve", "--engine", "scripted", "--port", "0", *sys.argv[1:]]))
"""


class Service:
    """A server in a process of its own, under a service manager."""

    def __init__(self, process: subprocess.Popen[str], manager: socket.socket) -> None:
        self.process = process
        self._manager = manager

    def state(self) -> str:
        """What the service tells next."""
        return self._manager.recv(100).decode()

    def line(self) -> str:
        """What it says next on stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def lines_until(self, beginning: str) -> str:
        lines = [self.line()]
        while not lines[-1].startswith(beginning):
            assert lines[-1], lines
            lines.append(self.line())
        return "".join(lines)

    def end(self) -> tuple[str, str]:
        """What it has said to the end, which comes by itself."""
        return self.process.communicate(timeout=PATIENCE_SECONDS)


@contextmanager
def service(*arguments: str) -> Iterator[Service]:
    # A path of a socket must be short, which those of pytest are not everywhere.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE_SECONDS)
        manager.bind(f"{folder}/notify")
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUNNER, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"},
        ) as process:
            try:
                yield Service(process, manager)
            finally:
                process.kill()


def address_in(text: str) -> str:
    match = re.search(r"ws://([^/]+)/", text)
    assert match is not None
    return match[1]


def count(api_host: str) -> int:
    with lms.Client(api_host, retry=lms.RetryConfig(max_retries=0)) as client:
        return client.llm.model("scripted-chat").count_tokens("Hi")


# The service manager -------------------------------------------------------------------------------------------------


@unix_only
def test_service_manager_hears_of_the_beginning_and_of_the_end() -> None:
    with service() as running:
        assert running.state() == "READY=1"
        running.lines_until("Press Ctrl-C")
        running.process.send_signal(signal.SIGTERM)
        assert running.state() == "STOPPING=1"
        assert running.end() == ("Stopped.\n", "")
        assert running.process.returncode == 0


@unix_only
def test_second_signal_ends_the_service_although_it_works() -> None:
    with service("--grace-seconds", "3600") as running, ThreadPoolExecutor() as pool:
        counting = pool.submit(count, address_in(running.lines_until("Press Ctrl-C")))
        assert running.line() == "tokenizing\n"
        assert running.state() == "READY=1"
        running.process.send_signal(signal.SIGINT)
        assert running.state() == "STOPPING=1"
        running.process.send_signal(signal.SIGINT)
        assert running.end()[0] == "Stopping at once.\nStopped.\n"
        with pytest.raises(LMStudioError):
            counting.result(PATIENCE_SECONDS)
        assert running.process.returncode == 0


@unix_only
def test_grace_period_bounds_the_end() -> None:
    with service("--grace-seconds", "0.01", "--log-level", "warning") as running, ThreadPoolExecutor() as pool:
        counting = pool.submit(count, address_in(running.lines_until("Press Ctrl-C")))
        assert running.line() == "tokenizing\n"
        running.process.send_signal(signal.SIGTERM)
        out, err = running.end()
        assert out == "Stopped.\n"
        assert "1 requests did not end within 0.01 s; their connections are closed" in err
        with pytest.raises(LMStudioError):
            counting.result(PATIENCE_SECONDS)


# The log -------------------------------------------------------------------------------------------------------------


@unix_only
def test_json_log_has_everything_and_nothing_secret(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    tokens.chmod(0o644)
    arguments = ("--log-format", "json", "--log-level", "info", "--api-token-file", str(tokens))
    with service(*arguments) as running:
        assert running.state() == "READY=1"
        assert running.process.stderr is not None
        lines = [running.process.stderr.readline()]
        while "Serving" not in lines[-1]:
            lines.append(running.process.stderr.readline())
        with lms.Client(json.loads(lines[-1])["address"], api_token=TOKEN) as client:
            client.llm.model("scripted-chat").respond("the secret of the pyramids")
        running.process.send_signal(signal.SIGTERM)
        out, err = running.end()
    assert out == ""
    text = "".join(lines) + err
    records: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert all(list(record)[:4] == ["timestamp", "level", "logger", "message"] for record in records)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", records[0]["timestamp"])
    assert [record["model"] for record in records if "Offering" in record["message"]][:1] == ["scripted-chat"]
    assert [record["level"] for record in records if "other users" in record["message"]] == ["warning"]
    (opened,) = (record for record in records if record["message"] == "Connected to llm")
    assert opened["peer"].startswith("127.0.0.1:")
    (closed,) = (record for record in records if record["message"] == "A connection to llm has ended")
    assert closed["seconds"] > 0
    (predicted,) = (record for record in records if record.get("endpoint") == "predict")
    assert predicted["model"] == "scripted-chat"
    assert records[-1]["message"] == "Stopped."
    assert "pyramids" not in text
    assert TOKEN.partition(":")[2] not in text


def test_failure_to_start_is_a_record_of_a_json_log(tmp_path: Path) -> None:
    arguments = ["--model", str(tmp_path / "absent.gguf"), "--log-format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "lmstudio", "serve", *arguments], capture_output=True, text=True, check=False
    )
    record = json.loads(done.stderr)
    assert (done.returncode, done.stdout, record["level"]) == (1, "", "error")
    assert "absent.gguf" in record["message"]


def shown(capsys: pytest.CaptureFixture[str], form: str = "text", level: str | None = "info") -> str:
    with log_shown(form, level, None):
        get_logger("server").info("A plain %s", "message", extra=fields(namespace="llm", seconds=1.5))
        get_logger("server").debug("not shown")
        logging.getLogger("uvicorn.error").info("not shown")
        logging.getLogger("asyncio").warning("of asyncio")
    return capsys.readouterr().err


def test_lines_for_people_have_colours_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    first, second = shown(capsys).splitlines()
    assert first.endswith("INFO lmstudio.server: A plain message namespace=llm seconds=1.5")
    assert second.endswith("WARNING asyncio: of asyncio")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    coloured = shown(capsys).splitlines()
    assert [line[:5] for line in coloured] == ["\033[32m", "\033[33m"]
    assert all(line.endswith("\033[0m") for line in coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in shown(capsys)


def test_libraries_say_more_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    with log_shown("json", "debug", None):
        logging.getLogger("uvicorn.error").debug("of uvicorn")
        logging.getLogger("elsewhere").debug("not shown")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["of uvicorn"]
    assert logging.getLogger("uvicorn").level == logging.NOTSET


def test_exceptions_are_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    with log_shown("json", None, None):
        try:
            raise OSError("no\nroom")
        except OSError:
            get_logger("server").exception("It failed", extra=fields())
    record = json.loads(capsys.readouterr().err)
    assert record["level"] == "error"
    assert "OSError: no\nroom" in record["exception"]


def test_log_goes_to_a_file_and_to_a_new_one_when_that_was_moved_away(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "server.log"
    with log_shown("text", "info", file):
        get_logger("server").info("first")
        if sys.platform != "win32":
            file.rename(tmp_path / "old.log")
        get_logger("server").info("second")
    assert file.read_text().count("second") == 1
    if sys.platform != "win32":
        assert "first" not in file.read_text()
    assert capsys.readouterr().err == ""


def test_log_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "absent" / "log"
    with (
        pytest.raises(LMStudioValueError, match=r"Cannot write the log to .*: No such file"),
        log_shown("text", None, file),
    ):
        pass


def test_level_of_the_environment_applies_unless_another_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMSTUDIO_LOG", "info")
    assert "A plain message" in shown(capsys, "json", None)
    assert "A plain message" not in shown(capsys, "json", "warning")


def test_warnings_of_python_are_part_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with log_shown("json", None, None):
            warnings.warn("careful", stacklevel=1)
    record = json.loads(capsys.readouterr().err)
    assert record["logger"] == "py.warnings"
    assert "UserWarning: careful" in record["message"]
