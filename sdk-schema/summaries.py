"""Writes the one-line docstring of each generated type: where on the wire it occurs."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from wire_schema import JsonObject, reference, references, tag_of

_WIDTH = 105  # of a docstring's text
_CONFIG = "Not sent as such: its content travels in the fields of a KvConfig."


def summaries(document: JsonObject) -> dict[str, str]:
    """Docstring by name, for every definition that becomes a class."""
    definitions = document["definitions"]
    occurrences = _endpoint_occurrences(document)
    owners = _owners(definitions)
    result: dict[str, str] = {}
    for name, schema in definitions.items():
        if "properties" not in schema:
            continue
        if name in occurrences:
            role, places = occurrences[name]
            result[name] = _sentence(role, places)
        elif name in owners:
            result[name] = _sentence("Part of", sorted(owners[name]))
        else:
            result[name] = _CONFIG
    return result


def _endpoint_occurrences(document: JsonObject) -> dict[str, tuple[str, list[str]]]:
    """For each struct that an endpoint takes or gives as a whole: what it is there, and the endpoints."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    roles: dict[str, str] = {}
    for namespace, kinds in document["endpoints"].items():
        for kind, endpoints in kinds.items():
            for endpoint, shapes in endpoints.items():
                for role, shape in shapes.items():
                    for name in _structs(document["definitions"], shape):
                        phrase = _phrase(kind, role, document["definitions"][name])
                        if roles.setdefault(name, phrase) == phrase:
                            places[name].append(f"{namespace}/{endpoint}")
    return {name: (roles[name], places[name]) for name in roles}


def _structs(definitions: JsonObject, shape: Any) -> list[str]:
    """The structs a shape consists of: itself, or the members of a union."""
    if not isinstance(shape, dict):
        return []
    name = reference(shape)
    while name is not None and reference(definitions[name]) is not None:
        name = reference(definitions[name])
    schema = shape if name is None else definitions[name]
    if "properties" in schema and name is not None:
        return [name]
    return [each for variant in schema.get("anyOf", ()) for each in _structs(definitions, variant)]


def _phrase(kind: str, role: str, schema: JsonObject) -> str:
    tag = tag_of(schema)
    match role:
        case "parameter" | "creationParameter":
            return f"Parameter of the {kind}"
        case "returns":
            return f"Result of the {kind}"
        case _:
            direction = "from the server" if role == "toClientPacket" else "to the server"
            return f"Packet `{tag[1] if tag else ''}` {direction}, channel"


def _owners(definitions: JsonObject) -> dict[str, set[str]]:
    """Structs by the structs inside them, looking through aliases and unions."""
    owners: defaultdict[str, set[str]] = defaultdict(set)

    def add(owner: str, schema: JsonObject) -> None:
        for name in references(schema):
            if "properties" in definitions[name]:
                owners[name].add(owner)
            else:
                add(owner, definitions[name])

    for owner, schema in definitions.items():
        if "properties" in schema:
            add(owner, schema)
    return owners


def _sentence(start: str, names: list[str]) -> str:
    """The start and as many names as fit on one line, at least one."""
    count = len(names)
    while count > 1 and len(start) + len(", ".join(names[:count])) > _WIDTH:
        count -= 1
    rest = f" and {len(names) - count} more" if count < len(names) else ""
    return f"{start} {', '.join(names[:count])}{rest}."
