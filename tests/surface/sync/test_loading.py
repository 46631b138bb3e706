# Generated from ../async/test_loading.py by tools/make_sync.py. Edit that file instead.
"""Loads that are shared, cancelled, watched, or that find the model loaded otherwise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import Gate
from surface.background import Background

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


def test_twenty_callers_at_once_send_one_request(proxy: FaultProxy, engine: ScriptedEngine, load_gate: Gate) -> None:
    seen: list[list[float]] = [[] for _ in range(20)]
    with lms.Client(proxy.api_host) as client, Background() as background:
        calls = [
            background.start(lambda values=values: client.llm.model("scripted-chat", on_load_progress=values.append))  # type: ignore[misc]  # mypy cannot infer this lambda
            for values in seen
        ]
        background.until(lambda: all(seen))
        load_gate.open()
        models = [call.result() for call in calls]
    assert len(set(models)) == len(opened(proxy)) == len(engine.loads) == 1
    assert seen == [[0.0, 0.25, 0.5, 0.75, 1.0]] * 20


def test_another_configuration_is_another_request(proxy: FaultProxy, load_gate: Gate) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        calls = [
            background.start(lambda: client.llm.model("scripted-chat")),
            background.start(lambda: client.llm.model("scripted-chat", ttl=5)),
            background.start(lambda: client.llm.model("scripted-chat", config={"seed": 1})),
        ]
        background.until(lambda: len(opened(proxy)) == 3)
        load_gate.open()
        for call in calls:
            call.result()


def test_caller_who_leaves_does_not_end_the_load_of_the_others(proxy: FaultProxy, load_gate: Gate) -> None:
    seen: list[float] = []
    more: list[float] = []
    signal = lms.AbortSignal()
    with lms.Client(proxy.api_host) as client, Background() as background:
        leaving = background.start(
            lambda: client.llm.model("scripted-chat", signal=signal, on_load_progress=seen.append)
        )
        staying = background.start(lambda: client.llm.model("scripted-chat", on_load_progress=more.append))
        background.until(lambda: bool(seen) and bool(more))
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            leaving.result()
        load_gate.open()
        assert (staying.result()).identifier == "scripted-chat"
    assert (cancelled(proxy), len(opened(proxy))) == (0, 1)
    assert more == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_last_caller_who_leaves_ends_the_load(proxy: FaultProxy, engine: ScriptedEngine, load_gate: Gate) -> None:
    seen: list[float] = []
    signals = [lms.AbortSignal(), lms.AbortSignal()]
    with lms.Client(proxy.api_host) as client, Background() as background:
        calls = [
            background.start(
                lambda signal=signal: client.llm.model("scripted-chat", signal=signal, on_load_progress=seen.append)  # type: ignore[misc]  # as above
            )
            for signal in signals
        ]
        background.until(lambda: seen.count(0.0) == 2)
        for signal, call in zip(signals, calls, strict=True):
            signal.abort("no time")
            with pytest.raises(lms.LMStudioCancelledError, match="load model 'scripted-chat': Aborted: no time"):
                call.result()
        background.until(lambda: cancelled(proxy) == 1)
        load_gate.open()
        assert (client.llm.model("scripted-chat")).identifier == "scripted-chat"


def test_model_that_was_unloaded_is_loaded_again_and_not_remembered(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        references = set()
        for _ in range(3):
            model = client.llm.model("scripted-chat")
            references.add(model.instance_reference)
            model.unload()
    assert len(references) == 3


# Cancelling and watching ---------------------------------------------------------------------------------------------


def test_signal_cancels_a_new_instance(proxy: FaultProxy, load_gate: Gate) -> None:
    signal = lms.AbortSignal()
    with lms.Client(proxy.api_host) as client, Background() as background:
        call = background.start(lambda: client.llm.load_new_instance("scripted-chat", signal=signal))
        assert background.wait(load_gate.reached)
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError, match="Could not load model 'scripted-chat': Aborted"):
            call.result()
        background.until(lambda: cancelled(proxy) == 1)
        assert client.llm.list_loaded() == []
        load_gate.open()


def test_signal_that_is_aborted_already_sends_nothing(proxy: FaultProxy) -> None:
    signal = lms.AbortSignal()
    signal.abort()
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioCancelledError):
            client.llm.model("scripted-chat", signal=signal)
        with pytest.raises(lms.LMStudioCancelledError):
            client.llm.load_new_instance("scripted-chat", signal=signal)
    assert proxy.accepted == []


def test_progress_is_logged_on_demand(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.models")
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat")
        assert [record for record in caplog.records if record.name == "lmstudio.models"] == []
        client.llm.load_new_instance("scripted-chat", verbose=True)
    lines = [record.getMessage() for record in caplog.records if record.name == "lmstudio.models"]
    assert (lines[0], lines[-1]) == ("Loading scripted-chat: 0 %", "Loading scripted-chat: 100 %")


# The device ----------------------------------------------------------------------------------------------------------


def test_device_is_sent_as_it_is_given(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        client.llm.model("scripted-chat")
        client.llm.load_new_instance("scripted-chat", "mine", device_identifier=None)
        with pytest.raises(lms.LMStudioServerError, match="far-away"):
            client.llm.model("scripted-chat", device_identifier="far-away")
        with pytest.raises(lms.LMStudioServerError, match="far-away"):
            client.llm.unload("mine", device_identifier="far-away")
        client.llm.unload("mine", device_identifier=None)
        with pytest.raises(lms.LMStudioValueError, match="device identifier"):
            client.llm.model("scripted-chat", device_identifier="")
    devices = [parameter.get("deviceIdentifier", "absent") for parameter in opened(proxy)]
    assert devices == ["absent", None, "far-away"]
    unloads = [message["parameter"] for message in proxy.messages("rpcCall")]
    assert unloads == [
        {"identifier": "mine", "deviceIdentifier": "far-away"},
        {"identifier": "mine", "deviceIdentifier": None},
    ]


def test_handle_is_unloaded_by_itself(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", "mine")
        client.llm.unload(model)
        assert client.llm.list_loaded() == []


# Another configuration -----------------------------------------------------------------------------------------------


def test_configuration_of_a_loaded_model_is_used_unless_told_otherwise(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.model("scripted-chat", config={"contextLength": 99, "seed": 7})
        assert (client.llm.model("scripted-chat", config={"contextLength": 98})).context_length == 99
        with pytest.raises(lms.LMStudioRuntimeError, match="contextLength is 99 instead of 98, seed is 7 instead of 8"):
            client.llm.model("scripted-chat", config={"contextLength": 98, "seed": 8}, on_mismatch="error")
        same = client.llm.model("scripted-chat", config={"contextLength": 99}, on_mismatch="error")
        assert same.context_length == 99
        assert client.llm.model("scripted-chat", on_mismatch="error") == same


def test_model_with_another_configuration_is_loaded_again_on_demand(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        first = client.llm.model("scripted-chat", config={"contextLength": 99})
        second = client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
        again = client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
        assert client.llm.list_loaded() == [again]
    assert (first.context_length, second.context_length) == (99, 98)
    assert second.instance_reference == again.instance_reference != first.instance_reference
    assert len(engine.loads) == 2


def test_callers_who_reload_together_end_with_one_instance(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        client.llm.model("scripted-chat", config={"contextLength": 99})
        calls = [
            background.start(
                lambda: client.llm.model("scripted-chat", config={"contextLength": 98}, on_mismatch="reload")
            )
            for _ in range(20)
        ]
        models = [call.result() for call in calls]
        assert client.llm.list_loaded() == [models[0]]
        assert models[0].get_context_length() == 98
    assert {model.context_length for model in models} == {98}


def test_setting_that_the_server_does_not_know_is_not_loaded_again_and_again(
    server: Server, engine: ScriptedEngine
) -> None:
    with lms.Client(server.api_host) as client:
        for _ in range(3):
            client.llm.model("scripted-chat", config={"contextCheckpoints": 5}, on_mismatch="reload")
    assert len(engine.loads) == 1


def test_mismatch_needs_a_model_to_compare_with(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError, match="give its key"):
            client.llm.model(on_mismatch="error")
        with pytest.raises(lms.LMStudioValueError, match="on_mismatch must be"):
            client.llm.model("scripted-chat", on_mismatch="ignore")  # type: ignore[arg-type]  # the mistake
    assert proxy.accepted == []
