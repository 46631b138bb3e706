"""A prediction in flight: packets in, fragments out, then a result."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, Any, Generic, TypeAlias

import msgspec

from lmstudio._endpoints.llm import PREDICT
from lmstudio._kv_config import prediction_config_to_kv, read_config
from lmstudio._ops.models import ModelTarget, describe
from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    KvConfig,
    KvConfigField,
    KvConfigStack,
    KvConfigStackLayer,
    LlmChannelPredictCreationParameter,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketSuccess,
    LlmChannelPredictToServerPacketCancel,
    LlmPredictionConfig,
    LlmPredictionFragment,
    TextData,
    UserMessage,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioError,
    LMStudioRuntimeError,
    LMStudioStructuredOutputError,
    LMStudioValueError,
)
from lmstudio.json_api import fresh_copy
from lmstudio.results import ParsedT, PredictionResult
from lmstudio.schemas import ResponseFormat, resolve_response_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio.json_api import Channel, Port

PredictionMessageCallback: TypeAlias = Callable[[AssistantResponse], object]
PredictionFirstTokenCallback: TypeAlias = Callable[[], object]
PredictionFragmentCallback: TypeAlias = Callable[[LlmPredictionFragment], object]
PromptProcessingCallback: TypeAlias = Callable[[float], object]

_logger = logging.getLogger("lmstudio.predictions")

# What LM Studio may put between reasoning and JSON, with a number and some decoration around it.
_REASONING_END_MARKER = "LSEP_SYNTHETIC_REASONING_END_"


class PredictionOptions(msgspec.Struct, Generic[ParsedT], frozen=True):
    """How to predict and whom to tell: the keywords of `respond` and `complete`."""

    response_format: ResponseFormat[ParsedT] = msgspec.field(default_factory=ResponseFormat.unstructured)
    config: LlmPredictionConfig | None = None
    preset: str | None = None
    on_message: PredictionMessageCallback | None = None
    on_first_token: PredictionFirstTokenCallback | None = None
    on_prediction_fragment: PredictionFragmentCallback | None = None
    on_prompt_processing_progress: PromptProcessingCallback | None = None


def prediction_options(
    response_format: Any,
    config: LlmPredictionConfig | Mapping[str, Any] | None,
    preset: str | None,
    on_message: PredictionMessageCallback | None,
    on_first_token: PredictionFirstTokenCallback | None,
    on_prediction_fragment: PredictionFragmentCallback | None,
    on_prompt_processing_progress: PromptProcessingCallback | None,
) -> PredictionOptions[Any]:
    """The keywords of the public methods, checked. A format inside *config* counts like *response_format*.

    Raises:
        LMStudioValueError: a response format or configuration that cannot be used.
    """
    typed = None if config is None else read_config(LlmPredictionConfig, config)
    if typed is not None and typed.structured is not None:
        if response_format is not None:
            raise LMStudioValueError("The response format is given twice: as response_format and as config.structured.")
        response_format = typed.structured
        typed = msgspec.structs.replace(typed, structured=None)
    return PredictionOptions(
        resolve_response_format(response_format),
        typed,
        preset,
        on_message,
        on_first_token,
        on_prediction_fragment,
        on_prompt_processing_progress,
    )


# Marks a prediction without a chat template. All versions of LM Studio understand it, unlike the
# channel completeRawText, which is new in lmstudio.js 2.0 and which older servers ignore without an answer.
_RAW_COMPLETION = KvConfigStackLayer(
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
    layers = [_override_layer(options)]
    return _prediction(port, target, history, layers, options)


def complete(port: Port, target: ModelTarget, prompt: str, options: PredictionOptions[ParsedT]) -> Prediction[ParsedT]:
    """The continuation of a text, without a chat template. Nothing is sent before `Prediction.start`."""
    if not isinstance(prompt, str):
        raise LMStudioValueError(f"complete() continues a text, got {type(prompt).__name__}. For a chat use respond().")
    history = ChatHistoryData(messages=[UserMessage(content=[TextData(text=prompt)])])
    layers = [_override_layer(options, {"llm.prediction.stopStrings": []}), _RAW_COMPLETION]
    return _prediction(port, target, history, layers, options)


def _override_layer(options: PredictionOptions[Any], defaults: Mapping[str, Any] | None = None) -> KvConfigStackLayer:
    config = prediction_config_to_kv(options.config, structured=options.response_format.setting)
    present = {item.key for item in config.fields}
    missing = [KvConfigField(key=key, value=value) for key, value in (defaults or {}).items() if key not in present]
    return KvConfigStackLayer(layer_name="apiOverride", config=KvConfig(fields=[*config.fields, *missing]))


def _prediction(
    port: Port,
    target: ModelTarget,
    history: ChatHistoryData,
    layers: list[KvConfigStackLayer],
    options: PredictionOptions[ParsedT],
) -> Prediction[ParsedT]:
    parameter = LlmChannelPredictCreationParameter(
        model_specifier=target,
        history=history,
        prediction_config_stack=KvConfigStack(layers=layers),
        fuzzy_preset_identifier=options.preset,
    )
    return Prediction(port, parameter, options, f"predict with {describe(target)}")


class Prediction(Generic[ParsedT]):
    """One prediction, from its request to its result.

    Whoever waits drives it: packets are decoded and callbacks called inside `next_fragment`. Every way of leaving it
    early, including cancellation and Ctrl-C while waiting, tells the server to stop; telling never waits.
    """

    def __init__(
        self,
        port: Port,
        parameter: LlmChannelPredictCreationParameter,
        options: PredictionOptions[ParsedT],
        attempted: str,
    ) -> None:
        self._port, self._parameter, self._options, self._attempted = port, parameter, options, attempted
        self._channel: Channel[Any, LlmChannelPredictToServerPacketCancel] | None = None
        self._content = StringIO()
        # Split off only once the model reasons; until then the answer is the content.
        self._reasoning: StringIO | None = None
        self._answer: StringIO | None = None
        self._has_fragments = False
        self._progress = -1.0
        self._cancelled = False
        self._result: PredictionResult[ParsedT] | None = None
        self._error: LMStudioError | None = None

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
    def result_or_none(self) -> PredictionResult[ParsedT] | None:
        """The result, None until there is one."""
        return self._result

    def result(self) -> PredictionResult[ParsedT]:
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
        self._channel = self._port.channel(PREDICT, self._parameter, self._attempted)
        try:
            self._channel.open()
        except BaseException as error:
            self.abandon(error)
            raise

    async def next_fragment(self) -> LlmPredictionFragment | None:
        """The next piece of text, None when the prediction is complete. Starts the prediction if necessary."""
        if self._result is not None:
            return None
        if self._error is not None:
            raise fresh_copy(self._error)
        if self._channel is None:
            self.start()
        channel = self._channel
        assert channel is not None
        try:
            while True:
                packet = await channel.receive()
                if type(packet) is LlmChannelPredictToClientPacketFragment:
                    if self._cancelled:
                        continue
                    fragment = packet.fragment
                    self._take_fragment(fragment)
                    return fragment
                if self._take_other(packet):
                    return None
        except LMStudioError as error:
            if not self.is_finished:
                self._fail(error)
            raise
        except BaseException as error:
            # Raised here, and not again by whoever asks for the result later.
            self.abandon(error)
            raise

    async def run(self) -> PredictionResult[ParsedT]:
        """Predict to the end."""
        try:
            while await self.next_fragment() is not None:
                pass
        except BaseException as error:
            self.abandon(error)  # Ctrl-C may strike between two fragments, too
            raise
        return self.result()

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
            self.cancel()
            self._channel.close()
        self._error = fresh_copy(error)  # without the traceback, whose frames hold this prediction

    # Packets ---------------------------------------------------------------------------------------------------------

    def _take_fragment(self, fragment: LlmPredictionFragment) -> None:
        options = self._options
        content = fragment.content
        if not self._has_fragments:
            self._has_fragments = True
            self._report_progress(1.0)
            if options.on_first_token is not None:
                _call(options.on_first_token)
        if fragment.reasoning_type != "none" or self._reasoning is not None or fragment.is_structural:
            self._split(fragment)
        self._content.write(content)
        if options.on_prediction_fragment is not None:
            try:
                options.on_prediction_fragment(fragment)
            except Exception as error:
                _log_callback_error(options.on_prediction_fragment, error)

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

    def _take_other(self, packet: object) -> bool:
        """Handle anything but a fragment; True when it was the last packet."""
        if isinstance(packet, LlmChannelPredictToClientPacketPromptProcessingProgress):
            if not self._cancelled:
                self._report_progress(packet.progress)
            return False
        if not isinstance(packet, LlmChannelPredictToClientPacketSuccess):
            return False  # tool call packets: there is nobody to run tools in this operation
        if self._channel is not None:
            self._channel.close()
        self._result = self._make_result(packet)
        self._report_message()
        return True

    def _report_progress(self, value: float) -> None:
        """Pass on a progress that starts at 0, never falls, and ends at 1 before the first fragment."""
        callback = self._options.on_prompt_processing_progress
        if callback is None:
            return
        if self._progress < 0.0:
            self._progress = 0.0
            _call(callback, 0.0)
        if value > self._progress:
            self._progress = value
            _call(callback, value)

    def _make_result(self, packet: LlmChannelPredictToClientPacketSuccess) -> PredictionResult[ParsedT]:
        content = self._content.getvalue()
        answer = content if self._answer is None else self._answer.getvalue()
        reasoning = "" if self._reasoning is None else self._reasoning.getvalue()
        response_format = self._options.response_format

        def parse(text: str) -> tuple[object, LMStudioStructuredOutputError | None]:
            try:
                return response_format.parse(content, text, packet.stats.stop_reason), None
            except LMStudioStructuredOutputError as error:
                return None, error.with_traceback(None)

        parsed, parse_error = parse(answer)
        unmarked, text = ("", "") if parse_error is None else _split_unmarked_reasoning(answer)
        if text:
            parsed, parse_error = parse(text)
            if parse_error is None:
                answer, reasoning = text, reasoning + unmarked
        return PredictionResult(
            content=content,
            reasoning_content=reasoning,
            non_reasoning_content=answer,
            stats=packet.stats,
            model_info=packet.model_info,
            structured=response_format.is_structured,
            load_config_kv=packet.load_model_config,
            prediction_config_kv=packet.prediction_config,
            _parsed=parsed,
            _parse_error=parse_error,
        )

    def _report_message(self) -> None:
        callback = self._options.on_message
        if callback is not None and self._result is not None:
            # Not protected, unlike the other callbacks: it carries the result, so its failure is the caller's business.
            callback(AssistantResponse(content=[TextData(text=self._result.content)]))


def _split_unmarked_reasoning(answer: str) -> tuple[str, str]:
    """Reasoning that the server passed on as plain text, and what follows it; "" if there is none."""
    before, marker, after = answer.partition(_REASONING_END_MARKER)
    if marker:
        before = before.partition("</think>")[0].rstrip("<|[( ")
        after = re.sub(r"^[^\s{\[\"]*", "", after)
    else:
        before, _, after = answer.partition("</think>")
    return before.strip().removeprefix("<think>").strip(), after.strip()


def _call(callback: Callable[..., object], *arguments: object) -> None:
    try:
        callback(*arguments)
    except Exception as error:
        _log_callback_error(callback, error)


def _log_callback_error(callback: Callable[..., object], error: Exception) -> None:
    _logger.error("The callback %r failed; the prediction goes on.", callback, exc_info=error)
