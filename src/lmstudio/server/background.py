"""A server on a local port, run by a background thread of this process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import os
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import TYPE_CHECKING, ClassVar, TypedDict, TypeVar

from lmstudio._address import LOOPBACK_OF, ServerAddress
from lmstudio._waiting import wait_within
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.logs import fields, follow_environment, get_logger
from lmstudio.server.auth import ApiTokens
from lmstudio.server.binding import Binding
from lmstudio.server.errors import RequestError, ServerStartError, StartInterruptedError
from lmstudio.server.http.observer import Observable, Observer
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.origins import OriginPolicy

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.server.app import AppSettings, Core
    from lmstudio.server.connection import ConnectionLimits
    from lmstudio.server.instance import Clock
    from lmstudio.server.listener import Listener

__all__ = ["BackgroundServer", "ListeningSettings"]

T = TypeVar("T")

_logger = get_logger("server")

DEFAULT_GRACE_SECONDS = 10.0
"""For telling clients, when the server stops, how what they wait for has ended."""
CORE_END_SECONDS = 5.0
"""For unloading all models then."""
_STOP_SECONDS = 15.0
_TRANSPORT_PACKAGES = ("starlette", "uvicorn", "wsproto")


class ListeningSettings(TypedDict, total=False):
    """Where a server listens, and to whom; see `BackgroundServer`."""

    host: str
    port: int
    api_tokens: Sequence[str]
    insecure: bool
    allowed_origins: Sequence[str]
    limits: ConnectionLimits | None
    http: HttpSettings | None
    grace_seconds: float


class BackgroundServer(ABC):
    """What all servers have in common: where they listen, to whom, how they start and stop. They differ in their core.

    *port* 0 takes any free port. *api_tokens*: if there are any, clients must hold one of them. *insecure*: listen at
    an address that other machines can reach although there is no API token. *allowed_origins*: web pages that may
    connect besides those of this machine, e.g. "https://example.com". *limits*: what one client may cost. *http*: what
    the HTTP surfaces allow. *grace_seconds*: see `stop`.
    """

    _extra: ClassVar = "server"
    """The extra of this package with the packages it needs."""
    _what: ClassVar = "The embedded server"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_tokens: Sequence[str] = (),
        insecure: bool = False,
        allowed_origins: Sequence[str] = (),
        limits: ConnectionLimits | None = None,
        http: HttpSettings | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
    ) -> None:
        self._grace_seconds = require_grace(grace_seconds)
        self.host = host
        self.port: int = port
        """The port that clients connect to, once the server has been started."""
        self._core: Core | None = None
        self._limits = limits
        self._http = http or HttpSettings()
        self._observer = Observer()
        self._api_tokens = ApiTokens(api_tokens)
        self._is_insecure = insecure
        self._origins = OriginPolicy(allowed_origins)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Listener | None = None
        self._socket: socket.socket | None = None
        self._is_ending = False
        self._ending_seconds = self._grace_seconds
        self._is_start_interrupted = False
        self._opening: asyncio.Future[None] | None = None
        self._winding_down: asyncio.Task[None] | None = None

    @abstractmethod
    def _prepare(self) -> None:
        """What must be there before it starts, on the caller's thread.

        Raises:
            ServerStartError: something is not.
        """

    @abstractmethod
    def _new_core(self) -> Core:
        """Everything but the sockets. Called in the server's own event loop."""

    def _new_clock(self) -> Clock:
        """Where it takes time from."""
        from lmstudio.server.instance import Clock

        return Clock()

    async def _open(self, core: Core, ending: contextlib.AsyncExitStack) -> None:  # noqa: ARG002 (for subclasses)
        """What comes before the first client; *ending* gets what comes after the last one."""
        from lmstudio.server.app import PreparedCore

        if isinstance(core, PreparedCore):
            await core.prepare()

    @property
    def api_host(self) -> str:
        """host:port for clients. A server that listens on all addresses is given by its loopback address."""
        if self.port == 0:
            raise LMStudioRuntimeError("The server has no address before it has been started.")
        return ServerAddress(LOOPBACK_OF.get(self.host, self.host), self.port).api_host

    @property
    def core(self) -> Core:
        """Everything but the sockets. It belongs to the server's own event loop."""
        return if_started(self._core)

    @property
    def is_local(self) -> bool:
        """Only programs of this machine can reach the server.

        Raises:
            ServerStartError: the host name is not known.
        """
        return Binding.find(self.host, self.port).is_local

    @property
    def is_running(self) -> bool:
        """Clients can connect."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def was_asked_to_stop(self) -> bool:
        """It ends, or has ended, because this program or a privileged client wants that."""
        return self._is_ending

    def start(self) -> None:
        """Listen; clients can connect when this returns. Does nothing while the server is running."""
        with self._lock:
            if self.is_running:
                return
            follow_environment()
            binding = self._find_binding(self.host, self.port)
            self._prepare()
            self._require_packages(*_TRANSPORT_PACKAGES)
            sock = self._socket = binding.listen()
            port = sock.getsockname()[1]
            started: Future[None] = Future()
            self._is_ending = False
            self._ending_seconds = self._grace_seconds
            # A daemon, because Python waits for other threads before it runs what `atexit` has to stop this one.
            self._thread = threading.Thread(
                target=self._run, args=(sock, started), name=f"lmstudio-{self._extra}-{port}", daemon=True
            )
            self._thread.start()
            try:
                started.result()
            except RequestError as error:  # a setting of the core that no request could have either
                self._end_thread()
                raise ServerStartError(error.title) from error
            except asyncio.CancelledError:
                self._end_thread()
                raise StartInterruptedError("The server was told to stop before it had started.") from None
            except BaseException:
                self._end_thread()
                raise
            self.port = port
            _running.add(self)

    def stop(self, grace_seconds: float | None = None) -> None:
        """End all connections, unload all models, free the port.

        First no more connections and requests are taken, predictions end with the stop reason `userStopped`, loads and
        downloads with an error, and their clients are told; other requests may finish. That takes *grace_seconds* at
        most (by default as the server was told), mostly much less, and 0 leaves it out. What follows takes a second,
        whatever clients do.

        Does nothing when the server is not running. Called in the server's own thread it returns before that is done.
        """
        if threading.current_thread() is self._thread:
            self.begin_stop(grace_seconds)
            return
        self.interrupt_start()
        with self._lock:
            self._end_thread(grace_seconds)
            _running.discard(self)

    def begin_stop(self, grace_seconds: float | None = None) -> None:
        """As `stop`, but return at once; `is_running` turns False when that is done, and `stop` waits for it.

        May be called again with 0, so that what an earlier call waits for is waited for no longer.
        """
        self._ending_seconds = self._grace_seconds if grace_seconds is None else require_grace(grace_seconds)
        self._request_end()

    def interrupt_start(self) -> None:
        """Make `start`, in another thread or below a signal handler, give up if it has not begun to listen."""
        self._is_start_interrupted = True
        opening, loop = self._opening, self._loop
        if opening is not None and loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(opening.cancel)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        from anyio import to_thread

        await to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from anyio import CancelScope, to_thread

        with CancelScope(shield=True):
            await to_thread.run_sync(self.stop)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.host}:{self.port}, {'running' if self.is_running else 'stopped'}>"

    # The background thread -------------------------------------------------------------------------------------------

    def _run(self, sock: socket.socket, started: Future[None]) -> None:
        with sock:
            try:
                asyncio.run(self._serve(sock, started))
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                else:
                    _logger.exception("The server on port %s ended unexpectedly", self.port, extra=fields())

    async def _serve(self, sock: socket.socket, started: Future[None]) -> None:
        from lmstudio.server.http.telemetry import open_telemetry
        from lmstudio.server.listener import Listener

        observer = self._observer = open_telemetry(self._http, self._new_clock())
        core = self._core = self._new_core()
        if isinstance(core, Observable):
            core.tell(observer)
        try:
            async with contextlib.AsyncExitStack() as ending:
                self._loop = asyncio.get_running_loop()
                await self._opened(core, ending)
                self._listener = Listener(core, self._app_settings(), lambda: started.set_result(None), self._wind_down)
                if self._is_ending:
                    self._listener.stopping.set()
                await self._listener.serve([sock])
        finally:
            try:
                await wait_within(core.aclose(), CORE_END_SECONDS)
            except Exception:
                _logger.exception("Could not unload all models", extra=fields())
            await observer.aclose()

    async def _opened(self, core: Core, ending: contextlib.AsyncExitStack) -> None:
        # A task of its own, because it may take minutes, and whoever stops the server meanwhile need not wait.
        self._opening = asyncio.ensure_future(self._open(core, ending))
        try:
            if self._is_ending or self._is_start_interrupted:
                self._opening.cancel()
            await self._opening
        finally:
            self._opening = None

    def _app_settings(self) -> AppSettings:
        from lmstudio.server.app import AppSettings
        from lmstudio.server.connection import ConnectionLimits

        limits = self._limits or ConnectionLimits()
        return AppSettings(self._api_tokens, self._origins, limits, self._http, self._observer)

    def _find_binding(self, host: str, port: int) -> Binding:
        """Where to listen. Refuses to be open to everybody, unless that is wanted."""
        binding = Binding.find(host, port)
        if not (binding.is_local or self._api_tokens or self._is_insecure):
            raise ServerStartError(
                f"Everybody who can reach {host} could use this server, because it has no API token; give it one "
                "(api_tokens, or --api-token-file on the command line), listen on 127.0.0.1, or say that this is "
                "wanted (insecure=True, or --insecure)."
            )
        return binding

    def _require_packages(self, *packages: str) -> None:
        """Raise ServerStartError if one of *packages* is missing."""
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ServerStartError(
                f"{self._what} needs {', '.join(missing)}, not installed here; "
                f"run: pip install 'lmstudio[{self._extra}]'"
            )

    def _abandon(self) -> None:
        self._thread = self._loop = self._listener = None
        self._lock = threading.Lock()
        if self._socket is not None:
            self._socket.close()  # else the port stays in use for as long as this process lives

    def _request_end(self) -> None:
        self._is_ending = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._end_in_loop)

    def _end_in_loop(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._listener is not None:
            self._listener.stopping.set()
        if self._winding_down is not None and self._ending_seconds == 0:
            self._winding_down.cancel()

    async def _wind_down(self) -> None:
        assert self._core is not None  # the listener that calls this serves it
        self._winding_down = asyncio.ensure_future(self._core.wind_down(self._ending_seconds))
        try:
            await asyncio.wait([self._winding_down])
            if not self._winding_down.cancelled():
                self._winding_down.result()
        except Exception:
            _logger.exception("Could not end all requests properly", extra=fields())
        finally:
            self._winding_down = None

    def _end_thread(self, grace_seconds: float | None = None) -> None:
        thread = self._thread
        self._is_start_interrupted = False
        if thread is None:
            return
        self.begin_stop(grace_seconds)
        thread.join(self._ending_seconds + _STOP_SECONDS)
        if thread.is_alive():
            _logger.error("The server on port %s does not end", self.port, extra=fields())
        self._thread = self._loop = self._listener = None


# Servers that must be stopped before the interpreter ends.
_running: set[BackgroundServer] = set()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.stop()


def _forget_all() -> None:
    """In a forked child: threads and clients are the parent's."""
    for server in _running:
        server._abandon()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def require_grace(seconds: float) -> float:
    """*seconds*, if that is how long somebody can wait.

    Raises:
        LMStudioValueError: it is not.
    """
    if not 0 <= seconds <= threading.TIMEOUT_MAX - _STOP_SECONDS:
        raise LMStudioValueError(f"grace_seconds must be a number of seconds from 0 on, not {seconds!r}.")
    return seconds


def if_started(value: T | None) -> T:
    """*value*.

    Raises:
        LMStudioRuntimeError: there is none yet.
    """
    if value is None:
        raise LMStudioRuntimeError("The server has not been started.")
    return value
