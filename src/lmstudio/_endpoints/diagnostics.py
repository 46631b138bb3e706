"""Endpoints of the namespace diagnostics."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec
from lmstudio._sdk_models import (
    DiagnosticsChannelStreamLogsToClientPacket,
    DiagnosticsChannelStreamLogsToServerPacket,
)

STREAM_LOGS: ChannelSpec[
    None, DiagnosticsChannelStreamLogsToClientPacket, DiagnosticsChannelStreamLogsToServerPacket
] = ChannelSpec(
    "streamLogs",
    None,
    DiagnosticsChannelStreamLogsToClientPacket,
    DiagnosticsChannelStreamLogsToServerPacket,
    ("log.data",),
)
