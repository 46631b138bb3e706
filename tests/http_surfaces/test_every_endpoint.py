"""What holds for all endpoints of the HTTP surfaces, one by one: methods, tokens, web pages, members, streams."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, USER, read_events
from lmstudio.server import HttpSettings, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
WRONG = "sk-lm-abcdefgh:ABCDEFGHIJKLMNOPQRST"
CHAT = {"model": CHAT_MODEL, "messages": USER}
MESSAGE = {**CHAT, "max_tokens": 100}
TEXT = {"model": CHAT_MODEL, "prompt": "Hi"}
INPUT = {"model": CHAT_MODEL, "input": "Hi"}
EMBEDDING = {"model": EMBEDDING_MODEL, "input": "Hi"}


class Call(NamedTuple):
    """One endpoint, and a request that it answers with 200."""

    path: str
    body: dict[str, Any] | None = None
    last_event: str = ""
    """How its streams end, if it has any: the name of the event, or [DONE]."""

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


CALLS = [
    Call("/api/v0/models"),
    Call(f"/api/v0/models/{CHAT_MODEL}"),
    Call("/api/v0/chat/completions", CHAT, "[DONE]"),
    Call("/api/v0/completions", TEXT, "[DONE]"),
    Call("/api/v0/embeddings", EMBEDDING),
    Call("/api/v1/chat", INPUT, "chat.end"),
    Call("/api/v1/models"),
    Call("/api/v1/models/load", {"model": CHAT_MODEL}),
    Call("/api/v1/models/unload", {"instance_id": CHAT_MODEL}),
    Call("/api/v1/models/download", {"model": "lmstudio-python/pebble-embed-0.8m-GGUF"}),
    Call("/api/v1/models/download/status"),
    Call("/v1/models"),
    Call(f"/v1/models/{CHAT_MODEL}"),
    Call("/v1/chat/completions", CHAT, "[DONE]"),
    Call("/v1/completions", TEXT, "[DONE]"),
    Call("/v1/embeddings", EMBEDDING),
    Call("/v1/responses", INPUT, "response.completed"),
    Call("/v1/messages", MESSAGE, "message_stop"),
    Call("/v1/messages/count_tokens", CHAT),
]
POSTS = [call for call in CALLS if call.body is not None]
STREAMS = [call for call in CALLS if call.last_event]

each_call = pytest.mark.parametrize("call", CALLS, ids=[f"{call.method} {call.path}" for call in CALLS])
each_post = pytest.mark.parametrize("call", POSTS, ids=[call.path for call in POSTS])
each_stream = pytest.mark.parametrize("call", STREAMS, ids=[call.path for call in STREAMS])


@contextmanager
def serving(**options: Any) -> Iterator[httpx.Client]:
    """A client of a server that has loaded the chat model. It brings its token only where a test says so."""
    with (
        Server(engine=ScriptedEngine(), **options) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        loaded = api.post("/api/v1/models/load", json={"model": CHAT_MODEL}, headers={"X-Api-Key": TOKEN})
        assert loaded.status_code == 200
        yield api


def send(api: httpx.Client, call: Call, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    body = None if call.body is None else {**call.body, **members}
    return api.request(call.method, call.path, json=body, headers=headers)


@each_call
def test_endpoint_has_its_method_and_no_other(call: Call) -> None:
    with serving() as api:
        assert send(api, call).status_code == 200
        other = api.post(call.path, json={}) if call.body is None else api.get(call.path)
        assert other.status_code == 405
        assert call.method in other.headers["allow"].split(", ")


@each_call
def test_token_is_needed_and_taken_from_either_header(call: Call) -> None:
    with serving(api_tokens=[TOKEN]) as api:
        for headers in ({}, {"Authorization": f"Bearer {WRONG}"}, {"X-Api-Key": WRONG}):
            refused = send(api, call, headers)
            assert refused.status_code == 401
            assert "token" in refused.json()["error"]["message"]
        assert send(api, call, {"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        again = send(api, call, {"X-Api-Key": TOKEN})
        assert again.status_code == (404 if call.path.endswith("unload") else 200)


@each_call
@pytest.mark.parametrize("cors", [False, True])
def test_web_pages_may_read_the_answer_where_that_is_wanted(call: Call, *, cors: bool) -> None:
    with serving(http=HttpSettings(cors=cors)) as api:
        page = {"Origin": "https://pages.example"}
        answer = send(api, call, page)
        assert answer.headers.get("access-control-allow-origin") == ("*" if cors else None)
        assert answer.status_code == (200 if cors or call.method == "GET" else 403)


@each_post
def test_unknown_members_are_refused_by_the_api_v1_only(call: Call) -> None:
    with serving() as api:
        answer = send(api, call, a_member_of_our_own=1)
        if not call.path.startswith("/api/v1/"):
            assert answer.status_code == 200
            return
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (400, "invalid_request", "unrecognized_keys")
        assert error["param"] == "a_member_of_our_own"


@each_stream
def test_stream_ends_as_its_surface_says(call: Call) -> None:
    with serving() as api:
        *events, last = read_events(send(api, call, stream=True))
        assert "[DONE]" not in [event.data for event in events]
        assert (last.name or last.data) == call.last_event
        assert {bool(event.name) for event in (*events, last)} == {call.last_event != "[DONE]"}
        assert all(not event.name or event.data["type"] == event.name for event in (*events, last))


@each_stream
@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_refused_before_the_first_byte(call: Call, *, is_stream: bool) -> None:
    assert call.body is not None
    long = "word " * 20_000
    member = next(name for name in ("messages", "prompt", "input") if name in call.body)
    members: dict[str, Any] = {member: [{"role": "user", "content": long}] if member == "messages" else long}
    with serving() as api:
        answer = send(api, call, stream=is_stream, **members)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    if call.path == "/v1/messages":  # where errors have no codes
        assert error["type"] == "invalid_request_error"
    else:
        assert error["code"] == "context_length_exceeded"
