"""Find, describe and unload, with a scripted server."""

from __future__ import annotations

from typing import Any

import pytest
from recorded_packets import LLM_INSTANCE
from scripted_runtime import ScriptedRuntime, result, rpc_error, run, void

from lmstudio._endpoints.embedding import MODELS as EMBEDDING_MODELS
from lmstudio._endpoints.llm import MODELS
from lmstudio._kv_config import llm_load_config_to_kv, override_stack
from lmstudio._ops.loading import LoadRequest
from lmstudio._ops.models import (
    check_device,
    check_key,
    check_namespace,
    describe,
    estimate_resources_usage,
    get_any,
    get_base_prediction_config,
    get_eval_batch_size,
    get_info,
    get_load_config,
    get_processing_state,
    handle_arguments,
    identifier_target,
    list_loaded,
    preload_draft_model,
    unload,
    unload_target,
)
from lmstudio._sdk_models import (
    LlmInstanceInfo,
    ModelQuery,
    ModelSpecifierInstanceReference,
    ModelSpecifierQuery,
)
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioServerError, LMStudioValueError

CONFIG = override_stack(llm_load_config_to_kv({"contextLength": 100}))
NOTHING = override_stack(llm_load_config_to_kv(None))
TARGET = identifier_target("qwen")
REFERENCE = ModelSpecifierInstanceReference(instance_reference="ref-1")
SPECIFIER = {"type": "query", "query": {"identifier": "qwen"}}

# Keys ----------------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("device", "sent"), [("other", {"deviceIdentifier": "other"}), (None, {"deviceIdentifier": None})]
)
def test_a_model_is_unloaded_on_the_device_that_is_named(device: str | None, sent: dict[str, Any]) -> None:
    runtime = ScriptedRuntime(void())
    run(unload(runtime.llm(), "qwen", device))
    assert runtime.sent[0]["parameter"] == {"identifier": "qwen", **sent}


def test_what_is_known_is_unloaded_without_asking() -> None:
    info = LlmInstanceInfo.from_dict({**LLM_INSTANCE, "deviceIdentifier": "other"})
    runtime = ScriptedRuntime(void())
    run(unload_target(runtime.llm(), MODELS, TARGET, info))
    assert [message["parameter"] for message in runtime.sent] == [{"identifier": "qwen", "deviceIdentifier": "other"}]


def test_what_a_query_means_is_asked_before_it_is_unloaded() -> None:
    runtime = ScriptedRuntime(result(LLM_INSTANCE), void(2))
    run(unload_target(runtime.llm(), MODELS, REFERENCE))
    assert [message["endpoint"] for message in runtime.sent] == ["getModelInfo", "unloadModel"]
    assert runtime.sent[1]["parameter"] == {"identifier": "qwen", "deviceIdentifier": None}


def test_the_evaluation_batch_size_is_in_the_load_configuration() -> None:
    fields = [{"key": "embedding.load.llama.evalBatchSize", "value": 64}]
    assert run(get_eval_batch_size(ScriptedRuntime(result({"fields": fields})).port("embedding"), TARGET)) == 64
    for nothing in ([], [{"key": "embedding.load.llama.evalBatchSize"}]):
        runtime = ScriptedRuntime(result({"fields": nothing}))
        assert run(get_eval_batch_size(runtime.port("embedding"), TARGET)) == 2048


def test_the_base_prediction_configuration_comes_typed() -> None:
    runtime = ScriptedRuntime(result({"fields": [{"key": "llm.prediction.temperature", "value": 0.25}]}))
    config = run(get_base_prediction_config(runtime.llm(), TARGET))
    assert (config.temperature, config.top_k_sampling) == (0.25, 40)
    assert runtime.sent == [
        {
            "type": "rpcCall",
            "endpoint": "getBasePredictionConfig",
            "callId": 1,
            "parameter": {"specifier": SPECIFIER},
        }
    ]


def test_a_draft_model_is_preloaded() -> None:
    runtime = ScriptedRuntime(void())
    run(preload_draft_model(runtime.llm(), TARGET, "tiny"))
    assert runtime.sent[0]["endpoint"] == "preloadDraftModel"
    assert runtime.sent[0]["parameter"] == {"specifier": SPECIFIER, "draftModelKey": "tiny"}
    with pytest.raises(LMStudioValueError, match="draft model key"):
        run(preload_draft_model(runtime.llm(), TARGET, ""))


def test_the_processing_state_says_what_an_instance_does() -> None:
    runtime = ScriptedRuntime(result({"status": "generating", "queued": 3}))
    state = run(get_processing_state(runtime.llm(), TARGET))
    assert (state.status, state.queued) == ("generating", 3)
    assert runtime.sent[0]["endpoint"] == "getInstanceProcessingState"
    assert runtime.sent[0]["parameter"] == {"specifier": SPECIFIER, "throwIfNotFound": True}


def test_a_processing_state_of_a_newer_server_is_kept() -> None:
    state = run(get_processing_state(ScriptedRuntime(result({"status": "dreaming", "queued": 0})).llm(), TARGET))
    assert str(state.status) == "dreaming"


ESTIMATE = {
    "memory": {
        "confidence": "high",
        "modelVramBytes": 1,
        "contextVramBytes": 2,
        "totalVramBytes": 3,
        "modelBytes": 4,
        "contextBytes": 5,
        "totalBytes": 9,
    },
    "passesGuardrails": True,
}


@pytest.mark.parametrize(("device", "sent"), [({}, {}), ({"device_identifier": None}, {"deviceIdentifier": None})])
def test_what_a_load_would_take_is_estimated(device: dict[str, Any], sent: dict[str, Any]) -> None:
    runtime = ScriptedRuntime(result(ESTIMATE))
    usage = run(estimate_resources_usage(runtime.llm(), "key", CONFIG, **device))
    assert (usage.memory.total_bytes, usage.passes_guardrails) == (9, True)
    assert runtime.sent[0]["endpoint"] == "estimateModelUsage"
    assert runtime.sent[0]["parameter"] == {"modelKey": "key", "loadConfigStack": CONFIG.to_dict(), **sent}


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (TARGET, "identifier='qwen'"),
        (REFERENCE, "instance_reference='ref-1'"),
        (ModelSpecifierQuery(query=ModelQuery()), ""),
        (ModelSpecifierQuery(query=ModelQuery(path="a/b", vision=False)), "path='a/b', vision=False"),
        (ModelSpecifierQuery(query=ModelQuery(device_identifier=None)), "device_identifier=None"),
    ],
)
def test_a_target_is_shown_as_the_arguments_of_a_handle(target: Any, text: str) -> None:
    assert handle_arguments(target) == text


@pytest.mark.parametrize("namespace", ["", "llms", "LLM", 5, ["llm"]])
def test_a_namespace_that_does_not_exist_is_refused(namespace: Any) -> None:
    with pytest.raises(LMStudioValueError, match="namespace must be 'llm', 'embedding' or None"):
        check_namespace(namespace)


@pytest.mark.parametrize("device", ["", 5, "a\nb"])
def test_a_device_that_cannot_be_is_refused(device: Any) -> None:
    with pytest.raises(LMStudioValueError, match="The device identifier must"):
        check_device(device)
