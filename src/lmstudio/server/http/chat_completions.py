"""POST /v1/chat/completions and /api/v0/chat/completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import encode
from lmstudio._http_models.openai import (
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatCompletionChunkChoice,
    ChatCompletionDelta,
    ChatCompletionMessage,
    ChatCompletionRequest,
    ChatCompletionResponse,
    FunctionCall,
    ToolCall,
)
from lmstudio._openai_messages import read_openai_message
from lmstudio._sdk_models import (
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketToolCallGenerationArgumentFragmentGenerated,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
    LlmChannelPredictToClientPacketToolCallGenerationFailed,
    LlmChannelPredictToClientPacketToolCallGenerationNameReceived,
    LlmChannelPredictToClientPacketToolCallGenerationStart,
)
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.openai_replies import DONE, Head, event, finish_reason, last_usage, logprobs, usage_of
from lmstudio.server.http.sampling import (
    TOOL_CHOICES,
    reasoning_config,
    sampling_config,
    sampling_fields,
    structured_config,
    tools_fields,
)
from lmstudio.server.http.work import Collected, arguments_text, refusing_bad_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lmstudio._http_models.openai import CompletionUsage, FinishReason
    from lmstudio._sdk_models import LlmToken
    from lmstudio.server.http.backend import Backend, Config, Running
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
    if (request.n or 1) > 1:
        raise HttpError("invalid_request", "n must be 1: a model answers once.", param="n", code="invalid_value")
    with refusing_bad_messages("messages"):
        messages = [read_openai_message(message) for message in request.messages]
    backend = exchange.backend
    config = _config(backend, request)
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
                await exchange.reply(_whole(prediction, head, collected))


def _config(backend: Backend, request: ChatCompletionRequest) -> Config:
    name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    config = {
        **sampling_config(request, getattr(request, name), name),
        **structured_config(request.response_format, "response_format"),
        **reasoning_config(request.reasoning_effort, "reasoning_effort"),
    }
    if request.logprobs:
        config["log_probs"] = request.top_logprobs or 0
    choice, only = _tool_choice(request.tool_choice)
    functions = [_function(tool, number) for number, tool in enumerate(request.tools or ())]
    fields = {**sampling_fields(request), **tools_fields(functions, choice, only)}
    return backend.configured(config, fields, preset=request.preset)


def _function(tool: Mapping[str, Any], number: int) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        message = f"tools[{number}] must be {{'type': 'function', 'function': {{...}}}}."
        raise HttpError("invalid_request", message, param=f"tools[{number}]", code="invalid_value")
    return function


def _tool_choice(choice: str | Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """The mode, and the name of the only function that counts."""
    if choice is None or choice in TOOL_CHOICES:
        return choice, None
    function = choice.get("function") if not isinstance(choice, str) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return "required", function["name"]
    modes = ", ".join(map(repr, TOOL_CHOICES))
    message = f"tool_choice must be {modes} or {{'type': 'function', 'function': {{'name': ...}}}}, not {choice!r:.80}."
    raise HttpError("invalid_request", message, param="tool_choice", code="invalid_value")


def _whole(prediction: Running, head: Head, collected: Collected) -> ChatCompletionResponse:
    stats = prediction.stats
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


async def _stream(
    exchange: Exchange, prediction: Running, head: Head, collected: Collected, request: ChatCompletionRequest
) -> None:
    await prediction.wait_for_first()
    await exchange.start_stream()
    chunks = _Chunks(head, separates_reasoning=collected.separates_reasoning)
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


class _Chunks:
    """The events of a stream."""

    def __init__(self, head: Head, *, separates_reasoning: bool) -> None:
        self._head = head.members("chat.completion.chunk")
        self._separates_reasoning = separates_reasoning
        # Nearly all chunks differ in the text only, which is the last one in them.
        before, _, after = self._chunk(ChatCompletionDelta(content=_MARK)).rpartition(encode(_MARK))
        self._around_text = before, after
        self._calls = -1
        self._call_id = ""

    def first(self) -> bytes:
        """Who speaks."""
        return self._chunk(ChatCompletionDelta(role="assistant", content=""))

    def of(self, packets: Sequence[Packet]) -> Iterator[bytes]:
        """The events for *packets*."""
        for packet in packets:
            match packet:
                case LlmChannelPredictToClientPacketFragment(fragment=fragment):
                    is_text = fragment.reasoning_type == "none" or not self._separates_reasoning
                    if is_text and not fragment.tokens:
                        before, after = self._around_text
                        yield b"".join((before, encode(fragment.content), after))
                    elif (delta := self._text(fragment.content, fragment.reasoning_type)) is not None:
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

    def _call(self, call: ToolCall) -> bytes:
        return self._chunk(ChatCompletionDelta(tool_calls=[call]))

    def last(self, reason: FinishReason, others: Mapping[str, Any]) -> bytes:
        """Why it ended."""
        return self._chunk(ChatCompletionDelta(), (), reason, others)

    def usage(self, usage: CompletionUsage) -> bytes:
        """How many tokens it took, in an event of its own."""
        return event(ChatCompletionChunk(**self._head, choices=[], usage=usage))

    def _chunk(
        self,
        delta: ChatCompletionDelta,
        tokens: Sequence[LlmToken] = (),
        reason: FinishReason | None = None,
        others: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = ChatCompletionChunkChoice(index=0, delta=delta, logprobs=logprobs(tokens), finish_reason=reason)
        return event(ChatCompletionChunk(**self._head, choices=[choice], **(others or {})))
