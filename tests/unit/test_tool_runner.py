"""The tool runners: order, limits, time limits, cancelling, and what tools may do."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
import trio
from patience import PATIENCE_SECONDS

from lmstudio._async_io import asyncio_hooks
from lmstudio._tool_runner import AsyncioToolRunner, ThreadToolRunner, ToolFinished, ToolJob, ToolRunner, ToolStarted
from lmstudio._trio_io import TrioToolRunner, trio_hooks
from lmstudio.errors import LMStudioCancelledError, LMStudioTimeoutError
from lmstudio.json_api import run_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Make = Callable[[int | None], ToolRunner]


def in_asyncio(test: Callable[[Make], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        hooks = asyncio_hooks(asyncio.get_running_loop())
        await test(lambda limit: AsyncioToolRunner(limit, hooks.post))

    asyncio.run(main())


def in_trio(test: Callable[[Make], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        hooks = trio_hooks(trio.lowlevel.current_trio_token())
        await test(lambda limit: TrioToolRunner(limit, hooks.post))

    trio.run(main)


def in_threads(test: Callable[[Make], Coroutine[Any, Any, None]]) -> None:
    run_blocking(test(ThreadToolRunner))


everywhere = pytest.mark.parametrize("drive", [in_asyncio, in_trio, in_threads])


async def reports(runner: ToolRunner) -> list[ToolStarted | ToolFinished]:
    """All reports until nothing runs any more."""
    found = []
    while runner.is_busy:
        found.append(await runner.wait())
    await runner.join()
    return found


@everywhere
def test_calls_beyond_the_limit_wait_and_begin_in_order(drive: Any) -> None:
    async def test(make: Make) -> None:
        runner = make(1)
        all_are_there = threading.Event()
        runner.start(ToolJob(0, lambda: all_are_there.wait(PATIENCE_SECONDS)))
        for number in (1, 2):
            assert runner.is_full
            runner.start(ToolJob(number, lambda number=number: number * 10))  # type: ignore[misc]  # the usual default
        all_are_there.set()
        assert await reports(runner) == [
            ToolFinished(0, True),
            ToolStarted(1),
            ToolFinished(1, 10),
            ToolStarted(2),
            ToolFinished(2, 20),
        ]

    drive(test)


@everywhere
def test_errors_are_reported_whatever_they_are(drive: Any) -> None:
    def fail(error: BaseException) -> Callable[[], Any]:
        def call() -> None:
            raise error

        return call

    async def test(make: Make) -> None:
        errors = [ValueError("no"), StopIteration("odd"), SystemExit(1), KeyboardInterrupt()]
        runner = make(None)
        for number, error in enumerate(errors):
            runner.start(ToolJob(number, fail(error)))
        found = {report.call_id: report for report in await reports(runner)}
        assert [found[number] for number in range(4)] == [
            ToolFinished(n, None, error) for n, error in enumerate(errors)
        ]

    drive(test)


@everywhere
def test_a_function_that_returns_an_awaitable_is_a_coroutine_tool(drive: Any) -> None:
    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    async def test(make: Make) -> None:
        runner = make(None)
        runner.start(ToolJob(0, lambda: work()))  # noqa: PLW0108 - a plain function, not the coroutine function itself
        runner.start(ToolJob(1, work, is_coroutine=True))
        found = await reports(runner)
        assert {report.call_id: report for report in found} == {0: ToolFinished(0, "done"), 1: ToolFinished(1, "done")}

    drive(test)


@everywhere
def test_a_tools_own_timeout_error_is_its_own(drive: Any) -> None:
    def call() -> None:
        raise TimeoutError("the database")

    async def test(make: Make) -> None:
        runner = make(None)
        runner.start(ToolJob(0, call, timeout=60))
        (report,) = await reports(runner)
        assert isinstance(report, ToolFinished)
        assert type(report.error) is TimeoutError

    drive(test)


@everywhere
def test_what_takes_too_long_is_reported_and_makes_room(drive: Any) -> None:
    release = threading.Event()

    async def sleep() -> None:
        await anyio.sleep(60)

    async def test(make: Make) -> None:
        runner = make(1)
        runner.start(ToolJob(0, lambda: release.wait(PATIENCE_SECONDS), timeout=0.01))
        runner.start(ToolJob(1, sleep, is_coroutine=True, timeout=0.01))
        runner.start(ToolJob(2, lambda: "next"))
        found = await reports(runner)
        late = [report for report in found if isinstance(report, ToolFinished) and report.error is not None]
        assert [(report.call_id, type(report.error)) for report in late] == [
            (0, LMStudioTimeoutError),
            (1, LMStudioTimeoutError),
        ]
        assert found[-1] == ToolFinished(2, "next")

    drive(test)
    release.set()


@everywhere
def test_cancelling_ends_coroutines_and_begins_nothing(drive: Any) -> None:
    begun = threading.Event()

    async def sleep() -> None:
        begun.set()
        await anyio.sleep(60)

    async def test(make: Make) -> None:
        runner = make(1)
        runner.start(ToolJob(0, sleep, is_coroutine=True))
        runner.start(ToolJob(1, lambda: "never"))
        while drive is not in_threads and not begun.is_set():
            await anyio.lowlevel.checkpoint()
        assert begun.wait(PATIENCE_SECONDS)
        # From another thread, as an abort signal may do it.
        other = threading.Thread(target=runner.cancel)
        other.start()
        other.join(PATIENCE_SECONDS)
        (report,) = await reports(runner)
        assert isinstance(report, ToolFinished)
        assert (report.call_id, type(report.error)) == (0, LMStudioCancelledError)
        runner.start(ToolJob(2, lambda: "never"))
        assert not runner.is_busy

    drive(test)


@everywhere
def test_tools_see_the_context_of_the_caller_and_keep_theirs(drive: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")

    def read_and_set() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    async def test(make: Make) -> None:
        token = variable.set("caller")
        runner = make(1)
        runner.start(ToolJob(0, read_and_set))
        runner.start(ToolJob(1, read_and_set))
        finished = [report for report in await reports(runner) if isinstance(report, ToolFinished)]
        assert [report.value for report in finished] == ["caller", "caller"]
        assert variable.get() == "caller"
        variable.reset(token)

    drive(test)


@everywhere
def test_a_hundred_calls_at_once(drive: Any) -> None:
    async def test(make: Make) -> None:
        runner = make(None)
        for number in range(100):
            runner.start(ToolJob(number, lambda number=number: number))  # type: ignore[misc]  # the usual default
        finished = [report for report in await reports(runner) if isinstance(report, ToolFinished)]
        assert sorted(report.value for report in finished) == list(range(100))

    drive(test)
