"""The shapes that the corpus is made of: one JSON line is one `Document`."""

from __future__ import annotations

from typing import NamedTuple, TypedDict


class ParameterType(TypedDict):
    """JSON schema of one tool parameter: only its type name."""

    type: str


class ParameterSchema(TypedDict):
    """JSON schema of a tool's arguments; every parameter is required."""

    type: str
    properties: dict[str, ParameterType]
    required: list[str]


class FunctionSpec(TypedDict):
    """What the model is told about a tool."""

    name: str
    description: str
    parameters: ParameterSchema


class ToolSpec(TypedDict):
    """A tool in the list that the chat template receives."""

    type: str
    function: FunctionSpec


class FunctionCall(TypedDict):
    """A call by name, with arguments as an object (not as a JSON string)."""

    name: str
    arguments: dict[str, int | str]


class ToolCall(TypedDict):
    """A call as it stands in an assistant message."""

    type: str
    function: FunctionCall


class Message(TypedDict, total=False):
    """One chat message; `reasoning_content` and `tool_calls` occur in assistant messages only."""

    role: str
    reasoning_content: str
    content: str
    tool_calls: list[ToolCall]


class Document(TypedDict, total=False):
    """One training document: `messages` (and `tools`) for a conversation, `text` when `kind` is "text"."""

    kind: str
    messages: list[Message]
    tools: list[ToolSpec]
    text: str


class Exchange(NamedTuple):
    """A question, the answer to it and, where the topic has one, the reasoning that leads to the answer."""

    question: str
    answer: str
    thought: str = ""


def user_message(content: str) -> Message:
    """A user turn."""
    return {"role": "user", "content": content}


def assistant_message(content: str) -> Message:
    """An assistant turn of plain text."""
    return {"role": "assistant", "content": content}
