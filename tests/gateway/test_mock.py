"""The provider "mock": the same surfaces, the same rules, and no LM Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from http_surfaces.http_stage import read_events

import lmstudio as lms
from gateway.gateway_stage import CHAT, CHAT_MODEL, EMBEDDING_MODEL, USER, error_of, running_gateway
from lmstudio.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx


@pytest.fixture
def mock() -> Iterator[httpx.Client]:
    with running_gateway("localhost:1", provider="mock", default_model="chat") as api:
        yield api


def test_it_answers(mock: httpx.Client) -> None:
    reply = mock.post("/v1/chat/completions", json={"messages": USER}).json()
    assert reply["choices"][0]["message"]["content"] == "You said: one two three"
    assert reply["model"] == CHAT_MODEL
    *events, done = read_events(mock.post("/v1/chat/completions", json={**CHAT, "stream": True}))
    assert events[-1].data["usage"]["completion_tokens"] == 5
    assert done.data == "[DONE]"
    assert len(mock.post("/v1/embeddings", json={"model": "embed", "input": "x"}).json()["data"]) == 1


def test_the_rules_are_the_same(mock: httpx.Client) -> None:
    missing = mock.post("/v1/chat/completions", json={**CHAT, "model": "gpt-4"})
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")
    assert mock.post("/v1/chat/completions", json={**CHAT, "temperature": 2.5}).status_code == 400
    words = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "word " * 200}]}
    reply = mock.post("/v1/chat/completions", json=words).json()
    assert (reply["usage"]["completion_tokens"], reply["choices"][0]["finish_reason"]) == (100, "length")


def test_lists_and_health(mock: httpx.Client) -> None:
    names = [model["id"] for model in mock.get("/v1/models").json()["data"]]
    assert names == [CHAT_MODEL, EMBEDDING_MODEL]
    health = mock.get("/health").json()
    assert (health["status"], health["provider"]) == ("ok", {"name": "mock", "status": "ok"})


def test_allowed_models_and_preload() -> None:
    settings = {"provider": "mock", "allowed_models": ["chat"], "preload": ["chat"]}
    with running_gateway("localhost:1", **settings) as api:
        assert [model["id"] for model in api.get("/v1/models").json()["data"]] == [CHAT_MODEL]
        assert api.get("/health").json()["models_loaded"] == 1
        assert api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": "x"}).status_code == 403


def test_native_clients_are_told_that_they_are_in_the_wrong_place() -> None:
    with (
        Gateway(provider="mock", port=0) as gateway,
        lms.Client(gateway.base_url) as client,
        pytest.raises(lms.LMStudioWebsocketError, match=r"404.* has HTTP only: use lmstudio\.http"),
    ):
        client.llm.list_loaded()
