"""A server behind the gateway that is asked over HTTP: its connections, and its models."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from lmstudio._auth import NO_SECRET
from lmstudio._http_models.model_lists import ListModelsFilter
from lmstudio._retries import NO_RETRIES
from lmstudio._timeouts import Timeout
from lmstudio.errors import LMStudioError, LMStudioServerError
from lmstudio.gateway.rules import Offer
from lmstudio.http._async_io import AsyncConnections
from lmstudio.http._health import get_health
from lmstudio.http._openai import EMBEDDINGS, is_no_such_path, list_details, list_models
from lmstudio.http._options import http_options
from lmstudio.http.async_anthropic import COUNT_TOKENS
from lmstudio.http.async_rest_v1 import LOAD, LOADING
from lmstudio.logs import fields, get_logger

if TYPE_CHECKING:
    from lmstudio._http_models import JsonObject
    from lmstudio._http_models.anthropic import CountTokensRequest, TokensCount
    from lmstudio._http_models.openai import EmbeddingResponse
    from lmstudio._sdk_models import LlmPredictionStats
    from lmstudio.gateway.http_packets import PacketReader
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.http._caller import HttpEndpoint
    from lmstudio.http._streams import OpenStream
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.output import Packet

__all__ = ["HttpModel", "HttpUpstream", "ListedModel"]

_logger = get_logger("gateway")


class ListedModel(NamedTuple):
    """A model of the server's list."""

    offer: Offer
    kind: ModelKind | None
    """None where the list does not say."""
    vision: bool | None = None
    """Whether it understands images; None where the list does not say."""

    def may_be(self, kind: ModelKind) -> bool:
        """Whether it can be used as one of *kind*."""
        return self.kind in (None, kind)


@dataclass(frozen=True)
class HttpModel:
    """The model of a request."""

    key: str
    """What the list calls it."""
    identifier: str
    """What to call it in requests."""
    is_loaded: bool
    """Else the server loads it when it is used, once for all requests, and forgets it after its time to live."""
    vision: bool | None
    others: frozenset[str]
    """The names of the other models."""
    ttl_seconds: float | None
    """How long the server is to keep it, if the request has to load it."""


class HttpUpstream:
    """One server. Connections are opened when they are needed, and kept for a time."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises LMStudioValueError if the settings cannot be used."""
        self._limits = Timeout(
            connect=settings.connect_timeout_seconds, idle=settings.timeout_seconds, total=settings.timeout_seconds
        )
        # No server takes long to list its models. One that does not answer is to be found out as soon as one that
        # cannot be connected to.
        self._listing = msgspec.structs.replace(
            self._limits, total=min(settings.connect_timeout_seconds, settings.timeout_seconds)
        )
        options, _ = http_options(
            base_url=None,
            api_key=NO_SECRET,
            timeout=msgspec.structs.replace(self._limits, total=None),
            retry=NO_RETRIES,  # clients are told at once, and know best what is worth another attempt
            settings=settings.client_settings(),
            ssl_context=None,
            proxy=NO_SECRET,
            logger=None,
        )
        options = msgspec.structs.replace(
            options,
            keep_alive_seconds=settings.keep_alive_seconds,
            max_idle_connections=settings.max_idle_connections,
        )
        self._connections = AsyncConnections(options, None, None)
        self._caller = options.caller(self._connections)
        self._has_details: bool | None = None
        """Whether there is the list of LM Studio's API v0; None as long as that is not known."""

    def stream(
        self,
        endpoint: HttpEndpoint[Any],
        body: JsonObject,
        reader: PacketReader[Any],
        model: HttpModel,
        *,
        is_limited: bool,
    ) -> OpenStream[list[Packet], LlmPredictionStats]:
        """A prediction, not begun yet; with *is_limited* it has its time as a whole."""
        streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
        limits = self._limits if is_limited else None
        return self._caller.stream(endpoint, streamed, reader, timeout=limits if model.is_loaded else LOADING)

    async def embed(self, body: JsonObject, model: HttpModel) -> EmbeddingResponse:
        """The embeddings that *body* asks for."""
        return await self._caller.call(EMBEDDINGS, body, timeout=self._limits if model.is_loaded else LOADING)

    async def count_tokens(self, request: CountTokensRequest) -> TokensCount | None:
        """How many tokens a chat has; None if the server does not count them."""
        try:
            return await self._caller.call(COUNT_TOKENS, request, timeout=self._limits)
        except LMStudioServerError as error:
            if is_no_such_path(error):
                return None
            raise

    async def models(self) -> list[ListedModel]:
        """All models of the server's list. Where that does not say which ones are loaded, all of them can be used."""
        try:
            if self._has_details is not False:
                details = await list_details(self._caller, self._listing)
                self._has_details = details is not None
                if details is not None:
                    return [_listed(model.id, model.type, model.state) for model in details.data]
            models = await list_models(self._caller, ListModelsFilter(), self._listing)
        except LMStudioError:
            self._has_details = None  # who comes back may be another server
            raise
        return [ListedModel(Offer(model.id, model.id, model.id), None) for model in models]

    async def load(self, key: str) -> str | None:
        """Load the model *key*, once more if it is loaded; the identifier of the instance.

        None if the server cannot be told to.
        """
        began = monotonic()
        try:
            reply = await self._caller.call(LOAD, {"model": key}, timeout=LOADING)
        except LMStudioServerError as error:
            if is_no_such_path(error):
                return None
            raise
        seconds = monotonic() - began
        _logger.info("%s was loaded in %.1f s", key, seconds, extra=fields(model=key, seconds=seconds))
        return reply.instance_id

    async def version(self) -> str | None:
        """Which LM Studio it is, if it says so."""
        return (await get_health(self._caller)).lmstudio_version

    async def aclose(self) -> None:
        """Close all connections; what is running on them fails."""
        await self._connections.aclose()


def _listed(name: str, model_type: str, state: str) -> ListedModel:
    offer = Offer(name, name, name if state == "loaded" else None)
    if model_type == "embeddings":
        return ListedModel(offer, "embedding")
    return ListedModel(offer, "llm", model_type == "vlm")
