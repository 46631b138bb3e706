"""Loads that are shared, cancelled, watched, or that find the model loaded otherwise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import lmstudio as lms
from lmstudio.server import Gate
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server
    from surface.fault_proxy import FaultProxy


@pytest.fixture
def load_gate(engine: ScriptedEngine) -> Gate:
    """Where every load of *engine* stops."""
    gate = engine.load_gate = Gate()
    return gate


def opened(proxy: FaultProxy) -> list[dict[str, Any]]:
    return [message["creationParameter"] for message in proxy.messages("channelCreate")]


def cancelled(proxy: FaultProxy) -> int:
    return [message["message"] for message in proxy.messages("channelSend")].count({"type": "cancel"})


# One load for all ----------------------------------------------------------------------------------------------------


async def test_twenty_callers_at_once_send_one_request(
    proxy: FaultProxy, engine: ScriptedEngine, load_gate: Gate
) -> None:
    seen: list[list[float]] = [[] for _ in range(20)]
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        calls = [
            background.start(lambda values=values: client.llm.model("scripted-chat", on_load_progress=values.append))  # type: ignore[misc]  # mypy cannot infer this lambda
            for values in seen
        ]
        await background.until(lambda: all(seen))
        load_gate.open()
        models = [await call.result() for call in calls]
    assert len(set(models)) == len(opened(proxy)) == len(engine.loads) == 1
    assert seen == [[0.0, 0.25, 0.5, 0.75, 1.0]] * 20


async def test_another_configuration_is_another_request(proxy: FaultProxy, load_gate: Gate) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        calls = [
            background.start(lambda: client.llm.model("scripted-chat")),
            background.start(lambda: client.llm.model("scripted-chat", ttl=5)),
            background.start(lambda: client.llm.model("scripted-chat", config={"seed": 1})),
        ]
        await background.until(lambda: len(opened(proxy)) == 3)
        load_gate.open()
        for call in calls:
            await call.result()


async def test_caller_who_leaves_does_not_end_the_load_of_the_others(proxy: FaultProxy, load_gate: Gate) -> None:
    seen: list[float] = []
    more: list[float] = []
    signal = lms.AbortSignal()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        leaving = background.start(
            lambda: client.llm.model("scripted-chat", signal=signal, on_load_progress=seen.append)
        )
        staying = background.start(lambda: client.llm.model("scripted-chat", on_load_progress=more.append))
        await background.until(lambda: bool(seen) and bool(more))
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            await leaving.result()
        load_gate.open()
        assert (await staying.result()).identifier == "scripted-chat"
    assert (cancelled(proxy), len(opened(proxy))) == (0, 1)
    assert more == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_last_caller_who_leaves_ends_the_load(proxy: FaultProxy, engine: ScriptedEngine, load_gate: Gate) -> None:
    seen: list[float] = []
    signals = [lms.AbortSignal(), lms.AbortSignal()]
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        calls = [
            background.start(
                lambda signal=signal: client.llm.model("scripted-chat", signal=signal, on_load_progress=seen.append)  # type: ignore[misc]  # as above
            )
            for signal in signals
        ]
        await background.until(lambda: seen.count(0.0) == 2)
        for signal, call in zip(signals, calls, strict=True):
            signal.abort("no time")
            with pytest.raises(lms.LMStudioCancelledError, match="load model 'scripted-chat': Aborted: no time"):
                await call.result()
        await background.until(lambda: cancelled(proxy) == 1)
        load_gate.open()
        assert (await client.llm.model("scripted-chat")).identifier == "scripted-chat"


async def test_cancelled_task_leaves_the_load_to_others(proxy: FaultProxy, load_gate: Gate) -> None:  # sync: skip
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        seen: list[float] = []
        leaving, staying = [
            background.start(lambda: client.llm.model("scripted-chat", on_load_progress=seen.append)) for _ in range(2)
        ]
        await background.until(lambda: seen.count(0.0) == 2)
        await leaving.cancelled()
        load_gate.open()
        assert (await staying.result()).identifier == "scripted-chat"
    assert cancelled(proxy) == 0


async def test_model_that_was_unloaded_is_loaded_again_and_not_remembered(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        references = set()
        for _ in range(3):
            model = await client.llm.model("scripted-chat")
            references.add(model.instance_reference)
            await model.unload()
    assert len(references) == 3


# Cancelling and watching ---------------------------------------------------------------------------------------------


async def test_signal_cancels_a_new_instance(proxy: FaultProxy, load_gate: Gate) -> None:
    signal = lms.AbortSignal()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        call = background.start(lambda: client.llm.load_new_instance("scripted-chat", signal=signal))
        assert await background.wait(load_gate.reached)
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError, match="Could not load model 'scripted-chat': Aborted"):
            await call.result()
        await background.until(lambda: cancelled(proxy) == 1)
        assert await client.llm.list_loaded() == []
        load_gate.open()


async def test_signal_that_is_aborted_already_sends_nothing(proxy: FaultProxy) -> None:
    signal = lms.AbortSignal()
    signal.abort()
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioCancelledError):
            await client.llm.model("scripted-chat", signal=signal)
        with pytest.raises(lms.LMStudioCancelledError):
            await client.llm.load_new_instance("scripted-chat", signal=signal)
    assert proxy.accepted == []


async def test_progress_callback_may_be_a_coroutine_function(server: Server) -> None:  # sync: skip
    seen: list[float] = []

    async def on_load_progress(value: float) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(value)

    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.model("scripted-chat", on_load_progress=on_load_progress)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_progress_is_logged_on_demand(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.models")
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.load_new_instance("scripted-chat")
        assert [record for record in caplog.records if record.name == "lmstudio.models"] == []
        await client.llm.load_new_instance("scripted-chat", verbose=True)
    lines = [record.getMessage() for record in caplog.records if record.name == "lmstudio.models"]
    assert (lines[0], lines[-1]) == ("Loading scripted-chat: 0 %", "Loading scripted-chat: 100 %")


# The device ----------------------------------------------------------------------------------------------------------


async def test_device_is_sent_as_it_is_given(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        await client.llm.model("scripted-chat")
        await client.llm.load_new_instance("scripted-chat", "mine", device_identifier=None)
        with pytest.raises(lms.LMStudioServerError, match="far-away"):
            await client.llm.model("scripted-chat", device_identifier="far-away")
        with pytest.raises(lms.LMStudioServerError, match="far-away"):
            await client.llm.unload("mine", device_identifier="far-away")
        await client.llm.unload("mine", device_identifier=None)
        with pytest.raises(lms.LMStudioValueError, match="device identifier"):
            await client.llm.model("scripted-chat", device_identifier="")
    devices = [parameter.get("deviceIdentifier", "absent") for parameter in opened(proxy)]
    assert devices == ["absent", None, "far-away"]
    unloads = [message["parameter"] for message in proxy.messages("rpcCall")]
    assert unloads == [
        {"identifier": "mine", "deviceIdentifier": "far-away"},
        {"identifier": "mine", "deviceIdentifier": None},
    ]


async def test_handle_is_unloaded_by_itself(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        model = await client.llm.load_new_instance("scripted-chat", "mine")
        await client.llm.unload(model)
        assert await client.llm.list_loaded() == []


# Another configuration -----------------------------------------------------------------------------------------------


async def test_configuration_of_a_loaded_model_is_used_unless_told_otherwise(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        await client.llm.model("scripted-chat", config={"contextLength": 99, "seed": 7})
        assert (await client.llm.model("scripted-chat", config={"contextLength": 98})).context_length == 99
        with pytest.raises(lms.LMStudioRuntimeError, match="contextLength is 99 instead of 98, seed is 7 instead of 8"):
            await client.llm.model("scripted-chat", config={"contextLength": 98, "seed": 8}, on_mismatch="error")
        same = await client.llm.model("scripted-chat", config={"contextLength": 99}, on_mismatch="error")
        assert same.context_length == 99
        assert await client.llm.model("scripted-chat", on_mismatch="error") == same


async def test_model_with_another_configuration_is_loaded_again_on_demand(
    server: Server, engine: ScriptedEngine
) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        first = await client.llm.model("scripted-chat", config={"contextLength": 99})
        second = await client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
        again = await client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
        assert await client.llm.list_loaded() == [again]
    assert (first.context_length, second.context_length) == (99, 98)
    assert second.instance_reference == again.instance_reference != first.instance_reference
    assert len(engine.loads) == 2


async def test_callers_who_reload_together_end_with_one_instance(server: Server, engine: ScriptedEngine) -> None:
    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        await client.llm.model("scripted-chat", config={"contextLength": 99})
        calls = [
            background.start(
                lambda: client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
            )
            for _ in range(20)
        ]
        models = [await call.result() for call in calls]
        assert await client.llm.list_loaded() == [models[0]]
        assert await models[0].get_context_length() == 98
    assert {model.context_length for model in models} == {98}


async def test_setting_that_the_server_does_not_know_is_not_loaded_again_and_again(
    server: Server, engine: ScriptedEngine
) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        for _ in range(3):
            await client.llm.model("scripted-chat", config={"contextCheckpoints": 5}, on_mismatch="reload")
    assert len(engine.loads) == 1


async def test_mismatch_needs_a_model_to_compare_with(proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError, match="give its key"):
            await client.llm.model(on_mismatch="error")
        with pytest.raises(lms.LMStudioValueError, match="on_mismatch must be"):
            await client.llm.model("scripted-chat", on_mismatch="ignore")  # type: ignore[arg-type]  # the mistake
    assert proxy.accepted == []
