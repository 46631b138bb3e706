"""The namespace diagnostics: what happens in the server, as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio._endpoints.diagnostics import STREAM_LOGS
from lmstudio._sdk_models import DiagnosticsChannelStreamLogsToClientPacketLog

if TYPE_CHECKING:
    from lmstudio._sdk_models import (
        DiagnosticsChannelStreamLogsToClientPacket,
        DiagnosticsChannelStreamLogsToServerPacket,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    DiagnosticsHandlers(core).bind(handlers)


class DiagnosticsHandlers:
    """The handlers of the namespace."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        handlers.channel(STREAM_LOGS, self._stream_logs)

    async def _stream_logs(
        self,
        _: ClientContext,
        __: None,
        channel: ServerChannel[DiagnosticsChannelStreamLogsToClientPacket, DiagnosticsChannelStreamLogsToServerPacket],
    ) -> None:
        with self._core.events.watch() as watcher:
            channel.listen(lambda _: watcher.end())
            while (event := await watcher.next()) is not None:
                channel.send(DiagnosticsChannelStreamLogsToClientPacketLog(log=event))
                await channel.drain()
