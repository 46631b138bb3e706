"""What the log says, how programs read it, and what one sees without configuring it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
from patience import PATIENCE_SECONDS
from scripted_runtime import ScriptedRuntime, result, run

import lmstudio as lms
from lmstudio import logs
from lmstudio._endpoints import Rpc

ECHO: Rpc[dict[str, str], str] = Rpc("echo", dict[str, str], str)


def test_traffic_is_logged_below_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "lmstudio.traffic")
    run(ScriptedRuntime(result("yes")).llm().call(ECHO, {"text": "ä"}, "echo"))
    seen = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in seen] == [7, 5]
    assert seen[0][1].startswith("Sent {")
    assert '"text":"ä"' in seen[0][1]
    assert seen[1][1].startswith("Received {")
    assert '"yes"' in seen[1][1]


def test_traffic_is_not_logged_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.traffic")
    run(ScriptedRuntime(result("yes")).llm().call(ECHO, {"text": "x"}, "echo"))
    assert caplog.records == []


@pytest.mark.parametrize("length", [20_000, 20_000_000])
def test_long_messages_are_cut(caplog: pytest.LogCaptureFixture, length: int) -> None:
    caplog.set_level(5, "lmstudio.traffic")
    run(ScriptedRuntime(result("y" * length)).llm().call(ECHO, {"text": "x" * length}, "echo"))
    assert all(len(record.getMessage()) < 10_100 and "bytes)" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 2


def test_a_message_says_where_it_belongs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "lmstudio.traffic")
    run(ScriptedRuntime(result("yes")).llm().call(ECHO, {"text": "x"}, "echo"))
    seen = [(record.levelno, vars(record)["namespace"], vars(record)["size_bytes"]) for record in caplog.records]
    assert [(level, namespace) for level, namespace, _ in seen] == [(logs.SEND, "llm"), (logs.RECV, "llm")]
    assert all(size > 20 for _, _, size in seen)


# Levels and fields ---------------------------------------------------------------------------------------------------


def test_the_levels_below_debug_have_the_agreed_numbers() -> None:
    assert (logs.RECV, logs.SEND, logs.WEBSOCKET) == (5, 7, 9)


@pytest.mark.parametrize(("before", "names"), [("", "RECV SEND WEBSOCKET"), ("TRACE", "TRACE SEND WEBSOCKET")])
def test_the_levels_have_names_unless_another_package_gave_them_one(before: str, names: str) -> None:
    code = f"import logging\nif {before!r}: logging.addLevelName(5, {before!r})\nimport lmstudio.logs\n"
    code += "print(*map(logging.getLevelName, (5, 7, 9)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == names


def test_fields_are_complete_and_clash_with_nothing() -> None:
    assert set(logs.fields(model="m")) == set(logs.FIELDS)
    assert logs.fields(model="m") == {**dict.fromkeys(logs.FIELDS), "model": "m"}
    record = logging.LogRecord("x", 10, "", 0, "", None, None)
    assert not {*vars(record), "message", "asctime", "taskName"} & set(logs.FIELDS)


def test_an_error_brings_its_fields() -> None:
    error = lms.LMStudioWebsocketError("x").with_context(address="a:1", namespace="llm", attempted="try")
    found = {name: value for name, value in logs.fields(error, namespace="system").items() if value is not None}
    assert found == {"address": "a:1", "namespace": "system", "error_type": "network_error"}


def test_a_line_has_the_fields_at_its_end() -> None:
    known = logs.fields(model="a b", seconds=1.23456, namespace="llm")
    record = logging.makeLogRecord(
        {"name": "lmstudio.x", "levelno": 9, "levelname": "WEBSOCKET", "msg": "one\ntwo %s", "args": ("3",), **known}
    )
    line = logs.LineFormatter().format(record)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d\d\d WEBSOCKET lmstudio\.x: one \| two 3 namespace=llm model='a b' seconds=1\.23", line
    )


def test_records_of_others_have_a_line_too() -> None:
    record = logging.makeLogRecord({"name": "lmstudio.mine", "levelname": "INFO", "msg": "hello"})
    assert logs.LineFormatter().format(record).endswith("INFO lmstudio.mine: hello")


# Without configuration, and with the environment's -------------------------------------------------------------------

PROLOGUE = """
import json, logging, sys
import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
def fail(*_):
    raise ZeroDivisionError("a bug")
def talk(client, **options):
    with client:
        print(client.llm.model("scripted-chat").respond("Hi", **options).content)
"""
TALK = "with Server(engine=ScriptedEngine()) as server: talk(lms.Client(server.api_host)"
LINE = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (\w+) ([\w.]+): (.*)$")


def output(code: str, word: str | None = None, *options: str) -> str:
    """What a program writes to stderr, with *word* in LMSTUDIO_LOG."""
    environment = {name: value for name, value in os.environ.items() if name != logs.ENVIRONMENT_VARIABLE}
    if word is not None:
        environment[logs.ENVIRONMENT_VARIABLE] = word
    command = [sys.executable, *options, "-c", PROLOGUE + code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=PATIENCE_SECONDS
    )
    assert done.stdout
    return done.stderr


def lines(text: str) -> list[tuple[str, ...]]:
    """Level, logger and message of each line; a traceback belongs to the line before it."""
    return [match.groups() for line in text.splitlines() if (match := LINE.match(line))]


def test_there_is_a_null_handler_and_the_import_does_not_load_logging() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("lmstudio").handlers)
    code = "import sys, lmstudio; print('logging' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_program_that_configures_nothing_hears_nothing() -> None:
    code = "logging.getLogger('lmstudio.tools').warning('quiet')\n"
    assert output(code + TALK + ")", None, "-W", "error") == ""


def test_a_failing_callback_is_seen_all_the_same() -> None:
    text = output(TALK + ", on_first_token=fail)")
    assert text.startswith("The callback <function fail at")
    assert "ZeroDivisionError: a bug" in text
    assert text.count("Traceback") == 1


FAIL = "lms.logs.get_logger('callbacks').error('a bug'); print(1)"
"""As a callback that fails, without waiting for a server."""


@pytest.mark.parametrize(
    "configuration",
    [
        "logging.basicConfig(stream=sys.stdout)",
        "logging.getLogger('lmstudio').addHandler(logging.StreamHandler(sys.stdout))",
        "logging.getLogger('lmstudio.callbacks').addHandler(logging.StreamHandler(sys.stdout))",
        "logging.lastResort = None",
    ],
)
def test_a_program_that_configures_logging_decides_itself(configuration: str) -> None:
    assert output(f"{configuration}\n{FAIL}") == ""


def test_errors_are_seen_where_handlers_are_not_asked() -> None:
    code = "logging.basicConfig(stream=sys.stdout); logging.getLogger('lmstudio').propagate = False\n"
    assert output(code + FAIL) == "a bug\n"


@pytest.mark.parametrize(
    ("word", "least"),
    [
        ("error", None),
        ("warning", "WARNING"),
        (" Info ", "INFO"),
        ("debug", "DEBUG"),
        ("websocket", "WEBSOCKET"),
        ("send", "SEND"),
        ("RECV", "RECV"),
        ("", None),
        (None, None),
    ],
)
def test_the_environment_chooses_the_level(word: str | None, least: str | None) -> None:
    code = """
lms.Client('a:1')
for level, name in [(5, 'RECV'), (7, 'SEND'), (9, 'WEBSOCKET'), (10, 'DEBUG'), (20, 'INFO'), (30, 'WARNING')]:
    lms.logs.get_logger('x').log(level, 'said')
print(1)
"""
    known = ["RECV", "SEND", "WEBSOCKET", "DEBUG", "INFO", "WARNING"]
    assert [name for name, _, _ in lines(output(code, word))] == (known[known.index(least) :] if least else [])


@pytest.mark.parametrize(
    ("word", "levels"),
    [("DEBUG", {"DEBUG", "INFO"}), ("recv", {"DEBUG", "INFO", "WEBSOCKET", "SEND", "RECV"}), ("warning", set())],
)
def test_the_environment_shows_the_log(word: str, levels: set[str]) -> None:
    text = output(TALK + ")", word)
    assert {level for level, _, _ in lines(text)} == levels
    assert len(lines(text)) == len(text.splitlines())
    assert "passkey" not in text.lower()
    if levels:
        [connected] = [message for _, _, message in lines(text) if "Connected to" in message and "/llm" in message]
        assert re.search(
            r" namespace=llm address=127\.0\.0\.1:\d+ url=ws://127\.0\.0\.1:\d+/llm seconds=\S+$", connected
        )


def test_each_line_comes_once_whatever_makes_clients_and_servers() -> None:
    text = output(f"{TALK}); talk(lms.Client(server.api_host))\n{TALK})", "info")
    assert len([message for _, _, message in lines(text) if message.startswith("Loading scripted-chat")]) == 2
    assert len(set(text.splitlines())) == len(text.splitlines())


def test_an_error_comes_once() -> None:
    assert output("lms.Client('a:1')\n" + FAIL, "debug").count("a bug") == 1


def test_a_program_that_logs_to_stderr_itself_has_no_second_line() -> None:
    text = output(f"logging.basicConfig()\n{TALK})", "debug")
    assert len([line for line in text.splitlines() if "Connected to" in line and "/llm" in line]) == 1
    assert not lines(text)


def test_the_level_that_a_program_chose_is_not_raised() -> None:
    code = "logging.getLogger('lmstudio').setLevel(5); lms.Client('a:1'); lms.logs.get_logger('x').debug('hidden')\n"
    assert output(code + "sys.stderr.write(str(logging.getLogger('lmstudio').level)); print(1)", "info") == "5"


def test_a_server_in_the_foreground_shows_its_warnings() -> None:
    code = """
import argparse
from lmstudio.server import foreground, serve
foreground._api_tokens = lambda *_: lms.logs.get_logger('server').warning('careful') or sys.exit(print(1))
parser = argparse.ArgumentParser()
serve.add_arguments(parser)
serve.run(parser.parse_args([]))
"""
    assert [(level, message) for level, _, message in lines(output(code))] == [("WARNING", "careful")]
    assert len(output(code, "debug").splitlines()) == 1
    assert output("logging.basicConfig(stream=sys.stdout)\n" + code) == ""


def test_an_unknown_word_is_a_warning_that_lists_the_known_ones() -> None:
    text = output("lms.Client('a:1'); lms.Client('a:1'); print(1)", "verbose")
    assert text.count("UserWarning") == 1
    assert "LMSTUDIO_LOG is 'verbose': use one of error, warning, info, debug, websocket, send, recv." in text
    assert "<string>" in text  # it points at the program


def test_a_logger_of_ones_own_is_not_shown() -> None:
    text = output(
        "with Server(engine=ScriptedEngine()) as server: "
        "talk(lms.Client(server.api_host, logger=logging.getLogger('mine')))",
        "websocket",
    )
    assert {name for _, name, _ in lines(text)} == {"lmstudio.server"}


def test_the_fields_go_into_json() -> None:
    code = """
class Json(logging.Formatter):
    def format(self, record):
        known = {name: value for name in lms.logs.FIELDS if (value := getattr(record, name)) is not None}
        return json.dumps({"level": record.levelno, "message": record.getMessage(), **known})
handler = logging.StreamHandler()
handler.setFormatter(Json())
logging.getLogger("lmstudio").addHandler(handler)
logging.getLogger("lmstudio").setLevel(lms.logs.RECV)
"""
    found = [json.loads(line) for line in output(code + TALK + ", on_first_token=fail)").splitlines()]
    [failed] = [record for record in found if record["level"] == logging.ERROR]
    assert failed["callback"] == "fail"
    assert {record["level"] for record in found} == {5, 7, 9, 10, 20, 40}
    assert {record["namespace"] for record in found if record["level"] < 10} == {"llm"}
