"""The generator's input for typed dicts."""

from __future__ import annotations

from typing_extensions import override
from wire_schema import CONSTRAINTS, JsonObject, ModelSchema, Translator, closure


class _TypedDictTranslator(Translator):
    """For typed dicts: enumerations and scalars are written out, so that the module needs no other."""

    @override
    def qualified(self, name: str) -> str:
        return f"{name}Dict"

    @override
    def struct(self, schema: JsonObject, name: str) -> JsonObject:
        return {"description": f"A {name} written as a dict.", **super().struct(schema, name)}

    @override
    def member(self, schema: JsonObject, path: str, owner: str, *, required: bool) -> JsonObject:
        return self.value(schema, path)

    @override
    def refer(self, name: str) -> JsonObject:
        schema = self.definitions[name]
        is_dict = "properties" in schema or "discriminator" in schema
        return super().refer(name) if is_dict else self.value(schema, name)

    @override
    def leaf(self, schema: JsonObject, path: str, *, inline: bool) -> JsonObject:
        return {key: value for key, value in schema.items() if key not in CONSTRAINTS and key != "default"}

    @override
    def fixed_array(self, schema: JsonObject, path: str) -> JsonObject:
        items = [self.value(item, path) for item in schema["items"]]
        return {"type": "array", "prefixItems": items, "items": False}


def typed_dict_schema(document: JsonObject, roots: list[str]) -> ModelSchema:
    """The input for the run that writes the typed dicts: the listed types and the structs inside them."""
    definitions = document["definitions"]
    unknown = set(roots) - definitions.keys()
    if unknown:
        raise SystemExit(f"generator.json: typedDicts names types that do not exist: {unknown}")
    translator = _TypedDictTranslator(definitions)
    for name in sorted(closure(definitions, set(roots))):
        if "properties" in definitions[name] or "discriminator" in definitions[name]:
            translator.define(name)
    return ModelSchema(translator.output, {}, dict.fromkeys(translator.output, "dicts"))
