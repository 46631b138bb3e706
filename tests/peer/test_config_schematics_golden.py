"""Settings of plugins are described, checked, compared and shown as by lmstudio.js: the same input through both.

Where the two differ on purpose, a constant below says so and why.
"""

from __future__ import annotations

import functools
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio import _wire
from lmstudio._sdk_models import KvConfig
from lmstudio.errors import LMStudioValueError
from lmstudio.plugin.config_schemas import (
    ConfigSchematicsBuilder,
    basic_kv_value_types_library,
    create_config_schematics,
    kv_value_types_library,
)

from .node_peer import answers_of_script

if TYPE_CHECKING:
    from collections.abc import Callable

# Cases ---------------------------------------------------------------------------------------------------------------

NUMBERS = [-1, 0, 0.125, 0.5, 1, 1.005, 1.5, 2.5, -2.5, -0.001, 3, 1e-7, 123456.789, 1e21, 1.5e300]
TEXTS = ["", "a", "a\\nb", 'say "hi"\n\t\u2028', "x" * 30, "\U0001f600" * 7 + "z", "tail\\n" * 9]
LISTS: list[list[str]] = [[], ["a"], ["a", ""], ["a", "b"], ["b", "a"], ["ab", "cd\U0001f600", "ef", "gh", "ij"]]
TEMPLATE = {"template": "{{ messages }}" * 12}
MANUAL = {
    "beforeSystem": "<s>\\n",
    "afterSystem": "",
    "beforeUser": "u",
    "afterUser": "\n",
    "beforeAssistant": "a",
    "afterAssistant": "'",
}
PROMPTS: list[dict[str, Any]] = [
    {"type": "jinja", "jinjaPromptTemplate": TEMPLATE, "stopStrings": []},
    {"type": "jinja", "jinjaPromptTemplate": {"template": "short"}, "stopStrings": ["x"]},
    {"type": "jinja", "jinjaPromptTemplate": TEMPLATE, "manualPromptTemplate": MANUAL, "stopStrings": []},
    {"type": "manual", "manualPromptTemplate": MANUAL, "stopStrings": []},
    {"type": "manual", "manualPromptTemplate": {**MANUAL, "afterUser": "!"}, "stopStrings": []},
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
SPLIT = {"strategy": "evenly", "disabledGpus": [1], "priority": [], "customRatio": [0.5, 1]}
MLX = {"enabled": True, "bits": 8, "groupSize": 64, "quantizedStart": 5000}
OVERRIDE = {"enabled": True, "disabledParameters": ["a"], "overrideParameters": [], "excludeAllConfig": False}
BOUNDS = {"min": 0, "max": 2.5}
SLIDER = {"min": 0, "max": 1, "step": 0.1}

# By type: parameters, and values to try with each of them.
TYPES: dict[str, tuple[list[dict[str, Any]], list[Any]]] = {
    "numeric": ([{}, BOUNDS, {"int": True, "min": 1}, {"precision": 0}, {"precision": 5, "slider": SLIDER}], NUMBERS),
    "string": (
        [{}, {"minLength": 2, "maxLength": 14}, {"isParagraph": True}, {"isProtected": True}, {"placeholder": "p"}],
        TEXTS,
    ),
    "select": ([{"options": ["a", {"value": "b", "displayName": "B"}]}], ["a", "b", "c", ""]),
    "boolean": ([{}], [True, False]),
    "stringArray": ([{}, {"allowEmptyStrings": True, "maxNumItems": 2}], LISTS),
    "directory": ([{}, {"accessPermission": "read"}], ["", "/home"]),
    "directoryGroup": ([{"accessPermission": "none"}], LISTS),
    "checkboxNumeric": (
        [{}, BOUNDS, {"int": True}, {"precision": 1, "uncheckedHint": "off"}],
        [{"checked": checked, "value": value} for checked in (True, False) for value in (-1, 0.25, 2, 2.5)],
    ),
    "numericArray": ([{}, BOUNDS, {"int": True}], [[], [1], [1, 2.5], [1e21, 0.1, -0.5, 2.5], [-1]]),
    "contextOverflowPolicy": ([{}], ["stopAtLimit", "truncateMiddle", "rollingWindow", "other"]),
    "context": ([{}], [[], [{"type": "jsonFile", "absPath": "/a"}], [{"type": "yamlFile", "absPath": "/a"}]]),
    "contextLength": ([{}, {"max": 4096}], [0, 1, 2048, 1.5]),
    "modelIdentifier": ([{}, {"domain": ["llm", "embedding"]}], ["", "a/b"]),
    "llmPromptTemplate": ([{}], PROMPTS),
    "llamaCppArgumentsOverride": ([{}], [OVERRIDE, {**OVERRIDE, "overrideParameters": [{"key": "k", "value": "v"}]}]),
    "llmLoadPromptTemplate": ([{}], [{"type": "jinja", "jinjaPromptTemplate": {"template": text}} for text in TEXTS]),
    "llmReasoningParsing": (
        [{}],
        [{"enabled": on, "startString": start, "endString": "e"} for on in (True, False) for start in ("s", "t")],
    ),
    "llamaStructuredOutput": (
        [{}],
        [
            {"type": "none"},
            {"type": "json", "jsonSchema": {"type": "object", "required": ["a"]}},
            {"type": "json", "jsonSchema": {"type": "object"}},
            {"type": "gbnf", "gbnfGrammar": "root"},
        ],
    ),
    "speculativeDecodingDraftModel": ([{}], ["", "draft"]),
    "toolUse": ([{}], [{"type": "none"}, {"type": "toolArray", "tools": [TOOL]}, {"type": "toolArray"}]),
    "toolChoice": ([{}], [{"type": "generic", "mode": mode} for mode in ("none", "auto", "required", "x")]),
    "toolNaming": ([{}], ["passThrough", "removeSpecial", "snakeCase", "camelCase", "x"]),
    "llamaAccelerationOffloadRatio": ([{}, {"numLayers": 0}, {"numLayers": 33}], ["max", "off", 0, 1, 0.5, 0.555, 2]),
    "llamaMirostatSampling": (
        [{}],
        [{"version": version, "learningRate": 0.1, "targetEntropy": 5} for version in (0, 1, 2, 3)],
    ),
    "llamaLogitBias": ([{}], [[], [[1, "-inf"]], [[1, 0.5], [2, -3]], [[1]], [[1, "inf"]]]),
    "llamaCacheQuantizationType": (
        [{}],
        [{"checked": checked, "value": value} for checked in (True, False) for value in ("f16", "q8_0", "q9")],
    ),
    "mlxKvCacheQuantizationType": ([{}], [MLX, {**MLX, "enabled": False}, {**MLX, "bits": 4}, {**MLX, "bits": 5}]),
    "retrievalChunkingMethod": (
        [{}],
        [{"type": "recursive-v1", "chunkSize": size, "chunkOverlap": 100} for size in (512, 256, 0.5)],
    ),
    "envVars": ([{}], [{}, {"HSA_OVERRIDE_GFX_VERSION": "1"}, {"OTHER": "1"}, {"HSA_OVERRIDE_GFX_VERSION": 1}]),
    "gpuSplitConfig": ([{}], [SPLIT, {**SPLIT, "strategy": "x"}, {**SPLIT, "priority": [-1]}, {"strategy": "evenly"}]),
}
OTHERS = [None, True, 1, "1", [], [1], {}, {"checked": 1}]
"""Tried with every type."""

COMMON = {
    "displayName": "Name",
    "hint": "Hint",
    "subtitle": "Subtitle",
    "warning": "Warning",
    "modelCentric": True,
    "nonConfigurable": False,
    "engineDoesNotSupport": True,
    "machineDependent": True,
    "isExperimental": True,
    "dependencies": [{"key": "a", "condition": {"type": "notEquals", "value": ["x"]}}],
}
REFUSED_PARAMS = [
    ["numeric", {"min": "1"}],
    ["numeric", {"precision": 1.5}],
    ["numeric", {"slider": {"min": 0, "max": 1}}],
    ["select", {}],
    ["select", {"options": ["a", "a"]}],
    ["select", {"options": ["a", {"value": "a", "displayName": "A"}]}],
    ["directory", {"accessPermission": "write"}],
    ["string", {"dependencies": [{"key": "a", "condition": {"type": "like", "value": 1}}]}],
]

SCHEMATICS: list[dict[str, Any]] = [
    {
        "steps": [
            ["name", "string", {**COMMON, "placeholder": "Who?", "maxLength": 20}, "Ann"],
            ["a", "boolean", {"displayName": "A"}, False],
            ["mode", "select", {"options": ["fast", {"value": "good", "displayName": "Good"}]}, "good"],
            ["limits", [["low", "numeric", {"int": True, **BOUNDS}, 1], ["deep", [["x", "numeric", SLIDER, 0.5]]]]],
            ["folders", "directoryGroup", {"accessPermission": "readWrite"}, ["/a", "/b"]],
            ["words", "stringArray", {"maxNumItems": 3}, []],
            ["ext.custom"],
        ],
        "kv": {
            "fields": [
                {"key": "name", "value": "Bob"},
                {"key": "limits.low", "value": 0},
                {"key": "limits.deep.x"},
                {"key": "unknown", "value": 3},
                {"key": "words", "value": ["one"]},
                {"key": "words", "value": ["two"]},
            ]
        },
        "values": [["mode", "fast"], ["limits.low", 2], ["mode", "good"]],
        "extensions": [["ext.custom.field", {"any": [1, None]}]],
    },
    {"steps": []},
    {"steps": [["g", "gpuSplitConfig", {}, SPLIT], ["c", "checkboxNumeric", {}, {"checked": False, "value": 1}]]},
]
REFUSED_SCHEMATICS: list[dict[str, Any]] = [
    {"steps": [["n", "numeric", {"min": 1}, 0]]},
    {"steps": [["n", "numeric", {"int": True, "precision": 1}, 0]]},
    {"steps": [["s", "select", {"options": ["a"]}, "b"]]},
    {"steps": [["s", "string", {}, 1]]},
    {"steps": [["s", "text", {}, ""]]},
    {"steps": [["s", "string", {}, ""], ["s", "boolean", {}, True]]},
    {"steps": [["a.s", "string", {}, ""], ["a", [["s", "string", {}, ""]]]]},
    {"steps": [["s", "string", {}, ""]], "kv": {"fields": [{"key": "s", "value": None}]}},
    {"steps": [["s", "string", {"minLength": 2}, "ab"]], "kv": {"fields": [{"key": "s", "value": "a"}]}},
    {"steps": [["s", "string", {}, ""]], "values": [["t", ""]]},
    {"steps": [["s", "string", {}, ""], ["ext"]], "extensions": [["extra.x", 1]]},
]

# Differences on purpose ----------------------------------------------------------------------------------------------

# What lmstudio.js says where it does not know the number of layers.
UNKNOWN_LAYERS = "MAX (undefined)"
# lmstudio.js accepts what contradicts itself, cannot be shown, or is misspelt.
ONLY_WE_REFUSE: list[dict[str, Any]] = [
    {"steps": [["s", "select", {"options": ["", "a"]}, "a"]]},
    {"steps": [["s", "string", {"maxLenght": 3}, "a"]]},
    {"steps": [["n", "numeric", {"step": -1}, 1]]},
    {"steps": [["n", "numeric", {"slider": {"min": 1, "max": 0, "step": 1}}, 1]]},
    {"steps": [["s", "string", {"dependencies": COMMON["dependencies"]}, "a"]]},
    {"steps": [["n", "numeric", {"min": 1}, 1]], "values": [["n", 0]]},
]


def value_type_cases(key: str) -> list[dict[str, Any]]:
    all_params, values = TYPES[key]
    calls: list[tuple[str, list[Any]]] = [
        ("parseParamTypes", [key, {**params, **extra}]) for params in all_params for extra in ({}, COMMON)
    ]
    for params in all_params:
        calls += [("accepts", [key, params, value]) for value in [*values, *OTHERS]]
    good = [value for value in values if is_accepted(key, all_params[0], value)]
    calls += [("effectiveEquals", [key, all_params[0], a, b]) for a, b in itertools.product(good, repeat=2)]
    for params, length in itertools.product(all_params, (None, 0, 7, 30, 90)):
        calls += [("stringify", [key, params, value, *([] if length is None else [length])]) for value in good]
    return [{"kind": "valueType", "library": "all", "method": method, "args": args} for method, args in calls]


def is_accepted(key: str, params: dict[str, Any], value: Any, library: str = "all") -> bool:
    try:
        LIBRARIES[library].parse_value(key, params, value)
    except LMStudioValueError:
        return False
    return True


LIBRARIES = {"all": kv_value_types_library, "basic": basic_kv_value_types_library}
REFUSED_CALLS = [
    {"kind": "valueType", "library": "all", "method": "parseParamTypes", "args": a} for a in REFUSED_PARAMS
]
BASIC_CALLS = [
    {"kind": "valueType", "library": "basic", "method": "parseParamTypes", "args": [key, all_params[0]]}
    for key, (all_params, _) in TYPES.items()
]

# Both sides ----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """One text for equal values: numbers as JSON has them."""
    return json.dumps(_number(value), sort_keys=True)


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


@functools.cache
def js_answers() -> dict[str, dict[str, Any]]:
    """What lmstudio.js makes of every case, by the text of the case. One process answers all."""
    cases = [case for key in TYPES for case in value_type_cases(key)] + REFUSED_CALLS + BASIC_CALLS
    cases += [{"kind": "schematics", **case} for case in (*SCHEMATICS, *REFUSED_SCHEMATICS, *ONLY_WE_REFUSE)]
    return dict(zip(map(_text, cases), answers_of_script("config_golden.mjs", cases), strict=True))


def answer_of_js(case: dict[str, Any]) -> Any:
    answer = js_answers()[_text(case)]
    return None if "error" in answer else answer


def answer_of_ours(case: dict[str, Any]) -> Any:
    try:
        return schematics_answer(case) if case["kind"] == "schematics" else value_type_answer(case)
    except LMStudioValueError:
        return None


def value_type_answer(case: dict[str, Any]) -> dict[str, Any]:
    library, args = LIBRARIES[case["library"]], case["args"]
    if case["method"] == "accepts":
        return {"value": is_accepted(*args)}
    if case["method"] == "stringify":
        return {"value": library.stringify(*args[:3], desired_length=args[3] if len(args) > 3 else None)}
    methods: dict[str, Callable[..., Any]] = {
        "parseParamTypes": library.parse_param_types,
        "effectiveEquals": library.effective_equals,
    }
    return {"value": methods[case["method"]](*args)}


def taken(builder: ConfigSchematicsBuilder, steps: list[Any]) -> ConfigSchematicsBuilder:
    for key, *rest in steps:
        if not rest:
            builder.extension(key)
        elif len(rest) == 1:
            builder.scope(key, lambda inner, inner_steps=rest[0]: taken(inner, inner_steps))  # type: ignore[misc]
        else:
            builder.field(key, *rest)
    return builder


def schematics_answer(case: dict[str, Any]) -> dict[str, Any]:
    schematics = taken(create_config_schematics(), case["steps"]).build()
    builder = schematics.config_builder()
    for key, value in case.get("values", ()):
        builder.with_(key, value)
    for key, value in case.get("extensions", ()):
        builder.with_extension_field(key, value)
    parsed = schematics.parse(KvConfig.from_dict(case["kv"]) if "kv" in case else None)
    wire = json.loads(_wire.encode({"wire": schematics.to_wire(), "parsed": dict(parsed), "built": builder.build()}))
    return dict(wire)


# Tests ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", TYPES)
def test_type_of_values_checks_compares_and_shows_alike(key: str) -> None:
    for case in value_type_cases(key):
        theirs = answer_of_js(case)
        if theirs == {"value": UNKNOWN_LAYERS}:
            theirs = {"value": "MAX"}
        assert _text(answer_of_ours(case)) == _text(theirs), case


def test_same_types_exist_in_both_libraries() -> None:
    assert set(kv_value_types_library.keys) == set(TYPES)
    for case in BASIC_CALLS:
        assert (case["args"][0] in basic_kv_value_types_library.keys) is (answer_of_js(case) is not None)


@pytest.mark.parametrize("case", REFUSED_CALLS, ids=str)
def test_wrong_parameters_are_refused_by_both(case: dict[str, Any]) -> None:
    assert answer_of_js(case) is None
    assert answer_of_ours(case) is None


@pytest.mark.parametrize("case", SCHEMATICS, ids=len)
def test_schematics_are_announced_parsed_and_built_from_alike(case: dict[str, Any]) -> None:
    full = {"kind": "schematics", **case}

    assert answer_of_js(full) is not None
    assert _text(answer_of_ours(full)) == _text(answer_of_js(full))


@pytest.mark.parametrize("case", REFUSED_SCHEMATICS, ids=str)
def test_wrong_schematics_and_values_are_refused_by_both(case: dict[str, Any]) -> None:
    full = {"kind": "schematics", **case}

    assert answer_of_js(full) is None
    assert answer_of_ours(full) is None


@pytest.mark.parametrize("case", ONLY_WE_REFUSE, ids=str)
def test_what_lmstudio_js_lets_pass_is_refused(case: dict[str, Any]) -> None:
    full = {"kind": "schematics", **case}

    assert answer_of_js(full) is not None
    assert answer_of_ours(full) is None
