"""What Prometheus finds at /metrics, and what it never finds there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest
import yaml
from deploy_files import DEPLOY
from figures_stage import Exposition
from patience import PATIENCE_SECONDS
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from tcp_wire import TcpWire

from http_surfaces.asgi_call import ask, ask_and_leave
from http_surfaces.bodies import CHATS, chat_body
from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, StillClock
from lmstudio._version import __version__
from lmstudio.server import Gate, HttpSettings, Reply, ScriptedEngine, Server
from lmstudio.server.app import AppSettings, create_app
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import scripted_models
from lmstudio.server.errors import ServerStartError
from lmstudio.server.http.errors import ErrorReason
from lmstudio.server.http.figures import resident_bytes
from lmstudio.server.http.metrics import Metrics
from lmstudio.server.http.routes import PATHS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import ASGIApp

TOKEN = "sk-lm-abcdefgh:ThisIsTheSecretPart0"
CHAT = "/v1/chat/completions"
MANY = 100


@contextmanager
def serving(engine: ScriptedEngine | None = None, **options: Any) -> Iterator[tuple[Server, httpx.Client]]:
    """A server that counts, and a client of it."""
    http = HttpSettings(metrics=True, **options.pop("http", {}))
    with (
        Server(engine=engine or ScriptedEngine("one two three"), http=http, **options) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield server, api


def look(api: httpx.Client) -> Exposition:
    response = api.get("/metrics")
    assert response.status_code == 200, response.text
    return Exposition(response.text)


def look_after_all(api: httpx.Client) -> Exposition:
    """When nothing else is being answered. A client may have its answer a moment before the server is through."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look(api)).value("requests_in_progress") > 1:
        assert time.monotonic() < deadline
    return seen


def ask_by_hand(server: Server, path: str, body: Any) -> TcpWire:
    """A request whose connection the test has in its hand."""
    content = json.dumps(body)
    return TcpWire(
        server, f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()
    )


# Values ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_every_surface_counts_its_predictions(path: str, *, is_stream: bool) -> None:
    with serving() as (_, api):
        assert api.post(path, json=chat_body(path, stream=is_stream)).read()
        seen = look_after_all(api)
    assert seen.value("completion_tokens_total", model=CHAT_MODEL) == 3
    assert seen.value("prompt_tokens_total", model=CHAT_MODEL) > 0
    assert seen.value("predictions_total", model=CHAT_MODEL, stop_reason="eosFound") == 1
    assert seen.value("time_to_first_token_seconds_count", model=CHAT_MODEL) == 1
    assert seen.value("request_duration_seconds_count", route=path, method="POST", status="200") == 1
    assert seen.value("predictions_in_progress") == seen.value("requests_waiting") == 0
    assert seen.value("requests_in_progress") == 1  # the one that looks


def test_embedded_texts_are_prompts() -> None:
    with serving() as (_, api):
        reply = api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": ["one", "two words"]}).json()
        assert look(api).value("prompt_tokens_total", model=EMBEDDING_MODEL) == reply["usage"]["prompt_tokens"] > 0


def test_each_text_of_a_batch_is_a_prediction() -> None:
    with serving() as (_, api):
        api.post("/v1/completions", json={"model": CHAT_MODEL, "prompt": ["a", "b", "c"]})
        assert look(api).value("predictions_total", model=CHAT_MODEL) == 3


def test_times_are_those_that_have_passed() -> None:
    clock, reading, writing = StillClock(), Gate(), Gate()
    with serving(ScriptedEngine(Reply([reading, "one", " two", " three", writing, " four"])), clock=clock) as (
        server,
        api,
    ):
        with ask_by_hand(server, CHAT, chat_body(CHAT, stream=False)) as wire:
            assert reading.reached(PATIENCE_SECONDS)
            clock.now += 2
            reading.open()
            assert writing.reached(PATIENCE_SECONDS)
            clock.now += 8
            writing.open()
            wire.until(b"usage")
        seen = look_after_all(api)
    assert seen.value("time_to_first_token_seconds_sum") == pytest.approx(2)
    assert seen.value("generation_tokens_per_second_sum") == 1000  # as the scripted engine says
    assert seen.value("request_duration_seconds_sum", route=CHAT) == pytest.approx(10)
    assert seen.value("request_duration_seconds_bucket", route=CHAT, le="10.0") == 1
    assert seen.value("request_duration_seconds_bucket", route=CHAT, le="5.0") == 0


def test_first_token_comes_after_the_load() -> None:
    clock, load = StillClock(), Gate()
    with serving(ScriptedEngine("Hi", load_gate=load), clock=clock) as (server, api):
        with ask_by_hand(server, CHAT, chat_body(CHAT, stream=False)) as wire:
            assert load.reached(PATIENCE_SECONDS)
            assert look(api).value("requests_waiting", model=CHAT_MODEL, waits_for="load") == 1
            clock.now += 7
            load.open()
            wire.until(b"usage")
        seen = look_after_all(api)
    assert seen.value("model_load_seconds_sum", model=CHAT_MODEL, outcome="loaded") == pytest.approx(7)
    assert seen.value("time_to_first_token_seconds_sum") == pytest.approx(7)
    assert seen.value("requests_waiting") == 0
    assert seen.value("models_loaded", kind="llm") == 1
    assert seen.value("models_loaded", kind="embedding") == 0


def test_who_waits_for_a_token_is_seen_waiting() -> None:
    reading, writing = Gate(), Gate()
    with serving(ScriptedEngine(Reply([reading, "one", writing, " two"]))) as (server, api):
        with ask_by_hand(server, CHAT, chat_body(CHAT, stream=True)) as wire:
            assert reading.reached(PATIENCE_SECONDS)
            waiting = look(api)
            reading.open()
            wire.until(b"one")
            assert writing.reached(PATIENCE_SECONDS)
            writes = look(api)
            writing.open()
            wire.until(b"[DONE]")
        over = look_after_all(api)
    found = [
        (seen.value("requests_waiting", waits_for="first_token"), seen.value("predictions_in_progress"))
        for seen in (waiting, writes, over)
    ]
    assert found == [(1, 1), (0, 1), (0, 0)]


def test_failed_and_cancelled_loads_are_counted() -> None:
    engine = ScriptedEngine(fail_load="It is broken.")
    with serving(engine) as (server, api):
        assert api.post(CHAT, json=chat_body(CHAT, stream=False)).status_code == 500
        engine.fail_load, engine.load_gate = None, Gate()
        with ask_by_hand(server, CHAT, chat_body(CHAT, stream=False)):
            assert engine.load_gate.reached(PATIENCE_SECONDS)
        assert engine.wait_for_cancel(PATIENCE_SECONDS)
        seen = look_after_all(api)
    assert seen.value("model_load_seconds_count", model=CHAT_MODEL, outcome="failed") == 1
    assert seen.value("model_load_seconds_count", model=CHAT_MODEL, outcome="cancelled") == 1
    assert seen.value("request_errors_total", route=CHAT, reason="internal") == 1


def test_loads_that_somebody_asked_for_are_counted() -> None:
    with serving() as (_, api):
        assert api.post("/api/v1/models/load", json={"model": CHAT_MODEL}).status_code == 200
        assert look(api).value("model_load_seconds_count", model=CHAT_MODEL, outcome="loaded") == 1


@pytest.mark.parametrize("path", CHATS)
def test_client_that_goes_away_leaves_no_gauge_up(path: str) -> None:
    engine = ScriptedEngine(Reply(["one ", gate := Gate()]))
    with serving(engine) as (server, api):
        with ask_by_hand(server, path, chat_body(path, stream=True)):
            assert gate.reached(PATIENCE_SECONDS)
        assert engine.wait_for_cancel(PATIENCE_SECONDS)
        seen = look_after_all(api)
    assert seen.value("request_duration_seconds_count", route=path, status="none") == 1
    assert seen.value("predictions_total", stop_reason="userStopped") == 1
    assert seen.value("predictions_in_progress") == seen.value("requests_waiting") == 0
    assert seen.value("requests_in_progress") == 1


def test_error_in_a_stream_is_an_error() -> None:
    engine = ScriptedEngine(Reply(["one "], error="The engine is out of order.", error_after=1))
    with serving(engine) as (_, api):
        assert api.post(CHAT, json=chat_body(CHAT, stream=True)).status_code == 200
        seen = look_after_all(api)
    assert seen.value("request_errors_total", route=CHAT, reason="internal") == 1
    assert seen.value("predictions_total", model=CHAT_MODEL, stop_reason="error") == 1
    assert seen.value("predictions_in_progress") == 0


def test_refusals_have_their_reason() -> None:
    with serving() as (_, api):
        assert api.post(CHAT, content=b"{").status_code == 400
        assert api.post(CHAT, json={**chat_body(CHAT, stream=False), "model": "unheard-of"}).status_code == 400
        seen = look_after_all(api)
    assert seen.value("request_errors_total", route=CHAT, reason="invalid_request") == 1
    assert seen.value("request_errors_total", route=CHAT, reason="model_not_found") == 1
    assert seen.value("request_duration_seconds_count", route=CHAT, status="400") == 2


# Labels ---------------------------------------------------------------------------------------------------------------


def test_no_label_is_what_a_client_says() -> None:
    with serving() as (_, api):
        api.post(CHAT, json={**chat_body(CHAT, stream=False), "model": "chosen-model"})
        api.post(CHAT, json={**chat_body(CHAT, stream=False), "model": CHAT_MODEL.upper()})
        api.get("/v1/models/chosen-model")
        api.get("/v1/responses/chosen-response")
        api.get("/chosen-path")
        api.request("CHOSEN", CHAT)
        seen = look_after_all(api)
    routes = {path.path for path in PATHS} | {"/metrics", "other"}
    known = routes | {"GET", "POST", "200", "400", "404", "405", CHAT_MODEL, "load", "first_token", "llm", "embedding"}
    known |= {"loaded", "eosFound", "not_found", "model_not_found"}
    assert seen.label_values() <= known
    assert seen.value("request_duration_seconds_count", method="other", route="other") == 1
    assert seen.value("predictions_total", model=CHAT_MODEL) == 1


def test_models_that_come_and_go_share_a_label_in_the_end() -> None:
    metrics = Metrics(lambda: 0.0)
    for number in range(1000):
        metrics.loaded(f"model-{number}", "loaded", 1.0)
    metrics.loaded("model-0", "loaded", 1.0)
    (family,) = (family for family in metrics.registry.collect() if family.name == "lmstudio_model_load_seconds")
    counts = {
        sample.labels["model"]: sample.value
        for sample in family.samples
        if sample.name == "lmstudio_model_load_seconds_count"
    }
    assert len(counts) == 101
    assert (counts["model-0"], counts["other"]) == (2, 900)


# Showing --------------------------------------------------------------------------------------------------------------


def test_without_the_setting_there_is_nothing() -> None:
    with (
        Server(engine="scripted") as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        assert api.get("/metrics").status_code == 404


def test_names_have_help_units_and_a_prefix() -> None:
    with serving() as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=False))
        seen = look(api)
    assert all(family.documentation for family in seen.families.values())
    assert all(name.startswith(("lmstudio_", "process_", "python_")) for name in seen.families)
    assert seen.value("build_info", version=__version__) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is known on Linux only")
def test_memory_of_the_server_is_shown() -> None:
    with serving() as (_, api):
        families = look(api).families
    assert families["process_resident_memory_bytes"].samples[0].value > 0


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=1.0.0", "text/plain", "text/plain;version=x"]
)
def test_prometheus_gets_the_format_that_it_asks_for(accept: str) -> None:
    with serving() as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=False))
        response = api.get("/metrics", headers={"Accept": accept})
    kind = accept.partition(";")[0]
    assert response.headers["content-type"].startswith(f"{kind}; ")
    if kind == "text/plain":
        assert Exposition(response.text).value("predictions_total") == 1
    else:
        families = read_openmetrics(response.text)  # type: ignore[no-untyped-call]  # the library has no types here
        assert "lmstudio_predictions" in {family.name for family in families}


def test_servers_count_for_themselves() -> None:
    with serving() as (_, one), serving() as (_, other):
        one.post(CHAT, json=chat_body(CHAT, stream=False))
        assert look(one).value("predictions_total") == 1
        assert look(other).value("predictions_total") == 0


def test_numbers_need_a_token_where_there_are_any() -> None:
    with serving(api_tokens=[TOKEN]) as (_, api):
        assert api.get("/metrics").status_code == 401
        response = api.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert Exposition(response.text).value("request_duration_seconds_count", route="other", status="401") == 1
    assert Exposition(response.text).value("request_errors_total", reason="unauthorized") == 1


def test_no_page_may_read_the_numbers() -> None:
    with serving(http={"cors": True}, allowed_origins=["https://example.com"]) as (_, api):
        origin = {"Origin": "https://example.com"}
        assert "access-control-allow-origin" in api.get("/v1/models", headers=origin).headers
        assert "access-control-allow-origin" not in api.get("/metrics", headers=origin).headers


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lmstudio.server.http.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    server = Server(engine="scripted", http=HttpSettings(metrics=True))
    with pytest.raises(ServerStartError, match=r"Metrics need prometheus_client.*pip install 'lmstudio\[metrics\]'"):
        server.start()
    server.stop()


# Memory of models -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is known on Linux only")
def test_memory_of_a_process_is_known() -> None:
    assert (resident_bytes(os.getpid()) or 0) > 1 << 20
    assert resident_bytes(None) is None
    assert resident_bytes(1 << 30) is None


@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is known on Linux only")
def test_memory_of_a_model_is_that_of_its_process() -> None:
    with (
        Server(http=HttpSettings(metrics=True)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        model = next(file.model_key for file in server.models if file.kind == "llm")
        api.post("/v1/completions", json={"model": model, "prompt": "Once", "max_tokens": 1})
        seen = look(api)
    assert seen.value("model_resident_memory_bytes", model=model) > 1 << 20


# Many -----------------------------------------------------------------------------------------------------------------


def play(engine: ScriptedEngine, scene: Callable[[ASGIApp], Awaitable[None]]) -> Exposition:
    """What a server without sockets has counted when *scene* is over."""

    async def run() -> str:
        core, metrics = ServerCore(engine, Catalog(scripted_models())), Metrics(lambda: 0.0)
        core.tell(metrics)
        app = create_app(core, AppSettings(observer=metrics))
        try:
            await scene(app)
            return (await ask(app, "GET", "/metrics")).body.decode()
        finally:
            await core.aclose()

    return Exposition(asyncio.run(asyncio.wait_for(run(), 3 * PATIENCE_SECONDS)))


def test_a_hundred_at_once_are_a_hundred() -> None:
    content = json.dumps(chat_body(CHAT, stream=True)).encode()

    async def scene(app: ASGIApp) -> None:
        await asyncio.gather(*(ask(app, "POST", CHAT, content) for _ in range(MANY)))

    seen = play(ScriptedEngine("one two three"), scene)
    assert seen.value("request_duration_seconds_count", route=CHAT, status="200") == MANY
    assert seen.value("completion_tokens_total", model=CHAT_MODEL) == 3 * MANY
    assert seen.value("model_load_seconds_count") == 1
    assert seen.value("requests_waiting") == seen.value("predictions_in_progress") == 0


@pytest.mark.parametrize("path", [*CHATS, "/v1/embeddings"])
def test_clients_that_leave_at_any_moment_leave_no_gauge_up(path: str) -> None:
    chance = random.Random(7)
    is_embedding = path == "/v1/embeddings"
    body = {"model": EMBEDDING_MODEL, "input": ["Hi"] * 20} if is_embedding else chat_body(path, stream=True)

    async def scene(app: ASGIApp) -> None:
        content = json.dumps(body).encode()
        await asyncio.gather(
            *(ask_and_leave(app, "POST", path, content, after=chance.randrange(60)) for _ in range(MANY))
        )

    seen = play(ScriptedEngine(Reply(["word "] * 40)), scene)
    assert seen.value("request_duration_seconds_count", route=path) == MANY
    assert seen.value("requests_waiting") == seen.value("predictions_in_progress") == 0
    assert seen.value("requests_in_progress") == 1


# The examples ---------------------------------------------------------------------------------------------------------


def test_alerts_ask_for_what_is_shown() -> None:
    expressions = [
        rule["expr"]
        for group in yaml.safe_load((DEPLOY / "prometheus-alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    asked = {name for text in expressions for name in re.findall(r"lmstudio_\w+", text)} - {"lmstudio_upstream_up"}
    with serving(ScriptedEngine(Reply("Hi", error="Out of order.", error_after=1))) as (_, api):
        api.post(CHAT, json=chat_body(CHAT, stream=True))
        seen = look_after_all(api)
    assert asked <= {sample.name for family in seen.families.values() for sample in family.samples}
    assert len(asked) >= 4


def test_alerts_are_found_by_prometheus_and_count_errors_that_exist() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    assert config["rule_files"] == ["prometheus-alerts.yaml"]
    (reasons,) = re.findall(r'reason=~"([^"]+)"', (DEPLOY / "prometheus-alerts.yaml").read_text())
    assert set(reasons.split("|")) <= set(get_args(ErrorReason))
