"""Waiting for a moment from threads and from tasks alike."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Signal:
    """Set once, from any thread; waited for by threads and by tasks."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self) -> None:
        """Wake everyone who waits, now and later."""
        with self._lock:
            self._event.set()
            waiters, self._waiters = self._waiters, []
        for loop, event in waiters:
            # A loop that has been closed meanwhile has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._event.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Block this thread until it is set; False after *timeout* seconds without."""
        return self._event.wait(timeout)

    async def wait_in_task(self) -> None:
        """Wait in a task until it is set."""
        with self._lock:
            if self._event.is_set():
                return
            waiter = (asyncio.get_running_loop(), asyncio.Event())
            self._waiters.append(waiter)
        try:
            await waiter[1].wait()
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)


class Gate:
    """A point where the engine stops until the gate is opened. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._reached = Signal()
        self._opened = Signal()

    def open(self) -> None:
        """Let the engine go on, now and whenever it comes here again."""
        self._opened.set()

    def reached(self, timeout: float | None = 10.0) -> bool:
        """Block until the engine stands at the gate or has passed it; False after *timeout* seconds without."""
        return self._reached.wait(timeout)

    async def wait_reached(self) -> None:
        """The same for a task of the engine's own loop, without a limit."""
        await self._reached.wait_in_task()

    async def pass_through(self) -> None:
        """For engines: announce yourself and wait until the gate is open."""
        self._reached.set()
        await self._opened.wait_in_task()

    def wait(self, timeout: float | None = None) -> bool:
        """For code without an event loop: announce yourself and block until the gate is open; False after *timeout*."""
        self._reached.set()
        return self._opened.wait(timeout)
