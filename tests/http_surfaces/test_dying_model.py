"""The real engine under abuse: what it cannot do is the client's mistake, and a model process that dies is replaced."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.bodies import CHATS, chat_body
from http_surfaces.http_stage import ADD
from lmstudio.server import Server
from lmstudio.server.engine.llama_cpp import LlamaCppEngine, LlamaCppModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.engine.base import GenerationRequest, LoadOptions, ModelFile, ProgressCallback

pytest.importorskip("xllamacpp")

MODEL = "pebble-2.6m"
EMBEDDING_MODEL = "text-embedding-pebble-embed-0.8m"
LAST_WORDS = {
    "/v1/messages": "error",
    "/v1/responses": "response.failed",
    "/api/v1/chat": "chat.end",
}
"""The names of the last events of streams that fail, where they have names."""


class WatchedEngine(LlamaCppEngine):
    """Remembers the processes of its models."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[int] = []

    async def load(self, model: ModelFile, options: LoadOptions, on_progress: ProgressCallback) -> LlamaCppModel:
        loaded = await super().load(model, options, on_progress)
        assert loaded.process_id is not None
        self.processes.append(loaded.process_id)
        return loaded


@pytest.fixture(scope="module")
def watched() -> WatchedEngine:
    return WatchedEngine()


@pytest.fixture(scope="module")
def real(watched: WatchedEngine) -> Iterator[httpx.Client]:
    with (
        Server(engine=watched) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def write_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model write until its context is full: left alone, it is done before anybody can end it."""
    generate = LlamaCppModel.generate

    def generate_long(model: LlamaCppModel, request: GenerationRequest) -> Any:
        schema = {"type": "string", "minLength": 100_000}
        return generate(model, replace(request, json_schema=schema, max_tokens=None))

    monkeypatch.setattr(LlamaCppModel, "generate", generate_long)


@pytest.mark.parametrize("path", CHATS)
def test_stream_of_a_model_that_dies_ends_with_the_error(
    real: httpx.Client, watched: WatchedEngine, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert real.post(CHATS[0], json={**chat_body(CHATS[0], stream=False), "model": MODEL, "max_tokens": 1}).is_success
    write_long_texts(monkeypatch)
    with real.stream("POST", path, json={**chat_body(path, stream=True), "model": MODEL}) as response:
        text = ""
        for chunk in response.iter_text():
            if not text:
                os.kill(watched.processes[-1], signal.SIGKILL)
            text += chunk
    assert text.endswith("\n\n")
    blocks = text[:-2].split("\n\n")
    assert "stopped unexpectedly" in text
    if path in LAST_WORDS:
        assert blocks[-1].startswith(f"event: {LAST_WORDS[path]}\n")
    else:
        assert blocks[-2].startswith("event: error\n")
        assert blocks[-1] == "data: [DONE]"
    assert real.get("/v1/models").status_code == 200


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("is_stream", [False, True])
def test_request_after_the_death_gets_a_model_again(
    real: httpx.Client, watched: WatchedEngine, path: str, *, is_stream: bool
) -> None:
    assert real.post(CHATS[0], json={**chat_body(CHATS[0], stream=False), "model": MODEL, "max_tokens": 1}).is_success
    for pid in watched.processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    watched.processes.clear()
    body = {**chat_body(path, stream=is_stream), "model": MODEL, **few_tokens(path)}
    # The first one may still find the dead one.
    first, second = real.post(path, json=body), real.post(path, json=body)
    assert first.status_code in (200, 500), first.text
    assert second.status_code == 200, second.text
    assert len(watched.processes) == 1


def few_tokens(path: str) -> dict[str, int]:
    names = {"/v1/responses": "max_output_tokens", "/api/v1/chat": "max_output_tokens"}
    return {names.get(path, "max_tokens"): 3}


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": ""}),
        ("/v1/chat/completions", {"schema": {"type": "array", "minItems": 10**9}}),
        ("/v1/chat/completions", {"schema": {"anyOf": [{"type": "array", "items": {}, "maxItems": 10**7}]}}),
        ("/v1/chat/completions", {"schema": {"type": 5}}),
        ("/v1/chat/completions", {"parameters": {"properties": {"a": {"$ref": "#/nothing"}}}}),
        ("/v1/chat/completions", {"parameters": {"properties": {"a": {"type": 5}}}}),
        ("/v1/messages", {"tools": [{"name": "add", "input_schema": {"type": "object", "properties": {"a": 7}}}]}),
    ],
)
def test_mistake_of_the_client_is_no_failure_of_the_server(
    real: httpx.Client, path: str, members: dict[str, Any]
) -> None:
    body: dict[str, Any] = {**chat_body(path, stream=False), "model": MODEL, **few_tokens(path), **members}
    if (schema := body.pop("schema", None)) is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    if (parameters := body.pop("parameters", None)) is not None:
        body["tools"] = [{"type": "function", "function": {**ADD, "parameters": parameters}}]
    answer = real.post(path, content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
