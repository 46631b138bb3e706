"""One engine child process: start it, follow its load, keep its last words, end it.

Load progress comes through llama.cpp's own protocol between a router and its children (ggml-org/llama.cpp #18110),
which is internal to llama.cpp: without it a load shows 0 and then 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lmstudio._waiting import wait_within
from lmstudio.server.engine.base import (
    EngineDevice,
    EngineError,
    EngineLogLine,
    LogLevel,
    ModelDiedError,
    ProgressCallback,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio.server.engine.base import LogCallback

WORKER: Final = Path(__file__).with_name("_llama_worker.py")
_DEVICES_PROGRAM: Final = Path(__file__).with_name("_llama_devices.py")
_DEVICES_SECONDS: Final = 30.0
"""A driver of a graphics card may take a while to wake up."""
INSTALL_HINT: Final = "Install the engine with: pip install 'lmstudio[server]'"
_STATE_PREFIX: Final = "cmd_child_to_router:state:"
_ENVIRONMENT: Final = {
    "LLAMA_SERVER_ROUTER_PORT": "1",  # switches the progress protocol on; the number itself is not used
    "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait starve each other on busy cores
    "GOMP_SPINCOUNT": "0",
    "GGML_NO_BACKTRACE": "1",  # otherwise an assertion starts a debugger before the process ends
}
_DEATH_PATIENCE_SECONDS: Final = 2.0
"""How long a process may take to end after its connections broke."""
_LEVELS: Final[dict[str, LogLevel]] = {"D": "debug", "I": "info", "W": "warn", "E": "error"}
_KEPT_LINES: Final = 100
_KEPT_LINE_LENGTH: Final = 2000


class LastLines:
    """The last lines of a byte stream, bounded in number and length."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._partial = b""
        self.count = 0
        """How many lines there have been in all."""

    def feed(self, data: bytes) -> list[str]:
        """More of the stream, empty at its end; returns the lines that are complete now."""
        *lines, self._partial = (self._partial + data).split(b"\n") if data else (self._partial, b"")
        self._partial = self._partial[:_KEPT_LINE_LENGTH]
        texts = (line[:_KEPT_LINE_LENGTH].decode("utf-8", "replace").rstrip() for line in lines)
        complete = [text for text in texts if text]
        self._lines.extend(complete)
        self.count += len(complete)
        return complete

    def since(self, count: int) -> list[str]:
        """The lines after the first *count* ones, as far as they are kept."""
        new = self.count - count
        return list(self._lines)[-new:] if new > 0 else []


def _without_log_prefix(line: str) -> str:
    """*line* without the time, level and function name that the engine's log begins with."""
    return re.sub(r"^(?:[\d.]+ )?[A-Z] (?:\w+ +)?\w*(?:\(\))?: ", "", line).strip()


def log_line(line: str, pid: int) -> EngineLogLine:
    """A line of the engine's log, which begins with a time and a letter for the level: `0.01.234 I load: ...`."""
    level = re.match(r"(?:[\d.]+ )?([DIWE]) ", line)
    return EngineLogLine(_LEVELS.get(level[1] if level else "", "info"), line, pid)


_REASONS: Final = (
    # The first pattern that any line matches wins; later lines of the log only repeat the consequence.
    (re.compile(r"(GGML_ASSERT\(.*)"), "an internal check failed: {}"),
    (re.compile(r"common_chat_templates_init: error: (.*)"), "the chat template is broken: {}"),
    (re.compile(r"chat template parsing error: (?!std::exception)(.*)"), "the chat template is broken: {}"),
    (re.compile(r"gguf_init_from_\w+: (.*)"), "{}"),
    (re.compile(r"error loading model: (.*)"), "{}"),
    (re.compile(r"(.*(?:failed to allocate|unable to allocate|out of memory).*)", re.IGNORECASE), "{}"),
    (re.compile(r"((?:.*[\d.]+)? E .*)"), "{}"),
)


def reason_in_log(lines: Sequence[str]) -> str | None:
    """The engine's own reason for giving up, one clause; None if the log holds none."""
    for pattern, sentence in _REASONS:
        for line in lines:
            if match := pattern.search(line):
                return sentence.format(_without_log_prefix(match[1])).rstrip(".: ")
    return _without_log_prefix(lines[-1]).rstrip(". ") if lines else None


def exit_name(return_code: int) -> str:
    """A return code in words: "SIGKILL" or "exit code 3"."""
    if return_code < 0:
        try:
            return signal.Signals(-return_code).name
        except ValueError:
            return f"signal {-return_code}"
    return f"exit code {return_code}"


def load_failure(file: str, failed: Mapping[str, Any] | None, return_code: int, lines: Sequence[str]) -> EngineError:
    """Why loading *file* failed, from what the worker said (*failed*), how it ended, and what it logged."""
    kind, text = (str(failed["type"]), str(failed["failed"])) if failed else ("", "")
    if kind == "ModuleNotFoundError":
        return EngineError("The inference engine is not installed (no module xllamacpp).", suggestion=INSTALL_HINT)
    if kind == "ImportError":
        missing_openmp = "libgomp" in text
        return EngineError(
            f"The inference engine cannot start: {text}.",
            suggestion="Install the system library, on Debian and Ubuntu with: apt-get install libgomp1"
            if missing_openmp
            else INSTALL_HINT,
        )
    # RuntimeError is all the engine ever raises, without a reason; the reason is in its log.
    if kind not in ("", "RuntimeError"):
        return EngineError(f"The inference engine refused the settings for {file}: {kind}: {text}.")
    ending = exit_name(return_code)
    if ending == "SIGILL":
        return EngineError(
            f"Cannot load {file}: the processor lacks instructions that the inference engine needs ({ending}).",
            suggestion="The engine's wheels need AVX2 and FMA on x86-64; build xllamacpp from source for older ones.",
        )
    reason = reason_in_log(lines) or "it gave no reason"
    how = "" if failed else f" (the engine process ended with {ending})"
    return EngineError(f"Cannot load {file}: {reason}{how}.")


class EngineProcess:
    """A running worker with one loaded model."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, on_log: LogCallback | None = None) -> None:
        self._process = process
        self._name = name
        self._on_log = on_log
        self._log = LastLines()
        self._log_grew = asyncio.Event()
        self._messages: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self.is_closing: bool = False
        """Whether `close` has been called."""
        self._failed: Mapping[str, Any] | None = None
        # One task per process outlives whoever started it, so that no way of cancelling leaves a zombie.
        self._supervisor = asyncio.create_task(self._supervise(), name=f"engine process {process.pid}")
        self.pid: int = process.pid
        self.address: str = ""
        """Where the worker's HTTP server listens, once loaded."""

    @classmethod
    async def start(
        cls,
        parameters: Mapping[str, Any],
        name: str,
        on_progress: ProgressCallback,
        *,
        command: Sequence[str] | None = None,
        on_log: LogCallback | None = None,
    ) -> EngineProcess:
        """Start a worker and wait until it has loaded.

        *parameters* are the engine's settings by dotted name, *name* is the file for messages, *command* replaces the
        Python interpreter and the worker, *on_log* hears every line of the engine's log. Cancelling kills the process.

        Raises:
            EngineError: it cannot be started, or it ended; with the engine's own reason.
        """
        if command is None:
            command = (_python(), str(WORKER))
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT},
            )
        except OSError as error:
            raise EngineError(f"Cannot start the inference engine ({command[0]}): {error.strerror}.") from error
        self = cls(process, name, on_log)
        try:
            self._send_settings({"parameters": parameters, "sys_path": [path for path in sys.path if path]})
            await self._follow_load(on_progress)
        except BaseException:
            self._kill()
            await asyncio.shield(self._supervisor)
            raise
        return self

    def _send_settings(self, settings: Mapping[str, Any]) -> None:
        data = json.dumps(settings).encode("ascii")
        if self._process.stdin is not None:
            self._process.stdin.write(b"%08d" % len(data) + data)

    async def _follow_load(self, on_progress: ProgressCallback) -> None:
        reached = 0.0
        on_progress(0.0)
        while (message := await self._messages.get()) is not None:
            if "listening" in message:
                self.address = str(message["listening"])
                if reached < 1.0:
                    on_progress(1.0)
                return
            if "failed" in message:
                self._failed = message
                break
            value = _overall_progress(message)
            if value > reached:
                reached = value
                on_progress(value)
        await asyncio.wait({self._supervisor}, timeout=_DEATH_PATIENCE_SECONDS)
        self._kill()
        await asyncio.shield(self._supervisor)
        raise load_failure(self._name, self._failed, self._process.returncode or 0, self._log.since(0))

    async def _supervise(self) -> None:
        try:
            await asyncio.gather(self._read_stdout(), self._read_stderr())
            await self._process.wait()
        except asyncio.CancelledError:
            # The loop is being shut down.
            self._kill()
            await self._process.wait()
        finally:
            if self._process.stdin is not None:
                self._process.stdin.close()

    async def _read_stdout(self) -> None:
        partial = b""
        while data := await _read_some(self._process.stdout):
            *lines, partial = (partial + data).split(b"\n")
            for line in lines:
                message = _parse_message(line.decode("utf-8", "replace").strip())
                if message and not self.address:
                    self._messages.put_nowait(message)
        self._messages.put_nowait(None)

    async def _read_stderr(self) -> None:
        while data := await _read_some(self._process.stderr):
            self._pass_on(self._log.feed(data))
            self._log_grew.set()
        self._pass_on(self._log.feed(b""))

    def _pass_on(self, lines: Sequence[str]) -> None:
        if self._on_log is not None:
            for line in lines:
                self._on_log(log_line(line, self.pid))

    @property
    def log_position(self) -> int:
        """Where the log stands now, for `log_since`."""
        return self._log.count

    async def log_since(self, position: int, pattern: re.Pattern[str], timeout: float) -> list[str]:
        """The log from the first line after *position* that matches *pattern*; [] if none came within *timeout* s."""

        async def wait() -> list[str]:
            while True:
                lines = self._log.since(position)
                for index, line in enumerate(lines):
                    if pattern.search(line):
                        return lines[index:]
                self._log_grew.clear()
                await self._log_grew.wait()

        try:
            return await wait_within(wait(), timeout)
        except asyncio.TimeoutError:
            return []

    async def explain_lost_connection(self, error: Exception) -> EngineError:
        """What to raise after *error*: why the process died, if it is dead or about to be."""
        done, _ = await asyncio.wait({self._supervisor}, timeout=_DEATH_PATIENCE_SECONDS)
        if self.is_closing:
            return ModelDiedError(f"{self._name} has been unloaded.")
        if not done:
            return EngineError(f"The inference engine dropped a request for {self._name}: {error}.")
        ending = exit_name(self._process.returncode or 0)
        words = reason_in_log(self._log.since(0))
        return ModelDiedError(
            f"The engine process of {self._name} ended unexpectedly ({ending}){f': {words}' if words else ''}.",
            suggestion="Load the model again.",
        )

    def _kill(self) -> None:
        if self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                return

    async def close(self, timeout: float = 3.0) -> None:
        """End the process: ask, wait *timeout* seconds, then kill. Safe to call twice, and at the same time."""
        self.is_closing = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        _, running = await asyncio.wait({self._supervisor}, timeout=timeout)
        if running:
            self._kill()
            await asyncio.wait({self._supervisor})


async def _read_some(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read(65536)


def _parse_message(line: str) -> dict[str, Any] | None:
    """The message in one line of the worker's stdout; None for anything else."""
    try:
        if line.startswith("worker:"):
            message = json.loads(line[len("worker:") :])
        elif line.startswith(_STATE_PREFIX):
            message = json.loads(line[len(_STATE_PREFIX) :])
        else:
            return None
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _overall_progress(message: Mapping[str, Any]) -> float:
    """How far a load is, 0..1, over all of its stages; 0 if *message* does not say."""
    payload = message.get("payload")
    if message.get("state") != "loading" or not isinstance(payload, dict):
        return 0.0
    value, stages = payload.get("value"), payload.get("stages")
    if not isinstance(value, (int, float)):
        return 0.0
    if isinstance(stages, list) and payload.get("current") in stages:
        value = (stages.index(payload["current"]) + value) / len(stages)
    return min(1.0, max(0.0, float(value)))


def _python() -> str:
    if not sys.executable:
        raise EngineError("Cannot start the inference engine: this Python does not know its own executable.")
    return sys.executable


async def find_devices(command: Sequence[str] | None = None) -> list[EngineDevice]:
    """The devices that the engine can use besides the processor; *command* replaces the program that looks for them.

    Raises:
        EngineError: the engine is not installed, or could not be asked.
    """
    if command is None:
        command = (_python(), str(_DEVICES_PROGRAM))
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise EngineError(f"Cannot ask the inference engine ({command[0]}): {error.strerror}.") from error
    settings = json.dumps([path for path in sys.path if path]).encode()
    try:
        said, log = await wait_within(process.communicate(settings), _DEVICES_SECONDS)
    except asyncio.TimeoutError:
        raise EngineError(f"The inference engine does not say within {_DEVICES_SECONDS:g} s what it finds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    for line in said.decode("utf-8", "replace").splitlines():
        if line.startswith("devices:"):
            return [EngineDevice(**device) for device in json.loads(line.removeprefix("devices:"))]
    lines = log.decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else exit_name(process.returncode or 0)
    raise EngineError(f"The inference engine cannot say what it finds: {reason[:_KEPT_LINE_LENGTH]}.")
