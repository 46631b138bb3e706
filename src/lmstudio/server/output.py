"""From generated text to the packets that clients get."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeAlias

from lmstudio._sdk_models import (
    LlmCandidateToken,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketSuccess,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmPredictionFragment,
    LlmToken,
)
from lmstudio.server.reasoning import ReasoningSplitter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import LlmPredictionStopReason, LlmReasoningParsing
    from lmstudio.server.engine.base import TextChunk, TokenInfo
    from lmstudio.server.held_text import Piece

__all__ = ["FragmentStage", "OutputStage", "Packet", "fragment", "reasoning_splitter"]

Packet: TypeAlias = (
    LlmChannelPredictToClientPacketFragment
    | LlmChannelPredictToClientPacketPromptProcessingProgress
    | LlmChannelPredictToClientPacketToolCallGenerationStart
    | LlmChannelPredictToClientPacketToolCallGenerationNameReceived
    | LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated
    | LlmChannelPredictToClientPacketToolCallGenerationEnd
    | LlmChannelPredictToClientPacketToolCallGenerationFailed
    | LlmChannelPredictToClientPacketSuccess
)


class OutputStage(Protocol):
    """Turns generated text into packets."""

    def feed(self, chunk: TextChunk) -> Sequence[Packet]:
        """The packets that *chunk* completes."""
        raise NotImplementedError

    def finish(self, reason: LlmPredictionStopReason) -> Sequence[Packet]:
        """The packets for what was held back, now that the text has ended for *reason*."""
        raise NotImplementedError


class FragmentStage:
    """Text into fragments, reasoning told apart."""

    def __init__(self, splitter: ReasoningSplitter) -> None:
        self._splitter = splitter

    def feed(self, chunk: TextChunk) -> Sequence[Packet]:
        """The fragments that *chunk* completes."""
        return [fragment(piece) for piece in self._splitter.feed(chunk)]

    def finish(self, reason: LlmPredictionStopReason) -> Sequence[Packet]:  # noqa: ARG002 (text is text, however it ends)
        """The fragments for a tag that did not become complete."""
        return [fragment(piece) for piece in self._splitter.finish()]


def reasoning_splitter(reasoning: LlmReasoningParsing | None, prompt: str) -> ReasoningSplitter:
    """What tells reasoning apart in the text that follows *prompt*; without *reasoning*, nothing does."""
    if reasoning is None:
        return ReasoningSplitter("", "")
    # Templates of some models begin the answer with the start string, so that the model does not write it.
    start = reasoning.start_string.strip()
    is_open = bool(start) and prompt.rstrip().endswith(start)
    return ReasoningSplitter(reasoning.start_string, reasoning.end_string, is_open=is_open)


def fragment(piece: Piece) -> LlmChannelPredictToClientPacketFragment:
    """The packet for *piece*."""
    return LlmChannelPredictToClientPacketFragment(
        fragment=LlmPredictionFragment(
            content=piece.text,
            tokens_count=piece.token_count,
            contains_drafted=piece.has_drafted,
            reasoning_type=piece.kind,
            is_structural=False,
            tokens=[_token(info) for info in piece.tokens] if piece.tokens else None,
        )
    )


def _token(info: TokenInfo) -> LlmToken:
    candidates = [
        LlmCandidateToken(text=other.text, id=other.id, log_prob=other.log_prob)
        for other in info.candidates
        if other.log_prob is not None and math.isfinite(other.log_prob)
    ]
    log_prob = info.log_prob if info.log_prob is not None and math.isfinite(info.log_prob) else None
    return LlmToken(text=info.text, id=info.id, log_prob=log_prob, candidates=candidates or None)
