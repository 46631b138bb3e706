"""What is different under trio: guest mode, its scheduler, and tools."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
import trio
from anyio.from_thread import start_blocking_portal
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall

from .loops import LOOPS, run_asyncio

if TYPE_CHECKING:
    from lmstudio.server import Gate

    from .fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")


def test_a_guest_of_asyncio_and_its_host_share_a_client(proxy: FaultProxy) -> None:
    client = lms.AsyncClient(proxy.api_host)
    answers: list[str] = []

    async def ask() -> None:
        model = await client.llm.model("scripted-chat")
        answers.append((await model.respond("Hi")).content)

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        trio.lowlevel.start_guest_run(
            ask, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=lambda _outcome: ended.set()
        )
        await ask()
        await ended.wait()
        await client.aclose()

    run_asyncio(host)
    assert answers == ["You said: Hi"] * 2
    assert proxy.accepted == ["llm"] * 2
    assert proxy.wait_until_closed()


class CollectingInstrument(trio.abc.Instrument):
    """Collects garbage where trio schedules, and must not be disturbed."""

    is_on = False

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self.is_on:
            gc.collect()


def test_stream_may_be_collected_while_trio_schedules(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    instrument = CollectingInstrument()

    async def main() -> None:
        async with lms.AsyncClient(proxy.api_host) as client:
            model = await client.llm.model("scripted-chat")
            stream = await model.respond_stream("Hi")
            await stream.start()
            assert await trio.to_thread.run_sync(gate.reached)
            cycle: list[object] = [stream]
            cycle.append(cycle)
            del stream, cycle
            instrument.is_on = True
            assert await model.count_tokens("a b") == 2
            instrument.is_on = False
            assert await trio.to_thread.run_sync(proxy.wait_for_packet, "cancel")
            assert await trio.to_thread.run_sync(engine.wait_for_cancel)

    gc.collect()
    gc.disable()
    try:
        trio.run(main, instruments=[instrument])
    finally:
        gc.enable()


@pytest.mark.parametrize("loop", LOOPS)
def test_synchronous_client_works_in_a_program_of_anyio(server: Server, engine: ScriptedEngine, loop: str) -> None:
    """anyio leaves a mark in the context which says what runs here, and the loop in the background is another one."""

    async def in_a_task() -> str:
        """A task."""
        await anyio.sleep(0.001)
        return "slept"

    def in_a_thread() -> str:
        """A thread."""
        return anyio.run(in_a_task)

    async def main() -> lms.ActResult:
        with lms.Client(server.api_host) as client:
            return client.llm.model("scripted-chat").act("Hi", [in_a_task, in_a_thread], on_message=seen.append)

    seen: list[object] = []
    engine.reply = [Reply([ToolCall("in_a_task", {}), ToolCall("in_a_thread", {})]), Reply("Done")]
    assert anyio.run(main, backend=loop).content == "Done"
    (results,) = [message for message in seen if isinstance(message, lms.ToolResultMessage)]
    assert [part.content for part in results.content] == ['"slept"'] * 2


@pytest.mark.parametrize("here", LOOPS)
@pytest.mark.parametrize("there", LOOPS)
def test_client_of_two_programs_of_anyio_is_closed_by_one_of_them(proxy: FaultProxy, here: str, there: str) -> None:
    client = lms.AsyncClient(proxy.api_host)
    with start_blocking_portal(there) as portal:
        portal.call(client.list_downloaded_models)
        anyio.run(client.aclose, backend=here)
        assert proxy.wait_until_closed()


async def act_with_everything(server: Server) -> tuple[lms.ActResult, list[object]]:
    """`act` with a task, a nursery and a thread as tools."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[object] = []

    async def in_a_task() -> str:
        """A task."""
        await trio.sleep(0.001)
        return variable.get()

    async def in_a_nursery() -> str:
        """Tasks."""
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(trio.sleep, number / 1000)
        return variable.get()

    def in_a_thread() -> str:
        """A thread."""
        seen.append(threading.current_thread())
        return variable.get()

    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        variable.set("of the caller")
        tools = [in_a_task, in_a_nursery, in_a_thread]
        return await model.act("Hi", tools, max_parallel_tool_calls=None, on_message=seen.append), seen


def test_tools_use_trio_and_see_the_context_of_the_caller(server: Server, engine: ScriptedEngine) -> None:
    names = ["in_a_task", "in_a_nursery", "in_a_thread"]
    engine.reply = [Reply([ToolCall(name, {}) for name in names]), Reply("Done")]
    result, seen = trio.run(act_with_everything, server)
    assert result.content == "Done"
    assert threading.main_thread() not in seen
    (results,) = [message for message in seen if isinstance(message, lms.ToolResultMessage)]
    assert [part.content for part in results.content] == ['"of the caller"'] * 3


def test_scope_around_act_ends_the_nurseries_of_tools_and_waits_for_functions(
    server: Server, engine: ScriptedEngine
) -> None:
    began, ended, seen = threading.Event(), threading.Event(), list[str]()
    scope = trio.CancelScope()

    def work() -> None:
        """Work."""
        began.set()
        assert ended.wait(PATIENCE_SECONDS)
        seen.append("function ended")

    async def child() -> None:
        try:
            assert await trio.to_thread.run_sync(began.wait, PATIENCE_SECONDS)
            scope.cancel()
            await trio.sleep_forever()
        finally:
            seen.append("child ended")
            ended.set()

    async def hang() -> None:
        """Hang."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    async def main() -> None:
        async with lms.AsyncClient(server.api_host) as client:
            model = await client.llm.model("scripted-chat")
            with scope:
                await model.act("Hi", [work, hang], max_parallel_tool_calls=None)
            assert scope.cancelled_caught
            assert seen == ["child ended", "function ended"]
            engine.reply = "Again"
            assert (await model.respond("Hi")).content == "Again"

    engine.reply = Reply([ToolCall("work", {}), ToolCall("hang", {})])
    trio.run(main)
