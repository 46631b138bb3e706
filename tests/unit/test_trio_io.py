"""What trio has of its own: its inbox, its system tasks, and the end of its runs."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lmstudio import _wire
from lmstudio._async_io import running_loop
from lmstudio._trio_io import TrioInbox, trio_hooks

if TYPE_CHECKING:
    from lmstudio._transfer import LoopHooks

DELIVERIES = [_wire.ChannelClose(number) for number in range(3)]


def hooks() -> LoopHooks:
    return trio_hooks(trio.lowlevel.current_trio_token())


# The inbox -----------------------------------------------------------------------------------------------------------


def test_every_waiter_gets_a_delivery() -> None:
    async def main() -> None:
        inbox = TrioInbox()
        got = []

        async def take() -> None:
            got.append(await inbox.get())

        async with trio.open_nursery() as nursery:
            for _ in DELIVERIES:
                nursery.start_soon(take)
            await wait_all_tasks_blocked()
            for delivery in DELIVERIES:
                inbox.put(delivery)
            inbox.wake()
        assert sorted(map(repr, got)) == sorted(map(repr, DELIVERIES))

    trio.run(main)


def test_cancelled_waiter_leaves_the_delivery_to_others() -> None:
    async def main() -> None:
        inbox = TrioInbox()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbox.get)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            inbox.put(DELIVERIES[0])
            inbox.wake()
        assert await inbox.get() is DELIVERIES[0]

    trio.run(main)


def test_a_reader_who_never_waits_can_be_cancelled() -> None:
    async def main() -> None:
        inbox = TrioInbox()
        for delivery in DELIVERIES:
            inbox.put(delivery)
        with trio.CancelScope() as scope:
            assert await inbox.get() is DELIVERIES[0]
            scope.cancel()
            await inbox.get()
        assert scope.cancelled_caught
        assert await inbox.get() is DELIVERIES[1]

    trio.run(main)


def test_a_pause_ends_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        await TrioInbox().pause(5)
        assert trio.current_time() == pytest.approx(started + 5)

    started = autojump_clock.current_time()
    trio.run(main, clock=autojump_clock)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """A clock that goes on when everybody waits for it."""
    return trio.testing.MockClock(autojump_threshold=0)


def test_a_time_limit_around_the_wait_is_not_ours(autojump_clock: trio.testing.MockClock) -> None:
    async def main() -> None:
        with trio.move_on_after(1) as scope:
            await TrioInbox().pause(5)
        assert scope.cancelled_caught

    trio.run(main, clock=autojump_clock)


# The run -------------------------------------------------------------------------------------------------------------


def test_what_fails_is_logged_and_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("in a task")

    def fail_at_once() -> None:
        raise ValueError("in an action")

    async def main() -> str:
        own = hooks()
        own.spawn(fail())
        own.defer(fail_at_once)
        await trio.to_thread.run_sync(own.post, fail_at_once)
        await wait_all_tasks_blocked()
        return "done"

    assert trio.run(main) == "done"
    causes = [str(record.exc_info[1]) for record in caplog.records if record.exc_info is not None]
    assert sorted(causes) == ["in a task", "in an action", "in an action"]
    assert {(record.name, record.levelno) for record in caplog.records} == {("lmstudio.websocket", logging.ERROR)}


def test_tasks_that_end_with_the_run_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    async def main() -> None:
        hooks().spawn(work())
        await wait_all_tasks_blocked()

    trio.run(main)
    assert caplog.records == []


def test_actions_run_in_the_thread_of_the_run_and_in_order() -> None:
    async def main() -> None:
        own = hooks()
        done: list[Any] = []

        def act(number: int) -> None:
            done.append((number, threading.current_thread()))

        own.post(lambda: act(0))
        assert len(done) == 1  # at once

        def post_two() -> None:
            own.post(lambda: act(1))
            own.post(lambda: act(2))

        await trio.to_thread.run_sync(post_two)
        await wait_all_tasks_blocked()
        assert done == [(number, threading.current_thread()) for number in range(3)]

    trio.run(main)


class PostingInstrument(trio.abc.Instrument):
    """Posts what a finaliser might, while trio schedules."""

    def __init__(self) -> None:
        self.hooks: LoopHooks | None = None
        self.done_in_a_task: list[bool] = []

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self.hooks is not None and not trio.lowlevel.in_trio_task():
            own, self.hooks = self.hooks, None
            own.post(lambda: self.done_in_a_task.append(trio.lowlevel.in_trio_task()))


def test_what_is_posted_while_trio_schedules_is_done_in_a_task() -> None:
    instrument = PostingInstrument()

    async def main() -> None:
        instrument.hooks = hooks()
        await trio.sleep(0.001)
        await wait_all_tasks_blocked()

    trio.run(main, instruments=[instrument])
    assert instrument.done_in_a_task == [True]


def test_ctrl_c_does_not_cut_an_action_in_half() -> None:
    done: list[str] = []

    def act() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("all of it")

    async def main() -> None:
        hooks().post(act)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert done == ["all of it"]


def test_a_run_that_is_over_ignores_actions() -> None:
    async def main() -> LoopHooks:
        own = hooks()
        assert own.is_running()
        assert not own.is_over()
        return own

    own = trio.run(main)
    assert own.is_over()
    assert not own.is_running()
    own.post(lambda: pytest.fail("It ran."))


def test_a_socket_is_watched_until_told_otherwise() -> None:
    async def main() -> None:
        own, peer = socket.socketpair()
        own.setblocking(False)
        read: list[bytes] = []
        with own, peer:
            stop = hooks().watch(own, lambda: read.append(own.recv(10)))
            for data in (b"one", b"two"):
                peer.send(data)
                while data not in read:
                    await anyio.lowlevel.checkpoint()
            stop()
            stop()
            peer.send(b"three")
            await wait_all_tasks_blocked()
            assert own.recv(10) == b"three"
        hooks().watch(own, lambda: None)()  # closed before the first look at it
        await wait_all_tasks_blocked()

    trio.run(main)


def test_the_running_loop_is_that_of_the_task() -> None:
    """In its guest mode trio runs inside a loop of asyncio."""
    import asyncio

    seen: list[Any] = []

    async def guest() -> None:
        seen.append(running_loop() is trio.lowlevel.current_trio_token())

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=lambda _outcome: ended.set()
        )
        seen.append(running_loop() is loop)
        await ended.wait()

    assert running_loop() is None
    asyncio.run(host())
    assert sorted(seen) == [True, True]
