"""A whole session with the real engine: the official package and this one get the same results from the same calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lmstudio.server import Server

from .official_sdk import require_official_python, run_script

CALLS = Path(__file__).parent / "twin" / "real_calls.py"


def notes(python: Path, *, official: bool) -> dict[str, Any]:
    """What the session notes, on a server of its own."""
    with Server() as server:
        found: dict[str, Any] = json.loads(run_script(python, CALLS, server.api_host, official=official))
        return found


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    return notes(require_official_python(), official=True)


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return notes(Path(sys.executable), official=False)


def without_ids(messages: list[Any]) -> list[Any]:
    """Messages without the ids of tool calls, which are random, and the tool's name that only ours has in a result."""

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, dict):
            dropped = {"id", "toolCallId"} | ({"name"} if value.get("type") == "toolCallResult" else set())
            return {name: clean(item) for name, item in value.items() if name not in dropped}
        return value

    cleaned: list[Any] = clean(messages)
    return cleaned


def test_results_are_the_same(official: dict[str, Any], ours: dict[str, Any]) -> None:
    ours, official = dict(ours), dict(official)
    assert list(ours) == list(official)
    # Errors may have further base classes here, and there are more settings of a load.
    for name in ("unknown model", "unloaded"):
        assert set(official.pop(name)) <= set(ours.pop(name))
    assert official.pop("load config").items() <= ours.pop("load config").items()
    assert without_ids(ours.pop("act")) == without_ids(official.pop("act"))
    assert ours == official


def test_session_did_what_it_should(ours: dict[str, Any]) -> None:
    assert ours["progress"] == [0.0, 1.0, True]
    assert ours["context"][0] == 1024
    assert ours["respond"][0].strip()
    assert json.loads(ours["structured"][0]).keys() == {"name", "age"}
    assert ours["cancelled"] == "userStopped"
    assert "42" in json.dumps(ours["act"])
    assert ours["none"] == []
