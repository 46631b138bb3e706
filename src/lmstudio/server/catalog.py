"""The models that the server can load: their keys, and which one a name means."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from lmstudio._near import near_matches
from lmstudio.server.model_file import (
    EMBEDDING_PREFIX,
    InvalidModelFileError,
    key_of_file_name,
    key_of_repository,
    quantization_in_name,
    read_model_file,
    shard_number,
)
from lmstudio.server.models_folder import ModelsFolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lmstudio.server.engine.base import ModelFile

__all__ = [
    "Catalog",
    "InvalidModelFileError",
    "ModelNotFoundError",
    "distinct_keys",
    "is_name_of",
    "quantization_in_name",
    "read_model_file",
    "shard_number",
]

_LONGEST_WANTED: Final = 200


class ModelNotFoundError(LookupError):
    """No model has the name."""

    def __init__(self, key: str, near_matches: Sequence[str], available: Sequence[str]) -> None:
        offered = f"Did you mean {' or '.join(near_matches)}?" if near_matches else f"There are: {_listing(available)}."
        super().__init__(f"No model matches {key!r}. {offered}")
        self.key = key
        self.near_matches: list[str] = list(near_matches)
        """Keys that look like it, the nearest first."""


def _listing(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:10]) or "none"
    return f"{shown} and {len(keys) - 10} more" if len(keys) > 10 else shown


class Catalog:
    """Models under unique keys: those that it was given, and those in a folder."""

    def __init__(self, models: Iterable[ModelFile] = (), folder: ModelsFolder | None = None) -> None:
        """A file of *folder* takes the place of a given model with the same path."""
        self._given: tuple[ModelFile, ...] = tuple(dict.fromkeys(models))
        self._folder = folder
        self._index: _Index | None = None
        self._found: tuple[ModelFile, ...] = ()

    @classmethod
    def from_files(cls, paths: Iterable[str | Path]) -> Catalog:
        """The models in these files.

        Raises:
            InvalidModelFileError: one of them cannot be used; the message names it.
        """
        return cls(read_model_file(path) for path in paths)

    @classmethod
    def shipped(cls, folder: ModelsFolder | None = None) -> Catalog:
        """The models that come with this package, and those in *folder*."""
        from lmstudio.server.models import SHIPPED_MODELS_DIR

        return cls(ModelsFolder(SHIPPED_MODELS_DIR).models(), folder)

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """All that can be loaded now; of a model in several quantizations each one."""
        return self._now().models

    @property
    def listed(self) -> tuple[ModelFile, ...]:
        """All models; of one in several quantizations that one which its key means."""
        return tuple(model for model in self.models if model.is_selected)

    def variants(self, model: ModelFile) -> list[ModelFile]:
        """The quantizations of *model*, if there are several."""
        return [each for each in self.models if each.variant_of and each.model_key in model.variants]

    def add(self, model: ModelFile) -> ModelFile:
        """Offer *model*, too, or instead of the one with the same path.

        Returns the model under the key that it got.
        """
        others = tuple(given for given in self._given if given.path != model.path)
        is_found = self._folder is not None and model.path in {found.path for found in self._folder.models()}
        # What is in the folder is offered for as long as it is there.
        self._given, self._index = others if is_found else (*others, model), None
        return next(each for each in self.models if each.path == model.path)

    def matching(self, name: str) -> list[ModelFile]:
        """The models that *name* could mean; more than one if it is not clear. Of one in several quantizations, all.

        *name* is, in any case of letters: a model key, also with ``@quantization``; the path, absolute or as listed, or
        an end of it; publisher/repo; a repo; a file name.

        Raises:
            ModelNotFoundError: nothing matches.
        """
        wanted, index = _comparable(name), self._now()
        keyed = [model for model in index.models if wanted in (model.model_key.lower(), model.listed_key.lower())]
        matches = keyed or [model for model, names in index.names if wanted in names]
        if not matches:
            keys = list(dict.fromkeys(key for model in index.models for key in (model.listed_key, model.model_key)))
            # Cut, because the search takes time and memory by the length.
            raise ModelNotFoundError(name, near_matches(wanted[:_LONGEST_WANTED], keys), keys)
        return sorted(matches, key=lambda model: not model.is_selected)

    def resolve(self, name: str) -> tuple[ModelFile, list[str]]:
        """The model that *name* means, and the keys of all that it could mean, if they are several.

        Raises:
            ModelNotFoundError: nothing matches.
        """
        matches = self.matching(name)
        return matches[0], distinct_keys(matches)

    def _now(self) -> _Index:
        found = () if self._folder is None else self._folder.models()
        if self._index is None or found is not self._found:
            paths = {model.path for model in found}
            given = (model for model in self._given if model.path not in paths)
            self._found, self._index = found, _Index([*given, *found])
        return self._index


class _Index:
    """The models at one moment, with their keys and names."""

    def __init__(self, models: Sequence[ModelFile]) -> None:
        self.models: tuple[ModelFile, ...] = tuple(_with_unique_keys(models))
        self.names = [(model, _names(model)) for model in self.models]


def distinct_keys(models: Iterable[ModelFile]) -> list[str]:
    """The keys of different models; empty if they are all variants of one, because then the choice is clear."""
    keys = list(dict.fromkeys(model.listed_key for model in models))
    return keys if len(keys) > 1 else []


def is_name_of(name: str, model: ModelFile) -> bool:
    """Whether *model* may be called so."""
    return _comparable(name) in _names(model)


def _comparable(name: str) -> str:
    return name.strip().replace("\\", "/").lower().removesuffix("/")


def _names(model: ModelFile) -> frozenset[str]:
    """Everything a model may be called, in lower case."""
    path = PurePosixPath(model.path)
    base = re.sub(r"(@[^@]*|:\d+)+$", "", model.listed_key).rpartition("/")[2]
    bases = {base, key_of_file_name(path.name), key_of_repository(path)}
    if model.kind == "embedding":
        plain = {each.removeprefix(EMBEDDING_PREFIX) for each in bases}
        bases = plain | {EMBEDDING_PREFIX + each for each in plain}
    bases |= {f"{model.publisher}/{each}" for each in bases}
    if len(path.parts) == 3:
        bases |= {str(path.parent), path.parts[1]}
    names = {model.model_key, model.listed_key, path.name, path.stem, str(path), "/".join(path.parts[1:])} | bases
    if model.quantization:
        names |= {f"{each}@{model.quantization[0]}" for each in bases}
    if model.file is not None:
        names.add(model.file.as_posix())
    return frozenset(name.lower() for name in names)


def _with_unique_keys(models: Sequence[ModelFile]) -> Iterator[ModelFile]:
    """The models in their order, no two of them with the same key."""
    repositories: defaultdict[tuple[str, str], list[ModelFile]] = defaultdict(list)
    for model in _told_apart_by_file(models):
        repositories[model.model_key, str(PurePosixPath(model.path).parent).lower()].append(model)
    publishers: defaultdict[str, list[str]] = defaultdict(list)
    for key, repository in repositories:
        publishers[key].append(repository)
    taken: set[str] = set()
    for (key, _repository), files in repositories.items():
        is_shared = len(publishers[key]) > 1
        base = _free_key(f"{files[0].publisher.lower()}/{key}" if is_shared else key, taken)
        if len({file.quantization for file in files}) > 1:
            yield from _as_variants(base, files, taken)
        else:
            yield replace(files[0], model_key=base)
            yield from (replace(file, model_key=_free_key(base, taken)) for file in files[1:])


def _told_apart_by_file(models: Sequence[ModelFile]) -> Iterator[ModelFile]:
    """The models, where a repository has several their keys by the names of their files."""
    stems: defaultdict[tuple[str, PurePosixPath], set[str]] = defaultdict(set)
    for model in models:
        path = PurePosixPath(model.path)
        stems[model.model_key, path.parent].add(key_of_file_name(path.name))
    for model in models:
        path = PurePosixPath(model.path)
        if len(stems[model.model_key, path.parent]) > 1:
            prefix = EMBEDDING_PREFIX if model.kind == "embedding" else ""
            yield replace(model, model_key=prefix + key_of_file_name(path.name).removeprefix(prefix))
        else:
            yield model


def _as_variants(base: str, files: Sequence[ModelFile], taken: set[str]) -> list[ModelFile]:
    """*files*, which are the same model, as the variants of *base*."""
    names = [file.quantization[0].lower() if file.quantization else "unknown" for file in files]
    keys = [_free_key(f"{base}@{name}", taken) for name in names]
    best = min(range(len(files)), key=lambda index: _preference(files[index]))
    ordered = (keys[best], *(key for key in keys if key != keys[best]))
    return [
        replace(file, model_key=key, variant_of=base, variants=ordered) for file, key in zip(files, keys, strict=True)
    ]


def _preference(file: ModelFile) -> tuple[bool, bool, int, int]:
    """The lower the better: LM Studio's usual download first, then the smallest that is not worse, then the largest."""
    name, bits = file.quantization or ("", 0)
    return name != "Q4_K_M", bits < 4, abs(bits - 4), file.size_bytes


def _free_key(key: str, taken: set[str]) -> str:
    """*key*, or if that is in *taken* with a number. It is taken from now on."""
    number, free = 1, key
    while free in taken:
        number += 1
        free = f"{key}:{number}"
    taken.add(free)
    return free
