"""What a type checker must make of chats. Checked by `mypy --strict`, never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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
    model.respond(5)  # type: ignore[call-overload]  # no chat
    assert_type(lms.Chat.from_history(history), lms.Chat)


def openai_style(model: lms.LLM, messages: list[dict[str, str]], others: Sequence[dict[str, Any]]) -> None:
    model.respond(messages)
    model.respond(others)


def adding(chat: lms.Chat, photo: lms.FileHandle, result: lms.PredictionResult) -> None:
    handle: lms.FileHandleDict = photo.to_dict()  # type: ignore[assignment]  # a plain dict as far as types go
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
    chat.add_user_message(5)  # type: ignore[arg-type]  # no content


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
    hash(chat)  # mutable: raises, which types cannot say


class MyChat(lms.Chat):
    """Somebody's own."""


def subclasses(chat: MyChat) -> None:
    assert_type(chat.copy(), MyChat)
    assert_type(chat[1:], MyChat)
    assert_type(MyChat.from_history("Hi"), MyChat)
