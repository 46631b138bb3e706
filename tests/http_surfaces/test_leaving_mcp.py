"""Clients that leave while their MCP servers are at work: no connection, no task and no place of them stays."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from http_surfaces.asgi_call import ask, ask_and_leave
from http_surfaces.http_stage import CHAT_MODEL
from http_surfaces.test_bursts import serve
from http_surfaces.tide_server import TideServer
from lmstudio.server import Reply, ScriptedEngine, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from http_surfaces.asgi_call import Answer
    from lmstudio.server.core import ServerCore

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def tides() -> Iterator[TideServer]:
    """The server that the requests bring."""
    with TideServer() as server:
        yield server


def with_tools(path: str, url: str) -> bytes:
    body: dict[str, Any] = {"model": CHAT_MODEL, "input": "When is high water?", "stream": True}
    server = {"server_label": "tides", "server_url": url}
    if path == "/api/v1/chat":
        return json.dumps({**body, "integrations": [{"type": "ephemeral_mcp", **server}]}).encode()
    return json.dumps({**body, "tools": [{"type": "mcp", "require_approval": "never", **server}]}).encode()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux shows them")
@pytest.mark.parametrize("path", ["/api/v1/chat", "/v1/responses"])
def test_nothing_stays_of_a_client_that_leaves(tides: TideServer, path: str) -> None:
    engine = ScriptedEngine(lambda _: Reply([ToolCall("tide_lookup", {"port": "Brest"})]))
    content = with_tools(path, tides.url)

    async def leave_at(app: ASGIApp, number: int) -> Answer | None:
        """Leave when the tide server is asked for the *number*th time: to begin, for its tools, then for each call."""
        loop, leave = asyncio.get_running_loop(), asyncio.Event()
        left = itertools.count(number - 1, -1)
        tides.on_request = lambda: next(left) or loop.call_soon_threadsafe(leave.set)
        try:
            return await ask_and_leave(app, "POST", path, content, after=leave)
        finally:
            tides.on_request = lambda: None

    async def scene(core: ServerCore, app: ASGIApp) -> None:
        await core.instances.acquire("llm", CHAT_MODEL)
        before = asyncio.all_tasks()
        tides.calls.clear()
        for number in range(1, 8):
            assert await leave_at(app, number) is None
            assert core.places.taken == {}
            assert asyncio.all_tasks() <= before
        assert tides.calls  # some have come that far
        assert (await ask(app, "POST", path, content)).status == 200
        files = open_files()
        for number in (1, 3, 5) * 6:
            assert await leave_at(app, number) is None
        # Less than one for each: those that there are belong to the other side, which is in this process as well.
        assert open_files() < files + 9

    serve(engine, scene, allow_ephemeral_mcp=True)
