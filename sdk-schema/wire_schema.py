"""The wire schema as a graph of definitions, and the walk that turns it into the generator's input.

The cached schema says what is on the wire. The generator needs more: the module of each type, how an absent member
differs from a null one, a tag for structs that stand alone, and no construct that msgspec cannot express.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]

REFERENCE = "#/definitions/"
CONSTRAINTS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern"}
)
_UNION_MEMBER_SUFFIX = {"integer": "Number", "number": "Number", "string": "Text", "array": "Range"}


@dataclass
class ModelSchema:
    """What one run of the generator needs."""

    definitions: JsonObject
    """JSON schema by `module.Name`."""
    template_data: JsonObject
    """By `module.Name`: summary, tag and struct options for the template."""
    modules: dict[str, str] = field(default_factory=dict)
    """Module by name of the type."""

    def document(self) -> JsonObject:
        """The input file of the generator."""
        return {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": self.definitions}


def reference(schema: JsonObject) -> str | None:
    """Name the definition a schema refers to, or None if it is not a reference."""
    target = schema.get("$ref")
    return target[len(REFERENCE) :] if isinstance(target, str) else None


def references(schema: object) -> set[str]:
    """Name every definition that a schema mentions, at any depth."""
    if isinstance(schema, list):
        return set().union(*map(references, schema))
    if not isinstance(schema, dict):
        return set()
    own = reference(schema)
    return set().union({own} if own else set(), *map(references, schema.values()))


def closure(definitions: JsonObject, roots: set[str]) -> set[str]:
    """Everything the roots lead to, themselves included."""
    found: set[str] = set()
    pending = set(roots)
    while pending:
        found |= pending
        pending = set().union(*(references(definitions[name]) for name in pending)) - found
    return found


def tag_of(schema: JsonObject) -> tuple[str, str] | None:
    """The property and the string that tell a struct apart from others, if it has such a property."""
    tags = [(name, member["const"]) for name, member in schema.get("properties", {}).items() if "const" in member]
    return next(((name, value) for name, value in tags if isinstance(value, str)), None)


def resolve(definitions: JsonObject, schema: JsonObject) -> JsonObject:
    """The schema itself, or the definition it refers to."""
    while (name := reference(schema)) is not None:
        schema = definitions[name]
    return schema


class Translator:
    """Walks definitions and rewrites them for the generator; subclasses say for which kind of output."""

    def __init__(self, definitions: JsonObject) -> None:
        self.definitions = definitions
        self.output: JsonObject = {}
        self.current = ""

    def qualified(self, name: str) -> str:
        """`module.Name` of a definition in the output."""
        raise NotImplementedError

    def member(self, schema: JsonObject, path: str, owner: str, *, required: bool) -> JsonObject:
        """A property of an object, which may be absent unless it is required."""
        raise NotImplementedError

    def leaf(self, schema: JsonObject, path: str, *, inline: bool) -> JsonObject:
        """A schema without schemas inside it."""
        raise NotImplementedError

    def fixed_array(self, schema: JsonObject, path: str) -> JsonObject:
        """An array with one schema per position."""
        raise NotImplementedError

    def define(self, name: str) -> None:
        """Add one definition to the output."""
        self.current = name
        schema = self.definitions[name]
        is_struct = "properties" in schema
        self.output[self.qualified(name)] = self.struct(schema, name) if is_struct else self.value(schema, name)

    def struct(self, schema: JsonObject, name: str) -> JsonObject:
        """An object with named members."""
        required = schema.get("required", [])
        properties = {
            key: self.member(member, name + key[0].upper() + key[1:], f"{name}.{key}", required=key in required)
            for key, member in schema["properties"].items()
        }
        return {"type": "object", "properties": properties, "required": required}

    def value(self, schema: JsonObject, path: str, *, inline: bool = True) -> JsonObject:
        """Any schema; one that is not inline sits inside an array or a union."""
        name = reference(schema)
        if name is not None:
            return self.refer(name)
        if "anyOf" in schema:
            return self.union(schema, path)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self.union({"anyOf": [{**schema, "type": each} for each in kind]}, path)
        if kind == "array" and isinstance(schema["items"], list):
            return self.fixed_array(schema, path)
        if kind == "array":
            return {"type": "array", "items": self.value(schema["items"], f"{path}Item", inline=False)}
        if kind == "object":
            values = schema.get("additionalProperties", {})
            return {"type": "object", "additionalProperties": self.value(values, f"{path}Value", inline=False)}
        return self.leaf(schema, path, inline=inline)

    def refer(self, name: str) -> JsonObject:
        """A reference to another definition."""
        return {"$ref": REFERENCE + self.qualified(name)}

    def union(self, schema: JsonObject, path: str) -> JsonObject:
        """A union; its literal strings become one enumeration."""
        literals = [variant["const"] for variant in schema["anyOf"] if isinstance(variant.get("const"), str)]
        variants = [
            self.value(variant, path + _UNION_MEMBER_SUFFIX.get(str(variant.get("type")), ""), inline=False)
            for variant in schema["anyOf"]
            if not isinstance(variant.get("const"), str)
        ]
        if literals:
            variants.append({"type": "string", "enum": literals})
        if len(variants) > 1 and "discriminator" in schema:
            return {"anyOf": variants, "discriminator": schema["discriminator"]}
        return {"anyOf": variants}
