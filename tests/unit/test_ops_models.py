"""Find, load, describe and unload, with a scripted server."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from recorded_packets import EMBEDDING_INSTANCE, GET_OR_LOAD, LLM_INSTANCE, LOAD_MODEL
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, result, rpc_error, run, void

from lmstudio._endpoints.embedding import MODELS as EMBEDDING_MODELS
from lmstudio._endpoints.llm import MODELS
from lmstudio._kv_config import llm_load_config_to_kv, override_stack
from lmstudio._ops.models import (
    LoadRequest,
    check_key,
    describe,
    get_any,
    get_info,
    get_load_config,
    get_or_load,
    identifier_target,
    list_loaded,
    load_model,
    unload,
)
from lmstudio._sdk_models import (
    EmbeddingModelInstanceInfo,
    LlmInstanceInfo,
    ModelQuery,
    ModelSpecifierInstanceReference,
    ModelSpecifierQuery,
)
from lmstudio.errors import (
    LMStudioChannelClosedError,
    LMStudioModelNotFoundError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioUnknownMessageWarning,
    LMStudioValueError,
    LMStudioWebsocketError,
)

CONFIG = override_stack(llm_load_config_to_kv({"contextLength": 100}))
REQUEST = LoadRequest("qwen2.5-0.5b-instruct", CONFIG, 3600, "qwen")
NOTHING = override_stack(llm_load_config_to_kv(None))
TARGET = identifier_target("qwen")

LOADS = [(get_or_load, GET_OR_LOAD), (load_model, LOAD_MODEL)]
CANCEL = {"type": "cancel"}


def loading(*values: float) -> list[dict[str, Any]]:
    progress = [{"type": "loadProgress", "progress": value} for value in values]
    packets = [{"type": "startLoading", "identifier": "qwen", "info": LLM_INSTANCE}, *progress]
    return [packet(item) for item in packets]


LOADED = packet({"type": "loadSuccess", "info": LLM_INSTANCE})


def load_with(*steps: Any, on_progress: Any = None) -> tuple[ScriptedRuntime, LlmInstanceInfo]:
    runtime = ScriptedRuntime(*steps)
    return runtime, run(get_or_load(runtime.llm(), MODELS, REQUEST, on_progress))


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
    run(load_model(runtime.llm(), MODELS, REQUEST, progress.append))
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
        run(get_or_load(runtime.llm(), MODELS, REQUEST, on_progress))
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


def test_an_exception_of_the_callback_after_the_load_cancels_nothing() -> None:
    def on_progress(value: float) -> None:
        if value == 1.0:
            raise ZeroDivisionError

    runtime = ScriptedRuntime(LOADED)
    with pytest.raises(ZeroDivisionError):
        run(get_or_load(runtime.llm(), MODELS, REQUEST, on_progress))
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


@pytest.mark.parametrize("key", ["a", "publisher/model@q4_k_m", "x" * 1024, "模型 7b", "ünï/códe"])
def test_a_key_may_be_any_printable_text(key: str) -> None:
    assert check_key(key, "model key") == key
    assert LoadRequest(key, NOTHING, None, key).check().identifier == key


@pytest.mark.parametrize("key", ["", "x" * 1025, "a\nb", "a\0b", "\u200b", None, 5, b"key", ["key"]])
def test_a_key_that_cannot_be_is_refused(key: Any) -> None:
    with pytest.raises(LMStudioValueError, match="The model key must"):
        LoadRequest(key, NOTHING).check()
    if key is not None:
        with pytest.raises(LMStudioValueError, match="The instance identifier must"):
            LoadRequest("key", NOTHING, None, key).check()


def test_spaces_of_other_alphabets_are_no_control_characters() -> None:
    assert check_key("a\u3000b\u00a0c", "model key")


# The rest ------------------------------------------------------------------------------------------------------------


def test_unload_sends_the_identifier() -> None:
    runtime = ScriptedRuntime(void())
    run(unload(runtime.llm(), "qwen"))
    assert runtime.sent == [
        {"type": "rpcCall", "endpoint": "unloadModel", "callId": 1, "parameter": {"identifier": "qwen"}}
    ]


def test_unload_refuses_what_cannot_be_an_identifier() -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError):
        run(unload(runtime.llm(), ""))
    assert runtime.sent == []


def test_unload_of_a_model_that_is_gone_says_so() -> None:
    error = {"title": "x", "displayData": {"code": "generic.identifierNotFound", "loadedModelsSample": []}}
    with pytest.raises(LMStudioModelNotFoundError, match=r"Could not unload model 'qwen': x\nLoaded models: none."):
        run(unload(ScriptedRuntime(rpc_error(error)).llm(), "qwen"))


def test_list_loaded_returns_the_instances_in_order() -> None:
    second = {**LLM_INSTANCE, "identifier": "second"}
    runtime = ScriptedRuntime(result([LLM_INSTANCE, second]))
    infos = run(list_loaded(runtime.llm(), MODELS))
    assert [info.identifier for info in infos] == ["qwen", "second"]
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "listLoaded", "callId": 1}]


def test_any_model_is_the_first_one_loaded() -> None:
    second = {**LLM_INSTANCE, "identifier": "second"}
    assert run(get_any(ScriptedRuntime(result([second, LLM_INSTANCE])).llm(), MODELS)).identifier == "second"


@pytest.mark.parametrize(
    ("endpoints", "namespace", "kind"), [(MODELS, "llm", "LLM"), (EMBEDDING_MODELS, "embedding", "embedding model")]
)
def test_no_model_at_all_says_what_to_do(endpoints: Any, namespace: str, kind: str) -> None:
    with pytest.raises(LMStudioModelNotFoundError, match=f"No {kind} is loaded.*client.{namespace}.model") as caught:
        run(get_any(ScriptedRuntime(result([])).port(namespace), endpoints))
    assert caught.value.code == "generic.noModelMatchingQuery"


def test_information_is_asked_for_with_the_specifier() -> None:
    runtime = ScriptedRuntime(result(LLM_INSTANCE))
    assert run(get_info(runtime.llm(), MODELS, TARGET)).context_length == 4096
    assert runtime.sent[0]["parameter"] == {
        "specifier": {"type": "query", "query": {"identifier": "qwen"}},
        "throwIfNotFound": True,
    }


@pytest.mark.parametrize("nothing", [void(), result(None)])
def test_no_information_is_an_error(nothing: Any) -> None:
    with pytest.raises(
        LMStudioServerError, match="Could not get the information of model 'qwen': the server sent none"
    ):
        run(get_info(ScriptedRuntime(nothing).llm(), MODELS, TARGET))


def test_the_load_configuration_comes_as_fields() -> None:
    runtime = ScriptedRuntime(result({"fields": [{"key": "llm.load.contextLength", "value": 4096}]}))
    config = run(get_load_config(runtime.llm(), TARGET))
    assert [(item.key, item.value) for item in config.fields] == [("llm.load.contextLength", 4096)]
    assert runtime.sent[0]["parameter"] == {"specifier": {"type": "query", "query": {"identifier": "qwen"}}}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (TARGET, "model 'qwen'"),
        (ModelSpecifierInstanceReference(instance_reference="ref-1"), "model instance 'ref-1'"),
        (ModelSpecifierQuery(query=ModelQuery()), "any model"),
        (ModelSpecifierQuery(query=ModelQuery(device_identifier=None)), "a model matching {'deviceIdentifier': None}"),
        (ModelSpecifierQuery(query=ModelQuery(vision=True)), "a model matching {'vision': True}"),
    ],
)
def test_a_target_is_described_in_errors(target: Any, text: str) -> None:
    assert describe(target) == text
