"""The types of values that only LM Studio's own settings have: what the keys of its configurations hold.

What a value is made of is said by the structs of `_sdk_models`, and nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from lmstudio._schema_check import are_equal
from lmstudio._sdk_models import (
    GpuSplitConfig,
    LlmContextOverflowPolicy,
    LlmContextReference,
    LlmLlamaAccelerationOffloadRatio,
    LlmLlamaCacheQuantizationType,
    LlmLlamaCppArgumentsOverride,
    LlmLlamaMirostatSamplingConfig,
    LlmLoadPromptTemplate,
    LlmMlxKvCacheQuantization,
    LlmPromptTemplate,
    LlmReasoningParsing,
    LlmStructuredPredictionSetting,
    LlmToolChoice,
    LlmToolUseSetting,
    ModelDomainType,
    RetrievalChunkingMethod,
    ToolNaming,
)

from . import _js_text
from ._value_types import (
    BASIC_TYPES,
    FieldParams,
    KVFieldValueTypeLibrary,
    ParamsT,
    SliderRange,
    StringifyOptions,
    ValueType,
    check_number_params,
    number_problem,
    number_schema,
)

__all__ = ["kv_value_types_library"]

# Parameters ----------------------------------------------------------------------------------------------------------


class CheckboxNumericParams(FieldParams, kw_only=True):
    """Parameters of `checkboxNumeric`."""

    min: int | float | None = None
    max: int | float | None = None
    step: int | float | None = None
    is_int: bool | None = msgspec.field(name="int", default=None)
    unchecked_hint: str | None = None
    precision: int | None = None
    slider: SliderRange | None = None


class NumericArrayParams(FieldParams, kw_only=True):
    """Parameters of `numericArray`."""

    min: int | float | None = None
    max: int | float | None = None
    is_int: bool | None = msgspec.field(name="int", default=None)


class ContextLengthParams(FieldParams, kw_only=True):
    """Parameters of `contextLength`."""

    max: int | float | None = None


class ModelIdentifierParams(FieldParams, kw_only=True):
    """Parameters of `modelIdentifier`."""

    domain: list[ModelDomainType] | None = None


class OffloadRatioParams(FieldParams, kw_only=True):
    """Parameters of `llamaAccelerationOffloadRatio`."""

    num_layers: int | float | None = None


# Types that are described by a struct --------------------------------------------------------------------------------


class JsonType(ValueType[ParamsT]):
    """Values that are shown as JSON."""

    def text(self, value: Any) -> str:
        return _js_text.json_text(value)


class ModelledType(JsonType[ParamsT]):
    """Values of a type of `_sdk_models`."""

    model: ClassVar[Any]

    def schema(self) -> dict[str, Any]:
        return dict(_schema_of(self.model))


def _modelled(model: Any, base: type[ValueType[Any]] = ModelledType) -> type[ValueType[Any]]:
    return type(base.__name__, (base,), {"model": model})


@functools.cache
def _schema_of(model: Any) -> dict[str, Any]:
    schema: dict[str, Any] = _without_null(msgspec.json.schema(model))
    return schema


def _without_null(schema: Any) -> Any:
    """A schema whose optional members may be absent, but not null, as in lmstudio.js."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, Mapping):
        return schema
    return {name: _without_null(item) for name, item in schema.items() if (name, item) != ("default", None)}


class TextType(ModelledType[FieldParams]):
    """Texts, or some texts only, shown as they are."""

    def text(self, value: Any) -> str:
        return str(value)


class ModelIdentifierType(TextType):
    params_type = ModelIdentifierParams


class DraftModelType(TextType):
    def stringify(self, value: Any, options: StringifyOptions) -> str:
        return value or options.translate("config:customInputs.speculativeDecodingDraftModel.off", "OFF")


class ContextOverflowPolicyType(ModelledType[FieldParams]):
    def stringify(self, value: Any, options: StringifyOptions) -> str:
        names = {
            "stopAtLimit": "Stop At Limit",
            "truncateMiddle": "Truncate Middle",
            "rollingWindow": "Rolling Window",
        }
        return options.translate(f"config:customInputs.contextOverflowPolicy.{value}", names[value])


class ReasoningParsingType(ModelledType[FieldParams]):
    def equals(self, a: Any, b: Any) -> bool:
        return bool(a["startString"] == b["startString"] and a["endString"] == b["endString"])


class StructuredOutputType(ModelledType[FieldParams]):
    def equals(self, a: Any, b: Any) -> bool:
        if (a["type"], b["type"]) == ("none", "none"):
            return True
        # lmstudio.js takes two grammars for different, also if they are the same.
        return (a["type"], b["type"]) == ("json", "json") and are_equal(a, b)


class MlxCacheQuantizationType(ModelledType[FieldParams]):
    def equals(self, a: Any, b: Any) -> bool:
        return are_equal(a, b) if a["enabled"] and b["enabled"] else a["enabled"] is b["enabled"]


class OffloadRatioType(ModelledType[OffloadRatioParams]):
    params_type = OffloadRatioParams

    def equals(self, a: Any, b: Any) -> bool:
        return self._ratio(a) == self._ratio(b)

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        ratio, layers = self._ratio(value), self.params.num_layers
        if ratio == 1:
            label = options.translate("config:customInputs.llamaAccelerationOffloadRatio.max", "MAX")
            return f"{label} ({_js_text.number_text(layers)})" if layers else label
        if ratio == 0:
            return options.translate("config:customInputs.llamaAccelerationOffloadRatio.off", "OFF")
        return f"{_js_text.fixed_text(ratio * 100, 0)}%" if layers is None else _js_text.rounded_text(layers * ratio)

    @staticmethod
    def _ratio(value: Any) -> float:
        return {"max": 1.0, "off": 0.0}[value] if isinstance(value, str) else float(value)


# Types that a checkbox switches off ----------------------------------------------------------------------------------


class CheckboxType(ValueType[ParamsT]):
    """A value that counts only while its box is checked."""

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"checked": {"type": "boolean"}, "value": self.value_schema()},
            "required": ["checked", "value"],
        }

    def value_schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def equals(self, a: Any, b: Any) -> bool:
        if a["checked"] and b["checked"]:
            return are_equal(a["value"], b["value"])
        return a["checked"] is b["checked"]


class CheckboxNumericType(CheckboxType[CheckboxNumericParams]):
    params_type = CheckboxNumericParams

    def check(self) -> None:
        check_number_params(self.params)

    def value_schema(self) -> dict[str, Any]:
        return number_schema(self.params)

    def problem(self, value: Any) -> str | None:
        return super().problem(value) or number_problem(value["value"])

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        if not value["checked"]:
            return options.translate("config:customInputs.checkboxNumeric.off", "OFF")
        if self.params.is_int:
            return _js_text.rounded_text(value["value"])
        return _js_text.fixed_text(value["value"], 2 if self.params.precision is None else self.params.precision)


class CacheQuantizationType(CheckboxType[FieldParams]):
    def value_schema(self) -> dict[str, Any]:
        return _schema_of(LlmLlamaCacheQuantizationType)

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        off = options.translate("config:customInputs.llamaCacheQuantizationType.off", "OFF")
        return str(value["value"]) if value["checked"] else off


# Others --------------------------------------------------------------------------------------------------------------


class NumericArrayType(ValueType[NumericArrayParams]):
    params_type = NumericArrayParams

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": number_schema(self.params)}

    def text(self, value: Any) -> str:
        return ", ".join(
            (_js_text.rounded_text if self.params.is_int else _js_text.number_text)(item) for item in value
        )


class ContextLengthType(ValueType[ContextLengthParams]):
    params_type = ContextLengthParams

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "exclusiveMinimum": 0}

    def text(self, value: Any) -> str:
        limit = "" if self.params.max is None else f"/{_js_text.number_text(self.params.max)}"
        return _js_text.number_text(value) + limit


class LogitBiasType(JsonType[FieldParams]):
    def schema(self) -> dict[str, Any]:
        pair = [{"type": "number"}, {"anyOf": [{"type": "number"}, {"const": "-inf"}]}]
        return {"type": "array", "items": {"type": "array", "prefixItems": pair, "minItems": 2, "maxItems": 2}}


class EnvVarsType(JsonType[FieldParams]):
    def schema(self) -> dict[str, Any]:
        names = {"enum": ["HSA_OVERRIDE_GFX_VERSION"]}
        return {"type": "object", "propertyNames": names, "additionalProperties": {"type": "string"}}


# Prompt templates ----------------------------------------------------------------------------------------------------

_TEMPLATE_TEXTS = "config:customInputs.llmPromptTemplate."
_MANUAL_PARTS = {
    "beforeSystem": "Before System",
    "afterSystem": "After System",
    "beforeUser": "Before User",
    "afterUser": "After User",
    "beforeAssistant": "Before Assistant",
    "afterAssistant": "After Assistant",
}
_LONGEST_TEMPLATE = 100


def _template_lead(kind: str, options: StringifyOptions) -> str:
    type_label = options.translate(_TEMPLATE_TEXTS + "type", "Type")
    return f"{type_label}: {options.translate(f'{_TEMPLATE_TEXTS}types.{kind}/label', kind.capitalize())}\n"


def _jinja_text(template: str, options: StringifyOptions) -> str:
    label = options.translate(_TEMPLATE_TEXTS + "jinja.template/label", "Template")
    lead = f"{_template_lead('jinja', options)}{label}: "
    if options.desired_length is None:
        return lead + template
    size = min(_LONGEST_TEMPLATE, options.desired_length - _js_text.length(lead))
    return lead + (template if _js_text.length(template) <= size else _js_text.shortened(template, size, "..."))


class PromptTemplateType(ModelledType[FieldParams]):
    def equals(self, a: Any, b: Any) -> bool:
        if a["type"] != b["type"] or a["stopStrings"] != b["stopStrings"]:
            return False
        member = f"{a['type']}PromptTemplate"  # what the other kind of template says does not count
        return are_equal(a.get(member, {}), b.get(member, {}))

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        if value["type"] == "jinja":
            return _jinja_text(value.get("jinjaPromptTemplate", {}).get("template", ""), options)
        manual = value.get("manualPromptTemplate", {})
        lines = []
        for part, english in _MANUAL_PARTS.items():
            label = options.translate(f"{_TEMPLATE_TEXTS}manual.subfield.{part}/label", english)
            lines.append(f"{label}: {_js_text.quoted(manual.get(part, '').replace(chr(92) + 'n', chr(10)))}")
        return _template_lead("manual", options) + "\n".join(lines)


class LoadPromptTemplateType(ModelledType[FieldParams]):
    def equals(self, a: Any, b: Any) -> bool:
        return bool(a["jinjaPromptTemplate"]["template"] == b["jinjaPromptTemplate"]["template"])

    def stringify(self, value: Any, options: StringifyOptions) -> str:
        return _jinja_text(value["jinjaPromptTemplate"]["template"], options)


kv_value_types_library: KVFieldValueTypeLibrary = KVFieldValueTypeLibrary(
    {
        **BASIC_TYPES,
        "checkboxNumeric": CheckboxNumericType,
        "numericArray": NumericArrayType,
        "contextOverflowPolicy": _modelled(LlmContextOverflowPolicy, ContextOverflowPolicyType),
        "context": _modelled(list[LlmContextReference]),
        "contextLength": ContextLengthType,
        "modelIdentifier": _modelled(str, ModelIdentifierType),
        "llmPromptTemplate": _modelled(LlmPromptTemplate, PromptTemplateType),
        "llamaCppArgumentsOverride": _modelled(LlmLlamaCppArgumentsOverride),
        "llmLoadPromptTemplate": _modelled(LlmLoadPromptTemplate, LoadPromptTemplateType),
        "llmReasoningParsing": _modelled(LlmReasoningParsing, ReasoningParsingType),
        "llamaStructuredOutput": _modelled(LlmStructuredPredictionSetting, StructuredOutputType),
        "speculativeDecodingDraftModel": _modelled(str, DraftModelType),
        "toolUse": _modelled(LlmToolUseSetting),
        "toolChoice": _modelled(LlmToolChoice),
        "toolNaming": _modelled(ToolNaming, TextType),
        "llamaAccelerationOffloadRatio": _modelled(LlmLlamaAccelerationOffloadRatio, OffloadRatioType),
        "llamaMirostatSampling": _modelled(LlmLlamaMirostatSamplingConfig),
        "llamaLogitBias": LogitBiasType,
        "llamaCacheQuantizationType": CacheQuantizationType,
        "mlxKvCacheQuantizationType": _modelled(LlmMlxKvCacheQuantization, MlxCacheQuantizationType),
        "retrievalChunkingMethod": _modelled(RetrievalChunkingMethod),
        "envVars": EnvVarsType,
        "gpuSplitConfig": _modelled(GpuSplitConfig),
    }
)
"""The types of values that LM Studio's own settings have, too."""
