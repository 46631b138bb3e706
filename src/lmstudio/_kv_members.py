"""Which member of a configuration is which key on the wire, and how its value is encoded. Used in both directions."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from ._sdk_models.config_keys import BOUNDS
from .errors import LMStudioValueError


class Member(msgspec.Struct, frozen=True):
    """How one member of a configuration travels."""

    name: str
    key: str
    switch: str | None = None
    """Name of the boolean inside the wire value that says whether the setting is on; None for a plain value."""
    off: Any = None
    """The wire value for `False`, apart from the switch. The server needs one although it does not count."""

    def encode(self, value: Any) -> Any:
        """The wire value. Raises LMStudioValueError for one that the server would refuse."""
        if self.switch is None:
            return self._within_bounds(value)
        if value is True:
            raise LMStudioValueError(f"{self.name} cannot be True: give a value, or False to switch it off.")
        if isinstance(self.off, dict):
            return {**self.off, self.switch: False} if value is False else value
        return {self.switch: value is not False, "value": self.off if value is False else self._within_bounds(value)}

    def decode(self, wire: Any) -> Any:
        """The value of the member; `False` for what is switched off. Raises KeyError or TypeError for odd values."""
        if self.switch is None:
            return wire
        if not wire[self.switch]:
            return False
        return wire if isinstance(self.off, dict) else wire["value"]

    def _within_bounds(self, value: Any) -> Any:
        # lmstudio.js declares looser bounds for members than for keys; a server checks those of the keys.
        if self.key not in BOUNDS:
            return value
        lowest, highest, is_whole = BOUNDS[self.key]
        is_fine = isinstance(value, int) or (math.isfinite(value) and not (is_whole and value != int(value)))
        if not is_fine or not (lowest is None or value >= lowest) or not (highest is None or value <= highest):
            kind = "a whole number" if is_whole else "a number"
            least = "" if lowest is None else f" of at least {lowest}"
            span = least if highest is None else f" from {lowest} to {highest}"
            hint = ", or False to switch it off" if self.switch else ""
            raise LMStudioValueError(f"{self.name} must be {kind}{span}{hint}; got {value!r}.")
        return int(value) if is_whole else value


def _plain(prefix: str, *names: str, **renamed: str) -> list[Member]:
    """Members that travel as they are. The key is the wire name of the member unless *renamed* says otherwise."""
    return [Member(name, prefix + _camel(name)) for name in names] + [
        Member(name, prefix + key) for name, key in renamed.items()
    ]


def _optional(prefix: str, off: Any, *names: str, **renamed: str) -> list[Member]:
    """Members that `False` switches off."""
    return [Member(member.name, member.key, "checked", off) for member in _plain(prefix, *names, **renamed)]


def _camel(name: str) -> str:
    special = {"offload_kv_cache_to_gpu": "offloadKVCacheToGpu", "use_fp16_for_kv_cache": "useFp16ForKVCache"}
    head, *rest = name.split("_")
    return special.get(name) or head + "".join(word.capitalize() for word in rest)


_LLAMA_LOAD = "llm.load.llama."
SPECULATIVE = _LLAMA_LOAD + "speculativeDecoding."
SIDECAR_KEYS = tuple(f"{SPECULATIVE}draft{kind}Sidecar" for kind in ("Dflash", "Dspark", "Mtp"))
AUTO_FIT_KEYS = tuple(f"llm.load.{engine}.autoFit" for engine in ("llama", "mlx", "yuzu"))
GPU_SPLIT_KEY = "load.gpuSplitConfig"
LLM_RATIO_KEY = _LLAMA_LOAD + "acceleration.offloadRatio"
LLM_EXPERT_RATIO_KEY = "llm.load.numCpuExpertLayersRatio"
EMBEDDING_RATIO_KEY = "embedding.load.llama.acceleration.offloadRatio"

LLM_LOAD_MEMBERS = (
    *_plain("llm.load.", "use_unified_kv_cache", "offload_kv_cache_to_gpu", "context_length", "prompt_template"),
    *_plain("llm.load.", "num_experts", max_parallel_predictions="numParallelSessions"),
    *_plain("load.", gpu_strict_vram_cap="gpuStrictVramCap"),
    *_optional("llm.load.", 0, "seed"),
    *_optional(_LLAMA_LOAD, 0, "rope_frequency_base", "rope_frequency_scale"),
    *_plain(_LLAMA_LOAD, "eval_batch_size", "physical_batch_size", "flash_attention", "context_checkpoints"),
    *_plain(_LLAMA_LOAD, "reasoning_budget_message", "keep_model_in_memory", "use_fp16_for_kv_cache", "try_mmap"),
    *_plain(_LLAMA_LOAD, try_direct_io="tryDirectIO", llama_cpp_arguments_override="argumentsOverride"),
    *_plain(
        SPECULATIVE,
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
    Member(
        "mlx_kv_cache_quantization",
        "llm.load.mlx.kvCacheQuantization",
        "enabled",
        {"bits": 8, "groupSize": 64, "quantizedStart": 5000},
    ),
)

_LLAMA_EMBEDDING = "embedding.load.llama."
EMBEDDING_LOAD_MEMBERS = (
    *_plain("embedding.load.", "context_length"),
    *_optional(_LLAMA_EMBEDDING, 0, "rope_frequency_base", "rope_frequency_scale"),
    *_plain(_LLAMA_EMBEDDING, "keep_model_in_memory", "try_mmap"),
)

PREDICTION = "llm.prediction."
PREDICTION_MEMBERS = (
    *_plain(PREDICTION, "temperature", "context_overflow_policy", "stop_strings", "tool_call_stop_strings"),
    *_plain(PREDICTION, "structured", "tool_choice", "tool_naming", "top_k_sampling", "prompt_template"),
    *_plain(PREDICTION, raw_tools="tools", cpu_threads="llama.cpuThreads"),
    *_optional(PREDICTION, 1, max_tokens="maxPredictedTokens"),
    *_optional(PREDICTION, 1024, reasoning_budget="reasoning.budgetTokens"),
    *_optional(PREDICTION, 1.1, "repeat_penalty"),
    *_optional(PREDICTION, 0.05, "min_p_sampling"),
    *_optional(PREDICTION, 0.95, "top_p_sampling"),
    *_optional(PREDICTION, 0, "log_probs", presence_penalty="llama.presencePenalty"),
    *_optional(PREDICTION, 0, xtc_probability="llama.xtcProbability", xtc_threshold="llama.xtcThreshold"),
    *_plain(PREDICTION, enable_thinking="reasoning.enableThinking", reasoning_parsing="reasoning.parsing"),
    *_plain(
        PREDICTION + "speculativeDecoding.",
        draft_model="draftModel",
        speculative_decoding_num_draft_tokens_exact="numDraftTokensExact",
        speculative_decoding_min_draft_length_to_consider="minDraftLengthToConsider",
        speculative_decoding_min_continue_drafting_probability="minContinueDraftingProbability",
    ),
    *_optional(PREDICTION, 1024, user_max_image_dimension_pixels="vision.userMaxImageDimensionPixels"),
    *_plain(PREDICTION, ignore_model_preferred_max_image_dimension="vision.ignoreModelPreferredMaxImageDimension"),
)
