"""What holds for every test."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING

import certifi
import pytest

from lmstudio.settings import FILE_VARIABLE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_VARIABLES = (
    *(variable for setting in SETTINGS.values() for variable in setting.variables),
    FILE_VARIABLE,
    "LMS_API_SERVER_INFO_PATH",
)


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
