"""LM Studio's own API, version 0: `client.rest_v0`."""

from __future__ import annotations

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import AsyncHttpClient
from lmstudio.server import Gate, Reply, ScriptedEngine, Server, ToolCall

MODEL, EMBEDDER = "scripted-chat", "scripted-embed"


def client_of(server: Server) -> AsyncHttpClient:
    return AsyncHttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS)


async def test_list_of_models(server: Server) -> None:
    async with client_of(server) as client:
        models = {model.id: model for model in await client.rest_v0.list_models()}
    assert {MODEL, EMBEDDER} <= models.keys()
    assert (models[MODEL].type, models[EMBEDDER].type) == ("llm", "embeddings")
    assert models[MODEL].state == "not-loaded"


async def test_model_that_is_loaded(server: Server) -> None:
    async with client_of(server) as client:
        await client.rest_v0.chat_completion("Hi", model=MODEL)
        model = await client.rest_v0.retrieve_model(MODEL)
    assert (model.id, model.state) == (MODEL, "loaded")
    assert model.loaded_context_length is not None


async def test_model_that_does_not_exist(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioServerError, match="nobody") as caught:
            await client.rest_v0.retrieve_model("nobody")
        with pytest.raises(lms.LMStudioValueError, match="must be a text, got ''"):
            await client.rest_v0.retrieve_model("")
    assert caught.value.status_code == 404


async def test_chat_has_statistics(server: Server) -> None:
    async with client_of(server) as client:
        reply = await client.rest_v0.chat_completion([{"role": "user", "content": "Hi"}], model=MODEL, temperature=0)
    assert reply.choices[0].message.content == "You said: Hi"
    assert reply.stats is not None
    assert reply.stats.stop_reason == "eosFound"
    assert reply.model_info is not None
    assert reply.model_info.format == "gguf"
    assert reply.runtime is not None
    assert reply.runtime.supported_formats == ["gguf"]


async def test_chat_with_a_bad_value_is_refused() -> None:
    client = AsyncHttpClient("http://localhost:9")  # where nobody listens
    with pytest.raises(lms.LMStudioValueError, match="top_p"):
        await client.rest_v0.chat_completion("Hi", model=MODEL, top_p=2)
    await client.aclose()


async def test_stream_of_a_chat_has_statistics(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Adding.", ToolCall("add", {"a": 1})])
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    async with client_of(server) as client:
        whole = await client.rest_v0.chat_completion("Hi", model=MODEL, tools=[tool])
        async with client.rest_v0.stream_chat_completion("Hi", model=MODEL, tools=[tool]) as stream:
            chunks = [chunk async for chunk in stream]
            reply = stream.result()
    assert chunks[0].stats is None
    assert reply.stats is not None
    assert whole.stats is not None
    assert reply.stats.stop_reason == whole.stats.stop_reason
    assert (reply.model_info, reply.runtime) == (whole.model_info, whole.runtime)
    calls = reply.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "add"


async def test_cancelled_stream_has_what_has_come(server: Server, gate: Gate) -> None:
    async with client_of(server) as client, client.rest_v0.stream_chat_completion("Hi", model=MODEL) as stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content == " two":
                await stream.cancel()
        assert stream.result().choices[0].message.content == "one two"


async def test_text_has_statistics(server: Server) -> None:
    async with client_of(server) as client:
        reply = await client.rest_v0.complete("Once upon", model=MODEL, max_tokens=2)
    assert reply.choices[0].finish_reason == "length"
    assert reply.stats is not None
    assert reply.stats.stop_reason == "maxPredictedTokensReached"
    assert reply.model_info is not None


async def test_stream_of_a_text_has_statistics(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply([" a", " time"])
    async with client_of(server) as client, client.rest_v0.stream_completion("Once upon", model=MODEL) as stream:
        texts = [choice.text async for chunk in stream for choice in chunk.choices]
        reply = stream.result()
    assert "".join(texts) == reply.choices[0].text == " a time"
    assert reply.stats is not None
    assert reply.runtime is not None


async def test_embeddings(server: Server) -> None:
    async with client_of(server) as client:
        reply = await client.rest_v0.create_embeddings({"model": EMBEDDER, "input": ["one", "two"]})
        again = await client.create_embeddings({"model": EMBEDDER, "input": ["one", "two"]})
    assert [item.embedding for item in reply.data] == [item.embedding for item in again.data]
    assert len(reply.data) == 2


async def test_embeddings_of_a_model_that_does_not_exist(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError) as caught:
            await client.rest_v0.create_embeddings({"model": "nobody", "input": "one"})
    assert caught.value.context["endpoint"] == "api/v0/embeddings"
