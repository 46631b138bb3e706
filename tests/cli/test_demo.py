"""`python -m lmstudio demo`, run as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "lmstudio", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("surface", [[], ["--async"]], ids=["sync", "async"])
def test_the_demo_does_everything_with_a_real_model(surface: list[str]) -> None:
    done = run_command("demo", *surface)

    assert done.returncode == 0, done.stderr
    assert "pebble-2.6m " in done.stdout
    assert "pebble-embed-0.8m" in done.stdout
    assert "The capital of Norway is Oslo." in done.stdout
    assert re.search(r"first token after \d+ ms, [\d,]+ tokens/s, \d+ tokens, stop reason eosFound", done.stdout)
    assert "stop reason userStopped" in done.stdout
    assert "Person(name='Nina', age=31)" in done.stdout
    assert "cosine similarity 0." in done.stdout
    assert "models still loaded: 0" in done.stdout


def test_the_demo_writes_plain_lines_when_piped() -> None:
    done = run_command("demo", "--engine", "scripted")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert "loading: done in" in done.stdout


def test_a_wrong_command_is_refused_with_usage() -> None:
    done = run_command("dmeo")
    assert done.returncode == 2
    assert "usage: python -m lmstudio" in done.stderr


def test_the_version_is_printed() -> None:
    import lmstudio

    assert run_command("--version").stdout.strip() == f"lmstudio {lmstudio.__version__}"
