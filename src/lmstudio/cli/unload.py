"""`lmstudio unload`: unload a model, or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._near import near_matches
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioRuntimeError

from . import completing, native

if TYPE_CHECKING:
    import argparse

    from lmstudio.sync_api import Client

    from .choosing import Handle
    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    identifier = parser.add_argument(
        "identifier", metavar="IDENTIFIER", nargs="?", help="the instance (default: the one that is loaded; else asks)"
    )
    completing.complete(identifier, completing.loaded)
    parser.add_argument("-a", "--all", action="store_true", help="unload all models")
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Unload; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        if arguments.all and arguments.identifier is not None:
            raise LMStudioRuntimeError("A model is named, and --all is for all of them: leave one out.")
        loaded = client.list_loaded_models()
        chosen = loaded if arguments.all else [_chosen(loaded, arguments.identifier, output)]
        count = 0
        for handle in chosen:
            try:
                handle.unload()
            except LMStudioModelNotFoundError:  # somebody else has unloaded it meanwhile
                if not arguments.all:
                    raise
                continue
            count += 1
            output.info(f"Unloaded {handle.identifier}.")
        if arguments.all:
            output.info(f"{count} model{'' if count == 1 else 's'} unloaded.")

    return native.run(arguments, command)


def _chosen(loaded: list[Handle], identifier: str | None, output: Output) -> Handle:
    names = [handle.identifier for handle in loaded]
    if identifier is not None:
        if identifier in names:
            return loaded[names.index(identifier)]
        near = near_matches(identifier, names)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise LMStudioRuntimeError(
            f"No loaded model is called {identifier!r}.{hint} `lmstudio ps` shows what is loaded."
        )
    if not loaded:
        raise LMStudioRuntimeError("No model is loaded, so there is none to unload.")
    if len(loaded) == 1:
        return loaded[0]
    otherwise = f"Several models are loaded: {', '.join(names)}. Name one of them, or give --all."
    return loaded[output.choose("Which model?", names, otherwise)]
