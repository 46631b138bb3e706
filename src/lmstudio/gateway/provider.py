"""What answers behind the gateway: a backend that can say how it is, and be started and ended."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lmstudio.server.http.backend import Backend

if TYPE_CHECKING:
    from lmstudio.server.http.observer import Observer
    from lmstudio.server.running import RunningWork

__all__ = ["Provider", "ProviderStatus"]


@dataclass(frozen=True)
class ProviderStatus:
    """How a provider is."""

    version: str | None
    """Of LM Studio; None where it is not reached."""
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
