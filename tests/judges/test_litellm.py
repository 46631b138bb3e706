"""litellm against the embedded server: as any server with OpenAI's API, as LM Studio, and as Anthropic."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from patience import PATIENCE_SECONDS
from pydantic import BaseModel

litellm = pytest.importorskip("litellm")

MODEL = "pebble-2.6m"
EMBEDDING_MODEL = "pebble-embed-0.8m"
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
QUESTION = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

# What litellm warns of is its own.
pytestmark = pytest.mark.filterwarnings("default")


class Bird(BaseModel):
    """A bird."""

    species: str
    can_fly: bool


@pytest.fixture(params=["openai", "lm_studio", "anthropic"])
def common(request: pytest.FixtureRequest, base_url: str) -> dict[str, Any]:
    """Model and address, by each way."""
    return {
        "model": f"{request.param}/{MODEL}",
        "api_base": base_url if request.param == "anthropic" else f"{base_url}/v1",
        "api_key": "lm-studio",
        "timeout": PATIENCE_SECONDS,
        "num_retries": 0,
        "max_tokens": 200,
    }


def test_chat(common: dict[str, Any]) -> None:
    reply = litellm.completion(messages=CAPITAL, **common)
    (choice,) = reply.choices
    assert "Paris" in choice.message.content
    assert choice.finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


def test_stream(common: dict[str, Any]) -> None:
    chunks = list(litellm.completion(messages=CAPITAL, stream=True, **common))
    assert len(chunks) > 2
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_asynchronous(common: dict[str, Any]) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*(litellm.acompletion(messages=CAPITAL, **common) for _ in range(2)))

    assert all("Paris" in reply.choices[0].message.content for reply in asyncio.run(main()))


@pytest.mark.parametrize("is_stream", [False, True])
def test_tools(common: dict[str, Any], *, is_stream: bool) -> None:
    reply = litellm.completion(messages=QUESTION, tools=[WEATHER], stream=is_stream, **common)
    if is_stream:
        reply = litellm.stream_chunk_builder(list(reply))
    (choice,) = reply.choices
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
    assert choice.finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call.id, "content": "snowy, -3 degrees"}
    history = [*QUESTION, choice.message.model_dump(), result]
    told = litellm.completion(messages=history, tools=[WEATHER], **common)
    assert "snowy" in told.choices[0].message.content


def test_structured_output(common: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Describe a bird."}]
    reply = litellm.completion(messages=messages, response_format=Bird, **common)
    Bird.model_validate_json(reply.choices[0].message.content)


def test_unknown_model_is_the_callers_mistake(common: dict[str, Any]) -> None:
    wrong = {**common, "model": common["model"].replace(MODEL, "pebbel")}
    with pytest.raises((litellm.BadRequestError, litellm.NotFoundError), match="pebble"):
        litellm.completion(messages=CAPITAL, **wrong)


@pytest.mark.parametrize("provider", ["openai", "lm_studio"])
def test_embeddings(base_url: str, provider: str) -> None:
    reply = litellm.embedding(
        model=f"{provider}/{EMBEDDING_MODEL}",
        input=["Tell me a story.", "What is 3 + 4?"],
        api_base=f"{base_url}/v1",
        api_key="lm-studio",
    )
    assert [len(item["embedding"]) for item in reply.data] == [128, 128]
