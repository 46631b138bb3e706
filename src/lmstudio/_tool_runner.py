"""Runs the tools of `act` beside the prediction that asks for them, a limited number at a time.

Under the asynchronous surface coroutine tools are tasks of the caller's loop and plain functions run in threads; under
the synchronous one every tool has a thread, and a coroutine tool an event loop in it. What happened is reported to
whoever waits, so that callbacks run in the caller's task or thread. Every tool sees the caller's context variables.

Threads are daemons, one per call, so that a function that outlives its time limit can be left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .errors import LMStudioCancelledError, LMStudioTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

# As in `_sync_io`: waits are cut into slices so that Ctrl-C gets through on every platform.
_SLICE_SECONDS = 0.5


class ToolJob:
    """One call of one tool."""

    def __init__(
        self, call_id: int, call: Callable[[], Any], *, is_coroutine: bool = False, timeout: float | None = None
    ) -> None:
        self.call_id = call_id
        self.call = call
        self.is_coroutine = is_coroutine
        self.timeout = timeout
        """Seconds from its start; None for no limit."""
        self.context: contextvars.Context = contextvars.copy_context()
        self.is_over = False
        """Reported: finished, or left alone after its time limit."""


class ToolStarted(NamedTuple):
    """A queued call has begun."""

    call_id: int


class ToolFinished(NamedTuple):
    """A call has ended, with a value or an error."""

    call_id: int
    value: Any = None
    error: BaseException | None = None


ToolReport: TypeAlias = ToolStarted | ToolFinished


class ToolRunner(ABC):
    """Runs tools. Whoever made it calls `join` in the end, after `cancel` if that end is early."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._waiting: deque[ToolJob] = deque()
        self._running: set[ToolJob] = set()
        self._reports: deque[ToolReport] = deque()
        self._is_cancelled = False

    @property
    def is_busy(self) -> bool:
        """Something runs, waits to run, or has not been reported yet."""
        return bool(self._running or self._waiting or self._reports)

    @property
    def is_full(self) -> bool:
        """A call that is started now will be queued."""
        return self._limit is not None and len(self._running) >= self._limit

    def start(self, job: ToolJob) -> None:
        """Run *job* as soon as the limit allows; never waits. After `cancel`, do nothing."""
        if self._is_cancelled:
            return
        if self.is_full:
            self._waiting.append(job)
        else:
            self._begin(job)

    def _begin(self, job: ToolJob) -> None:
        self._running.add(job)
        self._run(job)

    def _end(self, job: ToolJob, outcome: _Outcome) -> None:
        """Report *job* and begin the next one."""
        if job.is_over:
            return
        job.is_over = True
        self._running.discard(job)
        self._reports.append(ToolFinished(job.call_id, outcome.value, outcome.error))
        if self._waiting:
            following = self._waiting.popleft()
            self._reports.append(ToolStarted(following.call_id))
            self._begin(following)

    @abstractmethod
    def _run(self, job: ToolJob) -> None:
        """Make *job* run."""

    @abstractmethod
    def poll(self) -> ToolReport | None:
        """The next report, if there is one."""

    @abstractmethod
    async def wait(self) -> ToolReport:
        """The next report; waits for it."""

    @abstractmethod
    def cancel(self) -> None:
        """Begin nothing more and cancel coroutine tools. From any thread, never waits."""

    @abstractmethod
    async def join(self) -> None:
        """Wait for what still runs, but for functions that are over their time limit."""


class _Outcome(NamedTuple):
    value: Any = None
    error: BaseException | None = None


def _timed_out(job: ToolJob) -> _Outcome:
    return _Outcome(error=LMStudioTimeoutError(f"The tool took longer than {job.timeout:g} seconds."))


async def _outcome_of(call: Callable[[], Any]) -> _Outcome:
    """Call it and await what it returns, if that can be awaited."""
    try:
        value = call()
        return _Outcome(await value if hasattr(value, "__await__") else value)
    except asyncio.CancelledError:
        return _Outcome(error=LMStudioCancelledError("The tool was cancelled."))
    except BaseException as error:  # also Ctrl-C: it must not end the loop, which may not be the tool's
        return _Outcome(error=error)


async def _limited(task: asyncio.Task[_Outcome], job: ToolJob) -> _Outcome:
    """What *task* comes to, or that it takes too long; it is then cancelled."""
    done, _ = await asyncio.wait({task}, timeout=job.timeout)
    if done:
        return task.result()
    task.cancel()
    return _timed_out(job)


class TaskToolRunner(ToolRunner):
    """The asynchronous surface: all is done in the caller's loop, except that plain functions run in threads."""

    def __init__(self, limit: int | None) -> None:
        super().__init__(limit)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._coroutine_tools: set[asyncio.Task[_Outcome]] = set()
        self._waiter: asyncio.Future[None] | None = None

    def _run(self, job: ToolJob) -> None:
        # A task copies the context that it is made in. (It can be told another one from Python 3.11 on.)
        work = _outcome_of(job.call) if job.is_coroutine else self._in_thread(job)
        tool: asyncio.Task[_Outcome] = job.context.run(self._loop.create_task, work)
        if job.is_coroutine:
            self._coroutine_tools.add(tool)
            tool.add_done_callback(self._coroutine_tools.discard)
        watch = self._loop.create_task(self._watch(tool, job))
        for task in (tool, watch):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _watch(self, tool: asyncio.Task[_Outcome], job: ToolJob) -> None:
        self._end(job, await _limited(tool, job))
        if self._waiter is not None:
            with contextlib.suppress(asyncio.InvalidStateError):  # as in AsyncInbox.wake
                self._waiter.set_result(None)

    async def _in_thread(self, job: ToolJob) -> _Outcome:
        finished: asyncio.Future[_Outcome] = self._loop.create_future()

        def settle(outcome: _Outcome) -> None:
            if not finished.done():
                finished.set_result(outcome)

        def work() -> None:
            outcome = _call(job)
            if not self._loop.is_closed():  # otherwise the function was left alone, and nobody wants to know
                self._loop.call_soon_threadsafe(settle, outcome)

        _start_thread(job, work)
        outcome = await finished
        return await _outcome_of(partial(_identity, outcome.value)) if outcome.error is None else outcome

    def poll(self) -> ToolReport | None:
        return self._reports.popleft() if self._reports else None

    async def wait(self) -> ToolReport:
        while not self._reports:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._reports.popleft()

    def cancel(self) -> None:
        if asyncio._get_running_loop() is self._loop:
            self._cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._is_cancelled = True
        self._waiting.clear()
        for tool in self._coroutine_tools:
            tool.cancel()

    async def join(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)


class ThreadToolRunner(ToolRunner):
    """The synchronous surface: a thread for each call. The threads and the caller meet under one lock."""

    def __init__(self, limit: int | None) -> None:
        super().__init__(limit)
        self._changed = threading.Condition()
        self._deadlines: dict[ToolJob, float] = {}
        self._loops: dict[ToolJob, tuple[asyncio.AbstractEventLoop, asyncio.Task[_Outcome]]] = {}

    @property
    def is_busy(self) -> bool:
        with self._changed:
            return super().is_busy

    def start(self, job: ToolJob) -> None:
        with self._changed:
            super().start(job)

    def _run(self, job: ToolJob) -> None:
        if job.timeout is not None and not job.is_coroutine:
            self._deadlines[job] = time.monotonic() + job.timeout
        _start_thread(job, partial(self._work, job))

    def _work(self, job: ToolJob) -> None:
        outcome = _Outcome(job.call) if job.is_coroutine else _call(job)
        if job.is_coroutine or hasattr(outcome.value, "__await__"):
            call = job.call if job.is_coroutine else partial(_identity, outcome.value)
            try:
                outcome = asyncio.run(self._in_loop(job, call))
            except BaseException as error:  # KeyboardInterrupt and the like, raised by the tool
                outcome = _Outcome(error=error)
        with self._changed:
            self._end(job, outcome)
            self._changed.notify_all()

    async def _in_loop(self, job: ToolJob, call: Callable[[], Any]) -> _Outcome:
        task = asyncio.get_running_loop().create_task(_outcome_of(call))
        with self._changed:
            self._loops[job] = asyncio.get_running_loop(), task
            if self._is_cancelled:
                task.cancel()
        try:
            return await _limited(task, job)
        finally:
            with self._changed:
                del self._loops[job]

    def _end(self, job: ToolJob, outcome: _Outcome) -> None:
        self._deadlines.pop(job, None)
        super()._end(job, outcome)

    def _expire(self) -> None:
        """Leave functions alone that are over their time limit."""
        now = time.monotonic()
        for job in [job for job, deadline in self._deadlines.items() if deadline <= now]:
            self._end(job, _timed_out(job))

    def _pause(self) -> None:
        """Wait until something may have changed; the lock is held."""
        soonest = min(self._deadlines.values(), default=None)
        left = _SLICE_SECONDS if soonest is None else min(_SLICE_SECONDS, soonest - time.monotonic())
        self._changed.wait(max(left, 0.0))

    def poll(self) -> ToolReport | None:
        with self._changed:
            self._expire()
            return self._reports.popleft() if self._reports else None

    async def wait(self) -> ToolReport:  # blocks, never suspends
        with self._changed:
            while True:
                self._expire()
                if self._reports:
                    return self._reports.popleft()
                self._pause()

    def cancel(self) -> None:
        with self._changed:
            self._is_cancelled = True
            self._waiting.clear()
            for loop, task in self._loops.values():
                loop.call_soon_threadsafe(task.cancel)

    async def join(self) -> None:  # blocks, never suspends
        with self._changed:
            while self._running:
                self._pause()
                self._expire()


def _identity(value: Any) -> Any:
    return value


def _call(job: ToolJob) -> _Outcome:
    try:
        return _Outcome(job.call())
    except BaseException as error:  # also SystemExit: it must not end a thread silently
        return _Outcome(error=error)


def _start_thread(job: ToolJob, work: Callable[[], None]) -> None:
    threading.Thread(target=job.context.run, args=(work,), name=f"lmstudio-tool-{job.call_id}", daemon=True).start()
