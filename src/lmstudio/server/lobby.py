"""Connections that have not said who they are: how many there may be, how long they may take, what they may send."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    import h11
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

_logger = logging.getLogger("lmstudio.server")

BODY_BYTES = 64 * 1024
"""With each so many of them a body gets the time of a request again: it may be long, but it must not trickle."""


class Lobby:
    """The transports of strangers, in the order in which they came.

    With more than *limit* of them the one that has waited longest is disconnected. Not the newest: idle connections
    would keep everybody out, while a client that means it needs only milliseconds.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transports: dict[asyncio.Transport, None] = {}

    def enter(self, transport: asyncio.Transport) -> None:
        """A connection was made."""
        self._transports[transport] = None
        if len(self._transports) > self._limit:
            longest = next(iter(self._transports))
            _logger.debug("Ended the oldest of %d connections that did not authenticate", len(self._transports))
            self.leave(longest)
            longest.abort()

    def leave(self, transport: asyncio.Transport) -> None:
        """It has authenticated, or ended."""
        self._transports.pop(transport, None)


class ListenerConfig(uvicorn.Config):
    """uvicorn's settings, which every protocol object is given, and what ours need besides."""

    def __init__(
        self, *arguments: Any, lobby: Lobby, request_seconds: float, stall_seconds: float, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.lobby = lobby
        self.request_seconds = request_seconds
        self.stall_seconds = stall_seconds


DIRECT_BODY: Final = "lmstudio.direct_body"
"""Where the scope of a request has the `DirectBody` of its answer."""


class DirectBody:
    """The body of an answer in chunks, for those who have a piece of it and cannot wait.

    A piece of a stream has much less to do here than on its way through the application's layers and h11, which would
    both only pass it on. Its beginning and its end go that way.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def write(self, data: bytes) -> bool:
        """Send *data*. False if that is not possible now: the peer does not read, or has gone, or nothing has begun."""
        cycle = self._cycle
        is_open = cycle.response_started and not (cycle.response_complete or cycle.disconnected)
        if not is_open or cycle.flow.write_paused:
            return False
        if data:  # an empty chunk would be the end
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True


class BriefHttp(H11Protocol):
    """A connection as it begins: it becomes a WebSocket, or asks for something, within a time limit.

    uvicorn limits the time between two requests, but neither that of a request that trickles in, nor that of a
    connection that sends nothing, nor how long the peer may leave an answer unread.
    """

    _is_idle = False
    """Between two requests."""

    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _timed_cycle: RequestResponseCycle | None = None
    """The request whose body the deadline is for."""
    _bytes = 0
    """How many have come since the deadline was set."""

    @property
    def _settings(self) -> ListenerConfig:
        return cast("ListenerConfig", self.config)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base
        """A client has connected."""
        super().connection_made(transport)
        self._settings.lobby.enter(transport)
        self._restart_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone without a WebSocket."""
        self._end_deadline()
        self._end_stall()
        self._settings.lobby.leave(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The peer has sent something."""
        if self._is_idle:
            self._is_idle = False
            self._restart_deadline()
        self._bytes += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Something has come: a request, the next part of its body, or the whole of it."""
        super().handle_events()
        # Others get no chunks. The application has not begun: it is called in the next turn of the loop.
        if self.cycle is not None and self.scope["http_version"] == "1.1":
            cast("dict[str, Any]", self.scope).setdefault(DIRECT_BODY, DirectBody(self.cycle))
        if self._is_answering():
            self._is_idle = False  # also for a request that has come before the answer to the last one
            self._settings.lobby.leave(self.transport)  # the application has its own opinion of who asks
            if not self.cycle.more_body:
                self._end_deadline()
            elif self.cycle is not self._timed_cycle or self._bytes >= BODY_BYTES:
                self._timed_cycle = self.cycle
                self._restart_deadline()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.transport.is_closing()

    def on_response_complete(self) -> None:
        """The next request may begin. Until its first byte comes, uvicorn counts the time."""
        self._settings.lobby.enter(self.transport)
        self._end_deadline()
        self._is_idle = True
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The peer does not read as fast as the answer comes."""
        self._stall = self.loop.call_later(self._settings.stall_seconds, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read."""
        self._end_stall()
        super().resume_writing()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on the WebSocket's own limits apply, but a request to open one has no body."""
        self._end_deadline()
        if announces_body(self.headers):
            self.send_400_response("A request to open a WebSocket has no body.")
        else:
            super().handle_websocket_upgrade(event)

    def _restart_deadline(self) -> None:
        self._end_deadline()
        self._bytes = 0
        self._deadline = self.loop.call_later(self._settings.request_seconds, self.transport.abort)

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


def announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request with these headers (lower case) brings a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in headers
    )
