"""The asynchronous runtime: waits suspend the task, protocol state lives in the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ._auth import resolve_credentials
from ._runtime import Delivery, Inbox, Runtime
from ._surface.base import Surface
from ._transfer import LoopHooks
from ._ws import ConnectionSettings, LinkManager, check_logger, new_http_client
from .errors import (
    LMStudioError,
    LMStudioRuntimeError,
    LMStudioTimeoutError,
    LMStudioWebsocketError,
    without_own_frames,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine

    import httpx

    from ._tool_runner import ToolRunner
    from .json_api import Multiplexer, Port

T = TypeVar("T")


class AsyncInbox(Inbox):
    """Suspends the consuming task while it is empty."""

    __slots__ = ("_items", "_loop", "_waiters", "put")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[Delivery] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self.put = self._items.append

    def wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                # Not `if not waiter.done()`: the handler of Ctrl-C, which cancels, may run right after that.
                try:  # noqa: SIM105 - it happens for nearly every packet, and suppress() costs more
                    waiter.set_result(None)
                except asyncio.InvalidStateError:
                    pass

    async def get(self, timeout: float | None) -> Delivery:
        items = self._items
        while not items:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            timer = None if timeout is None else self._loop.call_later(timeout, _expire, waiter, timeout)
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
        return items.popleft()


def _expire(waiter: asyncio.Future[None], timeout: float) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        waiter.set_exception(LMStudioTimeoutError(f"No message from the server within {timeout:g} seconds."))


def asyncio_hooks(loop: asyncio.AbstractEventLoop) -> LoopHooks:
    """What connections need of an asyncio loop."""
    tasks: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks only weakly

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return LoopHooks(spawn, loop.call_soon, loop.add_reader, loop.remove_reader)


class AsyncRuntime(Runtime):
    """The runtime of one client in one event loop."""

    def __init__(self, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._settings = settings
        self.links = LinkManager(settings, asyncio_hooks(loop))
        self.is_closed = False

    def new_inbox(self) -> AsyncInbox:
        return AsyncInbox(self._loop)

    def post(self, action: Callable[[], None]) -> None:
        if asyncio._get_running_loop() is self._loop:
            action()
        elif not self._loop.is_closed():  # a finaliser on another thread, or after the loop has stopped
            self._loop.call_soon_threadsafe(action)

    def logger(self, area: str) -> logging.Logger:
        return self._settings.logger(area)

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        from ._tool_runner import TaskToolRunner

        return TaskToolRunner(limit)

    async def offload(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]:
        running = self._loop.run_in_executor(None, work)

        async def result() -> T:
            return await asyncio.shield(running)

        return result

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        if self.is_closed:
            multiplexer.fail(LMStudioWebsocketError("The client is closed."))
        else:
            self.links.start(namespace, multiplexer)

    async def aclose(self) -> None:
        """Close all connections. Calls in flight fail; later calls fail at once."""
        self.is_closed = True
        await self.links.aclose()


class AsyncClientState:
    """What an asynchronous client holds: one runtime per event loop that it is used in."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._runtimes: dict[asyncio.AbstractEventLoop, AsyncRuntime] = {}
        self._is_closed = False

    def runtime(self) -> AsyncRuntime:
        """The runtime of the running loop."""
        loop = asyncio._get_running_loop()
        if loop is None:
            raise LMStudioRuntimeError("AsyncClient works in asyncio tasks only. Use lmstudio.Client in other code.")
        runtime = self._runtimes.get(loop)
        if runtime is None:
            if self._is_closed:
                raise LMStudioRuntimeError("The client is closed. Open it again with `async with client:`.")
            # Loops come and go (one per asyncio.run): those that are closed have nothing left to close.
            # The copy, because other threads with loops of their own may do the same.
            for other in list(self._runtimes):
                if other.is_closed():
                    self._runtimes.pop(other, None)
            runtime = self._runtimes[loop] = AsyncRuntime(self.settings, loop)
        return runtime

    def existing_runtime(self) -> AsyncRuntime | None:
        """The runtime of the running loop, if there is one yet or still."""
        loop = asyncio._get_running_loop()
        return None if loop is None else self._runtimes.get(loop)

    def reopen(self) -> None:
        """Allow connections again after `aclose`."""
        self._is_closed = False

    def close_soon(self) -> None:
        """Make all connections end, from any thread, without waiting: the client was forgotten."""
        for runtime in list(self._runtimes.values()):
            runtime.post(partial(_end_links, runtime.links))

    async def aclose(self) -> None:
        """Close the connections of every loop. Those of other loops end there, soon."""
        self._is_closed = True
        running = asyncio.get_running_loop()
        for loop, runtime in list(self._runtimes.items()):
            del self._runtimes[loop]
            if loop is running:
                await runtime.aclose()
            elif not loop.is_closed() and loop.is_running():
                asyncio.run_coroutine_threadsafe(runtime.aclose(), loop)


def _end_links(links: LinkManager) -> None:
    links.close_soon()


class AsyncBase(Surface):
    """The asynchronous side of the seam between the surfaces: `SyncBase` is the other."""

    @staticmethod
    async def _run(operation: Coroutine[Any, Any, T]) -> T:
        try:
            return await operation
        except LMStudioError as error:
            raise without_own_frames(error)  # noqa: B904 - it is the same error

    @staticmethod
    def _step(operation: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """As `_run`, for what is done once per fragment."""
        return operation  # to be awaited


class AsyncClientBase(AsyncBase):
    """Base of `AsyncClient`: everything about connections that differs between the surfaces."""

    def __init__(
        self,
        api_host: str | None,
        api_token: str | None,
        client_identifier: str | None,
        client_passkey: str | None,
        logger: logging.Logger | None,
    ) -> None:
        credentials = resolve_credentials(api_token, client_identifier, client_passkey)
        settings = ConnectionSettings(api_host, credentials, check_logger(logger))
        settings.address()  # refuses a bad address here, where it was given
        self._state = AsyncClientState(settings)
        weakref.finalize(self, self._state.close_soon).atexit = False

    def _port(self, namespace: str) -> Port:
        runtime = self._state.runtime()
        runtime.links.notice_loss(namespace)
        return runtime.port(namespace)

    def _known_api_host(self) -> str:
        address = self._state.settings.address() or self._state.runtime().links.known_address
        if address is None:
            raise LMStudioRuntimeError("The address of the local server is not known before the first call.")
        return address.api_host

    def _is_connected(self, namespace: str) -> bool:
        runtime = self._state.existing_runtime()
        return runtime is not None and runtime.links.is_connected(namespace)

    async def _connect(self, namespace: str) -> None:
        runtime = self._state.runtime()
        await runtime.links.connect_now(runtime.port(namespace))

    async def _disconnect(self, namespace: str) -> None:
        runtime = self._state.existing_runtime()
        if runtime is not None:
            await runtime.links.aclose(namespace)

    @staticmethod
    async def _with_http(work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, T]], *, secure: bool) -> T:
        """Run *work* with a short-lived HTTP client; *secure* as for `new_http_client`."""
        async with new_http_client(secure=secure) as http:
            return await work(http)
