"""From the packets of a prediction to the blocks of Anthropic's messages, and to the events that tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lmstudio._http_models.anthropic import (
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    SignatureDelta,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolUseBlock,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmstudio._http_models.anthropic import OutputBlock
    from lmstudio.server.output import Packet

__all__ = ["Blocks"]

_TextKind: TypeAlias = Literal["text", "thinking"]


@dataclass
class _Block:
    """A block, as far as it has come."""

    kind: _TextKind | Literal["tool_use"]
    texts: list[str] = field(default_factory=list)
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None
    """None for a call that has not become complete."""

    def whole(self) -> OutputBlock | None:
        """As it stands in a message; None for a call that is none."""
        if self.kind == "text":
            return TextBlock(text="".join(self.texts))
        if self.kind == "thinking":
            return ThinkingBlock(thinking="".join(self.texts))
        return None if self.input is None else ToolUseBlock(id=self.id, name=self.name, input=self.input)


class Blocks:
    """The blocks of one message, one after the other. White space alone is no block: Anthropic has none such."""

    def __init__(self, *, separates_reasoning: bool) -> None:
        self._separates_reasoning = separates_reasoning
        self._blocks: list[_Block] = []
        self._open: _Block | None = None
        self._space: dict[_TextKind, str] = {}
        """White space that waits for the text or the reasoning that it begins."""
        self._call_id = ""

    def content(self) -> list[OutputBlock]:
        """All blocks, once the packets have ended. What could not be read as a call is text only."""
        return [whole for block in self._blocks if (whole := block.whole()) is not None]

    @property
    def has_tool_use(self) -> bool:
        """Whether a tool has been called."""
        return any(block.input is not None for block in self._blocks)

    def feed(self, packets: Sequence[Packet]) -> Iterator[ContentBlockStart | ContentBlockDelta | ContentBlockStop]:
        """Take *packets* in; the events for them."""
        for packet in packets:
            match packet:
                case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                    if not self._separates_reasoning or fragment.reasoning_type == "none":
                        yield from self._text("text", fragment.content)
                    elif fragment.reasoning_type == "reasoning":
                        yield from self._text("thinking", fragment.content)
                case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                    self._call_id = call_id or ""
                case LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name):
                    yield from self._begin(_Block("tool_use", id=self._call_id, name=name))
                case LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text):
                    yield self._delta(InputJsonDelta(partial_json=text))
                case LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request):
                    if self._open is not None:
                        self._open.input = request.arguments or {}
                    yield from self.finish()
                case LlmChannelPredictToClientPacketToolCallGenerationFailed(raw_content=raw):
                    # Its beginning may have been streamed as a call, and cannot be taken back.
                    yield from self.finish()
                    yield from self._text("text", raw or "")
                case _:
                    pass

    def finish(self) -> Iterator[ContentBlockDelta | ContentBlockStop]:
        """End the block that is open, if one is; the events for that."""
        block, self._open, self._space = self._open, None, {}
        if block is None:
            return
        index = len(self._blocks) - 1
        if block.kind == "thinking":
            yield ContentBlockDelta(index=index, delta=SignatureDelta(signature=""))
        yield ContentBlockStop(index=index)

    def _text(self, kind: _TextKind, text: str) -> Iterator[ContentBlockStart | ContentBlockDelta | ContentBlockStop]:
        if self._open is None or self._open.kind != kind:
            text = self._space.get(kind, "") + text
            if not text.strip():
                self._space = {kind: text}
                return
            yield from self._begin(_Block(kind))
        yield self._delta(TextDelta(text=text) if kind == "text" else ThinkingDelta(thinking=text))

    def _begin(self, block: _Block) -> Iterator[ContentBlockStart | ContentBlockDelta | ContentBlockStop]:
        yield from self.finish()
        self._open = block
        self._blocks.append(block)
        empty: OutputBlock
        if block.kind == "tool_use":
            empty = ToolUseBlock(id=block.id, name=block.name, input={})
        else:
            empty = TextBlock(text="") if block.kind == "text" else ThinkingBlock(thinking="")
        yield ContentBlockStart(index=len(self._blocks) - 1, content_block=empty)

    def _delta(self, delta: TextDelta | ThinkingDelta | InputJsonDelta) -> ContentBlockDelta:
        assert self._open is not None
        if not isinstance(delta, InputJsonDelta):
            self._open.texts.append(delta.text if isinstance(delta, TextDelta) else delta.thinking)
        return ContentBlockDelta(index=len(self._blocks) - 1, delta=delta)
