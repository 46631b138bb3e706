"""The official Python package, in an environment of its own, which the benchmarks use as well."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_SIDES = ROOT / "benchmarks" / "sides.py"


@functools.cache
def sides() -> Any:
    """`benchmarks/sides.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("benchmark_sides", _SIDES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def require_official_python() -> Path:
    """An interpreter with the official package, installed on first use.

    Without a network the test is skipped; on CI, where there is one, it fails.
    """
    try:
        with _one_at_a_time():
            python: Path = sides().official_python(None)
    except (subprocess.CalledProcessError, OSError) as error:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"The official package could not be installed into {sides().OFFICIAL_ENVIRONMENT}: {error}")
    return python


def run_script(python: Path, script: Path, *arguments: str, official: bool) -> str:
    """What *script* prints, run by *python*."""
    side = sides().Side("official" if official else "ours", python, keeps_python_path=not official)
    output: str = side.run([str(script), *arguments])
    return output


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Keep two test processes from installing at the same time."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(_SIDES, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
