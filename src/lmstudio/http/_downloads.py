"""Downloads of the server, which go on whether anybody looks or not: wait for their end."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio._callbacks import check_callbacks, tell
from lmstudio._http_models.rest_v1 import DownloadJob, DownloadReply
from lmstudio._timeouts import Timeout, is_seconds, read_timeout
from lmstudio.errors import LMStudioServerError, LMStudioTimeoutError, LMStudioValueError
from lmstudio.http._caller import HttpEndpoint

if TYPE_CHECKING:
    from lmstudio._callbacks import CallbackHome
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.http._caller import Caller

__all__ = ["DOWNLOAD_STATUS", "JobProgressCallback", "job_id_of", "wait_for_download"]

JobProgressCallback: TypeAlias = Callable[[DownloadJob], object]

DOWNLOAD_STATUS: Final = HttpEndpoint(
    "GET", "api/v1/models/download/status/{job_id}", DownloadJob, "get the status of a download", is_read=True
)
_ATTEMPTED: Final = "wait for a download"


def job_id_of(download: DownloadReply | DownloadJob | str) -> str:
    """The id of a job, of whatever tells of it.

    Raises:
        LMStudioValueError: it is nothing of that kind, or has no job.
    """
    job_id = getattr(download, "job_id", download)
    if isinstance(job_id, str) and job_id:
        return job_id
    if isinstance(download, DownloadReply):
        raise LMStudioValueError("There is no download to ask for: the model was there already.")
    raise LMStudioValueError(f"A download is what download() has returned, or the id of its job; got {download!r:.80}.")


async def wait_for_download(
    caller: Caller,
    home: CallbackHome,
    download: DownloadReply | DownloadJob | str,
    on_progress: JobProgressCallback | None,
    interval_seconds: float,
    timeout: TimeoutInput,
) -> DownloadJob | None:
    """The job when it is complete, asked for every *interval_seconds*; None if there is none, because none is needed.

    Raises:
        LMStudioServerError: the download failed, or the server does not know it.
        LMStudioTimeoutError: it was not complete within the total limit.
    """
    check_callbacks(home, on_progress=on_progress)
    if not is_seconds(interval_seconds):
        raise LMStudioValueError(f"interval_seconds must be a number of seconds from 0 on, got {interval_seconds!r}.")
    if isinstance(download, DownloadReply) and download.status == "already_downloaded":
        return None
    job_id, patience = job_id_of(download), _Patience(read_timeout(timeout))
    while True:
        job = await patience.look(caller, job_id)
        await tell(home, on_progress, job)
        if job.status == "completed":
            return job
        if job.status == "failed":
            raise _failed(job)
        await caller.pause(patience.pause(job, interval_seconds))


class _Patience:
    """How long the whole wait may go on: each look at the job is a call of its own."""

    def __init__(self, timeout: Timeout) -> None:
        self._timeout, self._begun = timeout, monotonic()
        self._total = timeout.total if isinstance(timeout.total, (int, float)) else None

    def _left(self) -> float:
        return math.inf if self._total is None else self._begun + self._total - monotonic()

    async def look(self, caller: Caller, job_id: str) -> DownloadJob:
        """The job as it is."""
        timeout = self._timeout if self._total is None else Timeout(total=max(self._left(), 0.0)).over(self._timeout)
        try:
            return await caller.call(DOWNLOAD_STATUS, path={"job_id": job_id}, timeout=timeout)
        except LMStudioTimeoutError as error:
            if error.limit == "total" and self._total is not None:
                raise self._expired(self._total, "the server did not say how far it is") from error
            raise

    def pause(self, job: DownloadJob, seconds: float) -> float:
        """How long to wait before the next look."""
        if self._total is not None and self._left() <= seconds:
            sizes = (job.downloaded_bytes, job.total_size_bytes)
            raise self._expired(self._total, f"it is {job.status} ({sizes[0]} of {sizes[1]} bytes)")
        return seconds

    @staticmethod
    def _expired(total: float, found: str) -> LMStudioTimeoutError:
        message = (
            f"Could not {_ATTEMPTED}: {found} after {total:g} seconds (timeout 'total'). It goes on in the server."
        )
        return LMStudioTimeoutError.of_limit("total", total, message)


def _failed(job: DownloadJob) -> LMStudioServerError:
    reason = job.error.message if job.error is not None else "the server does not say why."
    error = LMStudioServerError(f"Could not download a model: the job {job.job_id} has failed: {reason}")
    return error.with_context(attempted="download a model", endpoint=DOWNLOAD_STATUS.path)
