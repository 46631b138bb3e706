"""SuperJSON, as far as the protocol needs it: one endpoint (runtime/getEngineSelections) sends undefined and a Map.

A value is an object with two members: `json`, the value as plain JSON, and `meta`, which says what JSON has no word
for. A Map is a list of its entries there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

__all__ = ["SuperJson", "superjson_map", "superjson_undefined"]


class SuperJsonMeta(msgspec.Struct, rename="camel", omit_defaults=True):
    """What kind of value is where."""

    values: Any = None
    referential_equalities: Any = None


class SuperJson(msgspec.Struct, Generic[T], omit_defaults=True):
    """A value with what JSON cannot say about it."""

    UNDEFINED: ClassVar[str] = "undefined"
    MAP: ClassVar[str] = "map"

    json: T
    meta: SuperJsonMeta | None = None

    @property
    def kind(self) -> str | None:
        """What the whole value is, e.g. "map"; None for plain JSON."""
        values = None if self.meta is None else self.meta.values
        # The inside of a transformed value, if it needs annotations too, comes after the kind of the whole.
        return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else None


def superjson_undefined() -> SuperJson[None]:
    """What lmstudio.js sends for a parameter that there is not."""
    return SuperJson(None, SuperJsonMeta([SuperJson.UNDEFINED]))


def superjson_map(entries: Iterable[T]) -> SuperJson[list[T]]:
    """A Map of *entries*, each a key and a value of plain JSON."""
    return SuperJson(list(entries), SuperJsonMeta([SuperJson.MAP]))
