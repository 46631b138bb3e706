"""A web server with a few files, which can stop in the middle of one."""

from __future__ import annotations

import select
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_LOOK_SECONDS = 0.01


class FileHost:
    """Serves *files*, by their path, from a thread of its own."""

    def __init__(self, **files: bytes) -> None:
        self.files = {f"/{name.replace('__', '.')}": content for name, content in files.items()}
        self.stop_after: int | None = None
        """Every answer stops after so many bytes, until `go_on`."""
        self.break_after: int | None = None
        """The connection is closed after so many bytes of an answer."""
        self.stopped = threading.Event()
        """An answer has stopped."""
        self.hung_up = threading.Event()
        """A client has gone while its answer had stopped."""
        self.etag: str | None = None
        """The version of all files. With it, a part of a file can be had."""
        self.requests: list[str] = []
        self.ranges: list[str | None] = []
        """The part that each request wanted."""
        self._may_go_on = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # so that closing waits for them
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="file host")

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def go_on(self) -> None:
        """Let all stopped answers end."""
        self._may_go_on.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.go_on()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(handler.path)
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        content = self._begin(handler, content)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if self.break_after is not None:
            handler.wfile.write(content[: self.break_after])
            handler.close_connection = True
            return
        first = len(content) if self.stop_after is None else self.stop_after
        try:
            handler.wfile.write(content[:first])
            if first < len(content) and self._wait(handler):
                handler.wfile.write(content[first:])
        except ConnectionError:
            self.hung_up.set()

    def _begin(self, handler: BaseHTTPRequestHandler, content: bytes) -> bytes:
        """Begin the answer; returns what comes of *content*."""
        wanted, condition = handler.headers["Range"], handler.headers["If-Range"]
        self.ranges.append(wanted)
        if self.etag is None or wanted is None or condition not in (None, self.etag):
            handler.send_response(200)
            if self.etag is not None:
                handler.send_header("ETag", self.etag)
            return content
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            handler.send_response(416)
            return b""
        handler.send_response(206)
        handler.send_header("ETag", self.etag)
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        return content[start:]

    def _wait(self, handler: BaseHTTPRequestHandler) -> bool:
        """Wait for `go_on`; False if the client has gone."""
        self.stopped.set()
        while not self._may_go_on.wait(_LOOK_SECONDS):
            if select.select([handler.connection], [], [], 0)[0]:
                self.hung_up.set()
                return False
        return True
