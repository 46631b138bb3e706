"""What servers send: a recording of every kind of message, its shape, and everything that may be different in it.

`server_messages.json` was recorded by `peer/record_server_messages.py`. It has, for each endpoint, conversations of one
call or channel: all that the server said, with the id 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECORDING = Path(__file__).with_suffix(".json")

Place: TypeAlias = "tuple[str | int, ...]"
"""Where something is inside a JSON value."""
Messages: TypeAlias = "list[dict[str, Any]]"
"""What the server says in one call or channel."""

AUTHENTICATION = "authentication"
"""Under this name: the first message of each connection."""
NO_ENDPOINT = "no endpoint"
"""Under this name: messages that belong to no call and no channel."""

_INNER_TAGS = ("code", "key")
"""Members whose value says what is beside them; beside a `type` there is always the same."""


def recorded() -> dict[str, list[Messages]]:
    """The conversations of each endpoint, by "namespace/endpoint"."""
    conversations: dict[str, list[Messages]] = json.loads(RECORDING.read_text(encoding="utf-8"))
    return conversations


def write_recording(conversations: dict[str, list[Messages]]) -> None:
    """Write the recording, one message per line."""
    endpoints = []
    for endpoint, items in sorted(conversations.items()):
        lines = [",\n".join(f"   {json.dumps(message, ensure_ascii=False)}" for message in item) for item in items]
        endpoints.append(f" {json.dumps(endpoint)}: [\n" + ",\n".join(f"  [\n{each}\n  ]" for each in lines) + "\n ]")
    RECORDING.write_text("{\n" + ",\n".join(endpoints) + "\n}\n", encoding="utf-8")


# Shapes --------------------------------------------------------------------------------------------------------------


def shape(messages: Iterable[Any]) -> set[str]:
    """What is where in *messages*: types in the place of values, and the tags."""
    return {f"{path} {_kind(value)}" for message in messages for _, path, value in paths(message)}


def paths(message: dict[str, Any]) -> Iterator[tuple[Place, str, Any]]:
    """Everything in a message: its place, the path that others of its kind have too, and the value."""
    inner = message.get("message")
    kinds = (message.get("type"), inner.get("type") if isinstance(inner, dict) else message.get("success"))
    return _paths(message, (), ":".join(str(kind) for kind in kinds if kind is not None))


def _paths(value: Any, place: Place, path: str) -> Iterator[tuple[Place, str, Any]]:
    yield place, path, value
    if isinstance(value, dict):
        tag = next((f"[{name}={value[name]}]" for name in _INNER_TAGS if isinstance(value.get(name), str)), "")
        for name, item in value.items():
            yield from _paths(item, (*place, name), f"{path}{tag}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*place, index), f"{path}[]")


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", bool: "boolean", str: "text", type(None): "null"}
    return kinds.get(type(value), "number")


# Changes -------------------------------------------------------------------------------------------------------------


def at(value: Any, place: Place) -> Any:
    """What is at *place*."""
    for step in place:
        value = value[step]
    return value


_NOTHING = object()


def dropped(value: Any, place: Place) -> Any:
    """*value* without what is at *place*. Shares what is not changed with *value*, as all of these."""
    return replaced(value, place, _NOTHING)


def replaced(value: Any, place: Place, other: Any) -> Any:
    """*value* with *other* at *place*."""
    if not place:
        return other
    step: Any = place[0]
    inner = replaced(value[step], place[1:], other)
    if isinstance(value, dict):
        return {
            name: inner if name == step else item
            for name, item in value.items()
            if name != step or inner is not _NOTHING
        }
    return [*value[:step], *([] if inner is _NOTHING else [inner]), *value[step + 1 :]]


OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2.5,
    2**70,
    "",
    "somethingNew",
    [],
    [None],
    ["somethingNew"],
    {},
    {"type": "somethingNew"},
    {"new": {"form": 1}},
)
"""One of each type, and those of the same type that are no value of any enumeration."""


def changes_at(value: Any, place: Place) -> Iterator[Any]:
    """Each way to change what is at *place*, or, for objects and lists, to add something to it."""
    old = at(value, place)
    if place:
        yield dropped(value, place)
    for other in OTHER_VALUES:
        if other != old or type(other) is not type(old):
            yield replaced(value, place, other)
    if isinstance(old, dict):
        yield replaced(value, place, {**old, "brandNew": {"a": [1]}})
    if isinstance(old, list):
        for new in (None, "somethingNew", {"type": "somethingNew"}, {"brandNew": 1}):
            yield replaced(value, place, [*old, new])
