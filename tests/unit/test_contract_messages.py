"""`ChatMessage` and `ChatRole`: messages of OpenAI's API as values, and chats from them and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import lmstudio as lms
from lmstudio._http_models.openai import ChatCompletionMessage, FunctionCall, ToolCall
from lmstudio._openai_messages import openai_messages
from lmstudio.contract import ChatMessage, ChatRole

PIXEL = "data:image/png;base64,iVBORw0KGgo="
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
FILE = {"file_id": "local:1", "filename": "a.pdf", "size_bytes": 3, "file_type": "application/pdf"}

CONVERSATION = [
    ChatMessage(ChatRole.SYSTEM, "You answer briefly."),
    ChatMessage(
        ChatRole.USER, [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    ),
    ChatMessage(ChatRole.ASSISTANT, None, tool_calls=[CALL]),
    ChatMessage(ChatRole.TOOL, "3", tool_call_id="c1", name="add"),
    ChatMessage(ChatRole.USER, [{"type": "text", "text": "And this?"}, {"type": "file", "file": FILE}]),
    ChatMessage(ChatRole.ASSISTANT, "A document."),
]


def test_messages_survive_a_chat_and_back() -> None:
    assert ChatMessage.from_chat(lms.Chat.from_history(CONVERSATION)) == CONVERSATION


def test_a_chat_survives_messages_and_back() -> None:
    chat = lms.Chat.from_history(CONVERSATION)
    assert lms.Chat.from_history(ChatMessage.from_chat(chat)) == chat
    assert [message.role for message in chat] == ["system", "user", "assistant", "tool", "user", "assistant"]


@pytest.mark.parametrize("message", CONVERSATION, ids=lambda message: str(message.role.value))
def test_messages_survive_dicts(message: ChatMessage) -> None:
    assert ChatMessage.from_dict(message.to_dict()) == message


def test_a_single_message_is_a_chat() -> None:
    assert lms.Chat.from_history(ChatMessage(ChatRole.USER, "Hi")) == lms.Chat.from_history("Hi")


def test_messages_can_be_added_to_a_chat() -> None:
    chat = lms.Chat("You answer briefly.")
    chat.append(ChatMessage(ChatRole.USER, "Hi"))
    chat.extend([ChatMessage(ChatRole.ASSISTANT, "Hello!")])
    assert [message.get_text() for message in chat] == ["You answer briefly.", "Hi", "Hello!"]


def test_the_message_of_a_reply_goes_on_in_a_chat() -> None:
    call = ToolCall(id="c1", type="function", function=FunctionCall(name="add", arguments='{"a":1}'))
    reply = ChatCompletionMessage(role="assistant", content=None, tool_calls=[call])
    chat = lms.Chat.from_history([{"role": "user", "content": "1 + 2?"}, reply])
    assert chat[1].get_tool_call_requests()[0].arguments == {"a": 1}


def test_calls_of_a_reply_go_into_a_message() -> None:
    call = ToolCall(id="c1", type="function", function=FunctionCall(name="add", arguments='{"a":1}'))
    assert ChatMessage("assistant", None, tool_calls=[call]).to_dict()["tool_calls"] == [CALL]


# As messages to send ------------------------------------------------------------------------------------------------


def test_all_that_is_a_chat_can_be_sent_over_http() -> None:
    hello = [{"role": "user", "content": "Hi"}]
    chat = lms.Chat.from_history("Hi")
    forms: list[Any] = ["Hi", chat, hello, hello[0], ChatMessage("user", "Hi"), [("user", "Hi")]]
    forms += [[ChatMessage("user", "Hi")], list(chat), chat[0], iter(hello), {"messages": hello}]
    assert [openai_messages(form) for form in forms] == [hello] * len(forms)


def test_messages_of_the_api_are_sent_as_they_are() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}}
    message = {"role": "user", "name": "Nina", "content": [image]}
    assert openai_messages([message]) == [message]


def test_own_parts_are_written_in_the_form_of_the_api() -> None:
    chat = lms.Chat.from_history(CONVERSATION)
    assert openai_messages(chat) == [each.to_dict() for each in CONVERSATION]
    written = openai_messages(chat.to_dict())
    assert lms.Chat.from_openai(written) == chat
    assert written[4]["content"][1] == {"type": "file", "file": FILE}


def test_images_beside_the_text_are_sent() -> None:
    image = {"type": "file", "fileType": "image", "name": "a.png", "identifier": "base64:iVBORw0KGgo=", "sizeBytes": 8}
    (sent,) = openai_messages([{"role": "user", "content": "Look", "images": [image]}])
    assert [part["type"] for part in sent["content"]] == ["image_url", "text"]


@pytest.mark.parametrize(
    ("word", "role"),
    [
        ("user", ChatRole.USER),
        ("developer", ChatRole.SYSTEM),
        ("function", ChatRole.TOOL),
        (ChatRole.TOOL, ChatRole.TOOL),
    ],
)
def test_a_role_may_be_its_word(word: Any, role: ChatRole) -> None:
    assert ChatMessage(word, "x").role is role


@pytest.mark.parametrize("word", ["robot", None, 3, ["user"]])
def test_an_unknown_role_is_refused(word: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match="expected one of system, user, assistant, tool"):
        ChatMessage(word, "x")


@pytest.mark.parametrize("data", [{"content": "x"}, "user", None])
def test_a_dict_without_a_role_is_refused(data: Any) -> None:
    with pytest.raises(lms.LMStudioValueError, match="it needs a 'role'"):
        ChatMessage.from_dict(data)


def test_json_has_the_words_of_the_api() -> None:
    assert msgspec.json.encode(ChatMessage(ChatRole.ASSISTANT, None, tool_calls=[CALL])) == (
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function",'
        b'"function":{"name":"add","arguments":"{\\"a\\":1}"}}]}'
    )
