"""`lmstudio get`: download a model to the server's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio.errors import LMStudioRuntimeError

from . import downloading, native, wanted
from .downloading import Choices

if TYPE_CHECKING:
    import argparse

    from lmstudio._surface.sync_planner import ArtifactDownloadPlanner
    from lmstudio.sync_api import Client

    from .downloading import Found
    from .output import Output

_NO_EFFECT: Final = {
    "limit": "--limit",
    "all_results": "--always-show-all-results",
    "all_options": "--always-show-download-options",
}
"""Options that `lms` once had."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="owner/name, an address at huggingface.co or lmstudio.ai, or words to look for, each with @QUANTIZATION "
        "(default: asks which of the recommended models)",
    )
    parser.add_argument("--gguf", action="store_true", help="models in the format GGUF")
    parser.add_argument("--mlx", action="store_true", help="models in the format MLX")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: take the first model, as recommended")
    parser.add_argument("--select", action="store_true", help="ask which of its quantizations")
    parser.add_argument(
        "--list", action="store_true", help="list the models, or the quantizations of one; download nothing"
    )
    parser.add_argument("-n", "--limit", metavar="COUNT", help="has no effect any more")
    parser.add_argument(
        "--always-show-all-results", action="store_true", dest="all_results", help="has no effect any more"
    )
    parser.add_argument(
        "-a",
        "--always-show-download-options",
        action="store_true",
        dest="all_options",
        help="has no effect any more: see --select",
    )
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Download, or list; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        _check(arguments, output)
        formats = [*(["gguf"] if arguments.gguf else []), *(["safetensors"] if arguments.mlx else [])]
        choices = Choices(formats or None, arguments.yes, arguments.select)
        if arguments.list:
            _list(client, arguments.name, choices, output, is_json=arguments.json)
            return
        fetched = downloading.download(client, output, arguments.name, choices)
        key = fetched.model_key
        output.info(f"Load it with: lmstudio load {key}" if key else "`lmstudio ls` shows it.")
        if arguments.json:
            output.say_json(
                {
                    "name": fetched.label,
                    "modelKey": key,
                    "quantization": fetched.quantization,
                    "sizeBytes": fetched.size_bytes,
                    "wasThere": fetched.was_there,
                }
            )

    return native.run(arguments, command)


def _check(arguments: argparse.Namespace, output: Output) -> None:
    if arguments.select and (arguments.yes or arguments.list):
        other = "--yes" if arguments.yes else "--list"
        raise LMStudioRuntimeError(f"--select asks, and {other} does not: leave one out.")
    if arguments.select and not output.can_ask:
        raise LMStudioRuntimeError(
            "--select asks, and there is no terminal: name the quantization as NAME@QUANTIZATION."
        )
    for member, flag in _NO_EFFECT.items():
        if getattr(arguments, member):
            output.warn(f"{flag} has no effect any more; --list shows what there is")


def _list(client: Client, text: str | None, choices: Choices, output: Output, *, is_json: bool) -> None:
    name = wanted.read(text)
    if name.place is None:
        _list_models(downloading.search(client, name, choices), output, is_json=is_json)
        return
    with downloading.planned(client, name.place, name.quantization, choices) as planner:
        _list_options(planner, output, is_json=is_json)


def _list_models(found: list[Found], output: Output, *, is_json: bool) -> None:
    if is_json:
        output.say_json(
            [
                {
                    "name": model.place.label,
                    "exact": model.is_exact,
                    "staffPick": model.is_staff_pick,
                    "description": model.description,
                }
                for model in found
            ]
        )
    elif found:
        marks = {True: "staff pick", False: ""}
        output.table(
            ("MODEL", "", "DESCRIPTION"),
            [(each.place.label, marks[each.is_staff_pick], each.description) for each in found],
        )
    else:
        output.info("The server finds no such models.")


def _list_options(planner: ArtifactDownloadPlanner, output: Output, *, is_json: bool) -> None:
    options = [option for _, node in downloading.model_nodes(planner) for option in node.download_options or ()]
    if is_json:
        output.say_json([option.to_dict() for option in options])
        return
    columns = ("NAME", "QUANTIZATION", "FORMAT", "SIZE", "FITS", "")
    output.table(columns, [downloading.option_row(option) for option in options], right=("SIZE",))
