"""What a newer or an older server sends is used as far as it can be understood."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType
from recorded_packets import EMBEDDING_INSTANCE, LLM_INFO, LLM_INSTANCE

from lmstudio import _lenient
from lmstudio._sdk_models import (
    EmbeddingModelInfo,
    LlmInfo,
    LlmInstanceInfo,
    ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel,
    ModelInfo,
)


class Inner(msgspec.Struct):
    name: str
    size: int = 3


class Cat(msgspec.Struct, tag_field="type", tag="cat"):
    lives: int
    name: str = "Tom"


class Dog(msgspec.Struct, tag_field="type", tag="dog"):
    tricks: list[str]


class WildDog(Dog, tag="wild.dog"):
    """Its tag has a dot."""


class Value(msgspec.Struct, rename="camel"):
    text: str
    count: int
    ratio: float
    is_on: bool
    kind: Literal["none", "some", "all"]
    colour: Literal["red", "unknown"]
    shape: Literal["round", "square"]
    inner: Inner
    pet: Cat | Dog
    names: list[str]
    numbers: list[int]
    pets: list[Cat | Dog]
    extra: dict[str, int]
    nullable: str | None
    limited: Annotated[int, Meta(ge=1)]
    anything: Any
    optional: int | None = None
    unset: str | UnsetType | None = UNSET
    optional_inner: Inner | None = None


COMPLETE: dict[str, Any] = {
    "text": "t",
    "count": 1,
    "ratio": 0.5,
    "isOn": True,
    "kind": "some",
    "colour": "red",
    "shape": "round",
    "inner": {"name": "i", "size": 4},
    "pet": {"type": "dog", "tricks": ["sit"]},
    "names": ["a"],
    "numbers": [1, 2],
    "pets": [{"type": "cat", "lives": 9}],
    "extra": {"a": 1},
    "nullable": "n",
    "limited": 5,
    "anything": {"free": ["form"]},
    "optional": 6,
    "unset": "u",
    "optionalInner": {"name": "oi"},
}


def decode(expected_type: Any, data: Any) -> Any:
    decoder = msgspec.json.Decoder(expected_type)
    return _lenient.decode(decoder.decode, expected_type, json.dumps(data).encode())


def with_member(name: str, value: Any) -> Any:
    return decode(Value, {**COMPLETE, name: value})


def test_what_matches_is_decoded_strictly() -> None:
    assert decode(Value, COMPLETE) == msgspec.convert(COMPLETE, Value)


def test_unknown_members_are_dropped() -> None:
    odd = {**COMPLETE, "new": 1, "text": 5, "inner": {"name": "i", "size": 4, "new": []}}
    assert decode(Value, odd).inner == Inner("i", 4)


@pytest.mark.parametrize(
    ("member", "attribute", "neutral"),
    [
        ("text", "text", ""),
        ("count", "count", 0),
        ("ratio", "ratio", 0.0),
        ("isOn", "is_on", False),
        ("kind", "kind", "none"),
        ("colour", "colour", "unknown"),
        ("shape", "shape", ""),
        ("inner", "inner", Inner("")),
        ("pet", "pet", Cat(0)),
        ("names", "names", []),
        ("extra", "extra", {}),
        ("nullable", "nullable", None),
        ("limited", "limited", 0),
        ("anything", "anything", None),
        ("optional", "optional", None),
        ("unset", "unset", UNSET),
        ("optionalInner", "optional_inner", None),
    ],
)
def test_a_missing_member_gets_its_default_or_says_nothing(member: str, attribute: str, neutral: object) -> None:
    value = decode(Value, {name: item for name, item in COMPLETE.items() if name != member})
    assert getattr(value, attribute) == neutral


@pytest.mark.parametrize(
    ("member", "wrong", "attribute", "replacement"),
    [
        ("text", 5, "text", ""),
        ("text", None, "text", ""),
        ("count", "1", "count", 0),
        ("count", True, "count", 0),
        ("count", 1.5, "count", 0),
        ("ratio", "0.5", "ratio", 0.0),
        ("ratio", True, "ratio", 0.0),
        ("isOn", 1, "is_on", False),
        ("kind", None, "kind", "none"),
        ("kind", 5, "kind", "none"),
        ("kind", {"new": "form"}, "kind", "none"),
        ("inner", [], "inner", Inner("")),
        ("pet", {"type": "fish"}, "pet", Cat(0)),
        ("names", "a", "names", []),
        ("numbers", {}, "numbers", []),
        ("extra", [], "extra", {}),
        ("extra", {"a": "1"}, "extra", {}),
        ("nullable", 5, "nullable", None),
        ("optional", "6", "optional", None),
        ("unset", 5, "unset", UNSET),
        ("optionalInner", {"size": 1}, "optional_inner", None),
        ("optionalInner", "x", "optional_inner", None),
    ],
)
def test_a_member_of_the_wrong_type_counts_as_missing(
    member: str, wrong: object, attribute: str, replacement: object
) -> None:
    assert getattr(with_member(member, wrong), attribute) == replacement


def test_unknown_enumeration_values_are_kept() -> None:
    assert with_member("kind", "sideways").kind == "sideways"


def test_whole_numbers_serve_as_floats_and_the_other_way_round() -> None:
    value = decode(Value, {**COMPLETE, "text": 5, "count": 3.0, "ratio": 1})
    assert (value.count, value.ratio, type(value.count), type(value.ratio)) == (3, 1.0, int, float)


def test_bounds_of_ours_do_not_bind_the_server() -> None:
    assert with_member("limited", -7).limited == -7


def test_struct_elements_that_cannot_be_understood_are_left_out() -> None:
    odd = [{"type": "cat", "lives": 9}, {"type": "fish"}, 5, None, {"type": "dog", "tricks": ["sit"]}]
    assert with_member("pets", odd).pets == [Cat(9), Dog(["sit"])]


def test_texts_that_are_none_are_left_out_of_a_list() -> None:
    assert with_member("names", ["a", None, 5, "b"]).names == ["a", "b"]


def test_a_list_of_numbers_is_taken_whole_or_not_at_all() -> None:
    # A vector with an element left out is not a vector any more.
    assert with_member("numbers", [1, None, 3]).numbers == []


def test_an_object_without_any_required_member_is_of_another_type() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"none of the required members name - at `\$`"):
        decode(Inner, {"size": 5})


def test_an_object_none_of_whose_required_members_can_be_understood_is_of_another_type() -> None:
    with pytest.raises(msgspec.ValidationError, match="required members"):
        decode(Inner, {"name": 5})


def test_an_object_of_which_something_can_be_understood_is_used() -> None:
    assert decode(Inner, {"name": 5, "size": 5}) == Inner("", 5)


def test_a_tag_alone_is_enough_for_a_packet() -> None:
    assert decode(Cat | Dog, {"type": "dog"}) == Dog([])


def test_an_unknown_tag_of_a_union_is_an_error_that_names_it() -> None:
    with pytest.raises(_lenient.UnknownTagError, match=r"'fish' of member 'type' - at `\$`") as caught:
        decode(Cat | Dog, {"type": "fish", "lives": 9})
    assert caught.value.tag == "fish"


def test_the_tag_does_not_matter_where_only_one_type_can_come() -> None:
    assert decode(Cat, {"type": "panther", "lives": 9}) == Cat(9)
    assert decode(Cat | None, {"type": None, "lives": 9}) == Cat(9)
    assert decode(list[Cat], [{"lives": 9}, {"type": "panther", "lives": 8}]) == [Cat(9), Cat(8)]


def test_a_lonely_wrong_tag_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(Cat, {"type": "fish"})


@pytest.mark.parametrize("data", [5, "x", None, [], True])
def test_what_is_no_object_at_all_is_an_error_with_its_path(data: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"at `\$`"):
        decode(Inner, data)
    with pytest.raises(msgspec.ValidationError, match=r"at `\$`"):
        decode(Cat | Dog, data)


def test_what_is_not_json_is_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        _lenient.decode(msgspec.json.Decoder(Inner).decode, Inner, b"{")


def test_convert_does_the_same_for_python_objects() -> None:
    assert _lenient.convert(Inner, {"name": "n"}) == Inner("n")
    assert _lenient.convert(Inner, {"name": "n", "size": "big"}) == Inner("n", 3)


# The types this is for -----------------------------------------------------------------------------------------------


def test_models_of_a_kind_that_is_new_are_left_out_of_a_list() -> None:
    infos = decode(list[ModelInfo], [LLM_INFO, {**LLM_INFO, "type": "imageGen"}])
    assert [type(info) for info in infos] == [LlmInfo]


def test_a_language_model_of_a_new_type_is_still_one_for_the_namespace_llm() -> None:
    (info,) = decode(list[LlmInstanceInfo], [{**LLM_INSTANCE, "type": "vlm"}])
    assert info.identifier == "qwen"


def test_model_information_of_an_older_server_is_enough() -> None:
    old = {key: LLM_INSTANCE[key] for key in ("type", "modelKey", "identifier", "path", "contextLength")}
    info = decode(LlmInstanceInfo, old)
    assert (info.model_key, info.context_length, info.ttl_ms, info.format) == ("qwen2.5-0.5b-instruct", 4096, None, "")


def test_a_required_struct_of_several_kinds_is_never_missing() -> None:
    packet = decode(ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel, {"type": "unloadingOtherJITModel"})
    assert packet.info.identifier == ""


def test_both_kinds_of_model_are_told_apart_by_their_tag() -> None:
    odd: list[Any] = [{**LLM_INFO, "sizeBytes": "big"}, {**EMBEDDING_INSTANCE, "sizeBytes": "big"}]
    assert [type(info) for info in decode(list[ModelInfo], odd)] == [LlmInfo, EmbeddingModelInfo]


# What is essential ---------------------------------------------------------------------------------------------------


def decode_with(essentials: tuple[str, ...], expected_type: Any, data: Any) -> Any:
    decoder = msgspec.json.Decoder(expected_type)
    return _lenient.decode(decoder.decode, expected_type, json.dumps(data).encode(), essentials)


@pytest.mark.parametrize("wrong", [5, None, [], {}])
def test_an_essential_member_of_the_wrong_type_is_an_error_with_its_path(wrong: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"at `\$\.inner\.name`"):
        decode_with(("inner.name",), Value, {**COMPLETE, "inner": {"name": wrong, "size": 1}})


@pytest.mark.parametrize(("inner", "path"), [({"size": 1}, r"\$\.inner"), (5, r"\$\.inner"), (None, r"\$\.inner")])
def test_an_essential_member_that_is_missing_is_an_error_with_its_path(inner: object, path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"at `{path}`"):
        decode_with(("inner.name",), Value, {**COMPLETE, "inner": inner})


def test_what_is_not_essential_is_replaced_beside_what_is() -> None:
    value = decode_with(("inner.name",), Value, {**COMPLETE, "text": 5, "inner": {"name": "i", "size": "big"}})
    assert (value.text, value.inner) == ("", Inner("i"))


def test_an_optional_member_that_is_essential_may_be_absent_but_not_odd() -> None:
    absent = {name: item for name, item in COMPLETE.items() if name != "optional"} | {"text": 5}
    assert decode_with(("optional",), Value, absent).optional is None
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.optional`"):
        decode_with(("optional",), Value, {**COMPLETE, "optional": "6"})


def test_elements_without_what_is_essential_are_left_out() -> None:
    cats = [{"type": "cat", "lives": "many"}, {"type": "dog", "tricks": 5}, {"type": "cat", "lives": 2}]
    assert decode_with(("pets.[].cat.lives",), Value, {**COMPLETE, "pets": cats}).pets == [Dog([]), Cat(2)]


def test_the_path_of_a_packet_begins_with_its_tag() -> None:
    assert decode_with(("dog.tricks",), Cat | Dog, {"type": "cat", "lives": "x"}) == Cat(0)
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.tricks`"):
        decode_with(("dog.tricks",), Cat | Dog, {"type": "dog", "tricks": "x"})


def test_a_tag_with_dots_ends_with_a_colon() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.tricks`"):
        decode_with(("wild.dog:tricks",), Cat | WildDog, {"type": "wild.dog", "tricks": "x"})


# What is not quite JSON ----------------------------------------------------------------------------------------------


def test_text_that_is_not_valid_unicode_is_used_as_far_as_it_is() -> None:
    decoder = msgspec.json.Decoder(Inner)
    assert _lenient.decode(decoder.decode, Inner, b'{"name":"a\xff"}') == Inner("a\N{REPLACEMENT CHARACTER}")


def test_a_number_beyond_all_bounds_does_not_spoil_the_rest() -> None:
    decoder = msgspec.json.Decoder(Inner)
    assert _lenient.decode(decoder.decode, Inner, b'{"name":"a","size":1e999}') == Inner("a")
    assert decode(Value, {**COMPLETE, "ratio": 10**400}).ratio == 0.0


# What was found ------------------------------------------------------------------------------------------------------


def test_findings_say_what_is_odd_and_where() -> None:
    findings: _lenient.Findings = []
    odd = {
        **COMPLETE,
        "kind": "sideways",
        "text": 5,
        "new": 1,
        "pets": [{"type": "fish"}],
        "inner": {"name": "i", "n": 2},
    }
    decoder = msgspec.json.Decoder(Value)
    _lenient.decode(decoder.decode, Value, json.dumps(odd).encode(), findings=findings)
    assert sorted(path for path, _ in findings) == ["$", "$.inner.n", "$.kind", "$.new", "$.pets[0]"]
    assert {problem for path, problem in findings if path == "$.kind"} == {"Unknown value 'sideways'"}
    assert any("`$.text`" in problem for _, problem in findings)


def test_nothing_is_found_in_what_matches() -> None:
    findings: _lenient.Findings = []
    decoder = msgspec.json.Decoder(Value)
    data = json.dumps(COMPLETE).encode()
    _lenient.decode(decoder.decode, Value, data, findings=findings)
    assert findings == _lenient.find_unknown(Value, data) == []


def test_unknown_members_of_what_matches_are_found_on_request() -> None:
    data = json.dumps({**COMPLETE, "new": 1, "pets": [{"type": "cat", "lives": 9, "colour": "red"}]}).encode()
    assert _lenient.find_unknown(Value, data) == [("$.pets[0].colour", "Unknown member"), ("$.new", "Unknown member")]
