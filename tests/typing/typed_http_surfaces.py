"""What a type checker must make of the surfaces of the client over HTTP. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing_extensions import assert_type

from lmstudio.http import (
    AsyncChatCompletionStream,
    AsyncEventStream,
    AsyncHttpClient,
    ChatCompletionResponse,
    HttpClient,
)
from lmstudio.http.anthropic import Message, MessageStreamEvent, TextDelta, ThinkingBlock, ToolUseBlock
from lmstudio.http.responses import FunctionCallItem, MessageItem, Response, ResponseRequest, ResponseStreamEvent
from lmstudio.http.rest_v0 import V0Model
from lmstudio.http.rest_v1 import (
    ChatReply,
    ChatRequest,
    ChatStreamEvent,
    DownloadJob,
    EmbeddingModel,
    LlmModel,
    LoadReply,
    TextInput,
)

USER = [{"role": "user", "content": "Hi"}]


# Responses -----------------------------------------------------------------------------------------------------------


async def responses(client: AsyncHttpClient) -> None:
    response = await client.responses.create(model="m", input="Hi", temperature=0.5, reasoning={"effort": "low"})
    assert_type(response, Response)
    assert_type(response.output_text, str)
    await client.responses.create(ResponseRequest(model="m", input="Hi"), previous_response_id=response.id)
    await client.responses.create({"model": "m", "input": USER}, timeout=5)
    await client.responses.create(model="m", input="Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # a slip
    await client.responses.create(model=5, input="Hi")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no name
    for item in response.output:
        if item.type == "function_call":
            assert_type(item, FunctionCallItem)
            assert_type(item.arguments, str)
        elif item.type == "message":
            assert_type(item, MessageItem)


async def response_events(client: AsyncHttpClient) -> None:
    async with client.responses.stream(model="m", input="Hi") as stream:
        assert_type(stream, AsyncEventStream[ResponseStreamEvent, Response])
        async for event in stream:
            if event.type == "response.output_text.delta":
                assert_type(event.delta, str)
            elif event.type == "response.completed":
                assert_type(event.response, Response)
            elif event.type == "unknown":
                assert_type(event.name, str)
        assert_type(stream.result(), Response)


# Messages ------------------------------------------------------------------------------------------------------------


async def messages(client: AsyncHttpClient) -> None:
    message = await client.messages.create(model="m", max_tokens=5, messages=USER, thinking={"type": "disabled"})
    assert_type(message, Message)
    for block in message.content:
        if block.type == "tool_use":
            assert_type(block, ToolUseBlock)
        elif block.type == "thinking":
            assert_type(block, ThinkingBlock)
        else:
            assert_type(block.text, str)
    assert_type(await client.messages.count_tokens(model="m", messages=USER), int)
    async with client.messages.stream(model="m", max_tokens=5, messages=USER) as stream:
        assert_type(stream, AsyncEventStream[MessageStreamEvent, Message])
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                assert_type(event.delta, TextDelta)


# LM Studio's own -----------------------------------------------------------------------------------------------------


async def rest_v0(client: AsyncHttpClient) -> None:
    assert_type(await client.rest_v0.list_models(), list[V0Model])
    reply = await client.rest_v0.chat_completion(USER, model="m", max_tokens=5)
    assert_type(reply, ChatCompletionResponse)
    assert reply.stats is not None
    assert_type(reply.stats.tokens_per_second, float | None)
    assert_type(client.rest_v0.stream_chat_completion("Hi"), AsyncChatCompletionStream)


async def rest_v1(client: AsyncHttpClient) -> None:
    assert_type(await client.rest_v1.list_models(), list[LlmModel | EmbeddingModel])
    assert_type(await client.rest_v1.load("m", context_length=1024), LoadReply)
    reply = await client.rest_v1.chat(model="m", input=[TextInput(content="Hi")], reasoning="off")
    assert_type(reply, ChatReply)
    await client.rest_v1.chat(ChatRequest(model="m", input="Hi"), previous_response_id=reply.response_id)
    await client.rest_v1.chat(model="m", input="Hi", reasoning="much")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # none of the words
    async with client.rest_v1.stream_chat(model="m", input="Hi") as stream:
        assert_type(stream, AsyncEventStream[ChatStreamEvent, ChatReply])
        async for event in stream:
            if event.type == "model_load.progress":
                assert_type(event.progress, float)
            elif event.type == "message.delta":
                assert_type(event.content, str)
    download = await client.rest_v1.download("maker/model", quantization="Q4_K_M")
    assert_type(await client.rest_v1.wait_for_download(download, print), DownloadJob | None)


def synchronous(client: HttpClient) -> None:
    assert_type(client.responses.create(model="m", input="Hi"), Response)
    assert_type(client.messages.create(model="m", max_tokens=5, messages=USER), Message)
    assert_type(client.rest_v0.list_models(), list[V0Model])
    with client.rest_v1.stream_chat(model="m", input="Hi") as stream:
        for event in stream:
            if event.type == "chat.end":
                assert_type(event.result, ChatReply)
        assert_type(stream.result(), ChatReply)
