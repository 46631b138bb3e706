"""Run the type checkers, mypy beside pyright: each works on one processor only.

    python tools/check_types.py [arguments of mypy]

Nothing is shown of a command before it has ended, so that their words do not mix.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Command = Sequence[str]

PYRIGHT = (
    ("pyright",),
    # What users see: their programs under the strictest settings, and no type of the package left to be inferred.
    ("pyright", "--project", "tests/typing"),
    ("pyright", "--verifytypes", "lmstudio", "--ignoreexternal"),
)
"""One after the other: the first brings pyright itself where it is not yet there."""


def has_succeeded(command: Command) -> bool:
    """Run *command*, and show what it says."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    verdict = "" if done.returncode == 0 else f"exit status {done.returncode}\n"
    print(f"$ {shlex.join(command)}\n{done.stdout.decode(errors='replace')}{verdict}", end="", flush=True)
    return done.returncode == 0


def run(*lanes: Sequence[Command]) -> int:
    """Run all commands, those of each lane one after the other, and all lanes at once; 1 if any has failed."""

    def finish(lane: Sequence[Command]) -> list[bool]:
        return [has_succeeded(command) for command in lane]

    with ThreadPoolExecutor(len(lanes)) as pool:
        successes = [success for lane in pool.map(finish, lanes) for success in lane]
    return int(not all(successes))


if __name__ == "__main__":
    sys.exit(run([("mypy", *sys.argv[1:])], PYRIGHT))
