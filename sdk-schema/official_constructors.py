"""Where the constructors of the official Python SDK differ from what the schemas of lmstudio.js make of a type.

Code written for the official SDK has to run unchanged, and what is on the wire has to stay as lmstudio.js wants it. So
these differences exist in the constructors only. Each entry fails when it has become wrong or needless.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from wire_schema import JsonObject, tag_of

Members: TypeAlias = dict[str, str]

# The official SDK does not know these members, so its callers cannot give them: they are optional here. lmstudio.js
# requires them, so they are sent all the same. Struct -> wire name -> factory of the default, as Python source: msgspec
# leaves out plain defaults and empty containers, but sends what any other factory made.
SENT_WITH_DEFAULT: Final[dict[str, Members]] = {
    # Added after the official SDK's release: who published a model, and which LM Link device has it (null: this one).
    "LlmInfo": {"publisher": "str", "indexedModelIdentifier": "str", "deviceIdentifier": "lambda: None"},
    "EmbeddingModelInfo": {"publisher": "str", "indexedModelIdentifier": "str", "deviceIdentifier": "lambda: None"},
    # The same, and when an instance unloads itself and was last used (null: never).
    "LlmInstanceInfo": {
        "publisher": "str",
        "indexedModelIdentifier": "str",
        "deviceIdentifier": "lambda: None",
        "ttlMs": "lambda: None",
        "lastUsedTime": "lambda: None",
    },
    "EmbeddingModelInstanceInfo": {
        "publisher": "str",
        "indexedModelIdentifier": "str",
        "deviceIdentifier": "lambda: None",
        "ttlMs": "lambda: None",
        "lastUsedTime": "lambda: None",
    },
    # Added after the official SDK's release; normally false.
    "LlmPredictionFragment": {"isStructural": "bool"},
}

# Unions that have one variant so far. The official SDK has an ordinary member where the variant gets a tag here, and a
# tag is no parameter of a msgspec constructor: ToolCallRequest(type="function", name=...).
TAG_IS_MEMBER: Final = frozenset({"ToolCallRequest"})

# Members that only the official SDK has. They are sent only if a caller sets them.
ONLY_OFFICIAL: Final[dict[str, JsonObject]] = {
    # Whether the model has to call a tool; lmstudio.js says it with toolChoice instead.
    "LlmToolUseSettingToolArray": {"force": {"type": "boolean"}},
}


def add_official_members(definitions: JsonObject) -> None:
    """Add the members that only the official SDK has."""
    for name, members in ONLY_OFFICIAL.items():
        properties = definitions[name]["properties"]
        known = members.keys() & properties.keys()
        if known:
            raise SystemExit(f"official_constructors.py: lmstudio.js has {name}.{known} too; remove the entry.")
        properties.update(members)


def sent_with_default(name: str, schema: JsonObject) -> Members:
    """Wire names of the members that the constructor fills in itself, with the factories of their values."""
    factories = SENT_WITH_DEFAULT.get(name, {})
    needless = factories.keys() - set(schema.get("required", ()))
    if needless:
        raise SystemExit(f"official_constructors.py: {name} does not require {needless}; remove the entry.")
    tag = tag_of(schema) if name in TAG_IS_MEMBER else None
    return factories if tag is None else {**factories, tag[0]: f'lambda: "{tag[1]}"'}


def check_names(definitions: JsonObject) -> None:
    """Fail on an entry for a type that does not exist, or that has no tag."""
    untagged = {name for name in TAG_IS_MEMBER if tag_of(definitions.get(name, {})) is None}
    unknown = (SENT_WITH_DEFAULT.keys() | ONLY_OFFICIAL.keys()) - definitions.keys()
    if untagged or unknown:
        raise SystemExit(f"official_constructors.py: no such struct, or without a tag: {untagged | unknown}")
