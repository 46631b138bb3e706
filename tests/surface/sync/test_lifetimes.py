# Generated from ../async/test_lifetimes.py by tools/make_sync.py. Edit that file instead.
"""From the first use of a client to its end, and many calls at once in between."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio.server import Reply
from surface.background import Background

if TYPE_CHECKING:
    from lmstudio.server import Gate, ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")


def test_client_works_without_with_block(proxy: FaultProxy) -> None:
    client = lms.Client(proxy.api_host)
    model = client.llm.model("scripted-chat")
    assert (model.respond("Hi")).content == "You said: Hi"
    client.close()
    assert proxy.wait_until_closed()


def test_only_namespaces_that_are_used_are_connected(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        assert proxy.accepted == []
        client.list_downloaded_models()
        client.list_downloaded_models()
        assert proxy.accepted == ["system"]
        client.llm.list_downloaded()
        assert proxy.accepted == ["system"]


def test_connections_end_with_a_goodbye(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        client.list_downloaded_models()
    assert proxy.wait_until_closed()
    assert proxy.frames[-1].kind == "close"


def test_closed_client_refuses_work(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        stream = model.respond_stream("Hi")
    with pytest.raises(lms.LMStudioRuntimeError, match=r"The client is closed\. Open it again with"):
        client.list_downloaded_models()
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        model.count_tokens("a b")
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        client.llm.connect()
    with pytest.raises(lms.LMStudioError, match="closed"):
        stream.wait_for_result()


def test_closed_client_is_not_connected_and_may_be_disconnected(server: Server) -> None:
    client = lms.Client(server.api_host)
    for _ in range(2):
        assert not client.llm.connected
        client.llm.disconnect()
        with client.llm as session:
            states = [session.connected]
            client.close()
            assert [*states, session.connected] == [True, False]
        with client:
            pass
        client.__enter__()


def test_closing_twice_is_as_good_as_once(server: Server) -> None:
    client = lms.Client(server.api_host)
    client.close()
    with client:
        client.list_downloaded_models()
        client.close()
        client.close()
    client.close()


def test_closed_client_may_be_entered_again(proxy: FaultProxy) -> None:
    client = lms.Client(proxy.api_host)
    for _ in range(3):
        with client as entered:
            assert entered is client
            model = client.llm.model("scripted-chat")
            assert model.count_tokens("a b") == 2
    assert proxy.accepted == ["llm"] * 3


def test_exception_in_with_block_stays_itself(server: Server) -> None:
    def work() -> None:
        with lms.Client(server.api_host) as client:
            client.list_downloaded_models()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_client_lives_as_long_as_its_handles(proxy: FaultProxy) -> None:
    with Background() as background:
        model = lms.Client(proxy.api_host).llm.model("scripted-chat")
        gc.collect()
        assert model.count_tokens("a b") == 2
        assert proxy.accepted == ["llm"]
        del model
        gc.collect()
        assert background.wait(proxy.wait_until_closed)


def test_client_says_where_it_connects(server: Server) -> None:
    client = lms.Client(f"http://{server.api_host}/v1")
    assert client.api_host == server.api_host
    assert repr(client).endswith(f"Client(api_host='http://{server.api_host}/v1')")
    assert (client.llm, client.embedding, client.system) == (client.llm, client.embedding, client.system)


def test_hundred_predictions_at_once_share_a_connection_and_keep_their_order(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate
) -> None:
    engine.reply = lambda request: Reply([gate, *(f"{request.prompt.split()[-1]}.{number} " for number in range(20))])
    with lms.Client(proxy.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        calls = [background.start(partial(model.complete, f"number {number}")) for number in range(100)]
        assert background.wait(lambda: proxy.wait_for_message("channelCreate", 101))
        gate.open()
        for number, call in enumerate(calls):
            assert (call.result()).content.split() == [f"{number}.{index}" for index in range(20)]
    assert proxy.accepted == ["llm"]


def test_first_uses_at_once_share_a_connection(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        calls = [background.start(client.list_downloaded_models) for _ in range(20)]
        assert [len(call.result()) for call in calls] == [2] * 20
    assert proxy.accepted == ["system"]


def test_two_clients_do_not_meet(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as one, lms.Client(proxy.api_host) as two:
        model = one.llm.model("scripted-chat")
        same = two.llm.model("scripted-chat")
        assert model != same
        one.close()
        assert same.count_tokens("a b") == 2
    assert proxy.accepted == ["llm", "llm"]
