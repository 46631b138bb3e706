"""POST /v1/completions and /api/v0/completions: a text goes on, with no chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._http_models.openai import CompletionChoice, CompletionRequest, CompletionResponse, CompletionUsage
from lmstudio._openai_parameters import sampling_config, sampling_fields
from lmstudio._sdk_models import LlmChannelPredictToClientPacketFragment
from lmstudio.server.http.batches import all_of
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.openai_replies import DONE, Head, event, finish_reason, last_usage, usage_of
from lmstudio.server.http.work import Collected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._http_models.openai import FinishReason
    from lmstudio._sdk_models import LlmPredictionStats, LlmToken
    from lmstudio.server.http.backend import Config, ModelInUse
    from lmstudio.server.http.exchange import Exchange

__all__ = ["completions", "v0_completions"]


async def completions(exchange: Exchange, request: CompletionRequest) -> None:
    """Go on with a text as OpenAI does."""
    await _answer(exchange, request, is_v0=False)


async def v0_completions(exchange: Exchange, request: CompletionRequest) -> None:
    """Go on with a text as LM Studio's API v0 does."""
    await _answer(exchange, request, is_v0=True)


async def _answer(exchange: Exchange, request: CompletionRequest, *, is_v0: bool) -> None:
    _check(request, _prompts(request))
    backend = exchange.backend
    config_members = sampling_config(request, request.max_tokens)
    if request.logprobs is not None:
        config_members["log_probs"] = request.logprobs
    config = backend.configured(
        config_members, sampling_fields(request), preset=request.preset, is_raw=True, request=request
    )
    async with backend.using_model(exchange.settings, "llm", request.model, ttl_seconds=request.ttl) as model:
        head = Head.new("cmpl", exchange, model, is_v0=is_v0)
        if request.stream:
            await _stream(exchange, model, request, config, head)
        else:
            await exchange.reply(await _whole(exchange, model, request, config, head))


def _prompts(request: CompletionRequest) -> list[str]:
    return [request.prompt] if isinstance(request.prompt, str) else request.prompt


def _check(request: CompletionRequest, prompts: Sequence[str]) -> None:
    if not prompts:
        raise HttpError("invalid_request", "prompt is an empty list: it needs at least one text.", param="prompt")
    if request.stream and len(prompts) > 1:
        raise HttpError("invalid_request", "prompt must be one text for a stream, not several.", param="prompt")
    for name, value in (("n", request.n), ("best_of", request.best_of)):
        if (value or 1) > 1:
            raise HttpError("invalid_request", f"{name} must be 1: a model answers once.", param=name)


async def _whole(
    exchange: Exchange, model: ModelInUse, request: CompletionRequest, config: Config, head: Head
) -> CompletionResponse:
    """All prompts, as many of them together as the engine can take."""
    prompts = _prompts(request)
    results = await all_of(lambda prompt: _one(exchange, model, prompt, config), prompts)
    choices = [
        CompletionChoice(
            index=index,
            text=(prompt if request.echo else "") + collected.text,
            logprobs=_logprobs(collected.tokens, len(prompt) if request.echo else 0),
            finish_reason=finish_reason(stats, collected),
        )
        for index, (prompt, (collected, stats)) in enumerate(zip(prompts, results, strict=True))
    ]
    usages = [usage_of(stats, collected) for collected, stats in results]
    usage = CompletionUsage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        total_tokens=sum(usage.total_tokens for usage in usages),
    )
    members = {**head.members("text_completion"), **(head.last_members(results[0][1]) if head.is_v0 else {})}
    return CompletionResponse(**members, choices=choices, usage=usage)


async def _one(
    exchange: Exchange, model: ModelInUse, prompt: str, config: Config
) -> tuple[Collected, LlmPredictionStats]:
    collected = Collected(separates_reasoning=False)
    backend = exchange.backend
    async with backend.running(model, config, backend.raw_text(prompt)) as prediction:
        async for packets in prediction.packets():
            collected.add(packets)
        return collected, prediction.stats


async def _stream(
    exchange: Exchange, model: ModelInUse, request: CompletionRequest, config: Config, head: Head
) -> None:
    backend, prompt = exchange.backend, _prompts(request)[0]
    members = head.members("text_completion")
    length = 0

    def chunk(text: str, tokens: Sequence[LlmToken] = (), reason: FinishReason | None = None, **others: Any) -> bytes:
        nonlocal length
        choice = CompletionChoice(index=0, text=text, logprobs=_logprobs(tokens, length), finish_reason=reason)
        length += len(text)
        return event(CompletionResponse(**members, choices=[choice], **others))

    collected = Collected(separates_reasoning=False)
    async with backend.running(model, config, backend.raw_text(prompt), is_streamed=True) as prediction:
        await prediction.wait_for_first()
        await exchange.start_stream()
        if request.echo:
            await exchange.write(chunk(prompt))
        async for packets in prediction.packets():
            collected.add(packets)
            events = b"".join(
                chunk(packet.fragment.content, packet.fragment.tokens or ())
                for packet in packets
                if isinstance(packet, LlmChannelPredictToClientPacketFragment)
            )
            if events:
                await exchange.write(events)
        stats = prediction.stats
    others = head.last_members(stats) if head.is_v0 else {}
    others |= last_usage(request, exchange.settings, stats, collected)
    last = chunk("", (), finish_reason(stats, collected), **others)
    if request.has_usage_chunk:
        last += event(CompletionResponse(**members, choices=[], usage=usage_of(stats, collected)))
    await exchange.write(last + DONE)
    await exchange.end_stream()


def _logprobs(tokens: Sequence[LlmToken], offset: int) -> dict[str, Any] | None:
    """The probabilities of *tokens*, the first of which begins at *offset*, as completions have them: in lists."""
    if not tokens:
        return None
    offsets = [offset]
    for token in tokens:
        offsets.append(offsets[-1] + len(token.text))
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.log_prob for token in tokens],
        "top_logprobs": [{other.text: other.log_prob for other in token.candidates or ()} for token in tokens],
        "text_offset": offsets[:-1],
    }
