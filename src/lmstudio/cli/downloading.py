"""Getting a model onto the server's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.errors import LMStudioRuntimeError

from .output import disk_size

if TYPE_CHECKING:
    from lmstudio._sdk_models import DownloadProgressUpdate
    from lmstudio._surface.sync_repository import AvailableModel, ModelDownloadOption
    from lmstudio.sync_api import Client

    from .output import Output


def download(client: Client, output: Output, wanted: str) -> str:
    """Download the model that *wanted* finds, after asking where that is not clear; returns its key.

    Raises:
        LMStudioRuntimeError: there is no such model, or several, and nobody to ask.
    """
    option = _chosen_option(_chosen_model(client, output, wanted), output)
    size = disk_size(option.size_bytes)
    with output.progress(f"Downloading {option.name} ({size})") as report:

        def show(update: DownloadProgressUpdate) -> None:
            report(update.downloaded_bytes / (update.total_bytes or 1))

        key = option.download(show)
    output.info(f"Downloaded {key} ({size}).")
    return key


def _chosen_model(client: Client, output: Output, wanted: str) -> AvailableModel:
    found = client.repository.search_models(wanted)
    exact = [model for model in found if model.is_exact_match()]
    if not found:
        raise LMStudioRuntimeError(f"The server knows no model to download that matches {wanted!r}.")
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    names = [model.name for model in found]
    return found[
        output.choose("Which model?", names, f"{wanted!r} may be any of {', '.join(names)}. Name one of them.")
    ]


def _chosen_option(model: AvailableModel, output: Output) -> ModelDownloadOption:
    options = model.get_download_options()
    if not options:
        raise LMStudioRuntimeError(f"The server can use none of the files of {model.name}.")
    best = [option for option in options if option.is_recommended()] or options
    if len(options) == 1 or not output.can_ask:
        return best[0]
    shown = [
        f"{option.quantization or option.name}  ({disk_size(option.size_bytes)}"
        f"{', recommended' if option.is_recommended() else ''})"
        for option in options
    ]
    return options[output.choose("Which one?", shown, "Nothing was chosen.")]
