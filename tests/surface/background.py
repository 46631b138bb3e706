"""Calls in the background of a test: tasks in the asynchronous tests, threads in their twins."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .fault_proxy import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")

_POLL_SECONDS = 0.001


class AsyncCall(Generic[T]):
    """A call in progress, as a task."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task

    async def result(self) -> T:
        """Wait for its end; return or raise what it did."""
        return await asyncio.wait_for(self.task, PATIENCE_SECONDS)


class AsyncBackground:
    """Runs calls while the test goes on. The end of the `with` block waits for all of them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_SECONDS)

    def start(self, call: Callable[[], Coroutine[Any, Any, T]]) -> AsyncCall[T]:
        """Begin *call*."""
        task = asyncio.get_running_loop().create_task(call())
        self._tasks.append(task)
        return AsyncCall(task)

    async def wait(self, blocking: Callable[[], T]) -> T:
        """Wait for *blocking*, which blocks its thread, without standing in the way of anything."""
        return await asyncio.to_thread(blocking)

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait for something that can only be looked at."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not claim():
            assert time.monotonic() < deadline
            await asyncio.sleep(_POLL_SECONDS)


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
