"""What is tried again when a server goes away, how often, and what is not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio import _endpoints as endpoints
from lmstudio._endpoints import embedding, files, llm, models, plugins, repository, runtime, system
from surface.background import AsyncBackground
from surface.odd_servers import free_port, tcp_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server import Gate, ScriptedEngine
    from surface.fault_proxy import FaultProxy

QUICK = lms.RetryConfig(max_retries=5, backoff_factor=0.01)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


# Connecting ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_is_reached_by_the_same_call(
    proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    retry = lms.RetryConfig(max_retries=100, backoff_factor=0.01, max_backoff=0.05)
    async with lms.AsyncClient(proxy.api_host, retry=retry) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.refuse_connections()
        await background.until(lambda: not client.llm.connected)
        # Not a read: nothing has been sent before there is a connection, so nothing is sent twice.
        call = background.start(lambda: model.respond("Hi"))
        await background.until(lambda: len(warnings_of(caplog)) >= 2)
        proxy.accept_connections()
        assert (await call.result()).content == "You said: Hi"
    assert all("Could not connect" in text and "Trying again in 0.0 seconds" in text for text in warnings_of(caplog))
    assert len(proxy.messages("channelCreate")) == 2


async def test_the_number_of_attempts_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    api_host = f"127.0.0.1:{free_port()}"
    async with lms.AsyncClient(api_host, retry=QUICK) as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="Could not connect"):
            await client.list_downloaded_models()
    assert len(warnings_of(caplog)) == 5


@pytest.mark.usefixtures("quiet")
async def test_a_server_that_was_never_there_is_reported_at_once() -> None:
    async with lms.AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="Could not connect"):
            await client.list_downloaded_models()


async def test_the_server_of_a_proxy_may_come_up_later(caplog: pytest.LogCaptureFixture) -> None:
    away = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with tcp_server(away) as api_host:
        async with lms.AsyncClient(api_host, retry=QUICK) as client:
            with pytest.raises(lms.LMStudioWebsocketError, match="503"):
                await client.list_downloaded_models()
    assert len(warnings_of(caplog)) == 5


@pytest.mark.usefixtures("quiet")
async def test_a_server_that_is_another_one_is_not_tried_again() -> None:
    with tcp_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as api_host:
        async with lms.AsyncClient(api_host, retry=QUICK) as client:
            with pytest.raises(lms.LMStudioWebsocketError, match="404"):
                await client.list_downloaded_models()


async def test_a_signal_ends_the_attempts_of_its_call(caplog: pytest.LogCaptureFixture) -> None:
    signal = lms.AbortSignal()
    retry = lms.RetryConfig(max_retries=5, backoff_factor=60)
    async with (
        lms.AsyncClient(f"127.0.0.1:{free_port()}", retry=retry) as client,
        AsyncBackground() as background,
    ):
        call = background.start(lambda: client.llm.list_loaded(signal=signal))
        await background.until(lambda: bool(warnings_of(caplog)))
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            await call.result()
        # Closing the client ends the pause, too.


# Reads ---------------------------------------------------------------------------------------------------------------


async def test_a_read_in_flight_survives_a_loss(proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    async with lms.AsyncClient(proxy.api_host, retry=QUICK) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.hold()
        call = background.start(lambda: model.tokenize(["one", "two"]))
        assert await background.wait(lambda: proxy.wait_for_message("rpcCall", 2))
        proxy.reset_connections()
        proxy.release()
        assert len(await call.result()) == 2
    assert len(proxy.messages("rpcCall")) == 4
    assert [text for text in warnings_of(caplog) if "Could not tokenize" in text and "was lost" in text]


WORK: dict[str, tuple[str, Callable[[lms.AsyncClient], Any]]] = {
    "respond": ("channelCreate", lambda client: client.llm.create_dynamic_handle("scripted-chat").respond("Hi")),
    "load": ("channelCreate", lambda client: client.llm.load_new_instance("scripted-chat")),
    "get or load": ("channelCreate", lambda client: client.llm.model("scripted-embed")),
    "unload": ("rpcCall", lambda client: client.llm.unload("scripted-chat")),
    "upload": ("rpcCall", lambda client: client.prepare_file(b"text", "a.txt")),
    "embed": ("rpcCall", lambda client: client.embedding.create_dynamic_handle("scripted-embed").embed("a")),
    "remote_call": ("rpcCall", lambda client: client.llm.remote_call("listLoaded")),
}


@pytest.mark.parametrize("work", list(WORK))
async def test_work_is_never_sent_twice(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, work: str) -> None:
    message, start = WORK[work]
    async with lms.AsyncClient(proxy.api_host, retry=QUICK) as client, AsyncBackground() as background:
        for session in (client.llm, client.embedding, client.files):
            await session.connect()
        await client.llm.model("scripted-chat")
        proxy.hold()
        before = len(proxy.messages(message))
        call = background.start(lambda: start(client))
        assert await background.wait(lambda: proxy.wait_for_message(message, before + 1))
        proxy.reset_connections()
        with pytest.raises(lms.LMStudioWebsocketError, match="was lost"):
            await call.result()
        proxy.release()
        await client.llm.list_loaded()
        sent = proxy.messages(message)[before:]
        assert [item.get("endpoint") for item in sent].count(sent[0]["endpoint"]) == (
            2 if sent[0]["endpoint"] == "listLoaded" else 1
        )


def test_reads_change_nothing() -> None:
    """Whoever adds an endpoint decides here, too."""
    reads = set()
    for module in (embedding, files, llm, models, plugins, repository, runtime, system):
        for value in vars(module).values():
            if isinstance(value, endpoints.Rpc) and value.is_read:
                reads.add(value.name)
    reads |= {rpc.name for rpc in (llm.MODELS.list_loaded, llm.MODELS.get_model_info) if rpc.is_read}
    assert reads == {
        "applyPromptTemplate",
        "countTokens",
        "estimateModelUsage",
        "fuzzyFindStaffPicks",
        "getAuthenticationStatus",
        "getBasePredictionConfig",
        "getEngineSelections",
        "getExperimentFlags",
        "getInstanceProcessingState",
        "getLoadConfig",
        "getLocalArtifactFiles",
        "getModelCatalog",
        "getModelDownloadOptions",
        "getModelInfo",
        "getWritableArtifactOwners",
        "info",
        "isAuthenticated",
        "listDownloadedModelVariants",
        "listDownloadedModels",
        "listEngines",
        "listLoaded",
        "lmLinkStatus",
        "processingHasStatus",
        "processingNeedsNaming",
        "processingPullHistory",
        "searchModels",
        "searchRuntimeExtensions",
        "tokenize",
        "version",
    }
