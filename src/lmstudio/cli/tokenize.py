"""`lmstudio tokenize`: a text as the tokens of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import choosing, completing, native

if TYPE_CHECKING:
    import argparse

    from lmstudio.sync_api import Client

    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("text", metavar="TEXT", nargs="?", help="the text (default: standard input)")
    model = parser.add_argument(
        "-m", "--model", help="identifier of a loaded model, or key of one to load (default: the one that is loaded)"
    )
    completing.complete(model, completing.loaded, completing.downloaded)
    parser.add_argument("--count", action="store_true", help="print only how many they are")
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the tokens on one line; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        (text,) = choosing.read_texts([] if arguments.text is None else [arguments.text])
        tokens = choosing.usable(client, output, arguments.model).tokenize(text)
        if arguments.json:
            output.say_json({"count": len(tokens), **({} if arguments.count else {"tokens": tokens})})
        else:
            output.say(str(len(tokens)) if arguments.count else " ".join(map(str, tokens)))

    return native.run(arguments, command)
