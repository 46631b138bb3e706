"""Connections of the synchronous surface: sockets that block the caller's thread.

All waits are cut into slices, so that Ctrl-C interrupts them on every platform.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import math
import os
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from lmstudio._async_io import start_work
from lmstudio._dial import (
    DialError,
    ProxyRefusalError,
    connect_by_http,
    connect_by_socks,
    describe_os_error,
    describe_tls_error,
)
from lmstudio.json_api import run_blocking

from . import _io
from ._exchange import Connections, ExchangeError, IncomingReply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lmstudio._proxy import Proxy

    from ._clock import CallClock
    from ._exchange import OutgoingRequest
    from ._io import HttpOptions

_SLICE_SECONDS: Final = 0.1 if os.name == "nt" else 0.5
_WINDOWS_WOULD_BLOCK: Final = 10035


class SyncConnections(Connections):
    """Those of one client, for all threads. A client or a transport of the user is used as it is."""

    def __init__(
        self, options: HttpOptions, http_client: httpx.Client | None, transport: httpx.BaseTransport | None
    ) -> None:
        self._options = options
        self._given_client, self._given_transport = http_client, transport
        self._pools: list[_Pool] = []
        """At most one of this process; a forked child leaves those of its parent alone."""
        self._is_closed = False
        weakref.finalize(self, _close, self._pools)

    def reopen(self) -> None:
        """Allow connections again after `close`."""
        self._is_closed = False

    def _open_pool(self) -> _Pool:
        with _lock:
            if self._is_closed:
                raise _io.closed_error()
            if not self._pools or self._pools[-1].process_id != os.getpid():
                self._pools.append(self._new_pool())
            return self._pools[-1]

    def _new_pool(self) -> _Pool:
        if self._given_client is not None:
            return _Pool(self._given_client, is_own=False)
        if self._given_transport is not None:
            return _Pool(httpx.Client(transport=self._given_transport, trust_env=False))
        streams: weakref.WeakSet[_Stream] = weakref.WeakSet()
        transport = _Transport(self._options, streams)
        return _Pool(httpx.Client(transport=transport, trust_env=False), streams=streams)

    async def send(self, request: OutgoingRequest, clock: CallClock) -> IncomingReply:
        pool = self._open_pool()
        pool.close_forgotten()
        limits: Any = _io.timeouts(clock)
        if pool.streams is not None:
            limits = dict.fromkeys(("connect", "read", "write"), clock)
        try:
            built = pool.http.build_request(
                request.method,
                request.url,
                content=request.content,
                headers=self._options.headers(request),
                extensions={"timeout": limits},
            )
            response = pool.http.send(built, stream=True, follow_redirects=False)
        except _io.ERRORS as error:
            if self._is_closed:
                raise ExchangeError("closed", "the client was closed", error, is_final=True) from None
            raise _io.failure(error, clock, has_reply=False) from None
        return _Reply(response, pool, clock)

    async def pause(self, seconds: float, clock: CallClock) -> None:
        pauses = self._open_pool().pauses
        woken = threading.Event()
        clock.on_cancel = woken.set
        pauses.add(woken)
        try:
            while seconds > 0 and not woken.wait(min(seconds, _SLICE_SECONDS)):
                seconds -= _SLICE_SECONDS
        finally:
            pauses.discard(woken)

    def close(self) -> None:
        """Close the connections; calls in flight fail."""
        self._is_closed = True
        _close(self._pools)


def _close(pools: list[_Pool]) -> None:
    """Close what is of this process."""
    own = [pool for pool in pools if pool.process_id == os.getpid()]
    for pool in own:
        pools.remove(pool)
        pool.close()


_lock = threading.Lock()
"""Held for moments only, so one for all clients does."""


def _reset_after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # the thread that held it, if any, exists in the parent only


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


class _Pool:
    """The connections of one process."""

    def __init__(
        self, http: httpx.Client, *, is_own: bool = True, streams: weakref.WeakSet[_Stream] | None = None
    ) -> None:
        self.http, self._is_own = http, is_own
        self.streams = streams
        """Those that wait by clocks; None where the transport is not ours."""
        self.process_id = os.getpid()
        self.pauses: set[threading.Event] = set()
        """What ends those between attempts."""
        self._forgotten: deque[_Reply] = deque()

    def forget(self, reply: _Reply) -> None:
        """Close *reply* with the next call: a finaliser may run where the pool is locked."""
        self._forgotten.append(reply)

    def close_forgotten(self) -> None:
        while True:
            try:
                reply = self._forgotten.popleft()
            except IndexError:
                return
            reply.close()

    def close(self) -> None:
        for stream in list(self.streams or ()):
            stream.shut_down()  # wakes other threads
        for pause in tuple(self.pauses):
            pause.set()
        self.close_forgotten()
        if self._is_own:
            self.http.close()


class _Reply(IncomingReply):
    def __init__(self, response: httpx.Response, pool: _Pool, clock: CallClock) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response, self._pool, self._clock = response, pool, clock
        self._content = _io.content_of(response)
        self._decoder = _io.BodyDecoder(self.headers)
        self._pieces = response.iter_raw()
        self._is_over = False

    async def read(self) -> bytes:
        if self._content is not None:
            data, self._content = self._content, b""
            return data
        data = b""
        while not (data or self._is_over):
            self._clock.received()  # what came last time, where no stream of ours does it
            try:
                piece = next(self._pieces, b"")
            except _io.ERRORS as error:
                raise _io.failure(error, self._clock, has_reply=True) from None
            if self._pool.streams is None and self._clock.expired() is not None:
                raise ExchangeError("timeout", "nothing in time")
            data = self._decoder.feed(piece)
            if not piece:
                break
        return data

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._is_over = True
        self._response.close()

    def abandon(self) -> None:
        if not self._is_over:
            self._is_over = True
            stream = self._response.extensions.get("network_stream")
            if isinstance(stream, _Stream):
                stream.shut_down()
            self._pool.forget(self)


class _Transport(httpx.HTTPTransport):
    """httpx's own, over streams of ours."""

    def __init__(self, options: HttpOptions, streams: weakref.WeakSet[_Stream]) -> None:
        super().__init__(verify=options.context(is_used=False), trust_env=False)
        # httpx has no parameter for the backend; pyproject.toml pins the minor version for this.
        self._pool = httpcore.ConnectionPool(
            **options.pool_options(), network_backend=_Backend(options.proxy, options.proxy_context(), streams)
        )


class _Backend(httpcore.NetworkBackend):
    """Makes connections that wait by the clock of a call: httpcore passes on what it takes for a number of seconds."""

    def __init__(
        self, proxy: Proxy | None, proxy_context: ssl.SSLContext | None, streams: weakref.WeakSet[_Stream]
    ) -> None:
        self._proxy, self._proxy_context, self._streams = proxy, proxy_context, streams

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,  # noqa: ARG002 - neither is used by the pool
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        clock: CallClock = timeout
        clock.connecting()
        if self._proxy is None:
            return self._stream(_connect(host, port, clock))
        return self._connect_through(self._proxy, host, port, clock)

    def _stream(self, connection: socket.socket) -> _Stream:
        stream = _Stream(connection, self._streams)
        self._streams.add(stream)
        return stream

    def _connect_through(self, proxy: Proxy, host: str, port: int, clock: CallClock) -> _Stream:
        clock.phase = "proxy"
        try:
            stream = self._stream(_connect(proxy.host, proxy.port, clock))
            try:
                if self._proxy_context is not None:
                    stream = stream.start_tls(self._proxy_context, proxy.host, clock)
                    clock.phase = "proxy"
                shake_hands = connect_by_http if proxy.scheme in ("http", "https") else connect_by_socks
                run_blocking(shake_hands(_Handshake(stream, clock), proxy, host, port))
            except BaseException:
                stream.close()
                raise
        except DialError as error:
            raise DialError("proxy", f"the proxy {proxy.url}: {error.reason}", error.cause) from error
        except ProxyRefusalError as error:
            raise DialError("proxy", f"the proxy {proxy.url} did not connect: {error}", error) from error
        except httpcore.NetworkError as error:
            raise DialError("proxy", f"the proxy {proxy.url}: {error}", error) from error
        return stream


class _Handshake(httpcore.AsyncNetworkStream):
    """A connection to a proxy, for what asks it to connect: it blocks, and never suspends."""

    def __init__(self, stream: _Stream, clock: CallClock) -> None:
        self._stream, self._clock = stream, clock

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the clock counts
        data: bytes = self._stream.wait_in(lambda own: own.recv(max_bytes), self._clock, "connect")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.wait_in(lambda own: own.sendall(buffer), self._clock, "connect")


class _Stream(httpcore.NetworkStream):
    """A connection; *timeout* of its methods is the clock of a call."""

    def __init__(self, connection: socket.socket, streams: weakref.WeakSet[_Stream]) -> None:
        self._socket, self._streams = connection, streams
        self._has_answered = False
        self._is_shut_down = False

    def wait_in(self, step: Callable[[socket.socket], Any], clock: CallClock, what: Any) -> Any:
        """What *step* with the socket returns, as soon as it does not have to wait any more."""
        clock.on_cancel = self.shut_down
        while True:
            if self._is_shut_down or clock.is_cancelled:
                raise httpcore.ReadError("the call was ended")
            left = clock.seconds(what)
            self._socket.settimeout(_SLICE_SECONDS if left is None else max(min(_SLICE_SECONDS, left), 1e-3))
            try:
                return step(self._socket)
            except TimeoutError as error:
                left = clock.seconds(what)
                if left is not None and left <= 0:
                    raise _TIMEOUTS[what] from error
            except OSError as error:
                failure = httpcore.WriteError if what == "write" else httpcore.ReadError
                describe = describe_tls_error if isinstance(error, ssl.SSLError) else describe_os_error
                raise failure(describe(error)) from error

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        clock: CallClock = timeout
        data: bytes = self.wait_in(lambda own: own.recv(max_bytes), clock, "read")
        clock.received()
        self._has_answered = True
        return data

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        clock: CallClock = timeout
        clock.is_reused = self._has_answered
        rest = memoryview(buffer)
        while rest:
            clock.begin_write()
            piece = rest[: _io.WRITE_SIZE]
            rest = rest[self.wait_in(partial(_send, data=piece), clock, "write") :]
        clock.begin_wait()

    def close(self) -> None:
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> _Stream:
        clock: CallClock = timeout
        clock.phase = "tls"
        try:
            wrapped = ssl_context.wrap_socket(
                self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        except (OSError, ValueError) as error:
            self.close()
            raise DialError("tls", describe_tls_error(error), error) from error
        stream = _Stream(wrapped, self._streams)
        self._streams.add(stream)
        try:
            stream.shake_hands(clock)
        except BaseException:
            stream.close()
            raise
        return stream

    def shake_hands(self, clock: CallClock) -> None:
        """That of TLS."""
        try:
            self.wait_in(lambda own: own.do_handshake(), clock, "connect")  # type: ignore[attr-defined]  # it is one of ssl
        except httpcore.ReadError as error:
            cause = error.__cause__ or error
            raise DialError("tls", describe_tls_error(cause), cause) from error

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return _is_readable(self._socket)
        if info == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return self._socket if info == "socket" else None

    def shut_down(self) -> None:
        """End both directions at once, from any thread; who waits here is woken."""
        self._is_shut_down = True
        _io.shut_down(self._socket)


def _send(connection: socket.socket, data: memoryview) -> int:
    return connection.send(data)


_TIMEOUTS: Final = {
    "connect": httpcore.ConnectTimeout,
    "read": httpcore.ReadTimeout,
    "write": httpcore.WriteTimeout,
}


def _is_readable(connection: socket.socket) -> bool:
    """Whether an idle connection has something to say, which can only be that it ends."""
    if connection.fileno() < 0:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def _connect(host: str, port: int, clock: CallClock) -> socket.socket:
    """Connect to the first address of *host* that answers."""
    try:
        addresses = _resolve(host, port, clock)
    except OSError as error:
        raise DialError("dns", describe_os_error(error), error) from error
    failures: list[OSError] = []
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left = clock.seconds("connect")
        # One that does not answer must not take the time of those after it.
        share = None if left is None else left / (len(addresses) - number)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _connect_to(connection, address, share, clock)
        except OSError as error:
            connection.close()
            failures.append(error)
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    if any(isinstance(failure, TimeoutError) and failure.errno is None for failure in failures):
        clock.seconds("connect")
        raise httpcore.ConnectTimeout from failures[-1]
    raise DialError("tcp", "; ".join(dict.fromkeys(map(describe_os_error, failures))), failures[0])


def _connect_to(connection: socket.socket, address: Any, seconds: float | None, clock: CallClock) -> None:
    """Connect within *seconds*, or until the call is cancelled."""
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, _WINDOWS_WOULD_BLOCK):
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_WRITE)
            while not selector.select(max(0.0, min(_SLICE_SECONDS, deadline - time.monotonic()))):
                if clock.is_cancelled:
                    raise httpcore.ReadError("the call was ended")
                if time.monotonic() >= deadline:
                    raise TimeoutError
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _resolve(host: str, port: int, clock: CallClock) -> list[Any]:
    """The addresses of *host*. Looking up a name cannot be interrupted, so a thread does it that may be left behind."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    phase, clock.phase = clock.phase, "dns"
    looking_up = start_work(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    while not looking_up.done():
        if clock.is_cancelled:
            raise httpcore.ReadError("the call was ended")
        left = clock.seconds("connect")
        if left is not None and left <= 0:
            raise httpcore.ConnectTimeout
        futures.wait([looking_up], _SLICE_SECONDS if left is None else min(_SLICE_SECONDS, left))
    clock.phase = phase
    return looking_up.result()
