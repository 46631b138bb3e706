"""One streamed completion: the engine's events in, the server's events out. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.server.engine._llama_requests import (
    ErrorBody,
    StreamEvent,
    generation_end,
    is_cache_exhausted,
    prompt_progress,
    request_error,
    token_infos,
)
from lmstudio.server.engine._stop_strings import StopStringFinder
from lmstudio.server.engine.base import (
    BadInputError,
    EngineError,
    EngineStopReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    PromptProgress,
    TextChunk,
    TokenInfo,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class CompletionStream:
    """Turns the events of one completion into those that `LoadedModel.generate` promises.

    Stop strings are found here: the engine loses the text it holds back for one when it stops for another reason.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._finder = StopStringFinder(request.stop_strings)
        self._progress: PromptProgress | None = None
        self._predicted_tokens = 0
        self._counted_tokens = 0
        self._pending_tokens: list[TokenInfo] = []
        self._drafted_tokens = self._counted_drafted = 0
        self._prompt_tokens = 0
        self.is_finished = False
        """Whether the GenerationEnd has been given out; the engine may still be generating then."""

    def feed(self, event: StreamEvent) -> Iterator[GenerationEvent]:
        """What *event* means.

        Raises:
            EngineError: the engine gave up.
        """
        if self.is_finished:
            return
        if event.error is not None:
            yield from self._fail(event.error)
            return
        self._prompt_tokens, self._predicted_tokens = event.tokens_evaluated, event.tokens_predicted
        if event.timings is not None and event.timings.draft_n_accepted is not None:
            self._drafted_tokens = event.timings.draft_n_accepted
        if event.prompt_progress is not None:
            yield from self._report(prompt_progress(event.prompt_progress))
            return
        if event.stop and event.stop_type == "none":
            raise BadInputError("The prompt is empty, and the model has no token of its own to begin with.")
        yield from self._complete_progress()
        if self._request.max_tokens == 0:
            yield self._end(StreamEvent(timings=event.timings), "maxPredictedTokensReached")
            return
        if self._request.log_probs is not None:
            self._pending_tokens += token_infos(event.completion_probabilities, self._request.log_probs)
        yield from self._text(self._finder.feed(event.content))
        if self._finder.found is not None:
            yield self._end(event, "stopStringFound", self._finder.found)
        elif event.stop:
            yield from self._text(self._finder.finish())
            yield self._end(event)

    def _report(self, progress: PromptProgress) -> Iterator[PromptProgress]:
        if self._progress is None and progress.processed_tokens:
            yield PromptProgress(progress.cached_tokens, 0, progress.total_tokens)
        self._progress = progress
        yield progress

    def _complete_progress(self) -> Iterator[PromptProgress]:
        cached = self._progress.cached_tokens if self._progress else 0
        complete = PromptProgress(cached, self._prompt_tokens - cached, self._prompt_tokens)
        if self._progress != complete:
            yield from self._report(complete)

    def _text(self, text: str) -> Iterator[TextChunk]:
        if not text:
            return
        count, self._counted_tokens = self._predicted_tokens - self._counted_tokens, self._predicted_tokens
        tokens, self._pending_tokens = tuple(self._pending_tokens), []
        has_drafted, self._counted_drafted = self._drafted_tokens > self._counted_drafted, self._drafted_tokens
        yield TextChunk(text, count, tokens, has_drafted)

    def _end(
        self, event: StreamEvent, reason: EngineStopReason | None = None, stop_string: str | None = None
    ) -> GenerationEnd:
        self.is_finished = True
        return generation_end(event, self._prompt_tokens, reason, stop_string)

    def _fail(self, error: ErrorBody) -> Iterator[GenerationEvent]:
        if not is_cache_exhausted(error):
            raise request_error(error, what="generate text")
        if not self._predicted_tokens:
            raise EngineError(
                "The sessions of this model share one context, and together they have filled it.",
                suggestion="Send fewer requests at a time, or load the model with a larger contextLength.",
            )
        yield from self._text(self._finder.finish())
        yield self._end(StreamEvent(tokens_predicted=self._predicted_tokens), "contextLengthReached")
