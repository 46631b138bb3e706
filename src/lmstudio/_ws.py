"""Connections: open the WebSocket of a namespace, authenticate, and keep it until it ends.

The one module that knows httpx-ws. It opens the connection, on what `_dial` provides; from then on `_transfer` reads
and writes its frames. The stock session of httpx-ws is not used: it stops reading while one consumer is slow, which
makes its keep-alive close healthy connections, it can hang on a peer that went away, and it turns every error into an
exception group.

Each connection is owned by one task, which opens, reads and closes it. No cancel scope is open while user code runs.
"""

from __future__ import annotations

import contextlib
import math
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
from msgspec import UNSET

from . import _lenient, _wire
from ._discovery import find_local_server, no_local_server_error
from ._explain import attempt_timed_out, cannot_connect, explain, may_pass, not_authenticated
from ._retries import NO_RETRIES, RetryConfig
from ._timeouts import DEFAULT_TIMEOUT
from ._transfer import CLOSE_SECONDS, FrameTransfer, LinkDownError, LoopHooks
from .errors import LMStudioError, LMStudioWebsocketError, without_any_frames
from .json_api import Multiplexer, closed_error, fresh_copy
from .logs import WEBSOCKET, fields

if TYPE_CHECKING:
    import logging
    import ssl

    import httpx
    from httpcore import AsyncNetworkStream

    from ._address import ServerAddress
    from ._auth import Credentials
    from ._port import Port
    from ._proxy import Proxy
    from ._settings import ConnectionSettings
    from .errors import ConnectionPhase


class LinkManager:
    """The connections of one client in one event loop. Use it only there."""

    def __init__(self, settings: ConnectionSettings, hooks: LoopHooks) -> None:
        self._settings = settings
        self.logger: logging.Logger = settings.logger("websocket")
        self.hooks = hooks
        self._links: dict[str, _Link] = {}
        self._running: set[_Link] = set()
        """Also those that are lost, until they have cleaned up."""
        self._http: httpx.AsyncClient | None = None
        self._address = settings.address()
        self._resolving = anyio.Lock()
        self.was_reached = False
        """There was a connection to the server before."""

    def start(self, namespace: str, multiplexer: Multiplexer) -> None:
        """Connect *multiplexer* to *namespace*, in a task of its own."""
        link = _Link(self, namespace, multiplexer)
        if namespace in self._links:
            link.note("Connecting again")
        self._links[namespace] = link
        self._running.add(link)
        self.hooks.spawn(link.run())
        if sys.version_info < (3, 11):
            self.hooks.spawn(link.pass_on_cancellation())

    def ended(self, link: _Link) -> None:
        """*link* has cleaned up."""
        self._running.discard(link)

    def is_connected(self, namespace: str) -> bool:
        """Whether this namespace has an authenticated connection that is not known to be lost."""
        link = self._links.get(namespace)
        return link is not None and link.is_open

    def is_idle(self, namespace: str) -> bool:
        """Whether this namespace has a connection that nothing is asked on."""
        return self.is_connected(namespace) and self._links[namespace].multiplexer.is_idle

    def notice_loss(self, namespace: str) -> None:
        """Find out now whether an idle connection is lost: the loop may have been too busy to see it.

        Otherwise the next call would go out on it, and fail.
        """
        link = self._links.get(namespace)
        if link is not None and link.multiplexer.is_idle:
            link.read_pending()

    async def connect_now(self, port: Port) -> None:
        """Wait until *port* is connected, or raise why it cannot be."""
        multiplexer = port.live_multiplexer()
        link = self._links.get(port.namespace)
        if link is not None:
            await link.opened.wait()
        if multiplexer.failure is not None:
            raise fresh_copy(multiplexer.failure)

    @property
    def known_address(self) -> ServerAddress | None:
        """The server's address if it was given or has been found."""
        return self._address

    @property
    def address_text(self) -> str | None:
        """As `Runtime.server_address`; from any thread."""
        address = self._address
        return None if address is None else address.api_host

    def close_soon(self, namespace: str | None = None) -> list[_Link]:
        """Make one connection end, or all of them; does not wait for the end."""
        names = list(self._links) if namespace is None else [namespace]
        links = [link for name in names if (link := self._links.pop(name, None))]
        for link in links:
            link.close()
        return links

    def forget_calls(self) -> None:
        """Let nobody learn that the connections end: the interpreter ends, and who still waits are daemon threads.

        An error would make each of them print a traceback.
        """
        for link in self._running:
            link.multiplexer.failure = closed_error()

    async def aclose(self, namespace: str | None = None) -> None:
        """Close one connection, or all of them and the manager's own resources. Takes seconds at most."""
        links = self.close_soon(namespace)
        if namespace is None:
            links += self._running.difference(links)
        with anyio.move_on_after(2 * CLOSE_SECONDS, shield=True):
            for link in links:
                await link.ended.wait()
            if namespace is None and self._http is not None:
                http, self._http = self._http, None
                await http.aclose()

    def forget_address(self) -> None:
        """The server was not there: look for it again next time, if it is for us to find."""
        self._address = self._settings.address()

    async def address(self) -> ServerAddress:
        """The server's address. Raises LMStudioWebsocketError if there is no local server."""
        async with self._resolving:
            if self._address is None:
                self._address = await find_local_server(self.http())
            if self._address is None:
                raise no_local_server_error()
            return self._address

    def http(self) -> httpx.AsyncClient:
        """The shared HTTP client."""
        if self._http is None:
            self._http = new_http_client(
                secure=self._address is not None and self._address.secure,
                tls=self._settings.tls,
                proxy=self._settings.proxy,
            )
        return self._http

    @property
    def credentials(self) -> Credentials:
        return self._settings.credentials

    @property
    def has_proxy(self) -> bool:
        return self._settings.proxy is not None

    @property
    def connect_seconds(self) -> float | None:
        """How long one attempt to connect may take, None for any time."""
        seconds = self._settings.timeout.over(DEFAULT_TIMEOUT).connect
        return None if seconds is UNSET else seconds

    @property
    def connect_retry(self) -> RetryConfig:
        """When to try again to connect.

        That nobody listens where a client connects for the first time is mostly a wrong address, or a server that was
        not started: unless the user wants otherwise, it is reported at once.
        """
        wanted = self._settings.own_retry
        if wanted is not None:
            return wanted
        return RetryConfig() if self.was_reached else NO_RETRIES


def new_http_client(
    *, secure: bool, tls: ssl.SSLContext | bool = True, proxy: Proxy | None = None
) -> httpx.AsyncClient:
    """An HTTP client for one server. Proxy variables of the environment do not apply: most servers are local.

    *secure*: it is reached by TLS. *tls* as in `ConnectionSettings`. Loading the CA store takes tens of milliseconds
    and is skipped where there is no TLS.
    """
    import httpx

    from ._dial import Transport

    def context(is_used: bool) -> ssl.SSLContext:
        return httpx.create_ssl_context(verify=tls if is_used else False, trust_env=False)

    proxy_context = context(True) if proxy is not None and proxy.scheme == "https" else None
    return httpx.AsyncClient(
        transport=Transport(context(secure), proxy, proxy_context),
        trust_env=False,
        timeout=None,  # connecting as a whole has a limit, and so has the probe of a port
    )


class _Session:
    """What httpx-ws hands the upgraded stream to; reading, writing and closing it is the link's business."""

    def __init__(self, stream: AsyncNetworkStream, **_options: object) -> None:
        self.stream = stream

    async def __aenter__(self) -> _Session:  # noqa: PYI034 - not subclassed
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return


class _Link:
    """One connection: its owner task is `run`."""

    def __init__(self, manager: LinkManager, namespace: str, multiplexer: Multiplexer) -> None:
        self._manager = manager
        self._namespace = namespace
        self.multiplexer = multiplexer
        self.opened = anyio.Event()
        """Authenticated, or failed to get there."""
        limit = manager.connect_seconds
        multiplexer.patience = math.inf if limit is None else limit
        multiplexer.on_patience = self._limit_attempt
        self._attempt_scope: anyio.CancelScope | None = None
        self._attempt_began = 0.0
        self.ended = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._last_messages: list[_wire.Outgoing] = []
        self._closing = False
        self._transfer: FrameTransfer | None = None

    @property
    def is_open(self) -> bool:
        return self.opened.is_set() and self.multiplexer.failure is None

    def read_pending(self) -> None:
        """Read what has arrived already."""
        if self._transfer is not None:
            self._transfer.read_pending()

    def close(self) -> None:
        """Let the owner task flush what is queued, say goodbye and end. Calls in flight fail."""
        self._closing = True
        # Taken first: failing clears the queue, and the cancel packets in it must still reach the server.
        self._last_messages = self.multiplexer.take_outgoing() if self.is_open else []
        self.multiplexer.fail(closed_error())
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Connect, move frames, clean up. Every failure ends in the multiplexer; nothing is raised but cancellation."""
        try:
            with anyio.CancelScope() as self._scope:
                if self._closing:
                    return
                await self._connect_and_serve()
        except LinkDownError as down:
            self._lose(down.error)
        except Exception as error:  # a bug, here or in a library: whoever waits has to learn of it
            self._lose(_unforeseen(error))
        finally:
            self._lose(closed_error(), was_lost=False)
            self._manager.ended(self)
            self.opened.set()
            self.ended.set()

    def note(self, event: str, url: str | None = None) -> None:
        """Write a detail into the log."""
        self._manager.logger.log(WEBSOCKET, event, extra=fields(namespace=self._namespace, url=url))

    async def pass_on_cancellation(self) -> None:
        """Close the link when all tasks are cancelled, at the end of a loop.

        Before Python 3.11, a cancellation of `run` that meets one inside anyio is lost, and the loop would never end.
        """
        try:
            await self.ended.wait()
        finally:
            self.close()

    def _lose(self, error: LMStudioError, *, was_lost: bool = True) -> None:
        if self.multiplexer.failure is None:
            error.with_context(namespace=self._namespace, address=self._manager.address_text)
            logger = self._manager.logger
            logger.debug("Connection of %s ended: %s", self._namespace, error, extra=fields(error))
            self._manager.forget_address()
            self.multiplexer.fail(error, was_lost=was_lost and self.multiplexer.ready_at is not None)

    async def _connect_and_serve(self) -> None:
        resources = contextlib.AsyncExitStack()
        try:
            transfer = await self._connect(resources)
            await transfer.run(lambda: self._last_messages)
        finally:
            await _close(resources)

    async def _connect(self, resources: contextlib.AsyncExitStack) -> FrameTransfer:
        """An authenticated connection, at the first attempt or a later one."""
        for retry in count():
            try:
                return await self._attempt(resources)
            except LinkDownError as down:
                delay = self._manager.connect_retry.delay(retry) if down.is_transient else None
                if delay is None:
                    raise
                await _close(resources)
                self._manager.forget_address()
                self.multiplexer.end_attempt(is_ready=False)
                known = fields(down.error, namespace=self._namespace, attempt=retry + 1)
                self._manager.logger.warning("%s Trying again in %.1f seconds.", down.error, delay, extra=known)
            await anyio.sleep(delay)
        raise AssertionError("count() has no end")

    async def _attempt(self, resources: contextlib.AsyncExitStack) -> FrameTransfer:
        address: ServerAddress | None = None
        try:
            # The scope is there until the attempt is over, because a call may allow it more time.
            with anyio.CancelScope() as self._attempt_scope:
                self._attempt_began = anyio.current_time()
                self._limit_attempt()
                self.multiplexer.begin_attempt()
                self._reach("greeting", None)
                try:
                    address = await self._manager.address()
                except LMStudioError as error:
                    raise LinkDownError(error, is_transient=True) from None
                url = address.websocket_url(self._namespace)
                self.note(f"Connecting to {url}", url=url)
                stream = await self._open(resources, address, url)
                self._reach("authentication", url)
                self.note("Opened; authenticating", url=url)
                transfer = FrameTransfer(stream, self.multiplexer, self._manager.hooks, self._lose, self.note)
                await self._authenticate(transfer, url)
                self._transfer = transfer
                self._be_ready(address, url)
                return transfer
        finally:
            self._attempt_scope = None
        phase, reached = self.multiplexer.connecting or ("greeting", None)
        failure = await attempt_timed_out(address, reached, phase, self.multiplexer.patience)
        raise LinkDownError(failure, is_transient=True)

    def _reach(self, phase: ConnectionPhase, url: str | None) -> None:
        self.multiplexer.connecting = phase, url

    def _be_ready(self, address: ServerAddress, url: str) -> None:
        self._manager.was_reached = True
        self.opened.set()
        self.multiplexer.end_attempt(is_ready=True)
        seconds = anyio.current_time() - self._attempt_began
        known = fields(namespace=self._namespace, address=address.api_host, url=url, seconds=seconds)
        self._manager.logger.debug("Connected to %s", url, extra=known)

    def _limit_attempt(self) -> None:
        if self._attempt_scope is not None:
            self._attempt_scope.deadline = self._attempt_began + self.multiplexer.patience

    async def _open(self, resources: contextlib.AsyncExitStack, address: ServerAddress, url: str) -> AsyncNetworkStream:
        import httpx
        import httpx_ws

        # The stubs want a subclass of the stock session, whose whole behaviour is what we replace.
        session_class: Any = _Session
        phases = _phases_of(has_proxy=self._manager.has_proxy)

        async def trace(event: str, _info: object) -> None:
            if event in phases:
                self._reach(phases[event], url)

        opening = httpx_ws.aconnect_ws(
            url,
            self._manager.http(),
            session_class=session_class,
            keepalive_ping_interval_seconds=None,
            timeout=None,
            extensions={"trace": trace},
        )
        try:
            session: Any = await resources.enter_async_context(opening)
        except (httpx_ws.WebSocketUpgradeError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = await explain(self._manager.http(), address, url, error)
            is_transient = may_pass(error, self._manager.connect_retry.retry_on_status)
            raise LinkDownError(failure, is_transient=is_transient) from None
        stream: AsyncNetworkStream = session.stream
        return stream

    async def _authenticate(self, transfer: FrameTransfer, url: str) -> None:
        messages: list[bytes] = []
        try:
            await transfer.write_message(_wire.encode(self._manager.credentials.packet()))
            while not messages:
                messages = await transfer.read_messages()
        except LinkDownError as down:
            reason = "the server ended the connection instead of answering the authentication"
            # Its frames hold the passkey.
            failure = cannot_connect(url, "authentication", reason, without_any_frames(down.error))
            raise LinkDownError(failure, is_transient=True) from None
        try:
            answer = _wire.read_auth_result(messages.pop(0))
        except _lenient.DECODE_ERRORS as error:
            reason = "the answer to the authentication is not one of LM Studio"
            raise LinkDownError(cannot_connect(url, "authentication", reason, error)) from None
        if not answer.success:
            raise LinkDownError(not_authenticated(url, answer.error or "no reason given"))
        self.multiplexer.receive(messages)


def _unforeseen(error: Exception) -> LMStudioWebsocketError:
    while group := getattr(error, "exceptions", None):
        error = group[0]  # what a task group made of the one failure
    failure = LMStudioWebsocketError(f"The connection to LM Studio failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure


def _phases_of(*, has_proxy: bool) -> dict[str, ConnectionPhase]:
    """What begins with an event of httpcore's trace."""
    return {
        "connection.connect_tcp.started": "proxy" if has_proxy else "tcp",
        "connection.start_tls.started": "tls",
        "http11.send_request_headers.started": "websocket",
    }


async def _close(resources: contextlib.AsyncExitStack) -> None:
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await resources.aclose()
