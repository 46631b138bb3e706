"""Structured output: what a caller may give as response format, and what comes back."""

from __future__ import annotations

import dataclasses
import enum
import json
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
import typing_extensions
from pydantic import TypeAdapter

import lmstudio as lms
from lmstudio import _wire
from lmstudio._sdk_models import LlmStructuredPredictionSetting, TextData
from lmstudio.errors import LMStudioStructuredOutputError, LMStudioValueError
from lmstudio.schemas import ModelSchema, ResponseFormat, resolve_response_format

SCHEMA = {"type": "object", "properties": {"zebra": {"type": "integer"}, "apple": {"type": "string"}}}
TEXT = '{"zebra": 1, "apple": "red"}'
DATA = {"zebra": 1, "apple": "red"}


class PydanticFruit(pydantic.BaseModel):
    zebra: int
    apple: str = "green"


class StructFruit(msgspec.Struct):
    zebra: int
    apple: str = "green"


class OwnFruit(lms.BaseModel):
    zebra: int
    apple: str = "green"


@dataclasses.dataclass
class DataFruit:
    zebra: int
    apple: str = "green"


class DictFruit(TypedDict):
    zebra: int
    apple: str


class OtherDictFruit(typing_extensions.TypedDict):
    zebra: int
    apple: typing_extensions.NotRequired[str]


class Basket(TypedDict):
    """Types inside types, in an order of their own."""

    zebra: DictFruit
    many: list[OtherDictFruit]
    apple: Annotated[DictFruit | None, "note"]


@dataclasses.dataclass
class DataBasket:
    second: Basket
    first: dict[str, OtherDictFruit]


class SelfMade:
    """Any class with the method that pydantic made popular."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return SCHEMA


def format_of(response_format: Any) -> ResponseFormat[Any]:
    return resolve_response_format(response_format)


def wire_form(response_format: Any) -> Any:
    return json.loads(_wire.encode(format_of(response_format).setting))


def parsed(response_format: Any, text: str) -> Any:
    return format_of(response_format).parse(text, text, "eosFound")


CLASSES: list[Any] = [PydanticFruit, StructFruit, OwnFruit, DataFruit]

# What is accepted ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_a_class_is_parsed_into_an_instance(cls: Any) -> None:
    assert parsed(cls, TEXT) == cls(zebra=1, apple="red")
    assert parsed(cls, '{"zebra": 1}').apple == "green"


@pytest.mark.parametrize("cls", [DictFruit, OtherDictFruit])
def test_a_typed_dict_is_parsed_into_a_dict(cls: Any) -> None:
    assert parsed(cls, TEXT) == DATA


@pytest.mark.parametrize("cls", [*CLASSES, DictFruit, OtherDictFruit, SelfMade, TypeAdapter(PydanticFruit)])
def test_the_schema_of_a_class_has_an_object_at_its_root_and_keeps_the_order(cls: Any) -> None:
    sent = wire_form(cls)
    assert sent["type"] == "json"
    assert sent["jsonSchema"]["type"] == "object"
    assert list(sent["jsonSchema"]["properties"]) == ["zebra", "apple"]


@pytest.mark.parametrize("cls", [*CLASSES, DictFruit, OtherDictFruit, TypeAdapter(PydanticFruit)])
@pytest.mark.parametrize("text", ['{"zebra": "many", "apple": "red"}', "{}", "[]", '{"zebra": 1', "", "null"])
def test_a_reply_that_does_not_match_is_an_error_with_the_text(cls: Any, text: str) -> None:
    with pytest.raises(LMStudioStructuredOutputError, match="stopped because of 'eosFound'") as caught:
        parsed(cls, text)
    assert caught.value.content == text
    assert caught.value.stop_reason == "eosFound"
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("cls", [*CLASSES, DictFruit, TypeAdapter(PydanticFruit)])
def test_the_error_says_where_the_reply_does_not_match(cls: Any) -> None:
    with pytest.raises(LMStudioStructuredOutputError, match="zebra"):
        parsed(cls, '{"zebra": "many", "apple": "red"}')


def property_orders(schema: Any) -> list[list[str]]:
    """The names of each object in a schema, in their order."""
    if isinstance(schema, list):
        return [order for item in schema for order in property_orders(item)]
    if not isinstance(schema, dict):
        return []
    own = [list(schema["properties"])] if "properties" in schema else []
    return own + [order for item in schema.values() for order in property_orders(item)]


@pytest.mark.parametrize(("cls", "root"), [(Basket, ["zebra", "many", "apple"]), (DataBasket, ["second", "first"])])
def test_typed_dicts_inside_keep_their_order_too(cls: Any, root: list[str]) -> None:
    orders = property_orders(wire_form(cls)["jsonSchema"])
    assert orders[0] == root
    assert orders.count(["zebra", "apple"]) == 2
    assert len(orders) == 3 if cls is Basket else ["zebra", "many", "apple"] in orders


def test_a_self_made_class_is_parsed_into_plain_data() -> None:
    assert parsed(SelfMade, TEXT) == DATA
    assert isinstance(SelfMade(), ModelSchema)


def test_a_type_adapter_is_a_response_format() -> None:
    adapter = TypeAdapter(list[PydanticFruit])
    assert parsed(adapter, f"[{TEXT}]") == [PydanticFruit(zebra=1, apple="red")]
    assert wire_form(adapter)["jsonSchema"]["type"] == "array"


def test_a_schema_is_parsed_into_plain_data() -> None:
    assert parsed(SCHEMA, TEXT) == DATA
    assert parsed(SCHEMA, "[1]") == [1]  # the server checks the schema


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        {"properties": {"b": {}, "a": {}}, "type": "object"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object"}}},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
        {"enum": ["b", "a"]},
        {"type": ["object", "null"]},
        {"type": "array", "items": {"type": "integer"}},
        {"const": 5},
        {},
        {"title": "Z", "type": "string", "x-vendor": {"b": 1, "a": 2}},
    ],
)
def test_a_schema_travels_byte_for_byte(schema: dict[str, Any]) -> None:
    setting = format_of(schema).setting
    assert _wire.encode(setting) == b'{"type":"json","jsonSchema":' + _wire.encode(schema) + b"}"


def test_a_schema_may_be_any_mapping() -> None:
    assert wire_form(MappingProxyType(SCHEMA)) == {"type": "json", "jsonSchema": SCHEMA}


def test_a_schema_is_copied() -> None:
    schema = dict(SCHEMA)
    response_format = format_of(schema)
    schema.clear()
    assert json.loads(_wire.encode(response_format.setting))["jsonSchema"] == SCHEMA


@pytest.mark.parametrize(
    "wrapped",
    [
        {"type": "json", "jsonSchema": SCHEMA},
        {"type": "json", "json_schema": SCHEMA},
        {"type": "json_schema", "json_schema": {"name": "fruit", "strict": True, "schema": SCHEMA}},
        {"type": "json_schema", "name": "fruit", "strict": True, "schema": SCHEMA},
        LlmStructuredPredictionSetting(type="json", json_schema=SCHEMA),
    ],
)
def test_a_schema_may_be_wrapped_in_several_ways(wrapped: Any) -> None:
    assert wire_form(wrapped) == {"type": "json", "jsonSchema": SCHEMA}
    assert parsed(wrapped, TEXT) == DATA


@pytest.mark.parametrize(
    "anything", [{"type": "json"}, {"type": "json_object"}, LlmStructuredPredictionSetting(type="json")]
)
def test_json_without_a_schema_is_any_json(anything: Any) -> None:
    assert wire_form(anything) == {"type": "json"}
    assert parsed(anything, '["anything", 1]') == ["anything", 1]


@pytest.mark.parametrize(
    "grammar",
    [
        {"type": "gbnf", "gbnfGrammar": 'root ::= "yes"'},
        {"type": "gbnf", "gbnf_grammar": 'root ::= "yes"'},
        LlmStructuredPredictionSetting(type="gbnf", gbnf_grammar='root ::= "yes"'),
    ],
)
def test_the_text_of_a_grammar_is_not_parsed(grammar: Any) -> None:
    assert wire_form(grammar) == {"type": "gbnf", "gbnfGrammar": 'root ::= "yes"'}
    assert parsed(grammar, "yes") == "yes"
    assert format_of(grammar).is_structured


@pytest.mark.parametrize("nothing", [None, {"type": "none"}, LlmStructuredPredictionSetting(type="none")])
def test_no_format_means_free_text(nothing: Any) -> None:
    assert format_of(nothing) == ResponseFormat.unstructured()
    assert not format_of(nothing).is_structured
    assert parsed(nothing, "Hi") == "Hi"


def test_a_format_that_has_been_understood_stays_as_it_is() -> None:
    response_format = format_of(SCHEMA)
    assert format_of(response_format) is response_format


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "useless",
    [
        "json",
        5,
        ["type"],
        str,
        dict,
        int,
        object,
        list[int],
        dict[str, int],
        int | None,
        {"schema": SCHEMA},
        {"type": "xml"},
        {"type": "text", "text": "Hi"},
        {"type": None},
        TextData(text="Hi"),
        PydanticFruit(zebra=1),
        {"type": "json", "jsonSchema": "object"},
        {"type": "json", "jsonSchema": {"name": "fruit", "schema": SCHEMA}},
        {"items": 5},
        {"type": "object", "properties": ["zebra", "apple"]},
        {"enum": "red or blue"},
        {"zebra": "integer", "apple": "string"},
    ],
)
def test_what_is_no_format_is_refused_with_what_is(useless: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"Cannot use .* as response_format. Expected a JSON schema"):
        format_of(useless)


@pytest.mark.parametrize("grammar", [{}, {"gbnfGrammar": ""}, {"gbnfGrammar": "  "}, {"gbnfGrammar": 5}])
def test_a_grammar_must_be_text(grammar: dict[str, Any]) -> None:
    with pytest.raises(LMStudioValueError, match="needs the grammar as text"):
        format_of({"type": "gbnf", **grammar})


@pytest.mark.parametrize("wrapper", [{}, {"json_schema": SCHEMA}, {"json_schema": {"schema": 5}}, {"json_schema": 5}])
def test_the_form_of_the_openai_api_must_be_complete(wrapper: dict[str, Any]) -> None:
    with pytest.raises(LMStudioValueError, match=r"needs {'json_schema': {'schema'"):
        format_of({"type": "json_schema", **wrapper})


def test_a_class_that_has_no_schema_is_refused() -> None:
    class Impossible(msgspec.Struct):
        callback: type

    with pytest.raises(LMStudioValueError, match=r"Cannot make a JSON schema of .*Impossible"):
        format_of(Impossible)


def test_a_class_with_names_that_cannot_be_resolved_is_refused() -> None:
    class Unresolvable(msgspec.Struct):
        other: Missing  # type: ignore[name-defined]  # noqa: F821 - the point of the test

    with pytest.raises(LMStudioValueError, match=r"Cannot make a JSON schema of .*Missing"):
        format_of(Unresolvable)


# Schemas of all shapes -----------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class PydanticLeaf(pydantic.BaseModel):
    colour: Colour
    kind: Literal["a", "b"]


class PydanticTree(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    name: str = pydantic.Field(alias="theName")
    children: list[PydanticTree] = []
    leaf: PydanticLeaf | None = None
    size: int | float = 0


class StructLeaf(msgspec.Struct):
    colour: Colour
    kind: Literal["a", "b"]


class StructTree(msgspec.Struct):
    name: str = msgspec.field(name="theName")
    children: list[StructTree] = []
    leaf: StructLeaf | None = None
    size: float = 0


@dataclasses.dataclass
class DataTree:
    name: str
    children: list[DataTree] = dataclasses.field(default_factory=list)


class OwnPlant(lms.BaseModel):
    leaf: StructLeaf
    height: Annotated[int, msgspec.Meta(ge=0, description="In metres.")]


TREE = '{"theName": "root", "children": [{"theName": "child"}], "leaf": {"colour": "red", "kind": "b"}, "size": 2}'


@pytest.mark.parametrize("cls", [PydanticTree, StructTree])
def test_references_recursion_enums_unions_and_aliases_work(cls: Any) -> None:
    tree = parsed(cls, TREE)
    assert (tree.name, tree.children[0].name, tree.leaf.colour, tree.size) == ("root", "child", Colour.RED, 2)
    assert isinstance(tree.children[0], cls)


def definitions_used_in(schema: Any) -> set[str]:
    found: set[str] = set()
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            found.add(schema["$ref"].removeprefix("#/$defs/"))
        for value in schema.values():
            found |= definitions_used_in(value)
    elif isinstance(schema, list):
        for value in schema:
            found |= definitions_used_in(value)
    return found


@pytest.mark.parametrize("cls", [StructTree, DataTree, OwnPlant, StructLeaf, OwnFruit])
def test_the_root_of_a_schema_is_an_object_and_its_references_can_be_followed(cls: Any) -> None:
    schema = wire_form(cls)["jsonSchema"]
    assert schema["type"] == "object"
    assert set(schema.get("$defs", {})) == definitions_used_in(schema)


def test_a_recursive_dataclass_is_parsed() -> None:
    assert parsed(DataTree, '{"name": "r", "children": [{"name": "c"}]}') == DataTree("r", [DataTree("c")])


def test_the_schema_of_the_base_model_is_public() -> None:
    schema = OwnFruit.model_json_schema()
    assert schema["title"] == "OwnFruit"
    assert schema["required"] == ["zebra"]
    assert isinstance(OwnFruit(zebra=1), ModelSchema)
    assert wire_form(OwnPlant)["jsonSchema"]["properties"]["height"]["description"] == "In metres."


# The order on the wire -----------------------------------------------------------------------------------------------

ORDERED = b'"zebra":{%s"type":"integer"},"apple":{%s"type":"string"}'
PLAIN, TITLED = ORDERED % (b"", b""), ORDERED % (b'"title":"Zebra",', b'"title":"Apple",')


class PydanticPair(pydantic.BaseModel):
    zebra: int
    apple: str


class StructPair(msgspec.Struct):
    zebra: int
    apple: str


@dataclasses.dataclass
class DataPair:
    zebra: int
    apple: str


@pydantic.dataclasses.dataclass
class PydanticDataPair:
    zebra: int
    apple: Annotated[str, pydantic.Field(min_length=2)]


class DictPair(TypedDict):
    zebra: int
    apple: str


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        (PydanticPair, b'{"properties":{%s},"required":["zebra","apple"],"title":"PydanticPair","type":"object"}'),
        (
            TypeAdapter(PydanticPair),
            b'{"properties":{%s},"required":["zebra","apple"],"title":"PydanticPair","type":"object"}',
        ),
        (StructPair, b'{"title":"StructPair","type":"object","properties":{%s},"required":["zebra","apple"]}'),
        (DataPair, b'{"title":"DataPair","type":"object","properties":{%s},"required":["zebra","apple"]}'),
        (DictPair, b'{"title":"DictPair","type":"object","properties":{%s},"required":["zebra","apple"]}'),
        ({"type": "object", "properties": {"zebra": {"type": "integer"}, "apple": {"type": "string"}}}, None),
    ],
)
def test_every_kind_of_format_keeps_the_order_of_its_members_byte_for_byte(
    response_format: Any, schema: bytes | None
) -> None:
    is_pydantic = schema is not None and schema.startswith(b'{"properties"')
    expected = _wire.encode(response_format) if schema is None else schema % (TITLED if is_pydantic else PLAIN)

    assert _wire.encode(format_of(response_format).setting) == b'{"type":"json","jsonSchema":' + expected + b"}"


def test_a_pydantic_dataclass_is_checked_by_pydantic() -> None:
    assert parsed(PydanticDataPair, TEXT) == PydanticDataPair(1, "red")
    with pytest.raises(LMStudioStructuredOutputError, match="apple"):
        parsed(PydanticDataPair, '{"zebra": 1, "apple": "r"}')


# The same type in pydantic and in others ------------------------------------------------------------------------------


@dataclasses.dataclass
class DataLeaf:
    colour: Colour
    kind: Literal["a", "b"]
    size: int | None = None


class DictLeaf(TypedDict):
    colour: Colour
    kind: Literal["a", "b"]
    size: typing_extensions.NotRequired[int | None]


class SizedPydanticLeaf(PydanticLeaf):
    size: int | None = None


class SizedStructLeaf(StructLeaf):
    size: int | None = None


@pytest.mark.parametrize("cls", [SizedStructLeaf, DataLeaf, DictLeaf])
@pytest.mark.parametrize(
    "text",
    [
        '{"colour": "red", "kind": "a"}',
        '{"colour": "blue", "kind": "b", "size": null}',
        '{"colour": "blue", "kind": "b", "size": 5}',
        '{"colour": "green", "kind": "a"}',
        '{"colour": "red", "kind": "c"}',
        '{"colour": "red", "kind": "a", "size": "big"}',
        '{"kind": "a"}',
        "[]",
    ],
)
def test_other_types_accept_and_refuse_what_pydantic_does(cls: Any, text: str) -> None:
    def outcome(response_format: Any) -> Any:
        try:
            value = parsed(response_format, text)
        except LMStudioStructuredOutputError:
            return None
        members = value if isinstance(value, dict) else {name: getattr(value, name) for name in ("colour", "kind")}
        return members["colour"], members["kind"]

    assert outcome(cls) == outcome(SizedPydanticLeaf)


@pytest.mark.parametrize("cls", [PydanticTree, TypeAdapter(PydanticTree), StructTree, DataTree])
def test_a_recursive_type_has_an_object_at_its_root(cls: Any) -> None:
    schema = wire_form(cls)["jsonSchema"]

    assert schema["type"] == "object"
    assert next(iter(schema["properties"])) in ("name", "theName")
    assert set(schema["$defs"]) == definitions_used_in(schema)


def test_a_tagged_union_is_parsed_by_its_adapter() -> None:
    class Cat(pydantic.BaseModel):
        kind: Literal["cat"]
        lives: int

    class Dog(pydantic.BaseModel):
        kind: Literal["dog"]
        name: str

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Cat | Dog, pydantic.Field(discriminator="kind")])

    assert parsed(adapter, '{"kind": "dog", "name": "Rex"}') == Dog(kind="dog", name="Rex")
    assert set(wire_form(adapter)["jsonSchema"]) >= {"oneOf", "$defs"}


# Parsing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("response_format", [{"type": "json"}, StructFruit, PydanticFruit])
def test_a_reply_that_nests_without_end_is_an_error_like_any_other(response_format: Any) -> None:
    # What a model in a loop writes until it is stopped.
    with pytest.raises(LMStudioStructuredOutputError):
        parsed(response_format, '{"zebra":' + "[" * 200_000)


def test_an_error_without_a_text_names_its_class() -> None:
    class Mute(SelfMade):
        @classmethod
        def model_validate_json(cls, text: str) -> Mute:
            raise ValueError

    with pytest.raises(LMStudioStructuredOutputError, match=r"\(ValueError\)"):
        parsed(Mute, TEXT)


def test_the_reasoning_is_not_parsed_but_kept_in_the_error() -> None:
    with pytest.raises(LMStudioStructuredOutputError) as caught:
        format_of(SCHEMA).parse("<think>hm</think>{", "{", "contextLengthReached")
    assert caught.value.content == "<think>hm</think>{"


def test_fields_of_the_base_model_can_be_read_like_those_of_a_dict() -> None:
    class Answer(lms.BaseModel):
        zebra: int

    assert Answer(zebra=1)["zebra"] == 1
    with pytest.raises(KeyError, match="__class__"):
        _ = Answer(zebra=1)["__class__"]
