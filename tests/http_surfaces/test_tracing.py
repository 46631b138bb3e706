"""The spans of requests: what they say, whose children they are, and what they never say."""

from __future__ import annotations

import asyncio
import http.server
import importlib
import json
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from figures_stage import Exposition
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv import attributes as stable_conventions
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from http_surfaces.bodies import CHATS, chat_body
from http_surfaces.http_stage import ADD, CHAT_MODEL, EMBEDDING_MODEL, StillClock, read_events
from lmstudio.server import Gate, HttpSettings, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.errors import ServerStartError
from lmstudio.server.http import tracing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
PROMPT, ANSWER = "A question of the user", "An answer of the model"


class Spans:
    """What was exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def requests(self) -> list[ReadableSpan]:
        return [span for span in self.all() if span.kind is SpanKind.SERVER]

    def only(self) -> tuple[ReadableSpan, Mapping[str, Any]]:
        """The only request's, and what it says."""
        (span,) = self.requests()
        return span, dict(span.attributes or {})


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """A program that has a provider. It is not really set, because that can be done only once."""
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return Spans(exporter)


@contextmanager
def serving(engine: ScriptedEngine | None = None, **http: Any) -> Iterator[tuple[Server, httpx.Client]]:
    """A server that traces, and a client of it. What was begun is over when the block is."""
    with (
        Server(engine=engine or ScriptedEngine("one two three"), http=HttpSettings(traces=True, **http)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield server, api


def post_by_hand(server: Server, path: str, body: str) -> TcpWire:
    """A request whose connection the test has in its hand."""
    return TcpWire(server, f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


# What a span says -----------------------------------------------------------------------------------------------------


def test_chat_has_what_the_conventions_name(spans: Spans) -> None:
    body = {**chat_body(CHAT, stream=False), "temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "seed": 3}
    with serving() as (server, api):
        reply = api.post(CHAT, json=body).json()
        port = server.port
    span, found = spans.only()
    assert span.name == f"chat {CHAT_MODEL}"
    assert span.status.status_code is StatusCode.UNSET
    assert found == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": port,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lmstudio",
        "gen_ai.request.model": CHAT_MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.seed": 3,
        "gen_ai.response.model": CHAT_MODEL,
        "gen_ai.response.id": reply["id"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": reply["usage"]["prompt_tokens"],
        "gen_ai.usage.output_tokens": 3,
    }


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_surface_has_operation_model_id_and_usage(spans: Spans, path: str, *, is_stream: bool) -> None:
    with serving() as (_, api):
        response = api.post(path, json=chat_body(path, stream=is_stream))
        text = response.text
    _, found = spans.only()
    is_text = path.endswith("/completions") and "chat" not in path
    assert found["gen_ai.operation.name"] == ("text_completion" if is_text else "chat")
    assert found["gen_ai.response.model"] == CHAT_MODEL
    assert f'"{found["gen_ai.response.id"]}"' in text
    assert found["gen_ai.usage.output_tokens"] == 3
    assert found["gen_ai.response.finish_reasons"] == (("end_turn",) if path == MESSAGES else ("stop",))
    assert found.get("gen_ai.request.stream", False) is is_stream


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("path", "reason"), [(CHAT, "tool_calls"), ("/v1/responses", "tool_calls"), (MESSAGES, "tool_use")]
)
def test_reason_is_the_one_that_the_client_got(spans: Spans, path: str, reason: str, *, is_stream: bool) -> None:
    function = {"name": "add", "input_schema": ADD["parameters"]} if path == MESSAGES else {"type": "function", **ADD}
    tool = {"type": "function", "function": ADD} if path == CHAT else function
    with serving(ScriptedEngine(Reply([ToolCall("add", {"a": 1, "b": 2})]))) as (_, api):
        assert api.post(path, json={**chat_body(path, stream=is_stream), "tools": [tool]}).status_code == 200
    _, found = spans.only()
    assert found["gen_ai.response.finish_reasons"] == (reason,)


@pytest.mark.parametrize("is_stream", [False, True])
def test_stream_has_the_time_to_its_first_part(spans: Spans, *, is_stream: bool) -> None:
    clock, gate = StillClock(), Gate()
    engine = ScriptedEngine(Reply([gate, "one"]))
    with Server(engine=engine, http=HttpSettings(traces=True), clock=clock) as server:
        body = json.dumps(chat_body(CHAT, stream=is_stream))
        with post_by_hand(server, CHAT, body) as wire:
            assert gate.reached(PATIENCE_SECONDS)
            clock.now += 4
            gate.open()
            wire.until(b"one")
    _, found = spans.only()
    assert found.get("gen_ai.response.time_to_first_chunk") == (4 if is_stream else None)


def test_embeddings_have_tokens_of_texts_only(spans: Spans) -> None:
    with serving() as (_, api):
        reply = api.post(EMBEDDINGS, json={"model": EMBEDDING_MODEL, "input": ["one", "two words"]}).json()
    span, found = spans.only()
    assert span.name == f"embeddings {EMBEDDING_MODEL}"
    assert found["gen_ai.usage.input_tokens"] == reply["usage"]["prompt_tokens"]
    assert "gen_ai.usage.output_tokens" not in found


def test_other_requests_are_named_after_their_route(spans: Spans) -> None:
    with serving() as (_, api):
        api.get(f"/v1/models/{CHAT_MODEL}")
    span, found = spans.only()
    assert span.name == "GET /v1/models/{model:path}"
    assert not any(name.startswith("gen_ai.") for name in found)


def test_monitors_make_no_spans(spans: Spans) -> None:
    with serving(metrics=True) as (_, api):
        for path in ("/health", "/metrics", "/lmstudio-greeting", "/lms-status"):
            assert api.get(path).status_code == 200
    assert spans.all() == ()


def test_all_names_are_those_of_the_conventions(spans: Spans) -> None:
    with serving() as (_, api):
        for path in CHATS:
            api.post(path, json={**chat_body(path, stream=True), "temperature": 0.1, "top_k": 3})
        api.post(CHAT, content=b"{")
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    for name in ("error", "http", "server", "url"):
        module = importlib.import_module(f"{stable_conventions.__name__}.{name}_attributes")
        known |= {value for value in vars(module).values() if isinstance(value, str)}
    assert {name for span in spans.requests() for name in span.attributes or {}} <= known


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_nothing_that_was_said_is_in_a_span(spans: Spans, path: str, *, is_stream: bool) -> None:
    with serving(ScriptedEngine(ANSWER)) as (_, api):
        body = chat_body(path, stream=is_stream, text=PROMPT)
        api.post(path, json=body)
        api.post(path, json={**body, "temperature": PROMPT})
        api.post(path, json={**body, "stop": [PROMPT], "user": PROMPT, "metadata": {"user_id": PROMPT}})
        api.post(f"{path}/{PROMPT}?q={PROMPT}", json=body)
    assert len(spans.requests()) == 4
    for span in spans.all():
        assert PROMPT not in span.to_json()
        assert ANSWER not in span.to_json()


# How it ends ----------------------------------------------------------------------------------------------------------


def test_mistake_of_the_client_is_no_error_of_the_server(spans: Spans) -> None:
    with serving() as (_, api):
        assert api.post(CHAT, json={**chat_body(CHAT, stream=False), "model": "unheard-of"}).status_code == 400
    span, found = spans.only()
    assert (found["error.type"], found["http.response.status_code"]) == ("model_not_found", 400)
    assert (span.name, span.status.status_code) == ("chat", StatusCode.UNSET)


@pytest.mark.parametrize("is_stream", [False, True])
def test_failure_of_the_engine_is_an_error(spans: Spans, *, is_stream: bool) -> None:
    with serving(ScriptedEngine(Reply(["one "], error="Out of order.", error_after=1))) as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=is_stream))
    span, found = spans.only()
    assert (found["error.type"], found["http.response.status_code"]) == ("internal", 200 if is_stream else 500)
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("path", CHATS)
def test_client_that_goes_away_cancels(spans: Spans, path: str) -> None:
    engine = ScriptedEngine(Reply(["one ", gate := Gate()]))
    body = json.dumps(chat_body(path, stream=True))
    with serving(engine) as (server, _):
        with post_by_hand(server, path, body):
            assert gate.reached(PATIENCE_SECONDS)
        assert engine.wait_for_cancel(PATIENCE_SECONDS)
    span, found = spans.only()
    assert found["error.type"] == "cancelled"
    assert "http.response.status_code" not in found
    assert "gen_ai.response.finish_reasons" not in found
    assert span.status.status_code is StatusCode.UNSET


def test_path_that_is_not_there_has_no_route(spans: Spans) -> None:
    with serving() as (_, api):
        api.get("/nothing/here")
    span, found = spans.only()
    assert (span.name, found["error.type"]) == ("GET", "404")


# Whose child it is ----------------------------------------------------------------------------------------------------


def test_parent_is_the_span_of_the_client(spans: Spans) -> None:
    with serving() as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=False), headers=TRACEPARENT)
    span, _ = spans.only()
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{TRACE}-0000000000000000-01", "\xff" * 55])
def test_parent_that_is_none_begins_a_trace(spans: Spans, header: str) -> None:
    with serving() as (_, api):
        assert api.get("/v1/models", headers=[(b"traceparent", header.encode("latin-1"))]).status_code == 200
    span, _ = spans.only()
    assert span.parent is None


def test_load_is_a_child(spans: Spans) -> None:
    with serving() as (_, api):
        for _ in range(2):
            api.post(CHAT, json=chat_body(CHAT, stream=False))
    first, second = spans.requests()
    (load,) = (span for span in spans.all() if span.kind is not SpanKind.SERVER)
    assert load.name == f"load {CHAT_MODEL}"
    assert load.parent == first.context != second.context
    assert load.status.status_code is StatusCode.UNSET


def test_failed_load_is_an_error(spans: Spans) -> None:
    with serving(ScriptedEngine(fail_load="It is broken.")) as (_, api):
        assert api.post(CHAT, json=chat_body(CHAT, stream=False)).status_code == 500
    (load,) = (span for span in spans.all() if span.kind is not SpanKind.SERVER)
    assert load.status.status_code is StatusCode.ERROR


def test_requests_at_once_have_spans_of_their_own(spans: Spans) -> None:
    many = 100
    parents = {f"{number:016x}" for number in range(1, many + 1)}

    async def ask_all(server: Server) -> None:
        async with httpx.AsyncClient(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api:
            body = chat_body(CHAT, stream=True)
            asked = [
                api.post(CHAT, json=body, headers={"traceparent": f"00-{TRACE}-{parent}-01"}) for parent in parents
            ]
            assert {len(read_events(answer)) for answer in await asyncio.gather(*asked)} == {6}

    with serving() as (server, _):
        asyncio.run(ask_all(server))
    assert {f"{span.parent.span_id:016x}" for span in spans.requests() if span.parent} == parents
    assert {(span.attributes or {})["gen_ai.usage.output_tokens"] for span in spans.requests()} == {3}


def test_metrics_are_counted_beside(spans: Spans) -> None:
    with serving(metrics=True) as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=False))
        api.post(EMBEDDINGS, json={"model": EMBEDDING_MODEL, "input": "one"})
        api.post(CHAT, content=b"{")
        seen = Exposition(api.get("/metrics").text)
    assert len(spans.requests()) == 3
    assert seen.value("predictions_total") == 1
    assert seen.value("model_load_seconds_count") == 2
    assert seen.value("time_to_first_token_seconds_count") == 1
    assert seen.value("prompt_tokens_total", model=EMBEDDING_MODEL) > 0
    assert seen.value("request_errors_total", reason="invalid_request") == 1


# Where spans go -------------------------------------------------------------------------------------------------------


class Collector(http.server.ThreadingHTTPServer):
    """Takes what is exported."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.received.append((self.path, body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


def test_spans_go_where_the_environment_says_before_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=the-cellar")
        try:
            with serving() as (_, api):
                api.post(CHAT, json=chat_body(CHAT, stream=False))
        finally:
            collector.shutdown()
            thread.join()
    ((path, body),) = collector.received
    assert path == "/v1/traces"
    for text in (f"chat {CHAT_MODEL}", f"load {CHAT_MODEL}", "service.name\x12\n\n\x08lmstudio", "the-cellar"):
        assert text.encode() in body


def test_collector_that_does_not_answer_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "_END_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # after which the exporter gives up, too
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with serving() as (server, api):
            api.get("/v1/models")
        assert not server.is_running
    assert "last traces could not be sent" in caplog.text


def test_spans_may_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    with serving() as (_, api):
        assert api.post(CHAT, json=chat_body(CHAT, stream=False)).status_code == 200


def test_exporter_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "pigeon")
    with pytest.raises(ServerStartError, match=r"OTEL_TRACES_EXPORTER is 'pigeon'.*there are: .*otlp"), serving():
        pass


@pytest.mark.parametrize("package", ["opentelemetry", "opentelemetry.sdk.resources"])
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.delitem(sys.modules, "lmstudio.server.http.tracing")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ServerStartError, match=rf"Traces need {package}.*pip install 'lmstudio\[otel\]'"), serving():
        pass


def test_provider_of_the_program_lives_on(spans: Spans) -> None:
    for _ in range(2):
        with serving() as (_, api):
            api.get("/v1/models")
    assert len(spans.requests()) == 2
