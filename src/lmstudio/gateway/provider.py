"""What answers behind the gateway: a backend that can say how it is, and be started and ended."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Final

from lmstudio._waiting import wait_within
from lmstudio.errors import LMStudioError
from lmstudio.gateway.rules import Rules
from lmstudio.gateway.upstream_errors import as_http
from lmstudio.gateway.upstream_loads import LoadCount
from lmstudio.server.http.backend import Backend
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.places import Places
from lmstudio.server.running import RunningWork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from lmstudio.gateway.rules import Offer
    from lmstudio.gateway.settings import GatewaySettings
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.http.observer import Observer

__all__ = ["Provider", "ProviderStatus", "RemoteProvider"]

_STATUS_SECONDS: Final = 2.0
"""For a monitor, that it takes longer is a problem as well."""
_NOT_THERE: Final = ("model_not_found", "missing_required_parameter")
"""Codes of errors that a load could help against."""


@dataclass(frozen=True)
class ProviderStatus:
    """How a provider is."""

    version: str | None
    """Of LM Studio; None where it is not reached, or does not say."""
    models_loaded: int
    problem: str | None = None
    """Why it cannot be used; None if it can."""


class Provider(Backend):
    """A backend of the gateway."""

    @abstractmethod
    async def status(self) -> ProviderStatus:
        """How it is. Takes a short time at most, and raises nothing."""

    @abstractmethod
    async def load(self, name: str) -> str:
        """Load the language or embedding model that *name* means, unless it is loaded. Returns its identifier.

        Raises:
            HttpError: that is not possible.
        """

    @abstractmethod
    def tell(self, observer: Observer) -> None:
        """Let *observer* hear of all loads."""

    @property
    @abstractmethod
    def work(self) -> RunningWork:
        """What is waited for when the gateway stops."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close all connections, or unload all models."""


class RemoteProvider(Provider):
    """A provider that asks another server."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._rules = Rules(settings)
        self._settings = settings
        self._places = Places()
        self._work = RunningWork()
        self._load_count = LoadCount()
        self._started_at = time()

    def tell(self, observer: Observer) -> None:
        """As `Provider.tell`."""
        self._load_count.observer = observer

    def time(self) -> float:
        """Seconds since the epoch."""
        return time()

    @property
    def started_at(self) -> float:
        """When the gateway began."""
        return self._started_at

    @property
    def work(self) -> RunningWork:
        """What is waited for when the gateway stops."""
        return self._work

    async def _choose(
        self, kind: ModelKind, name: str | None, offers: Callable[[bool], Awaitable[Sequence[Offer]]]
    ) -> Offer:
        """The model that a request gets, which may have to be loaded. *offers*, True for also what is not loaded.

        Raises:
            HttpError: there is none.
            LMStudioError: the server cannot be asked.
        """
        is_wide = self._settings.jit_loading
        try:
            return self._rules.choose(kind, name, await offers(is_wide))
        except HttpError as error:
            if is_wide or not self._settings.preload or error.code not in _NOT_THERE:
                raise
            # LM Studio may have begun anew, with nothing loaded. What was loaded ahead is to be there all the time.
            preloaded = self._rules.preloaded(await offers(True))
            with suppress(HttpError):
                return self._rules.choose(kind, name, preloaded)
            raise error from None

    async def status(self) -> ProviderStatus:
        """As `Provider.status`."""
        try:
            return await wait_within(self._look(), _STATUS_SECONDS)
        except LMStudioError as error:
            return ProviderStatus(None, 0, as_http(error).detail)
        except asyncio.TimeoutError:
            return ProviderStatus(None, 0, f"LM Studio has not answered within {_STATUS_SECONDS:g} seconds.")

    @abstractmethod
    async def _look(self) -> ProviderStatus:
        """How the server is.

        Raises:
            LMStudioError: it cannot be asked.
        """
