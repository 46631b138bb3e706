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
    """How to load a language model. What is left out is for the server to decide."""

    auto_fit: bool | None = None
    """Let the server choose context length and GPU placement so that the model fits into memory."""
    gpu: GpuSetting | None = None
    """How much of the model to put on GPUs, and on which."""
    max_parallel_predictions: Annotated[int, Meta(ge=1)] | None = None
    """How many predictions may run at the same time, 1 to 1023."""
    use_unified_kv_cache: bool | None = None
    """Share one key-value cache among parallel predictions."""
    gpu_strict_vram_cap: bool | None = None
    """Never use more memory of a GPU than is free on it."""
    offload_kv_cache_to_gpu: bool | None = field(
        name="offloadKVCacheToGpu", default=None
    )
    """Keep the key-value cache on the GPU."""
    context_length: Annotated[int, Meta(ge=1)] | None = None
    """The most tokens that prompt and reply may have together."""
    prompt_template: LlmLoadPromptTemplate | None = None
    """A Jinja template to use instead of the model's own."""
    rope_frequency_base: float | bool | None = None
    """Base frequency of rotary position embeddings; False for the model's own."""
    rope_frequency_scale: float | bool | None = None
    """Scale of the frequencies of rotary position embeddings; False for the model's own."""
    eval_batch_size: Annotated[int, Meta(ge=1)] | None = None
    """How many tokens of a prompt are evaluated in one go."""
    physical_batch_size: Annotated[int, Meta(ge=1)] | None = None
    """How many tokens the engine computes at once; a batch is split into pieces of this size."""
    flash_attention: bool | None = None
    """Compute attention in a way that needs less memory, where the engine can."""
    context_checkpoints: Annotated[int, Meta(ge=0)] | None = None
    """How many states of the context to keep for going back to; 0 for none."""
    reasoning_budget_message: str | None = None
    """What ends the model's reasoning when its budget is used up."""
    speculative_draft_mtp: bool | None = None
    """Draft tokens with the prediction heads that come with the model."""
    speculative_draft_simple: bool | None = None
    """Draft tokens with the smaller model that `speculative_draft_model` names."""
    speculative_draft_model: str | None = None
    """The key of the model that drafts; needs `speculative_draft_simple`."""
    speculative_draft_max_tokens: SpeculativeDraftTokenCount | None = None
    """The most tokens of a draft."""
    speculative_draft_min_tokens: SpeculativeDraftTokenCount | None = None
    """The fewest tokens of a draft that is worth checking."""
    speculative_draft_min_continue_probability: (
        SpeculativeDraftMinContinueProbability | None
    ) = None
    """Stop drafting at a token less probable than this, 0 to 1."""
    keep_model_in_memory: bool | None = None
    """Keep the model from being swapped out of memory."""
    seed: int | bool | None = None
    """Where random numbers begin, the same for the same results; False for another each time."""
    use_fp16_for_kv_cache: bool | None = field(name="useFp16ForKVCache", default=None)
    """Keep the key-value cache in 16 instead of 32 bits."""
    try_mmap: bool | None = None
    """Map the file of the model into memory instead of reading it."""
    try_direct_io: bool | None = field(name="tryDirectIO", default=None)
    """Read the file of the model past the operating system's cache."""
    llama_cpp_arguments_override: LlmLlamaCppArgumentsOverride | None = None
    """Arguments for llama.cpp that replace what the other settings make of them."""
    num_experts: int | None = None
    """How many experts of a mixture-of-experts model are active for a token."""
    llama_k_cache_quantization_type: LlmLlamaCacheQuantizationType | bool | None = None
    """Number format of keys in the cache, such as 'q8_0'; False for no quantization."""
    llama_v_cache_quantization_type: LlmLlamaCacheQuantizationType | bool | None = None
    """Number format of values in the cache, such as 'q8_0'; False for no quantization."""
    mlx_disk_cache: bool | None = None
    """Keep evaluated prompts on disk. For MLX models."""
    mlx_kv_cache_quantization: LlmMlxKvCacheQuantization | bool | None = None
    """Quantization of the key-value cache; False for none. For MLX models."""


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
    force: bool | None = None


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
    """How to predict. What is left out is as the model's settings on the server say."""

    max_tokens: LlmPredictionConfigMaxTokensNumber | bool | None = None
    """The most tokens to predict; False for no limit."""
    reasoning_budget: LlmPredictionConfigReasoningBudgetNumber | bool | None = None
    """The most tokens to reason with before the answer; False for no limit."""
    temperature: Annotated[float, Meta(ge=0.0)] | None = None
    """How freely the model chooses: 0 takes the likeliest token, 1 draws as likely as they are."""
    stop_strings: list[str] | None = None
    """Texts that end the reply. They are not part of it."""
    tool_call_stop_strings: list[str] | None = None
    """Texts that end the reply with a tool call."""
    context_overflow_policy: LlmContextOverflowPolicy | None = None
    """What to do when the context is full: stop, drop its middle, or drop its beginning."""
    structured: LlmStructuredPredictionSetting | None = None
    """The form of the reply: a JSON schema or a grammar. The methods take it as `response_format`."""
    raw_tools: LlmToolUseSetting | None = None
    """The tools that the model may call, as the server takes them."""
    tool_choice: LlmToolChoice | None = None
    """Whether the model may, must or must not call tools."""
    tool_naming: ToolNaming | None = None
    """How names of tools are rewritten for the model."""
    top_k_sampling: float | None = None
    """Choose among this many of the likeliest tokens; -1 to 500."""
    repeat_penalty: float | bool | None = None
    """How much a repeated token loses; 1 is nothing. False switches it off."""
    presence_penalty: float | bool | None = None
    """What a token that has occurred loses, however often it did. False switches it off."""
    min_p_sampling: float | bool | None = None
    """Leave out tokens less likely than this part of the likeliest, 0 to 1. False switches it off."""
    top_p_sampling: float | bool | None = None
    """Choose among the likeliest tokens that together have this probability. False switches it off."""
    cpu_threads: int | None = None
    """How many threads of the CPU to use."""
    enable_thinking: bool | None = None
    """Whether to reason before the answer, for models that leave the choice."""
    prompt_template: LlmPromptTemplate | None = None
    """A prompt template to use instead of the model's own."""
    draft_model: str | None = None
    """The key of a smaller model that drafts tokens for this one to check; "" for none."""
    speculative_decoding_num_draft_tokens_exact: Annotated[int, Meta(ge=1)] | None = (
        None
    )
    """How many tokens a draft has. For MLX models."""
    speculative_decoding_min_draft_length_to_consider: (
        Annotated[int, Meta(ge=0)] | None
    ) = None
    """The fewest tokens of a draft that is worth checking."""
    speculative_decoding_min_continue_drafting_probability: float | None = None
    """Stop drafting at a token less probable than this, 0 to 1."""
    log_probs: LlmPredictionConfigLogProbsNumber | bool | None = None
    """For how many candidates of each token to return log probabilities, up to 100; False for none."""
    reasoning_parsing: LlmReasoningParsing | None = None
    """The texts between which the model reasons."""
    user_max_image_dimension_pixels: (
        LlmPredictionConfigUserMaxImageDimensionPixelsNumber | bool | None
    ) = None
    """Shrink images to this width and height at most; False for never."""
    ignore_model_preferred_max_image_dimension: bool | None = None
    """Disregard the size of images that the model was made for."""
    raw: KvConfig | None = None
    """Fields for the server as they are. The other members override those of the same key."""
    xtc_probability: float | bool | None = None
    """How often to leave out all but the least likely good token, 0 to 1. False switches it off."""
    xtc_threshold: float | bool | None = None
    """How likely a token is for `xtc_probability` to call it good, 0 to 1."""
