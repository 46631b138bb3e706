"""Put the events of a chat together, as LM Studio's API v1 streams them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio._http_models.rest_v1 import (
    ChatEnd,
    ChatEvent,
    ChatReply,
    ChatStart,
    ChatStats,
    InvalidToolCallItem,
    MessageDelta,
    MessageItem,
    ModelLoadEnd,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ToolCallArguments,
    ToolCallFailure,
    ToolCallItem,
    ToolCallStart,
    ToolCallSuccess,
)
from lmstudio.http._events import EventDecoder, UnknownEvent
from lmstudio.http._streams import StreamReader

if TYPE_CHECKING:
    from lmstudio.http._sse import ServerSentEvent

__all__ = ["ChatReader", "ChatStreamEvent"]

ChatStreamEvent: TypeAlias = ChatEvent | UnknownEvent
"""What a stream of `/api/v1/chat` consists of. Errors are raised, not handed on."""

_DECODER: Final = EventDecoder[ChatEvent](
    ChatEvent, ("chat.end:result", "message.delta:content", "reasoning.delta:content")
)
_CONTENT: Final = (
    MessageDelta,
    ReasoningDelta,
    ToolCallStart,
    ToolCallArguments,
    ToolCallSuccess,
    ToolCallFailure,
    ChatEnd,
)


class ChatReader(StreamReader[ChatStreamEvent, ChatReply]):
    """Reads the stream of one chat."""

    def __init__(self) -> None:
        self._instance_id = ""
        self._load_seconds: float | None = None
        self._items: list[OutputItem] = []
        self._pieces: list[str] = []
        self._pieces_are: type[MessageItem | ReasoningItem] = MessageItem
        self._reply: ChatReply | None = None

    def feed(self, event: ServerSentEvent) -> ChatStreamEvent | None:
        """The next event."""
        known = _DECODER.decode(event)
        if isinstance(known, MessageDelta):
            self._add(MessageItem, known.content)
        elif isinstance(known, ReasoningDelta):
            self._add(ReasoningItem, known.content)
        elif isinstance(known, ChatStart):
            self._instance_id = known.model_instance_id
        elif isinstance(known, ModelLoadEnd):
            self._load_seconds = known.load_time_seconds
        elif isinstance(known, ToolCallSuccess):
            self._put(
                ToolCallItem(
                    tool=known.tool,
                    arguments=known.arguments,
                    output=known.output,
                    provider_info=known.provider_info,
                )
            )
        elif isinstance(known, ToolCallFailure):
            self._put(InvalidToolCallItem(reason=known.reason, metadata=known.metadata))
        elif isinstance(known, ChatEnd):
            self._reply, self.is_over = known.result, True
        return known

    def _add(self, kind: type[MessageItem | ReasoningItem], text: str) -> None:
        if kind is not self._pieces_are:
            self._end_text()
            self._pieces_are = kind
        self._pieces.append(text)

    def _put(self, item: OutputItem) -> None:
        self._end_text()
        self._items.append(item)

    def _end_text(self) -> None:
        if self._pieces:
            self._items.append(self._pieces_are(content="".join(self._pieces)))
            self._pieces = []

    def has_content(self, event: ChatStreamEvent) -> bool:
        """Whether the model has written something; loading and reading are not that."""
        return isinstance(event, _CONTENT)

    def result(self) -> ChatReply:
        """The reply that the last event has; before that, the output so far, with statistics that are all 0."""
        if self._reply is not None:
            return self._reply
        self._end_text()
        stats = ChatStats(
            input_tokens=0,
            total_output_tokens=0,
            reasoning_output_tokens=0,
            tokens_per_second=0.0,
            time_to_first_token_seconds=0.0,
            model_load_time_seconds=self._load_seconds,
        )
        return ChatReply(model_instance_id=self._instance_id, output=list(self._items), stats=stats)
