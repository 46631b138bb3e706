"""Reading from a socket without all that anyio does for each piece: streams of tokens come in very small ones.

What anyio needs to be fair and cancellable in its way takes as long as everything else together for a token, two system
calls among it. Here the loop of asyncio keeps reading, up to a limit, and one waiter is woken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import httpcore

from lmstudio._async_io import running_loop

if TYPE_CHECKING:
    import socket

__all__ = ["SocketReader", "can_read_from"]

_MOST_BYTES: Final = 256 * 1024
"""With more of them waiting, the server has to wait as well."""


def can_read_from(connection: object) -> bool:
    """Whether *connection* is a socket that a second transport of the running loop can read from."""
    # Those of Windows' own loop belong to one transport, those of other loops know no descriptors.
    return isinstance(running_loop(), asyncio.SelectorEventLoop) and hasattr(connection, "dup")


class SocketReader(asyncio.Protocol):
    """Everything that comes from one socket. Whoever writes to it has it open as well, and closes it himself."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._is_over = self._is_paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: Any = None

    @classmethod
    async def of(cls, connection: socket.socket) -> SocketReader:
        """The reader of *connection*, which nobody else may read from."""
        twin = connection.dup()
        try:
            twin.setblocking(False)
            _, reader = await asyncio.get_running_loop().connect_accepted_socket(cls, twin)
        except BaseException:
            twin.close()
            raise
        return reader

    @property
    def has_input(self) -> bool:
        """Something has come that nobody has read, if only the end."""
        return bool(self._pieces) or self._is_over

    async def read(self, most: int, seconds: float | None) -> bytes:
        """The next piece, b"" at the end.

        Raises:
            httpcore.ReadTimeout: it has not come within *seconds*.
            httpcore.ReadError: the connection is lost.
        """
        if not self.has_input:
            await self._wait(seconds)
        if not self._pieces:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            return b""
        piece = self._pieces.popleft()
        if len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        self._size -= len(piece)
        if self._is_paused and self._size < _MOST_BYTES:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    async def _wait(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        limit = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if limit is not None:
                limit.cancel()
        if not self.has_input:
            raise httpcore.ReadTimeout

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Read no more."""
        self._transport.abort()

    # What the loop calls ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _MOST_BYTES and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._is_over = True
        self._wake()
        return True  # who writes closes it

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over, self._error = True, exc
        self._wake()
