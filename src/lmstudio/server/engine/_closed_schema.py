"""JSON schemas whose objects have no members besides those they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["closed_schema"]

_PLAIN_OBJECT: Final = frozenset(("type", "properties", "required", "title", "description", "default", "$schema"))
_COMBINING: Final = frozenset(
    ("allOf", "not", "if", "dependentSchemas", "dependentRequired", "unevaluatedProperties", "$dynamicRef")
)
_NOTES: Final = frozenset(("title", "description", "default", "examples", "$schema", "$defs", "definitions"))
_ONE: Final = ("items", "additionalProperties")
_SEVERAL: Final = ("prefixItems", "anyOf", "oneOf")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """*schema* with "no others" where an object names its members and does not say whether there are more.

    By the letter of JSON Schema there may be, and small models then invent them without end. llama.cpp and its users
    read such schemas as complete. Where two schemas describe one object, neither is, and nothing is changed.
    """
    return dict(schema) if _combines(schema) else _closed(dict(schema))


def _parts(schema: Mapping[str, Any]) -> list[Any]:
    """The schemas within *schema*. What is no schema at all is left to the engine, which says so."""
    found = [schema[key] for key in _ONE if key in schema]
    for key in _SEVERAL:
        found += value if isinstance(value := schema.get(key), list) else ()
    for key in _NAMED:
        found += value.values() if isinstance(value := schema.get(key), dict) else ()
    return found


def _combines(schema: Any) -> bool:
    """Whether two schemas describe one value somewhere."""
    if not isinstance(schema, dict):
        return False
    alternatives = schema.keys() & {"anyOf", "oneOf", "$ref"}
    has_more = not (schema.keys() - alternatives <= _NOTES)
    return (
        not _COMBINING.isdisjoint(schema)
        or len(alternatives) > 1
        or (bool(alternatives) and has_more)
        or any(_combines(part) for part in _parts(schema))
    )


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    for key in _ONE:
        if key in schema:
            result[key] = _closed(schema[key])
    for key in _SEVERAL:
        if isinstance(value := schema.get(key), list):
            result[key] = [_closed(part) for part in value]
    for key in _NAMED:
        if isinstance(value := schema.get(key), dict):
            result[key] = {name: _closed(part) for name, part in value.items()}
    if "properties" in schema and schema.keys() - {"$defs", "definitions"} <= _PLAIN_OBJECT:
        result["additionalProperties"] = False
    return result
