"""POST /v1/responses: a chat that the server remembers."""

from __future__ import annotations

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
from lmstudio._sdk_models import AssistantResponse, TextData, ToolCallRequestData
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.response_input import input_items, read_input, with_instructions
from lmstudio.server.http.response_output import Output
from lmstudio.server.http.sampling import (
    TOOL_CHOICES,
    reasoning_config,
    sampling_config,
    sampling_fields,
    structured_config,
    tools_fields,
)
from lmstudio.server.http.stored_chats import StoredChat, new_response_id
from lmstudio.server.http.work import Collected, chat, configured, running, using_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models.openai_responses import ResponseRequest
    from lmstudio._sdk_models import AnyChatMessage, LlmPredictionStats, LlmPredictionStopReason
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.work import Running

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
    config = _config(core, request)
    async with using_model(core, exchange.settings, "llm", request.model, ttl_seconds=request.ttl) as instance:
        prompt = await chat(core, instance, with_instructions(messages, instructions), config)
        answer = _Answer(exchange, request, messages, instance.identifier)
        is_one_call = request.parallel_tool_calls is False
        async with running(core, instance, config, prompt, is_one_call=is_one_call) as prediction:
            if request.stream:
                await answer.stream(prediction)
            else:
                await answer.reply(prediction)


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


def _config(core: ServerCore, request: ResponseRequest) -> PredictionConfig:
    effort = request.reasoning.effort if request.reasoning else None
    config = {
        **sampling_config(request, request.max_output_tokens, "max_output_tokens"),
        **structured_config(request.text.format if request.text else None, "text.format", schema_at="schema"),
        **reasoning_config(effort, "reasoning.effort"),
        # "auto" leaves out what is oldest, as OpenAI says; else a chat that is too long is refused.
        "context_overflow_policy": "rollingWindow" if request.truncation == "auto" else "stopAtLimit",
    }
    if request.top_logprobs is not None or _LOGPROBS in (request.include or ()):
        config["log_probs"] = request.top_logprobs or 0
    functions = [_function(tool, number) for number, tool in enumerate(request.tools or ())]
    choice, allowed = _tool_choice(request.tool_choice, [function.get("name") for function in functions])
    if allowed is not None:
        functions = [function for function in functions if function.get("name") in allowed]
    fields = {**sampling_fields(request), **tools_fields(functions, choice)}
    return configured(core, config, fields, preset=request.preset)


def _function(tool: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    kind, param = tool.get("type"), f"tools[{number}].type"
    if kind == "mcp":
        message = "This server does not call MCP servers for its clients. Offer their tools as functions."
        raise HttpError("not_implemented", message, param=param, code="not_implemented")
    if kind != "function":
        message = f"{param} must be 'function', not {kind!r:.50}: there are no built-in tools here."
        raise HttpError("invalid_request", message, param=param, code="invalid_value")
    # Chat completions have the members one level deeper, and their users bring them along.
    function = tool.get("function", tool)
    if not isinstance(function, dict):
        message = f"tools[{number}].function must be an object."
        raise HttpError("invalid_request", message, param=f"tools[{number}].function", code="invalid_value")
    return function


def _tool_choice(
    choice: str | Mapping[str, Any] | None, names: Sequence[str | None]
) -> tuple[str | None, Sequence[str] | None]:
    """The mode, and the names of the only functions that count; None for all."""
    if choice is None or choice in TOOL_CHOICES:
        return (None if choice is None else str(choice)), None
    mode: str | None = None
    tools: Any = None
    if not isinstance(choice, str):
        if choice.get("type") == "function":
            mode, tools = "required", [choice.get("function", choice)]
        elif choice.get("type") == "allowed_tools":
            mode, tools = choice.get("mode", "auto"), choice.get("tools")
    if mode not in ("auto", "required") or not isinstance(tools, list) or not all(map(_is_named, tools)):
        modes = ", ".join(map(repr, TOOL_CHOICES))
        message = (
            f"tool_choice must be {modes}, {{'type': 'function', 'name': ...}} or {{'type': 'allowed_tools', 'mode': "
            f"'auto' or 'required', 'tools': [{{'type': 'function', 'name': ...}}]}}, not {choice!r:.80}."
        )
        raise HttpError("invalid_request", message, param="tool_choice", code="invalid_value")
    allowed = [tool["name"] for tool in tools]
    for name in allowed:
        if name not in names:
            there = ", ".join(filter(None, names)) or "none"
            message = f"tool_choice asks for the tool {name[:50]!r}, but tools has only {there}."
            raise HttpError("invalid_request", message, param="tool_choice", code="invalid_value")
    return mode, allowed


def _is_named(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type", "function") == "function" and isinstance(tool.get("name"), str)


# What is answered ----------------------------------------------------------------------------------------------------


class _Answer:
    """One response, as it comes to be."""

    def __init__(
        self, exchange: Exchange, request: ResponseRequest, messages: Sequence[AnyChatMessage], model: str
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._messages = messages
        separates_reasoning = exchange.settings.separate_reasoning
        self._collected = Collected(separates_reasoning)
        self._output = Output(is_stream=bool(request.stream), separates_reasoning=separates_reasoning)
        self._response = _new_response(request, model, int(exchange.core.clock.time()))

    async def reply(self, prediction: Running) -> None:
        """Send it when it is whole."""
        async for packets in prediction.packets():
            self._add(packets)
        self._finish(prediction.stats)
        await self._exchange.reply(self._response)

    async def stream(self, prediction: Running) -> None:
        """Send it as it comes."""
        exchange, output = self._exchange, self._output
        await prediction.wait_for_first()
        exchange.end_of_failed_stream = self._failed
        await exchange.start_stream()
        output.add_response(ResponseCreated, self._response)
        output.add_response(ResponseInProgress, self._response)
        await exchange.write(output.take_events())
        async for packets in prediction.packets():
            self._add(packets)
            if events := output.take_events():
                await exchange.write(events)
        self._finish(prediction.stats)
        is_completed = self._response.status == "completed"
        output.add_response(ResponseCompleted if is_completed else ResponseIncomplete, self._response)
        await exchange.write(output.take_events())
        await exchange.end_stream()

    def _add(self, packets: Sequence[Any]) -> None:
        self._collected.add(packets)
        self._output.add(packets)

    def _finish(self, stats: LlmPredictionStats) -> None:
        """It is whole, or as whole as it gets; remember it."""
        response, reason = self._response, stats.stop_reason
        # The server itself stops a prediction when it is about to end: the text is cut, but nothing has failed.
        is_cut = reason in _LIMITS or reason == "userStopped"
        status: Literal["completed", "incomplete"] = "incomplete" if is_cut else "completed"
        response.status = status
        self._output.finish(status)
        response.output = self._output.items
        response.usage = _usage(stats, self._collected)
        if status == "completed":
            response.completed_at = int(self._exchange.core.clock.time())
        else:
            response.incomplete_details = IncompleteDetails(reason="max_output_tokens" if reason in _LIMITS else None)
        if response.store:
            self._remember()

    def _remember(self) -> None:
        collected = self._collected
        text = [TextData(text=collected.text)] if collected.text else []
        calls = [ToolCallRequestData(tool_call_request=call) for _, call in collected.tool_calls]
        answer = AssistantResponse(content=[*text, *calls])
        self._exchange.core.stored_chats.put(
            StoredChat(
                self._response.id,
                [*self._messages, answer],
                reply=self._response,
                input_items=input_items(self._request.input),
            )
        )

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
        tools=request.tools or [],
        top_logprobs=request.top_logprobs or 0,
        top_p=request.top_p,
        truncation=request.truncation or "disabled",
        usage=None,
    )


def _usage(stats: LlmPredictionStats, collected: Collected) -> ResponseUsage:
    prompt, predicted = stats.prompt_tokens_count or 0, stats.predicted_tokens_count or 0
    cached = collected.prompt_cached_tokens
    return ResponseUsage(
        input_tokens=prompt,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=prompt - cached),
        output_tokens=predicted,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=collected.reasoning_tokens),
        total_tokens=prompt + predicted,
    )
