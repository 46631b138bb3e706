"""Which connections to LM Studio are kept that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmstudio._ws import LinkManager

__all__ = ["IdleConnections"]


class IdleConnections:
    """Closes them after a time, and the oldest at once if there are too many. The next request opens another."""

    def __init__(self, keep_seconds: float, most: int) -> None:
        self._keep_seconds = keep_seconds
        self._most = most
        self._used: dict[str, float] = {}
        """When each namespace was used last, the longest ago first."""
        self._timer: asyncio.TimerHandle | None = None

    def note_use(self, namespace: str, links: LinkManager) -> None:
        """The connection of *namespace* is used now."""
        loop = asyncio.get_running_loop()
        self._used.pop(namespace, None)
        idle = [name for name in self._used if links.is_idle(name)]
        for name in idle[: max(0, len(idle) + 1 - max(1, self._most))]:
            self._close(name, links)
        self._used[namespace] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._keep_seconds, self._look, loop, links)

    def stop(self) -> None:
        """Close none any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop, links: LinkManager) -> None:
        now = loop.time()
        for name, used in list(self._used.items()):
            if not links.is_idle(name):
                self._used[name] = now  # as long as it works, or is being opened
            elif now - used >= self._keep_seconds:
                self._close(name, links)
        self._timer = loop.call_later(self._keep_seconds, self._look, loop, links) if self._used else None

    def _close(self, namespace: str, links: LinkManager) -> None:
        del self._used[namespace]
        links.close_soon(namespace)
