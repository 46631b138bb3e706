"""Typed configuration <-> the key-value fields that travel on the wire.

One table per kind of configuration says which member is which key and how its value is encoded; both directions read
the same table. Keys, encodings and checks are those of lmstudio.js 2.0.0, including the ones it declares but
forgets to send (XTC sampling, the GPU ratio of embedding models).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import msgspec
from msgspec import UNSET

from . import _lenient
from ._sdk_models import (
    EmbeddingLoadModelConfig,
    GpuSetting,
    GpuSplitConfig,
    KvConfig,
    KvConfigField,
    KvConfigStack,
    KvConfigStackLayer,
    LlmLoadModelConfig,
    LlmPredictionConfig,
)
from .errors import LMStudioValueError

if TYPE_CHECKING:
    from ._sdk_models import LlmStructuredPredictionSetting
    from ._struct import LMStudioStruct

StructT = TypeVar("StructT", bound="LMStudioStruct")

_logger = logging.getLogger("lmstudio.config")


class _Member(msgspec.Struct, frozen=True):
    """How one member of a configuration travels."""

    name: str
    key: str
    switch: str | None = None
    """Name of the boolean inside the wire value that says whether the setting is on; None for a plain value."""
    off: Any = None
    """The wire value for `False`, apart from the switch. The server needs one although it does not count."""

    def encode(self, value: Any) -> Any:
        if self.switch is None:
            return value
        if value is True:
            raise LMStudioValueError(f"{self.name} cannot be True: give a value, or False to switch it off.")
        if isinstance(self.off, dict):
            return {**self.off, self.switch: False} if value is False else value
        return {self.switch: value is not False, "value": self.off if value is False else value}

    def decode(self, wire: Any) -> Any:
        if self.switch is None:
            return wire
        if not wire[self.switch]:
            return False
        return wire if isinstance(self.off, dict) else wire["value"]


def _plain(prefix: str, *names: str, **renamed: str) -> list[_Member]:
    """Members that travel as they are. The key is the wire name of the member unless *renamed* says otherwise."""
    return [_Member(name, prefix + _camel(name)) for name in names] + [
        _Member(name, prefix + key) for name, key in renamed.items()
    ]


def _optional(prefix: str, off: Any, *names: str, **renamed: str) -> list[_Member]:
    """Members that `False` switches off."""
    return [_Member(member.name, member.key, "checked", off) for member in _plain(prefix, *names, **renamed)]


def _camel(name: str) -> str:
    special = {"offload_kv_cache_to_gpu": "offloadKVCacheToGpu", "use_fp16_for_kv_cache": "useFp16ForKVCache"}
    head, *rest = name.split("_")
    return special.get(name) or head + "".join(word.capitalize() for word in rest)


_LLAMA_LOAD = "llm.load.llama."
_SPECULATIVE = _LLAMA_LOAD + "speculativeDecoding."
_AUTO_FIT_KEYS = tuple(f"llm.load.{engine}.autoFit" for engine in ("llama", "mlx", "yuzu"))
_SIDECAR_KEYS = tuple(f"{_SPECULATIVE}draft{kind}Sidecar" for kind in ("Dflash", "Dspark", "Mtp"))
_GPU_SPLIT_KEY = "load.gpuSplitConfig"
_LLM_RATIO_KEY = _LLAMA_LOAD + "acceleration.offloadRatio"
_LLM_EXPERT_RATIO_KEY = "llm.load.numCpuExpertLayersRatio"
_EMBEDDING_RATIO_KEY = "embedding.load.llama.acceleration.offloadRatio"

_LLM_LOAD_MEMBERS = (
    *_plain("llm.load.", "use_unified_kv_cache", "offload_kv_cache_to_gpu", "context_length", "prompt_template"),
    *_plain("llm.load.", "num_experts", max_parallel_predictions="numParallelSessions"),
    *_plain("load.", gpu_strict_vram_cap="gpuStrictVramCap"),
    *_optional("llm.load.", 0, "seed"),
    *_optional(_LLAMA_LOAD, 0, "rope_frequency_base", "rope_frequency_scale"),
    *_plain(_LLAMA_LOAD, "eval_batch_size", "physical_batch_size", "flash_attention", "context_checkpoints"),
    *_plain(_LLAMA_LOAD, "reasoning_budget_message", "keep_model_in_memory", "use_fp16_for_kv_cache", "try_mmap"),
    *_plain(_LLAMA_LOAD, try_direct_io="tryDirectIO", llama_cpp_arguments_override="argumentsOverride"),
    *_plain(
        _SPECULATIVE,
        speculative_draft_mtp="draftMtp",
        speculative_draft_simple="draftSimple",
        speculative_draft_model="draftModel",
        speculative_draft_max_tokens="draftMaxTokens",
        speculative_draft_min_tokens="draftMinTokens",
        speculative_draft_min_continue_probability="draftMinContinueProbability",
    ),
    *_optional(_LLAMA_LOAD, "f16", llama_k_cache_quantization_type="kCacheQuantizationType"),
    *_optional(_LLAMA_LOAD, "f16", llama_v_cache_quantization_type="vCacheQuantizationType"),
    *_plain("llm.load.mlx.", mlx_disk_cache="diskCache"),
    _Member(
        "mlx_kv_cache_quantization",
        "llm.load.mlx.kvCacheQuantization",
        "enabled",
        {"bits": 8, "groupSize": 64, "quantizedStart": 5000},
    ),
)

_LLAMA_EMBEDDING = "embedding.load.llama."
_EMBEDDING_LOAD_MEMBERS = (
    *_plain("embedding.load.", "context_length"),
    *_optional(_LLAMA_EMBEDDING, 0, "rope_frequency_base", "rope_frequency_scale"),
    *_plain(_LLAMA_EMBEDDING, "keep_model_in_memory", "try_mmap"),
)

_PREDICTION = "llm.prediction."
_PREDICTION_MEMBERS = (
    *_plain(_PREDICTION, "temperature", "context_overflow_policy", "stop_strings", "tool_call_stop_strings"),
    *_plain(_PREDICTION, "structured", "tool_choice", "tool_naming", "top_k_sampling", "prompt_template"),
    *_plain(_PREDICTION, raw_tools="tools", cpu_threads="llama.cpuThreads"),
    *_optional(_PREDICTION, 1, max_tokens="maxPredictedTokens"),
    *_optional(_PREDICTION, 1024, reasoning_budget="reasoning.budgetTokens"),
    *_optional(_PREDICTION, 1.1, "repeat_penalty"),
    *_optional(_PREDICTION, 0.05, "min_p_sampling"),
    *_optional(_PREDICTION, 0.95, "top_p_sampling"),
    *_optional(_PREDICTION, 0, "log_probs", presence_penalty="llama.presencePenalty"),
    *_optional(_PREDICTION, 0, xtc_probability="llama.xtcProbability", xtc_threshold="llama.xtcThreshold"),
    *_plain(_PREDICTION, enable_thinking="reasoning.enableThinking", reasoning_parsing="reasoning.parsing"),
    *_plain(
        _PREDICTION + "speculativeDecoding.",
        draft_model="draftModel",
        speculative_decoding_num_draft_tokens_exact="numDraftTokensExact",
        speculative_decoding_min_draft_length_to_consider="minDraftLengthToConsider",
        speculative_decoding_min_continue_drafting_probability="minContinueDraftingProbability",
    ),
    *_optional(_PREDICTION, 1024, user_max_image_dimension_pixels="vision.userMaxImageDimensionPixels"),
    *_plain(_PREDICTION, ignore_model_preferred_max_image_dimension="vision.ignoreModelPreferredMaxImageDimension"),
)


# Typed -> wire -------------------------------------------------------------------------------------------------------


def llm_load_config_to_kv(config: LlmLoadModelConfig | Mapping[str, Any] | None) -> KvConfig:
    """The load configuration of a language model as wire fields; a member that is absent produces none.

    Raises:
        LMStudioValueError: unknown member, bad value, or members that exclude each other.
    """
    if config is None:
        return KvConfig(fields=[])
    typed = read_config(LlmLoadModelConfig, config)
    _check_speculative(typed)
    fields = _encode(_LLM_LOAD_MEMBERS, typed)
    gpu = typed.gpu
    if gpu is not None:
        fields |= _optional_fields({_LLM_RATIO_KEY: gpu.ratio, _LLM_EXPERT_RATIO_KEY: gpu.num_cpu_expert_layers_ratio})
        if gpu.main_gpu is not None or gpu.split_strategy is not None or gpu.disabled_gpus:
            fields[_GPU_SPLIT_KEY] = _gpu_split(gpu)
    if {_SPECULATIVE + "draftMtp", _SPECULATIVE + "draftSimple", _SPECULATIVE + "draftModel"} & fields.keys():
        fields |= dict.fromkeys(_SIDECAR_KEYS, False)
    manual = _manual_members(typed)
    if typed.auto_fit and manual:
        raise LMStudioValueError(f"auto_fit=True chooses what {', '.join(manual)} would set: give one or the other.")
    if typed.auto_fit is not None or manual:
        fields |= dict.fromkeys(_AUTO_FIT_KEYS, bool(typed.auto_fit))
    return _as_kv(fields)


def embedding_load_config_to_kv(config: EmbeddingLoadModelConfig | Mapping[str, Any] | None) -> KvConfig:
    """The load configuration of an embedding model as wire fields. Raises as `llm_load_config_to_kv`."""
    if config is None:
        return KvConfig(fields=[])
    typed = read_config(EmbeddingLoadModelConfig, config)
    fields = _encode(_EMBEDDING_LOAD_MEMBERS, typed)
    if typed.gpu is not None:
        fields[_GPU_SPLIT_KEY] = _gpu_split(typed.gpu)
        fields |= _optional_fields({_EMBEDDING_RATIO_KEY: typed.gpu.ratio})
    return _as_kv(fields)


def prediction_config_to_kv(
    config: LlmPredictionConfig | Mapping[str, Any] | None, structured: LlmStructuredPredictionSetting | None = None
) -> KvConfig:
    """A prediction configuration as wire fields. *structured* is added to it; fields of `raw` come first.

    Raises as `llm_load_config_to_kv`.
    """
    typed = LlmPredictionConfig() if config is None else read_config(LlmPredictionConfig, config)
    for name in ("max_tokens", "user_max_image_dimension_pixels"):
        value = getattr(typed, name)
        if value is not None and value is not False and value < 1:
            raise LMStudioValueError(f"{name} must be at least 1, or False for no limit; got {value!r}.")
    fields: dict[str, Any] = {} if typed.raw is None else {item.key: item.value for item in typed.raw.fields}
    fields |= _encode(_PREDICTION_MEMBERS, typed)
    if structured is not None:
        fields[_PREDICTION + "structured"] = structured
    return _as_kv(fields)


def override_stack(config: KvConfig) -> KvConfigStack:
    """The one layer that clients send: what overrides everything the server has set up."""
    return KvConfigStack(layers=[KvConfigStackLayer(layer_name="apiOverride", config=config)])


def _encode(members: Iterable[_Member], typed: LMStudioStruct) -> dict[str, Any]:
    return {
        member.key: member.encode(value) for member in members if (value := getattr(typed, member.name)) is not None
    }


def _optional_fields(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _as_kv(fields: Mapping[str, Any]) -> KvConfig:
    return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in fields.items()])


def _gpu_split(gpu: GpuSetting) -> dict[str, Any]:
    return {
        "strategy": "priorityOrder" if gpu.split_strategy == "favorMainGpu" else "evenly",
        "disabledGpus": list(gpu.disabled_gpus or ()),
        "priority": [] if gpu.main_gpu is None else [gpu.main_gpu],
        "customRatio": [],
    }


def _manual_members(config: LlmLoadModelConfig) -> list[str]:
    """The members given that exclude automatic fitting."""
    names = [name for name in ("context_length", "gpu_strict_vram_cap") if getattr(config, name) is not None]
    gpu_names = ("ratio", "num_cpu_expert_layers_ratio", "main_gpu", "split_strategy")
    return names + [f"gpu.{name}" for name in gpu_names if config.gpu and getattr(config.gpu, name) is not None]


def _check_speculative(config: LlmLoadModelConfig) -> None:
    if config.speculative_draft_mtp and config.speculative_draft_simple:
        raise LMStudioValueError("speculative_draft_mtp and speculative_draft_simple exclude each other.")
    if bool(config.speculative_draft_simple) != bool(config.speculative_draft_model):
        raise LMStudioValueError("speculative_draft_simple=True and a speculative_draft_model need each other.")
    low, high = config.speculative_draft_min_tokens, config.speculative_draft_max_tokens
    if low is not None and high is not None and low > high:
        raise LMStudioValueError(f"speculative_draft_min_tokens ({low}) exceeds speculative_draft_max_tokens ({high}).")


# Wire -> typed -------------------------------------------------------------------------------------------------------


def llm_load_config_from_kv(config: KvConfig) -> LlmLoadModelConfig:
    """The typed form of a language model's load configuration. Keys without a member are left out."""
    fields = _fields_of(config)
    values = _decode(_LLM_LOAD_MEMBERS, fields)
    gpu = _gpu_from(fields, _LLM_RATIO_KEY, _LLM_EXPERT_RATIO_KEY)
    if gpu:
        values["gpu"] = gpu
    for key in _AUTO_FIT_KEYS:
        if isinstance(fields.get(key), bool):
            values["auto_fit"] = fields[key]
    return _build(LlmLoadModelConfig, values)


def embedding_load_config_from_kv(config: KvConfig) -> EmbeddingLoadModelConfig:
    """The typed form of an embedding model's load configuration."""
    fields = _fields_of(config)
    values = _decode(_EMBEDDING_LOAD_MEMBERS, fields)
    gpu = _gpu_from(fields, _EMBEDDING_RATIO_KEY, "")
    if gpu:
        values["gpu"] = gpu
    return _build(EmbeddingLoadModelConfig, values)


def prediction_config_from_kv(config: KvConfig) -> LlmPredictionConfig:
    """The typed form of a prediction configuration; `raw` holds all fields as they came."""
    return _build(LlmPredictionConfig, {**_decode(_PREDICTION_MEMBERS, _fields_of(config)), "raw": config})


def _fields_of(config: KvConfig) -> dict[str, Any]:
    return {item.key: item.value for item in config.fields if item.value is not UNSET}


def _decode(members: Iterable[_Member], fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for member in members:
        if fields.get(member.key) is None:
            continue
        try:
            values[member.name] = member.decode(fields[member.key])
        except (KeyError, TypeError):
            _logger.debug("Ignored the value of %s, which has an unknown form: %r", member.key, fields[member.key])
    return values


def _gpu_from(fields: Mapping[str, Any], ratio_key: str, expert_ratio_key: str) -> dict[str, Any]:
    gpu: dict[str, Any] = {"ratio": fields.get(ratio_key), "num_cpu_expert_layers_ratio": fields.get(expert_ratio_key)}
    try:
        split = _lenient.convert(GpuSplitConfig, fields[_GPU_SPLIT_KEY])
    except (KeyError, msgspec.ValidationError):
        return _optional_fields(gpu)
    enabled = [index for index in split.priority if index not in split.disabled_gpus]
    strategies = {"priorityOrder": "favorMainGpu", "evenly": "evenly"}
    gpu["split_strategy"] = strategies.get(split.strategy)
    gpu["main_gpu"] = enabled[0] if enabled else None
    gpu["disabled_gpus"] = split.disabled_gpus or None
    return _optional_fields(gpu)


def _build(cls: type[StructT], values: Mapping[str, Any]) -> StructT:
    names = {item.name: item.encode_name for item in msgspec.structs.fields(cls)}
    gpu = values.get("gpu")
    data = {names[name]: value for name, value in values.items()}
    if isinstance(gpu, dict):
        gpu_names = {item.name: item.encode_name for item in msgspec.structs.fields(GpuSetting)}
        data["gpu"] = {gpu_names[name]: value for name, value in gpu.items()}
    return _lenient.convert(cls, msgspec.to_builtins(data))


# Input ---------------------------------------------------------------------------------------------------------------


def read_config(cls: type[StructT], config: StructT | Mapping[str, Any]) -> StructT:
    """A configuration given as struct or as dict with snake_case or camelCase keys, checked.

    Raises:
        LMStudioValueError: a key that does not exist, with the nearest one; or a value of the wrong type or range.
    """
    if not isinstance(config, (Mapping, cls)):
        raise LMStudioValueError(f"Expected {cls.__name__} or a dict, got {type(config).__name__}.")
    try:
        data = config if isinstance(config, Mapping) else config.to_dict()  # a struct may hold anything until here
        _check_keys(cls, data, cls.__name__)
        return cls.from_dict(data)
    except (msgspec.ValidationError, TypeError) as error:
        raise LMStudioValueError(f"Bad value in {cls.__name__}: {error}") from error


def _check_keys(cls: type[LMStudioStruct], data: Mapping[str, Any], path: str) -> None:
    fields = {}
    for item in msgspec.structs.fields(cls):
        fields[item.name] = fields[item.encode_name] = item
    tag_key = cls.__struct_config__.tag_field
    for key, value in data.items():
        if key == tag_key:
            continue  # no field of the struct, and checked when it is read
        if key not in fields:
            import difflib  # only for the error

            nearest = difflib.get_close_matches(str(key), fields, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise LMStudioValueError(f"{path} has no setting {key!r}.{hint}")
        if isinstance(value, Mapping):
            inner = _single_struct(fields[key].type)
            if inner is not None:
                _check_keys(inner, value, f"{path}.{key}")


def _single_struct(annotation: Any) -> type[LMStudioStruct] | None:
    """The struct in a type such as `X | None`, if there is exactly one."""
    structs = [item for item in (annotation, *get_args(annotation)) if isinstance(item, type)]
    structs = [item for item in structs if issubclass(item, msgspec.Struct)]
    return structs[0] if len(structs) == 1 else None
