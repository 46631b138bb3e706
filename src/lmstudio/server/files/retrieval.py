"""Search in documents by the embeddings of their pieces."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

from lmstudio._sdk_models import InternalRetrievalResultEntry
from lmstudio.server.errors import RequestError
from lmstudio.server.files.chunking import Chunk, chunks, halves
from lmstudio.server.files.threads import in_thread

if TYPE_CHECKING:
    from lmstudio._sdk_models import KvConfig
    from lmstudio.server.engine.base import LoadedModel
    from lmstudio.server.files.parsing import Document

__all__ = ["EmbeddedChunk", "Index", "RetrievalConfig", "chunked", "embedded", "search"]

ProgressCallback = Callable[[float], object]

_REPORTS: Final = 100
"""How often the progress of one step is reported, about."""


class _ChunkingMethod(msgspec.Struct, rename="camel", tag_field="type", tag="recursive-v1"):
    chunk_size: Annotated[int, Meta(ge=1)] = 512
    chunk_overlap: Annotated[int, Meta(ge=0)] = 100


@dataclass(frozen=True)
class RetrievalConfig:
    """How to search."""

    embedding_model: str
    """The identifier of a loaded model; "" for any that is loaded."""
    limit: int
    chunk_size: int
    chunk_overlap: int

    @classmethod
    def parse(cls, config: KvConfig) -> RetrievalConfig:
        """The settings of a request, LM Studio's own where it says nothing.

        `retrieval.databaseFile` is not used: this server keeps embeddings in memory, as long as the file.

        Raises:
            RequestError: a value is not valid.
        """
        fields = {item.key.removeprefix("retrieval."): item.value for item in config.fields}
        method = _read("chunkingMethod", fields, _ChunkingMethod, _ChunkingMethod())
        if method.chunk_overlap >= method.chunk_size:
            raise RequestError(
                f"Pieces of {method.chunk_size} characters cannot overlap by {method.chunk_overlap}.",
                suggestion="Choose a chunkOverlap that is smaller than chunkSize.",
            )
        return cls(
            embedding_model=_read("embeddingModel", fields, str, ""),
            limit=_read("limit", fields, Annotated[int, Meta(ge=1)], 5),
            chunk_size=method.chunk_size,
            chunk_overlap=method.chunk_overlap,
        )


def _read(key: str, fields: dict[str, Any], expected: Any, default: Any) -> Any:
    value = fields.get(key)
    if value is None or value is msgspec.UNSET:
        return default
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        raise RequestError(f"The value of retrieval.{key} is not valid: {error}.") from None


@dataclass(frozen=True)
class EmbeddedChunk:
    """A piece of a document, and where it stands."""

    chunk: Chunk
    vector: Sequence[float]
    """Of length 1."""


@dataclass(frozen=True)
class Index:
    """The embeddings of one file."""

    key: tuple[str, int, int]
    """What they were made with: the instance of the model, and the sizes of the pieces."""
    chunks: Sequence[EmbeddedChunk]


async def chunked(document: Document, config: RetrievalConfig) -> list[Chunk]:
    """The pieces of a document."""
    return await in_thread(lambda: chunks(document, config.chunk_size, config.chunk_overlap))


async def embedded(model: LoadedModel, pieces: list[Chunk], on_progress: ProgressCallback) -> list[EmbeddedChunk]:
    """*pieces* with their embeddings. One that is too long for the model is cut further.

    Raises:
        EngineError: the model cannot embed one of them.
    """
    result: list[EmbeddedChunk] = []
    total = len(pieces)
    for number, piece in enumerate(pieces, 1):
        parts = await _fitting(model, piece)
        result += [EmbeddedChunk(part, _normalised(await model.embed(part.text))) for part in parts]
        if number * _REPORTS // total > (number - 1) * _REPORTS // total:
            on_progress(number / total)
    return result


async def _fitting(model: LoadedModel, piece: Chunk) -> list[Chunk]:
    """*piece*, in parts if it is too long for the model."""
    room = model.context_length
    # No tokenizer makes more tokens than bytes, but for a few around the text.
    is_short = len(piece.text.encode()) <= room - 8 or len(piece.text) < 2
    if is_short or len(await model.tokenize(piece.text)) <= room:
        return [piece]
    return [part for half in halves(piece) for part in await _fitting(model, half)]


def _normalised(vector: Sequence[float]) -> array[float]:
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return array("f", [value / length for value in vector])


async def search(
    model: LoadedModel, query: str, indices: Sequence[Index], limit: int
) -> list[InternalRetrievalResultEntry]:
    """The pieces closest to *query*, the closest first; the number of an index is that of its file.

    Raises:
        EngineError: the model cannot embed the query.
    """
    wanted = _normalised(await model.embed(query))
    return await in_thread(lambda: _closest(wanted, indices, limit))


def _closest(wanted: Sequence[float], indices: Sequence[Index], limit: int) -> list[InternalRetrievalResultEntry]:
    scored = [
        (sum(map(float.__mul__, wanted, found.vector)), source, found.chunk)
        for source, index in enumerate(indices)
        for found in index.chunks
    ]
    scored.sort(key=lambda item: item[0], reverse=True)
    return [_entry(score, source, chunk) for score, source, chunk in scored[:limit]]


def _entry(score: float, source: int, chunk: Chunk) -> InternalRetrievalResultEntry:
    lines = chunk.first_line if chunk.first_line == chunk.last_line else [chunk.first_line, chunk.last_line]
    return InternalRetrievalResultEntry(
        content=chunk.text,
        score=score,
        source_index=source,
        page_number=chunk.page,
        line_number=lines if chunk.page is None else None,
    )
