"""The asynchronous runtime: waits suspend the task, protocol state lives in the caller's event loop.

That is a loop of asyncio, or a run of trio, whose side is `_trio_io`: imported where trio runs, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
import weakref
from abc import abstractmethod
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ._runtime import Inbox, Runtime
from ._surface.base import Surface
from ._timeouts import DEFAULT_TIMEOUT
from ._transfer import LoopHooks
from ._ws import LinkManager, new_http_client
from .errors import (
    LMStudioError,
    LMStudioRuntimeError,
    LMStudioWebsocketError,
    without_own_frames,
)
from .settings import Settings

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable, Coroutine

    import httpx
    import trio

    from ._port import Port
    from ._retries import RetryConfig
    from ._settings import ConnectionSettings
    from ._timeouts import Timeout
    from ._tool_runner import ToolRunner
    from .json_api import Multiplexer

T = TypeVar("T")

EventLoop: TypeAlias = "asyncio.AbstractEventLoop | trio.lowlevel.TrioToken"
"""What makes a loop of asyncio, or a run of trio, itself."""


def running_loop() -> EventLoop | None:
    """The loop or run of the caller's task, None outside of both."""
    # Trio first: in its guest mode it runs inside a loop of asyncio.
    trio = sys.modules.get("trio.lowlevel")
    if trio is not None:
        try:
            trio.current_task()  # its guest mode leaves the rest of its marks where the host can see them
            token: EventLoop = trio.current_trio_token()
        except (RuntimeError, AttributeError):  # the latter while another thread imports it
            pass
        else:
            return token
    return asyncio._get_running_loop()


def loop_hooks(loop: EventLoop) -> LoopHooks:
    """What connections need of *loop*."""
    if isinstance(loop, asyncio.AbstractEventLoop):
        return asyncio_hooks(loop)
    from ._trio_io import trio_hooks

    return trio_hooks(loop)


def call_threadsafe(loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
    """As `call_soon_threadsafe`, without the caller's context variables: one of them says which library runs *here*."""
    loop.call_soon_threadsafe(action, context=contextvars.Context())


def start_work(work: Callable[[], T]) -> futures.Future[T]:
    """Begin *work* in a thread of its own, which nothing waits for at the end of the program."""
    running: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            running.set_result(work())
        except BaseException as error:
            running.set_exception(error)

    threading.Thread(target=run, name="lmstudio-work", daemon=True).start()
    return running


class AsyncioInbox(Inbox):
    """Suspends the consuming task while it is empty."""

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                # Not `if not waiter.done()`: the handler of Ctrl-C, which cancels, may run right after that.
                try:  # noqa: SIM105 - it happens for nearly every packet, and suppress() costs more
                    waiter.set_result(None)
                except asyncio.InvalidStateError:
                    pass

    async def pause(self, seconds: float | None) -> None:
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        timer = None if seconds is None else self._loop.call_later(seconds, _settle, waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # as in `wake`
        waiter.set_result(None)


def asyncio_hooks(loop: asyncio.AbstractEventLoop) -> LoopHooks:
    """`loop_hooks` of an asyncio loop."""
    tasks: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks only weakly

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def post(action: Callable[[], None]) -> None:
        if asyncio._get_running_loop() is loop:
            action()
        elif not loop.is_closed():  # a finaliser on another thread, or after the loop has stopped
            call_threadsafe(loop, action)

    def watch(own: socket.socket, readable: Callable[[], None]) -> Callable[[], object]:
        loop.add_reader(own, readable)
        return partial(loop.remove_reader, own)

    return LoopHooks(spawn, loop.call_soon, post, watch, loop.is_running, loop.is_closed)


class AsyncRuntime(Runtime):
    """The runtime of one client in one event loop."""

    def __init__(self, settings: ConnectionSettings, hooks: LoopHooks) -> None:
        super().__init__()
        self._settings = settings
        self.hooks = hooks
        self.on_unknown = settings.on_unknown
        self._timeout = settings.timeout.over(DEFAULT_TIMEOUT)
        self.links = LinkManager(settings, hooks)
        self.is_closed = False

    @property
    def server_address(self) -> str | None:
        return self.links.address_text

    def post(self, action: Callable[[], None]) -> None:
        self.hooks.post(action)

    def logger(self, area: str) -> logging.Logger:
        return self._settings.logger(area)

    @property
    def timeout(self) -> Timeout:
        return self._timeout

    @property
    def retry(self) -> RetryConfig:
        return self._settings.retry

    # Without them, work would be done in the loop.

    @abstractmethod
    async def offload(self, work: Callable[[], T]) -> T: ...

    @abstractmethod
    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]: ...

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        if self.is_closed:
            multiplexer.fail(LMStudioWebsocketError("The client is closed."))
        else:
            self.links.start(namespace, multiplexer)

    async def aclose(self) -> None:
        """Close all connections. Calls in flight fail; later calls fail at once."""
        self.is_closed = True
        await self.links.aclose()

    def close_soon(self) -> None:
        """As `aclose`, from another loop or thread and without waiting."""
        self.post(self._begin_to_close)

    def _begin_to_close(self) -> None:
        self.hooks.spawn(self.aclose())


class AsyncioRuntime(AsyncRuntime):
    """In a loop of asyncio."""

    def __init__(self, settings: ConnectionSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, asyncio_hooks(loop))
        self._loop = loop

    def new_inbox(self) -> AsyncioInbox:
        return AsyncioInbox(self._loop)

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        from ._tool_runner import AsyncioToolRunner

        return AsyncioToolRunner(limit, self.post)

    async def offload(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work)

    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]:
        running = self._loop.run_in_executor(None, work)

        async def result() -> T:
            return await asyncio.shield(running)

        return result


def _new_runtime(settings: ConnectionSettings, loop: EventLoop) -> AsyncRuntime:
    if isinstance(loop, asyncio.AbstractEventLoop):
        return AsyncioRuntime(settings, loop)
    from ._trio_io import TrioRuntime

    return TrioRuntime(settings, loop)


class AsyncClientState:
    """What an asynchronous client holds: one runtime per event loop that it is used in."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._runtimes: dict[EventLoop, AsyncRuntime] = {}
        self._is_closed = False

    def runtime(self) -> AsyncRuntime:
        """The runtime of the running loop."""
        loop = running_loop()
        if loop is None:
            raise LMStudioRuntimeError(
                "AsyncClient works in tasks of asyncio and of trio only. Use lmstudio.Client in other code."
            )
        runtime = self._runtimes.get(loop)
        if runtime is None:
            if self._is_closed:
                raise LMStudioRuntimeError("The client is closed. Open it again with `async with client:`.")
            # Loops come and go (one per asyncio.run): those that are over have nothing left to close.
            # The copy, because other threads with loops of their own may do the same.
            for other, its_runtime in list(self._runtimes.items()):
                if its_runtime.hooks.is_over():
                    self._runtimes.pop(other, None)
            runtime = self._runtimes[loop] = _new_runtime(self.settings, loop)
        return runtime

    def existing_runtime(self) -> AsyncRuntime | None:
        """The runtime of the running loop, if there is one yet or still."""
        loop = running_loop()
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
        running = running_loop()
        for loop, runtime in list(self._runtimes.items()):
            del self._runtimes[loop]
            if loop is running:
                await runtime.aclose()
            else:
                runtime.close_soon()


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

    def __init__(self, settings: ConnectionSettings) -> None:
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
        async with new_http_client(secure=secure, tls=Settings.load().tls) as http:
            return await work(http)
