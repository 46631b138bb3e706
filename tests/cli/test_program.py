"""The program itself: its help, its version, wrong commands, and how much commands say."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from surface.odd_servers import free_port

import lmstudio as lms
from lmstudio.__main__ import COMMANDS, NOT_OFFERED, main
from lmstudio.cli import unload
from lmstudio.cli.output import Output
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["nothing", "help"])
def test_the_help_has_all_commands_in_groups(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    out = capsys.readouterr().out
    assert code == 0
    for name, command in COMMANDS.items():
        assert out.index(f"{command.group}:\n") < out.index(f"  {name} ") < out.index(command.help)


def test_a_typo_is_answered_with_what_may_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["sreve"])
    assert raised.value.code == 2
    assert "there is no command 'sreve'. Did you mean serve or server?" in capsys.readouterr().err


def test_commands_of_lms_that_are_not_offered_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert not NOT_OFFERED.keys() & COMMANDS.keys()
    for name, reason in NOT_OFFERED.items():
        assert main([name, "--json"]) == 1
        assert f"'{name}' of lms is not offered here: {reason}" in capsys.readouterr().err


def test_the_version_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"lmstudio {lms.__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": lms.__version__}


def test_how_much_is_said_can_be_told_once_only(capsys: pytest.CaptureFixture[str]) -> None:
    for more in (["--quiet", "--verbose"], ["--log-level", "info", "--quiet"], ["--verbose", "--log-level", "none"]):
        with pytest.raises(SystemExit) as raised:
            main(["version", *more])
        assert raised.value.code == 2
        assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("lmstudio lo", ["load", "log"]),
        ("lmstudio load --exa", ["--exact"]),
        ("lmstudio server s", ["start", "stop", "status"]),
    ],
)
def test_shells_complete_commands_and_options(line: str, completions: list[str], tmp_path: Path) -> None:
    assert completed(line, tmp_path) == completions


def completed(line: str, folder: Path) -> list[str]:
    """What a shell would offer at the end of *line*."""
    file = folder / "completions"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    environment = {**os.environ, **asked, "_ARGCOMPLETE_STDOUT_FILENAME": str(file)}
    command = [sys.executable, "-m", "lmstudio"]
    subprocess.run(command, env=environment, timeout=PATIENCE_SECONDS, check=False, capture_output=True)
    return file.read_text().split()


def test_shells_complete_models_of_the_server(tmp_path: Path) -> None:
    with Server(engine=ScriptedEngine()) as server:
        assert completed(f"lmstudio load --port {server.port} scr", tmp_path) == ["scripted-chat", "scripted-embed"]


def test_without_a_server_there_are_no_models_to_complete() -> None:
    parser = argparse.ArgumentParser()
    unload.add_arguments(parser)
    (action,) = (action for action in parser._actions if action.dest == "identifier")
    completer: Any = getattr(action, "completer")  # noqa: B009  # argparse does not know it
    asked = parser.parse_args(["--port", str(free_port())])
    assert completer(prefix="", parsed_args=asked) == []
    with Server(engine=ScriptedEngine()) as server, lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine")
        assert completer(prefix="", parsed_args=parser.parse_args(["--port", str(server.port)])) == ["mine"]


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o nospace"), ("zsh", "compdef"), ("fish", "complete --command lmstudio")],
)
def test_shells_get_their_script(shell: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert words in script
    assert "lmstudio" in script


def test_ctrl_c_before_an_operation_begins_leaves_no_warning(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, capsys: pytest.CaptureFixture[str]
) -> None:
    async def operation() -> None:
        raise AssertionError("it never begins")

    def interrupted(_arguments: object) -> int:
        made = operation()
        raise KeyboardInterrupt(made)

    monkeypatch.setattr("lmstudio.cli.version.run", interrupted)
    assert main(["version"]) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"
    assert [str(warning.message) for warning in recwarn] == []


def test_what_a_terminal_would_obey_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.info("\x1b[2JLoaded\n\x9bowl.")
    output.table(("MODEL",), [["\x1b]0;title\x07owl"]])
    assert capsys.readouterr() == ("MODEL\n]0;titleowl\n", "[2JLoaded\nowl.\n")
