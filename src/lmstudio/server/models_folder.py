"""A folder of models that may change at any time."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio.logs import fields, get_logger
from lmstudio.server.model_file import InvalidModelFileError, is_image_part, read_model_file, shard_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.engine.base import ModelFile

__all__ = ["ModelsFolder"]

_logger = get_logger("server")

_Stamp: TypeAlias = "tuple[tuple[str, int, int, int], ...]"
"""Name, time of change, size and inode of each model file in a repository."""
_ENDING: Final = ".gguf"


class ModelsFolder:
    """The models in a folder of LM Studio's layout, ``publisher/repo/file.gguf``. It need not exist yet."""

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).absolute()
        self._read: dict[str, tuple[_Stamp, tuple[ModelFile, ...]]] = {}
        self._models: tuple[ModelFile, ...] = ()
        self._complaints: set[str] = set()
        # The loop of the server asks, and the thread that started it.
        self._lock = threading.Lock()

    def models(self) -> tuple[ModelFile, ...]:
        """What is there now: always the same tuple while nothing changes.

        Only files in a repository that changed are read. Those that cannot be used are left out, with one warning.
        """
        with self._lock:
            read = {}
            for repository in self._repositories():
                stamp = self._stamp(repository)
                known = self._read.get(repository)
                if stamp and (known is None or known[0] != stamp):
                    known = stamp, tuple(self._read_repository(repository, stamp))
                if stamp and known is not None:
                    read[repository] = known
            if read != self._read:
                self._read = read
                self._models = tuple(model for _stamp, models in read.values() for model in models)
            return self._models

    def _repositories(self) -> Iterator[str]:
        for publisher in self._folders(self.path):
            for repository in self._folders(self.path / publisher):
                yield f"{publisher}/{repository}"

    def _folders(self, folder: Path) -> list[str]:
        try:
            with os.scandir(folder) as entries:
                # Unfinished downloads have names with a dot at the beginning.
                return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain(f"Cannot look for models in {folder}: {error.strerror or error}.")
            return []

    def _stamp(self, repository: str) -> _Stamp:
        found = []
        try:
            with os.scandir(self.path / repository) as entries:
                for entry in entries:
                    if entry.name.lower().endswith(_ENDING):
                        try:
                            status = entry.stat()
                        except FileNotFoundError:  # deleted just now, or a link to nothing
                            continue
                        found.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError as error:
            self._complain(f"Cannot look for models in {self.path / repository}: {error.strerror or error}.")
        return tuple(sorted(found))

    def _read_repository(self, repository: str, stamp: _Stamp) -> Iterator[ModelFile]:
        for name, *_ in stamp:
            if is_image_part(name) or shard_number(name)[1] > 1:
                continue
            try:
                yield read_model_file(self.path / repository / name, path_in_catalog=f"{repository}/{name}")
            except InvalidModelFileError as error:
                self._complain(f"Left out of the models folder: {error}")

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            _logger.warning("%s", text, extra=fields())
