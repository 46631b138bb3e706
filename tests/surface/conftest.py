"""Servers, faults and leak checks for the tests of both surfaces."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

from lmstudio import logs
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

from .fault_proxy import FaultProxy
from .loops import LOOPS, run_without_leaks

if TYPE_CHECKING:
    from collections.abc import Iterator


# What is different under trio is run by the tests that are for trio alone, too.
_BOTH_LOOPS = [pytest.param(name, marks=[pytest.mark.unmeasured] if name == "trio" else []) for name in LOOPS]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A coroutine function is a test for each kind of event loop, but for `only_loop(name, reason)`."""
    if inspect.iscoroutinefunction(metafunc.function):
        only = metafunc.definition.get_closest_marker("only_loop")
        metafunc.fixturenames.append("loop")
        metafunc.parametrize("loop", _BOTH_LOOPS if only is None else only.args[:1])


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a coroutine function in an event loop of its own, which must be empty afterwards."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = partial(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    LOOPS[str(pyfuncitem.callspec.params["loop"])](run_without_leaks, test)
    return True


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Every thread that a test started ends with it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    while (left := _new_threads(before)) and time.monotonic() < deadline:
        left[0].join(0.01)
    assert [thread.name for thread in left] == []


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    # Some threads of asyncio wait for the child processes of `real_server`, which go on. Trio keeps idle ones.
    kept = ("waitpid", "Trio thread")
    return [thread for thread in set(threading.enumerate()) - before if not any(name in thread.name for name in kept)]


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
    with FaultProxy(server.port, patience_seconds=PATIENCE_SECONDS) as proxy:
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
