"""Things that listen on a port and are not LM Studio."""

from __future__ import annotations

import contextlib
import http.server
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import anyio
from patience import PATIENCE_SECONDS
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import pytest


class MuteServer:
    """Accepts connections and never says anything."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.api_host = f"127.0.0.1:{listener.getsockname()[1]}"

    def wait_for_client(self) -> socket.socket:
        """Block until a client has connected and asked for something."""
        self._listener.settimeout(PATIENCE_SECONDS)
        connection, _address = self._listener.accept()
        connection.settimeout(PATIENCE_SECONDS)
        connection.recv(1)
        return connection


@contextmanager
def mute_server() -> Iterator[MuteServer]:
    """A running `MuteServer`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield MuteServer(listener)


@contextmanager
def tcp_server(answer: bytes) -> Iterator[str]:
    """Says *answer* to every request, and hangs up."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(64 * 1024)
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server, _running(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def http_server(pages: dict[str, bytes] | None = None, *, status: int = 404) -> Iterator[str]:
    """A web server with these *pages*, which answers everything else with *status*."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = (pages or {}).get(self.path)
            if page is None:
                self.send_error(status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server, _running(server):
        yield f"127.0.0.1:{server.server_address[1]}"


def greeting_server(status: int) -> AbstractContextManager[str]:
    """Greets as LM Studio does, and answers everything else with *status*."""
    return http_server({"/lmstudio-greeting": b'{"lmstudio":true}'}, status=status)


@contextmanager
def dripping_server() -> Iterator[str]:
    """A web server whose pages arrive byte by byte, for ever."""
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not ended.wait(0.05):
                    self.request.sendall(b" ")

    class ThreadingServer(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with ThreadingServer(("127.0.0.1", 0), Handler) as server, _running(server):
        yield f"127.0.0.1:{server.server_address[1]}"
        ended.set()


def black_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TCP connection is ever answered, as behind a firewall that drops packets."""

    async def connect_tcp(*_arguments: object, **_options: object) -> NoReturn:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(anyio, "connect_tcp", connect_tcp)


@contextmanager
def silent_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No name is resolved before the end, as with name servers that cannot be reached."""
    ended = threading.Event()

    def getaddrinfo(
        _host: object, _port: object, _family: int = 0, _type: int = 0, _proto: int = 0, flags: int = 0
    ) -> NoReturn:
        if flags & socket.AI_NUMERICHOST:  # trio looks first, in its loop, whether there is anything to be resolved
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        ended.wait(PATIENCE_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield
    finally:
        ended.set()


@contextmanager
def websocket_server(answer: str | bytes | None, *, closes: bool = False) -> Iterator[str]:
    """Accepts WebSockets and answers the first message with *answer*, or not at all, or it closes them at once."""

    def handle(connection: ServerConnection) -> None:
        try:
            if closes:
                return
            connection.recv()
            if answer is not None:
                connection.send(answer)
            connection.recv()
        except ConnectionClosed:
            pass

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
