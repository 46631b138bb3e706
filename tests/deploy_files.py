"""What the tests of examples/deploy read its files with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"


def tool(name: str) -> str:
    """Where the program *name* is; without it the test is skipped."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places)) or pytest.skip(f"{name} is not installed here")


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Of *dockerfile*, in order."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def unit_settings(unit: Path) -> dict[str, list[str]]:
    """What is set in the *unit* of systemd."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def assert_lints(dockerfile: Path) -> None:
    """hadolint has nothing against *dockerfile*."""
    done = subprocess.run([tool("hadolint"), str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def assert_accepted_by_systemd(unit: Path, command: list[str], folder: Path) -> None:
    """`systemd-analyze` *command* has nothing against *unit*, which is copied to *folder* for it."""
    systemd_analyze = tool("systemd-analyze")
    version = subprocess.run([systemd_analyze, "--version"], capture_output=True, text=True, check=True).stdout
    if int(re.findall(r"\d+", version)[0]) < 250:
        pytest.skip("this release of systemd cannot look at units that are not installed")
    file = folder / unit.name
    file.write_text(unit.read_text().replace("/opt/lmstudio/bin/python", str(Path(sys.executable).resolve())))
    done = subprocess.run([systemd_analyze, *command, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
