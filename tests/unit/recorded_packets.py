"""What a server of today sends, member by member."""

from __future__ import annotations

from typing import Any

LLM_INFO: dict[str, Any] = {
    "type": "llm",
    "modelKey": "qwen2.5-0.5b-instruct",
    "format": "gguf",
    "displayName": "Qwen2.5 0.5B Instruct",
    "publisher": "lmstudio-community",
    "path": "lmstudio-community/Qwen2.5-0.5B-Instruct-GGUF/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf",
    "sizeBytes": 397807936,
    "indexedModelIdentifier": "lmstudio-community/Qwen2.5-0.5B-Instruct-GGUF/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf",
    "deviceIdentifier": None,
    "paramsString": "0.5B",
    "architecture": "qwen2",
    "quantization": {"name": "Q4_K_M", "bits": 4},
    "variants": ["qwen2.5-0.5b-instruct@q4_k_m"],
    "selectedVariant": "qwen2.5-0.5b-instruct@q4_k_m",
    "vision": False,
    "trainedForToolUse": True,
    "maxContextLength": 32768,
}
LLM_INSTANCE: dict[str, Any] = {
    **LLM_INFO,
    "identifier": "qwen",
    "instanceReference": "ref-1",
    "ttlMs": 3600000,
    "lastUsedTime": None,
    "contextLength": 4096,
}
_LLM_ONLY = ("vision", "trainedForToolUse")
EMBEDDING_INFO: dict[str, Any] = {
    **{key: value for key, value in LLM_INFO.items() if key not in _LLM_ONLY},
    "type": "embedding",
    "modelKey": "nomic-embed",
}
EMBEDDING_INSTANCE: dict[str, Any] = {
    **EMBEDDING_INFO,
    "identifier": "nomic",
    "instanceReference": "ref-2",
    "ttlMs": None,
    "lastUsedTime": 1700000000000,
    "contextLength": 2048,
}

STATS: dict[str, Any] = {
    "stopReason": "eosFound",
    "tokensPerSecond": 72.5,
    "numGpuLayers": 24,
    "timeToFirstTokenSec": 0.11,
    "totalTimeSec": 0.5,
    "promptTokensCount": 12,
    "predictedTokensCount": 2,
    "totalTokensCount": 14,
}
LOAD_FIELDS: list[dict[str, Any]] = [
    {"key": "llm.load.contextLength", "value": 4096},
    {"key": "llm.load.seed", "value": {"checked": False, "value": -1}},
    {"key": "llm.load.llama.acceleration.offloadRatio", "value": "max"},
    {
        "key": "load.gpuSplitConfig",
        "value": {"strategy": "evenly", "disabledGpus": [], "priority": [], "customRatio": []},
    },
]
PREDICTION_FIELDS: list[dict[str, Any]] = [
    {"key": "llm.prediction.temperature", "value": 0.8},
    {"key": "llm.prediction.maxPredictedTokens", "value": {"checked": True, "value": 100}},
]


def fragment(content: str, reasoning_type: str = "none", **members: Any) -> dict[str, Any]:
    return {
        "type": "fragment",
        "fragment": {
            "content": content,
            "tokensCount": 1,
            "containsDrafted": False,
            "reasoningType": reasoning_type,
            "isStructural": False,
            **members,
        },
    }


def progress(value: float) -> dict[str, Any]:
    details = {
        "cachedTokenCount": 0,
        "totalPromptTokenCount": 4,
        "processedPromptTokenCount": 2,
        "unprocessedPromptTokenCount": 2,
    }
    return {"type": "promptProcessingProgress", "progress": value, "details": details}


def success(**stats: Any) -> dict[str, Any]:
    return {
        "type": "success",
        "stats": {**STATS, **stats},
        "modelInfo": LLM_INSTANCE,
        "loadModelConfig": {"fields": LOAD_FIELDS},
        "predictionConfig": {"fields": PREDICTION_FIELDS},
    }


PREDICTION: list[dict[str, Any]] = [progress(0.5), fragment("Hello"), fragment(" world"), success()]

GET_OR_LOAD: list[dict[str, Any]] = [
    {"type": "unloadingOtherJITModel", "info": LLM_INSTANCE},
    {"type": "startLoading", "identifier": "qwen", "info": LLM_INFO},
    {"type": "loadProgress", "progress": 0.4},
    {"type": "loadSuccess", "info": LLM_INSTANCE},
]
LOAD_MODEL: list[dict[str, Any]] = [
    {"type": "resolved", "info": LLM_INFO, "ambiguous": ["qwen2.5-0.5b-instruct", "qwen2.5-0.5b"]},
    {"type": "progress", "progress": 0.4},
    {"type": "success", "info": LLM_INSTANCE},
]
