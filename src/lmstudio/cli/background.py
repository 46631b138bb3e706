"""The server in the background: starting it, ending it, and asking it or LM Studio."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from lmstudio._retries import NO_RETRIES
from lmstudio.errors import LMStudioConnectionError, LMStudioRuntimeError

from .state import EXIT_ANOTHER_RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.sync_api import Client

    from .state import Daemon, StateFolder

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 40.0
"""It lets running requests end first."""
_LOOK_SECONDS: Final = 0.05
_LOG_LINES: Final = 5


def start(folder: StateFolder, options: Sequence[str] = ()) -> Daemon:
    """The server in the background: the one that runs, else a new one. Clients can connect to it.

    Raises:
        LMStudioRuntimeError: it does not start; says what it has said.
    """
    running = folder.daemon()
    if running is not None:
        return running
    folder.prepare()
    start_id = secrets.token_hex(8)
    process = _spawn(folder, [start_id, *options])
    is_ours = False
    try:
        running = _when_started(folder, process)
        is_ours = running.start_id == start_id
    finally:
        if not is_ours:  # another command was faster, or this one has given up: it must not come later
            process.kill()
            process.wait()
    process.returncode = 0  # it is to outlive this command, which Popen would complain about
    return running


def _when_started(folder: StateFolder, process: subprocess.Popen[bytes]) -> Daemon:
    """The server in the background, which *process* is, or another one."""
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        running = folder.daemon()
        if running is not None:
            return running
        code = process.poll()
        if code is not None and not (code == EXIT_ANOTHER_RUNS and not folder.is_daemon_gone()):
            raise LMStudioRuntimeError(f"The server in the background has not started. {_last_words(folder)}")
        time.sleep(_LOOK_SECONDS)
    raise LMStudioRuntimeError(
        f"The server in the background has not started within {_START_SECONDS:.0f} seconds. {_last_words(folder)}"
    )


def _spawn(folder: StateFolder, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    command = [sys.executable, "-m", "lmstudio.cli.daemon_program", str(folder.path), *arguments]
    with folder.open_log() as log:
        return subprocess.Popen[bytes](command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **detached)


def _last_words(folder: StateFolder) -> str:
    try:
        lines = folder.log.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    said = " | ".join(line.strip() for line in lines[-_LOG_LINES:] if line.strip())
    return f"It said: {said}" if said else f"It said nothing; its log is {folder.log}."


def stop(folder: StateFolder, daemon: Daemon) -> None:
    """End it, and wait until it has ended.

    Raises:
        LMStudioRuntimeError: it does not end.
    """
    try:
        with owner_client(daemon) as client:
            client.system.request_shutdown()
    except LMStudioConnectionError:  # it ends already, or is beyond listening
        if not folder.is_daemon_gone():
            os.kill(daemon.pid, signal.SIGTERM)
    until = time.monotonic() + _END_SECONDS
    while not folder.is_daemon_gone():
        if time.monotonic() > until:
            raise LMStudioRuntimeError(
                f"The server in the background (process {daemon.pid}) does not end. {_last_words(folder)}"
            )
        time.sleep(_LOOK_SECONDS)


def owner_client(daemon: Daemon) -> Client:
    """A client that may do everything with the server in the background."""
    from lmstudio.sync_api import Client

    return Client(daemon.api_host, daemon.token.value, retry=NO_RETRIES)


def local_client(folder: StateFolder) -> Client | None:
    """A client of the server in the background, else of the LM Studio on this machine; None if there is neither."""
    from lmstudio.sync_api import Client

    daemon = folder.daemon()
    if daemon is not None:
        return owner_client(daemon)
    address = Client.find_default_local_api_host()
    return None if address is None else Client(address, retry=NO_RETRIES)
