"""What the members of configurations mean: the docstrings that their structs get.

The schemas of lmstudio.js do not say. Every member of the structs listed here has a text, so that a new one is noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from wire_schema import JsonObject

Texts: TypeAlias = dict[str, str]

SUMMARIES: Final[Texts] = {
    "LlmLoadModelConfig": "How to load a language model. What is left out is for the server to decide.",
    "EmbeddingLoadModelConfig": "How to load an embedding model. What is left out is for the server to decide.",
    "LlmPredictionConfig": "How to predict. What is left out is as the model's settings on the server say.",
    "GpuSetting": "How much of a model to put on GPUs, and on which. They count from 0.",
}

_CONTEXT = "The most tokens that prompt and reply may have together."
_ROPE_BASE = "Base frequency of rotary position embeddings; False for the model's own."
_ROPE_SCALE = "Scale of the frequencies of rotary position embeddings; False for the model's own."
_IN_MEMORY = "Keep the model from being swapped out of memory."
_MMAP = "Map the file of the model into memory instead of reading it."
_STOP_DRAFTING = "Stop drafting at a token less probable than this, 0 to 1."
_CACHE_TYPE = "in the cache, such as 'q8_0'; False for no quantization."

MEMBERS: Final[dict[str, Texts]] = {
    "LlmLoadModelConfig": {
        "autoFit": "Let the server choose context length and GPU placement so that the model fits into memory.",
        "gpu": "How much of the model to put on GPUs, and on which.",
        "maxParallelPredictions": "How many predictions may run at the same time, 1 to 1023.",
        "useUnifiedKvCache": "Share one key-value cache among parallel predictions.",
        "gpuStrictVramCap": "Never use more memory of a GPU than is free on it.",
        "offloadKVCacheToGpu": "Keep the key-value cache on the GPU.",
        "contextLength": _CONTEXT,
        "promptTemplate": "A Jinja template to use instead of the model's own.",
        "ropeFrequencyBase": _ROPE_BASE,
        "ropeFrequencyScale": _ROPE_SCALE,
        "evalBatchSize": "How many tokens of a prompt are evaluated in one go.",
        "physicalBatchSize": "How many tokens the engine computes at once; a batch is split into pieces of this size.",
        "flashAttention": "Compute attention in a way that needs less memory, where the engine can.",
        "contextCheckpoints": "How many states of the context to keep for going back to; 0 for none.",
        "reasoningBudgetMessage": "What ends the model's reasoning when its budget is used up.",
        "speculativeDraftMtp": "Draft tokens with the prediction heads that come with the model.",
        "speculativeDraftSimple": "Draft tokens with the smaller model that `speculative_draft_model` names.",
        "speculativeDraftModel": "The key of the model that drafts; needs `speculative_draft_simple`.",
        "speculativeDraftMaxTokens": "The most tokens of a draft.",
        "speculativeDraftMinTokens": "The fewest tokens of a draft that is worth checking.",
        "speculativeDraftMinContinueProbability": _STOP_DRAFTING,
        "keepModelInMemory": _IN_MEMORY,
        "seed": "Where random numbers begin, the same for the same results; False for another each time.",
        "useFp16ForKVCache": "Keep the key-value cache in 16 instead of 32 bits.",
        "tryMmap": _MMAP,
        "tryDirectIO": "Read the file of the model past the operating system's cache.",
        "llamaCppArgumentsOverride": "Arguments for llama.cpp that replace what the other settings make of them.",
        "numExperts": "How many experts of a mixture-of-experts model are active for a token.",
        "llamaKCacheQuantizationType": f"Number format of keys {_CACHE_TYPE}",
        "llamaVCacheQuantizationType": f"Number format of values {_CACHE_TYPE}",
        "mlxDiskCache": "Keep evaluated prompts on disk. For MLX models.",
        "mlxKvCacheQuantization": "Quantization of the key-value cache; False for none. For MLX models.",
    },
    "EmbeddingLoadModelConfig": {
        "gpu": "How much of the model to put on GPUs, and on which.",
        "contextLength": "The most tokens that a text may have.",
        "ropeFrequencyBase": _ROPE_BASE,
        "ropeFrequencyScale": _ROPE_SCALE,
        "keepModelInMemory": _IN_MEMORY,
        "tryMmap": _MMAP,
    },
    "LlmPredictionConfig": {
        "maxTokens": "The most tokens to predict; False for no limit.",
        "reasoningBudget": "The most tokens to reason with before the answer; False for no limit.",
        "temperature": "How freely the model chooses: 0 takes the likeliest token, 1 draws as likely as they are.",
        "stopStrings": "Texts that end the reply. They are not part of it.",
        "toolCallStopStrings": "Texts that end the reply with a tool call.",
        "contextOverflowPolicy": "What to do when the context is full: stop, drop its middle, or drop its beginning.",
        "structured": "The form of the reply: a JSON schema or a grammar. The methods take it as `response_format`.",
        "rawTools": "The tools that the model may call, as the server takes them.",
        "toolChoice": "Whether the model may, must or must not call tools.",
        "toolNaming": "How names of tools are rewritten for the model.",
        "topKSampling": "Choose among this many of the likeliest tokens; -1 to 500.",
        "repeatPenalty": "How much a repeated token loses; 1 is nothing. False switches it off.",
        "presencePenalty": "What a token that has occurred loses, however often it did. False switches it off.",
        "minPSampling": "Leave out tokens less likely than this part of the likeliest, 0 to 1. False switches it off.",
        "topPSampling": "Choose among the likeliest tokens that together have this probability. False switches it off.",
        "cpuThreads": "How many threads of the CPU to use.",
        "enableThinking": "Whether to reason before the answer, for models that leave the choice.",
        "promptTemplate": "A prompt template to use instead of the model's own.",
        "draftModel": 'The key of a smaller model that drafts tokens for this one to check; "" for none.',
        "speculativeDecodingNumDraftTokensExact": "How many tokens a draft has. For MLX models.",
        "speculativeDecodingMinDraftLengthToConsider": "The fewest tokens of a draft that is worth checking.",
        "speculativeDecodingMinContinueDraftingProbability": _STOP_DRAFTING,
        "logProbs": "For how many candidates of each token to return log probabilities, up to 100; False for none.",
        "reasoningParsing": "The texts between which the model reasons.",
        "userMaxImageDimensionPixels": "Shrink images to this width and height at most; False for never.",
        "ignoreModelPreferredMaxImageDimension": "Disregard the size of images that the model was made for.",
        "raw": "Fields for the server as they are. The other members override those of the same key.",
        "xtcProbability": "How often to leave out all but the least likely good token, 0 to 1. False switches it off.",
        "xtcThreshold": "How likely a token is for `xtc_probability` to call it good, 0 to 1.",
    },
    "GpuSetting": {
        "ratio": "The part of the model to put on GPUs, 0 to 1; 'max' for all of it, 'off' for none.",
        "numCpuExpertLayersRatio": "The part of a mixture-of-experts model's expert layers to keep on the CPU.",
        "mainGpu": "The GPU to use first, with `split_strategy` 'favorMainGpu'.",
        "splitStrategy": "How to divide the model among several GPUs.",
        "disabledGpus": "GPUs not to use.",
    },
}


def check_texts(definitions: JsonObject) -> None:
    """Fail if a member has no text, or a text no member."""
    for name, texts in MEMBERS.items():
        different = texts.keys() ^ definitions[name]["properties"].keys()
        if different:
            raise SystemExit(f"config_docs.py: {name} has a member or a text without the other: {sorted(different)}")
