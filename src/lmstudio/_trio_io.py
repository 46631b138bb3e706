"""The asynchronous runtime under trio. Imported where trio runs, and nowhere else: it is no dependency.

Connections and tools are system tasks: they belong to no nursery of the user, so a client needs no `async with`, and
the end of `trio.run` cancels them. What such a task raises would end the whole run, so none of them raises anything.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ._async_io import AsyncRuntime, start_work
from ._runtime import Inbox
from ._tool_runner import TaskToolRunner, ToolJob, ToolOutcome, timed_out, was_cancelled
from ._transfer import LoopHooks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from ._runtime import Delivery
    from ._settings import ConnectionSettings
    from ._timeouts import CallLimits
    from ._tool_runner import ToolRunner

T = TypeVar("T")


class TrioInbox(Inbox):
    """Suspends the consuming task while it is empty."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        super().__init__()
        self._waiters = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        if self._waiters:
            self._waiters.unpark_all()

    async def get(self, limits: CallLimits | None = None) -> Delivery:
        # Half a checkpoint: a reader of many fragments can be cancelled at each of them, but others get their turn only
        # when it has to wait. That is soon, because nothing arrives before.
        await trio.lowlevel.checkpoint_if_cancelled()
        return await super().get(limits)

    async def pause(self, seconds: float | None) -> None:
        if seconds is None:
            await self._waiters.park()
        else:
            with trio.move_on_after(max(seconds, 0.0)):
                await self._waiters.park()


def trio_hooks(token: trio.lowlevel.TrioToken) -> LoopHooks:
    """`loop_hooks` of the run that *token* belongs to."""

    def defer(action: Callable[[], None]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(_call_logged, action)

    @trio.lowlevel.enable_ki_protection  # Ctrl-C must not leave the state of the protocol half changed
    def post(action: Callable[[], None]) -> None:
        # Not while the scheduler itself runs: a finaliser may be called anywhere.
        if _running_token() is token:
            action()
        else:
            defer(action)

    def watch(own: socket.socket, readable: Callable[[], None]) -> Callable[[], object]:
        scope = trio.CancelScope()

        async def read() -> None:
            with scope:
                while not scope.cancel_called:  # the socket may be closed by then
                    await trio.lowlevel.wait_readable(own)
                    readable()

        _spawn(read())
        return scope.cancel

    def is_running() -> bool:
        try:
            token.run_sync_soon(_nothing, idempotent=True)
        except trio.RunFinishedError:
            return False
        return True

    return LoopHooks(_spawn, defer, post, watch, is_running, lambda: not is_running())


def _running_token() -> trio.lowlevel.TrioToken | None:
    try:
        trio.lowlevel.current_task()
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None


def _spawn(work: Coroutine[Any, Any, None]) -> None:
    trio.lowlevel.spawn_system_task(_await_logged, work)


async def _await_logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except BaseException as error:
        if _is_cancellation(error):
            raise
        _log_failure(work, error)


def _is_cancellation(error: BaseException) -> bool:
    """Whether it says only that the run ends. Tasks beneath that end together are a group of such errors."""
    together = getattr(error, "exceptions", None)
    return isinstance(error, trio.Cancelled) if together is None else all(map(_is_cancellation, together))


def _call_logged(action: Callable[[], None]) -> None:
    try:
        action()
    except BaseException as error:
        _log_failure(action, error)


def _log_failure(what: object, error: BaseException) -> None:
    logging.getLogger("lmstudio.websocket").error("%r failed, which should never happen.", what, exc_info=error)


def _nothing() -> None:
    pass


class TrioRuntime(AsyncRuntime):
    """In a run of trio."""

    def __init__(self, settings: ConnectionSettings, token: trio.lowlevel.TrioToken) -> None:
        super().__init__(settings, trio_hooks(token))

    def new_inbox(self) -> TrioInbox:
        return TrioInbox()

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        return TrioToolRunner(limit, self.post)

    async def offload(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]:
        running = start_work(work)
        done = trio.Event()
        running.add_done_callback(lambda _: self.post(done.set))

        async def result() -> T:
            await done.wait()
            return running.result()

        return result


class TrioToolRunner(TaskToolRunner):
    """In a run of trio."""

    def __init__(self, limit: int | None, post: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(limit, post)
        self._scopes: dict[ToolJob, trio.CancelScope] = {}
        """Of those that have not ended, also when they are over their time limit."""
        self._all_ended = trio.Event()

    def _run(self, job: ToolJob) -> None:
        self._scopes[job] = trio.CancelScope()
        # The thread of a plain function is in the context itself while this task goes on.
        trio.lowlevel.spawn_system_task(_await_logged, self._follow(job), context=job.context.copy())

    async def _follow(self, job: ToolJob) -> None:
        try:
            async with trio.open_nursery() as nursery:
                if job.timeout is not None:
                    nursery.start_soon(self._expire, job, job.timeout)
                self._end(job, await self._outcome(job))
                nursery.cancel_scope.cancel()
        finally:
            del self._scopes[job]
            if not self._scopes:
                self._all_ended.set()

    async def _outcome(self, job: ToolJob) -> ToolOutcome:
        try:
            with self._scopes[job]:
                outcome = ToolOutcome(job.call()) if job.is_coroutine else await self._in_thread(job)
                return ToolOutcome(await outcome.value) if hasattr(outcome.value, "__await__") else outcome
        except BaseException as error:  # also SystemExit: it must not end the loop, which is not the tool's
            if _is_cancellation(error):  # not by us, which is over here
                raise
            return ToolOutcome(error=error)
        return was_cancelled()

    async def _expire(self, job: ToolJob, seconds: float) -> None:
        await trio.sleep(seconds)
        self._end(job, timed_out(job))
        self._scopes[job].cancel()

    def _cancel_coroutines(self) -> None:
        for job, scope in self._scopes.items():
            if job.is_coroutine:
                scope.cancel()

    async def join(self) -> None:
        # Those who wait for it have been cancelled perhaps, and trio would not let them wait then.
        with trio.CancelScope(shield=True):
            while self._scopes:
                self._all_ended = trio.Event()
                await self._all_ended.wait()
