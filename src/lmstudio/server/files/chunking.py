"""Documents -> pieces that an embedding model can take, cut where the text allows it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.files.parsing import Document

__all__ = ["Chunk", "chunks", "halves"]

Span: TypeAlias = tuple[int, int]

_SEPARATORS: Final = ("\n\n", "\n", ". ", " ")
"""Where to cut, the best place first."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a document."""

    text: str
    page: int | None
    """From 1; None for a document without pages."""
    first_line: int
    """From 1, in the page if there are pages."""
    last_line: int


def chunks(document: Document, size: int, overlap: int) -> list[Chunk]:
    """*document* in pieces of at most *size* characters, of which up to *overlap* are repeated in the next one."""
    return [
        chunk
        for number, text in enumerate(document.pages, 1)
        for chunk in _page_chunks(text, size, overlap, number if document.is_paged else None)
    ]


def halves(chunk: Chunk) -> list[Chunk]:
    """*chunk* in two pieces, or as it is if it is a single character."""
    if len(chunk.text) < 2:
        return [chunk]
    parts = _page_chunks(chunk.text, (len(chunk.text) + 1) // 2, 0, chunk.page)
    offset = chunk.first_line - 1
    return [Chunk(part.text, part.page, part.first_line + offset, part.last_line + offset) for part in parts]


def _page_chunks(text: str, size: int, overlap: int, page: int | None) -> Iterator[Chunk]:
    line_starts = [0]
    line_starts += (index + 1 for index, character in enumerate(text) if character == "\n")
    for start, end in _merged(_atoms(text, (0, len(text)), size), size, overlap):
        piece = text[start:end].strip()
        if piece:
            first = text.index(piece, start)
            last = first + len(piece) - 1
            yield Chunk(piece, page, bisect_right(line_starts, first), bisect_right(line_starts, last))


def _atoms(text: str, span: Span, size: int, separators: tuple[str, ...] = _SEPARATORS) -> Iterator[Span]:
    """The parts of *span* that stay together, none longer than *size*."""
    start, end = span
    if end - start <= size:
        yield span
    elif not separators:
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
    else:
        separator, *others = separators
        while start < end:
            found = text.find(separator, start, end)
            stop = end if found < 0 else found + len(separator)
            yield from _atoms(text, (start, stop), size, tuple(others))
            start = stop


def _merged(atoms: Iterator[Span], size: int, overlap: int) -> Iterator[Span]:
    """Neighbours put together as long as they fit; each result begins with the end of the one before."""
    current: list[Span] = []
    for atom in atoms:
        if current and atom[1] - current[0][0] > size:
            yield current[0][0], current[-1][1]
            while current and (current[-1][1] - current[0][0] > overlap or atom[1] - current[0][0] > size):
                del current[0]
        current.append(atom)
    if current:
        yield current[0][0], current[-1][1]
