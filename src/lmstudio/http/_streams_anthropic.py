"""Put the events of a message together, as Anthropic's API streams them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from lmstudio._http_models import replaced
from lmstudio._http_models.anthropic import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    OutputBlock,
    Ping,
    SignatureDelta,
    StreamEvent,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
)
from lmstudio.errors import LMStudioProtocolError, LMStudioRuntimeError
from lmstudio.http._events import EventDecoder, UnknownEvent
from lmstudio.http._streams import StreamReader

if TYPE_CHECKING:
    from lmstudio.http._sse import ServerSentEvent

__all__ = ["MessageReader", "MessageStreamEvent"]

MessageStreamEvent: TypeAlias = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | UnknownEvent
)
"""What a stream of `/v1/messages` consists of. Pings are not handed on."""

_DECODER: Final = EventDecoder[StreamEvent](
    StreamEvent,
    (
        "message_start.message",
        "content_block_start.index",
        "content_block_start.content_block",
        "content_block_delta.index",
        "content_block_delta.delta.text_delta.text",
        "content_block_delta.delta.thinking_delta.thinking",
        "content_block_delta.delta.input_json_delta.partial_json",
    ),
)


class _Block:
    """A block that grows."""

    def __init__(self, begin: OutputBlock) -> None:
        self.begin = begin
        self.pieces: list[str] = []
        self.signature = begin.signature if isinstance(begin, ThinkingBlock) else ""

    def add(self, event: ContentBlockDelta) -> None:
        delta = event.delta
        if isinstance(delta, TextDelta):
            self.pieces.append(delta.text)
        elif isinstance(delta, InputJsonDelta):
            self.pieces.append(delta.partial_json)
        elif isinstance(delta, SignatureDelta):
            self.signature = delta.signature
        else:
            self.pieces.append(delta.thinking)

    def whole(self, *, is_over: bool) -> OutputBlock:
        """The block as far as it is there. The arguments of a tool call that is not over are empty."""
        begin, text = self.begin, "".join(self.pieces)
        if isinstance(begin, TextBlock):
            return TextBlock(text=begin.text + text)
        if isinstance(begin, ThinkingBlock):
            return ThinkingBlock(thinking=begin.thinking + text, signature=self.signature)
        return ToolUseBlock(id=begin.id, name=begin.name, input=_arguments(begin, text, is_over=is_over))


def _arguments(call: ToolUseBlock, text: str, *, is_over: bool) -> dict[str, object]:
    if not text:
        return call.input
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, ValueError) as error:
        if not is_over:
            return {}
        message = f"Could not read a message: the arguments of the tool call {call.name!r} are no JSON object: {error}"
        raise LMStudioProtocolError(message) from error


class MessageReader(StreamReader[MessageStreamEvent, Message]):
    """Reads the stream of one message."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._blocks: dict[int, _Block] = {}
        self._end: MessageDelta | None = None

    def feed(self, event: ServerSentEvent) -> MessageStreamEvent | None:
        """The next event; None for a ping."""
        known = _DECODER.decode(event)
        if known is None or isinstance(known, Ping):
            return None
        if isinstance(known, ContentBlockDelta):
            self._add(known)
        elif isinstance(known, ContentBlockStart):
            self._blocks[known.index] = _Block(known.content_block)
        elif isinstance(known, MessageStart):
            self._message = known.message
        elif isinstance(known, MessageDelta):
            self._end = known
        elif isinstance(known, MessageStop):
            self.is_over = True
        return known

    def _add(self, event: ContentBlockDelta) -> None:
        # A block of a kind that is not known has not begun here. What it holds is in the events.
        if (block := self._blocks.get(event.index)) is not None:
            block.add(event)

    def has_content(self, event: MessageStreamEvent) -> bool:
        """Whether the model has written something."""
        return isinstance(event, (ContentBlockStart, ContentBlockDelta))

    def result(self) -> Message:
        """The message as far as it has come."""
        message = self._message
        if message is None:
            raise LMStudioRuntimeError("There is no message yet: the stream has not begun.")
        content = [self._blocks[index].whole(is_over=self.is_over) for index in sorted(self._blocks)]
        if (end := self._end) is None:
            return replaced(message, content=content)
        return replaced(
            message,
            content=content,
            stop_reason=end.delta.stop_reason,
            stop_sequence=end.delta.stop_sequence,
            usage=_total(message.usage, end.usage),
        )


def _total(begin: Usage, end: Usage) -> Usage:
    """The tokens of both ends; LM Studio's own documentation has those of the prompt at the beginning only."""
    return replaced(end, input_tokens=end.input_tokens or begin.input_tokens)
