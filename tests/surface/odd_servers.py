"""Things that listen on a port and are not LM Studio."""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from .fault_proxy import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


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
def http_server() -> Iterator[str]:
    """A web server without any page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server, _running(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@contextmanager
def websocket_server(answer: str | bytes | None) -> Iterator[str]:
    """Accepts WebSockets and answers the first message with *answer*, or not at all."""

    def handle(connection: ServerConnection) -> None:
        try:
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
