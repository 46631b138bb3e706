"""What a type checker must make of events and of streams. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import pydantic
from typing_extensions import assert_never, assert_type

import lmstudio as lms
from lmstudio import events


class Book(pydantic.BaseModel):
    title: str


# A stream can be awaited, entered and iterated in any combination -----------------------------------------------------


async def async_streams(model: lms.AsyncLLM) -> None:
    assert_type(model.respond_stream("Hi"), lms.AsyncPredictionStream[str])
    assert_type(await model.respond_stream("Hi"), lms.AsyncPredictionStream[str])
    assert_type(await model.respond_stream("Hi", response_format=Book), lms.AsyncPredictionStream[Book])
    assert_type(await model.respond_stream("Hi", response_format={"type": "object"}), lms.AsyncPredictionStream[Any])
    async with model.respond_stream("Hi", response_format=Book) as stream:
        assert_type(stream, lms.AsyncPredictionStream[Book])
        assert_type(stream.result().parsed, Book)
    async for fragment in model.complete_stream("Hi"):
        assert_type(fragment, lms.LlmPredictionFragment)
        assert_type(fragment.reasoning_type, Literal["none", "reasoning", "reasoningStartTag", "reasoningEndTag"])
    fragments: AsyncIterator[lms.LlmPredictionFragment] = aiter_of(await model.respond_stream("Hi"))
    assert_type([fragment.content async for fragment in fragments], list[str])
    assert_type((await stream.wait_for_result()).parsed, Book)
    await stream.cancel()
    await stream.aclose()


def aiter_of(stream: lms.AsyncPredictionStream[str]) -> AsyncIterator[lms.LlmPredictionFragment]:
    return stream.__aiter__()


def sync_streams(model: lms.LLM) -> None:
    stream = model.respond_stream("Hi", response_format=Book)
    assert_type(stream, lms.PredictionStream[Book])
    assert_type([fragment.content for fragment in stream], list[str])
    assert_type(stream.result().parsed, Book)
    assert_type(model.complete_stream("Hi").result().parsed, str)


def text_of(stream: lms.PredictionStream[Any]) -> str:
    return "".join(fragment.content for fragment in stream)


def a_parameter_for_any_stream(model: lms.LLM) -> None:
    text_of(model.respond_stream("Hi"))
    text_of(model.respond_stream("Hi", response_format=Book))


# Events narrow by kind and by class -----------------------------------------------------------------------------------


async def by_kind(stream: lms.AsyncPredictionStream[Book]) -> None:
    async for event in stream.events():
        assert_type(event, lms.PredictionEvent)
        if event.kind == "text":
            assert_type(event, events.TextEvent)
            assert_type(event.content, str)
        elif event.kind == "tool_call":
            assert_type(event.tool_call_request, lms.ToolCallRequest)
            assert_type(event.raw_content, str | None)
        elif event.kind == "result":
            assert_type(event.result, lms.PredictionResult[Any])


def by_matched_kind(stream: lms.PredictionStream[str]) -> None:
    for event in stream.events():
        match event.kind:
            case "prompt_progress":
                assert_type(event.progress, float)
            case "text" | "reasoning":
                assert_type(event.fragment, lms.LlmPredictionFragment)
            case "tool_call_start":
                assert_type(event.tool_call_id, str | None)
            case "tool_call_name":
                assert_type(event.name, str)
            case "tool_call_arguments":
                assert_type(event.content, str)
            case "tool_call":
                assert_type(event.call_id, int)
            case "tool_call_failed":
                assert_type(event.error, lms.ToolCallRequestError)
            case "result":
                assert_type(event.result.content, str)


def by_class(event: lms.PredictionEvent) -> str:
    match event:
        case events.TextEvent(content=text) | events.ReasoningEvent(content=text):
            return text
        case events.ToolCallEvent(tool_call_request=request):
            return assert_type(request.name, str)
        case events.ToolCallStartEvent() | events.ToolCallNameEvent() | events.ToolCallArgumentsEvent():
            return str(event.call_id)
        case events.ToolCallFailedEvent(error=error):
            return str(error)
        case events.PromptProgressEvent(progress=progress):
            return f"{progress:.0%}"
        case events.ResultEvent():
            return event.result.content
        case _:
            assert_never(event)


def wrong(event: lms.PredictionEvent) -> None:
    len(event.content)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    print(event.kind == "txt")  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
