"""Predictions with a scripted server, and results without any."""

from __future__ import annotations

from typing import Any

from recorded_packets import LLM_INSTANCE, LOAD_FIELDS, PREDICTION_FIELDS
from scripted_runtime import ScriptedRuntime, packet, run

from lmstudio._ops.models import identifier_target
from lmstudio._ops.prediction import Prediction, respond
from lmstudio._ops.prediction_options import prediction_options
from lmstudio._sdk_models import KvConfig, KvConfigField, LlmInstanceInfo, LlmPredictionStats
from lmstudio.history import read_history
from lmstudio.results import PredictionResult

TARGET = identifier_target("qwen")
ANSWER_SCHEMA = {"type": "object", "properties": {"zebra": {"type": "integer"}, "apple": {"type": "string"}}}


def predict(runtime: ScriptedRuntime, **options: Any) -> Prediction[Any]:
    """A prediction that has not been started."""
    return respond(runtime.llm(), TARGET, read_history("Hi"), prediction_options(runtime, **options))


def reply(*packets: dict[str, Any], **options: Any) -> PredictionResult[Any]:
    """What comes of these packets."""
    return run(predict(ScriptedRuntime(*map(packet, packets)), **options).run())


STATS = LlmPredictionStats(stop_reason="eosFound", predicted_tokens_count=2)


def result(content: str = "Hello", **members: Any) -> PredictionResult[Any]:
    """A result that no server has sent."""
    return PredictionResult(
        **{
            "content": content,
            "stats": STATS,
            "model_info": LlmInstanceInfo.from_dict(LLM_INSTANCE),
            "load_config": KvConfig(fields=[KvConfigField(**item) for item in LOAD_FIELDS]),
            "prediction_config": KvConfig(fields=[KvConfigField(**item) for item in PREDICTION_FIELDS]),
            "parsed": content,
            **members,
        }
    )
