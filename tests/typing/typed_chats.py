"""What a type checker must make of chats. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from typing_extensions import assert_type

import lmstudio as lms


def chat_inputs(model: lms.LLM, photo: lms.FileHandle) -> None:
    chat = lms.Chat("Be brief.")
    history: lms.ChatHistoryDataDict = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
    model.respond("Hi")
    model.respond(chat)
    model.respond(chat.to_history_data())
    model.respond(history)
    model.respond({"messages": [{"role": "user", "content": "Hi"}]})
    model.respond([{"role": "user", "content": "Hi", "images": [photo]}])
    model.respond([("system", "Be brief."), ("user", "Hi")])
    model.respond([lms.UserMessage(content=[lms.TextData(text="Hi")])])
    model.respond({"role": "user", "content": "Hi"})
    model.respond(lms.UserMessage(content=[lms.TextData(text="Hi")]))
    model.respond(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # no chat
    assert_type(lms.Chat.from_history(history), lms.Chat)


def openai_style(model: lms.LLM, messages: list[dict[str, str]], others: Sequence[dict[str, Any]]) -> None:
    model.respond(messages)
    model.respond(others)


def adding(chat: lms.Chat, photo: lms.FileHandle, result: lms.PredictionResult) -> None:
    handle: lms.FileHandleDict = photo.to_dict()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # a plain dict as far as types go
    assert_type(chat.add_system_prompt("Be brief."), lms.SystemPrompt)
    assert_type(chat.add_user_message("Hi"), lms.UserMessage)
    chat.add_user_message("Look", images=[photo, handle])
    chat.add_user_message("Look", images=(photo,))
    chat.add_user_message(["Look", photo])
    chat.add_user_message({"type": "text", "text": "Hi"})
    assert_type(chat.add_assistant_response("Hello"), lms.AssistantResponse)
    chat.add_assistant_response(result)
    chat.add_assistant_response("Adding.", [lms.ToolCallRequest(name="add", arguments={"a": 1})])
    assert_type(chat.add_tool_result(lms.ToolCallResultData(content="3")), lms.ToolResultMessage)
    chat.add_tool_results([{"type": "toolCallResult", "content": "3"}])
    assert_type(chat.add_entry("user", "Hi"), lms.AnyChatMessage)
    assert_type(chat.append({"role": "user", "content": "Hi"}), lms.AnyChatMessage)
    assert_type(chat.add_tool_result("3", "t1"), lms.ToolResultMessage)
    assert_type(chat.add_entry("user", "Hi", images=[photo]), lms.AnyChatMessage)
    chat.add_user_message(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no content


def reading(chat: lms.Chat) -> None:
    assert_type(len(chat), int)
    assert_type(chat[0], lms.AnyChatMessage)
    assert_type(chat[1:], lms.Chat)
    assert_type(iter(chat), Iterator[lms.AnyChatMessage])
    assert_type(chat.pop(), lms.AnyChatMessage)
    assert_type(chat.copy(), lms.Chat)
    assert_type(chat.with_appended("user", "Hi"), lms.Chat)
    assert_type(chat.get_system_prompt(), str)
    assert_type(list(chat.files()), list[lms.FileHandle])
    assert_type(chat.to_dict(), lms.ChatHistoryDataDict)
    for message in chat:
        match message:
            case lms.UserMessage(content=parts):
                assert_type(parts, list[lms.TextData | lms.FileHandle])
            case lms.ToolResultMessage(content=results):
                assert_type(results, list[lms.ToolCallResultData])
            case _:
                assert_type(message, lms.AssistantResponse | lms.SystemPrompt)
    hash(chat)  # mutable: raises, which types cannot say


def sequences(chat: lms.Chat, message: lms.UserMessage) -> None:
    messages: Sequence[lms.AnyChatMessage] = chat
    assert_type(messages[0], lms.AnyChatMessage)
    assert_type(list(reversed(chat)), list[lms.AnyChatMessage])
    assert_type(message in chat, bool)
    chat[0] = message
    chat[1:] = [message, {"role": "user", "content": "Hi"}, ("user", "Hi")]
    chat[0] = 5  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # no message
    chat.insert(0, message)
    chat.extend(chat)
    chat.extend([("user", "Hi")])
    assert_type(chat.map(lambda each: len(each.content)), list[int])
    assert_type(chat.flat_map(lambda each: each.get_files()), list[lms.FileHandle])
    assert_type(chat.with_appended(message), lms.Chat)
    assert_type(chat.set_role(0, "system"), lms.AnyChatMessage)
    assert_type(chat.as_immutable_copy(), lms.Chat)


def openai(chat: lms.Chat, messages: list[dict[str, Any]]) -> None:
    assert_type(lms.Chat.from_openai(messages), lms.Chat)
    assert_type(chat.to_openai(), list[dict[str, Any]])


def messages_alone(chat: lms.Chat, photo: lms.FileHandle, role: str) -> None:
    assert_type(lms.make_message("user", ["Look", photo]), lms.UserMessage)
    assert_type(lms.make_message("system", "Be brief."), lms.SystemPrompt)
    assert_type(lms.make_message("assistant", "Hi", images=[photo]), lms.AssistantResponse)
    assert_type(lms.make_message("tool", lms.ToolCallResultData(content="3")), lms.ToolResultMessage)
    assert_type(lms.make_message(role, "Hi"), lms.AnyChatMessage)
    message = chat[0]
    assert_type(message.role, Literal["assistant", "user", "system", "tool"])
    assert_type(message.get_text(), str)
    assert_type(message.get_files(), list[lms.FileHandle])
    assert_type(message.get_tool_call_requests(), list[lms.ToolCallRequest])
    assert_type(message.get_tool_call_results(), list[lms.ToolCallResultData])
    assert_type(message.is_user_message(), bool)
    message.append_text("Hi")
    message.append_file(photo)


async def files(chat: lms.Chat) -> None:
    async def is_large(file: lms.FileHandle) -> bool:
        return file.size_bytes > 1_000_000

    assert_type(chat.has_files(), bool)
    assert_type(chat.get_all_files(), list[lms.FileHandle])
    assert_type(chat.consume_files(lambda file: file.file_type == "image"), list[lms.FileHandle])
    assert_type(await chat.consume_files_async(is_large), list[lms.FileHandle])


class MyChat(lms.Chat):
    """Somebody's own."""


def subclasses(chat: MyChat) -> None:
    assert_type(chat.copy(), MyChat)
    assert_type(chat[1:], MyChat)
    assert_type(MyChat.from_history("Hi"), MyChat)
