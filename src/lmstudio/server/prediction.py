"""One prediction: from a prompt to progress, fragments and statistics."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from lmstudio._sdk_models import (
    DiagnosticsLogEventDataLlmPredictionInput,
    DiagnosticsLogEventDataLlmPredictionOutput,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmPredictionStats,
    PromptProcessingDetails,
)
from lmstudio.logs import fields, get_logger
from lmstudio.server.engine.base import GenerationEnd, ModelDiedError, PromptProgress, PromptTooLongError, TextChunk
from lmstudio.server.output import FragmentStage, Packet, reasoning_splitter
from lmstudio.server.tool_calls.formats import GENERIC, format_of
from lmstudio.server.tool_calls.stage import ToolCallStage

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from lmstudio._sdk_models import LlmPredictionStopReason
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.engine.base import GenerationRequest
    from lmstudio.server.instances import Clock, Instance, InstanceManager, Use
    from lmstudio.server.output import OutputStage
    from lmstudio.server.prompt import Prompt
    from lmstudio.server.reasoning import ReasoningSplitter
    from lmstudio.server.tool_calls.formats import ToolCallFormat

__all__ = ["Packet", "Prediction", "PredictionOutput"]

_logger = get_logger("server")


class PredictionOutput(Protocol):
    """Where the packets go; a `ServerChannel` is one."""

    def send(self, packet: Packet, /) -> None:
        """Hand over one packet; never waits."""

    def drain(self) -> Awaitable[None]:
        """Wait while packets come faster than they leave."""
        raise NotImplementedError


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
        if self._value >= 1:
            return  # the prompt is being read again, with the reasoning so far
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
        self._splitter = reasoning_splitter(None, "")
        self._stage: OutputStage | None = None
        self._model = instance.model
        self._draft_model_key = instance.draft_model_key or ""
        self._written: list[str] = []
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
        with self._instances.use(self._instance, "processingPrompt", self.cancel) as use:
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
        async with self._instances.model_for(self._instance, self._config) as (self._model, self._draft_model_key):
            try:
                await self._stream(prompt, use)
            except PromptTooLongError as error:
                await self._stream(await self._prompt.shortened(error), use)

    async def _stream(self, prompt: str, use: Use) -> None:
        request = await self._prepare(prompt)
        events = self._instances.events
        if events.is_watched:
            events.publish(
                DiagnosticsLogEventDataLlmPredictionInput(
                    input=request.prompt,
                    model_path=self._instance.file.path,
                    model_identifier=self._instance.identifier,
                )
            )
        await self._read(request, use)
        if self._tally.end is None and self._is_over_budget():
            await self._read_answer(request, use)

    async def _read(self, request: GenerationRequest, use: Use) -> None:
        """Pass on what the engine makes of *request*, to its end or to the end of the budget for reasoning."""
        output, tally = self._output, self._tally
        async with aclosing(self._model.generate(request)) as events:
            async for event in events:
                if isinstance(event, TextChunk):
                    if tally.first_text is None:
                        self._progress.complete()
                        tally.first_text = self._clock.monotonic()
                        use.status = "generating"
                    tally.predicted_tokens += event.token_count
                    self._feed(event)
                    await output.drain()
                    if self._is_over_budget():
                        return
                elif isinstance(event, PromptProgress):
                    self._progress.update(event)
                else:
                    tally.end = event

    def _feed(self, chunk: TextChunk) -> None:
        self._written.append(chunk.text)
        if self._stage is not None:
            for packet in self._stage.feed(chunk):
                self._output.send(packet)

    def _is_over_budget(self) -> bool:
        budget, splitter = self._config.reasoning_budget, self._splitter
        return budget is not None and splitter.is_inside and splitter.reasoning_tokens >= budget

    async def _read_answer(self, request: GenerationRequest, use: Use) -> None:
        """Go on after reasoning that was too long, as if the model had ended it there.

        No engine has a switch for this that works on a plain text, so the text so far becomes part of the prompt, which
        the engine still has in its cache. The budget is exact as far as the engine sends every token by itself.
        """
        tally = self._tally
        written, prompt_tokens = tally.predicted_tokens, self._progress.prompt_tokens
        self._feed(TextChunk(self._reasoning_end(), 0))
        left = None if request.max_tokens is None else request.max_tokens - written
        end = GenerationEnd("maxPredictedTokensReached", None, prompt_tokens or 0, 0, None)
        if left is None or left > 0:
            try:
                await self._read(replace(request, prompt=request.prompt + "".join(self._written), max_tokens=left), use)
            except PromptTooLongError:
                end = replace(end, stop_reason="contextLengthReached")
            else:
                end = tally.end or end
        tally.end = replace(end, prompt_tokens=prompt_tokens or 0, predicted_tokens=written + end.predicted_tokens)

    def _reasoning_end(self) -> str:
        parsing = self._config.reasoning
        message = self._instance.config.options.reasoning_budget_message
        last_words = f"\n{message}" if message and self._written else ""
        return "" if parsing is None else f"{last_words}\n{parsing.end_string}\n\n"

    async def _prepare(self, prompt: str) -> GenerationRequest:
        """What to ask the engine for; from now on `_stage` reads its text."""
        self._written = []
        form = await self._format() if self._config.tools else None
        request, self._stage, self._splitter = prepared(self._config, prompt, form, self._reasoning_end())
        return request

    async def _format(self) -> ToolCallFormat:
        """How the model writes tool calls: as its template shows, or as it was told to."""
        config = self._config
        if config.manual_template is not None:
            return GENERIC
        jinja = config.jinja_template
        return format_of(await self._instance.model.chat_template() if jinja is None else jinja)

    def _stop_reason(self, end: GenerationEnd) -> LlmPredictionStopReason:
        is_tool_call = end.stop_reason == "stopStringFound" and end.stop_string in self._config.tool_call_stop_strings
        return "toolCalls" if is_tool_call else end.stop_reason

    def _finish(self, reason: LlmPredictionStopReason) -> LlmPredictionStats:
        """Send what was held back; the statistics."""
        if self._stage is not None:
            for packet in self._stage.finish(reason):
                self._output.send(packet)
        stats = self._stats(reason)
        if self._instances.events.is_watched:
            self._instances.events.publish(
                DiagnosticsLogEventDataLlmPredictionOutput(
                    output="".join(self._written), stats=stats, model_identifier=self._instance.identifier
                )
            )
        _logger.info(
            "Predicted %s tokens with %r in %.2f s: %s",
            stats.predicted_tokens_count,
            self._instance.identifier,
            stats.total_time_sec,
            reason,
            extra=fields(
                namespace="llm", endpoint="predict", model=self._instance.identifier, seconds=stats.total_time_sec
            ),
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
        if end is not None:
            note_drafts(stats, end, self._draft_model_key)
        return stats

    def _speed(self, now: float) -> float | None:
        tally = self._tally
        speed = None if tally.end is None else tally.end.tokens_per_second
        if speed is None and tally.first_text is not None and now > tally.first_text:
            speed = tally.predicted_tokens / (now - tally.first_text)
        return speed if speed is not None and math.isfinite(speed) else None


def prepared(
    config: PredictionConfig, prompt: str, form: ToolCallFormat | None, reasoning_end: str
) -> tuple[GenerationRequest, OutputStage, ReasoningSplitter]:
    """What to ask an engine for, what reads its text, and what tells reasoning apart in it.

    *form* is how the model writes tool calls, if there are tools; *reasoning_end* what ends its reasoning for it.
    """
    splitter = reasoning_splitter(config.reasoning, prompt)
    if splitter.is_inside and (config.reasoning_budget == 0 or config.must_call_tool):
        prompt += reasoning_end.lstrip("\n")
        splitter = reasoning_splitter(config.reasoning, prompt)
    if form is None:
        return config.request(prompt), FragmentStage(splitter), splitter
    names = config.tool_names()
    request = config.request(prompt)
    if config.must_call_tool:
        # The model goes on inside of a call, with nothing but a call allowed: no reasoning, no text before it.
        schema = form.forced_schema(names.definitions(config.tools))
        request = replace(request, prompt=prompt + form.forced_opening(), json_schema=schema, grammar=None)
        splitter = reasoning_splitter(None, prompt)
    elif request.json_schema is None and request.grammar is None:
        request = replace(request, triggered_grammar=form.grammar(names.definitions(config.tools)))
    return request, ToolCallStage(splitter, form, names, is_forced=config.must_call_tool), splitter


def note_drafts(stats: LlmPredictionStats, end: GenerationEnd, draft_model_key: str) -> None:
    """Say in *stats* how a draft model has helped, if one has."""
    if end.draft_tokens is None:
        return
    accepted = end.accepted_draft_tokens or 0
    stats.used_draft_model_key = draft_model_key or None
    stats.total_draft_tokens_count = end.draft_tokens
    stats.accepted_draft_tokens_count = accepted
    stats.rejected_draft_tokens_count = end.draft_tokens - accepted
    stats.ignored_draft_tokens_count = 0
