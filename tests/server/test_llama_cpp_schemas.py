"""What the llama.cpp engine makes of JSON schemas that do not say whether their objects have more members."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

BIRD = {"type": "object", "properties": {"kind": {"enum": ["heron", "owl"]}}, "required": ["kind"]}
BIRDS = {"type": "array", "items": BIRD, "minItems": 2, "maxItems": 2}
NAMED = {"type": "object", "properties": {"name": {"enum": ["Jo", "Al"]}}, "required": ["name"]}
EMPTY = {"type": "object", "properties": {}}


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    """A client of a server with the shipped models, the chat model of which likes to talk."""
    with (
        Server(prediction_defaults={"llm.prediction.temperature": 0}) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def asked(api: httpx.Client, schema: dict[str, Any], max_tokens: int) -> httpx.Response:
    body = {
        "model": "pebble-2.6m",
        "messages": [{"role": "user", "content": "Describe all birds that you know."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "birds", "schema": schema}},
        "max_tokens": max_tokens,
    }
    return api.post("/v1/chat/completions", json=body)


def text(api: httpx.Client, schema: dict[str, Any], max_tokens: int = 100) -> str:
    """What the model writes."""
    response = asked(api, schema, max_tokens)
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def written(api: httpx.Client, schema: dict[str, Any]) -> Any:
    """What that means."""
    return json.loads(text(api, schema))


@pytest.mark.parametrize(
    "schema",
    [
        BIRDS,
        {"$ref": "#/$defs/Birds", "$defs": {"Birds": {**BIRDS, "items": {"$ref": "#/$defs/Bird"}}, "Bird": BIRD}},
        {"type": "array", "items": {"anyOf": [BIRD, BIRD]}, "minItems": 2, "maxItems": 2},
        {"type": "array", "prefixItems": [BIRD, BIRD], "items": False, "minItems": 2},
    ],
)
def test_objects_have_no_more_members_than_are_named(api: httpx.Client, schema: dict[str, Any]) -> None:
    assert [set(bird) for bird in written(api, schema)] == [{"kind"}, {"kind"}]


def test_object_without_members_is_empty(api: httpx.Client) -> None:
    assert written(api, EMPTY) == {}


def test_others_may_be_there_where_the_schema_says_so(api: httpx.Client) -> None:
    others = {"type": "object", "properties": {}, "additionalProperties": BIRD, "minProperties": 1, "maxProperties": 1}
    ((_, bird),) = written(api, others).items()
    assert set(bird) == {"kind"}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [BIRD, {**NAMED, "additionalProperties": True}], "maxProperties": 2},
        {"$ref": "#/$defs/Bird", "properties": NAMED["properties"], "required": ["name"], "$defs": {"Bird": BIRD}},
        {**NAMED, "anyOf": [BIRD]},
    ],
)
def test_schemas_of_one_object_do_not_exclude_each_other(api: httpx.Client, schema: dict[str, Any]) -> None:
    # These objects are open, and the model may go on without end: only the beginning is looked at.
    beginning = text(api, schema, 40)
    assert '"kind": ' in beginning
    assert '"name": ' in beginning


@pytest.mark.parametrize(
    "schema", [{"properties": [1]}, {"anyOf": {"a": 1}}, {"type": "object", "properties": {"a": 7}}]
)
def test_what_is_no_schema_is_refused(api: httpx.Client, schema: dict[str, Any]) -> None:
    response = asked(api, schema, 9)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
