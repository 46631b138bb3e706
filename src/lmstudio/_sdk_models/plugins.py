# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import (
    AnyChatMessage,
    ChannelPacketCancel,
    ChannelPacketSuccess,
    ChatHistoryData,
    KebabCase,
    KebabCaseWithDots,
    KvConfig,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmPredictionFragmentReasoningType,
    LlmPredictionStats,
    LlmToken,
    LlmTool,
    ModelDownloadSource,
    PromptProcessingDetails,
    SerializedLMSExtendedError,
    ToolCallRequest,
)

StatusStepStatus: TypeAlias = Literal["waiting", "loading", "done", "error", "canceled"]


class BlockLocationBeforeId(LMStudioStruct, kw_only=True, tag_field="type", tag="beforeId"):
    """Part of ProcessingUpdateStatusCreate."""

    type: ClassVar[Literal["beforeId"]] = "beforeId"
    id: str


class BlockLocationAfterId(LMStudioStruct, kw_only=True, tag_field="type", tag="afterId"):
    """Part of ProcessingUpdateStatusCreate."""

    type: ClassVar[Literal["afterId"]] = "afterId"
    id: str


class ProcessingUpdateStatusRemove(LMStudioStruct, kw_only=True, tag_field="type", tag="status.remove"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["status.remove"]] = "status.remove"
    id: str


ProcessingUpdateCitationBlockCreatePageNumberRange: TypeAlias = Annotated[
    list[int], Meta(max_length=2)
]


ProcessingUpdateCitationBlockCreateLineNumberRange: TypeAlias = Annotated[
    list[int], Meta(max_length=2)
]


class ProcessingUpdateCitationBlockCreate(LMStudioStruct, kw_only=True, tag_field="type", tag="citationBlock.create"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["citationBlock.create"]] = "citationBlock.create"
    id: str
    cited_text: str
    file_name: str
    file_identifier: str
    page_number: int | ProcessingUpdateCitationBlockCreatePageNumberRange | None = None
    line_number: int | ProcessingUpdateCitationBlockCreateLineNumberRange | None = None


class ProcessingUpdateDebugInfoBlockCreate(LMStudioStruct, kw_only=True, tag_field="type", tag="debugInfoBlock.create"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["debugInfoBlock.create"]] = "debugInfoBlock.create"
    id: str
    debug_info: str


ProcessingUpdateContentBlockCreateRoleOverride: TypeAlias = Literal["user", "assistant", "system", "tool"]


class ContentBlockStyleDefault(LMStudioStruct, kw_only=True, tag_field="type", tag="default"):
    """Part of ProcessingUpdateContentBlockCreate, ProcessingUpdateContentBlockSetStyle."""

    type: ClassVar[Literal["default"]] = "default"
    force_render_as_plain_text: bool | None = None


ColorPalette: TypeAlias = Literal["red", "green", "blue", "yellow", "orange", "purple", "default"]


class ContentBlockStyleThinking(LMStudioStruct, kw_only=True, tag_field="type", tag="thinking"):
    """Part of ProcessingUpdateContentBlockCreate, ProcessingUpdateContentBlockSetStyle."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    ended: bool | None = None
    title: str | None = None
    force_render_as_plain_text: bool | None = None


class ProcessingUpdateContentBlockAppendText(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.appendText"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.appendText"]] = "contentBlock.appendText"
    id: str
    text: str
    tokens_count: int | None = None
    from_draft_model: bool | None = None
    is_structural: bool | None = None


class ProcessingUpdateContentBlockAppendToolRequest(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.appendToolRequest"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.appendToolRequest"]] = (
        "contentBlock.appendToolRequest"
    )
    id: str
    call_id: int
    name: str
    parameters: dict[str, Any]
    tool_call_request_id: str | None = None
    plugin_identifier: str | None = None


class ProcessingUpdateContentBlockReplaceToolRequest(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.replaceToolRequest"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.replaceToolRequest"]] = (
        "contentBlock.replaceToolRequest"
    )
    id: str
    call_id: int
    name: str
    parameters: dict[str, Any]
    tool_call_request_id: str | None = None
    plugin_identifier: str | None = None


class ProcessingUpdateContentBlockAppendToolResult(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.appendToolResult"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.appendToolResult"]] = (
        "contentBlock.appendToolResult"
    )
    id: str
    call_id: int
    content: str
    tool_call_request_id: str | None = None
    name: str | None = None


class ProcessingUpdateContentBlockReplaceText(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.replaceText"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.replaceText"]] = "contentBlock.replaceText"
    id: str
    text: str


class ProcessingUpdateContentBlockSetPrefix(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.setPrefix"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.setPrefix"]] = "contentBlock.setPrefix"
    id: str
    prefix: str


class ProcessingUpdateContentBlockSetSuffix(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.setSuffix"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.setSuffix"]] = "contentBlock.setSuffix"
    id: str
    suffix: str


class ToolStatusStepStateStatusGeneratingToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="generatingToolCall"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["generatingToolCall"]] = "generatingToolCall"
    name: str | None = None
    plugin_identifier: str | None = None
    arguments_string: str | None = None


class ToolStatusStepStateStatusToolCallGenerationFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationFailed"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["toolCallGenerationFailed"]] = "toolCallGenerationFailed"
    error: str
    raw_content: str | None = None


class ToolStatusStepStateStatusToolCallQueued(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallQueued"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["toolCallQueued"]] = "toolCallQueued"


class ToolStatusStepStateStatusConfirmingToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="confirmingToolCall"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["confirmingToolCall"]] = "confirmingToolCall"


class ToolStatusStepStateStatusToolCallDenied(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallDenied"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["toolCallDenied"]] = "toolCallDenied"
    deny_reason: str | None = None


class ToolStatusStepStateStatusCallingTool(LMStudioStruct, kw_only=True, tag_field="type", tag="callingTool"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["callingTool"]] = "callingTool"


class ToolStatusStepStateStatusToolCallFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallFailed"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["toolCallFailed"]] = "toolCallFailed"
    error: str


class ToolStatusStepStateStatusToolCallSucceeded(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallSucceeded"):
    """Part of ToolStatusStepState."""

    type: ClassVar[Literal["toolCallSucceeded"]] = "toolCallSucceeded"
    time_ms: int


class ProcessingUpdateToolStatusArgumentFragment(LMStudioStruct, kw_only=True, tag_field="type", tag="toolStatus.argumentFragment"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["toolStatus.argumentFragment"]] = (
        "toolStatus.argumentFragment"
    )
    id: str
    content: str


class ProcessingUpdateSetSenderName(LMStudioStruct, kw_only=True, tag_field="type", tag="setSenderName"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["setSenderName"]] = "setSenderName"
    name: str


class ProcessingRequestConfirmToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="confirmToolCall"):
    """Part of PluginsRpcProcessingHandleRequestParameter."""

    type: ClassVar[Literal["confirmToolCall"]] = "confirmToolCall"
    call_id: int
    name: str
    parameters: dict[str, Any]
    plugin_identifier: str | None = None


class ProcessingRequestTextInput(LMStudioStruct, kw_only=True, tag_field="type", tag="textInput"):
    """Part of PluginsRpcProcessingHandleRequestParameter."""

    type: ClassVar[Literal["textInput"]] = "textInput"
    prompt: str


class ProcessingRequestResponseConfirmToolCallResultAllow(LMStudioStruct, kw_only=True, tag_field="type", tag="allow"):
    """Part of ProcessingRequestResponseConfirmToolCall."""

    type: ClassVar[Literal["allow"]] = "allow"
    tool_args_override: dict[str, Any] | None = None


class ProcessingRequestResponseConfirmToolCallResultDeny(LMStudioStruct, kw_only=True, tag_field="type", tag="deny"):
    """Part of ProcessingRequestResponseConfirmToolCall."""

    type: ClassVar[Literal["deny"]] = "deny"
    deny_reason: str | None = None


class ProcessingRequestResponseTextInput(LMStudioStruct, kw_only=True, tag_field="type", tag="textInput"):
    """Part of PluginsRpcProcessingHandleRequestReturns."""

    type: ClassVar[Literal["textInput"]] = "textInput"
    result: str


class PluginsRpcProcessingPullHistoryParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/processingPullHistory."""

    pci: str
    token: str
    include_current: bool


class TokenSourceIdentifierModel(LMStudioStruct, kw_only=True, tag_field="type", tag="model"):
    """Part of PluginsRpcProcessingGetOrLoadTokenSourceReturns."""

    type: ClassVar[Literal["model"]] = "model"
    identifier: str


class TokenSourceIdentifierGenerator(LMStudioStruct, kw_only=True, tag_field="type", tag="generator"):
    """Part of PluginsRpcProcessingGetOrLoadTokenSourceReturns."""

    type: ClassVar[Literal["generator"]] = "generator"
    plugin_identifier: str


class SerializedKVConfigSchematicsField(LMStudioStruct, kw_only=True):
    """Part of SerializedKVConfigSchematics."""

    short_key: str
    full_key: str
    type_key: str
    type_params: Any
    default_value: Any


class PluginRuntimeErrorReportUnauthorized(LMStudioStruct, kw_only=True, tag_field="type", tag="unauthorized"):
    """Parameter of the rpc plugins/reportError."""

    type: ClassVar[Literal["unauthorized"]] = "unauthorized"
    plugin_run_id: str
    server_url: str
    message: str


class PluginRuntimeErrorReportNetworkUnavailable(LMStudioStruct, kw_only=True, tag_field="type", tag="networkUnavailable"):
    """Parameter of the rpc plugins/reportError."""

    type: ClassVar[Literal["networkUnavailable"]] = "networkUnavailable"
    plugin_run_id: str
    server_url: str
    message: str
    unavailable_host: str | None = None


class PluginConfigSpecifierPredictionProcess(LMStudioStruct, kw_only=True, tag_field="type", tag="predictionProcess"):
    """Part of PluginsChannelGenerateWithGeneratorCreationParameter and 1 more."""

    type: ClassVar[Literal["predictionProcess"]] = "predictionProcess"
    pci: str
    token: str


class PluginsChannelStartToolUseSessionToClientPacketToolCallComplete(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallComplete"):
    """Packet `toolCallComplete` from the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["toolCallComplete"]] = "toolCallComplete"
    call_id: float
    result: Any


class PluginsChannelStartToolUseSessionToClientPacketToolCallStatus(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallStatus"):
    """Packet `toolCallStatus` from the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["toolCallStatus"]] = "toolCallStatus"
    call_id: float
    status_text: str


class PluginsChannelStartToolUseSessionToClientPacketToolCallWarn(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallWarn"):
    """Packet `toolCallWarn` from the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["toolCallWarn"]] = "toolCallWarn"
    call_id: float
    warn_text: str


class PluginsChannelStartToolUseSessionToServerPacketCallTool(LMStudioStruct, kw_only=True, tag_field="type", tag="callTool"):
    """Packet `callTool` to the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["callTool"]] = "callTool"
    call_id: float
    name: str
    arguments: Any


class PluginsChannelStartToolUseSessionToServerPacketAbortToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="abortToolCall"):
    """Packet `abortToolCall` to the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["abortToolCall"]] = "abortToolCall"
    call_id: float


class PluginsChannelStartToolUseSessionToServerPacketDiscardSession(LMStudioStruct, kw_only=True, tag_field="type", tag="discardSession"):
    """Packet `discardSession` to the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["discardSession"]] = "discardSession"


class PluginsChannelGenerateWithGeneratorToClientPacketPromptProcessingProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="promptProcessingProgress"):
    """Packet `promptProcessingProgress` from the server, channel plugins/generateWithGenerator."""

    type: ClassVar[Literal["promptProcessingProgress"]] = "promptProcessingProgress"
    progress: float
    details: PromptProcessingDetails | None = None


PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationStart: TypeAlias = LlmChannelPredictToClientPacketToolCallGenerationStart


PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationNameReceived: TypeAlias = LlmChannelPredictToClientPacketToolCallGenerationNameReceived


PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationArgumentFragmentGenerated: TypeAlias = LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated


class PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationEnd"):
    """Packet `toolCallGenerationEnd` from the server, channel plugins/generateWithGenerator."""

    type: ClassVar[Literal["toolCallGenerationEnd"]] = "toolCallGenerationEnd"
    tool_call_request: ToolCallRequest


class PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationFailed"):
    """Packet `toolCallGenerationFailed` from the server, channel plugins/generateWithGenerator."""

    type: ClassVar[Literal["toolCallGenerationFailed"]] = "toolCallGenerationFailed"


PluginRunnerType: TypeAlias = Literal["ecmascript", "node", "deno", "mcpBridge"]


PluginSandboxFileSystemSettingsType: TypeAlias = Literal["restricted", "none"]


class PluginSandboxNetworkSettings(LMStudioStruct, kw_only=True):
    """Part of PluginSandboxSettings."""

    hosts: list[str] | Literal["*"]
    reason: str


ArtifactModelDependencyModelKeysItem: TypeAlias = Annotated[str, Meta(min_length=1)]


ArtifactDependencyPurpose: TypeAlias = Literal["baseModel", "draftModel", "custom"]


class ArtifactArtifactDependency(LMStudioStruct, kw_only=True, tag_field="type", tag="artifact"):
    """Part of PluginManifest."""

    type: ClassVar[Literal["artifact"]] = "artifact"
    purpose: ArtifactDependencyPurpose
    owner: KebabCase
    name: KebabCaseWithDots


class PluginsChannelRegisterDevelopmentPluginToClientPacketReady(LMStudioStruct, tag_field="type", tag="ready", kw_only=True):
    """Packet `ready` from the server, channel plugins/registerDevelopmentPlugin."""

    type: ClassVar[Literal["ready"]] = "ready"
    client_identifier: str
    client_passkey: str
    base_url: str | None = None
    deno_broker_ipc_path: str | None = None


class PluginsChannelRegisterDevelopmentPluginToServerPacketEnd(LMStudioStruct, tag_field="type", tag="end", kw_only=True):
    """Packet `end` to the server, channel plugins/registerDevelopmentPlugin."""

    type: ClassVar[Literal["end"]] = "end"


class AvailablePluginInfo(LMStudioStruct, kw_only=True):
    """Part of PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop and 1 more."""

    identifier: str
    is_dev: bool
    is_trusted: bool
    has_prompt_preprocessor: bool
    has_prediction_loop_handler: bool
    has_tools_provider: bool
    has_generator: bool


class PluginsChannelSetToolsProviderToClientPacketDiscardSession(LMStudioStruct, kw_only=True, tag_field="type", tag="discardSession"):
    """Packet `discardSession` from the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["discardSession"]] = "discardSession"
    session_id: str


class PluginsChannelSetToolsProviderToClientPacketCallTool(LMStudioStruct, kw_only=True, tag_field="type", tag="callTool"):
    """Packet `callTool` from the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["callTool"]] = "callTool"
    session_id: str
    call_id: str
    tool_name: str
    parameters: Any


class PluginsChannelSetToolsProviderToClientPacketAbortToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="abortToolCall"):
    """Packet `abortToolCall` from the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["abortToolCall"]] = "abortToolCall"
    session_id: str
    call_id: str


class PluginsChannelSetToolsProviderToServerPacketToolCallComplete(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallComplete"):
    """Packet `toolCallComplete` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["toolCallComplete"]] = "toolCallComplete"
    session_id: str
    call_id: str
    result: Any


class PluginsChannelSetToolsProviderToServerPacketToolCallStatus(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallStatus"):
    """Packet `toolCallStatus` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["toolCallStatus"]] = "toolCallStatus"
    session_id: str
    call_id: str
    status_text: str


class PluginsChannelSetToolsProviderToServerPacketToolCallWarn(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallWarn"):
    """Packet `toolCallWarn` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["toolCallWarn"]] = "toolCallWarn"
    session_id: str
    call_id: str
    warn_text: str


class PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationStarted"):
    """Packet `toolCallGenerationStarted` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["toolCallGenerationStarted"]] = "toolCallGenerationStarted"
    task_id: str
    tool_call_id: str | None = None


class PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationNameReceived"):
    """Packet `toolCallGenerationNameReceived` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["toolCallGenerationNameReceived"]] = (
        "toolCallGenerationNameReceived"
    )
    task_id: str
    tool_name: str


class PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationArgumentFragmentGenerated"):
    """Packet `toolCallGenerationArgumentFragmentGenerated` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["toolCallGenerationArgumentFragmentGenerated"]] = (
        "toolCallGenerationArgumentFragmentGenerated"
    )
    task_id: str
    content: str


class PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationEnded"):
    """Packet `toolCallGenerationEnded` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["toolCallGenerationEnded"]] = "toolCallGenerationEnded"
    task_id: str
    tool_call_request: ToolCallRequest


PluginsRpcProcessingHasStatusReturns: TypeAlias = bool


PluginsRpcProcessingNeedsNamingReturns: TypeAlias = bool


class PluginsRpcProcessingParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/processingGetOrLoadTokenSource, plugins/processingHasStatus and 1 more."""

    pci: str
    token: str


class PluginsRpcProcessingNameParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/processingSuggestName, plugins/processingSetSenderName."""

    pci: str
    token: str
    name: str


class PluginsChannelToClientPacketAbort(LMStudioStruct, kw_only=True, tag_field="type", tag="abort"):
    """Packet `abort` from the server, channel plugins/setPromptPreprocessor, plugins/setPredictionLoopHandler and 1 more."""

    type: ClassVar[Literal["abort"]] = "abort"
    task_id: str


class PluginsChannelToServerPacketAborted(LMStudioStruct, kw_only=True, tag_field="type", tag="aborted"):
    """Packet `aborted` to the server, channel plugins/setPromptPreprocessor, plugins/setPredictionLoopHandler and 1 more."""

    type: ClassVar[Literal["aborted"]] = "aborted"
    task_id: str


class PluginsChannelToServerPacketComplete(LMStudioStruct, kw_only=True, tag_field="type", tag="complete"):
    """Packet `complete` to the server, channel plugins/setPredictionLoopHandler, plugins/setGenerator."""

    type: ClassVar[Literal["complete"]] = "complete"
    task_id: str


class StatusStepState(LMStudioStruct, kw_only=True):
    """Part of ProcessingUpdateStatusCreate, ProcessingUpdateStatusUpdate."""

    status: StatusStepStatus
    text: str


BlockLocation: TypeAlias = BlockLocationBeforeId | BlockLocationAfterId


class ProcessingUpdateStatusUpdate(LMStudioStruct, kw_only=True, tag_field="type", tag="status.update"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["status.update"]] = "status.update"
    id: str
    state: StatusStepState


class ContentBlockStyleCustomLabel(LMStudioStruct, kw_only=True, tag_field="type", tag="customLabel"):
    """Part of ProcessingUpdateContentBlockCreate, ProcessingUpdateContentBlockSetStyle."""

    type: ClassVar[Literal["customLabel"]] = "customLabel"
    label: str
    color: ColorPalette | None = None
    force_render_as_plain_text: bool | None = None


class LlmGenInfo(LMStudioStruct, kw_only=True):
    """Part of ProcessingUpdateContentBlockAttachGenInfo."""

    indexed_model_identifier: str
    identifier: str
    load_model_config: KvConfig
    prediction_config: KvConfig
    stats: LlmPredictionStats


ToolStatusStepStateStatus: TypeAlias = ToolStatusStepStateStatusGeneratingToolCall | ToolStatusStepStateStatusToolCallGenerationFailed | ToolStatusStepStateStatusToolCallQueued | ToolStatusStepStateStatusConfirmingToolCall | ToolStatusStepStateStatusToolCallDenied | ToolStatusStepStateStatusCallingTool | ToolStatusStepStateStatusToolCallFailed | ToolStatusStepStateStatusToolCallSucceeded


ProcessingRequest: TypeAlias = ProcessingRequestConfirmToolCall | ProcessingRequestTextInput


ProcessingRequestResponseConfirmToolCallResult: TypeAlias = ProcessingRequestResponseConfirmToolCallResultAllow | ProcessingRequestResponseConfirmToolCallResultDeny


PluginsRpcProcessingGetOrLoadTokenSourceParameter: TypeAlias = PluginsRpcProcessingParameter


TokenSourceIdentifier: TypeAlias = TokenSourceIdentifierModel | TokenSourceIdentifierGenerator


PluginsRpcProcessingHasStatusParameter: TypeAlias = PluginsRpcProcessingParameter


PluginsRpcProcessingNeedsNamingParameter: TypeAlias = PluginsRpcProcessingParameter


PluginsRpcProcessingSuggestNameParameter: TypeAlias = PluginsRpcProcessingNameParameter


PluginsRpcProcessingSetSenderNameParameter: TypeAlias = PluginsRpcProcessingNameParameter


class SerializedKVConfigSchematics(LMStudioStruct, kw_only=True):
    """Part of PluginsRpcConfigSchematicsParameter."""

    fields: list[SerializedKVConfigSchematicsField]
    extension_prefixes: list[str] | None = None


PluginRuntimeErrorReport: TypeAlias = PluginRuntimeErrorReportUnauthorized | PluginRuntimeErrorReportNetworkUnavailable


class PluginConfigSpecifierDirect(LMStudioStruct, kw_only=True, tag_field="type", tag="direct"):
    """Part of PluginsChannelGenerateWithGeneratorCreationParameter and 1 more."""

    type: ClassVar[Literal["direct"]] = "direct"
    config: KvConfig
    working_directory_path: str | None = None


PluginsChannelStartToolUseSessionToServerPacket: TypeAlias = PluginsChannelStartToolUseSessionToServerPacketCallTool | PluginsChannelStartToolUseSessionToServerPacketAbortToolCall | PluginsChannelStartToolUseSessionToServerPacketDiscardSession


PluginsChannelGenerateWithGeneratorToClientPacketSuccess: TypeAlias = ChannelPacketSuccess


PluginsChannelGenerateWithGeneratorToServerPacket: TypeAlias = ChannelPacketCancel


PluginsChannelGenerateWithGeneratorToServerPacketCancel: TypeAlias = ChannelPacketCancel


class PluginSandboxFileSystemSettings(LMStudioStruct, kw_only=True):
    """Part of PluginSandboxSettings."""

    type: PluginSandboxFileSystemSettingsType
    reason: str


PluginsChannelRegisterDevelopmentPluginToClientPacket: TypeAlias = PluginsChannelRegisterDevelopmentPluginToClientPacketReady


PluginsChannelRegisterDevelopmentPluginToServerPacket: TypeAlias = PluginsChannelRegisterDevelopmentPluginToServerPacketEnd


PluginsChannelSetPromptPreprocessorToClientPacketAbort: TypeAlias = PluginsChannelToClientPacketAbort


PluginsChannelSetPromptPreprocessorToServerPacketAborted: TypeAlias = PluginsChannelToServerPacketAborted


class PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop(LMStudioStruct, kw_only=True, tag_field="type", tag="handlePredictionLoop"):
    """Packet `handlePredictionLoop` from the server, channel plugins/setPredictionLoopHandler."""

    type: ClassVar[Literal["handlePredictionLoop"]] = "handlePredictionLoop"
    task_id: str
    config: KvConfig
    plugin_config: KvConfig
    global_plugin_config: KvConfig
    working_directory_path: str | None
    enabled_plugin_infos: list[AvailablePluginInfo]
    pci: str
    token: str


PluginsChannelSetPredictionLoopHandlerToClientPacketAbort: TypeAlias = PluginsChannelToClientPacketAbort


PluginsChannelSetPredictionLoopHandlerToServerPacketComplete: TypeAlias = PluginsChannelToServerPacketComplete


PluginsChannelSetPredictionLoopHandlerToServerPacketAborted: TypeAlias = PluginsChannelToServerPacketAborted


class PluginsChannelSetToolsProviderToClientPacketInitSession(LMStudioStruct, kw_only=True, tag_field="type", tag="initSession"):
    """Packet `initSession` from the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["initSession"]] = "initSession"
    plugin_config: KvConfig
    global_plugin_config: KvConfig
    working_directory_path: str | None
    session_id: str


PluginsChannelSetGeneratorToClientPacketAbort: TypeAlias = PluginsChannelToClientPacketAbort


PluginsChannelSetGeneratorToServerPacketComplete: TypeAlias = PluginsChannelToServerPacketComplete


PluginsChannelSetGeneratorToServerPacketAborted: TypeAlias = PluginsChannelToServerPacketAborted


class LlmPredictionFragmentInputOpts(LMStudioStruct, kw_only=True):
    """Part of PluginsChannelSetGeneratorToServerPacketFragmentGenerated."""

    token_count: int | None = None
    contains_drafted: bool | None = None
    reasoning_type: LlmPredictionFragmentReasoningType | None = None
    is_structural: bool | None = None
    tokens: list[LlmToken] | None = None


PluginsRpcReportErrorParameter: TypeAlias = PluginRuntimeErrorReport


class PluginsRpcConfigSchematicsParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/setConfigSchematics, plugins/setGlobalConfigSchematics."""

    schematics: SerializedKVConfigSchematics


class ProcessingUpdateStatusCreate(LMStudioStruct, kw_only=True, tag_field="type", tag="status.create"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["status.create"]] = "status.create"
    id: str
    state: StatusStepState
    location: BlockLocation | None = None
    indentation: int | None = None


ContentBlockStyle: TypeAlias = ContentBlockStyleDefault | ContentBlockStyleCustomLabel | ContentBlockStyleThinking


class ProcessingUpdateContentBlockAttachGenInfo(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.attachGenInfo"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.attachGenInfo"]] = "contentBlock.attachGenInfo"
    id: str
    gen_info: LlmGenInfo


class ProcessingUpdateContentBlockSetStyle(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.setStyle"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.setStyle"]] = "contentBlock.setStyle"
    id: str
    style: ContentBlockStyle


class ToolStatusStepState(LMStudioStruct, kw_only=True):
    """Part of ProcessingUpdateToolStatusCreate, ProcessingUpdateToolStatusUpdate."""

    status: ToolStatusStepStateStatus
    custom_status: str
    custom_warnings: list[str]


class ProcessingUpdateToolStatusUpdate(LMStudioStruct, kw_only=True, tag_field="type", tag="toolStatus.update"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["toolStatus.update"]] = "toolStatus.update"
    id: str
    state: ToolStatusStepState


class PluginsRpcProcessingHandleRequestParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/processingHandleRequest."""

    pci: str
    token: str
    request: ProcessingRequest


class ProcessingRequestResponseConfirmToolCall(LMStudioStruct, kw_only=True, tag_field="type", tag="confirmToolCall"):
    """Part of PluginsRpcProcessingHandleRequestReturns."""

    type: ClassVar[Literal["confirmToolCall"]] = "confirmToolCall"
    result: ProcessingRequestResponseConfirmToolCallResult


class PluginsRpcProcessingGetOrLoadTokenSourceReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc plugins/processingGetOrLoadTokenSource."""

    token_source_identifier: TokenSourceIdentifier


PluginsRpcSetConfigSchematicsParameter: TypeAlias = PluginsRpcConfigSchematicsParameter


PluginsRpcSetGlobalConfigSchematicsParameter: TypeAlias = PluginsRpcConfigSchematicsParameter


PluginConfigSpecifier: TypeAlias = PluginConfigSpecifierDirect | PluginConfigSpecifierPredictionProcess


class PluginSandboxSettings(LMStudioStruct, kw_only=True):
    """Part of PluginManifest."""

    enabled: bool
    reason: str | None = None
    file_system: PluginSandboxFileSystemSettings | None = None
    network: PluginSandboxNetworkSettings | None = None


class ArtifactModelDependency(LMStudioStruct, kw_only=True, tag_field="type", tag="model"):
    """Part of PluginManifest."""

    type: ClassVar[Literal["model"]] = "model"
    purpose: ArtifactDependencyPurpose
    model_keys: list[ArtifactModelDependencyModelKeysItem]
    sources: list[ModelDownloadSource]


PluginsChannelSetPredictionLoopHandlerToClientPacket: TypeAlias = PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop | PluginsChannelToClientPacketAbort


PluginsChannelSetToolsProviderToClientPacket: TypeAlias = PluginsChannelSetToolsProviderToClientPacketInitSession | PluginsChannelSetToolsProviderToClientPacketDiscardSession | PluginsChannelSetToolsProviderToClientPacketCallTool | PluginsChannelSetToolsProviderToClientPacketAbortToolCall


class PluginsChannelSetGeneratorToServerPacketFragmentGenerated(LMStudioStruct, kw_only=True, tag_field="type", tag="fragmentGenerated"):
    """Packet `fragmentGenerated` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["fragmentGenerated"]] = "fragmentGenerated"
    task_id: str
    content: str
    opts: LlmPredictionFragmentInputOpts


class ProcessingUpdateContentBlockCreate(LMStudioStruct, kw_only=True, tag_field="type", tag="contentBlock.create"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["contentBlock.create"]] = "contentBlock.create"
    id: str
    include_in_context: bool
    role_override: ProcessingUpdateContentBlockCreateRoleOverride | None = None
    style: ContentBlockStyle | None = None
    prefix: str | None = None
    suffix: str | None = None


class ProcessingUpdateToolStatusCreate(LMStudioStruct, kw_only=True, tag_field="type", tag="toolStatus.create"):
    """Part of PluginsRpcProcessingHandleUpdateParameter."""

    type: ClassVar[Literal["toolStatus.create"]] = "toolStatus.create"
    id: str
    call_id: int
    state: ToolStatusStepState


ProcessingRequestResponse: TypeAlias = ProcessingRequestResponseConfirmToolCall | ProcessingRequestResponseTextInput


class PluginsChannelStartToolUseSessionCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel plugins/startToolUseSession."""

    plugin_identifier: str
    plugin_config_specifier: PluginConfigSpecifier


class PluginsChannelStartToolUseSessionToClientPacketToolCallError(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallError"):
    """Packet `toolCallError` from the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["toolCallError"]] = "toolCallError"
    call_id: float
    error: SerializedLMSExtendedError


PluginsChannelGenerateWithGeneratorToClientPacket: TypeAlias = LlmChannelPredictToClientPacketFragment | PluginsChannelGenerateWithGeneratorToClientPacketPromptProcessingProgress | LlmChannelPredictToClientPacketToolCallGenerationStart | LlmChannelPredictToClientPacketToolCallGenerationNameReceived | LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated | PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationEnd | PluginsChannelGenerateWithGeneratorToClientPacketToolCallGenerationFailed | ChannelPacketSuccess


PluginsChannelGenerateWithGeneratorToClientPacketFragment: TypeAlias = LlmChannelPredictToClientPacketFragment


ArtifactDependency: TypeAlias = ArtifactModelDependency | ArtifactArtifactDependency


class PluginsChannelSetToolsProviderToServerPacketSessionInitializationFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="sessionInitializationFailed"):
    """Packet `sessionInitializationFailed` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["sessionInitializationFailed"]] = (
        "sessionInitializationFailed"
    )
    session_id: str
    error: SerializedLMSExtendedError


class PluginsChannelSetToolsProviderToServerPacketToolCallError(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallError"):
    """Packet `toolCallError` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["toolCallError"]] = "toolCallError"
    session_id: str
    call_id: str
    error: SerializedLMSExtendedError


class PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationFailed"):
    """Packet `toolCallGenerationFailed` to the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["toolCallGenerationFailed"]] = "toolCallGenerationFailed"
    task_id: str
    error: SerializedLMSExtendedError


class PluginsChannelToServerPacketError(LMStudioStruct, kw_only=True, tag_field="type", tag="error"):
    """Packet `error` to the server, channel plugins/setPromptPreprocessor, plugins/setPredictionLoopHandler and 1 more."""

    type: ClassVar[Literal["error"]] = "error"
    task_id: str
    error: SerializedLMSExtendedError


ProcessingUpdate: TypeAlias = ProcessingUpdateStatusCreate | ProcessingUpdateStatusUpdate | ProcessingUpdateStatusRemove | ProcessingUpdateCitationBlockCreate | ProcessingUpdateDebugInfoBlockCreate | ProcessingUpdateContentBlockCreate | ProcessingUpdateContentBlockAppendText | ProcessingUpdateContentBlockAppendToolRequest | ProcessingUpdateContentBlockReplaceToolRequest | ProcessingUpdateContentBlockAppendToolResult | ProcessingUpdateContentBlockReplaceText | ProcessingUpdateContentBlockSetPrefix | ProcessingUpdateContentBlockSetSuffix | ProcessingUpdateContentBlockAttachGenInfo | ProcessingUpdateContentBlockSetStyle | ProcessingUpdateToolStatusCreate | ProcessingUpdateToolStatusUpdate | ProcessingUpdateToolStatusArgumentFragment | ProcessingUpdateSetSenderName


class PluginsRpcProcessingHandleRequestReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc plugins/processingHandleRequest."""

    response: ProcessingRequestResponse


class PluginsChannelStartToolUseSessionToClientPacketSessionReady(LMStudioStruct, kw_only=True, tag_field="type", tag="sessionReady"):
    """Packet `sessionReady` from the server, channel plugins/startToolUseSession."""

    type: ClassVar[Literal["sessionReady"]] = "sessionReady"
    tool_definitions: list[LlmTool]


class PluginManifest(LMStudioStruct, tag_field="type", tag="plugin", kw_only=True):
    """Part of PluginsChannelRegisterDevelopmentPluginCreationParameter."""

    type: ClassVar[Literal["plugin"]] = "plugin"
    runner: PluginRunnerType
    owner: KebabCase
    name: Annotated[
        str, Meta(max_length=100, min_length=1, pattern="^[a-z0-9]+(?:[-.][a-z0-9]+)*$")
    ]
    sandbox: PluginSandboxSettings | None = None
    revision: int | None = None
    dependencies: list[ArtifactDependency] | None = None
    tags: list[str] | None = None


class PluginsChannelSetPromptPreprocessorToClientPacketPreprocess(LMStudioStruct, kw_only=True, tag_field="type", tag="preprocess"):
    """Packet `preprocess` from the server, channel plugins/setPromptPreprocessor."""

    type: ClassVar[Literal["preprocess"]] = "preprocess"
    task_id: str
    input: AnyChatMessage
    config: KvConfig
    plugin_config: KvConfig
    global_plugin_config: KvConfig
    working_directory_path: str | None
    enabled_plugin_infos: list[AvailablePluginInfo]
    pci: str
    token: str


class PluginsChannelSetPromptPreprocessorToServerPacketComplete(LMStudioStruct, kw_only=True, tag_field="type", tag="complete"):
    """Packet `complete` to the server, channel plugins/setPromptPreprocessor."""

    type: ClassVar[Literal["complete"]] = "complete"
    task_id: str
    processed: AnyChatMessage


PluginsChannelSetPromptPreprocessorToServerPacketError: TypeAlias = PluginsChannelToServerPacketError


PluginsChannelSetPredictionLoopHandlerToServerPacket: TypeAlias = PluginsChannelToServerPacketComplete | PluginsChannelToServerPacketAborted | PluginsChannelToServerPacketError


PluginsChannelSetPredictionLoopHandlerToServerPacketError: TypeAlias = PluginsChannelToServerPacketError


class PluginsChannelSetToolsProviderToServerPacketSessionInitialized(LMStudioStruct, kw_only=True, tag_field="type", tag="sessionInitialized"):
    """Packet `sessionInitialized` to the server, channel plugins/setToolsProvider."""

    type: ClassVar[Literal["sessionInitialized"]] = "sessionInitialized"
    session_id: str
    tool_definitions: list[LlmTool]


PluginsChannelSetGeneratorToServerPacket: TypeAlias = PluginsChannelToServerPacketComplete | PluginsChannelToServerPacketAborted | PluginsChannelToServerPacketError | PluginsChannelSetGeneratorToServerPacketFragmentGenerated | PluginsChannelSetGeneratorToServerPacketToolCallGenerationStarted | PluginsChannelSetGeneratorToServerPacketToolCallGenerationNameReceived | PluginsChannelSetGeneratorToServerPacketToolCallGenerationArgumentFragmentGenerated | PluginsChannelSetGeneratorToServerPacketToolCallGenerationEnded | PluginsChannelSetGeneratorToServerPacketToolCallGenerationFailed


PluginsChannelSetGeneratorToServerPacketError: TypeAlias = PluginsChannelToServerPacketError


class PluginsRpcProcessingHandleUpdateParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc plugins/processingHandleUpdate."""

    pci: str
    token: str
    update: ProcessingUpdate


PluginsChannelStartToolUseSessionToClientPacket: TypeAlias = PluginsChannelStartToolUseSessionToClientPacketSessionReady | PluginsChannelStartToolUseSessionToClientPacketToolCallComplete | PluginsChannelStartToolUseSessionToClientPacketToolCallError | PluginsChannelStartToolUseSessionToClientPacketToolCallStatus | PluginsChannelStartToolUseSessionToClientPacketToolCallWarn


class PluginsChannelGenerateWithGeneratorCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel plugins/generateWithGenerator."""

    plugin_identifier: str
    plugin_config_specifier: PluginConfigSpecifier
    tools: list[LlmTool]
    history: ChatHistoryData


class PluginsChannelRegisterDevelopmentPluginCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel plugins/registerDevelopmentPlugin."""

    manifest: PluginManifest


PluginsChannelSetPromptPreprocessorToClientPacket: TypeAlias = PluginsChannelSetPromptPreprocessorToClientPacketPreprocess | PluginsChannelToClientPacketAbort


PluginsChannelSetPromptPreprocessorToServerPacket: TypeAlias = PluginsChannelSetPromptPreprocessorToServerPacketComplete | PluginsChannelToServerPacketAborted | PluginsChannelToServerPacketError


PluginsChannelSetToolsProviderToServerPacket: TypeAlias = PluginsChannelSetToolsProviderToServerPacketSessionInitialized | PluginsChannelSetToolsProviderToServerPacketSessionInitializationFailed | PluginsChannelSetToolsProviderToServerPacketToolCallComplete | PluginsChannelSetToolsProviderToServerPacketToolCallError | PluginsChannelSetToolsProviderToServerPacketToolCallStatus | PluginsChannelSetToolsProviderToServerPacketToolCallWarn


class PluginsChannelSetGeneratorToClientPacketGenerate(LMStudioStruct, kw_only=True, tag_field="type", tag="generate"):
    """Packet `generate` from the server, channel plugins/setGenerator."""

    type: ClassVar[Literal["generate"]] = "generate"
    task_id: str
    input: ChatHistoryData
    plugin_config: KvConfig
    global_plugin_config: KvConfig
    tool_definitions: list[LlmTool]
    working_directory_path: str | None


PluginsRpcProcessingPullHistoryReturns: TypeAlias = ChatHistoryData


PluginsChannelSetGeneratorToClientPacket: TypeAlias = PluginsChannelSetGeneratorToClientPacketGenerate | PluginsChannelToClientPacketAbort
