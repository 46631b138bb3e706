"""The two packages under comparison: their interpreters, and processes that run with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalog import Result, Scenario

HERE = Path(__file__).resolve().parent
OFFICIAL_VERSION = "1.5.0"
OFFICIAL_ENVIRONMENT = HERE / ".env-official"
WORKER_DEADLINE_SECONDS = 600.0
_DEPENDENCIES = ("anyio", "httpcore", "httpx", "httpx-ws", "msgspec", "wsproto")
_DESCRIBE = """
import json, platform, sys
from importlib import metadata
import lmstudio
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
found = {name: version(name) for name in sys.argv[1:]}
json.dump({
    "python": platform.python_version(),
    "lmstudio": getattr(lmstudio, "__version__", None) or version("lmstudio"),
    "file": lmstudio.__file__,
    **{name: text for name, text in found.items() if text},
}, sys.stdout)
"""


class WorkerError(RuntimeError):
    """A process of one side failed."""


@dataclass
class Side:
    """One of the packages."""

    name: str
    python: Path
    keeps_python_path: bool
    """Whether `PYTHONPATH` applies: it may lead to this package's sources, which the official one must not see."""
    versions: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Environment of a worker: no credentials, no interpreter settings, no proxy before the local server."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTHON") and name not in {"LM_API_TOKEN", "LMSTUDIO_API_TOKEN"}
        }
        if self.keeps_python_path and "PYTHONPATH" in os.environ:
            kept["PYTHONPATH"] = os.environ["PYTHONPATH"]
        if any(name.lower().endswith("_proxy") for name in kept):
            kept["NO_PROXY"] = kept["no_proxy"] = "127.0.0.1"
        return kept

    def run(self, arguments: Sequence[str]) -> str:
        """Standard output of the interpreter with *arguments*.

        Raises:
            WorkerError: it failed, or took longer than ten minutes.
        """
        try:
            process = subprocess.run(
                [str(self.python), *arguments],
                cwd=HERE,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=WORKER_DEADLINE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise WorkerError(f"{self.name}: {arguments[0]} took longer than {error.timeout:.0f} s.") from error
        if process.returncode:
            lines = process.stderr.strip().splitlines()[-6:]
            what = " ".join(argument for argument in arguments if "\n" not in argument)
            raise WorkerError(f"{self.name}: {self.python} {what} failed:\n  " + "\n  ".join(lines))
        return process.stdout

    def describe(self) -> None:
        """Note which package the interpreter imports, and with which dependencies."""
        try:
            self.versions = json.loads(self.run(["-c", _DESCRIBE, *_DEPENDENCIES]))
        except WorkerError as error:
            raise WorkerError(
                f"{error}\nInstall lmstudio for that interpreter, or set PYTHONPATH (ours only)."
            ) from error

    def measure(self, scenario: Scenario, port: int, count: int) -> Result:
        """One run of *scenario* in a process of its own."""
        if scenario.kind == "import":
            return {"count": count, "seconds": self.import_seconds(count)}
        if scenario.kind == "first_token":
            return {"count": count, "seconds": self.first_token_seconds(port, count)}
        output = self.run(["worker.py", scenario.name, "--port", str(port), "--count", str(count)])
        result: dict[str, Any] = json.loads(output.splitlines()[-1])
        return result

    def import_seconds(self, count: int) -> float:
        """Time of `import lmstudio`: a process with it less one without it, each the fastest of *count*."""
        fastest = {"pass": float("inf"), "import lmstudio": float("inf")}
        for _ in range(count):
            for code, before in fastest.items():
                start = time.perf_counter()
                self.run(["-c", code])
                fastest[code] = min(before, time.perf_counter() - start)
        return fastest["import lmstudio"] - fastest["pass"]

    def first_token_seconds(self, port: int, count: int) -> float:
        """Time from starting a process to its first fragment, the median of *count*."""
        command = [str(self.python), "first_token.py", f"127.0.0.1:{port}", "bench/fragments=1"]
        taken: list[float] = []
        for _ in range(count):
            start = time.perf_counter()
            with subprocess.Popen(
                command, cwd=HERE, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                if process.stdout is None or process.stderr is None:
                    raise WorkerError(f"{self.name}: first_token.py has no output to read.")
                if not process.stdout.readline():
                    raise WorkerError(f"{self.name}: first_token.py failed:\n{process.stderr.read().decode()}")
                taken.append(time.perf_counter() - start)
        return sorted(taken)[len(taken) // 2]


def official_python(given: Path | None) -> Path:
    """Interpreter with the official package: *given*, or that of an environment made on the first run."""
    if given is not None:
        return given
    python = OFFICIAL_ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (OFFICIAL_ENVIRONMENT / "complete").exists():
        print(f"Installing lmstudio {OFFICIAL_VERSION} into {OFFICIAL_ENVIRONMENT} ...", file=sys.stderr)
        venv.create(OFFICIAL_ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", f"lmstudio=={OFFICIAL_VERSION}"],
            check=True,
            stdout=sys.stderr,
        )
        # An interrupted installation leaves no such file, so the next run starts over.
        (OFFICIAL_ENVIRONMENT / "complete").touch()
    return python


def open_sides(official: Path | None, ours: Path, *, ours_only: bool = False) -> list[Side]:
    """The packages to compare, described; the official one comes first.

    Raises:
        WorkerError: an interpreter does not import `lmstudio`, or not the official version where it should.
    """
    sides = [Side("ours", ours, keeps_python_path=True)]
    if not ours_only:
        sides.insert(0, Side("official", official_python(official), keeps_python_path=False))
    for side in sides:
        side.describe()
        found = side.versions["lmstudio"]
        if side.name == "official" and found != OFFICIAL_VERSION:
            raise WorkerError(f"{side.python} imports lmstudio {found}; the comparison is with {OFFICIAL_VERSION}.")
    if (
        len({side.versions["file"] for side in sides}) < len(sides)
        or sides[-1].versions["lmstudio"] == OFFICIAL_VERSION
    ):
        print("note: both interpreters import the official package, so every ratio should be near 1", file=sys.stderr)
    return sides
