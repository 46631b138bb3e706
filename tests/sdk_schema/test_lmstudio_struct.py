"""Conversion between structs and plain dicts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest
from sdk_schema_samples import DEFINITIONS, samples

import lmstudio._sdk_models as models
from lmstudio._sdk_models import (
    AssistantResponse,
    ChatHistoryData,
    FileHandle,
    KvConfig,
    LlmLoadModelConfig,
    LlmPredictionConfig,
    LlmToolFunction,
    SerializedLMSExtendedError,
    TextData,
    ToolCallRequest,
    UserMessage,
)
from lmstudio._struct import LMStudioStruct

STRUCT_NAMES = [
    name
    for name in DEFINITIONS
    if isinstance(struct := getattr(models, name, None), type) and issubclass(struct, LMStudioStruct)
]
FILE = {"type": "file", "name": "a.png", "identifier": "x", "sizeBytes": 3, "fileType": "image"}


def test_to_dict_writes_wire_names_tags_and_only_present_members() -> None:
    message = UserMessage(
        content=[TextData(text="hi"), FileHandle(name="n", identifier="i", size_bytes=1, file_type="image")]
    )

    assert message.to_dict() == {
        "role": "user",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "file", "name": "n", "identifier": "i", "sizeBytes": 1, "fileType": "image"},
        ],
    }
    assert LlmLoadModelConfig(context_length=8).to_dict() == {"contextLength": 8}


@pytest.mark.parametrize("name", STRUCT_NAMES)
def test_from_dict_undoes_to_dict(name: str) -> None:
    struct = getattr(models, name)

    for sample in samples(DEFINITIONS[name]):
        value = struct.from_dict(sample)
        assert value.to_dict() == sample
        assert struct.from_dict(value.to_dict()) == value


@pytest.mark.parametrize("size", ["sizeBytes", "size_bytes"])
def test_from_dict_takes_both_spellings_at_every_level(size: str) -> None:
    part = {key: value for key, value in FILE.items() if key != "sizeBytes"} | {size: 3}

    history = ChatHistoryData.from_dict({"messages": [{"role": "user", "content": [part]}]})

    assert history.messages == [UserMessage(content=[FileHandle.from_dict(FILE)])]


def test_camel_case_wins_over_the_other_spelling() -> None:
    assert FileHandle.from_dict(FILE | {"size_bytes": 9}).size_bytes == 3
    assert FileHandle.from_dict({"size_bytes": 9} | FILE).size_bytes == 3


def test_from_dict_takes_structs_inside_dicts() -> None:
    answer = AssistantResponse.from_dict({"role": "assistant", "content": [TextData(text="x"), FILE]})

    assert answer.content == [TextData(text="x"), FileHandle.from_dict(FILE)]


def test_from_dict_does_not_need_the_tag_of_a_known_struct() -> None:
    assert TextData.from_dict({"text": "x"}) == TextData(text="x")


def test_from_dict_ignores_unknown_members() -> None:
    assert TextData.from_dict({"text": "x", "from_a_newer_server": 1}) == TextData(text="x")


@pytest.mark.parametrize(
    ("struct", "data", "path"),
    [
        (ToolCallRequest, {"type": "function", "name": "f", "arguments": {"size_bytes": 1}}, ("arguments",)),
        (KvConfig, {"fields": [{"key": "k", "value": {"context_length": {"layer_name": 1}}}]}, ("fields", 0, "value")),
        (SerializedLMSExtendedError, {"errorData": {"root_title": 1}}, ("errorData",)),
        (
            LlmToolFunction,
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object", "properties": {"tool_call_id": {}}}},
            },
            ("function", "parameters", "properties"),
        ),
    ],
)
def test_keys_of_free_form_json_are_never_rewritten(
    struct: type[LMStudioStruct], data: dict[str, Any], path: tuple[str | int, ...]
) -> None:
    expected: Any = data
    actual: Any = struct.from_dict(data).to_dict()
    for step in path:
        expected, actual = expected[step], actual[step]

    assert actual == expected


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"gpu": {"main_gpu": "first"}}, r"Expected `int \| null`, got `str` - at `\$\.gpu\.mainGpu`"),
        ({"contextLength": 0}, r">= 1 - at `\$\.contextLength`"),
        (
            {"promptTemplate": {"type": "jinja"}},
            r"missing required field `jinjaPromptTemplate` - at `\$\.promptTemplate`",
        ),
        ([], r"Expected `object`"),
        ("text", r"Expected `object`"),
    ],
)
def test_error_says_what_is_wrong_and_where(data: Any, complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        LlmLoadModelConfig.from_dict(data)


@pytest.mark.parametrize("content", [{"type": "text"}, {"type": "hologram"}, {"type": ["text"]}, {"type": {}}, {}, 3])
def test_message_part_that_is_none_of_the_union_is_an_error_with_its_path(content: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.content\[0\]"):
        UserMessage.from_dict({"role": "user", "content": [content]})


def test_from_dict_does_not_change_its_argument() -> None:
    data = {"gpu": {"main_gpu": 1}, "prompt_template": None}
    before = copy.deepcopy(data)

    LlmLoadModelConfig.from_dict(data)

    assert data == before


def test_false_switches_a_setting_off_and_absent_leaves_it_alone() -> None:
    assert LlmPredictionConfig.from_dict({"max_tokens": False}).to_dict() == {"maxTokens": False}
    assert LlmPredictionConfig.from_dict({}).to_dict() == {}


def test_construction_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        TextData("x")  # type: ignore[call-arg]  # the error is what is tested


def test_structs_can_be_pickled_and_copied() -> None:
    message = UserMessage.from_dict({"role": "user", "content": [FILE]})

    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message
