"""Programs with asyncio and with trio: what they print, and that nothing else is said when they end."""

from __future__ import annotations

import os
import signal
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from .loops import LOOPS
from .odd_servers import mute_server
from .scripts import run_script, script

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server

    from .fault_proxy import FaultProxy


in_programs = pytest.mark.parametrize("library", LOOPS)


def library_code(library: str) -> str:
    """The first lines of a program with *library*: it finds `run` for coroutine functions."""
    how = {"asyncio": "asyncio.run(function())", "trio": "trio.run(function)"}[library]
    return f"import {library}\ndef run(function):\n    return {how}\n"


@in_programs
def test_client_that_is_never_closed_is_silent(server: Server, library: str) -> None:
    code = """
        client = lms.AsyncClient(HOST)
        async def ask():
            model = await client.llm.model("scripted-chat")
            async for fragment in await model.respond_stream("Hi there"):
                return fragment.content
        say(run(ask))
        say(run(ask))
    """
    ending = run_script(library_code(library) + dedent(code), server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "You\nYou\n", "")


def test_unfinished_calls_at_the_end_of_an_asyncio_loop_are_silent(server: Server, gate: Gate) -> None:
    code = """
        client = lms.AsyncClient(HOST)
        async def main():
            model = await client.llm.model("scripted-chat")
            tasks = [asyncio.ensure_future(model.respond("Hi")) for _ in range(3)]
            stream = await model.respond_stream("Hi")
            async for fragment in stream:
                say(fragment.content)
                break
            return tasks, stream
        kept = asyncio.run(main())
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "one\n", "")


def test_unfinished_calls_at_the_end_of_a_trio_run_are_silent(server: Server, gate: Gate) -> None:
    code = """
        import trio
        client = lms.AsyncClient(HOST)
        async def respond(model):
            await model.respond("Hi")
        async def main():
            model = await client.llm.model("scripted-chat")
            for _ in range(3):
                trio.lowlevel.spawn_system_task(respond, model)
            stream = await model.respond_stream("Hi")
            async for fragment in stream:
                say(fragment.content)
                break
            return stream
        kept = trio.run(main)
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "one\n", "")


@in_programs
def test_end_of_the_loop_while_connecting_is_silent(library: str) -> None:
    code = """
        import anyio
        client = lms.AsyncClient(HOST)
        async def main():
            with anyio.move_on_after(0.1):
                await client.list_downloaded_models()
            say("timeout")
        run(main)
        run(main)
    """
    with mute_server() as mute:
        ending = run_script(library_code(library) + dedent(code), mute.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "timeout\ntimeout\n", "")


@pytest.mark.skipif(os.name != "posix", reason="signals are different here")
@in_programs
def test_ctrl_c_stops_the_server(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, library: str) -> None:
    code = """
        client = lms.AsyncClient(HOST)
        async def main():
            model = await client.llm.model("scripted-chat")
            return await model.respond("Hi", on_prediction_fragment=lambda fragment: say(fragment.content))
        try:
            run(main)
        except KeyboardInterrupt:
            say("interrupted")
        run(main)
    """
    with script(library_code(library) + dedent(code), proxy.api_host) as running:
        assert [running.line(), running.line()] == ["one", " two"]
        assert gate.reached()
        running.process.send_signal(signal.SIGINT)
        assert running.line() == "interrupted"
        assert engine.wait_for_cancel()
        gate.open()
        ending = running.end()
    assert (ending.code, ending.output) == (0, "one\n two\n three\n")
    # Before Python 3.11, Ctrl-C interrupts asyncio itself, at any point.
    assert ending.errors == "" or (library == "asyncio" and sys.version_info < (3, 11))


@in_programs
def test_loop_ends_soon_though_the_server_takes_nothing_any_more(proxy: FaultProxy, library: str) -> None:
    code = """
        import anyio
        client = lms.AsyncClient(HOST)
        async def main():
            await client.list_downloaded_models()
            await client.prepare_file(b"words")
            say("connected")
            sys.stdin.readline()
            with anyio.move_on_after(0.2):
                await client.prepare_file(bytes(32 << 20))
            say("gave up")
        run(main)
    """
    with script(library_code(library) + dedent(code), proxy.api_host) as running:
        assert running.line() == "connected"
        proxy.go_silent()
        running.tell()
        assert running.line() == "gave up"
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "", "")
    assert ending.seconds < 8  # a second for each goodbye, and what the machine adds


def test_what_trio_needs_is_not_imported_under_asyncio(server: Server) -> None:
    code = """
        say("trio" in sys.modules)
        async def main():
            async with lms.AsyncClient(HOST) as client:
                model = await client.llm.model("scripted-chat")
                say((await model.respond("Hi")).content)
        asyncio.run(main())
        say("lmstudio._trio_io" in sys.modules)
    """
    ending = run_script(code, server.api_host)
    assert (ending.code, ending.output, ending.errors) == (0, "False\nYou said: Hi\nFalse\n", "")
