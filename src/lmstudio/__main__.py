# PYTHON_ARGCOMPLETE_OK
"""`lmstudio COMMAND`, also as `python -m lmstudio COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from lmstudio import __version__
from lmstudio._near import near_matches
from lmstudio.cli.interrupts import expect_loose_ends
from lmstudio.errors import LMStudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODELS: Final = "Local models"
_SERVE: Final = "Serve"
_MORE: Final = "This package"


class _Command(NamedTuple):
    """A command, in a module with `add_arguments` and `run` that is loaded only if it is wanted."""

    module: str
    help: str
    group: str
    extra: str = "cli"
    """The extra of this package with what it needs."""


COMMANDS: Final = {
    "chat": _Command("lmstudio.cli.chat", "talk to a model, or get one answer", _MODELS),
    "ls": _Command("lmstudio.cli.ls", "list the downloaded models", _MODELS),
    "ps": _Command("lmstudio.cli.ps", "list the loaded models, and what they do", _MODELS),
    "load": _Command("lmstudio.cli.load", "load a model, or estimate what that would take", _MODELS),
    "unload": _Command("lmstudio.cli.unload", "unload a model, or all of them", _MODELS),
    "get": _Command("lmstudio.cli.get", "download a model", _MODELS),
    "import": _Command("lmstudio.cli.importing", "put a model file into the models folder", _MODELS),
    "embed": _Command("lmstudio.cli.embed", "turn texts into vectors", _MODELS),
    "tokenize": _Command("lmstudio.cli.tokenize", "turn a text into tokens, or count them", _MODELS),
    "server": _Command("lmstudio.cli.server", "start and stop the HTTP server (start, stop, status)", _SERVE),
    "log": _Command("lmstudio.cli.log", "show what happens in the server (stream)", _SERVE),
    "status": _Command("lmstudio.cli.status", "say whether the HTTP server is on, and what is loaded", _SERVE),
    "daemon": _Command("lmstudio.cli.daemon", "run a server in the background (up, status, down)", _SERVE),
    "serve": _Command(
        "lmstudio.server.serve", "run an LM Studio compatible server in the foreground", _SERVE, "server"
    ),
    "gateway": _Command(
        "lmstudio.gateway.command", "run one OpenAI-compatible address in front of LM Studio", _SERVE, "gateway"
    ),
    "ping": _Command("lmstudio.cli.ping", "check that a server answers, and how fast", _SERVE),
    "models": _Command("lmstudio.cli.models", "list the models of a server, or write the list to a file", _SERVE),
    "runtime": _Command(
        "lmstudio.cli.runtime", "engines and hardware (ls, survey, get, select, remove, update)", _SERVE
    ),
    "demo": _Command(
        "lmstudio._demo", "show the package at work, with its own server and a tiny model", _MORE, "server"
    ),
    "completion": _Command("lmstudio.cli.completion", "print what bash, zsh or fish need to complete commands", _MORE),
    "version": _Command("lmstudio.cli.version", "print the version of this package", _MORE),
}

_HUB: Final = "it needs LM Studio's hub"
_NETWORK: Final = "it belongs to LM Studio's own network of devices"
NOT_OFFERED: Final = {
    "bootstrap": "it is about the installation of LM Studio",
    "clone": _HUB,
    "create": _HUB,
    "dev": "run a plugin with python -m lmstudio.plugin --dev FOLDER",
    "flags": "it is about experiments of LM Studio; client.system has them",
    "link": _NETWORK,
    "login": _HUB,
    "logout": _HUB,
    "push": _HUB,
    "whoami": _HUB,
}
"""Commands of `lms` that are not here, and why."""


class _Parser(argparse.ArgumentParser):
    """Shows the commands in groups."""

    def format_help(self) -> str:
        """As argparse's, but for the commands."""
        groups: dict[str, list[str]] = {}
        for name, command in COMMANDS.items():
            groups.setdefault(command.group, []).append(f"  {name:<10} {command.help}")
        options = [f"  {name:<15} {text}" for name, text in _OPTIONS]
        blocks = [
            [self.format_usage().rstrip()],
            [str(self.description)],
            *([f"{title}:", *lines] for title, lines in groups.items()),
            ["options:", *options],
            [f"{self.prog} COMMAND --help says more about a command."],
        ]
        return "\n\n".join("\n".join(block) for block in blocks) + "\n"


_COMPLETION_VARIABLE: Final = "_ARGCOMPLETE"
"""Set by shells, for argcomplete, when they want to complete a command."""
_OPTIONS: Final = (("-h, --help", "show this help and exit"), ("-v, --version", "print the version and exit"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted, or its own."""
    is_completing = _COMPLETION_VARIABLE in os.environ
    given = sys.argv[1:] if arguments is None else arguments
    if is_completing:
        given = os.environ.get("COMP_LINE", "").split()[1:]
    wanted = next((word for word in given if not word.startswith("-")), None)
    parser = _Parser(prog=_program(), usage="%(prog)s COMMAND ...", description="LM Studio from Python.")
    parser.add_argument("-v", "--version", action="version", version=f"lmstudio {__version__}")
    if not given and not is_completing:
        parser.print_help()
        return 0
    if wanted is not None and wanted not in COMMANDS and not is_completing:
        return _refuse(wanted, parser)
    parsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=argparse.ArgumentParser
    )
    try:
        for name, command in COMMANDS.items():
            subparser = parsers.add_parser(name, help=command.help, prog=f"{parser.prog} {name}")
            if name == wanted:  # the others may need packages that are not installed
                import_module(command.module).add_arguments(subparser)
        if is_completing:
            import_module("argcomplete").autocomplete(parser)
        parsed = parser.parse_args(given)
        return int(import_module(COMMANDS[parsed.command].module).run(parsed))
    except ModuleNotFoundError as error:
        extra = COMMANDS[wanted].extra if wanted in COMMANDS else "server"
        print(f"error: {error.name} is not installed. Run: pip install 'lmstudio[{extra}]'", file=sys.stderr)
        return 1
    except LMStudioError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads the output has had enough, as `head` does. Python would complain when it writes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        expect_loose_ends()
        print("\ninterrupted", file=sys.stderr)
        return 130


def _program() -> str:
    """What the user has called."""
    name = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return name if name == "lmstudio" else "python -m lmstudio"


def _refuse(name: str, parser: argparse.ArgumentParser) -> int:
    """Say that there is no command of that name; returns the exit code, or exits with that of wrong arguments."""
    if name not in NOT_OFFERED:
        near = near_matches(name, COMMANDS)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        parser.error(f"there is no command {name!r}.{hint} See {parser.prog} --help.")
    reason = NOT_OFFERED[name]
    print(f"error: {name!r} of lms is not offered here: {reason}. See {parser.prog} --help.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
