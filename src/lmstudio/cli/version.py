"""`lmstudio version`: which version of this package it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio import __version__

from . import native

if TYPE_CHECKING:
    import argparse

    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    native.add_json_argument(parser)
    native.add_message_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it; returns the exit code."""

    def say(output: Output) -> None:
        if arguments.json:
            output.say_json({"version": __version__})
        else:
            output.say(f"lmstudio {__version__}")

    return native.run_locally(arguments, say)
