# Generated from async_contexts.py by tools/make_sync.py. Edit that file instead.
"""What a tool of a plugin knows about its call, for tools that are plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._abort import AbortSignal, check_signal
from lmstudio._ops.processing import read_struct
from lmstudio._sdk_models import (
    PluginsChannelSetToolsProviderToServerPacketToolCallStatus,
    PluginsChannelSetToolsProviderToServerPacketToolCallWarn,
)
from lmstudio._sync_io import SyncBase

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._sdk_models import PluginsChannelSetToolsProviderToServerPacket

__all__ = ["ToolCallContext"]


class ToolCallContext(SyncBase):
    """The call of a tool, for the tool itself: what it tells goes to the user, and not to the model.

    A tool gets it in a parameter with this type hint, which the model does not see.
    """

    def __init__(
        self,
        session_id: str,
        call_id: str,
        send_json: Callable[[PluginsChannelSetToolsProviderToServerPacket], object],
        signal: AbortSignal | None = None,
    ) -> None:
        """Contexts come from the runner of plugins; tests may make their own.

        Args:
            session_id: The session that the tool belongs to.
            call_id: The host's name for the call.
            send_json: Passes a packet on, from any thread and without waiting.
            signal: Aborted when the result is not wanted any more.
        """
        check_signal(signal)
        self.session_id: str = session_id
        """The session that the tool belongs to."""
        self.call_id: str = call_id
        """The host's name for the call."""
        self.signal: AbortSignal = signal or AbortSignal()
        """Aborted when the result is not wanted any more. A tool that takes long should look at it."""
        self._send = send_json

    @classmethod
    def _of_running_call(cls) -> ToolCallContext:
        """What a parameter of this type gets: it is asked for by `lmstudio._tool_reading`."""
        from lmstudio.plugin._runner import calls

        return calls.get_tool_call_context()

    def notify_status(self, message: str) -> None:
        """Say what the tool is doing."""
        packet = read_struct(
            PluginsChannelSetToolsProviderToServerPacketToolCallStatus,
            "report the status of a tool",
            session_id=self.session_id,
            call_id=self.call_id,
            status_text=message,
        )
        self._send(packet)

    def notify_warning(self, message: str) -> None:
        """Say that something was not as expected, which the tool has coped with."""
        packet = read_struct(
            PluginsChannelSetToolsProviderToServerPacketToolCallWarn,
            "report a warning of a tool",
            session_id=self.session_id,
            call_id=self.call_id,
            warn_text=message,
        )
        self._send(packet)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(session_id={self.session_id!r}, call_id={self.call_id!r})"
