"""POST /v1/chat/completions and /api/v0/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio._http_models import encode
from lmstudio._openai_chat import ChatChunks, chat_reply
from lmstudio._openai_messages import read_openai_message
from lmstudio._openai_parameters import chat_settings
from lmstudio._sdk_models import LlmChannelPredictToClientPacketFragment
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.observer import observed
from lmstudio.server.http.openai_replies import DONE, Head, event, finish_reason, last_usage, usage_of
from lmstudio.server.http.work import Collected, refusing_bad_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lmstudio._http_models.openai import ChatCompletionRequest
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
                reply = chat_reply(head, prediction.stats, collected)
                observed().answered(finish_reason=reply.choices[0].finish_reason)
                await exchange.reply(reply)


async def _stream(
    exchange: Exchange, prediction: Running, head: Head, collected: Collected, request: ChatCompletionRequest
) -> None:
    await prediction.wait_for_first()
    await exchange.start_stream()
    chunks = ChatChunks(head, separates_reasoning=collected.separates_reasoning)
    spelled = _Spelling(chunks)
    await exchange.write(event(chunks.first()))

    def take(packets: list[Packet]) -> bool:
        is_written = exchange.write_now(b"".join(spelled(packets)))
        if is_written:
            collected.add(packets)
        return is_written

    prediction.pass_on_text(take)
    async for packets in prediction.packets():
        collected.add(packets)
        if events := b"".join(spelled(packets)):
            await exchange.write(events)
    stats = prediction.stats
    others = head.last_members(stats) if head.is_v0 else {}
    others |= last_usage(request, exchange.settings, stats, collected)
    reason = finish_reason(stats, collected)
    observed().answered(finish_reason=reason)
    last = event(chunks.last(reason, others))
    usage = event(chunks.usage(usage_of(stats, collected))) if request.has_usage_chunk else b""
    await exchange.write(last + usage + DONE)
    await exchange.end_stream()


_MARK: Final = "text"


class _Spelling:
    """Packets as the events of a stream. Nearly all differ in the text only, which is spelled into a pattern."""

    def __init__(self, chunks: ChatChunks) -> None:
        self._chunks = chunks
        self._before, _, self._after = event(chunks.text(_MARK)).rpartition(encode(_MARK))

    def __call__(self, packets: Iterable[Packet]) -> Iterator[bytes]:
        for packet in packets:
            if isinstance(packet, LlmChannelPredictToClientPacketFragment):
                fragment = packet.fragment
                if not fragment.tokens and self._chunks.is_text(fragment):
                    yield b"".join((self._before, encode(fragment.content), self._after))
                    continue
            yield from map(event, self._chunks.of((packet,)))
