"""Getting a model onto the server's disk: which one, what of it, and the download."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio.errors import LMStudioRuntimeError, LMStudioServerError

from . import wanted
from .output import disk_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio._sdk_models import ArtifactDownloadPlanDownloadOptionInfo
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


class Choices(NamedTuple):
    """What is not asked, and what is."""

    formats: list[Any] | None = None
    """The formats of the protocol that may be downloaded; None leaves it to the server."""
    takes_first: bool = False
    """Ask nothing: take the first model, as recommended."""
    selects: bool = False
    """Ask which of a model's quantizations."""


class Found(NamedTuple):
    """A model that can be downloaded."""

    place: Place
    is_exact: bool
    is_staff_pick: bool
    description: str


class Fetched(NamedTuple):
    """A model that is on the server's disk now."""

    label: str
    """Owner and name."""
    model_key: str | None
    """None if the server does not say it."""
    quantization: str | None
    size_bytes: int
    was_there: bool


def download(client: Client, output: Output, text: str | None, choices: Choices) -> Fetched:
    """Download the model that *text* names or describes, after asking where that is not clear.

    Raises:
        LMStudioRuntimeError: there is no such model, or several, and nobody to ask.
        LMStudioError: the server cannot download it; says why.
    """
    name = wanted.read(text)
    place = name.place or choose_place(search(client, name, choices), name, choices, output)
    with planned(client, place, name.quantization, choices) as planner:
        _select(planner, place, name, choices, output)
        fetched = _download(planner, place, choices, output)
    return fetched._replace(model_key=_model_key(client, place, fetched, choices))


# Which model ---------------------------------------------------------------------------------------------------------


def search(client: Client, name: Wanted, choices: Choices) -> list[Found]:
    """What *name* may be: recommended models, or else whatever the server finds."""
    formats, repository = choices.formats, client.repository
    picks = repository.fuzzy_find_staff_picks(name.term, compatibility_types=formats)
    found = [Found(wanted.at_hub(pick.owner, pick.name), pick.exact, True, pick.description) for pick in picks]
    if not found:
        for model in repository.search_models(name.term, compatibility_types=formats):
            place = wanted.of_search_result(model.search_result.identifier)
            found.append(Found(place, model.is_exact_match(), model.is_staff_pick(), ""))
    return found


def choose_place(found: list[Found], name: Wanted, choices: Choices, output: Output) -> Place:
    """The one that is meant, after asking where that is not clear.

    Raises:
        LMStudioRuntimeError: there is none, or there are several, and nobody to ask.
    """
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
        if choices.takes_first:
            raise LMStudioRuntimeError(otherwise)
    else:
        labels = ", ".join(model.place.label for model in found)
        otherwise = f"{name.term!r} may be any of {labels}. Give owner and name of one of them."
    if choices.takes_first:
        output.warn(f"{len(found)} models match {name.term!r}; taking {found[0].place.label}")
        return found[0].place
    return found[output.choose("Which model?", [model.place.label for model in found], otherwise)].place


# What of it ----------------------------------------------------------------------------------------------------------


@contextmanager
def planned(
    client: Client, place: Place, quantization: str | None, choices: Choices
) -> Iterator[ArtifactDownloadPlanner]:
    """A plan that is ready, for the first source of *place* that the server knows."""
    preference: list[dict[str, str]] = []
    if place.file is not None:
        preference.append({"type": "fileName", "fileName": place.file})
    if quantization is not None:
        preference.append({"type": "quantName", "quantName": quantization})
    options: Any = {"resolution_preference": preference or None, "compatibility_types": choices.formats}
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


def model_nodes(planner: ArtifactDownloadPlanner) -> list[tuple[int, Any]]:
    """The models of the plan, and where they are in it."""
    return [(place, node) for place, node in enumerate(planner.get_plan().nodes) if node.type == "model"]


def option_row(option: ArtifactDownloadPlanDownloadOptionInfo) -> list[str]:
    """Name, quantization, format, size, where it fits, and notes."""
    notes = ("recommended" if option.recommended else "", _STATES.get(option.availability, option.availability))
    return [
        option.display_name,
        option.quant_name or "",
        _FORMATS.get(option.compatibility_type, option.compatibility_type),
        disk_size(option.size_bytes),
        _FITS.get(option.fit_estimation, option.fit_estimation),
        ", ".join(filter(None, notes)),
    ]


def _select(planner: ArtifactDownloadPlanner, place: Place, name: Wanted, choices: Choices, output: Output) -> None:
    """Let the user choose, if he wants to; see that what is chosen is what he has named."""
    for number, node in model_nodes(planner):
        options = node.download_options or []
        if choices.selects and len(options) > 1:
            rows = [[cell for cell in option_row(option) if cell] for option in options]
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


def _download(planner: ArtifactDownloadPlanner, place: Place, choices: Choices, output: Output) -> Fetched:
    """Do what is planned; returns what that was."""
    plan = planner.get_plan()
    chosen = [node.selected for _, node in model_nodes(planner) if node.selected is not None]
    quantization = next((model.quant_name for model in chosen if model.quant_name), None)
    label = place.label if quantization is None else f"{place.label} {quantization}"
    size_bytes = round(sum(model.size_bytes for model in chosen)) or plan.download_size_bytes
    fetched = Fetched(place.label, None, quantization, size_bytes, plan.download_action == "none")
    if fetched.was_there:
        output.info(f"{label} is on the server's disk already.")
        return fetched
    size = disk_size(plan.download_size_bytes)
    _warn_of_size(planner, label, output)
    is_asking = not choices.takes_first and output.can_ask
    if is_asking and not output.confirm(f"Download {label} ({size})?", "Give --yes."):
        raise LMStudioRuntimeError("Nothing was downloaded.")
    with output.timed() as elapsed:
        with output.downloading(f"Downloading {label}") as report:
            planner.download(report)
        output.info(f"Downloaded {label} ({size}) in {elapsed()}.")
    return fetched


def _warn_of_size(planner: ArtifactDownloadPlanner, label: str, output: Output) -> None:
    for _, node in model_nodes(planner):
        index = node.selected_download_option_index
        if isinstance(index, int) and node.download_options[index].fit_estimation == "willNotFit":
            output.warn(f"{label} may not fit into the memory of the server's machine")


def _model_key(client: Client, place: Place, fetched: Fetched, choices: Choices) -> str | None:
    """The key of what is on the disk now: the server says it with another plan, not with the download."""
    with planned(client, place, fetched.quantization, choices) as planner:
        for _, node in model_nodes(planner):
            for model in (node.selected, node.already_owned):
                if model is not None and model.model_key is not None:
                    return str(model.model_key)
    return None
