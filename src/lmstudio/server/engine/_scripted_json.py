"""A small JSON value that satisfies a schema: what the scripted engine answers when one is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from lmstudio.server.engine.base import BadInputError

_FORMATS: Final = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "a@example.org",
    "hostname": "example.org",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-0000-0000-000000000000",
}
_MOST: Final = 100_000


def minimal_instance(schema: Mapping[str, Any]) -> Any:
    """A value that satisfies *schema*, as small as is simple: required properties, minimum lengths, first alternatives.

    Raises:
        BadInputError: nothing satisfies it, or only a value of unlimited depth, or it needs what is not understood here
            (a pattern without an example), or it is no schema.
    """
    try:
        return _Maker(schema).value(schema, ())
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        raise BadInputError(f"{schema!r:.200} is no JSON schema: {error}.") from error


class _Maker:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def value(self, schema: Any, references: tuple[str, ...]) -> Any:
        """A value for *schema*; *references* are those being followed, to notice a schema without end."""
        if schema is True:
            return None
        if not isinstance(schema, Mapping):
            raise BadInputError(f"No JSON value satisfies the schema {schema!r}.")
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        if "$ref" in schema:
            return self._referenced(schema, references)
        for alternatives in ("anyOf", "oneOf"):
            if alternatives in schema:
                rest = {key: value for key, value in schema.items() if key != alternatives}
                return self._first_of([_merged(rest, option) for option in schema[alternatives]], references)
        if "allOf" in schema:
            merged = {key: value for key, value in schema.items() if key != "allOf"}
            for part in schema["allOf"]:
                merged = _merged(merged, self._target(part["$ref"]) if "$ref" in part else part)
            return self.value(merged, references)
        return self._typed(schema, references)

    def _referenced(self, schema: Mapping[str, Any], references: tuple[str, ...]) -> Any:
        reference = schema["$ref"]
        if reference in references:
            raise BadInputError(f"No finite JSON value satisfies the schema: {reference} requires itself.")
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return self.value(_merged(rest, self._target(reference)), (*references, reference))

    def _target(self, reference: str) -> Any:
        target: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(name) if isinstance(target, list) else name]
            except (LookupError, TypeError, ValueError):
                raise BadInputError(f"The JSON schema refers to {reference}, which it does not contain.") from None
        return target

    def _first_of(self, options: list[Any], references: tuple[str, ...]) -> Any:
        failure = BadInputError("No JSON value satisfies the schema: it offers no alternative.")
        for option in options:
            try:
                return self.value(option, references)
            except BadInputError as error:
                failure = error
        raise failure

    def _typed(self, schema: Mapping[str, Any], references: tuple[str, ...]) -> Any:
        kind = schema.get("type", _implied_type(schema))
        if isinstance(kind, list):
            return self._first_of([{**schema, "type": one} for one in kind], references)
        match kind:
            case "object":
                return self._object(schema, references)
            case "array":
                return self._array(schema, references)
            case "string":
                return _string(schema)
            case "integer" | "number":
                return _number(schema, is_whole=kind == "integer")
            case "boolean":
                return False
            case "null":
                return None
            case _:
                raise BadInputError(f"The JSON schema names the unknown type {kind!r}.")

    def _object(self, schema: Mapping[str, Any], references: tuple[str, ...]) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = list(schema.get("required", ()))
        # In the order in which the properties are declared, which is the order a reader expects.
        names = [name for name in properties if name in required]
        names += [name for name in required if name not in properties]
        other = schema.get("additionalProperties", True)
        optional = [name for name in properties if name not in required]
        missing = _least(schema, "minProperties") - len(names)
        names += [*optional, *(f"key{number}" for number in range(max(0, missing - len(optional))))][: max(0, missing)]
        return {name: self.value(properties.get(name, other), references) for name in names}

    def _array(self, schema: Mapping[str, Any], references: tuple[str, ...]) -> list[Any]:
        count = _least(schema, "minItems")
        prefix = schema.get("prefixItems", [])[:count]
        items = schema.get("items", True)
        return [self.value(item, references) for item in (*prefix, *[items] * (count - len(prefix)))]


def _least(schema: Mapping[str, Any], keyword: str) -> int:
    """How much there must be of it; nobody wants a million."""
    least: int = schema.get(keyword, 0)
    if least > _MOST:
        raise BadInputError(f"The JSON schema has the {keyword} {least!r:.50}; the scripted engine makes up {_MOST}.")
    return least


def _merged(schema: Mapping[str, Any], other: Any) -> Any:
    """Both schemas at once, as far as a minimal value needs it."""
    if not isinstance(other, Mapping):
        return schema if other is True else other
    result = {**schema, **other}
    if "properties" in schema and "properties" in other:
        result["properties"] = {**schema["properties"], **other["properties"]}
    if "required" in schema and "required" in other:
        result["required"] = list(dict.fromkeys([*schema["required"], *other["required"]]))
    return result


def _implied_type(schema: Mapping[str, Any]) -> str:
    """The type that a schema without one can only be meant for; an object for the schema that allows everything."""
    for kind, keywords in (
        ("array", ("items", "prefixItems", "minItems")),
        ("string", ("minLength", "maxLength", "pattern", "format")),
        ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
    ):
        if any(keyword in schema for keyword in keywords):
            return kind
    return "object"


def _string(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        for example in (*schema.get("examples", ()), schema.get("default")):
            if isinstance(example, str):
                return example
        raise BadInputError(
            f"The scripted engine cannot make up a text for the pattern {schema['pattern']!r}.",
            suggestion="Give the schema an example, or give the engine a reply.",
        )
    text = _FORMATS.get(schema.get("format", ""), "")
    return text.ljust(_least(schema, "minLength"), "a")


def _number(schema: Mapping[str, Any], *, is_whole: bool) -> int | float:
    """Zero if it is allowed, otherwise the nearest allowed number."""
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    step = schema.get("multipleOf", 1 if is_whole else None)
    if step is None:
        candidates = [0, low, high, (max(low, above) + min(high, below)) / 2, above + 1, below - 1]
    else:
        candidates = [0]
        for edge in (low, high, above, below):
            if math.isfinite(edge):
                candidates += [math.floor(edge / step + shift) * step for shift in (0, 1, -1)]
                candidates.append(math.ceil(edge / step) * step)
    for value in candidates:
        if math.isfinite(value) and low <= value <= high and above < value < below:
            return int(value) if is_whole or value == int(value) else value
    raise BadInputError(f"No number satisfies the schema {dict(schema)!r}.")
