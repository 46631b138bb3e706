"""The blocking runtime: waits block the caller's thread, protocol state lives on one background thread.

All synchronous clients of a process share that thread. It runs an event loop with the same connections as the
asynchronous surface. Only frames and deliveries cross threads; user code never runs there.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import math
import os
import threading
import time
import weakref
from collections import deque
from concurrent import futures
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from msgspec import UnsetType

from ._async_io import asyncio_hooks, call_threadsafe, start_work
from ._runtime import Inbox, Runtime
from ._surface.base import Surface
from ._timeouts import DEFAULT_TIMEOUT, Timeout, is_seconds
from ._transfer import CLOSE_SECONDS
from ._ws import LinkManager, new_http_client
from .errors import (
    LMStudioError,
    LMStudioRuntimeError,
    LMStudioValueError,
    LMStudioWebsocketError,
    without_own_frames,
)
from .json_api import Multiplexer, run_blocking
from .settings import Settings

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine

    import httpx

    from ._port import Port
    from ._retries import RetryConfig
    from ._settings import ConnectionSettings
    from ._tool_runner import ToolRunner

T = TypeVar("T")

# Ctrl-C does not interrupt the wait for a lock on Windows. Elsewhere it does, unless the signal arrives right before
# the wait begins. So all waits are cut into slices.
_SLICE_SECONDS = 0.1 if os.name == "nt" else 1.0

# The official package's limit between two messages, which its users may have set.
_default_timeout = Timeout(idle=60.0).over(DEFAULT_TIMEOUT)


def get_sync_api_timeout() -> float | None:
    """Seconds that the synchronous API waits for each message of the server; None means for ever."""
    idle = _default_timeout.idle
    return None if isinstance(idle, UnsetType) else idle


def set_sync_api_timeout(timeout: float | None) -> None:
    """Set how many seconds the synchronous API waits for each message of the server.

    The limit is between two messages, not for a whole call: a long reply that keeps streaming never expires. None waits
    for ever. When it expires, LMStudioTimeoutError is raised and the server is told to stop. Default: 60.

    It is the default of `idle` in `lmstudio.Timeout`: a limit of a client or of a call goes before it.
    """
    global _default_timeout
    if timeout is not None and not is_seconds(timeout):
        raise LMStudioValueError(f"The timeout must be a number of seconds from 0 on, or None; got {timeout!r}.")
    _default_timeout = Timeout(idle=timeout).over(DEFAULT_TIMEOUT)


class BlockingInbox(Inbox):
    """Blocks the consuming thread while it is empty."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        super().__init__()
        self._waiters: deque[threading.Lock] = deque()

    def wake(self) -> None:
        waiters = self._waiters
        while waiters:
            waiters.popleft().release()

    async def pause(self, seconds: float | None) -> None:  # blocks, never suspends
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        # The reader puts first and wakes second, so an item that came before the line above is seen here.
        if self._items:
            return
        _background.refuse_own_thread()
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if waiter.acquire(timeout=min(_SLICE_SECONDS, left)):
                return


class BackgroundLoop:
    """The thread with the event loop. Starts with the first connection, ends with the last client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._users = 0

    def acquire(self) -> asyncio.AbstractEventLoop:
        """Register one user and return the running loop."""
        with self._lock:
            if self._loop is None:
                self._loop, self._thread = _start_loop()
            self._users += 1
            return self._loop

    def release(self) -> None:
        """One user less; after the last one the thread ends."""
        with self._lock:
            self._users -= 1
            if self._users > 0 or self._loop is None:
                return
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_SECONDS)

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, None while nobody needs it."""
        return self._thread

    def refuse_own_thread(self) -> None:
        """Raise instead of waiting for oneself."""
        if self._thread is threading.current_thread():
            raise LMStudioRuntimeError("A synchronous call was made on the SDK's own background thread.")

    def reset_after_fork(self) -> None:
        """In a forked child: the thread and its loop exist in the parent only."""
        self.__init__()  # type: ignore[misc]  # a new state for the same object, which others refer to


def _start_loop() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    loop = asyncio.new_event_loop()
    # In development mode the loop would tell the user about its own slow steps, such as imports.
    loop.slow_callback_duration = math.inf
    thread = threading.Thread(target=_run_loop, args=(loop,), name="lmstudio-io", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # too many threads, or the interpreter is about to end
        loop.close()
        raise LMStudioRuntimeError(f"Could not start the background thread of the synchronous API: {error}.") from error
    return loop, thread


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.wait(pending, timeout=CLOSE_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


_background = BackgroundLoop()


def _run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run *work* on the background thread's *loop* and wait for its result."""
    _background.refuse_own_thread()
    return _wait_for(_begin_on(loop, work))


def _begin_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> futures.Future[T]:
    """Begin *work* without the context variables of the caller, as `call_threadsafe`."""
    return contextvars.Context().run(asyncio.run_coroutine_threadsafe, work, loop)


def _wait_for(running: futures.Future[T]) -> T:
    while not running.done():
        futures.wait([running], _SLICE_SECONDS)
    return running.result()


class BlockingRuntime(Runtime):
    """The runtime of one synchronous client while it is open."""

    suspends = False

    def __init__(self, settings: ConnectionSettings) -> None:
        super().__init__()
        self._settings = settings
        self.on_unknown = settings.on_unknown
        self.process_id = os.getpid()
        self._loop = _background.acquire()
        self._closed = False
        self._ended = False
        """All connections are closed; nothing of this runtime is on the loop any more."""
        self.is_over = False
        """The interpreter ends."""
        try:
            self.links: LinkManager = self.run_on_loop(self._new_links(settings))
        except BaseException:  # Ctrl-C
            _background.release()
            raise

    async def _new_links(self, settings: ConnectionSettings) -> LinkManager:
        return LinkManager(settings, asyncio_hooks(self._loop))

    @property
    def server_address(self) -> str | None:
        return self.links.address_text

    @property
    def timeout(self) -> Timeout:
        return self._settings.timeout.over(_default_timeout)

    @property
    def retry(self) -> RetryConfig:
        return self._settings.retry

    def new_inbox(self) -> BlockingInbox:
        if self.is_over:
            _wait_for_the_end()
        if self.process_id != os.getpid():
            raise LMStudioRuntimeError("This was made before a fork, in another process. Make it again in this one.")
        return BlockingInbox()

    def post(self, action: Callable[[], None]) -> None:
        if self.process_id != os.getpid():
            return  # a forked child: what was posted here concerns connections of the parent
        try:
            if not self._ended:
                call_threadsafe(self._loop, action)
                return
        except RuntimeError:
            if not self._loop.is_closed():
                raise
        action()  # nothing runs on the loop any more for this client; the action finds out that it is closed

    def logger(self, area: str) -> logging.Logger:
        return self._settings.logger(area)

    def new_tool_runner(self, limit: int | None) -> ToolRunner:
        from ._tool_runner import ThreadToolRunner

        return ThreadToolRunner(limit)

    def begin(self, work: Callable[[], T]) -> Callable[[], Coroutine[Any, Any, T]]:
        running = start_work(work)

        async def result() -> T:  # blocks, never suspends
            return _wait_for(running)

        return result

    def connect(self, namespace: str, multiplexer: Multiplexer) -> None:
        if self.is_over:
            return  # only daemon threads still wait: see _wait_for_the_end
        if self._closed:
            multiplexer.fail(LMStudioWebsocketError("The client is closed."))
        else:
            self.links.start(namespace, multiplexer)

    def run_on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the background thread and wait for its result."""
        return _run_on(self._loop, work)

    def close(self, *, wait: bool = True) -> None:
        """Close all connections; calls in flight fail. Returns within seconds whatever the peer does.

        Without *wait* at once, for finalisers: those may run on any thread, the background thread included.
        """
        if self._closed:
            return
        self._closed = True
        if self.process_id != os.getpid():
            return  # a forked child: the connections belong to the parent
        closing = _begin_on(self._loop, self.links.aclose())
        if not wait:
            closing.add_done_callback(lambda _done: self._end())
            return
        try:
            closing.result(5 * CLOSE_SECONDS)
        finally:
            self._end()

    def _end(self) -> None:
        self._ended = True
        _background.release()


class ClientState:
    """What a synchronous client holds: at most one runtime, made on first use and again after a fork."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._runtime: BlockingRuntime | None = None
        self._is_closed = False
        self._is_over = False
        _open_states.add(self)

    def runtime(self) -> BlockingRuntime:
        """The runtime of this process."""
        runtime = self.existing_runtime()
        if runtime is not None:
            return runtime
        if self._is_over:
            _wait_for_the_end()
        with self._lock:
            if self._is_closed:
                raise LMStudioRuntimeError("The client is closed. Open it again with `with client:`.")
            runtime = self.existing_runtime()
            if runtime is None:
                runtime = self._runtime = BlockingRuntime(self.settings)
            return runtime

    def existing_runtime(self) -> BlockingRuntime | None:
        """The runtime of this process, if there is one yet or still."""
        runtime = self._runtime
        return runtime if runtime is not None and runtime.process_id == os.getpid() else None

    def reopen(self) -> None:
        """Allow connections again after `close`."""
        self._is_closed = False

    def close(self, *, wait: bool = True) -> None:
        """Close the connections."""
        if wait:
            _background.refuse_own_thread()
        self._is_closed = True
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close(wait=wait)

    def reset_after_fork(self) -> None:
        """In a forked child: the thread that held the lock, if any, exists in the parent only."""
        self._lock = threading.Lock()

    def close_at_exit(self) -> None:
        """Begin to close the connections; calls in flight are forgotten."""
        self._is_over = True
        if self._runtime is not None:
            self._runtime.is_over = True
            self._runtime.post(self._runtime.links.forget_calls)
        self.close(wait=False)


_open_states: weakref.WeakSet[ClientState] = weakref.WeakSet()


def _wait_for_the_end() -> NoReturn:
    """For a call that is made while the interpreter ends: in a daemon thread an error would print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
    raise LMStudioRuntimeError("The client is closed: the interpreter ends.")


def _reset_after_fork() -> None:
    _background.reset_after_fork()
    for state in _open_states:
        state.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@atexit.register
def _close_all() -> None:
    thread = _background.thread
    for state in list(_open_states):
        state.close_at_exit()
    if thread is not None:
        thread.join(3 * CLOSE_SECONDS)


class SyncBase(Surface):
    """The synchronous side of the seam between the surfaces: `AsyncBase` is the other."""

    @staticmethod
    def _run(operation: Coroutine[Any, Any, T]) -> T:
        try:
            return run_blocking(operation)
        except LMStudioError as error:
            raise without_own_frames(error)  # noqa: B904 - it is the same error

    @staticmethod
    def _step(operation: Coroutine[Any, Any, T]) -> T:
        """As `_run`, for what is done once per fragment."""
        return run_blocking(operation)


class ClientBase(SyncBase):
    """Base of `Client`: everything about connections that differs between the surfaces."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._state = ClientState(settings)
        weakref.finalize(self, self._state.close, wait=False).atexit = False

    if not TYPE_CHECKING:

        def __aenter__(self):
            # Only for its message: without it, Python does not say what to use instead.
            raise TypeError("Client is synchronous: write `with Client()`, or `async with AsyncClient()`.")

        def __aexit__(self, *_exception):
            raise AssertionError("`__aenter__` never succeeds")

    def _port(self, namespace: str) -> Port:
        return self._state.runtime().port(namespace)

    def _known_api_host(self) -> str:
        address = self._state.settings.address()
        if address is None:
            runtime = self._state.runtime()
            address = runtime.run_on_loop(runtime.links.address())
        return address.api_host

    def _is_connected(self, namespace: str) -> bool:
        runtime = self._state.existing_runtime()
        return runtime is not None and runtime.links.is_connected(namespace)

    def _connect(self, namespace: str) -> None:
        runtime = self._state.runtime()
        runtime.run_on_loop(runtime.links.connect_now(runtime.port(namespace)))

    def _disconnect(self, namespace: str) -> None:
        runtime = self._state.existing_runtime()
        if runtime is not None:
            runtime.run_on_loop(runtime.links.aclose(namespace))

    @staticmethod
    def _with_http(work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, T]], *, secure: bool) -> T:
        """Run *work* with a short-lived HTTP client, on the background thread."""

        async def run() -> T:
            async with new_http_client(secure=secure, tls=Settings.load().tls) as http:
                return await work(http)

        loop = _background.acquire()
        try:
            return _run_on(loop, run())
        finally:
            _background.release()
