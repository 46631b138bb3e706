"""The little HTTP that the engine's child process needs: one request per connection, on loopback.

A general client costs four times as much processor time per streamed token. It also keeps connections open, and the
engine's HTTP server closes idle ones without notice, which fails a few requests in a hundred; a new connection costs
0.1 ms here. Dropping the connection is how a generation is cancelled, and that must not need an await.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_SIZE: Final = 65536


class ConnectionLostError(Exception):
    """The peer refused or ended the connection, or sent something that is not HTTP."""


class BodyDecoder:
    """Takes an HTTP/1.1 body apart: bytes as they arrive in, content out."""

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self._is_chunked = b"chunked" in headers.get(b"transfer-encoding", b"").lower()
        length = headers.get(b"content-length")
        self._left = int(length) if length is not None and not self._is_chunked else None
        self._buffer = bytearray()
        self.is_complete = self._left == 0

    def feed(self, data: bytes) -> bytes:
        """The content that *data* completes.

        Raises:
            ConnectionLostError: the peer does not keep to the chunked encoding.
        """
        if self._is_chunked:
            return self._feed_chunked(data)
        if self._left is not None:
            self._left -= len(data)
            self.is_complete = self._left <= 0
        return data

    def end(self) -> None:
        """The peer ended the connection.

        Raises:
            ConnectionLostError: it ended in the middle of the body.
        """
        if not self.is_complete and (self._is_chunked or self._left is not None):
            raise ConnectionLostError("the connection ended in the middle of a reply")
        self.is_complete = True

    def _feed_chunked(self, data: bytes) -> bytes:
        self._buffer += data
        content: list[bytes] = []
        position = 0
        while not self.is_complete:
            line_end = self._buffer.find(b"\r\n", position)
            if line_end < 0:
                break
            try:
                size = int(bytes(self._buffer[position:line_end]).partition(b";")[0], 16)
            except ValueError:
                raise ConnectionLostError("a reply is not in the chunked encoding it announced") from None
            start = line_end + 2
            if len(self._buffer) < start + size + 2 and size:
                break
            content.append(bytes(self._buffer[start : start + size]))
            position = start + size + 2
            self.is_complete = size == 0
        del self._buffer[:position]
        return b"".join(content)


class Reply:
    """The answer to one request. Close it, also after reading it to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = BodyDecoder({})
        self._rest = b""
        self.status = 0

    async def read_head(self) -> None:
        """Wait for status and headers; the engine sends them with its first result."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].split(b"\r\n")
            self.status = int(first.split(b" ", 2)[1])
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError, IndexError) as error:
            raise ConnectionLostError(f"no reply ({type(error).__name__})") from error
        split = [line.partition(b":") for line in lines]
        self._body = BodyDecoder({name.strip().lower(): value.strip() for name, _, value in split})

    async def _read_some(self) -> bytes:
        """Content, at least one byte unless the body is complete."""
        while not self._body.is_complete:
            try:
                data = await self._reader.read(_READ_SIZE)
            except OSError as error:
                raise ConnectionLostError(f"the connection broke ({type(error).__name__})") from error
            if not data:
                self._body.end()
            elif content := self._body.feed(data):
                return content
        return b""

    async def read(self) -> bytes:
        """The whole body."""
        parts = []
        while part := await self._read_some():
            parts.append(part)
        return b"".join(parts)

    async def read_lines(self) -> list[bytes]:
        """The next complete lines, without their ends: as many as have arrived, none after the last."""
        while content := await self._read_some():
            *lines, self._rest = (self._rest + content).split(b"\n")
            if lines:
                return lines
        last, self._rest = self._rest, b""
        return [last] if last else []

    def close(self) -> None:
        """Drop the connection at once; the engine stops working for it."""
        self._writer.transport.abort()


class LoopbackClient:
    """Requests to one address, such as ``http://127.0.0.1:4321``, each with the same key."""

    def __init__(self, address: str, key: str) -> None:
        host, _, port = address.rpartition("//")[2].rpartition(":")
        self._host = host.strip("[]")
        self._port = int(port)
        self._key = key

    async def get(self, path: str) -> Reply:
        """Send a GET; the reply with its status."""
        return await self._send("GET", path, b"")

    async def post(self, path: str, body: bytes) -> Reply:
        """Send a POST of JSON; the reply with its status."""
        return await self._send("POST", path, body)

    async def _send(self, method: str, path: str, body: bytes) -> Reply:
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            raise ConnectionLostError(f"no connection ({type(error).__name__})") from error
        reply = Reply(reader, writer)
        try:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
                f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode("ascii"))
            writer.write(body)
            await reply.read_head()
        except BaseException:
            reply.close()
            raise
        return reply
