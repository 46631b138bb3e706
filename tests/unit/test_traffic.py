"""The log of messages."""

from __future__ import annotations

import logging

import pytest
from scripted_runtime import ScriptedRuntime, result, run

from lmstudio._endpoints import Rpc

ECHO: Rpc[dict[str, str], str] = Rpc("echo", dict[str, str], str)


def test_traffic_is_logged_below_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(5, "lmstudio.traffic")
    run(ScriptedRuntime(result("yes")).llm().call(ECHO, {"text": "ä"}, "echo"))
    seen = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert [level for level, _ in seen] == [7, 5]
    assert seen[0][1].startswith("Sent {")
    assert '"text":"ä"' in seen[0][1]
    assert seen[1][1].startswith("Received {")
    assert '"yes"' in seen[1][1]


def test_traffic_is_not_logged_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.traffic")
    run(ScriptedRuntime(result("yes")).llm().call(ECHO, {"text": "x"}, "echo"))
    assert caplog.records == []


@pytest.mark.parametrize("length", [20_000, 20_000_000])
def test_long_messages_are_cut(caplog: pytest.LogCaptureFixture, length: int) -> None:
    caplog.set_level(5, "lmstudio.traffic")
    run(ScriptedRuntime(result("y" * length)).llm().call(ECHO, {"text": "x" * length}, "echo"))
    assert all(len(record.getMessage()) < 10_100 and "bytes)" in record.getMessage() for record in caplog.records)
    assert len(caplog.records) == 2
