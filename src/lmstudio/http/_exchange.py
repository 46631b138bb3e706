"""The seam below the callers: one request, one reply, and how a surface waits for them.

Coroutines here suspend in the asynchronous surface and block in the synchronous one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio.errors import ConnectionPhase

    from ._clock import CallClock


class OutgoingRequest(msgspec.Struct, frozen=True):
    """What is sent. The headers that all requests have, such as the token, are the connections' to add."""

    method: str
    url: str
    content: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


FailureKind = Literal["connect", "connect timeout", "no reply", "timeout", "broken reply", "closed"]
"""How far a request came: not to the server; sent, but nothing came back; not in time; part of the reply came; the
client was closed meanwhile."""


class ExchangeError(Exception):
    """A request that ended without a reply, or with a part of one. Never leaves the package."""

    def __init__(
        self,
        kind: FailureKind,
        reason: str,
        cause: BaseException | None = None,
        *,
        phase: ConnectionPhase | None = None,
        was_reused: bool = False,
        is_final: bool = False,
    ) -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason
        self.cause = cause
        self.phase: ConnectionPhase | None = phase
        self.was_reused = was_reused
        """The connection had served other requests before: the server may have closed it as idle."""
        self.is_final = is_final
        """It would be the same the next time."""


class IncomingReply(ABC):
    """A reply whose headers have come."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""

    @abstractmethod
    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end.

        Raises:
            ExchangeError: it broke off, or took too long.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""

    @abstractmethod
    def abandon(self) -> None:
        """Drop the connection at once, without waiting, from any thread: the server stops working for it."""


class Connections(ABC):
    """The connections of one client."""

    @abstractmethod
    async def send(self, request: OutgoingRequest, clock: CallClock) -> IncomingReply:
        """Send *request*; the reply, once its headers have come.

        Raises:
            ExchangeError: there is none.
        """

    @abstractmethod
    async def pause(self, seconds: float, clock: CallClock) -> None:
        """Wait before the next attempt; less if the call is cancelled."""
