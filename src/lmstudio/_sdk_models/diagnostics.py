# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import field

from .shared import ChannelPacketStop, LlmPredictionStats


class DiagnosticsLogEventDataLlmPredictionInput(LMStudioStruct, kw_only=True, tag_field="type", tag="llm.prediction.input"):
    """Part of DiagnosticsLogEvent."""

    type: ClassVar[Literal["llm.prediction.input"]] = "llm.prediction.input"
    input: str
    model_path: str
    model_identifier: str


LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]


class DiagnosticsLogEventDataRuntimeLog(LMStudioStruct, kw_only=True, tag_field="type", tag="runtime.log"):
    """Part of DiagnosticsLogEvent."""

    type: ClassVar[Literal["runtime.log"]] = "runtime.log"
    level: LogLevel
    message: str
    engine_name: str
    engine_version: str
    engine_type: str
    model_identifier: str | None = None
    instance_reference: str | None = None
    pid: int | None = None


class DiagnosticsLogEventDataLlmPredictionOutput(LMStudioStruct, kw_only=True, tag_field="type", tag="llm.prediction.output"):
    """Part of DiagnosticsLogEvent."""

    type: ClassVar[Literal["llm.prediction.output"]] = "llm.prediction.output"
    output: str
    model_identifier: str
    stats: LlmPredictionStats | None = None


class DiagnosticsLogEventDataServerLog(LMStudioStruct, kw_only=True, tag_field="type", tag="server.log"):
    """Part of DiagnosticsLogEvent."""

    type: ClassVar[Literal["server.log"]] = "server.log"
    content: str
    level: LogLevel


DiagnosticsChannelStreamLogsToServerPacket: TypeAlias = ChannelPacketStop


DiagnosticsChannelStreamLogsToServerPacketStop: TypeAlias = ChannelPacketStop


DiagnosticsLogEventData: TypeAlias = DiagnosticsLogEventDataLlmPredictionInput | DiagnosticsLogEventDataLlmPredictionOutput | DiagnosticsLogEventDataServerLog | DiagnosticsLogEventDataRuntimeLog


class DiagnosticsLogEvent(LMStudioStruct, kw_only=True):
    """Part of DiagnosticsChannelStreamLogsToClientPacketLog."""

    timestamp: float
    data: DiagnosticsLogEventData


class DiagnosticsChannelStreamLogsToClientPacketLog(LMStudioStruct, tag_field="type", tag="log", kw_only=True):
    """Packet `log` from the server, channel diagnostics/streamLogs."""

    type: ClassVar[Literal["log"]] = "log"
    log: DiagnosticsLogEvent


DiagnosticsChannelStreamLogsToClientPacket: TypeAlias = DiagnosticsChannelStreamLogsToClientPacketLog
