"""LM Studio's API v1: models, loading, downloading, chats and their events. Requests know no other members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta
from typing_extensions import TypedDict

from lmstudio._http_models import Count, Fraction, HttpReply, HttpStruct, JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind: TypeAlias = Literal["llm", "embedding"]
ReasoningOption: TypeAlias = Literal["off", "low", "medium", "high", "on"]
JobStatus: TypeAlias = Literal["downloading", "paused", "completed", "failed"]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]


class _Request(HttpStruct, kw_only=True, forbid_unknown_fields=True):
    """The body of a request."""


# Models --------------------------------------------------------------------------------------------------------------


class Quantization(HttpStruct, kw_only=True):
    """How the weights are stored."""

    name: str | None
    bits_per_weight: float | None


class LoadConfig(HttpStruct, kw_only=True):
    """What a model was loaded with. An embedding model has a context length only; *num_experts* is for mixtures."""

    context_length: int
    eval_batch_size: int | None = None
    parallel: int | None = None
    flash_attention: bool | None = None
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None


class LoadedInstance(HttpStruct, kw_only=True):
    """A model in memory; *id* is what unloads it."""

    id: str
    config: LoadConfig


class ReasoningCapability(HttpStruct, kw_only=True):
    """What `reasoning` of a chat may be."""

    allowed_options: list[ReasoningOption]
    default: ReasoningOption


class Capabilities(HttpStruct, kw_only=True):
    """What a language model can do. *reasoning* is there if there is a choice."""

    vision: bool
    trained_for_tool_use: bool
    reasoning: ReasoningCapability | None = None


class _Model(HttpStruct, kw_only=True, tag_field="type"):
    publisher: str
    key: str
    display_name: str
    quantization: Quantization | None
    size_bytes: int
    params_string: str | None
    loaded_instances: list[LoadedInstance]
    max_context_length: int
    format: Literal["gguf", "mlx"] | None
    variants: list[str] | None = None
    selected_variant: str | None = None


class LlmModel(_Model, kw_only=True, tag="llm"):
    """A language model of the list."""

    type: ClassVar[Literal["llm"]] = "llm"
    architecture: str | None
    capabilities: Capabilities
    description: str | None


class EmbeddingModel(_Model, kw_only=True, tag="embedding"):
    """An embedding model of the list."""

    type: ClassVar[Literal["embedding"]] = "embedding"


class ModelList(HttpReply, kw_only=True):
    """Body of the reply of GET /api/v1/models."""

    models: list[LlmModel | EmbeddingModel]


class LoadRequest(_Request, kw_only=True):
    """Body of POST /api/v1/models/load. What does not apply to the model has no effect."""

    model: Name
    context_length: Count | None = None
    eval_batch_size: Count | None = None
    flash_attention: bool | None = None
    num_experts: Count | None = None
    offload_kv_cache_to_gpu: bool | None = None
    echo_load_config: bool | None = None


class LoadReply(HttpReply, kw_only=True):
    """Body of the reply of POST /api/v1/models/load. *load_config* is there if it was asked for."""

    type: Kind
    instance_id: str
    load_time_seconds: float
    status: Literal["loaded"]
    load_config: LoadConfig | None = None


class UnloadRequest(_Request, kw_only=True):
    """Body of POST /api/v1/models/unload."""

    instance_id: Name


class UnloadReply(HttpReply, kw_only=True):
    """Body of the reply of POST /api/v1/models/unload."""

    instance_id: str


# Downloads -----------------------------------------------------------------------------------------------------------


class DownloadRequest(_Request, kw_only=True):
    """Body of POST /api/v1/models/download: publisher/name, or the address of a repository."""

    model: Name
    quantization: Name | None = None


class DownloadReply(HttpReply, kw_only=True):
    """Body of the reply of POST /api/v1/models/download. What is there already has a status only."""

    status: Literal["downloading", "paused", "completed", "failed", "already_downloaded"]
    job_id: str | None = None
    total_size_bytes: int | None = None
    started_at: str | None = None
    completed_at: str | None = None


class Problem(HttpStruct, kw_only=True):
    """What went wrong. *code* is for programs, *param* the member of the request that is to blame."""

    type: str
    message: str
    code: str | None = None
    param: str | None = None


class DownloadJob(HttpReply, kw_only=True):
    """Body of the reply of GET /api/v1/models/download/status/{job_id}.

    *bytes_per_second* and *estimated_completion* are there while it is downloading, *error* when it failed.
    """

    job_id: str
    status: JobStatus
    total_size_bytes: int | None = None
    downloaded_bytes: int | None = None
    started_at: str | None = None
    bytes_per_second: float | None = None
    estimated_completion: str | None = None
    completed_at: str | None = None
    error: Problem | None = None


class DownloadJobList(HttpReply, kw_only=True):
    """Body of the reply of GET /api/v1/models/download/status."""

    jobs: list[DownloadJob]


# Chats ---------------------------------------------------------------------------------------------------------------


class TextInput(_Request, kw_only=True, tag_field="type", tag="text"):
    """Text of the new message."""

    type: ClassVar[Literal["text"]] = "text"
    content: str


class MessageInput(_Request, kw_only=True, tag_field="type", tag="message"):
    """The same under the name that LM Studio's reference has for it, and its servers refuse."""

    type: ClassVar[Literal["message"]] = "message"
    content: str


class ImageInput(_Request, kw_only=True, tag_field="type", tag="image"):
    """An image of the new message, as a data: URL with base64."""

    type: ClassVar[Literal["image"]] = "image"
    data_url: str


class PluginIntegration(_Request, kw_only=True, tag_field="type", tag="plugin"):
    """Tools of a plugin that the server has. Without *allowed_tools*, all of them."""

    type: ClassVar[Literal["plugin"]] = "plugin"
    id: Name
    allowed_tools: list[str] | None = None


class EphemeralMcpIntegration(_Request, kw_only=True, tag_field="type", tag="ephemeral_mcp"):
    """Tools of an MCP server, for this request only. Without *allowed_tools*, all of them."""

    type: ClassVar[Literal["ephemeral_mcp"]] = "ephemeral_mcp"
    server_label: Name
    server_url: Name
    allowed_tools: list[str] | None = None
    headers: dict[str, str] | None = None


class ChatRequest(_Request, kw_only=True):
    """Body of POST /api/v1/chat."""

    model: Name
    input: str | list[TextInput | MessageInput | ImageInput]
    system_prompt: str | None = None
    integrations: list[str | PluginIntegration | EphemeralMcpIntegration] | None = None
    stream: bool | None = None
    temperature: Fraction | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Meta(ge=-1, le=500)] | None = None
    min_p: Fraction | None = None
    repeat_penalty: Annotated[float, Meta(ge=-1)] | None = None
    max_output_tokens: Count | None = None
    reasoning: ReasoningOption | None = None
    context_length: Count | None = None
    store: bool | None = None
    previous_response_id: Annotated[str, Meta(pattern="^resp_")] | None = None


class ChatParams(TypedDict, total=False):
    """The members of a `ChatRequest` as keywords."""

    model: str | None
    input: str | Sequence[TextInput | MessageInput | ImageInput | Mapping[str, Any]]
    system_prompt: str | None
    integrations: Sequence[str | PluginIntegration | EphemeralMcpIntegration | Mapping[str, Any]] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repeat_penalty: float | None
    max_output_tokens: int | None
    reasoning: ReasoningOption | None
    context_length: int | None
    store: bool | None
    previous_response_id: str | None


class PluginProvider(HttpStruct, kw_only=True, tag_field="type", tag="plugin"):
    """The tool is a plugin's."""

    type: ClassVar[Literal["plugin"]] = "plugin"
    plugin_id: str


class EphemeralMcpProvider(HttpStruct, kw_only=True, tag_field="type", tag="ephemeral_mcp"):
    """The tool is that of an MCP server of the request."""

    type: ClassVar[Literal["ephemeral_mcp"]] = "ephemeral_mcp"
    server_label: str


Provider: TypeAlias = PluginProvider | EphemeralMcpProvider


class MessageItem(HttpStruct, kw_only=True, tag_field="type", tag="message"):
    """What the model has answered."""

    type: ClassVar[Literal["message"]] = "message"
    content: str


class ReasoningItem(HttpStruct, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model has thought."""

    type: ClassVar[Literal["reasoning"]] = "reasoning"
    content: str


class ToolCallItem(HttpStruct, kw_only=True, tag_field="type", tag="tool_call"):
    """A tool that was called, and what came back."""

    type: ClassVar[Literal["tool_call"]] = "tool_call"
    tool: str
    arguments: JsonObject
    output: str
    provider_info: Provider


class InvalidCall(HttpStruct, kw_only=True):
    """What the model wanted to call. Of a tool that does not exist nothing else is known."""

    type: Literal["invalid_name", "invalid_arguments"]
    tool_name: str
    arguments: Any = None
    provider_info: Provider | None = None


class InvalidToolCallItem(HttpStruct, kw_only=True, tag_field="type", tag="invalid_tool_call"):
    """A call that was not made."""

    type: ClassVar[Literal["invalid_tool_call"]] = "invalid_tool_call"
    reason: str
    metadata: InvalidCall


OutputItem: TypeAlias = MessageItem | ReasoningItem | ToolCallItem | InvalidToolCallItem


class ChatStats(HttpStruct, kw_only=True):
    """How many tokens it took, and how long. The load time is there if the request had to wait for a load."""

    input_tokens: int
    total_output_tokens: int
    reasoning_output_tokens: int
    tokens_per_second: float
    time_to_first_token_seconds: float
    model_load_time_seconds: float | None = None


class ChatReply(HttpReply, kw_only=True):
    """Body of the reply of POST /api/v1/chat. *response_id* is there if the chat was stored."""

    model_instance_id: str
    output: list[OutputItem]
    stats: ChatStats
    response_id: str | None = None

    @property
    def text(self) -> str:
        """The text of all messages."""
        return "".join(item.content for item in self.output if isinstance(item, MessageItem))


# Events of a chat ----------------------------------------------------------------------------------------------------


class ChatStart(HttpStruct, kw_only=True, tag_field="type", tag="chat.start"):
    """The first event."""

    type: ClassVar[Literal["chat.start"]] = "chat.start"
    model_instance_id: str


class ModelLoadStart(HttpStruct, kw_only=True, tag_field="type", tag="model_load.start"):
    """The model has to be loaded."""

    type: ClassVar[Literal["model_load.start"]] = "model_load.start"
    model_instance_id: str


class ModelLoadProgress(HttpStruct, kw_only=True, tag_field="type", tag="model_load.progress"):
    """How far loading is, from 0 to 1."""

    type: ClassVar[Literal["model_load.progress"]] = "model_load.progress"
    model_instance_id: str
    progress: float


class ModelLoadEnd(HttpStruct, kw_only=True, tag_field="type", tag="model_load.end"):
    """The model is loaded."""

    type: ClassVar[Literal["model_load.end"]] = "model_load.end"
    model_instance_id: str
    load_time_seconds: float


class PromptProcessingStart(HttpStruct, kw_only=True, tag_field="type", tag="prompt_processing.start"):
    """The model begins to read."""

    type: ClassVar[Literal["prompt_processing.start"]] = "prompt_processing.start"


class PromptProcessingProgress(HttpStruct, kw_only=True, tag_field="type", tag="prompt_processing.progress"):
    """How far reading is, from 0 to 1."""

    type: ClassVar[Literal["prompt_processing.progress"]] = "prompt_processing.progress"
    progress: float


class PromptProcessingEnd(HttpStruct, kw_only=True, tag_field="type", tag="prompt_processing.end"):
    """The model has read everything."""

    type: ClassVar[Literal["prompt_processing.end"]] = "prompt_processing.end"


class ReasoningStart(HttpStruct, kw_only=True, tag_field="type", tag="reasoning.start"):
    """The model begins to think."""

    type: ClassVar[Literal["reasoning.start"]] = "reasoning.start"


class ReasoningDelta(HttpStruct, kw_only=True, tag_field="type", tag="reasoning.delta"):
    """What it thinks."""

    type: ClassVar[Literal["reasoning.delta"]] = "reasoning.delta"
    content: str


class ReasoningEnd(HttpStruct, kw_only=True, tag_field="type", tag="reasoning.end"):
    """It has thought enough."""

    type: ClassVar[Literal["reasoning.end"]] = "reasoning.end"


class ToolCallStart(HttpStruct, kw_only=True, tag_field="type", tag="tool_call.start"):
    """The model begins to call a tool."""

    type: ClassVar[Literal["tool_call.start"]] = "tool_call.start"
    tool: str
    provider_info: Provider


class ToolCallArguments(HttpStruct, kw_only=True, tag_field="type", tag="tool_call.arguments"):
    """What it calls the tool with, as a whole."""

    type: ClassVar[Literal["tool_call.arguments"]] = "tool_call.arguments"
    tool: str
    arguments: JsonObject
    provider_info: Provider


class ToolCallSuccess(HttpStruct, kw_only=True, tag_field="type", tag="tool_call.success"):
    """What came back."""

    type: ClassVar[Literal["tool_call.success"]] = "tool_call.success"
    tool: str
    arguments: JsonObject
    output: str
    provider_info: Provider


class ToolCallFailure(HttpStruct, kw_only=True, tag_field="type", tag="tool_call.failure"):
    """The call was not made."""

    type: ClassVar[Literal["tool_call.failure"]] = "tool_call.failure"
    reason: str
    metadata: InvalidCall


class MessageStart(HttpStruct, kw_only=True, tag_field="type", tag="message.start"):
    """The model begins to answer."""

    type: ClassVar[Literal["message.start"]] = "message.start"


class MessageDelta(HttpStruct, kw_only=True, tag_field="type", tag="message.delta"):
    """What it answers."""

    type: ClassVar[Literal["message.delta"]] = "message.delta"
    content: str


class MessageEnd(HttpStruct, kw_only=True, tag_field="type", tag="message.end"):
    """It has answered."""

    type: ClassVar[Literal["message.end"]] = "message.end"


class ErrorEvent(HttpStruct, kw_only=True, tag_field="type", tag="error"):
    """Something went wrong; what there is comes with the last event."""

    type: ClassVar[Literal["error"]] = "error"
    error: Problem


class ChatEnd(HttpStruct, kw_only=True, tag_field="type", tag="chat.end"):
    """The last event, with everything."""

    type: ClassVar[Literal["chat.end"]] = "chat.end"
    result: ChatReply


ChatEvent: TypeAlias = (
    ChatStart
    | ModelLoadStart
    | ModelLoadProgress
    | ModelLoadEnd
    | PromptProcessingStart
    | PromptProcessingProgress
    | PromptProcessingEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolCallStart
    | ToolCallArguments
    | ToolCallSuccess
    | ToolCallFailure
    | MessageStart
    | MessageDelta
    | MessageEnd
    | ErrorEvent
    | ChatEnd
)
