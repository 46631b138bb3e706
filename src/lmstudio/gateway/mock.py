"""The provider "mock": the scripted engine in place of LM Studio, under the same rules. It needs no model."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from lmstudio._version import __version__
from lmstudio.gateway.provider import Provider, ProviderStatus
from lmstudio.gateway.rules import Offer, Rules
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_models
from lmstudio.server.http.local_backend import LocalBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.observer import Observer
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Instance
    from lmstudio.server.running import RunningWork

__all__ = ["MockBackend"]


class MockBackend(LocalBackend, Provider):
    """Repeats the last words of the user, with two models that are always there."""

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(ServerCore(ScriptedEngine(), Catalog(scripted_models())))
        self._rules = Rules(settings)

    def tell(self, observer: Observer) -> None:
        """As `Provider.tell`."""
        self.core.instances.on_load = observer.loaded

    @property
    def work(self) -> RunningWork:
        """What is waited for when the gateway stops."""
        return self.core.work

    async def aclose(self) -> None:
        """Unload the models."""
        await self.core.aclose()

    def _offers(self) -> list[Offer]:
        # As if they were loaded, which the first request does.
        return [Offer(file.model_key, file.path, file.model_key) for file in self.core.catalog.models]

    def _kind_offers(self, kind: ModelKind) -> list[Offer]:
        keys = {file.model_key for file in self.core.catalog.models if file.kind == kind}
        return [offer for offer in self._offers() if offer.key in keys]

    async def model_names(self) -> list[str]:
        """The models that are allowed."""
        return [offer.name for offer in self._rules.allowed(self._offers())]

    @asynccontextmanager
    async def using_model(
        self, settings: HttpSettings, kind: ModelKind, name: str | None, *, ttl_seconds: float | None = None, **_: Any
    ) -> AsyncIterator[Instance]:
        """As `Backend.using_model`.

        Raises:
            HttpError: there is no such model, or it is not allowed.
        """
        chosen = self._rules.choose(kind, name, self._kind_offers(kind))
        async with super().using_model(settings, kind, chosen.key, ttl_seconds=ttl_seconds) as instance:
            yield instance

    def configured(
        self,
        config: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        preset: str | None,
        is_raw: bool = False,
        request: SamplingRequest | None = None,
    ) -> PredictionConfig:
        """As `Backend.configured`.

        Raises:
            HttpError, RequestError: a value is not valid.
        """
        given = self._rules.configured(config, fields, preset=preset)
        return super().configured(given, fields, preset=preset, is_raw=is_raw, request=request)

    async def load(self, name: str) -> str:
        """As `Provider.load`."""
        offers = self._kind_offers("embedding")
        kind: ModelKind = "embedding" if self._rules.fits(name, offers) else "llm"
        chosen = self._rules.choose(kind, name, self._kind_offers(kind))
        return (await self.core.instances.acquire(kind, chosen.key)).identifier

    async def status(self) -> ProviderStatus:
        """As `Provider.status`."""
        loaded = [*self.core.instances.loaded("llm"), *self.core.instances.loaded("embedding")]
        return ProviderStatus(__version__, len(loaded))
