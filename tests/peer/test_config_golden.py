"""Configurations travel as those of lmstudio.js: the same input through both, field by field, in both directions.

The cases are made from the cached schema of lmstudio.js. A member or key that a new release adds is in them by itself,
and fails here until it is handled. Where the two differ on purpose, a constant below says so and why.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio import _wire
from lmstudio._kv_config import (
    embedding_load_config_from_kv,
    embedding_load_config_to_kv,
    llm_load_config_from_kv,
    llm_load_config_to_kv,
    prediction_config_from_kv,
    prediction_config_to_kv,
)
from lmstudio._sdk_models import KvConfig
from lmstudio.errors import LMStudioValueError

from .node_peer import answers_of_script

if TYPE_CHECKING:
    from types import ModuleType


def _load_samples() -> ModuleType:
    path = Path(__file__).parents[1] / "sdk_schema" / "sdk_schema_samples.py"
    spec = importlib.util.spec_from_file_location("config_golden_samples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_SAMPLES = _load_samples()
DEFINITIONS: dict[str, Any] = _SAMPLES.DEFINITIONS
KEYS: dict[str, Any] = {field["key"]: field for field in _SAMPLES.DOCUMENT["kvConfig"]["fields"]}

KINDS = {"llm": "LlmLoadModelConfig", "embedding": "EmbeddingLoadModelConfig", "prediction": "LlmPredictionConfig"}
TO_KV: dict[str, Any] = {
    "llm": llm_load_config_to_kv,
    "embedding": embedding_load_config_to_kv,
    "prediction": prediction_config_to_kv,
}
FORMATS = ("gguf", "safetensors", "torch_safetensors", "yuzu")
MEMBERS = [(kind, member) for kind, name in KINDS.items() for member in DEFINITIONS[name]["properties"]]

# Differences on purpose ----------------------------------------------------------------------------------------------

# lmstudio.js has these in its types and forgets to send them.
ONLY_WE_SEND = {
    "llm.prediction.llama.xtcProbability",
    "llm.prediction.llama.xtcThreshold",
    "embedding.load.llama.acceleration.offloadRatio",
}
# lmstudio.js ignores these without a word.
ONLY_WE_REFUSE = [
    {"kind": "embedding", "config": {"gpu": {"numCpuExpertLayersRatio": 1}}},
    {"kind": "llm", "config": {"contextLenght": 5}},
    {"kind": "embedding", "config": {"gpu": {"ratoi": 5}}},
    {
        "kind": "prediction",
        "config": {"reasoningParsing": {"enabled": False, "startString": "", "endString": "", "x": 1}},
    },
    {"kind": "prediction", "config": {"xtcProbability": 2}},
]


def _as_lmstudio_js_reads(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """What lmstudio.js would return for what we return: it has an empty list of unused GPUs, and no embedding ratio."""
    result = dict(config)
    gpu = dict(result.pop("gpu", {}))
    if kind == "embedding":
        gpu.pop("ratio", None)
    return result | ({"gpu": gpu} if gpu else {})


def _without_empty_lists_of_gpus(config: dict[str, Any]) -> dict[str, Any]:
    gpu = {name: value for name, value in config.get("gpu", {}).items() if value != []}
    return {name: value for name, value in config.items() if name != "gpu"} | ({"gpu": gpu} if gpu else {})


# Cases ---------------------------------------------------------------------------------------------------------------


def _edges(values: list[Any]) -> list[Any]:
    """Numbers in, at and out of bounds, where the values have numbers."""
    is_number = any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return [-2, -1, 0, 0.5, 1, 1.5, 100, 101, 500, 501, 1023, 1024] if is_number else []


def member_cases(kind: str, member: str) -> list[dict[str, Any]]:
    """Every form of one member that its schema admits, and numbers around its bounds."""
    values = _SAMPLES.samples(DEFINITIONS[KINDS[kind]]["properties"][member])
    if (kind, member) == ("embedding", "gpu"):  # refused: see ONLY_WE_REFUSE
        values = [{name: item for name, item in gpu.items() if name != "numCpuExpertLayersRatio"} for gpu in values]
    return [{"kind": kind, "config": {member: value}} for value in values + _edges(values)]


def gpu_cases(kind: str) -> list[dict[str, Any]]:
    settings: list[dict[str, Any]] = [
        {},
        {"disabledGpus": []},
        {"disabledGpus": [1]},
        {"disabledGpus": [-1]},
        {"mainGpu": 0},
        {"mainGpu": -1},
        {"mainGpu": 1, "splitStrategy": "evenly"},
        {"mainGpu": 1, "splitStrategy": "favorMainGpu", "disabledGpus": [0, 2]},
        {"ratio": 0},
        {"ratio": 1},
        {"ratio": 1.5},
        {"ratio": "half"},
    ]
    return [{"kind": kind, "config": {"gpu": setting}} for setting in settings]


COMBINATIONS: list[dict[str, Any]] = [
    {"autoFit": True, "seed": 5, "gpu": {"disabledGpus": [1]}},
    {"autoFit": True, "contextLength": 5},
    {"autoFit": True, "gpuStrictVramCap": False},
    {"autoFit": True, "gpu": {"ratio": "max"}},
    {"autoFit": True, "gpu": {"numCpuExpertLayersRatio": "off"}},
    {"autoFit": True, "gpu": {"mainGpu": 0}},
    {"autoFit": True, "gpu": {"splitStrategy": "evenly"}},
    {"autoFit": False, "contextLength": 5, "gpu": {"ratio": 0.5, "numCpuExpertLayersRatio": 0.5}},
    {"speculativeDraftSimple": True, "speculativeDraftModel": "draft"},
    {"speculativeDraftSimple": True, "speculativeDraftModel": ""},
    {"speculativeDraftSimple": False, "speculativeDraftModel": "draft"},
    {"speculativeDraftSimple": True, "speculativeDraftMtp": True, "speculativeDraftModel": "draft"},
    {"speculativeDraftMaxTokens": 2, "speculativeDraftMinTokens": 3},
    {"speculativeDraftMaxTokens": 3, "speculativeDraftMinTokens": 3},
]
RAW = {"fields": [{"key": "llm.prediction.temperature", "value": 0.1}, {"key": "new", "value": {"b": 1, "a": [None]}}]}
SCHEMA = {"type": "object", "properties": {"b_c": {"x_y": 1}, "a": {"enum": ["z", "a"]}}, "required": ["b_c"]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
PREDICTIONS: list[dict[str, Any]] = [
    {"raw": RAW, "temperature": 0.9, "topKSampling": 5},
    {"raw": RAW},
    {"stopStrings": [""]},
    {"structured": {"type": "json", "jsonSchema": SCHEMA}},
    {"rawTools": {"type": "toolArray", "tools": [TOOL]}},
    {"rawTools": {"type": "toolArray", "tools": [{"type": "function", "function": {"name": "f"}}]}},
    {"rawTools": {"type": "toolArray", "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}},
    {"rawTools": {"type": "toolArray"}},
]
SPLITS = [
    {"strategy": strategy, "disabledGpus": disabled, "priority": priority, "customRatio": ratio}
    for strategy in ("evenly", "priorityOrder", "tensor", "custom")
    for disabled in ([], [1])
    for priority in ([], [1, 2], [1])
    for ratio in ([], [0, 1], [1, 1])
]


def forward_cases() -> list[dict[str, Any]]:
    cases = [case for kind, member in MEMBERS for case in member_cases(kind, member)]
    cases += [case for kind in ("llm", "embedding") for case in gpu_cases(kind)]
    cases += [{"kind": "llm", "config": config} for config in COMBINATIONS]
    return cases + [{"kind": "prediction", "config": config} for config in PREDICTIONS] + ONLY_WE_REFUSE


def key_samples(key: str) -> list[Any]:
    """Values of a key; one key takes names of environment variables, which its schema does not list."""
    return [{}] if key == "envVars" else list(_SAMPLES.samples(KEYS[key]["schema"]))


def reading_cases() -> list[dict[str, Any]]:
    """Each key alone with each form of its value, and all of them together; load keys for each model format."""
    singles = [{key: value} for key in KEYS for value in key_samples(key)]
    everything = {key: key_samples(key)[-1] for key in KEYS}
    fits = [everything | {f"llm.load.{name}.autoFit": is_fitted for name in ENGINES} for is_fitted in (True, False)]
    splits = [{"load.gpuSplitConfig": split} for split in SPLITS]
    configs = [
        {"fields": [{"key": key, "value": value} for key, value in fields.items()]}
        for fields in [{}, *singles, *fits, *splits]
    ]
    kinds = [("llm", name) for name in FORMATS] + [("embedding", "gguf"), ("prediction", "gguf")]
    return [{"kind": kind, "kv": kv, "format": name} for kind, name in kinds for kv in configs]


ENGINES = ("llama", "mlx", "yuzu")

# Both sides ----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """One text for equal values: JSON knows no difference between 1 and 1.0, but one between 1 and true."""
    return json.dumps(value, sort_keys=True)


@functools.cache
def js_answers() -> dict[str, dict[str, Any]]:
    """What lmstudio.js makes of every case, by the text of the case. One process answers all."""
    cases = forward_cases() + reading_cases()
    return dict(zip(map(_text, cases), answers_of_script("config_golden.mjs", cases), strict=True))


def sent_by_us(case: dict[str, Any]) -> dict[str, Any] | None:
    """The fields we send for a case, in their order; None if it is refused."""
    try:
        config = TO_KV[case["kind"]](case["config"])
    except LMStudioValueError:
        return None
    fields = json.loads(_wire.encode(config), parse_float=_number)["fields"]
    return {field["key"]: field["value"] for field in fields}


def sent_by_js(case: dict[str, Any]) -> dict[str, Any] | None:
    answer = js_answers()[_text(case)]
    return None if "error" in answer else {field["key"]: field["value"] for field in answer["fields"]}


def read_by_us(case: dict[str, Any]) -> dict[str, Any]:
    config = KvConfig.from_dict(case["kv"])
    if case["kind"] == "prediction":
        typed: Any = prediction_config_from_kv(config, with_defaults=True)
    else:
        read = llm_load_config_from_kv if case["kind"] == "llm" else embedding_load_config_from_kv
        typed = read(config, case["format"])
    result: dict[str, Any] = json.loads(_wire.encode(typed), parse_float=_number)
    return result


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


# Typed -> wire -------------------------------------------------------------------------------------------------------


def assert_sent_alike(cases: list[dict[str, Any]]) -> None:
    for case in cases:
        ours, theirs = sent_by_us(case), sent_by_js(case)
        if ours is not None:
            ours = {key: value for key, value in ours.items() if key not in ONLY_WE_SEND}
        assert _text(ours) == _text(theirs), case


@pytest.mark.parametrize(("kind", "member"), MEMBERS)
def test_member_is_sent_as_lmstudio_js_sends_it(kind: str, member: str) -> None:
    cases = [case for case in member_cases(kind, member) if not (member.startswith("xtc") and sent_by_us(case) is None)]

    assert_sent_alike(cases)
    assert any(sent_by_us(case) for case in cases) or member in NEEDS_ANOTHER


# Members that no value makes valid alone; the combinations have them.
NEEDS_ANOTHER = {"speculativeDraftModel"}


@pytest.mark.parametrize("kind", ["llm", "embedding"])
def test_placement_on_gpus_is_sent_as_lmstudio_js_sends_it(kind: str) -> None:
    assert_sent_alike(gpu_cases(kind))


@pytest.mark.parametrize("config", COMBINATIONS, ids=str)
def test_members_that_depend_on_each_other_are_treated_alike(config: dict[str, Any]) -> None:
    assert_sent_alike([{"kind": "llm", "config": config}])


@pytest.mark.parametrize("config", PREDICTIONS, ids="+".join)
def test_schemas_and_raw_fields_are_sent_alike(config: dict[str, Any]) -> None:
    assert_sent_alike([{"kind": "prediction", "config": config}])


@pytest.mark.parametrize("case", ONLY_WE_REFUSE, ids=str)
def test_what_lmstudio_js_ignores_is_refused(case: dict[str, Any]) -> None:
    assert sent_by_us(case) is None
    assert sent_by_js(case) is not None


def test_what_only_we_send_is_sent() -> None:
    sent = [fields for case in forward_cases() if (fields := sent_by_us(case)) is not None]

    assert {key for fields in sent for key in fields} >= ONLY_WE_SEND


def test_every_schema_of_a_configuration_is_known_here() -> None:
    assert all(name in DEFINITIONS for name in KINDS.values())
    assert {name for name in DEFINITIONS if name.endswith(("LoadModelConfig", "PredictionConfig"))} == set(
        KINDS.values()
    )


# Wire -> typed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "model_format"), [*(("llm", name) for name in FORMATS), ("embedding", "gguf"), ("prediction", "gguf")]
)
def test_configuration_is_read_as_lmstudio_js_reads_it(kind: str, model_format: str) -> None:
    cases = [case for case in reading_cases() if (case["kind"], case["format"]) == (kind, model_format)]

    assert len(cases) > len(KEYS)
    for case in cases:
        ours, theirs = read_by_us(case), js_answers()[_text(case)]
        assert "config" in theirs, (case, theirs)
        expected = _without_empty_lists_of_gpus(theirs["config"])
        assert _text(_as_lmstudio_js_reads(kind, ours)) == _text(expected), case


def test_unknown_model_format_is_no_error() -> None:
    fields = [{"key": "llm.load.contextLength", "value": 5}, {"key": "llm.load.mlx.diskCache", "value": True}]

    config = llm_load_config_from_kv(KvConfig.from_dict({"fields": fields}), "brand-new")

    assert config.to_dict() == {"contextLength": 5, "mlxDiskCache": True}
