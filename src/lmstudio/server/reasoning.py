"""Tells a model's reasoning apart from its answer while the text streams."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import LlmPredictionFragmentReasoningType
    from lmstudio.server.engine.base import TextChunk, TokenInfo


@dataclass(frozen=True)
class Piece:
    """Text of one kind. The pieces of a generation, joined, are its text."""

    text: str
    token_count: int
    kind: LlmPredictionFragmentReasoningType = "none"
    tokens: Sequence[TokenInfo] = ()


class ReasoningSplitter:
    """Splits a stream of text at the first *start_string* and the first *end_string* after it.

    Either may arrive in parts: text that could be the beginning of one is held back until that is decided. With
    *is_open*, the text begins inside the reasoning, because the prompt ended with the start string. Without strings
    (""), all text is of one kind.
    """

    def __init__(self, start_string: str, end_string: str, *, is_open: bool = False) -> None:
        self._end_string = end_string
        self._wanted = (end_string if is_open else start_string) or None
        self._kind: LlmPredictionFragmentReasoningType = "reasoning" if is_open else "none"
        self._held = ""
        self._held_tokens = 0
        self._infos: deque[TokenInfo] = deque()
        self._info_position = 0
        """Where in the held text the first token of _infos begins."""

    def feed(self, chunk: TextChunk) -> list[Piece]:
        """The pieces that *chunk* completes."""
        text, wanted = chunk.text, self._wanted
        if text and not self._held and not self._held_tokens and (wanted is None or wanted[0] not in text):
            return [Piece(text, chunk.token_count, self._kind, chunk.tokens)]
        self._held += text
        self._held_tokens += chunk.token_count
        self._infos.extend(chunk.tokens)
        pieces: list[Piece] = []
        while self._wanted is not None and (position := self._held.find(self._wanted)) >= 0:
            self._take(pieces, position)
            self._take_tag(pieces, self._wanted)
        self._take(pieces, len(self._held) - self._partial_length())
        return pieces

    def finish(self) -> list[Piece]:
        """What is still held back when the text has ended."""
        pieces: list[Piece] = []
        self._take(pieces, len(self._held))
        return pieces

    def _take_tag(self, pieces: list[Piece], tag: str) -> None:
        is_start = self._kind == "none"
        self._kind = "reasoningStartTag" if is_start else "reasoningEndTag"
        self._take(pieces, len(tag))
        self._kind = "reasoning" if is_start else "none"
        self._wanted = self._end_string if is_start else None  # one block: later tags are text

    def _partial_length(self) -> int:
        """Length of the longest end of the held text that the wanted string begins with."""
        wanted = self._wanted
        if wanted is None:
            return 0
        lengths = range(min(len(wanted) - 1, len(self._held)), 0, -1)
        return next((length for length in lengths if self._held.endswith(wanted[:length])), 0)

    def _take(self, pieces: list[Piece], length: int) -> None:
        """Append the first *length* held characters as a piece, with their share of the tokens."""
        if not length:
            return
        total = len(self._held)
        # Rounded down, so that what is left goes to later text: the sum is exact in the end.
        share = self._held_tokens * length // total
        pieces.append(Piece(self._held[:length], share, self._kind, self._take_infos(length, is_all=length == total)))
        self._held = self._held[length:]
        self._held_tokens -= share

    def _take_infos(self, length: int, *, is_all: bool) -> Sequence[TokenInfo]:
        """The tokens that begin within the next *length* characters; all of them where nothing is left for later."""
        taken = []
        while self._infos and (is_all or self._info_position < length):
            info = self._infos.popleft()
            self._info_position += len(info.text)
            taken.append(info)
        self._info_position = 0 if is_all else max(0, self._info_position - length)
        return tuple(taken)
