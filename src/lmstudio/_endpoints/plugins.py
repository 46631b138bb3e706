"""Endpoints of the namespace plugins."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    ChannelPacketCancel,
    ChatHistoryData,
    PluginRuntimeErrorReport,
    PluginsChannelGenerateWithGeneratorCreationParameter,
    PluginsChannelGenerateWithGeneratorToClientPacket,
    PluginsChannelRegisterDevelopmentPluginCreationParameter,
    PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
    PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
    PluginsChannelSetGeneratorToClientPacket,
    PluginsChannelSetGeneratorToServerPacket,
    PluginsChannelSetPredictionLoopHandlerToClientPacket,
    PluginsChannelSetPredictionLoopHandlerToServerPacket,
    PluginsChannelSetPromptPreprocessorToClientPacket,
    PluginsChannelSetPromptPreprocessorToServerPacket,
    PluginsChannelSetToolsProviderToClientPacket,
    PluginsChannelSetToolsProviderToServerPacket,
    PluginsChannelStartToolUseSessionCreationParameter,
    PluginsChannelStartToolUseSessionToClientPacket,
    PluginsChannelStartToolUseSessionToServerPacket,
    PluginsRpcConfigSchematicsParameter,
    PluginsRpcProcessingGetOrLoadTokenSourceReturns,
    PluginsRpcProcessingHandleRequestParameter,
    PluginsRpcProcessingHandleRequestReturns,
    PluginsRpcProcessingHandleUpdateParameter,
    PluginsRpcProcessingNameParameter,
    PluginsRpcProcessingParameter,
    PluginsRpcProcessingPullHistoryParameter,
)

# Of whoever develops plugins, and of whoever uses them.
REINDEX_PLUGINS: Rpc[None, None] = Rpc("reindexPlugins", None, None)
REGISTER_DEVELOPMENT_PLUGIN: ChannelSpec[
    PluginsChannelRegisterDevelopmentPluginCreationParameter,
    PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
    PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
] = ChannelSpec(
    "registerDevelopmentPlugin",
    PluginsChannelRegisterDevelopmentPluginCreationParameter,
    PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
    PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
    ("clientIdentifier", "clientPasskey"),
)
START_TOOL_USE_SESSION: ChannelSpec[
    PluginsChannelStartToolUseSessionCreationParameter,
    PluginsChannelStartToolUseSessionToClientPacket,
    PluginsChannelStartToolUseSessionToServerPacket,
] = ChannelSpec(
    "startToolUseSession",
    PluginsChannelStartToolUseSessionCreationParameter,
    PluginsChannelStartToolUseSessionToClientPacket,
    PluginsChannelStartToolUseSessionToServerPacket,
    ("sessionReady.toolDefinitions",),
    omissible={"callTool": "arguments"},
)
GENERATE_WITH_GENERATOR: ChannelSpec[
    PluginsChannelGenerateWithGeneratorCreationParameter,
    PluginsChannelGenerateWithGeneratorToClientPacket,
    ChannelPacketCancel,
] = ChannelSpec(
    "generateWithGenerator",
    PluginsChannelGenerateWithGeneratorCreationParameter,
    PluginsChannelGenerateWithGeneratorToClientPacket,
    ChannelPacketCancel,
    ("toolCallGenerationEnd.toolCallRequest.arguments",),  # as in llm/predict
)

# Of the plugin's process.
SET_PROMPT_PREPROCESSOR: ChannelSpec[
    None, PluginsChannelSetPromptPreprocessorToClientPacket, PluginsChannelSetPromptPreprocessorToServerPacket
] = ChannelSpec(
    "setPromptPreprocessor",
    None,
    PluginsChannelSetPromptPreprocessorToClientPacket,
    PluginsChannelSetPromptPreprocessorToServerPacket,
)
SET_PREDICTION_LOOP_HANDLER: ChannelSpec[
    None, PluginsChannelSetPredictionLoopHandlerToClientPacket, PluginsChannelSetPredictionLoopHandlerToServerPacket
] = ChannelSpec(
    "setPredictionLoopHandler",
    None,
    PluginsChannelSetPredictionLoopHandlerToClientPacket,
    PluginsChannelSetPredictionLoopHandlerToServerPacket,
)
SET_TOOLS_PROVIDER: ChannelSpec[
    None, PluginsChannelSetToolsProviderToClientPacket, PluginsChannelSetToolsProviderToServerPacket
] = ChannelSpec(
    "setToolsProvider",
    None,
    PluginsChannelSetToolsProviderToClientPacket,
    PluginsChannelSetToolsProviderToServerPacket,
    omissible={"toolCallComplete": "result"},
)
SET_GENERATOR: ChannelSpec[None, PluginsChannelSetGeneratorToClientPacket, PluginsChannelSetGeneratorToServerPacket] = (
    ChannelSpec(
        "setGenerator", None, PluginsChannelSetGeneratorToClientPacket, PluginsChannelSetGeneratorToServerPacket
    )
)
SET_CONFIG_SCHEMATICS: Rpc[PluginsRpcConfigSchematicsParameter, None] = Rpc(
    "setConfigSchematics", PluginsRpcConfigSchematicsParameter, None
)
SET_GLOBAL_CONFIG_SCHEMATICS: Rpc[PluginsRpcConfigSchematicsParameter, None] = Rpc(
    "setGlobalConfigSchematics", PluginsRpcConfigSchematicsParameter, None
)
PLUGIN_INIT_COMPLETED: Rpc[None, None] = Rpc("pluginInitCompleted", None, None)
REPORT_ERROR: Rpc[PluginRuntimeErrorReport, None] = Rpc("reportError", PluginRuntimeErrorReport, None)

# Of a hook that works on a message.
PROCESSING_HANDLE_UPDATE: Rpc[PluginsRpcProcessingHandleUpdateParameter, None] = Rpc(
    "processingHandleUpdate", PluginsRpcProcessingHandleUpdateParameter, None
)
PROCESSING_HANDLE_REQUEST: Rpc[PluginsRpcProcessingHandleRequestParameter, PluginsRpcProcessingHandleRequestReturns] = (
    Rpc("processingHandleRequest", PluginsRpcProcessingHandleRequestParameter, PluginsRpcProcessingHandleRequestReturns)
)
PROCESSING_PULL_HISTORY: Rpc[PluginsRpcProcessingPullHistoryParameter, ChatHistoryData] = Rpc(
    "processingPullHistory", PluginsRpcProcessingPullHistoryParameter, ChatHistoryData, is_read=True
)
PROCESSING_GET_OR_LOAD_TOKEN_SOURCE: Rpc[
    PluginsRpcProcessingParameter, PluginsRpcProcessingGetOrLoadTokenSourceReturns
] = Rpc(
    "processingGetOrLoadTokenSource", PluginsRpcProcessingParameter, PluginsRpcProcessingGetOrLoadTokenSourceReturns
)
PROCESSING_HAS_STATUS: Rpc[PluginsRpcProcessingParameter, bool] = Rpc(
    "processingHasStatus", PluginsRpcProcessingParameter, bool, is_read=True
)
PROCESSING_NEEDS_NAMING: Rpc[PluginsRpcProcessingParameter, bool] = Rpc(
    "processingNeedsNaming", PluginsRpcProcessingParameter, bool, is_read=True
)
PROCESSING_SUGGEST_NAME: Rpc[PluginsRpcProcessingNameParameter, None] = Rpc(
    "processingSuggestName", PluginsRpcProcessingNameParameter, None
)
PROCESSING_SET_SENDER_NAME: Rpc[PluginsRpcProcessingNameParameter, None] = Rpc(
    "processingSetSenderName", PluginsRpcProcessingNameParameter, None
)
