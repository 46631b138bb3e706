"""How much memory a model will take, from the header of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lmstudio._sdk_models import EstimatedModelMemoryUsage
from lmstudio.server._gguf import InvalidModelFileError, read_gguf
from lmstudio.server.engine.base import SMALL_MODEL_BYTES

if TYPE_CHECKING:
    from lmstudio.server._gguf import GgufHeader
    from lmstudio.server.engine.base import LoadOptions, ModelFile

__all__ = ["estimate_memory"]

ASSUMED_CONTEXT_LENGTH: Final = 4096
"""What an engine chooses for a model that can do more, when nobody says how much."""
_ASSUMED_SESSIONS: Final = 4
_DEFAULT_BATCH_SIZE: Final = 512
_BITS: Final = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0}
"""Bits per value of a cache, scales included; 4.5 for the other types of 4 bits."""


@dataclass(frozen=True)
class _Shape:
    """What of a transformer decides about memory besides the weights."""

    width: int
    layers: int
    cached_values: int
    """Keys, and as many values, of one token in one layer."""


def estimate_memory(file: ModelFile, options: LoadOptions) -> EstimatedModelMemoryUsage:
    """About how much memory *file* takes when it is loaded with *options*.

    The weights take what the file takes. A language model keeps keys and values of every layer for every token of its
    context, and all need room for the intermediate values of one batch. With the file's header at hand this is close;
    without it, only the order of magnitude is right. Whether a graphics card takes a part of it is decided when the
    model is loaded, so nothing is claimed about that.
    """
    shape = _shape_in_file(file)
    known = shape or _typical_shape(file)
    length = options.context_length or min(file.max_context_length, ASSUMED_CONTEXT_LENGTH)
    context_bytes = _batch_bytes(file, known, length, options)
    if file.kind == "llm":
        context_bytes += _cache_bytes(file, known, length, options)
    model_bytes = file.size_bytes
    if options.draft_model is not None and options.draft_model.is_file():
        model_bytes += options.draft_model.stat().st_size
    return EstimatedModelMemoryUsage(
        confidence="low" if shape is None else "high",
        model_vram_bytes=0,
        context_vram_bytes=0,
        total_vram_bytes=0,
        model_bytes=model_bytes,
        context_bytes=context_bytes,
        total_bytes=model_bytes + context_bytes,
    )


def _cache_bytes(file: ModelFile, shape: _Shape, length: int, options: LoadOptions) -> int:
    is_shared = options.unified_kv_cache
    if is_shared is None:
        is_shared = file.size_bytes >= SMALL_MODEL_BYTES
    tokens = length if is_shared else length * (options.parallel_sessions or _ASSUMED_SESSIONS)
    types = (options.k_cache_type or "f16", options.v_cache_type or "f16")
    bits = sum(_BITS.get(name.lower(), 4.5) for name in types)
    return round(tokens * shape.layers * shape.cached_values * bits / 8)


def _batch_bytes(file: ModelFile, shape: _Shape, length: int, options: LoadOptions) -> int:
    """Two vectors of the model's width, of 32 bits, for every token that is computed at once."""
    batch = length if file.kind == "embedding" else min(length, options.physical_batch_size or _DEFAULT_BATCH_SIZE)
    return batch * shape.width * 2 * 4


def _shape_in_file(file: ModelFile) -> _Shape | None:
    if file.file is None:
        return None
    try:
        return _shape_of(read_gguf(file.file))
    except InvalidModelFileError:
        return None


def _shape_of(header: GgufHeader) -> _Shape | None:
    architecture = header.text("general.architecture")

    def number(key: str) -> int | None:
        return header.integer(f"{architecture}.{key}")

    width, layers, heads = number("embedding_length"), number("block_count"), number("attention.head_count")
    if not (width and layers and heads):
        return None
    # A model that has no number of its own for these has as many as it has heads, of equal length.
    shared_heads = number("attention.head_count_kv") or heads
    head_length = number("attention.key_length") or width // heads
    return _Shape(width, layers, shared_heads * head_length)


def _typical_shape(file: ModelFile) -> _Shape:
    """A transformer of P parameters is about (10.7 P)^(1/3) wide and a 128th of that deep; two heads share keys."""
    bits = file.quantization[1] if file.quantization else 8
    width = (10.7 * file.size_bytes * 8 / bits) ** (1 / 3)
    return _Shape(round(width), max(1, round(width / 128)), max(1, round(width / 2)))
