"""Tells a model's reasoning apart from its answer while the text streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.server.held_text import HeldText, Piece

if TYPE_CHECKING:
    from lmstudio._sdk_models import LlmPredictionFragmentReasoningType
    from lmstudio.server.engine.base import TextChunk

__all__ = ["Piece", "ReasoningSplitter"]


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
        self._held = HeldText()
        self.reasoning_tokens: int = 0
        """How many tokens of reasoning have come, without its tags."""

    @property
    def is_inside(self) -> bool:
        """Whether the text that comes next is reasoning."""
        return self._kind == "reasoning"

    def feed(self, chunk: TextChunk) -> list[Piece]:
        """The pieces that *chunk* completes."""
        text, wanted, held = chunk.text, self._wanted, self._held
        if text and not held and (wanted is None or wanted[0] not in text):
            self.reasoning_tokens += chunk.token_count if self._kind == "reasoning" else 0
            return [Piece(text, chunk.token_count, self._kind, chunk.tokens, chunk.has_drafted)]
        held.add(text, chunk.token_count, chunk.tokens, has_drafted=chunk.has_drafted)
        pieces: list[Piece] = []
        while self._wanted is not None and (position := held.text.find(self._wanted)) >= 0:
            self._take(pieces, position)
            self._take_tag(pieces, self._wanted)
        self._take(pieces, len(held.text) - (held.partial(self._wanted) if self._wanted else 0))
        return pieces

    def finish(self) -> list[Piece]:
        """What is still held back when the text has ended."""
        pieces: list[Piece] = []
        self._take(pieces, len(self._held.text))
        return pieces

    def _take_tag(self, pieces: list[Piece], tag: str) -> None:
        is_start = self._kind == "none"
        self._kind = "reasoningStartTag" if is_start else "reasoningEndTag"
        self._take(pieces, len(tag))
        self._kind = "reasoning" if is_start else "none"
        self._wanted = self._end_string if is_start else None  # one block: later tags are text

    def _take(self, pieces: list[Piece], length: int) -> None:
        """Append the first *length* held characters as a piece, with their share of the tokens."""
        if length:
            piece = self._held.take(length, self._kind)
            self.reasoning_tokens += piece.token_count if self._kind == "reasoning" else 0
            pieces.append(piece)
