"""Waiting for no longer than some seconds, in event loops of asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def wait_within(work: Awaitable[T], seconds: float | None) -> T:
    """As `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes together with the result.

    Raises:
        asyncio.TimeoutError: *work* took longer. It has been cancelled, and has ended.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        is_late = not task.done()
    except asyncio.CancelledError:
        await _end(task)
        raise
    if is_late:
        await _end(task)
        if task.cancelled():
            raise asyncio.TimeoutError
    return task.result()


async def _end(task: asyncio.Future[T]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # or it would be reported as one that nobody has looked at
