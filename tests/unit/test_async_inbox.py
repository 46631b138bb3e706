"""Waking a task that Ctrl-C cancels at the same time: its handler runs between any two steps of Python."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lmstudio._async_io import AsyncioInbox
from lmstudio.errors import LMStudioWebsocketError

if TYPE_CHECKING:
    from collections.abc import Callable

NEWS = LMStudioWebsocketError("News.")


class InterruptedFuture(asyncio.Future[None]):
    """Is cancelled right before it gets its result."""

    def set_result(self, result: None) -> None:
        self.cancel()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException) -> None:
        self.cancel()
        super().set_exception(exception)


class InterruptingLoop(asyncio.SelectorEventLoop):
    def create_future(self) -> asyncio.Future[None]:
        return InterruptedFuture(loop=self)


def interrupted_while_waiting(happens: Callable[[AsyncioInbox], None], timeout: float | None) -> list[object]:
    """What the loop complains of when *happens* meets the cancellation of the task that waits."""
    complaints: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        inbox = AsyncioInbox(loop)
        waiting = loop.create_task(inbox.pause(timeout))
        await asyncio.sleep(0)
        happens(inbox)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    loop = InterruptingLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return complaints


def test_delivery_that_meets_an_interruption_is_none_of_the_readers_business() -> None:
    def deliver(inbox: AsyncioInbox) -> None:
        inbox.put(NEWS)
        inbox.wake()

    assert interrupted_while_waiting(deliver, None) == []


def test_timeout_that_meets_an_interruption_is_silent() -> None:
    assert interrupted_while_waiting(lambda _inbox: None, 0.0) == []
