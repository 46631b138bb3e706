"""What a scripted reply does to one request: its events in order. No I/O."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio.server.engine._gate import Gate
from lmstudio.server.engine._stop_strings import StopStringFinder
from lmstudio.server.engine.base import (
    EngineError,
    EngineStopReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    ModelDiedError,
    PromptProgress,
    TextChunk,
    TokenInfo,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOKENS_PER_SECOND: Final = 1000.0
"""The speed that every scripted generation reports."""
_WORD: Final = re.compile(r"\s*\S+|\s+")

Chunk: TypeAlias = "str | TextChunk | Gate"
Step: TypeAlias = "GenerationEvent | Gate | float"


@dataclass(frozen=True)
class Reply:
    """What a generation does.

    A text is sent word by word; a sequence chunk by chunk. Each chunk given as a text counts as one token. The limits
    and stop strings of the request apply to it like to any text.
    """

    chunks: str | Sequence[Chunk] = ""
    prompt_steps: int = 1
    """Number of progress reports before the prompt is read."""
    prompt_gate: Gate | None = None
    """Where to stop after the first progress report, the one with nothing processed."""
    cached_tokens: int = 0
    """How much of the prompt to report as known from before."""
    delay_seconds: float = 0.0
    """Time before each chunk."""
    stop_reason: EngineStopReason = "eosFound"
    error: str | None = None
    """Fail with this message, after *error_after* chunks."""
    error_after: int = 0
    die_after: int | None = None
    """After this many chunks, the model dies, and every other generation of it as well."""


def words(text: str) -> list[str]:
    """*text* in words, each with the white space before it."""
    return _WORD.findall(text)


def token_id(word: str) -> int:
    """The id of a word, below 2^31."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) >> 1


def play(reply: Reply, request: GenerationRequest, prompt_tokens: int, context_length: int) -> Iterator[Step]:
    """The events of a generation; between them, the gates to wait at and the seconds to wait.

    Raises:
        EngineError, ModelDiedError: the reply says so.
    """
    yield from _read_prompt(reply, prompt_tokens)
    limit, limit_reason = _limit(request, context_length - prompt_tokens)
    finder = StopStringFinder(request.stop_strings)
    position = predicted = counted = 0
    tokens: list[TokenInfo] = []
    for chunk in _chunks(reply):
        if isinstance(chunk, Gate):
            yield chunk
            continue
        if predicted >= limit:
            break
        _fail(reply, position)
        if reply.delay_seconds:
            yield float(reply.delay_seconds)
        position += 1
        predicted += chunk.token_count
        if request.log_probs is not None:
            tokens += chunk.tokens or [_token_info(chunk.text, request.log_probs)]
        if text := finder.feed(chunk.text):
            yield TextChunk(text, predicted - counted, tuple(tokens))
            counted, tokens = predicted, []
        if finder.found is not None:
            yield GenerationEnd("stopStringFound", finder.found, prompt_tokens, predicted, TOKENS_PER_SECOND)
            return
    else:
        _fail(reply, position, is_over=True)
    if text := finder.finish():
        yield TextChunk(text, predicted - counted, tuple(tokens))
    reason = limit_reason if predicted >= limit else reply.stop_reason
    yield GenerationEnd(reason, None, prompt_tokens, predicted, TOKENS_PER_SECOND)


def _read_prompt(reply: Reply, prompt_tokens: int) -> Iterator[Step]:
    cached = min(reply.cached_tokens, prompt_tokens)
    yield PromptProgress(cached, 0, prompt_tokens)
    if reply.prompt_gate is not None:
        yield reply.prompt_gate
    steps = max(1, reply.prompt_steps)
    for step in range(1, steps + 1):
        yield PromptProgress(cached, (prompt_tokens - cached) * step // steps, prompt_tokens)


def _limit(request: GenerationRequest, room: int) -> tuple[int, EngineStopReason]:
    if request.max_tokens is not None and request.max_tokens <= room:
        return request.max_tokens, "maxPredictedTokensReached"
    return room, "contextLengthReached"


def _chunks(reply: Reply) -> Iterator[TextChunk | Gate]:
    parts = words(reply.chunks) if isinstance(reply.chunks, str) else reply.chunks
    return (TextChunk(part, 1) if isinstance(part, str) else part for part in parts)


def _fail(reply: Reply, position: int, *, is_over: bool = False) -> None:
    if reply.die_after is not None and (is_over or position >= reply.die_after):
        raise ModelDiedError("The scripted model died, as it was told to.")
    if reply.error is not None and (is_over or position >= reply.error_after):
        raise EngineError(reply.error)


def _token_info(text: str, wanted: int) -> TokenInfo:
    """Made-up probabilities, falling, their sum below 1."""
    candidates = [TokenInfo(token_id(text), text, -0.125)]
    candidates += [TokenInfo(token_id(f"other{rank}"), f"other{rank}", -2.5 - rank) for rank in range(1, wanted)]
    return TokenInfo(token_id(text), text, -0.125, tuple(candidates[:wanted]))
