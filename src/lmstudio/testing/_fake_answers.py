"""Scripted answers to chat completions in memory: no server, no thread, no event loop."""

from __future__ import annotations

from time import monotonic, time
from typing import TYPE_CHECKING, TypeAlias

from lmstudio._chat_message import remove_files
from lmstudio._chat_parts import copy_message
from lmstudio._openai_chat import ChatAssembly, ReplyHead, new_id
from lmstudio._ops.openai_chat import ChatInFlight
from lmstudio._sdk_models import (
    ChatHistoryData,
    LlmChannelPredictToClientPacketPromptProcessingProgress,
    LlmPredictionStats,
    PromptProcessingDetails,
)
from lmstudio._timeouts import read_timeout
from lmstudio.errors import LMStudioServerError, LMStudioTimeoutError
from lmstudio.json_api import run_blocking
from lmstudio.server.config import PredictionConfig
from lmstudio.server.engine._gate import Gate
from lmstudio.server.engine._scripted_run import play
from lmstudio.server.engine.base import EngineError, PromptProgress, TextChunk
from lmstudio.server.engine.scripted import ScriptedEngine, ScriptedModel, scripted_model
from lmstudio.server.prediction import note_drafts, prepared
from lmstudio.server.prompt import chat_prompt
from lmstudio.server.tool_calls.formats import format_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from lmstudio._http_models.openai import ChatCompletionChunk, ChatCompletionResponse
    from lmstudio._ops.openai_chat import ChatRequest
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.server.engine.base import GenerationRequest
    from lmstudio.server.engine.scripted import Answer, Reply
    from lmstudio.server.output import OutputStage, Packet
    from lmstudio.testing.requests import PredictionRequest

Pause: TypeAlias = "Callable[[Gate | float, Callable[[], float | None]], Coroutine[object, object, None]]"
"""Wait at a gate, or for a number of seconds. The function says how long at most, None for as long as it takes; it is
asked again from time to time, and a wait that is over lasts 0 seconds."""

_SLICE_SECONDS = 0.05
"""How soon a wait notices that it is over: whoever ends it does so from another thread or task."""


class FakeAnswer(ChatInFlight):
    """A chat completion that a script answers."""

    def __init__(
        self,
        request: ChatRequest,
        noted: PredictionRequest,
        begin: Callable[[PredictionRequest], None],
        say: Callable[[PredictionRequest], Answer | None],
        pause: Pause,
        timeout: TimeoutInput,
    ) -> None:
        super().__init__()
        limit = read_timeout(timeout).total
        self._noted = noted
        self._request, self._announce, self._pause = request, begin, pause
        self._engine = ScriptedEngine(lambda _: say(noted))
        self._limit = limit if isinstance(limit, (int, float)) else None
        self._deadline: float | None = None
        self._is_cancelled = False
        self._assembly: ChatAssembly | None = None
        self._steps: Iterator[Packet | Gate | float | LlmPredictionStats] = iter(())

    @property
    def reply(self) -> ChatCompletionResponse | None:
        return None if self._assembly is None else self._assembly.reply

    async def _begin(self) -> None:
        self._deadline = None if self._limit is None else monotonic() + self._limit
        self._announce(self._noted)
        self._assembly = ChatAssembly(
            ReplyHead(new_id("chatcmpl"), int(time()), self._noted.model), self._request.parameters
        )
        self._steps = self._play()

    async def _next(self) -> ChatCompletionChunk | None:
        assembly = self._assembly
        assert assembly is not None
        while not assembly.ready:
            if assembly.reply is not None:
                return None
            try:
                step = next(self._steps)
            except EngineError as error:
                raise LMStudioServerError(f"Could not complete a chat: {error}") from error
            if isinstance(step, LlmPredictionStats):
                assembly.end(step)
                self._noted.note_end()
            elif isinstance(step, (Gate, float, int)):
                await self._pause(step, self._left)
                self._check_time()
            elif not assembly.take(step):
                self.cancel()
        return assembly.ready.popleft()

    def cancel(self) -> None:
        if self.is_started and not self.is_finished and not self._is_cancelled:
            self._is_cancelled = True
            self._noted.note_cancel()

    def _stop(self, error: BaseException) -> None:
        if self.is_started:
            self._is_cancelled = True
            self._noted.note_cancel()
            self._noted.note_end(str(error))

    def _left(self) -> float | None:
        if self._is_cancelled:
            return 0.0
        return None if self._deadline is None else self._deadline - monotonic()

    def _check_time(self) -> None:
        if self._deadline is not None and self._limit is not None and monotonic() >= self._deadline:
            message = f"Could not complete a chat: it was not done within {self._limit:g} seconds (timeout 'total')."
            raise LMStudioTimeoutError.of_limit("total", self._limit, message)

    # The script ------------------------------------------------------------------------------------------------------

    def _play(self) -> Iterator[Packet | Gate | float | LlmPredictionStats]:
        """The packets that a server would send, what to wait for between them, and the statistics at the end."""
        config = PredictionConfig.parse(self._request.stack)
        model = ScriptedModel(self._engine, scripted_model(self._noted.model), self._engine.default_options)
        prompt = run_blocking(chat_prompt(model, _without_files(self._request.history), config).text())
        form = format_of(run_blocking(model.chat_template())) if config.tools else None
        reasoning_end = "" if config.reasoning is None else f"\n{config.reasoning.end_string}\n\n"
        generation, stage, _ = prepared(config, prompt, form, reasoning_end)
        self._noted.prompt = generation.prompt
        reply = self._engine.reply_to(generation)
        return self._packets(reply, generation, stage, config, model.context_length)

    def _packets(
        self,
        reply: Reply,
        generation: GenerationRequest,
        stage: OutputStage,
        config: PredictionConfig,
        context_length: int,
    ) -> Iterator[Packet | Gate | float | LlmPredictionStats]:
        prompt_tokens = len(self._engine.tokenize(generation.prompt))
        stats = LlmPredictionStats(stop_reason="userStopped", predicted_tokens_count=0)
        for step in play(reply, generation, prompt_tokens, context_length):
            if self._is_cancelled:
                break
            if isinstance(step, TextChunk):
                stats.predicted_tokens_count = (stats.predicted_tokens_count or 0) + step.token_count
                yield from stage.feed(step)
            elif isinstance(step, PromptProgress):
                yield _progress(step)
            elif isinstance(step, (Gate, float, int)):
                yield step
            else:
                stats.stop_reason, stats.stop_string = step.stop_reason, step.stop_string
                stats.predicted_tokens_count = step.predicted_tokens
                note_drafts(stats, step, config.draft_model_key)
        yield from stage.finish(stats.stop_reason)
        stats.prompt_tokens_count = prompt_tokens
        yield stats


def _progress(step: PromptProgress) -> Packet:
    todo = step.total_tokens - step.cached_tokens
    details = PromptProcessingDetails(
        cached_token_count=step.cached_tokens,
        total_prompt_token_count=step.total_tokens,
        processed_prompt_token_count=step.processed_tokens,
        unprocessed_prompt_token_count=todo - step.processed_tokens,
    )
    value = 1.0 if todo <= 0 else step.processed_tokens / todo
    return LlmChannelPredictToClientPacketPromptProcessingProgress(progress=value, details=details)


def _without_files(history: ChatHistoryData) -> ChatHistoryData:
    """What a script can read of a chat; `PredictionRequest.messages` has the rest."""
    messages = [copy_message(message) for message in history.messages]
    remove_files(messages, [file for message in messages for file in message.get_files()])
    return ChatHistoryData(messages=messages)


# Waits ---------------------------------------------------------------------------------------------------------------


async def pause_blocking(until: Gate | float, left: Callable[[], float | None]) -> None:
    """The `Pause` of the synchronous double."""
    _Wait(until, left).run()


async def pause_in_task(until: Gate | float, left: Callable[[], float | None]) -> None:
    """The `Pause` of the asynchronous double, in a thread: gates are opened from any thread, under any event loop."""
    import anyio.to_thread

    wait = _Wait(until, left)
    try:
        await anyio.to_thread.run_sync(wait.run, abandon_on_cancel=True)
    finally:
        wait.is_left = True


class _Wait:
    def __init__(self, until: Gate | float, left: Callable[[], float | None]) -> None:
        self._until, self._left = until, left
        self.is_left = False

    def run(self) -> None:
        """Wait until the gate is open, or the time is over."""
        gate = self._until if isinstance(self._until, Gate) else Gate()
        end = None if isinstance(self._until, Gate) else monotonic() + self._until
        while not self.is_left:
            ends = [each for each in (self._left(), None if end is None else end - monotonic()) if each is not None]
            if min(ends, default=1.0) <= 0 or gate.wait(min([_SLICE_SECONDS, *ends])):
                return
