"""What one GGUF file holds, and how LM Studio would name the model in it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Final

from lmstudio.server._gguf import GgufHeader, InvalidModelFileError, read_gguf
from lmstudio.server.engine.base import ModelFile, ModelKind

__all__ = [
    "InvalidModelFileError",
    "is_image_part",
    "key_of_file_name",
    "key_of_repository",
    "quantization_in_name",
    "read_model_file",
    "shard_number",
]

ASSUMED_CONTEXT_LENGTH: Final = 4096
"""For a file that does not name its own; the engine has the last word."""
LOCAL_PUBLISHER: Final = "local"
"""Publisher of a file whose place does not tell."""

EMBEDDING_PREFIX: Final = "text-embedding-"
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
    r"[-_.@](?:(?:UD|i1)[-_.])?"  # how some publishers mark that they chose the types of the tensors one by one
    r"((?:IQ\d_(?:XXS|XS|NL|S|M|L))|(?:Q\d_K(?:_(?:XL|S|M|L))?)|(?:Q\d_\d)|(?:TQ\d_\d)|MXFP4|BF16|F16|F32)$",
    re.IGNORECASE,
)
_SHARD: Final = re.compile(r"-(\d{5})-of-(\d{5})$")


def read_model_file(path: str | Path, *, path_in_catalog: str | None = None) -> ModelFile:
    """Describe the GGUF file at *path*.

    *path_in_catalog* is ``publisher/repo/file.gguf``. Without it, a file in ``.../models/publisher/repo/`` is named so,
    and any other belongs to the publisher "local".

    Raises:
        InvalidModelFileError: it cannot be read, is damaged or incomplete, or holds no model of its own.
    """
    file = Path(path)
    name, number = shard_number(file.name)
    if number > 1:
        raise InvalidModelFileError(f"{file} is part {number} of the model {name!r}: name its first part instead.")
    parts = _parts(file)
    header = read_gguf(file)
    architecture = header.text("general.architecture")
    if architecture is None:
        raise InvalidModelFileError(f"{file} is not a usable GGUF file: it names no architecture.")
    if architecture == "clip" or header.text("general.type") == "mmproj":
        raise InvalidModelFileError(f"{file} is the image part of a model, not a model: name the model's file instead.")
    catalog_path = PurePosixPath(path_in_catalog or _path_in_catalog(file))
    publisher = catalog_path.parts[0] if len(catalog_path.parts) > 1 else LOCAL_PUBLISHER
    template = header.text("tokenizer.chat_template") or ""
    kind = _kind(header, architecture)
    return ModelFile(
        kind=kind,
        model_key=_model_key(kind, catalog_path),
        path=str(catalog_path),
        file=file.absolute(),
        display_name=header.text("general.name") or header.text("general.basename") or _stem(file.name),
        publisher=publisher,
        size_bytes=_size_bytes(parts),
        max_context_length=header.integer(f"{architecture}.context_length") or ASSUMED_CONTEXT_LENGTH,
        architecture=architecture,
        params_string=header.text("general.size_label") or _params_string(_element_count(header, parts)),
        quantization=_quantization(file, header),
        vision=any(is_image_part(sibling.name) for sibling in file.parent.glob("*mmproj*") if sibling != file),
        trained_for_tool_use=re.search(r"\btools\b", template) is not None,
        can_reason=re.search(r"\benable_thinking\b|<think>", template) is not None,
        expert_count=header.integer(f"{architecture}.expert_count") or None,
    )


def _kind(header: GgufHeader, architecture: str) -> ModelKind:
    pools = header.integer(f"{architecture}.pooling_type")
    return "embedding" if architecture in _EMBEDDING_ARCHITECTURES or pools else "llm"


def _path_in_catalog(file: Path) -> str:
    parts = file.absolute().parts
    if len(parts) > 4 and parts[-4] == "models":
        return "/".join(parts[-3:])
    key = key_of_file_name(file.name)
    if key in ("model", "ggml-model", ""):  # names that tell nothing
        key = _key(file.absolute().parent.name)
    return f"{LOCAL_PUBLISHER}/{key}/{file.name}"


def is_image_part(file_name: str) -> bool:
    """Whether the file holds what lets the model beside it see."""
    return "mmproj" in file_name.lower() and file_name.lower().endswith(".gguf")


def quantization_in_name(file_name: str) -> str | None:
    """The quantization that the name of a model's file tells, in upper case."""
    found = _QUANTIZATION.search(_stem(file_name))
    return found[1].upper() if found else None


def shard_number(file_name: str) -> tuple[str, int]:
    """The name without the number of the part, and that number; 0 for a model in one file."""
    shard = _SHARD.search(Path(file_name).stem)
    return (_stem(file_name), int(shard[1])) if shard else (file_name, 0)


def _without_ending(file_name: str) -> str:
    return file_name[: -len(".gguf")] if file_name.lower().endswith(".gguf") else file_name


def _stem(file_name: str) -> str:
    """The file's name without its ending and the number of its part."""
    return _SHARD.sub("", _without_ending(file_name))


def _key(name: str) -> str:
    """*name* as LM Studio forms keys: lower case, no format, no quantization, no spaces."""
    plain = re.sub(r"[-_.]gguf$", "", name.strip(), flags=re.IGNORECASE)
    return re.sub(r"\s+", "-", _QUANTIZATION.sub("", plain).lower())


def key_of_file_name(file_name: str) -> str:
    """The key of a model that only its file's name tells apart from others."""
    return _key(_stem(file_name))


def key_of_repository(path: PurePosixPath) -> str:
    """The key of a model that is alone in its repository, or of all its quantizations."""
    return (_key(path.parts[-2]) if len(path.parts) > 1 else "") or key_of_file_name(path.name)


def _model_key(kind: ModelKind, path: PurePosixPath) -> str:
    """The key by the repository. Several models in one repository get theirs from the catalogue."""
    key = key_of_repository(path)
    return EMBEDDING_PREFIX + key.removeprefix(EMBEDDING_PREFIX) if kind == "embedding" else key


def _parts(file: Path) -> list[Path]:
    """All files of the model that begins with *file*.

    Raises:
        InvalidModelFileError: one is missing.
    """
    plain = _without_ending(file.name)
    shard = _SHARD.search(plain)
    if shard is None or not file.exists():
        return [file]
    prefix, ending = plain[: shard.start()], file.name[len(plain) :]
    count = int(shard[2])
    parts = [file.with_name(f"{prefix}-{number:05}-of-{count:05}{ending}") for number in range(1, count + 1)]
    missing = next((part for part in parts if not part.exists()), None)
    if missing is not None:
        raise InvalidModelFileError(f"{file} is not complete: {missing.name} is missing beside it.")
    return parts


def _size_bytes(parts: list[Path]) -> int:
    try:
        return sum(part.stat().st_size for part in parts)
    except OSError as error:
        raise InvalidModelFileError(f"Cannot read {parts[0]}: {error.strerror or error}.") from error


def _element_count(header: GgufHeader, parts: list[Path]) -> int:
    return header.element_count + sum(read_gguf(part).element_count for part in parts[1:])


def _quantization(file: Path, header: GgufHeader) -> tuple[str, int] | None:
    # The name first: two files that differ in the choice of types say the same in their headers.
    kind = header.integer("general.file_type")
    name = quantization_in_name(file.name) or (None if kind is None else _FILE_TYPES.get(kind))
    return None if name is None else (name, int("".join(re.findall(r"\d+", name)[:1])))


def _params_string(elements: int) -> str | None:
    """A count as "2.6M" or "13B"; None for an empty file."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K"), (1, "")):
        if elements >= unit:
            value = elements / unit
            return f"{value:.1f}".removesuffix(".0") + letter if value < 10 else f"{value:.0f}{letter}"
    return None
