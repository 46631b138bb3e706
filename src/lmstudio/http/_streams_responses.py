"""Put the events of a response together, as OpenAI's API streams them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio._http_models import replaced
from lmstudio._http_models.openai_responses import (
    ContentPart,
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallItem,
    McpCallArgumentsDelta,
    McpCallItem,
    MessageItem,
    OutputItem,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    OutputTextDelta,
    ReasoningItem,
    ReasoningText,
    ReasoningTextDelta,
    Response,
    ResponseCompleted,
    ResponseCreated,
    ResponseEvent,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
)
from lmstudio.errors import LMStudioRuntimeError
from lmstudio.http._events import EventDecoder, UnknownEvent
from lmstudio.http._streams import StreamReader

if TYPE_CHECKING:
    from lmstudio.http._sse import ServerSentEvent

__all__ = ["ResponseReader", "ResponseStreamEvent"]

ResponseStreamEvent: TypeAlias = ResponseEvent | UnknownEvent
"""What a stream of `/v1/responses` consists of. Errors are raised; a response that failed is handed on, as its last."""

_ENDS: Final = (ResponseCompleted, ResponseIncomplete, ResponseFailed)
_SNAPSHOTS: Final = (ResponseCreated, ResponseInProgress, *_ENDS)
_TEXTS: Final = (OutputTextDelta, ReasoningTextDelta)
_ARGUMENTS: Final = (FunctionCallArgumentsDelta, McpCallArgumentsDelta)
_CONTENT: Final = (*_TEXTS, *_ARGUMENTS, OutputItemDone, *_ENDS)

_DECODER: Final = EventDecoder[ResponseEvent](
    ResponseEvent,
    (
        *(f"{event.__struct_config__.tag}:response" for event in _SNAPSHOTS),
        *(f"{event.__struct_config__.tag}:delta" for event in (*_TEXTS, *_ARGUMENTS)),
        *(f"{event.__struct_config__.tag}:item" for event in (OutputItemAdded, OutputItemDone)),
        *(f"{event.__struct_config__.tag}:part" for event in (ContentPartAdded, ContentPartDone)),
    ),
)


class _Item:
    """An item of the output that grows."""

    def __init__(self, begin: OutputItem) -> None:
        self.begin = begin
        self.parts: dict[int, ContentPart] = {}
        self.texts: dict[int, list[str]] = {}
        self.arguments: list[str] = []

    def so_far(self) -> OutputItem:
        """The item as far as it has come."""
        begin = self.begin
        if isinstance(begin, (FunctionCallItem, McpCallItem)):
            return replaced(begin, arguments=begin.arguments + "".join(self.arguments))
        texts = {index: "".join(pieces) for index, pieces in self.texts.items()}
        if isinstance(begin, MessageItem):
            empty = OutputText(text="", annotations=[], logprobs=[])
            messages = [_with_text(self.parts.get(index), text, empty) for index, text in sorted(texts.items())]
            return replaced(begin, content=[*begin.content, *messages])
        if isinstance(begin, ReasoningItem):
            thoughts = [ReasoningText(text=text) for _, text in sorted(texts.items())]
            return replaced(begin, content=[*begin.content, *thoughts])
        return begin


def _with_text(part: ContentPart | None, text: str, empty: OutputText) -> OutputText:
    return replaced(part if isinstance(part, OutputText) else empty, text=text)


class ResponseReader(StreamReader[ResponseStreamEvent, Response]):
    """Reads the stream of one response."""

    def __init__(self) -> None:
        self._response: Response | None = None
        self._items: dict[int, _Item] = {}

    def feed(self, event: ServerSentEvent) -> ResponseStreamEvent | None:
        """The next event."""
        known = _DECODER.decode(event)
        if isinstance(known, _TEXTS):
            if (item := self._items.get(known.output_index)) is not None:
                item.texts.setdefault(known.content_index, []).append(known.delta)
        elif isinstance(known, _ARGUMENTS):
            if (item := self._items.get(known.output_index)) is not None:
                item.arguments.append(known.delta)
        elif isinstance(known, (OutputItemAdded, OutputItemDone)):
            self._items[known.output_index] = _Item(known.item)
        elif isinstance(known, ContentPartAdded):
            if (item := self._items.get(known.output_index)) is not None:
                item.parts[known.content_index] = known.part
        elif isinstance(known, _SNAPSHOTS):
            self._response = known.response
            self.is_over = isinstance(known, _ENDS)
        return known

    def has_content(self, event: ResponseStreamEvent) -> bool:
        """Whether the model has written something."""
        return isinstance(event, _CONTENT)

    def result(self) -> Response:
        """The response that the last event has; before that, the one of the first event, with the output so far."""
        response = self._response
        if response is None:
            raise LMStudioRuntimeError("There is no response yet: the stream has not begun.")
        if self.is_over:
            return response
        return replaced(response, output=[self._items[index].so_far() for index in sorted(self._items)])
