"""Programs that tests run in processes of their own."""

from __future__ import annotations

import os


def uncovered() -> dict[str, str]:
    """The environment for a program that is not measured, because one of coverage's locks would stay locked.

    A forked child is stuck for good if another thread has the lock at that moment, and with it whoever waits for the
    child, or for the end of the output that it inherits. A program that Ctrl-C interrupts is stuck if it strikes right
    after the lock was taken.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
