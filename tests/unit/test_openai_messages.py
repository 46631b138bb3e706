"""Chats from messages of OpenAI's API, and messages of OpenAI's API from chats."""

from __future__ import annotations

import base64
import json
from typing import Any, get_args

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_chats import PHOTO, complete_chat, text

from lmstudio._sdk_models import (
    AssistantResponse,
    FileHandle,
    FileType,
    SystemPrompt,
    ToolCallRequest,
    ToolCallRequestData,
    ToolCallResultData,
    ToolResultMessage,
    UserMessage,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.history import Chat

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and more").decode()
PNG_URI = f"data:image/png;base64,{PNG}"
INLINE = FileHandle(name="image.png", identifier=f"base64:{PNG}", size_bytes=17, file_type="image")


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def call(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "add", "arguments": arguments}, **more}


CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Look:"}, image(PNG_URI)]},
    {"role": "assistant", "content": None, "tool_calls": [call('{"a":1}', id="t1"), call("{}", id="t2")]},
    {"role": "tool", "tool_call_id": "t1", "content": "3"},
    {"role": "tool", "tool_call_id": "t2", "content": "5"},
    {"role": "assistant", "content": "It is 3 or 5."},
]
CONVERSATION_MESSAGES = [
    SystemPrompt(content=[text("Be brief.")]),
    UserMessage(content=[text("Look:"), INLINE]),
    AssistantResponse(
        content=[
            ToolCallRequestData(tool_call_request=ToolCallRequest(name="add", id="t1", arguments={"a": 1})),
            ToolCallRequestData(tool_call_request=ToolCallRequest(name="add", id="t2", arguments={})),
        ]
    ),
    ToolResultMessage(
        content=[
            ToolCallResultData(content="3", tool_call_id="t1"),
            ToolCallResultData(content="5", tool_call_id="t2"),
        ]
    ),
    AssistantResponse(content=[text("It is 3 or 5.")]),
]

# Reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [Chat.from_openai, Chat.from_history])
def test_a_conversation_is_read(read: Any) -> None:
    assert list(read(CONVERSATION)) == CONVERSATION_MESSAGES
    assert list(read(iter(CONVERSATION))) == CONVERSATION_MESSAGES


def one(message: dict[str, Any]) -> Any:
    """The message that both ways of reading make of this one."""
    (read,) = Chat.from_openai([message])
    assert list(Chat.from_history(message)) == [read]
    assert Chat().append(message) == read
    return read


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "developer", "content": "Be brief."}, SystemPrompt(content=[text("Be brief.")])),
        ({"role": "user", "name": "Anna", "content": "Hi"}, UserMessage(content=[text("Hi")])),
        ({"role": "assistant", "content": ""}, AssistantResponse(content=[text("")])),
        ({"role": "assistant", "content": None}, AssistantResponse(content=[])),
        ({"role": "assistant", "content": None, "refusal": "No."}, AssistantResponse(content=[text("No.")])),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            AssistantResponse(content=[text("No.")]),
        ),
        (
            {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None, "audio": None},
            AssistantResponse(content=[text("Hi")]),
        ),
        (
            {"role": "assistant", "content": "", "function_call": {"name": "add", "arguments": '{"a": 1}'}},
            AssistantResponse(
                content=[
                    text(""),
                    ToolCallRequestData(tool_call_request=ToolCallRequest(name="add", arguments={"a": 1})),
                ]
            ),
        ),
        (
            {"role": "function", "name": "add", "content": "3"},
            ToolResultMessage(content=[ToolCallResultData(content="3", name="add")]),
        ),
        ({"role": "tool", "content": "3"}, ToolResultMessage(content=[ToolCallResultData(content="3")])),
        (
            {
                "role": "tool",
                "tool_call_id": "t1",
                "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}],
            },
            ToolResultMessage(content=[ToolCallResultData(content="One\ntwo", tool_call_id="t1")]),
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": PNG_URI}]},
            UserMessage(content=[INLINE]),
        ),
        ({"role": "user", "content": [image(PNG_URI, detail="low")]}, UserMessage(content=[INLINE])),
    ],
)
def test_messages_are_read(message: dict[str, Any], expected: Any) -> None:
    assert one(message) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("{}", {}), ('{"a": [1, null]}', {"a": [1, None]}), ({"a": 1}, {"a": 1}), ("", None), (None, None)],
)
def test_the_arguments_of_tool_calls_are_read(arguments: Any, expected: Any) -> None:
    message = one({"role": "assistant", "tool_calls": [call(arguments, id="t1")]})
    assert message.get_tool_call_requests() == [ToolCallRequest(name="add", id="t1", arguments=expected)]


@pytest.mark.parametrize(
    ("media_type", "name", "file_type"),
    [
        ("image/jpeg", "image.jpeg", "image"),
        ("IMAGE/SVG+XML", "image.svg+xml", "image"),
        ("image/png;charset=x", "image.png", "image"),
        ("application/pdf", "file", "application/pdf"),
        ("text/plain", "file", "text/plain"),
        ("text/csv", "file", "text/other"),
        ("application/msword", "file", "application/word"),
        ("application/zip", "file", "unknown"),
        ("", "file", "unknown"),
    ],
)
def test_a_data_uri_is_an_inline_file_of_its_type(media_type: str, name: str, file_type: Any) -> None:
    expected = FileHandle(name=name, identifier="base64:QUJD", size_bytes=3, file_type=file_type)
    uri = f"data:{media_type};base64,QUJD"
    assert one({"role": "user", "content": [image(uri)]}) == UserMessage(content=[expected])
    file = {"type": "file", "file": {"filename": "x.y", "file_data": uri}}
    expected.name = "x.y"
    assert one({"role": "user", "content": [file]}) == UserMessage(content=[expected])


def test_base64_may_have_line_breaks() -> None:
    (handle,) = one({"role": "user", "content": [image("data:image/png;base64,QU\nJD\n")]}).content
    assert handle.identifier == "base64:QUJD"


def test_parts_of_openai_can_be_added_to_a_user_message() -> None:
    parts: list[Any] = [{"type": "text", "text": "Look"}, image(PNG_URI)]
    assert Chat().add_user_message(parts).get_files() == [INLINE]


def test_objects_of_openais_package_are_read() -> None:
    class Function(pydantic.BaseModel):
        name: str
        arguments: str

    class ToolCall(pydantic.BaseModel):
        id: str
        type: str = "function"
        function: Function

    class Message(pydantic.BaseModel):
        role: str
        content: str | None = None
        refusal: str | None = None
        tool_calls: list[ToolCall] | None = None

    message = Message(role="assistant", tool_calls=[ToolCall(id="t1", function=Function(name="add", arguments="{}"))])
    expected = ToolCallRequest(name="add", id="t1", arguments={})
    for chat in (Chat.from_openai([CONVERSATION[0], message]), Chat.from_history([CONVERSATION[0], message])):
        assert chat[1].get_tool_call_requests() == [expected]
    assert list(Chat.from_openai([Message(role="assistant", content="Hi")])) == [
        AssistantResponse(content=[text("Hi")])
    ]


def test_results_of_different_rounds_stay_apart() -> None:
    rounds = [*CONVERSATION[2:5], *CONVERSATION[2:5]]
    assert [message.role for message in Chat.from_openai(rounds)] == ["assistant", "tool", "assistant", "tool"]
    results = [{"role": "tool", "content": [ToolCallResultData(content="3")]}, CONVERSATION[3], CONVERSATION[4]]
    assert [len(message.content) for message in Chat.from_history(results)] == [1, 2]


def test_reading_changes_nothing_and_shares_nothing() -> None:
    arguments = {"a": [1]}
    chat = Chat.from_openai([{"role": "assistant", "tool_calls": [call(arguments)]}])
    (request,) = chat[0].get_tool_call_requests()
    assert request.arguments is not None
    request.arguments["a"].append(2)
    assert arguments == {"a": [1]}


@pytest.mark.parametrize(
    ("message", "explanation"),
    [
        ({"role": "user", "content": [image("https://example.org/a.png")]}, r"from the web.*prepare_image\(\)"),
        ({"role": "user", "content": [image("photo.png")]}, "Expected a data: URI"),
        ({"role": "user", "content": [image("data:image/png,abc")]}, "Expected a data: URI"),
        ({"role": "user", "content": [image("data:image/png;base64,QUJ!D")]}, "is not base64"),
        ({"role": "user", "content": [image(5)]}, "'url' of an OpenAI message must be text"),  # type: ignore[arg-type]
        ({"role": "user", "content": [{"type": "image_url"}]}, "'image_url' must be a dict"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, "no audio"),
        ({"role": "assistant", "content": None, "refusal": "x", "audio": {"id": "a"}}, "no audio"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
            "does not have OpenAI's files",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": PNG_URI, "file_type": "x"}}]},
            "Unknown file type 'x'",
        ),
        ({"role": "user", "content": [{"type": "video", "video": {}}]}, "Expected text, got"),
        ({"role": "assistant", "tool_calls": [call("{a: 1}")]}, "arguments of the tool call 'add' as a JSON object"),
        ({"role": "assistant", "tool_calls": [call('{"a": NaN}')]}, "as a JSON object"),
        ({"role": "assistant", "tool_calls": [call("[1]")]}, "Expected `object`, got `array`"),
        ({"role": "assistant", "tool_calls": [call(5)]}, "must be JSON text, got 5"),
        ({"role": "assistant", "tool_calls": [call("{}", id=5)]}, "'id' of an OpenAI message must be text"),
        ({"role": "assistant", "tool_calls": [{"type": "custom", "custom": {}}]}, "as a tool call. Expected"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, "it needs a 'name'"),
        ({"role": "assistant", "tool_calls": call("{}")}, "'tool_calls' must be a list"),
        ({"role": "tool", "tool_call_id": "t1", "content": [image(PNG_URI)]}, "text only"),
        ({"role": "critic", "tool_call_id": "t1", "content": "Hi"}, "Unknown role 'critic'"),
    ],
)
def test_what_lm_studio_cannot_be_given_is_refused_with_what_can(message: Any, explanation: str) -> None:
    for read in (Chat.from_openai, Chat.from_history):
        with pytest.raises(LMStudioValueError, match=explanation):
            read([message])


@pytest.mark.parametrize("messages", ["Hi", b"Hi", {"role": "user", "content": "Hi"}, None, 5])
def test_what_is_no_list_of_messages_is_refused(messages: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"Cannot read \w+ as a chat"):
        Chat.from_openai(messages)


# Writing -------------------------------------------------------------------------------------------------------------


def test_a_conversation_is_written() -> None:
    assert Chat.from_history(CONVERSATION_MESSAGES).to_openai() == CONVERSATION
    json.dumps(CONVERSATION)


def test_an_upload_is_written_with_all_that_finds_it_again() -> None:
    file = {"file_id": "local:1", "filename": "photo.png", "size_bytes": 10, "file_type": "image"}
    chat = Chat.from_history([("user", PHOTO)])
    assert chat.to_openai() == [{"role": "user", "content": [{"type": "file", "file": file}]}]
    assert Chat.from_openai(chat.to_openai()) == chat


@pytest.mark.parametrize(
    ("name", "content", "written"),
    [
        ("image.webp", b"what it says", image("data:image/webp;base64,{}")),
        ("photo", b"\xff\xd8\xff\xe0", image("data:image/jpeg;base64,{}", name="photo")),
        ("photo.png", b"\x89PNG\r\n\x1a\n", image("data:image/png;base64,{}", name="photo.png")),
        ("photo.gif", b"who knows", image("data:image/png;base64,{}", name="photo.gif")),
    ],
)
def test_an_inline_image_is_written_with_its_media_type(name: str, content: bytes, written: dict[str, Any]) -> None:
    data = base64.b64encode(content).decode()
    handle = FileHandle(name=name, identifier=f"base64:{data}", size_bytes=len(content), file_type="image")
    written["image_url"]["url"] = written["image_url"]["url"].format(data)
    assert Chat.from_history([("user", handle)]).to_openai() == [{"role": "user", "content": [written]}]


def test_the_members_of_tool_messages_that_are_unknown_are_left_out() -> None:
    chat = Chat.from_history([("assistant", ToolCallRequest(name="add")), ("tool", ToolCallResultData(content="3"))])
    assert chat.to_openai() == [
        {"role": "assistant", "content": None, "tool_calls": [call("")]},
        {"role": "tool", "content": "3"},
    ]


def test_an_immutable_chat_is_written() -> None:
    assert complete_chat().as_immutable_copy().to_openai() == complete_chat().to_openai()


# Both ways -----------------------------------------------------------------------------------------------------------

TEXTS = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=3,
)
FILE_TYPES: st.SearchStrategy[FileType] = st.sampled_from(get_args(FileType))


@st.composite
def inline_files(draw: st.DrawFn) -> FileHandle:
    content = draw(st.binary(max_size=9) | st.just(b"\xff\xd8\xff"))
    name = draw(TEXTS | st.sampled_from(["image.png", "image.svg+xml", "image.", "image.a b", "photo.jpg"]))
    data = base64.b64encode(content).decode()
    return FileHandle(name=name, identifier=f"base64:{data}", size_bytes=len(content), file_type=draw(FILE_TYPES))


UPLOADS = st.builds(
    FileHandle,
    name=TEXTS,
    identifier=TEXTS.map(lambda name: f"local:{name}") | st.just("bare"),
    size_bytes=st.integers(0, 9),
    file_type=FILE_TYPES,
)
PARTS = st.lists(TEXTS.map(text) | UPLOADS | inline_files(), max_size=3)
REQUESTS = st.builds(
    ToolCallRequest, name=TEXTS, id=st.none() | TEXTS, arguments=st.none() | st.dictionaries(TEXTS, JSON, max_size=2)
).map(lambda request: ToolCallRequestData(tool_call_request=request))
RESULTS = st.builds(ToolCallResultData, content=TEXTS, tool_call_id=st.none() | TEXTS, name=st.none() | TEXTS)
# Requests stand behind the text, and all results of a round are in one message: so OpenAI's form has it.
ASSISTANTS = st.tuples(PARTS, st.lists(REQUESTS, max_size=2)).map(
    lambda both: AssistantResponse(content=both[0] + both[1])
)
ROUNDS = st.tuples(ASSISTANTS, st.builds(ToolResultMessage, content=st.lists(RESULTS, min_size=1, max_size=3))).map(
    list
)
SINGLE = (st.builds(UserMessage, content=PARTS) | st.builds(SystemPrompt, content=PARTS) | ASSISTANTS).map(
    lambda m: [m]
)
CHATS = st.lists(ROUNDS | SINGLE, max_size=3).map(
    lambda groups: Chat.from_history([m for group in groups for m in group])
)


@given(CHATS)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_a_chat_survives_the_way_through_openais_form(chat: Chat) -> None:
    messages = json.loads(json.dumps(chat.to_openai()))
    assert Chat.from_openai(messages) == chat
    assert Chat.from_openai(messages).to_openai() == messages


URIS = st.tuples(st.sampled_from(["png", "jpeg", "webp", "svg+xml", "vnd.x"]), st.binary(max_size=6)).map(
    lambda both: f"data:image/{both[0]};base64,{base64.b64encode(both[1]).decode()}"
)
TEXT_PARTS = st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS})
OPENAI_CONTENT = TEXTS | st.lists(TEXT_PARTS | URIS.map(image), max_size=3)
ARGUMENTS = st.dictionaries(TEXTS, JSON, max_size=2).map(json.dumps)
OPENAI_CALLS = st.builds(lambda arguments, call_id: call(arguments, id=call_id), ARGUMENTS, TEXTS)
OPENAI_MESSAGES = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "developer"]), "content": OPENAI_CONTENT}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | TEXTS | st.lists(TEXT_PARTS, max_size=2)},
        optional={"tool_calls": st.lists(OPENAI_CALLS, max_size=2), "refusal": st.none()},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": TEXTS | st.lists(TEXT_PARTS, max_size=2), "tool_call_id": TEXTS}
    ),
)


def normal(message: dict[str, Any]) -> dict[str, Any]:
    """The message as this package writes what means the same."""
    result = {key: value for key, value in message.items() if value is not None and key not in ("content", "refusal")}
    content = message["content"]
    if message["role"] == "developer":
        result["role"] = "system"
    if message["role"] == "tool" and isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    elif isinstance(content, list) and len(content) == 1 and "text" in content[0]:
        content = content[0]["text"]
    elif content == [] and message["role"] == "assistant":
        content = None
    calls = [
        {**each, "function": {**each["function"], "arguments": json.loads(each["function"]["arguments"])}}
        for each in result.pop("tool_calls", [])
    ]
    if calls:
        result["tool_calls"] = calls
    return {**result, "content": content}


@given(st.lists(OPENAI_MESSAGES, max_size=4))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_openais_messages_survive_the_way_through_a_chat(messages: list[dict[str, Any]]) -> None:
    written = Chat.from_openai(messages).to_openai()
    assert [normal(message) for message in written] == [normal(message) for message in messages]
    assert Chat.from_history(messages) == Chat.from_openai(messages)
