"""The check of arguments against a JSON schema, compared with the reference implementation."""

from __future__ import annotations

import copy
from collections import ChainMap
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstudio._schema_check import find_mismatch, verify_schema

NAMES = st.sampled_from(["a", "b", "ab", "é"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 0.5, 2.0, 1e30]),
    st.sampled_from(["", "a", "abé"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
TYPE_NAMES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
COUNTS = st.integers(0, 3)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of one to three keywords: with more, next to nothing matches any more."""
    several = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(NAMES, inner, max_size=2)
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": TYPE_NAMES | st.lists(TYPE_NAMES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "properties": named,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$", "."]), inner, max_size=2),
        "additionalProperties": inner,
        "propertyNames": inner,
        "required": st.lists(NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
        "dependentSchemas": named,
        "minProperties": COUNTS,
        "maxProperties": COUNTS,
        "items": inner,
        "prefixItems": several,
        "contains": inner,
        "minItems": COUNTS,
        "maxItems": COUNTS,
        "uniqueItems": st.booleans(),
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "exclusiveMinimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": COUNTS,
        "maxLength": COUNTS,
        "pattern": st.sampled_from(["^a", "b", "é$", "^$"]),
        "anyOf": several,
        "oneOf": several,
        "allOf": several,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
    }
    parts = [st.fixed_dictionaries({keyword: values}) for keyword, values in keywords.items()]
    return st.lists(st.one_of(parts), min_size=1, max_size=3).map(lambda found: dict(ChainMap(*found)))


LEAVES = st.booleans() | st.fixed_dictionaries({"type": TYPE_NAMES}) | schemas(st.booleans())
LEAVES_WITHOUT_REFERENCES = LEAVES.filter(lambda schema: "$ref" not in str(schema))
SCHEMAS = st.builds(
    lambda schema, one, two: {**schema, "$defs": {"one": one, "two": two}},
    schemas(st.recursive(LEAVES, schemas, max_leaves=6)),
    LEAVES_WITHOUT_REFERENCES,
    LEAVES_WITHOUT_REFERENCES,
)


@settings(max_examples=400)
@given(SCHEMAS, VALUES)
def test_the_check_agrees_with_the_reference_implementation(schema: dict[str, Any], value: Any) -> None:
    verify_schema(schema)
    expected = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (find_mismatch(value, schema) is None) == expected


@given(SCHEMAS, VALUES)
def test_neither_schema_nor_data_are_changed(schema: dict[str, Any], value: Any) -> None:
    before = copy.deepcopy((schema, value))
    find_mismatch(value, schema)
    assert (schema, value) == before


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "friend": {"$ref": "#"},
        "id": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^x"}]},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "'name' is missing"),
        ({"name": 5}, "name: expected string, got integer 5"),
        ({"name": [1]}, "name: expected string, got array"),
        ({"name": ""}, "name: expected at least 1 characters, got 0"),
        ({"name": "A", "age": -1}, "age: expected at least 0, got -1"),
        ({"name": "A", "age": True}, "age: expected integer, got boolean true"),
        ({"name": "A", "tags": ["a", "c"]}, 'tags[1]: expected one of "a", "b", got "c"'),
        ({"name": "A", "friend": {"name": "B", "friend": {}}}, "friend.friend: 'name' is missing"),
        ({"name": "A", "nmae": "B"}, "there is no 'nmae'; there are 'name', 'age', 'tags', 'friend', 'id'"),
        (
            {"name": "A", "id": None},
            "id: matches none of 2 alternatives (expected integer, got null; expected string, got null)",
        ),
        ([], "expected object, got array"),
    ],
)
def test_a_mismatch_says_where_what_was_expected_and_what_was_found(value: Any, message: str) -> None:
    assert str(find_mismatch(value, PERSON)) == message


def test_the_older_list_form_of_items_counts() -> None:
    schema = {"items": [{"type": "string"}], "additionalItems": {"type": "integer"}}
    assert find_mismatch(["a", 1], schema) is None
    assert str(find_mismatch(["a", "b"], schema)) == '[1]: expected integer, got string "b"'


def test_how_often_an_item_must_be_contained_counts() -> None:
    schema = {"contains": {"const": 1}, "minContains": 0, "maxContains": 1}
    assert find_mismatch([], schema) is None
    assert str(find_mismatch([1, 1], schema)) == "2 items are as 'contains' demands, expected 0 to 1"


def test_decimal_fractions_are_multiples_as_written() -> None:
    assert find_mismatch(0.3, {"multipleOf": 0.1}) is None
    assert find_mismatch(0.35, {"multipleOf": 0.1}) is not None


def test_a_pattern_in_the_dialect_of_javascript_is_not_checked() -> None:
    schema = {"pattern": r"^\p{L}+$"}
    verify_schema(schema)
    assert find_mismatch("5", schema) is None


def test_references_may_have_escaped_steps() -> None:
    schema = {"$ref": "#/$defs/a~1b%20c/anyOf/0", "$defs": {"a/b c": {"anyOf": [{"type": "null"}]}}}
    verify_schema(schema)
    assert find_mismatch(None, schema) is None
    assert find_mismatch(1, schema) is not None


def test_words_of_a_schema_are_only_words_in_names_and_values() -> None:
    verify_schema({"properties": {"type": {"enum": [{"type": 5}]}, "$ref": {}}, "default": {"$ref": 1}})


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "text"}, "#/type must be one of null, .*, not 'text'"),
        ({"properties": {"a": {"type": 5}}}, "#/properties/a/type must be"),
        ({"properties": ["a"]}, "#/properties must be an object of schemas"),
        ({"required": "a"}, "#/required must be a list of names, not 'a'"),
        ({"items": {"anyOf": [True, {"minLength": -1}]}}, "#/items/anyOf/1/minLength must be a number, 0 or more"),
        ({"multipleOf": 0}, "#/multipleOf must be a number above 0"),
        ({"$ref": "#/$defs/A"}, r"\$ref '#/\$defs/A' leads nowhere in the schema"),
        ({"$ref": "#A"}, r"\$ref '#A' leads nowhere in the schema"),
        ({"not": {"$ref": "https://example.com"}}, "leads out of the schema"),
    ],
)
def test_an_unusable_schema_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verify_schema(schema)
