"""Where the time of a scenario goes: a worker under py-spy, or under cProfile where py-spy is missing."""

from __future__ import annotations

import pstats
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sides import HERE, WorkerError

if TYPE_CHECKING:
    from sides import Side

SAMPLES_PER_SECOND = 500
SHOWN_FUNCTIONS = 25
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>.+?)(?::\d+)?\)$")


def package_of(file: str) -> str:
    """Name of the package that *file* belongs to."""
    parts = Path(file).parts
    for folder in ("site-packages", "dist-packages", "src"):
        if folder in parts[:-1]:
            return parts[parts.index(folder) + 1].removesuffix(".py")
    for index, part in enumerate(parts[:-1]):
        if re.fullmatch(r"python3\.\d+t?", part):
            return parts[index + 1].removesuffix(".py")
    return "C code" if file in {"~", ""} else parts[-1].removesuffix(".py")


def profile(side: Side, scenario: str, port: int, count: int) -> str:
    """Shares of the packages and of the functions in the time of *scenario*, as text."""
    command = ["worker.py", scenario, "--port", str(port), "--count", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "profile"
        spy = shutil.which("py-spy")
        if spy is None:
            side.run(["-m", "cProfile", "-o", str(output), *command])
            note = "cProfile: calls are dearer than they are, and only the main thread is seen; py-spy sees all."
            return report(note, *cprofile_shares(output))
        spy_command = [spy, "record", "--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--full-filenames"]
        process = subprocess.run(
            [*spy_command, "--output", str(output), "--", str(side.python), *command],
            cwd=HERE,
            env=side.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise WorkerError(f"py-spy failed: {process.stderr.strip()}")
        return report("py-spy: all threads; C code counts for the function that calls it.", *spy_shares(output))


def cprofile_shares(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Own time by package and by function."""
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    # The table is public in practice and has been for decades, but not part of the annotations.
    table: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = vars(pstats.Stats(str(file)))["stats"]
    for (name, line, function), (_, _, own, _, _) in table.items():
        packages[package_of(name)] += round(own * 1e6)
        functions[f"{function}  {package_of(name)}:{line}" if line else function] += round(own * 1e6)
    return packages, functions


def spy_shares(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Samples by package and by function of the innermost frame; importing is left out."""
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in file.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        if "importlib" in stack:
            continue
        match = _FRAME.match(stack.rsplit(";", 1)[-1])
        if match is not None:
            packages[package_of(match["file"])] += int(samples)
            functions[f"{match['function']}  {package_of(match['file'])}/{Path(match['file']).name}"] += int(samples)
    return packages, functions


def report(note: str, packages: Counter[str], functions: Counter[str]) -> str:
    """Both tables in percent."""
    total = packages.total() or 1
    lines = [note, ""]
    lines += [f"{amount / total:6.1%}  {name}" for name, amount in packages.most_common(10)]
    lines.append("")
    lines += [f"{amount / total:6.1%}  {name}" for name, amount in functions.most_common(SHOWN_FUNCTIONS)]
    return "\n".join(lines)
