"""What a type checker must make of the clients over HTTP. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import lmstudio as lms
from lmstudio.http import (
    AsyncChatCompletionStream,
    AsyncHttpClient,
    AsyncSdkContract,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatCompletionStream,
    ChatMessage,
    ChatRole,
    CompletionRequest,
    CompletionResponse,
    CompletionStream,
    EmbeddingResponse,
    HealthStatus,
    HttpClient,
    ListModelsFilter,
    LMStudioClient,
    Model,
    ModelsListResponse,
    RetryConfig,
    SdkContract,
    complete,
    list_models,
)


def clients(settings: lms.Settings) -> None:
    HttpClient("localhost:1234", "key", timeout=5, retry=RetryConfig(max_retries=0))
    AsyncHttpClient(settings=settings, timeout=lms.Timeout(first_token=60))
    LMStudioClient("http://localhost:1234/v1", None, 60.0, RetryConfig(max_retries=5))
    HttpClient(timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    HttpClient(retries=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def contract() -> tuple[SdkContract, AsyncSdkContract]:
    return HttpClient(), AsyncHttpClient()


def models(client: HttpClient) -> None:
    assert_type(client.list_models(), ModelsListResponse)
    assert_type(client.list_models(ListModelsFilter(owned_by="acme", status="ready", limit=10)).data, list[Model])
    assert_type(client.list_models({"ownedBy": "acme"}, limit=1)[0].id, str)
    client.list_models(status="asleep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(client.retrieve_model("heron"), Model)
    assert_type(client.health(), bool)
    assert_type(client.get_health(), HealthStatus)
    assert_type(client.health_check(), dict[str, Any])
    assert_type(list_models(), ModelsListResponse)


def chats(client: HttpClient, chat: lms.Chat) -> None:
    reply = client.chat_completion("Hi", model="heron", temperature=0.5, stop=["."], timeout=5)
    assert_type(reply, ChatCompletionResponse)
    assert_type(reply.choices[0].message.content, str | None)
    client.chat_completion(chat)
    client.chat_completion(
        [ChatMessage(ChatRole.USER, "Hi"), reply.choices[0].message, {"role": "user", "content": "?"}]
    )
    client.chat_completion("Hi", extra_body={"dry_multiplier": 0.8})
    client.chat_completion("Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.chat_completion("Hi", temperature="warm")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    request = ChatCompletionRequest(model="heron", messages="Hi", max_tokens=5)
    assert_type(client.create_chat_completion(request), ChatCompletionResponse)
    assert_type(client.create_chat_completion(request, stream=True), ChatCompletionStream)
    with client.stream_chat_completion("Hi") as stream:
        for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
            assert_type(chunk.choices[0].delta.content, str | None)
        assert_type(stream.result(), ChatCompletionResponse)
    for event in client.stream_chat_completion("Hi").events():
        if event.kind == "chunk":
            assert_type(event.content, str)
        else:
            assert_type(event.result, ChatCompletionResponse)


def texts(client: HttpClient) -> None:
    request = CompletionRequest(model="heron", prompt="Once", max_tokens=5, suffix=".", user="me")
    assert_type(client.create_completion(request), CompletionResponse)
    assert_type(client.create_completion(request, stream=True), CompletionStream)
    assert_type(client.create_completion_simple("heron", "Once", max_tokens=50, temperature=0.7), CompletionResponse)
    assert_type(client.complete(["Once", "Twice"], echo=True).choices[0].text, str)
    assert_type(complete(model="heron", prompt="Once", max_tokens=100), CompletionResponse)
    client.complete("Once", messages=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def vectors(client: HttpClient) -> None:
    assert_type(client.embed("one", model="finch"), list[float])
    assert_type(client.embed(["one", "two"]), list[list[float]])
    assert_type(client.create_embeddings({"model": "finch", "input": "one"}), EmbeddingResponse)


async def asynchronous(client: AsyncHttpClient) -> None:
    assert_type(await client.chat_completion("Hi"), ChatCompletionResponse)
    assert_type(await client.embed("one"), list[float])
    stream = client.stream_chat_completion("Hi")
    assert_type(stream, AsyncChatCompletionStream)
    async with stream:
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    assert_type(await stream.wait_for_result(), ChatCompletionResponse)
