"""startHttpServer and stopHttpServer: one more port for HTTP."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.app import AppSettings
from lmstudio.server.binding import Binding
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import scripted_models
from lmstudio.server.extra_listener import ExtraListener

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "sk-lm-abcdefgh:0123456789abcdefghij"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ORIGIN = {"Origin": "https://pages.example.com"}


@pytest.fixture
def engine() -> ScriptedEngine:
    """Says what the test tells it to."""
    return ScriptedEngine()


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    """A server with clients that may do everything."""
    with Server(engine=engine, api_tokens=[TOKEN]) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[lms.Client]:
    """One of them."""
    with lms.Client(server.api_host, api_token=TOKEN) as client:
        yield client


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        number: int = found.getsockname()[1]
    return number


def start(client: lms.Client, **parameter: Any) -> None:
    client.system.remote_call("startHttpServer", parameter)


def stop(client: lms.Client) -> None:
    client.system.remote_call("stopHttpServer")


def models(port: int, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{port}/v1/models"
    return httpx.get(url, headers={**HEADERS, **headers}, timeout=PATIENCE_SECONDS, trust_env=False)


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_port_is_opened_and_closed(server: Server, client: lms.Client, port: int) -> None:
    start(client, port=port)
    assert models(port).json() == models(server.port).json()
    stop(client)
    assert refuses(port)
    assert models(server.port).status_code == 200


def test_tokens_count_there_too(client: lms.Client, port: int) -> None:
    start(client, port=port)
    assert models(port, Authorization="Bearer nothing").status_code == 401
    with lms.Client(f"127.0.0.1:{port}", api_token=TOKEN) as other:
        assert other.llm.list_loaded() == []


def test_pages_may_use_it_where_that_was_asked_for(server: Server, client: lms.Client, port: int) -> None:
    start(client, port=port, cors=True)
    assert models(port, **ORIGIN).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in models(server.port, **ORIGIN).headers


def test_another_wish_takes_the_place_of_the_first(client: lms.Client, port: int) -> None:
    start(client, port=port)
    start(client, port=port)  # nothing new
    start(client, port=port, cors=True)
    assert "access-control-allow-origin" in models(port, **ORIGIN).headers
    with socket.create_server(("127.0.0.1", 0)) as found:
        other = found.getsockname()[1]
    start(client, port=other)
    assert refuses(port)
    assert models(other).status_code == 200


def test_port_in_use_is_refused(server: Server, client: lms.Client) -> None:
    with pytest.raises(lms.LMStudioServerError, match="already in use"):
        start(client, port=server.port)
    with pytest.raises(lms.LMStudioServerError, match="cannot be stopped alone"):
        stop(client)


def test_port_ends_with_the_server(server: Server, client: lms.Client, port: int) -> None:
    start(client, port=port)
    server.stop()
    assert refuses(port)
    server.start()
    assert refuses(port)


def test_work_there_ends_with_the_server(server: Server, client: lms.Client, engine: ScriptedEngine, port: int) -> None:
    gate = Gate()
    engine.reply = Reply(["one ", gate, "two"])
    start(client, port=port)
    body = {"model": "scripted-chat", "input": "Hi", "stream": True}
    url = f"http://127.0.0.1:{port}/api/v1/chat"
    with httpx.stream("POST", url, json=body, headers=HEADERS, timeout=PATIENCE_SECONDS, trust_env=False) as response:
        chunks = response.iter_text()
        text = next(chunks)
        assert gate.reached()
        server.stop()
        text += "".join(chunks)
    assert text.rpartition("event: ")[2].startswith("chat.end")
    assert refuses(port)


def test_guests_may_not_open_ports(port: int) -> None:
    with Server(engine="scripted") as server, lms.Client(server.api_host) as guest:
        with pytest.raises(lms.LMStudioServerError, match="for privileged clients only"):
            start(guest, port=port)
        assert refuses(port)


@pytest.mark.parametrize("turns", range(1, 12))
def test_client_that_leaves_while_the_port_opens_leaves_nothing(port: int, turns: int) -> None:
    async def scene() -> None:
        core = ServerCore(ScriptedEngine(), Catalog(scripted_models()))
        extra = ExtraListener(core, AppSettings(), Binding.find)
        before = asyncio.all_tasks()
        starting = asyncio.ensure_future(extra.start("127.0.0.1", port, cors=False))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        await extra.aclose()
        assert asyncio.all_tasks() <= before
        Binding.find("127.0.0.1", port).listen().close()
        await core.aclose()

    asyncio.run(scene())
