"""Read the streams of OpenAI's chats and completions, and put their pieces together."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from lmstudio._http_models import decode_reply
from lmstudio._http_models.openai import (
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionMessage,
    ChatCompletionResponse,
    CompletionChoice,
    CompletionResponse,
    FunctionCall,
    ToolCall,
)
from lmstudio._lenient import DECODE_ERRORS
from lmstudio.errors import LMStudioProtocolError

from ._streams import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lmstudio._http_models import JsonObject
    from lmstudio._http_models.openai import ChatCompletionChunkChoice, ChatCompletionDelta, FinishReason

    from ._sse import ServerSentEvent

__all__ = ["ChatReader", "TextReader"]

EventT = TypeVar("EventT", ChatCompletionChunk, CompletionResponse)
ResultT = TypeVar("ResultT")

_END: Final = "[DONE]"


class _Reader(StreamReader[EventT, ResultT], Generic[EventT, ResultT]):
    """What both streams have in common.

    The number of tokens comes in an event without choices. *shows_usage*: the caller has asked for it, and gets that
    event; else only the result has the number, because programs look at the first choice of every event.
    """

    event_type: type[EventT]

    def __init__(self, *, shows_usage: bool) -> None:
        self._shows_usage = shows_usage
        self._head: dict[str, Any] = {}

    def feed(self, event: ServerSentEvent) -> EventT | None:
        if event.data == _END:
            self.is_over = True
            return None
        try:
            chunk: EventT = decode_reply(self.event_type, event.data)
        except DECODE_ERRORS as error:
            message = f"An event of the stream cannot be understood ({error}): {event.data!r:.200}"
            raise LMStudioProtocolError(message) from error
        for name in ("id", "created", "model", "system_fingerprint", "usage", "stats", "model_info", "runtime"):
            value = getattr(chunk, name)
            if value:
                self._head[name] = value
        self._take(chunk)
        return chunk if chunk.choices or self._shows_usage or not chunk.usage else None

    @abstractmethod
    def _take(self, chunk: EventT) -> None:
        """Keep what *chunk* adds."""


class ChatReader(_Reader[ChatCompletionChunk, ChatCompletionResponse]):
    """Reads the stream of a chat."""

    event_type = ChatCompletionChunk

    def __init__(self, *, shows_usage: bool = False) -> None:
        super().__init__(shows_usage=shows_usage)
        self._answers: dict[int, _Answer] = {}

    def has_content(self, event: ChatCompletionChunk) -> bool:
        return any(_says_something(choice) for choice in event.choices)

    def _take(self, chunk: ChatCompletionChunk) -> None:
        for choice in chunk.choices:
            answer = self._answers.get(choice.index)
            if answer is None:
                answer = self._answers[choice.index] = _Answer(choice.index)
            answer.take(choice)

    def result(self) -> ChatCompletionResponse:
        choices = [self._answers[index].whole() for index in sorted(self._answers)]
        return ChatCompletionResponse(**self._head, choices=choices)


class TextReader(_Reader[CompletionResponse, CompletionResponse]):
    """Reads the stream of a completion."""

    event_type = CompletionResponse

    def __init__(self, *, shows_usage: bool = False) -> None:
        super().__init__(shows_usage=shows_usage)
        self._texts: dict[int, list[CompletionChoice]] = {}

    def has_content(self, event: CompletionResponse) -> bool:
        return any(choice.text or choice.finish_reason for choice in event.choices)

    def _take(self, chunk: CompletionResponse) -> None:
        for choice in chunk.choices:
            self._texts.setdefault(choice.index, []).append(choice)

    def result(self) -> CompletionResponse:
        choices = [
            CompletionChoice(
                index=index,
                text="".join(piece.text for piece in pieces),
                logprobs=_joined(piece.logprobs for piece in pieces),
                finish_reason=_last(piece.finish_reason for piece in pieces),
            )
            for index, pieces in sorted(self._texts.items())
        ]
        return CompletionResponse(**self._head, choices=choices)


def _says_something(choice: ChatCompletionChunkChoice) -> bool:
    delta = choice.delta
    return bool(delta.content or delta.reasoning or delta.reasoning_content or delta.tool_calls or choice.finish_reason)


class _Answer:
    """One choice of a chat, as it grows."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._reasoning_content: list[str] = []
        self._calls: list[_Call] = []
        self._logprobs: list[JsonObject] = []
        self._finish_reason: FinishReason | None = None

    def take(self, choice: ChatCompletionChunkChoice) -> None:
        """Keep what one event adds."""
        delta = choice.delta
        for pieces, text in (
            (self._content, delta.content),
            (self._reasoning, delta.reasoning),
            (self._reasoning_content, delta.reasoning_content),
        ):
            if text:
                pieces.append(text)
        self._take_calls(delta)
        if choice.logprobs:
            self._logprobs.append(choice.logprobs)
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason

    def _take_calls(self, delta: ChatCompletionDelta) -> None:
        for piece in delta.tool_calls or ():
            call = self._call(piece)
            call.id = call.id or piece.id
            # A piece after the first may have an empty name.
            call.name = call.name or piece.function.name
            call.arguments.append(piece.function.arguments)

    def _call(self, piece: ToolCall) -> _Call:
        """The call that *piece* belongs to. Some servers leave its index out, and send calls one after the other."""
        for call in self._calls:
            if piece.index is not None and call.index == piece.index:
                return call
        if piece.index is None and self._calls and piece.id in (None, "", self._calls[-1].id):
            return self._calls[-1]
        self._calls.append(_Call(piece.index))
        return self._calls[-1]

    def whole(self) -> ChatCompletionChoice:
        """The choice as a reply has it that is not streamed."""
        calls = [
            ToolCall(id=call.id, type="function", function=FunctionCall(name=call.name, arguments=call.joined()))
            for call in self._calls
        ]
        message = ChatCompletionMessage(
            content="".join(self._content) or (None if calls else ""),
            reasoning="".join(self._reasoning) or None,
            reasoning_content="".join(self._reasoning_content) or None,
            tool_calls=calls or None,
        )
        return ChatCompletionChoice(
            index=self._index, logprobs=_joined(self._logprobs), finish_reason=self._finish_reason, message=message
        )


class _Call:
    """A tool call, as it grows."""

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []

    def joined(self) -> str:
        """The arguments so far, as JSON."""
        return "".join(self.arguments)


def _joined(pieces: Iterable[JsonObject | None]) -> JsonObject | None:
    """Probabilities of tokens: each member is a list, which each event goes on with."""
    whole: JsonObject | None = None
    for piece in pieces:
        if piece is None:
            continue
        whole = {} if whole is None else whole
        for name, value in piece.items():
            if isinstance(value, list):
                whole[name] = [*(whole.get(name) or ()), *value]
            else:
                whole.setdefault(name, value)
    return whole


def _last(reasons: Iterable[FinishReason | None]) -> FinishReason | None:
    last: FinishReason | None = None
    for reason in reasons:
        last = reason or last
    return last
