"""POST /v1/embeddings and /api/v0/embeddings."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from lmstudio._http_models.openai import Embedding, EmbeddingRequest, EmbeddingResponse, EmbeddingUsage
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio.server.http.exchange import Exchange

__all__ = ["embeddings"]


async def embeddings(exchange: Exchange, request: EmbeddingRequest) -> None:
    """Embed one text or several."""
    texts = _texts(request.input)
    backend = exchange.backend
    async with backend.using_model(exchange.settings, "embedding", request.model, ttl_seconds=request.ttl) as model:
        vectors, total = await backend.embed(model, texts)
    if request.dimensions is not None and any(len(vector) != request.dimensions for vector in vectors):
        message = f"dimensions is {request.dimensions}, but embeddings of {model.identifier!r} have {len(vectors[0])}."
        raise HttpError("invalid_request", message, param="dimensions", code="invalid_value")
    data = [
        Embedding(object="embedding", index=index, embedding=_encoded(vector, request.encoding_format))
        for index, vector in enumerate(vectors)
    ]
    usage = EmbeddingUsage(prompt_tokens=total, total_tokens=total)
    await exchange.reply(EmbeddingResponse(object="list", data=data, model=model.identifier, usage=usage))


def _texts(given: str | list[Any]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise HttpError("invalid_request", "input is an empty list: it needs at least one text.", param="input")
    if not all(isinstance(text, str) for text in texts):
        message = "input must be a text or a list of texts, not token ids: models differ in theirs."
        raise HttpError("invalid_request", message, param="input", code="invalid_value")
    return texts


def _encoded(vector: Sequence[float], form: str | None) -> list[float] | str:
    if form != "base64":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
