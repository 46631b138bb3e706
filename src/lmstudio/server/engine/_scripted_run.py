"""What a scripted reply does to one request: its events in order. No I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from lmstudio.server.engine._gate import Gate
from lmstudio.server.engine._scripted_calls import CALL_START, BrokenToolCall, Reasoning, ToolCall
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
    from collections.abc import Iterator

TOKENS_PER_SECOND: Final = 1000.0
"""The speed that every scripted generation reports."""
_WORD: Final = re.compile(r"\s*\S+|\s+")

Chunk: TypeAlias = "str | TextChunk | Gate | ToolCall | BrokenToolCall | Reasoning"
Step: TypeAlias = "GenerationEvent | Gate | float"


@dataclass(frozen=True)
class Reply:
    """What a generation does.

    A text is sent word by word; a sequence chunk by chunk. Each chunk given as a text counts as one token, and so does
    each part of a tool call or of reasoning. The limits and stop strings of the request apply to all of it.

        Reply([Reasoning("A sum."), "Let me add.", ToolCall("add", {"a": 1, "b": 2}, id="1"), BrokenToolCall("{oops")])
    """

    chunks: Chunk | Sequence[Chunk] = ""
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
    draft_tokens: int | None = None
    """How many tokens to report as guessed by a draft model; None reports no guessing."""
    accepted_draft_tokens: int = 0
    """How many of those were right."""


def words(text: str) -> list[str]:
    """*text* in words, each with the white space before it."""
    return _WORD.findall(text)


def token_id(word: str) -> int:
    """The id of a word, below 2^31."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) >> 1


def is_continued(reply: Reply, prompt: str, next_prompt: str) -> bool:
    """Whether *next_prompt* is *prompt* with the reasoning of *reply* after it, cut short."""
    chunks = reply.chunks if isinstance(reply.chunks, Sequence) and not isinstance(reply.chunks, str) else ()
    return (
        next_prompt.startswith(prompt) and next_prompt != prompt and _position_after_reasoning(chunks, next_prompt) > 0
    )


def play(reply: Reply, request: GenerationRequest, prompt_tokens: int, context_length: int) -> Iterator[Step]:
    """The events of a generation; between them, the gates to wait at and the seconds to wait.

    Raises:
        EngineError, ModelDiedError: the reply says so.
    """
    yield from _read_prompt(reply, prompt_tokens)
    limit, limit_reason = _limit(request, context_length - prompt_tokens)
    finder = StopStringFinder(request.stop_strings)
    position = predicted = counted = 0
    has_drafted = False
    tokens: list[TokenInfo] = []
    for chunk in _chunks(reply, request):
        if isinstance(chunk, Gate):
            yield chunk
            continue
        if predicted >= limit:
            break
        _fail(reply, position)
        if reply.delay_seconds:
            yield reply.delay_seconds
        position += 1
        predicted += chunk.token_count
        has_drafted = has_drafted or chunk.has_drafted
        if request.log_probs is not None:
            tokens += chunk.tokens or [_token_info(chunk.text, request.log_probs)]
        if text := finder.feed(chunk.text):
            yield TextChunk(text, predicted - counted, tuple(tokens), has_drafted)
            counted, tokens, has_drafted = predicted, [], False
        if finder.found is not None:
            yield _end(reply, "stopStringFound", finder.found, prompt_tokens, predicted)
            return
    else:
        _fail(reply, position, is_over=True)
    if text := finder.finish():
        yield TextChunk(text, predicted - counted, tuple(tokens), has_drafted)
    reason = limit_reason if predicted >= limit else reply.stop_reason
    yield _end(reply, reason, None, prompt_tokens, predicted)


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


def _end(
    reply: Reply, reason: EngineStopReason, stop_string: str | None, prompt_tokens: int, predicted: int
) -> GenerationEnd:
    accepted = None if reply.draft_tokens is None else reply.accepted_draft_tokens
    return GenerationEnd(reason, stop_string, prompt_tokens, predicted, TOKENS_PER_SECOND, reply.draft_tokens, accepted)


def _chunks(reply: Reply, request: GenerationRequest) -> Iterator[TextChunk | Gate]:
    chunks = reply.chunks
    if isinstance(chunks, str):
        chunks = words(chunks)
    elif not isinstance(chunks, Sequence):
        chunks = [chunks]
    begun = _position_after_reasoning(chunks, request.prompt)
    # A server that wants a call begins one in the prompt, and the model goes on from there.
    is_begun = request.prompt.endswith(CALL_START)
    for chunk in chunks[begun:]:
        parts: Sequence[str | TextChunk | Gate]
        if isinstance(chunk, (ToolCall, BrokenToolCall, Reasoning)):
            parts = chunk.pieces(words)
            if is_begun and parts[0] == CALL_START:
                parts, is_begun = parts[1:], False
        else:
            parts = [chunk]
        for part in parts:
            yield TextChunk(part, 1) if isinstance(part, str) else part


def _position_after_reasoning(chunks: Sequence[Chunk], prompt: str) -> int:
    """Where the reply goes on after a prompt that has ended its reasoning: a server has cut it short."""
    for position, chunk in enumerate(chunks):
        if isinstance(chunk, Reasoning) and prompt.rstrip().endswith(chunk.end):
            return position + 1
    return 0


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
