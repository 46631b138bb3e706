"""Which model a user means."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio._near import near_matches
from lmstudio.errors import LMStudioRuntimeError

from .output import disk_size
from .state import StateFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.sync_api import LLM, Client, EmbeddingModel

    from .output import Output

    Handle: TypeAlias = "LLM | EmbeddingModel"

_SHOW_ALL = "`lmstudio ls` shows what there is."


def downloaded(client: Client, kind: str | None = None) -> list[Any]:
    """What the server knows of the models on its disk, sorted by key; those of *kind*."""
    infos = [model.info for model in client.list_downloaded_models(kind)]
    return sorted(infos, key=lambda info: info.model_key)


def matching(wanted: str, infos: Sequence[Any]) -> list[Any]:
    """The models that *wanted* may mean: that with this key or path, else all that contain it, or its words in order.

    Case does not count.
    """
    text = wanted.strip().lower()
    names = [(info, (info.model_key.lower(), info.path.lower())) for info in infos]
    same = [info for info, known in names if text in known]
    within = [info for info, known in names if any(text in name for name in known)]
    words = re.compile(".*".join(map(re.escape, re.findall(r"\w+", text))) or "$^")
    return same or within or [info for info, known in names if any(map(words.search, known))]


def choose_downloaded(
    client: Client, output: Output, wanted: str | None, *, takes_first: bool | None = None, kind: str | None = None
) -> Any:
    """What the server knows of the model on its disk that *wanted* means; the user is asked where that is not clear,
    with the models first that were loaded last.

    *takes_first*: what `--yes` says, so that nobody is asked; None for a command that does not have it.

    Raises:
        LMStudioRuntimeError: there is no such model, or several, and nobody to ask.
    """
    infos = downloaded(client, kind)
    if not infos:
        raise LMStudioRuntimeError("The server has no such models. Download one first.")
    if wanted is None:
        otherwise = f"Name the model, by its key or a part of it. {_SHOW_ALL}"
        if takes_first:
            raise LMStudioRuntimeError(otherwise)
        return _ask(output, infos, otherwise)
    found = matching(wanted, infos)
    keys = [info.model_key for info in found]
    if not found:
        near = near_matches(wanted, [info.model_key for info in infos])
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise LMStudioRuntimeError(f"No downloaded model matches {wanted!r}. {hint}{_SHOW_ALL}")
    if takes_first and len(found) > 1:
        output.warn(f"{len(found)} models match {wanted!r}; taking {keys[0]}")
    if takes_first or len(found) == 1:
        return found[0]
    more = "" if takes_first is None else ", or --yes for the first one"
    return _ask(output, found, f"{wanted!r} may be any of {', '.join(keys)}. Give the whole key{more}.")


def _ask(output: Output, infos: Sequence[Any], otherwise: str) -> Any:
    recent = StateFolder.default().recent_models
    rank = {key: place for place, key in enumerate(recent)}
    offered = sorted(infos, key=lambda info: rank.get(info.model_key, len(rank)))
    options = [f"{info.model_key}  ({info.type}, {disk_size(info.size_bytes)})" for info in offered]
    return offered[output.choose("Which model?", options, otherwise)]


def usable(client: Client, output: Output, wanted: str | None, kind: str | None = None) -> Handle:
    """The loaded instance that *wanted* names, or the model on the disk that it means, which is loaded if need be.

    Without *wanted*, the only one that is loaded.

    Raises:
        LMStudioRuntimeError: there is no such model, or several, and nobody to ask.
    """
    loaded: list[Handle] = client.list_loaded_models(kind)
    found = [handle for handle in loaded if wanted in (None, handle.identifier)]
    if len(found) == 1:
        return found[0]
    if wanted is not None:
        info = choose_downloaded(client, output, wanted, kind=kind)
        session = client.llm if info.type == "llm" else client.embedding
        with output.progress(f"Loading {info.model_key}") as report:
            return session.model(info.model_key, on_load_progress=report)
    what = {"llm": "language model", "embedding": "embedding model"}.get(str(kind), "model")
    if not found:
        raise LMStudioRuntimeError(f"No {what} is loaded. Name one with --model. {_SHOW_ALL}")
    names = ", ".join(handle.identifier for handle in found)
    raise LMStudioRuntimeError(f"Several models are loaded: {names}. Name one of them with --model.")


def read_texts(given: Sequence[str]) -> list[str]:
    """The texts of the command line, else all of standard input as one.

    Raises:
        LMStudioRuntimeError: there are none, and a terminal is the input; or what is piped in is not text.
    """
    if given:
        return list(given)
    if sys.stdin is None or sys.stdin.isatty():
        raise LMStudioRuntimeError("There is no text: give it as an argument, or pipe it in.")
    return [read_piped()]


def read_piped() -> str:
    """All of standard input.

    Raises:
        LMStudioRuntimeError: it is not text.
    """
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise LMStudioRuntimeError(f"What is piped in is not text: {error}.") from None
