"""What a model writes as the items of a response, and as the events of its stream."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmstudio._http_models import encode
from lmstudio._http_models.openai_responses import (
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    FunctionCallItem,
    McpCallArgumentsDelta,
    McpCallArgumentsDone,
    McpCallCompleted,
    McpCallFailed,
    McpCallInProgress,
    McpCallItem,
    McpListToolsCompleted,
    McpListToolsInProgress,
    McpListToolsItem,
    McpTool,
    MessageItem,
    OutputItemAdded,
    OutputItemDone,
    OutputText,
    OutputTextDelta,
    OutputTextDone,
    ReasoningItem,
    ReasoningText,
    ReasoningTextDelta,
    ReasoningTextDone,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)
from lmstudio.server.http.openai_replies import logprobs
from lmstudio.server.http.work import arguments_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.openai_responses import ItemStatus, OutputItem, Response, ResponseEvent
    from lmstudio._sdk_models import LlmToken, ToolCallRequest
    from lmstudio.server.output import Packet

__all__ = ["Output"]


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(24)}"


@dataclass
class _Open:
    """The item that is being written; it is the last one."""

    item: OutputItem
    pieces: list[str] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Output:
    """Packets of a prediction into items, and into events for who wants a stream.

    What the model wrote in place of a call is text. If that shows only when the item of the call has been announced, a
    stream has this item nevertheless, as incomplete; a whole reply does not.
    """

    def __init__(self, *, is_stream: bool, separates_reasoning: bool, labels: Mapping[str, str]) -> None:
        """*labels* are those of the MCP servers, by the names of their tools."""
        self.items: list[OutputItem] = []
        """Of these the last one may be unfinished, as far as it has come."""
        self._is_stream = is_stream
        self._separates_reasoning = separates_reasoning
        self._labels = labels
        self._waiting: dict[str, int] = {}
        """Calls of MCP servers' tools that have no answer yet: their items, by their own ids."""
        self._open: _Open | None = None
        self._call_id = ""
        self._space = ""
        """White space that reasoning has begun with, if there is any."""
        self._events: list[bytes] = []
        self._number = 0

    def take_events(self) -> bytes:
        """The events since the last time, as they travel."""
        events, self._events = self._events, []
        return b"".join(events)

    def add_response(self, event_type: type[Any], response: Response) -> None:
        """An event about the response as a whole."""
        self._emit(event_type, response=response)

    def add(self, packets: Sequence[Packet]) -> None:
        """Take the next packets in."""
        for packet in packets:
            match packet:
                case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                    kind = fragment.reasoning_type
                    if kind == "none" or not self._separates_reasoning:
                        self._add_text(fragment.content, fragment.tokens or ())
                    elif kind == "reasoning":
                        self._add_reasoning(fragment.content)
                case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                    self._close("completed")
                    self._call_id = call_id or _new_id("call")
                case LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name):
                    self._begin_call(name)
                case LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text):
                    self._add_arguments(text)
                case LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request):
                    self._end_call(request)
                case LlmChannelPredictToClientPacketToolCallGenerationFailed(raw_content=raw):
                    self._close("incomplete")
                    self._add_text(raw or "", ())
                case _:
                    pass

    def finish(self, status: ItemStatus) -> None:
        """End the items that have not ended: the model writes no more."""
        self._close(status)
        for call_id in list(self._waiting):
            self._end_waiting(call_id, None)

    # Tools of MCP servers --------------------------------------------------------------------------------------------

    def list_tools(self, label: str, tools: Sequence[Mapping[str, Any]]) -> None:
        """What the server *label* offers."""
        offered = [
            McpTool(
                name=tool["name"],
                description=tool.get("description"),
                input_schema=dict(tool["parameters"]),
                annotations=None,
            )
            for tool in tools
        ]
        item = McpListToolsItem(id=_new_id("mcpl"), server_label=label, tools=offered, error=None)
        self.items.append(item)
        self._emit(OutputItemAdded, output_index=self._index, item=item)
        self._emit_inside(McpListToolsInProgress)
        self._emit_inside(McpListToolsCompleted)
        self._emit(OutputItemDone, output_index=self._index, item=item)

    def answered(self, call_id: str, answer: str) -> None:
        """The tool has answered the call."""
        self._end_waiting(call_id, answer)

    def _end_waiting(self, call_id: str, answer: str | None) -> None:
        index = self._waiting.pop(call_id)
        item = self.items[index]
        assert isinstance(item, McpCallItem)
        item.output = answer
        item.status = "incomplete" if answer is None else "completed"
        self._emit(McpCallFailed if answer is None else McpCallCompleted, item_id=item.id, output_index=index)
        self._emit(OutputItemDone, output_index=index, item=item)

    # Text ------------------------------------------------------------------------------------------------------------

    def _add_text(self, text: str, tokens: Sequence[LlmToken]) -> None:
        if not text and not tokens:
            return
        opened = self._open
        if opened is None or not isinstance(opened.item, MessageItem):
            opened = self._begin(MessageItem(id=_new_id("msg"), role="assistant", status="in_progress", content=[]))
            self._emit_inside(ContentPartAdded, content_index=0, part=OutputText(text="", annotations=[], logprobs=[]))
        found = logprobs(tokens)
        probabilities = [] if found is None else found["content"]
        opened.pieces.append(text)
        opened.tokens += probabilities
        self._emit_inside(OutputTextDelta, content_index=0, delta=text, logprobs=probabilities)

    def _add_reasoning(self, text: str) -> None:
        opened = self._open
        if opened is None or not isinstance(opened.item, ReasoningItem):
            text = self._space + text
            if not text.strip():  # models that are told not to reason leave the place for it empty
                self._space = text
                return
            self._space = ""
            opened = self._begin(ReasoningItem(id=_new_id("rs"), status="in_progress", summary=[], content=[]))
            self._emit_inside(ContentPartAdded, content_index=0, part=ReasoningText(text=""))
        opened.pieces.append(text)
        self._emit_inside(ReasoningTextDelta, content_index=0, delta=text)

    # Calls -----------------------------------------------------------------------------------------------------------

    def _begin_call(self, name: str) -> None:
        if name in self._labels:
            self._begin_mcp_call(name)
            return
        call = FunctionCallItem(id=_new_id("fc"), call_id=self._call_id, name=name, arguments="", status="in_progress")
        self._begin(call)

    def _begin_mcp_call(self, name: str) -> None:
        call = McpCallItem(
            id=_new_id("mcp"),
            server_label=self._labels[name],
            name=name,
            arguments="",
            output=None,
            error=None,
            status="in_progress",
            approval_request_id=None,
        )
        self._begin(call)
        self._emit_inside(McpCallInProgress)

    def _add_arguments(self, text: str) -> None:
        if self._open is not None and text:
            self._open.pieces.append(text)
            is_mcp = isinstance(self._open.item, McpCallItem)
            self._emit_inside(McpCallArgumentsDelta if is_mcp else FunctionCallArgumentsDelta, delta=text)

    def _end_call(self, request: ToolCallRequest) -> None:
        if self._open is not None and not self._open.pieces:  # a call without arguments
            self._add_arguments(arguments_text(request.arguments))
        self._close("completed")

    # Items -----------------------------------------------------------------------------------------------------------

    def _begin(self, item: OutputItem) -> _Open:
        self._close("completed")
        opened = self._open = _Open(item)
        self.items.append(item)
        self._emit(OutputItemAdded, output_index=self._index, item=item)
        return opened

    def _close(self, status: ItemStatus) -> None:
        opened = self._open
        if opened is None:
            return
        self._open = None
        item, text = opened.item, opened.text
        if isinstance(item, McpCallItem):
            self._close_mcp_call(item, text, status)
            return
        assert not isinstance(item, McpListToolsItem)
        item.status = status
        match item:
            case MessageItem():
                part = OutputText(text=text, annotations=[], logprobs=opened.tokens)
                item.content = [part]
                self._emit_inside(OutputTextDone, content_index=0, text=text, logprobs=opened.tokens)
                self._emit_inside(ContentPartDone, content_index=0, part=part)
            case ReasoningItem():
                item.content = [ReasoningText(text=text)]
                self._emit_inside(ReasoningTextDone, content_index=0, text=text)
                self._emit_inside(ContentPartDone, content_index=0, part=item.content[0])
            case FunctionCallItem():
                item.arguments = text
                if status == "completed":
                    self._emit_inside(FunctionCallArgumentsDone, name=item.name, arguments=text)
        self._emit(OutputItemDone, output_index=self._index, item=item)
        if isinstance(item, FunctionCallItem) and status != "completed" and not self._is_stream:
            self.items.pop()

    def _close_mcp_call(self, item: McpCallItem, text: str, status: ItemStatus) -> None:
        """The call is written; it ends when the tool has answered."""
        item.arguments = text
        if status == "completed":
            self._emit_inside(McpCallArgumentsDone, arguments=text)
            self._waiting[self._call_id] = self._index
            return
        item.status = status
        self._emit_inside(McpCallFailed)
        self._emit(OutputItemDone, output_index=self._index, item=item)
        if not self._is_stream:
            self.items.pop()

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def _index(self) -> int:
        return len(self.items) - 1

    def _emit_inside(self, event_type: type[Any], **members: Any) -> None:
        self._emit(event_type, item_id=self.items[-1].id, output_index=self._index, **members)

    def _emit(self, event_type: type[Any], **members: Any) -> None:
        if not self._is_stream:
            return
        event: ResponseEvent = event_type(sequence_number=self._number, **members)
        self._number += 1
        name = event_type.__struct_config__.tag
        # Encoded at once, because an item goes on to change.
        self._events.append(b"event: " + name.encode() + b"\ndata: " + encode(event) + b"\n\n")
