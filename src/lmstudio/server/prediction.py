"""One prediction: from a prompt to progress, fragments and statistics."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from lmstudio._sdk_models import (
    LlmCandidateToken,
    LlmChannelPredictToClientPacketFragment,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmChannelPredictToClientPacketSuccess,
    LlmPredictionFragment,
    LlmPredictionStats,
    LlmToken,
    PromptProcessingDetails,
)
from lmstudio.server.engine.base import GenerationEnd, ModelDiedError, PromptProgress, PromptTooLongError, TextChunk
from lmstudio.server.reasoning import ReasoningSplitter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from lmstudio._sdk_models import LlmPredictionStopReason, LlmReasoningParsing
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.engine.base import TokenInfo
    from lmstudio.server.instances import Clock, Instance, InstanceManager, Use
    from lmstudio.server.prompt import Prompt
    from lmstudio.server.reasoning import Piece

__all__ = ["FragmentStage", "OutputStage", "Packet", "Prediction", "PredictionOutput"]

Packet: TypeAlias = (
    LlmChannelPredictToClientPacketFragment
    | LlmChannelPredictToClientPacketPromptProcessingProgress
    | LlmChannelPredictToClientPacketSuccess
)

_logger = logging.getLogger("lmstudio.server")


class PredictionOutput(Protocol):
    """Where the packets go; a `ServerChannel` is one."""

    def send(self, packet: Packet, /) -> None:
        """Hand over one packet; never waits."""

    def drain(self) -> Awaitable[None]:
        """Wait while packets come faster than they leave."""


class OutputStage(Protocol):
    """Turns generated text into packets. What recognises tool calls is another one of these, around `FragmentStage`."""

    def feed(self, chunk: TextChunk) -> Sequence[Packet]:
        """The packets that *chunk* completes."""

    def finish(self) -> Sequence[Packet]:
        """The packets for what was held back."""


class FragmentStage:
    """Text into fragments, reasoning told apart."""

    def __init__(self, reasoning: LlmReasoningParsing | None, prompt: str) -> None:
        start, end = (reasoning.start_string, reasoning.end_string) if reasoning else ("", "")
        # Templates of some models begin the answer with the start string, so that the model does not write it.
        is_open = bool(start.strip()) and prompt.rstrip().endswith(start.strip())
        self._splitter = ReasoningSplitter(start, end, is_open=is_open)

    def feed(self, chunk: TextChunk) -> Sequence[Packet]:
        """The fragments that *chunk* completes."""
        return [_fragment(piece) for piece in self._splitter.feed(chunk)]

    def finish(self) -> Sequence[Packet]:
        """The fragments for a tag that did not become complete."""
        return [_fragment(piece) for piece in self._splitter.finish()]


def _fragment(piece: Piece) -> LlmChannelPredictToClientPacketFragment:
    return LlmChannelPredictToClientPacketFragment(
        fragment=LlmPredictionFragment(
            content=piece.text,
            tokens_count=piece.token_count,
            contains_drafted=False,
            reasoning_type=piece.kind,
            is_structural=False,
            tokens=[_token(info) for info in piece.tokens] if piece.tokens else None,
        )
    )


def _token(info: TokenInfo) -> LlmToken:
    candidates = [
        LlmCandidateToken(text=other.text, id=other.id, log_prob=other.log_prob)
        for other in info.candidates
        if other.log_prob is not None and math.isfinite(other.log_prob)
    ]
    log_prob = info.log_prob if info.log_prob is not None and math.isfinite(info.log_prob) else None
    return LlmToken(text=info.text, id=info.id, log_prob=log_prob, candidates=candidates or None)


class _ProgressReport:
    """Progress packets: 0 first, 1 last, never decreasing."""

    def __init__(self, output: PredictionOutput) -> None:
        self._output = output
        self._last: PromptProgress | None = None
        self._value = -1.0

    @property
    def prompt_tokens(self) -> int | None:
        """Length of the prompt, None as long as it is unknown."""
        return None if self._last is None else self._last.total_tokens

    def update(self, progress: PromptProgress) -> None:
        self._last = progress
        todo = progress.total_tokens - progress.cached_tokens
        self._send(progress.processed_tokens / todo if todo > 0 and self._value >= 0 else max(0.0, self._value))

    def complete(self) -> None:
        """Reading is over, whatever the engine has reported."""
        if self._value >= 1:
            return
        last = self._last or PromptProgress(0, 0, 0)
        if self._value < 0:
            self.update(PromptProgress(last.cached_tokens, 0, last.total_tokens))
        self._last = PromptProgress(last.cached_tokens, last.total_tokens - last.cached_tokens, last.total_tokens)
        self._send(1.0)

    def _send(self, value: float) -> None:
        value = min(1.0, value)
        if value <= self._value:
            return
        self._value = value
        last = self._last or PromptProgress(0, 0, 0)
        details = PromptProcessingDetails(
            cached_token_count=last.cached_tokens,
            total_prompt_token_count=last.total_tokens,
            processed_prompt_token_count=last.processed_tokens,
            unprocessed_prompt_token_count=last.total_tokens - last.cached_tokens - last.processed_tokens,
        )
        self._output.send(LlmChannelPredictToClientPacketPromptProcessingProgress(progress=value, details=details))


@dataclass
class _Tally:
    """What happened so far; times are those of the monotonic clock."""

    started: float
    first_text: float | None = None
    predicted_tokens: int = 0
    end: GenerationEnd | None = None


class Prediction:
    """A prediction on one instance. `run` once; `cancel` at any time."""

    def __init__(
        self,
        instances: InstanceManager,
        instance: Instance,
        config: PredictionConfig,
        prompt: Prompt,
        output: PredictionOutput,
        clock: Clock,
    ) -> None:
        self._instances = instances
        self._instance = instance
        self._config = config
        self._prompt = prompt
        self._output = output
        self._clock = clock
        self._progress = _ProgressReport(output)
        self._stage: OutputStage | None = None
        self._tally = _Tally(clock.monotonic())
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """End the prediction at once, whatever it is doing; `run` then returns what there is. Too late is no error."""
        # Once only: a second cancellation would interrupt the engine's cleaning up.
        if self._task is not None and not self._is_cancelled:
            self._task.cancel()
        self._is_cancelled = True

    async def run(self) -> LlmPredictionStats:
        """Predict; the packets but the last have been sent when this returns.

        A cancelled prediction, and one whose model was unloaded, ends normally, with a stop reason that says so.

        Raises:
            RequestError, EngineError: it failed.
        """
        with self._instances.use(self._instance, "processingPrompt") as use:
            # A task of its own, so that a cancelled prediction is not a cancelled handler.
            self._task = asyncio.ensure_future(self._generate(use))
            if self._is_cancelled:
                self._task.cancel()
            try:
                await self._task
            except asyncio.CancelledError:
                if not self._is_cancelled:
                    raise
                stats = self._finish("userStopped")
            except ModelDiedError:
                if not self._instance.is_unloaded:
                    raise
                stats = self._finish("modelUnloaded")
            else:
                self._progress.complete()
                stats = self._finish("failed" if self._tally.end is None else self._stop_reason(self._tally.end))
        return stats

    async def _generate(self, use: Use) -> None:
        prompt = await self._prompt.text()
        try:
            await self._stream(prompt, use)
        except PromptTooLongError as error:
            await self._stream(await self._prompt.shortened(error), use)

    async def _stream(self, prompt: str, use: Use) -> None:
        request = self._config.request(prompt)
        stage = self._stage = FragmentStage(self._config.reasoning, prompt)
        output, tally = self._output, self._tally
        async with aclosing(self._instance.model.generate(request)) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    if tally.first_text is None:
                        self._progress.complete()
                        tally.first_text = self._clock.monotonic()
                        use.status = "generating"
                    tally.predicted_tokens += event.token_count
                    for packet in stage.feed(event):
                        output.send(packet)
                    await output.drain()
                elif isinstance(event, PromptProgress):
                    self._progress.update(event)
                else:
                    tally.end = event

    def _stop_reason(self, end: GenerationEnd) -> LlmPredictionStopReason:
        is_tool_call = end.stop_reason == "stopStringFound" and end.stop_string in self._config.tool_call_stop_strings
        return "toolCalls" if is_tool_call else end.stop_reason

    def _finish(self, reason: LlmPredictionStopReason) -> LlmPredictionStats:
        """Send what was held back; the statistics."""
        if self._stage is not None:
            for packet in self._stage.finish():
                self._output.send(packet)
        stats = self._stats(reason)
        _logger.info(
            "Predicted %s tokens with %r in %.2f s: %s",
            stats.predicted_tokens_count,
            self._instance.identifier,
            stats.total_time_sec,
            reason,
        )
        return stats

    def _stats(self, reason: LlmPredictionStopReason) -> LlmPredictionStats:
        tally, end = self._tally, self._tally.end
        now = self._clock.monotonic()
        predicted = tally.predicted_tokens if end is None else end.predicted_tokens
        prompt = self._progress.prompt_tokens if end is None else end.prompt_tokens
        stats = LlmPredictionStats(
            stop_reason=reason,
            stop_string=end.stop_string if end is not None and reason == "stopStringFound" else None,
            tokens_per_second=self._speed(now),
            time_to_first_token_sec=None if tally.first_text is None else tally.first_text - tally.started,
            total_time_sec=now - tally.started,
            prompt_tokens_count=prompt,
            predicted_tokens_count=predicted,
            total_tokens_count=None if prompt is None else prompt + predicted,
        )
        if end is not None and end.draft_tokens is not None:
            accepted = end.accepted_draft_tokens or 0
            stats.used_draft_model_key = self._instance.draft_model_key
            stats.total_draft_tokens_count = end.draft_tokens
            stats.accepted_draft_tokens_count = accepted
            stats.rejected_draft_tokens_count = end.draft_tokens - accepted
            stats.ignored_draft_tokens_count = 0
        return stats

    def _speed(self, now: float) -> float | None:
        tally = self._tally
        speed = None if tally.end is None else tally.end.tokens_per_second
        if speed is None and tally.first_text is not None and now > tally.first_text:
            speed = tally.predicted_tokens / (now - tally.first_text)
        return speed if speed is not None and math.isfinite(speed) else None
