"""The module-level functions and the client that they share."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio import _discovery as discovery_module
from lmstudio import convenience
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .fault_proxy import FaultProxy

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"
BAD_TOKEN = "sk-ABCDEFGHIJ0123456789"


@pytest.fixture(autouse=True)
def fresh_default_client() -> Iterator[None]:
    """Each test begins without a default client, and ends it."""
    lms.close_default_client()
    yield
    lms.close_default_client()


def test_models_of_the_default_client(server: Server) -> None:
    lms.configure_default_client(server.api_host)
    model = lms.llm("scripted-chat", ttl=60, config={"contextLength": 99})
    assert (model.get_context_length(), model.get_info().ttl_ms) == (99, 60_000)
    assert lms.llm() == lms.llm("scripted-chat") == model
    embed = lms.embedding_model("scripted-embed", ttl=30, config={"contextLength": 33})
    assert (embed.get_context_length(), embed.get_info().ttl_ms) == (33, 30_000)
    assert lms.embedding_model() == embed
    assert lms.list_loaded_models() == [model, embed]
    assert lms.list_loaded_models("embedding") == [embed]
    assert [downloaded.type for downloaded in lms.list_downloaded_models()] == ["llm", "embedding"]
    assert [downloaded.type for downloaded in lms.list_downloaded_models("llm")] == ["llm"]


def test_default_client_is_one_and_the_same(server: Server) -> None:
    client = lms.get_default_client(server.api_host)
    assert client.api_host == server.api_host
    assert lms.get_default_client() is client


def test_default_client_finds_the_local_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", (server.port,))
    assert len(lms.list_downloaded_models()) == 2


def test_default_client_takes_a_token() -> None:
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        lms.configure_default_client(server.api_host, TOKEN)
        assert len(lms.list_downloaded_models()) == 2


def test_default_client_in_use_cannot_be_configured(server: Server) -> None:
    lms.configure_default_client("127.0.0.1:1")
    lms.configure_default_client(server.api_host)
    assert len(lms.list_downloaded_models()) == 2
    with pytest.raises(lms.LMStudioClientError, match=r"in use already.*close_default_client\(\)"):
        lms.configure_default_client("127.0.0.1:1")
    with pytest.raises(lms.LMStudioClientError):
        lms.get_default_client("127.0.0.1:1")
    assert len(lms.list_downloaded_models()) == 2


def test_closed_default_client_is_followed_by_another(server: Server) -> None:
    client = lms.get_default_client(server.api_host)
    model = lms.llm("scripted-chat")
    lms.close_default_client()
    lms.close_default_client()
    with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
        model.count_tokens("a b")
    lms.configure_default_client(server.api_host)
    assert lms.llm("scripted-chat").count_tokens("a b") == 2
    assert lms.get_default_client() is not client


def test_default_client_survives_a_lost_connection(proxy: FaultProxy) -> None:
    lms.configure_default_client(proxy.api_host)
    model = lms.llm("scripted-chat")
    proxy.hold()
    proxy.close_connections()
    proxy.release()
    while lms.get_default_client().llm.connected:
        pass
    assert model.count_tokens("a b") == 2
    assert lms.llm() == model


def test_timeout_may_be_read_and_set() -> None:
    before = lms.get_sync_api_timeout()
    try:
        assert before == 60.0
        for value in (1.5, 0, None):
            lms.set_sync_api_timeout(value)
            assert lms.get_sync_api_timeout() == value
        with pytest.raises(ValueError, match="from 0 on"):
            lms.set_sync_api_timeout(-1)
    finally:
        lms.set_sync_api_timeout(before)


def test_the_token_of_the_default_client_is_not_shown() -> None:
    lms.configure_default_client("localhost:1", BAD_TOKEN)
    assert BAD_TOKEN not in repr(vars(convenience))
    with pytest.raises(lms.LMStudioValueError) as refused:
        lms.get_default_client()
    lms.close_default_client()
    lms.get_default_client("localhost:1")
    with pytest.raises(lms.LMStudioClientError) as in_use:
        lms.configure_default_client("localhost:1", BAD_TOKEN)
    lms.close_default_client()
    for error in (refused.value, in_use.value):
        frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
        assert len(frames) > 1
        assert BAD_TOKEN not in repr([frame.locals for frame in frames])


def test_default_client_takes_settings(server: Server) -> None:
    lms.configure_default_client(settings=lms.Settings(api_host=server.api_host, default_model="scripted-chat"))
    assert lms.llm().identifier == "scripted-chat"
    with convenience.default_client_set_aside():
        lms.configure_default_client(server.api_host)
        with pytest.raises(lms.LMStudioModelNotFoundError):
            lms.embedding_model()
    assert lms.llm().identifier == "scripted-chat"
    lms.close_default_client()
    lms.get_default_client(server.api_host).llm.unload("scripted-chat")
    with pytest.raises(lms.LMStudioModelNotFoundError, match="No LLM is loaded"):
        lms.llm()
