"""What the replies of OpenAI's chat completions and completions have in common, and what API v0 adds to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from lmstudio._http_models import encode
from lmstudio._http_models.openai import V0ModelInfo, V0Runtime
from lmstudio._openai_chat import ReplyHead, finish_reason, logprobs, new_id, usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmstudio._http_models import HttpStruct
    from lmstudio._http_models.openai import SamplingRequest
    from lmstudio._openai_chat import Collected
    from lmstudio._sdk_models import LlmPredictionStats
    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.backend import ModelInUse
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Instance

__all__ = ["DONE", "Head", "event", "finish_reason", "last_usage", "logprobs", "usage_of"]

DONE: Final = b"data: [DONE]\n\n"
"""What ends a stream."""


def event(value: HttpStruct) -> bytes:
    """*value* as an event of a stream."""
    return b"data: " + encode(value) + b"\n\n"


def last_usage(
    request: SamplingRequest, settings: HttpSettings, stats: LlmPredictionStats, collected: Collected
) -> dict[str, Any]:
    """What the last chunk of a stream says about the number of tokens, where they have no chunk of their own."""
    is_asked = request.stream_options is not None and request.stream_options.include_usage is not None
    return {"usage": usage_of(stats, collected)} if settings.usage_in_last_chunk and not is_asked else {}


@dataclass(frozen=True)
class Head(ReplyHead):
    """What all parts of one reply begin with."""

    v0: Mapping[str, Any] | None
    """What API v0 says about the model and the engine; None in another."""

    @classmethod
    def new(cls, prefix: str, exchange: Exchange, model: ModelInUse, *, is_v0: bool) -> Head:
        """The head of a new reply."""
        v0 = _v0_members(exchange.core, cast("Instance", model)) if is_v0 else None
        return cls(new_id(prefix), int(exchange.backend.time()), model.identifier, v0)

    @property
    def is_v0(self) -> bool:
        """The reply is one of API v0."""
        return self.v0 is not None

    def last_members(self, stats: LlmPredictionStats) -> dict[str, Any]:
        """What comes with the end besides: the speed, and in API v0 the model and the engine."""
        members = super().last_members(stats)
        if self.v0 is None:
            return members
        first = stats.time_to_first_token_sec or 0.0
        return {
            "stats": msgspec.structs.replace(
                members["stats"],
                tokens_per_second=stats.tokens_per_second or 0.0,
                time_to_first_token=first,
                generation_time=max(0.0, (stats.total_time_sec or 0.0) - first),
                stop_reason=stats.stop_reason,
            ),
            **self.v0,
        }


def _v0_members(core: ServerCore, instance: Instance) -> dict[str, Any]:
    file = instance.file
    return {
        "model_info": V0ModelInfo(
            arch=file.architecture or "unknown",
            quant=file.quantization[0] if file.quantization else "unknown",
            format="gguf",
            context_length=instance.context_length,
        ),
        "runtime": V0Runtime(name=core.engine.name, version=core.engine.version, supported_formats=["gguf"]),
    }
