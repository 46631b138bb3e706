"""Endpoints of the namespace embedding."""

from __future__ import annotations

from lmstudio._endpoints import Rpc
from lmstudio._endpoints.models import ModelEndpoints, model_endpoints
from lmstudio._sdk_models import (
    EmbeddingChannelGetOrLoadToClientPacket,
    EmbeddingChannelLoadModelToClientPacket,
    EmbeddingModelInstanceInfo,
    EmbeddingRpcEmbedStringParameter,
    EmbeddingRpcEmbedStringReturns,
)

MODELS: ModelEndpoints[EmbeddingModelInstanceInfo] = model_endpoints(
    "embedding",
    EmbeddingModelInstanceInfo,
    EmbeddingChannelLoadModelToClientPacket,
    EmbeddingChannelGetOrLoadToClientPacket,
)
EMBED_STRING: Rpc[EmbeddingRpcEmbedStringParameter, EmbeddingRpcEmbedStringReturns] = Rpc(
    "embedString", EmbeddingRpcEmbedStringParameter, EmbeddingRpcEmbedStringReturns
)
