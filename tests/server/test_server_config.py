"""Configuration of the server: what of a stack counts, what it means to an engine, and what is reported back."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lmstudio._sdk_models import KvConfig, KvConfigField, KvConfigStack, KvConfigStackLayer, LlmPromptTemplate
from lmstudio.server.config import (
    DEFAULT_PREDICTION_FIELDS,
    LoadConfig,
    PredictionConfig,
    collapse,
    is_concatenation,
    kv_config,
)
from lmstudio.server.engine.base import LoadOptions, ModelKind, Sampling
from lmstudio.server.errors import RequestError

PREDICTION = "llm.prediction."
CONCATENATION = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def on(value: Any) -> dict[str, Any]:
    return {"checked": True, "value": value}


def off(value: Any) -> dict[str, Any]:
    return {"checked": False, "value": value}


def stack(*layers: dict[str, Any], name: Any = "apiOverride") -> KvConfigStack:
    return KvConfigStack(layers=[KvConfigStackLayer(layer_name=name, config=kv_config(layer)) for layer in layers])


def load_options(kind: ModelKind = "llm", **fields: Any) -> LoadOptions:
    return LoadConfig.parse(kind, stack(keyed(f"{kind}.load.", fields))).options


def keyed(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {prefix + key.replace("__", "."): value for key, value in fields.items()}


def prediction(**fields: Any) -> PredictionConfig:
    """With nothing but these fields."""
    return PredictionConfig(keyed(PREDICTION, fields))


def sampling(**fields: Any) -> Sampling:
    return prediction(**fields).request("").sampling


def values(config: KvConfig) -> dict[str, Any]:
    return {field.key: field.value for field in config.fields}


# Stacks --------------------------------------------------------------------------------------------------------------


def test_later_layer_overrides_earlier_one_key_by_key() -> None:
    assert collapse(stack({"a": 1, "b": 1}, {"b": 2, "c": 2})) == {"a": 1, "b": 2, "c": 2}


def test_field_without_value_is_absent() -> None:
    layer = KvConfigStackLayer(layer_name="instance", config=KvConfig(fields=[KvConfigField(key="a")]))
    assert collapse(KvConfigStack(layers=[layer])) == {}


# Loading -------------------------------------------------------------------------------------------------------------


def test_every_load_key_of_language_models_reaches_the_engine() -> None:
    options = load_options(
        contextLength=100,
        seed=on(7),
        offloadKVCacheToGpu=False,
        numParallelSessions=2,
        useUnifiedKvCache=True,
        promptTemplate={"type": "jinja", "jinjaPromptTemplate": {"template": "T"}},
        llama__acceleration__offloadRatio=0.5,
        llama__evalBatchSize=64,
        llama__physicalBatchSize=32,
        llama__flashAttention=True,
        llama__ropeFrequencyBase=on(10000),
        llama__ropeFrequencyScale=on(0.5),
        llama__keepModelInMemory=True,
        llama__tryMmap=False,
        llama__kCacheQuantizationType=on("q8_0"),
        llama__vCacheQuantizationType=on("q4_0"),
    )
    assert options == LoadOptions(
        context_length=100,
        seed=7,
        offload_kv_cache=False,
        parallel_sessions=2,
        unified_kv_cache=True,
        chat_template="T",
        gpu_offload_ratio=0.5,
        eval_batch_size=64,
        physical_batch_size=32,
        flash_attention=True,
        rope_frequency_base=10000.0,
        rope_frequency_scale=0.5,
        keep_in_memory=True,
        try_mmap=False,
        k_cache_type="q8_0",
        v_cache_type="q4_0",
    )


def test_embedding_models_have_their_own_load_keys() -> None:
    options = load_options("embedding", contextLength=100, llama__tryMmap=True, numParallelSessions=3)
    assert options == LoadOptions(context_length=100, try_mmap=True)


@pytest.mark.parametrize(("ratio", "expected"), [("max", 1.0), ("off", 0.0), (0, 0.0), (0.25, 0.25)])
def test_offload_ratio_has_words_for_its_ends(ratio: object, expected: float) -> None:
    assert load_options(llama__acceleration__offloadRatio=ratio).gpu_offload_ratio == expected


@pytest.mark.parametrize("fields", [{"seed": off(5)}, {"seed": on(-1)}, {"llama__ropeFrequencyBase": on(0)}])
def test_load_setting_that_is_off_is_left_to_the_engine(fields: dict[str, Any]) -> None:
    assert load_options(**fields) == LoadOptions()


def test_keys_that_mean_nothing_to_an_engine_are_kept_without_effect_whatever_their_value() -> None:
    fields = {"llm.load.mlx.diskCache": "nonsense", "load.gpuSplitConfig": 1}
    config = LoadConfig.parse("llm", stack({**fields, "embedding.load.seed": 1, "llm.prediction.temperature": 1}))
    assert (config.options, config.fields) == (LoadOptions(), fields)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("contextLength", 0, "Expected `int` >= 1. Found 0."),
        ("contextLength", "many", 'Expected `int`, got `str`. Found "many".'),
        ("numParallelSessions", 1024, "Expected `int` <= 1023. Found 1024."),
        ("llama.acceleration.offloadRatio", 1.5, "Expected `float` <= 1.0. Found 1.5."),
        ("llama.kCacheQuantizationType", on("q1"), "Invalid enum value 'q1'"),
        ("seed", 5, "Expected `object`, got `int`. Found 5."),
    ],
)
def test_load_value_out_of_bounds_is_refused_with_key_and_bound(key: str, value: object, complaint: str) -> None:
    with pytest.raises(RequestError) as caught:
        LoadConfig.parse("llm", stack({f"llm.load.{key}": value}))
    assert f"The value of llm.load.{key} is not valid: {complaint}" in caught.value.title


def test_long_invalid_value_is_shown_in_part() -> None:
    with pytest.raises(RequestError) as caught:
        LoadConfig.parse("llm", stack({"llm.load.contextLength": "x" * 500}))
    assert caught.value.title.endswith("x….")
    assert len(caught.value.title) < 250


def test_whole_number_written_with_a_fraction_is_a_whole_number() -> None:
    assert load_options(contextLength=512.0).context_length == 512


def test_effective_load_config_is_what_was_asked_for_with_the_real_context_length() -> None:
    fields = {"llm.load.contextLength": 9999, "llm.load.seed": on(1), "llm.load.mlx.diskCache": True}
    effective = LoadConfig.parse("llm", stack(fields)).effective(4096)
    assert values(effective) == {**fields, "llm.load.contextLength": 4096}


def test_effective_load_config_of_embedding_model_uses_its_own_key() -> None:
    assert values(LoadConfig.parse("embedding", stack()).effective(512)) == {"embedding.load.contextLength": 512}


@pytest.mark.parametrize(("is_simple", "expected"), [(True, "draft"), (None, "draft"), (False, None)])
def test_draft_model_for_loading_counts_unless_it_is_switched_off(is_simple: bool | None, expected: str | None) -> None:
    prefix = "llm.load.llama.speculativeDecoding."
    fields: dict[str, Any] = {prefix + "draftModel": "draft"}
    if is_simple is not None:
        fields[prefix + "draftSimple"] = is_simple
    config = LoadConfig.parse("llm", stack(fields))
    assert config.draft_model_key == expected
    assert config.fields[prefix + "draftModel"] == "draft"


# Sampling ------------------------------------------------------------------------------------------------------------


def test_every_sampling_key_reaches_the_engine() -> None:
    assert sampling(
        temperature=0.5,
        topKSampling=10,
        topPSampling=on(0.9),
        minPSampling=on(0.1),
        repeatPenalty=on(1.2),
        llama__presencePenalty=on(0.3),
        llama__frequencyPenalty=on(0.4),
        llama__xtcProbability=on(0.5),
        llama__xtcThreshold=on(0.2),
        llama__locallyTypicalSampling=on(0.7),
        llama__mirostatSampling={"version": 2, "learningRate": 0.1, "targetEntropy": 5},
        llama__logitBias=[[5, 1.5], [6, "-inf"]],
        seed=on(11),
    ) == Sampling(
        temperature=0.5,
        top_k=10,
        top_p=0.9,
        min_p=0.1,
        typical_p=0.7,
        repeat_penalty=1.2,
        presence_penalty=0.3,
        frequency_penalty=0.4,
        xtc_probability=0.5,
        xtc_threshold=0.2,
        mirostat=(2, 0.1, 5.0),
        logit_bias=[(5, 1.5), (6, -math.inf)],
        seed=11,
    )


def test_absent_sampling_keys_are_left_to_the_engine() -> None:
    assert sampling() == Sampling(logit_bias=[])


def test_unchecked_samplers_are_off_and_not_the_engines_default() -> None:
    off_everywhere = sampling(
        topPSampling=off(0.9),
        minPSampling=off(0.1),
        repeatPenalty=off(1.1),
        llama__presencePenalty=off(1),
        llama__frequencyPenalty=off(1),
        llama__xtcProbability=off(0.5),
        llama__locallyTypicalSampling=off(0.5),
    )
    assert off_everywhere == Sampling(
        top_p=1.0,
        min_p=0.0,
        repeat_penalty=1.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        xtc_probability=0.0,
        typical_p=1.0,
        logit_bias=[],
    )


@pytest.mark.parametrize("seed", [on(-1), off(5)])
def test_seed_that_means_random_is_left_to_the_engine(seed: dict[str, Any]) -> None:
    assert sampling(seed=seed).seed is None


def test_mirostat_of_version_zero_is_off() -> None:
    setting = {"version": 0, "learningRate": 0.1, "targetEntropy": 5}
    assert sampling(llama__mirostatSampling=setting).mirostat is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", -0.1),
        ("topKSampling", 501),
        ("topPSampling", on(1.1)),
        ("maxPredictedTokens", on(0)),
        ("logProbs", on(101)),
        ("contextOverflowPolicy", "explode"),
        ("stopStrings", [""]),
        ("llama.logitBias", [[1, "inf"]]),
        ("tools", {"type": "toolArray", "tools": [{"type": "function", "function": {}}]}),
    ],
)
def test_prediction_value_out_of_bounds_is_refused(key: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"The value of {PREDICTION}{key} is not valid"):
        PredictionConfig({PREDICTION + key: value})


def test_unchecked_value_is_not_checked_for_bounds() -> None:
    assert prediction(maxPredictedTokens=off(-1)).max_tokens is None


# Text ----------------------------------------------------------------------------------------------------------------


def test_limits_and_log_probs_reach_the_engine() -> None:
    request = prediction(maxPredictedTokens=on(5), logProbs=on(3)).request("Hi")
    assert (request.prompt, request.max_tokens, request.log_probs) == ("Hi", 5, 3)


def test_stop_strings_of_request_tool_calls_and_template_are_joined_without_repetition() -> None:
    template = {"type": "jinja", "jinjaPromptTemplate": {"template": "x"}, "stopStrings": ["<end>", "a", ""]}
    config = prediction(stopStrings=["a", "b"], toolCallStopStrings=["</call>"], promptTemplate=template)
    assert config.stop_strings == ["a", "b", "</call>", "<end>"]


def test_reasoning_is_told_apart_only_with_both_strings() -> None:
    parsing = {"enabled": True, "startString": "<think>", "endString": "</think>"}
    assert prediction(reasoning__parsing=parsing).reasoning is not None
    assert prediction(reasoning__parsing={**parsing, "enabled": False}).reasoning is None
    assert prediction(reasoning__parsing={**parsing, "endString": ""}).reasoning is None


def test_thinking_is_left_to_the_template_unless_it_is_set() -> None:
    assert prediction().enable_thinking is None
    assert prediction(reasoning__enableThinking=False).enable_thinking is False


@pytest.mark.parametrize(
    ("setting", "schema", "grammar"),
    [
        ({"type": "none"}, None, None),
        ({"type": "json"}, {}, None),
        ({"type": "json", "jsonSchema": None}, {}, None),
        ({"type": "json", "jsonSchema": True}, {}, None),
        ({"type": "json", "jsonSchema": {"type": "object"}}, {"type": "object"}, None),
        ({"type": "gbnf", "gbnfGrammar": "root ::= 'a'"}, None, "root ::= 'a'"),
    ],
)
def test_structured_output_becomes_schema_or_grammar(setting: object, schema: object, grammar: str | None) -> None:
    request = prediction(structured=setting).request("")
    assert (request.json_schema, request.grammar) == (schema, grammar)


@pytest.mark.parametrize("setting", [{"type": "gbnf"}, {"type": "json", "jsonSchema": "text"}])
def test_structured_output_that_says_nothing_is_refused(setting: object) -> None:
    with pytest.raises(RequestError, match=r"llm\.prediction\.structured"):
        prediction(structured=setting).request("")


def test_tools_get_the_form_that_templates_expect() -> None:
    function = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {}}}}
    tool = {"type": "function", "function": function}
    assert prediction(tools={"type": "toolArray", "tools": [tool]}).tools == [tool]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": {"type": "none"}},
        {"tools": {"type": "toolArray"}},
        {
            "tools": {"type": "toolArray", "tools": [{"type": "function", "function": {"name": "add"}}]},
            "toolChoice": {"type": "generic", "mode": "none"},
        },
    ],
)
def test_there_are_no_tools_without_any_or_when_none_may_be_chosen(fields: dict[str, Any]) -> None:
    assert prediction(**fields).tools == []


# Raw completion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        CONCATENATION,
        '{%- for m in messages -%}{{ m["content"] }}{%- endfor -%}',
        "{%for m in messages%}\n{{m.content}}\n{%endfor%}",
    ],
)
def test_template_that_only_concatenates_means_raw_completion(template: str) -> None:
    value = {"type": "jinja", "stopStrings": [], "jinjaPromptTemplate": {"template": template, "bosToken": ""}}
    assert prediction(promptTemplate=value).is_raw


@pytest.mark.parametrize(
    "template",
    ["{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", CONCATENATION + "!", ""],
)
def test_other_templates_are_no_raw_completion(template: str) -> None:
    jinja = {"type": "jinja", "stopStrings": [], "jinjaPromptTemplate": {"template": template}}
    assert not prediction(promptTemplate=jinja).is_raw


def test_manual_template_is_no_concatenation() -> None:
    assert not is_concatenation(LlmPromptTemplate(type="manual", stop_strings=[]))


def test_layer_of_complete_mode_means_raw_completion() -> None:
    assert PredictionConfig.parse(stack({}, name="completeModeFormatting")).is_raw
    assert not PredictionConfig.parse(stack({})).is_raw


# Effective configuration ---------------------------------------------------------------------------------------------


def test_effective_prediction_config_is_the_request_over_the_defaults() -> None:
    effective = values(PredictionConfig.parse(stack({PREDICTION + "temperature": 0})).to_kv())
    assert effective == {**DEFAULT_PREDICTION_FIELDS, PREDICTION + "temperature": 0}


def test_effective_prediction_config_holds_only_what_counted() -> None:
    fields = {PREDICTION + "llama.cpuThreads": 4, "ext.virtualModel.customField.a": 1, PREDICTION + "seed": on(3)}
    assert values(PredictionConfig(fields).to_kv()) == {PREDICTION + "seed": on(3)}


def test_clients_can_read_the_effective_configuration() -> None:
    from lmstudio._kv_config import prediction_config_from_kv

    typed = prediction_config_from_kv(PredictionConfig.parse(stack()).to_kv())
    assert (typed.temperature, typed.top_k_sampling, typed.max_tokens) == (0.8, 40, False)


def test_draft_model_of_a_prediction_is_known_and_reported_as_effective() -> None:
    key = PREDICTION + "speculativeDecoding.draftModel"
    config = PredictionConfig({key: "draft"})
    assert (config.draft_model_key, values(config.to_kv())) == ("draft", {key: "draft"})


def test_overflow_is_an_error_unless_a_policy_is_set() -> None:
    assert prediction().overflow_policy == "stopAtLimit"
    assert PredictionConfig.parse(stack()).overflow_policy == "truncateMiddle"
