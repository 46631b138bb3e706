"""Programs that tests run in an interpreter of their own, as strict as it can be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from textwrap import dedent
from typing import IO, TYPE_CHECKING

from patience import PATIENCE_SECONDS
from programs import uncovered

if TYPE_CHECKING:
    from collections.abc import Iterator

# Slow steps of event loops are reported in development mode; they depend on the machine.
_PROLOGUE = """\
import asyncio, logging, sys
import lmstudio as lms
logging.getLogger("asyncio").setLevel(logging.ERROR)
HOST = sys.argv[1]
def say(*words):
    print(*words, flush=True)
"""

FORK = """
    import os, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of os.fork in programs with threads
    def in_child(work):
        child = os.fork()
        if child == 0:
            try:
                work()
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return child
    def joined(child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
"""Begins a program that forks; indented like the rest of one."""


@dataclass(frozen=True)
class Ending:
    """How a program ended."""

    code: int
    """Negative: the signal that ended it."""
    output: str
    """What had not been read yet."""
    errors: str
    seconds: float
    """How long the end took, from the moment it was asked about."""


class Script:
    """A running program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> str:
        """The next line that it writes, without the line end; "" when it is over, or writes none for too long."""
        with self._ended_if_stuck():
            return _stream(self.process.stdout).readline().rstrip("\n")

    def tell(self, line: str = "") -> None:
        """Write a line to its standard input."""
        stream = _stream(self.process.stdin)
        stream.write(line + "\n")
        stream.flush()

    def end(self) -> Ending:
        """Wait until it ends."""
        started = time.monotonic()
        # Not communicate(), which forgets what `line` has buffered.
        with self._ended_if_stuck():
            _stream(self.process.stdin).close()
            output = _stream(self.process.stdout).read()
            errors = _stream(self.process.stderr).read()
            code = self.process.wait()
        return Ending(code, output, errors, time.monotonic() - started)

    def kill(self) -> None:
        """End it and what it has forked, which would keep its output open."""
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()

    @contextmanager
    def _ended_if_stuck(self) -> Iterator[None]:
        watchdog = threading.Timer(PATIENCE_SECONDS, self.kill)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            watchdog.join()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@contextmanager
def script(code: str, api_host: str) -> Iterator[Script]:
    """Run *code* with warnings as errors. It finds `lms`, `asyncio`, `HOST`, and `say` for lines of output."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", _PROLOGUE + dedent(code), api_host]
    environment = uncovered() if FORK in code else None
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment, start_new_session=True
    ) as process:
        running = Script(process)
        try:
            yield running
        finally:
            running.kill()


def run_script(code: str, api_host: str) -> Ending:
    """Run *code* to its end."""
    with script(code, api_host) as running:
        return running.end()
