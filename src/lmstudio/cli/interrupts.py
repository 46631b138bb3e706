"""What commands do at Ctrl-C."""

from __future__ import annotations

import warnings


def expect_loose_ends() -> None:
    """For a command that Ctrl-C has ended: say nothing of operations that were made and had not quite begun.

    Python warns of each coroutine that was never awaited, also of one that the synchronous API was about to run when
    Ctrl-C struck. It does so when the exception has been dealt with, which is after this.
    """
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
