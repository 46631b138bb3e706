"""LM Studio, behind the gateway: its connections, and its models."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from lmstudio._async_io import AsyncClientState
from lmstudio._auth import NO_SECRET
from lmstudio._endpoints import embedding, llm
from lmstudio._endpoints.system import VERSION
from lmstudio._ops.loading import LoadRequest, LoadWatch, get_or_load
from lmstudio._ops.models import list_loaded
from lmstudio._ops.system import list_downloaded_models
from lmstudio._retries import NO_RETRIES
from lmstudio._sdk_models import KvConfigStack, ModelSpecifierInstanceReference
from lmstudio._settings import connection_settings
from lmstudio._timeouts import Timeout
from lmstudio.errors import LMStudioModelNotFoundError
from lmstudio.gateway.idle_connections import IdleConnections
from lmstudio.gateway.rules import Offer
from lmstudio.logs import fields, get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from lmstudio._async_io import AsyncRuntime
    from lmstudio._endpoints.models import ModelEndpoints
    from lmstudio._port import Port
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.engine.base import ModelKind

__all__ = ["FoundModel", "Upstream", "UpstreamModel"]

ResultT = TypeVar("ResultT")

_logger = get_logger("gateway")

_ENDPOINTS: Final[Mapping[ModelKind, ModelEndpoints[Any]]] = {"llm": llm.MODELS, "embedding": embedding.MODELS}


@dataclass(frozen=True)
class UpstreamModel:
    """An instance that LM Studio has loaded."""

    info: Any
    """`LlmInstanceInfo` or `EmbeddingModelInstanceInfo`."""

    @property
    def identifier(self) -> str:
        """Its name."""
        identifier: str = self.info.identifier
        return identifier

    @property
    def target(self) -> ModelSpecifierInstanceReference:
        """This instance and no other, whatever is loaded under its name meanwhile."""
        return ModelSpecifierInstanceReference(instance_reference=self.info.instance_reference)

    @property
    def offer(self) -> Offer:
        """It, as requests may name it."""
        return Offer(self.info.model_key, self.info.path, self.identifier)


@dataclass(frozen=True)
class FoundModel(UpstreamModel):
    """The model of a request."""

    find: Callable[[], Awaitable[UpstreamModel]]
    """Finds it once more."""

    async def again(self, error: LMStudioModelNotFoundError) -> UpstreamModel:
        """The model after *error*: LM Studio may have begun anew, or loaded it anew, since it was found.

        Raises:
            LMStudioModelNotFoundError: it is not there any more, or its name means another model now.
            HttpError: there is no model of this name.
        """
        model = await self.find()
        is_same = (model.identifier, model.offer.key) == (self.identifier, self.offer.key)
        if not is_same or model.target == self.target:
            raise error
        return model

    async def ask(self, work: Callable[[UpstreamModel], Awaitable[ResultT]]) -> ResultT:
        """What *work* makes of this model."""
        try:
            return await work(self)
        except LMStudioModelNotFoundError as error:
            return await work(await self.again(error))


class Upstream:
    """One LM Studio. There is one connection for each namespace, opened when it is needed, also after a loss."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises LMStudioValueError if the settings cannot be used."""
        self._limits = Timeout(
            connect=settings.connect_timeout_seconds, idle=settings.timeout_seconds, total=settings.timeout_seconds
        )
        connection = connection_settings(
            settings=settings.client_settings(),
            api_host=None,
            api_token=NO_SECRET,
            client_identifier=None,
            client_passkey=NO_SECRET,
            logger=None,
            ssl_context=None,
            proxy=NO_SECRET,
            timeout=msgspec.structs.replace(self._limits, total=None),
            retry=NO_RETRIES,  # clients are told at once, and know best what is worth another attempt
            on_unknown=None,
        )
        self._state = AsyncClientState(connection)
        self._idle = IdleConnections(settings.keep_alive_seconds, settings.max_idle_connections)

    def port(self, namespace: str, *, is_limited: bool = True) -> Port:
        """The connection of *namespace*, for one operation; with *is_limited* it has its time as a whole."""
        runtime = self._runtime(namespace)
        port = runtime.port(namespace)
        return port.within(self._limits if is_limited else None)

    def _runtime(self, namespace: str) -> AsyncRuntime:
        runtime = self._state.runtime()
        runtime.links.notice_loss(namespace)  # what has come back is used, and not found lost by the first request
        self._idle.note_use(namespace, runtime.links)
        return runtime

    async def loaded(self, kind: ModelKind) -> list[UpstreamModel]:
        """The loaded instances."""
        return [UpstreamModel(info) for info in await list_loaded(self.port(kind), _ENDPOINTS[kind])]

    async def downloaded(self, kind: ModelKind) -> list[Offer]:
        """What could be loaded."""
        models = await list_downloaded_models(self.port("system"))
        return [Offer(model.model_key, model.path) for model in models if model.type == kind]

    async def load(self, kind: ModelKind, key: str, ttl_seconds: float | None) -> UpstreamModel:
        """The instance of the model *key*, loaded if there is none."""
        began = monotonic()
        request = LoadRequest(key, KvConfigStack(layers=[]), ttl_seconds).check()
        info = await get_or_load(self.port(kind, is_limited=False), _ENDPOINTS[kind], request, LoadWatch(verbose=True))
        seconds = monotonic() - began
        _logger.info("%s was loaded in %.1f s", key, seconds, extra=fields(model=key, seconds=seconds))
        return UpstreamModel(info)

    async def version(self) -> str:
        """Which LM Studio it is."""
        return (await self.port("system").call(VERSION, None, "get the version")).version

    async def aclose(self) -> None:
        """Close all connections; what is running on them fails."""
        self._idle.stop()
        await self._state.aclose()
