"""Connections of the asynchronous surface: one pool for each event loop that the client is used in."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx

from lmstudio._async_io import loop_hooks, running_loop
from lmstudio._dial import Dialer
from lmstudio.errors import LMStudioRuntimeError

from . import _io
from ._exchange import Connections, ExchangeError, IncomingReply
from ._socket_reads import SocketReader, can_read_from

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

    from lmstudio._async_io import EventLoop

    from ._clock import CallClock
    from ._exchange import OutgoingRequest
    from ._io import HttpOptions


class AsyncConnections(Connections):
    """Those of one client. A client or a transport of the user is used as it is."""

    def __init__(
        self, options: HttpOptions, http_client: httpx.AsyncClient | None, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._options = options
        self._given_client, self._given_transport = http_client, transport
        self._pools: dict[EventLoop, _Pool] = {}
        self._is_closed = False
        weakref.finalize(self, _close_soon, self._pools).atexit = False  # no loop runs then

    def reopen(self) -> None:
        """Allow connections again after `aclose`."""
        self._is_closed = False

    def _pool(self) -> _Pool:
        """That of the running loop."""
        loop = running_loop()
        if loop is None:
            raise LMStudioRuntimeError(
                "AsyncHttpClient works in tasks of asyncio and of trio only. Use lmstudio.http.HttpClient elsewhere."
            )
        if self._is_closed:
            raise _io.closed_error()
        pool = self._pools.get(loop)
        if pool is None:
            # Loops come and go; the pools of those that are over have closed themselves.
            for other, its_pool in list(self._pools.items()):
                if its_pool.hooks.is_over():
                    self._pools.pop(other, None)
            pool = self._pools[loop] = self._new_pool(loop)
        return pool

    def _new_pool(self, loop: EventLoop) -> _Pool:
        if self._given_client is not None:
            return _Pool(self._given_client, loop, is_own=False, is_clocked=False)
        transport = self._given_transport or _Transport(self._options)
        http = httpx.AsyncClient(transport=transport, trust_env=False)
        return _Pool(http, loop, is_own=True, is_clocked=self._given_transport is None)

    async def send(self, request: OutgoingRequest, clock: CallClock) -> IncomingReply:
        pool = self._pool()
        await pool.close_forgotten()
        limits: Any = dict.fromkeys(("connect", "read", "write"), clock) if pool.is_clocked else _io.timeouts(clock)
        try:
            built = pool.http.build_request(
                request.method,
                request.url,
                content=request.content,
                headers=self._options.headers(request),
                extensions={"timeout": limits},
            )
            if request.content is not None:
                built.stream = _Body(request.content)
            response = await pool.http.send(built, stream=True, follow_redirects=False)
        except _io.ERRORS as error:
            if self._is_closed:
                raise ExchangeError("closed", "the client was closed", error, is_final=True) from None
            raise _io.failure(error, clock, has_reply=False) from None
        return _Reply(response, pool, clock)

    async def pause(self, seconds: float, clock: CallClock) -> None:
        pool = self._pool()
        woken = anyio.Event()
        clock.on_cancel = woken.set
        pool.pauses.add(woken)
        try:
            with anyio.move_on_after(seconds):
                await woken.wait()
        finally:
            pool.pauses.discard(woken)

    async def aclose(self) -> None:
        """Close the connections of every loop. Those of other loops end there, soon."""
        self._is_closed = True
        running = running_loop()
        for loop, pool in list(self._pools.items()):
            del self._pools[loop]
            if loop is running:
                await pool.aclose()
            pool.close_soon()


def _close_soon(pools: dict[EventLoop, _Pool]) -> None:
    """Make the pools of a client that was forgotten close themselves; from any thread."""
    for pool in list(pools.values()):
        pool.close_soon()


class _Pool:
    """The connections of one loop. They are closed before it ends."""

    def __init__(self, http: httpx.AsyncClient, loop: EventLoop, *, is_own: bool, is_clocked: bool) -> None:
        self.http, self.is_clocked = http, is_clocked
        self._is_own = is_own
        self.hooks = loop_hooks(loop)
        self.pauses: set[anyio.Event] = set()
        """What ends those between attempts."""
        self._forgotten: deque[_Reply] = deque()
        self._wanted_closed = anyio.Event()
        self.hooks.spawn(self._close_at_the_end())

    def forget(self, reply: _Reply) -> None:
        """Close *reply* soon; from any thread, also a finaliser."""
        self._forgotten.append(reply)
        self.hooks.post(self._spawn_closing)

    def _spawn_closing(self) -> None:
        self.hooks.spawn(self.close_forgotten())

    async def close_forgotten(self) -> None:
        while self._forgotten:
            await self._forgotten.popleft().aclose()

    def close_soon(self) -> None:
        self.hooks.post(self._wanted_closed.set)

    async def _close_at_the_end(self) -> None:
        try:
            await self._wanted_closed.wait()
        finally:
            with anyio.CancelScope(shield=True):  # takes no time: nobody says goodbye
                await self.aclose()

    async def aclose(self) -> None:
        for pause in self.pauses:
            pause.set()
        await self.close_forgotten()
        if self._is_own:
            await self.http.aclose()


class _Reply(IncomingReply):
    def __init__(self, response: httpx.Response, pool: _Pool, clock: CallClock) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response, self._pool, self._clock = response, pool, clock
        self._content = _io.content_of(response)
        self._decoder = _io.BodyDecoder(self.headers)
        self._pieces = response.aiter_raw()
        self._is_complete = self._is_closed = self._is_reading = False

    async def read(self) -> bytes:
        if self._content is not None:
            data, self._content, self._is_complete = self._content, b"", True
            return data
        data = b""
        while not (data or self._is_complete or self._is_closed):
            self._is_reading = True
            self._clock.received()  # what came last time, where no stream of ours does it
            try:
                if self._pool.is_clocked:  # its streams look at the clock themselves
                    piece = await anext(self._pieces, b"")
                else:
                    with anyio.fail_after(self._clock.seconds("read")):
                        piece = await anext(self._pieces, b"")
            except _io.ERRORS as error:
                raise _io.failure(error, self._clock, has_reply=True) from None
            finally:
                self._is_reading = False
            self._is_complete = not piece
            data = self._decoder.feed(piece)
        return data

    async def aclose(self) -> None:
        self._is_closed = True
        if not (self._is_complete or self._is_reading):
            self._is_reading = True  # whoever closes it as well, such as `close_forgotten`, leaves this to us
            self._shut_down()
            # The generators beneath have to end: the loop would finalise them, later, and trio warns of that.
            if self._pool.is_clocked:
                with contextlib.suppress(*_io.ERRORS):
                    while await anext(self._pieces, b""):
                        pass
            else:
                await self._pieces.aclose()  # type: ignore[attr-defined]  # it is one
            self._is_complete = True
        await self._response.aclose()

    def abandon(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._shut_down()
            self._pool.forget(self)

    def _shut_down(self) -> None:
        stream = self._response.extensions.get("network_stream")
        if isinstance(stream, _Stream):
            stream.shut_down()


class _Body(httpx.AsyncByteStream):
    """What is sent. That of httpx is a generator, of which trio warns where it cannot be sent to its end."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> _Pieces:
        return _Pieces(self._content)


class _Pieces:
    """One iteration over a body in one piece."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's own, over streams of ours."""

    def __init__(self, options: HttpOptions) -> None:
        super().__init__(verify=options.context(is_used=False), trust_env=False)
        # httpx has no parameter for the backend; pyproject.toml pins the minor version for this.
        self._pool = httpcore.AsyncConnectionPool(
            **options.pool_options(), network_backend=_Backend(Dialer(options.proxy, options.proxy_context()))
        )


class _Backend(httpcore.AsyncNetworkBackend):
    """Makes connections that wait by the clock of a call: httpcore passes on what it takes for a number of seconds."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        clock: CallClock = timeout
        clock.connecting()
        if self._dialer.has_proxy:
            clock.phase = "proxy"
        try:
            with anyio.fail_after(clock.seconds("connect")):
                stream = await self._dialer.connect_tcp(host, port, None, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        return _Stream(stream, is_plain=not self._dialer.has_proxy)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection; *timeout* of its methods is the clock of a call. *is_plain*: what is sent goes through a socket as
    it is.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, *, is_plain: bool) -> None:
        self._stream, self._is_plain = stream, is_plain
        self._reader: SocketReader | None = None
        self._has_answered = False
        self._is_shut_down = False

    async def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        clock = self._watched(timeout)
        if self._is_plain and self._reader is None:
            socket = self._stream.get_extra_info("socket")
            if can_read_from(socket):
                self._reader = await SocketReader.of(socket)
            self._is_plain = False
        data = await (self._reader or self._stream).read(max_bytes, clock.seconds("read"))
        clock.received()
        self._has_answered = True
        return data

    async def write(self, buffer: bytes, timeout: Any = None) -> None:
        clock = self._watched(timeout)
        clock.is_reused = self._has_answered
        for start in range(0, len(buffer), _io.WRITE_SIZE):
            clock.begin_write()
            await self._stream.write(buffer[start : start + _io.WRITE_SIZE], clock.seconds("write"))
        clock.begin_wait()

    def _watched(self, clock: CallClock) -> CallClock:
        """*clock*, after a look whether it is time to end."""
        clock.on_cancel = self.shut_down
        if self._is_shut_down or clock.is_cancelled:
            raise httpcore.ReadError("the call was ended")
        return clock

    async def aclose(self) -> None:
        if self._reader is not None:
            self._reader.close()
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.AsyncNetworkStream:
        clock: CallClock = timeout
        clock.phase = "tls"
        stream = await self._stream.start_tls(ssl_context, server_hostname, clock.seconds("connect"))
        return _Stream(stream, is_plain=False)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._reader is not None and self._reader.has_input:
            return True  # the socket does not know any more
        return self._stream.get_extra_info(info)

    def shut_down(self) -> None:
        """End both directions at once, from any thread; who waits here is woken."""
        self._is_shut_down = True
        _io.shut_down(self._stream.get_extra_info("socket"))
