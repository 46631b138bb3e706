"""What goes wrong in the server: refused requests, and a server that cannot start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio.errors import LMStudioRuntimeError
from lmstudio.logs import fields, get_logger
from lmstudio.server.engine.base import EngineError, PromptTooLongError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ErrorDisplayData, SerializedLMSExtendedError

_logger = get_logger("server")


class RequestError(Exception):
    """A handler's refusal, for the client to read; it becomes an rpcError or channelError.

    *title* is one sentence that says what was attempted and what was found; *suggestion* says what the client can do
    about it. *display_data* carries the code by which clients choose an exception class, *error_data* what else a
    program may want to read.
    """

    def __init__(
        self,
        title: str,
        *,
        cause: str | None = None,
        suggestion: str | None = None,
        display_data: ErrorDisplayData | None = None,
        error_data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(title)
        self.title = title
        self.cause = cause
        self.suggestion = suggestion
        self.display_data = display_data
        self.error_data = error_data

    def to_wire(self) -> SerializedLMSExtendedError:
        """The error as the protocol spells it. Title and root title are always there."""
        from lmstudio._sdk_models import SerializedLMSExtendedError

        return SerializedLMSExtendedError(
            title=self.title,
            root_title=self.title,
            cause=self.cause,
            suggestion=self.suggestion,
            display_data=self.display_data,
            error_data=self.error_data,
        )


class ServerStartError(LMStudioRuntimeError):
    """The embedded server could not start. The message is one sentence: what was found, and what to do."""


class StartInterruptedError(ServerStartError):
    """It was told to stop before it had started."""


class PortInUseError(ServerStartError):
    """Another program, or another server of this one, listens on that port."""


def as_request_error(error: BaseException, attempted: str) -> RequestError:
    """What the client is told about *error*, which a handler raised. *attempted* names the endpoint, for the log.

    A refusal is passed on. Anything unforeseen is logged with its traceback.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, PromptTooLongError):
        # No code of the protocol says this, so it is said as llama.cpp does.
        data = {"n_prompt_tokens": error.prompt_tokens, "n_ctx": error.context_length}
        return RequestError(str(error), suggestion=error.suggestion, error_data=data)
    if isinstance(error, EngineError):
        return RequestError(str(error), suggestion=error.suggestion)
    if isinstance(error, RecursionError):
        return RequestError(
            "The request is nested too deeply", suggestion="Send data with fewer levels of lists and objects."
        )
    if not isinstance(error, Exception):
        # Only a handler that cancels itself gets here; a connection that has ended is not told anything.
        return RequestError("The operation was cancelled on the server", cause=f"{attempted} ended early.")
    _logger.error("Unexpected error in %s", attempted, exc_info=error, extra=fields())
    return RequestError(
        "Internal server error",
        cause=f"{type(error).__name__} in {attempted}: {error}",
        suggestion="This is a bug of the server; its log has the details.",
    )
