"""Configurations as callers write them: what is refused and how, what is left alone, and what comes back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lmstudio import _wire
from lmstudio._kv_config import (
    embedding_load_config_from_kv,
    embedding_load_config_to_kv,
    llm_load_config_from_kv,
    llm_load_config_to_kv,
    prediction_config_from_kv,
    prediction_config_to_kv,
    read_config,
)
from lmstudio._kv_members import EMBEDDING_LOAD_MEMBERS, LLM_LOAD_MEMBERS, PREDICTION_MEMBERS, Member
from lmstudio._sdk_models import (
    Function,
    GpuSetting,
    KvConfig,
    LlmLoadModelConfig,
    LlmPredictionConfig,
    LlmToolFunction,
    LlmToolParametersObject,
    LlmToolUseSettingToolArray,
)
from lmstudio._sdk_models.config_keys import BOUNDS, DEFAULTS
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES: list[tuple[Callable[[Any], KvConfig], tuple[Member, ...]]] = [
    (llm_load_config_to_kv, LLM_LOAD_MEMBERS),
    (embedding_load_config_to_kv, EMBEDDING_LOAD_MEMBERS),
    (prediction_config_to_kv, PREDICTION_MEMBERS),
]
NUMBERS = [(to_kv, member) for to_kv, members in TABLES for member in members if member.key in BOUNDS]


def tools_with(parameters: Any) -> dict[str, Any]:
    return {"type": "toolArray", "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}


def sent(config: KvConfig, key: str) -> bytes:
    """The value of a key as it travels, byte for byte."""
    field = next(field for field in config.fields if field.key == key)
    return _wire.encode(field.value)


# Numbers -------------------------------------------------------------------------------------------------------------


def out_of_bounds(key: str) -> list[float]:
    lowest, highest, is_whole = BOUNDS[key]
    values = [math.inf, math.nan]
    values += [] if lowest is None else [lowest - 1]
    values += [] if highest is None else [highest + 1]
    return values + ([(lowest or 0) + 1.5] if is_whole else [])


@pytest.mark.parametrize(("to_kv", "member"), NUMBERS, ids=lambda value: getattr(value, "name", ""))
def test_number_that_the_server_would_refuse_is_refused_here(to_kv: Any, member: Member) -> None:
    for value in out_of_bounds(member.key):
        with pytest.raises(LMStudioValueError, match="got"):
            to_kv({member.name: value})


@pytest.mark.parametrize(("to_kv", "member"), NUMBERS, ids=lambda value: getattr(value, "name", ""))
def test_bounds_themselves_are_fine(to_kv: Any, member: Member) -> None:
    for bound in BOUNDS[member.key][:2]:
        if bound is not None:
            assert to_kv({member.name: bound}).fields


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"top_k_sampling": 501}, r"^top_k_sampling must be a whole number from -1 to 500; got 501\.0\.$"),
        ({"top_k_sampling": 2.5}, "must be a whole number"),
        ({"min_p_sampling": 2}, r"^min_p_sampling must be a number from 0 to 1, or False to switch it off; got 2\.0"),
        ({"repeat_penalty": -2}, "must be a number of at least -1, or False"),
        ({"presence_penalty": math.nan}, "^presence_penalty must be a number, or False to switch it off; got nan"),
        ({"temperature": -1}, r">= 0\.0 - at `\$\.temperature`; got -1\.$"),
        ({"stop_strings": ["a", ""]}, "^stop_strings has an empty string"),
        ({"tool_call_stop_strings": [""]}, "^tool_call_stop_strings has an empty string"),
    ],
)
def test_message_says_what_is_accepted_and_what_was_given(config: dict[str, Any], message: str) -> None:
    with pytest.raises(LMStudioValueError, match=message):
        prediction_config_to_kv(config)


def test_whole_number_is_sent_without_a_fraction() -> None:
    assert sent(prediction_config_to_kv({"top_k_sampling": 40}), "llm.prediction.topKSampling") == b"40"


def test_a_number_longer_than_any_float_is_no_crash() -> None:
    with pytest.raises(LMStudioValueError):
        llm_load_config_to_kv({"max_parallel_predictions": 10**400})


@pytest.mark.parametrize("value", ["max", 4096.5, True, "4096"])
def test_context_length_is_a_number_and_the_message_says_where_the_longest_stands(value: Any) -> None:
    for to_kv in (llm_load_config_to_kv, embedding_load_config_to_kv):
        with pytest.raises(LMStudioValueError, match=r"contextLength`; got .* max_context_length of its information"):
            to_kv({"context_length": value})


@pytest.mark.parametrize("value", ["max", 0.5])
def test_gpu_is_a_setting_and_the_message_says_how_to_write_the_ratio(value: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"\{'ratio': ...\}: a number from 0 to 1, 'max' or 'off'"):
        llm_load_config_to_kv({"gpu": value})


@pytest.mark.parametrize("gpu", [{"main_gpu": -1}, {"disabled_gpus": [0, -1]}])
def test_gpus_count_from_zero(gpu: Any) -> None:
    with pytest.raises(LMStudioValueError, match="count from 0"):
        llm_load_config_to_kv({"gpu": gpu})


def test_expert_layers_of_an_embedding_model_are_refused() -> None:
    with pytest.raises(LMStudioValueError, match="language models only"):
        embedding_load_config_to_kv({"gpu": {"num_cpu_expert_layers_ratio": 1}})


# Keys ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "config", "message"),
    [
        (LlmPredictionConfig, {"top_k": 1}, "has no setting 'top_k'. Did you mean 'top_k_sampling'?"),
        (LlmPredictionConfig, {"topK": 1}, "Did you mean 'topKSampling'?"),
        (LlmPredictionConfig, {"stop": []}, "Did you mean 'stop_strings'?"),
        (LlmPredictionConfig, {"context_length": 1}, "It is a setting of LlmLoadModelConfig."),
        (LlmPredictionConfig, {"contextLength": 1}, "It is a setting of LlmLoadModelConfig."),
        (LlmLoadModelConfig, {"temperature": 1}, "It is a setting of LlmPredictionConfig."),
        (LlmLoadModelConfig, {"gpu": {"num_cpu_expert_layer_ratio": 1}}, "'num_cpu_expert_layers_ratio'?"),
        (LlmLoadModelConfig, {"gpu": {"numCpuExpertLayerRatio": 1}}, "'numCpuExpertLayersRatio'?"),
        (
            LlmLoadModelConfig,
            {"llama_cpp_arguments_override": {"override_parameters": [{"key": "a", "val": "b"}]}},
            r"override\.override_parameters\[0\] has no setting 'val'. Did you mean 'value'?",
        ),
        (LlmLoadModelConfig, {"mlx_kv_cache_quantization": {"bit": 4}}, "quantization has no setting 'bit'"),
        (LlmPredictionConfig, {"raw_tools": {"type": "toolArray", "tool": []}}, "raw_tools has no setting 'tool'"),
        (
            LlmPredictionConfig,
            {"rawTools": {"type": "toolArray", "tools": [{"type": "function", "function": {"nam": "f"}}]}},
            r"rawTools\.tools\[0\]\.function has no setting 'nam'. Did you mean 'name'?",
        ),
        (LlmPredictionConfig, {"tool_choice": {"type": "generic", "mod": "auto"}}, "Did you mean 'mode'?"),
        (LlmPredictionConfig, {"structured": {"type": "json", "schema": {}}}, "structured has no setting 'schema'"),
        (LlmPredictionConfig, {"raw": {"fields": [{"key": "a", "val": 1}]}}, r"raw\.fields\[0\] has no setting 'val'"),
    ],
)
def test_unknown_key_is_refused_with_its_place_and_the_nearest(cls: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises(LMStudioValueError, match=message):
        read_config(cls, config)


@pytest.mark.parametrize("config", [{"max_tokens": 5, "maxTokens": 6}, {"maxTokens": 5, "max_tokens": 5}])
def test_setting_given_in_both_spellings_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(LMStudioValueError, match=r"'max.*okens' and 'max.*okens', which are the same setting"):
        prediction_config_to_kv(config)


def test_both_spellings_work_at_every_depth() -> None:
    argument = {"key": "a", "value": "b"}
    snake_override = {"disabled_parameters": [], "override_parameters": [argument], "exclude_all_config": False}
    camel_override = {"disabledParameters": [], "overrideParameters": [argument], "excludeAllConfig": False}
    snake = {"num_cpu_expert_layers_ratio": 0.5}, {"enabled": True, **snake_override}
    camel = {"numCpuExpertLayersRatio": 0.5}, {"enabled": True, **camel_override}

    sent_for_snake = llm_load_config_to_kv({"gpu": snake[0], "llama_cpp_arguments_override": snake[1]})
    sent_for_camel = llm_load_config_to_kv({"gpu": camel[0], "llamaCppArgumentsOverride": camel[1]})

    assert _wire.encode(sent_for_snake) == _wire.encode(sent_for_camel)


# Schemas of the caller -----------------------------------------------------------------------------------------------

SCHEMA = {
    "title": "Odd_Order",
    "required": ["z_last", "aFirst"],
    "properties": {"z_last": {"max_length": 5, "type": "string"}, "aFirst": {"$ref": "#/$defs/My_Type"}},
    "type": "object",
    "additional_properties": {"snake_case": None},
    "$defs": {"My_Type": {"x-order": [3, 1], "anyOf": []}},
    "description": "Zöe 😀",
}


@pytest.mark.parametrize("name", ["raw_tools", "rawTools"])
def test_tool_parameters_travel_byte_for_byte(name: str) -> None:
    typed = read_config(LlmPredictionConfig, {name: tools_with(SCHEMA)})
    for config in ({name: tools_with(SCHEMA)}, typed):
        value = sent(prediction_config_to_kv(config), "llm.prediction.tools")
        assert value == _wire.encode(tools_with(SCHEMA))


def test_response_schema_and_raw_values_travel_byte_for_byte() -> None:
    raw = {"fields": [{"key": "new", "value": SCHEMA}]}
    config = prediction_config_to_kv({"structured": {"type": "json", "json_schema": SCHEMA}, "raw": raw})

    assert sent(config, "new") == _wire.encode(SCHEMA)
    assert sent(config, "llm.prediction.structured") == b'{"type":"json","jsonSchema":' + _wire.encode(SCHEMA) + b"}"


def test_tools_that_a_server_reports_keep_their_schemas() -> None:
    on_wire = _wire.encode(prediction_config_to_kv({"raw_tools": tools_with(SCHEMA)}))
    config = msgspec.json.decode(on_wire, type=KvConfig)

    assert _wire.encode(prediction_config_from_kv(config).raw_tools) == _wire.encode(tools_with(SCHEMA))


def test_given_schema_is_neither_changed_nor_kept() -> None:
    schema = {"type": "object", "properties": {}}
    typed = read_config(LlmPredictionConfig, {"raw_tools": tools_with(schema)})
    schema.clear()

    assert b'"properties":{}' in sent(prediction_config_to_kv(typed), "llm.prediction.tools")


def test_tool_parameters_may_be_structs() -> None:
    parameters = LlmToolParametersObject(properties={"z": {}, "a": {}}, required=["z"])
    tool = LlmToolFunction(function=Function(name="f", parameters=parameters))
    for tools in (LlmToolUseSettingToolArray(tools=[tool]), {"type": "toolArray", "tools": [tool]}):
        value = sent(prediction_config_to_kv({"raw_tools": tools}), "llm.prediction.tools")
        assert json.loads(value) == tools_with({"type": "object", "properties": {"z": {}, "a": {}}, "required": ["z"]})
        assert value.index(b'"z"') < value.index(b'"a"')


@pytest.mark.parametrize("schema", [{"properties": {}}, {"type": "array", "properties": {}}, {}])
def test_tool_parameters_are_an_object(schema: Any) -> None:
    with pytest.raises(LMStudioValueError, match=r"parameters must be a JSON schema with 'type': 'object'; got"):
        prediction_config_to_kv({"raw_tools": tools_with(schema)})


# After loading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        LlmLoadModelConfig(
            context_length=4096, seed=False, flash_attention=True, llama_k_cache_quantization_type="q8_0"
        ),
        LlmLoadModelConfig(gpu=GpuSetting(main_gpu=1, split_strategy="favorMainGpu", disabled_gpus=[0])),
        LlmLoadModelConfig(speculative_draft_simple=True, speculative_draft_model="tiny", rope_frequency_base=1.5),
        LlmLoadModelConfig(auto_fit=True, gpu=GpuSetting(disabled_gpus=[1])),
    ],
)
def test_loaded_configuration_equals_what_was_given(config: LlmLoadModelConfig) -> None:
    on_server = llm_load_config_to_kv(config)

    same = llm_load_config_from_kv(on_server).to_dict()
    full = llm_load_config_from_kv(on_server, "gguf").to_dict()

    given = config.to_dict()
    assert {name: same[name] for name in given} == given
    gpu = given.pop("gpu", {})
    assert {name: full[name] for name in given} == given
    assert full.get("gpu", {}).items() >= gpu.items()


@pytest.mark.parametrize("model_format", ["gguf", "safetensors", "torch_safetensors", "yuzu", "pte", None])
@pytest.mark.parametrize("auto_fit", [True, False])
def test_configuration_that_was_read_can_be_given_again(model_format: str | None, auto_fit: bool) -> None:
    fields = [{"key": key, "value": value} for key, value in DEFAULTS.items() if not key.endswith(".autoFit")]
    fields += [{"key": f"llm.load.{engine}.autoFit", "value": auto_fit} for engine in ("llama", "mlx", "yuzu")]
    if model_format == "gguf":
        fields.append({"key": "llm.load.llama.speculativeDecoding.draftModel", "value": "left over"})

    config = llm_load_config_from_kv(KvConfig.from_dict({"fields": fields}), model_format)

    assert llm_load_config_to_kv(config).fields


def test_defaults_stand_only_where_they_were_asked_for() -> None:
    nothing = KvConfig(fields=[])

    assert prediction_config_from_kv(nothing).temperature is None
    assert prediction_config_from_kv(nothing, with_defaults=True).temperature == 0.8
    assert llm_load_config_from_kv(nothing).to_dict() == {}
    assert llm_load_config_from_kv(nothing, "yuzu").to_dict() == {"autoFit": True}
    assert embedding_load_config_from_kv(nothing).to_dict() == {}
    assert embedding_load_config_from_kv(nothing, "gguf").context_length == 2048


def test_defaults_are_not_shared_with_what_was_read() -> None:
    first = prediction_config_from_kv(KvConfig(fields=[]), with_defaults=True)
    assert first.stop_strings == []
    first.stop_strings.append("END")

    assert prediction_config_from_kv(KvConfig(fields=[]), with_defaults=True).stop_strings == []
