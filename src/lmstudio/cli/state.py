"""What commands remember between two calls: the server in the background, the last port, the last models."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio._auth import Secret
from lmstudio.errors import LMStudioOSError

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER_VARIABLE: Final = "LMSTUDIO_STATE_FOLDER"
"""Environment variable with another folder than the usual one of this system."""

EXIT_ANOTHER_RUNS: Final = 75
"""What a daemon ends with that finds another one."""

_RECENT_MODELS: Final = 20
_OTHERS_MAY_WRITE: Final = 0o022
_LOCK_SECONDS: Final = 1.0
"""Whoever looks whether the server runs holds its lock for a moment."""
_LOCK_STEP_SECONDS: Final = 0.02


class Daemon(NamedTuple):
    """A server in the background."""

    pid: int
    api_host: str
    version: str
    token: Secret
    """The one of its owner."""
    start_id: str
    """What the command that started it calls it."""


class StateFolder:
    """A folder of the user that nobody else can write to."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    @classmethod
    def default(cls) -> StateFolder:
        """Where this system keeps such things, or where LMSTUDIO_STATE_FOLDER says."""
        given = os.environ.get(FOLDER_VARIABLE, "").strip()
        return cls(Path(given).absolute() if given else _usual_folder())

    @property
    def log(self) -> Path:
        """What the daemon says."""
        return self.path / "daemon.log"

    def open_log(self) -> IO[bytes]:
        """That file, for a new daemon: empty, unless another one begins at the same time."""
        log = open(self.log, "ab", opener=_private)  # noqa: SIM115  # the caller closes it
        if self.is_daemon_gone():
            log.truncate(0)
        return log

    def prepare(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            LMStudioOSError: that is not possible, or others can write to it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if hasattr(os, "getuid"):
                found = self.path.stat()
                if found.st_uid != os.getuid() or found.st_mode & _OTHERS_MAY_WRITE:
                    raise LMStudioOSError(
                        f"{self.path} must belong to you, and nobody else may write to it, because it says which "
                        f"server to trust. Remove it, or name another folder in {FOLDER_VARIABLE}."
                    )
        except OSError as error:
            if isinstance(error, LMStudioOSError):
                raise
            raise LMStudioOSError(f"Could not make the folder {self.path}: {error.strerror or error}.") from error

    # The daemon ------------------------------------------------------------------------------------------------------

    def daemon(self) -> Daemon | None:
        """The server in the background, None if there is none that clients can connect to."""
        if not self._daemon_file.exists():
            return None
        self.prepare()
        with self._open_lock() as file:
            if _lock(file):  # the daemon was killed, and no other one begins before this lets go
                self._forget_daemon()
                return None
        try:
            found = json.loads(self._daemon_file.read_text("utf-8"))
            return Daemon(
                int(found["pid"]), found["apiHost"], found["version"], Secret(found["token"]), found["startId"]
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_daemon_gone(self) -> bool:
        """Whether there is no process of it, not even one that begins or ends."""
        if not self.path.exists():
            return True
        with self._open_lock() as file:
            return _lock(file)

    def remember_daemon(self, daemon: Daemon) -> None:
        """Clients can connect to it from now on."""
        known = {
            "pid": daemon.pid,
            "apiHost": daemon.api_host,
            "version": daemon.version,
            "token": daemon.token.value,
            "startId": daemon.start_id,
        }
        self._write(self._daemon_file, known)

    @contextmanager
    def being_daemon(self) -> Iterator[bool]:
        """This process is the daemon; or not, if there is one already."""
        self.prepare()
        until = time.monotonic() + _LOCK_SECONDS
        with self._open_lock() as file:
            while not (is_mine := _lock(file)) and time.monotonic() < until:
                time.sleep(_LOCK_STEP_SECONDS)
            try:
                yield is_mine
            finally:
                if is_mine:
                    self._forget_daemon()

    @property
    def _daemon_file(self) -> Path:
        return self.path / "daemon.json"

    def _open_lock(self) -> IO[bytes]:
        """The file whose lock the daemon holds. The system frees it, however the daemon ends."""
        return open(self.path / "daemon.lock", "ab", opener=_private)

    def _forget_daemon(self) -> None:
        with suppress(OSError):
            self._daemon_file.unlink()

    # Models ----------------------------------------------------------------------------------------------------------

    @property
    def recent_models(self) -> list[str]:
        """Keys of the models that were loaded, the last one first."""
        try:
            keys = json.loads((self.path / "models.json").read_text("utf-8"))["recent"]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []

    def remember_model(self, key: str) -> None:
        """It has been loaded."""
        self.prepare()
        recent = list(dict.fromkeys((key, *self.recent_models)))
        self._write(self.path / "models.json", {"recent": recent[:_RECENT_MODELS]})

    # The HTTP server -------------------------------------------------------------------------------------------------

    @property
    def last_port(self) -> int | None:
        """The port of the last `server start`."""
        try:
            port = json.loads((self.path / "server.json").read_text("utf-8"))["port"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return port if isinstance(port, int) else None

    def remember_port(self, port: int) -> None:
        """It has been started there."""
        self.prepare()
        self._write(self.path / "server.json", {"port": port})

    def _write(self, file: Path, value: Any) -> None:
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            with open(temporary, "w", encoding="utf-8", opener=_private) as stream:
                json.dump(value, stream)
            os.replace(temporary, file)
        except OSError as error:
            raise LMStudioOSError(f"Could not write {file}: {error.strerror or error}.") from error


def _usual_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "lmstudio-python"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lmstudio-python"
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return base / "lmstudio-python"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        """Hold *file* until it is closed; False if somebody else does."""
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        """Hold *file* until it is closed; False if somebody else does."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
