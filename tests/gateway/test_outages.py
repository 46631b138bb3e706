"""LM Studio goes away, hangs, or comes back; clients leave, or do not read. Everybody is told, and nothing is left."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from http_surfaces.http_stage import read_events
from patience import PATIENCE_SECONDS
from tcp_wire import TcpWire

from gateway.gateway_stage import (
    CHAT,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    USER,
    Studio,
    client_of,
    error_of,
    native_only,
    running_gateway,
)
from lmstudio.gateway import upstream_channel
from lmstudio.server import Gate, Reply, Server

if TYPE_CHECKING:
    import httpx

    from lmstudio.testing import FaultProxy

pytestmark = pytest.mark.usefixtures("provider")

STREAM = {**CHAT, "stream": True}
LONG_AGO = 5.0
"""Seconds that no refusal takes, though it may take some on a busy machine; the limits in these tests are longer."""


def ask(api: httpx.Client, **more: Any) -> httpx.Response:
    return api.post("/v1/chat/completions", json={**CHAT, **more})


# Away ----------------------------------------------------------------------------------------------------------------


def test_studio_that_is_away_is_502_at_once_and_used_again_when_it_is_back(studio: Studio) -> None:
    with running_gateway(studio.api_host) as api:
        assert ask(api).status_code == 200
        for _ in range(2):
            studio.server.stop()
            began = time.monotonic()
            for more in ({}, {"stream": True}):
                response = ask(api, **more)
                error = error_of(response)
                assert (response.status_code, error["type"], error["code"]) == (
                    502,
                    "server_error",
                    "upstream_unavailable",
                )
            assert time.monotonic() - began < LONG_AGO
            studio.restart()
            assert ask(api).status_code == 200  # the first request


def test_gateway_starts_without_a_studio(studio: Studio) -> None:
    studio.server.stop()
    with running_gateway(studio.api_host) as api:
        assert ask(api).status_code == 502
        response = api.post("/v1/messages", json={**CHAT, "max_tokens": 5})
        assert (response.status_code, response.json()["error"]["type"]) == (502, "api_error")
        assert api.get("/v1/models").status_code == 502
        studio.restart()
        assert ask(api).status_code == 200


@pytest.mark.parametrize("lose", ["close_connections", "reset_connections"])
def test_connection_lost_while_idle_costs_no_request(network: FaultProxy, api: httpx.Client, lose: str) -> None:
    for _ in range(3):
        assert ask(api).status_code == 200
        getattr(network, lose)()


@native_only
@pytest.mark.parametrize("is_streamed", [False, True])
def test_connection_lost_before_the_first_packet_is_502(
    studio: Studio, network: FaultProxy, api: httpx.Client, is_streamed: bool
) -> None:
    gate = Gate()
    studio.engine.reply = Reply([gate, "four"])
    responses: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: responses.append(ask(api, stream=is_streamed)))
    asking.start()
    assert gate.reached()
    network.reset_connections()
    asking.join(PATIENCE_SECONDS)
    assert responses[0].status_code == 502
    assert "lost" in error_of(responses[0])["message"]


@native_only
def test_connection_lost_within_a_stream_is_an_error_event_then_done(
    studio: Studio, network: FaultProxy, api: httpx.Client
) -> None:
    studio.engine.reply = "four five six"
    network.lose_after(2)
    *events, failure, done = read_events(ask(api, stream=True))
    assert "".join(event.data["choices"][0]["delta"].get("content", "") for event in events) == "four five"
    assert failure.name == "error"
    assert failure.data["error"]["code"] == "upstream_unavailable"
    assert done.data == "[DONE]"


@native_only
def test_connection_lost_within_a_message_is_an_error_event(
    studio: Studio, network: FaultProxy, api: httpx.Client
) -> None:
    studio.engine.reply = "four five six"
    network.lose_after(2)
    response = api.post("/v1/messages", json={**STREAM, "max_tokens": 9})
    *_, failure = read_events(response)
    assert failure.name == "error"
    assert failure.data == {"type": "error", "error": failure.data["error"]}
    assert failure.data["error"]["type"] == "api_error"


# Stuck ---------------------------------------------------------------------------------------------------------------


def test_studio_that_does_not_answer_a_connection_is_504(network: FaultProxy) -> None:
    network.hold()
    with running_gateway(network.api_host, connect_timeout_seconds=0.2) as api:
        began = time.monotonic()
        response = ask(api)
        assert time.monotonic() - began < LONG_AGO
        network.release()
        assert ask(api).status_code == 200
    assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")


def test_reply_that_takes_too_long_is_504_and_the_model_is_stopped(
    studio: Studio, network: FaultProxy, provider: str
) -> None:
    studio.engine.reply = Reply(["four", Gate()])
    with running_gateway(network.api_host, timeout_seconds=0.3) as api:
        response = ask(api)
        assert (response.status_code, error_of(response)["type"]) == (504, "server_error")
        assert provider == "http" or network.wait_for_packet("cancel")
        assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
        answer = api.post("/v1/messages", json={**CHAT, "max_tokens": 5})
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "timeout_error")


def test_whole_reply_has_its_time_altogether(studio: Studio) -> None:
    studio.engine.reply = Reply("four " * 1000, delay_seconds=0.02)
    with running_gateway(studio.api_host, timeout_seconds=0.3, max_tokens=1000) as api:
        assert ask(api).status_code == 504


def test_stream_may_take_longer_as_long_as_something_comes(studio: Studio) -> None:
    studio.engine.reply = Reply("four " * 20, delay_seconds=0.1)
    with running_gateway(studio.api_host, timeout_seconds=1.0) as api:
        *events, done = read_events(ask(api, stream=True))
    assert events[-1].data["choices"][0]["finish_reason"] == "stop"
    assert done.data == "[DONE]"


def test_stream_that_stands_still_ends_with_an_error_and_the_model_is_stopped(studio: Studio) -> None:
    studio.engine.reply = Reply(["four", Gate()])
    with running_gateway(studio.api_host, timeout_seconds=0.3) as api:
        *_, text, failure, done = read_events(ask(api, stream=True))
        assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
    assert text.data["choices"][0]["delta"] == {"content": "four"}
    assert failure.data["error"]["code"] == "upstream_timeout"
    assert done.data == "[DONE]"


def test_stream_without_a_first_token_is_504(studio: Studio) -> None:
    studio.engine.reply = Reply([Gate(), "four"])
    with running_gateway(studio.api_host, timeout_seconds=0.3) as api:
        assert ask(api, stream=True).status_code == 504


# Clients -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_client_that_leaves_stops_the_model_at_once(
    studio: Studio, network: FaultProxy, gateway: Server, provider: str, is_streamed: bool
) -> None:
    gate = Gate()
    studio.engine.reply = Reply(["four", gate, " five"])
    with TcpWire(gateway) as wire:
        wire.send(post("/v1/chat/completions", {**CHAT, "stream": is_streamed}))
        assert gate.reached()
    assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
    if provider == "lmstudio":
        assert network.wait_for_packet("cancel")
        assert network.open_connections > 0  # it is that of all


@native_only
def test_client_that_does_not_read_holds_up_nobody_and_is_given_up(
    studio: Studio, network: FaultProxy, gateway: Server, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_channel, "MAX_WAITING_PACKETS", 100)
    word = "x" * 10_000
    endless = Reply([*[word] * 3_000, Gate()])  # more than all buffers on the way can take, and less than the context
    studio.engine.reply = lambda request: endless if "forever" in request.prompt else Reply("four five")
    with TcpWire(gateway) as wire:
        body = {**STREAM, "messages": [{"role": "user", "content": "forever"}], "max_tokens": -1}
        wire.send(post("/v1/chat/completions", body))
        assert network.wait_for_packet("cancel")
        assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)
        assert ask(api).json()["choices"][0]["message"]["content"] == "four five"
        rest = wire.until(b"data: [DONE]\n\n")
    assert b'"code":"client_too_slow"' in rest


def test_too_many_requests_at_one_model_are_refused(studio: Studio) -> None:
    gate = Gate()
    studio.engine.reply = Reply([gate, "four"])
    with running_gateway(studio.api_host, max_queued_requests=1) as api:
        first = threading.Thread(target=lambda: ask(api))
        first.start()
        assert gate.reached()
        refused = ask(api)
        gate.open()
        first.join(PATIENCE_SECONDS)
    assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limit_exceeded")


# The end -------------------------------------------------------------------------------------------------------------


def test_gateway_that_stops_lets_streams_end_properly(studio: Studio, gateway: Server) -> None:
    gate = Gate()
    studio.engine.reply = Reply(["four", gate, " five"])
    with client_of(gateway) as api, api.stream("POST", "/v1/chat/completions", json=STREAM) as response:
        assert gate.reached()
        gateway.stop()
        *events, done = read_events(response)
    assert events[-1].data["choices"][0]["finish_reason"] == "stop"
    assert done.data == "[DONE]"
    assert studio.engine.wait_for_cancel(PATIENCE_SECONDS)


@native_only
def test_idle_connection_is_closed_after_a_time_and_opened_again(studio: Studio, network: FaultProxy) -> None:
    studio.engine.reply = Reply("four " * 8, delay_seconds=0.1)
    with running_gateway(network.api_host, keep_alive_seconds=0.2) as api:
        assert read_events(ask(api, stream=True))[-1].data == "[DONE]"  # it is not idle as long as it works
        assert network.wait_until_closed()
        assert ask(api).status_code == 200
        assert network.accepted == ["llm", "llm"]


@native_only
def test_only_so_many_idle_connections_are_kept(network: FaultProxy) -> None:
    with running_gateway(network.api_host, max_idle_connections=1) as api:
        ask(api)
        api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": "x"})
        assert network.wait_for(lambda network: network.open_connections == 1)
        assert ask(api).status_code == 200
        assert network.accepted == ["llm", "embedding", "llm"]


def test_connections_end_with_the_gateway(network: FaultProxy) -> None:
    with running_gateway(network.api_host) as api:
        ask(api)
        assert network.open_connections == 1
    assert network.wait_until_closed()


def post(path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def test_preloaded_model_is_loaded_anew_where_studio_has_begun_anew(studio: Studio) -> None:
    with running_gateway(studio.api_host, preload=(CHAT_MODEL,), default_model=CHAT_MODEL) as api:
        studio.server.stop()
        studio.server.start()  # with nothing loaded
        named = api.post("/v1/chat/completions", json=CHAT)
        assert (named.status_code, named.json()["model"]) == (200, CHAT_MODEL)
        studio.unload(CHAT_MODEL)
        assert api.post("/v1/chat/completions", json={"messages": USER}).status_code == 200
        # What is not preloaded is not loaded, and nobody is told of models that are not there.
        other = api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": "x"})
        assert (other.status_code, error_of(other)["code"]) == (404, "model_not_found")
        assert "Available: none" in error_of(other)["message"]


def test_clients_are_not_told_where_studio_is(studio: Studio, caplog: pytest.LogCaptureFixture) -> None:
    with running_gateway(studio.api_host) as api, caplog.at_level("INFO", "lmstudio.server"):
        studio.server.stop()
        message = error_of(api.post("/v1/chat/completions", json=CHAT))["message"]
        assert message == "The gateway cannot reach LM Studio, or has lost it. Its /health says more."
        assert studio.api_host in api.get("/health").json()["provider"]["error"]
    assert any(studio.api_host in record.getMessage() for record in caplog.records)
