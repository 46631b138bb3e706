# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import (
    ChannelPacketCancel,
    ChannelPacketProgress,
    EmbeddingModelInfo,
    EmbeddingModelInstanceInfo,
    EstimatedResourcesUsage,
    GpuSetting,
    KvConfig,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToClientPacketLoadProgress,
    ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel,
    ModelChannelGetOrLoadToServerPacket,
    ModelChannelLoadModelCreationParameter,
    ModelChannelLoadModelToServerPacket,
    ModelProcessingState,
    ModelRpcCountTokensReturns,
    ModelRpcEstimateModelUsageParameter,
    ModelRpcGetBasePredictionConfigParameter,
    ModelRpcGetLoadConfigParameter,
    ModelRpcGetModelInfoParameter,
    ModelRpcTokenizeParameter,
    ModelRpcTokenizeReturns,
    ModelRpcUnloadModelParameter,
    ModelSpecifier,
)


class EmbeddingRpcEmbedStringReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc embedding/embedString."""

    embedding: list[float]


class EmbeddingChannelLoadModelToClientPacketSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="success"):
    """Packet `success` from the server, channel embedding/loadModel."""

    type: ClassVar[Literal["success"]] = "success"
    info: EmbeddingModelInstanceInfo


class EmbeddingChannelGetOrLoadToClientPacketAlreadyLoaded(LMStudioStruct, kw_only=True, tag_field="type", tag="alreadyLoaded"):
    """Packet `alreadyLoaded` from the server, channel embedding/getOrLoad."""

    type: ClassVar[Literal["alreadyLoaded"]] = "alreadyLoaded"
    info: EmbeddingModelInstanceInfo


class EmbeddingChannelGetOrLoadToClientPacketStartLoading(LMStudioStruct, kw_only=True, tag_field="type", tag="startLoading"):
    """Packet `startLoading` from the server, channel embedding/getOrLoad."""

    type: ClassVar[Literal["startLoading"]] = "startLoading"
    identifier: str
    info: EmbeddingModelInfo


class EmbeddingChannelGetOrLoadToClientPacketLoadSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="loadSuccess"):
    """Packet `loadSuccess` from the server, channel embedding/getOrLoad."""

    type: ClassVar[Literal["loadSuccess"]] = "loadSuccess"
    info: EmbeddingModelInstanceInfo


EmbeddingRpcListLoadedReturns: TypeAlias = list[EmbeddingModelInstanceInfo]


EmbeddingRpcGetModelInfoReturns: TypeAlias = EmbeddingModelInstanceInfo


EmbeddingRpcUnloadModelParameter: TypeAlias = ModelRpcUnloadModelParameter


EmbeddingRpcTokenizeReturns: TypeAlias = ModelRpcTokenizeReturns


EmbeddingRpcCountTokensReturns: TypeAlias = ModelRpcCountTokensReturns


class EmbeddingChannelLoadModelToClientPacketResolved(LMStudioStruct, kw_only=True, tag_field="type", tag="resolved"):
    """Packet `resolved` from the server, channel embedding/loadModel."""

    type: ClassVar[Literal["resolved"]] = "resolved"
    info: EmbeddingModelInfo
    ambiguous: list[str] | None = None


EmbeddingChannelLoadModelToClientPacketProgress: TypeAlias = ChannelPacketProgress


EmbeddingChannelLoadModelToServerPacketCancel: TypeAlias = ChannelPacketCancel


EmbeddingChannelGetOrLoadToClientPacketLoadProgress: TypeAlias = ModelChannelGetOrLoadToClientPacketLoadProgress


EmbeddingChannelGetOrLoadToServerPacketCancel: TypeAlias = ChannelPacketCancel


class EmbeddingLoadModelConfig(LMStudioStruct, kw_only=True):
    """How to load an embedding model. What is left out is for the server to decide."""

    gpu: GpuSetting | None = None
    """How much of the model to put on GPUs, and on which."""
    context_length: Annotated[int, Meta(ge=1)] | None = None
    """The most tokens that a text may have."""
    rope_frequency_base: float | bool | None = None
    """Base frequency of rotary position embeddings; False for the model's own."""
    rope_frequency_scale: float | bool | None = None
    """Scale of the frequencies of rotary position embeddings; False for the model's own."""
    keep_model_in_memory: bool | None = None
    """Keep the model from being swapped out of memory."""
    try_mmap: bool | None = None
    """Map the file of the model into memory instead of reading it."""


EmbeddingRpcGetLoadConfigReturns: TypeAlias = KvConfig


EmbeddingRpcGetBasePredictionConfigReturns: TypeAlias = KvConfig


EmbeddingRpcGetInstanceProcessingStateReturns: TypeAlias = ModelProcessingState


EmbeddingChannelLoadModelToClientPacket: TypeAlias = EmbeddingChannelLoadModelToClientPacketResolved | ChannelPacketProgress | EmbeddingChannelLoadModelToClientPacketSuccess


EmbeddingChannelLoadModelToServerPacket: TypeAlias = ModelChannelLoadModelToServerPacket


EmbeddingChannelGetOrLoadToClientPacket: TypeAlias = EmbeddingChannelGetOrLoadToClientPacketAlreadyLoaded | EmbeddingChannelGetOrLoadToClientPacketStartLoading | ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel | ModelChannelGetOrLoadToClientPacketLoadProgress | EmbeddingChannelGetOrLoadToClientPacketLoadSuccess


EmbeddingChannelGetOrLoadToClientPacketUnloadingOtherJITModel: TypeAlias = ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel


EmbeddingChannelGetOrLoadToServerPacket: TypeAlias = ModelChannelGetOrLoadToServerPacket


EmbeddingRpcEstimateModelUsageReturns: TypeAlias = EstimatedResourcesUsage


EmbeddingRpcEstimateModelUsageParameter: TypeAlias = ModelRpcEstimateModelUsageParameter


class EmbeddingRpcEmbedStringParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc embedding/embedString."""

    model_specifier: ModelSpecifier
    input_string: str


EmbeddingChannelLoadModelCreationParameter: TypeAlias = ModelChannelLoadModelCreationParameter


EmbeddingChannelGetOrLoadCreationParameter: TypeAlias = ModelChannelGetOrLoadCreationParameter


EmbeddingRpcGetModelInfoParameter: TypeAlias = ModelRpcGetModelInfoParameter


EmbeddingRpcGetLoadConfigParameter: TypeAlias = ModelRpcGetLoadConfigParameter


EmbeddingRpcGetBasePredictionConfigParameter: TypeAlias = ModelRpcGetBasePredictionConfigParameter


EmbeddingRpcGetInstanceProcessingStateParameter: TypeAlias = ModelRpcGetModelInfoParameter


EmbeddingRpcTokenizeParameter: TypeAlias = ModelRpcTokenizeParameter


EmbeddingRpcCountTokensParameter: TypeAlias = ModelRpcTokenizeParameter
