"""OpenAI's responses (POST /v1/responses) as LM Studio serves them: requests, replies, the events of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta

from lmstudio._http_models import HttpReply, HttpStruct, JsonObject
from lmstudio._http_models.openai import SamplingParams, SamplingRequest, TokenLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


class ResponseParams(SamplingParams, total=False):
    """The members of a `ResponseRequest` as keywords. What is refused in any case is not among them."""

    model: str | None
    input: str | Sequence[Mapping[str, Any]]
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None
    reasoning: ReasoningRequest | Mapping[str, Any] | None
    text: TextOptions | Mapping[str, Any] | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    include: Sequence[str] | None
    top_logprobs: int | None
    truncation: Truncation | None
    store: bool | None
    metadata: Mapping[str, str] | None


# Output --------------------------------------------------------------------------------------------------------------


class OutputText(HttpStruct, kw_only=True, tag_field="type", tag="output_text"):
    """The text of a message."""

    type: ClassVar[Literal["output_text"]] = "output_text"
    text: str
    annotations: list[JsonObject]
    logprobs: list[JsonObject]


class ReasoningText(HttpStruct, kw_only=True, tag_field="type", tag="reasoning_text"):
    """The text of reasoning."""

    type: ClassVar[Literal["reasoning_text"]] = "reasoning_text"
    text: str


class MessageItem(HttpStruct, kw_only=True, tag_field="type", tag="message"):
    """What the model says."""

    type: ClassVar[Literal["message"]] = "message"
    id: str
    role: Literal["assistant"]
    status: ItemStatus
    content: list[OutputText]


class ReasoningItem(HttpStruct, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model has thought before. LM Studio's models write no summaries."""

    type: ClassVar[Literal["reasoning"]] = "reasoning"
    id: str
    status: ItemStatus
    summary: list[JsonObject]
    content: list[ReasoningText]


class FunctionCallItem(HttpStruct, kw_only=True, tag_field="type", tag="function_call"):
    """A function that the model wants to be called. Its result goes with *call_id*."""

    type: ClassVar[Literal["function_call"]] = "function_call"
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

    type: ClassVar[Literal["mcp_list_tools"]] = "mcp_list_tools"
    id: str
    server_label: str
    tools: list[McpTool]
    error: str | None


class McpCallItem(HttpStruct, kw_only=True, tag_field="type", tag="mcp_call"):
    """A tool of an MCP server that the model has called, with what came back."""

    type: ClassVar[Literal["mcp_call"]] = "mcp_call"
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


class Response(HttpReply, kw_only=True):
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

    @property
    def output_text(self) -> str:
        """The text of all messages."""
        messages = [item for item in self.output if isinstance(item, MessageItem)]
        return "".join(part.text for item in messages for part in item.content)


class DeletedResponse(HttpReply, kw_only=True):
    """Body of the reply of DELETE /v1/responses/{id}."""

    id: str
    object: Literal["response"]
    deleted: bool


class InputItemList(HttpReply, kw_only=True):
    """Body of the reply of GET /v1/responses/{id}/input_items."""

    object: Literal["list"]
    data: list[JsonObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


# Events --------------------------------------------------------------------------------------------------------------


class _Event(HttpStruct, kw_only=True, tag_field="type"):
    sequence_number: int | None = None
    """From 0, rising by one. LM Studio's own server leaves it out."""


class _ResponseEvent(_Event, kw_only=True):
    response: Response


class ResponseCreated(_ResponseEvent, kw_only=True, tag="response.created"):
    """The first event."""

    type: ClassVar[Literal["response.created"]] = "response.created"


class ResponseInProgress(_ResponseEvent, kw_only=True, tag="response.in_progress"):
    """The second event."""

    type: ClassVar[Literal["response.in_progress"]] = "response.in_progress"


class ResponseCompleted(_ResponseEvent, kw_only=True, tag="response.completed"):
    """The last event of a stream that went well."""

    type: ClassVar[Literal["response.completed"]] = "response.completed"


class ResponseIncomplete(_ResponseEvent, kw_only=True, tag="response.incomplete"):
    """The last event of a stream whose output ends early."""

    type: ClassVar[Literal["response.incomplete"]] = "response.incomplete"


class ResponseFailed(_ResponseEvent, kw_only=True, tag="response.failed"):
    """The last event of a stream that failed."""

    type: ClassVar[Literal["response.failed"]] = "response.failed"


class _ItemEvent(_Event, kw_only=True):
    output_index: int
    item: OutputItem


class OutputItemAdded(_ItemEvent, kw_only=True, tag="response.output_item.added"):
    """An item begins, empty."""

    type: ClassVar[Literal["response.output_item.added"]] = "response.output_item.added"


class OutputItemDone(_ItemEvent, kw_only=True, tag="response.output_item.done"):
    """An item is whole, or will not become so."""

    type: ClassVar[Literal["response.output_item.done"]] = "response.output_item.done"


class _InsideEvent(_Event, kw_only=True):
    item_id: str
    output_index: int


class _PartEvent(_InsideEvent, kw_only=True):
    content_index: int
    part: ContentPart


class ContentPartAdded(_PartEvent, kw_only=True, tag="response.content_part.added"):
    """A text begins, empty."""

    type: ClassVar[Literal["response.content_part.added"]] = "response.content_part.added"


class ContentPartDone(_PartEvent, kw_only=True, tag="response.content_part.done"):
    """A text is whole."""

    type: ClassVar[Literal["response.content_part.done"]] = "response.content_part.done"


class OutputTextDelta(_InsideEvent, kw_only=True, tag="response.output_text.delta"):
    """A piece of the text of a message."""

    type: ClassVar[Literal["response.output_text.delta"]] = "response.output_text.delta"
    content_index: int
    delta: str
    logprobs: list[JsonObject]


class OutputTextDone(_InsideEvent, kw_only=True, tag="response.output_text.done"):
    """The text of a message."""

    type: ClassVar[Literal["response.output_text.done"]] = "response.output_text.done"
    content_index: int
    text: str
    logprobs: list[JsonObject]


class ReasoningTextDelta(_InsideEvent, kw_only=True, tag="response.reasoning_text.delta"):
    """A piece of reasoning."""

    type: ClassVar[Literal["response.reasoning_text.delta"]] = "response.reasoning_text.delta"
    content_index: int
    delta: str


class ReasoningTextDone(_InsideEvent, kw_only=True, tag="response.reasoning_text.done"):
    """The text of reasoning."""

    type: ClassVar[Literal["response.reasoning_text.done"]] = "response.reasoning_text.done"
    content_index: int
    text: str


class FunctionCallArgumentsDelta(_InsideEvent, kw_only=True, tag="response.function_call_arguments.delta"):
    """A piece of the arguments of a call."""

    type: ClassVar[Literal["response.function_call_arguments.delta"]] = "response.function_call_arguments.delta"
    delta: str


class FunctionCallArgumentsDone(_InsideEvent, kw_only=True, tag="response.function_call_arguments.done"):
    """The arguments of a call."""

    type: ClassVar[Literal["response.function_call_arguments.done"]] = "response.function_call_arguments.done"
    name: str
    arguments: str


class McpListToolsInProgress(_InsideEvent, kw_only=True, tag="response.mcp_list_tools.in_progress"):
    """An MCP server is asked for its tools."""

    type: ClassVar[Literal["response.mcp_list_tools.in_progress"]] = "response.mcp_list_tools.in_progress"


class McpListToolsCompleted(_InsideEvent, kw_only=True, tag="response.mcp_list_tools.completed"):
    """An MCP server has told its tools."""

    type: ClassVar[Literal["response.mcp_list_tools.completed"]] = "response.mcp_list_tools.completed"


class McpCallInProgress(_InsideEvent, kw_only=True, tag="response.mcp_call.in_progress"):
    """The model begins to call a tool of an MCP server."""

    type: ClassVar[Literal["response.mcp_call.in_progress"]] = "response.mcp_call.in_progress"


class McpCallArgumentsDelta(_InsideEvent, kw_only=True, tag="response.mcp_call_arguments.delta"):
    """A piece of the arguments."""

    type: ClassVar[Literal["response.mcp_call_arguments.delta"]] = "response.mcp_call_arguments.delta"
    delta: str


class McpCallArgumentsDone(_InsideEvent, kw_only=True, tag="response.mcp_call_arguments.done"):
    """The arguments."""

    type: ClassVar[Literal["response.mcp_call_arguments.done"]] = "response.mcp_call_arguments.done"
    arguments: str


class McpCallCompleted(_InsideEvent, kw_only=True, tag="response.mcp_call.completed"):
    """The tool has answered."""

    type: ClassVar[Literal["response.mcp_call.completed"]] = "response.mcp_call.completed"


class McpCallFailed(_InsideEvent, kw_only=True, tag="response.mcp_call.failed"):
    """The tool was not called, or has not answered."""

    type: ClassVar[Literal["response.mcp_call.failed"]] = "response.mcp_call.failed"


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
