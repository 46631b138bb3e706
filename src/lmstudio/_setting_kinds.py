"""How the values of settings are written: one reader for flags, environment variables and files.

Clients load this, so it loads nothing that takes long.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from ._auth import parse_api_token
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ApiToken",
    "Choice",
    "FileOrAddress",
    "FilePath",
    "Kind",
    "Many",
    "Number",
    "Port",
    "Switch",
    "Table",
    "Text",
]

_LONGEST_SHOWN: Final = 80
_ON: Final = ("true", "yes", "on", "1")
_OFF: Final = ("false", "no", "off", "0")
_FACTORS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIZE: Final = re.compile(r"([\d.]+(?:[eE][+-]?\d+)?)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)


class Kind(ABC):
    """A kind of values."""

    metavar: str = "TEXT"
    is_secret: bool = False
    """Not to be shown."""

    @abstractmethod
    def parse(self, value: object) -> Any:
        """What *value* means: text, or what TOML has.

        Raises:
            LMStudioValueError: it is not allowed; the message says what is.
        """

    def split(self, text: str) -> object:
        """The value in an environment variable."""
        return text

    def toml(self, value: Any) -> str:
        """*value* as TOML has it."""
        return json.dumps(value)


def _wrong(value: object, problem: str) -> LMStudioValueError:
    shown = repr(value)
    return LMStudioValueError(f"{shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + '...'} {problem}")


class Text(Kind):
    """Any text but an empty one."""

    def __init__(self, metavar: str = "TEXT") -> None:
        self.metavar = metavar

    def parse(self, value: object) -> str:
        """The text without spaces around it."""
        if not isinstance(value, str) or not value.strip():
            raise _wrong(value, "is not a text")
        return value.strip()


class Choice(Kind):
    """One of several words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar: str = "{" + ",".join(words) + "}"

    def parse(self, value: object) -> str:
        """The word, in lower case."""
        word = value.strip().lower() if isinstance(value, str) else value
        if word not in self.words:
            raise _wrong(value, f"is not one of {', '.join(self.words)}")
        return str(word)


class Switch(Kind):
    """On or off."""

    def parse(self, value: object) -> bool:
        """True for on."""
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in (*_ON, *_OFF):
            raise _wrong(value, "is neither true nor false")
        return word in _ON


class Number(Kind):
    """A number from *minimum* on, to *maximum* if there is one."""

    def __init__(
        self,
        metavar: str = "NUMBER",
        minimum: float = 0,
        *,
        is_whole: bool = False,
        is_size: bool = False,
        none_word: str | None = None,
        maximum: float = math.inf,
    ) -> None:
        """*is_size*: of bytes; K, M and G may follow, powers of 1024. *none_word*: what to write for "no limit"."""
        self.metavar = metavar
        self.minimum = minimum
        self.is_whole = is_whole
        self.is_size = is_size
        self.none_word = none_word
        self.maximum = maximum

    def parse(self, value: object) -> float | int | None:
        """The number, None for the word."""
        if self.none_word is not None and isinstance(value, str) and value.strip().lower() == self.none_word:
            return None
        number = self._read(value)
        is_within = self.minimum <= number <= self.maximum and number < math.inf
        if not is_within or (self.is_whole and number != int(number)):
            raise _wrong(value, f"is not {self._allowed()}")
        return int(number) if self.is_whole else number

    def _read(self, value: object) -> float:
        if isinstance(value, str):
            match = _SIZE.fullmatch(value.strip()) if self.is_size else None
            text, factor = (match[1], _FACTORS[match[2].upper()]) if match else (value, 1)
            try:
                return (int(text) if self.is_whole and text.strip().isdecimal() else float(text)) * factor
            except ValueError:
                return math.nan
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan

    def _allowed(self) -> str:
        what = "a whole number" if self.is_whole else "a number"
        unit = " of bytes, such as 1048576 or 1M," if self.is_size else ""
        word = "" if self.none_word is None else f", or {self.none_word!r}"
        end = "on" if self.maximum == math.inf else f"to {self.maximum:g}"
        return f"{what}{unit} from {self.minimum:g} {end}{word}"

    def toml(self, value: Any) -> str:
        """As a number, or the word."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return json.dumps(self.none_word if value is None else value)


class Port(Kind):
    """A port to listen on."""

    metavar = "PORT"

    def parse(self, value: object) -> int:
        """The number."""
        try:
            port = int(value) if isinstance(value, str) or type(value) is int else -1
        except ValueError:
            port = -1
        if not 0 <= port <= 65535:
            raise _wrong(value, "is not a port: 1 to 65535, or 0 for any free one")
        return port


class FilePath(Kind):
    """A file or a folder, which need not exist."""

    def __init__(self, metavar: str = "FILE") -> None:
        self.metavar = metavar

    def parse(self, value: object) -> Path:
        """The path; ~ is the user's home."""
        from pathlib import Path

        value = str(value) if isinstance(value, Path) else value
        if not isinstance(value, str) or not value or "\0" in value:
            raise _wrong(value, "is not a path")
        try:
            return Path(value).expanduser()
        except RuntimeError:
            raise _wrong(value, "begins with the home of a user who is not known") from None

    def toml(self, value: Any) -> str:
        """As text."""
        return json.dumps(str(value))


class FileOrAddress(FilePath):
    """A file, a folder, or something on the web."""

    def parse(self, value: object) -> Any:
        """The path, or the address as it is."""
        if isinstance(value, str) and re.match(r"https?://", value, re.IGNORECASE):
            return value
        return super().parse(value)


class ApiToken(Kind):
    """A token that lets a client in."""

    metavar = "TOKEN"
    is_secret = True

    def parse(self, value: object) -> str:
        """The token."""
        token = value.strip() if isinstance(value, str) else ""
        parse_api_token(token)  # its error repeats nothing
        return token


class ApiKey(Kind):
    """A token of LM Studio, or the key of another server."""

    metavar = "TOKEN"
    is_secret = True

    def parse(self, value: object) -> str:
        """The token."""
        token = value.strip() if isinstance(value, str) else ""
        if not (token and token.isascii() and token.isprintable()):
            raise LMStudioValueError("An API token is one line of printable ASCII; the one given is not.")
        return token


class Table(Kind):
    """Names with values."""

    metavar = "JSON"

    def parse(self, value: object) -> dict[str, Any]:
        """The table; text is JSON."""
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise _wrong(value, f"is not a JSON object: {error}") from None
        if not isinstance(value, dict):
            raise _wrong(value, "is not a table of names and values")
        return value

    def toml(self, value: Any) -> str:
        """As an inline table."""
        return _inline(value)


class Many(Kind):
    """Any number of values of one kind."""

    def __init__(self, kind: Kind, separator: str | None = None) -> None:
        """*separator* is for environment variables, None for white space."""
        self.kind = kind
        self.metavar: str = kind.metavar
        self.is_secret: bool = kind.is_secret
        self._separator = separator

    def parse(self, value: object) -> tuple[Any, ...]:
        """All of them, in order."""
        if not isinstance(value, (list, tuple)):
            shown = LMStudioValueError("one value was found") if self.is_secret else _wrong(value, "is one value")
            raise LMStudioValueError(f"{shown}, and a list is wanted: write it in [ ]")
        return tuple(self.kind.parse(item) for item in value)

    def split(self, text: str) -> list[str]:
        """The values in an environment variable."""
        return [part for part in text.split(self._separator) if part.strip()]

    def toml(self, value: Any) -> str:
        """As an array."""
        return f"[{', '.join(map(self.kind.toml, value))}]"


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_inline(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, default=str)
