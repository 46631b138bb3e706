"""What exceptions are like, wherever they come from: of this package, plain to read, never in a group."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio._transfer import FrameTransfer
from lmstudio.errors import ErrorType
from lmstudio.server import Gate, Reply, ToolCall
from surface.background import AsyncBackground
from surface.coroutine_tools import broken_connection, sleep_long

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy

MODEL = "scripted-chat"


def check(error: BaseException) -> lms.LMStudioError:
    """*error*, of which holds what holds for every one: plain data for its context, and another process gets it too."""
    seen: BaseException | None = error
    while seen is not None:
        assert not [cls for cls in type(seen).__mro__ if cls.__name__ == "BaseExceptionGroup"]
        seen = seen.__cause__ or seen.__context__
    assert isinstance(error, lms.LMStudioError)
    assert json.loads(json.dumps(dict(error.context))) == dict(error.context)
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), copied.args, vars(copied)) == (type(error), error.args, vars(error))
    return error


# What the server refuses ---------------------------------------------------------------------------------------------


async def test_a_prompt_that_is_too_long_has_the_numbers(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.load_new_instance(MODEL, "short", config={"contextLength": 20})
        with pytest.raises(lms.LMStudioContextOverflowError, match="context of 20") as caught:
            await model.respond("word " * 50, config={"contextOverflowPolicy": "stopAtLimit"})
    error = check(caught.value)
    assert isinstance(error, lms.LMStudioContextOverflowError)
    assert error.context_length == 20
    assert error.prompt_tokens is not None
    assert error.prompt_tokens >= 50
    assert error.suggestion is not None
    assert error.error_type is ErrorType.API_ERROR
    assert error.context == {
        "attempted": "predict with model 'short'",
        "endpoint": "predict",
        "namespace": "llm",
        "model": "short",
        "address": server.api_host,
    }


async def test_a_misspelt_model_comes_with_the_one_that_is_meant(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError) as caught:
            await client.llm.load_new_instance("scripted-caht")
    error = check(caught.value)
    assert isinstance(error, lms.LMStudioModelNotFoundError)
    assert MODEL in error.available
    assert error.near_matches[0] == MODEL
    assert str(error).count("Did you mean") == 1
    assert error.context["code"] == "generic.pathNotFound"
    assert error.context["model"] == "scripted-caht"


# What is lost --------------------------------------------------------------------------------------------------------


async def call(client: lms.AsyncClient) -> object:
    return await client.list_downloaded_models()


async def predict(client: lms.AsyncClient) -> object:
    return await (await client.llm.model(MODEL)).respond("Hi")


async def load(client: lms.AsyncClient) -> object:
    return await client.llm.load_new_instance(MODEL)


async def embed(client: lms.AsyncClient) -> object:
    return await (await client.embedding.model("scripted-embedding")).embed(["a", "b"])


async def upload(client: lms.AsyncClient) -> object:
    return await client.prepare_file(b"text", "a.txt")


async def search(client: lms.AsyncClient) -> object:
    return await client.repository.search_models("tiny")


OPERATIONS = [call, predict, load, embed, upload, search]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_server_that_is_not_there(
    operation: Callable[[lms.AsyncClient], Awaitable[object]], proxy: FaultProxy
) -> None:
    proxy.refuse_connections()
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioWebsocketError) as caught:
            await operation(client)
    error = check(caught.value)
    assert error.error_type is ErrorType.NETWORK_ERROR
    assert error.context.keys() >= {"attempted", "endpoint", "namespace", "address"}
    assert error.context["address"] == proxy.api_host
    assert error.context["url"] == f"ws://{proxy.api_host}/{error.context['namespace']}"


async def test_what_nobody_has_foreseen_is_an_error_of_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FrameTransfer, "run", lambda *_: broken_connection())
    async with lms.AsyncClient(server.api_host, retry=lms.RetryConfig(max_retries=0)) as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="not foreseen") as caught:
            await client.list_downloaded_models()
    assert isinstance(check(caught.value).__cause__, ZeroDivisionError)


@pytest.mark.parametrize("api_host", ["xn--a.com"])
async def test_a_host_name_that_cannot_exist(api_host: str) -> None:
    assert not await lms.AsyncClient.is_valid_api_host(api_host)
    async with lms.AsyncClient(api_host) as client:
        with pytest.raises(lms.LMStudioWebsocketError, match=r"not allowed|Invalid IDNA") as caught:
            await client.list_downloaded_models()
    check(caught.value)


async def test_a_connection_that_is_lost_while_tools_run(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply([ToolCall("sleep_long", {}), ToolCall("sleep_long", {}), ToolCall("sleep_long", {}), gate])
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        model = await client.llm.model(MODEL)
        acting = background.start(lambda: model.act("Go", [sleep_long], max_parallel_tool_calls=3))
        assert await background.wait(gate.reached)
        proxy.reset_connections()
        with pytest.raises(lms.LMStudioWebsocketError) as caught:
            await acting.result()
        gate.open()
    assert check(caught.value).context["endpoint"] == "predict"


async def test_what_a_callback_raises_while_tools_run_arrives_alone(server: Server, engine: ScriptedEngine) -> None:
    def refuse(*_: Any) -> str:
        raise ZeroDivisionError("mine")

    engine.reply = Reply([ToolCall("sleep_long", {}), ToolCall("unknown", {}), ToolCall("sleep_long", {})])
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model(MODEL)
        with pytest.raises(ZeroDivisionError, match="mine"):
            await model.act("Go", [sleep_long], max_parallel_tool_calls=3, handle_invalid_tool_request=refuse)


async def test_a_client_that_is_closed_meanwhile(server: Server, gate: Gate) -> None:
    client = lms.AsyncClient(server.api_host)
    async with AsyncBackground() as background:
        model = await client.llm.model(MODEL)
        answer = background.start(lambda: model.respond("Hi"))
        assert await background.wait(gate.reached)
        await client.aclose()
        with pytest.raises(lms.LMStudioWebsocketError, match="closed") as caught:
            await answer.result()
        gate.open()
    assert check(caught.value).context["model"] == MODEL


async def test_a_signal_that_is_aborted(server: Server) -> None:
    signal = lms.AbortSignal()
    signal.abort()
    async with lms.AsyncClient(server.api_host) as client:
        with pytest.raises(lms.LMStudioCancelledError) as caught:
            await client.llm.load_new_instance(MODEL, signal=signal)
    error = check(caught.value)
    assert error.error_type is ErrorType.CLIENT_ERROR
    assert error.context["model"] == MODEL
    assert error.context["endpoint"] == "loadModel"


async def test_a_prediction_that_fails(server: Server, engine: ScriptedEngine) -> None:
    engine.reply = Reply("one", stop_reason="failed")  # type: ignore[arg-type]  # no engine of ours says so
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model(MODEL)
        with pytest.raises(lms.LMStudioPredictionError) as caught:
            await model.respond("Hi")
    assert check(caught.value).context["attempted"] == f"predict with model {MODEL!r}"
