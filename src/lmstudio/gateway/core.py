"""The gateway without sockets: a provider, and OpenAI's and Anthropic's surfaces in front of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lmstudio.logs import fields, get_logger
from lmstudio.server.auth import IssuedCredentials
from lmstudio.server.errors import ServerStartError
from lmstudio.server.http.errors import OPENAI, HttpError, surface_of
from lmstudio.server.http.observer import Figure
from lmstudio.server.http.routes import INFERENCE_PATHS, HttpPath, path_routes

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from lmstudio.gateway.provider import Provider
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.http.errors import Surface
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.observer import Observer
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["GatewayCore"]

_logger = get_logger("gateway")

_OPENAI: Final = replace(OPENAI, statuses={})
"""LM Studio has 400 for a model that is not there; who comes to a gateway expects 404, as from OpenAI."""
_RETRY_SECONDS: Final = 5.0
"""Between two attempts to load a model ahead, as long as LM Studio is not there."""


class GatewayCore:
    """Answers for LM Studio, and keeps nothing: any number of gateways may stand side by side.

    Belongs to one event loop from its first request on. Close it with `aclose`.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises LMStudioValueError if the settings cannot be used."""
        self.settings = settings
        self.provider: Provider = _new_provider(settings)
        self.credentials: IssuedCredentials = IssuedCredentials()
        self._preloading: asyncio.Task[None] | None = None

    def tell(self, observer: Observer) -> None:
        """Let *observer* hear of loads, and see how the provider is."""
        self.provider.tell(observer)
        observer.add_figures(self._figures)

    async def _figures(self) -> list[Figure]:
        status = await self.provider.status()
        return [
            Figure("upstream_up", "1 if LM Studio behind the gateway can be used, else 0.", status.problem is None),
            Figure("upstream_models_loaded", "Models that it has in memory.", status.models_loaded),
        ]

    async def prepare(self) -> None:
        """Load what is to be loaded before requests are taken.

        If LM Studio is not there, that is done when it is, while requests are answered already.

        Raises:
            ServerStartError: LM Studio does not have such a model, or cannot load it.
        """
        if self.settings.preload and not await self._preload():
            self._preloading = asyncio.ensure_future(self._preload_later())

    async def _preload(self) -> bool:
        """Load them; False if LM Studio is not there."""
        for name in self.settings.preload:
            try:
                identifier = await self.provider.load(name)
            except HttpError as error:
                if error.reason in ("bad_gateway", "gateway_timeout"):
                    text = "Could not load %s ahead; trying again in %g s: %s"
                    _logger.warning(text, name, _RETRY_SECONDS, error.detail, extra=fields(model=name))
                    return False
                raise ServerStartError(f"Could not load {name!r} ahead (setting preload): {error.detail}") from error
            _logger.info("%s is loaded, as %s", name, identifier, extra=fields(model=identifier))
        return True

    async def _preload_later(self) -> None:
        try:
            while True:
                await asyncio.sleep(_RETRY_SECONDS)
                if await self._preload():
                    return
        except ServerStartError as error:
            _logger.error("%s", error, extra=fields())

    # What the listener serves ----------------------------------------------------------------------------------------

    def handlers(self, namespace: str) -> None:
        """The native protocol is LM Studio's own."""

    def http_routes(self, settings: HttpSettings) -> list[BaseRoute]:
        """What the gateway answers over HTTP."""
        own = replace(
            settings,
            max_body_bytes=self.settings.max_body_bytes,
            max_queued_requests=self.settings.max_queued_requests,
            usage_in_last_chunk=True,
            page=False,
        )
        return path_routes((HttpPath("GET", "/health", self._health), *INFERENCE_PATHS), self.provider, own, _surface)

    async def _health(self, exchange: Exchange, _: None) -> None:
        """How the gateway and its provider are, for monitors; 503 if requests cannot be answered."""
        status = await self.provider.status()
        settings, is_usable = self.settings, status.problem is None
        provider: dict[str, Any] = {"name": settings.provider, "status": "ok" if is_usable else "unavailable"}
        if settings.provider != "mock":
            provider["base_url"] = settings.base_url
        if status.problem is not None:
            provider["error"] = status.problem
        uptime = self.provider.time() - self.provider.started_at
        body = {
            "status": "ok" if is_usable else "unavailable",
            "lmstudio_version": status.version,
            "api_version": "v1",
            "models_loaded": status.models_loaded,
            "uptime_ms": round(uptime * 1000),
            "provider": provider,
            "http": {
                "timeout_secs": settings.timeout_seconds,
                "connect_timeout_secs": settings.connect_timeout_seconds,
                "keep_alive_secs": settings.keep_alive_seconds,
                "max_idle_connections": settings.max_idle_connections,
            },
        }
        await exchange.reply(body, 200 if is_usable else 503)

    # The end ---------------------------------------------------------------------------------------------------------

    async def wind_down(self, grace_seconds: float) -> None:
        """Begin nothing more, and end what is running; its clients are told, within *grace_seconds*."""
        ending = self.provider.work.begin_stop()
        if ending and grace_seconds > 0:
            _logger.info("Ending %d requests", len(ending), extra=fields())
            await asyncio.wait(ending, timeout=grace_seconds)

    async def aclose(self) -> None:
        """Close all connections to LM Studio."""
        if self._preloading is not None:
            self._preloading.cancel()
            await asyncio.wait((self._preloading,))
        await self.provider.aclose()


def _new_provider(settings: GatewaySettings) -> Provider:
    if settings.provider == "mock":
        from lmstudio.gateway.mock import MockBackend

        return MockBackend(settings)
    if settings.provider == "http":
        from lmstudio.gateway.http_backend import HttpBackend

        return HttpBackend(settings)
    from lmstudio.gateway.upstream_backend import UpstreamBackend

    return UpstreamBackend(settings)


def _surface(path: str) -> Surface:
    surface = surface_of(path)
    return _OPENAI if surface is OPENAI else surface
