"""The process of a plugin that is being developed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lmstudio._waiting import wait_within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ChildProcess"]

_PACKAGE = "lmstudio.plugin"
_SECONDS_TO_INTERRUPT = 1.0
"""After Ctrl-C, which reaches both processes, the child may need so long to end by itself."""
_SECONDS_TO_END = 5.0
"""Then it is killed."""


class ChildProcess:
    """A plugin that runs in a process of its own, with credentials in its environment."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path, environment: Mapping[str, str], *arguments: str) -> ChildProcess:
        """Start it, with what it prints beside what this process prints."""
        flags = 0
        if sys.platform == "win32":  # else the signal that ends it would end this process, too
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-u",
            "-m",
            _PACKAGE,
            *arguments,
            str(folder),
            env={**os.environ, **environment},
            creationflags=flags,
        )
        return cls(process)

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self._process.wait()

    async def stop(self, *, is_interrupted: bool = False) -> None:
        """Make it end, and wait for that. *is_interrupted*: Ctrl-C has probably told it already."""
        if is_interrupted and await self._ends_within(_SECONDS_TO_INTERRUPT):
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._process.terminate()
        if not await self._ends_within(_SECONDS_TO_END):
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await wait_within(self._process.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True
