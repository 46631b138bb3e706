"""POST /v1/responses: a chat that the server remembers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from lmstudio._http_models.openai_responses import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ReasoningOptions,
    Response,
    ResponseCompleted,
    ResponseCreated,
    ResponseError,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseUsage,
)
from lmstudio._openai_parameters import reasoning_config, sampling_config, sampling_fields, structured_config
from lmstudio._sdk_models import (
    AssistantResponse,
    TextData,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
)
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.response_input import input_items, read_input, with_instructions
from lmstudio.server.http.response_output import Output
from lmstudio.server.http.response_tools import RequestedTools, shown_tool
from lmstudio.server.http.server_tools import MAX_ROUNDS, server_tools
from lmstudio.server.http.stored_chats import StoredChat, new_response_id
from lmstudio.server.http.work import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.openai_responses import ResponseRequest
    from lmstudio._sdk_models import AnyChatMessage, LlmPredictionStats, LlmPredictionStopReason
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.local_backend import LocalBackend
    from lmstudio.server.http.server_tools import Toolbox
    from lmstudio.server.instances import Instance

__all__ = ["create_response"]

_LOGPROBS: Final = "message.output_text.logprobs"
_LIMITS: Final[frozenset[LlmPredictionStopReason]] = frozenset(("maxPredictedTokensReached", "contextLengthReached"))


async def create_response(exchange: Exchange, request: ResponseRequest) -> None:
    """Answer a chat, and remember it."""
    _refuse_unsupported(request)
    core = exchange.core
    previous = None
    if request.previous_response_id is not None:
        previous = core.stored_chats.previous(request.previous_response_id)
    messages = read_input(request.input, previous.messages if previous else ())
    instructions = request.instructions or (previous.system_prompt if previous else None)
    tools = RequestedTools.read(request, exchange.settings)
    _config(
        exchange.local, request, {}, request.max_output_tokens
    )  # what is wrong in it is no reason to connect to a server
    async with server_tools(core, tools.servers, param="tools") as toolbox:
        tools.fields(toolbox, is_first=True)
        async with exchange.local.using_model(
            exchange.settings, "llm", request.model, ttl_seconds=request.ttl
        ) as instance:
            answer = _Answer(exchange, request, instance, messages, instructions, tools, toolbox)
            await answer.run()


def _refuse_unsupported(request: ResponseRequest) -> None:
    """Raises HttpError for what would be another request if it were ignored."""
    for name, advice in (
        ("background", "Wait for the reply, or stream it."),
        ("conversation", "Go on from a reply with previous_response_id."),
        ("prompt", "There are no stored prompts here: send the text itself."),
    ):
        if getattr(request, name):
            message = f"{name} is not supported. {advice}"
            raise HttpError("invalid_request", message, param=name, code="unsupported_parameter")


# What is asked for ---------------------------------------------------------------------------------------------------


def _config(
    backend: LocalBackend, request: ResponseRequest, tool_fields: Mapping[str, Any], max_tokens: int | None
) -> PredictionConfig:
    effort = request.reasoning.effort if request.reasoning else None
    config = {
        **sampling_config(request, max_tokens, "max_output_tokens"),
        **structured_config(request.text.format if request.text else None, "text.format", schema_at="schema"),
        **reasoning_config(effort, "reasoning.effort"),
        # "auto" leaves out what is oldest, as OpenAI says; else a chat that is too long is refused.
        "context_overflow_policy": "rollingWindow" if request.truncation == "auto" else "stopAtLimit",
    }
    if request.top_logprobs is not None or _LOGPROBS in (request.include or ()):
        config["log_probs"] = request.top_logprobs or 0
    return backend.configured(config, {**sampling_fields(request), **tool_fields}, preset=request.preset)


# What is answered ----------------------------------------------------------------------------------------------------


class _Answer:
    """One response, as it comes to be."""

    def __init__(
        self,
        exchange: Exchange,
        request: ResponseRequest,
        instance: Instance,
        messages: Sequence[AnyChatMessage],
        instructions: str | None,
        tools: RequestedTools,
        toolbox: Toolbox,
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._instance = instance
        self._messages = [*messages]
        self._instructions = instructions
        self._tools = tools
        self._toolbox = toolbox
        self._output = Output(
            is_stream=bool(request.stream),
            separates_reasoning=exchange.settings.separate_reasoning,
            labels=toolbox.labels,
        )
        self._usage = _Usage()
        self._has_begun = False
        self._response = _new_response(request, instance.identifier, int(exchange.core.clock.time()))

    async def run(self) -> None:
        """Let the model write, and call tools of MCP servers until it has nothing more to call; reply."""
        self._finish(await self._predict_and_call())
        if self._request.stream:
            is_completed = self._response.status == "completed"
            self._output.add_response(ResponseCompleted if is_completed else ResponseIncomplete, self._response)
            await self._flush()
            await self._exchange.end_stream()
        else:
            await self._exchange.reply(self._response)

    async def _predict_and_call(self) -> LlmPredictionStopReason:
        """All rounds. Returns why the last one ended."""
        number = 0
        while True:
            # The last time without tools, so that it comes to an end.
            fields = self._tools.fields(self._toolbox, is_first=number == 0) if number < MAX_ROUNDS else {}
            collected, reason = await self._predict(_config(self._exchange.local, self._request, fields, self._left()))
            is_cut = reason in _LIMITS or reason == "userStopped"
            if is_cut or number == MAX_ROUNDS or not await self._call_tools(collected):
                return reason
            if self._left() == 0:
                return "maxPredictedTokensReached"
            number += 1

    def _left(self) -> int | None:
        """How many tokens the model may still write; None for no limit."""
        limit = self._request.max_output_tokens
        if limit is None or limit <= 0:
            return limit
        return max(0, limit - self._usage.output_tokens)

    async def _predict(self, config: PredictionConfig) -> tuple[Collected, LlmPredictionStopReason]:
        """Let the model write once."""
        backend, instance = self._exchange.local, self._instance
        prompt = await backend.chat(instance, with_instructions(self._messages, self._instructions), config)
        collected = Collected(self._exchange.settings.separate_reasoning)
        is_one_call = self._request.parallel_tool_calls is False
        async with backend.running(instance, config, prompt, is_one_call=is_one_call) as prediction:
            await prediction.wait_for_first()
            await self._begin()
            async for packets in prediction.packets():
                collected.add(packets)
                self._output.add(packets)
                await self._flush()
            stats = prediction.stats
        self._usage.add(stats, collected)
        text = [TextData(text=collected.text)] if collected.text else []
        calls = [ToolCallRequestData(tool_call_request=call) for _, call in collected.tool_calls]
        self._messages.append(AssistantResponse(content=[*text, *calls]))
        return collected, stats.stop_reason

    async def _begin(self) -> None:
        """Begin the stream, and the output with what the servers offer."""
        if self._has_begun:
            return
        self._has_begun = True
        output = self._output
        if self._request.stream:
            self._exchange.end_of_failed_stream = self._failed
            await self._exchange.start_stream()
            output.add_response(ResponseCreated, self._response)
            output.add_response(ResponseInProgress, self._response)
        for server in self._tools.servers:
            label = server.server_label
            functions = [each for each in self._toolbox.functions if self._toolbox.labels[each["name"]] == label]
            output.list_tools(label, functions)
        await self._flush()

    async def _flush(self) -> None:
        if events := self._output.take_events():
            await self._exchange.write(events)

    async def _call_tools(self, collected: Collected) -> bool:
        """Call the tools of MCP servers that the model wants to be called; whether it is to go on with the answers."""
        calls = [(call_id, call) for call_id, call in collected.tool_calls if call.name in self._toolbox.labels]
        for call_id, call in calls:
            answer = await self._toolbox.call(call.name, call.arguments or {})
            self._output.answered(call_id, answer)
            await self._flush()
            result = ToolCallResultData(content=answer, tool_call_id=call.id, name=call.name)
            self._messages.append(ToolResultMessage(content=[result]))
        # What else is called, only the client can answer.
        return bool(calls) and len(calls) == len(collected.tool_calls)

    def _finish(self, reason: LlmPredictionStopReason) -> None:
        """It is whole, or as whole as it gets; remember it."""
        response = self._response
        # The server itself stops a prediction when it is about to end: the text is cut, but nothing has failed.
        is_cut = reason in _LIMITS or reason == "userStopped"
        status: Literal["completed", "incomplete"] = "incomplete" if is_cut else "completed"
        response.status = status
        self._output.finish(status)
        response.output = self._output.items
        response.usage = self._usage.as_reply()
        if status == "completed":
            response.completed_at = int(self._exchange.core.clock.time())
        else:
            response.incomplete_details = IncompleteDetails(reason="max_output_tokens" if reason in _LIMITS else None)
        if response.store:
            chat = StoredChat(response.id, self._messages, reply=response, input_items=input_items(self._request.input))
            self._exchange.core.stored_chats.put(chat)

    def _failed(self, error: HttpError) -> bytes:
        """The last events of a stream that fails."""
        response = self._response
        self._output.finish("incomplete")
        response.output = self._output.items
        response.status = "failed"
        response.error = ResponseError(code="server_error", message=error.message)
        self._output.add_response(ResponseFailed, response)
        return self._output.take_events()


def _new_response(request: ResponseRequest, model: str, created_at: int) -> Response:
    """The response before the model has said anything: what was asked for."""
    reasoning, text = request.reasoning, request.text
    form: dict[str, Any] = {"format": (text.format if text else None) or {"type": "text"}}
    return Response(
        id=new_response_id(),
        object="response",
        created_at=created_at,
        completed_at=None,
        status="in_progress",
        background=False,
        error=None,
        incomplete_details=None,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        metadata=request.metadata or {},
        model=model,
        output=[],
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        reasoning=ReasoningOptions(
            effort=reasoning.effort if reasoning else None, summary=reasoning.summary if reasoning else None
        ),
        store=request.store is not False,
        temperature=request.temperature,
        text={**form, "verbosity": text.verbosity} if text and text.verbosity else form,
        tool_choice="auto" if request.tool_choice is None else request.tool_choice,
        tools=[shown_tool(tool) for tool in request.tools or ()],
        top_logprobs=request.top_logprobs or 0,
        top_p=request.top_p,
        truncation=request.truncation or "disabled",
        usage=None,
    )


@dataclass
class _Usage:
    """The tokens of all rounds."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def add(self, stats: LlmPredictionStats, collected: Collected) -> None:
        """Count one round."""
        self.input_tokens += stats.prompt_tokens_count or 0
        self.cached_tokens += collected.prompt_cached_tokens
        self.output_tokens += stats.predicted_tokens_count or 0
        self.reasoning_tokens += collected.reasoning_tokens

    def as_reply(self) -> ResponseUsage:
        """As it travels."""
        cached = self.cached_tokens
        return ResponseUsage(
            input_tokens=self.input_tokens,
            input_tokens_details=InputTokensDetails(
                cached_tokens=cached, cache_write_tokens=self.input_tokens - cached
            ),
            output_tokens=self.output_tokens,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=self.reasoning_tokens),
            total_tokens=self.input_tokens + self.output_tokens,
        )
