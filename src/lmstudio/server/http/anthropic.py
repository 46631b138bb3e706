"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from lmstudio._http_models import encode
from lmstudio._http_models.anthropic import (
    CountTokensRequest,
    Message,
    MessageDelta,
    MessagesRequest,
    MessageStart,
    MessageStop,
    OutputTokensDetails,
    StopDelta,
    TokensCount,
    Usage,
)
from lmstudio.server.http.anthropic_blocks import Blocks
from lmstudio.server.http.anthropic_input import config_of, messages_of
from lmstudio.server.http.work import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio._http_models.anthropic import ContentBlockDelta, ContentBlockStart, ContentBlockStop, StopReason
    from lmstudio._sdk_models import LlmPredictionStats, LlmPredictionStopReason
    from lmstudio.server.http.backend import Running
    from lmstudio.server.http.exchange import Exchange

__all__ = ["count_tokens", "messages"]

_STOP_REASONS: Final[Mapping[LlmPredictionStopReason, StopReason]] = {
    "eosFound": "end_turn",
    "stopStringFound": "end_turn",
    "userStopped": "end_turn",
    "toolCalls": "tool_use",
    "maxPredictedTokensReached": "max_tokens",
    "contextLengthReached": "model_context_window_exceeded",
}
"""Without those with which no answer ends: the model was unloaded, or has failed."""


async def messages(exchange: Exchange, request: MessagesRequest) -> None:
    """Answer a chat as Anthropic does."""
    history, beginning = messages_of(request)
    backend = exchange.backend
    config = config_of(backend, request)
    async with backend.using_model(exchange.settings, "llm", request.model) as model:
        prompt = await backend.chat(model, history, config, beginning=beginning)
        async with backend.running(model, config, prompt) as prediction:
            reply = _Reply(request, model.identifier, separates_reasoning=exchange.settings.separate_reasoning)
            if request.stream:
                await reply.stream(exchange, prediction)
            else:
                await reply.whole(exchange, prediction)


async def count_tokens(exchange: Exchange, request: CountTokensRequest) -> None:
    """How many tokens a chat has, its template and its tools included."""
    history, beginning = messages_of(request)
    backend = exchange.backend
    config = config_of(backend, request)
    async with backend.using_model(exchange.settings, "llm", request.model) as model:
        prompt = await backend.chat(model, history, config, beginning=beginning)
        await exchange.reply(TokensCount(input_tokens=await backend.count_tokens(model, prompt)))


class _Reply:
    """The answer to one request."""

    def __init__(self, request: MessagesRequest, model: str, *, separates_reasoning: bool) -> None:
        self._id = f"msg_{secrets.token_hex(12)}"
        self._model = model
        self._stop_sequences = request.stop_sequences or ()
        self._collected = Collected(separates_reasoning)
        self._blocks = Blocks(separates_reasoning=separates_reasoning)

    async def whole(self, exchange: Exchange, prediction: Running) -> None:
        """All of it, once it is there."""
        async for packets in prediction.packets():
            self._collected.add(packets)
            for _ in self._blocks.feed(packets):
                pass  # nobody is told before the end
        end = self._end(prediction.stats)
        message = Message(
            id=self._id,
            role="assistant",
            model=self._model,
            content=self._blocks.content(),
            stop_reason=end.delta.stop_reason,
            stop_sequence=end.delta.stop_sequence,
            usage=end.usage,
        )
        await exchange.reply(message)

    async def stream(self, exchange: Exchange, prediction: Running) -> None:
        """Every part as it comes."""
        await prediction.wait_for_first()
        await exchange.start_stream()
        has_begun = False
        async for packets in prediction.packets():
            self._collected.add(packets)
            events = b"".join(map(_event, self._blocks.feed(packets)))
            if not has_begun:
                has_begun = True
                events = self._start() + events
            if events:
                await exchange.write(events)
        last = self._end(prediction.stats)
        events = b"" if has_begun else self._start()
        events += b"".join(map(_event, self._blocks.finish()))
        await exchange.write(events + _event(last) + _event(MessageStop()))
        await exchange.end_stream()

    def _start(self) -> bytes:
        message = Message(
            id=self._id,
            role="assistant",
            model=self._model,
            content=[],
            stop_reason=None,
            stop_sequence=None,
            usage=Usage(input_tokens=self._collected.prompt_tokens, output_tokens=0),
        )
        return _event(MessageStart(message=message))

    def _end(self, stats: LlmPredictionStats) -> MessageDelta:
        """Why it ended, and what it took."""
        reason, sequence = _STOP_REASONS[stats.stop_reason], None
        if stats.stop_string is not None and stats.stop_string in self._stop_sequences:
            reason, sequence = "stop_sequence", stats.stop_string
        elif reason == "end_turn" and self._blocks.has_tool_use:
            reason = "tool_use"  # a model that calls a tool ends its text as any other
        usage = Usage(
            input_tokens=stats.prompt_tokens_count or 0,
            output_tokens=stats.predicted_tokens_count or 0,
            output_tokens_details=OutputTokensDetails(thinking_tokens=self._collected.reasoning_tokens),
        )
        return MessageDelta(delta=StopDelta(stop_reason=reason, stop_sequence=sequence), usage=usage)


def _event(
    value: MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop,
) -> bytes:
    """*value* as an event of a stream, under the name that it also has within."""
    name = value.__struct_config__.tag
    return f"event: {name}\ndata: ".encode() + encode(value) + b"\n\n"
