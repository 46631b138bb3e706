"""What may stand between client and server: TLS, proxies, and a path."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING

from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_READ_BYTES = 64 * 1024


class Relay:
    """Listens on a port of its own and passes every connection on to *upstream_port*, after *greet*.

    *greet* gets the socket of the client, writes to `seen`, and returns what the server is to be told first; None ends
    the connection. With a *context*, clients speak TLS to the relay, and it does not to the server.
    """

    def __init__(
        self,
        upstream_port: int,
        greet: Callable[[Relay, socket.socket], bytes | None] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.upstream_port = upstream_port
        self.seen: list[str] = []
        """What clients asked of the relay itself."""
        self._greet = greet
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing alone would not wake a thread that waits in accept() or recv().
        for sock in (self._listener, *self._sockets):
            _end(sock)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        # A client that does not like what it sees hangs up.
        with contextlib.suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            first = b"" if self._greet is None else self._greet(self, client)
            if first is not None:
                server = socket.create_connection(("127.0.0.1", self.upstream_port), PATIENCE_SECONDS)
                server.settimeout(None)
                self._sockets.append(server)
                server.sendall(first)
                self._start(_pump, server, client)
                _pump(client, server)
        _end(client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_READ_BYTES):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def read_head(client: socket.socket) -> bytes:
    """An HTTP request, to its empty line."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(1)
        if not data:
            raise ConnectionError
        head += data
    return head


def http_proxy(relay: Relay, client: socket.socket) -> bytes | None:
    """As an HTTP proxy that wants a tunnel to be asked for."""
    head = read_head(client).decode()
    relay.seen.append(head)
    is_connect = head.startswith("CONNECT ")
    client.sendall(b"HTTP/1.1 200 Fine\r\nVia: test\r\n\r\n" if is_connect else b"HTTP/1.1 403 Forbidden\r\n\r\n")
    return b"" if is_connect else None


def locked_http_proxy(relay: Relay, client: socket.socket) -> bytes | None:
    """As an HTTP proxy that lets nobody through."""
    relay.seen.append(read_head(client).decode())
    client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    return None


def socks_proxy(relay: Relay, client: socket.socket) -> bytes | None:
    """As a SOCKS 5 proxy; user name "me" and password "hush" if the client offers to log in."""
    _version, count = client.recv(2)
    if 2 in client.recv(count):
        client.sendall(b"\x05\x02")
        login = [client.recv(client.recv(1)[0]).decode() for _ in (client.recv(1), None)]
        relay.seen.append(":".join(login))
        if login != ["me", "hush"]:
            client.sendall(b"\x01\x01")
            return None
        client.sendall(b"\x01\x00")
    else:
        client.sendall(b"\x05\x00")
    kind = client.recv(4)[3]
    host = client.recv({1: 4, 4: 16}.get(kind) or client.recv(1)[0])
    port = int.from_bytes(client.recv(2), "big")
    relay.seen.append(f"{host.decode() if kind == 3 else socket.inet_ntop(_FAMILIES[kind], host)} {port}")
    client.sendall(b"\x05\x00\x00\x03\x04name\x00\x00")
    return b""


_FAMILIES = {1: socket.AF_INET, 4: socket.AF_INET6}


def refusing_socks_proxy(_relay: Relay, client: socket.socket) -> bytes | None:
    """As a SOCKS 5 proxy that cannot reach anything."""
    client.recv(3)
    client.sendall(b"\x05\x00")
    client.recv(1024)
    client.sendall(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")
    return None


def below_path(relay: Relay, client: socket.socket) -> bytes | None:
    """As a reverse proxy that has the server below /some/path, and nothing else."""
    head = read_head(client)
    relay.seen.append(head.decode())
    moved, count = re.subn(rb"^GET /some/path/", b"GET /", head)
    if not count:
        client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return None
    return moved
