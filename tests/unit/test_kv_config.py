"""Typed configuration and the fields on the wire: every key in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from lmstudio import _wire
from lmstudio._kv_config import (
    embedding_load_config_from_kv,
    embedding_load_config_to_kv,
    llm_load_config_from_kv,
    llm_load_config_to_kv,
    override_stack,
    prediction_config_from_kv,
    prediction_config_to_kv,
    read_config,
)
from lmstudio._sdk_models import (
    EmbeddingLoadModelConfig,
    GpuSetting,
    KvConfig,
    KvConfigField,
    LlmLoadModelConfig,
    LlmPredictionConfig,
    LlmStructuredPredictionSetting,
)
from lmstudio.errors import LMStudioValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEMA_FILE = Path(__file__).parents[2] / "sdk-schema" / "lmstudio-sdk.schema.json"


def wire(config: KvConfig) -> dict[str, Any]:
    """The fields as they travel."""
    return {item["key"]: item.get("value") for item in json.loads(_wire.encode(config))["fields"]}


def kv(fields: Mapping[str, Any]) -> KvConfig:
    return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in fields.items()])


def checked(value: Any) -> dict[str, Any]:
    return {"checked": True, "value": value}


def unchecked(value: Any) -> dict[str, Any]:
    return {"checked": False, "value": value}


ALL_AUTO_FIT = ("llm.load.llama.autoFit", "llm.load.mlx.autoFit", "llm.load.yuzu.autoFit")
NO_AUTO_FIT = dict.fromkeys(ALL_AUTO_FIT, False)
NO_SIDECARS = dict.fromkeys(
    [f"llm.load.llama.speculativeDecoding.draft{kind}Sidecar" for kind in ("Dflash", "Dspark", "Mtp")], False
)
OVERRIDE = {"enabled": True, "disabledParameters": ["x"], "overrideParameters": [], "excludeAllConfig": False}
MLX_CACHE = {"enabled": True, "bits": 4, "groupSize": 32, "quantizedStart": 0}
JINJA = {"type": "jinja", "jinjaPromptTemplate": {"template": "{{ messages }}"}}
SPLIT = {"strategy": "priorityOrder", "disabledGpus": [2], "priority": [1], "customRatio": []}
SPEC = "llm.load.llama.speculativeDecoding."

# member in camelCase, value, wire field (key, value)
LLM_LOAD: list[tuple[str, Any, str, Any]] = [
    ("useUnifiedKvCache", True, "llm.load.useUnifiedKvCache", True),
    ("offloadKVCacheToGpu", False, "llm.load.offloadKVCacheToGpu", False),
    ("contextLength", 4096, "llm.load.contextLength", 4096),
    ("promptTemplate", JINJA, "llm.load.promptTemplate", JINJA),
    ("numExperts", 2, "llm.load.numExperts", 2),
    ("maxParallelPredictions", 3, "llm.load.numParallelSessions", 3),
    ("gpuStrictVramCap", True, "load.gpuStrictVramCap", True),
    ("seed", 7, "llm.load.seed", checked(7)),
    ("seed", False, "llm.load.seed", unchecked(0)),
    ("seed", 0, "llm.load.seed", checked(0)),
    ("ropeFrequencyBase", 1.5, "llm.load.llama.ropeFrequencyBase", checked(1.5)),
    ("ropeFrequencyBase", False, "llm.load.llama.ropeFrequencyBase", unchecked(0)),
    ("ropeFrequencyScale", 1.5, "llm.load.llama.ropeFrequencyScale", checked(1.5)),
    ("ropeFrequencyScale", False, "llm.load.llama.ropeFrequencyScale", unchecked(0)),
    ("evalBatchSize", 8, "llm.load.llama.evalBatchSize", 8),
    ("physicalBatchSize", 9, "llm.load.llama.physicalBatchSize", 9),
    ("flashAttention", True, "llm.load.llama.flashAttention", True),
    ("contextCheckpoints", 0, "llm.load.llama.contextCheckpoints", 0),
    ("reasoningBudgetMessage", "Enough.", "llm.load.llama.reasoningBudgetMessage", "Enough."),
    ("keepModelInMemory", False, "llm.load.llama.keepModelInMemory", False),
    ("useFp16ForKVCache", True, "llm.load.llama.useFp16ForKVCache", True),
    ("tryMmap", False, "llm.load.llama.tryMmap", False),
    ("tryDirectIO", True, "llm.load.llama.tryDirectIO", True),
    ("llamaCppArgumentsOverride", OVERRIDE, "llm.load.llama.argumentsOverride", OVERRIDE),
    ("speculativeDraftMtp", True, SPEC + "draftMtp", True),
    ("speculativeDraftSimple", False, SPEC + "draftSimple", False),
    ("speculativeDraftModel", "", SPEC + "draftModel", ""),
    ("speculativeDraftMaxTokens", 4, SPEC + "draftMaxTokens", 4),
    ("speculativeDraftMinTokens", 0, SPEC + "draftMinTokens", 0),
    ("speculativeDraftMinContinueProbability", 0.5, SPEC + "draftMinContinueProbability", 0.5),
    ("llamaKCacheQuantizationType", "q8_0", "llm.load.llama.kCacheQuantizationType", checked("q8_0")),
    ("llamaKCacheQuantizationType", False, "llm.load.llama.kCacheQuantizationType", unchecked("f16")),
    ("llamaVCacheQuantizationType", "q4_0", "llm.load.llama.vCacheQuantizationType", checked("q4_0")),
    ("llamaVCacheQuantizationType", False, "llm.load.llama.vCacheQuantizationType", unchecked("f16")),
    ("mlxDiskCache", False, "llm.load.mlx.diskCache", False),
    ("mlxKvCacheQuantization", MLX_CACHE, "llm.load.mlx.kvCacheQuantization", MLX_CACHE),
    (
        "mlxKvCacheQuantization",
        False,
        "llm.load.mlx.kvCacheQuantization",
        {"enabled": False, "bits": 8, "groupSize": 64, "quantizedStart": 5000},
    ),
    ("gpu", {"ratio": 0.5}, "llm.load.llama.acceleration.offloadRatio", 0.5),
    ("gpu", {"ratio": "max"}, "llm.load.llama.acceleration.offloadRatio", "max"),
    ("gpu", {"ratio": "off"}, "llm.load.llama.acceleration.offloadRatio", "off"),
    ("gpu", {"numCpuExpertLayersRatio": "off"}, "llm.load.numCpuExpertLayersRatio", "off"),
    ("gpu", {"mainGpu": 1, "splitStrategy": "favorMainGpu", "disabledGpus": [2]}, "load.gpuSplitConfig", SPLIT),
]

EMBEDDING_LOAD: list[tuple[str, Any, str, Any]] = [
    ("contextLength", 512, "embedding.load.contextLength", 512),
    ("ropeFrequencyBase", 1.5, "embedding.load.llama.ropeFrequencyBase", checked(1.5)),
    ("ropeFrequencyBase", False, "embedding.load.llama.ropeFrequencyBase", unchecked(0)),
    ("ropeFrequencyScale", 1.5, "embedding.load.llama.ropeFrequencyScale", checked(1.5)),
    ("ropeFrequencyScale", False, "embedding.load.llama.ropeFrequencyScale", unchecked(0)),
    ("keepModelInMemory", True, "embedding.load.llama.keepModelInMemory", True),
    ("tryMmap", False, "embedding.load.llama.tryMmap", False),
    ("gpu", {"mainGpu": 1, "splitStrategy": "favorMainGpu", "disabledGpus": [2]}, "load.gpuSplitConfig", SPLIT),
    ("gpu", {"ratio": 0.5, "splitStrategy": "evenly"}, "embedding.load.llama.acceleration.offloadRatio", 0.5),
]

TOOLS = {"type": "toolArray", "tools": [{"type": "function", "function": {"name": "add", "description": "Adds."}}]}
MANUAL = {
    "type": "manual",
    "stopStrings": ["#"],
    "manualPromptTemplate": {
        "beforeSystem": "a",
        "afterSystem": "b",
        "beforeUser": "c",
        "afterUser": "d",
        "beforeAssistant": "e",
        "afterAssistant": "f",
    },
}
PARSING = {"enabled": True, "startString": "<think>", "endString": "</think>"}
STRUCTURED = {"type": "json", "jsonSchema": {"type": "object", "properties": {"b": {}, "a": {}}}}

PREDICTION: list[tuple[str, Any, str, Any]] = [
    ("temperature", 0.0, "temperature", 0.0),
    ("contextOverflowPolicy", "rollingWindow", "contextOverflowPolicy", "rollingWindow"),
    ("maxTokens", 100, "maxPredictedTokens", checked(100)),
    ("maxTokens", False, "maxPredictedTokens", unchecked(1)),
    ("reasoningBudget", 0, "reasoning.budgetTokens", checked(0)),
    ("reasoningBudget", False, "reasoning.budgetTokens", unchecked(1024)),
    ("stopStrings", ["a", "b"], "stopStrings", ["a", "b"]),
    ("stopStrings", [], "stopStrings", []),
    ("toolCallStopStrings", ["a"], "toolCallStopStrings", ["a"]),
    ("structured", STRUCTURED, "structured", STRUCTURED),
    ("rawTools", TOOLS, "tools", TOOLS),
    ("rawTools", {"type": "none"}, "tools", {"type": "none"}),
    ("toolChoice", {"type": "generic", "mode": "required"}, "toolChoice", {"type": "generic", "mode": "required"}),
    ("toolNaming", "snakeCase", "toolNaming", "snakeCase"),
    ("topKSampling", 40.0, "topKSampling", 40.0),
    ("repeatPenalty", 1.2, "repeatPenalty", checked(1.2)),
    ("repeatPenalty", False, "repeatPenalty", unchecked(1.1)),
    ("presencePenalty", 0.5, "llama.presencePenalty", checked(0.5)),
    ("presencePenalty", False, "llama.presencePenalty", unchecked(0)),
    ("minPSampling", 0.1, "minPSampling", checked(0.1)),
    ("minPSampling", False, "minPSampling", unchecked(0.05)),
    ("topPSampling", 0.9, "topPSampling", checked(0.9)),
    ("topPSampling", False, "topPSampling", unchecked(0.95)),
    ("xtcProbability", 0.1, "llama.xtcProbability", checked(0.1)),
    ("xtcProbability", False, "llama.xtcProbability", unchecked(0)),
    ("xtcThreshold", 0.1, "llama.xtcThreshold", checked(0.1)),
    ("xtcThreshold", False, "llama.xtcThreshold", unchecked(0)),
    ("logProbs", 3, "logProbs", checked(3)),
    ("logProbs", False, "logProbs", unchecked(0)),
    ("cpuThreads", 4, "llama.cpuThreads", 4),
    ("enableThinking", False, "reasoning.enableThinking", False),
    ("promptTemplate", MANUAL, "promptTemplate", MANUAL),
    ("draftModel", "tiny", "speculativeDecoding.draftModel", "tiny"),
    ("speculativeDecodingNumDraftTokensExact", 2, "speculativeDecoding.numDraftTokensExact", 2),
    ("speculativeDecodingMinDraftLengthToConsider", 0, "speculativeDecoding.minDraftLengthToConsider", 0),
    (
        "speculativeDecodingMinContinueDraftingProbability",
        0.5,
        "speculativeDecoding.minContinueDraftingProbability",
        0.5,
    ),
    ("reasoningParsing", PARSING, "reasoning.parsing", PARSING),
    ("userMaxImageDimensionPixels", 512, "vision.userMaxImageDimensionPixels", checked(512)),
    ("userMaxImageDimensionPixels", False, "vision.userMaxImageDimensionPixels", unchecked(1024)),
    ("ignoreModelPreferredMaxImageDimension", True, "vision.ignoreModelPreferredMaxImageDimension", True),
]
PREDICTION = [(member, value, f"llm.prediction.{key}", sent) for member, value, key, sent in PREDICTION]

KINDS: list[tuple[type[Any], Callable[[Any], KvConfig], Callable[[KvConfig], Any], list[tuple[str, Any, str, Any]]]] = [
    (LlmLoadModelConfig, llm_load_config_to_kv, llm_load_config_from_kv, LLM_LOAD),
    (EmbeddingLoadModelConfig, embedding_load_config_to_kv, embedding_load_config_from_kv, EMBEDDING_LOAD),
    (LlmPredictionConfig, prediction_config_to_kv, prediction_config_from_kv, PREDICTION),
]
ROWS = [(cls, to_kv, from_kv, *row) for cls, to_kv, from_kv, rows in KINDS for row in rows]
ROW_NAMES = [f"{cls.__name__}.{member}={value!r:.20}" for cls, _, _, member, value, _, _ in ROWS]
rows = pytest.mark.parametrize(("cls", "to_kv", "from_kv", "member", "value", "key", "sent"), ROWS, ids=ROW_NAMES)

# The table -----------------------------------------------------------------------------------------------------------


@rows
def test_a_member_becomes_its_field(
    cls: Any, to_kv: Any, from_kv: Any, member: str, value: Any, key: str, sent: Any
) -> None:
    assert wire(to_kv({member: value}))[key] == sent


@rows
def test_a_field_becomes_its_member_again(
    cls: Any, to_kv: Any, from_kv: Any, member: str, value: Any, key: str, sent: Any
) -> None:
    typed = from_kv(kv(wire(to_kv({member: value})))).to_dict()
    assert typed[member] == value
    assert not isinstance(value, bool) or typed[member] is value


@rows
def test_struct_and_dict_and_both_spellings_mean_the_same(
    cls: Any, to_kv: Any, from_kv: Any, member: str, value: Any, key: str, sent: Any
) -> None:
    struct = cls.from_dict({member: value})
    snake = next(item.name for item in msgspec.structs.fields(cls) if item.encode_name == member)
    others = [{member: value}, {snake: value}, {snake: getattr(struct, snake)}]
    assert {_wire.encode(to_kv(config)) for config in others} == {_wire.encode(to_kv(struct))}


@pytest.mark.parametrize(("cls", "to_kv", "from_kv", "table"), KINDS)
def test_every_member_is_in_the_table(cls: Any, to_kv: Any, from_kv: Any, table: Any) -> None:
    members = {item.encode_name for item in msgspec.structs.fields(cls)} - {"autoFit", "raw"}
    assert {row[0] for row in table} == members


@pytest.mark.parametrize(("cls", "to_kv", "from_kv", "table"), KINDS)
def test_every_member_that_may_be_false_has_a_false_form(cls: Any, to_kv: Any, from_kv: Any, table: Any) -> None:
    for item in msgspec.structs.fields(cls):
        annotation = str(item.type)
        is_switch = "bool" in annotation and not annotation.startswith(("bool |", "typing.Optional[bool]"))
        assert is_switch == any(row[0] == item.encode_name and row[1] is False and row[3] is not False for row in table)


# Keys of the protocol that no member of the typed configurations stands for. Reach them with `raw`.
WITHOUT_MEMBER = {
    "envVars",
    "llm.prediction.speculativeDecoding.numReuseTokens",
    "llm.prediction.speculativeDecoding.maxTokensToDraft",
    "llm.prediction.systemPrompt",
    "llm.prediction.seed",
    "llm.prediction.contextPrefill",
    "llm.prediction.llama.frequencyPenalty",
    "llm.prediction.llama.mirostatSampling",
    "llm.prediction.llama.tailFreeSampling",
    "llm.prediction.llama.locallyTypicalSampling",
    "llm.prediction.llama.logitBias",
    "llm.load.autoFitMinContextLength",
    "llm.load.llama.cpuThreadPoolSize",
    "llm.load.vllm.gpuMemoryUtilization",
    "llm.load.vllm.reasoningParser",
    "llm.load.vllm.toolCallParser",
    "embedding.load.seed",
    "embedding.load.llama.evalBatchSize",
    "retrieval.databaseFile",
    "retrieval.chunkingMethod",
    "retrieval.limit",
    "retrieval.embeddingModel",
}


def test_every_key_of_the_protocol_is_known() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["kvConfig"]
    of_the_protocol = {item["key"] for item in schema["fields"]}
    mapped = {row[2] for _, _, _, table in KINDS for row in table} | {*ALL_AUTO_FIT, *NO_SIDECARS}
    assert of_the_protocol == mapped | WITHOUT_MEMBER
    assert not mapped & WITHOUT_MEMBER
    assert schema["extensionPrefixes"] == ["ext.virtualModel.customField."]


def test_false_forms_have_the_type_that_the_server_checks() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))["kvConfig"]
    defaults = {item["key"]: item["default"] for item in schema["fields"]}
    for _, to_kv, _, table in KINDS:
        for member, value, key, _ in table:
            if value is False and isinstance(defaults[key], dict):
                sent = wire(to_kv({member: False}))[key]
                assert sent.keys() == defaults[key].keys()
                assert [type(item) for item in sent.values() if isinstance(item, str)] == [
                    type(item) for item in defaults[key].values() if isinstance(item, str)
                ]


# Nothing in, nothing out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "to_kv", "from_kv", "table"), KINDS)
def test_what_is_absent_produces_no_field(cls: Any, to_kv: Any, from_kv: Any, table: Any) -> None:
    for nothing in (None, {}, cls(), {table[0][0]: None}):
        assert wire(to_kv(nothing)) == {}


@pytest.mark.parametrize(("cls", "to_kv", "from_kv", "table"), KINDS)
def test_no_fields_are_no_settings(cls: Any, to_kv: Any, from_kv: Any, table: Any) -> None:
    assert {key: value for key, value in from_kv(kv({})).to_dict().items() if key != "raw"} == {}


def test_a_stack_has_the_one_layer_that_clients_send() -> None:
    config = kv({"llm.load.contextLength": 5})
    assert json.loads(_wire.encode(override_stack(config))) == {
        "layers": [
            {
                "layerName": "apiOverride",
                "config": {"fields": [{"key": "llm.load.contextLength", "value": 5}]},
            }
        ]
    }


# GPU and automatic fitting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "split"),
    [
        ({"mainGpu": 0}, {"strategy": "evenly", "disabledGpus": [], "priority": [0], "customRatio": []}),
        ({"splitStrategy": "evenly"}, {"strategy": "evenly", "disabledGpus": [], "priority": [], "customRatio": []}),
        ({"disabledGpus": [1]}, {"strategy": "evenly", "disabledGpus": [1], "priority": [], "customRatio": []}),
        ({"disabledGpus": []}, None),
        ({"ratio": 1}, None),
        ({}, None),
    ],
)
def test_the_split_is_sent_if_something_about_it_is_given(gpu: Any, split: Any) -> None:
    assert wire(llm_load_config_to_kv({"gpu": gpu})).get("load.gpuSplitConfig") == split
    assert wire(embedding_load_config_to_kv({"gpu": gpu}))["load.gpuSplitConfig"] == (
        split or {"strategy": "evenly", "disabledGpus": [], "priority": [], "customRatio": []}
    )


@pytest.mark.parametrize(
    ("split", "gpu"),
    [
        (SPLIT, {"splitStrategy": "favorMainGpu", "mainGpu": 1, "disabledGpus": [2]}),
        ({**SPLIT, "priority": [2, 0, 1]}, {"splitStrategy": "favorMainGpu", "mainGpu": 0, "disabledGpus": [2]}),
        ({**SPLIT, "priority": [2]}, {"splitStrategy": "favorMainGpu", "disabledGpus": [2]}),
        ({**SPLIT, "strategy": "evenly", "priority": [], "disabledGpus": []}, {"splitStrategy": "evenly"}),
        ({**SPLIT, "strategy": "tensor", "priority": []}, {"disabledGpus": [2]}),
        ({**SPLIT, "strategy": "custom", "disabledGpus": []}, {"mainGpu": 1}),
        ({**SPLIT, "strategy": ["new"]}, {"mainGpu": 1, "disabledGpus": [2]}),
        ({"strategy": "evenly"}, {"splitStrategy": "evenly"}),
        ({**SPLIT, "disabledGpus": 5, "priority": "x"}, {"splitStrategy": "favorMainGpu"}),
        ("evenly", None),
        ({}, None),
        (None, None),
    ],
)
def test_the_split_is_read_as_lmstudio_js_does(split: Any, gpu: Any) -> None:
    for from_kv in (llm_load_config_from_kv, embedding_load_config_from_kv):
        assert from_kv(kv({"load.gpuSplitConfig": split})).to_dict().get("gpu") == gpu


@pytest.mark.parametrize("value", [True, False])
def test_automatic_fitting_is_sent_for_every_engine(value: bool) -> None:
    sent = wire(llm_load_config_to_kv({"autoFit": value}))
    assert sent == dict.fromkeys(ALL_AUTO_FIT, value)
    assert llm_load_config_from_kv(kv(sent)).auto_fit is value
    assert llm_load_config_from_kv(kv({"llm.load.mlx.autoFit": value})).auto_fit is value


MANUAL_SETTINGS: list[tuple[str, Any]] = [
    ("context_length", 4096),
    ("gpu_strict_vram_cap", False),
    ("gpu", {"ratio": 0.5}),
    ("gpu", {"numCpuExpertLayersRatio": 0}),
    ("gpu", {"mainGpu": 0}),
    ("gpu", {"splitStrategy": "evenly"}),
]


@pytest.mark.parametrize(("member", "value"), MANUAL_SETTINGS)
def test_a_manual_setting_switches_automatic_fitting_off(member: str, value: Any) -> None:
    assert wire(llm_load_config_to_kv({member: value})).items() >= NO_AUTO_FIT.items()
    assert wire(llm_load_config_to_kv({member: value, "autoFit": False})).items() >= NO_AUTO_FIT.items()
    with pytest.raises(LMStudioValueError, match=f"auto_fit=True chooses what {member}"):
        llm_load_config_to_kv({member: value, "autoFit": True})


@pytest.mark.parametrize(("member", "value"), [("gpu", {"disabledGpus": [1]}), ("seed", 1), ("flash_attention", True)])
def test_other_settings_leave_automatic_fitting_alone(member: str, value: Any) -> None:
    assert not wire(llm_load_config_to_kv({member: value})).keys() & NO_AUTO_FIT.keys()
    assert (
        wire(llm_load_config_to_kv({member: value, "autoFit": True})).items()
        >= dict.fromkeys(ALL_AUTO_FIT, True).items()
    )


# Speculative decoding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"speculativeDraftMtp": True},
        {"speculativeDraftMtp": False},
        {"speculativeDraftSimple": True, "speculativeDraftModel": "tiny"},
        {"speculativeDraftModel": ""},
    ],
)
def test_naming_a_way_to_draft_switches_the_sidecars_off(config: dict[str, Any]) -> None:
    assert wire(llm_load_config_to_kv(config)).items() >= NO_SIDECARS.items()


def test_limits_of_drafting_leave_the_sidecars_alone() -> None:
    assert not wire(llm_load_config_to_kv({"speculativeDraftMaxTokens": 3})).keys() & NO_SIDECARS.keys()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (
            {"speculativeDraftMtp": True, "speculativeDraftSimple": True, "speculativeDraftModel": "t"},
            "exclude each other",
        ),
        ({"speculativeDraftSimple": True}, "need each other"),
        ({"speculativeDraftSimple": True, "speculativeDraftModel": ""}, "need each other"),
        ({"speculativeDraftModel": "tiny"}, "need each other"),
        ({"speculativeDraftModel": "tiny", "speculativeDraftSimple": False}, "need each other"),
        ({"speculativeDraftMinTokens": 4, "speculativeDraftMaxTokens": 3}, r"\(4\) exceeds .* \(3\)"),
    ],
)
def test_drafting_that_contradicts_itself_is_refused(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LMStudioValueError, match=complaint):
        llm_load_config_to_kv(config)


def test_equal_limits_of_drafting_are_fine() -> None:
    assert wire(llm_load_config_to_kv({"speculativeDraftMinTokens": 3, "speculativeDraftMaxTokens": 3}))


# Predictions: raw fields and structured output -----------------------------------------------------------------------


def test_raw_fields_come_first_and_members_override_them() -> None:
    raw = kv({"llm.prediction.seed": checked(5), "llm.prediction.temperature": 0.1, "ext.new": {"b": 1, "a": 2}})
    config = prediction_config_to_kv(LlmPredictionConfig(raw=raw, temperature=0.9, top_k_sampling=5))
    assert [(item.key, item.value) for item in config.fields] == [
        ("llm.prediction.seed", checked(5)),
        ("llm.prediction.temperature", 0.9),
        ("ext.new", {"b": 1, "a": 2}),
        ("llm.prediction.topKSampling", 5.0),
    ]


@pytest.mark.parametrize("raw", [{"fields": [{"key": "x", "value": None}]}, kv({"x": None})])
def test_raw_fields_may_be_a_dict_or_a_struct(raw: Any) -> None:
    assert [(item.key, item.value) for item in prediction_config_to_kv({"raw": raw}).fields] == [("x", None)]


def test_a_raw_field_without_a_value_stays_without_one() -> None:
    config = prediction_config_to_kv({"raw": {"fields": [{"key": "x"}]}})
    assert _wire.encode(config) == b'{"fields":[{"key":"x"}]}'


def test_a_structured_setting_is_added() -> None:
    setting = LlmStructuredPredictionSetting(type="gbnf", gbnf_grammar="root ::= x")
    assert wire(prediction_config_to_kv(None, structured=setting)) == {
        "llm.prediction.structured": {"type": "gbnf", "gbnfGrammar": "root ::= x"}
    }


def test_a_read_prediction_configuration_keeps_all_fields() -> None:
    config = kv({"llm.prediction.temperature": 0.5, "llm.prediction.new": {"a": 1}})
    typed = prediction_config_from_kv(config)
    assert typed.temperature == 0.5
    assert typed.raw == config
    assert prediction_config_to_kv(typed) == config


@pytest.mark.parametrize("name", ["maxTokens", "userMaxImageDimensionPixels"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_must_be_at_least_one(name: str, value: int) -> None:
    with pytest.raises(LMStudioValueError, match=r"at least|>= 1"):
        prediction_config_to_kv({name: value})


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "config", "hint"),
    [
        (LlmLoadModelConfig, {"context_lenght": 1}, "has no setting 'context_lenght'. Did you mean 'context_length'?"),
        (LlmLoadModelConfig, {"contextLenght": 1}, "has no setting 'contextLenght'. Did you mean 'contextLength'?"),
        (LlmPredictionConfig, {"max_token": 1}, "Did you mean 'max_tokens'?"),
        (LlmPredictionConfig, {"zzz": 1}, "LlmPredictionConfig has no setting 'zzz'.$"),
        (LlmPredictionConfig, {5: 1}, "has no setting 5"),
        (
            LlmLoadModelConfig,
            {"gpu": {"ratoi": 1}},
            "LlmLoadModelConfig.gpu has no setting 'ratoi'. Did you mean 'ratio'?",
        ),
        (LlmLoadModelConfig, LlmLoadModelConfig(gpu={"ratoi": 1}), "gpu has no setting 'ratoi'"),  # type: ignore[arg-type]
        (LlmPredictionConfig, {"reasoning_parsing": {"start": "x"}}, "reasoning_parsing has no setting 'start'"),
        (LlmPredictionConfig, {"temperature": "hot"}, r"Bad value in LlmPredictionConfig: .*\$.temperature"),
        (LlmPredictionConfig, LlmPredictionConfig(temperature="hot"), r"\$.temperature"),  # type: ignore[arg-type]
        (LlmPredictionConfig, LlmPredictionConfig(temperature=object()), "Bad value"),  # type: ignore[arg-type]
        (LlmPredictionConfig, {"temperature": object()}, r"\$.temperature"),
        (LlmPredictionConfig, {"temperature": -1}, r">= 0.*\$.temperature"),
        (LlmPredictionConfig, {"context_overflow_policy": "panic"}, "'panic'"),
        (LlmLoadModelConfig, {"context_length": 0}, r"\$.contextLength"),
        (LlmLoadModelConfig, {"context_length": 1.5}, r"\$.contextLength"),
        (LlmLoadModelConfig, {"gpu": {"ratio": 2}}, r"\$.gpu.ratio"),
        (LlmLoadModelConfig, {"gpu": "max"}, r"\$.gpu"),
        (LlmLoadModelConfig, EmbeddingLoadModelConfig(), "Expected LlmLoadModelConfig or a dict, got Embedding"),
        (LlmLoadModelConfig, "max", "Expected LlmLoadModelConfig or a dict, got str"),
        (LlmLoadModelConfig, [("seed", 1)], "Expected LlmLoadModelConfig or a dict, got list"),
    ],
)
def test_a_bad_configuration_is_refused_with_the_place(cls: Any, config: Any, hint: str) -> None:
    with pytest.raises(LMStudioValueError, match=hint):
        read_config(cls, config)


@pytest.mark.parametrize(
    ("to_kv", "member"),
    [(to_kv, row[0]) for _, to_kv, _, table in KINDS for row in table if row[1] is False and row[3] is not False],
)
def test_a_setting_with_a_value_cannot_be_true(to_kv: Any, member: str) -> None:
    with pytest.raises(LMStudioValueError, match="cannot be True: give a value, or False to switch it off"):
        to_kv({member: True})


def test_a_configuration_may_be_any_mapping() -> None:
    from types import MappingProxyType

    assert wire(llm_load_config_to_kv(MappingProxyType({"seed": 1}))) == {"llm.load.seed": checked(1)}


def test_a_given_configuration_is_not_changed() -> None:
    config = {"gpu": {"main_gpu": 1}, "raw": None}
    llm_load_config_to_kv(LlmLoadModelConfig(gpu=GpuSetting(main_gpu=1)))
    del config["raw"]
    llm_load_config_to_kv(config)
    assert config == {"gpu": {"main_gpu": 1}}


# Odd fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("junk", [None, 5, "x", True, [], {}, {"checked": 1}, {"checked": True}, {"a": {}}, [None]])
def test_odd_values_of_known_keys_never_fail(junk: Any) -> None:
    for _, _, from_kv, table in KINDS:
        for row in table:
            from_kv(kv({row[2]: junk, **dict.fromkeys(ALL_AUTO_FIT, junk)})).to_dict()


def test_unknown_keys_and_fields_without_a_value_are_ignored() -> None:
    config = KvConfig(
        fields=[
            KvConfigField(key="llm.load.brandNew", value=1),
            KvConfigField(key="llm.load.contextLength"),
            KvConfigField(key="llm.load.seed"),
            KvConfigField(key="llm.load.numExperts", value=3),
        ]
    )
    assert llm_load_config_from_kv(config).to_dict() == {"numExperts": 3}


def test_new_enumeration_values_are_kept() -> None:
    config = llm_load_config_from_kv(kv({"llm.load.llama.kCacheQuantizationType": checked("q2_x")}))
    assert config.llama_k_cache_quantization_type == "q2_x"  # type: ignore[comparison-overlap]  # a newer server's


def test_one_odd_value_does_not_spoil_the_others() -> None:
    config = llm_load_config_from_kv(kv({"llm.load.contextLength": "long", "llm.load.seed": checked(5)}))
    assert config.to_dict() == {"seed": 5}


def test_the_last_of_two_equal_keys_counts() -> None:
    fields = [KvConfigField(key="llm.load.contextLength", value=value) for value in (1, 2)]
    assert llm_load_config_from_kv(KvConfig(fields=fields)).context_length == 2
