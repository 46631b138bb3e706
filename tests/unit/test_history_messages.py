"""Messages: what they say of themselves, and how they are edited."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sample_chats import PHOTO, PHOTO_DICT, REQUEST, RESULT, complete_chat, text

from lmstudio._sdk_models import AssistantResponse, FileHandle, SystemPrompt, ToolResultMessage, UserMessage
from lmstudio.errors import LMStudioValueError

SYSTEM, USER, ASSISTANT, TOOL, _ = complete_chat()


def look() -> UserMessage:
    return UserMessage(content=[text("Look"), PHOTO, text("here.")])


def test_a_message_says_who_speaks() -> None:
    messages: list[Any] = [SYSTEM, USER, ASSISTANT, TOOL]
    assert [message.role for message in messages] == ["system", "user", "assistant", "tool"]
    assert [message.is_system_prompt() for message in messages] == [True, False, False, False]
    assert [message.is_user_message() for message in messages] == [False, True, False, False]
    assert [message.is_assistant_message() for message in messages] == [False, False, True, False]
    assert [message.is_tool_result_message() for message in messages] == [False, False, False, True]


def test_the_text_of_a_message_is_that_of_all_its_parts() -> None:
    assert look().get_text() == "Look here."
    assert UserMessage(content=[PHOTO]).get_text() == ""
    assert TOOL.get_text() == ""


def test_a_message_gives_its_parts_by_kind() -> None:
    assert look().get_files() == [PHOTO]
    assert look().has_files()
    assert not SYSTEM.has_files()
    assert ASSISTANT.get_tool_call_requests() == [REQUEST]
    assert USER.get_tool_call_requests() == TOOL.get_tool_call_requests() == []
    assert TOOL.get_tool_call_results() == [RESULT]
    assert ASSISTANT.get_tool_call_results() == []


@pytest.mark.parametrize("cls", [SystemPrompt, UserMessage, AssistantResponse])
def test_text_and_files_can_be_added(cls: Any) -> None:
    message = cls(content=[])
    message.append_text("Look")
    message.append_file(PHOTO)
    message.append_file(PHOTO_DICT)
    assert message == cls(content=[text("Look"), PHOTO, PHOTO])


def test_new_text_stands_first_and_replaces_all_other_text() -> None:
    message = look()
    message.replace_text("New")
    assert message == UserMessage(content=[text("New"), PHOTO])


def test_files_can_be_taken_out_of_a_message() -> None:
    other = FileHandle(name="other", identifier="local:2", size_bytes=1, file_type="unknown")

    async def is_photo(file: FileHandle) -> bool:
        return file.name == "photo.png"

    message = UserMessage(content=[PHOTO, text("Look"), other])
    assert message.consume_files(lambda file: file.name == "other") == [other]
    assert asyncio.run(message.consume_files_async(is_photo)) == [PHOTO]
    assert message == UserMessage(content=[text("Look")])


def test_what_a_message_cannot_have_is_refused_and_changes_nothing() -> None:
    message = look()
    with pytest.raises(LMStudioValueError, match="Expected text, got 5"):
        message.append_text(5)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(LMStudioValueError, match="Expected text, got None"):
        message.replace_text(None)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(LMStudioValueError, match="Expected a file handle, as prepare_image"):
        message.append_file("photo.png")  # type: ignore[arg-type]  # the mistake
    assert message == look()


def test_results_of_tool_calls_have_neither_text_nor_files_of_their_own() -> None:
    message = ToolResultMessage(content=[RESULT])
    with pytest.raises(LMStudioValueError, match="can have no text; add a ToolCallResultData"):
        message.append_text("Hi")
    with pytest.raises(LMStudioValueError, match="can have no text"):
        message.replace_text("Hi")
    with pytest.raises(LMStudioValueError, match="can have no files"):
        message.append_file(PHOTO)
    assert message == ToolResultMessage(content=[RESULT])


def test_a_message_is_echoed_as_the_code_that_makes_it() -> None:
    assert repr(UserMessage(content=[text("Hi")])) == "UserMessage(content=[TextData(text='Hi')])"


def test_a_message_as_text_is_the_code_that_makes_it_from_json() -> None:
    expected = json.dumps(ASSISTANT.to_dict(), indent=2, sort_keys=True)
    assert str(ASSISTANT) == f"AssistantResponse.from_dict({expected})"
    assert (
        AssistantResponse.from_dict(json.loads(str(ASSISTANT)[len("AssistantResponse.from_dict(") : -1])) == ASSISTANT
    )
