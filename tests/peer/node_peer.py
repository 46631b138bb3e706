"""The npm package @lmstudio/sdk in a Node process, to be told what to do.

    with NodePeer() as node, node.client(server) as js:
        js.call("system.getLMStudioVersion")

What a process can do is in `node/scenarios.mjs`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.server import Server

NODE_FOLDER = Path(__file__).parent / "node"
TIMEOUT_SECONDS = 20.0
"""Only ever waited for in full by a test that fails."""


# Node ----------------------------------------------------------------------------------------------------------------


@functools.cache
def require_node() -> str:
    """The path of `node`, its packages installed; fails the test, and says what to do, if that is not to be had."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("These tests need Node 20.6 or newer: install it, or run `python3 tools/run.py test`, which does.")
    with _one_at_a_time():
        if not _is_installed():
            problem = _install()
            if problem or not _is_installed():
                pytest.fail(f"The Node packages of these tests are missing: run `npm ci` in tests/peer/node. {problem}")
    return node


def _is_installed() -> bool:
    wanted = json.loads((NODE_FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = {name: NODE_FOLDER / "node_modules" / name / "package.json" for name in wanted}
    return all(
        path.exists() and json.loads(path.read_text(encoding="utf-8"))["version"] == wanted[name]
        for name, path in packages.items()
    )


def _install() -> str:
    """Run `npm ci`; what went wrong, or ""."""
    npm = shutil.which("npm")
    if npm is None:
        return "There is no npm."
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"It was tried and said: {done.stderr.strip()}"


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two test processes from installing at the same time."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(NODE_FOLDER / "package.json", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def node_environment() -> dict[str, str]:
    """This process's environment, with plain error texts and without credentials of the caller's."""
    env = {name: value for name, value in os.environ.items() if name not in ("LM_API_TOKEN", "NODE_OPTIONS")}
    return {**env, "LMS_NO_FANCY_ERRORS": "1", "FORCE_COLOR": "0"}


def answers_of_script(script: str, cases: list[dict[str, Any]]) -> list[Any]:
    """What a script of `node/` that reads one array of cases writes: an answer to each."""
    done = subprocess.run(
        [require_node(), script],
        cwd=NODE_FOLDER,
        env=node_environment(),
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    assert len(answers) == len(cases)
    return answers


# The process ---------------------------------------------------------------------------------------------------------


class JsError(Exception):
    """What lmstudio.js threw: its message, and the other members in `details`."""

    def __init__(self, details: dict[str, Any]) -> None:
        super().__init__(details["message"])
        self.details = details


@dataclass
class Run:
    """One scenario that was begun."""

    node: NodePeer
    scenario: str
    events: list[tuple[str, Any]] = field(default_factory=list)
    value: Any = None
    error: dict[str, Any] | None = None
    is_over: bool = False

    def wait_for(self, event: str) -> Any:
        """Block until *event* has come; its data."""
        self.node._wait_until(lambda: self.is_over or event in dict(self.events), f"{event} of {self.scenario}")
        return dict(self.events)[event]

    def end(self) -> Any:
        """Block until the scenario is over; its value.

        Raises:
            JsError: what it threw.
        """
        self.node._wait_until(lambda: self.is_over, f"the end of {self.scenario}")
        if self.error is not None:
            raise JsError(self.error)
        return self.value

    def all(self, event: str) -> list[Any]:
        """The data of every *event* so far, in order."""
        return [data for name, data in self.events if name == event]


class JsClient:
    """One `LMStudioClient`, made by its first use."""

    def __init__(self, node: NodePeer, url: str, opts: dict[str, Any]) -> None:
        self._node = node
        self._command = {"url": url, "clientOpts": opts}

    def begin(self, scenario: str, **args: Any) -> Run:
        """Start a scenario of `scenarios.mjs`."""
        return self._node._begin({**self._command, "scenario": scenario, "args": args})

    def run(self, scenario: str, **args: Any) -> Run:
        """Start a scenario and wait until it is over. Raises JsError."""
        run = self.begin(scenario, **args)
        run.end()
        return run

    def call(self, method: str, *parameters: Any) -> Any:
        """The result of a method of the client, e.g. "llm.listLoaded"."""
        return self.run("call", method=method, parameters=parameters).value

    def call_model(self, model: dict[str, Any], method: str, *parameters: Any) -> Any:
        """The result of a method of the model object that *model* ({namespace, key} or {namespace, query}) means."""
        return self.run("callModel", model=model, method=method, parameters=parameters).value


class NodePeer:
    """A Node process that runs scenarios, several at a time if need be."""

    def __init__(self) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [require_node(), "scenarios.mjs"],
            cwd=NODE_FOLDER,
            env=node_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            text=True,
            encoding="utf-8",
        )
        self._runs: list[Run] = []
        self._warnings: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, name="node peer", daemon=True)
        self._reader.start()

    @contextlib.contextmanager
    def client(self, server: Server | str, **opts: Any) -> Iterator[JsClient]:
        """A client of *server*, or of another host:port; at the end it waits for its channels to be closed."""
        host = server if isinstance(server, str) else server.api_host
        client = JsClient(self, f"ws://{host}", opts)
        yield client
        client.run("dispose")

    def take_warnings(self) -> list[str]:
        """What lmstudio.js complained about since the last time."""
        with self._changed:
            taken, self._warnings = self._warnings, []
        return taken

    def close(self) -> None:
        """Tell the process that nothing more will come, and wait until it has ended by itself.

        Raises:
            AssertionError: it does not end, or not well.
        """
        pipe = self._pipe(self._process.stdin)
        pipe.close()
        try:
            status: int | str = self._process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            status = "killed, because it did not end by itself"
        self._reader.join()
        self._pipe(self._process.stdout).close()
        problem = self._said()
        self._output.close()
        assert status == 0, f"Node: {status}. {problem}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self, command: dict[str, Any]) -> Run:
        run = Run(self, command["scenario"])
        with self._changed:
            identified = {"id": len(self._runs), **command}
            self._runs.append(run)
        pipe = self._pipe(self._process.stdin)
        pipe.write(json.dumps(identified) + "\n")
        pipe.flush()
        return run

    def _read(self) -> None:
        for line in self._pipe(self._process.stdout):
            message = json.loads(line)
            with self._changed:
                if "warning" in message:
                    self._warnings.append(message["warning"])
                else:
                    self._note(self._runs[message["id"]], message)
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _note(self, run: Run, message: dict[str, Any]) -> None:
        if "event" in message:
            run.events.append((message["event"], message.get("data")))
            return
        run.value, run.error, run.is_over = message.get("value"), message.get("error"), True

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._has_ended, TIMEOUT_SECONDS)
            if not condition():
                reason = "the process has ended" if self._has_ended else f"nothing for {TIMEOUT_SECONDS:g} s"
                complaints = " ".join(self._warnings)
                pytest.fail(f"Waited for {what}: {reason}. {complaints} {self._said()}")

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
