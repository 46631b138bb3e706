"""Losses that the program has no hand in: of the default client, and of programs that were asleep meanwhile."""

from __future__ import annotations

import os
import signal
import time
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio import _transfer as transfer_module

from .background import Background
from .fault_proxy import FAULTS, FaultProxy
from .scripts import Script, script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio.server import Gate, ScriptedEngine

pytestmark = pytest.mark.usefixtures("quiet")

KEEPALIVE_SECONDS = 0.2
"""Of the programs below."""


@pytest.fixture
def default_client(proxy: FaultProxy) -> Iterator[None]:
    """The default client connects to *proxy*."""
    lms.close_default_client()
    lms.configure_default_client(proxy.api_host)
    yield
    lms.close_default_client()


@pytest.mark.usefixtures("default_client")
@pytest.mark.parametrize("fault", list(FAULTS))
def test_default_client_survives_every_loss(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    happen, reason = FAULTS[fault]
    if fault == "half-open":
        monkeypatch.setattr(transfer_module, "KEEPALIVE_SECONDS", KEEPALIVE_SECONDS)
    model = lms.llm("scripted-chat")
    with Background() as background:
        call = background.start(lambda: lms.llm().respond("Hi"))
        assert gate.reached()
        happen(proxy)
        with pytest.raises(lms.LMStudioWebsocketError, match=rf"The connection to LM Studio was lost: .*({reason})"):
            call.result()
    monkeypatch.undo()
    gate.open()
    assert lms.llm() == model
    assert model.respond("Hi again").content == "one two three"
    assert len(engine.requests) == 2  # the one that failed was not repeated


IMPATIENT = f"import lmstudio._transfer as transfer\ntransfer.KEEPALIVE_SECONDS = {KEEPALIVE_SECONDS}\n"
CALLS = {
    "sync": """
        client = lms.Client(HOST)
        model = client.llm.model("scripted-chat")
        for _ in range(2):
            try:
                say(model.respond("Hi").content)
            except lms.LMStudioError as error:
                say(error)
        client.close()
    """,
    "async": """
        async def main():
            async with lms.AsyncClient(HOST) as client:
                model = await client.llm.model("scripted-chat")
                for _ in range(2):
                    try:
                        say((await model.respond("Hi")).content)
                    except lms.LMStudioError as error:
                        say(error)
        asyncio.run(main())
    """,
}


def sleep_through(running: Script, meanwhile: Callable[[], object]) -> None:
    """Stop the program for several times the interval in which a lost connection is noticed."""
    running.process.send_signal(signal.SIGSTOP)
    os.waitpid(running.process.pid, os.WUNTRACED)
    meanwhile()
    time.sleep(4 * KEEPALIVE_SECONDS)  # there is nothing to wait for but time itself
    running.process.send_signal(signal.SIGCONT)


posix_only = pytest.mark.skipif(os.name != "posix", reason="no other system has these signals")
in_both_surfaces = pytest.mark.parametrize("surface", list(CALLS))


@posix_only
@in_both_surfaces
def test_program_that_was_asleep_goes_on_with_its_connection(proxy: FaultProxy, gate: Gate, surface: str) -> None:
    code = IMPATIENT + dedent(CALLS[surface])
    with script(code, proxy.api_host) as running:
        assert gate.reached()
        assert proxy.wait_for_pings(1)
        sleep_through(running, lambda: None)
        assert proxy.wait_for_pings(1)
        gate.open()
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "one two three\n" * 2, "")
    assert proxy.accepted == ["llm"]


@posix_only
@in_both_surfaces
@pytest.mark.parametrize("happen", [FaultProxy.close_connections, FaultProxy.reset_connections, FaultProxy.go_silent])
def test_program_whose_connection_was_lost_while_it_slept_makes_another(
    proxy: FaultProxy, gate: Gate, surface: str, happen: Callable[[FaultProxy], None]
) -> None:
    code = IMPATIENT + dedent(CALLS[surface])
    with script(code, proxy.api_host) as running:
        assert gate.reached()
        sleep_through(running, lambda: happen(proxy))
        assert running.line().startswith("The connection to LM Studio was lost: ")
        gate.open()
        ending = running.end()
    assert (ending.code, ending.output, ending.errors) == (0, "one two three\n", "")
    assert proxy.accepted == ["llm", "llm"]
    assert ending.seconds < PATIENCE_SECONDS
