"""A hundred streams at once, and LM Studio dies and comes back: everybody gets an answer or an error, nobody hangs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from gateway.gateway_stage import CHAT, Studio, client_of, new_gateway
from lmstudio.server import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server import Server

pytestmark = [pytest.mark.usefixtures("provider"), pytest.mark.unmeasured]

STREAMS = 100
TEXT = "four five six seven eight"


async def stream_once(api: httpx.AsyncClient) -> str:
    """One request; what became of it."""
    async with api.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        body = (await response.aread()).decode()
    if response.status_code != 200:
        return str(response.status_code)
    assert body.endswith("data: [DONE]\n\n")
    return "broken" if "event: error" in body else "whole"


async def stream_until(api: httpx.AsyncClient, is_over: Callable[[], bool]) -> Counter[str]:
    """One request after another."""
    outcomes: Counter[str] = Counter()
    while not is_over():
        outcomes[await stream_once(api)] += 1
    return outcomes


class Outages:
    """Ends LM Studio without a goodbye when enough requests have come, and starts it again."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._requests = threading.Semaphore(0)
        studio.engine.reply = self._reply

    def _reply(self, _: object) -> Reply:
        self._requests.release()
        return Reply(TEXT, delay_seconds=0.002)

    def wait_for_requests(self) -> None:
        """Until half of the clients have come."""
        for _ in range(STREAMS // 2):
            assert self._requests.acquire(timeout=PATIENCE_SECONDS)

    def happen(self) -> None:
        """Once. Returns when it is over."""
        self.wait_for_requests()
        self._studio.server.stop(0)
        self._studio.server.start()


async def run_clients(gateway: Server, outages: Outages) -> tuple[Counter[str], Counter[str]]:
    """Clients before, during and after two outages: what they got, and what each of them gets in the end."""
    limits = httpx.Limits(max_connections=STREAMS)
    address = f"http://{gateway.api_host}"
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS, limits=limits) as api:
        is_over = False
        clients = [asyncio.create_task(stream_until(api, lambda: is_over)) for _ in range(STREAMS)]
        for _ in range(2):
            await asyncio.to_thread(outages.happen)
        await asyncio.to_thread(outages.wait_for_requests)  # these end well
        is_over = True
        outcomes = sum(await asyncio.gather(*clients), Counter[str]())
        return outcomes, Counter(await asyncio.gather(*(stream_once(api) for _ in range(STREAMS))))


def tasks_of(gateway: Server) -> Counter[str]:
    """What runs in the gateway's loop when no request does."""
    assert gateway._loop is not None

    async def count() -> Counter[str]:
        requests = [task for task in asyncio.all_tasks() if "run_asgi" in name(task)]
        if requests:
            await asyncio.wait(requests)
        return Counter(map(name, asyncio.all_tasks()))

    def name(task: asyncio.Task[Any]) -> str:
        return getattr(task.get_coro(), "__qualname__", "")

    return asyncio.run_coroutine_threadsafe(count(), gateway._loop).result(PATIENCE_SECONDS)


def ask_once(gateway: Server) -> None:
    """For everything, so that all connections are there."""
    with client_of(gateway) as api:
        assert api.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert api.get("/v1/models").status_code == 200


def test_nobody_hangs_and_nothing_is_left(studio: Studio) -> None:
    with new_gateway(studio.api_host, jit_loading=True) as gateway:
        ask_once(gateway)
        before = tasks_of(gateway)
        outcomes, at_last = asyncio.run(run_clients(gateway, Outages(studio)))
        ask_once(gateway)
        assert tasks_of(gateway) == before
    assert set(outcomes) <= {"whole", "broken", "502", "504"}
    assert outcomes["whole"] > 0
    assert outcomes["broken"] + outcomes["502"] > 0
    assert at_last == Counter(whole=STREAMS)
