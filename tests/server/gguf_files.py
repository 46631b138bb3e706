"""GGUF files that consist of a header, and of zeros where the weights would be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

Tensor = tuple[str, list[int], int, int]  # name, dimensions, type, offset
F32, Q8_0 = 0, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(item: Any) -> bytes:
    """A metadata value with its type: bool, int (u32), float, str, or a list of int or str."""
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    kind = 8 if item and isinstance(item[0], str) else 5
    body = b"".join(text(one) if kind == 8 else struct.pack("<i", one) for one in item)
    return struct.pack("<IIQ", 9, kind, len(item)) + body


def gguf(metadata: dict[str, Any], tensors: list[Tensor] | None = None, *, data: int | None = None) -> bytes:
    """A GGUF file; *data* is how many bytes of tensor data follow, by default as many as the tensors need."""
    if tensors is None:
        tensors = [("token_embd.weight", [64, 32], F32, 0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + value(item) for key, item in metadata.items())
    needed = 0
    for name, dimensions, kind, offset in tensors:
        head += text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        head += struct.pack("<IQ", kind, offset)
        count = 1
        for dimension in dimensions:
            count *= dimension
        needed = max(needed, offset + (count * 4 if kind == F32 else count // 32 * 34))
    padding = -len(head) % (metadata.get("general.alignment") or 32)
    return head + bytes(padding + (needed if data is None else data))


LLAMA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Heron",
    "general.file_type": 15,
    "llama.context_length": 8192,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": ["a", "b", "longer"],
    "tokenizer.ggml.token_type": [1, 1, 3],
    "tokenizer.chat_template": "{% if tools %}{{ tools }}{% endif %}",
}


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
