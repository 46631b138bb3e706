"""The namespace embedding: embeddings, and what `models` has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lmstudio._endpoints.embedding import EMBED_STRING, MODELS
from lmstudio._sdk_models import (
    EmbeddingChannelGetOrLoadToClientPacketAlreadyLoaded,
    EmbeddingChannelGetOrLoadToClientPacketLoadSuccess,
    EmbeddingChannelGetOrLoadToClientPacketStartLoading,
    EmbeddingChannelLoadModelToClientPacketResolved,
    EmbeddingChannelLoadModelToClientPacketSuccess,
    EmbeddingModelInstanceInfo,
    EmbeddingRpcEmbedStringReturns,
)
from lmstudio.server.native.models import LoadPackets, ModelHandlers

if TYPE_CHECKING:
    from lmstudio._sdk_models import EmbeddingRpcEmbedStringParameter
    from lmstudio.server._port import ClientContext, Handlers
    from lmstudio.server.core import ServerCore

PACKETS: Final = LoadPackets(
    resolved=EmbeddingChannelLoadModelToClientPacketResolved,
    success=EmbeddingChannelLoadModelToClientPacketSuccess,
    already_loaded=EmbeddingChannelGetOrLoadToClientPacketAlreadyLoaded,
    start_loading=EmbeddingChannelGetOrLoadToClientPacketStartLoading,
    load_success=EmbeddingChannelGetOrLoadToClientPacketLoadSuccess,
)


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    EmbeddingHandlers(core, "embedding", MODELS, PACKETS).bind(handlers)


class EmbeddingHandlers(ModelHandlers[EmbeddingModelInstanceInfo]):
    """The handlers of the namespace."""

    def bind(self, handlers: Handlers) -> None:
        """Serve all endpoints."""
        super().bind(handlers)
        handlers.rpc(EMBED_STRING, self._embed_string)

    async def _embed_string(
        self, _: ClientContext, parameter: EmbeddingRpcEmbedStringParameter
    ) -> EmbeddingRpcEmbedStringReturns:
        instance = self.core.instances.find("embedding", parameter.model_specifier)
        with self.core.instances.use(instance, "computingEmbedding"):
            return EmbeddingRpcEmbedStringReturns(embedding=await instance.model.embed(parameter.input_string))
