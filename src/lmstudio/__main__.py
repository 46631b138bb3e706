"""`python -m lmstudio COMMAND`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from lmstudio import __version__
from lmstudio.errors import LMStudioError

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Command(NamedTuple):
    """A command, in a module with `add_arguments` and `run` that is loaded only if it is wanted."""

    module: str
    help: str
    extra: str = "server"
    """The extra of this package with what it needs."""


COMMANDS: Final = {
    "demo": _Command("lmstudio._demo", "show the package at work, with its own server and a tiny model"),
    "serve": _Command("lmstudio.server.serve", "run an LM Studio compatible server in the foreground"),
    "gateway": _Command(
        "lmstudio.gateway.command", "run one OpenAI-compatible address in front of LM Studio", "gateway"
    ),
    "ping": _Command("lmstudio.cli.ping", "check that a server answers, and how fast"),
    "models": _Command("lmstudio.cli.models", "list the models of a server, or write the list to a file"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted, or its own."""
    given = sys.argv[1:] if arguments is None else arguments
    wanted = next((word for word in given if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="python -m lmstudio", description="LM Studio from Python.")
    parser.add_argument("--version", action="version", version=f"lmstudio {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    try:
        for name, command in COMMANDS.items():
            subparser = parsers.add_parser(name, help=command.help)
            if name == wanted:  # the others may need packages that are not installed
                import_module(command.module).add_arguments(subparser)
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
        print("\ninterrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
