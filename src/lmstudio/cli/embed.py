"""`lmstudio embed`: texts as vectors of an embedding model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import choosing, completing, native

if TYPE_CHECKING:
    import argparse

    from lmstudio.sync_api import Client, EmbeddingModel

    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("texts", metavar="TEXT", nargs="*", help="the texts (default: standard input as one text)")
    model = parser.add_argument(
        "-m", "--model", help="identifier of a loaded model, or key of one to load (default: the one that is loaded)"
    )
    completing.complete(model, completing.loaded, completing.downloaded)
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one vector per line, as JSON; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        texts = choosing.read_texts(arguments.texts)
        model: EmbeddingModel = choosing.usable(client, output, arguments.model, "embedding")  # type: ignore[assignment]
        vectors = model.embed(texts)
        if arguments.json:
            found = zip(texts, vectors, strict=True)
            output.say_json([{"text": text, "embedding": list(vector)} for text, vector in found])
        else:
            output.say(*(json.dumps(list(vector)) for vector in vectors))

    return native.run(arguments, command)
