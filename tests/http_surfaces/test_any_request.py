"""Whatever a client sends, it is answered in the words of its surface, and the server lives on."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from http_surfaces.asgi_call import Answer, ask
from http_surfaces.bodies import bodies
from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, USER
from lmstudio.server import BrokenToolCall, HttpSettings, Reasoning, ScriptedEngine, ToolCall
from lmstudio.server.app import AppSettings, create_app
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import scripted_model
from lmstudio.server.http.routes import PATHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

pytestmark = pytest.mark.unmeasured

SAME_EVERY_TIME = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
WITH_BODY = [path for path in PATHS if path.body_type is not None]
WITHOUT_BODY = [path for path in PATHS if path.body_type is None]
REPLIES: Final[list[Any]] = [
    None,
    "Hello there",
    "",
    [Reasoning("Let me think."), "So it is."],
    ["I add.", ToolCall("add", {"a": 1, "b": 2})],
    [BrokenToolCall("{'name")],
]
QUERY: Final = ("order", "after", "limit", "stream", "include", "%ff", "")
VALUES: Final = ("asc", "desc", "1", "0", "-1", "9" * 30, "1e9", "true", "NaN")
LAST_EVENTS: Final = {"message_stop", "chat.end", "response.completed", "response.incomplete"}
"""Of streams that end as they should; those of chat completions and completions have no names."""


class Stage:
    """A server without sockets, with a model loaded."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.loop = asyncio.new_event_loop()
        models = [scripted_model(CHAT_MODEL, vision=True), scripted_model(EMBEDDING_MODEL, "embedding")]
        self.core = ServerCore(engine, Catalog(models))
        self.app: ASGIApp = create_app(self.core, AppSettings(http=HttpSettings(max_body_bytes=1 << 20)))
        self.loop.run_until_complete(self.core.instances.acquire("llm", CHAT_MODEL))

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        return self.loop.run_until_complete(ask(self.app, method, path, body))

    def check_is_idle(self) -> None:
        """It answers, and nothing is left of what it did."""
        assert self.ask("GET", "/health").status == 200
        for kind in ("llm", "embedding"):
            assert [each.identifier for each in self.core.instances.loaded(kind) if each.uses] == []
        assert asyncio.all_tasks(self.loop) == set()


@contextmanager
def stage(reply: Any = None) -> Iterator[Stage]:
    stage = Stage(ScriptedEngine(reply))
    try:
        yield stage
        stage.check_is_idle()
    finally:
        stage.loop.run_until_complete(stage.core.aclose())
        stage.loop.close()


@contextmanager
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.clear()
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def check_error(path: str, answer: Answer) -> None:
    """A refusal, in the words of the surface."""
    assert answer.status != 500, answer.body
    body = json.loads(answer.body)
    error = body["error"]
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    if path.startswith("/v1/messages"):
        assert body["type"] == "error"
        assert set(error) == {"type", "message"}
    elif path.startswith("/api/v1"):
        assert set(error) <= {"type", "message", "code", "param"}
    else:
        assert set(error) == {"type", "message", "code", "param"}


def check_stream(answer: Answer) -> None:
    """A stream from its first event to its last, without an error."""
    text = answer.body.decode()
    assert text.endswith("\n\n")
    blocks = text[:-2].split("\n\n")
    for block in blocks:
        assert not block.startswith("event: error"), block
        data = block.rpartition("data: ")[2]
        assert data == "[DONE]" or isinstance(json.loads(data), dict)
    assert blocks[-1] == "data: [DONE]" or blocks[-1].partition("\n")[0].removeprefix("event: ") in LAST_EVENTS
    assert "[DONE]" not in text[: -len(blocks[-1]) - 2].split("\n")


def check(path: str, answer: Answer) -> None:
    if answer.status >= 400:
        check_error(path, answer)
    elif answer.is_stream:
        check_stream(answer)
    else:
        assert answer.status == 200
        assert isinstance(json.loads(answer.body), dict)


@pytest.mark.parametrize("path", WITH_BODY, ids=lambda path: path.path)
@given(data=st.data())
@settings(SAME_EVERY_TIME, max_examples=40)
def test_any_body(caplog: pytest.LogCaptureFixture, path: Any, data: st.DataObject) -> None:
    reply = data.draw(st.sampled_from(REPLIES))
    body = data.draw(bodies(path.body_type))
    with no_complaints(caplog), stage(reply) as server:
        check(path.path, server.ask(path.method, path.path, body))


@pytest.mark.parametrize("path", WITHOUT_BODY, ids=lambda path: f"{path.method} {path.path}")
@given(data=st.data())
@settings(SAME_EVERY_TIME, max_examples=30)
def test_any_path(caplog: pytest.LogCaptureFixture, path: Any, data: st.DataObject) -> None:
    before, brace, rest = path.path.partition("{")
    with no_complaints(caplog), stage() as server:
        known = json.loads(server.ask("POST", "/v1/responses", b'{"input": "Hi"}').body)["id"]
        text = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from((known, "..", "%", "x" * 5000, CHAT_MODEL)))
        name = quote(data.draw(st.just(known) | text), safe="") if brace else ""
        keys = data.draw(st.lists(st.sampled_from(QUERY), max_size=3))
        query = "&".join(f"{key}={quote(data.draw(st.sampled_from(VALUES) | text))}" for key in keys)
        check(path.path, server.ask(path.method, f"{before}{name}{rest.partition('}')[2]}?{query}"))


NO_FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": [1], "required": ["a"]}}}
MANY = {"type": "json_schema", "json_schema": {"schema": {"type": "array", "minItems": 10**12}}}
ONE_TOOL = {"type": "function", "function": {"name": "add", "parameters": [{}]}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": [None, "two"]}, "input"),
        ("/v1/chat/completions", {"messages": USER, "tools": [ONE_TOOL]}, "tools[0].parameters"),
        ("/v1/chat/completions", {"messages": USER, "response_format": NO_FORM}, None),
        ("/v1/chat/completions", {"messages": USER, "response_format": MANY}, None),
    ],
)
def test_mistake_of_the_client_is_told_as_one(path: str, body: Any, param: str | None) -> None:
    with stage() as server:
        answer = server.ask("POST", path, json.dumps(body).encode())
        assert (answer.status, json.loads(answer.body)["error"]["param"]) == (400, param)


def test_endless_time_to_live_is_one_that_can_be_told() -> None:
    with stage() as server:
        body = {"model": EMBEDDING_MODEL, "input": "Hi", "ttl": 1e308}
        assert server.ask("POST", "/v1/embeddings", json.dumps(body).encode()).status == 200
        (instance,) = server.core.instances.loaded("embedding")
        assert instance.ttl_ms is not None
        assert instance.ttl_ms < 2**53
