"""`manifest.json`: who a plugin is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lmstudio._sdk_models import PluginManifest
from lmstudio.errors import LMStudioFileNotFoundError

from .sdk_api import LMStudioPluginInitError

if TYPE_CHECKING:
    import os

MANIFEST_FILE = "manifest.json"
RUNNER = "python"
"""What the manifest of a plugin in Python says."""
_ANNOUNCED_RUNNER: Final = "node"
"""What the host is told. It knows no Python, and does not look: it only gives credentials."""


@dataclass(frozen=True)
class Manifest:
    """What matters here of a plugin's manifest."""

    owner: str
    name: str

    @property
    def identifier(self) -> str:
        """owner/name."""
        return f"{self.owner}/{self.name}"

    def announced(self) -> PluginManifest:
        """What the host is told when the plugin is registered."""
        return PluginManifest(runner=_ANNOUNCED_RUNNER, owner=self.owner, name=self.name)


def read_manifest(plugin_dir: str | os.PathLike[str]) -> Manifest:
    """The manifest of the plugin in this folder.

    Raises:
        LMStudioFileNotFoundError: there is none.
        LMStudioPluginInitError: it is not the manifest of a plugin in Python.
    """
    path = Path(plugin_dir) / MANIFEST_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LMStudioFileNotFoundError(f"Could not find {path}, which every plugin has.") from error
    except ValueError as error:  # of JSON, or of the encoding
        raise LMStudioPluginInitError(f"Could not read {path}: it is not JSON ({error}).") from error
    if not isinstance(found, dict):
        raise LMStudioPluginInitError(f"Could not use {path}: expected an object, found {type(found).__name__}.")
    for member, expected in (("type", "plugin"), ("runner", RUNNER)):
        if found.get(member) != expected:
            text = f'expected "{member}": "{expected}", found {_shown(found, member)}.'
            raise LMStudioPluginInitError(f"Could not use {path}: {text}")
    try:
        checked = PluginManifest.from_dict({**found, "runner": _ANNOUNCED_RUNNER})
    except msgspec.ValidationError as error:
        raise LMStudioPluginInitError(f"Could not use {path}: {error}.") from error
    return Manifest(checked.owner, checked.name)


def _shown(found: dict[str, Any], member: str) -> str:
    return f"{json.dumps(found[member]):.80}" if member in found else "nothing"
