"""The generator's input for msgspec structs."""

from __future__ import annotations

import re
from collections import defaultdict

import config_docs
from official_constructors import TAG_IS_MEMBER, sent_with_default
from typing_extensions import override
from wire_schema import (
    CONSTRAINTS,
    JsonObject,
    ModelSchema,
    Translator,
    closure,
    reference,
    references,
    resolve,
    tag_of,
)

# Structs with methods. Their base class is written by hand.
_BASES = dict.fromkeys(
    ("AssistantResponse", "SystemPrompt", "ToolResultMessage", "UserMessage"), "lmstudio._chat_message.ChatMessage"
)


def assign_modules(document: JsonObject) -> dict[str, str]:
    """Module of each definition: the one namespace that uses it, else `shared`."""
    definitions = document["definitions"]
    users: defaultdict[str, set[str]] = defaultdict(set)
    for namespace, endpoints in document["endpoints"].items():
        for name in closure(definitions, references(endpoints)):
            users[name].add(namespace)
    for module, names in document["extra"].items():
        for name in closure(definitions, set(names)):
            users[name].add(module)
    modules = {name: next(iter(using)) if len(using) == 1 else "shared" for name, using in users.items()}
    for name in definitions.keys() - modules.keys():
        # Only the endpoint's own name for a shape that has a shared one is mentioned nowhere.
        prefix = re.match("[A-Z][a-z]+", name)
        modules[name] = prefix[0].lower() if prefix and prefix[0].lower() in document["endpoints"] else "shared"
    return modules


def merge_boolean_unions(definitions: JsonObject) -> None:
    """Make one object of a union that a boolean tells apart.

    msgspec tags are strings, so such a union becomes a struct whose boolean is an ordinary member; a member that not
    every variant requires is optional.
    """
    for schema in list(definitions.values()):
        discriminator = schema.get("discriminator", {}).get("propertyName")
        variants = [resolve(definitions, variant) for variant in schema.get("anyOf", ())]
        if discriminator is None or any(isinstance(v["properties"][discriminator].get("const"), str) for v in variants):
            continue
        properties = {name: member for variant in variants for name, member in variant["properties"].items()}
        required = [name for name in properties if all(name in variant.get("required", ()) for variant in variants)]
        for variant in schema["anyOf"]:
            del definitions[str(reference(variant))]
        schema.clear()
        properties[discriminator] = {"type": "boolean"}
        schema.update({"type": "object", "properties": properties, "required": required})


class _StructTranslator(Translator):
    """For msgspec structs."""

    def __init__(
        self, definitions: JsonObject, modules: dict[str, str], summaries: dict[str, str], null_is_absent: set[str]
    ) -> None:
        super().__init__(definitions)
        self.modules = modules
        self.summaries = summaries
        self.null_is_absent = null_is_absent
        self.unused_exceptions = set(null_is_absent)
        self.template_data: JsonObject = {}
        unions = [schema["anyOf"] for schema in definitions.values() if "discriminator" in schema]
        self.in_union = {reference(variant) for variants in unions if len(variants) > 1 for variant in variants}

    @override
    def qualified(self, name: str) -> str:
        return f"{self.modules[name]}.{name}"

    @override
    def struct(self, schema: JsonObject, name: str) -> JsonObject:
        tag = None if name in TAG_IS_MEMBER else tag_of(schema)
        data: JsonObject = {
            "summary": config_docs.SUMMARIES.get(name, self.summaries[name]),
            "factories": sent_with_default(name, schema),
            "texts": config_docs.MEMBERS.get(name, {}),
        }
        if tag is not None:
            data["wire_tag"] = {"field": tag[0], "value": tag[1]}
            if name not in self.in_union:
                # The generator tags the members of unions; for a struct that stands alone it has to be told.
                data["base_class_kwargs"] = {"tag_field": f'"{tag[0]}"', "tag": f'"{tag[1]}"'}
                members = {key: member for key, member in schema["properties"].items() if key != tag[0]}
                schema = {**schema, "properties": members}
                schema["required"] = [key for key in schema.get("required", []) if key != tag[0]]
        self.template_data[self.qualified(name)] = data
        result = super().struct(schema, name)
        return {**result, "customBasePath": _BASES[name]} if name in _BASES else result

    @override
    def member(self, schema: JsonObject, path: str, owner: str, *, required: bool) -> JsonObject:
        result = self.value(schema, path)
        if required or {"type": "null"} in result.get("anyOf", ()):
            return result
        if not result and owner not in self.null_is_absent:
            return result
        self.unused_exceptions.discard(owner)
        # `T | None = None`: where the wire has no null, None stands for the absent member.
        return {"anyOf": [result], "nullable": True} if "$ref" in result else {**result, "nullable": True}

    @override
    def leaf(self, schema: JsonObject, path: str, *, inline: bool) -> JsonObject:
        result = {key: value for key, value in schema.items() if key not in ("default", "const")}
        if isinstance(schema.get("const"), str):
            result["enum"] = [schema["const"]]
        if not _python_understands(result.get("pattern", "")):
            del result["pattern"]
        return result if inline or not CONSTRAINTS & result.keys() else self.hoist(result, path)

    @override
    def fixed_array(self, schema: JsonObject, path: str) -> JsonObject:
        items = [self.value(item, f"{path}{index}", inline=False) for index, item in enumerate(schema["items"])]
        result = {"type": "array", "prefixItems": items, "items": False}
        return result if path in self.definitions else self.hoist(result, path)

    def hoist(self, schema: JsonObject, path: str) -> JsonObject:
        """Define a nested schema under a name of its own: the generator would invent a worse one."""
        self.modules[path] = self.modules[self.current]
        self.output[self.qualified(path)] = schema
        return self.refer(path)


def _python_understands(pattern: str) -> bool:
    """Whether Python's `re` takes a JavaScript pattern: it has no Unicode classes such as `\\p{L}`."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def struct_schema(document: JsonObject, summaries: dict[str, str], null_is_absent: list[str]) -> ModelSchema:
    """The input for the run that writes the structs."""
    modules = assign_modules(document)
    translator = _StructTranslator(document["definitions"], modules, summaries, set(null_is_absent))
    for name in document["definitions"]:
        translator.define(name)
    if translator.unused_exceptions:
        raise SystemExit(
            f"generator.json: nullIsAbsent names no optional member of any type: {translator.unused_exceptions}"
        )
    return ModelSchema(translator.output, translator.template_data, modules)
