"""A prediction in flight: packets in, fragments out, then a result."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable
from io import StringIO
from itertools import chain, count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from lmstudio._callbacks import notify, tell
from lmstudio._endpoints.llm import COMPLETE_RAW_TEXT, PREDICT
from lmstudio._ops.fragment_log import FragmentLog
from lmstudio._ops.models import ModelTarget, describe
from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    FileHandle,
    KvConfig,
    KvConfigField,
    KvConfigStack,
    KvConfigStackLayer,
    LlmChannelCompleteRawTextCreationParameter,
    LlmChannelPredictCreationParameter,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketSuccess,
    LlmChannelPredictToServerPacketCancel,
    LlmPredictionFragment,
    TextData,
    ToolCallRequestData,
    UserMessage,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioError,
    LMStudioPredictionError,
    LMStudioRuntimeError,
    LMStudioStructuredOutputError,
    LMStudioValueError,
)
from lmstudio.json_api import fresh_copy
from lmstudio.results import GeneratedReply, ParsedT, PredictionResult, PromptProcessingProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lmstudio._ops.prediction_options import PredictionOptions
    from lmstudio._ops.tool_requests import ToolCallTracker
    from lmstudio._port import Port
    from lmstudio._sdk_models import PromptProcessingDetails, ToolCallRequest
    from lmstudio.events import PredictionEvent, ToolCallEvents
    from lmstudio.json_api import Channel

# What LM Studio may put between reasoning and JSON, with a number and some decoration around it.
_REASONING_END_MARKER = "LSEP_SYNTHETIC_REASONING_END_"

# Marks a prediction without a chat template. All versions of LM Studio understand it, unlike the
# channel completeRawText, which is new in lmstudio.js 2.0 and which older servers ignore without an answer.
RAW_COMPLETION = KvConfigStackLayer(
    layer_name="completeModeFormatting",
    config=KvConfig(
        fields=[
            KvConfigField(
                key="llm.prediction.promptTemplate",
                value={
                    "type": "jinja",
                    "stopStrings": [],
                    "jinjaPromptTemplate": {
                        "template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
                        "bosToken": "",
                        "eosToken": "",
                        "inputConfig": {
                            "messagesConfig": {"contentConfig": {"type": "string"}},
                            "useTools": False,
                        },
                    },
                },
            )
        ]
    ),
)


def respond(
    port: Port, target: ModelTarget, history: ChatHistoryData, options: PredictionOptions[ParsedT]
) -> Prediction[ParsedT]:
    """The model's next message in a chat. Nothing is sent before `Prediction.start`.

    Protocol: channel llm/predict.
    """
    return _prediction(port, target, history, [options.layer()], options)


def complete(
    port: Port, target: ModelTarget, prompt: str, options: PredictionOptions[ParsedT], *, raw: bool = False
) -> Prediction[ParsedT]:
    """The continuation of a text, without a chat template. Nothing is sent before `Prediction.start`.

    Protocol: channel llm/predict; with *raw* channel llm/completeRawText.
    """
    if not isinstance(prompt, str):
        raise LMStudioValueError(f"complete() continues a text, got {type(prompt).__name__}. For a chat use respond().")
    if not isinstance(raw, bool):
        raise LMStudioValueError(f"raw must be True or False, got {raw!r:.80}.")
    _refuse_chat_only(options)
    layer = options.layer({"llm.prediction.stopStrings": []})
    if not raw:
        history = ChatHistoryData(messages=[UserMessage(content=[TextData(text=prompt)])])
        return _prediction(port, target, history, [layer, RAW_COMPLETION], options)
    chat_config = options.chat_config
    parameter = LlmChannelCompleteRawTextCreationParameter(
        model_specifier=target,
        raw_prompt=prompt,
        prediction_config_stack=KvConfigStack(layers=[*chat_layers(chat_config), layer]),
        fuzzy_preset_identifier=options.preset,
        ignore_server_session_config=None if chat_config is None else True,
    )
    return Prediction(port, parameter, options, f"predict with {describe(target)}")


_CONTENT = attrgetter("content")


def refuse_images(history: ChatHistoryData, model: object) -> None:
    """Refuse a chat with images for a *model* that does not understand any.

    Raises:
        LMStudioValueError: names the first one.
    """
    # Nearly all chats have none, and long ones have thousands of parts: the first look at them is a matter of C.
    parts = chain.from_iterable(map(_CONTENT, history.messages))
    if FileHandle not in set(map(type, parts)):
        return
    for message in history.messages:
        for part in message.content:
            if isinstance(part, FileHandle) and part.file_type == "image":
                raise LMStudioValueError(
                    f"The chat has the image {part.name!r}, but {model!r} does not understand images. Use a vision "
                    "model."
                )


def _refuse_chat_only(options: PredictionOptions[Any]) -> None:
    """As lmstudio.js: what needs a chat template has no meaning in the continuation of a text."""
    config = options.config
    for name in ("raw_tools", "tool_choice", "reasoning_budget"):
        value = getattr(config, name, None)
        if value is not None and value is not False:
            raise LMStudioValueError(f"complete() continues a text and cannot use {name}. For a chat use respond().")


def chat_layers(chat_config: KvConfig | None) -> list[KvConfigStackLayer]:
    """The settings of the chat that something is for, if it is for one, below those of the call."""
    if chat_config is None:
        return []
    return [KvConfigStackLayer(layer_name="conversationSpecific", config=chat_config)]


def _prediction(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    layers: list[KvConfigStackLayer],
    options: PredictionOptions[ParsedT],
) -> Prediction[ParsedT]:
    chat_config = options.chat_config
    parameter = LlmChannelPredictCreationParameter(
        model_specifier=target,
        history=history,
        prediction_config_stack=KvConfigStack(layers=[*chat_layers(chat_config), *layers]),
        fuzzy_preset_identifier=options.preset,
        ignore_server_session_config=None if chat_config is None else True,
    )
    return Prediction(port, parameter, options, f"predict with {describe(target)}")


# What `receive` raises when the channel has ended.
_OVER = (LMStudioCancelledError, LMStudioChannelClosedError)


ResultT = TypeVar("ResultT", bound=GeneratedReply)


class PredictionInFlight(ABC, Generic[ResultT]):
    """One prediction of a model or of a generator, from its request to its result.

    Whoever waits drives it: packets are decoded and callbacks called inside `next_fragment`. Every way of leaving it
    early, including cancellation and Ctrl-C while waiting, tells the server to stop; telling never waits.
    """

    _PROGRESS: ClassVar[type[Any]]
    """The packet that says how much of the prompt has been read."""
    _SUCCESS: ClassVar[type[Any]]
    """The last packet."""

    def __init__(self, port: Port, options: PredictionOptions[Any], attempted: str) -> None:
        self._port, self._options, self._attempted = port, options, attempted
        self._runtime = port.runtime
        self._channel: Channel[Any, LlmChannelPredictToServerPacketCancel] | None = None
        self._content = StringIO()
        self.log: FragmentLog = FragmentLog()
        """The fragments so far."""
        # Split off only once the model reasons; until then the answer is the content.
        self._reasoning: StringIO | None = None
        self._answer: StringIO | None = None
        self._progress = -1.0
        self._tool_calls: ToolCallTracker | None = None
        self._events: deque[PredictionEvent] | None = None
        """What `next_event` has to report; None while nobody asks for events."""
        self._cancelled = False
        self._ignore_signal: Callable[[], None] | None = None
        self._result: ResultT | None = None
        self._error: LMStudioError | None = None

    @abstractmethod
    def _new_channel(self) -> Channel[Any, LlmChannelPredictToServerPacketCancel]:
        """The channel of the request, not open yet."""

    @abstractmethod
    def _check_end(self, packet: Any) -> object:
        """Why it ended, as the last packet says; raises if that is a failure."""

    @abstractmethod
    def _make_result(self, packet: Any) -> ResultT:
        """The result, from what has arrived and the last packet."""

    def _last_events(self, result: ResultT) -> Sequence[PredictionEvent]:  # noqa: ARG002 - for those that report it
        """What `next_event` reports at the end."""
        return ()

    # State -----------------------------------------------------------------------------------------------------------

    @property
    def is_started(self) -> bool:
        """The request was sent."""
        return self._channel is not None

    @property
    def is_finished(self) -> bool:
        """There is a result or an error; nothing more will come."""
        return self._result is not None or self._error is not None

    @property
    def state(self) -> str:
        """How far it has come, for people."""
        if self._error is not None:
            return "failed"
        if self._result is not None:
            return "complete"
        if self._channel is None:
            return "not started"
        return f"running, {len(self.log.lengths)} fragments"

    @property
    def result_or_none(self) -> ResultT | None:
        """The result, None until there is one."""
        return self._result

    def text(self) -> str:
        """All text so far."""
        return self._content.getvalue()

    def result(self) -> ResultT:
        """The result; raises what the prediction failed with, or that it is not complete."""
        if self._error is not None:
            raise fresh_copy(self._error)
        if self._result is None:
            state = "has not been completed" if self.is_started else "has not been started"
            raise LMStudioRuntimeError(f"The prediction {state} yet. wait_for_result() waits for its result.")
        return self._result

    # Driving it ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Send the request. Once only."""
        if self._channel is not None or self._error is not None:
            state = "closed" if self._channel is None else "started"
            raise LMStudioRuntimeError(f"The prediction has already been {state}. Make a new one.")
        signal = self._options.signal
        if signal is not None:
            signal.throw_if_aborted()
        self._channel = self._new_channel()
        self._channel.limits.awaits_token = True
        try:
            self._channel.open()
            if signal is not None:
                self._ignore_signal = signal.add_listener(self.cancel)
        except BaseException as error:
            self.abandon(error)
            raise

    async def next_fragment(self, *, until_event: bool = False) -> LlmPredictionFragment | None:
        """The next piece of text, None when the prediction is complete. Starts the prediction if necessary.

        *until_event*: also None when there is an event.
        """
        if self._result is not None:
            return None
        # One coroutine for each fragment: each level more would cost as much as all that is done here.
        try:
            channel = self._channel if self._error is None and self._channel is not None else self._ready_channel()
            while True:
                try:
                    packet = await channel.receive()
                except _OVER:
                    if self.result_or_none is None:
                        raise
                    return None  # another task has read the last packet
                if type(packet) is LlmChannelPredictToClientPacketFragment:
                    if self._cancelled:
                        continue
                    fragment = packet.fragment
                    if not self.log.lengths:
                        await self._begin_text()
                    self._take_fragment(fragment)
                    callback = self._options.on_prediction_fragment
                    if callback is not None and (pending := notify(self._runtime, callback, fragment)) is not None:
                        await pending
                    return fragment
                if await self._take_other(packet) or (until_event and self._events):
                    return None
        except BaseException as error:
            await self._take_error(error)
            raise

    def _ready_channel(self) -> Channel[Any, LlmChannelPredictToServerPacketCancel]:
        if self._error is not None:
            raise fresh_copy(self._error)
        if self._channel is None:
            self.start()
        assert self._channel is not None
        return self._channel

    async def _take_error(self, error: BaseException) -> None:
        if self.is_finished:
            return
        if not isinstance(error, LMStudioError):
            # Raised here, and not again by whoever asks for the result later.
            self.abandon(error)
            return
        if self._channel is not None:
            self._channel.located(error)
        self._fail(error)
        if self._tool_calls is not None:
            await self._report_tool_calls(self._tool_calls.interrupt(error))

    async def next_event(self) -> PredictionEvent | None:
        """The next event, None after the last. Events from before the first call are not repeated."""
        from lmstudio.events import fragment_events

        if self._events is None:
            self._events = deque()
        while not self._events:
            if self._result is not None:
                return None
            fragment = await self.next_fragment(until_event=True)
            if fragment is not None:
                self._events.extend(fragment_events(fragment))
        return self._events.popleft()

    def take_events(self) -> list[PredictionEvent]:
        """What `next_event` has not reported yet, because of an error."""
        events, self._events = list(self._events or ()), None
        return events

    async def run(self) -> ResultT:
        """Predict to the end."""
        try:
            while await self.next_fragment() is not None:
                pass
        except BaseException as error:
            self.abandon(error)  # Ctrl-C may strike between two fragments, too
            raise
        return self.result()

    async def result_or_run(self) -> ResultT:
        """As `result`, but predicts if that has not begun."""
        if self.is_started or self.is_finished:
            return self.result()
        return await self.run()

    def cancel(self) -> None:
        """Ask the server to stop. The prediction then ends normally, with the text so far and `userStopped`."""
        if self._channel is not None and not self.is_finished and not self._cancelled:
            self._cancelled = True
            self._channel.send(LlmChannelPredictToServerPacketCancel())

    def abandon(self, error: BaseException | None = None) -> None:
        """Tell the server to stop and forget the prediction, because of *error* if there is one."""
        if not self.is_finished:
            reason = "" if error is None else f" because of {type(error).__name__}"
            self._fail(LMStudioCancelledError(f"The prediction was left before it was complete{reason}."))

    def _fail(self, error: LMStudioError) -> None:
        if self._channel is not None and not self._channel.finished:
            if self._cancelled:  # the server knows
                self._channel.close()
            else:
                self._channel.send_last(LlmChannelPredictToServerPacketCancel())
        self._error = fresh_copy(error)  # without the traceback, whose frames hold this prediction
        self._end()

    def _end(self) -> None:
        if self._ignore_signal is not None:
            self._ignore_signal()
            self._ignore_signal = None

    # Packets ---------------------------------------------------------------------------------------------------------

    async def _begin_text(self) -> None:
        if self._channel is not None:
            self._channel.limits.awaits_token = False
        await self._report_progress(1.0)
        await tell(self._runtime, self._options.on_first_token)

    def _take_fragment(self, fragment: LlmPredictionFragment) -> None:
        if fragment.reasoning_type != "none" or self._reasoning is not None or fragment.is_structural:
            self._split(fragment)
        self._content.write(fragment.content)
        self.log.append(fragment)

    def _split(self, fragment: LlmPredictionFragment) -> None:
        if self._reasoning is None or self._answer is None:
            self._reasoning, self._answer = StringIO(), StringIO()
            self._answer.write(self._content.getvalue())
        if fragment.is_structural:
            return
        if fragment.reasoning_type == "reasoning":
            self._reasoning.write(fragment.content)
        elif fragment.reasoning_type == "none":
            self._answer.write(fragment.content)

    async def _take_other(self, packet: Any) -> bool:
        """Handle anything but a fragment; True when it was the last packet."""
        if isinstance(packet, self._PROGRESS):
            if not self._cancelled:
                await self._report_progress(packet.progress, packet.details)
            return False
        if isinstance(packet, self._SUCCESS):
            await self._take_success(packet)
            return True
        await self._report_tool_calls(self._tracker().take(packet))
        return False

    async def _take_success(self, packet: Any) -> None:
        if self._channel is not None:
            self._channel.close()
        reason = self._check_end(packet)
        cut_off = [] if self._tool_calls is None else self._tool_calls.interrupt(reason)
        self._result = self._make_result(packet)
        self._end()
        await self._report_tool_calls(cut_off)
        if self._events is not None:
            self._events.extend(self._last_events(self._result))
        await self._report_message(self._result)

    def _tracker(self) -> ToolCallTracker:
        if self._tool_calls is None:
            from lmstudio._ops.tool_requests import ToolCallTracker

            self._tool_calls = ToolCallTracker(self._options.call_ids or count())
        return self._tool_calls

    async def _report_tool_calls(self, events: Sequence[ToolCallEvents]) -> None:
        if events and self._events is not None:
            self._events.extend(events)
        for event in events:
            await self._options.report(self._runtime, event)

    async def _report_progress(self, value: float, details: PromptProcessingDetails | None = None) -> None:
        """Pass on a progress that starts at 0, never falls, and ends at 1 before the first fragment."""
        callback = self._options.on_prompt_processing_progress
        if callback is None and self._events is None:
            return
        for step in (0.0, value) if self._progress < 0.0 else (value,):
            if step > self._progress:
                self._progress = step
                if self._events is not None:
                    from lmstudio.events import PromptProgressEvent

                    self._events.append(PromptProgressEvent(step, details))
                await tell(self._runtime, callback, PromptProcessingProgress(step, details))

    # The end ---------------------------------------------------------------------------------------------------------

    def _texts(self) -> tuple[str, str, str]:
        """All text, the answer, and the reasoning."""
        content = self._content.getvalue()
        answer = content if self._answer is None else self._answer.getvalue()
        return content, answer, "" if self._reasoning is None else self._reasoning.getvalue()

    async def _report_message(self, result: ResultT) -> None:
        callback = self._options.on_message
        if callback is None:
            return
        # Not protected, unlike the other callbacks: it carries the result, so its failure is the caller's business.
        outcome = callback(assistant_message(result, result.tool_call_requests))
        if isinstance(outcome, Awaitable):
            await outcome


class Prediction(PredictionInFlight[PredictionResult[ParsedT]], Generic[ParsedT]):
    """One prediction of a model."""

    _PROGRESS = LlmChannelPredictToClientPacketPromptProcessingProgress
    _SUCCESS = LlmChannelPredictToClientPacketSuccess

    def __init__(
        self,
        port: Port,
        parameter: LlmChannelPredictCreationParameter | LlmChannelCompleteRawTextCreationParameter,
        options: PredictionOptions[ParsedT],
        attempted: str,
    ) -> None:
        super().__init__(port, options, attempted)
        self._parameter = parameter

    def _new_channel(self) -> Channel[Any, LlmChannelPredictToServerPacketCancel]:
        if isinstance(self._parameter, LlmChannelCompleteRawTextCreationParameter):
            return self._port.channel(COMPLETE_RAW_TEXT, self._parameter, self._attempted)
        return self._port.channel(PREDICT, self._parameter, self._attempted)

    def _check_end(self, packet: LlmChannelPredictToClientPacketSuccess) -> object:
        if packet.stats.stop_reason == "failed":
            raise LMStudioPredictionError(
                f"Could not {self._attempted}: the model stopped because of an error, after "
                f"{len(self.text())} characters. The log of the server may say more."
            )
        return packet.stats.stop_reason

    def _make_result(self, packet: LlmChannelPredictToClientPacketSuccess) -> PredictionResult[ParsedT]:
        content, answer, reasoning = self._texts()
        response_format = self._options.response_format

        def parse(text: str) -> Any:
            try:
                return response_format.parse(content, text, packet.stats.stop_reason)
            except LMStudioStructuredOutputError as error:
                return error.with_traceback(None)

        parsed = parse(answer)
        if isinstance(parsed, LMStudioStructuredOutputError):
            unmarked, text = _split_unmarked_reasoning(answer)
            if text and not isinstance(again := parse(text), LMStudioStructuredOutputError):
                parsed, answer, reasoning = again, text, reasoning + unmarked
        tools = self._tool_calls
        return PredictionResult(
            content=content,
            parsed=parsed,
            stats=packet.stats,
            model_info=packet.model_info,
            load_config=packet.load_model_config,
            prediction_config=packet.prediction_config,
            structured=response_format.parse_json is not None,
            reasoning_content=reasoning,
            non_reasoning_content=answer,
            tool_calls=() if tools is None else tools.calls,
            tool_call_errors=() if tools is None else tools.errors,
        )

    def _last_events(self, result: PredictionResult[ParsedT]) -> Sequence[PredictionEvent]:
        from lmstudio.events import ResultEvent

        return (ResultEvent(result),)


def assistant_message(result: GeneratedReply, requests: Iterable[ToolCallRequest]) -> AssistantResponse:
    """The message of a chat that *result* stands for: its text, then the tool calls."""
    parts = [ToolCallRequestData(tool_call_request=request) for request in requests]
    return AssistantResponse(content=[TextData(text=result.content), *parts])


def _split_unmarked_reasoning(answer: str) -> tuple[str, str]:
    """Reasoning that the server passed on as plain text, and what follows it; "" if there is none."""
    before, marker, after = answer.partition(_REASONING_END_MARKER)
    if marker:
        before = before.partition("</think>")[0].rstrip("<|[( ")
        after = re.sub(r"^[^\s{\[\"]*", "", after)
    else:
        before, _, after = answer.partition("</think>")
    return before.strip().removeprefix("<think>").strip(), after.strip()
