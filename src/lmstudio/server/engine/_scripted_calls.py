"""What a scripted model writes besides plain text: tool calls and reasoning, as text, as a real model does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server.engine._gate import Gate

Pieces: TypeAlias = "str | Sequence[str | Gate]"
"""A text, sent in parts of the engine's choice, or the parts to send and gates between them."""

CALL_START: Final = "<tool_call>\n"
CALL_END: Final = "\n</tool_call>"


@dataclass(frozen=True)
class ToolCall:
    """A call of the tool *name*, in the form of Hermes and Qwen.

    *arguments*: an object; or JSON text, whole or in pieces with gates between them, which may be wrong. None writes no
    arguments at all. *id* is what the request is to carry; without one the server makes one up.
    """

    name: str
    arguments: Mapping[str, Any] | Pieces | None = None
    id: str | None = None

    def pieces(self, split: Callable[[str], list[str]]) -> list[str | Gate]:
        """The text in parts: the marker, then up to the name, then the arguments, then the end."""
        head = "" if self.id is None else f'"id": {_json(self.id)}, '
        parts: list[str | Gate] = [CALL_START, f'{{{head}"name": {_json(self.name)}']
        if self.arguments is not None:
            arguments = _json(self.arguments) if isinstance(self.arguments, Mapping) else self.arguments
            parts += [', "arguments": ', *_parts(arguments, split)]
        return [*parts, "}", CALL_END]


@dataclass(frozen=True)
class BrokenToolCall:
    """Something that begins and ends like a tool call, with *content* between that need not be one."""

    content: Pieces

    def pieces(self, split: Callable[[str], list[str]]) -> list[str | Gate]:
        """The text in parts."""
        return [CALL_START, *_parts(self.content, split), CALL_END]


@dataclass(frozen=True)
class Reasoning:
    """A block of reasoning between its tags."""

    content: Pieces
    start: str = "<think>"
    end: str = "</think>"

    def pieces(self, split: Callable[[str], list[str]]) -> list[str | Gate]:
        """The text in parts: the tags are parts of their own."""
        return [self.start, *_parts(self.content, split), self.end]


def _json(value: Any) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False)


def _parts(content: Pieces, split: Callable[[str], list[str]]) -> list[str | Gate]:
    return [*split(content)] if isinstance(content, str) else [*content]
