"""Clients in programs that do unusual things with event loops, threads and tasks."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import importlib.util
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine

from .background import Background
from .scripts import run_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from lmstudio.server import Server

    from .fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")

# Loops ---------------------------------------------------------------------------------------------------------------

NOTEBOOK = """
import ast, inspect, traceback
names = {"lms": lms, "say": say, "asyncio": asyncio, "HOST": HOST}
async def run(cell):
    code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result
async def notebook(cells):
    loop = asyncio.get_running_loop()
    for cell in cells:
        try:
            await loop.create_task(run(cell))
        except Exception:
            say(traceback.format_exc())
loop = asyncio.new_event_loop()
loop.run_until_complete(notebook(CELLS))
"""
"""As in Jupyter: the loop always runs, and each cell is a task of its own, whether it awaits or not."""


def run_notebook(server: Server, *cells: str) -> str:
    """What the cells say."""
    ending = run_script(f"CELLS = {cells!r}\n{NOTEBOOK}loop.close()\n", server.api_host)
    assert (ending.code, ending.errors) == (0, "")
    return ending.output


def test_notebook_may_use_the_synchronous_client_in_its_cells(server: Server) -> None:
    said = run_notebook(
        server,
        'lms.configure_default_client(HOST)\nmodel = lms.llm("scripted-chat")',
        'say(model.respond("Hi").content)',
        'for fragment in model.respond_stream("Hi there"): break',
        "say(len(lms.list_loaded_models()))",
        "say(await asyncio.to_thread(model.count_tokens, 'a b'))",
    )
    assert said == "You said: Hi\n1\n2\n"


def test_notebook_may_keep_an_asynchronous_client_and_its_streams_across_cells(server: Server) -> None:
    said = run_notebook(
        server,
        'client = lms.AsyncClient(HOST)\nmodel = await client.llm.model("scripted-chat")',
        'stream = model.respond_stream("Hi there")\nawait stream.start()',
        "fragments = aiter(stream)\nsay((await anext(fragments)).content)",
        "say([fragment.content async for fragment in fragments])",
        "await stream.aclose()\nawait client.aclose()",
    )
    assert said == "You\n[' said:', ' Hi', ' there']\n"


def test_fixture_with_a_yield_may_open_and_close_client_and_stream(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    """As pytest-asyncio runs it: the set-up, the test and the end are tasks of one loop."""

    async def fixture() -> AsyncIterator[lms.AsyncPredictionStream[Any]]:
        async with lms.AsyncClient(proxy.api_host) as client:
            model = await client.llm.model("scripted-chat")
            async with model.respond_stream("Hi") as stream:
                yield stream

    async def test(stream: lms.AsyncPredictionStream[Any]) -> None:
        fragments = aiter(stream)
        assert (await anext(fragments)).content == "one"
        assert await asyncio.to_thread(gate.reached)

    async def next_of(generator: AsyncIterator[Any]) -> Any:
        return await anext(generator, None)

    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = PATIENCE_SECONDS  # that is the machine's business
    try:
        generator = fixture()
        stream = loop.run_until_complete(next_of(generator))
        loop.run_until_complete(test(stream))
        assert loop.run_until_complete(next_of(generator)) is None
        assert engine.wait_for_cancel()
        assert asyncio.all_tasks(loop) == set()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def use(api_host: str) -> None:
    """A bit of everything."""
    async with lms.AsyncClient(api_host) as client:
        model = await client.llm.model("scripted-chat")
        results = await asyncio.gather(*(model.respond(f"text {number}") for number in range(10)))
        assert [result.content for result in results] == [f"You said: text {number}" for number in range(10)]
        async for _fragment in model.respond_stream("Hi"):
            break
        task = asyncio.ensure_future(model.respond("Hi"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await model.count_tokens("a b") == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.only_loop("asyncio", "trio has no such tasks")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="older versions have no eager tasks")
async def test_tasks_may_begin_at_once(server: Server) -> None:
    factory = getattr(asyncio, "eager_task_factory")  # noqa: B009 - type checkers look at the oldest version
    asyncio.get_running_loop().set_task_factory(factory)
    await use(server.api_host)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_loop_may_be_of_uvloop(server: Server) -> None:
    loop = importlib.import_module("uvloop").new_event_loop()
    try:
        loop.run_until_complete(use(server.api_host))
    finally:
        loop.close()


# Threads -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="only there can a thread be interrupted")
def test_thread_that_is_killed_in_a_call_stops_the_server(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        call = background.start(partial(model.respond, "Hi"))
        assert gate.reached()
        thread = ctypes.c_ulong(call.thread.ident or 0)
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(SystemExit)) == 1
        with pytest.raises(SystemExit):
            call.result()
        assert engine.wait_for_cancel()
        assert proxy.count_packets("cancel") == 1
        gate.open()
        assert model.respond("Hi").content == "one two three"


def test_client_may_be_closed_while_many_threads_use_it(server: Server, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = lambda request: Reply([gate, "late"]) if "wait" in request.prompt else Reply("soon")
    client = lms.Client(server.api_host)
    model = client.llm.model("scripted-chat")
    barrier = threading.Barrier(33)

    def work(number: int) -> str:
        barrier.wait()
        try:
            while True:
                model.respond("wait" if number % 2 else "Hi")
        except lms.LMStudioError as error:
            return str(error)

    with ThreadPoolExecutor(32) as threads:
        answers = [threads.submit(work, number) for number in range(32)]
        barrier.wait()
        assert gate.reached()
        client.close()
        assert all("closed" in answer.result(PATIENCE_SECONDS) for answer in answers)


def test_many_threads_may_open_and_close_clients(server: Server) -> None:
    def work(_number: int) -> int:
        with lms.Client(server.api_host) as client:
            return len(client.list_downloaded_models())

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(40))) == [2] * 40


SHARED: dict[str, Callable[[lms.Client], object]] = {
    "respond": lambda client: client.llm.model("scripted-chat").respond("Hi").content,
    "list": lambda client: len(client.list_downloaded_models()),
}


@pytest.mark.parametrize("call", list(SHARED))
def test_client_that_is_made_at_import_serves_threads_with_and_without_a_loop(server: Server, call: str) -> None:
    client = lms.Client(server.api_host)

    async def inside() -> object:
        return SHARED[call](client)

    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(SHARED[call], client), threads.submit(lambda: asyncio.run(inside()))]
        answers += [threads.submit(SHARED[call], client)]
        assert len({answer.result(PATIENCE_SECONDS) for answer in answers}) == 1
    client.close()
