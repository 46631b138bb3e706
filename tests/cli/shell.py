"""Runs commands: in this process, and on a terminal."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

from patience import PATIENCE_SECONDS

from lmstudio.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from lmstudio.server import Server


class Shell:
    """Runs commands that talk to the server."""

    def __init__(self, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
        self.port = str(server.port)
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert main([*arguments, "--port", self.port]) == code
        out, self.err = self._capsys.readouterr()
        return out


def run_on_terminal(command: Sequence[str], typed: bytes) -> tuple[int, str]:
    """What *command* ends with, and all that it shows, if somebody types *typed*."""
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        while select.select([ours], [], [], PATIENCE_SECONDS)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:
                part = b""
            if not part:
                break
            shown += part
        code = process.wait(PATIENCE_SECONDS)
    os.close(ours)
    return code, shown.decode()
