"""Anthropic's API as LM Studio serves it: messages, and how many tokens they have.

Blocks and events carry their type as `type`, by which they are told apart.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from lmstudio._http_models import Count, Fraction, HttpStruct, JsonObject, NonNegative

StopReason: TypeAlias = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded", "pause_turn", "refusal"
]

# Blocks --------------------------------------------------------------------------------------------------------------


class Base64Source(HttpStruct, kw_only=True, tag="base64"):
    """The content of an image or a document itself."""

    media_type: str
    data: str


class TextSource(HttpStruct, kw_only=True, tag="text"):
    """The text of a document."""

    data: str


class UrlSource(HttpStruct, kw_only=True, tag="url"):
    """Where an image or a document is. LM Studio does not fetch it."""

    url: str


class TextBlock(HttpStruct, kw_only=True, tag="text"):
    """Text."""

    text: str


class ImageBlock(HttpStruct, kw_only=True, tag="image"):
    """An image."""

    source: Base64Source | UrlSource


class DocumentBlock(HttpStruct, kw_only=True, tag="document"):
    """A document."""

    source: Base64Source | TextSource | UrlSource
    title: str | None = None


class ToolUseBlock(HttpStruct, kw_only=True, tag="tool_use"):
    """A tool that the model calls."""

    id: str
    name: str
    input: JsonObject


class ToolResultBlock(HttpStruct, kw_only=True, tag="tool_result"):
    """What a tool has answered."""

    tool_use_id: str
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None


class ThinkingBlock(HttpStruct, kw_only=True, tag="thinking", omit_defaults=False):
    """Reasoning. Nobody has to sign it here: *signature* is empty, but it has to be there."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(HttpStruct, kw_only=True, tag="redacted_thinking"):
    """Reasoning that only Anthropic can read."""

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


class AnyChoice(HttpStruct, kw_only=True, tag="any"):
    """The model has to call a tool."""


class ToolChoice(HttpStruct, kw_only=True, tag="tool"):
    """The model has to call this tool."""

    name: str


class NoChoice(HttpStruct, kw_only=True, tag="none"):
    """The model may not call tools."""


class ThinkingEnabled(HttpStruct, kw_only=True, tag="enabled"):
    """The model reasons first, for so many tokens at most."""

    budget_tokens: Count


class ThinkingAdaptive(HttpStruct, kw_only=True, tag="adaptive"):
    """The model reasons as long as it likes."""


class ThinkingBetweenTools(HttpStruct, kw_only=True, tag="between_tools"):
    """The model reasons also when it has got the result of a tool, which those here do anyway."""


class ThinkingDisabled(HttpStruct, kw_only=True, tag="disabled"):
    """The model does not reason."""


class OutputConfig(HttpStruct, kw_only=True):
    """The form of the reply: a JSON schema."""

    format: JsonObject | None = None


class CountTokensRequest(HttpStruct, kw_only=True):
    """Body of POST /v1/messages/count_tokens: a chat, and what else is part of the prompt."""

    model: str
    messages: list[InputMessage]
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: AutoChoice | AnyChoice | ToolChoice | NoChoice | None = None
    thinking: ThinkingEnabled | ThinkingAdaptive | ThinkingBetweenTools | ThinkingDisabled | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountTokensRequest, kw_only=True):
    """Body of POST /v1/messages."""

    max_tokens: Count
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: NonNegative | None = None
    top_p: Fraction | None = None
    top_k: Annotated[int, Meta(ge=-1, le=500)] | None = None


# Replies -------------------------------------------------------------------------------------------------------------


class OutputTokensDetails(HttpStruct, kw_only=True):
    """What the tokens of a reply were for."""

    thinking_tokens: int


class Usage(HttpStruct, kw_only=True):
    """How many tokens a request took. *input_tokens* are all of the prompt, also those that the engine still had."""

    input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails | None = None


class Message(HttpStruct, kw_only=True, tag="message"):
    """Body of the reply of POST /v1/messages."""

    id: str
    role: Literal["assistant"]
    model: str
    content: list[OutputBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage


class TokensCount(HttpStruct, kw_only=True):
    """Body of the reply of POST /v1/messages/count_tokens."""

    input_tokens: int


# Events of a stream --------------------------------------------------------------------------------------------------


class TextDelta(HttpStruct, kw_only=True, tag="text_delta"):
    """More text."""

    text: str


class ThinkingDelta(HttpStruct, kw_only=True, tag="thinking_delta"):
    """More reasoning."""

    thinking: str


class SignatureDelta(HttpStruct, kw_only=True, tag="signature_delta"):
    """The signature of the reasoning, which is over."""

    signature: str


class InputJsonDelta(HttpStruct, kw_only=True, tag="input_json_delta"):
    """More of the arguments of a tool call, as JSON."""

    partial_json: str


class MessageStart(HttpStruct, kw_only=True, tag="message_start"):
    """The first event: the message without its content."""

    message: Message


class ContentBlockStart(HttpStruct, kw_only=True, tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: OutputBlock


class ContentBlockDelta(HttpStruct, kw_only=True, tag="content_block_delta"):
    """More of a block."""

    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class ContentBlockStop(HttpStruct, kw_only=True, tag="content_block_stop"):
    """A block is complete."""

    index: int


class StopDelta(HttpStruct, kw_only=True):
    """Why the message has ended."""

    stop_reason: StopReason | None
    stop_sequence: str | None


class MessageDelta(HttpStruct, kw_only=True, tag="message_delta"):
    """All blocks are complete."""

    delta: StopDelta
    usage: Usage


class MessageStop(HttpStruct, kw_only=True, tag="message_stop"):
    """The last event."""


class Ping(HttpStruct, kw_only=True, tag="ping"):
    """Nothing has happened; the connection is there."""


StreamEvent: TypeAlias = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)
