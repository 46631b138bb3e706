"""The JSON schema of a function's parameters, type by type, and the values that arguments become."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import re
import sys
import uuid
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, Union

import msgspec
import pydantic
import pytest
from typing_extensions import Doc, NotRequired

import lmstudio as lms
from lmstudio.tools import ToolArgumentsError, read_tools


class Color(enum.Enum):
    RED = "red"
    AQUA = "aqua"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 2
    HIGH = 1


class Mixed(enum.Enum):
    ONE = 1
    NAME = "name"


@dataclasses.dataclass
class Point:
    y: Annotated[int, "Upwards"]
    x: int = 0


class Place(TypedDict):
    town: str
    country: NotRequired[str]


class Item(msgspec.Struct):
    name: str
    color: Color = Color.RED
    related: list[Item] = []


class Book(pydantic.BaseModel):
    title: str = pydantic.Field(min_length=1, description="As printed")
    printed: dt.date | None = None


class StrictBook(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    printed: dt.date


@pydantic.dataclasses.dataclass
class Shelf:
    books: list[Book]


Count = NewType("Count", int)

POINT = {
    "title": "Point",
    "type": "object",
    "properties": {"y": {"type": "integer", "description": "Upwards"}, "x": {"type": "integer", "default": 0}},
    "required": ["y"],
}
PLACE = {
    "title": "Place",
    "type": "object",
    "properties": {"town": {"type": "string"}, "country": {"type": "string"}},
    "required": ["town"],
}
ITEM = {
    "title": "Item",
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "color": {"type": "string", "enum": ["red", "aqua", "blue"], "default": "red"},
        "related": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "default": []},
    },
    "required": ["name"],
}
BOOK = {
    "properties": {
        "title": {"description": "As printed", "minLength": 1, "title": "Title", "type": "string"},
        "printed": {
            "anyOf": [{"format": "date", "type": "string"}, {"type": "null"}],
            "default": None,
            "title": "Printed",
        },
    },
    "required": ["title"],
    "title": "Book",
    "type": "object",
}
OPTIONAL_INT = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
UTC = dt.timezone.utc

# The type, its schema, definitions, an argument as JSON, the value that the function gets.
GOLDEN: list[tuple[Any, Any, Any, Any, Any]] = [
    (int, {"type": "integer"}, {}, 3, 3),
    (float, {"type": "number"}, {}, 3, 3.0),
    (bool, {"type": "boolean"}, {}, True, True),
    (str, {"type": "string"}, {}, "é", "é"),
    (bytes, {"type": "string", "contentEncoding": "base64"}, {}, "QUI=", b"AB"),
    (None, {"type": "null"}, {}, None, None),
    (Any, {}, {}, {"a": [1]}, {"a": [1]}),
    (list, {"type": "array"}, {}, [1, "a"], [1, "a"]),
    (dict, {"type": "object"}, {}, {"b": 1, "a": 2}, {"b": 1, "a": 2}),
    (list[int], {"type": "array", "items": {"type": "integer"}}, {}, [1, 2], [1, 2]),
    (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, {}, [1, 1], {1}),
    (frozenset[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}, {}, ["a"], frozenset("a")),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, {}, [1, 2], (1, 2)),
    (
        tuple[int, str],
        {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
        },
        {},
        [1, "a"],
        (1, "a"),
    ),
    (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}, {}, {"a": 1}, {"a": 1.0}),
    (collections.abc.Sequence[int], {"type": "array", "items": {"type": "integer"}}, {}, [1], [1]),
    (
        collections.abc.Mapping[str, int],
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {},
        {"a": 1},
        {"a": 1},
    ),
    (Optional[int], OPTIONAL_INT, {}, None, None),  # noqa: UP045 - the older spelling
    (int | None, OPTIONAL_INT, {}, 3, 3),
    (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}, {}, "3", "3"),  # noqa: UP007 - the older spelling
    (Literal["z", "a"], {"type": "string", "enum": ["z", "a"]}, {}, "a", "a"),
    (Literal[3, 1], {"type": "integer", "enum": [3, 1]}, {}, 1, 1),
    (Literal["z", 1], {"enum": ["z", 1]}, {}, 1, 1),
    (Color, {"type": "string", "enum": ["red", "aqua", "blue"]}, {}, "aqua", Color.AQUA),
    (Level, {"type": "integer", "enum": [2, 1]}, {}, 2, Level.LOW),
    (list[Color], {"type": "array", "items": {"type": "string", "enum": ["red", "aqua", "blue"]}}, {}, [], []),
    (
        dt.datetime,
        {"type": "string", "format": "date-time"},
        {},
        "2020-01-02T03:04:05Z",
        dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    ),
    (dt.date, {"type": "string", "format": "date"}, {}, "2020-01-02", dt.date(2020, 1, 2)),
    (dt.time, {"type": "string", "format": "time"}, {}, "03:04:05", dt.time(3, 4, 5)),
    (dt.timedelta, {"type": "string", "format": "duration"}, {}, "PT5S", dt.timedelta(seconds=5)),
    (uuid.UUID, {"type": "string", "format": "uuid"}, {}, str(uuid.UUID(int=5)), uuid.UUID(int=5)),
    (decimal.Decimal, {"type": "string", "format": "decimal"}, {}, "1.10", decimal.Decimal("1.10")),
    (pathlib.Path, {"type": "string", "format": "path"}, {}, "a/b", pathlib.Path("a/b")),
    (
        list[pathlib.Path],
        {"type": "array", "items": {"type": "string", "format": "path"}},
        {},
        ["a"],
        [pathlib.Path("a")],
    ),
    (Count, {"type": "integer"}, {}, 3, 3),
    (Point, {"$ref": "#/$defs/Point"}, {"Point": POINT}, {"y": 1}, Point(1)),
    (Place, {"$ref": "#/$defs/Place"}, {"Place": PLACE}, {"town": "Oslo"}, {"town": "Oslo"}),
    (Item, {"$ref": "#/$defs/Item"}, {"Item": ITEM}, {"name": "a", "color": "blue"}, Item("a", Color.BLUE)),
    (Book, BOOK, {}, {"title": "A", "printed": "2020-01-02"}, Book(title="A", printed=dt.date(2020, 1, 2))),
    (
        list[Book],
        {"type": "array", "items": {"$ref": "#/$defs/Book"}},
        {"Book": BOOK},
        [{"title": "A"}],
        [Book(title="A")],
    ),
    (
        StrictBook,
        {
            "properties": {"printed": {"format": "date", "title": "Printed", "type": "string"}},
            "required": ["printed"],
            "title": "StrictBook",
            "type": "object",
        },
        {},
        {"printed": "2020-01-02"},
        StrictBook(printed=dt.date(2020, 1, 2)),
    ),
    (
        Shelf,
        {
            "properties": {"books": {"items": {"$ref": "#/$defs/Book"}, "title": "Books", "type": "array"}},
            "required": ["books"],
            "title": "Shelf",
            "type": "object",
        },
        {"Book": BOOK},
        {"books": []},
        Shelf([]),
    ),
    (Annotated[int, "How many"], {"description": "How many", "type": "integer"}, {}, 3, 3),
    (Annotated[int, Doc("How many")], {"description": "How many", "type": "integer"}, {}, 3, 3),
    (
        Annotated[int, msgspec.Meta(ge=1, description="Some")],
        {"description": "Some", "type": "integer", "minimum": 1},
        {},
        3,
        3,
    ),
    (Annotated[int, "Some", msgspec.Meta(ge=1)], {"description": "Some", "type": "integer", "minimum": 1}, {}, 3, 3),
    (Annotated[int, pydantic.Field(ge=1)], {"minimum": 1, "type": "integer"}, {}, 3, 3),
    (Annotated[int, "Some", pydantic.Field(ge=1)], {"description": "Some", "minimum": 1, "type": "integer"}, {}, 3, 3),
    (Annotated[int, pydantic.AfterValidator(lambda value: value * 2)], {"type": "integer"}, {}, 3, 6),
    (
        list[Annotated[str, "A word"]] | None,
        {"anyOf": [{"type": "array", "items": {"description": "A word", "type": "string"}}, {"type": "null"}]},
        {},
        ["a"],
        ["a"],
    ),
    (
        Annotated[Point, "Where"],
        {"description": "Where", "$ref": "#/$defs/Point"},
        {"Point": POINT},
        {"y": 1},
        Point(1),
    ),
]


def repr_of(value: Any) -> str:
    """An id for a parameter that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))[:40]


def made(annotation: Any, **entry: Any) -> Any:
    """A tool with one parameter `p` of this type, made from a function."""

    def f(p: Any) -> None:
        """Do."""

    f.__annotations__["p"] = annotation
    if "default" in entry:
        f.__defaults__ = (entry["default"],)
    (tool,) = read_tools([f])
    return tool


def parameters_of(tool: Any) -> Any:
    return tool.definition["function"]["parameters"]


@pytest.mark.parametrize(("annotation", "schema", "definitions", "argument", "value"), GOLDEN, ids=map(repr_of, GOLDEN))
def test_every_type_has_its_schema_and_its_values(
    annotation: Any, schema: Any, definitions: Any, argument: Any, value: Any
) -> None:
    tool = made(annotation)
    expected = {"type": "object", "properties": {"p": schema}, "required": ["p"], "additionalProperties": False}
    expected.update({"$defs": definitions} if definitions else {})
    assert parameters_of(tool) == expected
    result = tool.check_arguments({"p": argument})["p"]
    assert result == value
    assert type(result) is type(value)


def test_members_stay_in_the_order_of_the_source() -> None:
    def f(zebra: Place, ant: Point, Mixed_case: int = 1) -> None:  # noqa: N803 - the case matters
        """Do."""

    schema = parameters_of(read_tools([f])[0])
    assert list(schema["properties"]) == ["zebra", "ant", "Mixed_case"]
    assert list(schema["$defs"]["Point"]["properties"]) == ["y", "x"]
    assert list(schema["$defs"]["Place"]["properties"]) == ["town", "country"]
    assert schema["required"] == ["zebra", "ant"]


@pytest.mark.parametrize("name", ["title", "enum", "type", "properties", "required", "default", "self", "errors"])
def test_a_parameter_may_be_called_like_a_word_of_json_schema(name: str) -> None:
    tool_def = lms.ToolFunctionDef(
        name="f", description="Do.", parameters={name: Literal["b", "a"]}, implementation=lambda **keywords: keywords
    )
    (tool,) = read_tools([tool_def])
    assert parameters_of(tool)["properties"] == {name: {"type": "string", "enum": ["b", "a"]}}
    assert tool.check_arguments({name: "a"}) == {name: "a"}


# Defaults ------------------------------------------------------------------------------------------------------------

SENTINEL = object()


@pytest.mark.parametrize(
    ("annotation", "default", "schema"),
    [
        (int, 3, {"type": "integer", "default": 3}),
        (int, None, {**OPTIONAL_INT, "default": None}),
        (Annotated[int, "Some"], None, {"description": "Some", **OPTIONAL_INT, "default": None}),
        (int | None, None, {**OPTIONAL_INT, "default": None}),
        (Any, None, {"default": None}),
        (list[int], [1], {"type": "array", "items": {"type": "integer"}, "default": [1]}),
        (Color, Color.BLUE, {"type": "string", "enum": ["red", "aqua", "blue"], "default": "blue"}),
        (dt.date, dt.date(2020, 1, 2), {"type": "string", "format": "date", "default": "2020-01-02"}),
        (pathlib.PurePosixPath, pathlib.PurePosixPath("a"), {"type": "string", "format": "path", "default": "a"}),
        (Point, Point(1), {"$ref": "#/$defs/Point", "default": {"y": 1, "x": 0}}),
        (Book, Book(title="A"), {**BOOK, "default": {"title": "A", "printed": None}}),
        (
            list[Book],
            [Book(title="A")],
            {"type": "array", "items": {"$ref": "#/$defs/Book"}, "default": [{"title": "A", "printed": None}]},
        ),
        (
            int,
            pydantic.Field(default=4, ge=1, description="Some"),
            {"description": "Some", "minimum": 1, "type": "integer", "default": 4},
        ),
        (str, SENTINEL, {"type": "string"}),
    ],
    ids=repr_of,
)
def test_a_default_is_in_the_schema_and_makes_the_parameter_optional(
    annotation: Any, default: Any, schema: Any
) -> None:
    tool = made(annotation, default=default)
    assert parameters_of(tool)["properties"] == {"p": schema}
    assert parameters_of(tool)["required"] == []
    expected = 4 if isinstance(default, pydantic.fields.FieldInfo) else default
    assert tool.check_arguments({}) == {"p": expected}


def test_a_pydantic_field_without_default_is_required() -> None:
    tool = made(int, default=pydantic.Field(ge=1))
    assert parameters_of(tool)["required"] == ["p"]
    with pytest.raises(ToolArgumentsError, match="missing: 'p'"):
        tool.check_arguments({})


def test_null_may_be_written_where_the_default_is_none() -> None:
    tool = made(int, default=None)
    assert tool.check_arguments({"p": None}) == {"p": None}


def test_a_container_that_is_a_default_is_not_shared_between_calls() -> None:
    tool = made(list[list[int]], default=[[1]])
    tool.check_arguments({})["p"][0].append(2)
    assert tool.check_arguments({}) == {"p": [[1]]}


# Arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "argument", "value"),
    [
        (int, "3", 3),
        (int, 3.0, 3),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (bool, "0", False),
        (int | None, "null", None),
        (list[int], ["1", 2], [1, 2]),
        (Level, "2", Level.LOW),
        (str | int, "3", "3"),
        (str | None, "null", "null"),
        (Annotated[int, pydantic.Field(ge=0)], "3", 3),
        (Any, "3", "3"),
    ],
    ids=repr_of,
)
def test_a_text_counts_as_the_value_it_spells_where_no_text_is_allowed(
    annotation: Any, argument: Any, value: Any
) -> None:
    result = made(annotation).check_arguments({"p": argument})["p"]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("annotation", "argument", "message"),
    [
        (int, "three", 'p: expected integer, got string "three"'),
        (int, 3.5, "p: expected integer, got number 3.5"),
        (int, True, "p: expected integer, got boolean true"),
        (int, None, "p: expected integer, got null"),
        (str, 5, "p: expected string, got integer 5"),
        (bool, "yes", 'p: expected boolean, got string "yes"'),
        (Color, "pink", 'p: expected one of "red", "aqua", "blue", got "pink"'),
        (Literal["a"], "b", 'p: expected one of "a", got "b"'),
        (list[int], "1", 'p: expected array, got string "1"'),
        (list[Point], [{"y": 1}, {"y": "a"}], 'p[1].y: expected integer, got string "a"'),
        (Point, {}, "p: 'y' is missing"),
        (Annotated[int, msgspec.Meta(ge=3)], 2, "p: expected at least 3, got 2"),
        (dt.datetime, "yesterday", "p: invalid RFC3339 encoded datetime"),
        (list[dt.date], ["2020-01-02", "x"], "p[1]: invalid RFC3339 encoded date"),
        (pathlib.Path, 5, "p: expected string, got integer 5"),
        (Book, {"title": ""}, "p.title: expected at least 1 characters, got 0"),
        (Book, {"title": "A", "printed": "x"}, "p.printed: .*valid date"),
        (list[Book], [{}], r"p[0]: 'title' is missing"),
    ],
    ids=repr_of,
)
def test_an_argument_that_does_not_fit_is_named_with_what_was_expected(
    annotation: Any, argument: Any, message: str
) -> None:
    with pytest.raises(ToolArgumentsError) as caught:
        made(annotation).check_arguments({"p": argument})
    text = str(caught.value)
    assert text.startswith("Invalid arguments for tool 'f': ")
    start, _, end = message.partition(".*")
    assert start in text
    assert end in text
    assert caught.value.tool_name == "f"
    assert caught.value.arguments == {"p": argument}


def test_an_unknown_argument_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ToolArgumentsError, match="there is no parameter 'q'; parameters: 'p'"):
        made(int).check_arguments({"p": 1, "q": 2})


def test_arguments_that_are_no_object_are_refused() -> None:
    with pytest.raises(ToolArgumentsError, match="expected an object with the parameters as members, got list"):
        made(int).check_arguments([1])


def test_no_arguments_are_the_same_as_empty_ones() -> None:
    assert made(int, default=1).check_arguments(None) == {"p": 1}


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(sys.getrecursionlimit() * 100):
        deep = [deep]
    with pytest.raises(ToolArgumentsError):
        made(Annotated[Any, pydantic.Field()]).check_arguments({"p": deep})


# Types that cannot be used -------------------------------------------------------------------------------------------


class Unknown:
    pass


class OtherPoint(msgspec.Struct):
    a: int


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Unknown, "parameter 'p': type .*Unknown'? is not supported"),
        (Mixed, "parameter 'p': Enums must contain either all str or all int values"),
        (list[complex], "parameter 'p': type 'complex' is not supported"),
        (collections.abc.Callable[[int], int], "parameter 'p': "),
        (Point | Place, "parameter 'p': Type unions may not contain more than one dict-like type"),
        (Book | OtherPoint, "parameter 'p': pydantic cannot use its type"),
    ],
    ids=repr_of,
)
def test_a_type_that_cannot_be_described_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=message) as caught:
        made(annotation)
    assert str(caught.value).startswith("Cannot use tool 'f': ")


def test_two_types_of_one_name_are_refused() -> None:
    def make(kind: type) -> Any:
        return pydantic.create_model("Same", field=(kind, ...))

    parameters = {"a": list[make(int)], "b": list[make(str)]}  # type: ignore[misc]  # made at run time
    tool_def = lms.ToolFunctionDef(
        name="f", description="", parameters=parameters, implementation=lambda **keywords: keywords
    )
    with pytest.raises(lms.LMStudioValueError, match="parameter 'b': another type called 'Same' is used too"):
        read_tools([tool_def])


def test_without_pydantic_its_annotations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(lms.LMStudioValueError, match="needs pydantic, which is not installed"):
        made(Annotated[int, pydantic.Field(ge=1)])


def test_a_definition_is_plain_json() -> None:
    tool = made(dict[str, list[Item] | None], default={})
    assert json.loads(json.dumps(tool.definition)) == tool.definition
