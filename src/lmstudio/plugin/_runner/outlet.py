"""Where a task of a hook says something: heard until the task is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lmstudio._abort import AbortSignal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HookChannel", "Outlet"]


class HookChannel(Protocol):
    """The channel of a hook, as the self registration host opens it."""

    async def receive(self) -> Any:
        """The next packet."""

    def send(self, packet: Any, /) -> None:
        """Say something. From any thread, never waits."""

    def close(self) -> None:
        """Listen no more."""


class Outlet:
    """What one task sends with. What it says after its end is dropped: the host has forgotten it."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self.signal: AbortSignal = AbortSignal()
        """Aborted when the task is not wanted any more."""
        self._send = send
        self._is_over = False

    def send(self, packet: Any) -> None:
        """Pass *packet* on. From any thread, never waits."""
        if not self._is_over:
            self._send(packet)

    def end(self, packet: Any = None) -> None:
        """The last word of the task, if it has one."""
        if packet is not None:
            self.send(packet)
        self._is_over = True
