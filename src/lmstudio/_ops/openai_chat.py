"""OpenAI's chat completions over the native protocol: what clients have in common with `lmstudio.http`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from time import time
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from lmstudio._abort import AbortSignal, check_signal
from lmstudio._endpoints.llm import MODELS
from lmstudio._http_models.openai import ChatParameters
from lmstudio._kv_config import llm_load_config_to_kv, override_stack, prediction_config_to_kv
from lmstudio._near import near_matches
from lmstudio._openai_chat import ChatAssembly, ReplyHead, new_id
from lmstudio._openai_parameters import bad_parameter, chat_settings
from lmstudio._ops.loading import LoadRequest, LoadWatch, get_or_load
from lmstudio._ops.models import describe, get_any, identifier_target
from lmstudio._ops.prediction import Prediction, refuse_images
from lmstudio._ops.prediction_options import PredictionOptions, check_preset
from lmstudio._sdk_models import (
    KvConfig,
    KvConfigField,
    KvConfigStack,
    KvConfigStackLayer,
    LlmChannelPredictCreationParameter,
    LlmChannelPredictToClientPacketFragment,
)
from lmstudio._struct import wire_names
from lmstudio.contract import Chunk, Completed
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioError,
    LMStudioPredictionError,
    LMStudioRuntimeError,
)
from lmstudio.history import read_history
from lmstudio.json_api import fresh_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmstudio._http_models.openai import ChatCompletionChunk, ChatCompletionResponse
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        ChatHistoryData,
        LlmChannelPredictToClientPacketSuccess,
        LlmInstanceInfo,
        LlmPredictionFragment,
    )
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.contract import ChatStreamEvent
    from lmstudio.history import ChatInput
    from lmstudio.settings import Settings

_ATTEMPTED = "complete a chat"


def read_parameters(params: Mapping[str, Any]) -> ChatParameters:
    """The keywords of `chat_completion`, in snake_case or camelCase.

    Raises:
        LMStudioValueError: one is not known, or has a value that is not valid.
    """
    named = wire_names(ChatParameters, params)
    known = [name for name in ChatParameters.__struct_fields__ if name not in ("model", "stream")]
    for name in named:
        if name == "stream":
            message = "There is no parameter 'stream': stream_chat_completion() is what streams."
            raise bad_parameter(name, message, code=None)
        if name not in known:
            near = near_matches(name, known)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            message = (
                f"There is no parameter {name!r}.{hint} The native protocol has no place for others than those of "
                "ChatCompletionParams; lmstudio.http passes them on."
            )
            raise bad_parameter(name, message, code=None)
    return ChatParameters.from_dict(ChatParameters(**named).checked(_ATTEMPTED))


class ChatRequest:
    """A chat to be completed: read, checked, and not sent yet."""

    def __init__(
        self, messages: ChatInput, model: str | None, params: Mapping[str, Any], settings: Settings, ttl: float | None
    ) -> None:
        """*ttl* is for a model that has to be loaded, unless *params* has one.

        Raises:
            LMStudioValueError: bad input.
        """
        self.parameters: ChatParameters = read_parameters(params)
        config, fields = chat_settings(self.parameters)
        self.history: ChatHistoryData = read_history(messages)
        if not self.history.messages:
            raise bad_parameter("messages", "messages is empty: it needs at least one message.", code=None)
        self.preset: str | None = check_preset(self.parameters.preset)
        items = [*prediction_config_to_kv(config).fields, *(KvConfigField(key=k, value=v) for k, v in fields.items())]
        self.stack: KvConfigStack = KvConfigStack(
            layers=[KvConfigStackLayer(layer_name="apiOverride", config=KvConfig(fields=items))]
        )
        self._is_allowed = settings.allows_model
        self._load: LoadRequest | None = None
        key = settings.default_model if model is None else model
        if key is not None:
            ttl = ttl if self.parameters.ttl is None else self.parameters.ttl
            self._load = LoadRequest(key, override_stack(llm_load_config_to_kv(None)), ttl, None, UNSET).check()
            settings.check_model(key)

    async def find_model(self, port: Port, signal: AbortSignal) -> LlmInstanceInfo:
        """The model to ask, loaded if it is not: the one that is named, that of the settings, or any that is loaded."""
        if self._load is None:
            return await get_any(port, MODELS, self._is_allowed)
        return await get_or_load(port, MODELS, self._load, LoadWatch(signal=signal), "use")

    def prediction(self, port: Port, model: LlmInstanceInfo, signal: AbortSignal) -> ChatPrediction:
        """The prediction that answers, not started yet."""
        if not model.vision:
            refuse_images(self.history, model.identifier)
        target = identifier_target(model.identifier)
        parameter = LlmChannelPredictCreationParameter(
            model_specifier=target,
            history=self.history,
            prediction_config_stack=self.stack,
            fuzzy_preset_identifier=self.preset,
        )
        head = ReplyHead(new_id("chatcmpl"), int(time()), model.identifier)
        options: PredictionOptions[str] = PredictionOptions(signal=signal)
        prediction = ChatPrediction(port, parameter, options, f"{_ATTEMPTED} with {describe(target)}")
        prediction.assembly = ChatAssembly(head, self.parameters)
        return prediction


class ChatPrediction(Prediction[str]):
    """A prediction whose packets become chunks."""

    assembly: ChatAssembly
    """Set before the start."""

    async def next_chunk(self) -> ChatCompletionChunk | None:
        """The next part of the answer, None when it is complete."""
        ready = self.assembly.ready
        while not ready:
            if self.assembly.reply is not None:
                return None
            await self.next_fragment()
        return ready.popleft()

    def _take_fragment(self, fragment: LlmPredictionFragment) -> None:
        super()._take_fragment(fragment)
        self.assembly.take(LlmChannelPredictToClientPacketFragment(fragment=fragment))

    async def _take_other(self, packet: Any) -> bool:
        """As in the base class, but also True when there is a chunk."""
        if await super()._take_other(packet):
            return True
        if not self.assembly.take(packet):
            self.cancel()
        return bool(self.assembly.ready)

    async def _take_success(self, packet: LlmChannelPredictToClientPacketSuccess) -> None:
        if packet.stats.stop_reason == "modelUnloaded":
            raise LMStudioPredictionError(f"Could not {self._attempted}: it was unloaded meanwhile. Try again.")
        await super()._take_success(packet)
        self.assembly.end(packet.stats)


class ChatInFlight(ABC):
    """A chat completion, from its request to its result. Who waits, drives it."""

    def __init__(self) -> None:
        self.is_started: bool = False
        """Something was sent."""
        self._failure: LMStudioError | None = None
        self._has_told_end = False

    @property
    @abstractmethod
    def reply(self) -> ChatCompletionResponse | None:
        """The whole answer, once there is one."""

    @property
    def is_finished(self) -> bool:
        """There is a reply or an error."""
        return self._failure is not None or self.reply is not None

    @property
    def state(self) -> str:
        """How far it has come, for people."""
        if self.is_finished:
            return "complete" if self._failure is None else "failed"
        return "running" if self.is_started else "not started"

    async def start(self) -> None:
        """Send the chat. Once only."""
        if self._failure is not None:
            raise fresh_copy(self._failure)
        if self.is_started:
            raise LMStudioRuntimeError("The chat completion has already been started. Make a new one.")
        self.is_started = True
        try:
            await self._begin()
        except BaseException as error:
            self._fail(error)
            raise

    @abstractmethod
    async def _begin(self) -> None: ...

    async def next_chunk(self) -> ChatCompletionChunk | None:
        """The next part of the answer, None when it is complete. Starts it if necessary."""
        if not self.is_started:
            await self.start()
        if self._failure is not None:
            raise fresh_copy(self._failure)
        try:
            return await self._next()
        except BaseException as error:
            self._fail(error)
            raise

    @abstractmethod
    async def _next(self) -> ChatCompletionChunk | None: ...

    async def next_event(self) -> ChatStreamEvent | None:
        """The next event, None after the last."""
        while (chunk := await self.next_chunk()) is not None:
            for choice in chunk.choices:
                if choice.delta.content:
                    return Chunk(choice.delta.content)
        if self._has_told_end:
            return None
        self._has_told_end = True
        return Completed(self.result())

    async def run(self) -> ChatCompletionResponse:
        """Wait for the whole answer."""
        try:
            while await self.next_chunk() is not None:
                pass
        except BaseException as error:
            self.abandon(error)  # Ctrl-C may strike between two chunks, too
            raise
        return self.result()

    async def result_or_run(self) -> ChatCompletionResponse:
        """As `result`, but completes the chat if that has not begun."""
        return self.result() if self.is_started or self.is_finished else await self.run()

    def result(self) -> ChatCompletionResponse:
        """The whole answer; raises what it failed with, or that it is not complete."""
        if self._failure is not None:
            raise fresh_copy(self._failure)
        if self.reply is None:
            state = "has not been completed" if self.is_started else "has not been started"
            raise LMStudioRuntimeError(f"The chat completion {state} yet. wait_for_result() waits for its result.")
        return self.reply

    @abstractmethod
    def cancel(self) -> None:
        """Ask for the end: the answer then ends normally, with what there is."""

    def abandon(self, error: BaseException | None = None) -> None:
        """Stop and forget the answer, because of *error* if there is one."""
        if not self.is_finished:
            reason = "" if error is None else f" because of {type(error).__name__}"
            self._fail(LMStudioCancelledError(f"The chat completion was left before it was complete{reason}."))

    def _fail(self, error: BaseException) -> None:
        if self.is_finished:
            return
        left = LMStudioCancelledError(f"The chat completion was left because of {type(error).__name__}.")
        self._failure = fresh_copy(error) if isinstance(error, LMStudioError) else left
        self._stop(error)

    @abstractmethod
    def _stop(self, error: BaseException) -> None:
        """End what is going on, whatever it is."""


class ChatRun(ChatInFlight):
    """A chat completion over the native protocol, from the search for its model on."""

    def __init__(
        self, port: Port, request: ChatRequest, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        super().__init__()
        check_signal(signal)
        self._request = request
        # Ends whatever is going on: the search, the load, or the prediction.
        self._end = AbortSignal()
        self._port = port.within(timeout, self._end)
        self._signal = signal
        self._unlink: Callable[[], None] | None = None
        self._prediction: ChatPrediction | None = None

    @property
    def reply(self) -> ChatCompletionResponse | None:
        return None if self._prediction is None else self._prediction.assembly.reply

    async def _begin(self) -> None:
        """Find the model, load it if necessary, and send the chat."""
        if self._signal is not None:
            self._signal.throw_if_aborted()
            self._unlink = self._signal.add_listener(self._end.abort)
        self._end.throw_if_aborted()
        model = await self._request.find_model(self._port, self._end)
        self._prediction = self._request.prediction(self._port, model, self._end)
        self._prediction.start()

    async def _next(self) -> ChatCompletionChunk | None:
        if self._prediction is None:
            raise LMStudioRuntimeError("The chat completion is being started: somebody else reads it.")
        chunk = await self._prediction.next_chunk()
        if self._prediction.is_finished:
            self._forget_signal()
        return chunk

    def cancel(self) -> None:
        """As in the base class. A load is given up with an error."""
        if not self.is_finished:
            self._end.abort()

    def _stop(self, error: BaseException) -> None:
        self._end.abort()
        if self._prediction is not None:
            self._prediction.abandon(error)
        self._forget_signal()

    def _forget_signal(self) -> None:
        if self._unlink is not None:
            self._unlink()
            self._unlink = None
