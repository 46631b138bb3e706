"""Replies of OpenAI's chat completions, made of the packets of a prediction: by the server and by native clients."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import encode
from lmstudio._http_models.openai import (
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionChunkChoice,
    ChatCompletionDelta,
    ChatCompletionMessage,
    ChatCompletionResponse,
    CompletionUsage,
    FunctionCall,
    ToolCall,
    V0Stats,
)
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmstudio._http_models.openai import ChatParameters, FinishReason
    from lmstudio._sdk_models import (
        LlmChannelPredictToClientPacket,
        LlmPredictionStats,
        LlmPredictionStopReason,
        LlmToken,
        ToolCallRequest,
    )

__all__ = [
    "ChatAssembly",
    "ChatChunks",
    "Collected",
    "ReplyHead",
    "arguments_text",
    "chat_reply",
    "finish_reason",
    "logprobs",
    "new_id",
    "usage_of",
]

_FINISH_REASONS: Final[Mapping[LlmPredictionStopReason, FinishReason]] = {
    "eosFound": "stop",
    "stopStringFound": "stop",
    "userStopped": "stop",
    "toolCalls": "tool_calls",
    "maxPredictedTokensReached": "length",
    "contextLengthReached": "length",
}


@dataclass(frozen=True)
class ReplyHead:
    """What all parts of one reply begin with."""

    id: str
    created: int
    model: str

    def members(self, kind: str) -> dict[str, Any]:
        """The members of a reply whose `object` is *kind*."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.model,
        }

    def last_members(self, stats: LlmPredictionStats) -> dict[str, Any]:
        """What comes with the end besides: how a draft model has helped."""
        drafts = V0Stats(
            draft_model=stats.used_draft_model_key,
            total_draft_tokens_count=stats.total_draft_tokens_count,
            accepted_draft_tokens_count=stats.accepted_draft_tokens_count,
            rejected_draft_tokens_count=stats.rejected_draft_tokens_count,
            ignored_draft_tokens_count=stats.ignored_draft_tokens_count,
        )
        return {"stats": drafts}


def new_id(prefix: str) -> str:
    """The id of a new reply."""
    return f"{prefix}-{secrets.token_hex(12)}"


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

    def add(self, packets: Sequence[LlmChannelPredictToClientPacket]) -> None:
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


def finish_reason(stats: LlmPredictionStats, collected: Collected) -> FinishReason:
    """Why the prediction ended, in OpenAI's words. A model that calls a tool ends its text as any other.

    There is no word for a model that was unloaded meanwhile: that is an error, which the caller raises.
    """
    reason = _FINISH_REASONS.get(stats.stop_reason, "stop")
    return "tool_calls" if reason == "stop" and collected.tool_calls else reason


def usage_of(stats: LlmPredictionStats, collected: Collected) -> CompletionUsage:
    """The number of tokens; those of the template and of tool definitions belong to the prompt."""
    prompt, predicted = stats.prompt_tokens_count or 0, stats.predicted_tokens_count or 0
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=predicted,
        total_tokens=prompt + predicted,
        prompt_tokens_details={"cached_tokens": collected.prompt_cached_tokens},
        completion_tokens_details={"reasoning_tokens": collected.reasoning_tokens},
    )


def logprobs(tokens: Sequence[LlmToken]) -> dict[str, Any] | None:
    """The probabilities of *tokens* as chat completions have them; None without any."""
    if not tokens:
        return None
    return {
        "content": [
            {**_logprob(token), "top_logprobs": list(map(_logprob, token.candidates or ()))} for token in tokens
        ]
    }


def _logprob(token: Any) -> dict[str, Any]:
    # A token that is certain not to come has the logarithm -infinity, for which JSON has no word.
    value = -9999.0 if token.log_prob is None else token.log_prob
    return {"token": token.text, "logprob": value, "bytes": list(token.text.encode())}


def chat_reply(head: ReplyHead, stats: LlmPredictionStats, collected: Collected) -> ChatCompletionResponse:
    """The whole reply."""
    reasoning = "".join(collected.reasoning) or None
    calls = [
        ToolCall(
            id=call_id, type="function", function=FunctionCall(name=call.name, arguments=arguments_text(call.arguments))
        )
        for call_id, call in collected.tool_calls
    ]
    message = ChatCompletionMessage(
        role="assistant",
        content=collected.text or (None if calls else ""),
        reasoning=reasoning,
        reasoning_content=reasoning,
        tool_calls=calls or None,
    )
    choice = ChatCompletionChoice(
        index=0,
        logprobs=logprobs(collected.tokens),
        finish_reason=finish_reason(stats, collected),
        message=message,
    )
    return ChatCompletionResponse(
        **head.members("chat.completion"),
        **head.last_members(stats),
        choices=[choice],
        usage=usage_of(stats, collected),
    )


class ChatChunks:
    """The events of a stream, made of the packets of a prediction."""

    def __init__(self, head: ReplyHead, *, separates_reasoning: bool) -> None:
        self._head = head.members("chat.completion.chunk")
        self._separates_reasoning = separates_reasoning
        self._calls = -1
        self._call_id = ""

    def first(self) -> ChatCompletionChunk:
        """Who speaks."""
        return self._chunk(ChatCompletionDelta(role="assistant", content=""))

    def text(self, text: str) -> ChatCompletionChunk:
        """A piece of the answer."""
        return self._chunk(ChatCompletionDelta(content=text))

    def of(self, packets: Sequence[LlmChannelPredictToClientPacket]) -> Iterator[ChatCompletionChunk]:
        """The events for *packets*."""
        for packet in packets:
            match packet:
                case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                    delta = self._text(fragment.content, fragment.reasoning_type)
                    if delta is not None:
                        yield self._chunk(delta, fragment.tokens or ())
                case LlmChannelPredictToClientPacketToolCallGenerationStart(tool_call_id=call_id):
                    self._calls += 1
                    self._call_id = call_id or ""
                case LlmChannelPredictToClientPacketToolCallGenerationNameReceived(name=name):
                    function = FunctionCall(name=name, arguments="")
                    yield self._call(ToolCall(index=self._calls, id=self._call_id, type="function", function=function))
                case LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated(content=text):
                    yield self._call(ToolCall(index=self._calls, function=FunctionCall(arguments=text)))
                case LlmChannelPredictToClientPacketToolCallGenerationFailed(raw_content=raw):
                    if raw:
                        yield self._chunk(ChatCompletionDelta(content=raw))
                case LlmChannelPredictToClientPacketToolCallGenerationEnd() | _:
                    pass

    def _text(self, text: str, kind: str) -> ChatCompletionDelta | None:
        if kind == "none" or not self._separates_reasoning:
            return ChatCompletionDelta(content=text)
        return ChatCompletionDelta(reasoning=text, reasoning_content=text) if kind == "reasoning" else None

    def _call(self, call: ToolCall) -> ChatCompletionChunk:
        return self._chunk(ChatCompletionDelta(tool_calls=[call]))

    def last(self, reason: FinishReason, others: Mapping[str, Any] | None = None) -> ChatCompletionChunk:
        """Why it ended."""
        return self._chunk(ChatCompletionDelta(), (), reason, others)

    def usage(self, usage: CompletionUsage) -> ChatCompletionChunk:
        """How many tokens it took, in an event of its own."""
        return ChatCompletionChunk(**self._head, choices=[], usage=usage)

    def _chunk(
        self,
        delta: ChatCompletionDelta,
        tokens: Sequence[LlmToken] = (),
        reason: FinishReason | None = None,
        others: Mapping[str, Any] | None = None,
    ) -> ChatCompletionChunk:
        choice = ChatCompletionChunkChoice(index=0, delta=delta, logprobs=logprobs(tokens), finish_reason=reason)
        return ChatCompletionChunk(**self._head, choices=[choice], **(others or {}))


class ChatAssembly:
    """The chunks of one answer, and the whole of it, as its packets come."""

    def __init__(self, head: ReplyHead, parameters: ChatParameters) -> None:
        self.ready: deque[ChatCompletionChunk] = deque()
        """The chunks that nobody has taken."""
        self.reply: ChatCompletionResponse | None = None
        """The whole answer, once there is one."""
        self._head = head
        self._has_usage_chunk = parameters.has_usage_chunk
        self._is_one_call = parameters.parallel_tool_calls is False
        self._collected = Collected()
        self._chunks = ChatChunks(head, separates_reasoning=True)
        self._has_begun = False
        self._is_over = False

    def take(self, packet: LlmChannelPredictToClientPacket) -> bool:
        """Take in any packet but the last. False: no more is wanted, the model should stop."""
        if self._is_over:
            return True
        packets = (packet,)
        self._collected.add(packets)
        for chunk in self._chunks.of(packets):
            self._begin()
            self.ready.append(chunk)
        is_call = isinstance(packet, LlmChannelPredictToClientPacketToolCallGenerationEnd)
        self._is_over = self._is_one_call and is_call
        return not self._is_over

    def end(self, stats: LlmPredictionStats) -> None:
        """There are no more packets."""
        self._begin()
        self.ready.append(self._chunks.last(finish_reason(stats, self._collected)))
        if self._has_usage_chunk:
            self.ready.append(self._chunks.usage(usage_of(stats, self._collected)))
        self.reply = chat_reply(self._head, stats, self._collected)

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self.ready.append(self._chunks.first())
