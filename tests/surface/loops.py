"""The two kinds of event loops that the asynchronous surface works in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Run(Protocol):
    """Runs a coroutine function in a loop of its own, to its end."""

    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T: ...


def run_asyncio(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    async def main() -> T:
        # Slow steps are the machine's business: other tests measure time.
        asyncio.get_running_loop().slow_callback_duration = 60
        return await function(*arguments)

    return asyncio.run(main(), debug=True)


def run_trio(function: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    return trio.run(function, *arguments)


LOOPS: dict[str, Run] = {"asyncio": run_asyncio, "trio": run_trio}

in_both_loops = pytest.mark.parametrize("run", [pytest.param(run, id=name) for name, run in LOOPS.items()])
"""For plain test functions, which call `run` themselves. Coroutine functions need no mark: see `conftest`."""


def is_trio() -> bool:
    """Whether the running loop is one of trio."""
    return trio.lowlevel.in_trio_task()


def all_tasks() -> set[Any]:
    """All tasks of the running loop."""
    if not is_trio():
        return set(asyncio.all_tasks())
    found = set()
    unseen = [trio.lowlevel.current_root_task()]
    while unseen:
        task = unseen.pop()
        assert task is not None
        found.add(task)
        unseen += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def current_task() -> object:
    """The task that calls."""
    return trio.lowlevel.current_task() if is_trio() else asyncio.current_task()


async def run_without_leaks(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run *test*, after which no task must be left but those of the loop itself."""
    before = all_tasks()
    await test()
    with anyio.move_on_after(1.0):  # a forgotten client ends in the background
        while all_tasks() - before:  # noqa: ASYNC110 - nobody tells of their ends
            await anyio.sleep(0.001)
    assert all_tasks() - before == set()
