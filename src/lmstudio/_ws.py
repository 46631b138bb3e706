"""Connections: open the WebSocket of a namespace, authenticate, and keep it until it ends.

The one module that knows httpx and httpx-ws. They open the connection; from then on `_transfer` reads and writes its
frames. The stock session of httpx-ws is not used: it stops reading while one consumer is slow, which makes its
keep-alive close healthy connections, it can hang on a peer that went away, and it turns every error into an exception
group.

Each connection is owned by one task, which opens, reads and closes it. No cancel scope is open while user code runs.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from . import _lenient, _wire
from ._address import ServerAddress, parse_api_host
from ._discovery import find_local_server
from ._transfer import CLOSE_SECONDS, FrameTransfer, LinkDownError, LoopHooks, describe
from .errors import LMStudioAuthenticationError, LMStudioError, LMStudioValueError, LMStudioWebsocketError
from .json_api import Multiplexer, Port, closed_error, fresh_copy

if TYPE_CHECKING:
    import httpx
    from httpcore import AsyncNetworkStream

    from ._auth import Credentials


CONNECT_SECONDS = 5.0
"""For TCP and TLS, each."""
AUTHENTICATION_SECONDS = 10.0
"""For the answer to the upgrade and that to the authentication, each: what lmstudio.js's server allows for its side."""


class ConnectionSettings(msgspec.Struct, frozen=True):
    """Where and as whom to connect. *api_host* None: find the local server."""

    api_host: str | None
    credentials: Credentials
    own_logger: logging.Logger | None = None
    """What the user wants to hear of this client on; None for those of the package."""

    def logger(self, area: str) -> logging.Logger:
        """As `Runtime.logger`."""
        return logging.getLogger(f"lmstudio.{area}") if self.own_logger is None else self.own_logger.getChild(area)

    def address(self) -> ServerAddress | None:
        """The address given by the user, None if the local server is to be found."""
        return None if self.api_host is None else parse_api_host(self.api_host)


def check_logger(logger: object) -> logging.Logger | None:
    """*logger*, if it is one or None."""
    if logger is None or isinstance(logger, logging.Logger):
        return logger
    raise LMStudioValueError(f"logger must be a logging.Logger, got {type(logger).__name__}.")


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

    def start(self, namespace: str, multiplexer: Multiplexer) -> None:
        """Connect *multiplexer* to *namespace*, in a task of its own."""
        link = _Link(self, namespace, multiplexer)
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
                raise LMStudioWebsocketError(
                    "LM Studio is not reachable: no server answered on any of its local ports. "
                    "Is LM Studio running? If it is on another machine or port, pass its address, "
                    "e.g. Client('192.168.0.10:1234'). Without LM Studio: python -m lmstudio serve."
                )
            return self._address

    def http(self) -> httpx.AsyncClient:
        """The shared HTTP client."""
        if self._http is None:
            self._http = new_http_client(secure=self._address is not None and self._address.secure)
        return self._http

    @property
    def credentials(self) -> Credentials:
        return self._settings.credentials


def new_http_client(*, secure: bool) -> httpx.AsyncClient:
    """An HTTP client for one server. Proxy variables of the environment do not apply: most servers are local.

    Loading the CA store takes tens of milliseconds and is skipped where there is no TLS.
    """
    import httpx

    return httpx.AsyncClient(
        verify=secure,
        trust_env=False,
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
        # Upgraded connections are their owners' to close; one that a greeting left behind would be nobody's.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
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
        finally:
            self._lose(closed_error())
            self._manager.ended(self)
            self.opened.set()
            self.ended.set()

    async def pass_on_cancellation(self) -> None:
        """Close the link when all tasks are cancelled, at the end of a loop.

        Before Python 3.11, a cancellation of `run` that meets one inside anyio is lost, and the loop would never end.
        """
        try:
            await self.ended.wait()
        finally:
            self.close()

    def _lose(self, error: LMStudioError) -> None:
        if self.multiplexer.failure is None:
            self._manager.logger.debug("Connection of %s ended: %s", self._namespace, error)
            self._manager.forget_address()
            self.multiplexer.fail(error)

    async def _connect_and_serve(self) -> None:
        try:
            address = await self._manager.address()
        except LMStudioError as error:
            raise LinkDownError(error) from None
        url = address.websocket_url(self._namespace)
        resources = contextlib.AsyncExitStack()
        try:
            stream = await self._open(resources, url)
            transfer = FrameTransfer(stream, self.multiplexer, self._manager.hooks, self._lose)
            await self._authenticate(transfer, url)
            self._transfer = transfer
            self.opened.set()
            self._manager.logger.debug("Connected to %s", url)
            await transfer.run(lambda: self._last_messages)
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await resources.aclose()

    async def _open(self, resources: contextlib.AsyncExitStack, url: str) -> AsyncNetworkStream:
        import httpx
        import httpx_ws

        # The stubs want a subclass of the stock session, whose whole behaviour is what we replace.
        session_class: Any = _Session
        opening = httpx_ws.aconnect_ws(
            url,
            self._manager.http(),
            session_class=session_class,
            keepalive_ping_interval_seconds=None,
            timeout=httpx.Timeout(AUTHENTICATION_SECONDS, connect=CONNECT_SECONDS),
        )
        try:
            session: Any = await resources.enter_async_context(opening)
        except httpx_ws.WebSocketUpgradeError as error:
            status = error.response.status_code
            reason = f"the server answered with HTTP status {status}; is it LM Studio that listens there?"
            raise _cannot_connect(url, reason, error) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            what = "timed out" if isinstance(error, httpx.TimeoutException) else describe(error)
            reason = (
                f"LM Studio is not reachable ({what}). Is it running there, with its server started and, on another "
                "machine, with 'Serve on Local Network' on?"
            )
            raise _cannot_connect(url, reason, error) from None
        stream: AsyncNetworkStream = session.stream
        return stream

    async def _authenticate(self, transfer: FrameTransfer, url: str) -> None:
        messages: list[bytes] = []
        try:
            with anyio.fail_after(AUTHENTICATION_SECONDS):
                await transfer.write_message(_wire.encode(self._manager.credentials.packet()))
                while not messages:
                    messages = await transfer.read_messages()
        except TimeoutError as error:
            reason = f"no answer to the authentication within {AUTHENTICATION_SECONDS:.0f} seconds"
            raise _cannot_connect(url, reason, error) from None
        except LinkDownError as down:
            reason = "the server ended the connection instead of answering the authentication"
            raise _cannot_connect(url, reason, down.error) from None
        try:
            answer = _wire.read_auth_result(messages.pop(0))
        except _lenient.DECODE_ERRORS as error:
            raise _cannot_connect(url, "the answer to the authentication is not one of LM Studio", error) from None
        if not answer.success:
            reason = answer.error or "no reason given"
            raise LinkDownError(
                LMStudioAuthenticationError(
                    f"Authentication failed at {url}: {reason}. "
                    "Pass an API token of this server with api_token=..., or set LM_API_TOKEN.",
                    {"title": reason},
                )
            )
        self.multiplexer.receive(messages)


def _cannot_connect(url: str, reason: str, cause: BaseException) -> LinkDownError:
    end = "" if reason.endswith((".", "?")) else "."
    error = LMStudioWebsocketError(f"Could not connect to {url}: {reason}{end}")
    error.__cause__ = cause
    return LinkDownError(error)
