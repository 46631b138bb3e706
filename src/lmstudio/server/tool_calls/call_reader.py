"""Reads one tool call in JSON while it is being written."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, TypeAlias

import msgspec

__all__ = ["CallReader", "MalformedCallError"]

_NAME: Final = "name"
_ID: Final = "id"
_ARGUMENTS: Final = ("arguments", "parameters")
_SPACE: Final = " \t\r\n"

_State: TypeAlias = Literal["start", "key", "in key", "colon", "value", "scalar", "string", "nested", "end", "broken"]


class MalformedCallError(ValueError):
    """What a model wrote is no tool call; the message says why, in one sentence."""


class CallReader:
    """Reads ``{"name": ..., "arguments": {...}}``, or with *name* given only the arguments.

    Members may come in any order, also `id`, and others that are ignored; `parameters` is another word for `arguments`.
    """

    def __init__(self, name: str | None = None, id: str | None = None) -> None:
        self.name = name
        """The name of the tool, as soon as it has been read."""
        self.id = id
        """The model's own id for the call, as soon as it has been read."""
        self.is_id_decided: bool = name is not None
        """Whether the first member has been seen: an id comes first, or is ignored until the end."""
        self._is_only_arguments = name is not None
        self._state: _State = "value" if self._is_only_arguments else "start"
        self._key = _ARGUMENTS[0] if self._is_only_arguments else ""
        # Lists, because arguments may be whole files, and come in small parts.
        self._fed: list[str] = []
        self._string: list[str] = []
        """The characters of the string that is being read, if they may matter."""
        self._depth = 0
        self._in_string = self._is_escaped = False
        self._arguments: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether the JSON is closed."""
        return self._state == "end"

    @property
    def is_broken(self) -> bool:
        """Whether this cannot become JSON of that form any more."""
        return self._state == "broken"

    def take_arguments(self) -> str:
        """The JSON text of the arguments that has come since the last time."""
        arguments, self._arguments = self._arguments, []
        return "".join(arguments)

    def feed(self, text: str) -> int:
        """Read on; how much of *text* belongs to the call, all of it while it is not complete."""
        length = len(text)
        for position, character in enumerate(text):
            if self._state in ("end", "broken"):
                length = position
                break
            self._step(character)
        self._fed.append(text[:length])
        return length

    def _step(self, character: str) -> None:
        if self._state in ("in key", "string", "nested"):
            self._inside(character)
        elif self._state == "scalar" and character not in ",}" + _SPACE:
            self._note(character)
        elif character not in _SPACE:
            self._between(character)
        elif self._state == "scalar":
            self._finish_value("key")

    def _between(self, character: str) -> None:
        """A character outside of strings and of nested values."""
        match self._state, character:
            case "start", "{":
                self._state = "key"
            case "key", ",":
                pass
            case "scalar", ",":
                self._finish_value("key")
            case "scalar", "}":
                self._finish_value("end")
            case "key", "}":
                self._state = "end"
            case "key", '"':
                self._state, self._string, self._in_string = "in key", [character], True
            case "colon", ":":
                self._state = "value"
            case "value", _:
                self._begin_value(character)
            case _:
                self._state = "broken"

    def _begin_value(self, character: str) -> None:
        self._string = []
        self._note(character)
        if character in "{[":
            self._state, self._depth = "nested", 1
        elif self._is_only_arguments or character in "]},:":
            self._state = "broken"
        else:
            self._state = "string" if character == '"' else "scalar"
            self._in_string = character == '"'

    def _inside(self, character: str) -> None:
        """A character of a key, of a string, or of a nested value."""
        if self._state == "in key":
            self._string.append(character)
        else:
            self._note(character)
        if self._in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif character == "\\":
                self._is_escaped = True
            elif character == '"':
                self._in_string = False
                self._end_string()
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            if not self._depth:
                self._finish_value("end" if self._is_only_arguments else "key")

    def _end_string(self) -> None:
        if self._state == "in key":
            self._key = str(self._loaded())
            if self._key != _ID:
                self.is_id_decided = True
            self._state = "colon"
        elif self._state == "string":
            self._finish_value("key")

    def _note(self, character: str) -> None:
        if self._key in _ARGUMENTS:
            self._arguments.append(character)
        elif self._key in (_NAME, _ID):
            self._string.append(character)

    def _finish_value(self, following: _State) -> None:
        if self._key in (_NAME, _ID) and self._state == "string":
            value = self._loaded()
            if self._key == _NAME:
                self.name = self.name or value
            elif not self.is_id_decided:
                self.id = value
        if self._key == _ID:
            self.is_id_decided = True
        self._state, self._key = following, ""

    def _loaded(self) -> str | None:
        """The string that has been read."""
        try:
            value = json.loads("".join(self._string), strict=False)
        except ValueError:
            return None
        return value if isinstance(value, str) else None

    def parse(self) -> tuple[str, dict[str, Any] | None]:
        """Name and arguments; None where the model wrote no arguments.

        Raises:
            MalformedCallError: it is not complete, or not what a call looks like.
        """
        call = _decoded("".join(self._fed))
        name: Any = self.name
        arguments: Any = call
        if not self._is_only_arguments:
            if not isinstance(call, dict):
                raise MalformedCallError("The tool call is not a JSON object.")
            name = call.get(_NAME)
            arguments = next((call[key] for key in _ARGUMENTS if key in call), None)
        if not isinstance(name, str) or not name:
            raise MalformedCallError("The tool call has no name.")
        if isinstance(arguments, str):
            # Some models write the arguments as JSON inside of a text.
            arguments = _decoded(arguments) if arguments.strip() else None
        if arguments is not None and not isinstance(arguments, dict):
            raise MalformedCallError(f"The arguments of the call of {name!r} are not a JSON object.")
        return name, arguments


def _decoded(text: str) -> Any:
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse_constant)
        msgspec.json.encode(value)  # half of a surrogate pair cannot travel
    except RecursionError:
        raise MalformedCallError("The JSON of the tool call is nested too deeply.") from None
    except ValueError as error:
        raise MalformedCallError(f"The tool call is not valid JSON: {error}.") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
