"""The types of the contract, and of everything that keeps it."""

from typing_extensions import assert_type

import lmstudio as lms
from lmstudio.contract import (
    AsyncChatStream,
    AsyncSdkContract,
    ChatMessage,
    ChatRole,
    ChatStream,
    ChatStreamEvent,
    Chunk,
    Completed,
    SdkContract,
)
from lmstudio.http import (
    AsyncHttpClient,
    ChatCompletionChunk,
    ChatCompletionResponse,
    HttpClient,
    LMStudioClient,
    ModelsListResponse,
)
from lmstudio.testing import AsyncFakeSdk, FakeSdk


def use(sdk: SdkContract) -> None:
    reply = sdk.chat_completion([ChatMessage(ChatRole.USER, "Hi")], model="m", max_tokens=5, temperature=0.5)
    assert_type(reply, ChatCompletionResponse)
    assert_type(reply.choices[0].message.content, str | None)
    stream = sdk.stream_chat_completion("Hi", tools=[{"type": "function"}], stop="end", timeout=3)
    assert_type(stream, ChatStream)
    for chunk in stream:
        assert_type(chunk, ChatCompletionChunk)
    for event in stream.events():
        assert_type(event, ChatStreamEvent)
        if isinstance(event, Chunk):
            assert_type(event.content, str)
        else:
            assert_type(event, Completed)
            assert_type(event.result, ChatCompletionResponse)
    assert_type(stream.result(), ChatCompletionResponse)
    assert_type(sdk.list_models(owned_by="x", status="ready", limit=1), ModelsListResponse)
    assert_type(sdk.health(), bool)
    sdk.chat_completion("Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def use_async(sdk: AsyncSdkContract) -> None:
    assert_type(await sdk.chat_completion(lms.Chat("Hi"), seed=1), ChatCompletionResponse)
    stream = sdk.stream_chat_completion("Hi")
    assert_type(stream, AsyncChatStream)
    async with stream:
        async for chunk in stream:
            assert_type(chunk, ChatCompletionChunk)
    async for event in stream.events():
        assert_type(event, ChatStreamEvent)
    assert_type(await stream.wait_for_result(), ChatCompletionResponse)
    assert_type(await sdk.list_models(), ModelsListResponse)
    assert_type(await sdk.health(), bool)


def all_keep_it(
    client: lms.Client, http: HttpClient, other: LMStudioClient, fake: FakeSdk
) -> tuple[SdkContract, SdkContract, SdkContract, SdkContract]:
    use(client)
    return client, http, other, fake


def all_asynchronous_keep_it(
    client: lms.AsyncClient, http: AsyncHttpClient, fake: AsyncFakeSdk
) -> tuple[AsyncSdkContract, AsyncSdkContract, AsyncSdkContract]:
    return client, http, fake


def messages(chat: lms.Chat) -> None:
    assert_type(ChatMessage.from_chat(chat), list[ChatMessage])
    message = ChatMessage("user", "Hi")
    assert_type(message.role, ChatRole)
    chat.append(message)
    assert_type(lms.Chat.from_history(message), lms.Chat)
    assert_type(lms.Chat.from_history([message, {"role": "user", "content": "x"}]), lms.Chat)
