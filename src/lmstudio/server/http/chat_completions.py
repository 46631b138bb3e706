"""POST /v1/chat/completions and /api/v0/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio._http_models import encode
from lmstudio._openai_chat import ChatChunks, chat_reply
from lmstudio._openai_messages import read_openai_message
from lmstudio._openai_parameters import chat_settings
from lmstudio._sdk_models import LlmChannelPredictToClientPacketFragment
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.openai_replies import DONE, Head, event, finish_reason, last_usage, usage_of
from lmstudio.server.http.work import Collected, refusing_bad_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from lmstudio._http_models.openai import ChatCompletionRequest, CompletionUsage, FinishReason
    from lmstudio.server.http.backend import Running
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.output import Packet

__all__ = ["chat_completions", "v0_chat_completions"]


async def chat_completions(exchange: Exchange, request: ChatCompletionRequest) -> None:
    """Answer a chat as OpenAI does."""
    await _answer(exchange, request, is_v0=False)


async def v0_chat_completions(exchange: Exchange, request: ChatCompletionRequest) -> None:
    """Answer a chat as LM Studio's API v0 does: with statistics, and what model and engine it was."""
    await _answer(exchange, request, is_v0=True)


async def _answer(exchange: Exchange, request: ChatCompletionRequest, *, is_v0: bool) -> None:
    if not request.messages:
        raise HttpError("invalid_request", "messages is empty: it needs at least one message.", param="messages")
    with refusing_bad_messages("messages"):
        messages = [read_openai_message(message) for message in request.messages]
    backend = exchange.backend
    config = backend.configured(*chat_settings(request), preset=request.preset, request=request)
    async with backend.using_model(exchange.settings, "llm", request.model, ttl_seconds=request.ttl) as model:
        prompt = await backend.chat(model, messages, config)
        head = Head.new("chatcmpl", exchange, model, is_v0=is_v0)
        collected = Collected(exchange.settings.separate_reasoning)
        is_one_call = request.parallel_tool_calls is False
        is_streamed = bool(request.stream)
        async with backend.running(
            model, config, prompt, is_one_call=is_one_call, is_streamed=is_streamed
        ) as prediction:
            if is_streamed:
                await _stream(exchange, prediction, head, collected, request)
            else:
                async for packets in prediction.packets():
                    collected.add(packets)
                await exchange.reply(chat_reply(head, prediction.stats, collected))


async def _stream(
    exchange: Exchange, prediction: Running, head: Head, collected: Collected, request: ChatCompletionRequest
) -> None:
    await prediction.wait_for_first()
    await exchange.start_stream()
    chunks = _Events(head, separates_reasoning=collected.separates_reasoning)
    await exchange.write(chunks.first())
    async for packets in prediction.packets():
        collected.add(packets)
        if events := b"".join(chunks.of(packets)):
            await exchange.write(events)
    stats = prediction.stats
    others = head.last_members(stats) if head.is_v0 else {}
    others |= last_usage(request, exchange.settings, stats, collected)
    last = chunks.last(finish_reason(stats, collected), others)
    usage = chunks.usage(usage_of(stats, collected)) if request.has_usage_chunk else b""
    await exchange.write(last + usage + DONE)
    await exchange.end_stream()


_MARK: Final = "text"


class _Events:
    """The chunks of a stream as events."""

    def __init__(self, head: Head, *, separates_reasoning: bool) -> None:
        self._chunks = ChatChunks(head, separates_reasoning=separates_reasoning)
        self._separates_reasoning = separates_reasoning
        # Nearly all chunks differ in the text only, which is the last one in them.
        before, _, after = event(self._chunks.text(_MARK)).rpartition(encode(_MARK))
        self._around_text = before, after

    def first(self) -> bytes:
        """Who speaks."""
        return event(self._chunks.first())

    def of(self, packets: Sequence[Packet]) -> Iterator[bytes]:
        """The events for *packets*."""
        before, after = self._around_text
        for packet in packets:
            if type(packet) is LlmChannelPredictToClientPacketFragment:
                fragment = packet.fragment
                if not fragment.tokens and (fragment.reasoning_type == "none" or not self._separates_reasoning):
                    yield b"".join((before, encode(fragment.content), after))
                    continue
            yield from map(event, self._chunks.of((packet,)))

    def last(self, reason: FinishReason, others: Mapping[str, Any]) -> bytes:
        """Why it ended."""
        return event(self._chunks.last(reason, others))

    def usage(self, usage: CompletionUsage) -> bytes:
        """How many tokens it took, in an event of its own."""
        return event(self._chunks.usage(usage))
