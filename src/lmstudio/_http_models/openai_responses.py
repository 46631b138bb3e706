"""OpenAI's responses (POST /v1/responses) as LM Studio serves them: requests, replies, the events of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta

from lmstudio._http_models import HttpStruct, JsonObject
from lmstudio._http_models.openai import SamplingRequest, TokenLimit

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]
ResponseStatus: TypeAlias = Literal["in_progress", "completed", "incomplete", "failed"]
Truncation: TypeAlias = Literal["auto", "disabled"]


class ReasoningOptions(HttpStruct, kw_only=True):
    """How much the model is to reason. *summary* is what OpenAI's own models know besides."""

    effort: str | None
    summary: str | None


class ReasoningRequest(HttpStruct, kw_only=True):
    """What is asked for of that."""

    effort: str | None = None
    summary: str | None = None


class TextOptions(HttpStruct, kw_only=True):
    """The form of the text, as `response_format` of chat completions, but in one level."""

    format: JsonObject | None = None
    verbosity: str | None = None


class ResponseRequest(SamplingRequest, kw_only=True):
    """Body of POST /v1/responses.

    *background*, *conversation* and *prompt* are there to be refused: to ignore them would answer something else.
    """

    input: str | list[JsonObject]
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: TokenLimit | None = None
    reasoning: ReasoningRequest | None = None
    text: TextOptions | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    truncation: Truncation | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None


# Output --------------------------------------------------------------------------------------------------------------


class OutputText(HttpStruct, kw_only=True, tag_field="type", tag="output_text"):
    """The text of a message."""

    text: str
    annotations: list[JsonObject]
    logprobs: list[JsonObject]


class ReasoningText(HttpStruct, kw_only=True, tag_field="type", tag="reasoning_text"):
    """The text of reasoning."""

    text: str


class MessageItem(HttpStruct, kw_only=True, tag_field="type", tag="message"):
    """What the model says."""

    id: str
    role: Literal["assistant"]
    status: ItemStatus
    content: list[OutputText]


class ReasoningItem(HttpStruct, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model has thought before. LM Studio's models write no summaries."""

    id: str
    status: ItemStatus
    summary: list[JsonObject]
    content: list[ReasoningText]


class FunctionCallItem(HttpStruct, kw_only=True, tag_field="type", tag="function_call"):
    """A function that the model wants to be called. Its result goes with *call_id*."""

    id: str
    call_id: str
    name: str
    arguments: str
    """JSON."""
    status: ItemStatus


class McpTool(HttpStruct, kw_only=True):
    """A tool of an MCP server."""

    name: str
    description: str | None
    input_schema: JsonObject
    annotations: JsonObject | None


class McpListToolsItem(HttpStruct, kw_only=True, tag_field="type", tag="mcp_list_tools"):
    """What an MCP server offers."""

    id: str
    server_label: str
    tools: list[McpTool]
    error: str | None


class McpCallItem(HttpStruct, kw_only=True, tag_field="type", tag="mcp_call"):
    """A tool of an MCP server that the model has called, with what came back."""

    id: str
    server_label: str
    name: str
    arguments: str
    """JSON."""
    output: str | None
    error: str | None
    status: ItemStatus
    approval_request_id: str | None


OutputItem: TypeAlias = MessageItem | ReasoningItem | FunctionCallItem | McpListToolsItem | McpCallItem
ContentPart: TypeAlias = OutputText | ReasoningText


# Replies -------------------------------------------------------------------------------------------------------------


class InputTokensDetails(HttpStruct, kw_only=True):
    """Of the tokens of the prompt, those that the engine had read before."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(HttpStruct, kw_only=True):
    """Of the tokens that the model has written, those of its reasoning."""

    reasoning_tokens: int


class ResponseUsage(HttpStruct, kw_only=True):
    """How many tokens a request took."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(HttpStruct, kw_only=True):
    """Why the model has failed."""

    code: str
    message: str


class IncompleteDetails(HttpStruct, kw_only=True):
    """Why the output ends early; None where OpenAI has no word for it."""

    reason: Literal["max_output_tokens"] | None


class Response(HttpStruct, kw_only=True):
    """Body of the reply of POST /v1/responses, and of GET /v1/responses/{id}.

    Most of it is what was asked for, with the defaults where nothing was.
    """

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: ResponseStatus
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    reasoning: ReasoningOptions
    store: bool
    temperature: float | None
    text: JsonObject
    tool_choice: str | JsonObject
    tools: list[JsonObject]
    top_logprobs: int
    top_p: float | None
    truncation: Truncation
    usage: ResponseUsage | None


class DeletedResponse(HttpStruct, kw_only=True):
    """Body of the reply of DELETE /v1/responses/{id}."""

    id: str
    object: Literal["response"]
    deleted: bool


class InputItemList(HttpStruct, kw_only=True):
    """Body of the reply of GET /v1/responses/{id}/input_items."""

    object: Literal["list"]
    data: list[JsonObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


# Events --------------------------------------------------------------------------------------------------------------


class _Event(HttpStruct, kw_only=True, tag_field="type"):
    sequence_number: int
    """From 0, rising by one."""


class _ResponseEvent(_Event, kw_only=True):
    response: Response


class ResponseCreated(_ResponseEvent, kw_only=True, tag="response.created"):
    """The first event."""


class ResponseInProgress(_ResponseEvent, kw_only=True, tag="response.in_progress"):
    """The second event."""


class ResponseCompleted(_ResponseEvent, kw_only=True, tag="response.completed"):
    """The last event of a stream that went well."""


class ResponseIncomplete(_ResponseEvent, kw_only=True, tag="response.incomplete"):
    """The last event of a stream whose output ends early."""


class ResponseFailed(_ResponseEvent, kw_only=True, tag="response.failed"):
    """The last event of a stream that failed."""


class _ItemEvent(_Event, kw_only=True):
    output_index: int
    item: OutputItem


class OutputItemAdded(_ItemEvent, kw_only=True, tag="response.output_item.added"):
    """An item begins, empty."""


class OutputItemDone(_ItemEvent, kw_only=True, tag="response.output_item.done"):
    """An item is whole, or will not become so."""


class _InsideEvent(_Event, kw_only=True):
    item_id: str
    output_index: int


class _PartEvent(_InsideEvent, kw_only=True):
    content_index: int
    part: ContentPart


class ContentPartAdded(_PartEvent, kw_only=True, tag="response.content_part.added"):
    """A text begins, empty."""


class ContentPartDone(_PartEvent, kw_only=True, tag="response.content_part.done"):
    """A text is whole."""


class OutputTextDelta(_InsideEvent, kw_only=True, tag="response.output_text.delta"):
    """A piece of the text of a message."""

    content_index: int
    delta: str
    logprobs: list[JsonObject]


class OutputTextDone(_InsideEvent, kw_only=True, tag="response.output_text.done"):
    """The text of a message."""

    content_index: int
    text: str
    logprobs: list[JsonObject]


class ReasoningTextDelta(_InsideEvent, kw_only=True, tag="response.reasoning_text.delta"):
    """A piece of reasoning."""

    content_index: int
    delta: str


class ReasoningTextDone(_InsideEvent, kw_only=True, tag="response.reasoning_text.done"):
    """The text of reasoning."""

    content_index: int
    text: str


class FunctionCallArgumentsDelta(_InsideEvent, kw_only=True, tag="response.function_call_arguments.delta"):
    """A piece of the arguments of a call."""

    delta: str


class FunctionCallArgumentsDone(_InsideEvent, kw_only=True, tag="response.function_call_arguments.done"):
    """The arguments of a call."""

    name: str
    arguments: str


class McpListToolsInProgress(_InsideEvent, kw_only=True, tag="response.mcp_list_tools.in_progress"):
    """An MCP server is asked for its tools."""


class McpListToolsCompleted(_InsideEvent, kw_only=True, tag="response.mcp_list_tools.completed"):
    """An MCP server has told its tools."""


class McpCallInProgress(_InsideEvent, kw_only=True, tag="response.mcp_call.in_progress"):
    """The model begins to call a tool of an MCP server."""


class McpCallArgumentsDelta(_InsideEvent, kw_only=True, tag="response.mcp_call_arguments.delta"):
    """A piece of the arguments."""

    delta: str


class McpCallArgumentsDone(_InsideEvent, kw_only=True, tag="response.mcp_call_arguments.done"):
    """The arguments."""

    arguments: str


class McpCallCompleted(_InsideEvent, kw_only=True, tag="response.mcp_call.completed"):
    """The tool has answered."""


class McpCallFailed(_InsideEvent, kw_only=True, tag="response.mcp_call.failed"):
    """The tool was not called, or has not answered."""


ResponseEvent: TypeAlias = (
    ResponseCreated
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | FunctionCallArgumentsDelta
    | FunctionCallArgumentsDone
    | McpListToolsInProgress
    | McpListToolsCompleted
    | McpCallInProgress
    | McpCallArgumentsDelta
    | McpCallArgumentsDone
    | McpCallCompleted
    | McpCallFailed
)
