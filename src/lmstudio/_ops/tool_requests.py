"""The tool calls that a model writes during a prediction: packets in, events out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated as ArgumentFragmentPacket,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationEnd as EndPacket,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationFailed as FailedPacket,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived as NamePacket,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketToolCallGenerationStart as StartPacket,
)
from lmstudio.errors import ToolCallRequestInvalidFormatError
from lmstudio.events import (
    ToolCallArgumentsEvent,
    ToolCallEvent,
    ToolCallFailedEvent,
    ToolCallNameEvent,
    ToolCallStartEvent,
)
from lmstudio.results import ToolCallRequestInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.events import ToolCallEvents

__all__ = ["ToolCallTracker"]


class ToolCallTracker:
    """Follows the tool calls of one prediction, which come one after the other."""

    def __init__(self, call_ids: Iterator[int]) -> None:
        self._call_ids = call_ids
        self._call_id: int | None = None
        """The call that is being written."""
        self._has_name = self._has_arguments = False
        self.calls: list[ToolCallRequestInfo] = []
        self.errors: list[ToolCallRequestInvalidFormatError] = []

    def take(self, packet: object) -> list[ToolCallEvents]:
        """The events of a packet; none for one that does not concern tool calls."""
        match packet:
            case StartPacket(tool_call_id=tool_call_id):
                return [self._start(tool_call_id)]
            case NamePacket(name=name):
                self._has_name = True
                return [*self._missing_start(), ToolCallNameEvent(self._current(), name)]
            case ArgumentFragmentPacket(content=content):
                self._has_arguments = True
                return [*self._missing_start(), ToolCallArgumentsEvent(self._current(), content)]
            case EndPacket():
                return [*self._missing_start(), *self._end(packet)]
            case FailedPacket():
                message = packet.error.title or packet.error.root_title or "it has an unexpected form"
                return [*self._missing_start(), self._fail(f"The model's tool call cannot be read: {message}", packet)]
        return []

    def interrupt(self, reason: object) -> list[ToolCallEvents]:
        """The prediction has failed: the call that was being written will not be complete."""
        if self._call_id is None:
            return []
        return [self._fail(f"The model's tool call was cut off: {reason}")]

    def _start(self, tool_call_id: str | None) -> ToolCallStartEvent:
        self._call_id = next(self._call_ids)
        self._has_name = self._has_arguments = False
        return ToolCallStartEvent(self._call_id, tool_call_id)

    def _missing_start(self) -> list[ToolCallEvents]:
        return [self._start(None)] if self._call_id is None else []

    def _current(self) -> int:
        assert self._call_id is not None
        return self._call_id

    def _end(self, packet: EndPacket) -> list[ToolCallEvents]:
        # As lmstudio.js: who shows the call piece by piece gets every piece, also from servers that send it whole.
        call_id, request = self._current(), packet.tool_call_request
        events: list[ToolCallEvents] = []
        if not self._has_name:
            events.append(ToolCallNameEvent(call_id, request.name))
        if not self._has_arguments:
            arguments = json.dumps(request.arguments or {}, indent=2, ensure_ascii=False)
            events.append(ToolCallArgumentsEvent(call_id, arguments))
        events.append(ToolCallEvent(call_id, request, packet.raw_content))
        self.calls.append(ToolCallRequestInfo(call_id, request, packet.raw_content))
        self._call_id = None
        return events

    def _fail(self, message: str, packet: FailedPacket | None = None) -> ToolCallFailedEvent:
        details: dict[str, Any] | None = None if packet is None else packet.error.to_dict()
        error = ToolCallRequestInvalidFormatError(
            message, details, raw_content=None if packet is None else packet.raw_content
        )
        self.errors.append(error)
        event = ToolCallFailedEvent(self._current(), error)
        self._call_id = None
        return event
