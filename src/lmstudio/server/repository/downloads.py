"""Downloads in progress: one for all who wait for the same files."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lmstudio._sdk_models import ChannelPacketDownloadProgress, ChannelPacketStartFinalizing, DownloadProgressUpdate
from lmstudio.server.catalog import InvalidModelFileError, read_model_file
from lmstudio.server.errors import RequestError
from lmstudio.server.repository.fetching import Part, fetch, in_thread
from lmstudio.server.running import StoppingError
from lmstudio.server.shared_job import SharedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lmstudio.server.catalog import Catalog
    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.instances import Clock
    from lmstudio.server.repository.listing import DownloadOption

__all__ = ["Download", "DownloadEvent", "Downloads", "free_disk_bytes"]

DownloadEvent: TypeAlias = ChannelPacketDownloadProgress | ChannelPacketStartFinalizing

_REPORT_SHARE: Final = 200
"""A report for every two hundredth part of the whole, ..."""
_REPORT_SECONDS: Final = 0.5
"""... and for every half second in which anything came."""


def free_disk_bytes(folder: Path) -> int:
    """What can still be written to *folder*."""
    return shutil.disk_usage(folder).free


class Download(SharedJob[DownloadEvent, "ModelFile"]):
    """A download in progress."""

    def __init__(
        self,
        option: DownloadOption,
        clock: Clock,
        work: Callable[[Download], Coroutine[Any, Any, ModelFile]],
    ) -> None:
        self.option = option
        self._clock = clock
        self._started = self._reported_at = clock.monotonic()
        self._received = self._fetched = self._reported = 0
        self._events: list[DownloadEvent] = []
        super().__init__(work(self))

    def receive(self, size: int) -> None:
        """*size* more bytes are there: tell all who wait, but not too often."""
        self._received += size
        self._fetched += size
        step = self.option.size_bytes // _REPORT_SHARE
        is_last = self._received == self.option.size_bytes
        is_due = self._clock.monotonic() - self._reported_at >= _REPORT_SECONDS
        if is_last or is_due or self._received - self._reported >= step:
            self.report()

    def count_found(self, size: int) -> None:
        """*size* bytes are there from an earlier download."""
        self._received += size

    def report(self) -> None:
        """Tell all who wait how far it is."""
        self._reported, self._reported_at = self._received, self._clock.monotonic()
        seconds = self._reported_at - self._started
        update = DownloadProgressUpdate(
            downloaded_bytes=self._received,
            total_bytes=self.option.size_bytes,
            speed_bytes_per_second=self._fetched / seconds if seconds > 0 else 0.0,
        )
        self._tell(ChannelPacketDownloadProgress(update=update))

    def skip_to_end(self) -> None:
        """Tell all who wait that everything was there before."""
        self._received = self.option.size_bytes
        self.report()
        self.begin_to_finalize()

    def begin_to_finalize(self) -> None:
        """Tell all who wait that everything has come."""
        self._tell(ChannelPacketStartFinalizing())

    def _tell(self, event: DownloadEvent) -> None:
        # Who joins later needs the last progress only.
        self._events = [event] if isinstance(event, ChannelPacketDownloadProgress) else [*self._events, event]
        super()._tell(event)

    def _so_far(self) -> list[DownloadEvent]:
        return self._events


class _Parts:
    """The files of a download that is not complete, in a folder of their own."""

    def __init__(self, folder: Path, option: DownloadOption) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix=".download-", dir=folder))
        self.place: Path = self._folder / option.repository
        self.place.mkdir(parents=True)
        self.files: list[Part] = [Part(self.place / file.name) for file in option.files]

    def size_bytes(self) -> int:
        """How much of them is there."""
        return sum(part.target.stat().st_size for part in self.files if part.target.exists())

    def remove(self) -> None:
        """They are of no use any more."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Downloads:
    """Downloads into the models folder, and from there into the catalogue of what can be loaded."""

    def __init__(
        self,
        models: Catalog,
        folder: Path | None,
        clock: Clock,
        free_bytes: Callable[[Path], int] = free_disk_bytes,
    ) -> None:
        """*folder* has LM Studio's layout; None for one that lasts as long as this object."""
        self._models = models
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._clock = clock
        self._free_bytes = free_bytes
        self._is_stopping = False
        self._running: dict[str, Download] = {}
        self._tasks: set[asyncio.Task[ModelFile]] = set()
        self._interrupted: dict[DownloadOption, _Parts] = {}
        """What there is of downloads that were cancelled, or whose source was lost. The next one goes on there."""

    def start(self, option: DownloadOption) -> Download:
        """The download of *option*; the one in progress, if there is one. Nobody waits for it yet: `join` it.

        Raises:
            StoppingError: nothing new may begin.
        """
        if self._is_stopping:
            raise StoppingError
        running = self._running.get(option.identifier)
        if running is not None and not running.is_abandoned:
            return running
        work = partial(self._run, after=None if running is None else running.task)
        download = self._running[option.identifier] = Download(option, self._clock, work)
        self._tasks.add(download.task)
        download.task.add_done_callback(partial(self._forget, download))
        return download

    def _forget(self, download: Download, task: asyncio.Task[ModelFile]) -> None:
        self._tasks.discard(task)
        if self._running.get(download.option.identifier) is download:
            del self._running[download.option.identifier]

    def begin_stop(self) -> set[asyncio.Task[Any]]:
        """Begin nothing more, end all downloads; the tasks of those who wait for one."""
        self._is_stopping = True
        ending: set[asyncio.Task[Any]] = set()
        for download in tuple(self._running.values()):
            ending |= download.fail(StoppingError())
        return ending

    async def aclose(self) -> None:
        """End all downloads; delete the models, if their folder is a temporary one."""
        for download in tuple(self._running.values()):
            download.abandon()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._interrupted:
            await in_thread(self._forget_interrupted)
        if self._temporary is not None:
            temporary, self._temporary = self._temporary, None
            await in_thread(temporary.cleanup)

    async def _run(self, download: Download, after: asyncio.Task[ModelFile] | None) -> ModelFile:
        """*after* is a cancelled download of the same, which has to end first: this one goes on where it was."""
        option = download.option
        if after is not None:
            await asyncio.wait([after])
        there = self.find(option)
        if there is not None:
            download.skip_to_end()
            return there
        try:
            folder = self._folder or self._temporary_folder()
            parts = await self._prepared(folder, option)
            try:
                await self._fetch(download, parts)
                return await self._finish(download, folder, parts)
            finally:
                if self._interrupted.get(option) is not parts:
                    await in_thread(parts.remove)
        except OSError as error:
            raise self._write_error(option, error) from error

    async def _fetch(self, download: Download, parts: _Parts) -> None:
        """Get what is missing. If that is interrupted, the next download begins there."""
        option = download.option
        download.report()
        try:
            for file, part in zip(option.files, parts.files, strict=True):
                await fetch(file, part, download.receive, download.count_found)
        except (asyncio.CancelledError, RequestError):
            if not self._is_stopping and parts.size_bytes():
                self._interrupted[option] = parts
            raise

    def _forget_interrupted(self) -> None:
        while self._interrupted:
            self._interrupted.popitem()[1].remove()

    def is_running(self, option: DownloadOption) -> bool:
        """Whether `start` would join a download in progress."""
        running = self._running.get(option.identifier)
        return running is not None and not running.is_abandoned

    def find(self, option: DownloadOption) -> ModelFile | None:
        """The model, if it is here already."""
        for model in self._models.models:
            if model.path == option.identifier:
                main_bytes = option.size_bytes - sum(file.size_bytes for file in option.files if file.is_image_part)
                is_here = model.file is not None and model.file.exists()
                return model if is_here and model.size_bytes == main_bytes else None
        return None

    def _temporary_folder(self) -> Path:
        # Not in a thread, or two downloads that begin together would make two of them.
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="lmstudio-models-", ignore_cleanup_errors=True)
        return Path(self._temporary.name)

    async def _prepared(self, folder: Path, option: DownloadOption) -> _Parts:
        """A place in *folder* for what comes, perhaps with its beginning. Raises RequestError if it does not fit."""
        free_bytes, needed_bytes = await in_thread(partial(self._room, folder, option))
        if free_bytes < needed_bytes and self._interrupted.keys() - {option}:
            # One after the other: whoever cancels this leaves the rest to be removed later.
            while others := self._interrupted.keys() - {option}:
                await in_thread(self._interrupted.pop(others.pop()).remove)
            free_bytes, needed_bytes = await in_thread(partial(self._room, folder, option))
        if free_bytes < needed_bytes:
            raise _no_space(option, folder, free_bytes)
        return self._interrupted.pop(option, None) or _Parts(folder, option)

    def _room(self, folder: Path, option: DownloadOption) -> tuple[int, int]:
        """Free bytes in *folder*, which is made if need be, and those that are wanted there."""
        folder.mkdir(parents=True, exist_ok=True)
        there = self._interrupted.get(option)
        return self._free_bytes(folder), option.size_bytes - (0 if there is None else there.size_bytes())

    async def _finish(self, download: Download, folder: Path, parts: _Parts) -> ModelFile:
        """Move what has come to *folder*. Nothing half-done is ever seen there."""
        option = download.option
        download.begin_to_finalize()
        main = parts.files[0].target
        try:
            model = await in_thread(partial(read_model_file, main, path_in_catalog=option.identifier))
        except InvalidModelFileError as error:
            reason = str(error).replace(str(main), main.name)
            raise RequestError(f"Cannot use the download of {option.identifier!r}: {reason}") from error
        return self._install(model, option, parts.place, folder / option.repository)

    def _install(self, model: ModelFile, option: DownloadOption, parts: Path, place: Path) -> ModelFile:
        """Move the files to *place*, and offer the model. Not a coroutine, because nothing may interrupt it."""
        place.mkdir(parents=True, exist_ok=True)
        for file in option.files:
            os.replace(parts / file.name, place / file.name)
        return self._models.add(replace(model, file=(place / option.files[0].name).absolute()))

    def _write_error(self, option: DownloadOption, error: OSError) -> RequestError:
        folder = self._folder or Path(tempfile.gettempdir())
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _no_space(option, folder, self._free_bytes(folder))
        return RequestError(
            f"Cannot write the download of {option.identifier!r} to {folder}: {error.strerror or error}.",
            suggestion="Give the server a models folder that it may write to.",
        )


def _no_space(option: DownloadOption, folder: Path, free_bytes: int) -> RequestError:
    return RequestError(
        f"{folder} has not enough space for {option.identifier!r}: "
        f"it needs {option.size_bytes / 1e9:.2f} GB, {free_bytes / 1e9:.2f} GB are free.",
        suggestion="Free some space, or give the server another models folder.",
    )
