"""The keywords of `act`, understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict

import msgspec

from lmstudio._abort import check_signal
from lmstudio._callbacks import check_callbacks
from lmstudio._kv_config import read_config
from lmstudio._ops.prediction_options import check_keywords, check_preset
from lmstudio._sdk_models import (
    AssistantResponse,
    KvConfig,
    LlmPredictionConfig,
    LlmPredictionFragment,
    ToolCallRequest,
    ToolCallResultData,
    ToolResultMessage,
)
from lmstudio._timeouts import is_seconds
from lmstudio.errors import LMStudioPredictionError, LMStudioValueError, ToolCallRequestError
from lmstudio.results import ParsedT, PredictionRoundResult, PromptProcessingProgress, ToolCallRequestInfo
from lmstudio.schemas import ResponseFormat, resolve_response_format

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._ops.guard import GuardToolCallController
    from lmstudio._runtime import Runtime
    from lmstudio._sdk_models.dicts import LlmPredictionConfigDict
    from lmstudio._timeouts import TimeoutInput

ActMessageCallback: TypeAlias = Callable[[AssistantResponse | ToolResultMessage], object]
ActFirstTokenCallback: TypeAlias = Callable[[int], object]
ActFragmentCallback: TypeAlias = Callable[[LlmPredictionFragment, int], object]
ActProgressCallback: TypeAlias = Callable[[PromptProcessingProgress, int], object]
ActRoundCallback: TypeAlias = Callable[[int], object]
ActPredictionCompletedCallback: TypeAlias = Callable[[PredictionRoundResult[Any]], object]
InvalidToolRequestHandler: TypeAlias = Callable[[LMStudioPredictionError, ToolCallRequest | None], object]
"""Gets the error and the request, None if that could not be read. Returns what the model is told, None for the text of
the error; what it raises ends `act`."""
GuardToolCallback: TypeAlias = Callable[[int, "GuardToolCallController", int], object]
"""Gets the number of the call, a controller to decide with, and the round."""


class ActCallbacks(TypedDict, total=False):
    """Callbacks that follow the tool calls of `act`. The round, from 0, comes last, as in its other callbacks.

    *call_id* numbers the calls of one `act`, from 0.
    """

    on_tool_call_request_start: Callable[[int, str | None, int], object] | None
    """(call_id, tool_call_id, round): the model begins a tool call."""
    on_tool_call_request_name_received: Callable[[int, str, int], object] | None
    """(call_id, name, round): the name of the tool is known."""
    on_tool_call_request_argument_fragment_generated: Callable[[int, str, int], object] | None
    """(call_id, text, round): more of the arguments, as the model writes them."""
    on_tool_call_request_end: Callable[[int, ToolCallRequestInfo, int], object] | None
    """(call_id, info, round): the call is complete and valid."""
    on_tool_call_request_finalized: Callable[[int, ToolCallRequestInfo, int], object] | None
    """(call_id, info, round): the guard, if there is one, has allowed it."""
    on_tool_call_request_failure: Callable[[int, ToolCallRequestError, int], object] | None
    """(call_id, error, round): it cannot be run."""
    on_tool_call_request_dequeued: Callable[[int, int], object] | None
    """(call_id, round): a call that waited for others begins."""
    on_tool_call_success: Callable[[int, ToolCallResultData, int], object] | None
    """(call_id, result, round): the tool has returned."""
    on_tool_call_result: Callable[[int, ToolCallResultData, int], object] | None
    """(call_id, result, round): what the model will be told, also for calls that were denied, refused or failed."""


class ActKeywords(ActCallbacks, total=False):
    """The keywords of `act` but *response_format*, for its overloads."""

    max_prediction_rounds: int | None
    max_parallel_tool_calls: int | None
    config: LlmPredictionConfig | LlmPredictionConfigDict | None
    preset: str | None
    on_message: ActMessageCallback | None
    on_first_token: ActFirstTokenCallback | None
    on_prediction_fragment: ActFragmentCallback | None
    on_round_start: ActRoundCallback | None
    on_round_end: ActRoundCallback | None
    on_prediction_completed: ActPredictionCompletedCallback | None
    on_prompt_processing_progress: ActProgressCallback | None
    handle_invalid_tool_request: InvalidToolRequestHandler | None
    guard_tool_call: GuardToolCallback | None
    tool_timeout: float | None
    timeout: TimeoutInput
    signal: AbortSignal | None


class ActOptions(msgspec.Struct, Generic[ParsedT], frozen=True, kw_only=True):
    """How to act and whom to tell."""

    response_format: ResponseFormat[ParsedT]
    config: LlmPredictionConfig | None
    preset: str | None
    max_prediction_rounds: int | None
    max_parallel_tool_calls: int | None
    tool_timeout: float | None
    """Seconds for tools without a limit of their own."""
    signal: AbortSignal | None
    on_message: ActMessageCallback | None
    on_first_token: ActFirstTokenCallback | None
    on_prediction_fragment: ActFragmentCallback | None
    on_round_start: ActRoundCallback | None
    on_round_end: ActRoundCallback | None
    on_prediction_completed: ActPredictionCompletedCallback | None
    on_prompt_processing_progress: ActProgressCallback | None
    handle_invalid_tool_request: InvalidToolRequestHandler | None
    guard_tool_call: GuardToolCallback | None
    callbacks: ActCallbacks
    chat_config: KvConfig | None = None
    """As in `PredictionOptions`."""


_CALLBACKS = (
    "on_message",
    "on_first_token",
    "on_prediction_fragment",
    "on_round_start",
    "on_round_end",
    "on_prediction_completed",
    "on_prompt_processing_progress",
    "handle_invalid_tool_request",
    "guard_tool_call",
)


def act_options(
    runtime: Runtime,
    *,
    response_format: Any,
    config: LlmPredictionConfig | Mapping[str, Any] | None,
    preset: str | None,
    callbacks: ActCallbacks,
    **more: Any,
) -> ActOptions[Any]:
    """The keywords of `act`, checked.

    Raises:
        LMStudioValueError: one of them cannot be used.
        TypeError: a keyword that does not exist.
    """
    check_keywords("act", callbacks, ActCallbacks, ActKeywords)
    check_callbacks(runtime, **{name: more[name] for name in _CALLBACKS}, **callbacks)
    check_signal(more["signal"])
    for name in ("max_prediction_rounds", "max_parallel_tool_calls"):
        _check_count(name, more[name])
    _check_seconds("tool_timeout", more["tool_timeout"])
    typed = None if config is None else read_config(LlmPredictionConfig, config)
    if typed is not None:
        if typed.raw_tools is not None:
            raise LMStudioValueError("act() gets its tools as an argument, not as config.raw_tools.")
        if typed.structured is not None and typed.structured.type != "none":
            raise LMStudioValueError(
                "Tool calls and structured output exclude each other. Pass response_format= to act(): the answer after "
                "the last tool call is then structured."
            )
    return ActOptions(
        response_format=resolve_response_format(response_format),
        config=typed,
        preset=check_preset(preset),
        callbacks=callbacks,
        **more,
    )


def _check_count(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise LMStudioValueError(f"{name} must be an integer of at least 1, or None for no limit; got {value!r}.")


def _check_seconds(name: str, value: object) -> None:
    if value is not None and not (is_seconds(value) and value > 0):
        raise LMStudioValueError(f"{name} must be a number of seconds above 0, or None for no limit; got {value!r}.")
