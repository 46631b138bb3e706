"""The engine's settings for loading a model. Pure functions."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Final

from lmstudio.server._gguf import InvalidModelFileError, read_gguf
from lmstudio.server.engine.base import SMALL_MODEL_BYTES, EngineError, LoadOptions, ModelFile

DEFAULT_CONTEXT_LENGTH: Final = 4096
DEFAULT_PARALLEL_SESSIONS: Final = 4
DEFAULT_BATCH_SIZE: Final = 512
"""Tokens per step of prompt reading: a request is cancelled, and progress reported, between two steps."""
_ALL_LAYERS: Final = 999


def usable_threads(file_bytes: int) -> int:
    """How many threads to compute with for a model of this size: physical cores that this process may use."""
    if file_bytes < SMALL_MODEL_BYTES:
        return 1
    # os.process_cpu_count() is newer than our oldest Python, and sched_getaffinity is missing on macOS and Windows.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, _physical_cores() or usable))


def _physical_cores(topology: Path = Path("/sys/devices/system/cpu")) -> int:
    """The number of cores without their hyper-threads; 0 if the system does not say (all but Linux)."""
    files = topology.glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        return len({file.read_text() for file in files})
    except OSError:
        return 0


def load_parameters(model: ModelFile, options: LoadOptions, *, key: str) -> dict[str, Any]:
    """The engine's settings by dotted name, for loading *model* with *options*.

    Raises:
        EngineError: an option has a value that the engine has no word for.
    """
    context = options.context_length or min(model.max_context_length or DEFAULT_CONTEXT_LENGTH, DEFAULT_CONTEXT_LENGTH)
    parallel = options.parallel_sessions or DEFAULT_PARALLEL_SESSIONS
    threads = usable_threads(model.size_bytes)
    parameters: dict[str, Any] = {
        "model.path": str(model.file),
        "n_parallel": parallel,
        "api_keys": [key],
        "port": 0,
        "ui": False,
        "endpoint_slots": True,
        "verbosity": 1,
        # The engine keeps the state of earlier prompts in memory, 8 GiB of it by default.
        "cache_ram_mib": 64 if model.size_bytes < SMALL_MODEL_BYTES else 1024,
        # A chat that ends with the assistant is a finished turn, not the beginning of the next one.
        "prefill_assistant": False,
        # Requests wait in the engine for a free slot; each occupies one of these threads meanwhile.
        "n_threads_http": 64 + parallel,
        **_thread_parameters("", threads),
        **_context_parameters(model, options, context, parallel),
        **_placement_parameters(model, options),
    }
    if options.seed is not None:
        parameters["sampling.seed"] = options.seed & 0xFFFFFFFF
    if options.rope_frequency_base is not None:
        parameters["rope_freq_base"] = options.rope_frequency_base
    if options.rope_frequency_scale is not None:
        parameters["rope_freq_scale"] = options.rope_frequency_scale
    if options.chat_template is not None:
        parameters["chat_template"] = options.chat_template
    if options.draft_model is not None:
        parameters["speculative.draft.mparams.path"] = str(options.draft_model)
        parameters["speculative.types"] = ["@common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"]
        parameters |= _thread_parameters("speculative.draft.", threads)
        for name, value in (
            ("n_max", options.draft_max_tokens),
            ("n_min", options.draft_min_tokens),
            ("p_min", options.draft_min_probability),
        ):
            if value is not None:
                parameters[f"speculative.draft.{name}"] = value
    return parameters


def template_parameters(model: ModelFile, template: str, *, key: str) -> dict[str, Any]:
    """The settings for a process that only applies *template*: it maps the weights but never reads them."""
    return {
        **load_parameters(model, LoadOptions(context_length=256, parallel_sessions=1, gpu_offload_ratio=0), key=key),
        "chat_template": template,
        "warmup": False,
        "fit_params": False,
        # Repacking the weights for the processor would read them all.
        "no_extra_bufts": True,
    }


def _thread_parameters(prefix: str, threads: int) -> dict[str, Any]:
    # poll: spinning threads on busy cores slow each other down a thousandfold.
    groups = ("cpuparams", "cpuparams_batch")
    return {
        f"{prefix}{group}.{name}": value for group in groups for name, value in (("n_threads", threads), ("poll", 0))
    }


def _context_parameters(model: ModelFile, options: LoadOptions, context: int, parallel: int) -> dict[str, Any]:
    if model.kind == "embedding":
        # A text is embedded in one step, or not at all.
        return {"embedding": True, "n_ctx": context, "n_batch": context, "n_ubatch": context, "kv_unified": True}
    shared = options.unified_kv_cache
    if shared is None:
        # Sessions that share a cache fail together when it is full; where memory is cheap, each gets its own.
        shared = model.size_bytes >= SMALL_MODEL_BYTES
    batch = options.eval_batch_size or DEFAULT_BATCH_SIZE
    parameters: dict[str, Any] = {
        "n_ctx": context if shared else context * parallel,
        "kv_unified": shared,
        "n_batch": batch,
        "n_ubatch": min(batch, options.physical_batch_size or DEFAULT_BATCH_SIZE),
    }
    if options.flash_attention is not None:
        state = "ENABLED" if options.flash_attention else "DISABLED"
        parameters["flash_attn_type"] = f"@llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_{state}"
    for name, value in (("cache_type_k", options.k_cache_type), ("cache_type_v", options.v_cache_type)):
        if value is not None:
            parameters[name] = f"@ggml_type.GGML_TYPE_{_checked_cache_type(value)}"
    return parameters


def _checked_cache_type(value: str) -> str:
    known = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "IQ4_NL", "Q5_0", "Q5_1")
    if value.upper() not in known:
        raise EngineError(f"The cache type {value!r} is unknown.", suggestion=f"Use one of {', '.join(known).lower()}.")
    return value.upper()


def _placement_parameters(model: ModelFile, options: LoadOptions) -> dict[str, Any]:
    """Where the weights and the cache go."""
    parameters: dict[str, Any] = {}
    ratio = options.gpu_offload_ratio
    if ratio is not None:
        parameters["n_gpu_layers"] = 0 if ratio <= 0 else _ALL_LAYERS if ratio >= 1 else _layers(model, ratio)
    if options.offload_kv_cache is not None:
        parameters["no_kv_offload"] = not options.offload_kv_cache
    if options.try_mmap is not None or options.keep_in_memory:
        mode = ("NONE", "MLOCK") if options.try_mmap is False else ("MMAP", "MMAP_MLOCK")
        parameters["load_mode"] = f"@llama_load_mode.LLAMA_LOAD_MODE_{mode[bool(options.keep_in_memory)]}"
    return parameters


def _layers(model: ModelFile, ratio: float) -> int:
    """This part of the model's layers; the output layer counts as one more."""
    if model.file is None:
        return _ALL_LAYERS
    try:
        header = read_gguf(model.file)
    except InvalidModelFileError as error:
        raise EngineError(str(error)) from error
    blocks = header.integer(f"{header.text('general.architecture')}.block_count") or 0
    return math.ceil((blocks + 1) * ratio)
