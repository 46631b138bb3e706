"""GET /v1/models and /api/v0/models, and what API v0 says of the model that has answered."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, USER, read_events
from lmstudio.server import Reply, ScriptedEngine, Server
from lmstudio.server.engine.base import TextChunk
from lmstudio.server.engine.scripted import scripted_models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.engine.base import ModelFile

LISTS = ("/v1/models", "/api/v0/models")
CHATS = ("/v1/chat/completions", "/api/v0/chat/completions")
CHAT, EMBED = scripted_models()
VISION = replace(CHAT, model_key="maker/seeing", path="maker/seeing-GGUF/seeing.gguf", vision=True)
PLAIN = replace(
    CHAT, model_key="plain", path="maker/plain-GGUF/plain.gguf", file=Path("plain.gguf"), trained_for_tool_use=False
)


def serve(engine: ScriptedEngine, *models: ModelFile, **settings: Any) -> Iterator[tuple[Server, httpx.Client]]:
    with (
        Server(models, engine=engine, **settings) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield server, client


@pytest.fixture
def many(engine: ScriptedEngine) -> Iterator[httpx.Client]:
    """A client of a server with models of all kinds."""
    for _, client in serve(engine, CHAT, EMBED, VISION, PLAIN):
        yield client


def listed(api: httpx.Client, path: str) -> dict[str, dict[str, Any]]:
    response = api.get(path)
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "list"
    return {model["id"]: model for model in body["data"]}


def load(api: httpx.Client) -> None:
    assert api.post(CHATS[0], json={"model": CHAT_MODEL, "messages": USER}).status_code == 200


# Lists ---------------------------------------------------------------------------------------------------------------


def test_list_of_openai(many: httpx.Client) -> None:
    models = listed(many, "/v1/models")
    assert set(models) == {CHAT_MODEL, EMBEDDING_MODEL, "maker/seeing", "plain"}
    model = models[CHAT_MODEL]
    assert model == {
        "id": CHAT_MODEL,
        "object": "model",
        "owned_by": "organization_owner",
        "created": model["created"],
    }
    assert 0 <= time.time() - model["created"] < 600


def test_list_of_v0(many: httpx.Client) -> None:
    models = listed(many, "/api/v0/models")
    assert models[EMBEDDING_MODEL] == {
        "id": EMBEDDING_MODEL,
        "object": "model",
        "type": "embeddings",
        "publisher": "lmstudio-python",
        "arch": "scripted",
        "compatibility_type": "gguf",
        "quantization": "Q8_0",
        "state": "not-loaded",
        "max_context_length": 512,
    }
    assert {name: model["type"] for name, model in models.items()} == {
        CHAT_MODEL: "llm",
        EMBEDDING_MODEL: "embeddings",
        "maker/seeing": "vlm",
        "plain": "llm",
    }
    assert models[CHAT_MODEL]["capabilities"] == ["tool_use"]
    assert "capabilities" not in models["plain"]


def test_loaded_model_says_so_in_v0(api: httpx.Client) -> None:
    assert "loaded_context_length" not in listed(api, "/api/v0/models")[CHAT_MODEL]
    load(api)
    model = listed(api, "/api/v0/models")[CHAT_MODEL]
    assert (model["state"], model["loaded_context_length"]) == ("loaded", 4096)


@pytest.mark.parametrize("path", LISTS)
def test_instances_are_listed_by_identifier(server: Server, api: httpx.Client, path: str) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance(CHAT_MODEL, "mine")
        client.llm.load_new_instance(CHAT_MODEL, "yours")
        assert set(listed(api, path)) == {"mine", "yours", EMBEDDING_MODEL}


@pytest.mark.parametrize("path", LISTS)
def test_without_loading_on_demand_only_loaded_models_are_listed(engine: ScriptedEngine, path: str) -> None:
    for server, api in serve(engine, CHAT, EMBED, jit_loading=False):
        assert listed(api, path) == {}
        reply = api.post(CHATS[0], json={"model": CHAT_MODEL, "messages": USER})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")
        with lms.Client(server.api_host) as client:
            client.llm.load_new_instance(CHAT_MODEL)
            assert set(listed(api, path)) == {CHAT_MODEL}
            load(api)


# One model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("name", [CHAT_MODEL, "maker/seeing", "maker%2Fseeing"])
def test_one_model_is_as_in_the_list(many: httpx.Client, path: str, name: str) -> None:
    assert many.get(f"{path}/{name}").json() == listed(many, path)[name.replace("%2F", "/")]


@pytest.mark.parametrize("path", LISTS)
def test_unknown_model_is_not_found(api: httpx.Client, path: str) -> None:
    response = api.get(f"{path}/unknown")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert CHAT_MODEL in error["message"]


# What v0 adds to chats -----------------------------------------------------------------------------------------------


def test_chat_of_v0_has_statistics_model_and_engine(api: httpx.Client) -> None:
    body = api.post(CHATS[1], json={"model": CHAT_MODEL, "messages": USER, "max_tokens": -1, "stream": False}).json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "You said: Hi"
    assert set(body["stats"]) == {"tokens_per_second", "time_to_first_token", "generation_time", "stop_reason"}
    assert body["stats"]["stop_reason"] == "eosFound"
    assert body["model_info"] == {"arch": "scripted", "quant": "Q8_0", "format": "gguf", "context_length": 4096}
    assert body["runtime"] == {"name": "scripted", "version": "1", "supported_formats": ["gguf"]}


def test_stop_reason_of_v0_is_the_engine_s_own(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three"
    body = api.post(CHATS[1], json={"model": CHAT_MODEL, "messages": USER, "max_tokens": 1}).json()
    assert body["stats"]["stop_reason"] == "maxPredictedTokensReached"
    assert body["choices"][0]["finish_reason"] == "length"


def test_stream_of_v0_ends_with_statistics(api: httpx.Client) -> None:
    response = api.post(CHATS[1], json={"model": CHAT_MODEL, "messages": USER, "stream": True})
    *chunks, last, done = read_events(response)
    assert done.data == "[DONE]"
    assert last.data["choices"][0]["finish_reason"] == "stop"
    assert {"stats", "model_info", "runtime"} <= set(last.data)
    assert all({"stats", "model_info", "runtime"}.isdisjoint(chunk.data) for chunk in chunks)


@pytest.mark.parametrize("path", CHATS)
def test_draft_model_adds_its_counters(engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply(["a", TextChunk(" b c", 3, has_drafted=True)], draft_tokens=5, accepted_draft_tokens=2)
    for _, api in serve(engine, CHAT, PLAIN):
        body = api.post(path, json={"model": CHAT_MODEL, "messages": USER, "draft_model": "plain"}).json()
        assert {name: value for name, value in body["stats"].items() if "draft" in name} == {
            "draft_model": "plain",
            "total_draft_tokens_count": 5,
            "accepted_draft_tokens_count": 2,
            "rejected_draft_tokens_count": 3,
            "ignored_draft_tokens_count": 0,
        }


@pytest.mark.parametrize("path", CHATS)
def test_unknown_draft_model_is_refused_by_name(api: httpx.Client, path: str) -> None:
    response = api.post(path, json={"model": CHAT_MODEL, "messages": USER, "draft_model": "unknown"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "draft_model"
