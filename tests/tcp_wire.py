"""Bytes to and from a server, over TCP."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self

    from lmstudio.server.background import BackgroundServer


class TcpWire:
    """A TCP connection to *server*."""

    def __init__(self, server: BackgroundServer, first: bytes = b"", *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_SECONDS)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", server.port))
        self.received = b""
        self.send(first)

    def send(self, data: bytes) -> None:
        """Also to a server that has had enough already."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def until(self, end: bytes) -> bytes:
        """What comes up to *end*, which must come."""
        while end not in self.received:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(f"only {self.received!r} came")
            self.received += data
        before, _, self.received = self.received.partition(end)
        return before + end

    def take(self, size: int) -> bytes:
        """The next *size* bytes, which must come."""
        while len(self.received) < size:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(f"only {self.received!r} came")
            self.received += data
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def end(self) -> None:
        """Say that nothing more will come."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Everything until the server ends the connection, which it must do in time."""
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(1 << 16):
                self.received += data
        return self.received

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()
