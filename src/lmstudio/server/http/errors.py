"""What goes wrong in a request over HTTP, and how each surface says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from lmstudio._sdk_models import (
    ErrorDisplayDataGenericIdentifierNotFound,
    ErrorDisplayDataGenericNoModelMatchingQuery,
    ErrorDisplayDataGenericPathNotFound,
    ErrorDisplayDataGenericPresetNotFound,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.server.engine.base import BadInputError, EngineError, PromptTooLongError
from lmstudio.server.errors import RequestError, as_request_error
from lmstudio.server.running import StoppingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANTHROPIC", "OPENAI", "REST_V1", "ErrorReason", "HttpError", "Surface", "as_http_error"]

ErrorReason: TypeAlias = Literal[
    "invalid_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "model_not_found",
    "job_not_found",
    "context_overflow",
    "too_large",
    "too_many_requests",
    "mcp_connection",
    "plugin_connection",
    "bad_gateway",
    "gateway_timeout",
    "not_implemented",
    "unavailable",
    "internal",
]

_STATUS: Final[Mapping[ErrorReason, int]] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "model_not_found": 404,
    "job_not_found": 404,
    "context_overflow": 400,
    "too_large": 413,
    "too_many_requests": 429,
    "mcp_connection": 502,
    "plugin_connection": 502,
    "bad_gateway": 502,
    "gateway_timeout": 504,
    "not_implemented": 501,
    "unavailable": 503,
    "internal": 500,
}
_CODE: Final[Mapping[ErrorReason, str]] = {
    "unauthorized": "invalid_api_key",
    "model_not_found": "model_not_found",
    "context_overflow": "context_length_exceeded",
    "too_many_requests": "rate_limit_exceeded",
    "not_found": "unknown_path",
    "bad_gateway": "upstream_unavailable",
    "gateway_timeout": "upstream_timeout",
}


class HttpError(Exception):
    """A request that is refused, or has failed.

    The message is one or two sentences: what was attempted, what was found, what to do. *param* is the member of the
    body that is to blame, *code* a word for programs.
    """

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        detail: str | None = None,
    ) -> None:
        """*detail* is for the log, where it says more than a client has to know."""
        super().__init__(message)
        self.reason: ErrorReason = reason
        self.message = message
        self.param = param
        self.code: str | None = code or _CODE.get(reason)
        self.headers: dict[str, str] = dict(headers or {})
        self.detail: str = detail or message


def as_http_error(error: BaseException, attempted: str) -> HttpError:
    """What the client is told about *error*. *attempted* names the endpoint, for the log."""
    if isinstance(error, HttpError):
        return error
    if isinstance(error, LMStudioValueError) and "errors" in error.context:
        return HttpError(
            "invalid_request", str(error), param=next(iter(error.context["errors"])), code=error.context.get("code")
        )
    refusal = as_request_error(error, attempted)
    message = " ".join(_sentence(part) for part in (refusal.title, refusal.cause, refusal.suggestion) if part)
    return HttpError(_reason(error, refusal), message, param=_param(refusal))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _reason(error: BaseException, refusal: RequestError) -> ErrorReason:
    if isinstance(error, PromptTooLongError):
        return "context_overflow"
    if isinstance(error, StoppingError):
        return "unavailable"
    if isinstance(error, (BadInputError, RecursionError)):
        return "invalid_request"
    if isinstance(
        refusal.display_data, (ErrorDisplayDataGenericPathNotFound, ErrorDisplayDataGenericNoModelMatchingQuery)
    ):
        return "model_not_found"
    if isinstance(refusal.display_data, ErrorDisplayDataGenericIdentifierNotFound):
        return "model_not_found"
    # A refusal that an engine's failure has caused is no mistake of the client.
    is_refusal = isinstance(error, RequestError) and not isinstance(error.__cause__, EngineError)
    return "invalid_request" if is_refusal else "internal"


def _param(refusal: RequestError) -> str | None:
    if isinstance(refusal.display_data, ErrorDisplayDataGenericPresetNotFound):
        return "preset"
    return "model" if refusal.display_data is not None else None


@dataclass(frozen=True)
class Surface:
    """How one family of paths says that something went wrong."""

    name: Literal["openai", "rest_v1", "anthropic"]
    types: Mapping[ErrorReason, str]
    """The surface's word for a reason."""
    other_type: str
    statuses: Mapping[ErrorReason, int] = field(default_factory=dict)
    """Where the status is another than usual."""

    def status(self, error: HttpError) -> int:
        """The status of the reply."""
        return self.statuses.get(error.reason, _STATUS[error.reason])

    def body(self, error: HttpError) -> dict[str, Any]:
        """The body of the reply, and what an error in a stream says."""
        kind = self.types.get(error.reason, self.other_type)
        if self.name == "anthropic":
            return {"type": "error", "error": {"type": kind, "message": error.message}}
        if self.name == "openai":
            members = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
            return {"error": members}
        optional = {"code": error.code, "param": error.param}
        return {
            "error": {"type": kind, "message": error.message}
            | {name: value for name, value in optional.items() if value is not None}
        }


OPENAI: Final = Surface(
    "openai",
    types={
        "too_many_requests": "rate_limit_error",
        "mcp_connection": "server_error",
        "plugin_connection": "server_error",
        "bad_gateway": "server_error",
        "gateway_timeout": "server_error",
        "not_implemented": "server_error",
        "unavailable": "server_error",
        "internal": "server_error",
    },
    other_type="invalid_request_error",
    statuses={"model_not_found": 400},
)
"""The shape of /v1 and /api/v0."""
REST_V1: Final = Surface(
    "rest_v1",
    types={
        "model_not_found": "model_not_found",
        "job_not_found": "job_not_found",
        "mcp_connection": "mcp_connection_error",
        "plugin_connection": "plugin_connection_error",
        "bad_gateway": "internal_error",
        "gateway_timeout": "internal_error",
        "not_implemented": "not_implemented",
        "internal": "internal_error",
        "unavailable": "internal_error",
        "too_many_requests": "internal_error",
    },
    other_type="invalid_request",
)
"""The shape of /api/v1."""
ANTHROPIC: Final = Surface(
    "anthropic",
    types={
        "unauthorized": "authentication_error",
        "forbidden": "permission_error",
        "not_found": "not_found_error",
        "model_not_found": "not_found_error",
        "too_large": "request_too_large",
        "too_many_requests": "rate_limit_error",
        "unavailable": "overloaded_error",
        "mcp_connection": "api_error",
        "plugin_connection": "api_error",
        "bad_gateway": "api_error",
        "gateway_timeout": "timeout_error",
        "not_implemented": "api_error",
        "internal": "api_error",
    },
    other_type="invalid_request_error",
)
"""The shape of /v1/messages."""


def surface_of(path: str) -> Surface:
    """How errors at *path* are told."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return ANTHROPIC
    return REST_V1 if path.startswith("/api/v1/") else OPENAI
