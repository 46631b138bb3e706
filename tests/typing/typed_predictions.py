"""What a type checker must make of predictions. Checked by `mypy --strict`, never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

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
    assert_type((await model.respond("Hi")).parsed, Any)
    _: Book = (await model.respond("Hi", response_format=StructBook)).parsed  # type: ignore[assignment]  # another class


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
    assert_type(model.respond("Hi"), lms.PredictionResult[Any])
    model.respond("Hi", response_format="json")  # type: ignore[call-overload]  # a text is no format


def chosen_at_run_time(model: lms.LLM, response_format: type[Book] | None) -> None:
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
    result.content = "x"  # type: ignore[misc]  # results cannot be changed


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
    assert_type(await (await model.complete_stream("A")).wait_for_result(), lms.PredictionResult[Any])


def sync_stream(model: lms.LLM) -> None:
    with model.respond_stream("Name a book.", response_format=Book) as stream:
        assert_type(stream, lms.PredictionStream[Book])
        for fragment in stream:
            assert_type(fragment, lms.LlmPredictionFragment)
        assert_type(stream.result(), lms.PredictionResult[Book])
    assert_type(model.complete_stream("A").wait_for_result(), lms.PredictionResult[Any])
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
    model.respond(chat, on_prompt_processing_progress=on_fragment)  # type: ignore[arg-type]  # not for numbers


def callback_aliases() -> None:
    message: lms.PredictionMessageCallback = on_message
    fragment: lms.PredictionFragmentCallback = on_fragment
    progress: lms.PromptProcessingCallback = on_progress
    first: lms.PredictionFirstTokenCallback = on_first_token
    load: lms.LoadProgressCallback = on_progress
    print(message, fragment, progress, first, load)
