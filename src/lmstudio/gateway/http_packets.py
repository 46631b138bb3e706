"""Streams of OpenAI's API as packets of the native protocol, which is what the surfaces of the gateway spell."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from lmstudio import _lenient
from lmstudio._http_models.openai import ChatCompletionChunk, CompletionResponse, V0Stats
from lmstudio._sdk_models import (
    LlmCandidateToken,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmPredictionFragment,
    LlmPredictionStats,
    LlmToken,
    PromptProcessingDetails,
    SerializedLMSExtendedError,
    ToolCallRequest,
)
from lmstudio.errors import LMStudioProtocolError
from lmstudio.http._streams import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lmstudio._http_models.openai import ChatCompletionDelta, CompletionUsage
    from lmstudio._http_models.openai import ToolCall as CallPiece
    from lmstudio._sdk_models import LlmPredictionFragmentReasoningType, LlmPredictionStopReason
    from lmstudio.http._sse import ServerSentEvent
    from lmstudio.server.output import Packet

__all__ = ["ChatPackets", "PacketReader", "TextPackets"]

ChunkT = TypeVar("ChunkT", ChatCompletionChunk, CompletionResponse)

_END: Final = "[DONE]"
_STOP_REASONS: Final[Mapping[str, LlmPredictionStopReason]] = {
    "length": "maxPredictedTokensReached",
    "tool_calls": "toolCalls",
}
"""Others are ends as any."""
_NO_ID: Final = -1
"""OpenAI's API has no ids of tokens."""


class PacketReader(StreamReader["list[Packet]", LlmPredictionStats], Generic[ChunkT]):
    """What both streams have in common. Its events are the packets of one chunk, and its result the statistics."""

    chunk_type: type[ChunkT]

    def __init__(self) -> None:
        self._decode: Callable[[Any], ChunkT] = msgspec.json.Decoder(self.chunk_type).decode
        self._began = monotonic()
        self._first_at: float | None = None
        self._pieces = 0
        self._usage: CompletionUsage | None = None
        self._drafts: V0Stats | None = None
        self._reason: str | None = None
        self.model: str = ""
        """Who answers, in the server's words."""

    def feed(self, event: ServerSentEvent) -> list[Packet] | None:
        """The packets of *event*."""
        if event.data == _END:
            self.is_over = True
            return list(self._finish())
        try:
            chunk: ChunkT = _lenient.decode(self._decode, self.chunk_type, event.data.encode())
        except _lenient.DECODE_ERRORS as error:
            message = f"An event of the server's stream cannot be understood ({error}): {event.data!r:.200}"
            raise LMStudioProtocolError(message) from error
        self.model = chunk.model or self.model
        self._usage = chunk.usage or self._usage
        self._drafts = chunk.stats or self._drafts
        # There is one choice, because one was asked for.
        return [packet for choice in chunk.choices[:1] for packet in self._packets(choice)]

    @property
    def has_reason(self) -> bool:
        """The model has ended, and the server has said why."""
        return self._reason is not None

    @abstractmethod
    def _packets(self, choice: Any) -> Iterator[Packet]:
        """Those that *choice* is about."""

    def _finish(self) -> Iterator[Packet]:
        """What there is to say at the end."""
        usage = self._usage
        if usage is not None:
            cached = (usage.prompt_tokens_details or {}).get("cached_tokens")
            details = PromptProcessingDetails(
                cached_token_count=cached if isinstance(cached, int) else 0,
                total_prompt_token_count=usage.prompt_tokens,
                processed_prompt_token_count=usage.prompt_tokens,
                unprocessed_prompt_token_count=0,
            )
            yield LlmChannelPredictToClientPacketPromptProcessingProgress(progress=1.0, details=details)

    def has_content(self, event: list[Packet]) -> bool:
        """Whether the model has written something."""
        return bool(event)

    def result(self) -> LlmPredictionStats:
        """The statistics, as far as they are known."""
        return self.stats()

    def stats(self, *, is_cancelled: bool = False) -> LlmPredictionStats:
        """The statistics, as far as they are known; of a stream that was ended here if *is_cancelled*."""
        usage, drafts, now = self._usage, self._drafts or V0Stats(), monotonic()
        predicted = self._pieces if usage is None else usage.completion_tokens
        first = self._first_at
        writing = 0.0 if first is None else now - first
        reason: LlmPredictionStopReason = _STOP_REASONS.get(self._reason or "", "eosFound")
        return LlmPredictionStats(
            stop_reason="userStopped" if is_cancelled else reason,
            tokens_per_second=predicted / writing if writing > 0 else None,
            time_to_first_token_sec=None if first is None else first - self._began,
            total_time_sec=now - self._began,
            prompt_tokens_count=None if usage is None else usage.prompt_tokens,
            predicted_tokens_count=predicted,
            total_tokens_count=None if usage is None else usage.total_tokens,
            used_draft_model_key=drafts.draft_model,
            total_draft_tokens_count=drafts.total_draft_tokens_count,
            accepted_draft_tokens_count=drafts.accepted_draft_tokens_count,
            rejected_draft_tokens_count=drafts.rejected_draft_tokens_count,
            ignored_draft_tokens_count=drafts.ignored_draft_tokens_count,
        )

    def _fragment(
        self, text: str, kind: LlmPredictionFragmentReasoningType = "none", tokens: list[LlmToken] | None = None
    ) -> Packet:
        """A piece of text. Servers send one for each token, or nearly so, and do not say how many it has."""
        self._note_piece()
        return LlmChannelPredictToClientPacketFragment(
            fragment=LlmPredictionFragment(
                content=text, tokens_count=1, contains_drafted=False, reasoning_type=kind, tokens=tokens
            )
        )

    def _note_piece(self) -> None:
        self._pieces += 1
        if self._first_at is None:
            self._first_at = monotonic()


class TextPackets(PacketReader[CompletionResponse]):
    """The stream of a completion."""

    chunk_type = CompletionResponse

    def _packets(self, choice: Any) -> Iterator[Packet]:
        if choice.text:
            yield self._fragment(choice.text, tokens=_text_tokens(choice.logprobs) if choice.logprobs else None)
        self._reason = choice.finish_reason or self._reason


class ChatPackets(PacketReader[ChatCompletionChunk]):
    """The stream of a chat."""

    chunk_type = ChatCompletionChunk

    def __init__(self) -> None:
        super().__init__()
        self._calls = _Calls()

    def _packets(self, choice: Any) -> Iterator[Packet]:
        delta: ChatCompletionDelta = choice.delta
        # Servers that know both names say the same under both.
        if reasoning := delta.reasoning_content or delta.reasoning:
            yield self._fragment(reasoning, "reasoning")
        if delta.content:
            yield self._fragment(delta.content, tokens=_chat_tokens(choice.logprobs) if choice.logprobs else None)
        for piece in delta.tool_calls or ():
            self._note_piece()
            yield from self._calls.take(piece)
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
            yield from self._calls.end()

    def _finish(self) -> Iterator[Packet]:
        yield from self._calls.end()
        yield from super()._finish()


class _Calls:
    """Tool calls in pieces. One is over when the next one begins: native packets do not say which one is theirs."""

    def __init__(self) -> None:
        self._index: int | None = None
        self._id: str | None = None
        self._name = ""
        self._arguments: list[str] = []
        self._is_open = False
        self._over: set[int] = set()

    def take(self, piece: CallPiece) -> Iterator[Packet]:
        """The packets for *piece*."""
        if not self._is_open or self._is_another(piece):
            yield from self.end()
            if piece.index in self._over:
                raise LMStudioProtocolError("The server has written two tool calls at once, piece by piece.")
            self._index, self._id = piece.index, piece.id or f"call_{secrets.token_hex(8)}"
            self._name, self._arguments, self._is_open = "", [], True
            yield LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=self._id)
        if piece.function.name and not self._name:
            self._name = piece.function.name
            yield LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=self._name)
        if text := piece.function.arguments:
            self._arguments.append(text)
            yield LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text)

    def _is_another(self, piece: CallPiece) -> bool:
        if piece.index is not None and self._index is not None:
            return piece.index != self._index
        return piece.id not in (None, "", self._id)  # some servers leave the index out

    def end(self) -> Iterator[Packet]:
        """The packet for the end of the call, if there is one."""
        if not self._is_open:
            return
        self._is_open = False
        if self._index is not None:
            self._over.add(self._index)
        text = "".join(self._arguments)
        try:
            arguments = msgspec.json.decode(text or "{}", type=dict[str, Any])
        except _lenient.DECODE_ERRORS as error:
            title = f"The arguments of the call of {self._name!r} are no JSON object: {error}"
            failure = SerializedLMSExtendedError(title=title)
            yield LlmChannelPredictToClientPacketToolCallGenerationFailed(error=failure, raw_content=text)
            return
        request = ToolCallRequest(name=self._name, id=self._id, arguments=arguments)
        yield LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request)


def _chat_tokens(logprobs: Mapping[str, Any]) -> list[LlmToken]:
    found = logprobs.get("content")
    return [_token(token, token.get("top_logprobs") or ()) for token in found or ()]


def _token(token: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> LlmToken:
    candidates = [
        LlmCandidateToken(text=other.get("token", ""), id=_NO_ID, log_prob=other.get("logprob", 0.0))
        for other in others
    ]
    return LlmToken(
        text=token.get("token", ""), id=_NO_ID, log_prob=token.get("logprob"), candidates=candidates or None
    )


def _text_tokens(logprobs: Mapping[str, Any]) -> list[LlmToken]:
    texts: Sequence[str] = logprobs.get("tokens") or ()
    values: Sequence[float | None] = logprobs.get("token_logprobs") or [None] * len(texts)
    others: Sequence[Mapping[str, float] | None] = logprobs.get("top_logprobs") or [None] * len(texts)
    return [
        LlmToken(
            text=text,
            id=_NO_ID,
            log_prob=value,
            candidates=[
                LlmCandidateToken(text=other, id=_NO_ID, log_prob=log_prob) for other, log_prob in (top or {}).items()
            ]
            or None,
        )
        for text, value, top in zip(texts, values, others, strict=False)
    ]
