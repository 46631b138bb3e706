"""Typed configuration <-> the key-value fields that travel on the wire.

One table per kind of configuration (`_kv_members`) says which member is which key and how its value is encoded; both
directions read the same table. Keys, encodings and checks are those of lmstudio.js 2.0.0, including the ones it
declares but forgets to send (XTC sampling, the GPU ratio of embedding models).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import UNSET

from . import _lenient
from ._config_input import keep_schemas, read_config
from ._kv_members import (
    AUTO_FIT_KEYS,
    EMBEDDING_LOAD_MEMBERS,
    EMBEDDING_RATIO_KEY,
    GPU_SPLIT_KEY,
    LLM_EXPERT_RATIO_KEY,
    LLM_LOAD_MEMBERS,
    LLM_RATIO_KEY,
    PREDICTION,
    PREDICTION_MEMBERS,
    SIDECAR_KEYS,
    SPECULATIVE,
    Member,
)
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
from ._sdk_models.config_keys import DEFAULTS
from ._struct import wire_names
from .errors import LMStudioValueError
from .logs import fields as log_fields
from .logs import get_logger

if TYPE_CHECKING:
    from ._sdk_models import LlmStructuredPredictionSetting
    from ._struct import LMStudioStruct

__all__ = [
    "embedding_load_config_from_kv",
    "embedding_load_config_to_kv",
    "llm_load_config_from_kv",
    "llm_load_config_to_kv",
    "override_stack",
    "prediction_config_from_kv",
    "prediction_config_to_kv",
    "read_config",
]

StructT = TypeVar("StructT", bound="LMStudioStruct")

_logger = get_logger("config")


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
    fields = _encode(LLM_LOAD_MEMBERS, typed)
    gpu = typed.gpu
    if gpu is not None:
        fields |= _present({LLM_RATIO_KEY: gpu.ratio, LLM_EXPERT_RATIO_KEY: gpu.num_cpu_expert_layers_ratio})
        if gpu.main_gpu is not None or gpu.split_strategy is not None or gpu.disabled_gpus:
            fields[GPU_SPLIT_KEY] = _gpu_split(gpu)
    if {SPECULATIVE + "draftMtp", SPECULATIVE + "draftSimple", SPECULATIVE + "draftModel"} & fields.keys():
        fields |= dict.fromkeys(SIDECAR_KEYS, False)
    manual = _manual_members(typed)
    if typed.auto_fit and manual:
        raise LMStudioValueError(f"auto_fit=True chooses what {', '.join(manual)} would set: give one or the other.")
    if typed.auto_fit is not None or manual:
        fields |= dict.fromkeys(AUTO_FIT_KEYS, bool(typed.auto_fit))
    return _as_kv(fields)


def embedding_load_config_to_kv(config: EmbeddingLoadModelConfig | Mapping[str, Any] | None) -> KvConfig:
    """The load configuration of an embedding model as wire fields. Raises as `llm_load_config_to_kv`."""
    if config is None:
        return KvConfig(fields=[])
    typed = read_config(EmbeddingLoadModelConfig, config)
    fields = _encode(EMBEDDING_LOAD_MEMBERS, typed)
    if typed.gpu is not None:
        fields[GPU_SPLIT_KEY] = _gpu_split(typed.gpu)
        fields |= _present({EMBEDDING_RATIO_KEY: typed.gpu.ratio})
        if typed.gpu.num_cpu_expert_layers_ratio is not None:
            raise LMStudioValueError("gpu.num_cpu_expert_layers_ratio is a setting of language models only.")
    return _as_kv(fields)


def prediction_config_to_kv(
    config: LlmPredictionConfig | Mapping[str, Any] | None, structured: LlmStructuredPredictionSetting | None = None
) -> KvConfig:
    """A prediction configuration as wire fields. *structured* is added to it; fields of `raw` come first.

    Raises as `llm_load_config_to_kv`.
    """
    typed = LlmPredictionConfig() if config is None else read_config(LlmPredictionConfig, config)
    for name in ("stop_strings", "tool_call_stop_strings"):
        if "" in (getattr(typed, name) or ()):
            raise LMStudioValueError(f"{name} has an empty string, which would stop at once: leave it out.")
    fields: dict[str, Any] = {} if typed.raw is None else {item.key: item.value for item in typed.raw.fields}
    fields |= _encode(PREDICTION_MEMBERS, typed)
    if structured is not None:
        fields[PREDICTION + "structured"] = structured
    return _as_kv(fields)


def override_stack(config: KvConfig) -> KvConfigStack:
    """The one layer that clients send: what overrides everything the server has set up."""
    return KvConfigStack(layers=[KvConfigStackLayer(layer_name="apiOverride", config=config)])


def _encode(members: Iterable[Member], typed: LMStudioStruct) -> dict[str, Any]:
    return {
        member.key: member.encode(value) for member in members if (value := getattr(typed, member.name)) is not None
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _as_kv(fields: Mapping[str, Any]) -> KvConfig:
    return KvConfig(fields=[KvConfigField(key=key, value=value) for key, value in fields.items()])


def _gpu_split(gpu: GpuSetting) -> dict[str, Any]:
    main = [] if gpu.main_gpu is None else [gpu.main_gpu]
    disabled = list(gpu.disabled_gpus or ())
    if any(index < 0 for index in main + disabled):
        raise LMStudioValueError(f"gpu.main_gpu and gpu.disabled_gpus count from 0; got {main + disabled}.")
    return {
        "strategy": "priorityOrder" if gpu.split_strategy == "favorMainGpu" else "evenly",
        "disabledGpus": disabled,
        "priority": main,
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


class _FormatView(msgspec.Struct, frozen=True):
    """What of a load configuration concerns the engine of a model format."""

    members: frozenset[str]
    auto_fit_key: str | None = None
    manual_keys: frozenset[str] = frozenset()
    """Clients that did not know automatic fitting sent these alone: with one of them, no word about it means no."""
    has_gpu: bool = False
    is_single_gpu: bool = False
    """The engine uses one GPU, which a custom split may name."""


_NAMES = frozenset(member.name for member in LLM_LOAD_MEMBERS)
_MLX_NAMES = frozenset(name for name in _NAMES if name.startswith("mlx_"))
_CONTEXT_KEY, _TEMPLATE_KEY = "llm.load.contextLength", "llm.load.promptTemplate"
_VIEWS = {
    "gguf": _FormatView(
        members=_NAMES - _MLX_NAMES,
        auto_fit_key="llm.load.llama.autoFit",
        manual_keys=frozenset((_CONTEXT_KEY, "load.gpuStrictVramCap", LLM_RATIO_KEY, LLM_EXPERT_RATIO_KEY)),
        has_gpu=True,
    ),
    "safetensors": _FormatView(
        members=_MLX_NAMES | {"context_length", "seed", "max_parallel_predictions"},
        auto_fit_key="llm.load.mlx.autoFit",
        manual_keys=frozenset((_CONTEXT_KEY,)),
    ),
    "torch_safetensors": _FormatView(
        members=frozenset(("context_length", "seed", "max_parallel_predictions", "prompt_template")),
        is_single_gpu=True,
    ),
    "yuzu": _FormatView(members=frozenset(("context_length",)), auto_fit_key="llm.load.yuzu.autoFit"),
}
"""By model format, as in lmstudio.js."""


def llm_load_config_from_kv(config: KvConfig, model_format: str | None = None) -> LlmLoadModelConfig:
    """The typed form of a language model's load configuration.

    With the format of the model (`model_info.format`) it has what concerns the engine of that format, and the defaults
    of LM Studio where the server sent nothing. Without one, or with one that is not known yet, it has what was sent.
    Automatic fitting hides the members that it chooses itself, so that the result can be given to `load` again.
    """
    given = _fields_of(config)
    view = _VIEWS.get(model_format or "")
    fields = given if view is None else DEFAULTS | given
    names = _NAMES if view is None else view.members
    if _TEMPLATE_KEY not in given:
        names = names - {"prompt_template"}  # what stands for it is in the model
    values = _decode((member for member in LLM_LOAD_MEMBERS if member.name in names), fields)
    values["auto_fit"] = auto_fit = _auto_fit_from(given, view)
    values["gpu"] = _llm_gpu_from(given, fields, view, auto_fit=auto_fit)
    if auto_fit:
        values["context_length"] = values["gpu_strict_vram_cap"] = None
    if view is not None and "speculative_draft_model" in values and not values.get("speculative_draft_simple"):
        values["speculative_draft_model"] = ""  # left over: `load` refuses one that nothing uses
    return _build(LlmLoadModelConfig, _present(values))


def embedding_load_config_from_kv(config: KvConfig, model_format: str | None = None) -> EmbeddingLoadModelConfig:
    """The typed form of an embedding model's load configuration; with a format, as `llm_load_config_from_kv`."""
    fields = _fields_of(config) if model_format is None else DEFAULTS | _fields_of(config)
    values = _decode(EMBEDDING_LOAD_MEMBERS, fields)
    values["gpu"] = _gpu_from(fields, EMBEDDING_RATIO_KEY) or None
    return _build(EmbeddingLoadModelConfig, _present(values))


def prediction_config_from_kv(config: KvConfig, *, with_defaults: bool = False) -> LlmPredictionConfig:
    """The typed form of a prediction configuration; `raw` holds all fields as they came.

    *with_defaults* says what the server will do: LM Studio's defaults stand where it sent nothing.
    """
    fields = DEFAULTS | _fields_of(config) if with_defaults else _fields_of(config)
    values = _decode(PREDICTION_MEMBERS, fields)
    typed = _build(LlmPredictionConfig, {**values, "raw": config})
    keep_schemas(typed, values.get("raw_tools"))
    return typed


def _fields_of(config: KvConfig) -> dict[str, Any]:
    return {item.key: item.value for item in config.fields if item.value is not UNSET}


def _decode(members: Iterable[Member], fields: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for member in members:
        if fields.get(member.key) is None:
            continue
        try:
            values[member.name] = member.decode(fields[member.key])
        except (KeyError, TypeError):
            _logger.debug(
                "Ignored the value of %s, which has an unknown form: %r",
                member.key,
                fields[member.key],
                extra=log_fields(),
            )
    return values


def _auto_fit_from(given: Mapping[str, Any], view: _FormatView | None) -> bool | None:
    keys = AUTO_FIT_KEYS if view is None else (view.auto_fit_key,)
    said = next((given[key] for key in keys if key is not None and isinstance(given.get(key), bool)), None)
    if said is not None or view is None or view.auto_fit_key is None:
        return said
    is_manual = not view.manual_keys.isdisjoint(given) or (view.has_gpu and _is_manual_split(given.get(GPU_SPLIT_KEY)))
    return not is_manual


def _is_manual_split(split: object) -> bool:
    """Whether a split says more than that some GPUs are not to be used."""
    if not isinstance(split, Mapping):
        return False
    is_even = split.get("strategy") == "evenly" and not split.get("priority") and not split.get("customRatio")
    return not (is_even and split.get("disabledGpus"))


def _llm_gpu_from(
    given: Mapping[str, Any], fields: Mapping[str, Any], view: _FormatView | None, *, auto_fit: bool | None
) -> dict[str, Any] | None:
    if view is not None and view.is_single_gpu:
        return _single_gpu_from(given)
    if view is not None and not view.has_gpu:
        return None
    gpu = _gpu_from(fields, LLM_RATIO_KEY, LLM_EXPERT_RATIO_KEY)
    if auto_fit:
        gpu = {name: value for name, value in gpu.items() if name == "disabled_gpus"}
    return gpu or None


def _single_gpu_from(given: Mapping[str, Any]) -> dict[str, Any] | None:
    gpu = _gpu_from({GPU_SPLIT_KEY: given.get(GPU_SPLIT_KEY)})
    split = given.get(GPU_SPLIT_KEY)
    if not isinstance(split, Mapping) or split.get("strategy") != "custom":
        return gpu or None
    ratios = split.get("customRatio")
    used = [index for index, ratio in enumerate(ratios) if ratio] if isinstance(ratios, list) else []
    return {"split_strategy": "favorMainGpu", "main_gpu": used[0]} if len(used) == 1 else None


def _gpu_from(fields: Mapping[str, Any], ratio_key: str = "", expert_ratio_key: str = "") -> dict[str, Any]:
    gpu: dict[str, Any] = {"ratio": fields.get(ratio_key), "num_cpu_expert_layers_ratio": fields.get(expert_ratio_key)}
    try:
        split = _lenient.convert(GpuSplitConfig, fields[GPU_SPLIT_KEY])
    except (KeyError, msgspec.ValidationError):
        return _present(gpu)
    is_ordered = split.strategy == "priorityOrder"
    candidates = [index for index in split.priority if not is_ordered or index not in split.disabled_gpus]
    strategies = {"priorityOrder": "favorMainGpu", "evenly": "evenly"}
    gpu["split_strategy"] = strategies.get(split.strategy)
    gpu["main_gpu"] = candidates[0] if candidates else None
    gpu["disabled_gpus"] = split.disabled_gpus or None
    return _present(gpu)


def _build(cls: type[StructT], values: Mapping[str, Any]) -> StructT:
    return _lenient.convert(cls, msgspec.to_builtins(wire_names(cls, values)))
