"""What commands print: data on stdout, messages and progress on stderr; plain where that is not a terminal."""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lmstudio.errors import LMStudioRuntimeError

from . import asking

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from lmstudio._sdk_models import DownloadProgressUpdate

LEVELS: Final = ("debug", "info", "warn", "error", "none")
_STYLES: Final = {"debug": "dim", "info": None, "warn": "yellow", "error": "red"}
_PREFIXES: Final = {"debug": "", "info": "", "warn": "warning: ", "error": "error: "}
_WIDE: Final = 10_000
"""Columns of a table for programs, which need every letter."""
_DECIMAL: Final = ("B", "KB", "MB", "GB", "TB")
_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_CONTROLS: Final = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f]")
_LINES_OF_DOWNLOAD: Final = 10
"""So many lines tell of a download without a terminal."""


def disk_size(size_bytes: float) -> str:
    """A size on disk, such as 4.92 GB."""
    return _size(size_bytes, 1000, _DECIMAL)


def memory_size(size_bytes: float) -> str:
    """A size in memory, such as 4.58 GiB."""
    return _size(size_bytes, 1024, _BINARY)


def _size(size_bytes: float, step: int, units: Sequence[str]) -> str:
    unit = 0
    while size_bytes >= step and unit < len(units) - 1:
        size_bytes /= step
        unit += 1
    return f"{size_bytes:.0f} {units[0]}" if unit == 0 else f"{size_bytes:.2f} {units[unit]}"


class Output:
    """Where a command writes. *level* is the least important kind of message that is shown."""

    def __init__(self, level: str = "info") -> None:
        self.level: str = level
        self._least = LEVELS.index(level)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Output:
        """As `--log-level`, `--quiet` and `--verbose` say."""
        return cls(arguments.log_level or "info")

    @property
    def out(self) -> Console:
        """Standard output, for data."""
        return Console(highlight=False, soft_wrap=True)

    @property
    def err(self) -> Console:
        """Standard error, for everything else."""
        return Console(stderr=True, highlight=False, soft_wrap=True)

    # Messages --------------------------------------------------------------------------------------------------------

    def debug(self, text: str) -> None:
        """What only `--verbose` shows."""
        self._tell("debug", text)

    def info(self, text: str) -> None:
        """What has been done."""
        self._tell("info", text)

    def warn(self, text: str) -> None:
        """What may be a mistake."""
        self._tell("warn", text)

    def error(self, text: str) -> None:
        """Why the command fails."""
        self._tell("error", text)

    def shows(self, level: str) -> bool:
        """Whether messages of *level* are shown."""
        return LEVELS.index(level) >= self._least

    def _tell(self, level: str, text: str) -> None:
        if self.shows(level):
            # Names of models and texts of servers may contain what looks like markup.
            self.err.print(_on_stderr(f"{_PREFIXES[level]}{text}"), style=_STYLES[level], markup=False)

    # Data ------------------------------------------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        """Print *lines* as they are."""
        asking.say(*lines)

    def say_json(self, value: Any) -> None:
        """Print as JSON."""
        asking.say_json(value)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Print a table. The columns in *right*, numbers, stand at the right of their room."""
        console = self.out
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_plain(cell) for cell in row))
        if not console.is_terminal:
            console.width = _WIDE
        with console.capture() as captured:
            console.print(table)
        self.say(*(line.rstrip() for line in captured.get().strip("\n").splitlines()))

    # Progress and questions ------------------------------------------------------------------------------------------

    @contextmanager
    def progress(self, description: str) -> Iterator[Callable[[float], object]]:
        """A progress bar for what reports 0.0 to 1.0; without a terminal, one line at the beginning."""
        console = self.err
        is_drawn = console.is_terminal and self.shows("info")
        if not is_drawn:
            self.info(f"{description} ...")
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, disable=not is_drawn, transient=True) as bar:
            task = bar.add_task(harmless(description), total=1.0)
            yield lambda done: bar.update(task, completed=done)

    @contextmanager
    def downloading(self, description: str) -> Iterator[Callable[[DownloadProgressUpdate], object]]:
        """A progress bar with rate and remaining time; without a terminal, a line now and then."""
        console = self.err
        if not (console.is_terminal and self.shows("info")):
            self.info(f"{description} ...")
            yield self._lines_of_download()
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True, expand=True) as bar:
            task = bar.add_task(harmless(description), total=None, state="")
            yield lambda update: bar.update(
                task, completed=update.downloaded_bytes, total=update.total_bytes, state=_download_state(update)
            )

    def _lines_of_download(self) -> Callable[[DownloadProgressUpdate], object]:
        told = 0

        def tell(update: DownloadProgressUpdate) -> None:
            nonlocal told
            part = update.downloaded_bytes * _LINES_OF_DOWNLOAD // max(update.total_bytes, 1)
            if part > told:
                told = part
                self.info(f"{part * 100 // _LINES_OF_DOWNLOAD:>3} %  {_download_state(update)}")

        return tell

    @contextmanager
    def timed(self) -> Iterator[Callable[[], str]]:
        """How long it has taken until now, such as 1.23s."""
        started = time.monotonic()
        yield lambda: f"{time.monotonic() - started:.2f}s"

    @property
    def can_ask(self) -> bool:
        """Whether there is somebody to answer a question."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str, default: str, otherwise: str) -> str:
        """Let the user answer in one line; an empty one means *default*. Errors as those of `choose`."""
        if not self.can_ask:
            raise LMStudioRuntimeError(otherwise)
        console = self.err
        console.print(_on_stderr(f"{question} [{default}]: "), end="", markup=False)
        line = sys.stdin.readline()
        if not line:
            console.print()
            raise LMStudioRuntimeError(f"Nothing was answered. {otherwise}")
        return line.strip() or default

    def confirm(self, question: str, otherwise: str) -> bool:
        """Whether the user agrees; just Enter does. Errors as those of `choose`."""
        return self.ask(question, "yes", otherwise).lower() in ("y", "yes")

    def choose(self, question: str, options: Sequence[str], otherwise: str) -> int:
        """Let the user choose one of *options*; returns its place.

        Raises:
            LMStudioRuntimeError: there is nobody to ask, or the user gives up; *otherwise* says what to do instead.
        """
        if not self.can_ask:
            raise LMStudioRuntimeError(otherwise)
        console = self.err
        for number, option in enumerate(options, 1):
            console.print(_on_stderr(f"{number:>3}  {option}"), markup=False)
        while True:
            console.print(f"{question} [1-{len(options)}]: ", end="", markup=False)
            line = sys.stdin.readline()
            if not line:
                console.print()
                raise LMStudioRuntimeError(f"Nothing was chosen. {otherwise}")
            if line.strip().isdecimal() and 1 <= int(line) <= len(options):
                return int(line) - 1
            near = [place for place, option in enumerate(options) if option.split()[0] == line.strip()]
            if near:
                return near[0]


def _download_state(update: DownloadProgressUpdate) -> str:
    """Such as 1.20 GB of 4.92 GB, 12.30 MB/s, 5:03 left."""
    state = f"{disk_size(update.downloaded_bytes)} of {disk_size(update.total_bytes)}"
    rate = update.speed_bytes_per_second
    if rate <= 0:
        return state
    minutes, seconds = divmod(round((update.total_bytes - update.downloaded_bytes) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{state}, {disk_size(rate)}/s, {left} left"


def _on_stderr(text: str) -> str:
    return showable(harmless(text), sys.stderr)


def _plain(text: str) -> str:
    """One line without what a table takes for markup."""
    from rich.markup import escape

    return escape(harmless(" ".join(text.split())))


def harmless(text: str) -> str:
    """*text* without what a terminal would obey, and names, models and servers have no business to say."""
    return _CONTROLS.sub("", text)


def showable(text: str, stream: Any) -> str:
    """*text*, with question marks for what *stream* cannot show."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
