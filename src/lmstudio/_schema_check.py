"""Whether plain JSON data matches a JSON schema: for the arguments of tools that are described by one.

Checked, with the meaning of draft 2020-12: `type`, `enum`, `const`; `properties`, `patternProperties`,
`additionalProperties`, `propertyNames`, `required`, `dependentRequired`, `dependentSchemas`, `minProperties`,
`maxProperties`; `items`, `prefixItems` and the older list form of `items` with `additionalItems`, `contains`,
`minContains`, `maxContains`, `minItems`, `maxItems`, `uniqueItems`; `minimum`, `maximum`, `exclusiveMinimum`,
`exclusiveMaximum`, `multipleOf`; `minLength`, `maxLength`, `pattern`; `anyOf`, `oneOf`, `allOf`, `not`,
`if`/`then`/`else`, and `$ref` within the schema.

Not checked: `format` and other annotations, `unevaluated...`, and a pattern that Python cannot compile (schemas write
the dialect of JavaScript).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Mismatch", "are_equal", "find_mismatch", "verify_schema"]

_Schema: TypeAlias = "Mapping[str, Any] | bool"


class Mismatch(NamedTuple):
    """The first place where data does not match."""

    path: str
    """Such as `items[0].name`; "" is the root."""
    problem: str
    """What was expected and what was found."""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


def find_mismatch(value: Any, schema: _Schema) -> Mismatch | None:
    """Where *value*, made of plain JSON data, does not match *schema*; None if it does.

    *schema* has passed `verify_schema`.

    Raises:
        RecursionError: *value* is nested too deeply, or the schema refers to itself without end.
    """
    return next(_Check(schema).mismatches(value, schema, ""), None)


# Verifying a schema --------------------------------------------------------------------------------------------------

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == value // 1,
    "number": lambda value: _is_number(value),  # noqa: PLW0108 - defined below
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, Mapping),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (Mapping, bool))


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _is_count(value: Any) -> bool:
    return _TYPES["integer"](value) and value >= 0


def _is_type(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _is_names(names) and all(name in _TYPES for name in names)


def _is_list_of_schemas(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_schema, value))


def _is_map_of_schemas(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_schema, value.values()))


# Keywords -> what they must be, in words and as a test.
_FORMS: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("type", f"one of {', '.join(_TYPES)}, or a list of these", _is_type),
    ("enum", "a list", lambda value: isinstance(value, (list, tuple))),
    ("required", "a list of names", _is_names),
    ("properties patternProperties dependentSchemas $defs definitions", "an object of schemas", _is_map_of_schemas),
    (
        "additionalProperties propertyNames additionalItems contains not if then else",
        "a schema (an object, true or false)",
        _is_schema,
    ),
    ("items", "a schema or a list of schemas", lambda value: _is_schema(value) or _is_list_of_schemas(value)),
    ("prefixItems anyOf oneOf allOf", "a list of schemas", _is_list_of_schemas),
    (
        "minProperties maxProperties minItems maxItems minContains maxContains minLength maxLength",
        "a number, 0 or more",
        _is_count,
    ),
    ("minimum maximum exclusiveMinimum exclusiveMaximum", "a number", _is_number),
    ("multipleOf", "a number above 0", lambda value: _is_number(value) and value > 0),
    ("uniqueItems", "true or false", lambda value: isinstance(value, bool)),
    ("pattern $ref", "a text", lambda value: isinstance(value, str)),
    (
        "dependentRequired",
        "an object of lists of names",
        lambda value: isinstance(value, Mapping) and all(map(_is_names, value.values())),
    ),
)
_FORM_OF = {keyword: (words, test) for keywords, words, test in _FORMS for keyword in keywords.split()}


def verify_schema(schema: _Schema) -> None:
    """Make sure that `find_mismatch` can use *schema*.

    Raises:
        ValueError: a keyword has an unusable value, or a `$ref` leads nowhere; the message names the place.
    """
    for place, part in _parts(schema, "#"):
        for keyword, value in part.items():
            words, test = _FORM_OF.get(keyword, ("", _accept))
            if not test(value):
                raise ValueError(f"{place}/{keyword} must be {words}, not {value!r:.80}")
        if "$ref" in part:
            _resolve(schema, part["$ref"])


def _accept(_: Any) -> bool:
    return True


def _parts(schema: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema within *schema*, itself first, with where it is. Values of unusable form are passed over."""
    if not isinstance(schema, Mapping):
        return
    yield place, schema
    for keyword, value in schema.items():
        words, _ = _FORM_OF.get(keyword, ("", _accept))
        if "schema" not in words:
            continue
        if words == "an object of schemas" and isinstance(value, Mapping):
            for name, part in value.items():
                yield from _parts(part, f"{place}/{keyword}/{name}")
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                yield from _parts(part, f"{place}/{keyword}/{index}")
        else:
            yield from _parts(value, f"{place}/{keyword}")


def _resolve(root: _Schema, reference: str) -> _Schema:
    """The schema that a `$ref` means."""
    from urllib.parse import unquote

    found: Any = root
    if not reference.startswith("#"):
        raise ValueError(f"$ref {reference!r} leads out of the schema; only references such as '#/$defs/Name' work")
    try:
        for step in unquote(reference[1:]).split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found[int(key) if isinstance(found, (list, tuple)) else key]
    except (LookupError, TypeError, ValueError):
        found = None
    # "#name" is an anchor, which is as good as unknown here.
    if not _is_schema(found) or reference[1:2] not in ("", "/"):
        raise ValueError(f"$ref {reference!r} leads nowhere in the schema")
    return found  # type: ignore[no-any-return]  # JSON, and a schema as has been seen


# Checking data -------------------------------------------------------------------------------------------------------


class _Check:
    def __init__(self, root: _Schema) -> None:
        self._root = root

    def mismatches(self, value: Any, schema: _Schema, path: str) -> Iterator[Mismatch]:
        """The places where *value* does not match, in the order of the keywords below."""
        if isinstance(schema, bool):
            if not schema:
                yield Mismatch(path, "nothing is allowed here")
            return
        if "$ref" in schema:
            yield from self.mismatches(value, _resolve(self._root, schema["$ref"]), path)
        yield from self._value(value, schema, path)
        if isinstance(value, Mapping):
            yield from self._object(value, schema, path)
        elif isinstance(value, (list, tuple)):
            yield from self._array(value, schema, path)
        elif isinstance(value, str):
            yield from self._string(value, schema, path)
        elif _is_number(value):
            yield from self._number(value, schema, path)
        yield from self._combinations(value, schema, path)

    def _matches(self, value: Any, schema: _Schema) -> bool:
        return next(self.mismatches(value, schema, ""), None) is None

    def _value(self, value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        if "type" in schema:
            types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
            if not any(_TYPES[name](value) for name in types):
                yield Mismatch(path, f"expected {' or '.join(types)}, got {_described(value)}")
        if "const" in schema and not are_equal(value, schema["const"]):
            yield Mismatch(path, f"expected {_shown(schema['const'])}, got {_shown(value)}")
        if "enum" in schema and not any(are_equal(value, choice) for choice in schema["enum"]):
            choices = ", ".join(map(_shown, schema["enum"]))
            yield Mismatch(path, f"expected one of {choices:.300}, got {_shown(value)}")

    def _object(self, value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        properties = schema.get("properties", {})
        required = list(schema.get("required", ()))
        for name, others in schema.get("dependentRequired", {}).items():
            required += others if name in value else ()
        for name in required:
            if name not in value:
                yield Mismatch(path, f"{name!r} is missing")
        patterns = [
            (pattern, part)
            for text, part in schema.get("patternProperties", {}).items()
            if (pattern := _compiled(text)) is not None
        ]
        for name, item in value.items():
            inner = _joined(path, name)
            parts = [part for pattern, part in patterns if pattern.search(name)]
            if name in properties:
                parts.append(properties[name])
            if not parts and schema.get("additionalProperties") is False:
                known = f"; there are {', '.join(map(repr, properties))}" if properties else ""
                yield Mismatch(path, f"there is no {name!r}{known}")
            elif not parts and "additionalProperties" in schema:
                parts = [schema["additionalProperties"]]
            for part in parts:
                yield from self.mismatches(item, part, inner)
            yield from self.mismatches(name, schema.get("propertyNames", True), f"the name {inner}")
        for name, part in schema.get("dependentSchemas", {}).items():
            yield from self.mismatches(value, part if name in value else True, path)
        yield from _size_mismatches(len(value), "Properties", schema, path)

    def _array(self, value: list[Any] | tuple[Any, ...], schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        first, rest = schema.get("prefixItems", ()), schema.get("items", True)
        if isinstance(rest, (list, tuple)):  # up to draft 2019-09
            first, rest = rest, schema.get("additionalItems", True)
        for index, item in enumerate(value):
            yield from self.mismatches(item, first[index] if index < len(first) else rest, f"{path}[{index}]")
        if "contains" in schema:
            count = sum(self._matches(item, schema["contains"]) for item in value)
            least, most = schema.get("minContains", 1), schema.get("maxContains", len(value))
            if not least <= count <= most:
                yield Mismatch(path, f"{count} items are as 'contains' demands, expected {least} to {most}")
        if schema.get("uniqueItems") and any(
            are_equal(item, other) for index, item in enumerate(value) for other in value[:index]
        ):
            yield Mismatch(path, "an item occurs twice")
        yield from _size_mismatches(len(value), "Items", schema, path)

    def _string(self, value: str, schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        pattern = _compiled(schema["pattern"]) if "pattern" in schema else None
        if pattern is not None and not pattern.search(value):
            yield Mismatch(path, f"expected a text that matches {pattern.pattern!r}, got {_shown(value)}")
        yield from _size_mismatches(len(value), "Length", schema, path)

    def _number(self, value: float, schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        if "minimum" in schema and not value >= schema["minimum"]:
            yield Mismatch(path, f"expected at least {schema['minimum']}, got {value}")
        if "maximum" in schema and not value <= schema["maximum"]:
            yield Mismatch(path, f"expected at most {schema['maximum']}, got {value}")
        if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
            yield Mismatch(path, f"expected more than {schema['exclusiveMinimum']}, got {value}")
        if "exclusiveMaximum" in schema and not value < schema["exclusiveMaximum"]:
            yield Mismatch(path, f"expected less than {schema['exclusiveMaximum']}, got {value}")
        if "multipleOf" in schema and not _is_multiple(value, schema["multipleOf"]):
            yield Mismatch(path, f"expected a multiple of {schema['multipleOf']}, got {value}")

    def _combinations(self, value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
        for part in schema.get("allOf", ()):
            yield from self.mismatches(value, part, path)
        if "anyOf" in schema:
            yield from self._alternatives(value, schema["anyOf"], path)
        if "oneOf" in schema:
            yield from self._alternatives(value, schema["oneOf"], path)
            if sum(self._matches(value, part) for part in schema["oneOf"]) > 1:
                yield Mismatch(path, f"{_shown(value)} matches several of the alternatives, of which one is allowed")
        if "not" in schema and self._matches(value, schema["not"]):
            yield Mismatch(path, f"{_shown(value)} is excluded")
        if "if" in schema:
            branch = "then" if self._matches(value, schema["if"]) else "else"
            yield from self.mismatches(value, schema.get(branch, True), path)

    def _alternatives(self, value: Any, parts: list[_Schema], path: str) -> Iterator[Mismatch]:
        failures: list[Mismatch] = []
        for part in parts:
            failure = next(self.mismatches(value, part, path), None)
            if failure is None:
                return
            if failure not in failures:
                failures.append(failure)
        if len(failures) == 1:
            yield failures[0]
        else:
            inner = "; ".join(problem if where == path else f"{where}: {problem}" for where, problem in failures)
            yield Mismatch(path, f"matches none of {len(parts)} alternatives ({inner})")


def _size_mismatches(size: int, unit: str, schema: Mapping[str, Any], path: str) -> Iterator[Mismatch]:
    what = {"Properties": "members", "Items": "items", "Length": "characters"}[unit]
    if size < schema.get(f"min{unit}", 0):
        yield Mismatch(path, f"expected at least {schema[f'min{unit}']} {what}, got {size}")
    if size > schema.get(f"max{unit}", size):
        yield Mismatch(path, f"expected at most {schema[f'max{unit}']} {what}, got {size}")


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    from fractions import Fraction

    # As written: 0.3 is a multiple of 0.1, though not in binary.
    try:
        return (Fraction(str(value)) / Fraction(str(factor))).denominator == 1
    except ValueError:  # not finite
        return False


def are_equal(left: Any, right: Any) -> bool:
    """Equal as JSON values: 1 is 1.0, but not true."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(are_equal(left[name], right[name]) for name in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(are_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _described(value: Any) -> str:
    name = next((name for name, test in _TYPES.items() if test(value)), type(value).__name__)
    return name if isinstance(value, (Mapping, list, tuple)) or value is None else f"{name} {_shown(value)}"


def _shown(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:80]}..."
