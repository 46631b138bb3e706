"""What holds for every test."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest

from lmstudio.settings import FILE_VARIABLE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Generator

_HERE = Path(__file__).parent
_VARIABLES = (
    *(variable for setting in SETTINGS.values() for variable in setting.variables),
    FILE_VARIABLE,
    "LMS_API_SERVER_INFO_PATH",
)

_SEEN_ELSEWHERE = ("docs", "examples", "page", "peer")
"""Folders whose tests judge the whole from outside: other tests run the same lines."""

_CHILDREN_SEEN_ELSEWHERE = (*_SEEN_ELSEWHERE, "http", "http_surfaces", "sdk_schema", "surface", "unit")
"""Folders of which that is true as far as they start processes; others start commands, and those of engines."""

_MEASURES_CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""The variable by which coverage has child processes measured."""


def pytest_configure() -> None:
    """Make Ctrl-C act as in a terminal: a run in the background of a shell script inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected: there is none, and it took a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Let the collector leave alone what is there for good: half a gigabyte of modules and tests, in each worker.

    Many tests collect, to see what is left; that takes a hundredth of the time then.
    """
    import hypothesis  # noqa: F401  # what it sets up (for trio) has to be seen by the collector

    gc.collect()
    gc.freeze()


def _folder(path: Path) -> str:
    return path.relative_to(_HERE).parts[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have coverage look away where there is nothing new to see: what it watches takes twice the time.

    That is from tests that are marked `unmeasured`, from those of hypothesis, and from whole folders.
    """
    is_new = not any(item.get_closest_marker(name) for name in ("unmeasured", "hypothesis"))
    watched, watched_threads = sys.gettrace(), threading.gettrace()
    is_coverage = type(watched).__module__.partition(".")[0] == "coverage"  # and no debugger
    if not is_coverage or (is_new and _folder(item.path) not in _SEEN_ELSEWHERE):
        return (yield)
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(watched)
        threading.settrace(watched_threads)


@pytest.fixture(autouse=True)
def _children_seen_elsewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare child processes the tenth of a second that coverage takes to begin."""
    if _folder(request.path) in _CHILDREN_SEEN_ELSEWHERE:
        monkeypatch.delenv(_MEASURES_CHILDREN, raising=False)


@pytest.fixture(scope="session")
def _one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a single certificate."""
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text(certifi.contents().partition(end)[0] + end, encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def _hardly_any_authorities(_one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each client of httpx the 20 ms in which it reads all public authorities; no test meets any of them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(_one_authority))


@pytest.fixture(autouse=True)
def _no_lm_studio_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a discovery file names the server that the developer uses."""
    from lmstudio import _discovery

    def no_home() -> Path:
        raise RuntimeError

    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_discovery, "user_home", no_home)
