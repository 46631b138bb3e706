"""Requests with more texts than the engine could be given at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL
from lmstudio.server.engine.scripted import ScriptedModel

if TYPE_CHECKING:
    import httpx

TEXTS = [f"text {number}" for number in range(300)]


@pytest.fixture
def busiest(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many embeddings were asked for at the same time, each time that one was."""
    embed, found = ScriptedModel.embed, []
    running = 0

    async def counted(model: ScriptedModel, text: str) -> list[float]:
        nonlocal running
        running += 1
        found.append(running)
        try:
            await asyncio.sleep(0)
            return await embed(model, text)
        finally:
            running -= 1

    monkeypatch.setattr(ScriptedModel, "embed", counted)
    return found


def test_texts_are_embedded_some_at_a_time(api: httpx.Client, busiest: list[int]) -> None:
    reply = api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": TEXTS}).json()
    single = api.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": TEXTS[-1]}).json()
    assert [item["index"] for item in reply["data"]] == list(range(300))
    assert reply["data"][-1]["embedding"] == single["data"][0]["embedding"]
    assert 1 < max(busiest) <= 64


def test_prompts_are_answered_in_their_order(api: httpx.Client) -> None:
    reply = api.post("/v1/completions", json={"model": CHAT_MODEL, "prompt": TEXTS, "echo": True}).json()
    assert [choice["text"].startswith(text) for choice, text in zip(reply["choices"], TEXTS, strict=True)] == [
        True
    ] * 300
