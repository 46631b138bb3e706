"""When models are loaded and unloaded over HTTP: JIT loading, time to live, eviction."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, USER
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import scripted_models
from lmstudio.server.instances import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio.server.instances import Timer

OTHER_MODEL = "other-chat"
CHAT, EMBED = scripted_models()
MODELS = [CHAT, EMBED, replace(CHAT, model_key=OTHER_MODEL, path=f"maker/{OTHER_MODEL}/{OTHER_MODEL}.gguf")]
HOUR = 3600.0


class ManualClock(Clock):
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[ManualTimer] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self._loop = asyncio.get_running_loop()
        timer = ManualTimer(self._now + seconds, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that was due, in the loop that set the timers."""
        if self._loop is None:  # nothing is due
            self._now += seconds
            return
        asyncio.run_coroutine_threadsafe(self._happen(seconds), self._loop).result(PATIENCE_SECONDS)

    async def _happen(self, seconds: float) -> None:
        await _settle()  # a client has its reply before the server has put everything away
        self._now += seconds
        due = [timer for timer in self._timers if timer.due <= self._now]
        self._timers = [timer for timer in self._timers if timer.due > self._now]
        for timer in due:
            if not timer.is_cancelled:
                timer.callback()
        await _settle()


async def _settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


class ManualTimer:
    """What is due at some time."""

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self.due = due
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


@contextmanager
def serving(engine: ScriptedEngine, **settings: Any) -> Iterator[httpx.Client]:
    with (
        Server(MODELS, engine=engine, **settings) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield api


def v1_chat(api: httpx.Client, model: str = CHAT_MODEL, **members: Any) -> httpx.Response:
    return api.post("/api/v1/chat", json={"model": model, "input": "Hi", **members})


def openai_chat(api: httpx.Client, model: str = CHAT_MODEL, **members: Any) -> httpx.Response:
    return api.post("/v1/chat/completions", json={"model": model, "messages": USER, **members})


def load(api: httpx.Client, model: str) -> str:
    response = api.post("/api/v1/models/load", json={"model": model})
    assert response.status_code == 200, response.text
    instance_id: str = response.json()["instance_id"]
    return instance_id


def loaded(api: httpx.Client) -> list[str]:
    """What is in memory."""
    models = api.get("/api/v1/models").json()["models"]
    return sorted(instance["id"] for model in models for instance in model["loaded_instances"])


# JIT loading ---------------------------------------------------------------------------------------------------------


def test_lists_with_jit_loading(engine: ScriptedEngine) -> None:
    with serving(engine) as api:
        assert {model["id"] for model in api.get("/v1/models").json()["data"]} == {
            CHAT_MODEL,
            EMBEDDING_MODEL,
            OTHER_MODEL,
        }
        states = {model["id"]: model["state"] for model in api.get("/api/v0/models").json()["data"]}
        assert set(states.values()) == {"not-loaded"}
        assert v1_chat(api).status_code == 200
        states = {model["id"]: model["state"] for model in api.get("/api/v0/models").json()["data"]}
        assert states == {CHAT_MODEL: "loaded", EMBEDDING_MODEL: "not-loaded", OTHER_MODEL: "not-loaded"}


@pytest.mark.parametrize("path", ["/v1/models", "/api/v0/models"])
def test_lists_without_jit_loading_have_what_is_loaded(engine: ScriptedEngine, path: str) -> None:
    with serving(engine, jit_loading=False) as api:
        assert api.get(path).json()["data"] == []
        load(api, CHAT_MODEL)
        assert [model["id"] for model in api.get(path).json()["data"]] == [CHAT_MODEL]


def test_v1_list_has_also_what_can_be_loaded_without_jit_loading(engine: ScriptedEngine) -> None:
    with serving(engine, jit_loading=False) as api:
        models = api.get("/api/v1/models").json()["models"]
        assert {model["key"] for model in models} == {CHAT_MODEL, EMBEDDING_MODEL, OTHER_MODEL}


def test_without_jit_loading_a_model_has_to_be_loaded(engine: ScriptedEngine) -> None:
    with serving(engine, jit_loading=False) as api:
        for is_stream in (False, True):
            response = v1_chat(api, stream=is_stream)
            error = response.json()["error"]
            assert (response.status_code, error["type"], error["param"]) == (404, "model_not_found", "model")
            assert "JIT loading is off" in error["message"]
        response = openai_chat(api)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "model_not_found")
        assert engine.loads == []
        load(api, CHAT_MODEL)
        assert v1_chat(api).status_code == 200
        assert openai_chat(api).status_code == 200
        assert v1_chat(api, OTHER_MODEL).status_code == 404


# Time to live --------------------------------------------------------------------------------------------------------


def test_idle_model_is_unloaded_after_its_time(engine: ScriptedEngine) -> None:
    clock = ManualClock()
    with serving(engine, clock=clock) as api:
        openai_chat(api, ttl=60)
        clock.advance(59)
        assert loaded(api) == [CHAT_MODEL]
        clock.advance(1)
        assert loaded(api) == []
        assert engine.models == []


def test_every_request_lets_the_time_begin_anew(engine: ScriptedEngine) -> None:
    clock = ManualClock()
    with serving(engine, clock=clock) as api:
        openai_chat(api, ttl=60)
        clock.advance(59)
        v1_chat(api)
        clock.advance(59)
        assert loaded(api) == [CHAT_MODEL]
        clock.advance(1)
        assert loaded(api) == []


def test_time_of_a_request_does_not_change_what_is_loaded(engine: ScriptedEngine) -> None:
    clock = ManualClock()
    with serving(engine, clock=clock) as api:
        v1_chat(api)
        openai_chat(api, ttl=60)
        clock.advance(HOUR - 1)
        assert loaded(api) == [CHAT_MODEL]
        clock.advance(1)
        assert loaded(api) == []


def test_busy_model_does_not_idle(engine: ScriptedEngine) -> None:
    clock = ManualClock()
    with serving(engine, clock=clock) as api:
        openai_chat(api, ttl=60)
        gate = Gate()
        engine.reply = Reply(["one ", gate, "two"])
        body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
        with api.stream("POST", "/api/v1/chat", json=body) as response:
            assert gate.reached()
            clock.advance(HOUR)
            assert loaded(api) == [CHAT_MODEL]
            gate.open()
            assert "two" in response.read().decode()
        clock.advance(60)
        assert loaded(api) == []


def test_model_that_was_loaded_explicitly_stays(engine: ScriptedEngine) -> None:
    clock = ManualClock()
    with serving(engine, clock=clock) as api:
        load(api, CHAT_MODEL)
        openai_chat(api, ttl=60)
        clock.advance(100 * HOUR)
        assert loaded(api) == [CHAT_MODEL]


# Eviction ------------------------------------------------------------------------------------------------------------


def test_only_the_last_jit_model_is_kept(engine: ScriptedEngine) -> None:
    with serving(engine, evict_jit=True) as api:
        v1_chat(api)
        v1_chat(api, OTHER_MODEL)
        assert loaded(api) == [OTHER_MODEL]
        api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": "Hi"})
        assert loaded(api) == [EMBEDDING_MODEL]


def test_eviction_spares_what_was_loaded_explicitly(engine: ScriptedEngine) -> None:
    with serving(engine, evict_jit=True) as api:
        load(api, CHAT_MODEL)
        v1_chat(api, OTHER_MODEL)
        openai_chat(api, EMBEDDING_MODEL)
        assert loaded(api) == sorted([CHAT_MODEL, OTHER_MODEL])


def test_without_eviction_models_stay(engine: ScriptedEngine) -> None:
    with serving(engine) as api:
        v1_chat(api)
        v1_chat(api, OTHER_MODEL)
        assert loaded(api) == sorted([CHAT_MODEL, OTHER_MODEL])


def test_busy_model_is_waited_for(engine: ScriptedEngine) -> None:
    gate = Gate()
    with serving(engine, evict_jit=True) as api:
        v1_chat(api)
        engine.reply = [Reply(["one ", gate, "two"]), Reply("three")]
        body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
        with api.stream("POST", "/api/v1/chat", json=body) as response:
            assert gate.reached()
            other = {"model": OTHER_MODEL, "input": "Hi", "stream": True}
            with api.stream("POST", "/api/v1/chat", json=other) as waiting:
                lines = waiting.iter_lines()
                assert next(lines) == "event: chat.start"
                assert len(engine.loads) == 1
                gate.open()
                assert "two" in response.read().decode()
                assert any("three" in line for line in lines)
        assert loaded(api) == [OTHER_MODEL]
