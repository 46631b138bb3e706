"""The log of this package: the logger `lmstudio` and its children.

==================== ==========================================================================================
`.websocket`         connections: made, authenticated, lost, made again; pings and close codes
`.models`            loads and their progress (with `verbose`), ambiguous model keys
`.tools`             what tools report, tools that fail
`.http`              over HTTP: attempts that fail and are repeated
`.callbacks`         callbacks of the user that fail
`.protocol`          messages of the server that had to be read leniently or were left out
`.config`            settings that were left out
`.traffic`           every message, at the levels RECV and SEND
`.server`            the embedded server
==================== ==========================================================================================

Below DEBUG there are the levels `WEBSOCKET` (what happens to connections), `SEND` and `RECV` (messages). Credentials
are never part of it: they are exchanged before the messages begin. `Client(logger=...)` moves what one client reports,
but for `.protocol`, `.config` and `.traffic`, to children of another logger, which LMSTUDIO_LOG does not show.

Each record has the attributes of `Fields`. A formatter can use them by name, for JSON for
example::

    {name: value for name in lmstudio.logs.FIELDS if (value := getattr(record, name)) is not None}

Nothing is shown unless the program configures logging, except for errors (a callback that fails, for example), which go
to stderr then. For a quick look, the environment variable LMSTUDIO_LOG, with one of the words error, warning, info,
debug, websocket, send and recv, shows the log on stderr from the first client or server on.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict

from ._wire import LongText

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from typing_extensions import Unpack

    from .errors import LMStudioError

__all__ = ["FIELDS", "RECV", "SEND", "WEBSOCKET", "Fields"]

RECV = 5
"""Level of the messages that the server sends."""
SEND = 7
"""Level of the messages that go to the server."""
WEBSOCKET = 9
"""Level of what happens to connections, in detail."""

ENVIRONMENT_VARIABLE = "LMSTUDIO_LOG"

LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "websocket": WEBSOCKET,
    "send": SEND,
    "recv": RECV,
}
"""By the words of settings."""
_NAMES = {RECV: "RECV", SEND: "SEND", WEBSOCKET: "WEBSOCKET"}
_LONGEST = 10_000
"""Characters of a message in the log; a file or a long chat has millions."""
_LOGIN = re.compile(rb'{"type":"rpcCall","endpoint":"login')
"""How a message begins that logs somebody in: with secrets."""


class Fields(TypedDict, total=False):
    """What log records have as attributes; None where it does not apply."""

    namespace: str | None
    """Of the protocol: llm, embedding, system, files, repository."""
    endpoint: str | None
    """Of the protocol, e.g. predict; the path of a request over HTTP."""
    method: str | None
    """Of a request over HTTP."""
    status: int | None
    """Of the answer to one; none where the client has not got the whole of it."""
    model: str | None
    """Key or identifier."""
    address: str | None
    """The server's, as in `api_host`."""
    peer: str | None
    """The client's address, in the log of a server."""
    url: str | None
    """Of a connection."""
    seconds: float | None
    """How long it took."""
    progress: float | None
    """Of a load, from 0 to 1."""
    attempt: int | None
    """Which one it is of several, from 1 on."""
    delay: float | None
    """Seconds until the next one."""
    error_type: str | None
    """As the `error_type` of exceptions."""
    code: str | None
    """Of the server's error."""
    close_code: int | None
    """Why a connection ended, as WebSockets say it."""
    size_bytes: int | None
    """Of a message."""
    tool: str | None
    """Its name."""
    callback: str | None
    """Its name."""


FIELDS: tuple[str, ...] = tuple(Fields.__annotations__)
"""The names in `Fields`."""
_NO_FIELDS = dict.fromkeys(FIELDS)


def fields(error: LMStudioError | None = None, **values: Unpack[Fields]) -> dict[str, object]:
    """For `extra=` of a log call: *values*, what the context of *error* adds to them, and None for all others."""
    found: dict[str, object] = {**_NO_FIELDS, **values}
    if error is not None:
        known = {**error.context, "error_type": error.error_type.value}
        found.update({name: value for name, value in known.items() if name in found and found[name] is None})
    return found


def get_logger(area: str) -> logging.Logger:
    """The logger `lmstudio.`*area*."""
    return logging.getLogger(f"lmstudio.{area}")


# Without configuration -----------------------------------------------------------------------------------------------


class _Fallback(logging.NullHandler):
    """As NullHandler, but errors reach stderr if there is nobody else to show them: they are bugs of the user's code.

    That is what Python itself does for programs that configure no logging.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        last_resort = logging.lastResort
        if record.levelno >= logging.ERROR and last_resort is not None and not is_shown(record.name):
            last_resort.handle(record)
        return True


def is_shown(name: str) -> bool:
    """Whether the program has a handler for the logger *name*."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


# From the environment ------------------------------------------------------------------------------------------------


def level_name(record: logging.LogRecord) -> str:
    """The level's name here; other packages may have given ours another one meanwhile."""
    return _NAMES.get(record.levelno, record.levelname)


class LineFormatter(logging.Formatter):
    """One line per record, with its fields at the end."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name of logging
        time = f"{self.formatTime(record, '%H:%M:%S')}.{int(record.msecs):03d}"
        level = level_name(record)
        found = [(name, getattr(record, name, None)) for name in FIELDS]
        known = [f" {name}={_shown(value)}" for name, value in found if value is not None]
        return f"{time} {level} {record.name}: {record.message}".replace("\n", " | ") + "".join(known)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = str(value)
    return repr(text) if not text or any(map(str.isspace, text)) else text


class _StderrHandler(logging.Handler):
    """Writes lines to whatever stderr is at that moment."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.setFormatter(LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # as every handler: a log that cannot be written ends no call
            self.handleError(record)


_has_followed = False


def follow_environment() -> None:
    """Show the log on stderr from now on, if the environment says so. Only the first call counts."""
    global _has_followed
    if _has_followed:
        return
    _has_followed = True
    word = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    level = LEVELS.get(word.lower())
    if level is None:
        if word:
            known = ", ".join(LEVELS)
            warnings.warn(f"{ENVIRONMENT_VARIABLE} is {word!r}: use one of {known}.", stacklevel=4)
        return
    logger = logging.getLogger("lmstudio")
    if level < logger.getEffectiveLevel():
        logger.setLevel(level)
    handlers = (*logger.handlers, *logging.root.handlers)
    if all(getattr(handler, "stream", None) is not sys.stderr for handler in handlers):
        logger.addHandler(_StderrHandler(level))  # else the program shows it there itself


@contextmanager
def shown_on_stderr(level: int) -> Iterator[None]:
    """Show the log on stderr, from *level* on."""
    logger, handler = logging.getLogger("lmstudio"), _StderrHandler(level)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


# Messages ------------------------------------------------------------------------------------------------------------

traffic: logging.Logger = get_logger("traffic")


def log_received(messages: Iterable[bytes], namespace: str) -> Sequence[bytes]:
    """Write *messages* into the log; returns them."""
    found = list(messages)
    for message in found:
        traffic.log(RECV, "Received %s", _text(message), extra=fields(namespace=namespace, size_bytes=len(message)))
    return found


def log_sent(message: bytes | LongText, namespace: str) -> None:
    """Write *message* into the log; only its size, if it is a long one, which is made while it is written, or has
    secrets in it."""
    size = message.size_bytes if isinstance(message, LongText) else len(message)
    text = f"(a message of {size} bytes)"
    if not isinstance(message, LongText) and _LOGIN.match(message) is None:
        text = _text(message)
    traffic.log(SEND, "Sent %s", text, extra=fields(namespace=namespace, size_bytes=size))


def _text(message: bytes | bytearray) -> str:
    text = bytes(message[:_LONGEST]).decode(errors="replace")
    return text if len(message) <= _LONGEST else f"{text}... ({len(message)} bytes)"


logging.getLogger("lmstudio").addHandler(_Fallback())
for _level, _name in _NAMES.items():
    if logging.getLevelName(_level) == f"Level {_level}":  # other packages have names of their own for some of them
        logging.addLevelName(_level, _name)
