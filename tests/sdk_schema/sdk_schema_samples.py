"""Values that fit the cached JSON schema, made without looking at the generated structs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).parents[2] / "sdk-schema" / "lmstudio-sdk.schema.json"
DOCUMENT: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
DEFINITIONS: dict[str, Any] = DOCUMENT["definitions"]

# The widest enumeration and the widest union of the schema have fewer members.
_MOST_CHOICES = 20
_FREE_FORM = {"snake_key": [1, None, "x"], "camelKey": {"$ref": "#/x"}}


def samples(schema: dict[str, Any]) -> list[Any]:
    """The smallest value, and enough complete ones to meet every member of every union and enumeration."""
    values = [_build(schema, 0, full=False)]
    values += [_build(schema, choice, full=True) for choice in range(_MOST_CHOICES)]
    return list({json.dumps(value): value for value in values}.values())


def _build(schema: dict[str, Any], choice: int, *, full: bool) -> Any:
    if "$ref" in schema:
        return _build(DEFINITIONS[schema["$ref"].removeprefix("#/definitions/")], choice, full=full)
    if "anyOf" in schema:
        return _build(schema["anyOf"][choice % len(schema["anyOf"])], choice, full=full)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][choice % len(schema["enum"])]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[choice % len(kind)]
    match kind:
        case "object":
            return _build_object(schema, choice, full=full)
        case "array" if isinstance(schema["items"], list):
            return [_build(item, choice, full=full) for item in schema["items"]]
        case "array":
            # Two elements of different kinds, where the element type allows it.
            return [_build(schema["items"], choice + each, full=full) for each in range(2)] if full else []
        case _:
            return _build_scalar(schema, kind, choice)


def _build_object(schema: dict[str, Any], choice: int, *, full: bool) -> Any:
    if "properties" not in schema:
        return {"some_key": _build(schema.get("additionalProperties", {}), choice, full=full)} if full else {}
    wanted = schema["properties"] if full else schema.get("required", [])
    return {name: _build(schema["properties"][name], choice, full=full) for name in wanted}


def _build_scalar(schema: dict[str, Any], kind: str | None, choice: int) -> Any:
    match kind:
        case "string":
            # Fits every pattern of the schema.
            return "a" * max(1, schema.get("minLength", 1))
        case "integer":
            return max(2, schema.get("minimum", 2))
        case "number":
            return 0.5 if "maximum" in schema else 1.5
        case "boolean":
            return choice % 2 == 0
        case "null":
            return None
        case None:
            return _FREE_FORM
        case _:
            raise AssertionError(f"the sample maker does not know JSON schema type {kind}")
