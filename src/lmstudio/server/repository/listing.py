"""What can be downloaded: reading a catalogue, and searching it.

A JSON catalogue looks like this. Addresses are relative to the catalogue's own; `size` (bytes) may be left out for a
local file that exists; `sha256`, `quantization`, `name` (of the file, once downloaded) and `staffPick` are optional.

    {"models": [{"owner": "maker", "name": "heron-1b-GGUF", "staffPick": true, "files": [
        {"path": "files/heron-1b-q4_k_m.gguf"},
        {"url": "https://example.com/heron-1b-q8_0.gguf", "size": 1300000000, "sha256": "9f86d0..."}]}]}
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from lmstudio.server.catalog import quantization_in_name, shard_number
from lmstudio.server.errors import RequestError
from lmstudio.server.repository.fetching import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DownloadCatalog", "DownloadOption", "ListedFile", "ListedModel"]

Source: TypeAlias = Path | str
"""Where the bytes of a file are: a path, or an http address."""

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[\w.+@ -]*[\w+@-])?", re.ASCII)
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_LAYOUT: Final = "*/*/*.gguf"


@dataclass(frozen=True)
class ListedFile:
    """A file of a model."""

    name: str
    """What it is called once it is downloaded."""
    source: Source
    size_bytes: int
    sha256: str | None = None
    quantization: str | None = None

    @property
    def is_image_part(self) -> bool:
        """It serves all other files of the model, and is no model of its own."""
        return "mmproj" in self.name.lower()


@dataclass(frozen=True)
class DownloadOption:
    """What is downloaded together."""

    repository: str
    """owner/name"""
    files: tuple[ListedFile, ...]
    """The first is the one that gets loaded."""

    @property
    def identifier(self) -> str:
        """The path of the model in the models folder: owner/name/file.gguf."""
        return f"{self.repository}/{self.files[0].name}"

    @property
    def quantization(self) -> str | None:
        """Its name, in upper case."""
        return self.files[0].quantization or quantization_in_name(self.files[0].name)

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class ListedModel:
    """One entry of the catalogue."""

    repository: str
    """owner/name"""
    options: tuple[DownloadOption, ...]
    is_staff_pick: bool = False

    def is_called(self, term: str) -> bool:
        """Whether *term* is the name, with or without its owner."""
        name = self.repository.lower()
        return term.strip().lower() in (name, name.partition("/")[2])

    def matches(self, term: str) -> bool:
        """Whether every word of *term* is a part of the name."""
        return all(word in self.repository.lower() for word in term.lower().split())


class DownloadCatalog:
    """The models that can be downloaded. It is read anew whenever it is asked."""

    def __init__(self, source: str | Path | None = None) -> None:
        """*source* is a folder, a JSON file, or the http address of one; None for the models of this package."""
        self._source: Source
        if isinstance(source, str) and re.match(r"https?://", source, re.IGNORECASE):
            self._source = source
        elif source is None:
            from lmstudio.server.models import SHIPPED_MODELS_DIR

            self._source = SHIPPED_MODELS_DIR
        else:
            self._source = Path(source).absolute()

    def check(self) -> None:
        """Raise RequestError if the catalogue cannot be used. One that is far away is not asked for."""
        if isinstance(self._source, Path):
            _read_local(self._source)

    async def models(self) -> list[ListedModel]:
        """All entries, in the catalogue's order.

        Raises:
            RequestError: it cannot be read, or makes no sense; the message says where.
        """
        source = self._source
        if isinstance(source, Path):
            return await asyncio.to_thread(_read_local, source)
        return _read_document(await read_text(source), source)

    async def search(self, term: str, limit: int) -> list[ListedModel]:
        """The entries that match *term*: first the one of that name, then staff picks."""
        found = [model for model in await self.models() if model.matches(term)]
        found.sort(key=lambda model: (not model.is_called(term), not model.is_staff_pick))
        return found[:limit]

    async def model(self, repository: str) -> ListedModel:
        """The entry owner/name. Raises RequestError if there is none."""
        for model in await self.models():
            if model.repository.lower() == repository.lower():
                return model
        raise RequestError(
            f"The catalogue has no model {repository!r}.", suggestion="Search again: the catalogue may have changed."
        )

    async def option(self, identifier: str) -> DownloadOption:
        """The option owner/name/file. Raises RequestError if there is none."""
        for model in await self.models():
            for option in model.options:
                if option.identifier == identifier:
                    return option
        raise RequestError(
            f"The catalogue has no file {identifier!r}.",
            suggestion="Ask for the model's download options again: the catalogue may have changed.",
        )


def _options(repository: str, files: Sequence[ListedFile]) -> tuple[DownloadOption, ...]:
    """One option for each model file; the parts of a model in several files are one."""
    image_parts = [file for file in files if file.is_image_part]
    groups: dict[str, list[ListedFile]] = {}
    for file in files:
        if not file.is_image_part:
            groups.setdefault(shard_number(file.name)[0], []).append(file)
    ordered = (sorted(group, key=lambda file: shard_number(file.name)[1]) for group in groups.values())
    return tuple(DownloadOption(repository, (*group, *image_parts)) for group in ordered)


# Reading -------------------------------------------------------------------------------------------------------------


class _FileEntry(msgspec.Struct, forbid_unknown_fields=True):
    path: str | None = None
    url: str | None = None
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    quantization: str | None = None


class _ModelEntry(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    owner: str
    name: str
    files: list[_FileEntry]
    staff_pick: bool = False


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    models: list[_ModelEntry]


def _read_local(source: Path) -> list[ListedModel]:
    try:
        if source.is_dir():
            return _read_folder(source)
        return _read_document(source.read_text(encoding="utf-8"), source)
    except FileNotFoundError:
        raise RequestError(
            f"There is no catalogue at {source}.", suggestion="Name a folder of models, or a JSON file."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"The catalogue {source} cannot be read: {reason}.") from error


def _read_folder(folder: Path) -> list[ListedModel]:
    repositories: dict[str, list[ListedFile]] = {}
    for path in sorted(folder.glob(_LAYOUT)):
        repository = path.parent.relative_to(folder).as_posix()
        repositories.setdefault(repository, []).append(ListedFile(path.name, path, path.stat().st_size))
    return _listed((name, files, False) for name, files in repositories.items())


def _listed(entries: Iterable[tuple[str, Sequence[ListedFile], bool]]) -> list[ListedModel]:
    models = (ListedModel(name, _options(name, files), is_pick) for name, files, is_pick in entries)
    return [model for model in models if model.options]


def _read_document(text: str, source: Source) -> list[ListedModel]:
    try:
        document = msgspec.json.decode(text, type=_Document)
    except msgspec.MsgspecError as error:
        raise RequestError(f"The catalogue {source} is not valid: {error}.") from error
    entries: dict[str, tuple[str, list[ListedFile], bool]] = {}
    for model in document.models:
        repository = f"{_checked_name(model.owner, source)}/{_checked_name(model.name, source)}"
        if repository.lower() in entries:
            raise RequestError(f"The catalogue {source} is not valid: it has {repository!r} twice.")
        files = [_listed_file(entry, repository, source) for entry in model.files]
        if len({file.name.lower() for file in files}) < len(files):
            raise RequestError(f"The catalogue {source} is not valid: two files of {repository!r} have the same name.")
        entries[repository.lower()] = (repository, files, model.staff_pick)
    return _listed(entries.values())


def _checked_name(name: str, source: Source) -> str:
    """*name*, which becomes a name in the models folder and so must not lead out of it."""
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"The catalogue {source} is not valid: {name[:100]!r} cannot be the name of a file or folder."
        )
    return name


def _listed_file(entry: _FileEntry, repository: str, catalog: Source) -> ListedFile:
    given = [address for address in (entry.path, entry.url) if address is not None]
    if len(given) != 1:
        raise RequestError(f"The catalogue {catalog} is not valid: a file of {repository!r} needs a path or a url.")
    source = _resolved(entry, given[0], catalog)
    path = source.name if isinstance(source, Path) else PurePosixPath(unquote(urlsplit(source).path)).name
    name = _checked_name(entry.name or path, catalog)
    problem = None
    if not name.lower().endswith(".gguf"):
        problem = "is not a GGUF file, the only kind that this server can run"
    elif entry.sha256 is not None and not _SHA256.fullmatch(entry.sha256):
        problem = "has a sha256 that is not 64 hexadecimal digits"
    elif entry.size is not None and entry.size <= 0:
        problem = "has a size that is not positive"
    elif entry.size is None and not (isinstance(source, Path) and source.is_file()):
        problem = "does not exist" if isinstance(source, Path) else "needs its size, because it is not on this machine"
    if problem is not None:
        raise RequestError(f"The catalogue {catalog} is not valid: {name!r} of {repository!r} {problem}.")
    size = entry.size if entry.size is not None else Path(source).stat().st_size
    quantization = entry.quantization.upper() if entry.quantization else None
    return ListedFile(name, source, size, entry.sha256 and entry.sha256.lower(), quantization)


def _resolved(entry: _FileEntry, address: str, catalog: Source) -> Source:
    if entry.path is not None and isinstance(catalog, Path):
        return catalog.parent / address
    url = urljoin(catalog, address) if isinstance(catalog, str) else address
    # A catalogue from elsewhere must not make this server copy its own files.
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise RequestError(f"The catalogue {catalog} is not valid: {address[:100]!r} is not an http address.")
    return url
