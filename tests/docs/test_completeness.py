"""All examples of the documentation are here, and what is not a program says why."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import lmstudio as lms
from docs.catalogue import AS_PUBLISHED, EXAMPLE_IDS, NO_PROGRAMS, SNIPPETS, number_of

# What each example that cannot work raises is tested beside the example that its author meant.
CANNOT_WORK_AS_PUBLISHED = {9, 68, 86, 101, 114, 135}


def examples_with_test() -> set[int]:
    """The examples that have a test."""
    numbers: set[int] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for member in vars(import_module(f"docs.{path.stem}")).values():
            numbers.update(getattr(member, "documented", ()))
    return numbers


def examples(*, as_published: bool = False) -> list[int]:
    """The numbers of the files."""
    files = [path for path in SNIPPETS.glob("*/d*") if path.stem.endswith(AS_PUBLISHED) is as_published]
    return sorted(number_of(path) for path in files)


def test_every_example_is_there_and_is_tested() -> None:
    wanted = [number for number in EXAMPLE_IDS if number not in NO_PROGRAMS]
    assert examples() == wanted
    assert sorted(examples_with_test()) == wanted


def test_examples_that_cannot_work_are_there_as_published() -> None:
    assert set(examples(as_published=True)) == CANNOT_WORK_AS_PUBLISHED


def test_names_of_the_unpublished_download_page_exist() -> None:
    fields: Any = lms.DownloadProgressUpdate.__struct_fields__
    assert {"downloaded_bytes", "total_bytes", "speed_bytes_per_second"} <= set(fields)
    for option in (lms.ModelDownloadOption, lms.AsyncModelDownloadOption):
        assert {"on_progress", "on_finalize"} <= set(inspect.signature(option.download).parameters)
