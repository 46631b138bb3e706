"""Failures over HTTP as the exceptions of this package."""

from __future__ import annotations

import email.utils
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._remedies import look_around, remedy
from lmstudio.errors import (
    ErrorType,
    LMStudioAuthenticationError,
    LMStudioConnectionError,
    LMStudioContextOverflowError,
    LMStudioModelNotFoundError,
    LMStudioRateLimitError,
    LMStudioServerError,
    LMStudioValidationError,
    is_overflow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio._address import ServerAddress

    from ._exchange import ExchangeError

_LONGEST_BODY = 300
_LONGEST_LOCATION = 200
_OVERFLOW_CODES = ("context_length_exceeded", "exceed_context_size_error")
_NOT_FOUND = (
    r"(?i)\bmodel\b.{0,200}\b(?:not found|does not exist|not loaded)\b|\bno models? (?:loaded|found)\b|"
    r"\bcannot find model\b"
)


class ErrorDetails(msgspec.Struct, frozen=True):
    """What a server says about a failure, in one form for all of its surfaces."""

    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None
    data: dict[str, Any] | None = None
    """The whole object."""


def error_in(body: object) -> ErrorDetails | None:
    """The failure that *body*, which is JSON, is about; None if it is about none.

    The shapes: `{"error": "text"}`; `{"error": {"message", "type", "code", "param"}}` of OpenAI and of REST v1;
    `{"type": "error", "error": {...}}` of Anthropic; `{"type": "error", "message", ...}` of events of Responses.
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, str) and error:
        return ErrorDetails(error)
    if isinstance(error, dict) and error:
        return _details(error)
    return _details(body) if body.get("type") == "error" else None


def _details(error: dict[str, Any]) -> ErrorDetails:
    message = _text(error, "message") or _text(error, "error") or msgspec.json.encode(error).decode()
    return ErrorDetails(message, _text(error, "type"), _text(error, "code"), _text(error, "param"), error)


def _text(error: dict[str, Any], name: str) -> str | None:
    value = error.get(name)
    return value if isinstance(value, str) and value else None


def read_error(body: bytes, content_type: str = "") -> ErrorDetails:
    """What the *body* of a reply says that is a failure, JSON or not."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace")
        if "html" in content_type or text.lstrip()[:1] == "<":
            title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
            text = f"a web page{f' with the title {title[1].strip()!r:.80}' if title else ''}"
        return ErrorDetails(_shortened(text) or "it says nothing more")
    details = error_in(value)
    if details is not None:
        return details
    if isinstance(value, dict) and (message := _text(value, "message") or _text(value, "detail")):
        return ErrorDetails(message, data=value)
    return ErrorDetails(_shortened(body.decode("utf-8", "replace")) or "it says nothing more")


def _shortened(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST_BODY else f"{text[:_LONGEST_BODY]}..."


def server_error(status: int, details: ErrorDetails, attempted: str) -> LMStudioServerError:
    """The exception for a server that answered *status* and said *details*."""
    message = f"Could not {attempted}: {details.message.rstrip()}"
    raw: dict[str, Any] = {"title": details.message, "errorData": details.data, "displayData": {"code": details.code}}
    cls = _class_of(status, details, raw)
    if cls is LMStudioAuthenticationError:
        message = f"{message.rstrip('.')}. Pass an API token of this server, or set LM_API_TOKEN."
    error = cls(message, raw)
    error.status_code = status
    if error.error_type is ErrorType.API_ERROR and status >= 400:
        error.error_type = ErrorType.SERVER_ERROR if status >= 500 else ErrorType.CLIENT_ERROR
    if cls is LMStudioValidationError:
        error.with_context(errors={details.param or "": details.message})
    return error


def _class_of(status: int, details: ErrorDetails, raw: dict[str, Any]) -> type[LMStudioServerError]:
    words = (details.code, details.type)
    if status == 401 or (status == 200 and "authentication_error" in words):
        return LMStudioAuthenticationError
    if status == 429 or (status == 200 and "rate_limit_error" in words):
        return LMStudioRateLimitError
    if any(word in _OVERFLOW_CODES for word in words) or is_overflow(raw):
        return LMStudioContextOverflowError
    if "model_not_found" in words or (status in (400, 404) and details.code is None and _is_unknown_model(details)):
        return LMStudioModelNotFoundError
    if status in (400, 422) or (status == 404 and details.param):
        return LMStudioValidationError
    return LMStudioServerError


def _is_unknown_model(details: ErrorDetails) -> bool:
    return re.search(_NOT_FOUND, details.message) is not None


def redirected(status: int, location: str, attempted: str) -> LMStudioServerError:
    """The exception for a server that wants to be asked at *location*, which may be any other."""
    error = LMStudioServerError(
        f"Could not {attempted}: the server redirects to {location[:_LONGEST_LOCATION]!r} (HTTP status {status}), "
        "which is not followed. If LM Studio is there, pass that address as base_url."
    )
    error.status_code, error.error_type = status, ErrorType.API_ERROR
    return error


def not_connected(failure: ExchangeError, address: ServerAddress, attempted: str) -> LMStudioConnectionError:
    """The exception for a request that ended without a reply, but not because of a time limit."""
    url = address.http_url("")
    start, reason = f"Could not {attempted}:", failure.reason.removesuffix(".")
    if failure.kind == "closed":
        text = f"{start} the client was closed while this call was in progress."
    elif failure.kind == "connect":
        phase = failure.phase or "tcp"
        advice = remedy(phase, address, failure.cause, look_around())
        text = f"{start} LM Studio is not reachable at {url} (at {phase}): {reason}. {advice}"
    else:
        where = "before the server replied" if failure.kind == "no reply" else "in the middle of the reply"
        text = f"{start} the connection to {url} ended {where}: {reason}."
    error = LMStudioConnectionError(text, phase=failure.phase, url=url)
    return error.with_context(phase=failure.phase, url=url)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the server wants to be asked again, if it says so."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, at.timestamp() - time.time())
