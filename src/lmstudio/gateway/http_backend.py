"""The backend that another server is, over HTTP: LM Studio behind a proxy, another gateway, or any of OpenAI's API."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lmstudio._kv_config import prediction_config_to_kv
from lmstudio._openai_parameters import passed_on
from lmstudio._ops.prediction import refuse_images
from lmstudio._sdk_models import ChatHistoryData
from lmstudio.gateway.http_packets import ChatPackets, TextPackets
from lmstudio.gateway.http_request import HttpConfig, chat_body, count_body, text_body
from lmstudio.gateway.http_running import HttpRunning
from lmstudio.gateway.http_upstream import HttpModel, HttpUpstream
from lmstudio.gateway.provider import ProviderStatus, RemoteProvider
from lmstudio.gateway.upstream_errors import translated
from lmstudio.http._openai import CHAT, TEXT, vectors_of
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.observer import observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from lmstudio._http_models import JsonObject
    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio._sdk_models import AnyChatMessage
    from lmstudio.gateway.http_packets import PacketReader
    from lmstudio.gateway.http_upstream import ListedModel
    from lmstudio.gateway.rules import Offer
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.http._caller import HttpEndpoint
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["HttpBackend"]


@dataclass(frozen=True)
class _Chat:
    """A chat to answer."""

    messages: Sequence[AnyChatMessage]
    config: HttpConfig


@dataclass(frozen=True)
class _Text:
    """A text to go on with, without a chat template."""

    text: str


class HttpBackend(RemoteProvider):
    """Asks a server with OpenAI's API, and makes native packets of what it says, as the surfaces want them."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(settings)
        self.upstream: HttpUpstream = HttpUpstream(settings)

    async def aclose(self) -> None:
        """Close all connections."""
        await self.upstream.aclose()

    # Models ----------------------------------------------------------------------------------------------------------

    async def model_names(self) -> list[str]:
        """What is loaded, and if that is wanted what is not.

        Raises:
            HttpError: the server does not say.
        """
        is_wide = self._settings.list_downloaded or self._settings.jit_loading
        with translated():
            models = await self._models(is_wide=is_wide)
        return [offer.name for offer in self._rules.allowed([model.offer for model in models])]

    async def _models(self, kind: ModelKind | None = None, *, is_wide: bool) -> list[ListedModel]:
        """What a request may name; *is_wide* with what is not loaded."""
        models = await self.upstream.models()
        return [
            model for model in models if (is_wide or model.offer.identifier) and (kind is None or model.may_be(kind))
        ]

    @asynccontextmanager
    async def using_model(
        self, settings: HttpSettings, kind: ModelKind, name: str | None, *, ttl_seconds: float | None = None
    ) -> AsyncIterator[HttpModel]:
        """As `Backend.using_model`.

        Raises:
            HttpError: there is no such model, it is not allowed, or the server cannot be used.
        """
        with self._places.place(settings.max_queued_requests) as place, self._work.track():
            place.take(name or self._settings.default_model or "")
            model = await self._model(kind, name, ttl_seconds)
            place.take(model.identifier)
            yield model

    async def _model(self, kind: ModelKind, name: str | None, ttl_seconds: float | None) -> HttpModel:
        models: list[ListedModel] = []

        async def offers(is_wide: bool) -> list[Offer]:
            nonlocal models
            models = await self._models(kind, is_wide=is_wide)
            return [model.offer for model in models]

        with translated():
            chosen = await self._choose(kind, name, offers)
        listed = next(model for model in models if model.offer == chosen)
        others = frozenset(model.offer.name for model in models) - {chosen.name}
        observed().model_found(chosen.key, chosen.name)
        return HttpModel(chosen.key, chosen.name, chosen.identifier is not None, listed.vision, others, ttl_seconds)

    async def load(self, name: str) -> str:
        """As `Provider.load`."""
        with translated():
            models = await self.upstream.models()
            embedders = [model.offer for model in models if model.kind == "embedding"]
            # A name that fits no model at all is reported as one of a language model.
            kind: ModelKind = "embedding" if self._rules.fits(name, embedders) else "llm"
            chosen = self._rules.choose(kind, name, [model.offer for model in models if model.may_be(kind)])
            identifier = chosen.identifier
            if identifier is None:
                with self._load_count.waiting(chosen.key):
                    identifier = await self.upstream.load(chosen.key)
        if identifier is None:
            message = f"{chosen.key!r} is not loaded, and the server cannot be told to load it over HTTP."
            raise HttpError("not_implemented", message, param="model")
        return identifier

    async def _look(self) -> ProviderStatus:
        version, models = await asyncio.gather(self.upstream.version(), self._models(is_wide=False))
        return ProviderStatus(version, len(models))

    # Requests --------------------------------------------------------------------------------------------------------

    def configured(
        self,
        config: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        preset: str | None,
        is_raw: bool = False,  # noqa: ARG002 (that is another path)
        request: SamplingRequest | None = None,
    ) -> HttpConfig:
        """As `Backend.configured`.

        Raises:
            HttpError: a value is not valid.
        """
        chosen = self._rules.configured(config, fields, preset=preset)
        with translated():
            prediction_config_to_kv(chosen)  # refuses what no server could use
        return HttpConfig(chosen, fields, preset, {} if request is None else passed_on(request))

    async def chat(
        self, model: HttpModel, messages: Sequence[AnyChatMessage], config: HttpConfig, *, beginning: str = ""
    ) -> _Chat:
        """As `Backend.chat`.

        Raises:
            HttpError: the model cannot be shown what is in them.
        """
        if beginning:
            message = (
                "OpenAI's API, which is behind this gateway, has no answers that are begun already: leave the last "
                "message of the assistant out."
            )
            raise HttpError("invalid_request", message, param="messages", code="invalid_value")
        if model.vision is False:
            with translated():
                refuse_images(ChatHistoryData(messages=list(messages)), model.identifier)
        return _Chat(messages, config)

    def raw_text(self, text: str) -> _Text:
        """The prompt that is *text*, with no template."""
        return _Text(text)

    @asynccontextmanager
    async def running(
        self,
        model: HttpModel,
        config: HttpConfig,
        prompt: _Chat | _Text,
        *,
        is_one_call: bool = False,
        is_streamed: bool = False,
    ) -> AsyncIterator[HttpRunning]:
        """As `Backend.running`. Leaving the block closes the connection of a prediction in progress."""
        endpoint: HttpEndpoint[Any]
        reader: PacketReader[Any]
        if isinstance(prompt, _Text):
            endpoint, reader, body = TEXT, TextPackets(), text_body(prompt.text, config)
        else:
            endpoint, reader, body = CHAT, ChatPackets(), chat_body(prompt.messages, config)
        if is_one_call:
            body["parallel_tool_calls"] = False
        with translated():
            stream = self.upstream.stream(endpoint, _for_model(body, model), reader, model, is_limited=not is_streamed)
        prediction = HttpRunning(stream, reader, model, is_one_call=is_one_call)
        with self._work.track(prediction.cancel):
            try:
                prediction.begin()
                yield prediction
            finally:
                prediction.stop()

    async def count_tokens(self, model: HttpModel, prompt: _Chat | _Text) -> int:
        """As `Backend.count_tokens`.

        Raises:
            HttpError: the server does not count them, or cannot be used.
        """
        count = None
        if isinstance(prompt, _Chat):
            with translated():
                count = await self.upstream.count_tokens(count_body(model.identifier, prompt.messages, prompt.config))
        if count is None:
            message = (
                "The server behind this gateway does not count tokens: it has no /v1/messages/count_tokens. The reply "
                "to a request says in its usage how many there were."
            )
            raise HttpError("not_implemented", message)
        return count.input_tokens

    async def embed(self, model: HttpModel, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """As `Backend.embed`.

        Raises:
            HttpError: the server cannot be used.
        """
        with translated():
            reply = await self.upstream.embed(_for_model({"input": list(texts)}, model), model)
            vectors = vectors_of(reply, len(texts))
        total = 0 if reply.usage is None else reply.usage.total_tokens
        observed().embedded(model.key, total)
        return vectors, total


def _for_model(body: JsonObject, model: HttpModel) -> JsonObject:
    ttl = {} if model.ttl_seconds is None else {"ttl": model.ttl_seconds}
    return {**body, "model": model.identifier, **ttl}
