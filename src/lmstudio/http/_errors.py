"""Failures over HTTP as the exceptions of this package."""

from __future__ import annotations

import email.utils
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio.errors import (
    ErrorType,
    LMStudioAuthenticationError,
    LMStudioContextOverflowError,
    LMStudioModelNotFoundError,
    LMStudioRateLimitError,
    LMStudioServerError,
    LMStudioValidationError,
    is_overflow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_BODY = 300
_NOT_FOUND_CODES = ("model_not_found",)
_OVERFLOW_CODES = ("context_length_exceeded", "exceed_context_size_error")
_NOT_FOUND = r"(?i)\bmodel\b.{0,200}\b(?:not found|does not exist|not loaded)\b|\bno models? (?:loaded|found)\b"
_ERROR_TYPES = (ErrorType.SERVER_ERROR, ErrorType.CLIENT_ERROR)


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
    raw = {"title": details.message, "errorData": details.data}
    cls: type[LMStudioServerError] = LMStudioServerError
    if status == 401:
        cls = LMStudioAuthenticationError
        message = f"{message.rstrip('.')}. Pass an API token of this server, or set LM_API_TOKEN."
    elif status == 429:
        cls = LMStudioRateLimitError
    elif details.code in _OVERFLOW_CODES or details.type in _OVERFLOW_CODES or is_overflow(raw):
        cls = LMStudioContextOverflowError
    elif _is_unknown_model(status, details):
        cls = LMStudioModelNotFoundError
    elif status in (400, 404, 422) and (details.param or details.type or status != 404):
        cls = LMStudioValidationError
    error = cls(message, raw).with_context(code=details.code)
    error.status_code = status
    if cls is LMStudioServerError and status >= 400:
        error.error_type = ErrorType.SERVER_ERROR if status >= 500 else ErrorType.CLIENT_ERROR
    if cls is LMStudioValidationError:
        error.with_context(errors={details.param or "": details.message})
    return error


def _is_unknown_model(status: int, details: ErrorDetails) -> bool:
    if details.code in _NOT_FOUND_CODES or details.type in _NOT_FOUND_CODES:
        return True
    return status in (400, 404) and details.code is None and re.search(_NOT_FOUND, details.message) is not None


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
