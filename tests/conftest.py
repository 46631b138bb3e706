"""What holds for every test."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_VARIABLES = ("LM_STUDIO_BASE_URL", "LM_STUDIO_VERIFY_TLS", "LMS_API_SERVER_INFO_PATH")


def pytest_configure() -> None:
    """Make Ctrl-C act as in a terminal: a run in the background of a shell script inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_lm_studio_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a discovery file names the server that the developer uses."""
    from lmstudio import _discovery

    def no_home() -> Path:
        raise RuntimeError

    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_discovery, "user_home", no_home)
