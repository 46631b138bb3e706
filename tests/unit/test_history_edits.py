"""Chats: editing them, what belongs to tools, files, and chats that refuse edits."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from sample_chats import PHOTO, REQUEST, RESULT, complete_chat, result, text

from lmstudio._sdk_models import (
    AssistantResponse,
    FileHandle,
    SystemPrompt,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.history import Chat, make_message, read_history

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = FileHandle(name="other.png", identifier="local:2", size_bytes=1, file_type="image")


def roles(chat: Chat) -> list[str]:
    return [message.role for message in chat]


# Editing -------------------------------------------------------------------------------------------------------------


def test_a_chat_has_what_sequences_have() -> None:
    chat = complete_chat()
    assert [message.role for message in reversed(chat)] == ["assistant", "tool", "assistant", "user", "system"]
    assert UserMessage(content=[text("Look:"), PHOTO]) in chat
    assert UserMessage(content=[text("Look:")]) not in chat
    assert chat.index(ToolResultMessage(content=[RESULT])) == 3
    assert chat.count(chat[0]) == 1


def test_messages_can_be_replaced() -> None:
    chat = complete_chat()
    chat[0] = {"role": "system", "content": "Be long."}
    chat[-2:] = [("assistant", "It is 4."), {"role": "user", "content": "No."}]
    assert chat.get_system_prompt() == "Be long."
    assert roles(chat) == ["system", "user", "assistant", "assistant", "user"]
    with pytest.raises(IndexError):
        chat[5] = UserMessage(content=[])


def test_messages_can_be_inserted_anywhere() -> None:
    chat = Chat.from_history([("user", "One"), ("user", "Three")])
    chat.insert(1, {"role": "assistant", "content": "Two"})
    chat.insert(-99, SystemPrompt(content=[text("Zero")]))
    assert [message.get_text() for message in chat] == ["Zero", "One", "Two", "Three"]


@pytest.mark.parametrize(
    "messages", [complete_chat(), complete_chat().to_dict(), list(complete_chat()), iter(list(complete_chat()))]
)
def test_a_chat_is_extended_with_whatever_is_a_chat(messages: Any) -> None:
    chat = Chat()
    chat.extend(messages)
    assert chat == complete_chat()


def test_a_chat_can_be_extended_with_itself_and_with_text() -> None:
    chat = Chat("Hi")
    chat.extend(chat)
    chat.extend("Hello")
    assert roles(chat) == ["system", "system", "user"]
    assert chat[0] is not chat[1]


def test_what_is_put_into_a_chat_is_copied() -> None:
    message = UserMessage(content=[text("Hi")])
    chat = Chat("System")
    chat.extend([message])
    chat.insert(0, message)
    chat[1] = message
    longer = chat.with_appended(message)
    message.append_text("changed")
    assert [each.get_text() for each in longer] == ["Hi"] * 4


def test_a_chat_can_be_emptied() -> None:
    chat = complete_chat()
    chat.clear()
    assert chat == Chat()


def test_functions_can_be_mapped_over_messages() -> None:
    chat = complete_chat()
    assert chat.map(lambda message: len(message.content)) == [1, 2, 2, 1, 1]
    assert chat.flat_map(lambda message: message.get_files()) == [PHOTO]


def test_another_role_makes_another_message_with_the_same_parts() -> None:
    chat = Chat.from_history([("system", "Hi"), ("user", ["Look", PHOTO])])
    assert chat.set_role(0, "user") is chat[0]
    chat.set_role(-1, "assistant")
    assert list(chat) == [UserMessage(content=[text("Hi")]), AssistantResponse(content=[text("Look"), PHOTO])]


def test_a_message_can_be_made_without_a_chat() -> None:
    assert make_message("user", "Look", images=[PHOTO]) == UserMessage(content=[text("Look"), PHOTO])
    assert make_message("system", "Hi") == SystemPrompt(content=[text("Hi")])
    assert make_message("assistant", ["Adding.", REQUEST]) == complete_chat()[2]
    assert make_message("tool", RESULT) == complete_chat()[3]
    with pytest.raises(LMStudioValueError, match="Unknown role 'narrator'"):
        make_message("narrator", "Once")


def test_edits_of_a_chat_do_not_reach_a_prediction_that_was_asked_for() -> None:
    chat = Chat.from_history("Hi")
    asked = read_history(chat)
    chat.add_user_message("more")
    chat.append(AssistantResponse(content=[text("Hello")]))
    chat.pop(0)
    assert asked.messages == [UserMessage(content=[text("Hi")])]


# Tools ---------------------------------------------------------------------------------------------------------------


def test_the_tool_calls_of_a_prediction_are_added_with_it() -> None:
    prediction = result("Adding.", REQUEST)
    chat = Chat()
    chat.add_assistant_response(prediction)
    chat.add_entry("assistant", prediction)
    assert (
        list(chat) == [AssistantResponse(content=[text("Adding."), ToolCallRequestData(tool_call_request=REQUEST)])] * 2
    )
    assert chat.with_appended("assistant", prediction)[-1] == chat[0]


def test_tool_calls_that_are_given_replace_those_of_the_prediction() -> None:
    other = copy.copy(REQUEST)
    other.id = "t2"
    message = Chat().add_assistant_response(result("Adding.", REQUEST), [other])
    assert message.get_tool_call_requests() == [other]


def test_a_tool_result_may_be_text_with_the_id_of_its_request() -> None:
    chat = Chat()
    chat.add_tool_result("3", "t1")
    chat.add_tool_result("3", tool_call_id="t1", name="add")
    assert list(chat) == [
        ToolResultMessage(content=[ToolCallResultData(content="3", tool_call_id="t1")]),
        ToolResultMessage(content=[ToolCallResultData(content="3", tool_call_id="t1", name="add")]),
    ]


def test_a_tool_result_that_is_no_text_is_refused_with_what_to_do() -> None:
    attempts: list[Callable[[Chat], object]] = [
        lambda chat: chat.add_tool_result({"content": {"sum": 3}, "tool_call_id": "t1"}),
        lambda chat: chat.add_tool_result([3], "t1"),  # type: ignore[arg-type]  # the mistake
    ]
    for attempt in attempts:
        with pytest.raises(LMStudioValueError, match=r"must be text, got (dict|list): pass json\.dumps"):
            attempt(Chat())
    with pytest.raises(LMStudioValueError, match="of which tool call"):
        Chat().add_tool_result("3")


def test_messages_of_the_same_role_may_follow_each_other() -> None:
    chat = Chat("One")
    chat.add_system_prompt("Two")
    chat.add_assistant_response("One")
    chat.add_assistant_response("Two")
    chat.add_tool_result(RESULT)
    chat.add_tool_result(RESULT)
    assert roles(chat) == ["system", "system", "assistant", "assistant", "tool", "tool"]


# Files ---------------------------------------------------------------------------------------------------------------


def chat_with_files() -> Chat:
    return Chat.from_history([("user", ["One", PHOTO]), ("assistant", "Nice."), ("user", [OTHER, PHOTO])])


def test_the_files_of_a_chat_can_be_seen() -> None:
    assert not Chat("Hi").has_files()
    assert chat_with_files().has_files()
    assert chat_with_files().get_all_files() == [PHOTO, OTHER, PHOTO]


def test_files_can_be_taken_out() -> None:
    chat = chat_with_files()
    assert chat.consume_files(lambda file: file.identifier == "local:1") == [PHOTO, PHOTO]
    assert [message.content for message in chat] == [[text("One")], [text("Nice.")], [OTHER]]
    assert chat.consume_files(lambda file: True) == [OTHER]
    assert chat[2] == UserMessage(content=[])


def test_files_can_be_taken_out_by_a_coroutine_function() -> None:
    seen: list[FileHandle] = []

    async def is_photo(file: FileHandle) -> bool:
        seen.append(file)
        await asyncio.sleep(0)
        return file == PHOTO

    chat = chat_with_files()
    assert asyncio.run(chat.consume_files_async(is_photo)) == [PHOTO, PHOTO]
    assert seen == [PHOTO, OTHER, PHOTO]
    assert chat.get_all_files() == [OTHER]


def test_no_file_is_taken_out_if_the_predicate_fails() -> None:
    def fail_at_other(file: FileHandle) -> bool:
        if file == OTHER:
            raise KeyError("other")
        return True

    async def fail(file: FileHandle) -> bool:
        return fail_at_other(file)

    chat = chat_with_files()
    with pytest.raises(KeyError):
        chat.consume_files(fail_at_other)
    with pytest.raises(KeyError):
        asyncio.run(chat.consume_files_async(fail))
    assert chat == chat_with_files()


async def prepare_image(path: str) -> FileHandle:
    raise AssertionError("nobody awaits this")


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Chat().add_user_message("Look", images=[prepare_image("a"), prepare_image("b")]),  # type: ignore[list-item]
        lambda: Chat().add_user_message("Look", images=prepare_image("a")),  # type: ignore[arg-type]
        lambda: Chat().add_user_message([5, prepare_image("a")], images=[prepare_image("b")]),  # type: ignore[list-item]
        lambda: Chat().add_user_message(prepare_image("a")),  # type: ignore[arg-type]
        lambda: Chat().with_appended("user", "Look", [prepare_image("a")]),  # type: ignore[list-item]
        lambda: Chat.from_history(
            [{"role": "user", "content": "Look", "images": [prepare_image("a"), prepare_image("b")]}]
        ),
        lambda: Chat.from_history([prepare_image("a")]),
        lambda: Chat.from_history(prepare_image("a")),  # type: ignore[arg-type]
        lambda: Chat().append(prepare_image("a")),  # type: ignore[arg-type]
        lambda: UserMessage(content=[]).append_file(prepare_image("a")),  # type: ignore[arg-type]
    ],
)
def test_a_file_that_was_not_awaited_is_refused_without_a_warning(attempt: Callable[[], object]) -> None:
    with pytest.raises(LMStudioValueError, match="prepare_image was not awaited"):
        attempt()


# Immutable chats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        lambda chat: chat.add_system_prompt("Hi"),
        lambda chat: chat.add_user_message("Hi"),
        lambda chat: chat.add_assistant_response("Hi"),
        lambda chat: chat.add_tool_result(RESULT),
        lambda chat: chat.add_entry("user", "Hi"),
        lambda chat: chat.append({"role": "user", "content": "Hi"}),
        lambda chat: chat.extend("Hi"),
        lambda chat: chat.insert(0, {"role": "user", "content": "Hi"}),
        lambda chat: chat.__setitem__(0, {"role": "user", "content": "Hi"}),
        lambda chat: chat.__delitem__(0),
        lambda chat: chat.pop(),
        lambda chat: chat.clear(),
        lambda chat: chat.filter_in_place(lambda message: False),
        lambda chat: chat.set_role(1, "assistant"),
        lambda chat: chat.replace_system_prompt("Hi"),
        lambda chat: chat.consume_files(lambda file: True),
        lambda chat: asyncio.run(chat.consume_files_async(lambda file: asyncio.sleep(0, True))),
    ],
)
def test_an_immutable_chat_refuses_every_edit(edit: Callable[[Chat], object]) -> None:
    chat = complete_chat().as_immutable_copy()
    with pytest.raises(LMStudioRuntimeError, match=r"immutable. Edit a copy of it: chat\.copy\(\)"):
        edit(chat)
    assert chat == complete_chat()


def test_the_messages_of_an_immutable_chat_are_copies() -> None:
    chat = complete_chat().as_immutable_copy()
    for messages in (chat, [chat[1]], chat[:], chat.to_history_data().messages, chat.with_appended("user", "Hi")):
        for message in messages:
            message.content.clear()
    for file in chat.files():
        file.name = "changed"
    assert chat == complete_chat()


def test_an_immutable_chat_is_not_affected_by_its_original() -> None:
    original = complete_chat()
    chat = original.as_immutable_copy()
    original[0].append_text("changed")
    assert chat.is_immutable
    assert not original.is_immutable
    assert chat == complete_chat()


def test_copies_of_an_immutable_chat_can_be_edited() -> None:
    chat = complete_chat().as_immutable_copy()
    for other in (chat.copy(), copy.copy(chat), copy.deepcopy(chat), Chat.from_history(chat), chat[:]):
        assert other == chat
        other.clear()
    assert pickle.loads(pickle.dumps(chat)).is_immutable


class NotedChat(Chat):
    """A chat with something of its own, and a constructor of its own."""

    def __init__(self, note: str) -> None:
        super().__init__("System")
        self.notes = [note]


def test_copies_keep_what_a_subclass_adds() -> None:
    chat = NotedChat("a")
    for other in (chat.copy(), copy.deepcopy(chat), chat.as_immutable_copy(), pickle.loads(pickle.dumps(chat))):
        assert type(other) is NotedChat
        assert other.notes == ["a"]
        assert other == chat
    assert copy.deepcopy(chat).notes is not chat.notes


def test_a_chat_that_refers_to_itself_is_copied_with_that_reference() -> None:
    chat: Any = NotedChat("a")
    chat.original = chat
    other = copy.deepcopy(chat)
    assert other.original is other


def test_a_structure_with_a_chat_twice_is_copied_with_one_chat() -> None:
    chat = complete_chat()
    one, other = copy.deepcopy([chat, chat])
    assert one is other
    assert one is not chat
