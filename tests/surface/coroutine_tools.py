"""Coroutine functions as tools, for both surfaces: the tests of the synchronous one are generated without `async`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine
    from typing import Any


async def slow_add(a: int, b: int) -> int:
    """Add two numbers."""
    await anyio.lowlevel.checkpoint()
    return a + b


async def sleep_long() -> None:
    """Sleep."""
    await anyio.sleep(60)


async def broken_connection() -> None:
    """No tool: a bug in one of the tasks that serve a connection."""

    async def fail() -> None:
        raise ZeroDivisionError("not foreseen")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        await anyio.sleep(60)


def reader(variable: contextvars.ContextVar[str]) -> Callable[[], Coroutine[Any, Any, str]]:
    """A tool that says what *variable* is."""

    async def read_later() -> str:
        """Read it."""
        await anyio.lowlevel.checkpoint()
        return variable.get()

    return read_later


def interrupted(begin: Callable[[], object], seen: list[str]) -> Callable[[], Coroutine[Any, Any, None]]:
    """A tool that calls *begin*, sleeps, and notes in *seen* that it was cancelled."""

    async def hang() -> None:
        """Hang."""
        begin()
        try:
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise

    return hang


def raiser(error: type[BaseException]) -> Callable[[], None]:
    """A tool that raises *error*, as a plain function."""

    def fail() -> None:
        """Fail."""
        raise error

    return fail


def coroutine_raiser(error: type[BaseException]) -> Callable[[], Coroutine[Any, Any, None]]:
    """A tool that raises *error*, later."""

    async def fail() -> None:
        """Fail."""
        await anyio.lowlevel.checkpoint()
        raise error

    return fail
