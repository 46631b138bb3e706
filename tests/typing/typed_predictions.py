"""What a type checker must make of predictions. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import msgspec
import pydantic
from typing_extensions import assert_type

import lmstudio as lms


class Book(pydantic.BaseModel):
    title: str
    year: int


class OwnBook(lms.BaseModel):
    title: str


class StructBook(msgspec.Struct):
    title: str


@dataclass
class DataBook:
    title: str


class DictBook(TypedDict):
    title: str


T = TypeVar("T")
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}


# Results are of the type that was asked for ---------------------------------------------------------------------------


async def async_results(model: lms.AsyncLLM) -> None:
    result = await model.respond("Name a book.", response_format=Book)
    assert_type(result, lms.PredictionResult[Book])
    assert_type(result.parsed, Book)
    assert_type(result.parsed.year, int)
    assert_type(result.content, str)
    assert_type((await model.complete("A book:", response_format=Book)).parsed, Book)
    assert_type((await model.respond("Hi", response_format=OwnBook)).parsed, OwnBook)
    assert_type((await model.respond("Hi", response_format=StructBook)).parsed, StructBook)
    assert_type((await model.respond("Hi", response_format=DataBook)).parsed, DataBook)
    assert_type((await model.respond("Hi", response_format=DictBook)).parsed, DictBook)
    assert_type((await model.respond("Hi", response_format=SCHEMA)).parsed, Any)
    assert_type((await model.respond("Hi")).parsed, str)
    _: Book = (await model.respond("Hi", response_format=StructBook)).parsed  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # another class


def sync_results(model: lms.LLM) -> None:
    result = model.respond("Name a book.", response_format=Book)
    assert_type(result, lms.PredictionResult[Book])
    assert_type(result.parsed, Book)
    assert_type(model.complete("A book:", response_format=Book).parsed, Book)
    assert_type(model.respond("Hi", response_format=OwnBook).parsed, OwnBook)
    assert_type(model.respond("Hi", response_format=StructBook).parsed, StructBook)
    assert_type(model.respond("Hi", response_format=DataBook).parsed, DataBook)
    assert_type(model.respond("Hi", response_format=DictBook).parsed, DictBook)
    assert_type(model.respond("Hi", response_format=SCHEMA).parsed, Any)
    assert_type(model.respond("Hi"), lms.PredictionResult[str])
    model.respond("Hi", response_format="json")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # a text is no format


async def adapters(model: lms.AsyncLLM, adapter: pydantic.TypeAdapter[list[int]]) -> None:
    assert_type((await model.respond("Hi", response_format=adapter)).parsed, list[int])
    assert_type((await model.complete("Hi", response_format=pydantic.TypeAdapter(Book))).parsed, Book)
    assert_type(await model.respond_stream("Hi", response_format=adapter), lms.AsyncPredictionStream[list[int]])


class OwnAdapter:
    """Describes and reads a type, without pydantic."""

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer"}

    def validate_json(self, data: str) -> int:
        return int(data)


def own_adapter(model: lms.LLM) -> None:
    assert_type(model.respond("Hi", response_format=OwnAdapter()).parsed, int)
    model.respond("Hi", response_format=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


def generic(model: lms.LLM, response_format: type[T]) -> T:
    return model.respond("Hi", response_format=response_format).parsed


def chosen_at_run_time(model: lms.LLM, response_format: type[Book] | None) -> None:
    schema: Mapping[str, object] = SCHEMA
    assert_type(model.respond("Hi", response_format=schema).parsed, Any)
    assert_type(model.respond("Hi", response_format=None).parsed, str)
    model.respond("Hi", response_format={"type": "gbnf", "gbnfGrammar": "root ::= x"})
    model.respond("Hi", response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}})
    if response_format is not None:
        assert_type(model.respond("Hi", response_format=response_format).parsed, Book)


def what_a_result_has(result: lms.PredictionResult[Book]) -> None:
    assert_type(result.reasoning_content, str)
    assert_type(result.non_reasoning_content, str)
    assert_type(result.stats, lms.LlmPredictionStats)
    assert_type(result.stats.predicted_tokens_count, int | None)
    assert_type(result.stop_reason, str)
    assert_type(result.model_info, lms.LlmInstanceInfo)
    assert_type(result.model_info.context_length, int)
    assert_type(result.structured, bool)
    assert_type(result.load_config, lms.LlmLoadModelConfig)
    assert_type(result.load_config.context_length, int | None)
    assert_type(result.prediction_config, lms.LlmPredictionConfig)
    assert_type(result.tool_calls, tuple[lms.ToolCallRequestInfo, ...])
    assert_type(result.tool_call_requests, list[lms.ToolCallRequest])
    assert_type(result.usage, lms.TokenUsage)
    assert_type(result.usage.total_tokens, int)
    result.content = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # results cannot be changed


# Streams --------------------------------------------------------------------------------------------------------------


async def async_stream(model: lms.AsyncLLM) -> None:
    async with await model.respond_stream("Name a book.", response_format=Book) as stream:
        assert_type(stream, lms.AsyncPredictionStream[Book])
        async for fragment in stream:
            assert_type(fragment, lms.LlmPredictionFragment)
            assert_type(fragment.content, str)
        assert_type(stream.result(), lms.PredictionResult[Book])
        assert_type(stream.stats, lms.LlmPredictionStats | None)
        assert_type(stream.model_info, lms.LlmInstanceInfo | None)
    assert_type(await (await model.complete_stream("A")).wait_for_result(), lms.PredictionResult[str])


def sync_stream(model: lms.LLM) -> None:
    with model.respond_stream("Name a book.", response_format=Book) as stream:
        assert_type(stream, lms.PredictionStream[Book])
        for fragment in stream:
            assert_type(fragment, lms.LlmPredictionFragment)
        assert_type(stream.result(), lms.PredictionResult[Book])
    assert_type(model.complete_stream("A").wait_for_result(), lms.PredictionResult[str])
    stream.cancel()
    stream.close()


# Callbacks ------------------------------------------------------------------------------------------------------------


def on_message(message: lms.AssistantResponse) -> None: ...


def on_fragment(fragment: lms.LlmPredictionFragment) -> None: ...


def on_progress(progress: float) -> None: ...


def on_first_token() -> None: ...


def callbacks(model: lms.LLM) -> None:
    chat = lms.Chat()
    model.respond(chat, on_message=chat.append)
    model.respond(
        chat,
        on_message=on_message,
        on_first_token=on_first_token,
        on_prediction_fragment=on_fragment,
        on_prompt_processing_progress=on_progress,
    )
    texts: list[str] = []
    model.respond(chat, on_prediction_fragment=lambda fragment: texts.append(fragment.content))
    model.respond(chat, on_prompt_processing_progress=print)
    model.respond(chat, on_prompt_processing_progress=on_fragment)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not for numbers


def tool_call_callbacks(model: lms.LLM) -> None:
    names: dict[int, str] = {}
    model.respond(
        "Hi",
        on_tool_call_request_start=lambda call_id, tool_call_id: print(call_id, tool_call_id or ""),
        on_tool_call_request_name_received=names.__setitem__,
        on_tool_call_request_end=lambda call_id, info: print(call_id, info.tool_call_request.name),
        on_tool_call_request_failure=print,
    )


async def coroutine_callbacks(model: lms.AsyncLLM, signal: lms.AbortSignal) -> None:
    async def on_message(message: lms.AssistantResponse) -> None: ...

    async def on_first_token() -> None: ...

    async def on_fragment(fragment: lms.LlmPredictionFragment) -> None: ...

    async def on_progress(progress: lms.PromptProcessingProgress) -> None: ...

    await model.respond(
        "Hi",
        on_message=on_message,
        on_first_token=on_first_token,
        on_prediction_fragment=on_fragment,
        on_prompt_processing_progress=on_progress,
        signal=signal,
    )
    await model.complete_stream("Hi", on_prediction_fragment=on_fragment)


def wrong_calls(model: lms.LLM) -> None:
    model.respond("Hi", temperature=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # in the config
    model.respond("Hi", on_first_token=on_fragment)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.respond("Hi", on_message=on_first_token)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model.complete("Hi", tools=[print])  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # no chat
    model.complete(lms.Chat())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # no text
    model.respond("Hi", config=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def callback_aliases() -> None:
    message: lms.PredictionMessageCallback = on_message
    fragment: lms.PredictionFragmentCallback = on_fragment
    progress: lms.PromptProcessingCallback = on_progress
    first: lms.PredictionFirstTokenCallback = on_first_token
    load: lms.LoadProgressCallback = on_progress
    print(message, fragment, progress, first, load)
