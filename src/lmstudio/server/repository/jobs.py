"""Downloads that go on without the one who asked for them, and can be asked about."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from lmstudio._sdk_models import ChannelPacketDownloadProgress
from lmstudio.logs import fields, get_logger
from lmstudio.server.errors import as_request_error

if TYPE_CHECKING:
    import asyncio

    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.errors import RequestError
    from lmstudio.server.instances import Clock
    from lmstudio.server.repository.downloads import DownloadEvent, Downloads
    from lmstudio.server.repository.listing import DownloadOption

__all__ = ["DownloadJob", "DownloadJobs"]

JobState: TypeAlias = Literal["downloading", "completed", "failed"]

_MAX_JOBS: Final = 1000

_logger = get_logger("server")


@dataclass(eq=False)
class DownloadJob:
    """One download. Times are seconds since the epoch."""

    id: str
    option: DownloadOption
    started_at: float
    state: JobState = "downloading"
    downloaded_bytes: int = 0
    bytes_per_second: float = 0.0
    ended_at: float | None = None
    error: RequestError | None = None
    """Why it failed."""

    @property
    def remaining_seconds(self) -> float | None:
        """How long it will take at this speed; None before there is one."""
        if self.bytes_per_second <= 0:
            return None
        return (self.option.size_bytes - self.downloaded_bytes) / self.bytes_per_second

    def hear(self, event: DownloadEvent) -> None:
        """Note how far the download is."""
        if isinstance(event, ChannelPacketDownloadProgress):
            self.downloaded_bytes = event.update.downloaded_bytes
            self.bytes_per_second = event.update.speed_bytes_per_second


class DownloadJobs:
    """The jobs of one server, the newest ones: those that are over make room. They end with the server."""

    def __init__(self, downloads: Downloads, clock: Clock, max_jobs: int = _MAX_JOBS) -> None:
        self._downloads = downloads
        self._clock = clock
        self._max_jobs = max_jobs
        self._jobs: dict[str, DownloadJob] = {}

    def start(self, option: DownloadOption) -> DownloadJob:
        """The job that downloads *option*: the one in progress, or a new one."""
        for job in self._jobs.values():
            if job.state == "downloading" and job.option.identifier == option.identifier:
                return job
        job = DownloadJob(f"job_{secrets.token_hex(12)}", option, self._clock.time())
        self._jobs[job.id] = job
        self._make_room()
        ticket = self._downloads.start(option).join(job.hear)
        ticket.outcome.add_done_callback(partial(self._end, job))
        return job

    def get(self, job_id: str) -> DownloadJob | None:
        """The job with this id, if it is still known."""
        return self._jobs.get(job_id)

    def all(self) -> list[DownloadJob]:
        """All jobs that are known, oldest first."""
        return list(self._jobs.values())

    def _end(self, job: DownloadJob, outcome: asyncio.Future[ModelFile | None]) -> None:
        job.ended_at = self._clock.time()
        if outcome.cancelled():
            job.state = "failed"
            return
        error = outcome.exception()
        if error is None:
            job.state, job.downloaded_bytes = "completed", job.option.size_bytes
            return
        job.state, job.error = "failed", as_request_error(error, "download")
        _logger.info("The download of %s failed: %s", job.option.identifier, job.error, extra=fields())

    def _make_room(self) -> None:
        over = [job for job in self._jobs.values() if job.state != "downloading"]
        for job in over[: max(0, len(self._jobs) - self._max_jobs)]:
            del self._jobs[job.id]
