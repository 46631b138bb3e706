"""The models that the server can load: what each file holds, and which one a name means."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from lmstudio._near import near_matches
from lmstudio.logs import fields, get_logger
from lmstudio.server._gguf import GgufHeader, InvalidModelFileError, read_gguf
from lmstudio.server.engine.base import ModelFile, ModelKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "Catalog",
    "InvalidModelFileError",
    "ModelNotFoundError",
    "quantization_in_name",
    "read_model_file",
    "shard_number",
]

_logger = get_logger("server")

ASSUMED_CONTEXT_LENGTH: Final = 4096
"""For a file that does not name its own; the engine has the last word."""
LOCAL_PUBLISHER: Final = "local"
"""Publisher of a file whose place does not tell."""

_LONGEST_WANTED: Final = 200
_EMBEDDING_PREFIX: Final = "text-embedding-"
"""LM Studio lists embedding models with it, and finds them without it, too."""
_EMBEDDING_ARCHITECTURES: Final = frozenset(
    [
        "bert",
        "modern-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "neo-bert",
        "eurobert",
        "jina-bert-v2",
        "jina-bert-v3",
        "gemma-embedding",
        "t5encoder",
    ]
)
# general.file_type, llama.cpp's enumeration llama_ftype.
_FILE_TYPES: Final = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
}
_QUANTIZATION: Final = re.compile(
    r"[-_.@]((?:IQ\d_(?:XXS|XS|NL|S|M|L))|(?:Q\d_K(?:_(?:XL|S|M|L))?)|(?:Q\d_\d)|(?:TQ\d_\d)|MXFP4|BF16|F16|F32)$",
    re.IGNORECASE,
)
_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})$")


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


def read_model_file(path: str | Path, *, path_in_catalog: str | None = None) -> ModelFile:
    """Describe the GGUF file at *path*.

    *path_in_catalog* is ``publisher/repo/file.gguf``. Without it, a file in ``.../models/publisher/repo/`` is named so,
    and any other belongs to the publisher "local".

    Raises:
        InvalidModelFileError: it cannot be read, is damaged or incomplete, or holds no model of its own.
    """
    file = Path(path)
    header = read_gguf(file)
    architecture = header.text("general.architecture")
    if architecture is None:
        raise InvalidModelFileError(f"{file} is not a usable GGUF file: it names no architecture.")
    if architecture == "clip" or header.text("general.type") == "mmproj":
        raise InvalidModelFileError(f"{file} is the image part of a model, not a model: name the model's file instead.")
    catalog_path = PurePosixPath(path_in_catalog or _path_in_catalog(file))
    publisher = catalog_path.parts[0] if len(catalog_path.parts) > 1 else LOCAL_PUBLISHER
    template = header.text("tokenizer.chat_template") or ""
    return ModelFile(
        kind=_kind(header, architecture),
        model_key=_base_key(file),
        path=str(catalog_path),
        file=file.absolute(),
        display_name=header.text("general.name") or header.text("general.basename") or _stem(file),
        publisher=publisher,
        size_bytes=_size_bytes(file),
        max_context_length=header.integer(f"{architecture}.context_length") or ASSUMED_CONTEXT_LENGTH,
        architecture=architecture,
        params_string=header.text("general.size_label") or _params_string(header.element_count),
        quantization=_quantization(file, header),
        vision=any(sibling != file for sibling in file.parent.glob("*mmproj*.gguf")),
        trained_for_tool_use=re.search(r"\btools\b", template) is not None,
        can_reason=re.search(r"\benable_thinking\b|<think>", template) is not None,
    )


def _kind(header: GgufHeader, architecture: str) -> ModelKind:
    pools = header.integer(f"{architecture}.pooling_type")
    return "embedding" if architecture in _EMBEDDING_ARCHITECTURES or pools else "llm"


def _path_in_catalog(file: Path) -> str:
    parts = file.absolute().parts
    if len(parts) > 4 and parts[-4] == "models":
        return "/".join(parts[-3:])
    return f"{LOCAL_PUBLISHER}/{_base_key(file)}/{file.name}"


def quantization_in_name(file_name: str) -> str | None:
    """The quantization that the name of a model's file tells, in upper case."""
    found = _QUANTIZATION.search(_stem(Path(file_name)))
    return found[1].upper() if found else None


def shard_number(file_name: str) -> tuple[str, int]:
    """The name without the number of the part, and that number; 0 for a model in one file."""
    shard = _SHARD.search(Path(file_name).stem)
    return (_stem(Path(file_name)), int(shard[1])) if shard else (file_name, 0)


def _stem(file: Path) -> str:
    """The file's name without its ending and the number of its part."""
    return _SHARD.sub("", file.name[: -len(".gguf")] if file.name.lower().endswith(".gguf") else file.name)


def _base_key(file: Path) -> str:
    """The model's name as LM Studio forms keys: lower case, no quantization, no spaces."""
    stem = _QUANTIZATION.sub("", _stem(file))
    if stem.lower() in ("model", "ggml-model", ""):
        stem = re.sub(r"[-_.]gguf$", "", file.absolute().parent.name, flags=re.IGNORECASE)
    return re.sub(r"\s+", "-", stem.lower())


def _size_bytes(file: Path) -> int:
    """The size of the file, or of all parts of a model in several files."""
    shard = _SHARD.search(file.name[: -len(".gguf")])
    if shard is None:
        return file.stat().st_size
    prefix = file.name[: shard.start()]
    return sum(part.stat().st_size for part in file.parent.glob("*.gguf") if part.name.startswith(f"{prefix}-0"))


def _quantization(file: Path, header: GgufHeader) -> tuple[str, int] | None:
    in_name = _QUANTIZATION.search(_stem(file))
    kind = header.integer("general.file_type")
    name = None if kind is None else _FILE_TYPES.get(kind)
    if name is None:
        if in_name is None:
            return None
        name = in_name[1].upper()
    return name, int("".join(re.findall(r"\d+", name)[:1]))


def _params_string(elements: int) -> str | None:
    """A count as "2.6M" or "13B"; None for an empty file."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K"), (1, "")):
        if elements >= unit:
            value = elements / unit
            return f"{value:.1f}".removesuffix(".0") + letter if value < 10 else f"{value:.0f}{letter}"
    return None


class Catalog:
    """Models under unique keys."""

    def __init__(self, models: Iterable[ModelFile] = ()) -> None:
        self.models: tuple[ModelFile, ...] = tuple(_with_unique_keys(list(dict.fromkeys(models))))
        self._names = [(model, _names(model)) for model in self.models]

    @classmethod
    def from_files(cls, paths: Iterable[str | Path]) -> Catalog:
        """The models in these files.

        Raises:
            InvalidModelFileError: one of them cannot be used; the message names it.
        """
        return cls(read_model_file(path) for path in paths)

    @classmethod
    def shipped(cls) -> Catalog:
        """The models that come with this package."""
        from lmstudio.server.models import SHIPPED_MODELS_DIR

        files = sorted(SHIPPED_MODELS_DIR.glob("*/*/*.gguf"))
        return cls(
            read_model_file(file, path_in_catalog=file.relative_to(SHIPPED_MODELS_DIR).as_posix()) for file in files
        )

    @classmethod
    def from_folder(cls, folder: Path) -> Catalog:
        """The models in a folder of LM Studio's layout. Files that cannot be used are left out, with a warning."""
        models = []
        for file in sorted(folder.glob("*/*/*.gguf")):
            if shard_number(file.name)[1] > 1 or "mmproj" in file.name.lower():
                continue
            try:
                models.append(read_model_file(file, path_in_catalog=file.relative_to(folder).as_posix()))
            except InvalidModelFileError as error:
                _logger.warning("Left out of the models folder: %s", error, extra=fields())
        return cls(models)

    def add(self, model: ModelFile) -> ModelFile:
        """Offer *model*, too, or instead of the one with the same path. What else is there keeps its key.

        Returns the model under the key that it got.
        """
        others = [other for other in self.models if other.path != model.path]
        taken = {other.model_key for other in others}
        added = _with_free_key(model, taken, taken)
        self.models = (*others, added)
        self._names = [(each, _names(each)) for each in self.models]
        return added

    def resolve(self, key: str) -> tuple[ModelFile, list[str]]:
        """The model that *key* means, and the keys of all that it could mean, if they are several.

        *key* is, in any case of letters: a model key, also with ``@quantization``; the path, absolute or as listed, or
        an end of it; publisher/repo; a repo; a file name.

        Raises:
            ModelNotFoundError: nothing matches.
        """
        wanted = key.strip().replace("\\", "/").lower().removesuffix("/")
        for model in self.models:
            if model.model_key.lower() == wanted:
                return model, []
        matches = [model for model, names in self._names if wanted in names]
        if not matches:
            keys = [model.model_key for model in self.models]
            # Cut, because the search takes time and memory by the length.
            raise ModelNotFoundError(key, near_matches(wanted[:_LONGEST_WANTED], keys), keys)
        return matches[0], [model.model_key for model in matches] if len(matches) > 1 else []


def _names(model: ModelFile) -> frozenset[str]:
    """Everything a model may be called, in lower case."""
    path = PurePosixPath(model.path)
    base = re.sub(r"(@[^@]*|:\d+)+$", "", model.model_key)
    names = {base, f"{model.publisher}/{base}", model.model_key, path.name, path.stem, str(path)}
    if model.quantization:
        quantized = f"{base}@{model.quantization[0]}"
        names |= {quantized, f"{model.publisher}/{quantized}"}
    if len(path.parts) == 3:
        repo = str(path.parent)
        names |= {repo, path.parts[1], "/".join(path.parts[1:])}
        names |= {f"{repo}@{model.quantization[0]}"} if model.quantization else set()
    if model.kind == "embedding":
        plain = base.removeprefix(_EMBEDDING_PREFIX)
        names |= {plain, _EMBEDDING_PREFIX + plain}
    if model.file is not None:
        names.add(model.file.as_posix())
    return frozenset(name.lower() for name in names)


def _with_unique_keys(models: Sequence[ModelFile]) -> list[ModelFile]:
    """The models, those of the same key told apart by their quantization, and if that is the same too, by a number."""
    shared = {key for key, count in Counter(model.model_key for model in models).items() if count > 1}
    unique: dict[str, ModelFile] = {}
    for model in models:
        named = _with_free_key(model, shared, unique)
        unique[named.model_key] = named
    return list(unique.values())


def _with_free_key(model: ModelFile, shared: Collection[str], taken: Collection[str]) -> ModelFile:
    """*model* under a key that is not in *taken*, and that tells its quantization if its own is in *shared*."""
    key = model.model_key
    if key in shared and model.quantization:
        key = f"{key}@{model.quantization[0].lower()}"
    numbered = (key, *(f"{key}:{number}" for number in range(2, len(taken) + 3)))
    return replace(model, model_key=next(name for name in numbered if name not in taken))
