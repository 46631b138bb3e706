"""The tool that runs the type checkers side by side."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_types.py"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("check_types", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checker(words: str, status: int) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", f"print({words!r}); raise SystemExit({status})")


@pytest.mark.parametrize("failing", ["nothing", "alone", "first", "last"])
def test_all_are_run_and_one_that_fails_is_a_failure(
    tool: Any, failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, first, last = (checker(f"{name}!", int(name == failing)) for name in ("alone", "first", "last"))
    assert tool.run([alone], [first, last]) == int(failing != "nothing")
    said = capsys.readouterr().out.splitlines()
    assert {"alone!", "first!", "last!"} < set(said)
    assert said.count("exit status 1") == int(failing != "nothing")
