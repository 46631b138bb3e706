"""Notices that a file of a plugin has changed.

By looking, twice a second: a folder of source code is small, and what notices by itself is different on each platform
and does not work on network drives and in containers.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Watch"]

_SECONDS_BETWEEN = 0.5
_MOST_FILES = 10_000
"""More is no source code: somebody keeps data beside it."""
_NOT_SOURCE = {"__pycache__", "node_modules", "venv"}

_Snapshot: TypeAlias = dict[str, tuple[int, int]]


class Watch:
    """Compares the files of a folder with what they were when it was made, or when they had last changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = _snapshot(folder)

    async def changed(self) -> list[str]:
        """Wait until files have come, gone or changed, and for a moment in which they do not. Their paths."""
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN)
            found = await asyncio.to_thread(_snapshot, self._folder)
            changed = sorted(
                path for path in found.keys() | self._known.keys() if found.get(path) != self._known.get(path)
            )
            if changed:
                await self._until_quiet(found)
                return [path.removeprefix(f"{self._folder}{os.sep}") for path in changed]

    async def _until_quiet(self, found: _Snapshot) -> None:
        """An editor may write several files, or one in several steps."""
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN / 5)
            self._known, found = found, await asyncio.to_thread(_snapshot, self._folder)
            if found == self._known:
                return


def _snapshot(folder: Path) -> _Snapshot:
    """When each file was written last, and how large it is."""
    found: _Snapshot = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_SOURCE]
        for name in names:
            if name.startswith(".") or name.endswith((".pyc", "~")):
                continue
            path = os.path.join(place, name)
            try:
                status = os.stat(path)
            except OSError:  # it has gone meanwhile
                continue
            found[path] = status.st_mtime_ns, status.st_size
            if len(found) == _MOST_FILES:
                return found
    return found
