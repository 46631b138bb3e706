"""`lmstudio get`: download a model to the server's disk."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio.errors import LMStudioRuntimeError, LMStudioServerError

from . import native, wanted
from .output import disk_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmstudio._surface.sync_planner import ArtifactDownloadPlanner
    from lmstudio.sync_api import Client

    from .output import Output
    from .wanted import Place, Wanted

_FITS: Final = {
    "fullGPUOffload": "on the GPU",
    "partialGPUOffload": "partly on the GPU",
    "fitWithoutGPU": "without a GPU",
    "willNotFit": "no",
}
_STATES: Final = {"notDownloaded": "", "downloading": "downloading", "downloaded": "downloaded"}
_FORMATS: Final = {"safetensors": "mlx"}
_NO_EFFECT: Final = {
    "limit": "--limit",
    "all_results": "--always-show-all-results",
    "all_options": "--always-show-download-options",
}
"""Options that `lms` once had."""


class _Found(NamedTuple):
    """A model that can be downloaded."""

    place: Place
    is_exact: bool
    is_staff_pick: bool
    description: str


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
        name = wanted.read(arguments.name)
        if name.place is None and arguments.list:
            _list_models(_search(client, name, arguments), output, is_json=arguments.json)
            return
        place = name.place or _chosen(_search(client, name, arguments), name, arguments, output)
        with _planned(client, place, name.quantization, arguments) as planner:
            if arguments.list:
                _list_options(planner, output, is_json=arguments.json)
                return
            _select(planner, place, name, arguments, output)
            fetched = _download(planner, place, arguments, output)
        key = _model_key(client, place, fetched, arguments)
        output.info(f"Load it with: lmstudio load {key}" if key else "`lmstudio ls` shows it.")
        if arguments.json:
            output.say_json({"name": place.label, "modelKey": key, **fetched})

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


def _formats(arguments: argparse.Namespace) -> list[Any] | None:
    """What may be downloaded, as the protocol has it; None leaves it to the server."""
    formats = [*(["gguf"] if arguments.gguf else []), *(["safetensors"] if arguments.mlx else [])]
    return formats or None


# Which model ---------------------------------------------------------------------------------------------------------


def _search(client: Client, name: Wanted, arguments: argparse.Namespace) -> list[_Found]:
    """What *name* may be: recommended models, or else whatever the server finds."""
    formats, repository = _formats(arguments), client.repository
    picks = repository.fuzzy_find_staff_picks(name.term, compatibility_types=formats)
    found = [_Found(wanted.at_hub(pick.owner, pick.name), pick.exact, True, pick.description) for pick in picks]
    if not found:
        for model in repository.search_models(name.term, compatibility_types=formats):
            place = wanted.of_search_result(model.search_result.identifier)
            found.append(_Found(place, model.is_exact_match(), model.is_staff_pick(), ""))
    return found


def _list_models(found: list[_Found], output: Output, *, is_json: bool) -> None:
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


def _chosen(found: list[_Found], name: Wanted, arguments: argparse.Namespace, output: Output) -> Place:
    what = "recommended models" if name.term is None else f"models like {name.term!r}"
    if not found:
        raise LMStudioRuntimeError(
            f"The server finds no {what} to download. Look for another name, or give an address at huggingface.co."
        )
    exact = [model for model in found if model.is_exact]
    if len(exact) == 1 or (len(found) == 1 and name.term is not None):
        return (exact or found)[0].place
    if name.term is None:
        otherwise = "Name the model to download. `lmstudio get --list` shows what is recommended."
        if arguments.yes:
            raise LMStudioRuntimeError(otherwise)
    else:
        labels = ", ".join(model.place.label for model in found)
        otherwise = f"{name.term!r} may be any of {labels}. Give owner and name, or --yes for the first one."
    if arguments.yes:
        output.warn(f"{len(found)} models match {name.term!r}; taking {found[0].place.label}")
        return found[0].place
    return found[output.choose("Which model?", [model.place.label for model in found], otherwise)].place


# What of it ----------------------------------------------------------------------------------------------------------


@contextmanager
def _planned(
    client: Client, place: Place, quantization: str | None, arguments: argparse.Namespace
) -> Iterator[ArtifactDownloadPlanner]:
    """A plan that is ready, for the first source of *place* that the server knows."""
    preference: list[dict[str, str]] = []
    if place.file is not None:
        preference.append({"type": "fileName", "fileName": place.file})
    if quantization is not None:
        preference.append({"type": "quantName", "quantName": quantization})
    options: Any = {"resolution_preference": preference or None, "compatibility_types": _formats(arguments)}
    first_error: LMStudioServerError | None = None
    for source in place.sources:
        if source == "hub":
            planner = client.repository.create_artifact_download_planner(place.owner, place.name, **options)
        else:
            address = {"type": "huggingface", "user": place.owner, "repo": place.name}
            planner = client.repository.create_model_download_planner(address, **options)
        with planner:
            try:
                planner.until_ready()
            except LMStudioServerError as error:
                first_error = first_error or error
                continue
            yield planner
            return
    if first_error is not None:
        raise first_error


def _model_nodes(planner: ArtifactDownloadPlanner) -> list[tuple[int, Any]]:
    """The models of the plan, and where they are in it."""
    return [(place, node) for place, node in enumerate(planner.get_plan().nodes) if node.type == "model"]


def _list_options(planner: ArtifactDownloadPlanner, output: Output, *, is_json: bool) -> None:
    options = [option for _, node in _model_nodes(planner) for option in node.download_options or ()]
    if is_json:
        output.say_json([option.to_dict() for option in options])
        return
    columns = ("NAME", "QUANTIZATION", "FORMAT", "SIZE", "FITS", "")
    output.table(columns, [_option_row(option) for option in options], right=("SIZE",))


def _option_row(option: Any) -> list[str]:
    notes = ("recommended" if option.recommended else "", _STATES[option.availability])
    return [
        option.display_name,
        option.quant_name or "",
        _FORMATS.get(option.compatibility_type, option.compatibility_type),
        disk_size(option.size_bytes),
        _FITS[option.fit_estimation],
        ", ".join(filter(None, notes)),
    ]


def _select(
    planner: ArtifactDownloadPlanner, place: Place, name: Wanted, arguments: argparse.Namespace, output: Output
) -> None:
    """Let the user choose, if he wants to; see that what is chosen is what he has named."""
    for number, node in _model_nodes(planner):
        options = node.download_options or []
        if arguments.select and len(options) > 1:
            rows = [[cell for cell in _option_row(option) if cell] for option in options]
            lines = ["  ".join((row[1], row[0], *row[2:])) for row in rows]
            chosen = output.choose(f"Which form of {node.dependency_label}?", lines, "Leave --select out.")
            planner.select_model_download_option(number, chosen)
        elif name.quantization is not None and node.selected is not None:
            _require(place, name.quantization, node)


def _require(place: Place, quantization: str, node: Any) -> None:
    if (node.selected.quant_name or "").lower() != quantization.lower():
        names = ", ".join(sorted({option.quant_name for option in node.download_options or () if option.quant_name}))
        raise LMStudioRuntimeError(f"{place.label} has no quantization {quantization!r}. It has {names or 'none'}.")


# The download --------------------------------------------------------------------------------------------------------


def _download(
    planner: ArtifactDownloadPlanner, place: Place, arguments: argparse.Namespace, output: Output
) -> dict[str, Any]:
    """Do what is planned; returns what that was."""
    plan = planner.get_plan()
    chosen = [node.selected for _, node in _model_nodes(planner) if node.selected is not None]
    quantization = next((model.quant_name for model in chosen if model.quant_name), None)
    label = place.label if quantization is None else f"{place.label} {quantization}"
    done = {
        "quantization": quantization,
        "sizeBytes": round(sum(model.size_bytes for model in chosen)) or plan.download_size_bytes,
        "wasThere": plan.download_action == "none",
    }
    if done["wasThere"]:
        output.info(f"{label} is on the server's disk already.")
        return done
    size = disk_size(plan.download_size_bytes)
    _warn_of_size(planner, label, output)
    if not arguments.yes and output.can_ask and not output.confirm(f"Download {label} ({size})?", "Give --yes."):
        raise LMStudioRuntimeError("Nothing was downloaded.")
    with output.timed() as elapsed:
        with output.downloading(f"Downloading {label}") as report:
            planner.download(report)
        output.info(f"Downloaded {label} ({size}) in {elapsed()}.")
    return done


def _warn_of_size(planner: ArtifactDownloadPlanner, label: str, output: Output) -> None:
    for _, node in _model_nodes(planner):
        index = node.selected_download_option_index
        if isinstance(index, int) and node.download_options[index].fit_estimation == "willNotFit":
            output.warn(f"{label} may not fit into the memory of the server's machine")


def _model_key(client: Client, place: Place, fetched: dict[str, Any], arguments: argparse.Namespace) -> str | None:
    """The key of what is on the disk now: the server says it with another plan, not with the download."""
    with _planned(client, place, fetched["quantization"], arguments) as planner:
        for _, node in _model_nodes(planner):
            for model in (node.selected, node.already_owned):
                if model is not None and model.model_key is not None:
                    return str(model.model_key)
    return None
