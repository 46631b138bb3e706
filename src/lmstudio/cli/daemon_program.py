"""`python -m lmstudio.cli.daemon_program`: the server that `lmstudio daemon up` starts in the background."""

from __future__ import annotations

import argparse
import os
import secrets
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lmstudio._auth import Secret
from lmstudio.server.auth import ApiTokens
from lmstudio.server.native.system import release_version
from lmstudio.server.serve import ServeProgram

from .state import EXIT_ANOTHER_RUNS, Daemon, StateFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.server.embedded import Server
    from lmstudio.server.foreground import Speaker
    from lmstudio.server.settings import ServerSettings

_LETTERS: Final = string.ascii_letters + string.digits


class _DaemonProgram(ServeProgram):
    """A server that writes into *folder* where it is, and how to be its owner."""

    def __init__(self, folder: StateFolder, start_id: str) -> None:
        token = f"sk-lm-{_random(8)}:{_random(20)}"
        super().__init__("daemon", ApiTokens([token]))
        self._token = Secret(token)
        self._folder = folder
        self._start_id = start_id

    def introduce(self, server: Server, values: ServerSettings, speaker: Speaker, tokens: list[str]) -> None:
        """Say it to people, and then to commands."""
        super().introduce(server, values, speaker, tokens)
        daemon = Daemon(os.getpid(), server.api_host, release_version(), self._token, self._start_id)
        self._folder.remember_daemon(daemon)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until somebody asks for the end.

    *arguments*: the folder of the state, what the caller calls this process, then the options of `serve`.
    """
    folder, start_id, *options = sys.argv[1:] if arguments is None else arguments
    state = StateFolder(Path(folder))
    with state.being_daemon() as is_mine:
        if not is_mine:
            return EXIT_ANOTHER_RUNS
        program = _DaemonProgram(state, start_id)
        parser = argparse.ArgumentParser(prog="lmstudio daemon")
        program.add_arguments(parser)
        return program.run(parser.parse_args(options))


if __name__ == "__main__":
    sys.exit(main())
