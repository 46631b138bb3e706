"""Which examples there are, what stands before each on its page, and which of them are no programs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

SNIPPETS = Path(__file__).parent / "snippets"
AS_PUBLISHED = "_as_published"
"""Ends the name of an example that cannot work; beside it lies what its author meant."""

EXAMPLE_IDS = range(1, 143)

NO_PROGRAMS = {
    87: "TypeScript inside a comment",
    106: "TypeScript on a page that is not published",
    107: "TypeScript on a page that is not published",
    108: "Python with a syntax error on a page that is not published; its names are tested",
    109: "nothing but an import, on a page that is not published",
    139: "TypeScript on a page that is not published",
    140: "TypeScript on a page that is not published",
}

# Fragments go on from these. `(43, 80)` stands for: first D43, then D80, then the fragment.
_CHAT, _ASYNC_CHAT = (25, 28), (27, 28)
BEFORE: dict[int, tuple[int, ...]] = {
    29: _CHAT,
    30: _CHAT,
    31: _ASYNC_CHAT,
    32: _ASYNC_CHAT,
    33: _CHAT,
    34: _CHAT,
    35: _ASYNC_CHAT,
    36: _ASYNC_CHAT,
    37: (*_CHAT, 29),
    38: (*_CHAT, 30),
    46: (43,),
    47: (43,),
    48: (45,),
    49: (45,),
    50: (43, 46),
    51: (43, 47),
    53: (43,),
    54: (43,),
    55: (45,),
    56: (45,),
    69: _CHAT,
    70: (43,),
    82: (43, 80),
    83: (43, 80),
    85: (43, 84),
    86: (43, 84),
    104: (103,),
    131: (116,),
}

F = TypeVar("F", bound=Callable[..., Any])


def documents(*examples: int) -> Callable[[F], F]:
    """Marks the test of these examples. One with the parameter *example* is run for each of them."""

    def mark(test: F) -> F:
        vars(test)["documented"] = examples
        if "example" not in inspect.signature(test).parameters:
            return test
        runs: F = pytest.mark.parametrize("example", examples, ids=[f"D{number}" for number in examples])(test)
        return runs

    return mark


def snippet(example: int | str) -> Path:
    """The file of an example: by number, or by its name without ending."""
    if isinstance(example, str):
        found = list(SNIPPETS.glob(f"*/{example}.*"))
    else:
        found = [path for path in SNIPPETS.glob(f"*/d{example:03}_*") if not path.stem.endswith(AS_PUBLISHED)]
    assert len(found) == 1, f"{example}: {found}"
    return found[0]


def number_of(path: Path) -> int:
    """The number of the example in this file."""
    return int(path.stem[1:4])
