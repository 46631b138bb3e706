"""POST /v1/embeddings and /api/v0/embeddings."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from lmstudio._http_models.openai import Embedding, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage
from lmstudio.server.http.batches import all_of
from lmstudio.server.http.errors import HttpError
from lmstudio.server.http.work import using_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.instances import Instance

__all__ = ["embeddings"]


async def embeddings(exchange: Exchange, request: EmbeddingRequest) -> None:
    """Embed one text or several."""
    texts = _texts(request.input)
    async with using_model(
        exchange.core, exchange.settings, "embedding", request.model, ttl_seconds=request.ttl
    ) as instance:
        with exchange.core.instances.use(instance, "computingEmbedding"):
            vectors, counts = await _embed(instance, texts)
    if request.dimensions is not None and any(len(vector) != request.dimensions for vector in vectors):
        message = (
            f"dimensions is {request.dimensions}, but embeddings of {instance.identifier!r} have {len(vectors[0])}."
        )
        raise HttpError("invalid_request", message, param="dimensions", code="invalid_value")
    data = [
        Embedding(object="embedding", index=index, embedding=_encoded(vector, request.encoding_format))
        for index, vector in enumerate(vectors)
    ]
    total = sum(counts)
    usage = EmbeddingUsage(prompt_tokens=total, total_tokens=total)
    await exchange.reply(EmbeddingResponse(object="list", data=data, model=instance.identifier, usage=usage))


def _texts(given: str | list[Any]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise HttpError("invalid_request", "input is an empty list: it needs at least one text.", param="input")
    if not all(isinstance(text, str) for text in texts):
        message = "input must be a text or a list of texts, not token ids: models differ in theirs."
        raise HttpError("invalid_request", message, param="input", code="invalid_value")
    return texts


async def _embed(instance: Instance, texts: Sequence[str]) -> tuple[list[list[float]], list[int]]:
    """The embeddings of *texts*, and how many tokens each has."""
    results = await all_of(lambda text: _one(instance, text), texts)
    return [vector for vector, _ in results], [count for _, count in results]


async def _one(instance: Instance, text: str) -> tuple[list[float], int]:
    return await instance.model.embed(text), len(await instance.model.tokenize(text))


def _encoded(vector: Sequence[float], form: str | None) -> list[float] | str:
    if form != "base64":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
