"""From a request over HTTP to the engine: a model is loaded, a prediction run, its packets handed over as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lmstudio._kv_config import override_stack, prediction_config_to_kv
from lmstudio._sdk_models import (
    ChatHistoryData,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketToolCallGenerationEnd,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.server._port import ClientContext
from lmstudio.server.errors import RequestError
from lmstudio.server.files.chat import with_contents
from lmstudio.server.http.backend import Backend, Running
from lmstudio.server.http.batches import all_of
from lmstudio.server.http.errors import HttpError, as_http_error
from lmstudio.server.http.model_lists import listed_models
from lmstudio.server.http.observer import observed
from lmstudio.server.loads import StartedLoad
from lmstudio.server.prediction import Prediction
from lmstudio.server.prompt import ContinuedPrompt, RawPrompt, chat_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio._sdk_models import AnyChatMessage, LlmPredictionStats
    from lmstudio.server.config import LoadConfig, PredictionConfig
    from lmstudio.server.core import ServerCore
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Instance
    from lmstudio.server.loads import AcquireEvent
    from lmstudio.server.output import Packet
    from lmstudio.server.prompt import Prompt

__all__ = ["CLIENT", "LocalBackend"]

CLIENT: Final = ClientContext("http")
"""Who asks, for what belongs to a client: over HTTP nobody uploads files."""
_BUSY_PACKETS: Final = 256
"""With more of them waiting for a client to read, the model waits as well."""


class LocalBackend(Backend):
    """The models of this server."""

    def __init__(self, core: ServerCore) -> None:
        self.core = core

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.core.clock.time()

    @property
    def started_at(self) -> float:
        """When the server began."""
        return self.core.started_at

    async def model_names(self) -> list[str]:
        """What is loaded, and with JIT loading what could be."""
        return [item.name for item in listed_models(self.core)]

    @asynccontextmanager
    async def using_model(
        self,
        settings: HttpSettings,
        kind: ModelKind,
        name: str | None,
        *,
        ttl_seconds: float | None = None,
        load_config: LoadConfig | None = None,
        on_event: Callable[[AcquireEvent], None] | None = None,
    ) -> AsyncIterator[Instance]:
        """The instance that *name* means, loaded just in time and kept loaded. Without a name, the only one there is.

        *ttl_seconds* and *load_config* count only if it has to be loaded.

        Raises:
            HttpError: no name was given and there are none or several, or too many requests wait for the model.
            RequestError, EngineError: there is no such model, or it cannot be loaded.
        """
        observer = observed()
        with self.core.places.place(settings.max_queued_requests) as place:

            def hear(event: AcquireEvent) -> None:
                if isinstance(event, StartedLoad):
                    place.take(event.identifier)
                    observer.load_awaited(event.file.model_key)
                if on_event is not None:
                    on_event(event)

            wanted = name or self._only_model(kind)
            instance = await self.core.instances.acquire(
                kind, wanted, config=load_config, ttl_seconds=ttl_seconds, on_event=hear
            )
            with self.core.instances.use(instance):
                place.take(instance.identifier)
                observer.model_found(instance.file.model_key, instance.identifier)
                yield instance

    def _only_model(self, kind: ModelKind) -> str:
        names = [instance.identifier for instance in self.core.instances.loaded(kind)]
        if len(names) == 1:
            return names[0]
        found = f"there are several loaded: {', '.join(names[:10])}" if names else "none is loaded"
        message = f"model is required: it may be left out when exactly one is loaded, but {found}."
        raise HttpError("invalid_request", message, param="model", code="missing_required_parameter")

    def configured(
        self,
        config: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        preset: str | None,
        is_raw: bool = False,
        request: SamplingRequest | None = None,  # noqa: ARG002 (the engine takes nothing else)
    ) -> PredictionConfig:
        """How to predict: *config* (`LlmPredictionConfig`) and, over it, *fields* by full key.

        Raises:
            RequestError, HttpError: a value is not valid, or there is no such preset or draft model.
        """
        try:
            kv = prediction_config_to_kv(config)
        except LMStudioValueError as error:
            raise HttpError("invalid_request", str(error), code="invalid_value") from None
        stack = override_stack(kv)
        given = self.core.prediction_config(stack, preset=preset, is_raw=is_raw)
        result = type(given)({**given.fields, **fields}, is_raw=is_raw)
        if result.draft_model_key:
            try:
                self.core.instances.resolve("llm", result.draft_model_key)
            except RequestError as error:
                refusal = as_http_error(error, "draft_model")
                refusal.param = "draft_model"
                raise refusal from None
        return result

    async def chat(
        self,
        model: Instance,
        messages: Sequence[AnyChatMessage],
        config: PredictionConfig,
        *,
        beginning: str = "",
    ) -> Prompt:
        """The prompt for *messages*. The model goes on with *beginning*, which is not part of the reply.

        Raises:
            RequestError: the model cannot be shown what is in them.
        """
        history = await with_contents(self.core.files, CLIENT, ChatHistoryData(messages=list(messages)), model.file)
        prompt = chat_prompt(model.model, history, config)
        return ContinuedPrompt(prompt, config, beginning) if beginning else prompt

    def raw_text(self, text: str) -> Prompt:
        """The prompt that is *text*, with no template."""
        return RawPrompt(text)

    @asynccontextmanager
    async def running(
        self,
        model: Instance,
        config: PredictionConfig,
        prompt: Prompt,
        *,
        is_one_call: bool = False,
        is_streamed: bool = False,  # noqa: ARG002 (here it takes as long as it takes)
    ) -> AsyncIterator[LocalRunning]:
        """As `Backend.running`."""
        prediction = LocalRunning(self.core, model, config, prompt, is_one_call=is_one_call)
        try:
            yield prediction
        finally:
            await prediction.stop()

    async def count_tokens(self, model: Instance, prompt: Prompt) -> int:
        """How many tokens *prompt* has."""
        return len(await model.model.tokenize(await prompt.text()))

    async def embed(self, model: Instance, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """The embeddings of *texts*, and how many tokens they have altogether."""

        async def one(text: str) -> tuple[list[float], int]:
            return await model.model.embed(text), len(await model.model.tokenize(text))

        with self.core.instances.use(model, "computingEmbedding"):
            results = await all_of(one, texts)
        total = sum(count for _, count in results)
        observed().embedded(model.file.model_key, total)
        return [vector for vector, _ in results], total


class LocalRunning(Running):
    """A prediction in progress: its packets, as they come."""

    def __init__(
        self, core: ServerCore, instance: Instance, config: PredictionConfig, prompt: Prompt, *, is_one_call: bool
    ) -> None:
        self._instance = instance
        self._is_one_call = is_one_call
        self._has_call = False
        self._has_content = False
        self._observer = observed().predicting(instance.file.model_key)
        self._packets: deque[Packet] = deque()
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._prediction = Prediction(core.instances, instance, config, prompt, self, core.clock)
        self.task: asyncio.Task[LlmPredictionStats] = asyncio.ensure_future(self._prediction.run())
        self.task.add_done_callback(lambda _: self._filled.set())

    # What the prediction calls ---------------------------------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """Keep *packet* until it is asked for."""
        if self._has_call:
            return
        self._packets.append(packet)
        if not self._has_content and not isinstance(packet, LlmChannelPredictToClientPacketPromptProcessingProgress):
            self._has_content = True
            self._observer.first_content()
        if self._is_one_call and isinstance(packet, LlmChannelPredictToClientPacketToolCallGenerationEnd):
            self._has_call = True
            self._prediction.cancel()
        self._filled.set()
        if len(self._packets) > _BUSY_PACKETS:
            self._has_room.clear()

    async def drain(self) -> None:
        """Wait while the packets are not taken."""
        if not self._has_room.is_set():
            await self._has_room.wait()

    # What the surface calls ------------------------------------------------------------------------------------------

    async def packets(self) -> AsyncIterator[list[Packet]]:
        """All packets, those that wait together at once, to the end of the prediction.

        Raises:
            RequestError, EngineError: it failed.
        """
        while True:
            await self._filled.wait()
            self._filled.clear()
            is_over = self.task.done()
            batch = list(self._packets)
            self._packets.clear()
            self._has_room.set()
            if batch:
                yield batch
            if is_over:
                self._check_end()
                return

    async def wait_for_first(self, *, is_progress_enough: bool = False) -> None:
        """Wait for the first packet that the model has written. What can be refused, is refused before.

        With *is_progress_enough* until it begins to read, for which the prompt has to fit.

        Raises:
            RequestError, EngineError: it failed.
        """
        while not self.task.done() and all(
            not is_progress_enough and isinstance(packet, LlmChannelPredictToClientPacketPromptProcessingProgress)
            for packet in self._packets
        ):
            self._filled.clear()
            await self._filled.wait()
        self._filled.set()
        if self.task.done():
            self.task.result()

    def _check_end(self) -> None:
        """Raise what the prediction raised, or what its end means to a client that is only told of good ones."""
        if self.task.result().stop_reason in ("modelUnloaded", "failed"):
            message = f"The model {self._instance.identifier!r} was unloaded during the request. Send it again."
            raise HttpError("internal", message, code="model_unloaded")

    @property
    def stats(self) -> LlmPredictionStats:
        """The statistics, once the packets have ended."""
        stats = self.task.result()
        is_ended_by_call = self._has_call and stats.stop_reason == "userStopped"
        return msgspec.structs.replace(stats, stop_reason="toolCalls") if is_ended_by_call else stats

    async def stop(self) -> None:
        """End the prediction, if it has not ended."""
        self._prediction.cancel()
        self._has_room.set()
        has_failed = True
        try:
            await asyncio.wait((self.task,))
            # Asked for here, because nobody else may.
            has_failed = self.task.cancelled() or self.task.exception() is not None
        finally:
            self._observer.ended(None if has_failed else self.stats)
