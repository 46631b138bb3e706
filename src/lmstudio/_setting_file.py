"""Files of settings: TOML, JSON and YAML."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Document", "TomlLines", "YamlLines", "read_document"]

Document: TypeAlias = dict[str, Any]


def read_document(file: Path) -> Document:
    """What *file* says; its suffix names its form, TOML without a known one.

    Raises:
        LMStudioValueError: it cannot be read, or is not of that form; or a package is missing for it.
    """
    form, read = _FORMS.get(file.suffix.lower(), _TOML)
    try:
        document = read(file.read_text("utf-8"))
    except OSError as error:
        raise LMStudioValueError(f"Cannot read the settings in {file}: {error.strerror or error}.") from None
    except UnicodeError:
        raise LMStudioValueError(f"Cannot read the settings in {file}: it is not text in UTF-8.") from None
    except ModuleNotFoundError as error:
        package, extra = _EXTRAS[form]
        raise LMStudioValueError(
            f"Cannot read the settings in {file}: {error.name} is not installed; run: pip install {package!r}{extra}"
        ) from None
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise LMStudioValueError(f"Cannot read the settings in {file}: it is not {form}: {text}.") from None
    if document is None:  # YAML without anything but comments
        return {}
    if not isinstance(document, dict):
        raise LMStudioValueError(f"Cannot read the settings in {file}: it has no names and values.")
    return document


def _read_toml(text: str) -> object:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]  # installed for this Python only
    return tomllib.loads(text)


def _read_yaml(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


_TOML: Final[tuple[str, Callable[[str], object]]] = ("TOML", _read_toml)
_YAML: Final[tuple[str, Callable[[str], object]]] = ("YAML", _read_yaml)
_FORMS: Final = {".json": ("JSON", json.loads), ".yaml": _YAML, ".yml": _YAML}
_EXTRAS: Final = {"TOML": ("lmstudio[server]", ""), "YAML": ("pyyaml", ", or write them as TOML or JSON")}


class TomlLines:
    """How settings are shown: as TOML."""

    indent = ""

    def __init__(self) -> None:
        self._path: tuple[str, ...] = ()

    def heading(self, path: tuple[str, ...]) -> Iterator[str]:
        """What precedes the first of several settings under *path*."""
        if path != self._path:
            yield f"[{'.'.join(path)}]"
        self._path = path

    def pair(self, key: str, value: str) -> str:
        """One setting, its value as TOML has it."""
        return f"{key} = {value}"


class YamlLines(TomlLines):
    """As YAML. Settings of one place must follow each other."""

    def heading(self, path: tuple[str, ...]) -> Iterator[str]:
        """The keys above, as far as they are new."""
        for depth, key in enumerate(path):
            if path[: depth + 1] != self._path[: depth + 1]:
                yield f"{'  ' * depth}{key}:"
        self._path = path
        self.indent: str = "  " * len(path)

    def pair(self, key: str, value: str) -> str:
        """Texts, numbers, switches and lists of them are the same in TOML and YAML."""
        return f"{key}: {value}"
