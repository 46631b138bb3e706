"""Language models that are loaded, as the asynchronous surface gives them to its users."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from lmstudio._ops import models as model_ops
from lmstudio._ops import prediction as prediction_ops
from lmstudio._ops import text as text_ops
from lmstudio._ops.prediction import refuse_images
from lmstudio._ops.prediction_options import prediction_options, tool_definitions
from lmstudio._sdk_models import LlmInstanceInfo, LlmLoadModelConfig, LlmPredictionConfig
from lmstudio._surface.async_handles import AsyncModelHandle
from lmstudio._surface.async_streams import AsyncPredictionStream
from lmstudio.history import Chat, ChatInput, read_history
from lmstudio.json_api import run_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from typing_extensions import Unpack

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.act_options import (
        ActCallbacks,
        ActFirstTokenCallback,
        ActFragmentCallback,
        ActKeywords,
        ActMessageCallback,
        ActPredictionCompletedCallback,
        ActProgressCallback,
        ActRoundCallback,
        GuardToolCallback,
        InvalidToolRequestHandler,
    )
    from lmstudio._ops.prediction_options import (
        CompletionKeywords,
        PredictionFirstTokenCallback,
        PredictionFragmentCallback,
        PredictionMessageCallback,
        PromptProcessingCallback,
        RespondKeywords,
        ToolRequestCallbacks,
    )
    from lmstudio._sdk_models import ChatHistoryData, KvConfig, LlmApplyPromptTemplateOpts
    from lmstudio._sdk_models.dicts import LlmPredictionConfigDict
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.results import ActResult, PredictionResult
    from lmstudio.schemas import DictSchema, SchemaAdapter
    from lmstudio.tools import ToolDefinition

__all__ = ["AsyncLLM"]

PredictionConfigInput: TypeAlias = "LlmPredictionConfig | LlmPredictionConfigDict"

P = ParamSpec("P")
T = TypeVar("T")


def _not_awaited(make: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:  # sync: skip
    """What *make* returns, without `await`: making a stream waits for nothing, and the stream can be awaited itself."""

    @wraps(make)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_blocking(make(*args, **kwargs))

    return call


class AsyncLLM(AsyncModelHandle[LlmInstanceInfo, LlmLoadModelConfig]):
    """A language model that is loaded."""

    _chat_config: KvConfig | None = None
    """For a handle that a plugin gets: the settings of the chat that it works on, for each prediction."""

    # Predictions -----------------------------------------------------------------------------------------------------

    @overload
    async def respond(
        self, history: ChatInput, *, response_format: type[T] | SchemaAdapter[T], **options: Unpack[RespondKeywords]
    ) -> PredictionResult[T]: ...
    @overload
    async def respond(
        self, history: ChatInput, *, response_format: DictSchema, **options: Unpack[RespondKeywords]
    ) -> PredictionResult[Any]: ...
    @overload
    async def respond(
        self, history: ChatInput, *, response_format: None = None, **options: Unpack[RespondKeywords]
    ) -> PredictionResult[str]: ...
    async def respond(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | type[Any] | SchemaAdapter[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        tools: Iterable[ToolDefinition] | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **tool_callbacks: Unpack[ToolRequestCallbacks],
    ) -> PredictionResult[Any]:
        """The model's next message in a chat, complete.

        ::

            result = await model.respond("What is the capital of Norway?")
            print(result)

        Args:
            history: The chat so far: a text, a `Chat`, or messages (see `Chat.from_history`).
            response_format: What the reply must look like, and what `result.parsed` will be: a class (pydantic model,
                `lms.BaseModel`, msgspec struct, dataclass, TypedDict), a JSON schema, or a GBNF grammar
                (`{"type": "gbnf", "gbnfGrammar": ...}`).
            config: Sampling and limits, e.g. `{"temperature": 0.2, "maxTokens": 100}`.
            preset: Name of a preset on the server; *config* overrides it.
            on_message: Called with the complete message.
            on_first_token: Called once, before the first fragment.
            on_prediction_fragment: Called with each fragment.
            on_prompt_processing_progress: Called with numbers that rise from 0.0 to 1.0 while the prompt is read; their
                `details` are the token counts.
            tools: What the model may call. Nothing is run here (`act` does that): `result.tool_call_requests` says what
                the model asks for.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. What the server reports about its work on the
                prompt counts as a sign of life.
            signal: Stops the prediction from elsewhere; the result is then what there is, `userStopped`.
            **tool_callbacks: `on_tool_call_request_start`, `..._name_received`, `..._argument_fragment_generated`,
                `..._end` and `..._failure`: see `ToolRequestCallbacks`.

        Raises:
            LMStudioModelNotFoundError: the model is not loaded any more.
            LMStudioServerError: the server could not predict.
            LMStudioTimeoutError: *timeout* or a limit of the client has expired; `limit` says which.
            LMStudioCancelledError: *signal* had been aborted before; nothing was sent.
            LMStudioWebsocketError: the connection cannot be made or was lost. The prediction is never repeated.
            LMStudioValueError: bad input; nothing was sent.

        Cancelling the task, a timeout around the call, or an exception tells the server to stop, at once. Exceptions of
        callbacks are logged and do not end the prediction, except those of *on_message*.
        """
        options = prediction_options(
            self._port.runtime,
            response_format=response_format,
            config=config,
            preset=preset,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            tools=tools,
            signal=signal,
            tool_callbacks=tool_callbacks,
            chat_config=self._chat_config,
        )
        return await self._run(
            prediction_ops.respond(self._within(timeout), self._target, self._read_chat(history), options).run()
        )

    @overload
    def respond_stream(
        self, history: ChatInput, *, response_format: type[T] | SchemaAdapter[T], **options: Unpack[RespondKeywords]
    ) -> AsyncPredictionStream[T]: ...
    @overload
    def respond_stream(
        self, history: ChatInput, *, response_format: DictSchema, **options: Unpack[RespondKeywords]
    ) -> AsyncPredictionStream[Any]: ...
    @overload
    def respond_stream(
        self, history: ChatInput, *, response_format: None = None, **options: Unpack[RespondKeywords]
    ) -> AsyncPredictionStream[str]: ...
    @_not_awaited  # sync: skip
    async def respond_stream(
        self,
        history: ChatInput,
        *,
        response_format: DictSchema | type[Any] | SchemaAdapter[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        tools: Iterable[ToolDefinition] | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **tool_callbacks: Unpack[ToolRequestCallbacks],
    ) -> AsyncPredictionStream[Any]:
        """As `respond`, but returns the reply as a stream of fragments. Nothing is sent before the stream is used."""
        options = prediction_options(
            self._port.runtime,
            response_format=response_format,
            config=config,
            preset=preset,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            tools=tools,
            signal=signal,
            tool_callbacks=tool_callbacks,
            chat_config=self._chat_config,
        )
        return AsyncPredictionStream(
            prediction_ops.respond(self._within(timeout), self._target, self._read_chat(history), options)
        )

    @overload
    async def complete(
        self,
        prompt: str,
        *,
        response_format: type[T] | SchemaAdapter[T],
        raw: bool = ...,
        **options: Unpack[CompletionKeywords],
    ) -> PredictionResult[T]: ...
    @overload
    async def complete(
        self, prompt: str, *, response_format: DictSchema, raw: bool = ..., **options: Unpack[CompletionKeywords]
    ) -> PredictionResult[Any]: ...
    @overload
    async def complete(
        self, prompt: str, *, response_format: None = None, raw: bool = ..., **options: Unpack[CompletionKeywords]
    ) -> PredictionResult[str]: ...
    async def complete(
        self,
        prompt: str,
        *,
        response_format: DictSchema | type[Any] | SchemaAdapter[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        raw: bool = False,
    ) -> PredictionResult[Any]:
        """The continuation of a text, without a chat template. Arguments and errors as in `respond`, and:

        Args:
            raw: Use the request that lmstudio.js 2.0 has for this, `completeRawText`. Servers of before it never answer
                it; with the older one, which is the default, the result is the same.
        """
        options = prediction_options(
            self._port.runtime,
            response_format=response_format,
            config=config,
            preset=preset,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            signal=signal,
            chat_config=self._chat_config,
        )
        return await self._run(
            prediction_ops.complete(self._within(timeout), self._target, prompt, options, raw=raw).run()
        )

    @overload
    def complete_stream(
        self,
        prompt: str,
        *,
        response_format: type[T] | SchemaAdapter[T],
        raw: bool = ...,
        **options: Unpack[CompletionKeywords],
    ) -> AsyncPredictionStream[T]: ...
    @overload
    def complete_stream(
        self, prompt: str, *, response_format: DictSchema, raw: bool = ..., **options: Unpack[CompletionKeywords]
    ) -> AsyncPredictionStream[Any]: ...
    @overload
    def complete_stream(
        self, prompt: str, *, response_format: None = None, raw: bool = ..., **options: Unpack[CompletionKeywords]
    ) -> AsyncPredictionStream[str]: ...
    @_not_awaited  # sync: skip
    async def complete_stream(
        self,
        prompt: str,
        *,
        response_format: DictSchema | type[Any] | SchemaAdapter[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        raw: bool = False,
    ) -> AsyncPredictionStream[Any]:
        """As `complete`, but returns a stream of fragments. Nothing is sent before the stream is used."""
        options = prediction_options(
            self._port.runtime,
            response_format=response_format,
            config=config,
            preset=preset,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            signal=signal,
            chat_config=self._chat_config,
        )
        return AsyncPredictionStream(
            prediction_ops.complete(self._within(timeout), self._target, prompt, options, raw=raw)
        )

    # Tools -----------------------------------------------------------------------------------------------------------

    @overload
    async def act(
        self,
        chat: ChatInput,
        tools: Iterable[ToolDefinition],
        *,
        response_format: type[T] | SchemaAdapter[T],
        **options: Unpack[ActKeywords],
    ) -> ActResult[T]: ...
    @overload
    async def act(
        self,
        chat: ChatInput,
        tools: Iterable[ToolDefinition],
        *,
        response_format: DictSchema,
        **options: Unpack[ActKeywords],
    ) -> ActResult[Any]: ...
    @overload
    async def act(
        self,
        chat: ChatInput,
        tools: Iterable[ToolDefinition],
        *,
        response_format: None = None,
        **options: Unpack[ActKeywords],
    ) -> ActResult[str]: ...
    async def act(
        self,
        chat: ChatInput,
        tools: Iterable[ToolDefinition],
        *,
        max_prediction_rounds: int | None = None,
        max_parallel_tool_calls: int | None = 1,
        response_format: DictSchema | type[Any] | SchemaAdapter[Any] | None = None,
        config: PredictionConfigInput | None = None,
        preset: str | None = None,
        on_message: ActMessageCallback | None = None,
        on_first_token: ActFirstTokenCallback | None = None,
        on_prediction_fragment: ActFragmentCallback | None = None,
        on_round_start: ActRoundCallback | None = None,
        on_round_end: ActRoundCallback | None = None,
        on_prediction_completed: ActPredictionCompletedCallback | None = None,
        on_prompt_processing_progress: ActProgressCallback | None = None,
        handle_invalid_tool_request: InvalidToolRequestHandler | None = None,
        guard_tool_call: GuardToolCallback | None = None,
        tool_timeout: float | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **callbacks: Unpack[ActCallbacks],
    ) -> ActResult[Any]:
        """Let the model call *tools* until it has an answer.

        ::

            def multiply(a: float, b: float) -> float:
                \"""Multiply two numbers.\"""
                return a * b

            await model.act("What is 12345 times 54321?", [multiply], on_message=print)

        Each round is one prediction. The tools it asks for run, in parallel up to the limit, while the model may still
        be writing; their results, in the order of the requests, begin the next round. *chat* is not changed: pass
        `on_message=chat.append` to let it grow.

        Args:
            chat: The chat so far, as in `respond`.
            tools: Functions, or whatever else `lmstudio.tools` knows. Plain functions run in threads, coroutine
                functions too. A tool without implementation ends `act` after the round that asks for it.
            max_prediction_rounds: How many predictions at most; the last one is made without tools.
            max_parallel_tool_calls: How many tools may run at the same time; None for any number.
            response_format: What the answer after the last tool call must look like, as in `respond`. It takes one more
                round.
            config: As in `respond`, for every round.
            preset: As in `respond`.
            on_message: Called with each new message: replies of the model, and results of tools.
            on_first_token: Called with the round, from 0, once in each.
            on_prediction_fragment: Called with each fragment, and the round.
            on_round_start: Called with the round.
            on_round_end: Called with the round, after its tools.
            on_prediction_completed: Called with the `PredictionRoundResult` of each round, before its tools have ended.
            on_prompt_processing_progress: Called with progress, and the round.
            handle_invalid_tool_request: Called with the error and the request (None if it cannot be read) when a tool
                does not exist, does not take its arguments, or fails. Returns what the model is told instead of the
                error's text; raises to end `act`. A request that cannot be read always ends it.
            guard_tool_call: Called with the number of the call, a `GuardToolCallController` and the round, before each
                call: allows it, changes its arguments or denies it.
            tool_timeout: Seconds for each call, unless its tool has a limit of its own; the model is told.
            timeout: As in `respond`. The total is for all rounds and their tools, the other limits for each round.
            signal: Ends `act` from elsewhere, with LMStudioCancelledError.
            **callbacks: `on_tool_call_request_start` and more: see `ActCallbacks`.

        Raises:
            LMStudioPredictionError: the model asked for a tool in a way that cannot be read, or in the last round.
            LMStudioValueError: bad input; nothing was sent.
            LMStudioError: as `respond`.

        Leaving early in any way stops the prediction at once and begins no more tools; functions that are running are
        waited for. Exceptions of callbacks are logged, except those of *handle_invalid_tool_request* and
        *guard_tool_call*, which end `act`.
        """
        from lmstudio._ops.act import act
        from lmstudio._ops.act_options import act_options
        from lmstudio.tools import read_tools

        options = act_options(
            self._port.runtime,
            response_format=response_format,
            config=config,
            preset=preset,
            callbacks=callbacks,
            max_prediction_rounds=max_prediction_rounds,
            max_parallel_tool_calls=max_parallel_tool_calls,
            tool_timeout=tool_timeout,
            signal=signal,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_round_start=on_round_start,
            on_round_end=on_round_end,
            on_prediction_completed=on_prediction_completed,
            on_prompt_processing_progress=on_prompt_processing_progress,
            handle_invalid_tool_request=handle_invalid_tool_request,
            guard_tool_call=guard_tool_call,
            chat_config=self._chat_config,
        )
        port = self._within(timeout)
        return await self._run(act(port, self._target, self._read_chat(chat), read_tools(tools), options))

    # Chats and their tokens ------------------------------------------------------------------------------------------

    async def apply_prompt_template(
        self,
        history: ChatInput,
        opts: LlmApplyPromptTemplateOpts | Mapping[str, Any] | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> str:
        """The text that the model would see for a chat.

        Args:
            history: As in `respond`.
            opts: `omit_bos_token`, `omit_eos_token`, `tool_definitions`, in snake_case or camelCase.
        """
        options = text_ops.read_template_opts(opts)
        port = self._within(timeout, signal)
        return await self._run(
            text_ops.apply_prompt_template(port, self._target, read_history(history), options, self._chat_config)
        )

    async def count_chat_tokens(
        self,
        history: ChatInput,
        *,
        tools: Iterable[ToolDefinition] | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> int:
        """How many tokens of the context a chat takes under the model's template.

        Args:
            history: As in `respond`.
            tools: The tools that would be offered; their descriptions take tokens, too.
        """
        definitions = tool_definitions(tools)
        port = self._within(timeout, signal)
        return await self._run(
            text_ops.count_chat_tokens(port, self._target, read_history(history), definitions, self._chat_config)
        )

    async def trim_chat(
        self,
        history: ChatInput,
        max_tokens: int | None = None,
        *,
        tools: Iterable[ToolDefinition] | None = None,
        keep_system: bool = True,
        keep_last: int = 1,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> Chat:
        """The newest part of a chat that fits into *max_tokens*, as a new chat.

        Whole turns are left out, oldest first: what the user says and all that follows until the user speaks again, so
        that tool calls keep their results.

        Args:
            history: As in `respond`.
            max_tokens: By default three quarters of the context, which leaves room for the reply.
            tools: The tools that will be offered; their descriptions take tokens, too.
            keep_system: Keep all system prompts.
            keep_last: How many turns at the end must stay.

        Raises:
            LMStudioValueError: what must stay is too long; says how long.
        """
        from lmstudio._ops.trimming import trim_history

        definitions = tool_definitions(tools)
        port = self._within(timeout, signal)
        if max_tokens is None:
            info: LlmInstanceInfo = await self._run(model_ops.get_info(port, self._session._ENDPOINTS, self._target))
            max_tokens = info.context_length * 3 // 4
        trimmed = await self._run(
            trim_history(
                port,
                self._target,
                read_history(history),
                max_tokens,
                tool_definitions=definitions,
                keep_system=keep_system,
                keep_last=keep_last,
                chat_config=self._chat_config,
            )
        )
        return Chat.from_history(trimmed)

    # The model -------------------------------------------------------------------------------------------------------

    @property
    def vision(self) -> bool:
        """Whether the model understands images."""
        return self._known.vision

    @property
    def trained_for_tool_use(self) -> bool:
        """Whether the model was trained to call tools. Others may do it, too, less well."""
        return self._known.trained_for_tool_use

    async def get_base_prediction_config(
        self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> LlmPredictionConfig:
        """What predictions begin with: the settings of the model, which those of a call override."""
        return await self._run(model_ops.get_base_prediction_config(self._within(timeout, signal), self._target))

    async def preload_draft_model(
        self, draft_model_key: str, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Load a draft model for speculative decoding beforehand, as well as the server can."""
        self._session._settings.check_model(model_ops.check_key(draft_model_key, "draft model key"))
        port = self._within(timeout, signal)
        await self._run(model_ops.preload_draft_model(port, self._target, draft_model_key))

    def _read_chat(self, history: ChatInput) -> ChatHistoryData:
        data = read_history(history)
        if self._info is not None and not self._info.vision:
            refuse_images(data, self)
        return data
