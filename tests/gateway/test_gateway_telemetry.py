"""What a gateway shows to Prometheus, and the spans of its requests."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from figures_stage import Exposition
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from gateway.gateway_stage import CHAT, CHAT_MODEL, EMBEDDING_MODEL, Studio
from lmstudio.gateway import Gateway
from lmstudio.server import Gate, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 100
CHAT_PATH = "/v1/chat/completions"


@contextmanager
def running(api_host: str, **settings: Any) -> Iterator[tuple[Gateway, httpx.Client]]:
    """A gateway in front of *api_host*, and a plain HTTP client of it."""
    with (
        Gateway(base_url=api_host, port=0, **settings) as gateway,
        httpx.Client(base_url=gateway.base_url, timeout=PATIENCE_SECONDS) as api,
    ):
        yield gateway, api


def look_after_all(api: httpx.Client) -> Exposition:
    """When nothing else is being answered. A client may have its answer a moment before the gateway is through."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        response = api.get("/metrics")
        assert response.status_code == 200, response.text
        seen = Exposition(response.text)
        if seen.value("requests_in_progress") == 1:
            return seen
        assert time.monotonic() < deadline


@pytest.mark.parametrize("is_stream", [False, True])
def test_predictions_are_counted(studio: Studio, *, is_stream: bool) -> None:
    studio.engine.reply = Reply(["one", " two"])
    with running(studio.api_host) as (_, api):
        for path in (CHAT_PATH, "/v1/messages", "/v1/completions"):
            body: dict[str, Any] = {**CHAT, "max_tokens": 9, "stream": is_stream}
            if path == "/v1/completions":
                body["prompt"] = body.pop("messages")[0]["content"]
            assert api.post(path, json=body).status_code == 200
        seen = look_after_all(api)
    assert seen.value("predictions_total", model=CHAT_MODEL, stop_reason="eosFound") == 3
    assert seen.value("completion_tokens_total", model=CHAT_MODEL) == 6
    assert seen.value("prompt_tokens_total", model=CHAT_MODEL) > 0
    assert seen.value("time_to_first_token_seconds_count", model=CHAT_MODEL) == 3
    assert seen.value("generation_tokens_per_second_count", model=CHAT_MODEL) == 3
    assert seen.value("requests_waiting") == seen.value("predictions_in_progress") == 0


def test_embedded_texts_are_prompts(studio: Studio) -> None:
    with running(studio.api_host) as (_, api):
        reply = api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": ["one", "two words"]}).json()
        seen = look_after_all(api)
    assert seen.value("prompt_tokens_total", model=EMBEDDING_MODEL) == reply["usage"]["prompt_tokens"] > 0


def test_model_goes_by_its_key_whatever_it_is_called(studio: Studio) -> None:
    studio.load(f"{CHAT_MODEL}=chosen-name")
    with running(studio.api_host) as (_, api):
        assert api.post(CHAT_PATH, json={**CHAT, "model": "chosen-name"}).status_code == 200
        seen = look_after_all(api)
    assert seen.value("predictions_total", model=CHAT_MODEL) == 1
    assert "chosen-name" not in seen.label_values()


def test_upstream_is_seen_to_be_there_or_not(studio: Studio) -> None:
    with running(studio.api_host) as (_, api):
        found = [look_after_all(api)]
        studio.server.stop()
        found.append(look_after_all(api))
        assert api.post(CHAT_PATH, json=CHAT).status_code == 502
        studio.restart()
        found.append(look_after_all(api))
    assert [seen.value("upstream_up") for seen in found] == [1, 0, 1]
    assert [seen.value("upstream_models_loaded") for seen in found] == [2, 0, 2]
    assert found[2].value("request_errors_total", route=CHAT_PATH, reason="bad_gateway") == 1


def test_load_that_many_wait_for_is_one(studio: Studio) -> None:
    studio.unload(CHAT_MODEL)
    studio.engine.load_gate = gate = Gate()

    async def ask_all(gateway: Gateway) -> list[int]:
        async with httpx.AsyncClient(base_url=gateway.base_url, timeout=PATIENCE_SECONDS) as api:
            asked = [asyncio.ensure_future(api.post(CHAT_PATH, json=CHAT)) for _ in range(5)]
            assert await asyncio.to_thread(gate.reached, PATIENCE_SECONDS)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (await waiting(api)) < 5:
                assert time.monotonic() < deadline
            gate.open()
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    async def waiting(api: httpx.AsyncClient) -> float:
        seen = Exposition((await api.get("/metrics")).text)
        return seen.value("requests_waiting", model=CHAT_MODEL, waits_for="load")

    with running(studio.api_host, jit_loading=True) as (gateway, api):
        assert asyncio.run(ask_all(gateway)) == [200] * 5
        seen = look_after_all(api)
    assert seen.value("model_load_seconds_count", model=CHAT_MODEL, outcome="loaded") == 1
    assert seen.value("model_load_seconds_count") == 1
    assert seen.value("requests_waiting") == 0


def test_failed_load_and_load_ahead_are_counted(studio: Studio) -> None:
    studio.unload(CHAT_MODEL)
    with running(studio.api_host, preload=[CHAT_MODEL]) as (_, api):
        assert look_after_all(api).value("model_load_seconds_count", model=CHAT_MODEL, outcome="loaded") == 1
    studio.unload(CHAT_MODEL)
    studio.engine.fail_load = "It is broken."
    with running(studio.api_host, jit_loading=True) as (_, api):
        assert api.post(CHAT_PATH, json=CHAT).status_code >= 500
        assert look_after_all(api).value("model_load_seconds_count", model=CHAT_MODEL, outcome="failed") == 1


def test_client_that_goes_away_leaves_no_gauge_up(studio: Studio) -> None:
    studio.engine.reply = Reply(["one ", Gate()])
    body = json.dumps({**CHAT, "stream": True})
    head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with running(studio.api_host) as (gateway, api):
        with TcpWire(gateway, (head + body).encode()) as wire:
            wire.until(b"one")
        assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
        seen = look_after_all(api)
    assert seen.value("request_duration_seconds_count", route=CHAT_PATH, status="none") == 1
    assert seen.value("predictions_total", model=CHAT_MODEL, stop_reason="userStopped") == 1
    assert seen.value("requests_waiting") == seen.value("predictions_in_progress") == 0


def test_upstream_that_is_lost_leaves_no_gauge_up(studio: Studio) -> None:
    studio.engine.reply = Reply(["one ", gate := Gate()])

    async def ask_all(gateway: Gateway) -> None:
        async with httpx.AsyncClient(base_url=gateway.base_url, timeout=PATIENCE_SECONDS) as api:
            asked = [asyncio.ensure_future(api.post(CHAT_PATH, json={**CHAT, "stream": True})) for _ in range(MANY)]
            assert await asyncio.to_thread(gate.reached, PATIENCE_SECONDS)
            await asyncio.to_thread(studio.server.stop, 0)
            await asyncio.gather(*asked)

    with running(studio.api_host) as (gateway, api):
        asyncio.run(ask_all(gateway))
        seen = look_after_all(api)
    assert seen.value("request_duration_seconds_count", route=CHAT_PATH) == MANY
    assert seen.value("requests_waiting") == seen.value("predictions_in_progress") == 0


def test_metrics_can_be_left_out(studio: Studio) -> None:
    with running(studio.api_host, metrics=False) as (_, api):
        assert api.get("/metrics").status_code == 404


def test_mock_is_counted_like_the_rest() -> None:
    with (
        Gateway(provider="mock", port=0) as gateway,
        httpx.Client(base_url=gateway.base_url, timeout=PATIENCE_SECONDS) as api,
    ):
        assert api.post(CHAT_PATH, json=CHAT).status_code == 200
        seen = look_after_all(api)
    assert seen.value("predictions_total", model=CHAT_MODEL) == 1
    assert seen.value("model_load_seconds_count", model=CHAT_MODEL, outcome="loaded") == 1
    assert seen.value("upstream_up") == 1


def test_request_is_a_span_and_its_load_a_child(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    studio.unload(CHAT_MODEL)
    studio.engine.reply = Reply(["one", " two"])
    with running(studio.api_host, jit_loading=True, traces=True) as (_, api):
        reply = api.post(CHAT_PATH, json=CHAT).json()
    load, request = exporter.get_finished_spans()
    found = dict(request.attributes or {})
    assert (load.name, load.parent) == (f"load {CHAT_MODEL}", request.context)
    assert request.name == f"chat {CHAT_MODEL}"
    assert found["gen_ai.response.id"] == reply["id"]
    assert found["gen_ai.response.model"] == reply["model"]
    assert found["gen_ai.usage.output_tokens"] == reply["usage"]["completion_tokens"] == 2
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
