"""What a type checker must make of `act` and of offering tools. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic
from typing_extensions import assert_type

import lmstudio as lms


class Book(pydantic.BaseModel):
    title: str


@dataclass
class Order:
    """A thing that can be called."""

    limit: int

    def __call__(self, name: str, count: int = 1) -> bool:
        """Order something."""
        return bool(name) and count < self.limit


def multiply(a: float, b: float) -> float:
    """Multiply two numbers."""
    return a * b


async def search(words: list[str], *, limit: int | None = None) -> list[str]:
    """Search the web."""
    return words[:limit]


@lms.tool
def double(a: int) -> int:
    """Double it."""
    return 2 * a


RAW = lms.raw_function_tool(
    name="raw", description=None, parameters_json_schema={"type": "object"}, implementation=print
)
EXTERNAL = lms.unimplemented_raw_function_tool(name="external", description="Ask a human.", parameters_json_schema={})
DEFINED = lms.ToolFunctionDef(name="sum", description="Add.", parameters={"a": int, "b": int}, implementation=multiply)
LAMBDA = lms.ToolFunctionDef(
    name="half",
    description="Halve it.",
    parameters={"a": int},
    # What can be called with anything tells pyright nothing about the parameters of a lambda.
    implementation=lambda a: a / 2,  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
)
AS_DICT: lms.ToolFunctionDefDict = {
    "name": "times",
    "description": "Multiply.",
    "parameters": {"a": float, "b": {"type": float, "default": 1.0, "description": "How often."}},
    "implementation": multiply,
}


# Results --------------------------------------------------------------------------------------------------------------


async def async_results(model: lms.AsyncLLM, adapter: pydantic.TypeAdapter[list[int]]) -> None:
    result = await model.act("Hi", [search, multiply])
    assert_type(result, lms.ActResult[str])
    assert_type(result.rounds, int)
    assert_type(result.content, str)
    assert_type(result.parsed, str)
    assert_type(result.final_result, lms.PredictionRoundResult[str] | None)
    assert_type(result.tool_call_requests, list[lms.ToolCallRequest])
    assert_type((await model.act("Hi", [search], response_format=Book)).parsed, Book)
    assert_type((await model.act("Hi", [search], response_format=adapter)).parsed, list[int])
    assert_type((await model.act("Hi", [search], response_format={"type": "object"})).parsed, Any)


def sync_results(model: lms.LLM) -> None:
    assert_type(model.act("Hi", [multiply]), lms.ActResult[str])
    assert_type(model.act("Hi", [multiply], response_format=Book), lms.ActResult[Book])
    assert_type(model.act("Hi", [multiply], response_format=None), lms.ActResult[str])


# Tools ----------------------------------------------------------------------------------------------------------------


def every_kind_of_tool(model: lms.LLM, order: Order) -> None:
    model.act("Hi", [multiply, search, double, order, order.__call__, len, RAW, EXTERNAL, DEFINED, LAMBDA, AS_DICT])
    model.act("Hi", [{"type": "function", "function": {"name": "raw"}}])
    model.act("Hi", [lms.ToolFunctionDef.from_callable(multiply, name="times")])
    model.act("Hi", [])
    model.respond("Hi", tools=[multiply, RAW, AS_DICT])
    model.count_chat_tokens("Hi", tools=(multiply, search))
    assert_type(model.trim_chat("Hi", 100, tools={multiply}), lms.Chat)


def containers_of_tools(
    model: lms.LLM,
    functions: list[Callable[..., float]],
    typed: tuple[Callable[[float, float], float], ...],
    coroutines: Sequence[Callable[[str], object]],
    defined: list[lms.ToolFunctionDef],
    dicts: Sequence[lms.ToolFunctionDefDict],
    raw: list[lms.RawFunctionTool],
    mixed: list[lms.ToolDefinition],
    by_name: Mapping[str, lms.ToolDefinition],
) -> None:
    model.act("Hi", functions)
    model.act("Hi", typed)
    model.act("Hi", coroutines)
    model.act("Hi", defined)
    model.act("Hi", dicts)
    model.act("Hi", raw)
    model.act("Hi", [*mixed, *functions, *defined])
    model.act("Hi", by_name.values())
    model.act("Hi", (tool for tool in defined if tool.timeout is None))
    model.act("Hi", set(functions))
    model.respond("Hi", tools=defined)


def wrong_tools(model: lms.LLM) -> None:
    model.act("Hi", multiply)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # not in a list
    model.act("Hi", [5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # no tool
    model.act("Hi")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # no tools


# Callbacks ------------------------------------------------------------------------------------------------------------


class Watcher:
    """Callbacks as methods."""

    def on_message(self, message: lms.AssistantResponse | lms.ToolResultMessage) -> None: ...

    def on_anything(self, *arguments: object) -> None: ...

    def on_fragment(self, fragment: lms.LlmPredictionFragment, round_index: int) -> None: ...

    def on_progress(self, progress: float, round_index: int = 0) -> None: ...

    def on_round(self, round_index: int) -> int:
        return round_index

    def on_completed(self, result: lms.PredictionRoundResult) -> None: ...

    def on_request_end(self, call_id: int, info: lms.ToolCallRequestInfo, round_index: int) -> None: ...

    def handle_invalid(self, error: lms.LMStudioPredictionError, request: lms.ToolCallRequest | None) -> str | None:
        return None if request is None else f"{request.name}: {error}"

    def guard(self, call_id: int, controller: lms.GuardToolCallController, round_index: int) -> None:
        if controller.tool_call_request.name == "rm":
            controller.deny("No.")
        elif controller.raw_content is None:
            controller.allow()
        else:
            controller.allow_and_override_parameters({"path": "/dev/null"})


def callbacks(model: lms.LLM, watcher: Watcher) -> None:
    chat = lms.Chat()
    model.act(chat, [multiply], on_message=chat.append)
    model.act(chat, [multiply], on_message=print, on_prediction_fragment=print, on_round_start=print)
    model.act(
        chat,
        [multiply],
        max_prediction_rounds=3,
        max_parallel_tool_calls=None,
        on_message=watcher.on_message,
        on_first_token=watcher.on_round,
        on_prediction_fragment=watcher.on_fragment,
        on_prompt_processing_progress=watcher.on_progress,
        on_round_start=watcher.on_round,
        on_round_end=watcher.on_anything,
        on_prediction_completed=watcher.on_completed,
        on_tool_call_request_start=watcher.on_anything,
        on_tool_call_request_end=watcher.on_request_end,
        on_tool_call_request_finalized=watcher.on_request_end,
        on_tool_call_request_failure=lambda call_id, error, round_index: print(call_id, error.raw_content, round_index),
        on_tool_call_result=lambda call_id, result, round_index: print(call_id, result.content, round_index),
        handle_invalid_tool_request=watcher.handle_invalid,
        guard_tool_call=watcher.guard,
        tool_timeout=10,
        signal=lms.AbortSignal(),
    )
    model.act(chat, [multiply], on_prediction_fragment=lambda fragment, _: print(fragment.content, end=""))
    model.act(chat, [multiply], on_message=None, on_first_token=None, guard_tool_call=None, preset=None)


async def coroutine_callbacks(model: lms.AsyncLLM) -> None:
    async def on_message(message: lms.AssistantResponse | lms.ToolResultMessage) -> None: ...

    async def on_round(round_index: int) -> None: ...

    async def guard(call_id: int, controller: lms.GuardToolCallController, round_index: int) -> None:
        controller.allow()

    async def handle_invalid(error: lms.LMStudioPredictionError, request: lms.ToolCallRequest | None) -> str:
        return str(error)

    await model.act(
        "Hi",
        [search],
        on_message=on_message,
        on_round_start=on_round,
        guard_tool_call=guard,
        handle_invalid_tool_request=handle_invalid,
    )


def stored_callbacks(model: lms.LLM, watcher: Watcher) -> None:
    some: lms.ActCallbacks = {"on_tool_call_request_end": watcher.on_request_end}
    model.act("Hi", [multiply], **some)


def wrong_callbacks(model: lms.LLM, watcher: Watcher) -> None:
    model.act("Hi", [multiply], on_fragment=print)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    model.act("Hi", [multiply], on_first_token=lambda: 1)  # type: ignore[misc, arg-type]  # pyright: ignore[reportArgumentType]
    model.act("Hi", [multiply], on_round_end=watcher.on_fragment)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.act("Hi", [multiply], guard_tool_call=watcher.on_round)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.act("Hi", [multiply], config={"temprature": 1})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
