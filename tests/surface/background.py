"""Calls in the background of a test: tasks in the asynchronous tests, threads in their twins."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
import trio
from patience import PATIENCE_SECONDS

from .loops import is_trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

_POLL_SECONDS = 0.001


class AsyncCall(Generic[T]):
    """A call in progress, in a task."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._call = call
        self._ended = anyio.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.cancel: Callable[[], object]
        """Cancel it, in the way of its loop."""

    async def run(self) -> None:
        """What the task does."""
        try:
            self._result.append(await self._call())
        except BaseException as error:
            self._error = error
            if is_trio() and isinstance(error, trio.Cancelled):
                raise
        finally:
            self._ended.set()

    async def run_in_scope(self, scope: trio.CancelScope) -> None:
        """What the task does under trio."""
        with scope:
            await self.run()

    async def wait(self) -> None:
        """Wait for its end."""
        with anyio.fail_after(PATIENCE_SECONDS):
            await self._ended.wait()

    async def result(self) -> T:
        """Wait for its end; return or raise what it did."""
        await self.wait()
        if self._error is not None:
            error, self._error = self._error, None  # its traceback holds this frame
            raise error
        return self._result[0]

    async def cancelled(self) -> None:
        """Cancel it and wait for that."""
        self.cancel()
        await self.wait()
        assert isinstance(self._error, anyio.get_cancelled_exc_class())


class AsyncBackground:
    """Runs calls while the test goes on. The end of the `with` block waits for all of them."""

    def __init__(self) -> None:
        self._calls: list[AsyncCall[Any]] = []
        self._tasks: list[asyncio.Task[Any]] = []  # the loop itself holds its tasks only weakly

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.move_on_after(PATIENCE_SECONDS):
            for call in self._calls:
                await call.wait()

    def start(self, call: Callable[[], Coroutine[Any, Any, T]]) -> AsyncCall[T]:
        """Begin *call*."""
        started = AsyncCall(call)
        self._calls.append(started)
        if is_trio():
            scope = trio.CancelScope()
            started.cancel = scope.cancel
            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(started.run_in_scope, scope, context=context)
        else:
            task = asyncio.get_running_loop().create_task(started.run())
            started.cancel = task.cancel
            self._tasks.append(task)
        return started

    async def wait(self, blocking: Callable[[], T]) -> T:
        """Wait for *blocking*, which blocks its thread, without standing in the way of anything."""
        return await anyio.to_thread.run_sync(blocking)

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait for something that can only be looked at."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not claim():
            assert time.monotonic() < deadline
            await anyio.sleep(_POLL_SECONDS)


class Call(Generic[T]):
    """A call in progress, in a thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="background call", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        """Wait for its end; return or raise what it did."""
        self.thread.join(PATIENCE_SECONDS)
        assert not self.thread.is_alive(), "The call in the background does not end."
        if self._error is not None:
            error, self._error = self._error, None  # its traceback holds this frame
            raise error
        return self._result[0]


class Background:
    """Runs calls while the test goes on. The end of the `with` block waits for all of them."""

    def __init__(self) -> None:
        self._calls: list[Call[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for call in self._calls:
            call.thread.join(PATIENCE_SECONDS)

    def start(self, call: Callable[[], T]) -> Call[T]:
        """Begin *call*."""
        started = Call(call)
        self._calls.append(started)
        return started

    def wait(self, blocking: Callable[[], T]) -> T:
        """Wait for *blocking*."""
        return blocking()

    def until(self, claim: Callable[[], bool]) -> None:
        """Wait for something that can only be looked at."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not claim():
            assert time.monotonic() < deadline
            time.sleep(_POLL_SECONDS)
