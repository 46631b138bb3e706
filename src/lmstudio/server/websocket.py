"""uvicorn's WebSocket protocol with a short way out for text frames, which is what a stream of fragments consists of.

ASGI takes one message per call, as text that was encoded before and is encoded again, and each becomes a write of its
own. Measured per fragment of 170 bytes: 3.9 µs with wsproto and 2.4 µs with websockets-sansio on that way; 1.7 µs on
this one, 0.2 µs when twenty leave together. Handshake, input, pings and closing are uvicorn's. Of its two protocols,
wsproto is the base because the client needs that library anyway; the other would save 5 µs per incoming message.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, RejectConnection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping

    from wsproto.events import Ping, Request

    from lmstudio.server.lobby import ListenerConfig

FIRST_MESSAGE_BYTES = 16 * 1024
"""Limit of messages before authentication: the longest credentials, written in escapes, take less than half of it."""
_LINGER_SECONDS = 10.0
"""To take what was sent last. uvicorn waits as long for the answer to a close frame."""
_EXTENSION = "lmstudio.websocket"
_FINAL_TEXT = 0x81
_JOIN_BYTES = 64 * 1024
"""A larger frame is not copied to join it with its header."""


class DirectWebSocket(WSProtocol):
    """One WebSocket. The application finds it with `direct_websocket`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.buffer.max_length = FIRST_MESSAGE_BYTES
        self._owed_pong: Ping | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_lost = False
        self._before_end: Callable[[], None] | None = None

    # What uvicorn calls ----------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Something was read. Text in the headers of the upgrade request that is none is an error of the client."""
        try:
            super().data_received(data)
        except UnicodeError:
            self.transport.write(self.conn.send(RejectConnection(status_code=400)))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        """The upgrade request has come: describe the connection to the application, which starts in the next turn."""
        super().handle_connect(event)
        # Weak, because this object has the scope: what it holds, such as half a message, must not outlive it.
        cast("dict[str, Any]", self.scope)["extensions"][_EXTENSION] = weakref.ref(self)

    def handle_ping(self, event: Ping) -> None:
        """Answer, unless the peer does not read: the pong to its last ping is all that it is owed (RFC 6455, 5.5.3)."""
        if self.writable.is_set():
            super().handle_ping(event)
        else:
            self._owed_pong = event

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        owed, self._owed_pong = self._owed_pong, None
        if owed is not None and self.conn.state is ConnectionState.OPEN:
            super().handle_ping(owed)

    def handle_close(self, event: CloseConnection) -> None:
        """The peer has closed the connection, or broken the protocol: then it is told how before it is left."""
        if not self.close_sent and self.conn.state is ConnectionState.OPEN:
            self.transport.write(self.conn.send(event))
        super().handle_close(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has ended. Releases `send_text`, which some releases of uvicorn leave waiting."""
        self._is_lost = True
        self._before_end = None
        self._leave_lobby()
        if self._end_timer is not None:
            self._end_timer.cancel()
        super().connection_lost(exc)
        self.writable.set()

    def shutdown(self) -> None:
        """The server stops: what the application has for the peer goes out before the goodbye."""
        if self._before_end is not None:
            self._before_end()
        super().shutdown()

    # What the application calls --------------------------------------------------------------------------------------

    def admit(self, before_end: Callable[[], None] | None = None) -> None:
        """The peer has authenticated. *before_end* is called when the server ends the connection, to send the rest."""
        self._before_end = before_end
        self._leave_lobby()
        self.buffer.max_length = self.config.ws_max_size

    def end_soon(self) -> None:
        """The application is done. A peer that does not take what was sent may not hold the connection for ever."""
        if not self._is_lost:
            self._end_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _leave_lobby(self) -> None:
        cast("ListenerConfig", self.config).lobby.leave(self.transport)

    async def send_text(self, messages: Iterable[bytes]) -> None:
        """Write each of *messages* (UTF-8) as one text frame. Waits while the system's buffers are full.

        Raises:
            OSError: the connection is gone, or closing.
        """
        await self.writable.wait()
        self.send_now(messages)

    async def can_send(self) -> None:
        """Wait while the system's buffers are full."""
        await self.writable.wait()

    def send_now(self, messages: Iterable[bytes]) -> None:
        """As `send_text`, whether the system's buffers are full or not."""
        if self.transport.is_closing() or self.close_sent:
            raise ClientDisconnected
        buffer = bytearray()
        for message in messages:
            buffer += _header(len(message))
            if len(message) < _JOIN_BYTES:
                buffer += message
            else:
                self.transport.write(bytes(buffer))
                self.transport.write(message)
                buffer.clear()
        if buffer:
            self.transport.write(bytes(buffer))

    @property
    def unsent_bytes(self) -> int:
        """What was written and the system has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def peer(self) -> str | None:
        """The client's address, for the log."""
        return None if self.client is None else ":".join(map(str, self.client))

    def abort(self) -> None:
        """End the connection at once, without a goodbye: the peer does not read."""
        self.transport.abort()


def direct_websocket(scope: Mapping[str, Any]) -> DirectWebSocket:
    """The WebSocket of a connection that uvicorn serves with `DirectWebSocket`."""
    websocket = scope["extensions"][_EXTENSION]()
    assert isinstance(websocket, DirectWebSocket)  # it runs the application that asks
    return websocket


def _header(length: int) -> bytes:
    """The header of an unmasked text frame (RFC 6455, section 5.2)."""
    if length < 126:
        return bytes((_FINAL_TEXT, length))
    if length < 1 << 16:
        return bytes((_FINAL_TEXT, 126)) + length.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, 127)) + length.to_bytes(8, "big")
