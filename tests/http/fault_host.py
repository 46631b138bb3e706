"""A server whose every answer a test writes itself, down to the bytes."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from typing_extensions import Self

MODELS = {"object": "list", "data": [{"id": "heron", "object": "model", "owned_by": "acme", "created": 1}]}


def chunk(text: str) -> dict[str, Any]:
    """One event of a chat."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "heron", "choices": [choice]}


class Visit:
    """One request, and the connection to answer it on."""

    def __init__(self, host: FaultHost, connection: socket.socket, head: bytes, body: bytes, number: int) -> None:
        self.host, self.socket = host, connection
        self.head, self.body = head.decode("latin-1"), body
        self.number = number
        """Which request of all it is, from 1 on."""
        self.is_over = False
        """The connection takes no other request."""

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def reply(self, status: int = 200, body: Any = MODELS, headers: str = "", kind: str = "application/json") -> None:
        """A whole answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
        self.send(head.encode() + data)

    def begin_events(self) -> None:
        """The head of a stream of events."""
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    def event(self, data: Any, name: str = "") -> None:
        """One of them."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.piece(f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n")

    def piece(self, text: str) -> None:
        """A piece of the body."""
        data = text.encode()
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def end_events(self) -> None:
        """The end of the body."""
        self.send(b"0\r\n\r\n")

    def until_hang_up(self) -> None:
        """Wait until the client has ended the connection; `host.hung_up` is set then."""
        self.is_over = True
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        self.host.hung_up.set()

    def hang_up(self) -> None:
        """End the connection."""
        self.is_over = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class FaultHost:
    """Answers requests with *answer*, each connection in a thread of its own."""

    def __init__(self, answer: Callable[[Visit], None], *, tls: ssl.SSLContext | None = None) -> None:
        self._answer, self._tls = answer, tls
        self.hung_up = threading.Event()
        self.asked = threading.Event()
        """There was a request."""
        self.connections = 0
        self.requests: list[str] = []
        """Their heads."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="fault host")]
        self.failures: list[BaseException] = []

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(PATIENCE_SECONDS)
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="fault host")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection if self._tls is None else self._tls.wrap_socket(connection, server_side=True) as own:
                while (request := _read_request(own)) is not None:
                    self.requests.append(request[0].decode("latin-1"))
                    self.asked.set()
                    visit = Visit(self, own, *request, len(self.requests))
                    self._answer(visit)
                    if visit.is_over:
                        return
        except OSError:
            pass  # of the client's making, or the end of the test
        except BaseException as error:
            self.failures.append(error)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        assert not self.failures


def _read_request(connection: socket.socket) -> tuple[bytes, bytes] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    while len(body) < size:
        body += connection.recv(65536)
    return head, body
