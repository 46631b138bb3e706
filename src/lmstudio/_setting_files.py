"""Files of settings: TOML, JSON and YAML, and .env files, which have environment variables."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ._auth import Hidden
from ._near import near_matches
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_LINE: Final = re.compile(
    r"""\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=(?P<space>\s*)
    (?:'(?P<plain>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>(?!['"])[^\n]*?))
    \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


def is_env_file(file: Path) -> bool:
    """Whether *file* has environment variables, by its name: .env, .env.local, production.env."""
    return file.name == ".env" or file.name.startswith(".env.") or file.suffix == ".env"


def read_document(file: Path) -> Hidden[dict[str, Any]]:
    """The names and values in *file*: JSON or YAML if its name ends so, else TOML.

    Raises:
        LMStudioValueError: it cannot be read. Nothing of what is in it is repeated.
    """
    text, suffix = _read_text(file), file.suffix.lower()
    if suffix == ".json":
        document = _json(file, text)
    elif suffix in (".yaml", ".yml"):
        document = _yaml(file, text)
    else:
        document = _toml(file, text)
    if not isinstance(document.value, dict) or not all(isinstance(name, str) for name in document.value):
        _refuse(file, "it has no names with values")
    return document


def read_env_file(file: Path) -> Hidden[dict[str, str]]:
    """The variables in *file*, one NAME=value per line, with quotes or without, and `export ` before it or not.

    As in a shell, # begins a comment where a word could begin. References to other variables ($NAME) are not replaced.

    Raises:
        LMStudioValueError: it cannot be read. Nothing of what is in it is repeated.
    """
    lines = Hidden(_read_text(file).value.splitlines())
    found: Hidden[dict[str, str]] = Hidden({})
    for number in range(len(lines.value)):
        if not _read_line(lines.value[number], found.value):
            _refuse(file, f"line {number + 1} is not of the form NAME=value")
    return found


def _read_line(line: str, found: dict[str, str]) -> bool:
    """Add what *line* has to *found*; False if it is wrong."""
    if not line.strip() or line.lstrip().startswith("#"):
        return True
    match = _LINE.fullmatch(line)
    if match is None:
        return False
    if match["quoted"] is not None:
        value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match["quoted"])
    elif match["plain"] is not None:
        value = match["plain"]
    else:
        value = "" if match["space"] and match["bare"].startswith("#") else match["bare"]
    found[match["name"]] = value
    return True


def no_setting(name: str, names: Collection[str]) -> str:
    """What to say of a *name* that is none of *names*."""
    near = near_matches(name.replace("-", "_"), names, 1)
    return f"there is no setting {name!r}. " + (
        f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}."
    )


def public_file_warnings(file: Path) -> list[str]:
    """A warning if others can read *file*, which has tokens."""
    if os.name == "posix" and file.stat().st_mode & 0o077:
        return [f"other users of this machine may read {file}; run: chmod 600 {file}"]
    return []


def _read_text(file: Path) -> Hidden[str]:
    try:
        return Hidden(file.read_text("utf-8-sig"))
    except OSError as error:
        _refuse(file, error.strerror or str(error))
    except UnicodeError:
        _refuse(file, "it is not text in UTF-8")


def _refuse(file: Path, problem: str) -> NoReturn:
    raise LMStudioValueError(f"Cannot read the settings in {file}: {problem}.") from None


def _toml(file: Path, text: Hidden[str]) -> Hidden[Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib  # pyright: ignore[reportMissingImports]  # installed for this Python only
        except ModuleNotFoundError:
            _refuse(file, "tomli is not installed; run: pip install tomli")
    try:
        return Hidden(tomllib.loads(text.value))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        _refuse(file, f"it is not TOML: {error}")


def _json(file: Path, text: Hidden[str]) -> Hidden[Any]:
    try:
        return Hidden(json.loads(text.value))
    except (ValueError, RecursionError) as error:
        _refuse(file, f"it is not JSON: {error}")


def _yaml(file: Path, text: Hidden[str]) -> Hidden[Any]:
    try:
        import yaml
    except ModuleNotFoundError:
        _refuse(file, "pyyaml is not installed; run: pip install pyyaml, or write the settings in TOML or JSON")
    try:
        document = Hidden(yaml.safe_load(text.value))
        return Hidden({}) if document.value is None else document
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Its own text shows the line, which may have a token.
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        _refuse(file, f"it is not YAML: {getattr(error, 'problem', None) or type(error).__name__}{where}")
