"""The types of LM Studio's API, version 0, `client.rest_v0`: requests, replies and events."""

from __future__ import annotations

from lmstudio._http_models.openai import V0ModelInfo, V0Runtime, V0Stats
from lmstudio._http_models.rest_v0 import V0Model
from lmstudio.http.async_rest_v0 import AsyncRestV0
from lmstudio.http.sync_rest_v0 import RestV0

__all__ = [
    "AsyncRestV0",
    "RestV0",
    "V0Model",
    "V0ModelInfo",
    "V0Runtime",
    "V0Stats",
]
