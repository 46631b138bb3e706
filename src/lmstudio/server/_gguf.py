"""What the header of a GGUF file says, read without numpy and without the vocabulary.

Written from the format's description (ggml, docs/gguf.md): versions 2 and 3, little-endian. Files come from anywhere,
so every count and length is checked against the size of the file before it is believed.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Scalar: TypeAlias = str | int | float | bool

_MAX_HEADER_BYTES: Final = 256 * 2**20
_MAX_KEYS: Final = 10_000
_MAX_KEY_BYTES: Final = 65_535
_MAX_TENSORS: Final = 1_000_000
_MAX_DIMENSIONS: Final = 4
_FIRST_READ: Final = 2**20
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    code: struct.Struct("<" + letter)
    for code, letter in {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }.items()
}
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

# Tensor type -> (values per block, bytes per block). A type that is missing here is not checked for completeness.
_BLOCKS: Final[Mapping[int, tuple[int, int]]] = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}


class InvalidModelFileError(ValueError):
    """A file is not a model that can be loaded; the message names it and says why, in one sentence."""


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensor counts of one file. Arrays are left out: they are vocabularies."""

    metadata: Mapping[str, Scalar]
    tensor_count: int
    element_count: int
    """Values in all tensors: the number of parameters."""

    def text(self, key: str) -> str | None:
        """The text under *key*, None if there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """The whole number under *key*, None if there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_gguf(path: Path) -> GgufHeader:
    """Read the header of *path*.

    Raises:
        InvalidModelFileError: it cannot be read, is no GGUF file, or is damaged or incomplete.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _Reader(file, size).read()
    except OSError as error:
        raise InvalidModelFileError(f"Cannot read {path}: {error.strerror or error}.") from error
    except _DamagedError as error:
        raise InvalidModelFileError(f"{path} is not a usable GGUF file: {error}.") from error


class _DamagedError(Exception):
    """What is wrong with the file, as a clause."""


class _Reader:
    """A growing prefix of the file, and a position in it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._data = b""
        self._position = 0

    def read(self) -> GgufHeader:
        self._need(min(24, self._size))
        if self._data[:4] != b"GGUF":
            raise _DamagedError(f"it begins with {self._data[:4]!r} instead of b'GGUF'")
        self._position = 4
        version = self._integer(_U32)
        if version not in (2, 3):
            big_endian = version in (2 << 24, 3 << 24)
            raise _DamagedError(f"its version is {'for big-endian machines' if big_endian else version}, not 2 or 3")
        tensor_count, key_count = self._integer(_U64), self._integer(_U64)
        if tensor_count > _MAX_TENSORS or key_count > _MAX_KEYS:
            raise _DamagedError(f"it claims {tensor_count} tensors and {key_count} metadata keys")
        metadata: dict[str, Scalar] = {}
        for _ in range(key_count):
            key = self._text(_MAX_KEY_BYTES)
            value = self._value(self._integer(_U32))
            if value is not None:
                metadata[key] = value
        return GgufHeader(metadata, tensor_count, self._tensors(tensor_count, metadata))

    def _need(self, end: int) -> None:
        """Have the first *end* bytes of the file at hand."""
        if end <= len(self._data):
            return
        if end > self._size:
            raise _DamagedError(f"it ends after {self._size} bytes, in the middle of its header")
        if end > _MAX_HEADER_BYTES:
            raise _DamagedError(f"its header is larger than {_MAX_HEADER_BYTES // 2**20} MiB")
        self._data += self._file.read(max(end, 2 * len(self._data), _FIRST_READ) - len(self._data))
        if end > len(self._data):
            raise _DamagedError("it became shorter while it was read")

    def _integer(self, form: struct.Struct) -> int:
        start = self._position
        self._position += form.size
        self._need(self._position)
        value: int = form.unpack_from(self._data, start)[0]
        return value

    def _text(self, limit: int) -> str:
        length = self._integer(_U64)
        if length > limit:
            raise _DamagedError(f"it holds a text of {length} bytes where at most {limit} are possible")
        start = self._position
        self._position += length
        self._need(self._position)
        return self._data[start : self._position].decode("utf-8", "replace")

    def _value(self, kind: int) -> Scalar | None:
        """The value at the position; None for an array, which is skipped."""
        if kind == _STRING:
            return self._text(self._size)
        if kind == _ARRAY:
            self._skip_array()
            return None
        form = _SCALARS.get(kind)
        if form is None:
            raise _DamagedError(f"it holds metadata of the unknown type {kind}")
        start = self._position
        self._position += form.size
        self._need(self._position)
        value: Scalar = form.unpack_from(self._data, start)[0]
        return value

    def _skip_array(self) -> None:
        kind, count = self._integer(_U32), self._integer(_U64)
        form = _SCALARS.get(kind)
        if form is None and kind != _STRING:
            raise _DamagedError(f"it holds an array of the unknown type {kind}")
        if count * (form.size if form else 8) > self._size:
            raise _DamagedError(f"it claims an array of {count} values, more than fit into its {self._size} bytes")
        if form:
            self._position += count * form.size
            self._need(self._position)
            return
        # Vocabularies have hundreds of thousands of entries: no calls in this loop.
        position, data, available, unpack = self._position, self._data, len(self._data), _U64.unpack_from
        for _ in range(count):
            if position + 8 > available:
                self._need(position + 8)
                data, available = self._data, len(self._data)
            position += 8 + unpack(data, position)[0]
        self._position = position
        self._need(position)

    def _tensors(self, count: int, metadata: Mapping[str, Scalar]) -> int:
        """Read *count* tensor descriptions, check that the file holds their data; the number of values in them."""
        elements, data_end = 0, 0
        for _ in range(count):
            name = self._text(_MAX_KEY_BYTES)
            dimensions = self._integer(_U32)
            if dimensions > _MAX_DIMENSIONS:
                raise _DamagedError(f"its tensor {name[:80]!r} has {dimensions} dimensions")
            values = math.prod(self._integer(_U64) for _ in range(dimensions))
            block, block_bytes = _BLOCKS.get(self._integer(_U32), (1, 0))
            elements += values
            data_end = max(data_end, self._integer(_U64) + values // block * block_bytes)
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20:
            raise _DamagedError(f"its alignment is {alignment!r}")
        needed = -(-self._position // alignment) * alignment + data_end
        if count and needed > self._size:
            raise _DamagedError(f"it is incomplete: it has {self._size} bytes of {needed}")
        return elements
