"""`python -m lmstudio models`: the models of a server, as a table, as JSON, or in a file."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmstudio._ops.models import list_loaded
from lmstudio.errors import LMStudioOSError

from . import asking

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from .asking import Server

_COLUMNS = ("model", "type", "size", "quantization", "context", "loaded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    asking.add_arguments(parser)
    parser.add_argument("--loaded", action="store_true", help="only what is loaded, each instance by its identifier")
    parser.add_argument("--type", choices=("llm", "embedding"), help="only models of this kind")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the list there; as JSON with --json or if the name ends so"
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print or write the answer; returns the exit code."""

    def question(server: Server) -> None:
        models = (_over_http if server.is_http else _natively)(server, is_loaded_only=arguments.loaded)
        models = [model for model in models if arguments.type in (None, model["type"])]
        file: Path | None = arguments.output
        if file is None:
            text = asking.as_json(models) if arguments.json else _table(models, is_terminal=sys.stdout.isatty())
            asking.say(*text.splitlines())
        else:
            is_json = arguments.json or file.suffix.lower() == ".json"
            _write(file, asking.as_json(models) if is_json else _table(models, is_terminal=False))
            asking.say(f"{len(models)} models written to {file}")

    return asking.ask(arguments, question)


def _natively(server: Server, *, is_loaded_only: bool) -> list[dict[str, Any]]:
    with server.native() as client:
        loaded = [info for session in (client.llm, client.embedding) for info in _loaded(session)]
        if is_loaded_only:
            return [_described(info, loaded_as=[info.identifier]) for info in loaded]
        identifiers: dict[str, list[str]] = {}
        for info in loaded:
            identifiers.setdefault(info.model_key, []).append(info.identifier)
        downloaded = [model.info for model in client.list_downloaded_models()]
        return [_described(info, loaded_as=identifiers.get(info.model_key, [])) for info in downloaded]


def _loaded(session: Any) -> list[Any]:
    """What the session knows of its instances. Their handles would ask for that once more, each."""
    infos: list[Any] = session._run(list_loaded(session._within(None), session._ENDPOINTS))
    return infos


def _described(info: Any, *, loaded_as: list[str]) -> dict[str, Any]:
    return {
        "model": info.model_key,
        "type": info.type,
        "display_name": info.display_name,
        "size_bytes": info.size_bytes,
        "quantization": None if info.quantization is None else info.quantization.name,
        "architecture": info.architecture,
        "max_context_length": info.max_context_length,
        "context_length": getattr(info, "context_length", None),
        "loaded_as": loaded_as,
    }


def _over_http(server: Server, *, is_loaded_only: bool) -> list[dict[str, Any]]:
    from lmstudio.http._openai import list_details

    with server.http() as client:
        details = client._run(list_details(client._caller))
        if details is None:
            # Another server, which says no more than the names.
            return [
                _of_http({"id": model.id}) for model in client.list_models(status="ready" if is_loaded_only else None)
            ]
    found = [_of_http(model.to_dict()) for model in details.data]
    return [model for model in found if model["loaded_as"] or not is_loaded_only]


def _of_http(info: Mapping[str, Any]) -> dict[str, Any]:
    kind = info.get("type")
    return {
        "model": info["id"],
        "type": {"embeddings": "embedding", "vlm": "llm"}.get(str(kind), kind),
        "display_name": None,
        "size_bytes": None,
        "quantization": info.get("quantization"),
        "architecture": info.get("arch"),
        "max_context_length": info.get("max_context_length"),
        "context_length": info.get("loaded_context_length"),
        "loaded_as": [info["id"]] if info.get("state") == "loaded" else [],
    }


def _table(models: list[dict[str, Any]], *, is_terminal: bool) -> str:
    """Columns with a title in a terminal, else separated by tabs, for other programs."""
    rows = [[_cell(model, column) for column in _COLUMNS] for model in models]
    if not is_terminal:
        return "".join("\t".join(row) + "\n" for row in rows)
    if not rows:
        return "No models.\n"
    rows = [[column.upper() for column in _COLUMNS], *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _cell(model: Mapping[str, Any], column: str) -> str:
    if column == "size":
        size = model["size_bytes"]
        return "" if size is None else f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
    if column == "context":
        value = model["context_length"] or model["max_context_length"]
    elif column == "loaded":
        value = ", ".join(model["loaded_as"])
    else:
        value = model[column]
    return "" if value is None else " ".join(str(value).split())


def _write(file: Path, text: str) -> None:
    """Replace *file*: whoever reads it meanwhile sees the old list or the new one."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            temporary.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8")
            os.replace(temporary, file)
        finally:
            with suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise LMStudioOSError(f"Could not write the models to {file}: {error.strerror or error}.") from error
