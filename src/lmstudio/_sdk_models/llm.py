# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import (
    ChannelPacketCancel,
    ChannelPacketProgress,
    ChatHistoryData,
    EstimatedResourcesUsage,
    GpuSetting,
    KvConfig,
    KvConfigStack,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
    LlmInfo,
    LlmInstanceInfo,
    LlmPredictionStats,
    LlmTool,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToClientPacketLoadProgress,
    ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel,
    ModelChannelGetOrLoadToServerPacket,
    ModelChannelLoadModelCreationParameter,
    ModelChannelLoadModelToServerPacket,
    ModelProcessingState,
    ModelRpcCountTokensReturns,
    ModelRpcEstimateModelUsageParameter,
    ModelRpcGetBasePredictionConfigParameter,
    ModelRpcGetLoadConfigParameter,
    ModelRpcGetModelInfoParameter,
    ModelRpcTokenizeParameter,
    ModelRpcTokenizeReturns,
    ModelRpcUnloadModelParameter,
    ModelSpecifier,
    PromptProcessingDetails,
    SerializedLMSExtendedError,
    ToolCallRequest,
)


class LlmRpcApplyPromptTemplateReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc llm/applyPromptTemplate."""

    formatted: str


class LlmChannelGetOrLoadToClientPacketStartLoading(LMStudioStruct, kw_only=True, tag_field="type", tag="startLoading"):
    """Packet `startLoading` from the server, channel llm/getOrLoad."""

    type: ClassVar[Literal["startLoading"]] = "startLoading"
    identifier: str
    info: LlmInfo


class LlmChannelPredictToClientPacketToolCallGenerationEnd(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationEnd"):
    """Packet `toolCallGenerationEnd` from the server, channel llm/predict."""

    type: ClassVar[Literal["toolCallGenerationEnd"]] = "toolCallGenerationEnd"
    tool_call_request: ToolCallRequest
    raw_content: str | None = None


class LlmJinjaPromptTemplate(LMStudioStruct, kw_only=True):
    """Part of LlmLoadPromptTemplate, LlmPromptTemplate."""

    template: str


SpeculativeDraftTokenCount: TypeAlias = Annotated[int, Meta(ge=0)]


SpeculativeDraftMinContinueProbability: TypeAlias = Annotated[
    float, Meta(ge=0.0, le=1.0)
]


class LlmLlamaCppArgumentsOverrideOverrideParameters(LMStudioStruct, kw_only=True):
    """Part of LlmLlamaCppArgumentsOverride."""

    key: str
    value: str


LlmMlxKvCacheBitsType: TypeAlias = Literal[8, 6, 4, 3, 2]


LlmMlxKvCacheGroupSizeType: TypeAlias = Literal[32, 64, 128]


LlmPredictionConfigMaxTokensNumber: TypeAlias = Annotated[int, Meta(ge=-1)]


LlmPredictionConfigReasoningBudgetNumber: TypeAlias = Annotated[int, Meta(ge=0)]


LlmPredictionConfigLogProbsNumber: TypeAlias = Annotated[int, Meta(ge=0)]


LlmPredictionConfigUserMaxImageDimensionPixelsNumber: TypeAlias = Annotated[
    int, Meta(ge=1)
]


LlmContextOverflowPolicy: TypeAlias = Literal["stopAtLimit", "truncateMiddle", "rollingWindow"]


LlmStructuredPredictionType: TypeAlias = Literal["none", "json", "gbnf"]


class LlmToolUseSettingNone(LMStudioStruct, kw_only=True, tag_field="type", tag="none"):
    """Part of LlmPredictionConfig."""

    type: ClassVar[Literal["none"]] = "none"


LlmToolChoiceGenericMode: TypeAlias = Literal["none", "auto", "required"]


ToolNaming: TypeAlias = Literal["passThrough", "removeSpecial", "snakeCase", "camelCase"]


LlmPromptTemplateType: TypeAlias = Literal["manual", "jinja"]


class LlmManualPromptTemplate(LMStudioStruct, kw_only=True):
    """Part of LlmPromptTemplate."""

    before_system: str
    after_system: str
    before_user: str
    after_user: str
    before_assistant: str
    after_assistant: str


class LlmReasoningParsing(LMStudioStruct, kw_only=True):
    """Part of LlmPredictionConfig."""

    enabled: bool
    start_string: str
    end_string: str


class LlmContextReferenceJsonFile(LMStudioStruct, kw_only=True, tag_field="type", tag="jsonFile"):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    type: ClassVar[Literal["jsonFile"]] = "jsonFile"
    abs_path: str


class LlmContextReferenceYamlFile(LMStudioStruct, kw_only=True, tag_field="type", tag="yamlFile"):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    type: ClassVar[Literal["yamlFile"]] = "yamlFile"
    abs_path: str


LlmLlamaSingleLogitBiasModification: TypeAlias = float | Literal["-inf"]


class LlmLlamaMirostatSamplingConfig(LMStudioStruct, kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    version: Literal[0, 1, 2]
    learning_rate: float
    target_entropy: float


LlmLlamaCacheQuantizationType: TypeAlias = Literal["f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]


LlmRpcUnloadModelParameter: TypeAlias = ModelRpcUnloadModelParameter


LlmRpcTokenizeReturns: TypeAlias = ModelRpcTokenizeReturns


LlmRpcCountTokensReturns: TypeAlias = ModelRpcCountTokensReturns


class LlmChannelLoadModelToClientPacketResolved(LMStudioStruct, kw_only=True, tag_field="type", tag="resolved"):
    """Packet `resolved` from the server, channel llm/loadModel."""

    type: ClassVar[Literal["resolved"]] = "resolved"
    info: LlmInfo
    ambiguous: list[str] | None = None


LlmChannelLoadModelToClientPacketProgress: TypeAlias = ChannelPacketProgress


class LlmChannelLoadModelToClientPacketSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="success"):
    """Packet `success` from the server, channel llm/loadModel."""

    type: ClassVar[Literal["success"]] = "success"
    info: LlmInstanceInfo


LlmChannelLoadModelToServerPacketCancel: TypeAlias = ChannelPacketCancel


class LlmChannelGetOrLoadToClientPacketAlreadyLoaded(LMStudioStruct, kw_only=True, tag_field="type", tag="alreadyLoaded"):
    """Packet `alreadyLoaded` from the server, channel llm/getOrLoad."""

    type: ClassVar[Literal["alreadyLoaded"]] = "alreadyLoaded"
    info: LlmInstanceInfo


LlmChannelGetOrLoadToClientPacketLoadProgress: TypeAlias = ModelChannelGetOrLoadToClientPacketLoadProgress


class LlmChannelGetOrLoadToClientPacketLoadSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="loadSuccess"):
    """Packet `loadSuccess` from the server, channel llm/getOrLoad."""

    type: ClassVar[Literal["loadSuccess"]] = "loadSuccess"
    info: LlmInstanceInfo


LlmChannelGetOrLoadToServerPacketCancel: TypeAlias = ChannelPacketCancel


class LlmChannelPredictToClientPacketPromptProcessingProgress(LMStudioStruct, kw_only=True, tag_field="type", tag="promptProcessingProgress"):
    """Packet `promptProcessingProgress` from the server, channel llm/predict, llm/completeRawText."""

    type: ClassVar[Literal["promptProcessingProgress"]] = "promptProcessingProgress"
    progress: float
    details: PromptProcessingDetails


LlmChannelPredictToServerPacket: TypeAlias = ChannelPacketCancel


LlmChannelPredictToServerPacketCancel: TypeAlias = ChannelPacketCancel


LlmChannelCompleteRawTextToClientPacketPromptProcessingProgress: TypeAlias = LlmChannelPredictToClientPacketPromptProcessingProgress


LlmChannelCompleteRawTextToServerPacket: TypeAlias = ChannelPacketCancel


LlmChannelCompleteRawTextToServerPacketCancel: TypeAlias = ChannelPacketCancel


class LlmLoadPromptTemplate(LMStudioStruct, tag_field="type", tag="jinja", kw_only=True):
    """Part of LlmLoadModelConfig."""

    type: ClassVar[Literal["jinja"]] = "jinja"
    jinja_prompt_template: LlmJinjaPromptTemplate


class LlmLlamaCppArgumentsOverride(LMStudioStruct, kw_only=True):
    """Part of LlmLoadModelConfig."""

    enabled: bool
    disabled_parameters: list[str]
    override_parameters: list[LlmLlamaCppArgumentsOverrideOverrideParameters]
    exclude_all_config: bool


LlmLoadModelConfigLlamaKCacheQuantizationType: TypeAlias = LlmLlamaCacheQuantizationType


LlmLoadModelConfigLlamaVCacheQuantizationType: TypeAlias = LlmLlamaCacheQuantizationType


class LlmMlxKvCacheQuantization(LMStudioStruct, kw_only=True):
    """Part of LlmLoadModelConfig."""

    enabled: bool
    bits: LlmMlxKvCacheBitsType
    group_size: LlmMlxKvCacheGroupSizeType
    quantized_start: Annotated[int, Meta(ge=0)]


class LlmStructuredPredictionSetting(LMStudioStruct, kw_only=True):
    """Part of LlmPredictionConfig."""

    type: LlmStructuredPredictionType
    json_schema: Any | None = None
    gbnf_grammar: str | None = None


class LlmToolChoiceGeneric(LMStudioStruct, tag_field="type", tag="generic", kw_only=True):
    """Part of LlmPredictionConfig."""

    type: ClassVar[Literal["generic"]] = "generic"
    mode: LlmToolChoiceGenericMode


class LlmPromptTemplate(LMStudioStruct, kw_only=True):
    """Part of LlmPredictionConfig."""

    type: LlmPromptTemplateType
    stop_strings: list[str]
    manual_prompt_template: LlmManualPromptTemplate | None = None
    jinja_prompt_template: LlmJinjaPromptTemplate | None = None


LlmContextReference: TypeAlias = LlmContextReferenceJsonFile | LlmContextReferenceYamlFile


LlmLlamaLogitBiasConfigItem: TypeAlias = Annotated[
    list[float | LlmLlamaSingleLogitBiasModification], Meta(max_length=2)
]


LlmLlamaLogitBiasConfig: TypeAlias = list[LlmLlamaLogitBiasConfigItem]


LlmRpcListLoadedReturns: TypeAlias = list[LlmInstanceInfo]


LlmRpcGetModelInfoReturns: TypeAlias = LlmInstanceInfo


LlmRpcGetLoadConfigReturns: TypeAlias = KvConfig


LlmRpcGetBasePredictionConfigReturns: TypeAlias = KvConfig


LlmRpcGetInstanceProcessingStateReturns: TypeAlias = ModelProcessingState


LlmChannelLoadModelToClientPacket: TypeAlias = LlmChannelLoadModelToClientPacketResolved | ChannelPacketProgress | LlmChannelLoadModelToClientPacketSuccess


LlmChannelLoadModelToServerPacket: TypeAlias = ModelChannelLoadModelToServerPacket


LlmChannelGetOrLoadToClientPacket: TypeAlias = LlmChannelGetOrLoadToClientPacketAlreadyLoaded | LlmChannelGetOrLoadToClientPacketStartLoading | ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel | ModelChannelGetOrLoadToClientPacketLoadProgress | LlmChannelGetOrLoadToClientPacketLoadSuccess


LlmChannelGetOrLoadToClientPacketUnloadingOtherJITModel: TypeAlias = ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel


LlmChannelGetOrLoadToServerPacket: TypeAlias = ModelChannelGetOrLoadToServerPacket


class LlmChannelPredictToClientPacketSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="success"):
    """Packet `success` from the server, channel llm/predict, llm/completeRawText."""

    type: ClassVar[Literal["success"]] = "success"
    stats: LlmPredictionStats
    model_info: LlmInstanceInfo
    load_model_config: KvConfig
    prediction_config: KvConfig


LlmChannelCompleteRawTextToClientPacketSuccess: TypeAlias = LlmChannelPredictToClientPacketSuccess


class LlmLoadModelConfig(LMStudioStruct, kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    auto_fit: bool | None = None
    gpu: GpuSetting | None = None
    max_parallel_predictions: Annotated[int, Meta(ge=1)] | None = None
    use_unified_kv_cache: bool | None = None
    gpu_strict_vram_cap: bool | None = None
    offload_kv_cache_to_gpu: bool | None = field(
        name="offloadKVCacheToGpu", default=None
    )
    context_length: Annotated[int, Meta(ge=1)] | None = None
    prompt_template: LlmLoadPromptTemplate | None = None
    rope_frequency_base: float | bool | None = None
    rope_frequency_scale: float | bool | None = None
    eval_batch_size: Annotated[int, Meta(ge=1)] | None = None
    physical_batch_size: Annotated[int, Meta(ge=1)] | None = None
    flash_attention: bool | None = None
    context_checkpoints: Annotated[int, Meta(ge=0)] | None = None
    reasoning_budget_message: str | None = None
    speculative_draft_mtp: bool | None = None
    speculative_draft_simple: bool | None = None
    speculative_draft_model: str | None = None
    speculative_draft_max_tokens: SpeculativeDraftTokenCount | None = None
    speculative_draft_min_tokens: SpeculativeDraftTokenCount | None = None
    speculative_draft_min_continue_probability: (
        SpeculativeDraftMinContinueProbability | None
    ) = None
    keep_model_in_memory: bool | None = None
    seed: int | bool | None = None
    use_fp16_for_kv_cache: bool | None = field(name="useFp16ForKVCache", default=None)
    try_mmap: bool | None = None
    try_direct_io: bool | None = field(name="tryDirectIO", default=None)
    llama_cpp_arguments_override: LlmLlamaCppArgumentsOverride | None = None
    num_experts: int | None = None
    llama_k_cache_quantization_type: LlmLlamaCacheQuantizationType | bool | None = None
    llama_v_cache_quantization_type: LlmLlamaCacheQuantizationType | bool | None = None
    mlx_disk_cache: bool | None = None
    mlx_kv_cache_quantization: LlmMlxKvCacheQuantization | bool | None = None


LlmToolChoice: TypeAlias = LlmToolChoiceGeneric


LlmRpcEstimateModelUsageReturns: TypeAlias = EstimatedResourcesUsage


LlmRpcEstimateModelUsageParameter: TypeAlias = ModelRpcEstimateModelUsageParameter


class LlmRpcPreloadDraftModelParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/preloadDraftModel."""

    specifier: ModelSpecifier
    draft_model_key: str


LlmChannelLoadModelCreationParameter: TypeAlias = ModelChannelLoadModelCreationParameter


LlmChannelGetOrLoadCreationParameter: TypeAlias = ModelChannelGetOrLoadCreationParameter


class LlmChannelCompleteRawTextCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel llm/completeRawText."""

    model_specifier: ModelSpecifier
    raw_prompt: str
    prediction_config_stack: KvConfigStack
    fuzzy_preset_identifier: str | None = None
    ignore_server_session_config: bool | None = None


LlmChannelCompleteRawTextToClientPacket: TypeAlias = LlmChannelPredictToClientPacketFragment | LlmChannelPredictToClientPacketPromptProcessingProgress | LlmChannelPredictToClientPacketSuccess


LlmChannelCompleteRawTextToClientPacketFragment: TypeAlias = LlmChannelPredictToClientPacketFragment


LlmRpcGetModelInfoParameter: TypeAlias = ModelRpcGetModelInfoParameter


LlmRpcGetLoadConfigParameter: TypeAlias = ModelRpcGetLoadConfigParameter


LlmRpcGetBasePredictionConfigParameter: TypeAlias = ModelRpcGetBasePredictionConfigParameter


LlmRpcGetInstanceProcessingStateParameter: TypeAlias = ModelRpcGetModelInfoParameter


LlmRpcTokenizeParameter: TypeAlias = ModelRpcTokenizeParameter


LlmRpcCountTokensParameter: TypeAlias = ModelRpcTokenizeParameter


class LlmChannelPredictToClientPacketToolCallGenerationFailed(LMStudioStruct, kw_only=True, tag_field="type", tag="toolCallGenerationFailed"):
    """Packet `toolCallGenerationFailed` from the server, channel llm/predict."""

    type: ClassVar[Literal["toolCallGenerationFailed"]] = "toolCallGenerationFailed"
    error: SerializedLMSExtendedError
    raw_content: str | None = None


class LlmToolUseSettingToolArray(LMStudioStruct, kw_only=True, tag_field="type", tag="toolArray"):
    """Part of LlmPredictionConfig."""

    type: ClassVar[Literal["toolArray"]] = "toolArray"
    tools: list[LlmTool] | None = None


class LlmApplyPromptTemplateOpts(LMStudioStruct, kw_only=True):
    """Part of LlmRpcApplyPromptTemplateParameter."""

    omit_bos_token: bool | None = None
    omit_eos_token: bool | None = None
    tool_definitions: list[LlmTool] | None = None


class LlmChannelPredictCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel llm/predict."""

    model_specifier: ModelSpecifier
    history: ChatHistoryData
    prediction_config_stack: KvConfigStack
    fuzzy_preset_identifier: str | None = None
    ignore_server_session_config: bool | None = None


LlmChannelPredictToClientPacket: TypeAlias = LlmChannelPredictToClientPacketFragment | LlmChannelPredictToClientPacketPromptProcessingProgress | LlmChannelPredictToClientPacketToolCallGenerationStart | LlmChannelPredictToClientPacketToolCallGenerationNameReceived | LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated | LlmChannelPredictToClientPacketToolCallGenerationEnd | LlmChannelPredictToClientPacketToolCallGenerationFailed | LlmChannelPredictToClientPacketSuccess


LlmToolUseSetting: TypeAlias = LlmToolUseSettingNone | LlmToolUseSettingToolArray


class LlmRpcApplyPromptTemplateParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc llm/applyPromptTemplate."""

    specifier: ModelSpecifier
    history: ChatHistoryData
    prediction_config_stack: KvConfigStack
    opts: LlmApplyPromptTemplateOpts


class LlmPredictionConfig(LMStudioStruct, kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    max_tokens: LlmPredictionConfigMaxTokensNumber | bool | None = None
    reasoning_budget: LlmPredictionConfigReasoningBudgetNumber | bool | None = None
    temperature: Annotated[float, Meta(ge=0.0)] | None = None
    stop_strings: list[str] | None = None
    tool_call_stop_strings: list[str] | None = None
    context_overflow_policy: LlmContextOverflowPolicy | None = None
    structured: LlmStructuredPredictionSetting | None = None
    raw_tools: LlmToolUseSetting | None = None
    tool_choice: LlmToolChoice | None = None
    tool_naming: ToolNaming | None = None
    top_k_sampling: float | None = None
    repeat_penalty: float | bool | None = None
    presence_penalty: float | bool | None = None
    min_p_sampling: float | bool | None = None
    top_p_sampling: float | bool | None = None
    cpu_threads: int | None = None
    enable_thinking: bool | None = None
    prompt_template: LlmPromptTemplate | None = None
    draft_model: str | None = None
    speculative_decoding_num_draft_tokens_exact: Annotated[int, Meta(ge=1)] | None = (
        None
    )
    speculative_decoding_min_draft_length_to_consider: (
        Annotated[int, Meta(ge=0)] | None
    ) = None
    speculative_decoding_min_continue_drafting_probability: float | None = None
    log_probs: LlmPredictionConfigLogProbsNumber | bool | None = None
    reasoning_parsing: LlmReasoningParsing | None = None
    user_max_image_dimension_pixels: (
        LlmPredictionConfigUserMaxImageDimensionPixelsNumber | bool | None
    ) = None
    ignore_model_preferred_max_image_dimension: bool | None = None
    raw: KvConfig | None = None
    xtc_probability: float | bool | None = None
    xtc_threshold: float | bool | None = None
