"""What the log says of requests over HTTP, and what it never says."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from http_surfaces.bodies import CHATS, chat_body
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

ID, SECRET = "abcdefgh", "ThisIsTheSecretPart0"
TOKEN = f"sk-lm-{ID}:{SECRET}"
PROMPT, ANSWER = "A question of the user", "An answer of the model"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(1)
    return caplog


def requests(lines: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in lines.records if getattr(record, "method", None) is not None]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(ANSWER)


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    with Server(engine=engine, api_tokens=[TOKEN]) as server:
        yield server


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS, headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "level"),
    [
        ("/v1/models", 200, logging.INFO),
        ("/v1/nothing?token=1", 404, logging.INFO),
        ("/health", 200, logging.DEBUG),
        ("/lmstudio-greeting", 200, logging.DEBUG),
        ("/lms-status", 200, logging.DEBUG),
    ],
)
def test_each_request_is_one_line(
    server: Server, api: httpx.Client, lines: pytest.LogCaptureFixture, path: str, status: int, level: int
) -> None:
    api.get(path)
    server.stop()
    (record,) = requests(lines)
    assert (record.method, record.endpoint, record.status) == ("GET", path.partition("?")[0], status)
    assert record.levelno == level
    assert record.peer.startswith("127.0.0.1:")
    assert record.seconds >= 0


@pytest.mark.parametrize("path", CHATS)
def test_client_that_goes_away_is_told_of(
    server: Server, engine: ScriptedEngine, lines: pytest.LogCaptureFixture, path: str
) -> None:
    engine.reply = Reply(["one ", gate := Gate()])
    body = json.dumps(chat_body(path, stream=True))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    with TcpWire(server, (head + body).encode()):
        assert gate.reached(PATIENCE_SECONDS)
    assert engine.wait_for_cancel(PATIENCE_SECONDS)
    server.stop()
    (record,) = requests(lines)
    assert (record.endpoint, record.status) == (path, None)


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_neither_token_nor_texts_are_logged(
    server: Server, api: httpx.Client, lines: pytest.LogCaptureFixture, path: str, *, is_stream: bool
) -> None:
    body = chat_body(path, stream=is_stream, text=PROMPT)
    answers = [
        api.post(path, json=body),
        api.post(path, json=body, headers={"Authorization": f"Bearer {TOKEN}x"}),
        api.post(path, json=body, headers={"Authorization": f"Basic {TOKEN}", "x-api-key": f"{TOKEN}:y"}),
        api.post(path, json={**body, "model": "nothing"}),
        api.post(f"{path}/nothing?key={TOKEN}", json=body),
        api.post(path, content=b"{"),
    ]
    assert [answer.status_code for answer in answers[:3]] == [200, 401, 401]
    assert all(SECRET not in answer.text for answer in answers)
    server.stop()
    assert len(requests(lines)) == len(answers)
    for record in lines.records:
        if record.name.startswith("lmstudio"):
            shown = f"{record.getMessage()} {record.__dict__}"
            assert SECRET not in shown
            assert PROMPT not in shown
            assert ANSWER not in shown


def test_path_cannot_forge_lines(server: Server, api: httpx.Client, lines: pytest.LogCaptureFixture) -> None:
    api.get("/v1/%0AERROR%20all%20is%20lost")
    server.stop()
    (record,) = requests(lines)
    assert "\n" not in record.getMessage()
