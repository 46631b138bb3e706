"""Every exception this package raises on its own account.

::

    LMStudioError
    ├── LMStudioServerError                    the server refused or failed; `server_error` has its details
    │   ├── LMStudioAuthenticationError        the server does not accept the credentials
    │   ├── LMStudioModelNotFoundError         no such model, or none that matches
    │   ├── LMStudioPresetNotFoundError        no such preset
    │   ├── LMStudioChannelClosedError         the server ended a stream without its final packet
    │   └── LMStudioPredictionError            a prediction failed, or a tool in it
    │       └── ToolCallRequestError           a tool call of the model that cannot be run
    │           ├── ToolCallRequestInvalidFormatError     it cannot be read at all
    │           ├── ToolCallRequestInvalidNameError       there is no such tool
    │           └── ToolCallRequestInvalidArgumentsError  its arguments do not fit the tool
    ├── LMStudioClientError                    something on this side
    │   ├── LMStudioCancelledError             the operation was cancelled through this package
    │   ├── LMStudioWebsocketError             the connection cannot be made, or was lost
    │   └── LMStudioUnknownMessageWarning      (also a UserWarning) the server said something unknown; ignored
    ├── LMStudioStructuredOutputError          (also a ValueError) the reply does not match the requested schema
    ├── LMStudioTimeoutError                   (also a TimeoutError) `limit` says which limit expired
    │   └── LMStudioConnectTimeoutError        (also an LMStudioWebsocketError) no connection in time
    ├── LMStudioValueError                     (also a ValueError) bad input, refused before anything was sent
    ├── LMStudioRuntimeError                   (also a RuntimeError) not allowed in this state or place
    └── LMStudioOSError                        (also an OSError) a local file or resource
        └── LMStudioFileNotFoundError          (also a FileNotFoundError)

Exceptions of the libraries underneath never leave the package bare: they are chained (`__cause__`).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from ._sdk_models import SerializedLMSExtendedError

__all__ = [
    "LMStudioAuthenticationError",
    "LMStudioCancelledError",
    "LMStudioChannelClosedError",
    "LMStudioClientError",
    "LMStudioConnectTimeoutError",
    "LMStudioError",
    "LMStudioFileNotFoundError",
    "LMStudioModelNotFoundError",
    "LMStudioOSError",
    "LMStudioPredictionError",
    "LMStudioPresetNotFoundError",
    "LMStudioRuntimeError",
    "LMStudioServerError",
    "LMStudioStructuredOutputError",
    "LMStudioTimeoutError",
    "LMStudioUnknownMessageWarning",
    "LMStudioValueError",
    "LMStudioWebsocketError",
    "ToolCallRequestError",
    "ToolCallRequestInvalidArgumentsError",
    "ToolCallRequestInvalidFormatError",
    "ToolCallRequestInvalidNameError",
]

ConnectionPhase = Literal["proxy", "dns", "tcp", "tls", "greeting", "websocket", "authentication"]
"""How far an attempt to connect came: what failed, after what precedes it here had succeeded."""


class LMStudioError(Exception):
    """Base of all exceptions of this package."""


class LMStudioServerError(LMStudioError):
    """The server reported an error.

    The message reads well on its own. `server_error` holds the parts: title, cause, suggestion, error data, and display
    data with a machine-readable `code`. It is None where the failure came without details.
    """

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        # Plain data: pickles, and costs nothing until somebody asks for the struct.
        self._raw_error: dict[str, Any] | None = None if details is None else dict(details)

    @property
    def server_error(self) -> SerializedLMSExtendedError | None:
        """What the server reported, without its stack."""
        if self._raw_error is None:
            return None
        from ._lenient import convert
        from ._sdk_models import SerializedLMSExtendedError

        return convert(SerializedLMSExtendedError, self._raw_error)

    @staticmethod
    def from_details(message: str, details: Mapping[str, Any]) -> LMStudioServerError:
        """The exception for *details*, a serialized error of the server; *message* says what failed.

        Its class follows the error's code: a missing model, for example, is an LMStudioModelNotFoundError.
        """
        return _from_details(message, dict(details), LMStudioServerError)

    @property
    def code(self) -> str | None:
        """The machine-readable code, e.g. "generic.noModelMatchingQuery", if the server gave one."""
        display_data = (self._raw_error or {}).get("displayData")
        code = display_data.get("code") if isinstance(display_data, dict) else None
        return code if isinstance(code, str) else None


class LMStudioAuthenticationError(LMStudioServerError):
    """The server does not accept the credentials of this client."""

    phase: ConnectionPhase = "authentication"
    """As that of LMStudioWebsocketError."""

    def __init__(self, message: str, details: Mapping[str, Any] | None = None, *, url: str | None = None) -> None:
        super().__init__(message, details)
        self.url = url
        """The URL that was connected to."""


class LMStudioModelNotFoundError(LMStudioServerError):
    """The requested model is not downloaded, not loaded, or does not match the query."""


class LMStudioPresetNotFoundError(LMStudioServerError):
    """The requested preset does not exist."""


class LMStudioChannelClosedError(LMStudioServerError):
    """The server closed a channel before the packet that should end it."""


class LMStudioPredictionError(LMStudioServerError):
    """A prediction failed, or a tool that it called."""


class ToolCallRequestError(LMStudioPredictionError):
    """The model asked for a tool call that cannot be run. `handle_invalid_tool_request` decides what happens."""

    def __init__(
        self, message: str, details: Mapping[str, Any] | None = None, *, raw_content: str | None = None
    ) -> None:
        super().__init__(message, details)
        self.raw_content = raw_content
        """What the model wrote; None where the server does not say."""


class ToolCallRequestInvalidFormatError(ToolCallRequestError):
    """What the model wrote looks like a tool call and cannot be read as one."""


class ToolCallRequestInvalidNameError(ToolCallRequestError):
    """The model asked for a tool that was not offered."""

    tool_name: str = ""
    """The name the model used."""


class ToolCallRequestInvalidArgumentsError(ToolCallRequestError):
    """The arguments do not fit the tool."""

    tool_name: str = ""
    """The tool."""
    tool_arguments: Mapping[str, Any] | None = None
    """The arguments the model gave."""


class LMStudioClientError(LMStudioError):
    """Something failed on this side of the connection."""


class LMStudioCancelledError(LMStudioClientError):
    """The operation was cancelled through this package, or its stream was closed."""


class LMStudioWebsocketError(LMStudioClientError):
    """The connection to the server could not be made, or was lost."""

    def __init__(self, *args: object, phase: ConnectionPhase | None = None, url: str | None = None) -> None:
        super().__init__(*args)
        self.phase: ConnectionPhase | None = phase
        """What failed while connecting; None for a connection that was open and was lost."""
        self.url = url
        """The URL that could not be connected to, if it is known."""


class LMStudioUnknownMessageWarning(LMStudioClientError, UserWarning):
    """The server sent something that this version does not know. It was ignored; the call goes on."""


TimeoutLimit: TypeAlias = Literal["connect", "first_token", "idle", "total"]
"""The limits of `lmstudio.Timeout`, by name."""


class LMStudioTimeoutError(LMStudioError, TimeoutError):
    """Something took longer than allowed. If the server was at work, it has been told to stop."""

    limit: TimeoutLimit | None = None
    """Which limit of `lmstudio.Timeout` has expired; None if it was another, such as that of a tool."""
    seconds: float | None = None
    """That limit."""

    @classmethod
    def of_limit(cls, limit: TimeoutLimit, seconds: float, message: str, **more: Any) -> Self:
        """The error for a limit of `lmstudio.Timeout` that has expired; *more* for the constructor."""
        error = cls(message, **more)
        error.limit, error.seconds = limit, seconds
        return error


class LMStudioConnectTimeoutError(LMStudioWebsocketError, LMStudioTimeoutError):
    """There was no connection to the server within the time allowed."""


class LMStudioOSError(OSError, LMStudioError):
    """A local file or another resource of the operating system could not be used."""


class LMStudioFileNotFoundError(LMStudioOSError, FileNotFoundError):
    """A local file does not exist."""


class LMStudioRuntimeError(RuntimeError, LMStudioError):
    """The operation is not allowed in this state or from this place."""


class LMStudioValueError(ValueError, LMStudioError):
    """Bad input, refused before anything was sent."""


class LMStudioStructuredOutputError(LMStudioValueError):
    """The model's reply does not match the schema that was asked for.

    Typical reason: the reply was cut off (see *stop_reason*) before the JSON was complete.
    """

    def __init__(self, message: str, content: str = "", stop_reason: str | None = None) -> None:
        super().__init__(message, content, stop_reason)
        self.content = content
        """The text as the model wrote it."""
        self.stop_reason = stop_reason
        """Why the model stopped, e.g. "maxPredictedTokensReached"."""

    def __str__(self) -> str:
        return str(self.args[0])


# The codes that LM Studio is known to use. Others become a plain LMStudioServerError.
_CLASS_OF_CODE: dict[str, type[LMStudioServerError]] = {
    "generic.specificModelUnloaded": LMStudioModelNotFoundError,
    "generic.noModelMatchingQuery": LMStudioModelNotFoundError,
    "generic.pathNotFound": LMStudioModelNotFoundError,
    "generic.identifierNotFound": LMStudioModelNotFoundError,
    "generic.presetNotFound": LMStudioPresetNotFoundError,
}


def from_wire(
    error: object, attempted: str, default: type[LMStudioServerError] = LMStudioServerError
) -> LMStudioServerError:
    """Turn a serialized error of the server into the exception to raise.

    *attempted* names what was being done ("load model 'qwen'"). Parsing is lenient: a member of the wrong type counts
    as absent, anything that is not an object becomes the title.
    """
    if isinstance(error, dict):
        details = {key: value for key, value in error.items() if key != "stack"}
    else:
        details = {} if error is None else {"title": str(error)}
    return _from_details(f"Could not {attempted}", details, default)


def _from_details(failure: str, details: dict[str, Any], default: type[LMStudioServerError]) -> LMStudioServerError:
    display_data = details.get("displayData")
    code = display_data.get("code") if isinstance(display_data, dict) else None
    cls = _CLASS_OF_CODE.get(code, default) if isinstance(code, str) else default
    return cls(_describe(details, failure), details)


def _describe(details: Mapping[str, Any], failure: str) -> str:
    def text(key: str) -> str | None:
        value = details.get(key)
        return value.strip() if isinstance(value, str) and value.strip() else None

    title, root_title = text("title"), text("rootTitle")
    header = title or root_title or "Unknown server error"
    if title and root_title and title != root_title:
        header = f"{root_title}: {title}"
    lines = [f"{failure}: {header}"]
    display_data = details.get("displayData")
    if isinstance(display_data, dict):
        lines += _describe_display_data(display_data)
    for key, label in (("cause", "Cause"), ("suggestion", "Suggestion")):
        if value := text(key):
            lines.append(f"{label}: {value}")
    if details.get("errorData"):
        lines.append(f"Data: {json.dumps(details['errorData'], ensure_ascii=False, default=str)}")
    return "\n".join(lines)


# code -> (label, member with the excerpt, member with the full count)
_SAMPLES = {
    "generic.noModelMatchingQuery": ("Loaded models", "loadedModelsSample", "totalLoadedModels"),
    "generic.identifierNotFound": ("Loaded models", "loadedModelsSample", "totalLoadedModels"),
    "generic.pathNotFound": ("Downloaded models", "availablePathsSample", "totalModels"),
    "generic.presetNotFound": ("Presets", "availablePresetsSample", "totalAvailablePresets"),
}


def _describe_display_data(data: Mapping[str, Any]) -> list[str]:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    code = texts.get("code", "")
    if code == "generic.specificModelUnloaded":
        return ["This instance of the model was unloaded. Get a new handle, e.g. with client.llm.model(...)."]
    if code == "generic.domainMismatch" and {"path", "actualDomain", "expectedDomain"} <= texts.keys():
        return [f"{texts['path']} is of type {texts['actualDomain']}, not {texts['expectedDomain']}."]
    if code == "generic.engineDoesNotSupportFeature" and {"engineName", "installedVersion", "feature"} <= texts.keys():
        remedy = f"; version {texts['supportedVersion']} does." if "supportedVersion" in texts else "."
        return [f"{texts['engineName']} {texts['installedVersion']} does not support {texts['feature']}{remedy}"]
    if code not in _SAMPLES:
        return []
    label, sample_key, total_key = _SAMPLES[code]
    sample, total = data.get(sample_key), data.get(total_key)
    if not isinstance(sample, list):
        return []
    items = [item.get("identifier") if isinstance(item, dict) else item for item in sample]
    names = [item for item in items if isinstance(item, str)]
    more = total - len(names) if isinstance(total, int) else 0
    if not names:
        return [] if more > 0 else [f"{label}: none."]
    return [f"{label}: {', '.join(names)}" + (f" and {more} more." if more > 0 else ".")]


def without_own_frames(error: LMStudioError) -> LMStudioError:
    """*error* without the frames of this package, if there are no others, for a traceback that one can take in.

    The environment variable LMS_KEEP_INTERNAL_STACK, when it is set, keeps them.
    """
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_globals.get("__name__", "").partition(".")[0] != __package__:
            return error  # it comes from a callback or a tool of the user, whose frames matter
        frame = frame.tb_next
    return error if os.environ.get("LMS_KEEP_INTERNAL_STACK") else error.with_traceback(None)
