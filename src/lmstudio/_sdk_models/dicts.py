# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

from typing_extensions import NotRequired


class FileHandleDict(TypedDict):
    """A FileHandle written as a dict."""

    type: Literal["file"]
    name: str
    identifier: str
    sizeBytes: int
    fileType: Literal["image", "text/plain", "application/pdf", "application/word", "text/other", "unknown"]


class GpuSettingDict(TypedDict):
    """A GpuSetting written as a dict."""

    ratio: NotRequired[float | Literal["max", "off"]]
    numCpuExpertLayersRatio: NotRequired[float | Literal["max", "off"]]
    mainGpu: NotRequired[int]
    splitStrategy: NotRequired[Literal["evenly", "favorMainGpu"]]
    disabledGpus: NotRequired[list[int]]


class KvConfigFieldDict(TypedDict):
    """A KvConfigField written as a dict."""

    key: str
    value: NotRequired[Any]


class LlmJinjaPromptTemplateDict(TypedDict):
    """A LlmJinjaPromptTemplate written as a dict."""

    template: str


class LlmLlamaCppArgumentsOverrideOverrideParametersDict(TypedDict):
    """A LlmLlamaCppArgumentsOverrideOverrideParameters written as a dict."""

    key: str
    value: str


class LlmLoadPromptTemplateDict(TypedDict):
    """A LlmLoadPromptTemplate written as a dict."""

    type: Literal["jinja"]
    jinjaPromptTemplate: LlmJinjaPromptTemplateDict


class LlmManualPromptTemplateDict(TypedDict):
    """A LlmManualPromptTemplate written as a dict."""

    beforeSystem: str
    afterSystem: str
    beforeUser: str
    afterUser: str
    beforeAssistant: str
    afterAssistant: str


class LlmMlxKvCacheQuantizationDict(TypedDict):
    """A LlmMlxKvCacheQuantization written as a dict."""

    enabled: bool
    bits: Literal[8, 6, 4, 3, 2]
    groupSize: Literal[32, 64, 128]
    quantizedStart: int


class LlmPromptTemplateDict(TypedDict):
    """A LlmPromptTemplate written as a dict."""

    type: Literal["manual", "jinja"]
    manualPromptTemplate: NotRequired[LlmManualPromptTemplateDict]
    jinjaPromptTemplate: NotRequired[LlmJinjaPromptTemplateDict]
    stopStrings: list[str]


class LlmReasoningParsingDict(TypedDict):
    """A LlmReasoningParsing written as a dict."""

    enabled: bool
    startString: str
    endString: str


class LlmStructuredPredictionSettingDict(TypedDict):
    """A LlmStructuredPredictionSetting written as a dict."""

    type: Literal["none", "json", "gbnf"]
    jsonSchema: NotRequired[Any]
    gbnfGrammar: NotRequired[str]


class LlmToolChoiceGenericDict(TypedDict):
    """A LlmToolChoiceGeneric written as a dict."""

    type: Literal["generic"]
    mode: Literal["none", "auto", "required"]


LlmToolParametersObjectDict = TypedDict(
    "LlmToolParametersObjectDict",
    {
        "type": Literal["object"],
        "properties": dict[str, Any],
        "required": NotRequired[list[str]],
        "additionalProperties": NotRequired[Any],
        "$defs": NotRequired[dict[str, Any]],
    },
)


class LlmToolUseSettingNoneDict(TypedDict):
    """A LlmToolUseSettingNone written as a dict."""

    type: Literal["none"]


class ModelQueryDict(TypedDict):
    """A ModelQuery written as a dict."""

    domain: NotRequired[Literal["llm", "embedding", "drafter", "imageGen", "transcription", "tts"]]
    deviceIdentifier: NotRequired[str | None]
    identifier: NotRequired[str]
    path: NotRequired[str]
    vision: NotRequired[bool]


class ModelSpecifierInstanceReferenceDict(TypedDict):
    """A ModelSpecifierInstanceReference written as a dict."""

    type: Literal["instanceReference"]
    instanceReference: str


class ModelSpecifierQueryDict(TypedDict):
    """A ModelSpecifierQuery written as a dict."""

    type: Literal["query"]
    query: ModelQueryDict


class TextDataDict(TypedDict):
    """A TextData written as a dict."""

    type: Literal["text"]
    text: str


class ToolCallRequestDict(TypedDict):
    """A ToolCallRequest written as a dict."""

    id: NotRequired[str]
    type: Literal["function"]
    arguments: NotRequired[dict[str, Any]]
    name: str


class ToolCallRequestDataDict(TypedDict):
    """A ToolCallRequestData written as a dict."""

    type: Literal["toolCallRequest"]
    toolCallRequest: ToolCallRequestDict


class ToolCallResultDataDict(TypedDict):
    """A ToolCallResultData written as a dict."""

    type: Literal["toolCallResult"]
    content: str
    toolCallId: NotRequired[str]
    name: NotRequired[str]


class ToolResultMessageDict(TypedDict):
    """A ToolResultMessage written as a dict."""

    role: Literal["tool"]
    content: list[ToolCallResultDataDict]


UserMessageContentDict: TypeAlias = TextDataDict | FileHandleDict


AssistantResponseContentDict: TypeAlias = TextDataDict | FileHandleDict | ToolCallRequestDataDict


class EmbeddingLoadModelConfigDict(TypedDict):
    """A EmbeddingLoadModelConfig written as a dict."""

    gpu: NotRequired[GpuSettingDict]
    contextLength: NotRequired[int]
    ropeFrequencyBase: NotRequired[float | Literal[False]]
    ropeFrequencyScale: NotRequired[float | Literal[False]]
    keepModelInMemory: NotRequired[bool]
    tryMmap: NotRequired[bool]


class KvConfigDict(TypedDict):
    """A KvConfig written as a dict."""

    fields: list[KvConfigFieldDict]


class LlmLlamaCppArgumentsOverrideDict(TypedDict):
    """A LlmLlamaCppArgumentsOverride written as a dict."""

    enabled: bool
    disabledParameters: list[str]
    overrideParameters: list[LlmLlamaCppArgumentsOverrideOverrideParametersDict]
    excludeAllConfig: bool


class LlmLoadModelConfigDict(TypedDict):
    """A LlmLoadModelConfig written as a dict."""

    autoFit: NotRequired[bool]
    gpu: NotRequired[GpuSettingDict]
    maxParallelPredictions: NotRequired[int]
    useUnifiedKvCache: NotRequired[bool]
    gpuStrictVramCap: NotRequired[bool]
    offloadKVCacheToGpu: NotRequired[bool]
    contextLength: NotRequired[int]
    promptTemplate: NotRequired[LlmLoadPromptTemplateDict]
    ropeFrequencyBase: NotRequired[float | Literal[False]]
    ropeFrequencyScale: NotRequired[float | Literal[False]]
    evalBatchSize: NotRequired[int]
    physicalBatchSize: NotRequired[int]
    flashAttention: NotRequired[bool]
    contextCheckpoints: NotRequired[int]
    reasoningBudgetMessage: NotRequired[str]
    speculativeDraftMtp: NotRequired[bool]
    speculativeDraftSimple: NotRequired[bool]
    speculativeDraftModel: NotRequired[str]
    speculativeDraftMaxTokens: NotRequired[int]
    speculativeDraftMinTokens: NotRequired[int]
    speculativeDraftMinContinueProbability: NotRequired[float]
    keepModelInMemory: NotRequired[bool]
    seed: NotRequired[int | Literal[False]]
    useFp16ForKVCache: NotRequired[bool]
    tryMmap: NotRequired[bool]
    tryDirectIO: NotRequired[bool]
    llamaCppArgumentsOverride: NotRequired[LlmLlamaCppArgumentsOverrideDict]
    numExperts: NotRequired[int]
    llamaKCacheQuantizationType: NotRequired[Literal["f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"] | Literal[False]]
    llamaVCacheQuantizationType: NotRequired[Literal["f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"] | Literal[False]]
    mlxDiskCache: NotRequired[bool]
    mlxKvCacheQuantization: NotRequired[LlmMlxKvCacheQuantizationDict | Literal[False]]


LlmToolChoiceDict: TypeAlias = LlmToolChoiceGenericDict


LlmToolParametersDict: TypeAlias = LlmToolParametersObjectDict


ModelSpecifierDict: TypeAlias = ModelSpecifierQueryDict | ModelSpecifierInstanceReferenceDict


SystemPromptContentDict: TypeAlias = TextDataDict | FileHandleDict


class UserMessageDict(TypedDict):
    """A UserMessage written as a dict."""

    role: Literal["user"]
    content: list[UserMessageContentDict]


class AssistantResponseDict(TypedDict):
    """A AssistantResponse written as a dict."""

    role: Literal["assistant"]
    content: list[AssistantResponseContentDict]


class FunctionDict(TypedDict):
    """A Function written as a dict."""

    name: str
    description: NotRequired[str]
    parameters: NotRequired[LlmToolParametersDict]


class LlmToolFunctionDict(TypedDict):
    """A LlmToolFunction written as a dict."""

    type: Literal["function"]
    function: FunctionDict


class SystemPromptDict(TypedDict):
    """A SystemPrompt written as a dict."""

    role: Literal["system"]
    content: list[SystemPromptContentDict]


AnyChatMessageDict: TypeAlias = AssistantResponseDict | UserMessageDict | SystemPromptDict | ToolResultMessageDict


class ChatHistoryDataDict(TypedDict):
    """A ChatHistoryData written as a dict."""

    messages: list[AnyChatMessageDict]


LlmToolDict: TypeAlias = LlmToolFunctionDict


class LlmToolUseSettingToolArrayDict(TypedDict):
    """A LlmToolUseSettingToolArray written as a dict."""

    type: Literal["toolArray"]
    tools: NotRequired[list[LlmToolDict]]
    force: NotRequired[bool]


class LlmApplyPromptTemplateOptsDict(TypedDict):
    """A LlmApplyPromptTemplateOpts written as a dict."""

    omitBosToken: NotRequired[bool]
    omitEosToken: NotRequired[bool]
    toolDefinitions: NotRequired[list[LlmToolDict]]


LlmToolUseSettingDict: TypeAlias = LlmToolUseSettingNoneDict | LlmToolUseSettingToolArrayDict


class LlmPredictionConfigDict(TypedDict):
    """A LlmPredictionConfig written as a dict."""

    maxTokens: NotRequired[int | Literal[False]]
    reasoningBudget: NotRequired[int | Literal[False]]
    temperature: NotRequired[float]
    stopStrings: NotRequired[list[str]]
    toolCallStopStrings: NotRequired[list[str]]
    contextOverflowPolicy: NotRequired[Literal["stopAtLimit", "truncateMiddle", "rollingWindow"]]
    structured: NotRequired[LlmStructuredPredictionSettingDict]
    rawTools: NotRequired[LlmToolUseSettingDict]
    toolChoice: NotRequired[LlmToolChoiceDict]
    toolNaming: NotRequired[Literal["passThrough", "removeSpecial", "snakeCase", "camelCase"]]
    topKSampling: NotRequired[float]
    repeatPenalty: NotRequired[float | Literal[False]]
    presencePenalty: NotRequired[float | Literal[False]]
    minPSampling: NotRequired[float | Literal[False]]
    topPSampling: NotRequired[float | Literal[False]]
    cpuThreads: NotRequired[int]
    enableThinking: NotRequired[bool]
    promptTemplate: NotRequired[LlmPromptTemplateDict]
    draftModel: NotRequired[str]
    speculativeDecodingNumDraftTokensExact: NotRequired[int]
    speculativeDecodingMinDraftLengthToConsider: NotRequired[int]
    speculativeDecodingMinContinueDraftingProbability: NotRequired[float]
    logProbs: NotRequired[int | Literal[False]]
    reasoningParsing: NotRequired[LlmReasoningParsingDict]
    userMaxImageDimensionPixels: NotRequired[int | Literal[False]]
    ignoreModelPreferredMaxImageDimension: NotRequired[bool]
    raw: NotRequired[KvConfigDict]
    xtcProbability: NotRequired[float | Literal[False]]
    xtcThreshold: NotRequired[float | Literal[False]]
