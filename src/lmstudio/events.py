"""What happens in a prediction, one event at a time: what `stream.events()` yields.

Every event has a `kind`, so that `match event.kind` works as well as `match event`.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import msgspec

# Not for type checkers only: msgspec reads the annotations when somebody asks for a signature.
from ._sdk_models import LlmPredictionFragment, PromptProcessingDetails, ToolCallRequest  # noqa: TC001
from .errors import ToolCallRequestError  # noqa: TC001
from .results import PredictionResult  # noqa: TC001

__all__ = [
    "PredictionEvent",
    "PromptProgressEvent",
    "ReasoningEvent",
    "ResultEvent",
    "TextEvent",
    "ToolCallArgumentsEvent",
    "ToolCallEvent",
    "ToolCallFailedEvent",
    "ToolCallNameEvent",
    "ToolCallStartEvent",
]


class PromptProgressEvent(msgspec.Struct, frozen=True):
    """More of the prompt has been read."""

    kind: ClassVar[Literal["prompt_progress"]] = "prompt_progress"
    progress: float
    """0.0 to 1.0, never falling."""
    details: PromptProcessingDetails | None = None
    """Token counts, where the server gives them."""


class TextEvent(msgspec.Struct, frozen=True):
    """More of the answer."""

    kind: ClassVar[Literal["text"]] = "text"
    content: str
    fragment: LlmPredictionFragment


class ReasoningEvent(msgspec.Struct, frozen=True):
    """More of what the model thinks. The tags around it are no events."""

    kind: ClassVar[Literal["reasoning"]] = "reasoning"
    content: str
    fragment: LlmPredictionFragment


class ToolCallStartEvent(msgspec.Struct, frozen=True):
    """The model begins to write a tool call."""

    kind: ClassVar[Literal["tool_call_start"]] = "tool_call_start"
    call_id: int
    """Number of the call within the prediction, from 0."""
    tool_call_id: str | None
    """Its id on the wire, if the model gives one."""


class ToolCallNameEvent(msgspec.Struct, frozen=True):
    """The name of the tool is known."""

    kind: ClassVar[Literal["tool_call_name"]] = "tool_call_name"
    call_id: int
    name: str


class ToolCallArgumentsEvent(msgspec.Struct, frozen=True):
    """More of the arguments, as the model writes them. For display: the complete call follows."""

    kind: ClassVar[Literal["tool_call_arguments"]] = "tool_call_arguments"
    call_id: int
    content: str


class ToolCallEvent(msgspec.Struct, frozen=True):
    """A complete tool call."""

    kind: ClassVar[Literal["tool_call"]] = "tool_call"
    call_id: int
    tool_call_request: ToolCallRequest
    raw_content: str | None = None
    """What the model wrote, not necessarily JSON."""


class ToolCallFailedEvent(msgspec.Struct, frozen=True):
    """What looked like a tool call cannot be read, or was cut off."""

    kind: ClassVar[Literal["tool_call_failed"]] = "tool_call_failed"
    call_id: int
    error: ToolCallRequestError


class ResultEvent(msgspec.Struct, frozen=True):
    """The end."""

    kind: ClassVar[Literal["result"]] = "result"
    result: PredictionResult


ToolCallEvents: TypeAlias = (
    ToolCallStartEvent | ToolCallNameEvent | ToolCallArgumentsEvent | ToolCallEvent | ToolCallFailedEvent
)
PredictionEvent: TypeAlias = PromptProgressEvent | TextEvent | ReasoningEvent | ToolCallEvents | ResultEvent


def fragment_events(fragment: LlmPredictionFragment) -> list[TextEvent | ReasoningEvent]:
    """The event that *fragment* is, if it is one."""
    if fragment.reasoning_type == "reasoning":
        return [ReasoningEvent(fragment.content, fragment)]
    return [TextEvent(fragment.content, fragment)] if fragment.reasoning_type == "none" else []
