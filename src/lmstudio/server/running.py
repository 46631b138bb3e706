"""Work in progress, and how it ends when the server stops: as a client expects it, not with its connection."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RunningWork", "StoppingError"]


class StoppingError(RequestError):
    """The request came while the server stops, or was given up for that."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.", suggestion="Try again when it is back.")


@dataclass(eq=False)
class _Work:
    """One piece of work."""

    cancel: Callable[[], object] | None
    task: asyncio.Task[Any] | None = field(default_factory=asyncio.current_task)
    """It has ended when the client has been told of the end."""


class RunningWork:
    """What a stopping server waits for. Belongs to one event loop."""

    def __init__(self) -> None:
        self.is_stopping: bool = False
        self._running: set[_Work] = set()

    @contextmanager
    def track(self, cancel: Callable[[], object] | None = None) -> Iterator[None]:
        """The body is work that a stopping server lets end: at once by *cancel*, or else by itself.

        It is to wait for the current task, that of the handler or of the request, which tells the client how it ended.

        Raises:
            StoppingError: nothing new may begin.
        """
        self.refuse_if_stopping()
        work = _Work(cancel)
        self._running.add(work)
        try:
            yield
        finally:
            self._running.discard(work)

    def refuse_if_stopping(self) -> None:
        """Raise StoppingError if nothing new may begin."""
        if self.is_stopping:
            raise StoppingError

    def begin_stop(self) -> set[asyncio.Task[Any]]:
        """Begin nothing more and cancel what can be cancelled; the tasks to wait for."""
        self.is_stopping = True
        for work in tuple(self._running):
            if work.cancel is not None:
                work.cancel()
        return {work.task for work in self._running if work.task is not None}
