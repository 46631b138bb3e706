"""OpenAI's API as LM Studio serves it: models, chat completions, completions, embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from msgspec import Meta
from typing_extensions import TypedDict

from lmstudio._http_models import Count, Fraction, HttpReply, HttpStruct, JsonObject, NonNegative, always

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls"]
TokenLimit: TypeAlias = Annotated[int, Meta(ge=-1)]
"""-1 for no limit."""


class Model(HttpReply, kw_only=True):
    """One model of the list. The last three are OpenAI's; LM Studio leaves them out, and *created*, too."""

    id: str
    object: str = always("model")
    owned_by: str = always("")
    created: int = always(0)
    permission: list[JsonObject] | None = None
    root: str | None = None
    parent: str | None = None


class ModelList(HttpReply, kw_only=True):
    """Body of the reply of GET /v1/models."""

    object: str = always("list")
    data: list[Model]


class StreamOptions(HttpStruct, kw_only=True):
    """What else a stream brings."""

    include_usage: bool | None = None


class SamplingRequest(HttpStruct, kw_only=True):
    """What requests for a chat and for a text have in common: the model, and how it is to write.

    *ttl*, *draft_model*, *top_k*, *repeat_penalty* and *preset* are LM Studio's, *min_p* and *mirostat* of its engine;
    *cache_prompt* is what its engine does anyway. Nobody does anything with *user*.
    """

    model: str | None = None
    temperature: NonNegative | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Meta(ge=-1, le=500)] | None = None
    min_p: Fraction | None = None
    max_tokens: TokenLimit | None = None
    stop: str | list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: Annotated[float, Meta(ge=-1)] | None = None
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    ttl: Annotated[float, Meta(gt=0)] | None = None
    draft_model: str | None = None
    preset: str | None = None
    mirostat: Literal[0, 1, 2] | None = None
    mirostat_mode: Literal[0, 1, 2] | None = None
    microstat_mode: Literal[0, 1, 2] | None = None
    cache_prompt: bool | None = None
    user: str | None = None

    @property
    def has_usage_chunk(self) -> bool:
        """Whether the stream is to end with the number of tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class ChatParameters(SamplingRequest, kw_only=True):
    """Body of POST /v1/chat/completions, except for its messages."""

    max_completion_tokens: TokenLimit | None = None
    response_format: JsonObject | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class ChatCompletionRequest(ChatParameters, kw_only=True):
    """Body of POST /v1/chat/completions."""

    messages: list[JsonObject]


class CompletionRequest(SamplingRequest, kw_only=True):
    """Body of POST /v1/completions. LM Studio does nothing with *suffix*."""

    prompt: str | list[str]
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class EmbeddingRequest(HttpStruct, kw_only=True):
    """Body of POST /v1/embeddings."""

    model: str | None = None
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Count | None = None
    ttl: Annotated[float, Meta(gt=0)] | None = None


class SamplingParams(TypedDict, total=False):
    """The members of `SamplingRequest` as keywords, without the model, the stream and the user's own spelling."""

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repeat_penalty: float | None
    logit_bias: Mapping[str, float] | None
    seed: int | None
    stream_options: StreamOptions | Mapping[str, Any] | None
    n: int | None
    ttl: float | None
    draft_model: str | None
    preset: str | None
    mirostat: Literal[0, 1, 2] | None
    mirostat_mode: Literal[0, 1, 2] | None
    microstat_mode: Literal[0, 1, 2] | None
    cache_prompt: bool | None
    user: str | None


class ChatCompletionParams(SamplingParams, total=False, closed=True):
    """The members of `ChatCompletionRequest` as keywords, without the model and the messages.

    Closed, so that a client may have more keywords than the contract, such as `signal`.
    """

    max_completion_tokens: int | None
    response_format: Mapping[str, Any] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    reasoning_effort: str | None
    logprobs: bool | None
    top_logprobs: int | None


class CompletionParams(SamplingParams, total=False):
    """The members of `CompletionRequest` as keywords, without the model and the prompt."""

    suffix: str | None
    echo: bool | None
    best_of: int | None
    logprobs: int | None


# Replies -------------------------------------------------------------------------------------------------------------


class CompletionUsage(HttpStruct, kw_only=True):
    """How many tokens a request took."""

    prompt_tokens: int = always(0)
    completion_tokens: int = always(0)
    total_tokens: int = always(0)
    completion_tokens_details: JsonObject | None = None
    prompt_tokens_details: JsonObject | None = None


class FunctionCall(HttpStruct, kw_only=True):
    """The function of a tool call, or a piece of it."""

    name: str | None = None
    arguments: str = always("")


class ToolCall(HttpStruct, kw_only=True):
    """A tool call, whole or in part. *index* is there in parts only; *id* and *type* in the first part."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall


class ChatCompletionMessage(HttpStruct, kw_only=True):
    """What the model has answered. LM Studio knows two names for reasoning."""

    role: str = always("assistant")
    content: str | None = always(None)
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatCompletionDelta(HttpStruct, kw_only=True):
    """A part of what the model has answered."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatCompletionChoice(HttpStruct, kw_only=True):
    """An answer of POST /v1/chat/completions."""

    index: int = always(0)
    logprobs: JsonObject | None = always(None)
    finish_reason: FinishReason | None = always(None)
    message: ChatCompletionMessage


class ChatCompletionChunkChoice(HttpStruct, kw_only=True):
    """A part of an answer of POST /v1/chat/completions."""

    index: int = always(0)
    delta: ChatCompletionDelta
    logprobs: JsonObject | None = always(None)
    finish_reason: FinishReason | None = always(None)


class CompletionChoice(HttpStruct, kw_only=True):
    """An answer of POST /v1/completions, or a part of one."""

    index: int = always(0)
    text: str
    logprobs: JsonObject | None = always(None)
    finish_reason: FinishReason | None = always(None)


class V0Stats(HttpStruct, kw_only=True):
    """How fast a prediction was, and why it ended: what the API v0 has besides."""

    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    generation_time: float | None = None
    stop_reason: str | None = None
    draft_model: str | None = None
    total_draft_tokens_count: int | None = None
    accepted_draft_tokens_count: int | None = None
    rejected_draft_tokens_count: int | None = None
    ignored_draft_tokens_count: int | None = None


class V0ModelInfo(HttpStruct, kw_only=True):
    """Which model has answered, in the API v0."""

    arch: str
    quant: str
    format: str
    context_length: int


class V0Runtime(HttpStruct, kw_only=True):
    """Which engine has answered, in the API v0."""

    name: str
    version: str
    supported_formats: list[str]


class _Reply(HttpReply, kw_only=True):
    """What all replies of chats and texts have, whole ones and the events of a stream.

    *stats* is empty in OpenAI's API, unless a draft model was used.
    """

    id: str = always("")
    object: str = always("")
    created: int = always(0)
    model: str = always("")
    system_fingerprint: str | None = None
    usage: CompletionUsage | None = None
    stats: V0Stats | None = None
    model_info: V0ModelInfo | None = None
    runtime: V0Runtime | None = None


class ChatCompletionResponse(_Reply, kw_only=True):
    """Body of the reply of POST /v1/chat/completions."""

    object: str = always("chat.completion")
    choices: list[ChatCompletionChoice]


class ChatCompletionChunk(_Reply, kw_only=True):
    """An event of the stream of POST /v1/chat/completions."""

    object: str = always("chat.completion.chunk")
    choices: list[ChatCompletionChunkChoice]


class CompletionResponse(_Reply, kw_only=True):
    """Body of the reply of POST /v1/completions, or an event of its stream."""

    object: str = always("text_completion")
    choices: list[CompletionChoice]


class Embedding(HttpStruct, kw_only=True):
    """The embedding of one input; base64 of 32 bit floats if so asked for."""

    object: str = always("embedding")
    index: int = always(0)
    embedding: list[float] | str


class EmbeddingUsage(HttpStruct, kw_only=True):
    """How many tokens the inputs have."""

    prompt_tokens: int = always(0)
    total_tokens: int = always(0)


class EmbeddingResponse(HttpReply, kw_only=True):
    """Body of the reply of POST /v1/embeddings."""

    object: str = always("list")
    data: list[Embedding]
    model: str = always("")
    usage: EmbeddingUsage | None = None
