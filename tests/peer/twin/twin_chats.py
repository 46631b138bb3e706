"""Cases: chats, images, values, and what only some clients have."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

from twin_kit import (
    CHAT,
    EMBED,
    HOST,
    IMAGE,
    case,
    convenience,
    each,
    entered,
    error_of,
    got,
    plain,
    sync_only,
)

import lmstudio as lms


@case
async def chats(client):
    model = await got(client.llm.model(CHAT))
    chat = lms.Chat("Be brief.")
    added = [chat.add_user_message("One"), chat.add_user_message(["Two", "Three"])]
    result = await got(model.respond(chat))
    added.append(chat.add_assistant_response(result))
    added.append(chat.add_entry("user", "Four"))
    added.append(chat.append({"role": "assistant", "content": [{"type": "text", "text": "Five"}]}))
    added.append(chat.add_user_message(lms.TextData(text="Six")))
    request = lms.ToolCallRequest(type="function", id="1", name="add", arguments={"a": 1})
    added.append(chat.add_assistant_response("Calling", [request]))
    added.append(chat.add_tool_result({"type": "toolCallResult", "content": "3", "toolCallId": "1"}))
    data = lms.ChatHistoryData.from_dict({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]})
    return {
        "str": str(chat),
        "messages": [plain(message) for message in added],
        "copies": [str(chat.copy()) == str(chat), str(copy.copy(chat)) == str(copy.deepcopy(chat))],
        "pickled": str(pickle.loads(pickle.dumps(chat))) == str(chat),
        "from text": str(lms.Chat.from_history("Hi")),
        "from chat": str(lms.Chat.from_history(chat)) == str(chat),
        "from data": str(lms.Chat.from_history(data)),
        "from dict": str(lms.Chat.from_history({"messages": [{"role": "system", "content": "Obey."}]})),
        "empty": str(lms.Chat()),
        "bad role": await error_of(lambda: chat.add_entry("nobody", "x")),
        "bad history": await error_of(lambda: lms.Chat.from_history(3)),
        "bad message": await error_of(lambda: chat.append(3)),
        "prompt": str(await got(model.respond(chat))),
    }


@case
async def the_same_role_twice(client):
    chat = lms.Chat("One.")
    return [await error_of(lambda: str(chat.add_system_prompt("Two.")))]


@case
async def the_assistant_twice(client):
    chat = lms.Chat()
    chat.add_user_message("Hi")
    chat.add_assistant_response("One.")
    return [await error_of(lambda: str(chat.add_assistant_response("Two.")))]


@case
async def a_list_of_messages(client):
    return await error_of(lambda: str(lms.Chat.from_history([{"role": "user", "content": "Hi"}])))


@case
async def images(client):
    model = await got(client.llm.model(CHAT))
    content = Path(IMAGE).read_bytes()  # noqa: ASYNC240 - nothing else waits
    handles = [
        await got(client.prepare_image(IMAGE)),
        await got(client.files.prepare_image(Path(IMAGE), "other.png")),
        await got(client.prepare_image(content, "bytes.png")),
        await got(client.prepare_image(bytearray(content), "array.png")),
        await got(client.prepare_image(io.BytesIO(content), "file.png")),
    ]
    with open(IMAGE, "rb") as file:  # noqa: ASYNC230 - nothing else waits
        handles.append(await got(client.prepare_image(file)))
    chat = lms.Chat()
    chat.add_user_message("What is this?", images=handles[:2])
    chat.add_assistant_response("A cat.")
    chat.add_user_message(["And this?", handles[2]])
    return {
        "handles": [[handle.name, handle.size_bytes, handle.file_type, type(handle).__name__] for handle in handles],
        "missing": await error_of(lambda: client.prepare_image("no/such/file.png")),
        "reply": str(await got(model.respond(chat))),
        "chat": str(chat).replace(handles[0].identifier, "0").count("image"),
    }


@case
async def values(client):
    model = await got(client.llm.model(CHAT))
    result = await got(model.respond("Hello"))
    fragments = [item async for item in each(await got(model.respond_stream("one")))]
    fragment = fragments[0]
    struct = lms.LlmPredictionConfig(max_tokens=5, stop_strings=["x"])
    return {
        "pickled": pickle.loads(pickle.dumps(result)).content,
        "config": [repr(struct), struct.to_dict(), lms.LlmPredictionConfig.from_dict({"maxTokens": 5}).max_tokens],
        "snake": lms.LlmPredictionConfig.from_dict({"max_tokens": 5}).max_tokens,
        "fragment": [fragment.content, fragment.reasoning_type, fragment.tokens_count, fragment.contains_drafted],
        "keyword only": await error_of(lambda: lms.TextData("x")),
        "text": repr(lms.TextData(text="x")),
        "round": repr(lms.PredictionRoundResult.from_result(result, 3)),
        "validation": await error_of(lambda: lms.LlmPredictionConfig.from_dict({"maxTokens": []})),
    }


@case
async def nobody_listens(client):
    async def use():
        async with entered(type(client)("127.0.0.1:1")) as other:
            await got(other.llm.list_loaded())

    return await error_of(use)


@sync_only
async def closed_clients(client):
    other = lms.Client(HOST)
    other.llm.list_loaded()
    other.close()
    return [plain(other.close())]


@sync_only
async def timeouts(client):
    model = client.llm.model(CHAT)
    before = lms.get_sync_api_timeout()
    lms.set_sync_api_timeout(0.2)
    try:
        return [before, lms.get_sync_api_timeout(), await error_of(lambda: model.respond("hang"))]
    finally:
        lms.set_sync_api_timeout(before)


@convenience
async def default_client():
    client = lms.get_default_client(HOST)
    model = lms.llm(CHAT)
    embedding = lms.embedding_model(EMBED)
    return {
        "same": lms.get_default_client() is client,
        "again": await error_of(lambda: lms.configure_default_client(HOST)),
        "models": [repr(model), repr(lms.llm()), repr(embedding), repr(lms.embedding_model())],
        "reply": str(model.respond("Hello")),
        "downloaded": [repr(model) for model in lms.list_downloaded_models()],
        "downloaded llm": [repr(model) for model in lms.list_downloaded_models("llm")],
        "loaded": [repr(model) for model in lms.list_loaded_models()],
        "loaded embeddings": [repr(model) for model in lms.list_loaded_models("embedding")],
        "image": lms.prepare_image(IMAGE).name,
    }
