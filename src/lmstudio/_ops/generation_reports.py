"""What a generator of a plugin tells its host: packets of the channel `plugins/setGenerator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._ops.processing import read_struct
from lmstudio._sdk_models import (
    PluginsChannelSetGeneratorToServerPacketFragmentGenerated,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived,
    PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted,
    SerializedLMSExtendedError,
)
from lmstudio.errors import LMStudioServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmstudio._sdk_models import PluginsChannelSetGeneratorToServerPacket, ToolCallRequest


class GenerationReports:
    """Tells the host what the generator of one task does. Sending never waits."""

    def __init__(self, task_id: str, send: Callable[[PluginsChannelSetGeneratorToServerPacket], object]) -> None:
        self._task_id, self._send = task_id, send

    def _tell(self, packet: Any, **members: Any) -> None:
        self._send(read_struct(packet, "report what is generated", task_id=self._task_id, **members))

    def fragment(self, content: str, **options: Any) -> None:
        """A piece of text."""
        given = {name: value for name, value in options.items() if value is not None}
        self._tell(PluginsChannelSetGeneratorToServerPacketFragmentGenerated, content=content, opts=given)

    def started(self, tool_call_id: str | None) -> None:
        """A request for a tool begins."""
        self._tell(PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted, tool_call_id=tool_call_id)

    def name(self, tool_name: str) -> None:
        """The name of its tool."""
        self._tell(PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived, tool_name=tool_name)

    def arguments(self, content: str) -> None:
        """More of its arguments."""
        self._tell(PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated, content=content)

    def ended(self, tool_call_request: ToolCallRequest | Mapping[str, Any]) -> None:
        """It is complete."""
        packet = PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded
        self._tell(packet, tool_call_request=tool_call_request)

    def failed(self, error: BaseException | str) -> None:
        """It cannot be read."""
        title = str(error) or type(error).__name__
        known = error if isinstance(error, LMStudioServerError) else None
        report = SerializedLMSExtendedError(
            title=title,
            root_title=title,
            cause=None if known is None else known.cause,
            suggestion=None if known is None else known.suggestion,
        )
        self._tell(PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed, error=report)
