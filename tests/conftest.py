"""What holds for every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Make Ctrl-C act as in a terminal: a run in the background of a shell script inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
