"""What goes wrong on the way to LM Studio, as the clients of the gateway are told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmstudio.errors import (
    LMStudioAuthenticationError,
    LMStudioChannelClosedError,
    LMStudioConnectionError,
    LMStudioContextOverflowError,
    LMStudioError,
    LMStudioModelNotFoundError,
    LMStudioPresetNotFoundError,
    LMStudioProtocolError,
    LMStudioTimeoutError,
    LMStudioValueError,
)
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.http.errors import ErrorReason

__all__ = ["as_http", "translated"]

_REASONS: tuple[tuple[type[LMStudioError], ErrorReason, str | None], ...] = (
    # The first that fits counts: an expired limit while connecting is both a timeout and a connection error.
    (LMStudioTimeoutError, "gateway_timeout", None),
    (LMStudioAuthenticationError, "bad_gateway", None),
    (LMStudioConnectionError, "bad_gateway", None),
    (LMStudioProtocolError, "bad_gateway", None),
    (LMStudioChannelClosedError, "bad_gateway", None),
    (LMStudioModelNotFoundError, "model_not_found", "model"),
    (LMStudioContextOverflowError, "context_overflow", None),
    (LMStudioPresetNotFoundError, "invalid_request", "preset"),
    (LMStudioValueError, "invalid_request", None),
)


def as_http(error: LMStudioError) -> HttpError:
    """What the client is told about *error*."""
    message = " ".join(line.strip() for line in error.message.splitlines() if line.strip())
    for kind, reason, param in _REASONS:
        if isinstance(error, kind):
            return HttpError(reason, message, param=param)
    return HttpError("internal", message, code="upstream_error")


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
