"""Configuration as clients send it (stacks of key-value fields) <-> what an engine understands.

Only keys that an engine can act on are read; all others are ignored, whatever their value. What is reported back as
effective therefore holds exactly the settings that had an effect. Keys, bounds and defaults are lmstudio.js 2.0.0's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from lmstudio._kv_members import PREDICTION
from lmstudio._sdk_models import (
    KvConfig,
    KvConfigField,
    KvConfigStack,
    LlmContextOverflowPolicy,
    LlmLlamaAccelerationOffloadRatio,
    LlmLlamaCacheQuantizationType,
    LlmLlamaMirostatSamplingConfig,
    LlmLoadPromptTemplate,
    LlmManualPromptTemplate,
    LlmPromptTemplate,
    LlmReasoningParsing,
    LlmStructuredPredictionSetting,
    LlmToolChoice,
    LlmToolFunction,
    LlmToolUseSetting,
    ToolNaming,
)
from lmstudio.server.engine.base import GenerationRequest, LoadOptions, ModelKind, Sampling
from lmstudio.server.errors import RequestError
from lmstudio.server.tool_calls.naming import ToolNames

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_PREDICTION_FIELDS",
    "LoadConfig",
    "PredictionConfig",
    "collapse",
    "is_concatenation",
    "kv_config",
    "tool_definitions",
]

Fields: TypeAlias = dict[str, Any]
"""Values as plain JSON, by full key."""

_Fraction: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
_NonNegative: TypeAlias = Annotated[float, Meta(ge=0)]
_Count: TypeAlias = Annotated[int, Meta(ge=1)]
_Seed: TypeAlias = Annotated[int, Meta(ge=-1)]
_Text: TypeAlias = Annotated[str, Meta(min_length=1)]


class _Checkbox(msgspec.Struct):
    """A value that can be switched off."""

    checked: bool
    value: Any


@dataclass(frozen=True)
class _Setting:
    """What the value of one key must be."""

    type: Any
    is_checkbox: bool = False

    def read(self, key: str, value: Any) -> Any:
        """The typed value; None where a checkbox is not checked.

        Raises:
            RequestError: the value has another type or is out of bounds.
        """
        try:
            if not self.is_checkbox:
                return _convert(value, self.type)
            box = msgspec.convert(value, _Checkbox)
            return _convert(box.value, self.type) if box.checked else None
        except msgspec.ValidationError as error:
            problem = str(error).replace(" - at `$`", "")
            shown = msgspec.json.encode(value).decode()
            raise RequestError(
                f"The value of {key} is not valid: {problem}. Found {shown if len(shown) <= 100 else shown[:99] + '…'}."
            ) from None


def _convert(value: Any, expected: Any) -> Any:
    # JSON has one kind of number, and some encoders write every one of them with a fraction.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.convert(value, expected)


def collapse(stack: KvConfigStack) -> Fields:
    """The fields of all layers: a later layer overrides an earlier one, key by key. A field may have no value."""
    return {
        field.key: field.value
        for layer in stack.layers
        for field in layer.config.fields
        if field.value is not None and field.value is not msgspec.UNSET
    }


def kv_config(fields: Mapping[str, Any]) -> KvConfig:
    """Fields as they travel."""
    return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in fields.items()])


# Loading -------------------------------------------------------------------------------------------------------------

_COMMON_LOAD_SETTINGS: Final[dict[str, tuple[str, _Setting]]] = {
    "contextLength": ("context_length", _Setting(_Count)),
    "seed": ("seed", _Setting(_Seed, is_checkbox=True)),
    "llama.acceleration.offloadRatio": ("gpu_offload_ratio", _Setting(LlmLlamaAccelerationOffloadRatio)),
    "llama.evalBatchSize": ("eval_batch_size", _Setting(_Count)),
    "llama.ropeFrequencyBase": ("rope_frequency_base", _Setting(_NonNegative, is_checkbox=True)),
    "llama.ropeFrequencyScale": ("rope_frequency_scale", _Setting(_NonNegative, is_checkbox=True)),
    "llama.keepModelInMemory": ("keep_in_memory", _Setting(bool)),
    "llama.tryMmap": ("try_mmap", _Setting(bool)),
}
_LLM_LOAD_SETTINGS: Final[dict[str, tuple[str, _Setting]]] = {
    **_COMMON_LOAD_SETTINGS,
    "promptTemplate": ("chat_template", _Setting(LlmLoadPromptTemplate)),
    "offloadKVCacheToGpu": ("offload_kv_cache", _Setting(bool)),
    "numParallelSessions": ("parallel_sessions", _Setting(Annotated[int, Meta(ge=1, le=1023)])),
    "useUnifiedKvCache": ("unified_kv_cache", _Setting(bool)),
    "llama.physicalBatchSize": ("physical_batch_size", _Setting(_Count)),
    "llama.flashAttention": ("flash_attention", _Setting(bool)),
    "llama.kCacheQuantizationType": ("k_cache_type", _Setting(LlmLlamaCacheQuantizationType, is_checkbox=True)),
    "llama.reasoningBudgetMessage": ("reasoning_budget_message", _Setting(str)),
    "llama.speculativeDecoding.draftMaxTokens": ("draft_max_tokens", _Setting(Annotated[int, Meta(ge=0)])),
    "llama.speculativeDecoding.draftMinTokens": ("draft_min_tokens", _Setting(Annotated[int, Meta(ge=0)])),
    "llama.speculativeDecoding.draftMinContinueProbability": ("draft_min_probability", _Setting(_Fraction)),
    "llama.vCacheQuantizationType": ("v_cache_type", _Setting(LlmLlamaCacheQuantizationType, is_checkbox=True)),
}
_LOAD_SETTINGS: Final = {
    "llm": {f"llm.load.{key}": setting for key, setting in _LLM_LOAD_SETTINGS.items()},
    "embedding": {f"embedding.load.{key}": setting for key, setting in _COMMON_LOAD_SETTINGS.items()},
}
_LOAD_DRAFT_MODEL: Final = "llm.load.llama.speculativeDecoding.draftModel"
_LOAD_DRAFT_SIMPLE: Final = "llm.load.llama.speculativeDecoding.draftSimple"


@dataclass(frozen=True)
class LoadConfig:
    """How a client wants a model loaded."""

    kind: ModelKind
    options: LoadOptions
    """Without the draft model, whose file the catalogue knows."""
    draft_model_key: str | None
    fields: Mapping[str, Any]
    """The client's configuration, as it asks for it again: also what has no effect here, such as the choice of GPUs."""

    @classmethod
    def parse(cls, kind: ModelKind, stack: KvConfigStack) -> LoadConfig:
        """Read a stack of load configuration.

        Raises:
            RequestError: the value of a key that counts is not valid.
        """
        return cls.from_fields(kind, collapse(stack))

    @classmethod
    def from_fields(cls, kind: ModelKind, given: Mapping[str, Any]) -> LoadConfig:
        """Read fields by full key, such as ``llm.load.contextLength``.

        Raises:
            RequestError: the value of a key that counts is not valid.
        """
        settings = _LOAD_SETTINGS[kind]
        fields = {key: value for key, value in given.items() if key.startswith((f"{kind}.load.", "load."))}
        options = {
            settings[key][0]: settings[key][1].read(key, value) for key, value in fields.items() if key in settings
        }
        draft_model_key = None
        if kind == "llm" and given.get(_LOAD_DRAFT_SIMPLE, True) is True and given.get(_LOAD_DRAFT_MODEL):
            draft_model_key = _Setting(str).read(_LOAD_DRAFT_MODEL, given[_LOAD_DRAFT_MODEL])
            fields |= {_LOAD_DRAFT_SIMPLE: True, _LOAD_DRAFT_MODEL: draft_model_key}
        return cls(kind, LoadOptions(**_engine_values(options)), draft_model_key, fields)

    def effective(self, context_length: int) -> KvConfig:
        """The configuration of an instance that was loaded with this one and got *context_length*."""
        return kv_config({**self.fields, f"{self.kind}.load.contextLength": context_length})


def _engine_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Option values in the engine's words; None and what means "let the engine choose" left out."""
    values: dict[str, Any] = {}
    for name, value in options.items():
        match name, value:
            case _, None:
                pass
            case "gpu_offload_ratio", "max" | "off":
                values[name] = 1.0 if value == "max" else 0.0
            case "chat_template", LlmLoadPromptTemplate():
                values[name] = value.jinja_prompt_template.template
            case "seed", -1:
                pass
            case "rope_frequency_base" | "rope_frequency_scale", 0:
                pass
            case _:
                values[name] = value
    return values


# Predicting ----------------------------------------------------------------------------------------------------------

_PREDICTION_SETTINGS: Final[dict[str, _Setting]] = {
    PREDICTION + key: setting
    for key, setting in {
        "temperature": _Setting(_NonNegative),
        "topKSampling": _Setting(Annotated[int, Meta(ge=-1, le=500)]),
        "topPSampling": _Setting(_Fraction, is_checkbox=True),
        "minPSampling": _Setting(_Fraction, is_checkbox=True),
        "repeatPenalty": _Setting(Annotated[float, Meta(ge=-1)], is_checkbox=True),
        "llama.presencePenalty": _Setting(float, is_checkbox=True),
        "llama.frequencyPenalty": _Setting(float, is_checkbox=True),
        "llama.xtcProbability": _Setting(_Fraction, is_checkbox=True),
        "llama.xtcThreshold": _Setting(_Fraction, is_checkbox=True),
        "llama.locallyTypicalSampling": _Setting(_Fraction, is_checkbox=True),
        "llama.mirostatSampling": _Setting(LlmLlamaMirostatSamplingConfig),
        "llama.logitBias": _Setting(list[tuple[int, float | Literal["-inf"]]]),
        "seed": _Setting(_Seed, is_checkbox=True),
        "maxPredictedTokens": _Setting(_Count, is_checkbox=True),
        "contextOverflowPolicy": _Setting(LlmContextOverflowPolicy),
        "stopStrings": _Setting(list[_Text]),
        "toolCallStopStrings": _Setting(list[_Text]),
        "structured": _Setting(LlmStructuredPredictionSetting),
        "tools": _Setting(LlmToolUseSetting),
        "toolChoice": _Setting(LlmToolChoice),
        "toolNaming": _Setting(ToolNaming),
        "promptTemplate": _Setting(LlmPromptTemplate),
        "systemPrompt": _Setting(str),
        "logProbs": _Setting(Annotated[int, Meta(ge=0, le=100)], is_checkbox=True),
        "speculativeDecoding.draftModel": _Setting(str),
        "speculativeDecoding.maxTokensToDraft": _Setting(_Count),
        "speculativeDecoding.numDraftTokensExact": _Setting(_Count),
        "speculativeDecoding.minDraftLengthToConsider": _Setting(Annotated[int, Meta(ge=0)]),
        "speculativeDecoding.minContinueDraftingProbability": _Setting(_Fraction),
        "reasoning.enableThinking": _Setting(bool),
        "reasoning.budgetTokens": _Setting(Annotated[int, Meta(ge=0)], is_checkbox=True),
        "reasoning.parsing": _Setting(LlmReasoningParsing),
    }.items()
}

DEFAULT_PREDICTION_FIELDS: Final[Mapping[str, Any]] = {
    PREDICTION + key: value
    for key, value in {
        "temperature": 0.8,
        "topKSampling": 40,
        "topPSampling": {"checked": True, "value": 0.95},
        "minPSampling": {"checked": True, "value": 0.05},
        "repeatPenalty": {"checked": True, "value": 1.1},
        "maxPredictedTokens": {"checked": False, "value": 1000},
        "contextOverflowPolicy": "truncateMiddle",
        "stopStrings": [],
        "structured": {"type": "none"},
        "tools": {"type": "none"},
        "toolChoice": {"type": "generic", "mode": "auto"},
        "toolNaming": "removeSpecial",
        "reasoning.enableThinking": True,
        "reasoning.budgetTokens": {"checked": False, "value": 1024},
        "reasoning.parsing": {"enabled": True, "startString": "<think>", "endString": "</think>"},
    }.items()
}
"""What applies where a request says nothing: the defaults that LM Studio's clients assume."""

# An unchecked sampler is off. The engine's word for that is a value, because None would mean the engine's default.
_OFF: Final[Mapping[str, float]] = {
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "xtc_probability": 0.0,
}
_SAMPLING_KEYS: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_k": "topKSampling",
    "top_p": "topPSampling",
    "min_p": "minPSampling",
    "typical_p": "llama.locallyTypicalSampling",
    "repeat_penalty": "repeatPenalty",
    "presence_penalty": "llama.presencePenalty",
    "frequency_penalty": "llama.frequencyPenalty",
    "xtc_probability": "llama.xtcProbability",
    "xtc_threshold": "llama.xtcThreshold",
}

# {% for message in messages %}{{ message['content'] }}{% endfor %}, in any spelling.
_CONCATENATION: Final = re.compile(
    r"""\s* \{%-? \s* for \s+ (\w+) \s+ in \s+ messages \s* -?%\}
        \s* \{\{-? \s* \1 (?: \.content | \[\s*'content'\s*\] | \[\s*"content"\s*\] ) \s* -?\}\}
        \s* \{%-? \s* endfor \s* -?%\} \s*""",
    re.VERBOSE,
)


def is_concatenation(template: LlmPromptTemplate) -> bool:
    """Whether *template* only joins the messages' texts: the way in which older clients ask for raw completion."""
    jinja = template.jinja_prompt_template
    return template.type == "jinja" and jinja is not None and _CONCATENATION.fullmatch(jinja.template) is not None


class PredictionConfig:
    """How to predict: a request's configuration over the server's own."""

    def __init__(self, fields: Mapping[str, Any], *, is_raw: bool = False) -> None:
        """Read *fields*, by full key.

        Raises:
            RequestError: the value of a key that counts is not valid.
        """
        self.fields: Mapping[str, Any] = {key: value for key, value in fields.items() if key in _PREDICTION_SETTINGS}
        self._values = {key: _PREDICTION_SETTINGS[key].read(key, value) for key, value in self.fields.items()}
        template = self.template
        self.is_raw: bool = is_raw or (template is not None and is_concatenation(template))
        """No chat template applies: the prompt is the text itself."""

    @classmethod
    def parse(
        cls, stack: KvConfigStack, defaults: Mapping[str, Any] = DEFAULT_PREDICTION_FIELDS, *, is_raw: bool = False
    ) -> PredictionConfig:
        """Read a stack over *defaults*. Raises RequestError for a value that is not valid."""
        is_raw = is_raw or any(layer.layer_name == "completeModeFormatting" for layer in stack.layers)
        return cls({**defaults, **collapse(stack)}, is_raw=is_raw)

    def to_kv(self) -> KvConfig:
        """The effective configuration."""
        return kv_config(self.fields)

    def _value(self, key: str) -> Any:
        return self._values.get(PREDICTION + key)

    @property
    def draft_model_key(self) -> str:
        """The model whose guesses are to speed this up; "" for none."""
        key: str = self._value("speculativeDecoding.draftModel") or ""
        return key

    def load_options(self, options: LoadOptions, draft_model: Path | None) -> LoadOptions:
        """*options* with *draft_model* beside the model, to guess in the way that is configured."""
        values = {
            "draft_max_tokens": self._value("speculativeDecoding.numDraftTokensExact")
            or self._value("speculativeDecoding.maxTokensToDraft"),
            "draft_min_tokens": self._value("speculativeDecoding.minDraftLengthToConsider"),
            "draft_min_probability": self._value("speculativeDecoding.minContinueDraftingProbability"),
        }
        given = {name: value for name, value in values.items() if value is not None}
        return replace(options, draft_model=draft_model, **given)

    @property
    def template(self) -> LlmPromptTemplate | None:
        """What replaces the model's own chat template."""
        template: LlmPromptTemplate | None = self._value("promptTemplate")
        return template

    @property
    def manual_template(self) -> LlmManualPromptTemplate | None:
        """What stands around each message, in place of a Jinja template."""
        template = self.template
        return template.manual_prompt_template if template is not None and template.type == "manual" else None

    @property
    def jinja_template(self) -> str | None:
        """The Jinja template that replaces the model's own."""
        template = self.template
        jinja = template.jinja_prompt_template if template is not None and template.type == "jinja" else None
        return None if jinja is None else jinja.template

    @property
    def system_prompt(self) -> str:
        """What a chat without a system prompt begins with; "" for nothing."""
        text: str = self._value("systemPrompt") or ""
        return text

    @property
    def overflow_policy(self) -> LlmContextOverflowPolicy:
        """What to do with a chat that does not fit into the context."""
        policy: LlmContextOverflowPolicy = self._value("contextOverflowPolicy") or "stopAtLimit"
        return policy

    @property
    def max_tokens(self) -> int | None:
        """Where to end the text, None for no limit."""
        limit: int | None = self._value("maxPredictedTokens")
        return limit

    @property
    def enable_thinking(self) -> bool | None:
        """Whether the model may reason first; None leaves it to its template."""
        is_enabled: bool | None = self._value("reasoning.enableThinking")
        return is_enabled

    @property
    def reasoning(self) -> LlmReasoningParsing | None:
        """The strings around reasoning, None if it is not to be told apart."""
        parsing: LlmReasoningParsing | None = self._value("reasoning.parsing")
        is_usable = parsing is not None and parsing.enabled and parsing.start_string and parsing.end_string
        return parsing if is_usable else None

    @property
    def reasoning_budget(self) -> int | None:
        """After how many tokens reasoning is to end; None for no limit, or where it is not told apart."""
        budget: int | None = self._value("reasoning.budgetTokens")
        return None if self.reasoning is None else budget

    @cached_property
    def tool_call_stop_strings(self) -> Sequence[str]:
        """Strings that end the text because a tool is to be called."""
        return self._value("toolCallStopStrings") or ()

    @cached_property
    def stop_strings(self) -> list[str]:
        """All strings that end the text, those of the template and of tool calls included; none twice."""
        template_strings = () if self.template is None else self.template.stop_strings
        strings = (*(self._value("stopStrings") or ()), *self.tool_call_stop_strings, *template_strings)
        return [string for string in dict.fromkeys(strings) if string]

    @cached_property
    def tools(self) -> list[dict[str, Any]]:
        """The tools that the model may call, in the form that chat templates expect, under the client's names."""
        setting, choice = self._value("tools"), self._value("toolChoice")
        if self.is_raw or (choice is not None and choice.mode == "none"):
            return []
        return tool_definitions(getattr(setting, "tools", None) or ())

    @property
    def must_call_tool(self) -> bool:
        """Whether the reply has to be a tool call: by the choice, or by a mark beside the tools."""
        choice: LlmToolChoice | None = self._value("toolChoice")
        is_required = choice is not None and choice.mode == "required"
        return bool(self.tools) and (is_required or getattr(self._value("tools"), "force", None) is True)

    def tool_names(self, tools: Sequence[Mapping[str, Any]] | None = None) -> ToolNames:
        """How the model knows the tools: those of this configuration, or *tools*."""
        naming: ToolNaming = self._value("toolNaming") or "removeSpecial"
        offered = self.tools if tools is None else tools
        return ToolNames((tool["function"]["name"] for tool in offered), naming)

    def request(self, prompt: str) -> GenerationRequest:
        """What the engine is asked for *prompt*.

        Raises:
            RequestError: a structured output setting that says nothing.
        """
        json_schema, grammar = self._structure()
        return GenerationRequest(
            prompt=prompt,
            sampling=self._sampling(),
            max_tokens=self.max_tokens,
            stop_strings=self.stop_strings,
            json_schema=json_schema,
            grammar=grammar,
            log_probs=self._value("logProbs"),
        )

    def _sampling(self) -> Sampling:
        values: dict[str, Any] = {}
        for name, key in _SAMPLING_KEYS.items():
            if PREDICTION + key in self._values:
                value = self._value(key)
                values[name] = _OFF.get(name) if value is None else value
        mirostat: LlmLlamaMirostatSamplingConfig | None = self._value("llama.mirostatSampling")
        if mirostat is not None and mirostat.version:
            values["mirostat"] = (mirostat.version, mirostat.learning_rate, mirostat.target_entropy)
        bias = self._value("llama.logitBias") or ()
        values["logit_bias"] = [(token, -math.inf if value == "-inf" else value) for token, value in bias]
        seed = self._value("seed")
        return Sampling(**values, seed=None if seed == -1 else seed)

    def _structure(self) -> tuple[Mapping[str, Any] | None, str | None]:
        """JSON schema and grammar; at most one of them."""
        setting: LlmStructuredPredictionSetting | None = self._value("structured")
        key = PREDICTION + "structured"
        if setting is None or setting.type == "none":
            return None, None
        if setting.type == "gbnf":
            if not setting.gbnf_grammar:
                raise RequestError(f"{key} asks for a grammar but has none.", suggestion="Give it as gbnfGrammar.")
            return None, setting.gbnf_grammar
        schema = setting.json_schema
        if schema is None or schema is msgspec.UNSET or schema is True:
            return {}, None
        if not isinstance(schema, Mapping):
            raise RequestError(f"{key} has a jsonSchema that is not an object: {schema!r:.100}.")
        return schema, None


def tool_definitions(tools: Sequence[LlmToolFunction]) -> list[dict[str, Any]]:
    """Tools in the form that chat templates expect."""
    encode: Callable[[Any], dict[str, Any]] = msgspec.to_builtins
    return [encode(tool) for tool in tools]
