"""What the namespaces llm and embedding have in common: the same endpoints with different model information."""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    EmbeddingChannelGetOrLoadToClientPacket,
    EmbeddingChannelLoadModelToClientPacket,
    EstimatedResourcesUsage,
    KvConfig,
    LlmChannelGetOrLoadToClientPacket,
    LlmChannelLoadModelToClientPacket,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToServerPacketCancel,
    ModelChannelLoadModelCreationParameter,
    ModelChannelLoadModelToServerPacketCancel,
    ModelProcessingState,
    ModelRpcCountTokensParameter,
    ModelRpcCountTokensReturns,
    ModelRpcEstimateModelUsageParameter,
    ModelRpcGetBasePredictionConfigParameter,
    ModelRpcGetInstanceProcessingStateParameter,
    ModelRpcGetLoadConfigParameter,
    ModelRpcGetModelInfoParameter,
    ModelRpcTokenizeParameter,
    ModelRpcTokenizeReturns,
    ModelRpcUnloadModelParameter,
)

InstanceInfoT = TypeVar("InstanceInfoT")

LoadModelPacket: TypeAlias = "LlmChannelLoadModelToClientPacket | EmbeddingChannelLoadModelToClientPacket"
GetOrLoadPacket: TypeAlias = "LlmChannelGetOrLoadToClientPacket | EmbeddingChannelGetOrLoadToClientPacket"

UNLOAD_MODEL: Rpc[ModelRpcUnloadModelParameter, None] = Rpc("unloadModel", ModelRpcUnloadModelParameter, None)
GET_LOAD_CONFIG: Rpc[ModelRpcGetLoadConfigParameter, KvConfig] = Rpc(
    "getLoadConfig", ModelRpcGetLoadConfigParameter, KvConfig, is_read=True
)
GET_BASE_PREDICTION_CONFIG: Rpc[ModelRpcGetBasePredictionConfigParameter, KvConfig] = Rpc(
    "getBasePredictionConfig", ModelRpcGetBasePredictionConfigParameter, KvConfig, is_read=True
)
GET_INSTANCE_PROCESSING_STATE: Rpc[ModelRpcGetInstanceProcessingStateParameter, ModelProcessingState] = Rpc(
    "getInstanceProcessingState", ModelRpcGetInstanceProcessingStateParameter, ModelProcessingState, is_read=True
)
ESTIMATE_MODEL_USAGE: Rpc[ModelRpcEstimateModelUsageParameter, EstimatedResourcesUsage] = Rpc(
    "estimateModelUsage",
    ModelRpcEstimateModelUsageParameter,
    EstimatedResourcesUsage,
    ("memory.totalBytes",),
    is_read=True,
)
TOKENIZE: Rpc[ModelRpcTokenizeParameter, ModelRpcTokenizeReturns] = Rpc(
    "tokenize", ModelRpcTokenizeParameter, ModelRpcTokenizeReturns, is_read=True
)
COUNT_TOKENS: Rpc[ModelRpcCountTokensParameter, ModelRpcCountTokensReturns] = Rpc(
    "countTokens", ModelRpcCountTokensParameter, ModelRpcCountTokensReturns, is_read=True
)


class ModelEndpoints(msgspec.Struct, Generic[InstanceInfoT], frozen=True):
    """The endpoints whose types differ between the two namespaces."""

    namespace: str
    list_loaded: Rpc[None, list[InstanceInfoT]]
    get_model_info: Rpc[ModelRpcGetModelInfoParameter, InstanceInfoT | None]
    load_model: ChannelSpec[
        ModelChannelLoadModelCreationParameter, LoadModelPacket, ModelChannelLoadModelToServerPacketCancel
    ]
    get_or_load: ChannelSpec[
        ModelChannelGetOrLoadCreationParameter, GetOrLoadPacket, ModelChannelGetOrLoadToServerPacketCancel
    ]


def model_endpoints(
    namespace: str, instance_info: type[InstanceInfoT], load_packet: Any, get_or_load_packet: Any
) -> ModelEndpoints[InstanceInfoT]:
    """The endpoints of one namespace."""
    # mypy cannot build these generic aliases from a variable; as values they are just types.
    infos: Any = list.__class_getitem__(instance_info)
    optional_info: Any = instance_info | None
    return ModelEndpoints(
        namespace=namespace,
        list_loaded=Rpc("listLoaded", None, infos, is_read=True),
        get_model_info=Rpc("getModelInfo", ModelRpcGetModelInfoParameter, optional_info, is_read=True),
        load_model=ChannelSpec(
            "loadModel", ModelChannelLoadModelCreationParameter, load_packet, ModelChannelLoadModelToServerPacketCancel
        ),
        get_or_load=ChannelSpec(
            "getOrLoad",
            ModelChannelGetOrLoadCreationParameter,
            get_or_load_packet,
            ModelChannelGetOrLoadToServerPacketCancel,
        ),
    )
