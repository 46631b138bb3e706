# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from lmstudio._chat_message import ChatMessage
from lmstudio._struct import LMStudioStruct
from msgspec import UNSET, Meta, UnsetType, field

ModelCompatibilityType: TypeAlias = Literal["gguf", "safetensors", "onnx", "ggml", "pte", "mlx_placeholder", "torch_safetensors", "yuzu"]


class Quantization(LMStudioStruct, kw_only=True):
    """Part of EmbeddingModelInfo, EmbeddingModelInstanceInfo, LlmInfo, LlmInstanceInfo."""

    name: str
    bits: int


ModelDomainType: TypeAlias = Literal["llm", "embedding", "drafter", "imageGen", "transcription", "tts"]


ReasonableKeyString: TypeAlias = Annotated[str, Meta(max_length=1024, min_length=1)]


class ModelSpecifierInstanceReference(LMStudioStruct, kw_only=True, tag_field="type", tag="instanceReference"):
    """Part of EmbeddingRpcEmbedStringParameter, LlmChannelCompleteRawTextCreationParameter and 7 more."""

    type: ClassVar[Literal["instanceReference"]] = "instanceReference"
    instance_reference: str


class KvConfigField(LMStudioStruct, kw_only=True):
    """Part of KvConfig."""

    key: str
    value: Any | UnsetType = UNSET


ModelProcessingStatus: TypeAlias = Literal["idle", "processingPrompt", "generating", "computingEmbedding"]


KvConfigLayerName: TypeAlias = Literal["currentlyEditing", "currentlyLoaded", "apiOverride", "conversationSpecific", "conversationGlobal", "preset", "serverSession", "httpServerRequestOverride", "completeModeFormatting", "instance", "userModelDefault", "virtualModel", "modelDefault", "hardware"]


EstimatedModelMemoryUsageConfidence: TypeAlias = Literal["high", "low"]


class TextData(LMStudioStruct, kw_only=True, tag_field="type", tag="text"):
    """Part of AssistantResponse, SystemPrompt, UserMessage."""

    type: ClassVar[Literal["text"]] = "text"
    text: str


FileType: TypeAlias = Literal["image", "text/plain", "application/pdf", "application/word", "text/other", "unknown"]


class ToolCallRequest(LMStudioStruct, kw_only=True):
    """Part of LlmChannelPredictToClientPacketToolCallGenerationEnd and 3 more."""

    type: Literal["function"] = field(default_factory=lambda: "function")
    name: str
    id: str | None = None
    arguments: dict[str, Any] | None = None


class ToolCallResultData(LMStudioStruct, tag_field="type", tag="toolCallResult", kw_only=True):
    """Part of ToolResultMessage."""

    type: ClassVar[Literal["toolCallResult"]] = "toolCallResult"
    content: str
    tool_call_id: str | None = None
    name: str | None = None


class LlmToolParametersObject(LMStudioStruct, tag_field="type", tag="object", kw_only=True):
    """Part of Function."""

    type: ClassVar[Literal["object"]] = "object"
    properties: dict[str, Any]
    required: list[str] | None = None
    additional_properties: Any | None = None
    defs: dict[str, Any] | None = field(name="$defs", default=None)


class LlmInfo(LMStudioStruct, kw_only=True, tag_field="type", tag="llm"):
    """Part of LlmChannelGetOrLoadToClientPacketStartLoading, LlmChannelLoadModelToClientPacketResolved."""

    type: ClassVar[Literal["llm"]] = "llm"
    model_key: str
    format: ModelCompatibilityType
    display_name: str
    publisher: str = field(default_factory=str)
    path: str
    size_bytes: int
    indexed_model_identifier: str = field(default_factory=str)
    device_identifier: str | None = field(default_factory=lambda: None)
    vision: bool
    trained_for_tool_use: bool
    max_context_length: int
    params_string: str | None = None
    architecture: str | None = None
    quantization: Quantization | None = None
    variants: list[str] | None = None
    selected_variant: str | None = None


class EmbeddingModelInstanceInfo(LMStudioStruct, kw_only=True, tag_field="type", tag="embedding"):
    """Result of the rpc embedding/getModelInfo."""

    type: ClassVar[Literal["embedding"]] = "embedding"
    model_key: str
    format: ModelCompatibilityType
    display_name: str
    publisher: str = field(default_factory=str)
    path: str
    size_bytes: int
    indexed_model_identifier: str = field(default_factory=str)
    device_identifier: str | None = field(default_factory=lambda: None)
    identifier: str
    instance_reference: str
    ttl_ms: float | None = field(default_factory=lambda: None)
    last_used_time: float | None = field(default_factory=lambda: None)
    max_context_length: int
    context_length: int
    params_string: str | None = None
    architecture: str | None = None
    quantization: Quantization | None = None
    variants: list[str] | None = None
    selected_variant: str | None = None


LlmPredictionFragmentReasoningType: TypeAlias = Literal["none", "reasoning", "reasoningStartTag", "reasoningEndTag"]


class LlmCandidateToken(LMStudioStruct, kw_only=True):
    """Part of LlmToken."""

    text: str
    id: int
    log_prob: float


class PromptProcessingDetails(LMStudioStruct, kw_only=True):
    """Part of LlmChannelPredictToClientPacketPromptProcessingProgress and 1 more."""

    cached_token_count: int
    total_prompt_token_count: int
    processed_prompt_token_count: int
    unprocessed_prompt_token_count: int


class LlmChannelPredictToClientPacketToolCallGenerationStart(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationStart"):
    """Packet `toolCallGenerationStart` from the server, channel llm/predict, plugins/generateWithGenerator."""

    type: ClassVar[Literal["toolCallGenerationStart"]] = "toolCallGenerationStart"
    tool_call_id: str | None = None


class LlmChannelPredictToClientPacketToolCallGenerationNameReceived(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationNameReceived"):
    """Packet `toolCallGenerationNameReceived` from the server, channel llm/predict and 1 more."""

    type: ClassVar[Literal["toolCallGenerationNameReceived"]] = (
        "toolCallGenerationNameReceived"
    )
    name: str


class LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationArgumentFragmentGenerated"):
    """Packet `toolCallGenerationArgumentFragmentGenerated` from the server, channel llm/predict and 1 more."""

    type: ClassVar[Literal["toolCallGenerationArgumentFragmentGenerated"]] = (
        "toolCallGenerationArgumentFragmentGenerated"
    )
    content: str


LlmPredictionStopReason: TypeAlias = Literal["userStopped", "modelUnloaded", "failed", "eosFound", "stopStringFound", "toolCalls", "maxPredictedTokensReached", "contextLengthReached"]


class EmbeddingModelInfo(LMStudioStruct, kw_only=True, tag_field="type", tag="embedding"):
    """Part of EmbeddingChannelGetOrLoadToClientPacketStartLoading and 1 more."""

    type: ClassVar[Literal["embedding"]] = "embedding"
    model_key: str
    format: ModelCompatibilityType
    display_name: str
    publisher: str = field(default_factory=str)
    path: str
    size_bytes: int
    indexed_model_identifier: str = field(default_factory=str)
    device_identifier: str | None = field(default_factory=lambda: None)
    max_context_length: int
    params_string: str | None = None
    architecture: str | None = None
    quantization: Quantization | None = None
    variants: list[str] | None = None
    selected_variant: str | None = None


KebabCase: TypeAlias = Annotated[str, Meta(pattern="^[a-z0-9]+(?:-[a-z0-9]+)*$")]


KebabCaseWithDots: TypeAlias = Annotated[
    str, Meta(pattern="^[a-z0-9]+(?:[-.][a-z0-9]+)*$")
]


class DownloadProgressUpdate(LMStudioStruct, kw_only=True):
    """Part of ChannelPacketDownloadProgress."""

    downloaded_bytes: int
    total_bytes: int
    speed_bytes_per_second: float


FileName: TypeAlias = str


class ErrorDisplayDataGenericSpecificModelUnloaded(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.specificModelUnloaded"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.specificModelUnloaded"]] = (
        "generic.specificModelUnloaded"
    )


class ErrorDisplayDataGenericPathNotFound(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.pathNotFound"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.pathNotFound"]] = "generic.pathNotFound"
    path: str
    available_paths_sample: list[str]
    total_models: int


class ErrorDisplayDataGenericIdentifierNotFound(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.identifierNotFound"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.identifierNotFound"]] = "generic.identifierNotFound"
    identifier: str
    loaded_models_sample: list[str]
    total_loaded_models: int


class ErrorDisplayDataGenericDomainMismatch(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.domainMismatch"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.domainMismatch"]] = "generic.domainMismatch"
    path: str
    actual_domain: ModelDomainType
    expected_domain: ModelDomainType


class ErrorDisplayDataGenericEngineDoesNotSupportFeature(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.engineDoesNotSupportFeature"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.engineDoesNotSupportFeature"]] = (
        "generic.engineDoesNotSupportFeature"
    )
    feature: str
    engine_name: str
    engine_type: str
    installed_version: str
    supported_version: str | None


class ErrorDisplayDataGenericMissingRuntimeExtension(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.missingRuntimeExtension"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.missingRuntimeExtension"]] = (
        "generic.missingRuntimeExtension"
    )


class AvailablePresetsSampleItem(LMStudioStruct, kw_only=True):
    """Part of ErrorDisplayDataGenericPresetNotFound."""

    identifier: str
    name: str


LlmLlamaAccelerationOffloadRatioNumber: TypeAlias = Annotated[
    float, Meta(ge=0.0, le=1.0)
]


LlmLlamaAccelerationOffloadRatio: TypeAlias = LlmLlamaAccelerationOffloadRatioNumber | Literal["max", "off"]


LlmSplitStrategy: TypeAlias = Literal["evenly", "favorMainGpu"]


GpuSplitConfigDisabledGpusItem: TypeAlias = Annotated[int, Meta(ge=0)]


GpuSplitConfigPriorityItem: TypeAlias = Annotated[int, Meta(ge=0)]


GpuSplitConfigCustomRatioItem: TypeAlias = Annotated[float, Meta(ge=0.0)]


GpuSplitStrategy: TypeAlias = Literal["evenly", "priorityOrder", "tensor", "custom"]


class ModelRpcUnloadModelParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/unloadModel, embedding/unloadModel."""

    identifier: str
    device_identifier: str | None | UnsetType = UNSET


class ModelRpcTokenizeReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/tokenize, embedding/tokenize."""

    tokens: list[int]


class ModelRpcCountTokensReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/countTokens, embedding/countTokens."""

    token_count: int


class ModelChannelGetOrLoadToClientPacketLoadProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="loadProgress"):
    """Packet `loadProgress` from the server, channel llm/getOrLoad, embedding/getOrLoad."""

    type: ClassVar[Literal["loadProgress"]] = "loadProgress"
    progress: float


class ChannelPacketCancel(LMStudioStruct, tag_field="type", tag="cancel", kw_only=True):
    """Packet `cancel` to the server, channel llm/loadModel, llm/getOrLoad, llm/predict, llm/completeRawText and 7 more."""

    type: ClassVar[Literal["cancel"]] = "cancel"


class ChannelPacketStop(LMStudioStruct, tag_field="type", tag="stop", kw_only=True):
    """Packet `stop` to the server, channel diagnostics/streamLogs, files/retrieve."""

    type: ClassVar[Literal["stop"]] = "stop"


class ChannelPacketProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="progress"):
    """Packet `progress` from the server, channel llm/loadModel, embedding/loadModel, files/parseDocument."""

    type: ClassVar[Literal["progress"]] = "progress"
    progress: float


class ChannelPacketDownloadProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="downloadProgress"):
    """Packet `downloadProgress` from the server, channel repository/downloadModel, repository/downloadArtifact and 2 more."""

    type: ClassVar[Literal["downloadProgress"]] = "downloadProgress"
    update: DownloadProgressUpdate


class ChannelPacketStartFinalizing(LMStudioStruct, kw_only=True, tag_field="type", tag="startFinalizing"):
    """Packet `startFinalizing` from the server, channel repository/downloadModel, repository/downloadArtifact and 2 more."""

    type: ClassVar[Literal["startFinalizing"]] = "startFinalizing"


class ChannelPacketSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="success"):
    """Packet `success` from the server, channel repository/downloadArtifact, repository/createDownloadPlan and 2 more."""

    type: ClassVar[Literal["success"]] = "success"


class LlmInstanceInfo(LMStudioStruct, kw_only=True, tag_field="type", tag="llm"):
    """Result of the rpc llm/getModelInfo."""

    type: ClassVar[Literal["llm"]] = "llm"
    model_key: str
    format: ModelCompatibilityType
    display_name: str
    publisher: str = field(default_factory=str)
    path: str
    size_bytes: int
    indexed_model_identifier: str = field(default_factory=str)
    device_identifier: str | None = field(default_factory=lambda: None)
    identifier: str
    instance_reference: str
    ttl_ms: float | None = field(default_factory=lambda: None)
    last_used_time: float | None = field(default_factory=lambda: None)
    vision: bool
    trained_for_tool_use: bool
    max_context_length: int
    context_length: int
    params_string: str | None = None
    architecture: str | None = None
    quantization: Quantization | None = None
    variants: list[str] | None = None
    selected_variant: str | None = None


class ModelQuery(LMStudioStruct, kw_only=True):
    """Part of ErrorDisplayDataGenericNoModelMatchingQuery, ModelSpecifierQuery."""

    domain: ModelDomainType | None = None
    device_identifier: str | None | UnsetType = UNSET
    identifier: ReasonableKeyString | None = None
    path: ReasonableKeyString | None = None
    vision: bool | None = None


class KvConfig(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/getLoadConfig, llm/getBasePredictionConfig, embedding/getLoadConfig and 1 more."""

    fields: list[KvConfigField]


class ModelProcessingState(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/getInstanceProcessingState, embedding/getInstanceProcessingState."""

    status: ModelProcessingStatus
    queued: int


class KvConfigStackLayer(LMStudioStruct, kw_only=True):
    """Part of KvConfigStack."""

    layer_name: KvConfigLayerName
    config: KvConfig


class EstimatedModelMemoryUsage(LMStudioStruct, kw_only=True):
    """Part of EstimatedResourcesUsage."""

    confidence: EstimatedModelMemoryUsageConfidence
    model_vram_bytes: float
    context_vram_bytes: float
    total_vram_bytes: float
    model_bytes: float
    context_bytes: float
    total_bytes: float


class FileHandle(LMStudioStruct, kw_only=True, tag_field="type", tag="file"):
    """Part of AssistantResponse, SystemPrompt, UserMessage."""

    type: ClassVar[Literal["file"]] = "file"
    name: str
    identifier: str
    size_bytes: int
    file_type: FileType


class ToolCallRequestData(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallRequest"):
    """Part of AssistantResponse."""

    type: ClassVar[Literal["toolCallRequest"]] = "toolCallRequest"
    tool_call_request: ToolCallRequest


UserMessageContent: TypeAlias = TextData | FileHandle


SystemPromptContent: TypeAlias = TextData | FileHandle


class ToolResultMessage(ChatMessage, kw_only=True, tag_field="role", tag="tool"):
    """Part of ChatHistoryData, PluginsChannelSetPromptPreprocessorToClientPacketPreprocess and 1 more."""

    role: ClassVar[Literal["tool"]] = "tool"
    content: list[ToolCallResultData]


LlmToolParameters: TypeAlias = LlmToolParametersObject


ModelInstanceInfo: TypeAlias = LlmInstanceInfo | EmbeddingModelInstanceInfo


class LlmToken(LMStudioStruct, kw_only=True):
    """Part of LlmPredictionFragment, LlmPredictionFragmentInputOpts."""

    text: str
    id: int
    log_prob: float | None = None
    candidates: list[LlmCandidateToken] | None = None


class LlmPredictionStats(LMStudioStruct, kw_only=True):
    """Part of DiagnosticsLogEventDataLlmPredictionOutput, LlmChannelPredictToClientPacketSuccess, LlmGenInfo."""

    stop_reason: LlmPredictionStopReason
    stop_string: str | None = None
    tokens_per_second: float | None = None
    num_gpu_layers: float | None = None
    time_to_first_token_sec: float | None = None
    total_time_sec: float | None = None
    prompt_tokens_count: int | None = None
    predicted_tokens_count: int | None = None
    total_tokens_count: int | None = None
    used_draft_model_key: str | None = None
    total_draft_tokens_count: int | None = None
    accepted_draft_tokens_count: int | None = None
    rejected_draft_tokens_count: int | None = None
    ignored_draft_tokens_count: int | None = None


class HuggingFaceModelDownloadSource(LMStudioStruct, tag_field="type", tag="huggingface", kw_only=True):
    """Part of ArtifactModelDependency, RepositoryDownloadPlannerTargetModel."""

    type: ClassVar[Literal["huggingface"]] = "huggingface"
    user: FileName
    repo: FileName


class ErrorDisplayDataGenericNoModelMatchingQuery(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.noModelMatchingQuery"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.noModelMatchingQuery"]] = (
        "generic.noModelMatchingQuery"
    )
    query: ModelQuery
    loaded_models_sample: list[str]
    total_loaded_models: int


class ErrorDisplayDataGenericPresetNotFound(LMStudioStruct, kw_only=True, tag_field="code", tag="generic.presetNotFound"):
    """Part of SerializedLMSExtendedError."""

    code: ClassVar[Literal["generic.presetNotFound"]] = "generic.presetNotFound"
    specified_fuzzy_preset_identifier: str
    available_presets_sample: list[AvailablePresetsSampleItem]
    total_available_presets: int


class GpuSetting(LMStudioStruct, kw_only=True):
    """How much of a model to put on GPUs, and on which. They count from 0."""

    ratio: LlmLlamaAccelerationOffloadRatio | None = None
    """The part of the model to put on GPUs, 0 to 1; 'max' for all of it, 'off' for none."""
    num_cpu_expert_layers_ratio: LlmLlamaAccelerationOffloadRatio | None = None
    """The part of a mixture-of-experts model's expert layers to keep on the CPU."""
    main_gpu: int | None = None
    """The GPU to use first, with `split_strategy` 'favorMainGpu'."""
    split_strategy: LlmSplitStrategy | None = None
    """How to divide the model among several GPUs."""
    disabled_gpus: list[int] | None = None
    """GPUs not to use."""


class GpuSplitConfig(LMStudioStruct, kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    strategy: GpuSplitStrategy
    disabled_gpus: list[GpuSplitConfigDisabledGpusItem]
    priority: list[GpuSplitConfigPriorityItem]
    custom_ratio: list[GpuSplitConfigCustomRatioItem]


ModelChannelLoadModelToClientPacketProgress: TypeAlias = ChannelPacketProgress


ModelChannelLoadModelToServerPacketCancel: TypeAlias = ChannelPacketCancel


class ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel(LMStudioStruct, kw_only=True, tag_field="type", tag="unloadingOtherJITModel"):
    """Packet `unloadingOtherJITModel` from the server, channel llm/getOrLoad, embedding/getOrLoad."""

    type: ClassVar[Literal["unloadingOtherJITModel"]] = "unloadingOtherJITModel"
    info: ModelInstanceInfo


ModelChannelGetOrLoadToServerPacketCancel: TypeAlias = ChannelPacketCancel


ModelChannelLoadModelToServerPacket: TypeAlias = ChannelPacketCancel


ModelChannelGetOrLoadToServerPacket: TypeAlias = ChannelPacketCancel


class ModelSpecifierQuery(LMStudioStruct, kw_only=True, tag_field="type", tag="query"):
    """Part of EmbeddingRpcEmbedStringParameter, LlmChannelCompleteRawTextCreationParameter and 7 more."""

    type: ClassVar[Literal["query"]] = "query"
    query: ModelQuery


class KvConfigStack(LMStudioStruct, kw_only=True):
    """Part of LlmChannelCompleteRawTextCreationParameter, LlmChannelPredictCreationParameter and 4 more."""

    layers: list[KvConfigStackLayer]


class EstimatedResourcesUsage(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/estimateModelUsage, embedding/estimateModelUsage."""

    memory: EstimatedModelMemoryUsage
    passes_guardrails: bool


AssistantResponseContent: TypeAlias = TextData | FileHandle | ToolCallRequestData


class UserMessage(ChatMessage, kw_only=True, tag_field="role", tag="user"):
    """Part of ChatHistoryData, PluginsChannelSetPromptPreprocessorToClientPacketPreprocess and 1 more."""

    role: ClassVar[Literal["user"]] = "user"
    content: list[UserMessageContent]


class SystemPrompt(ChatMessage, kw_only=True, tag_field="role", tag="system"):
    """Part of ChatHistoryData, PluginsChannelSetPromptPreprocessorToClientPacketPreprocess and 1 more."""

    role: ClassVar[Literal["system"]] = "system"
    content: list[SystemPromptContent]


class Function(LMStudioStruct, kw_only=True):
    """Part of LlmToolFunction."""

    name: str
    description: str | None = None
    parameters: LlmToolParameters | None = None


class LlmPredictionFragment(LMStudioStruct, kw_only=True):
    """Part of LlmChannelPredictToClientPacketFragment."""

    content: str
    tokens_count: int
    contains_drafted: bool
    reasoning_type: LlmPredictionFragmentReasoningType
    is_structural: bool = field(default_factory=bool)
    tokens: list[LlmToken] | None = None


ModelDownloadSource: TypeAlias = HuggingFaceModelDownloadSource


ErrorDisplayData: TypeAlias = ErrorDisplayDataGenericSpecificModelUnloaded | ErrorDisplayDataGenericNoModelMatchingQuery | ErrorDisplayDataGenericPathNotFound | ErrorDisplayDataGenericIdentifierNotFound | ErrorDisplayDataGenericDomainMismatch | ErrorDisplayDataGenericEngineDoesNotSupportFeature | ErrorDisplayDataGenericMissingRuntimeExtension | ErrorDisplayDataGenericPresetNotFound


class ModelRpcEstimateModelUsageParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/estimateModelUsage, embedding/estimateModelUsage."""

    model_key: str
    load_config_stack: KvConfigStack
    device_identifier: str | None | UnsetType = UNSET


class ModelChannelLoadModelCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel llm/loadModel, embedding/loadModel."""

    model_key: str
    load_config_stack: KvConfigStack
    identifier: str | None = None
    device_identifier: str | None | UnsetType = UNSET
    ttl_ms: Annotated[int, Meta(ge=1)] | None = None


class ModelChannelGetOrLoadCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel llm/getOrLoad, embedding/getOrLoad."""

    identifier: str
    load_config_stack: KvConfigStack
    device_identifier: str | None | UnsetType = UNSET
    load_ttl_ms: Annotated[int, Meta(ge=1)] | None = None


ModelSpecifier: TypeAlias = ModelSpecifierQuery | ModelSpecifierInstanceReference


class AssistantResponse(ChatMessage, kw_only=True, tag_field="role", tag="assistant"):
    """Part of ChatHistoryData, PluginsChannelSetPromptPreprocessorToClientPacketPreprocess and 1 more."""

    role: ClassVar[Literal["assistant"]] = "assistant"
    content: list[AssistantResponseContent]


class LlmToolFunction(LMStudioStruct, tag_field="type", tag="function", kw_only=True):
    """Part of LlmApplyPromptTemplateOpts, LlmToolUseSettingToolArray and 4 more."""

    type: ClassVar[Literal["function"]] = "function"
    function: Function


class LlmChannelPredictToClientPacketFragment(LMStudioStruct, kw_only=True, tag_field="type", tag="fragment"):
    """Packet `fragment` from the server, channel llm/predict, llm/completeRawText, plugins/generateWithGenerator."""

    type: ClassVar[Literal["fragment"]] = "fragment"
    fragment: LlmPredictionFragment


class SerializedLMSExtendedError(LMStudioStruct, kw_only=True):
    """Part of LlmChannelPredictToClientPacketToolCallGenerationFailed and 5 more."""

    title: str | None = None
    cause: str | None = None
    suggestion: str | None = None
    error_data: dict[str, Any] | None = None
    display_data: ErrorDisplayData | None = None
    stack: str | None = None
    root_title: str | None = None


class ModelRpcGetModelInfoParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/getModelInfo, llm/getInstanceProcessingState, embedding/getModelInfo and 1 more."""

    specifier: ModelSpecifier
    throw_if_not_found: bool


class ModelRpcGetLoadConfigParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/getLoadConfig, embedding/getLoadConfig."""

    specifier: ModelSpecifier


class ModelRpcGetBasePredictionConfigParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/getBasePredictionConfig, embedding/getBasePredictionConfig."""

    specifier: ModelSpecifier
    ignore_server_session_config: bool | None = None


ModelRpcGetInstanceProcessingStateParameter: TypeAlias = ModelRpcGetModelInfoParameter


class ModelRpcTokenizeParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/tokenize, llm/countTokens, embedding/tokenize, embedding/countTokens."""

    specifier: ModelSpecifier
    input_string: str


ModelRpcCountTokensParameter: TypeAlias = ModelRpcTokenizeParameter


AnyChatMessage: TypeAlias = AssistantResponse | UserMessage | SystemPrompt | ToolResultMessage


LlmTool: TypeAlias = LlmToolFunction


class ChatHistoryData(LMStudioStruct, kw_only=True):
    """Result of the rpc plugins/processingPullHistory."""

    messages: list[AnyChatMessage]
