"""How a server that answers over HTTP stops: what runs ends properly, what comes is told to come later."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from http_surfaces.bodies import CHATS, chat_body
from http_surfaces.http_stage import EMBEDDING_MODEL, Event, read_events
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

HOUR = 3600.0


class Stage(NamedTuple):
    """A server with a request at which the model writes."""

    server: Server
    answer: Future[httpx.Response]


@contextmanager
def writing(path: str, *, stream: bool) -> Iterator[Stage]:
    """The model has written "Hello" for a request to *path*, and stands still."""
    engine = ScriptedEngine(Reply(["Hello", gate := Gate(), " world"]))
    with ThreadPoolExecutor(1) as pool, Server(engine=engine, grace_seconds=HOUR) as server:

        def ask() -> httpx.Response:
            url = f"http://{server.api_host}{path}"
            return httpx.post(url, json=chat_body(path, stream=stream), timeout=PATIENCE_SECONDS)

        answer = pool.submit(ask)
        assert gate.reached(PATIENCE_SECONDS)
        yield Stage(server, answer)


def last_words(path: str, events: list[Event]) -> str:
    """Why the stream has ended, from its last events."""
    data = [event.data for event in events]
    match path:
        case "/v1/messages":
            assert events[-1].name == "message_stop"
            reason = data[-2]["delta"]["stop_reason"]
        case "/v1/responses":
            assert events[-1].name == "response.incomplete"
            reason = data[-1]["response"]["status"]
        case "/api/v1/chat":
            assert events[-1].name == "chat.end"
            reason = data[-1]["result"]["output"][0]["type"]
        case _:
            assert data[-1] == "[DONE]"
            reason = data[-2]["choices"][0]["finish_reason"]
    assert isinstance(reason, str)
    return reason


@pytest.mark.parametrize("path", CHATS)
def test_stream_ends_with_what_there_is(path: str) -> None:
    with writing(path, stream=True) as (server, answer):
        server.stop()
        events = read_events(answer.result(PATIENCE_SECONDS))
    words = {"/v1/messages": "end_turn", "/v1/responses": "incomplete", "/api/v1/chat": "message"}
    assert last_words(path, events) == words.get(path, "stop")
    assert "error" not in {event.name for event in events}
    text = json.dumps([event.data for event in events])
    assert "Hello" in text
    assert "world" not in text


@pytest.mark.parametrize("path", CHATS)
def test_answer_in_one_piece_is_what_there_is(path: str) -> None:
    with writing(path, stream=False) as (server, answer):
        server.stop()
        response = answer.result(PATIENCE_SECONDS)
    assert response.status_code == 200
    assert "Hello" in response.text
    assert "world" not in response.text


class SlowEmbedding:
    """An embedding that keeps a stopping server waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = gate = Gate()

        async def embed(_: ScriptedModel, _text: str) -> list[float]:
            await gate.pass_through()
            return [1.0]

        monkeypatch.setattr(ScriptedModel, "embed", embed)


def post(path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def answer_of(wire: TcpWire) -> tuple[int, dict[str, Any]]:
    head = wire.until(b"\r\n\r\n").decode().lower()
    (length,) = (line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("content-length"))
    return int(head.split()[1]), json.loads(wire.take(int(length)))


class _Listening(logging.Handler):
    """Hears when the server has begun to stop."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.has_begun = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Ending "):
            self.has_begun.set()


@pytest.fixture
def stopping(caplog: pytest.LogCaptureFixture) -> Iterator[threading.Event]:
    """Set while the server waits for the requests that it still has."""
    caplog.set_level(logging.INFO, "lmstudio.server")
    handler = _Listening()
    logging.getLogger("lmstudio.server").addHandler(handler)
    yield handler.has_begun
    logging.getLogger("lmstudio.server").removeHandler(handler)


@pytest.mark.parametrize(
    "path", [*CHATS, "/v1/messages/count_tokens", "/api/v1/models/load", "/api/v1/models/download"]
)
def test_new_request_is_told_to_come_later(
    monkeypatch: pytest.MonkeyPatch, stopping: threading.Event, path: str
) -> None:
    slow = SlowEmbedding(monkeypatch)
    body = chat_body("/v1/messages" if "messages" in path else path, stream=True)
    if "/models/" in path:
        body = {"model": "lmstudio-python/pebble-2.6m-GGUF" if path.endswith("download") else "scripted-chat"}
    with (
        Server(engine=ScriptedEngine(), grace_seconds=HOUR) as server,
        TcpWire(server) as wire,
        TcpWire(server) as busy,
    ):
        wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(wire)[0] == 200
        busy.send(post("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": "Hi"}))
        assert slow.gate.reached(PATIENCE_SECONDS)
        server.begin_stop()
        assert stopping.wait(PATIENCE_SECONDS)
        wire.send(post(path, body))
        status, answer = answer_of(wire)
        assert status == 503, answer
        assert "The server is stopping" in answer["error"]["message"]
        assert answer["error"]["type"] in ("server_error", "overloaded_error", "internal_error")
        slow.gate.open()
        assert answer_of(busy)[0] == 200
        server.stop()
        assert wire.rest() == b""


def test_idle_connection_is_closed() -> None:
    with Server(engine=ScriptedEngine(), grace_seconds=HOUR) as server, TcpWire(server) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(wire)[0] == 200
        server.stop()
        assert wire.rest() == b""
