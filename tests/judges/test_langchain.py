"""LangChain against the embedded server: its way to OpenAI, and its way to Anthropic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from pydantic import BaseModel

langchain_openai = pytest.importorskip("langchain_openai")
langchain_anthropic = pytest.importorskip("langchain_anthropic")

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402  # see above
from langchain_core.tools import tool  # noqa: E402  # see above

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL = "pebble-2.6m"
EMBEDDING_MODEL = "pebble-embed-0.8m"
CAPITAL = "What is the capital of France?"
QUESTION = "What is the weather in Oslo?"

# What LangChain and its clients warn of is theirs.
pytestmark = pytest.mark.filterwarnings("default")


def get_weather(city: str) -> str:
    """Get the weather"""
    return f"snowy, -3 degrees in {city}"


WEATHER = tool(get_weather)


class Bird(BaseModel):
    """A bird."""

    species: str
    can_fly: bool


@pytest.fixture(params=["openai", "anthropic"])
def chat(request: pytest.FixtureRequest, base_url: str) -> Any:
    """LangChain's model, by either way."""
    common = {"model": MODEL, "api_key": "lm-studio", "timeout": PATIENCE_SECONDS, "max_retries": 0}
    if request.param == "openai":
        return langchain_openai.ChatOpenAI(base_url=f"{base_url}/v1", **common)
    return langchain_anthropic.ChatAnthropic(base_url=base_url, max_tokens=200, **common)


def text_of(message: Any) -> str:
    return str(message.text)


def test_chat(chat: Any) -> None:
    reply = chat.invoke([SystemMessage("Be brief."), HumanMessage(CAPITAL)])
    assert "Paris" in text_of(reply)
    usage = reply.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] > 0


def test_stream(chat: Any) -> None:
    chunks = list(chat.stream(CAPITAL))
    assert len(chunks) > 2
    assert "Paris" in "".join(map(text_of, chunks))


def test_asynchronous(chat: Any) -> None:
    async def main() -> Sequence[Any]:
        async def streamed() -> str:
            return "".join([text_of(chunk) async for chunk in chat.astream(CAPITAL)])

        return await asyncio.gather(streamed(), streamed())

    assert all("Paris" in text for text in asyncio.run(main()))


@pytest.mark.parametrize("is_stream", [False, True])
def test_tools(chat: Any, *, is_stream: bool) -> None:
    bound = chat.bind_tools([WEATHER])
    messages: list[Any] = [HumanMessage(QUESTION)]
    if is_stream:
        first, *rest = bound.stream(messages)
        answer = sum(rest, first)
    else:
        answer = bound.invoke(messages)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
    result = ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])
    asked = AIMessage(answer.content, tool_calls=answer.tool_calls)
    assert "snowy" in text_of(bound.invoke([*messages, asked, result]))


def test_tool_that_has_to_be_called(chat: Any) -> None:
    answer = chat.bind_tools([WEATHER], tool_choice="any").invoke("Hello!")
    assert [call["name"] for call in answer.tool_calls] == ["get_weather"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(chat: Any, method: str) -> None:
    bird = chat.with_structured_output(Bird, method=method).invoke("Describe a bird.")
    assert isinstance(bird, Bird)


def test_embeddings(base_url: str) -> None:
    # Else it sends token ids of OpenAI's models, which mean nothing to others.
    embeddings = langchain_openai.OpenAIEmbeddings(
        model=EMBEDDING_MODEL, base_url=f"{base_url}/v1", api_key="lm-studio", check_embedding_ctx_length=False
    )
    documents = embeddings.embed_documents(["Tell me a story.", "What is 3 + 4?"])
    assert [len(vector) for vector in documents] == [128, 128]
    assert embeddings.embed_query("Tell me a story.") == pytest.approx(documents[0], abs=1e-4)
