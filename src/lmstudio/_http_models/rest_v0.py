"""LM Studio's API v0 where it differs from OpenAI's: the list of models."""

from __future__ import annotations

from typing import Literal

from lmstudio._http_models import HttpReply


class V0Model(HttpReply, kw_only=True):
    """One model of the list."""

    id: str
    object: str
    type: Literal["llm", "vlm", "embeddings"]
    publisher: str
    arch: str
    compatibility_type: str
    quantization: str
    state: Literal["loaded", "not-loaded"]
    max_context_length: int
    loaded_context_length: int | None = None
    """There for loaded models."""
    capabilities: list[str] | None = None


class V0ModelList(HttpReply, kw_only=True):
    """Body of the reply of GET /api/v0/models."""

    object: str
    data: list[V0Model]
