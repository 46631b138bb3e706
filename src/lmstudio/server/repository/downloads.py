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
from lmstudio.server.repository.fetching import fetch, in_thread
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
        download = self._running[option.identifier] = Download(option, self._clock, self._run)
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
        if self._temporary is not None:
            temporary, self._temporary = self._temporary, None
            await in_thread(temporary.cleanup)

    async def _run(self, download: Download) -> ModelFile:
        option = download.option
        there = self.find(option)
        if there is not None:
            download.skip_to_end()
            return there
        try:
            folder = self._folder or self._temporary_folder()
            await in_thread(partial(self._prepare, folder, option))
            parts = tempfile.mkdtemp(prefix=".download-", dir=folder)
            try:
                return await self._download(download, folder, Path(parts) / option.repository)
            finally:
                await in_thread(partial(shutil.rmtree, parts, ignore_errors=True))
        except OSError as error:
            raise self._write_error(option, error) from error

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

    def _prepare(self, folder: Path, option: DownloadOption) -> None:
        """Make *folder*. Raises RequestError if *option* does not fit into it."""
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = self._free_bytes(folder)
        if free_bytes < option.size_bytes:
            raise _no_space(option, folder, free_bytes)

    async def _download(self, download: Download, folder: Path, parts: Path) -> ModelFile:
        """Fetch everything into *parts*, then move it to *folder*. Nothing half-done is ever seen there."""
        option = download.option
        await in_thread(partial(parts.mkdir, parents=True))
        download.report()
        for file in option.files:
            await fetch(file, parts / file.name, download.receive)
        download.begin_to_finalize()
        main = option.files[0].name
        try:
            model = await in_thread(partial(read_model_file, parts / main, path_in_catalog=option.identifier))
        except InvalidModelFileError as error:
            reason = str(error).replace(str(parts / main), main)
            raise RequestError(f"Cannot use the download of {option.identifier!r}: {reason}") from error
        return self._install(model, option, parts, folder / option.repository)

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
