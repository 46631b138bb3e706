"""The backend that LM Studio is, over its native protocol."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lmstudio._endpoints.llm import APPLY_PROMPT_TEMPLATE
from lmstudio._kv_config import override_stack, prediction_config_to_kv
from lmstudio._kv_members import PREDICTION
from lmstudio._ops.prediction import RAW_COMPLETION, refuse_images
from lmstudio._ops.text import count_each, count_tokens, embed
from lmstudio._sdk_models import (
    ChatHistoryData,
    KvConfig,
    KvConfigField,
    KvConfigStack,
    LlmApplyPromptTemplateOpts,
    LlmChannelPredictCreationParameter,
    LlmRpcApplyPromptTemplateParameter,
    TextData,
    UserMessage,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.gateway.provider import ProviderStatus, RemoteProvider
from lmstudio.gateway.upstream import FoundModel, Upstream, UpstreamModel
from lmstudio.gateway.upstream_channel import PredictChannel
from lmstudio.gateway.upstream_errors import translated
from lmstudio.gateway.upstream_running import UpstreamRunning
from lmstudio.server.http.observer import observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio._sdk_models import AnyChatMessage
    from lmstudio.gateway.rules import Offer
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["UpstreamBackend"]

_STOP_STRINGS: Final = f"{PREDICTION}stopStrings"
_TOOLS: Final = f"{PREDICTION}tools"
_KINDS: Final[tuple[ModelKind, ...]] = ("llm", "embedding")


@dataclass(frozen=True)
class _Config:
    """How to predict."""

    stack: KvConfigStack
    preset: str | None


@dataclass(frozen=True)
class _Chat:
    """A chat to answer."""

    history: ChatHistoryData
    config: _Config


@dataclass(frozen=True)
class _Text:
    """A text to go on with, without a chat template."""

    text: str

    @property
    def history(self) -> ChatHistoryData:
        """The text as the protocol has it."""
        return ChatHistoryData(messages=[UserMessage(content=[TextData(text=self.text)])])


class UpstreamBackend(RemoteProvider):
    """Asks LM Studio, and hands over what it says."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(settings)
        self.upstream: Upstream = Upstream(settings)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.upstream.aclose()

    # Models ----------------------------------------------------------------------------------------------------------

    async def model_names(self) -> list[str]:
        """What is loaded, and if that is wanted what is downloaded.

        Raises:
            HttpError: LM Studio does not say.
        """
        is_wide = self._settings.list_downloaded or self._settings.jit_loading
        with translated():
            groups = await asyncio.gather(*(self._offers(kind, is_wide=is_wide) for kind in _KINDS))
        return [offer.name for offers, _ in groups for offer in self._rules.allowed(offers)]

    async def _offers(self, kind: ModelKind, *, is_wide: bool) -> tuple[list[Offer], list[UpstreamModel]]:
        """What a request may name, and the models of it that are loaded; *is_wide* with what is only downloaded."""
        # Asked for anew each time: it takes less than a millisecond, and a model may have come or gone.
        if not is_wide:
            models = await self.upstream.loaded(kind)
            return [model.offer for model in models], models
        models, downloaded = await asyncio.gather(self.upstream.loaded(kind), self.upstream.downloaded(kind))
        keys = {model.offer.key for model in models}
        return [model.offer for model in models] + [offer for offer in downloaded if offer.key not in keys], models

    @asynccontextmanager
    async def using_model(
        self, settings: HttpSettings, kind: ModelKind, name: str | None, *, ttl_seconds: float | None = None
    ) -> AsyncIterator[FoundModel]:
        """As `Backend.using_model`.

        Raises:
            HttpError: there is no such model, it is not allowed, or LM Studio cannot be used.
        """
        with self._places.place(settings.max_queued_requests) as place, self._work.track():
            place.take(name or self._settings.default_model or "")

            async def find() -> UpstreamModel:
                model = await self._model(kind, name, ttl_seconds)
                observed().model_found(model.key, model.identifier)
                return model

            model = await find()
            place.take(model.identifier)
            yield FoundModel(model.info, find)

    async def _model(self, kind: ModelKind, name: str | None, ttl_seconds: float | None) -> UpstreamModel:
        models: list[UpstreamModel] = []

        async def offers(is_wide: bool) -> list[Offer]:
            nonlocal models
            found, models = await self._offers(kind, is_wide=is_wide)
            return found

        with translated():
            return await self._loaded(kind, await self._choose(kind, name, offers), models, ttl_seconds)

    async def _loaded(
        self, kind: ModelKind, chosen: Offer, models: Sequence[UpstreamModel], ttl_seconds: float | None = None
    ) -> UpstreamModel:
        """The one of *models* that was chosen, else it is loaded."""
        for model in models:
            if model.identifier == chosen.identifier:
                return model
        with self._load_count.waiting(chosen.key):
            return await self.upstream.load(kind, chosen.key, ttl_seconds)

    async def load(self, name: str) -> str:
        """As `Provider.load`."""
        with translated():
            downloaded = await asyncio.gather(*map(self.upstream.downloaded, _KINDS))
        # A name that fits no model at all is reported as one of a language model.
        kind: ModelKind = "embedding" if self._rules.fits(name, downloaded[1]) else "llm"
        with translated():
            offers, models = await self._offers(kind, is_wide=True)
            return (await self._loaded(kind, self._rules.choose(kind, name, offers), models)).identifier

    async def _look(self) -> ProviderStatus:
        upstream = self.upstream
        asked = asyncio.gather(upstream.version(), upstream.loaded("llm"), upstream.loaded("embedding"))
        version, llms, embedders = await asked
        return ProviderStatus(version, len(llms) + len(embedders))

    # Requests --------------------------------------------------------------------------------------------------------

    def configured(
        self,
        config: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        preset: str | None,
        is_raw: bool = False,
        request: SamplingRequest | None = None,  # noqa: ARG002 (the protocol has no place for anything else)
    ) -> _Config:
        """As `Backend.configured`.

        Raises:
            HttpError: a value is not valid.
        """
        with translated():
            kv = prediction_config_to_kv(self._rules.configured(config, fields, preset=preset))
        values = {item.key: item.value for item in kv.fields} | dict(fields)
        if is_raw:
            values = {_STOP_STRINGS: [], **values}  # a text is not to end where the model's template ends messages
        layer = [KvConfigField(key=key, value=value) for key, value in values.items()]
        return _Config(override_stack(KvConfig(fields=layer)), preset)

    async def chat(
        self, model: FoundModel, messages: Sequence[AnyChatMessage], config: _Config, *, beginning: str = ""
    ) -> _Chat | _Text:
        """As `Backend.chat`.

        Raises:
            HttpError: the model cannot be shown what is in them, or LM Studio cannot be used.
        """
        history = ChatHistoryData(messages=list(messages))
        with translated():
            if not model.info.vision:
                refuse_images(history, model.identifier)
            if not beginning:
                return _Chat(history, config)
            # The protocol has no answers that are begun already, but the text that the model sees can have one.
            if _field(config, _TOOLS) is not None:
                raise LMStudioValueError("An answer whose beginning is given cannot call tools: leave one of them out.")
            shown = await model.ask(partial(self._shown, _Chat(history, config)))
            return _Text(shown + beginning)

    async def _shown(self, chat: _Chat, model: UpstreamModel) -> str:
        """The text that the model sees."""
        tools = _field(chat.config, _TOOLS)
        parameter = LlmRpcApplyPromptTemplateParameter(
            specifier=model.target,
            history=chat.history,
            prediction_config_stack=chat.config.stack,
            opts=LlmApplyPromptTemplateOpts(tool_definitions=None if tools is None else tools["tools"]),
        )
        attempted = f"apply the prompt template of model {model.identifier!r}"
        return (await self.upstream.port("llm").call(APPLY_PROMPT_TEMPLATE, parameter, attempted)).formatted

    def raw_text(self, text: str) -> _Text:
        """The prompt that is *text*, with no template."""
        return _Text(text)

    @asynccontextmanager
    async def running(
        self,
        model: FoundModel,
        config: _Config,
        prompt: _Chat | _Text,
        *,
        is_one_call: bool = False,
        is_streamed: bool = False,
    ) -> AsyncIterator[UpstreamRunning]:
        """As `Backend.running`. Leaving the block tells LM Studio to stop, and waits for nothing."""
        layers = [*config.stack.layers, RAW_COMPLETION] if isinstance(prompt, _Text) else config.stack.layers
        port = self.upstream.port("llm", is_limited=not is_streamed)

        def start(model: UpstreamModel) -> PredictChannel:
            parameter = LlmChannelPredictCreationParameter(
                model_specifier=model.target,
                history=prompt.history,
                prediction_config_stack=KvConfigStack(layers=layers),
                fuzzy_preset_identifier=config.preset,
            )
            return PredictChannel(port, parameter, model.identifier, asyncio.get_running_loop())

        with translated():
            prediction = UpstreamRunning(start, model, is_one_call=is_one_call)
        with self._work.track(prediction.cancel):
            try:
                prediction.begin()
                yield prediction
            finally:
                prediction.stop()

    async def count_tokens(self, model: FoundModel, prompt: _Chat | _Text) -> int:
        """As `Backend.count_tokens`.

        Raises:
            HttpError: LM Studio cannot be used.
        """

        async def count(model: UpstreamModel) -> int:
            text = prompt.text if isinstance(prompt, _Text) else await self._shown(prompt, model)
            return await count_tokens(self.upstream.port("llm"), model.target, text)

        with translated():
            return await model.ask(count)

    async def embed(self, model: FoundModel, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """As `Backend.embed`.

        Raises:
            HttpError: LM Studio cannot be used.
        """
        port = self.upstream.port("embedding")

        async def embed_and_count(model: UpstreamModel) -> tuple[list[list[float]], list[int]]:
            return await asyncio.gather(embed(port, model.target, texts), count_each(port, model.target, texts))

        with translated():
            vectors, counts = await model.ask(embed_and_count)
        total = sum(counts)
        observed().embedded(model.key, total)
        return vectors, total


def _field(config: _Config, key: str) -> Any:
    """The value of the field *key*, None if it is not set."""
    return next((item.value for item in config.stack.layers[0].config.fields if item.key == key), None)
