"""Clients that others have written, through the gateway."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import anthropic
import openai
import pytest
from http_surfaces.http_stage import ADD
from patience import PATIENCE_SECONDS

from gateway.gateway_stage import CHAT_MODEL, EMBEDDING_MODEL, Studio
from lmstudio.server import Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

    from lmstudio.server import Server
    from lmstudio.testing import FaultProxy

pytestmark = pytest.mark.usefixtures("provider")

STREAM_CLIENT = Path(__file__).parent / "node" / "stream_client.mjs"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "one two three"}]
TOOL: ChatCompletionToolParam = {"type": "function", "function": {**ADD}}  # type: ignore[typeddict-item]  # of no fixed form


@pytest.fixture
def client(gateway: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which tries nothing twice."""
    base_url = f"http://{gateway.api_host}/v1"
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=PATIENCE_SECONDS) as client:
        yield client


def test_openai_chat(studio: Studio, client: openai.OpenAI) -> None:
    studio.engine.reply = "four five"
    reply = client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION)
    assert reply.choices[0].message.content == "four five"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 2


def test_openai_stream_with_usage(studio: Studio, client: openai.OpenAI) -> None:
    studio.engine.reply = "four five"
    stream = client.chat.completions.create(
        model=CHAT_MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "four five"
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [2]


def test_openai_tools(studio: Studio, client: openai.OpenAI) -> None:
    studio.engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), Reply("3")]
    first = client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION, tools=[TOOL])
    message = first.choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    history: list[ChatCompletionMessageParam] = [
        *QUESTION,
        message.to_dict(),  # type: ignore[list-item]  # as OpenAI's documentation has it
        {"role": "tool", "tool_call_id": call.id, "content": "3"},
    ]
    second = client.chat.completions.create(model=CHAT_MODEL, messages=history, tools=[TOOL])
    assert second.choices[0].message.content == "3"
    assert studio.engine.chats[-1].messages[-1]["content"] == "3"


def test_openai_models_and_embeddings(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {CHAT_MODEL, EMBEDDING_MODEL}
    reply = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert len(reply.data) == 2
    assert len(reply.data[0].embedding) == 16


def test_openai_errors_have_the_classes_of_their_status(
    studio: Studio, network: FaultProxy, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.NotFoundError, match="Available: scripted-chat"):
        client.chat.completions.create(model="gpt-4", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION, temperature=3)
    studio.engine.reply = Reply(["four", " five"], error="The device is lost.", error_after=1)
    with pytest.raises(openai.APIError, match="The device is lost"):
        list(client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION, stream=True))
    network.refuse_connections()
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=CHAT_MODEL, messages=QUESTION)
    assert caught.value.status_code == 502


def test_many_openai_clients_at_once(studio: Studio, network: FaultProxy, gateway: Server, provider: str) -> None:
    async def ask_all() -> list[str | None]:
        async with openai.AsyncOpenAI(
            base_url=f"http://{gateway.api_host}/v1", api_key="none", timeout=PATIENCE_SECONDS
        ) as client:
            replies = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model=CHAT_MODEL, messages=[{"role": "user", "content": f"number {n}"}]
                    )
                    for n in range(40)
                )
            )
        return [reply.choices[0].message.content for reply in replies]

    assert asyncio.run(ask_all()) == [f"You said: number {n}" for n in range(40)]
    if provider == "lmstudio":
        assert network.accepted == ["llm"]  # one connection for all of them


def test_anthropic_stream(studio: Studio, gateway: Server) -> None:
    studio.engine.reply = "four five"
    with (
        anthropic.Anthropic(
            base_url=f"http://{gateway.api_host}", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS
        ) as client,
        client.messages.stream(
            model=CHAT_MODEL, max_tokens=20, messages=[{"role": "user", "content": "one two three"}]
        ) as stream,
    ):
        assert list(stream.text_stream) == ["four", " five"]
        message = stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 2)


def test_javascript_without_a_library(studio: Studio, gateway: Server) -> None:
    node = shutil.which("node")
    assert node is not None, "This test needs Node 20.6 or newer: install it."
    studio.engine.reply = "Grüße, 世界! 🙂 " * 20
    command = [node, str(STREAM_CLIENT), f"http://{gateway.api_host}", "scripted", "one two three"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=True)
    assert done.stdout.decode().strip() == ("Grüße, 世界! 🙂 " * 20).strip()
    studio.engine.reply = Reply("four")
    command[3] = "gpt-4"
    failed = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert b"404: There is no model 'gpt-4' here" in failed.stderr
