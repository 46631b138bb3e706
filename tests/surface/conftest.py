"""Servers, faults and leak checks for the tests of both surfaces."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio import logs
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

from .fault_proxy import PATIENCE_SECONDS, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a coroutine function in an event loop of its own, which must be empty afterwards."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    asyncio.run(_run_test(test), debug=True)
    return True


async def _run_test(test: Coroutine[Any, Any, None]) -> None:
    # Slow steps are the machine's business: other tests measure time.
    asyncio.get_running_loop().slow_callback_duration = PATIENCE_SECONDS
    await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=1.0)  # a forgotten client ends in the background
    assert [task for task in left if not task.done()] == []


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Every thread that a test started ends with it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    # Some threads of asyncio wait for the child processes of `real_server`, which go on.
    left = [thread for thread in set(threading.enumerate()) - before if "waitpid" not in thread.name]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert [thread.name for thread in left if thread.is_alive()] == []


@pytest.fixture
def engine() -> ScriptedEngine:
    """An engine that repeats the user's words until told otherwise."""
    return ScriptedEngine()


@pytest.fixture
def gate(engine: ScriptedEngine) -> Gate:
    """Where every prediction of *engine* stops, after "one" and " two"; " three" follows when the gate is opened."""
    gate = Gate()
    engine.reply = Reply(["one", " two", gate, " three"])
    return gate


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    """A running server with *engine*."""
    with Server(engine=engine) as server:
        yield server


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    """A proxy in front of *server*."""
    with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def real_server() -> Iterator[Server]:
    """A running server with llama.cpp and the models that come with the package."""
    pytest.importorskip("xllamacpp")
    with Server() as server:
        yield server


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The client says nothing above DEBUG during the test, and every record has the fields."""
    caplog.set_level(logging.DEBUG, "lmstudio")
    yield
    for record in caplog.get_records("call"):
        is_of_client = record.name.startswith("lmstudio.") and not record.name.startswith("lmstudio.server")
        if record.name.startswith("lmstudio."):
            assert set(logs.FIELDS) <= vars(record).keys(), record.getMessage()
        if is_of_client or record.name == "asyncio":
            assert record.levelno <= logging.DEBUG, record.getMessage()
