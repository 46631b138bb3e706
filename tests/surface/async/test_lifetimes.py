"""From the first use of a client to its end, and many calls at once in between."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio.server import Reply
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")


async def test_client_works_without_with_block(proxy: FaultProxy) -> None:
    client = lms.AsyncClient(proxy.api_host)
    model = await client.llm.model("scripted-chat")
    assert (await model.respond("Hi")).content == "You said: Hi"
    await client.aclose()
    assert proxy.wait_until_closed()


async def test_only_namespaces_that_are_used_are_connected(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        assert proxy.accepted == []
        await client.list_downloaded_models()
        await client.list_downloaded_models()
        assert proxy.accepted == ["system"]
        await client.llm.list_downloaded()
        assert proxy.accepted == ["system"]


async def test_connections_end_with_a_goodbye(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        await client.list_downloaded_models()
    assert proxy.wait_until_closed()
    assert proxy.frames[-1].kind == "close"


async def test_closed_client_refuses_work(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        stream = await model.respond_stream("Hi")
    with pytest.raises(lms.LMStudioRuntimeError, match=r"The client is closed\. Open it again with"):
        await client.list_downloaded_models()
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        await model.count_tokens("a b")
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        await client.llm.connect()
    with pytest.raises(lms.LMStudioError, match="closed"):
        await stream.wait_for_result()


async def test_closed_client_is_not_connected_and_may_be_disconnected(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)
    for _ in range(2):
        assert not client.llm.connected
        await client.llm.disconnect()
        async with client.llm as session:
            states = [session.connected]
            await client.aclose()
            assert [*states, session.connected] == [True, False]
        async with client:
            pass
        await client.__aenter__()


async def test_closing_twice_is_as_good_as_once(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)
    await client.aclose()
    async with client:
        await client.list_downloaded_models()
        await client.aclose()
        await client.aclose()
    await client.aclose()


async def test_closed_client_may_be_entered_again(proxy: FaultProxy) -> None:
    client = lms.AsyncClient(proxy.api_host)
    for _ in range(3):
        async with client as entered:
            assert entered is client
            model = await client.llm.model("scripted-chat")
            assert await model.count_tokens("a b") == 2
    assert proxy.accepted == ["llm"] * 3


async def test_exception_in_with_block_stays_itself(server: Server) -> None:
    async def work() -> None:
        async with lms.AsyncClient(server.api_host) as client:
            await client.list_downloaded_models()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()


async def test_client_lives_as_long_as_its_handles(proxy: FaultProxy) -> None:
    async with AsyncBackground() as background:
        model = await lms.AsyncClient(proxy.api_host).llm.model("scripted-chat")
        gc.collect()
        assert await model.count_tokens("a b") == 2
        assert proxy.accepted == ["llm"]
        del model
        gc.collect()
        assert await background.wait(proxy.wait_until_closed)


async def test_client_says_where_it_connects(server: Server) -> None:
    client = lms.AsyncClient(f"http://{server.api_host}/v1")
    assert client.api_host == server.api_host
    assert repr(client).endswith(f"Client(api_host='http://{server.api_host}/v1')")
    assert (client.llm, client.embedding, client.system) == (client.llm, client.embedding, client.system)


async def test_hundred_predictions_at_once_share_a_connection_and_keep_their_order(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    engine.reply = lambda request: Reply([gate, *(f"{request.prompt.split()[-1]}.{number} " for number in range(20))])
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        calls = [background.start(partial(model.complete, f"number {number}")) for number in range(100)]
        assert await background.wait(lambda: proxy.wait_for_message("channelCreate", 101))
        gate.open()
        for number, call in enumerate(calls):
            assert (await call.result()).content.split() == [f"{number}.{index}" for index in range(20)]
    assert proxy.accepted == ["llm"]


async def test_first_uses_at_once_share_a_connection(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        calls = [background.start(client.list_downloaded_models) for _ in range(20)]
        assert [len(await call.result()) for call in calls] == [2] * 20
    assert proxy.accepted == ["system"]


async def test_two_clients_do_not_meet(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as one, lms.AsyncClient(proxy.api_host) as two:
        model = await one.llm.model("scripted-chat")
        same = await two.llm.model("scripted-chat")
        assert model != same
        await one.aclose()
        assert await same.count_tokens("a b") == 2
    assert proxy.accepted == ["llm", "llm"]
