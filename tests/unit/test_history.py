"""Chats: how they are made, read, changed, compared and written down."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_chats import (
    COMPLETE,
    PHOTO,
    PHOTO_DICT,
    REQUEST,
    REQUEST_DICT,
    RESULT,
    complete_chat,
    result,
    text,
    text_dict,
)

from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    FileHandle,
    SystemPrompt,
    TextData,
    ToolCallRequest,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.history import Chat, read_history

if TYPE_CHECKING:
    from collections.abc import Callable

# Adding messages -----------------------------------------------------------------------------------------------------


def test_a_new_chat_is_empty() -> None:
    assert len(Chat()) == 0
    assert Chat().to_dict() == {"messages": []}


def test_a_chat_may_begin_with_a_system_prompt() -> None:
    for prompt in ("Be brief.", text("Be brief."), text_dict("Be brief.")):
        assert list(Chat(prompt)) == [SystemPrompt(content=[text("Be brief.")])]  # type: ignore[arg-type]  # dicts, too


def test_a_chat_has_one_of_everything_in_its_wire_form() -> None:
    assert complete_chat().to_dict() == COMPLETE


def test_methods_return_the_message_that_they_made() -> None:
    chat = Chat()
    made: list[Any] = [
        chat.add_system_prompt("s"),
        chat.add_user_message("u"),
        chat.add_assistant_response("a"),
        chat.add_tool_result(RESULT),
        chat.add_entry("assistant", "b"),
    ]
    assert all(one is other for one, other in zip(chat, made, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        "Hi",
        text("Hi"),
        text_dict("Hi"),
        ["Hi"],
        (text("Hi"),),
        iter(["Hi"]),
        {"text": "Hi"},
    ],
)
def test_user_text_may_be_given_in_many_ways(content: Any) -> None:
    chat = Chat()
    assert chat.add_user_message(content) == UserMessage(content=[text("Hi")])


@pytest.mark.parametrize("photo", [PHOTO, PHOTO_DICT, {k: v for k, v in PHOTO_DICT.items() if k != "type"}])
def test_files_may_be_handles_or_dicts(photo: Any) -> None:
    expected = UserMessage(content=[text("Look"), PHOTO])
    assert Chat().add_user_message("Look", images=[photo]) == expected
    assert Chat().add_user_message(["Look", photo]) == expected
    assert Chat().add_user_message(photo) == UserMessage(content=[PHOTO])
    assert Chat().add_user_message([], images=[photo]) == UserMessage(content=[PHOTO])


def test_user_messages_in_a_row_become_one() -> None:
    chat = Chat()
    first = chat.add_user_message("One")
    assert chat.add_user_message("two", images=[PHOTO]) is first
    assert chat.add_entry("user", "three") is first
    assert list(chat) == [UserMessage(content=[text("One"), text("two"), PHOTO, text("three")])]


def test_user_messages_are_separate_when_something_is_between_them() -> None:
    chat = Chat()
    chat.add_user_message("One")
    chat.add_assistant_response("Yes?")
    chat.add_user_message("Two")
    assert [message.role for message in chat] == ["user", "assistant", "user"]


def test_complete_messages_are_never_merged() -> None:
    chat = Chat.from_history([{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}])
    chat.append(UserMessage(content=[text("Three")]))
    assert len(chat) == 3


def test_a_user_message_needs_content() -> None:
    with pytest.raises(LMStudioValueError, match="at least one text or file"):
        Chat().add_user_message([])


def test_a_prediction_can_be_added_as_it_is() -> None:
    chat = Chat()
    chat.add_assistant_response(result("Oslo."))
    chat.add_entry("assistant", result("Yes."))
    assert list(chat) == [AssistantResponse(content=[text("Oslo.")]), AssistantResponse(content=[text("Yes.")])]


@pytest.mark.parametrize(
    "request_form",
    [
        REQUEST,
        ToolCallRequestData(tool_call_request=REQUEST),
        REQUEST_DICT,
        {key: value for key, value in REQUEST_DICT.items() if key != "type"},
        {"type": "toolCallRequest", "toolCallRequest": REQUEST_DICT},
        {"type": "toolCallRequest", "tool_call_request": REQUEST},
    ],
)
def test_tool_call_requests_may_be_given_in_many_ways(request_form: Any) -> None:
    message = Chat().add_assistant_response("Adding.", [request_form])
    assert message.content == [text("Adding."), ToolCallRequestData(tool_call_request=REQUEST)]


def test_a_message_of_the_assistant_may_consist_of_tool_call_requests() -> None:
    chat = Chat()
    parts = [REQUEST, {"type": "toolCallRequest", "toolCallRequest": REQUEST_DICT}]
    chat.add_entry("assistant", parts)
    assert chat[0].content == [ToolCallRequestData(tool_call_request=REQUEST)] * 2


@pytest.mark.parametrize(
    "result_form",
    [
        RESULT,
        {"type": "toolCallResult", "content": "3", "toolCallId": "t1"},
        {"content": "3", "tool_call_id": "t1"},
    ],
)
def test_tool_results_may_be_given_in_many_ways(result_form: Any) -> None:
    assert Chat().add_tool_result(result_form) == ToolResultMessage(content=[RESULT])
    assert Chat().add_tool_results([result_form, RESULT]) == ToolResultMessage(content=[RESULT, RESULT])
    assert Chat().add_entry("tool", result_form) == ToolResultMessage(content=[RESULT])


@pytest.mark.parametrize(
    ("role", "content", "cls"),
    [
        ("system", "s", SystemPrompt),
        ("user", "u", UserMessage),
        ("assistant", "a", AssistantResponse),
        ("tool", RESULT, ToolResultMessage),
    ],
)
def test_an_entry_has_the_type_of_its_role(role: str, content: Any, cls: type[Any]) -> None:
    assert type(Chat().add_entry(role, content)) is cls
    assert type(Chat().with_appended(role, content)[0]) is cls


def test_with_appended_leaves_the_chat_alone() -> None:
    chat = complete_chat()
    longer = chat.with_appended("user", "More?")
    assert chat == complete_chat()
    assert longer[:-1] == chat
    assert longer[-1] == UserMessage(content=[text("More?")])


def test_append_adds_a_copy() -> None:
    message = AssistantResponse(content=[text("Hi")])
    chat = Chat()
    added = chat.append(message)
    message.content.append(text("changed"))
    assert added is chat[0]
    assert added.content == [text("Hi")]


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attempt",
    [
        lambda chat: chat.add_system_prompt(5),
        lambda chat: chat.add_system_prompt(PHOTO),
        lambda chat: chat.add_user_message(None),
        lambda chat: chat.add_user_message([5]),
        lambda chat: chat.add_user_message({"type": "image_url", "image_url": "x"}),
        lambda chat: chat.add_user_message(REQUEST),
        lambda chat: chat.add_user_message("Look", images=["photo.png"]),
        lambda chat: chat.add_user_message("Look", images=[{"identifier": 5}]),
        lambda chat: chat.add_user_message({"identifier": "only"}),
        lambda chat: chat.add_assistant_response(None),
        lambda chat: chat.add_assistant_response("Hi", ["add"]),
        lambda chat: chat.add_assistant_response("Hi", [{"arguments": {}}]),
        lambda chat: chat.add_assistant_response("Hi", [{"name": "add", "arguments": "{}"}]),
        lambda chat: chat.add_tool_result("3"),
        lambda chat: chat.add_tool_result({"content": 3}),
        lambda chat: chat.add_entry("narrator", "Once"),
        lambda chat: chat.add_entry(None, "Once"),
        lambda chat: chat.with_appended("narrator", "Once"),
        lambda chat: chat.append("Hi"),
        lambda chat: chat.append({"role": "user"}),
        lambda chat: chat.append({"role": "narrator", "content": "Once"}),
        lambda chat: chat.append({"role": "tool", "content": [RESULT], "images": [PHOTO]}),
        lambda chat: chat.append({"role": [], "content": "Hi"}),
        lambda chat: chat.add_user_message(b"Hi"),
        lambda chat: chat.add_user_message("Look", images="photo.png"),
        lambda chat: chat.add_tool_result({"sum": 3}, "t1"),
        lambda chat: chat.add_tool_result("3", name="add"),
        lambda chat: chat.add_tool_result("3", 1),
        lambda chat: chat.add_tool_results("3"),
        lambda chat: chat.add_tool_results(3),
        lambda chat: chat.add_assistant_response("Hi", 3),
        lambda chat: chat.extend([{"role": "user", "content": "Hi"}, "Hi"]),
        lambda chat: chat.extend(5),
        lambda chat: chat.insert(0, "Hi"),
        lambda chat: chat.with_appended(UserMessage(content=[text("Hi")]), "Hi"),
        lambda chat: chat.__setitem__(0, "Hi"),
        lambda chat: chat.__setitem__(slice(0, 2), ["Hi"]),
        lambda chat: chat.set_role(2, "user"),
        lambda chat: chat.set_role(0, "tool"),
        lambda chat: chat.set_role(0, "narrator"),
        lambda chat: chat.replace_system_prompt(5),
    ],
)
def test_what_cannot_be_added_is_refused_and_changes_nothing(attempt: Callable[[Chat], object]) -> None:
    chat = complete_chat()
    with pytest.raises(LMStudioValueError):
        attempt(chat)
    assert chat == complete_chat()


def test_a_refusal_says_what_is_expected() -> None:
    with pytest.raises(LMStudioValueError, match="expected one of system, user, assistant, tool"):
        Chat().add_entry("narrator", "Once")
    with pytest.raises(LMStudioValueError, match="Expected a file handle, as prepare_image"):
        Chat().add_user_message("Look", images=["photo.png"])  # type: ignore[list-item]  # the point of the test


@pytest.mark.parametrize(
    "history",
    [None, 5, b"Hi", bytearray(b"Hi"), {}, {"messages": "Hi"}, {"messages": 5}, {"role": "user"}, {"messages": None}],
)
def test_what_cannot_be_a_chat_is_refused_with_what_can(history: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"Cannot read \w+ as a chat. Expected text, a Chat"):
        Chat.from_history(history)


@pytest.mark.parametrize("history", [["Hi"], [5], [None], [{"text": "Hi"}], [("user", "a", "b")], {"messages": ["Hi"]}])
def test_what_cannot_be_a_message_is_refused_with_what_can(history: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"as a chat message. Expected"):
        Chat.from_history(history)


# Reading -------------------------------------------------------------------------------------------------------------


def all_forms() -> list[Any]:
    chat = complete_chat()
    return [
        chat,
        chat.to_history_data(),
        COMPLETE,
        COMPLETE["messages"],
        tuple(COMPLETE["messages"]),
        iter(COMPLETE["messages"]),
        list(chat),
        {"messages": list(chat)},
        [chat[0], *COMPLETE["messages"][1:]],
    ]


@pytest.mark.parametrize("history", all_forms())
def test_a_chat_can_be_read_from_every_form_it_has(history: Any) -> None:
    assert Chat.from_history(history) == complete_chat()


@pytest.mark.parametrize(
    "history",
    [
        "Hi",
        [("user", "Hi")],
        [{"role": "user", "content": "Hi"}],
        [{"content": "Hi"}],
        {"role": "user", "content": "Hi"},
        {"content": "Hi"},
        UserMessage(content=[text("Hi")]),
        [UserMessage(content=[text("Hi")])],
        {"messages": [{"role": "user", "content": ["Hi"]}]},
    ],
)
def test_one_user_message_can_be_written_in_many_ways(history: Any) -> None:
    assert list(Chat.from_history(history)) == [UserMessage(content=[text("Hi")])]


def test_images_of_a_message_given_as_data_stand_before_its_text() -> None:
    for photo in (PHOTO, PHOTO_DICT):
        for message in ({"role": "user", "content": "Look", "images": [photo]}, {"content": "Look", "images": [photo]}):
            assert list(Chat.from_history([message])) == [UserMessage(content=[PHOTO, text("Look")])]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_messages_of_all_who_speak_may_have_images(role: str) -> None:
    message = {"role": role, "content": "Look", "images": [PHOTO]}
    assert Chat.from_history([message])[0].content == [PHOTO, text("Look")]
    assert Chat().with_appended(role, "Look", [PHOTO])[0].content == [text("Look"), PHOTO]
    assert Chat().add_entry(role, "Look", images=[PHOTO]).content == [text("Look"), PHOTO]


def test_a_message_may_have_images_only() -> None:
    for history in ({"images": [PHOTO]}, [{"role": "user", "images": [PHOTO]}]):
        assert list(Chat.from_history(history)) == [UserMessage(content=[PHOTO])]


def test_a_message_without_any_content_has_an_empty_text() -> None:
    assert list(Chat.from_history({"role": "user", "content": None})) == [UserMessage(content=[text("")])]


def test_pairs_of_role_and_content_are_messages() -> None:
    chat = Chat.from_history([("system", "Be brief."), ("user", ["Look", PHOTO]), ("assistant", "Nice.")])
    assert [message.role for message in chat] == ["system", "user", "assistant"]


def test_no_messages_are_a_chat() -> None:
    assert Chat.from_history([]) == Chat.from_history({"messages": []}) == Chat()


def test_the_wire_form_of_a_chat_is_not_copied() -> None:
    chat = complete_chat()
    data = chat.to_history_data()
    assert isinstance(data, ChatHistoryData)
    assert read_history(data) is data
    assert read_history(chat).messages[0] is chat[0]
    assert read_history("Hi").messages == [UserMessage(content=[text("Hi")])]


# Independence --------------------------------------------------------------------------------------------------------


def change_everything(chat: Chat) -> None:
    for message in chat:
        for part in message.content:
            match part:
                case TextData():
                    part.text = "changed"
                case FileHandle():
                    part.name = "changed"
                case ToolCallRequestData():
                    assert part.tool_call_request.arguments is not None
                    part.tool_call_request.arguments["b"].append("changed")
                case ToolCallResultData():
                    part.content = "changed"
        message.content.append(text("more"))  # type: ignore[arg-type]  # what it is does not matter here
    chat.pop(0)


@pytest.mark.parametrize(
    "copied",
    [
        Chat.copy,
        copy.copy,
        copy.deepcopy,
        Chat.from_history,
        lambda chat: chat[:],
        lambda chat: Chat.from_history(list(chat)),
        lambda chat: Chat.from_history(chat.to_history_data()),
        lambda chat: Chat.from_history(chat.to_dict()),
        lambda chat: Chat.from_history([{"role": message.role, "content": message.content} for message in chat]),
        lambda chat: Chat.from_history([(message.role, message.content) for message in chat]),
        lambda chat: pickle.loads(pickle.dumps(chat)),
    ],
)
def test_copies_are_equal_and_independent(copied: Callable[[Chat], Chat]) -> None:
    original = complete_chat()
    other = copied(original)
    assert other == original
    change_everything(other)
    assert original == complete_chat()


def test_a_chat_does_not_change_the_data_it_was_read_from() -> None:
    data = json.loads(json.dumps(COMPLETE))
    change_everything(Chat.from_history(data))
    assert data == COMPLETE


def test_files_that_are_added_to_two_chats_are_the_same_file() -> None:
    one, other = Chat(), Chat()
    one.add_user_message("a", images=[PHOTO])
    other.add_user_message("b", images=[PHOTO])
    assert [*one.files()] == [*other.files()] == [PHOTO]


class MyChat(Chat):
    """Somebody's own."""


def test_copies_of_a_subclass_are_of_that_class() -> None:
    chat = MyChat.from_history("Hi")
    for other in (chat.copy(), chat[:], chat.with_appended("user", "x"), copy.deepcopy(chat)):
        assert type(other) is MyChat
    assert repr(chat).startswith("MyChat.from_history(")


# As a sequence -------------------------------------------------------------------------------------------------------


def test_a_chat_is_a_sequence_of_its_messages() -> None:
    chat = complete_chat()
    assert len(chat) == 5
    assert chat[0] is next(iter(chat))
    assert chat[-1].role == "assistant"
    assert [message.role for message in chat[1:3]] == ["user", "assistant"]
    assert next(message.role for message in reversed(list(chat))) == "assistant"
    assert chat[2] in list(chat)
    with pytest.raises(IndexError):
        chat[5]


def test_messages_can_be_removed() -> None:
    chat = complete_chat()
    assert chat.pop().content == [text("It is 3.")]
    assert chat.pop(0).role == "system"
    del chat[0]
    assert [message.role for message in chat] == ["assistant", "tool"]
    del chat[:]
    assert chat == Chat()
    with pytest.raises(IndexError):
        chat.pop()


def test_messages_can_be_filtered() -> None:
    chat = complete_chat()
    chat.filter_in_place(lambda message: message.role != "tool")
    assert [message.role for message in chat] == ["system", "user", "assistant", "assistant"]


def test_chats_are_compared_by_their_messages() -> None:
    assert complete_chat() == complete_chat()
    assert complete_chat() != Chat()
    assert Chat() != []
    assert MyChat() == Chat()
    with pytest.raises(TypeError, match="unhashable"):
        hash(Chat())


# System prompts and files --------------------------------------------------------------------------------------------


def test_the_system_prompt_is_all_system_prompts_as_one_text() -> None:
    chat = Chat("First.")
    assert Chat().get_system_prompt() == ""
    chat.add_user_message("Hi")
    chat.add_entry("system", ["Second,", PHOTO, "third."])
    assert chat.get_system_prompt() == "First.\n\nSecond, third."


def test_a_new_system_prompt_replaces_all_others_and_stands_first() -> None:
    chat = Chat.from_history([("user", "Hi"), ("system", "Old."), ("assistant", "Hi"), ("system", "Older.")])
    chat.replace_system_prompt("New.")
    assert [message.role for message in chat] == ["system", "user", "assistant"]
    assert chat.get_system_prompt() == "New."


def test_the_files_of_a_chat_come_in_order() -> None:
    other = FileHandle(name="other.png", identifier="local:2", size_bytes=1, file_type="image")
    chat = complete_chat()
    chat.add_user_message("And", images=[other])
    assert [*chat.files()] == [PHOTO, other]


# As text -------------------------------------------------------------------------------------------------------------


def test_a_chat_as_text_is_json_with_sorted_members() -> None:
    expected = json.dumps(COMPLETE, indent=2, sort_keys=True)
    assert str(complete_chat()) == f"Chat.from_history({expected})"


def test_a_chat_as_text_is_readable_in_every_language() -> None:
    assert "Привет 😀" in str(Chat.from_history("Привет 😀"))


def test_the_repr_of_a_chat_is_a_chat() -> None:
    assert eval(repr(complete_chat()), {"Chat": Chat}) == complete_chat()


TEXTS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS, lambda inner: st.lists(inner, max_size=2), max_leaves=3
)
FILES = st.builds(
    FileHandle,
    name=TEXTS,
    identifier=TEXTS,
    size_bytes=st.integers(0, 9),
    file_type=st.sampled_from(["image", "unknown"]),
)
REQUESTS = st.builds(
    ToolCallRequest, name=TEXTS, id=st.none() | TEXTS, arguments=st.none() | st.dictionaries(TEXTS, JSON, max_size=2)
)
RESULTS = st.builds(ToolCallResultData, content=TEXTS, tool_call_id=st.none() | TEXTS, name=st.none() | TEXTS)
PARTS = st.builds(TextData, text=TEXTS) | FILES
MESSAGES = (
    st.builds(UserMessage, content=st.lists(PARTS, max_size=3))
    | st.builds(SystemPrompt, content=st.lists(PARTS, max_size=3))
    | st.builds(
        AssistantResponse,
        content=st.lists(PARTS | st.builds(ToolCallRequestData, tool_call_request=REQUESTS), max_size=3),
    )
    | st.builds(ToolResultMessage, content=st.lists(RESULTS, max_size=3))
)


@given(st.lists(MESSAGES, max_size=4))
@settings(max_examples=150, derandomize=True, deadline=None)
def test_every_chat_survives_the_way_through_json(messages: list[Any]) -> None:
    chat = Chat.from_history(messages)
    assert list(chat) == messages
    assert Chat.from_history(json.loads(json.dumps(chat.to_dict()))) == chat
    assert Chat.from_history(chat) == chat


# The module ----------------------------------------------------------------------------------------------------------


def test_the_names_of_the_official_module_are_there() -> None:
    from lmstudio import history

    for name in history.__all__:
        assert getattr(history, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    from lmstudio import history

    with pytest.raises(AttributeError, match=r"'lmstudio.history' has no attribute 'nonsense'"):
        _ = history.nonsense
