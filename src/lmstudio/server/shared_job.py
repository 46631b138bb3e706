"""Work in progress that several wait for: loads and downloads."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

__all__ = ["JobTicket", "SharedJob"]

EventT = TypeVar("EventT")
ResultT = TypeVar("ResultT")


class JobTicket(Generic[EventT, ResultT]):
    """The claim of one who waits for a job. A coroutine would not do: it can be cancelled before it has begun."""

    def __init__(self, job: SharedJob[EventT, ResultT], listener: Callable[[EventT], None]) -> None:
        self.listener = listener
        self._job = job
        self.waiter: asyncio.Task[Any] | None = None
        """Who awaits the result."""
        self.outcome: asyncio.Future[ResultT | None] = asyncio.get_running_loop().create_future()

    async def result(self) -> ResultT | None:
        """What the job made, once it is there; None after `cancel`. Cancelling this is as good as `cancel`.

        Raises:
            EngineError, RequestError: the job failed.
        """
        self.waiter = asyncio.current_task()
        try:
            return await self.outcome
        finally:
            self._job.leave(self)
            if not self.outcome.cancelled():
                self.outcome.exception()  # seen, even if a cancellation came at the same moment

    def cancel(self) -> None:
        """Wait no longer. Too late is no error."""
        if not self.outcome.done():
            self.outcome.set_result(None)
            self._job.leave(self)

    def settle(self, task: asyncio.Task[ResultT]) -> None:
        """Take over how the job ended."""
        if self.outcome.done():
            return
        if task.cancelled():
            self.outcome.cancel()
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


class SharedJob(Generic[EventT, ResultT]):
    """A job in progress, for everybody who waits for it. The last one to give up cancels it."""

    def __init__(self, work: Coroutine[Any, Any, ResultT]) -> None:
        self.is_abandoned: bool = False
        self._tickets: list[JobTicket[EventT, ResultT]] = []
        self._ticket_left = asyncio.Event()
        self.task: asyncio.Task[ResultT] = asyncio.ensure_future(work)
        self.task.add_done_callback(self._settle)

    def join(self, listener: Callable[[EventT], None]) -> JobTicket[EventT, ResultT]:
        """Wait, too; *listener* hears how far it is, and what comes."""
        ticket = JobTicket(self, listener)
        self._tickets.append(ticket)
        for event in self._so_far():
            listener(event)
        return ticket

    def leave(self, ticket: JobTicket[EventT, ResultT]) -> None:
        """Stop the job at once if *ticket* was the last one."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            self._ticket_left.set()
        if not self._tickets:
            self.abandon()

    @contextmanager
    def refusable(self) -> Iterator[None]:
        """What the block raises is why its caller does not join; without anybody else the job stops at once."""
        try:
            yield
        except BaseException:
            if not self._tickets:
                self.abandon()
            raise

    async def collected(self) -> None:
        """Wait until everybody who waited has the result, or has given up."""
        while self._tickets:
            self._ticket_left.clear()
            await self._ticket_left.wait()

    def abandon(self) -> None:
        """Stop the job at once, unless it is over."""
        if not self.task.done():
            self.is_abandoned = True
            self.task.cancel()

    def fail(self, error: Exception) -> set[asyncio.Task[Any]]:
        """Stop the job at once; all who wait for it get *error*. Their tasks, which go on with that."""
        waiting = tuple(self._tickets)
        for ticket in waiting:
            if not ticket.outcome.done():
                ticket.outcome.set_exception(error)
        self.abandon()
        return {ticket.waiter for ticket in waiting if ticket.waiter is not None}

    def _so_far(self) -> Iterable[EventT]:
        """What one who joins now has to hear."""
        raise NotImplementedError

    def _tell(self, event: EventT) -> None:
        for ticket in tuple(self._tickets):
            ticket.listener(event)

    def _settle(self, task: asyncio.Task[ResultT]) -> None:
        for ticket in self._tickets:
            ticket.settle(task)
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more
