"""What the process of a plugin tells its host, and the channels through which the host calls its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, runtime_checkable

import msgspec

from lmstudio._endpoints.plugins import (
    PLUGIN_INIT_COMPLETED,
    REPORT_ERROR,
    SET_CONFIG_SCHEMATICS,
    SET_GENERATOR,
    SET_GLOBAL_CONFIG_SCHEMATICS,
    SET_PREDICTION_LOOP_HANDLER,
    SET_PROMPT_PREPROCESSOR,
    SET_TOOLS_PROVIDER,
)
from lmstudio._sdk_models import (
    PluginRuntimeErrorReportNetworkUnavailable,
    PluginRuntimeErrorReportUnauthorized,
    PluginsChannelSetGeneratorToClientPacket,
    PluginsChannelSetGeneratorToServerPacket,
    PluginsChannelSetPredictionLoopHandlerToClientPacket,
    PluginsChannelSetPredictionLoopHandlerToServerPacket,
    PluginsChannelSetPromptPreprocessorToClientPacket,
    PluginsChannelSetPromptPreprocessorToServerPacket,
    PluginsChannelSetToolsProviderToClientPacket,
    PluginsChannelSetToolsProviderToServerPacket,
    PluginsRpcConfigSchematicsParameter,
    SerializedKVConfigSchematics,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.json_api import InT, OutT

if TYPE_CHECKING:
    from lmstudio._endpoints import ChannelSpec, Rpc
    from lmstudio._port import Port
    from lmstudio._sdk_models import PluginRuntimeErrorReport


@runtime_checkable
class _HasWireForm(Protocol):
    """Configuration schematics that know their wire form."""

    def to_wire(self) -> SerializedKVConfigSchematics:
        """The wire form."""
        ...


SchematicsInput: TypeAlias = "SerializedKVConfigSchematics | _HasWireForm"
"""Configuration schematics as the wire has them, or an object whose `to_wire()` makes that."""


async def set_config_schematics(port: Port, schematics: SchematicsInput) -> None:
    """Declare the settings that the plugin has in each chat. Protocol: rpc plugins/setConfigSchematics."""
    await _set_schematics(port, SET_CONFIG_SCHEMATICS, schematics)


async def set_global_config_schematics(port: Port, schematics: SchematicsInput) -> None:
    """Declare the settings that the plugin has once. Protocol: rpc plugins/setGlobalConfigSchematics."""
    await _set_schematics(port, SET_GLOBAL_CONFIG_SCHEMATICS, schematics)


async def _set_schematics(
    port: Port, rpc: Rpc[PluginsRpcConfigSchematicsParameter, None], schematics: SchematicsInput
) -> None:
    wire = schematics.to_wire() if isinstance(schematics, _HasWireForm) else schematics
    if not isinstance(wire, SerializedKVConfigSchematics):
        raise LMStudioValueError(
            f"Expected configuration schematics, or a SerializedKVConfigSchematics; got {type(schematics).__name__}."
        )
    await port.call(rpc, PluginsRpcConfigSchematicsParameter(schematics=wire), "declare the plugin's settings")


async def init_completed(port: Port) -> None:
    """Say that all hooks are there. Protocol: rpc plugins/pluginInitCompleted."""
    await port.call(PLUGIN_INIT_COMPLETED, None, "tell the host that the plugin is ready")


async def report_error(port: Port, report: PluginRuntimeErrorReport | Mapping[str, Any]) -> None:
    """Tell the host what keeps the plugin from working. Protocol: rpc plugins/reportError."""
    await port.call(REPORT_ERROR, read_error_report(report), "report an error to the host")


_Report: TypeAlias = PluginRuntimeErrorReportUnauthorized | PluginRuntimeErrorReportNetworkUnavailable
_REPORTS: dict[str, type[_Report]] = {
    report.type: report for report in (PluginRuntimeErrorReportUnauthorized, PluginRuntimeErrorReportNetworkUnavailable)
}


def read_error_report(report: PluginRuntimeErrorReport | Mapping[str, Any]) -> PluginRuntimeErrorReport:
    """What a user gave as a report.

    Raises:
        LMStudioValueError: it is none.
    """
    if isinstance(report, (PluginRuntimeErrorReportUnauthorized, PluginRuntimeErrorReportNetworkUnavailable)):
        return report
    kind = report.get("type") if isinstance(report, Mapping) else None
    struct = _REPORTS.get(kind) if isinstance(kind, str) else None
    if struct is None:
        raise LMStudioValueError(f"Expected a report of the type {' or '.join(_REPORTS)}, got {report!r:.200}.")
    try:
        return struct.from_dict(report)
    except msgspec.ValidationError as error:
        raise LMStudioValueError(f"The report {report!r:.200} cannot be used: {error}.") from error


class ServedHook(Generic[InT, OutT]):
    """The channel through which the host calls one hook, open as long as the plugin runs."""

    def __init__(self, port: Port, spec: ChannelSpec[None, InT, OutT], what: str) -> None:
        attempted = f"serve as {what} of the plugin"
        self._channel = port.channel(spec, None, attempted)
        # The host may have nothing to say for days.
        self._channel.limits = port.new_limits(attempted, is_patient=True)
        self._channel.open()

    async def receive(self) -> InT:
        """The next packet of the host.

        Raises:
            LMStudioServerError: the host refuses the hook, or has ended it.
            LMStudioChannelClosedError: the registration of the plugin has ended.
            LMStudioWebsocketError: the connection to the host is lost.
            LMStudioCancelledError: `close` was called.
        """
        return await self._channel.receive()

    def send(self, packet: OutT) -> None:
        """Send *packet*, at once and without waiting. Does nothing when the channel is over."""
        self._channel.send(packet)

    def close(self) -> None:
        """Stop listening; who waits in `receive` gets LMStudioCancelledError."""
        if not self._channel.finished:
            self._channel.close()


PromptPreprocessorHook: TypeAlias = ServedHook[
    PluginsChannelSetPromptPreprocessorToClientPacket, PluginsChannelSetPromptPreprocessorToServerPacket
]
PredictionLoopHandlerHook: TypeAlias = ServedHook[
    PluginsChannelSetPredictionLoopHandlerToClientPacket, PluginsChannelSetPredictionLoopHandlerToServerPacket
]
ToolsProviderHook: TypeAlias = ServedHook[
    PluginsChannelSetToolsProviderToClientPacket, PluginsChannelSetToolsProviderToServerPacket
]
GeneratorHook: TypeAlias = ServedHook[
    PluginsChannelSetGeneratorToClientPacket, PluginsChannelSetGeneratorToServerPacket
]


def open_prompt_preprocessor(port: Port) -> PromptPreprocessorHook:
    """Let the host call the plugin's prompt preprocessor. Protocol: channel plugins/setPromptPreprocessor."""
    return ServedHook(port, SET_PROMPT_PREPROCESSOR, "prompt preprocessor")


def open_prediction_loop_handler(port: Port) -> PredictionLoopHandlerHook:
    """Let the host call the plugin's prediction loop handler. Protocol: channel plugins/setPredictionLoopHandler."""
    return ServedHook(port, SET_PREDICTION_LOOP_HANDLER, "prediction loop handler")


def open_tools_provider(port: Port) -> ToolsProviderHook:
    """Let the host use the plugin's tools. Protocol: channel plugins/setToolsProvider."""
    return ServedHook(port, SET_TOOLS_PROVIDER, "tools provider")


def open_generator(port: Port) -> GeneratorHook:
    """Let the host use the plugin's generator. Protocol: channel plugins/setGenerator."""
    return ServedHook(port, SET_GENERATOR, "generator")
