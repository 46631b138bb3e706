"""Loading models, with a scripted server."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from recorded_packets import EMBEDDING_INSTANCE, GET_OR_LOAD, LLM_INSTANCE, LOAD_MODEL
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, result, rpc_error, run, void

from lmstudio._abort import AbortSignal
from lmstudio._endpoints.embedding import MODELS as EMBEDDING_MODELS
from lmstudio._endpoints.llm import MODELS
from lmstudio._kv_config import llm_load_config_to_kv, override_stack
from lmstudio._ops import loading as load_ops
from lmstudio._ops.load_differences import load_differences
from lmstudio._ops.loading import LoadRequest, LoadWatch, get_or_load, load_model
from lmstudio._sdk_models import EmbeddingModelInstanceInfo, KvConfig, LlmInstanceInfo
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioModelNotFoundError,
    LMStudioRuntimeError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioUnknownMessageWarning,
    LMStudioValueError,
    LMStudioWebsocketError,
)

CONFIG = override_stack(llm_load_config_to_kv({"contextLength": 100}))
REQUEST = LoadRequest("qwen2.5-0.5b-instruct", CONFIG, 3600, "qwen")
NOTHING = override_stack(llm_load_config_to_kv(None))

LOADS = [(get_or_load, GET_OR_LOAD), (load_model, LOAD_MODEL)]
CANCEL = {"type": "cancel"}


def loading(*values: float) -> list[dict[str, Any]]:
    progress = [{"type": "loadProgress", "progress": value} for value in values]
    packets = [{"type": "startLoading", "identifier": "qwen", "info": LLM_INSTANCE}, *progress]
    return [packet(item) for item in packets]


LOADED = packet({"type": "loadSuccess", "info": LLM_INSTANCE})


def load_with(*steps: Any, on_progress: Any = None) -> tuple[ScriptedRuntime, LlmInstanceInfo]:
    runtime = ScriptedRuntime(*steps)
    return runtime, run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(on_progress)))


# What is sent --------------------------------------------------------------------------------------------------------

LAYERS = {
    "layers": [
        {
            "layerName": "apiOverride",
            "config": {
                "fields": [
                    {"key": "llm.load.contextLength", "value": 100},
                    {"key": "llm.load.llama.autoFit", "value": False},
                    {"key": "llm.load.mlx.autoFit", "value": False},
                    {"key": "llm.load.yuzu.autoFit", "value": False},
                ]
            },
        }
    ]
}


def test_get_or_load_sends_the_key_the_lifetime_and_one_layer() -> None:
    runtime, _ = load_with(LOADED)
    assert runtime.sent[0] == {
        "type": "channelCreate",
        "endpoint": "getOrLoad",
        "channelId": 1,
        "creationParameter": {
            "identifier": "qwen2.5-0.5b-instruct",
            "loadTtlMs": 3600000,
            "loadConfigStack": LAYERS,
        },
    }


def test_load_model_sends_the_identifier_of_the_new_instance() -> None:
    runtime = ScriptedRuntime(*map(packet, LOAD_MODEL))
    run(load_model(runtime.llm(), MODELS, REQUEST))
    assert runtime.sent[0]["endpoint"] == "loadModel"
    assert runtime.sent[0]["creationParameter"] == {
        "modelKey": "qwen2.5-0.5b-instruct",
        "identifier": "qwen",
        "ttlMs": 3600000,
        "loadConfigStack": LAYERS,
    }


@pytest.mark.parametrize(("operation", "packets"), LOADS)
def test_a_load_without_options_sends_an_empty_layer_and_no_lifetime(operation: Any, packets: Any) -> None:
    runtime = ScriptedRuntime(*map(packet, packets))
    run(operation(runtime.llm(), MODELS, LoadRequest("key", NOTHING)))
    parameter = runtime.sent[0]["creationParameter"]
    assert parameter.pop("loadConfigStack") == {"layers": [{"layerName": "apiOverride", "config": {"fields": []}}]}
    assert list(parameter.values()) == ["key"]


@pytest.mark.parametrize(("device", "sent"), [(None, None), ("other-device", "other-device")])
def test_a_device_may_be_named_or_be_the_local_one(device: str | None, sent: str | None) -> None:
    runtime = ScriptedRuntime(LOADED)
    run(get_or_load(runtime.llm(), MODELS, LoadRequest("key", NOTHING, device_identifier=device)))
    assert runtime.sent[0]["creationParameter"]["deviceIdentifier"] == sent


# A load that succeeds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "packets"), LOADS)
def test_a_load_returns_the_instance_and_forgets_the_channel(operation: Any, packets: Any) -> None:
    runtime = ScriptedRuntime(*map(packet, packets))
    info = run(operation(runtime.llm(), MODELS, REQUEST))
    assert info == LlmInstanceInfo.from_dict(LLM_INSTANCE)
    assert runtime.multiplexers[0].is_idle
    assert runtime.sent_packets() == []
    runtime.arrive(close())


def test_a_model_that_is_loaded_already_reports_no_progress() -> None:
    progress: list[float] = []
    _, info = load_with(packet({"type": "alreadyLoaded", "info": LLM_INSTANCE}), on_progress=progress.append)
    assert info.identifier == "qwen"
    assert progress == []


def test_embedding_models_are_loaded_the_same_way() -> None:
    runtime = ScriptedRuntime(packet({"type": "loadSuccess", "info": EMBEDDING_INSTANCE}))
    info = run(get_or_load(runtime.port("embedding"), EMBEDDING_MODELS, REQUEST))
    assert isinstance(info, EmbeddingModelInstanceInfo)


@pytest.mark.parametrize(
    ("sent", "reported"),
    [
        ([0.25, 0.5], [0.0, 0.25, 0.5, 1.0]),
        ([], [0.0, 1.0]),
        ([0.0, 0.0, 1.0, 1.0], [0.0, 1.0]),
        ([0.5, 0.25, 0.5, 0.75], [0.0, 0.5, 0.75, 1.0]),
        ([-1, 2], [0.0, 1.0]),
    ],
)
def test_load_progress_starts_at_0_never_falls_and_ends_at_1(sent: list[float], reported: list[float]) -> None:
    progress: list[float] = []
    load_with(*loading(*sent), LOADED, on_progress=progress.append)
    assert progress == reported


def test_load_progress_starts_at_0_even_if_the_server_does_not() -> None:
    progress: list[float] = []
    load_with(packet({"type": "loadProgress", "progress": 0.5}), LOADED, on_progress=progress.append)
    assert progress == [0.0, 0.5, 1.0]


def test_load_model_reports_progress_too() -> None:
    progress: list[float] = []
    runtime = ScriptedRuntime(*map(packet, LOAD_MODEL))
    run(load_model(runtime.llm(), MODELS, REQUEST, LoadWatch(progress.append)))
    assert progress == [0.0, 0.4, 1.0]


def test_an_ambiguous_key_is_logged_with_its_candidates(caplog: pytest.LogCaptureFixture) -> None:
    runtime = ScriptedRuntime(*map(packet, LOAD_MODEL))
    run(load_model(runtime.llm(), MODELS, REQUEST))
    assert "is ambiguous (qwen2.5-0.5b-instruct, qwen2.5-0.5b)" in caplog.text


def test_a_model_that_has_to_go_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    load_with(*map(packet, GET_OR_LOAD))
    assert "Unloading qwen to make room" in caplog.text


def test_a_packet_of_a_new_kind_does_not_stop_a_load() -> None:
    with pytest.warns(LMStudioUnknownMessageWarning):
        _, info = load_with(packet({"type": "waitingForDisk", "seconds": 3}), LOADED)
    assert info.identifier == "qwen"


# A load that ends early ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "packets"), LOADS)
@pytest.mark.parametrize(
    "interrupt", [LMStudioTimeoutError("No message."), KeyboardInterrupt(), GeneratorExit(), RuntimeError("cancelled")]
)
def test_an_interrupted_load_is_cancelled_once(operation: Any, packets: Any, interrupt: BaseException) -> None:
    runtime = ScriptedRuntime(packet(packets[0]), interrupt)
    with pytest.raises(type(interrupt)):
        run(operation(runtime.llm(), MODELS, REQUEST))
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


@pytest.mark.parametrize(("operation", "packets"), LOADS)
def test_a_load_that_is_interrupted_while_it_is_sent_is_cancelled(operation: Any, packets: Any) -> None:
    runtime = ScriptedRuntime(*map(packet, packets))
    runtime.interrupt_next_post = True
    with pytest.raises(KeyboardInterrupt):
        run(operation(runtime.llm(), MODELS, REQUEST))
    assert runtime.sent_packets() == [CANCEL]


def test_a_load_that_is_interrupted_before_it_was_sent_is_cancelled_too() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    runtime.hold_posts = True
    with pytest.raises(KeyboardInterrupt):
        run(get_or_load(runtime.llm(), MODELS, REQUEST))
    runtime.run_posts()
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_an_exception_of_the_progress_callback_cancels_the_load(at: float) -> None:
    def on_progress(value: float) -> None:
        if value == at:
            raise ZeroDivisionError

    runtime = ScriptedRuntime(*loading(0.5), LOADED)
    with pytest.raises(ZeroDivisionError):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(on_progress)))
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


def test_an_exception_of_the_callback_after_the_load_cancels_nothing() -> None:
    def on_progress(value: float) -> None:
        if value == 1.0:
            raise ZeroDivisionError

    runtime = ScriptedRuntime(LOADED)
    with pytest.raises(ZeroDivisionError):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(on_progress)))
    assert runtime.sent_packets() == []


def test_late_packets_of_a_cancelled_load_are_ignored() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(get_or_load(runtime.llm(), MODELS, REQUEST))
    runtime.arrive(*loading(0.9), LOADED, close())


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (channel_error({"title": "Out of memory"}), LMStudioServerError),
        (close(), LMStudioChannelClosedError),
        (lambda: None, None),
    ],
)
def test_a_load_that_failed_is_not_cancelled(end: Any, error: Any) -> None:
    runtime = ScriptedRuntime(end)
    if error is None:
        runtime.steps[0] = lambda: runtime.multiplexers[0].fail(LMStudioWebsocketError("lost"))
    with pytest.raises(error or LMStudioWebsocketError):
        run(get_or_load(runtime.llm(), MODELS, REQUEST))
    assert runtime.sent_packets() == []


@pytest.mark.parametrize(("operation", "verb"), [(get_or_load, "get or load"), (load_model, "load")])
def test_a_failed_load_names_the_model_and_the_reason(operation: Any, verb: str) -> None:
    display = {
        "code": "generic.pathNotFound",
        "path": "qwen2.5-0.5b-instruct",
        "availablePathsSample": ["a/b", "c/d"],
        "totalModels": 5,
    }
    runtime = ScriptedRuntime(channel_error({"title": "Model not found", "displayData": display}))
    with pytest.raises(LMStudioModelNotFoundError) as caught:
        run(operation(runtime.llm(), MODELS, REQUEST))
    assert str(caught.value) == (
        f"Could not {verb} model 'qwen2.5-0.5b-instruct': Model not found\nDownloaded models: a/b, c/d and 3 more."
    )


def test_an_instance_without_an_identifier_is_an_error() -> None:
    with pytest.raises(LMStudioServerError, match="did not say under which identifier"):
        load_with(packet({"type": "loadSuccess"}))


# What a request may be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "milliseconds"), [(None, None), (1, 1000), (0.001, 1), (3600, 3_600_000), (2.5, 2500), (1e9, 10**12)]
)
def test_the_lifetime_is_sent_in_milliseconds(ttl: float | None, milliseconds: int | None) -> None:
    assert LoadRequest("key", NOTHING, ttl).check().ttl_ms == milliseconds


@pytest.mark.parametrize("ttl", [0, -1, 0.0004, math.inf, math.nan, "3600", True, [1]])
def test_a_lifetime_that_cannot_be_is_refused(ttl: Any) -> None:
    with pytest.raises(LMStudioValueError, match="ttl must be"):
        LoadRequest("key", NOTHING, ttl).check()


@pytest.mark.parametrize("device", ["", 5])
def test_a_device_without_a_name_is_refused(device: Any) -> None:
    with pytest.raises(LMStudioValueError, match="device identifier"):
        LoadRequest("key", NOTHING, device_identifier=device).check()


# Cancelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "packets"), LOADS)
def test_a_signal_cancels_a_load_at_once(operation: Any, packets: Any) -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(packet(packets[0]), lambda: signal.abort("no time"))
    with pytest.raises(LMStudioCancelledError, match=r"load model 'qwen2.5-0.5b-instruct': Aborted: no time"):
        run(operation(runtime.llm(), MODELS, REQUEST, LoadWatch(signal=signal)))
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


@pytest.mark.parametrize(("operation", "packets"), LOADS)
def test_a_load_whose_signal_is_aborted_already_is_not_sent(operation: Any, packets: Any) -> None:
    signal = AbortSignal()
    signal.abort()
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioCancelledError, match="Aborted"):
        run(operation(runtime.llm(), MODELS, REQUEST, LoadWatch(signal=signal)))
    assert runtime.sent == []


def test_a_signal_that_is_aborted_after_the_load_changes_nothing() -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(LOADED)
    run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(signal=signal)))
    signal.abort()
    assert runtime.sent_packets() == []


# Callbacks and log ---------------------------------------------------------------------------------------------------


def test_a_callback_that_nothing_can_await_is_refused_before_anything_is_sent() -> None:
    async def on_progress(_: float) -> None:
        raise AssertionError

    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match="on_load_progress is a coroutine function"):
        run(load_model(runtime.llm(), MODELS, REQUEST, LoadWatch(on_progress)))
    assert runtime.sent == []


@pytest.mark.parametrize("callback", [5, "print", object()])
def test_a_callback_that_cannot_be_called_is_refused_before_anything_is_sent(callback: Any) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match="on_load_progress must be a function"):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(callback)))
    assert runtime.sent == []


@pytest.mark.parametrize(
    ("verbose", "level"), [(True, logging.INFO), ("debug", logging.DEBUG), ("warn", logging.WARNING)]
)
def test_progress_is_logged_twice_a_second_and_at_the_end(
    verbose: Any, level: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([10.0, 10.4, 10.6, 10.7, 10.8])
    monkeypatch.setattr(load_ops, "monotonic", lambda: next(times))
    caplog.set_level(logging.DEBUG, "lmstudio.models")
    runtime = ScriptedRuntime(*loading(0.25, 0.5, 0.75), LOADED)
    run(get_or_load(runtime.llm(), MODELS, REQUEST, LoadWatch(verbose=verbose)))
    lines = [(record.levelno, record.getMessage().rpartition(": ")[2]) for record in caplog.records]
    assert lines == [(level, "0 %"), (level, "50 %"), (level, "100 %")]


@pytest.mark.parametrize("watch", [LoadWatch(), LoadWatch(lambda _: None, verbose=True)])
def test_progress_is_not_logged_unasked_nor_besides_a_callback(
    watch: LoadWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "lmstudio.models")
    runtime = ScriptedRuntime(*loading(0.5), LOADED)
    run(get_or_load(runtime.llm(), MODELS, REQUEST, watch))
    assert caplog.records == []


@pytest.mark.parametrize("verbose", ["loud", None, 5])
def test_a_log_level_that_does_not_exist_is_refused(verbose: Any) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match="verbose must be True, False or one of debug, info"):
        run(load_model(runtime.llm(), MODELS, REQUEST, LoadWatch(verbose=verbose)))
    assert runtime.sent == []


# Another configuration -----------------------------------------------------------------------------------------------

FOUND = packet({"type": "alreadyLoaded", "info": LLM_INSTANCE})
OTHER = {"fields": [{"key": "llm.load.contextLength", "value": 2048}]}
SAME = {"fields": [{"key": "llm.load.contextLength", "value": 100}]}


def endpoints(runtime: ScriptedRuntime) -> list[str]:
    return [message["endpoint"] for message in runtime.sent if "endpoint" in message]


@pytest.mark.parametrize("on_mismatch", ["error", "reload"])
def test_a_model_with_the_wanted_configuration_is_used(on_mismatch: Any) -> None:
    runtime = ScriptedRuntime(FOUND, result(SAME, 2))
    info = run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch=on_mismatch))
    assert info.identifier == "qwen"
    assert endpoints(runtime) == ["getOrLoad", "getLoadConfig"]
    reference = {"type": "instanceReference", "instanceReference": "ref-1"}
    assert runtime.sent[1]["parameter"] == {"specifier": reference}


@pytest.mark.parametrize("request_", [REQUEST, LoadRequest("qwen", NOTHING)])
def test_nothing_is_compared_unless_there_is_something_and_somebody_asks(request_: LoadRequest) -> None:
    runtime = ScriptedRuntime(FOUND)
    mode: Any = "use" if request_ is REQUEST else "error"
    run(get_or_load(runtime.llm(), MODELS, request_, on_mismatch=mode))
    assert endpoints(runtime) == ["getOrLoad"]


def test_another_configuration_is_an_error_that_names_the_difference() -> None:
    runtime = ScriptedRuntime(FOUND, result(OTHER, 2))
    with pytest.raises(
        LMStudioRuntimeError, match=r"is loaded as 'qwen' with .*: contextLength is 2048 instead of 100"
    ):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch="error"))


def test_a_model_with_another_configuration_is_loaded_again() -> None:
    again = {**LLM_INSTANCE, "instanceReference": "ref-9"}
    runtime = ScriptedRuntime(
        FOUND,
        result(OTHER, 2),
        result(LLM_INSTANCE, 3),
        void(4),
        packet({"type": "loadSuccess", "info": again}, 5),
        result(SAME, 6),
    )
    assert run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch="reload")).instance_reference == "ref-9"
    assert endpoints(runtime) == [
        "getOrLoad",
        "getLoadConfig",
        "getModelInfo",
        "unloadModel",
        "getOrLoad",
        "getLoadConfig",
    ]
    assert runtime.sent[3]["parameter"] == {"identifier": "qwen", "deviceIdentifier": None}


def test_an_instance_that_somebody_else_unloaded_meanwhile_is_not_unloaded_again() -> None:
    gone = {"title": "Gone", "displayData": {"code": "generic.specificModelUnloaded"}}
    runtime = ScriptedRuntime(
        FOUND,
        result(OTHER, 2),
        rpc_error(gone, 3),
        packet({"type": "loadSuccess", "info": LLM_INSTANCE}, 4),
        result(SAME, 5),
    )
    run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch="reload"))
    assert "unloadModel" not in endpoints(runtime)


def test_what_the_server_makes_of_a_configuration_is_not_loaded_again_and_again() -> None:
    runtime = ScriptedRuntime(LOADED, result(OTHER, 2), packet({"type": "alreadyLoaded", "info": LLM_INSTANCE}, 3))
    runtime.script(result(OTHER, 4))
    for _ in range(2):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch="reload"))
    assert endpoints(runtime) == ["getOrLoad", "getLoadConfig"] * 2


@pytest.mark.parametrize("on_mismatch", ["reuse", None, True])
def test_an_unknown_way_to_treat_another_configuration_is_refused(on_mismatch: Any) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match="on_mismatch must be 'use', 'error' or 'reload'"):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, on_mismatch=on_mismatch))
    assert runtime.sent == []


def differences(wanted: dict[str, Any], **loaded: Any) -> list[str]:
    fields = [{"key": key.replace("__", "."), "value": value} for key, value in loaded.items()]
    stack = override_stack(llm_load_config_to_kv(wanted))
    return load_differences(stack, KvConfig.from_dict({"fields": fields}))


@pytest.mark.parametrize(
    ("wanted", "loaded", "expected"),
    [
        ({}, {"llm__load__contextLength": 5}, []),
        ({"contextLength": 5}, {"llm__load__contextLength": 5.0}, []),
        ({"contextLength": 5}, {"llm__load__contextLength": 6}, ["contextLength is 6 instead of 5"]),
        ({"contextLength": 2048}, {}, []),  # not reported: the default
        ({"contextLength": 2048}, {"llm__load__llama__autoFit": True}, ["autoFit is True instead of False"]),
        ({"seed": 7}, {}, ["seed is off instead of 7"]),
        ({"seed": 7}, {"llm__load__seed": {"checked": True, "value": 7}}, []),
        ({"seed": 7}, {"llm__load__seed": {"checked": True, "value": 8}}, ["seed is 8 instead of 7"]),
        ({"seed": False}, {}, []),
        ({"seed": False}, {"llm__load__seed": {"checked": False, "value": 9}}, []),
        ({"seed": False}, {"llm__load__seed": {"checked": True, "value": 9}}, ["seed is 9 instead of off"]),
        ({"flashAttention": False}, {}, []),
        ({"flashAttention": True}, {}, ["flashAttention is False instead of True"]),
        ({"tryMmap": True}, {}, []),
        ({"mlxDiskCache": False}, {}, []),  # of another engine
        ({"mlxKvCacheQuantization": False}, {"llm__load__mlx__kvCacheQuantization": {"enabled": False, "bits": 4}}, []),
        ({"gpu": {"ratio": 1}}, {"llm__load__llama__acceleration__offloadRatio": "max"}, []),
        ({"gpu": {"ratio": "off"}}, {}, ["offloadRatio is 'max' instead of 'off'"]),
    ],
)
def test_configurations_are_compared_by_what_they_mean(
    wanted: dict[str, Any], loaded: dict[str, Any], expected: list[str]
) -> None:
    assert differences(wanted, **loaded) == expected
