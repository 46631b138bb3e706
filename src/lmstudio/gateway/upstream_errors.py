"""What goes wrong on the way to LM Studio, as the clients of the gateway are told."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lmstudio.errors import (
    LMStudioAuthenticationError,
    LMStudioChannelClosedError,
    LMStudioConnectionError,
    LMStudioConnectTimeoutError,
    LMStudioContextOverflowError,
    LMStudioError,
    LMStudioModelNotFoundError,
    LMStudioPresetNotFoundError,
    LMStudioProtocolError,
    LMStudioRateLimitError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioValueError,
)
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmstudio.server.http.errors import ErrorReason

__all__ = ["as_http", "translated"]

_REASONS: tuple[tuple[type[LMStudioError], ErrorReason, str | None], ...] = (
    # The first that fits counts: an expired limit while connecting is both a timeout and a connection error.
    (LMStudioTimeoutError, "gateway_timeout", None),
    (LMStudioRateLimitError, "too_many_requests", None),
    (LMStudioAuthenticationError, "bad_gateway", None),
    (LMStudioConnectionError, "bad_gateway", None),
    (LMStudioProtocolError, "bad_gateway", None),
    (LMStudioChannelClosedError, "bad_gateway", None),
    (LMStudioModelNotFoundError, "model_not_found", "model"),
    (LMStudioContextOverflowError, "context_overflow", None),
    (LMStudioPresetNotFoundError, "invalid_request", "preset"),
    (LMStudioValueError, "invalid_request", None),
)
_STATUS_REASONS: Final[Mapping[int, ErrorReason]] = {
    403: "bad_gateway",  # it does not like the gateway, which is not the client's fault
    404: "bad_gateway",
    405: "bad_gateway",
    408: "gateway_timeout",
    413: "too_large",
    502: "bad_gateway",
    503: "bad_gateway",
    504: "gateway_timeout",
}
"""What the other statuses of a server mean that is asked over HTTP, or of a proxy in front of it."""


_FOR_CLIENTS: Final[tuple[tuple[type[LMStudioError], str], ...]] = (
    (LMStudioConnectTimeoutError, "LM Studio has not answered the gateway in time"),
    (LMStudioAuthenticationError, "LM Studio does not let the gateway in"),
    (LMStudioConnectionError, "The gateway cannot reach LM Studio, or has lost it"),
)
"""What clients need not know more of: the rest is about addresses behind the gateway, and for who runs it."""


def as_http(error: LMStudioError) -> HttpError:
    """What the client is told about *error*."""
    detail = " ".join(line.strip() for line in error.message.splitlines() if line.strip())
    told = next((text for kind, text in _FOR_CLIENTS if isinstance(error, kind)), None)
    found = _as_http(error, detail if told is None else f"{told}. Its /health says more.")
    found.detail = detail
    return found


def _as_http(error: LMStudioError, message: str) -> HttpError:
    for kind, reason, param in _REASONS:
        if isinstance(error, kind):
            return HttpError(reason, message, param=param or _param(error), headers=_headers(error))
    by_status = _STATUS_REASONS.get(error.status_code or 0)
    if by_status is not None:
        return HttpError(by_status, message)
    return HttpError("internal", message, code=_code(error) or "upstream_error")


def _code(error: LMStudioError) -> str | None:
    """What a server calls the failure, if it was asked over HTTP."""
    code = (error.data or {}).get("code") if isinstance(error, LMStudioServerError) else None
    return code if isinstance(code, str) else None


def _param(error: LMStudioError) -> str | None:
    """What a server has refused, if it was asked over HTTP and says so."""
    return next(iter(error.context.get("errors") or ()), None) or None


def _headers(error: LMStudioError) -> dict[str, str] | None:
    seconds = error.retry_after if isinstance(error, LMStudioRateLimitError) else None
    return None if seconds is None else {"Retry-After": f"{math.ceil(seconds)}"}


@contextmanager
def translated() -> Iterator[None]:
    """What the block asks of LM Studio may fail.

    Raises:
        HttpError: it has.
    """
    try:
        yield
    except LMStudioError as error:
        raise as_http(error) from error
