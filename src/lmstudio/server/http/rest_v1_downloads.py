"""POST /api/v1/models/download, and how far downloads are."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import rest_v1 as wire
from lmstudio._near import near_matches
from lmstudio.server.http.errors import HttpError, as_http_error
from lmstudio.server.repository.plans import fitting_options, recommended_option

if TYPE_CHECKING:
    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.repository.jobs import DownloadJob
    from lmstudio.server.repository.listing import DownloadOption, ListedModel

__all__ = ["download_model", "download_status", "list_downloads"]

# Whichever site it is: this server downloads what its catalogue has, from where the catalogue says.
_REPOSITORY_URL: Final = re.compile(r"https?://[^/?#]+/([^/?#]+/[^/?#]+?)(?:/tree/[^/?#]+)?/?", re.IGNORECASE)
_LONGEST_WANTED: Final = 200


async def download_model(exchange: Exchange, request: wire.DownloadRequest) -> None:
    """Begin to download a model, unless it is there already."""
    core = exchange.core
    option = await _option(core, request)
    if core.downloads.find(option) is not None:
        await exchange.reply(wire.DownloadReply(status="already_downloaded"))
        return
    job = core.download_jobs.start(option)
    reply = wire.DownloadReply(
        job_id=job.id,
        status=job.state,
        total_size_bytes=job.option.size_bytes,
        started_at=_timestamp(job.started_at),
        completed_at=_timestamp(job.ended_at) if job.state == "completed" else None,
    )
    await exchange.reply(reply)


async def download_status(exchange: Exchange, _: None) -> None:
    """How far one download is."""
    wanted = exchange.path_parameters["job_id"]
    job = exchange.core.download_jobs.get(wanted)
    if job is None:
        message = f"There is no download {wanted[:_LONGEST_WANTED]!r}; GET /api/v1/models/download/status lists them."
        raise HttpError("job_not_found", message, param="job_id")
    await exchange.reply(_status(exchange.core, job))


async def list_downloads(exchange: Exchange, _: None) -> None:
    """How far all downloads are, the oldest first. LM Studio has no such list."""
    core = exchange.core
    await exchange.reply(wire.DownloadJobList(jobs=[_status(core, job) for job in core.download_jobs.all()]))


def _status(core: ServerCore, job: DownloadJob) -> wire.DownloadJob:
    members: dict[str, Any] = {}
    if job.state == "downloading":
        members["bytes_per_second"] = job.bytes_per_second
        if (remaining := job.remaining_seconds) is not None:
            members["estimated_completion"] = _timestamp(core.clock.time() + remaining)
    elif job.state == "completed":
        members["completed_at"] = _timestamp(job.ended_at)
    elif job.error is not None:
        members["error"] = wire.Problem(type="internal_error", message=as_http_error(job.error, "download").message)
    return wire.DownloadJob(
        job_id=job.id,
        status=job.state,
        total_size_bytes=job.option.size_bytes,
        downloaded_bytes=job.downloaded_bytes,
        started_at=_timestamp(job.started_at),
        **members,
    )


def _timestamp(seconds: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601."""
    if seconds is None:
        return None
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# What to download ----------------------------------------------------------------------------------------------------


async def _option(core: ServerCore, request: wire.DownloadRequest) -> DownloadOption:
    """The files that are meant: those of the quantization that was asked for, or the recommended ones.

    Raises:
        HttpError: there are none.
        RequestError: the catalogue cannot be read.
    """
    url = _REPOSITORY_URL.fullmatch(request.model.strip())
    if url is None and "://" in request.model:
        message = f"model {request.model[:_LONGEST_WANTED]!r} is no address of a repository: https://site/owner/name."
        raise HttpError("invalid_request", message, param="model", code="invalid_value")
    if url is None and request.quantization is not None:
        message = "quantization goes with the address of a repository only, not with publisher/name; leave it out."
        raise HttpError("invalid_request", message, param="quantization", code="invalid_value")
    model = await _listed(core, url[1] if url else request.model.strip())
    if request.quantization is None:
        option = recommended_option(fitting_options(model.options, core.free_memory()) or model.options)
        assert option is not None  # a listed model has files
        return option
    wanted = request.quantization.upper()
    for option in model.options:
        if option.quantization == wanted:
            return option
    found = ", ".join(sorted({option.quantization or "none named" for option in model.options}))
    message = f"{model.repository} has no files of the quantization {wanted[:_LONGEST_WANTED]!r}; there are: {found}."
    raise HttpError("model_not_found", message, param="quantization")


async def _listed(core: ServerCore, name: str) -> ListedModel:
    models = await core.download_catalog.models()
    for model in models:
        if model.is_called(name):
            return model
    names = [model.repository for model in models]
    near = near_matches(name[:_LONGEST_WANTED], names)
    offered = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names[:10]) or 'none'}."
    message = f"The catalogue of downloads has no model {name[:_LONGEST_WANTED]!r}. {offered}"
    raise HttpError("model_not_found", message, param="model")
