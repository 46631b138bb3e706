"""The log of a server that is a program of its own: lines for people, or JSON for machines."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from lmstudio.errors import LMStudioValueError
from lmstudio.logs import ENVIRONMENT_VARIABLE, FIELDS, LEVELS, LineFormatter, follow_environment, is_shown, level_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["JsonFormatter", "log_shown"]

_DEFAULT_LEVEL: Final = "warning"
_FOREIGN_LOGGERS: Final = ("asyncio", "uvicorn")
_COLOURS: Final = {logging.ERROR: "31", logging.WARNING: "33", logging.INFO: "32", logging.DEBUG: "36"}


class JsonFormatter(logging.Formatter):
    """One JSON object per line: timestamp (UTC), level, logger, message, then the fields that apply."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        entry: dict[str, Any] = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level_name(record).lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((name, value) for name in FIELDS if (value := getattr(record, name, None)) is not None)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _ColouredFormatter(LineFormatter):
    """The line in the colour of its level."""

    def format(self, record: logging.LogRecord) -> str:
        colour = next((code for level, code in _COLOURS.items() if record.levelno >= level), "2")
        return f"\033[{colour}m{super().format(record)}\033[0m"


def _formatter(form: str, is_terminal: bool) -> logging.Formatter:
    if form == "json":
        return JsonFormatter()
    return _ColouredFormatter() if is_terminal and not os.environ.get("NO_COLOR") else LineFormatter()


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        # It notices that the file was moved away (logrotate), and begins a new one.
        return logging.handlers.WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise LMStudioValueError(f"Cannot write the log to {file}: {error.strerror or error}.") from None


@contextmanager
def log_shown(form: str, level: str | None, file: Path | None) -> Iterator[None]:
    """Show the log of this program meanwhile, that of its libraries included.

    *form* is text or json. Without *level* the one of LMSTUDIO_LOG applies, or else warnings are shown. Libraries say
    less: warnings, and what a debugger wants at debug. A program that has set its logging up and asks for nothing here
    keeps it as it is.

    Raises:
        LMStudioValueError: *file* cannot be written.
    """
    if form == "text" and level is None and file is None and is_shown("lmstudio"):
        follow_environment()
        yield
        return
    word = level or os.environ.get(ENVIRONMENT_VARIABLE, "").strip().lower()
    number = LEVELS.get(word, LEVELS[_DEFAULT_LEVEL])
    handler = _handler(file)
    handler.setLevel(number)
    handler.setFormatter(_formatter(form, file is None and sys.stderr.isatty()))
    root = logging.getLogger()
    changed = [logging.getLogger("lmstudio")]
    if number <= logging.DEBUG:
        changed += map(logging.getLogger, _FOREIGN_LOGGERS)
    before = [logger.level for logger in changed]
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        for logger in changed:
            logger.setLevel(number)
        follow_environment()
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        handler.close()
        for logger, value in zip(changed, before, strict=True):
            logger.setLevel(value)
