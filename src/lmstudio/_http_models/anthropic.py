"""Anthropic's API as LM Studio serves it: messages, and how many tokens they have.

Blocks and events carry their type as `type`, by which they are told apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta
from typing_extensions import TypedDict

from lmstudio._http_models import Count, Fraction, HttpReply, HttpStruct, JsonObject, NonNegative

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

StopReason: TypeAlias = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded", "pause_turn", "refusal"
]

# Blocks --------------------------------------------------------------------------------------------------------------


class Base64Source(HttpStruct, kw_only=True, tag="base64"):
    """The content of an image or a document itself."""

    type: ClassVar[Literal["base64"]] = "base64"
    media_type: str
    data: str


class TextSource(HttpStruct, kw_only=True, tag="text"):
    """The text of a document."""

    type: ClassVar[Literal["text"]] = "text"
    data: str


class UrlSource(HttpStruct, kw_only=True, tag="url"):
    """Where an image or a document is. LM Studio does not fetch it."""

    type: ClassVar[Literal["url"]] = "url"
    url: str


class TextBlock(HttpStruct, kw_only=True, tag="text"):
    """Text."""

    type: ClassVar[Literal["text"]] = "text"
    text: str


class ImageBlock(HttpStruct, kw_only=True, tag="image"):
    """An image."""

    type: ClassVar[Literal["image"]] = "image"
    source: Base64Source | UrlSource


class DocumentBlock(HttpStruct, kw_only=True, tag="document"):
    """A document."""

    type: ClassVar[Literal["document"]] = "document"
    source: Base64Source | TextSource | UrlSource
    title: str | None = None


class ToolUseBlock(HttpStruct, kw_only=True, tag="tool_use"):
    """A tool that the model calls."""

    type: ClassVar[Literal["tool_use"]] = "tool_use"
    id: str
    name: str
    input: JsonObject


class ToolResultBlock(HttpStruct, kw_only=True, tag="tool_result"):
    """What a tool has answered."""

    type: ClassVar[Literal["tool_result"]] = "tool_result"
    tool_use_id: str
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(HttpStruct, kw_only=True, tag="thinking", omit_defaults=False):
    """Reasoning. Nobody has to sign it here: *signature* is empty, but it has to be there."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(HttpStruct, kw_only=True, tag="redacted_thinking"):
    """Reasoning that only Anthropic can read."""

    type: ClassVar[Literal["redacted_thinking"]] = "redacted_thinking"
    data: str | None = None


InputBlock: TypeAlias = (
    TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock | ThinkingBlock | RedactedThinkingBlock
)
OutputBlock: TypeAlias = TextBlock | ToolUseBlock | ThinkingBlock


# Requests ------------------------------------------------------------------------------------------------------------


class InputMessage(HttpStruct, kw_only=True):
    """A message of the chat."""

    role: Literal["user", "assistant", "system"]
    content: str | list[InputBlock]


class Tool(HttpStruct, kw_only=True):
    """A tool that the model may call. Tools of another *type* than "custom" are those that Anthropic itself runs."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: JsonObject | None = None


class AutoChoice(HttpStruct, kw_only=True, tag="auto"):
    """The model may call tools."""

    type: ClassVar[Literal["auto"]] = "auto"


class AnyChoice(HttpStruct, kw_only=True, tag="any"):
    """The model has to call a tool."""

    type: ClassVar[Literal["any"]] = "any"


class ToolChoice(HttpStruct, kw_only=True, tag="tool"):
    """The model has to call this tool."""

    type: ClassVar[Literal["tool"]] = "tool"
    name: str


class NoChoice(HttpStruct, kw_only=True, tag="none"):
    """The model may not call tools."""

    type: ClassVar[Literal["none"]] = "none"


class ThinkingEnabled(HttpStruct, kw_only=True, tag="enabled"):
    """The model reasons first, for so many tokens at most."""

    type: ClassVar[Literal["enabled"]] = "enabled"
    budget_tokens: Count


class ThinkingAdaptive(HttpStruct, kw_only=True, tag="adaptive"):
    """The model reasons as long as it likes."""

    type: ClassVar[Literal["adaptive"]] = "adaptive"


class ThinkingBetweenTools(HttpStruct, kw_only=True, tag="between_tools"):
    """The model reasons also when it has got the result of a tool, which those here do anyway."""

    type: ClassVar[Literal["between_tools"]] = "between_tools"


class ThinkingDisabled(HttpStruct, kw_only=True, tag="disabled"):
    """The model does not reason."""

    type: ClassVar[Literal["disabled"]] = "disabled"


Choice: TypeAlias = AutoChoice | AnyChoice | ToolChoice | NoChoice
Thinking: TypeAlias = ThinkingEnabled | ThinkingAdaptive | ThinkingBetweenTools | ThinkingDisabled


class OutputConfig(HttpStruct, kw_only=True):
    """The form of the reply: a JSON schema."""

    format: JsonObject | None = None


class CountTokensRequest(HttpStruct, kw_only=True):
    """Body of POST /v1/messages/count_tokens: a chat, and what else is part of the prompt."""

    model: str
    messages: list[InputMessage]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountTokensRequest, kw_only=True):
    """Body of POST /v1/messages."""

    max_tokens: Count
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: NonNegative | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Meta(ge=-1, le=500)] | None = None


class CountTokensParams(TypedDict, total=False):
    """The members of a `CountTokensRequest` as keywords."""

    model: str | None
    messages: Sequence[InputMessage | Mapping[str, Any]]
    system: str | Sequence[TextBlock | Mapping[str, Any]] | None
    tools: Sequence[Tool | Mapping[str, Any]] | None
    tool_choice: Choice | Mapping[str, Any] | None
    thinking: Thinking | Mapping[str, Any] | None
    output_config: OutputConfig | Mapping[str, Any] | None


class MessagesParams(CountTokensParams, total=False):
    """The members of a `MessagesRequest` as keywords."""

    max_tokens: int
    stop_sequences: Sequence[str] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None


# Replies -------------------------------------------------------------------------------------------------------------


class OutputTokensDetails(HttpStruct, kw_only=True):
    """What the tokens of a reply were for."""

    thinking_tokens: int


class Usage(HttpStruct, kw_only=True):
    """How many tokens a request took. *input_tokens* are all of the prompt, also those that the engine still had."""

    input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None


class Message(HttpReply, kw_only=True, tag="message"):
    """Body of the reply of POST /v1/messages."""

    type: ClassVar[Literal["message"]] = "message"
    id: str
    role: Literal["assistant"]
    model: str
    content: list[OutputBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage

    @property
    def text(self) -> str:
        """The text of all blocks."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))


class TokensCount(HttpReply, kw_only=True):
    """Body of the reply of POST /v1/messages/count_tokens."""

    input_tokens: int


# Events of a stream --------------------------------------------------------------------------------------------------


class TextDelta(HttpStruct, kw_only=True, tag="text_delta"):
    """More text."""

    type: ClassVar[Literal["text_delta"]] = "text_delta"
    text: str


class ThinkingDelta(HttpStruct, kw_only=True, tag="thinking_delta"):
    """More reasoning."""

    type: ClassVar[Literal["thinking_delta"]] = "thinking_delta"
    thinking: str


class SignatureDelta(HttpStruct, kw_only=True, tag="signature_delta"):
    """The signature of the reasoning, which is over."""

    type: ClassVar[Literal["signature_delta"]] = "signature_delta"
    signature: str


class InputJsonDelta(HttpStruct, kw_only=True, tag="input_json_delta"):
    """More of the arguments of a tool call, as JSON."""

    type: ClassVar[Literal["input_json_delta"]] = "input_json_delta"
    partial_json: str


class MessageStart(HttpStruct, kw_only=True, tag="message_start"):
    """The first event: the message without its content."""

    type: ClassVar[Literal["message_start"]] = "message_start"
    message: Message


class ContentBlockStart(HttpStruct, kw_only=True, tag="content_block_start"):
    """A block begins, empty."""

    type: ClassVar[Literal["content_block_start"]] = "content_block_start"
    index: int
    content_block: OutputBlock


class ContentBlockDelta(HttpStruct, kw_only=True, tag="content_block_delta"):
    """More of a block."""

    type: ClassVar[Literal["content_block_delta"]] = "content_block_delta"
    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class ContentBlockStop(HttpStruct, kw_only=True, tag="content_block_stop"):
    """A block is complete."""

    type: ClassVar[Literal["content_block_stop"]] = "content_block_stop"
    index: int


class StopDelta(HttpStruct, kw_only=True):
    """Why the message has ended."""

    stop_reason: StopReason | None
    stop_sequence: str | None


class MessageDelta(HttpStruct, kw_only=True, tag="message_delta"):
    """All blocks are complete."""

    type: ClassVar[Literal["message_delta"]] = "message_delta"
    delta: StopDelta
    usage: Usage


class MessageStop(HttpStruct, kw_only=True, tag="message_stop"):
    """The last event."""

    type: ClassVar[Literal["message_stop"]] = "message_stop"


class Ping(HttpStruct, kw_only=True, tag="ping"):
    """Nothing has happened; the connection is there."""

    type: ClassVar[Literal["ping"]] = "ping"


StreamEvent: TypeAlias = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)
