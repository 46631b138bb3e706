"""What the replies of OpenAI's chat completions and completions have in common, and what API v0 adds to them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from lmstudio._http_models import encode
from lmstudio._http_models.openai import CompletionUsage, V0ModelInfo, V0Runtime, V0Stats
from lmstudio.server.http.observer import observed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lmstudio._http_models import HttpStruct
    from lmstudio._http_models.openai import FinishReason, SamplingRequest
    from lmstudio._sdk_models import LlmPredictionStats, LlmPredictionStopReason, LlmToken
    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.backend import ModelInUse
    from lmstudio.server.http.exchange import Exchange
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.http.work import Collected
    from lmstudio.server.instances import Instance

__all__ = ["DONE", "FINISH_REASONS", "Head", "event", "finish_reason", "last_usage", "logprobs", "usage_of"]

DONE: Final = b"data: [DONE]\n\n"
"""What ends a stream."""

FINISH_REASONS: Final[Mapping[LlmPredictionStopReason, FinishReason]] = {
    "eosFound": "stop",
    "stopStringFound": "stop",
    "userStopped": "stop",
    "toolCalls": "tool_calls",
    "maxPredictedTokensReached": "length",
    "contextLengthReached": "length",
}


def event(value: HttpStruct) -> bytes:
    """*value* as an event of a stream."""
    return b"data: " + encode(value) + b"\n\n"


def finish_reason(stats: LlmPredictionStats, collected: Collected) -> FinishReason:
    """Why the prediction ended, in OpenAI's words. A model that calls a tool ends its text as any other.

    There is no word for a model that was unloaded meanwhile: `Running` raises an error then.
    """
    reason = FINISH_REASONS[stats.stop_reason]
    return "tool_calls" if reason == "stop" and collected.tool_calls else reason


def usage_of(stats: LlmPredictionStats, collected: Collected) -> CompletionUsage:
    """The number of tokens; those of the template and of tool definitions belong to the prompt."""
    prompt, predicted = stats.prompt_tokens_count or 0, stats.predicted_tokens_count or 0
    return CompletionUsage(
        prompt_tokens=prompt,
        completion_tokens=predicted,
        total_tokens=prompt + predicted,
        prompt_tokens_details={"cached_tokens": collected.prompt_cached_tokens},
        completion_tokens_details={"reasoning_tokens": collected.reasoning_tokens},
    )


def last_usage(
    request: SamplingRequest, settings: HttpSettings, stats: LlmPredictionStats, collected: Collected
) -> dict[str, Any]:
    """What the last chunk of a stream says about the number of tokens, where they have no chunk of their own."""
    is_asked = request.stream_options is not None and request.stream_options.include_usage is not None
    return {"usage": usage_of(stats, collected)} if settings.usage_in_last_chunk and not is_asked else {}


def logprobs(tokens: Sequence[LlmToken]) -> dict[str, Any] | None:
    """The probabilities of *tokens* as chat completions have them; None without any."""
    if not tokens:
        return None
    return {
        "content": [
            {**_logprob(token), "top_logprobs": list(map(_logprob, token.candidates or ()))} for token in tokens
        ]
    }


def _logprob(token: Any) -> dict[str, Any]:
    # A token that is certain not to come has the logarithm -infinity, for which JSON has no word.
    value = -9999.0 if token.log_prob is None else token.log_prob
    return {"token": token.text, "logprob": value, "bytes": list(token.text.encode())}


@dataclass(frozen=True)
class Head:
    """What all parts of one reply begin with."""

    id: str
    created: int
    model: str
    v0: Mapping[str, Any] | None
    """What API v0 says about the model and the engine; None in another."""

    @classmethod
    def new(cls, prefix: str, exchange: Exchange, model: ModelInUse, *, is_v0: bool) -> Head:
        """The head of a new reply."""
        reply_id = f"{prefix}-{secrets.token_hex(12)}"
        observed().answered(reply_id)
        v0 = _v0_members(exchange.core, cast("Instance", model)) if is_v0 else None
        return cls(reply_id, int(exchange.backend.time()), model.identifier, v0)

    @property
    def is_v0(self) -> bool:
        """The reply is one of API v0."""
        return self.v0 is not None

    def members(self, kind: str) -> dict[str, Any]:
        """The members of a reply whose `object` is *kind*."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.model,
        }

    def last_members(self, stats: LlmPredictionStats) -> dict[str, Any]:
        """What comes with the end besides: the speed, and in API v0 the model and the engine."""
        drafts: dict[str, Any] = {
            "draft_model": stats.used_draft_model_key,
            "total_draft_tokens_count": stats.total_draft_tokens_count,
            "accepted_draft_tokens_count": stats.accepted_draft_tokens_count,
            "rejected_draft_tokens_count": stats.rejected_draft_tokens_count,
            "ignored_draft_tokens_count": stats.ignored_draft_tokens_count,
        }
        if self.v0 is None:
            return {"stats": V0Stats(**drafts)}
        first = stats.time_to_first_token_sec or 0.0
        return {
            "stats": V0Stats(
                tokens_per_second=stats.tokens_per_second or 0.0,
                time_to_first_token=first,
                generation_time=max(0.0, (stats.total_time_sec or 0.0) - first),
                stop_reason=stats.stop_reason,
                **drafts,
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
