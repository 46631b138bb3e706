"""Endpoints of the namespace llm."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._endpoints.models import ModelEndpoints, model_endpoints
from lmstudio._sdk_models import (
    LlmChannelCompleteRawTextCreationParameter,
    LlmChannelCompleteRawTextToClientPacket,
    LlmChannelGetOrLoadToClientPacket,
    LlmChannelLoadModelToClientPacket,
    LlmChannelPredictCreationParameter,
    LlmChannelPredictToClientPacket,
    LlmInstanceInfo,
    LlmRpcApplyPromptTemplateParameter,
    LlmRpcApplyPromptTemplateReturns,
    LlmRpcPreloadDraftModelParameter,
)
from lmstudio._sdk_models import LlmChannelCompleteRawTextToServerPacketCancel as CompleteRawTextCancel
from lmstudio._sdk_models import LlmChannelPredictToServerPacketCancel as PredictCancel

MODELS: ModelEndpoints[LlmInstanceInfo] = model_endpoints(
    "llm", LlmInstanceInfo, LlmChannelLoadModelToClientPacket, LlmChannelGetOrLoadToClientPacket
)
APPLY_PROMPT_TEMPLATE: Rpc[LlmRpcApplyPromptTemplateParameter, LlmRpcApplyPromptTemplateReturns] = Rpc(
    "applyPromptTemplate", LlmRpcApplyPromptTemplateParameter, LlmRpcApplyPromptTemplateReturns, is_read=True
)
PRELOAD_DRAFT_MODEL: Rpc[LlmRpcPreloadDraftModelParameter, None] = Rpc(
    "preloadDraftModel", LlmRpcPreloadDraftModelParameter, None
)
PREDICT: ChannelSpec[LlmChannelPredictCreationParameter, LlmChannelPredictToClientPacket, PredictCancel] = ChannelSpec(
    "predict",
    LlmChannelPredictCreationParameter,
    LlmChannelPredictToClientPacket,
    PredictCancel,
    ("toolCallGenerationEnd.toolCallRequest.arguments",),  # or a tool would run without them
)
COMPLETE_RAW_TEXT: ChannelSpec[
    LlmChannelCompleteRawTextCreationParameter, LlmChannelCompleteRawTextToClientPacket, CompleteRawTextCancel
] = ChannelSpec(
    "completeRawText",
    LlmChannelCompleteRawTextCreationParameter,
    LlmChannelCompleteRawTextToClientPacket,
    CompleteRawTextCancel,
)
