"""Time limits and signals of calls, against a server that is too slow."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import Gate, Reply, ToolCall
from surface.background import AsyncBackground
from surface.odd_servers import mute_server, websocket_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

pytestmark = pytest.mark.usefixtures("quiet")

SHORT = 0.1


async def stopped(proxy: FaultProxy, engine: ScriptedEngine) -> bool:
    """Whether the server was told to stop, and did."""
    async with AsyncBackground() as background:
        return await background.wait(lambda: proxy.wait_for_packet("cancel")) and await background.wait(
            engine.wait_for_cancel
        )


# Predictions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["idle", "total"])
async def test_a_prediction_that_is_too_slow_is_stopped(
    proxy: FaultProxy, engine: ScriptedEngine, gate: Gate, limit: Any
) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioTimeoutError, match=rf"timeout '{limit}'") as error:
            await model.respond("Hi", timeout=lms.Timeout(**{limit: SHORT}))
        assert (error.value.limit, error.value.seconds) == (limit, SHORT)
        assert await stopped(proxy, engine)
        assert await model.count_tokens("a b") == 2
        assert proxy.accepted == ["llm"]


async def test_a_first_token_that_is_too_late_stops_the_prediction(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["late"], prompt_gate=Gate())
    async with lms.AsyncClient(proxy.api_host, timeout=lms.Timeout(first_token=SHORT)) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            await model.respond("Hi")
        assert error.value.limit == "first_token"
        assert await stopped(proxy, engine)


async def test_a_stream_that_is_too_slow_is_stopped(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        texts = []
        async with model.respond_stream("Hi", timeout=lms.Timeout(idle=SHORT)) as stream:
            with pytest.raises(lms.LMStudioTimeoutError):
                async for fragment in stream:
                    texts.append(fragment.content)  # noqa: PERF401 - in an expression, those before the error are lost
            assert texts == ["one", " two"]
            with pytest.raises(lms.LMStudioTimeoutError):
                stream.result()
        assert await stopped(proxy, engine)


async def test_limits_of_a_call_go_before_those_of_its_client(server: Server, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate])
    async with lms.AsyncClient(server.api_host, timeout=SHORT) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat", timeout=PATIENCE_SECONDS)
        call = background.start(lambda: model.respond("Hi", timeout=PATIENCE_SECONDS))
        assert await background.wait(gate.reached)
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            await model.respond("Hi")
        assert error.value.limit == "total"
        gate.open()
        assert (await call.result()).content == "one"


async def test_completions_have_limits_too(server: Server, gate: Gate) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioTimeoutError):
            await model.complete("Hi", timeout=SHORT)
        with pytest.raises(lms.LMStudioTimeoutError):
            await model.complete_stream("Hi", timeout=SHORT).wait_for_result()


# act -----------------------------------------------------------------------------------------------------------------


async def test_the_total_of_act_covers_all_rounds(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    ran = []
    engine.reply = [Reply([ToolCall("note", {"text": "a"})]), Reply(["one", gate])]

    def note(text: str) -> str:
        """Note something."""
        ran.append(text)
        return "noted"

    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.llm.model("scripted-chat")
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            await model.act("Hi", [note], timeout=2 * SHORT)
        assert error.value.limit == "total"
        assert ran == ["a"]
        assert await stopped(proxy, engine)


async def test_the_total_of_act_ends_a_tool(server: Server, engine: ScriptedEngine) -> None:
    never = threading.Event()
    engine.reply = [Reply([ToolCall("work", {})]), "done"]

    def work() -> str:
        """Work."""
        never.wait(PATIENCE_SECONDS)
        return "too late"

    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        try:
            with pytest.raises(lms.LMStudioTimeoutError, match="Could not act with model 'scripted-chat'") as error:
                await model.act("Hi", [work], timeout=2 * SHORT)
        finally:
            never.set()
        assert error.value.limit == "total"
        assert len(engine.requests) == 1


# Loads and calls -----------------------------------------------------------------------------------------------------


async def test_a_load_that_is_too_slow_is_cancelled(proxy: FaultProxy, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    async with lms.AsyncClient(proxy.api_host) as client:
        for load in (client.llm.model, client.llm.load_new_instance):
            with pytest.raises(lms.LMStudioTimeoutError, match="load model 'scripted-chat'") as error:
                await load("scripted-chat", timeout=SHORT)
            assert error.value.limit == "total"
        assert await stopped(proxy, engine)
        assert await client.llm.list_loaded() == []


async def test_progress_of_a_load_is_a_sign_of_life(server: Server, engine: ScriptedEngine) -> None:
    engine.load_steps, engine.load_delay_seconds = 20, 0.05
    async with lms.AsyncClient(server.api_host, timeout=lms.Timeout(idle=0.5)) as client:
        assert (await client.llm.model("scripted-chat")).identifier == "scripted-chat"


CALLS: dict[str, Callable[[lms.AsyncClient, lms.AsyncLLM, Any], Any]] = {
    "tokenize": lambda client, model, more: model.tokenize("a", **more),
    "tokenize many": lambda client, model, more: model.tokenize(["a", "b"], **more),
    "count_tokens": lambda client, model, more: model.count_tokens("a", **more),
    "count_chat_tokens": lambda client, model, more: model.count_chat_tokens("a", **more),
    "apply_prompt_template": lambda client, model, more: model.apply_prompt_template("a", **more),
    "trim_chat": lambda client, model, more: model.trim_chat("a", **more),
    "get_info": lambda client, model, more: model.get_info(**more),
    "get_context_length": lambda client, model, more: model.get_context_length(**more),
    "get_load_config": lambda client, model, more: model.get_load_config(**more),
    "get_base_prediction_config": lambda client, model, more: model.get_base_prediction_config(**more),
    "get_instance_processing_state": lambda client, model, more: model.get_instance_processing_state(**more),
    "preload_draft_model": lambda client, model, more: model.preload_draft_model("scripted-chat", **more),
    "unload": lambda client, model, more: model.unload(**more),
    "session.unload": lambda client, model, more: client.llm.unload("scripted-chat", **more),
    "session.unload a handle": lambda client, model, more: client.llm.unload(model, **more),
    "list_loaded": lambda client, model, more: client.llm.list_loaded(**more),
    "get_model_info": lambda client, model, more: client.llm.get_model_info("scripted-chat", **more),
    "any model": lambda client, model, more: client.llm.model(**more),
    "estimate": lambda client, model, more: client.llm.estimate_resources_usage("scripted-chat", **more),
    "by reference": lambda client, model, more: client.llm.create_domain_specific_model_from_instance_reference(
        model.instance_reference, **more
    ),
    "remote_call": lambda client, model, more: client.llm.remote_call("listLoaded", **more),
    "list_loaded_models": lambda client, model, more: client.list_loaded_models(**more),
}


@pytest.mark.parametrize("call", list(CALLS))
async def test_a_call_that_is_too_slow_expires_or_is_aborted(proxy: FaultProxy, call: str) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model("scripted-chat")
        proxy.hold()
        with pytest.raises(lms.LMStudioTimeoutError, match=r"^Could not .* within 0\.1 seconds") as error:
            await CALLS[call](client, model, {"timeout": SHORT})
        assert error.value.limit == "total"
        before = len(proxy.messages("rpcCall"))
        signal = lms.AbortSignal()
        running = background.start(lambda: CALLS[call](client, model, {"signal": signal}))
        assert await background.wait(lambda: proxy.wait_for_message("rpcCall", before + 1))
        signal.abort("enough")
        with pytest.raises(lms.LMStudioCancelledError, match=r"^Could not .*: Aborted: enough$"):
            await running.result()
        sent = len(proxy.messages("rpcCall"))
        with pytest.raises(lms.LMStudioCancelledError, match=r"^Could not .*: Aborted: enough$"):
            await CALLS[call](client, model, {"signal": signal})
        assert len(proxy.messages("rpcCall")) == sent
        proxy.release()
        assert await client.llm.list_loaded() is not None
        assert proxy.accepted == ["llm"]


OTHER_CALLS: dict[str, Callable[[lms.AsyncClient, Any], Any]] = {
    "list_downloaded_models": lambda client, more: client.list_downloaded_models(**more),
    "llm.list_downloaded": lambda client, more: client.llm.list_downloaded(**more),
    "variants": lambda client, more: client.system.list_downloaded_model_variants("scripted-chat", **more),
    "search_models": lambda client, more: client.repository.search_models("a", **more),
    "prepare_image": lambda client, more: client.prepare_image(b"\x89PNG\r\n\x1a\n", **more),
    "prepare_file": lambda client, more: client.prepare_file(b"text", "a.txt", **more),
    "prepare_file_base64": lambda client, more: client.files.prepare_file_base64("a.txt", "dGV4dA==", **more),
    "prepare_image_base64": lambda client, more: client.files.prepare_image_base64("a.png", "iVBORw0KGgo=", **more),
}


@pytest.mark.parametrize("call", list(OTHER_CALLS))
async def test_calls_of_other_namespaces_expire_or_are_aborted(proxy: FaultProxy, call: str) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        for session in (client.system, client.repository, client.files):
            await session.connect()
        proxy.hold()
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            await OTHER_CALLS[call](client, {"timeout": SHORT})
        assert error.value.limit == "total"
        signal = lms.AbortSignal()
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            await OTHER_CALLS[call](client, {"signal": signal})


async def test_who_waits_for_the_upload_of_another_has_limits_of_its_own(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        await client.files.connect()
        proxy.hold()
        first = background.start(lambda: client.prepare_file(b"text", "a.txt"))
        assert await background.wait(lambda: proxy.wait_for_message("rpcCall"))
        with pytest.raises(lms.LMStudioTimeoutError, match=r"Could not upload 'b\.txt'"):
            await client.prepare_file(b"text", "b.txt", timeout=SHORT)
        signal = lms.AbortSignal()
        second = background.start(lambda: client.prepare_file(b"text", "b.txt", signal=signal))
        signal.abort("enough")
        with pytest.raises(lms.LMStudioCancelledError, match="enough"):
            await second.result()
        proxy.release()
        assert (await first.result()).name == "a.txt"
        assert len(proxy.messages("rpcCall")) == 1


async def test_the_end_of_a_connection_is_awaited_within_limits(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host, timeout=lms.Timeout(idle=SHORT)) as client:
        with pytest.raises(lms.LMStudioTimeoutError) as error:
            await client.system.when_disconnected(timeout=2 * SHORT)
        assert error.value.limit == "total"  # silence is what one waits for
        signal = lms.AbortSignal()
        async with AsyncBackground() as background:
            waiting = background.start(lambda: client.system.when_disconnected(signal=signal))
            assert await background.wait(lambda: proxy.wait_for_message("channelCreate", 2))
            signal.abort("enough")
            with pytest.raises(lms.LMStudioCancelledError, match="Aborted: enough"):
                await waiting.result()
        with pytest.raises(lms.LMStudioCancelledError, match="Aborted: enough"):
            await client.system.when_disconnected(signal=signal)


async def test_embeddings_have_limits(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        model = await client.embedding.model("scripted-embed")
        proxy.hold()
        with pytest.raises(lms.LMStudioTimeoutError):
            await model.embed(["a", "b"], timeout=SHORT)
        with pytest.raises(lms.LMStudioTimeoutError):
            await model.get_eval_batch_size(timeout=SHORT)
        signal = lms.AbortSignal()
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            await model.embed("a", signal=signal)


# Connecting ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_never_answers_is_given_up() -> None:
    with mute_server() as mute:
        async with lms.AsyncClient(mute.api_host, timeout=lms.Timeout(connect=SHORT)) as client:
            with pytest.raises(lms.LMStudioConnectTimeoutError, match=f"ws://{mute.api_host}/system") as error:
                await client.list_downloaded_models()
            assert (error.value.limit, error.value.seconds) == ("connect", SHORT)
            assert isinstance(error.value, lms.LMStudioWebsocketError)
            with pytest.raises(lms.LMStudioConnectTimeoutError):
                await client.llm.connect()


async def test_an_authentication_without_answer_is_given_up() -> None:
    with websocket_server(None) as api_host:
        async with lms.AsyncClient(api_host, timeout=lms.Timeout(connect=5 * SHORT)) as client:
            with pytest.raises(lms.LMStudioConnectTimeoutError, match="at the authentication"):
                await client.list_downloaded_models()


async def test_a_call_may_wait_longer_or_shorter_for_the_connection(proxy: FaultProxy) -> None:
    proxy.hold()
    timeout = lms.Timeout(connect=2 * SHORT)
    async with lms.AsyncClient(proxy.api_host, timeout=timeout) as client, AsyncBackground() as background:
        patient = background.start(lambda: client.llm.list_loaded(timeout=lms.Timeout(connect=PATIENCE_SECONDS)))
        assert await background.wait(lambda: proxy.wait_for(lambda seen: seen.accepted))
        for seconds in (SHORT, 2 * SHORT):
            with pytest.raises(lms.LMStudioConnectTimeoutError) as error:
                await client.llm.list_loaded(timeout=lms.Timeout(connect=seconds))
            assert error.value.seconds == seconds
        proxy.release()
        assert await patient.result() == []
        assert proxy.accepted == ["llm"]


# Everywhere ----------------------------------------------------------------------------------------------------------

# They wait for nothing, or for what has limits already.
_WITHOUT = {
    "connect",
    "disconnect",
    "aclose",
    "start",
    "cancel",
    "wait_for_result",
    "create_artifact_download_planner",
    "create_model_download_planner",
}


def test_every_call_takes_a_timeout_and_a_signal() -> None:
    client = lms.AsyncClient("127.0.0.1:1")
    namespaces = (client.llm, client.system, client.files, client.repository, client.diagnostics, client.plugins)
    parts = (client.runtime, client.runtime.engine, client.runtime.extensions, client.repository.lm_link)
    handles = [lms.AsyncLLM, lms.AsyncEmbeddingModel, lms.AsyncDownloadedLlm, lms.AsyncLLMGeneratorHandle]
    found = []
    for holder in (
        lms.AsyncClient,
        *(type(each) for each in (*namespaces, *parts)),
        *handles,
        lms.AsyncModelDownloadOption,
        lms.AsyncAvailableModel,
        lms.AsyncArtifactDownloadPlanner,
        lms.AsyncSelfRegistrationHost,
    ):
        for name, member in inspect.getmembers(holder, inspect.isfunction):
            names = set(inspect.signature(member).parameters)
            is_call = inspect.iscoroutinefunction(inspect.unwrap(member)) or bool({"timeout", "signal"} & names)
            if is_call and not name.startswith("_") and name not in _WITHOUT:
                assert {"timeout", "signal"} <= names, f"{holder} {name}"
                found.append(name)
    assert len(found) > 50
