"""What a user wants to download, by the name that he gives it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from lmstudio.errors import LMStudioRuntimeError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ModelSearchResultIdentifier

_HUGGING_FACE: Final = ("huggingface.co", "www.huggingface.co", "hf.co")
_HUB: Final = ("lmstudio.ai", "www.lmstudio.ai", "hub.lmstudio.ai")
_HUB_SECTIONS: Final = ("models", "model")
_ADDRESS: Final = re.compile(rf"https?://|({'|'.join(map(re.escape, (*_HUGGING_FACE, *_HUB)))})/", re.IGNORECASE)
_NAME: Final = re.compile(r"[^/\s]+/[^/\s]+")
_HUB_OWNER: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HUB_NAME: Final = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
"""What the hub allows."""


class Place(NamedTuple):
    """Where a model is."""

    owner: str
    name: str
    sources: tuple[str, ...]
    """Where it may be, what is more likely first: hub, huggingface."""
    file: str | None = None
    """The one of its files that is wanted."""

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.owner}/{self.name}"


class Wanted(NamedTuple):
    """A name, taken apart."""

    place: Place | None
    term: str | None
    """What to look for, if there is no place."""
    quantization: str | None


def read(text: str | None) -> Wanted:
    """Take *text* apart; None or nothing stands for whatever is recommended.

    Raises:
        LMStudioRuntimeError: it is an address, but not that of a model.
    """
    name = (text or "").strip()
    if not name:
        return Wanted(None, None, None)
    name, at, quantization = name.partition("@")
    if not name or (at and not quantization):
        raise LMStudioRuntimeError(f"{text!r} is no model: give it as NAME or NAME@QUANTIZATION.")
    quant = quantization or None
    if _ADDRESS.match(name):
        return Wanted(_at_address(name), None, quant)
    if _NAME.fullmatch(name):
        return Wanted(_somewhere(*name.split("/")), None, quant)
    return Wanted(None, name, quant)


def at_hub(owner: str, name: str) -> Place:
    """An artifact of the hub."""
    return Place(owner, name, ("hub",))


def of_search_result(identifier: ModelSearchResultIdentifier) -> Place:
    """Where a model is that the server has found."""
    owner, _, name = identifier.identifier.partition("/")
    return Place(owner, name, ("huggingface",)) if identifier.type == "hf" else _somewhere(owner, name)


def _somewhere(owner: str, name: str) -> Place:
    """Both have names of this form, but the hub has no capitals in them."""
    is_of_hub = _HUB_OWNER.fullmatch(owner) and _HUB_NAME.fullmatch(name)
    return Place(owner, name, ("hub", "huggingface") if is_of_hub else ("huggingface",))


def _at_address(text: str) -> Place:
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host = (parts.hostname or "").lower()
    except ValueError:
        raise LMStudioRuntimeError(f"{text!r} is not a valid address.") from None
    path = [unquote(part) for part in parts.path.split("/") if part]
    if host in _HUGGING_FACE and len(path) >= 2 and path[0] not in ("datasets", "spaces"):
        shown = parse_qs(parts.query).get("show_file_info", [""])[0]
        file = (shown or (path[-1] if len(path) > 4 else "")).rpartition("/")[2]  # owner/name/blob/main/file
        return Place(path[0], path[1], ("huggingface",), file or None)
    if host in _HUB:
        names = path[1:] if path[:1] and path[0] in _HUB_SECTIONS else path
        if len(names) == 2:
            return at_hub(names[0], names[1])
    raise LMStudioRuntimeError(
        f"{text!r} is not the address of a model. Those look like https://huggingface.co/OWNER/NAME or "
        "https://lmstudio.ai/models/OWNER/NAME."
    )
