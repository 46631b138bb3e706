"""Every exception this package raises on its own account.

::

    LMStudioError
    ├── LMStudioServerError                    the server refused or failed; `server_error` has its details
    │   ├── LMStudioAuthenticationError        the server does not accept the credentials
    │   ├── LMStudioModelNotFoundError         no such model, or none that matches; `near_matches` has what may be meant
    │   ├── LMStudioPresetNotFoundError        no such preset; likewise
    │   ├── LMStudioContextOverflowError       the prompt is longer than the context of the model
    │   ├── LMStudioValidationError            (also an LMStudioValueError) the server refused parameters; over HTTP
    │   ├── LMStudioRateLimitError             the server has too much to do; over HTTP
    │   ├── LMStudioProtocolError              what the server sent cannot be understood
    │   ├── LMStudioChannelClosedError         the server ended a stream without its final packet
    │   └── LMStudioPredictionError            a prediction failed, or a tool in it
    │       └── ToolCallRequestError           a tool call of the model that cannot be run
    │           ├── ToolCallRequestInvalidFormatError     it cannot be read at all
    │           ├── ToolCallRequestInvalidNameError       there is no such tool
    │           └── ToolCallRequestInvalidArgumentsError  its arguments do not fit the tool
    ├── LMStudioClientError                    something on this side
    │   ├── LMStudioCancelledError             the operation was cancelled through this package
    │   ├── LMStudioConnectionError            the connection cannot be made, or was lost
    │   │   └── LMStudioWebsocketError         that of the WebSocket protocol
    │   └── LMStudioUnknownMessageWarning      (also a UserWarning) the server said something unknown; ignored
    ├── LMStudioStructuredOutputError          (also a ValueError) the reply does not match the requested schema
    ├── LMStudioTimeoutError                   (also a TimeoutError) `limit` says which limit expired
    │   └── LMStudioConnectTimeoutError        (also an LMStudioWebsocketError) no connection in time
    ├── LMStudioValueError                     (also a ValueError) bad input, refused before anything was sent
    ├── LMStudioRuntimeError                   (also a RuntimeError) not allowed in this state or place
    └── LMStudioOSError                        (also an OSError) a local file or resource
        └── LMStudioFileNotFoundError          (also a FileNotFoundError)

Each has an `error_type`, the kind of failure in one word, and a `context`: what was attempted, where, with which model.
All can be pickled and copied, with their context. Exceptions of the libraries underneath never leave the package bare:
they are chained (`__cause__`), and never in an exception group.
"""

from __future__ import annotations

import json
import os
import re
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from ._sdk_models import SerializedLMSExtendedError

__all__ = [
    "ErrorType",
    "LMStudioAuthenticationError",
    "LMStudioCancelledError",
    "LMStudioChannelClosedError",
    "LMStudioClientError",
    "LMStudioConnectTimeoutError",
    "LMStudioConnectionError",
    "LMStudioContextOverflowError",
    "LMStudioError",
    "LMStudioFileNotFoundError",
    "LMStudioModelNotFoundError",
    "LMStudioOSError",
    "LMStudioPredictionError",
    "LMStudioPresetNotFoundError",
    "LMStudioProtocolError",
    "LMStudioRateLimitError",
    "LMStudioRuntimeError",
    "LMStudioServerError",
    "LMStudioStructuredOutputError",
    "LMStudioTimeoutError",
    "LMStudioUnknownMessageWarning",
    "LMStudioValidationError",
    "LMStudioValueError",
    "LMStudioWebsocketError",
    "ToolCallRequestError",
    "ToolCallRequestInvalidArgumentsError",
    "ToolCallRequestInvalidFormatError",
    "ToolCallRequestInvalidNameError",
]

ConnectionPhase = Literal["proxy", "dns", "tcp", "tls", "greeting", "websocket", "authentication"]
"""How far an attempt to connect came: what failed, after what precedes it here had succeeded."""


class ErrorType(str, Enum):
    """The kind of a failure: what a program decides by, for example whether to try again."""

    NETWORK_ERROR = "network_error"
    """No connection, or it was lost."""
    API_ERROR = "api_error"
    """The server refused, or could not do it."""
    TIMEOUT_ERROR = "timeout_error"
    """Nothing arrived in time."""
    AUTHENTICATION_ERROR = "authentication_error"
    """The server does not accept the credentials."""
    RATE_LIMIT_ERROR = "rate_limit_error"
    """The server has too much to do; only over HTTP."""
    SERVER_ERROR = "server_error"
    """A fault of the server itself."""
    CLIENT_ERROR = "client_error"
    """Bad input, a wrong moment, or a cancellation: something the caller did."""
    UNKNOWN_ERROR = "unknown_error"
    """Anything else."""


class LMStudioError(Exception):
    """Base of all exceptions of this package."""

    error_type: ErrorType = ErrorType.UNKNOWN_ERROR
    """The kind of failure."""
    status_code: int | None = None
    """The HTTP status that the server answered with; None for what is no answer over HTTP."""
    # Never changed in place: copies of an error share it.
    _context: Mapping[str, Any] = MappingProxyType({})

    @property
    def message(self) -> str:
        """What went wrong, in sentences: the text of the exception."""
        return str(self)

    @property
    def context(self) -> Mapping[str, Any]:
        """What is known about the failure, as plain data that JSON can hold; read-only, and without secrets.

        As far as they apply: `attempted` (completes "Could not ..."), `namespace` and `endpoint` (of the protocol),
        `model`, `address` (of the server), `url`, `code` (of the server's error), `errors` (by parameter).
        """
        return MappingProxyType(self._context)

    def with_context(self, **details: Any) -> Self:
        """Add *details* to `context` where they are not known yet; None says nothing. Returns this error."""
        self._context = {**{name: value for name, value in details.items() if value is not None}, **self._context}
        return self


class LMStudioServerError(LMStudioError):
    """The server reported an error.

    The message reads well on its own. The parts are attributes: `code`, `title`, `cause`, `suggestion` and `data`;
    `server_error` has all of them, and is None where the failure came without details.
    """

    error_type = ErrorType.API_ERROR

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        # Plain data: pickles, and costs nothing until somebody asks for the struct.
        self._raw_error: dict[str, Any] | None = None if details is None else dict(details)
        self.with_context(code=self.code)

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
        return _text(_display_data(self._raw_error or {}).get("code"))

    @property
    def title(self) -> str | None:
        """What went wrong, in the words of the server."""
        details = self._raw_error or {}
        return _text(details.get("title")) or _text(details.get("rootTitle"))

    @property
    def cause(self) -> str | None:
        """Why, in the words of the server."""
        return _text((self._raw_error or {}).get("cause"))

    @property
    def suggestion(self) -> str | None:
        """What to do about it, in the words of the server."""
        return _text((self._raw_error or {}).get("suggestion"))

    @property
    def data(self) -> Mapping[str, Any] | None:
        """More data that the server gave, of no fixed form."""
        data = (self._raw_error or {}).get("errorData")
        return data if isinstance(data, dict) else None


class LMStudioAuthenticationError(LMStudioServerError):
    """The server does not accept the credentials of this client."""

    error_type = ErrorType.AUTHENTICATION_ERROR
    phase: ConnectionPhase = "authentication"
    """As that of LMStudioWebsocketError."""

    def __init__(self, message: str, details: Mapping[str, Any] | None = None, *, url: str | None = None) -> None:
        super().__init__(message, details)
        self.url = url
        """The URL that was connected to."""


class _NotFoundError(LMStudioServerError):
    """Something was asked for by a name that the server does not have."""

    @property
    def available(self) -> tuple[str, ...]:
        """Names that the server has; it leaves some out where there are many."""
        return tuple(_sample(_display_data(self._raw_error or {}))[0])

    @property
    def near_matches(self) -> tuple[str, ...]:
        """The names in `available` that look like the one asked for, the nearest first."""
        return tuple(_near(_display_data(self._raw_error or {})))


class LMStudioModelNotFoundError(_NotFoundError):
    """The requested model is not downloaded, not loaded, or does not match the query."""


class LMStudioPresetNotFoundError(_NotFoundError):
    """The requested preset does not exist."""


class LMStudioContextOverflowError(LMStudioServerError):
    """The prompt, or the chat with the reply to it, is longer than the context that the model was loaded with.

    Load it with a larger `context_length`, shorten the chat (`trim_chat` does), or let the server leave something out
    (`context_overflow_policy`).
    """

    @property
    def prompt_tokens(self) -> int | None:
        """How long the prompt is, as far as the server says so."""
        return (_overflow(self._raw_error or {}) or (None, None))[0]

    @property
    def context_length(self) -> int | None:
        """How many tokens the model takes, as far as the server says so."""
        return (_overflow(self._raw_error or {}) or (None, None))[1]


class LMStudioProtocolError(LMStudioServerError):
    """What the server sent cannot be understood, or lacks what it must have."""

    error_type = ErrorType.SERVER_ERROR


class LMStudioChannelClosedError(LMStudioServerError):
    """The server closed a channel before the packet that should end it."""

    error_type = ErrorType.SERVER_ERROR


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

    error_type = ErrorType.NETWORK_ERROR


class LMStudioCancelledError(LMStudioClientError):
    """The operation was cancelled through this package, or its stream was closed."""

    error_type = ErrorType.CLIENT_ERROR


class LMStudioConnectionError(LMStudioClientError):
    """The connection to the server could not be made, or was lost."""

    def __init__(self, *args: object, phase: ConnectionPhase | None = None, url: str | None = None) -> None:
        super().__init__(*args)
        self.phase: ConnectionPhase | None = phase
        """What failed while connecting; None for a connection that was open and was lost."""
        self.url = url
        """The URL that could not be connected to, if it is known."""


class LMStudioWebsocketError(LMStudioConnectionError):
    """A connection of LM Studio's WebSocket protocol could not be made, or was lost."""


class LMStudioUnknownMessageWarning(LMStudioClientError, UserWarning):
    """The server sent something that this version does not know. It was ignored; the call goes on."""

    error_type = ErrorType.SERVER_ERROR


TimeoutLimit: TypeAlias = Literal["connect", "first_token", "idle", "total"]
"""The limits of `lmstudio.Timeout`, by name."""


class LMStudioTimeoutError(LMStudioError, TimeoutError):
    """Something took longer than allowed. If the server was at work, it has been told to stop."""

    error_type = ErrorType.TIMEOUT_ERROR
    limit: TimeoutLimit | None = None
    """Which limit of `lmstudio.Timeout` has expired; None if it was another, such as that of a tool."""
    seconds: float | None = None
    """That limit."""

    @classmethod
    def of_limit(cls, limit: TimeoutLimit, seconds: float, message: str, **more: Any) -> Self:
        """The error for a limit of `lmstudio.Timeout` that has expired; *more* for the constructor."""
        error = cls(message, **more)
        error.limit, error.seconds = limit, seconds
        return error.with_context(limit=limit, seconds=seconds)


class LMStudioConnectTimeoutError(LMStudioWebsocketError, LMStudioTimeoutError):
    """There was no connection to the server within the time allowed."""

    error_type = ErrorType.TIMEOUT_ERROR


class LMStudioOSError(OSError, LMStudioError):
    """A local file or another resource of the operating system could not be used."""

    error_type = ErrorType.CLIENT_ERROR


class LMStudioFileNotFoundError(LMStudioOSError, FileNotFoundError):
    """A local file does not exist."""


class LMStudioRuntimeError(RuntimeError, LMStudioError):
    """The operation is not allowed in this state or from this place."""

    error_type = ErrorType.CLIENT_ERROR


class LMStudioValueError(ValueError, LMStudioError):
    """Bad input, refused before anything was sent."""

    error_type = ErrorType.CLIENT_ERROR


class LMStudioValidationError(LMStudioServerError, LMStudioValueError):
    """The server refused what it was asked over HTTP: a parameter is missing, unknown or has a bad value.

    `context["errors"]` says which, as texts by parameter; "" where the server does not name one.
    """

    error_type = ErrorType.CLIENT_ERROR


class LMStudioRateLimitError(LMStudioServerError):
    """The server has too much to do at the moment (HTTP status 429)."""

    error_type = ErrorType.RATE_LIMIT_ERROR
    retry_after: float | None = None
    """Seconds after which it wants to be asked again, if it says so."""


class LMStudioStructuredOutputError(LMStudioValueError):
    """The model's reply does not match the schema that was asked for.

    Typical reason: the reply was cut off (see *stop_reason*) before the JSON was complete.
    """

    error_type = ErrorType.API_ERROR

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

# There is no code for a prompt that is too long. These are the sentences of LM Studio and of llama.cpp; nothing vaguer,
# because other errors speak of the context as well.
_OVERFLOWS = (
    (
        r"(?i)keep the first (?P<prompt>\d+) tokens when .{0,20}context .{0,20}overflows.*?"
        r"context length of only (?P<context>\d+) tokens"
    ),
    (
        r"(?i)number of tokens to keep from the initial prompt is greater than the context length"
        r"(?: *\(?n_keep: *(?P<prompt>\d+) *>= *n_ctx: *(?P<context>\d+))?"
    ),
    r"(?i)cannot truncate prompt with n_keep \((?P<prompt>\d+)\) >= n_ctx \((?P<context>\d+)\)",
    r"(?i)request \((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<context>\d+) tokens\)",
    r"(?i)reached context length of (?P<context>\d+) tokens",
)


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
    display_data = _display_data(details)
    code = _text(display_data.get("code"))
    cls = _CLASS_OF_CODE.get(code or "")
    if cls is None:
        cls = LMStudioContextOverflowError if _overflow(details) else default
    return cls(_describe(details, failure), details).with_context(model=_wanted_model(display_data))


def _display_data(details: Mapping[str, Any]) -> Mapping[str, Any]:
    data = details.get("displayData")
    return data if isinstance(data, dict) else {}


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def _overflow(details: Mapping[str, Any]) -> tuple[int | None, int | None] | None:
    """The length of the prompt and that of the context, if *details* are about a prompt that is too long."""
    data = details.get("errorData")
    if isinstance(data, dict):
        # As llama.cpp reports it.
        numbers = data.get("n_prompt_tokens"), data.get("n_ctx")
        if isinstance(numbers[0], int) and isinstance(numbers[1], int):
            return numbers
    for key in ("title", "rootTitle", "cause"):
        for pattern in _OVERFLOWS:
            if found := re.search(pattern, _text(details.get(key)) or ""):
                groups = found.groupdict()
                return _number(groups.get("prompt")), _number(groups.get("context"))
    return None


def is_overflow(details: Mapping[str, Any]) -> bool:
    """Whether *details*, a serialized error, are about a prompt that is too long."""
    return _overflow(details) is not None


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _describe(details: Mapping[str, Any], failure: str) -> str:
    title, root_title = _text(details.get("title")), _text(details.get("rootTitle"))
    header = title or root_title or "Unknown server error"
    if title and root_title and title != root_title:
        header = f"{root_title}: {title}"
    suggestion = _text(details.get("suggestion"))
    lines = [f"{failure}: {header}", *_describe_display_data(_display_data(details), suggestion or "")]
    for value, label in ((_text(details.get("cause")), "Cause"), (suggestion, "Suggestion")):
        if value:
            lines.append(f"{label}: {value}")
    if details.get("errorData") and not _overflow(details):  # which says it in words
        lines.append(f"Data: {json.dumps(details['errorData'], ensure_ascii=False, default=str)}")
    return "\n".join(lines)


# code -> (label, member with the excerpt, member with the full count)
_SAMPLES = {
    "generic.noModelMatchingQuery": ("Loaded models", "loadedModelsSample", "totalLoadedModels"),
    "generic.identifierNotFound": ("Loaded models", "loadedModelsSample", "totalLoadedModels"),
    "generic.pathNotFound": ("Downloaded models", "availablePathsSample", "totalModels"),
    "generic.presetNotFound": ("Presets", "availablePresetsSample", "totalAvailablePresets"),
}


def _sample(data: Mapping[str, Any]) -> tuple[list[str], int]:
    """The names that display data offers, and how many more there are."""
    _, sample_key, total_key = _SAMPLES.get(_text(data.get("code")) or "", ("", "", ""))
    sample, total = data.get(sample_key), data.get(total_key)
    if not isinstance(sample, list):
        return [], 0
    items = [item.get("identifier") if isinstance(item, dict) else item for item in sample]
    names = [item for item in items if isinstance(item, str)]
    return names, max(0, total - len(names)) if isinstance(total, int) else 0


def _wanted_model(data: Mapping[str, Any]) -> str | None:
    """The model that was asked for, by any name."""
    query = data.get("query")
    places = (data, query) if isinstance(query, dict) else (data,)
    return next((name for place in places for key in ("path", "identifier") if (name := _text(place.get(key)))), None)


def _near(data: Mapping[str, Any]) -> list[str]:
    wanted = _wanted_model(data) or _text(data.get("specifiedFuzzyPresetIdentifier"))
    names, _ = _sample(data)
    if wanted is None or not names:
        return []
    from ._near import near_matches

    return near_matches(wanted, names)


def _describe_display_data(data: Mapping[str, Any], suggestion: str) -> list[str]:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    code = texts.get("code", "")
    if code == "generic.specificModelUnloaded":
        return ["This instance of the model was unloaded. Get a new handle, e.g. with client.llm.model(...)."]
    if code == "generic.domainMismatch" and {"path", "actualDomain", "expectedDomain"} <= texts.keys():
        return [f"{texts['path']} is of type {texts['actualDomain']}, not {texts['expectedDomain']}."]
    if code == "generic.engineDoesNotSupportFeature" and {"engineName", "installedVersion", "feature"} <= texts.keys():
        remedy = f"; version {texts['supportedVersion']} does." if "supportedVersion" in texts else "."
        return [f"{texts['engineName']} {texts['installedVersion']} does not support {texts['feature']}{remedy}"]
    if code not in _SAMPLES or not isinstance(data.get(_SAMPLES[code][1]), list):
        return []
    label = _SAMPLES[code][0]
    names, more = _sample(data)
    if not names:
        return [] if more else [f"{label}: none."]
    lines = [f"{label}: {', '.join(names)}" + (f" and {more} more." if more else ".")]
    near = _near(data)
    # A server may have looked for them, too.
    if near and not any(name in suggestion for name in near):
        lines.append(f"Did you mean {' or '.join(map(repr, near))}?")
    return lines


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


def without_any_frames(error: BaseException) -> BaseException:
    """*error*, and what is chained to it, without tracebacks: for a place whose variables hold secrets."""
    beneath: BaseException | None = error
    seen: set[int] = set()
    while beneath is not None and id(beneath) not in seen:
        seen.add(id(beneath))
        beneath.__traceback__ = None
        beneath = beneath.__cause__ or beneath.__context__
    return error
