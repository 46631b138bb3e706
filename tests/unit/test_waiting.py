"""Waits with a limit: neither results nor cancellations are lost."""

from __future__ import annotations

import asyncio

import pytest
from patience import PATIENCE_SECONDS

from lmstudio._waiting import wait_within


@pytest.mark.parametrize("turns", range(6))
def test_a_cancellation_is_not_lost_when_the_result_comes_with_it(turns: int) -> None:
    async def main() -> None:
        event = asyncio.Event()
        task = asyncio.ensure_future(wait_within(event.wait(), PATIENCE_SECONDS))
        for _ in range(5):
            await asyncio.sleep(0)
        event.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        was_in_time = task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == was_in_time

    asyncio.run(main())


def test_what_takes_too_long_has_ended_when_the_wait_is_over() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            ended.append("slow")

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await wait_within(slow(), 0.01)
        assert ended == ["slow"]

    asyncio.run(main())


def test_results_and_errors_are_passed_on() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        assert await wait_within(asyncio.sleep(0, "result"), PATIENCE_SECONDS) == "result"
        with pytest.raises(ZeroDivisionError):
            await wait_within(fail(), PATIENCE_SECONDS)

    asyncio.run(main())
