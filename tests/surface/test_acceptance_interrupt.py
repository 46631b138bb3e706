"""Ctrl-C and timeouts in the middle of a call: the server hears of it at once, and the client stays usable."""

from __future__ import annotations

import os
import signal
import sys
import time
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, ToolCall

from .scripts import Script, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")

CANCEL_SECONDS = 0.1
INTERRUPT_SECONDS = 0.2
ATTEMPTS = 3
"""The machine may be busy with other things."""
TOOLS = 3

CALLS = {
    "respond": "AWAIT model.respond('Hi')",
    "complete": "AWAIT model.complete('Hi')",
    "stream": "ASYNC for fragment in model.respond_stream('Hi'): pass",
    "act": "AWAIT model.act('Hi', [])",
    "act with tools": "AWAIT model.act('Hi', [work], max_parallel_tool_calls=None)",
    "load": "AWAIT client.llm.load_new_instance('scripted-chat')",
}


def program(surface: str, call: str) -> str:
    """A program that makes *call* for each line that it reads."""
    is_async = surface == "async"
    call = CALLS[call].replace("AWAIT ", "await " if is_async else "").replace("ASYNC ", "async " if is_async else "")
    lines = {
        "sync": f"""
            client = lms.Client(HOST)
            model = client.llm.model("scripted-chat")
            def attempt():
                {call}
            def count():
                return model.count_tokens("a b c")
        """,
        "async": f"""
            client = lms.AsyncClient(HOST)
            model = asyncio.run(client.llm.model("scripted-chat"))
            async def call():
                {call}
            def attempt():
                asyncio.run(call())
            def count():
                return asyncio.run(model.count_tokens("a b c"))
        """,
    }
    return dedent(lines[surface]) + dedent(
        """
        async def work():
            "Work."
            await asyncio.sleep(60)
        say("ready")
        while input():
            try:
                attempt()
            except KeyboardInterrupt:
                say("interrupted")
                say(count())
        """
    )


def interrupt(running: Script, proxy: FaultProxy, engine: ScriptedEngine, call: str) -> tuple[float, float]:
    """Let the program make its call, and press Ctrl-C: seconds until the server hears of it, and until it is over."""
    gate = Gate()
    tools = [ToolCall("work", {}, id=str(number)) for number in range(TOOLS)] if "tools" in call else []
    engine.reply = Reply([*tools, "one", gate])
    engine.load_gate = gate if call == "load" else None
    before = proxy.count_packets("cancel")
    running.tell("again")
    assert gate.reached()
    pressed = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.line() == "interrupted"
    over = time.monotonic()
    assert running.line() == "3"
    assert proxy.wait_for_packet("cancel", before + 1)
    told = [frame.arrived for frame in proxy.frames if frame.packet_type == "cancel"]
    assert len(told) == before + 1
    return told[-1] - pressed, over - pressed


new_asyncio = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Ctrl-C interrupts asyncio itself there, at any point"
)


def is_soon(seconds: tuple[float, float]) -> bool:
    told, over = seconds
    return told < CANCEL_SECONDS and over < INTERRUPT_SECONDS


@pytest.mark.skipif(os.name != "posix", reason="signals are different here")
@pytest.mark.parametrize("surface", ["sync", pytest.param("async", marks=new_asyncio)])
@pytest.mark.parametrize("call", list(CALLS))
def test_ctrl_c_is_obeyed_at_once(proxy: FaultProxy, engine: ScriptedEngine, surface: str, call: str) -> None:
    with script(program(surface, call), proxy.api_host) as running:
        assert running.line() == "ready"
        seconds: list[tuple[float, float]] = []
        while len(seconds) < ATTEMPTS and not any(map(is_soon, seconds)):
            seconds.append(interrupt(running, proxy, engine, call))
        assert any(map(is_soon, seconds)), seconds
        running.tell()
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "", "")
    if surface == "sync":
        assert proxy.accepted == ["llm"]


@pytest.fixture
def short_timeout() -> Iterator[None]:
    """The synchronous API is impatient."""
    before = lms.get_sync_api_timeout()
    lms.set_sync_api_timeout(0.2)
    yield
    lms.set_sync_api_timeout(before)


@pytest.mark.usefixtures("short_timeout")
@pytest.mark.parametrize("call", ["respond", "stream", "act", "load"])
def test_timeout_tells_the_server_at_once(proxy: FaultProxy, engine: ScriptedEngine, call: str) -> None:
    seconds: list[float] = []
    with lms.Client(proxy.api_host) as client:
        model = client.llm.model("scripted-chat")
        calls: dict[str, Callable[[], object]] = {
            "respond": lambda: model.respond("Hi"),
            "stream": lambda: list(model.respond_stream("Hi")),
            "act": lambda: model.act("Hi", []),
            "load": lambda: client.llm.load_new_instance("scripted-chat"),
        }
        while len(seconds) < ATTEMPTS and min(seconds, default=CANCEL_SECONDS) >= CANCEL_SECONDS:
            engine.load_gate = gate = Gate()
            engine.reply = Reply(["one", gate])
            with pytest.raises(lms.LMStudioTimeoutError):
                calls[call]()
            raised = time.monotonic()
            assert proxy.wait_for_packet("cancel", len(seconds) + 1)
            told = [frame.arrived for frame in proxy.frames if frame.packet_type == "cancel"]
            assert len(told) == len(seconds) + 1
            seconds.append(told[-1] - raised)
    assert min(seconds) < CANCEL_SECONDS
