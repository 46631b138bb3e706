"""One loaded model: what it is called, what it is doing, and how it is described to clients."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from lmstudio._sdk_models import (
    EmbeddingModelInfo,
    EmbeddingModelInstanceInfo,
    LlmInfo,
    LlmInstanceInfo,
    ModelProcessingState,
    Quantization,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._sdk_models import KvConfig, ModelProcessingStatus
    from lmstudio.server.config import LoadConfig
    from lmstudio.server.drafts import DraftedModels
    from lmstudio.server.engine.base import LoadedModel, ModelFile, ModelKind
    from lmstudio.server.loads import PendingLoad

__all__ = ["Clock", "Instance", "Timer", "Use", "model_info", "variant_info"]


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> object:
        """Make it not happen."""


class Clock:
    """Where the server takes time from; tests bring their own."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never decreases."""
        return time.monotonic()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* in the running loop after *seconds*."""
        return asyncio.get_running_loop().call_later(seconds, callback)


@dataclass(eq=False)
class Use:
    """One prediction or embedding that is running on an instance."""

    status: ModelProcessingStatus | None
    """What it does at the moment; None for what is over at once, such as tokenizing."""


@dataclass(eq=False)
class Instance:
    """One loaded model."""

    identifier: str
    file: ModelFile
    model: LoadedModel
    config: LoadConfig
    ttl_ms: int | None
    """Idle time after which it is unloaded; None for never."""
    is_jit: bool
    """Loaded because somebody used it, not because somebody asked for it."""
    drafted: DraftedModels
    """Copies with a draft model that only one prediction asked for."""
    draft_model_key: str | None = None
    instance_reference: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    last_used_ms: int | None = None
    is_unloaded: bool = False
    uses: list[Use] = field(default_factory=list)
    timer: Timer | None = None
    load: PendingLoad | None = None
    """What made it; those who waited for that may not have taken it yet."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a use ends."""

    @property
    def kind(self) -> ModelKind:
        """Its namespace."""
        return self.file.kind

    @property
    def context_length(self) -> int:
        """What one conversation may use, in tokens."""
        return self.model.context_length

    @property
    def load_config(self) -> KvConfig:
        """What it was loaded with, its context length included."""
        return self.config.effective(self.context_length)

    def info(self) -> LlmInstanceInfo | EmbeddingModelInstanceInfo:
        """The description that clients get."""
        return self.llm_info() if self.kind == "llm" else EmbeddingModelInstanceInfo(**self._members())

    def llm_info(self) -> LlmInstanceInfo:
        """The description that clients get of a language model."""
        return LlmInstanceInfo(
            **self._members(), vision=self.file.vision, trained_for_tool_use=self.file.trained_for_tool_use
        )

    def _members(self) -> dict[str, Any]:
        return {
            **_common_members(self.file),
            "identifier": self.identifier,
            "instance_reference": self.instance_reference,
            "ttl_ms": self.ttl_ms,
            "last_used_time": self.last_used_ms,
            "context_length": self.context_length,
        }

    async def wait_until_idle(self) -> None:
        """Wait until nobody uses it, and nobody is about to."""
        if self.load is not None:
            await self.load.collected()
        while self.uses:
            self.released.clear()
            await self.released.wait()

    def state(self) -> ModelProcessingState:
        """What it is doing, and for how many requests."""
        statuses = [use.status for use in self.uses if use.status is not None]
        order: tuple[ModelProcessingStatus, ...] = ("generating", "processingPrompt", "computingEmbedding", "idle")
        status: ModelProcessingStatus = next(status for status in order if status in statuses or status == "idle")
        return ModelProcessingState(status=status, queued=len(statuses))


def _common_members(file: ModelFile) -> dict[str, Any]:
    quantization = file.quantization
    return {
        "model_key": file.listed_key,
        "format": "gguf",
        "display_name": file.display_name,
        "publisher": file.publisher,
        "path": file.path,
        "size_bytes": file.size_bytes,
        "indexed_model_identifier": file.path,
        "device_identifier": None,
        "max_context_length": file.max_context_length,
        "params_string": file.params_string,
        "architecture": file.architecture,
        "quantization": quantization and Quantization(name=quantization[0], bits=quantization[1]),
        "variants": list(file.variants) or None,
        "selected_variant": file.model_key if file.variants else None,
    }


def variant_info(file: ModelFile) -> LlmInfo | EmbeddingModelInfo:
    """The description of one variant of a model, under the key that means just this one."""
    return model_info(replace(file, variant_of=None, variants=()))


def model_info(file: ModelFile) -> LlmInfo | EmbeddingModelInfo:
    """The description of a model that is not loaded; *file* is its selected variant, if there are several."""
    members = _common_members(file)
    if file.kind == "embedding":
        return EmbeddingModelInfo(**members)
    return LlmInfo(**members, vision=file.vision, trained_for_tool_use=file.trained_for_tool_use)
