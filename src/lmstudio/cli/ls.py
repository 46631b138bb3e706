"""`lmstudio ls`: the models on the server's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio.errors import LMStudioRuntimeError

from . import choosing, completing, native
from .output import disk_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence

    from lmstudio.sync_api import Client

    from .output import Output

_COLUMNS = ("PARAMS", "ARCH", "SIZE", "DEVICE", "")
_TITLES = {"llm": "LLM", "embedding": "EMBEDDING"}
_LOADED = "loaded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    model = parser.add_argument("model_key", metavar="MODEL", nargs="?", help="list the variants of this model")
    completing.complete(model, completing.downloaded)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--llm", action="store_const", const="llm", dest="kind", help="only language models")
    kinds.add_argument(
        "--embedding", action="store_const", const="embedding", dest="kind", help="only embedding models"
    )
    parser.add_argument("--variants", action="store_true", help="list the variants of all models that have some")
    parser.add_argument("--detailed", action="store_true", help="has no effect any more")
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List them; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        if arguments.model_key is not None and arguments.variants:
            raise LMStudioRuntimeError("A model is named, and --variants is for all of them: leave one out.")
        if arguments.detailed:
            output.warn("--detailed has no effect any more: the list is the same without it")
        if arguments.model_key is not None:
            info = choosing.choose_downloaded(client, output, arguments.model_key, kind=arguments.kind)
            _list(client, output, _variants(client, info), is_json=arguments.json)
            return
        infos = choosing.downloaded(client, arguments.kind)
        if arguments.variants:
            _list_variants(client, output, infos, is_json=arguments.json)
        else:
            _list(client, output, infos, is_json=arguments.json)

    return native.run(arguments, command)


def _variants(client: Client, info: Any) -> list[Any]:
    """The variants of a model; itself if it has none."""
    if not info.variants:
        return [info]
    return [model.info for model in client.system.list_downloaded_model_variants(info.model_key)]


def _list(client: Client, output: Output, infos: Sequence[Any], *, is_json: bool) -> None:
    if is_json:
        output.say_json([info.to_dict() for info in infos])
        return
    if not infos:
        output.say("The server has no such models.")
        return
    loaded = {handle.model_key for handle in client.list_loaded_models()}
    total = disk_size(sum(info.size_bytes for info in infos))
    output.say(f"{len(infos)} model{'' if len(infos) == 1 else 's'}, {total} on the disk.")
    for kind, title in _TITLES.items():
        rows = [_row(info, loaded) for info in infos if info.type == kind]
        if rows:
            output.say("")
            output.table((title, *_COLUMNS), rows, right=("SIZE",))


def _row(info: Any, loaded: Collection[str]) -> list[str]:
    mark = _LOADED if info.model_key in loaded else ""
    device = info.device_identifier or "Local"
    return [info.model_key, info.params_string or "", info.architecture or "", disk_size(info.size_bytes), device, mark]


def _list_variants(client: Client, output: Output, infos: Sequence[Any], *, is_json: bool) -> None:
    found = [(info, _variants(client, info)) for info in infos if info.variants]
    if is_json:
        output.say_json(
            [{"model": info.to_dict(), "variants": [each.to_dict() for each in every]} for info, every in found]
        )
    elif not found:
        output.say("No model has variants.")
    for info, every in () if is_json else found:
        rows = [[_marked(each.model_key, info.selected_variant), disk_size(each.size_bytes)] for each in every]
        output.table((info.model_key, "SIZE"), rows, right=("SIZE",))


def _marked(key: str, selected: str | None) -> str:
    return f"* {key}" if key == selected else f"  {key}"
