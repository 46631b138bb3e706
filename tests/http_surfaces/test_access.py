"""Who may use the HTTP surfaces, and what a client may do to them: tokens, web pages, bodies, connections."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, USER
from lmstudio.server import ConnectionLimits, Gate, HttpSettings, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
OTHER = "sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST"
CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
BODY = {"model": CHAT_MODEL, "max_tokens": 100_000, "messages": USER}
PUBLIC = ["/lmstudio-greeting", "/lms-status", "/health"]
REQUESTS = [
    ("GET", "/v1/models", None),
    ("GET", "/api/v0/models", None),
    ("POST", CHAT, BODY),
    ("POST", "/api/v0/chat/completions", BODY),
    ("POST", "/v1/completions", {"model": CHAT_MODEL, "prompt": "Hi"}),
    ("POST", "/v1/embeddings", {"model": EMBEDDING_MODEL, "input": "Hi"}),
    ("POST", MESSAGES, BODY),
    ("POST", "/v1/messages/count_tokens", BODY),
]
GENERATIONS = [request for request in REQUESTS if request[2] is BODY and "count" not in request[1]]
FOREIGN, ALLOWED, LOCAL = "https://evil.example", "https://app.example", "http://localhost:5173"


@pytest.fixture(autouse=True)
def _no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does is no error of the server."""
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno >= logging.ERROR] == []


@contextmanager
def serving(engine: ScriptedEngine | None = None, **options: Any) -> Iterator[tuple[Server, httpx.Client]]:
    with (
        Server(engine=engine or ScriptedEngine(), **options) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield server, api


def error_type(path: str, response: httpx.Response) -> str:
    """The type of the error in *response*, which has to have the shape of the surface."""
    body = response.json()
    members = {"message", "type"}
    if path.startswith("/v1/messages"):
        assert body["type"] == "error"
    elif path.startswith("/api/v1/"):
        members |= {"code"} & set(body["error"])
    else:
        members |= {"param", "code"}
    assert set(body["error"]) == members
    return str(body["error"]["type"])


def post(path: str, body: Any, *headers: str, length: int | None = None) -> bytes:
    """A request as it travels."""
    content = json.dumps(body).encode()
    size = len(content) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {size}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + content


def chunk(content: bytes) -> bytes:
    """A part of a body whose length is not known before."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def answer(wire: TcpWire) -> tuple[int, Any]:
    """Status and body of the next reply."""
    head = wire.until(b"\r\n\r\n").lower()
    length = re.search(rb"content-length: ([0-9]+)", head)
    assert length is not None, head
    return int(head.split()[1]), json.loads(wire.take(int(length[1])))


# Discovery -----------------------------------------------------------------------------------------------------------


def test_servers_are_found_while_a_model_loads() -> None:
    engine = ScriptedEngine(load_gate=(gate := Gate()))
    with serving(engine) as (server, api), TcpWire(server, post(CHAT, BODY)) as wire:
        assert gate.reached(PATIENCE_SECONDS)
        assert api.get("/lmstudio-greeting").json()["lmstudio"] is True
        gate.open()
        assert answer(wire)[0] == 200


@pytest.mark.parametrize("options", [{}, {"api_tokens": [TOKEN]}], ids=["open", "tokens"])
def test_discovery_needs_no_token(options: dict[str, Any]) -> None:
    with serving(**options) as (_, api):
        greeting, status, health = (api.get(path) for path in PUBLIC)
        assert greeting.json()["lmstudio"] is True
        assert {type(status.json()[name]) for name in ("package", "version")} == {str}
        assert health.json()["status"] == "ok"


# Tokens --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), [*REQUESTS, ("GET", "/api/v1/models", None)])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {OTHER}"},
        {"Authorization": "Bearer lm-studio"},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {TOKEN}"},
        {"X-Api-Key": OTHER},
    ],
    ids=["none", "wrong", "placeholder", "empty", "other scheme", "wrong key"],
)
def test_nobody_comes_in_without_a_token(method: str, path: str, body: Any, headers: dict[str, str]) -> None:
    with serving(engine := ScriptedEngine(), api_tokens=[TOKEN]) as (_, api):
        response = api.request(method, path, json=body, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "authentication" in error_type(path, response) or "invalid_request" in error_type(path, response)
        assert response.json()["error"].get("code", "invalid_api_key") == "invalid_api_key"
        assert all(value.rpartition(" ")[2] not in response.text for value in headers.values() if "sk-" in value)
        assert engine.loads == []


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer  {TOKEN}"}, {"X-Api-Key": TOKEN}],
    ids=["bearer", "spelling", "key"],
)
def test_token_is_taken_from_either_header(method: str, path: str, body: Any, headers: dict[str, str]) -> None:
    with serving(api_tokens=[OTHER.replace("abcdefgh", "12345678"), TOKEN]) as (_, api):
        assert api.request(method, path, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("token", ["lm-studio", TOKEN, "ünicode".encode().decode("latin-1")])
def test_server_without_tokens_takes_any(token: str) -> None:
    with serving() as (_, api):
        headers = {b"Authorization": f"Bearer {token}".encode("latin-1"), b"X-Api-Key": b"placeholder"}
        assert api.post(MESSAGES, json=BODY, headers=headers).status_code == 200


# Web pages -----------------------------------------------------------------------------------------------------------


def cors_headers(response: httpx.Response) -> dict[str, str]:
    prefix = "access-control-"
    return {name.removeprefix(prefix): value for name, value in response.headers.items() if name.startswith(prefix)}


def preflight(api: httpx.Client, origin: str, path: str = MESSAGES, **more: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", **more}
    return api.options(path, headers=headers)


@pytest.mark.parametrize("origin", [FOREIGN, LOCAL, "null"])
def test_pages_get_no_permission_by_default(origin: str) -> None:
    with serving() as (_, api):
        for path in ("/v1/models", *PUBLIC):
            response = api.get(path, headers={"Origin": origin})
            assert (response.status_code, cors_headers(response)) == (200, {})
        response = preflight(api, origin)
        assert (response.status_code, cors_headers(response)) == (204, {})


@pytest.mark.parametrize(("method", "path", "body"), [request for request in REQUESTS if request[0] == "POST"])
@pytest.mark.parametrize("origins", [[FOREIGN], ["null"], [LOCAL, LOCAL]], ids=["foreign", "null", "two"])
def test_page_from_elsewhere_cannot_make_a_model_work(method: str, path: str, body: Any, origins: list[str]) -> None:
    with serving(engine := ScriptedEngine()) as (_, api):
        response = api.request(method, path, json=body, headers=[("Origin", origin) for origin in origins])
        assert response.status_code == 403
        assert error_type(path, response) in ("permission_error", "invalid_request_error")
        assert engine.loads == []


def test_page_of_this_machine_may_ask() -> None:
    with serving() as (_, api):
        response = api.post(CHAT, json=BODY, headers={"Origin": LOCAL})
        assert (response.status_code, cors_headers(response)) == (200, {})


@pytest.mark.parametrize("origin", [FOREIGN, "null", ALLOWED])
def test_every_page_may_ask_where_that_is_wanted(origin: str) -> None:
    with serving(http=HttpSettings(cors=True), api_tokens=[TOKEN]) as (_, api):
        page, holder = {"Origin": origin}, {"Origin": origin, "Authorization": f"Bearer {TOKEN}"}
        stream = {**BODY, "stream": True}
        answers = [
            (api.post(MESSAGES, json=BODY, headers=holder), 200),
            (api.post(MESSAGES, json=stream, headers=holder), 200),
            (api.post(MESSAGES, json={}, headers=holder), 400),
            (api.post(MESSAGES, json=BODY, headers=page), 401),
            (api.get("/nothing", headers=holder), 404),
            (api.delete(MESSAGES, headers=holder), 405),
            (api.get("/lmstudio-greeting", headers=page), 200),
        ]
        for response, status in answers:
            assert (response.status_code, cors_headers(response)) == (status, {"allow-origin": "*"})


def test_preflight_needs_no_token_and_says_what_is_allowed() -> None:
    with serving(http=HttpSettings(cors=True), api_tokens=[TOKEN]) as (_, api):
        headers = cors_headers(
            preflight(api, FOREIGN, **{"Access-Control-Request-Headers": "x-stainless-os, x-api-key"})
        )
        assert headers.pop("max-age")
        assert headers == {
            "allow-origin": "*",
            "allow-methods": "GET, POST, DELETE, OPTIONS",
            "allow-headers": "x-stainless-os, x-api-key",
        }
        network = cors_headers(preflight(api, FOREIGN, **{"Access-Control-Request-Private-Network": "true"}))
        assert network["allow-private-network"] == "true"
        assert network["allow-headers"] == "Authorization, Content-Type, X-Api-Key, Anthropic-Version"


def test_only_the_page_that_is_allowed_may_read() -> None:
    with serving(allowed_origins=[ALLOWED]) as (_, api):
        response = api.post(CHAT, json=BODY, headers={"Origin": ALLOWED})
        assert (response.status_code, cors_headers(response)) == (200, {"allow-origin": ALLOWED})
        assert response.headers["vary"] == "Origin"
        assert cors_headers(preflight(api, ALLOWED))["allow-origin"] == ALLOWED
        assert cors_headers(preflight(api, FOREIGN)) == {}
        assert api.post(CHAT, json=BODY, headers={"Origin": FOREIGN}).status_code == 403


# Paths ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing", "/api/v1/nothing", "/nothing"])
def test_unknown_path(path: str) -> None:
    with serving() as (_, api):
        response = api.get(path)
        assert response.status_code == 404
        error_type(path, response)
        assert path in response.json()["error"]["message"]
    with serving(http=HttpSettings(accept_unknown_paths=True)) as (_, api):
        response = api.get(path)
        assert response.status_code == 200
        assert path in response.json()["error"]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_wrong_method_is_told_the_right_one(method: str, path: str, body: Any) -> None:
    with serving() as (_, api):
        response = api.request("DELETE", path)
        assert response.status_code == 405
        error_type(path, response)
        assert method in response.headers["allow"].split(", ")


def test_head_is_a_get_without_its_body() -> None:
    with serving() as (server, _), TcpWire(server) as wire:
        wire.send(b"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = wire.rest().lower().partition(b"\r\n\r\n")
        assert head.startswith(b"http/1.1 200 ")
        assert b"content-length: " in head
        assert body == b""


def test_full_queue_asks_for_patience() -> None:
    engine = ScriptedEngine(Reply([gate := Gate(), "Hi"]))
    with serving(engine, http=HttpSettings(max_queued_requests=1)) as (server, api):
        with TcpWire(server, post(CHAT, BODY)) as first:
            assert gate.reached(PATIENCE_SECONDS)
            for path in (CHAT, MESSAGES):
                response = api.post(path, json=BODY)
                assert (response.status_code, response.headers["retry-after"]) == (429, "1")
                assert error_type(path, response) == "rate_limit_error"
            gate.open()
            assert answer(first)[0] == 200
        assert api.post(CHAT, json=BODY).status_code == 200


# Bodies --------------------------------------------------------------------------------------------------------------

SMALL = HttpSettings(max_body_bytes=1000)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
def test_body_that_is_too_large(path: str, *, is_chunked: bool) -> None:
    with serving(http=SMALL) as (_, api):
        content = b" " * 5000
        response = api.post(path, content=iter([content, content]) if is_chunked else content)
        assert response.status_code == 413
        assert "1000 bytes" in response.json()["error"]["message"]
        error_type(path, response)
        assert api.get("/v1/models").status_code == 200


def test_body_of_exactly_the_limit_is_read() -> None:
    content = json.dumps(BODY).encode()
    with serving(http=HttpSettings(max_body_bytes=len(content))) as (_, api):
        assert api.post(CHAT, content=content).status_code == 200
        assert api.post(CHAT, content=content + b" ").status_code == 413


def test_announced_body_that_is_too_large_is_not_waited_for() -> None:
    with serving(http=SMALL) as (server, _), TcpWire(server) as wire:
        wire.send(post(CHAT, {}, length=10**12))
        reply = wire.rest()
        assert reply.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in reply.lower()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_request_without_length_has_no_body(version: str) -> None:
    with serving() as (server, _), TcpWire(server) as wire:
        wire.send(f"POST {CHAT} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        reply = wire.rest()
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert b"is empty" in reply


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", ""])
def test_body_is_json_whatever_it_is_called(content_type: str) -> None:
    with serving() as (_, api):
        headers = {"Content-Type": content_type}
        assert api.post(CHAT, content=json.dumps(BODY), headers=headers).status_code == 200


def test_client_that_asks_first_is_told_to_go_on() -> None:
    head, _, content = post(CHAT, BODY, "Expect: 100-continue", "Connection: close").partition(b"\r\n\r\n")
    with serving() as (server, _), TcpWire(server) as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        wire.send(content)
        assert wire.rest().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("options", "status"), [({"api_tokens": [TOKEN]}, b"401"), ({"http": HttpSettings(max_body_bytes=5)}, b"413")]
)
def test_client_that_asks_first_is_refused_without_its_body(options: dict[str, Any], status: bytes) -> None:
    head, _, _ = post(CHAT, BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
    with serving(**options) as (server, _), TcpWire(server) as wire:
        wire.send(head + b"\r\n\r\n")
        reply = wire.rest()
        assert reply.startswith(b"HTTP/1.1 " + status)


def test_client_that_leaves_within_its_body() -> None:
    with serving(engine := ScriptedEngine()) as (server, api):
        with TcpWire(server, post(CHAT, BODY, length=5000)):
            api.get("/health")
        api.get("/health")
        assert engine.loads == []


@pytest.mark.parametrize("begun", [b"", b"{"], ids=["nothing of it", "a byte"])
def test_body_that_does_not_come_is_not_waited_for(begun: bytes) -> None:
    limits = ConnectionLimits(request_seconds=0.05)
    head, _, _ = post(CHAT, BODY).partition(b"\r\n\r\n")
    with serving(limits=limits) as (server, _), TcpWire(server, head + b"\r\n\r\n" + begun) as wire:
        assert wire.rest() == b""


def test_body_that_trickles_is_not_waited_for() -> None:
    limits = ConnectionLimits(request_seconds=0.2)
    with serving(limits=limits) as (server, api), TcpWire(server, post(CHAT, {}, length=10**6)) as wire:
        wire.socket.setblocking(False)
        end = monotonic() + PATIENCE_SECONDS
        is_over = False
        while not is_over and monotonic() < end:
            api.get("/health")  # takes the time between two bytes
            try:
                wire.socket.send(b" ")
                is_over = wire.socket.recv(1) == b""
            except BlockingIOError:
                pass
            except ConnectionError:
                is_over = True
        assert is_over


def test_long_body_may_take_longer_than_a_request() -> None:
    limits = ConnectionLimits(request_seconds=1.5)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with serving(limits=limits) as (server, api), TcpWire(server, head) as wire:
        end = monotonic() + 2 * limits.request_seconds
        while monotonic() < end:
            wire.send(chunk(b" " * 100_000))
            for _ in range(10):
                api.get("/health")
        wire.send(chunk(json.dumps(BODY).encode()) + chunk(b""))
        assert answer(wire)[0] == 200


# Connections ---------------------------------------------------------------------------------------------------------


def test_requests_in_one_go_are_answered_in_their_order() -> None:
    texts = [f"no. {number}" for number in range(5)]
    bodies = [{**BODY, "messages": [{"role": "user", "content": text}]} for text in texts]
    with serving() as (server, _), TcpWire(server) as wire:
        wire.send(b"".join(post(CHAT, body) for body in bodies))
        for text in texts:
            status, body = answer(wire)
            assert (status, body["choices"][0]["message"]["content"]) == (200, f"You said: {text}")


@pytest.mark.parametrize("is_stream", [False, True])
def test_connection_lives_on_after_an_error(*, is_stream: bool) -> None:
    engine = ScriptedEngine()
    with serving(engine) as (server, _), TcpWire(server) as wire:
        wire.send(post(MESSAGES, {**BODY, "max_tokens": 0}))
        assert answer(wire)[0] == 400
        engine.reply = Reply(["one"], error="The engine is out of order.", error_after=1)
        wire.send(post(MESSAGES, {**BODY, "stream": is_stream}))
        if is_stream:
            wire.until(b"out of order")
            wire.until(b"0\r\n\r\n")  # the last chunk
        else:
            assert answer(wire)[0] == 500
        engine.reply = "fine"
        wire.send(post(MESSAGES, BODY))
        status, body = answer(wire)
        assert (status, body["content"][0]["text"]) == (200, "fine")


@pytest.mark.parametrize(("method", "path", "body"), GENERATIONS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_client_that_goes_away_stops_the_model(method: str, path: str, body: Any, *, is_stream: bool) -> None:
    engine = ScriptedEngine(Reply(["one ", gate := Gate(), "two"]))
    with serving(engine) as (server, _):
        with TcpWire(server, post(path, {**body, "stream": is_stream})):
            assert gate.reached(PATIENCE_SECONDS)
        assert engine.wait_for_cancel(PATIENCE_SECONDS)


def test_client_that_goes_away_gives_up_the_load() -> None:
    engine = ScriptedEngine(load_gate=(gate := Gate()))
    with serving(engine) as (server, _):
        with TcpWire(server, post(MESSAGES, BODY)):
            assert gate.reached(PATIENCE_SECONDS)
        assert engine.wait_for_cancel(PATIENCE_SECONDS)


@pytest.mark.parametrize(("method", "path", "body"), GENERATIONS)
def test_client_that_does_not_read_its_stream_is_not_waited_for(method: str, path: str, body: Any) -> None:
    engine = ScriptedEngine(Reply(["x" * 10_000] * 3000))
    limits = ConnectionLimits(stall_seconds=0.2)
    with serving(engine, limits=limits) as (server, _):
        request = post(path, {**body, "stream": True})
        with TcpWire(server, request, receive_buffer=4096) as wire:
            assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            assert engine.wait_for_cancel(PATIENCE_SECONDS)
