"""Loads in progress: one for all who wait for the same model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.instances import Instance

__all__ = ["EvictedInstance", "LoadEvent", "LoadListener", "LoadTicket", "PendingLoad"]


@dataclass(frozen=True)
class EvictedInstance:
    """An instance had to make room for the one that is being loaded."""

    instance: Instance


LoadEvent: TypeAlias = float | EvictedInstance
"""Progress from 0 to 1, never decreasing, or an eviction."""
LoadListener: TypeAlias = Callable[[LoadEvent], None]


class LoadTicket:
    """The claim of one who waits for a load. A coroutine would not do: it can be cancelled before it has begun."""

    def __init__(self, load: PendingLoad, listener: LoadListener) -> None:
        self.listener = listener
        self.outcome: asyncio.Future[Instance | None] = asyncio.get_running_loop().create_future()
        self._load = load

    async def instance(self) -> Instance | None:
        """The instance, once it is there; None after `cancel`. Cancelling this is as good as `cancel`.

        Raises:
            EngineError, RequestError: the load failed.
        """
        try:
            return await self.outcome
        finally:
            self._load.leave(self)
            if not self.outcome.cancelled():
                self.outcome.exception()  # seen, even if a cancellation came at the same moment

    def cancel(self) -> None:
        """Wait no longer. Too late is no error."""
        if not self.outcome.done():
            self.outcome.set_result(None)
            self._load.leave(self)


class PendingLoad:
    """A load in progress, for everybody who waits for it. The last one to give up cancels it."""

    def __init__(
        self, identifier: str, file: ModelFile, load: Callable[[PendingLoad], Coroutine[Any, Any, Instance]]
    ) -> None:
        self.identifier = identifier
        self.file = file
        self.progress: float = 0.0
        self.is_abandoned: bool = False
        self._tickets: list[LoadTicket] = []
        self.task: asyncio.Task[Instance] = asyncio.ensure_future(load(self))
        self.task.add_done_callback(self._settle)

    def join(self, listener: LoadListener) -> LoadTicket:
        """Wait, too; *listener* hears of the progress from here on."""
        ticket = LoadTicket(self, listener)
        self._tickets.append(ticket)
        if self.progress:
            listener(self.progress)
        return ticket

    def leave(self, ticket: LoadTicket) -> None:
        """Stop the load at once if *ticket* was the last one."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
        if not self._tickets:
            self.abandon()

    def abandon(self) -> None:
        """Stop the load at once, unless it is over."""
        if not self.task.done():
            self.is_abandoned = True
            self.task.cancel()

    def report(self, event: LoadEvent) -> None:
        """Tell all who wait."""
        if isinstance(event, float):
            event = min(1.0, event)
            if event <= self.progress and self.progress:
                return
            self.progress = event
        for ticket in tuple(self._tickets):
            ticket.listener(event)

    def _settle(self, task: asyncio.Task[Instance]) -> None:
        error = None if task.cancelled() else task.exception()
        for ticket in self._tickets:
            if ticket.outcome.done():
                continue
            if task.cancelled():
                ticket.outcome.cancel()
            elif error is not None:
                ticket.outcome.set_exception(error)
            else:
                ticket.outcome.set_result(task.result())
