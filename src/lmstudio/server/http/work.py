"""What the surfaces make of packets and messages, whoever the packets come from."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmstudio._http_models import encode
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmstudio._sdk_models import LlmToken, ToolCallRequest
    from lmstudio.server.output import Packet

__all__ = ["Collected", "arguments_text", "refusing_bad_messages"]


@dataclass
class Collected:
    """A reply in parts, put together."""

    separates_reasoning: bool = True
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    reasoning_tokens: int = 0
    tool_calls: list[tuple[str, ToolCallRequest]] = field(default_factory=list)
    """Id and request."""
    failures: list[str] = field(default_factory=list)
    """What the model wrote in place of a call."""
    tokens: list[LlmToken] = field(default_factory=list)
    prompt_tokens: int = 0
    prompt_cached_tokens: int = 0
    _open_id: str = ""

    def add(self, packets: Sequence[Packet]) -> None:
        """Take the next packets in."""
        for packet in packets:
            match packet:
                case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                    kind = fragment.reasoning_type
                    if kind == "reasoning":
                        self.reasoning_tokens += fragment.tokens_count
                    if not self.separates_reasoning or kind == "none":
                        self.content.append(fragment.content)
                    elif kind == "reasoning":
                        self.reasoning.append(fragment.content)
                    if kind == "none" and fragment.tokens:
                        self.tokens.extend(fragment.tokens)
                case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                    self._open_id = call_id or ""
                case LlmChannelPredictToClientPacketToolCallGenerationEnd(tool_call_request=request):
                    self.tool_calls.append((request.id or self._open_id, request))
                case LlmChannelPredictToClientPacketToolCallGenerationFailed(raw_content=raw):
                    self.failures.append(raw or "")
                case LlmChannelPredictToClientPacketPromptProcessingProgress(details=details):
                    self.prompt_tokens = details.total_prompt_token_count
                    self.prompt_cached_tokens = details.cached_token_count
                case _:
                    pass

    @property
    def text(self) -> str:
        """The content of the message. What could not be read as a call is text."""
        return "".join(self.content) + "".join(self.failures)


def arguments_text(arguments: Mapping[str, Any] | None) -> str:
    """The arguments of a tool call as JSON, as they travel in most APIs."""
    return encode(arguments or {}).decode()


@contextmanager
def refusing_bad_messages(param: str) -> Iterator[None]:
    """Messages that cannot be read are the client's mistake.

    Raises:
        HttpError: the block raised LMStudioValueError.
    """
    try:
        yield
    except LMStudioValueError as error:
        raise HttpError("invalid_request", str(error), param=param, code="invalid_value") from None
