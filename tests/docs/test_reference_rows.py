"""Every row of the reference systems is shown by something that exists."""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from docs.reference_rows import COUNTS, FEATURES, OTHER, ROWS

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "tests"


@cache
def functions_of(file: Path) -> frozenset[str]:
    """The names of the test functions in a file."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return frozenset(
        node.name
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    )


@cache
def words_of(page: Path) -> str:
    """A page, wherever its lines end."""
    return " ".join(page.read_text(encoding="utf-8").replace("\n# ", "\n").split())


def problem_of(shown: str) -> str | None:
    """What is wrong with one entry of a row."""
    if shown.startswith("Differs: "):
        return None if shown.endswith(".") and len(shown.split()) > 8 else "no sentence says what is different"
    file, is_test, name = shown.partition("::")
    if is_test:
        path = TESTS / file
        return None if path.is_file() and name in functions_of(path) else f"there is no test {shown}"
    page, has_text, text = shown.partition(": ")
    path = REPOSITORY / page
    is_there = bool(has_text and text.strip()) and path.is_file() and " ".join(text.split()) in words_of(path)
    return None if is_there else f"{page} does not say {text!r}"


def test_every_row_is_there() -> None:
    wanted = [f"{system}.{number}" for system, count in COUNTS.items() for number in range(1, count + 1)]
    assert sorted(ROWS) == sorted([*wanted, *OTHER, *(f"F{number}" for number in FEATURES)])


@pytest.mark.parametrize("row", ROWS)
def test_what_shows_a_row_exists(row: str) -> None:
    assert ROWS[row]
    assert [problem for shown in ROWS[row] if (problem := problem_of(shown))] == []


@pytest.mark.parametrize(
    "shown",
    [
        "http/test_sse.py::test_that_nobody_wrote",
        "http/test_nothing.py::test_byte_by_byte",
        "http/test_sse.py::chunk",
        "README.md: what nobody says there",
        "README.md: ",
        "README.md",
        "NOTHING.md: LM Studio",
        "Differs: yes.",
    ],
)
def test_what_does_not_exist_is_noticed(shown: str) -> None:
    assert problem_of(shown)


def test_the_client_has_enough_tests_that_need_no_server() -> None:
    """Reference R0 has 31."""
    assert len(functions_of(TESTS / "http" / "test_lmstudio_client.py")) >= 31


def test_the_package_says_that_it_has_types() -> None:
    assert resources.files("lmstudio").joinpath("py.typed").is_file()
