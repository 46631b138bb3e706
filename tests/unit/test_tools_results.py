"""What becomes of what tools return."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import re
import types
import uuid
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmstudio as lms
from lmstudio.tools import (
    result_text,
)


def without_address(value: object) -> str:
    """An id for a parameter that is the same in every process."""
    return re.sub(r" at 0x\w+", "", repr(value))


class Shop:
    """Means nothing to JSON."""


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    y: int
    x: Color


class Book(pydantic.BaseModel):
    title: str
    printed: dt.date


class Item(msgspec.Struct):
    name: str
    books: list[Book]


class Array:
    """Stands for one of NumPy."""

    def tolist(self) -> list[int]:
        return [1, 2]


class Celsius(float):
    pass


class Pair(NamedTuple):
    a: int
    b: list[int]


BOOK = Book(title="é", printed=dt.date(2020, 1, 2))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (2**100, str(2**100)),
        (1.5, "1.5"),
        (float("nan"), "null"),
        ("Grüße, 世界 😀", '"Grüße, 世界 😀"'),
        ({"b": [1, "é"], "a": {}}, '{"b": [1, "é"], "a": {}}'),
        ({1: 2}, '{"1": 2}'),
        ((1, (2,)), "[1, [2]]"),
        ({5}, "[5]"),
        (frozenset({"a"}), '["a"]'),
        (b"AB", '"QUI="'),
        (Color.RED, '"red"'),
        (Point(1, Color.RED), '{"y": 1, "x": "red"}'),
        (BOOK, '{"title": "é", "printed": "2020-01-02"}'),
        (Item("a", [BOOK]), '{"name": "a", "books": [{"title": "é", "printed": "2020-01-02"}]}'),
        (dt.datetime(2020, 1, 2, 3, 4, 5), '"2020-01-02T03:04:05"'),
        (dt.date(2020, 1, 2), '"2020-01-02"'),
        (dt.timedelta(seconds=5), '"PT5S"'),
        (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (pathlib.PurePosixPath("a/b"), '"a/b"'),
        (collections.deque([1]), "[1]"),
        (collections.OrderedDict(b=1, a=2), '{"b": 1, "a": 2}'),
        (types.MappingProxyType({"a": 1}), '{"a": 1}'),
        (range(3), "[0, 1, 2]"),
        (Pair(1, [2]), "[1, [2]]"),
        ({1: 2}.keys(), "[1]"),
        ([Celsius(1.5)], "[1.5]"),
        (Array(), "[1, 2]"),
        (lms.TextData(text="a"), '{"type": "text", "text": "a"}'),
    ],
    ids=without_address,
)
def test_a_result_is_written_as_json(value: Any, text: str) -> None:
    assert result_text(value) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_data_arrives_as_it_is(value: Any) -> None:
    assert json.loads(result_text(value)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "something of type builtins.object, which cannot be written as JSON. Return text, numbers"),
        ({"a": [Shop()]}, "something of type test_tools_results.Shop, which cannot"),
        (Shop, "something of type builtins.type, which cannot"),
        ((number for number in range(3)), "something of type builtins.generator, which cannot"),
        ({(1, 2): 3}, "a dict with a tuple as key. Use texts or numbers"),
        ("\udc80", "a str that cannot be written as JSON: .*surrogates not allowed"),
    ],
    ids=lambda _: "",
)
def test_a_result_that_cannot_be_written_is_refused_with_its_type(value: Any, message: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=message):
        result_text(value)


def test_a_result_that_was_not_awaited_is_refused() -> None:
    coroutine = asyncio.sleep(0)
    with pytest.raises(lms.LMStudioValueError, match=r"builtins\.coroutine, .* Await it in the tool"):
        result_text(coroutine)
    coroutine.close()


def test_a_result_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(lms.LMStudioValueError, match="contains itself"):
        result_text(value)
