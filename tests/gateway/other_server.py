"""A server with OpenAI's API that is not LM Studio, and says what a test wants."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

MODEL = "other-1"


class OtherServer:
    """Lists its models at /v1/models; everything else is up to *answer*, which may hang up instead."""

    def __init__(self, answer: Callable[[Visit], None]) -> None:
        self.answer = answer
        self.models = [MODEL]
        self.bodies: list[tuple[str, Any]] = []
        """Path and body of each request with a body."""
        self.connections = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                owner.connections += 1

            def do_GET(self) -> None:
                if self.path == "/v1/models":
                    models = [{"id": name, "object": "model"} for name in owner.models]
                    Visit(self, None).reply({"object": "list", "data": models})
                else:
                    Visit(self, None).reply({"error": "no such path"}, 404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                owner.bodies.append((self.path, body))
                owner.answer(Visit(self, body))

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Visit:
    """One request."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: Any) -> None:
        self._handler = handler
        self.path = handler.path
        self.body = body
        self.headers = handler.headers

    def reply(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Answer with JSON."""
        content = json.dumps(value).encode()
        self._handler.send_response(status)
        for name, text in {"content-type": "application/json", **(headers or {})}.items():
            self._handler.send_header(name, text)
        self._handler.send_header("content-length", str(len(content)))
        self._handler.end_headers()
        self._handler.wfile.write(content)

    def stream(self, *chunks: Any, ends: bool = True) -> None:
        """Answer with a stream of *chunks*."""
        self._handler.send_response(200)
        self._handler.send_header("content-type", "text/event-stream")
        self._handler.send_header("transfer-encoding", "chunked")
        self._handler.end_headers()
        events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
        for event in [*events, *([b"data: [DONE]\n\n"] if ends else [])]:
            self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        if ends:
            self._handler.wfile.write(b"0\r\n\r\n")
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        self._handler.close_connection = True


def chunk(reason: str | None = None, *, model: str = MODEL, **delta: Any) -> dict[str, Any]:
    """A chunk of a chat's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def call(index: int | None, name: str | None = None, arguments: str = "", call_id: str | None = None) -> dict[str, Any]:
    """A chunk with a piece of a tool call."""
    piece: dict[str, Any] = {"function": {"arguments": arguments, **({"name": name} if name else {})}}
    piece |= {} if index is None else {"index": index}
    return chunk(tool_calls=[{**piece, **({"id": call_id, "type": "function"} if call_id else {})}])
