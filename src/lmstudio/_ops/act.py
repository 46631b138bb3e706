"""The tool loop: predict, run the tools the model asks for, tell it their results, again."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from lmstudio._abort import AbortSignal, on_abort
from lmstudio._callbacks import tell
from lmstudio._ops.guard import GuardToolCallController
from lmstudio._ops.models import describe
from lmstudio._ops.prediction import assistant_message, respond
from lmstudio._ops.prediction_options import PredictionOptions
from lmstudio._sdk_models import (
    ChatHistoryData,
    LlmToolChoice,
    ToolCallRequest,
    ToolCallResultData,
    ToolResultMessage,
)
from lmstudio._tool_runner import ToolJob, ToolStarted
from lmstudio.errors import (
    LMStudioError,
    LMStudioPredictionError,
    LMStudioTimeoutError,
    ToolCallRequestError,
    ToolCallRequestInvalidArgumentsError,
    ToolCallRequestInvalidNameError,
)
from lmstudio.events import (
    ToolCallArgumentsEvent,
    ToolCallEvent,
    ToolCallFailedEvent,
    ToolCallNameEvent,
    ToolCallStartEvent,
)
from lmstudio.logs import fields
from lmstudio.results import ActResult, GeneratedReply, ParsedT, PredictionRoundResult, ToolCallRequestInfo
from lmstudio.tools import ToolArgumentsError, ToolCallContext, result_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmstudio._ops.act_options import ActOptions
    from lmstudio._ops.models import ModelTarget
    from lmstudio._ops.prediction import Prediction, PredictionInFlight
    from lmstudio._port import Port
    from lmstudio._tool_runner import ToolReport, ToolRunner
    from lmstudio.events import PredictionEvent
    from lmstudio.tools import Tool

RoundT = TypeVar("RoundT", bound=GeneratedReply)


class Actor(ABC, Generic[RoundT]):
    """What `act` lets speak."""

    name: str
    """What it is called, in errors."""

    @abstractmethod
    def predict(self, history: ChatHistoryData, options: PredictionOptions[Any]) -> PredictionInFlight[Any]:
        """Its next message, not started yet."""

    @abstractmethod
    def round_result(self, result: Any, index: int) -> RoundT:
        """*result* as that of round *index*."""


class ModelActor(Actor[PredictionRoundResult[Any]]):
    """A model."""

    def __init__(self, port: Port, target: ModelTarget) -> None:
        self.name: str = describe(target)
        self._port, self._target = port, target

    def predict(self, history: ChatHistoryData, options: PredictionOptions[Any]) -> Prediction[Any]:
        return respond(self._port, self._target, history, options)

    def round_result(self, result: Any, index: int) -> PredictionRoundResult[Any]:
        return PredictionRoundResult.from_result(result, index)


async def act(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    tools: Sequence[Tool],
    options: ActOptions[ParsedT],
) -> ActResult[ParsedT]:
    """Predict until the model asks for no more tools; the rest is as in `run_rounds`."""
    return ActResult(**await run_rounds(port, ModelActor(port, target), history, tools, options))


async def run_rounds(
    port: Port, actor: Actor[Any], history: ChatHistoryData, tools: Sequence[Tool], options: ActOptions[Any]
) -> dict[str, Any]:
    """Let *actor* speak until it asks for no more tools: the parts of an `ActResult`.

    Every way of leaving early stops the prediction at once and begins no more tools. Coroutine tools are cancelled;
    functions that run already are waited for, because nothing can interrupt them: nothing outlives the call.
    """
    loop = _Act(port, actor, history, tools, options)
    with on_abort(options.signal, loop.abort):
        try:
            return await loop.run()
        except BaseException:
            loop.stop()
            raise
        finally:
            await loop.runner.join()


class _Call(msgspec.Struct):
    """One tool call of a turn."""

    info: ToolCallRequestInfo
    tool: Tool | None = None
    result: ToolCallResultData | None = None
    signal: AbortSignal = msgspec.field(default_factory=AbortSignal)
    """What the tool sees: aborted with that of `_Act`, and when its time is up."""

    @property
    def request(self) -> ToolCallRequest:
        return self.info.tool_call_request


class _Round(msgspec.Struct):
    """One prediction and the tool calls that it asks for."""

    index: int
    calls: dict[int, _Call] = {}
    """By number, in the order of the requests."""
    is_handed_back: bool = False
    """The model asked for a tool that the caller runs."""

    def results(self) -> list[ToolCallResultData]:
        return [call.result for call in self.calls.values() if call.result is not None]


class _Act:
    """One `act` while it runs."""

    def __init__(
        self, port: Port, actor: Actor[Any], history: ChatHistoryData, tools: Sequence[Tool], options: ActOptions[Any]
    ) -> None:
        self._runtime, self._actor = port.runtime, actor
        self._limits = port.new_limits(f"act with {actor.name}")
        self._logger = port.runtime.logger("tools")
        self._tools = {tool.name: tool for tool in tools}
        self._options = options
        # The caller's chat may change meanwhile, by `on_message=chat.append` for example.
        self._messages = list(history.messages)
        self._call_ids: Iterator[int] = count()
        self._prediction: PredictionInFlight[Any] | None = None
        self._signal = AbortSignal()
        """What predictions and tools see: aborted when act ends early, for whatever reason."""
        self.runner: ToolRunner = port.runtime.new_tool_runner(options.max_parallel_tool_calls)

    def abort(self) -> None:
        """The caller's signal was aborted, in any thread: the prediction and the tools end; `run` notices."""
        self._signal.abort()
        self.runner.cancel()

    def stop(self) -> None:
        """End everything that has been begun, without waiting."""
        if self._prediction is not None:
            self._prediction.abandon()
        self._signal.abort()
        self.runner.cancel()

    # Rounds ----------------------------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        started = time.monotonic()
        options = self._options
        index = 0
        while True:
            is_last = index + 1 == options.max_prediction_rounds
            structured = options.response_format.is_structured and (is_last or not self._tools)
            last, result = await self._round(index, offers_tools=not is_last, structured=structured)
            index += 1
            if not last.results() or last.is_handed_back or is_last:
                break
        if options.response_format.is_structured and not structured and not last.calls:
            _, result = await self._round(index, offers_tools=False, structured=True)
            index += 1
        return {
            "rounds": index,
            "total_time_seconds": time.monotonic() - started,
            "final_result": result,
            "tool_call_requests": [call.request for call in last.calls.values() if call.result is None],
        }

    async def _round(self, index: int, *, offers_tools: bool, structured: bool) -> tuple[_Round, Any]:
        """One prediction, and all the tool calls it asks for."""
        options, runtime = self._options, self._runtime
        self._check_signal()
        await tell(runtime, options.on_round_start, index)
        turn = _Round(index)
        prediction_options = self._prediction_options(turn, offers_tools=offers_tools, structured=structured)
        history = ChatHistoryData(messages=self._messages)
        prediction = self._prediction = self._actor.predict(history, prediction_options)
        await self._follow(turn, prediction, offers_tools=offers_tools)
        self._check_signal()
        result = self._actor.round_result(prediction.result(), index)
        await tell(runtime, options.on_prediction_completed, result)
        # A free answer that will be given again, structured, is not part of the chat.
        is_draft = options.response_format.is_structured and not structured and not turn.calls
        if not is_draft:
            message = assistant_message(result, [call.request for call in turn.calls.values()])
            self._messages.append(message)
            await tell(runtime, options.on_message, message)
        while self.runner.is_busy:
            report = await self.runner.wait()
            self._check_signal()
            await self._take_report(turn, report)
        results = turn.results()
        if results:
            answer = ToolResultMessage(content=results)
            self._messages.append(answer)
            await tell(runtime, options.on_message, answer)
        await tell(runtime, options.on_round_end, index)
        return turn, result

    async def _follow(self, turn: _Round, prediction: PredictionInFlight[Any], *, offers_tools: bool) -> None:
        """Predict to the end, while the tools that have been asked for run."""
        try:
            while (event := await prediction.next_event()) is not None:
                await self._take(turn, event, offers_tools=offers_tools)
                while (report := self.runner.poll()) is not None:
                    await self._take_report(turn, report)
        except LMStudioError:
            for event in prediction.take_events():
                if isinstance(event, ToolCallFailedEvent):  # cut off by this error
                    await self._tell("on_tool_call_request_failure", event.call_id, event.error, turn.index)
            self._check_signal()  # whose reason is better than that of ours
            raise

    def _check_signal(self) -> None:
        """Raise if the caller's signal was aborted, or the time is up."""
        if self._options.signal is not None:
            self._options.signal.throw_if_aborted()
        self._limits.check_total()

    def _prediction_options(self, turn: _Round, *, offers_tools: bool, structured: bool) -> PredictionOptions[Any]:
        options, index = self._options, turn.index
        config = options.config
        if not offers_tools and config is not None and config.tool_choice is not None:
            # There is nothing to choose from.
            config = msgspec.structs.replace(config, tool_choice=LlmToolChoice(mode="auto"))
        first, fragment, progress = (
            options.on_first_token,
            options.on_prediction_fragment,
            options.on_prompt_processing_progress,
        )
        more: dict[str, Any] = {"response_format": options.response_format} if structured else {}
        return PredictionOptions(
            config=config,
            preset=options.preset,
            on_first_token=None if first is None else lambda: first(index),
            on_prediction_fragment=None if fragment is None else lambda value: fragment(value, index),
            on_prompt_processing_progress=None if progress is None else lambda value: progress(value, index),
            tool_definitions=[tool.definition for tool in self._tools.values()] if offers_tools else [],
            call_ids=self._call_ids,
            signal=self._signal,
            chat_config=options.chat_config,
            **more,
        )

    # Tool calls as the model writes them -----------------------------------------------------------------------------

    async def _take(self, turn: _Round, event: PredictionEvent, *, offers_tools: bool) -> None:
        options, index = self._options, turn.index
        match event:
            case ToolCallStartEvent():
                await self._tell("on_tool_call_request_start", event.call_id, event.tool_call_id, index)
            case ToolCallNameEvent():
                await self._tell("on_tool_call_request_name_received", event.call_id, event.name, index)
            case ToolCallArgumentsEvent():
                name = "on_tool_call_request_argument_fragment_generated"
                await self._tell(name, event.call_id, event.content, index)
            case ToolCallEvent():
                info = ToolCallRequestInfo(event.call_id, event.tool_call_request, event.raw_content)
                if not offers_tools:
                    limit = options.max_prediction_rounds
                    message = f"The model asked for {info.tool_call_request.name!r} in the last of {limit} rounds."
                    raise ToolCallRequestError(message, raw_content=info.raw_content)
                await self._take_request(turn, info)
            case ToolCallFailedEvent():
                self._check_signal()
                await self._tell("on_tool_call_request_failure", event.call_id, event.error, index)
                # There is no request that a result could belong to, so the handler cannot save it.
                await self._ask_handler(event.error, None)
                raise event.error

    async def _tell(self, name: str, *arguments: object) -> None:
        callback: Any = self._options.callbacks.get(name)
        if callback is not None:
            await tell(self._runtime, callback, *arguments)

    async def _take_request(self, turn: _Round, info: ToolCallRequestInfo) -> None:
        request = info.tool_call_request
        call = turn.calls[info.call_id] = _Call(info)
        tool = call.tool = self._tools.get(request.name)
        if tool is None:
            offered = ", ".join(self._tools) or "none"
            unknown = ToolCallRequestInvalidNameError(
                f"Cannot find tool with name {request.name!r}. Tools: {offered}.", raw_content=info.raw_content
            )
            unknown.tool_name = request.name
            return await self._refuse(turn, call, unknown)
        try:
            arguments = tool.check_arguments(request.arguments)
        except ToolArgumentsError as error:
            return await self._refuse(turn, call, _invalid_arguments(call, error))
        is_queued = tool.implementation is not None and self.runner.is_full
        call.info = info._replace(is_queued=is_queued)
        await self._tell("on_tool_call_request_end", info.call_id, call.info, turn.index)
        if tool.implementation is None:
            turn.is_handed_back = True
            return None
        return await self._guarded(turn, call, arguments)

    async def _guarded(self, turn: _Round, call: _Call, arguments: dict[str, Any]) -> None:
        """Let the guard decide, then run the tool."""
        guard = self._options.guard_tool_call
        finalized = call.info
        if guard is not None:
            controller = GuardToolCallController(call.info)
            outcome: Any = guard(call.info.call_id, controller, turn.index)
            if hasattr(outcome, "__await__"):
                await outcome
            decision = controller.decision()
            if decision.is_denied:
                reason = {} if decision.reason is None else {"error": decision.reason}
                return await self._set_result(turn, call, json.dumps(reason, ensure_ascii=False))
            if decision.arguments is not None:
                call.info = call.info._replace(
                    tool_call_request=msgspec.structs.replace(call.request, arguments=decision.arguments)
                )
                assert call.tool is not None
                try:
                    arguments = call.tool.check_arguments(decision.arguments)
                except ToolArgumentsError as error:
                    return await self._refuse(turn, call, _invalid_arguments(call, error))
        await self._tell("on_tool_call_request_finalized", call.info.call_id, finalized, turn.index)
        self._start(call, arguments)
        return None

    def _start(self, call: _Call, arguments: dict[str, Any]) -> None:
        tool = call.tool
        assert tool is not None
        self._signal.add_listener(call.signal.abort)
        context = ToolCallContext(call.info.call_id, tool.name, call.signal, logger=self._logger)
        own_limit = self._options.tool_timeout if tool.timeout is None else tool.timeout
        # When it takes all that is left, `_check_signal` ends it all.
        timeout = min(math.inf if own_limit is None else own_limit, max(self._limits.left_in_total(), 0.0))
        self.runner.start(
            ToolJob(
                call.info.call_id,
                lambda: tool.call(arguments, context),
                is_coroutine=tool.is_coroutine,
                timeout=None if timeout == math.inf else timeout,
            )
        )

    # Results ---------------------------------------------------------------------------------------------------------

    async def _take_report(self, turn: _Round, report: ToolReport) -> None:
        call = turn.calls[report.call_id]
        if isinstance(report, ToolStarted):
            await self._tell("on_tool_call_request_dequeued", report.call_id, turn.index)
            return
        if report.error is not None and not isinstance(report.error, Exception):
            raise report.error  # Ctrl-C, SystemExit and the like are for the caller, not for the model
        if report.error is not None:
            if isinstance(report.error, LMStudioTimeoutError):
                call.signal.abort(str(report.error))  # a function may still be running
            await self._take_tool_error(turn, call, report.error)
            return
        try:
            text = result_text(report.value)
        except Exception as unserialisable:  # the value is the user's, and so may be its methods
            await self._take_tool_error(turn, call, unserialisable)
            return
        await self._set_result(turn, call, text, succeeded=True)

    async def _take_tool_error(self, turn: _Round, call: _Call, error: Exception) -> None:
        failure = LMStudioPredictionError(f"Unhandled Python exception: {_shown(error)}")
        failure.__cause__ = error
        known = fields(tool=call.request.name)
        self._logger.debug("The tool %r failed.", call.request.name, exc_info=error, extra=known)
        text = await self._ask_handler(failure, call.request)
        await self._set_result(turn, call, json.dumps(str(failure) if text is None else text, ensure_ascii=False))

    async def _refuse(self, turn: _Round, call: _Call, error: ToolCallRequestError) -> None:
        """A request that no tool can run: the model gets an explanation instead of a result."""
        await self._tell("on_tool_call_request_failure", call.info.call_id, error, turn.index)
        text = await self._ask_handler(error, call.request)
        await self._set_result(turn, call, str(error) if text is None else text)

    async def _ask_handler(self, error: LMStudioPredictionError, request: ToolCallRequest | None) -> str | None:
        """What the model is to be told, None for the error's text. What the handler raises ends `act`."""
        handler = self._options.handle_invalid_tool_request
        if handler is None:
            return None
        answer: Any = handler(error, request)
        if hasattr(answer, "__await__"):
            answer = await answer
        return None if answer is None else str(answer)

    async def _set_result(self, turn: _Round, call: _Call, text: str, *, succeeded: bool = False) -> None:
        request = call.request
        call.result = ToolCallResultData(content=text, tool_call_id=request.id, name=request.name)
        if succeeded:
            await self._tell("on_tool_call_success", call.info.call_id, call.result, turn.index)
        await self._tell("on_tool_call_result", call.info.call_id, call.result, turn.index)


def _shown(error: Exception) -> str:
    try:
        return repr(error)
    except Exception:  # its class is the user's
        return type(error).__name__


def _invalid_arguments(call: _Call, cause: ToolArgumentsError) -> ToolCallRequestInvalidArgumentsError:
    error = ToolCallRequestInvalidArgumentsError(str(cause), raw_content=call.info.raw_content)
    error.tool_name, error.tool_arguments = call.request.name, call.request.arguments
    error.__cause__ = cause
    return error
