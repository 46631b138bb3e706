"""One program, written for the contract, gets the same from everything that keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest

import lmstudio as lms
from lmstudio.contract import AsyncSdkContract, ChatMessage, ChatRole, ChatStream, Chunk, Completed, SdkContract
from lmstudio.http import AsyncHttpClient, HttpClient
from lmstudio.testing import AsyncFakeSdk, BrokenToolCall, FakeSdk, Reasoning, Reply, ScriptedServer, ToolCall

Script: TypeAlias = "tuple[Any, ...]"
Program: TypeAlias = Callable[[SdkContract], Any]

MODEL = "scripted-chat"
ADD: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
CHAT = [ChatMessage(ChatRole.SYSTEM, "You answer briefly."), ChatMessage(ChatRole.USER, "Why?")]


@contextmanager
def native(script: Script) -> Iterator[SdkContract]:
    with ScriptedServer() as server, lms.Client(server.api_host) as client:
        if script:
            server.reply(*script)
        yield client


@contextmanager
def over_http(script: Script) -> Iterator[SdkContract]:
    with ScriptedServer() as server, HttpClient(server.api_host) as client:
        if script:
            server.reply(*script)
        yield client


@contextmanager
def double(script: Script) -> Iterator[SdkContract]:
    sdk = FakeSdk()
    if script:
        sdk.reply(*script)
    yield sdk


ALL = [native, over_http, double]


def plain(value: Any) -> Any:
    """*value* as plain data, without what differs between two replies to the same chat, and what says nothing.

    Whole arguments of calls are parsed: a stream has them with the white space that the model wrote.
    """
    data = value.to_dict() if hasattr(value, "to_dict") else value
    if isinstance(data, dict):
        if data.get("type") == "function" and data.get("function", {}).get("arguments"):
            function = data["function"]
            data = {**data, "function": {**function, "arguments": json.loads(function["arguments"])}}
        members = {name: plain(each) for name, each in data.items() if name not in ("id", "created")}
        return {name: each for name, each in members.items() if each is not None and (name, each) != ("stats", {})}
    return [plain(each) for each in data] if isinstance(data, (list, tuple)) else data


def whole(sdk: SdkContract) -> Any:
    return sdk.chat_completion(CHAT, model=MODEL, max_tokens=20, temperature=0.1)


def tools(sdk: SdkContract) -> Any:
    return sdk.chat_completion("1 + 2?", model=MODEL, tools=[ADD], tool_choice="auto")


def forced_tool(sdk: SdkContract) -> Any:
    return sdk.chat_completion("1 + 2?", model=MODEL, tools=[ADD], tool_choice="required")


def limited(sdk: SdkContract) -> Any:
    return [
        sdk.chat_completion("Hi", model=MODEL, max_tokens=2),
        sdk.chat_completion("Hi", model=MODEL, stop=["three"], logprobs=True, top_logprobs=2),
    ]


def json_object(sdk: SdkContract) -> Any:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    return sdk.chat_completion("Who?", model=MODEL, response_format=response_format)


def chunks(sdk: SdkContract) -> Any:
    stream = sdk.stream_chat_completion(CHAT, model=MODEL, stream_options={"include_usage": True}, tools=[ADD])
    assert isinstance(stream, ChatStream)
    with stream:
        return [*stream, stream.result()]


def events(sdk: SdkContract) -> Any:
    *texts, last = sdk.stream_chat_completion(CHAT, model=MODEL).events()
    assert isinstance(last, Completed)
    return [[(event.kind, event.content) for event in texts if isinstance(event, Chunk)], last.kind, last.result]


def result_only(sdk: SdkContract) -> Any:
    return sdk.stream_chat_completion(CHAT, model=MODEL).wait_for_result()


def conversation(sdk: SdkContract) -> Any:
    first = sdk.chat_completion("1 + 2?", model=MODEL, tools=[ADD])
    message = first.choices[0].message
    assert message.tool_calls
    result = ChatMessage(ChatRole.TOOL, "3", tool_call_id=message.tool_calls[0].id)
    second = sdk.chat_completion([ChatMessage(ChatRole.USER, "1 + 2?"), message, result], model=MODEL, tools=[ADD])
    return [message.content, second.choices[0].message.content]


def bad_input(sdk: SdkContract) -> Any:
    said = []
    bad: list[Any] = [{"temperature": -1}, {"top_p": 2}, {"max_tokens": "many"}, {"temprature": 0.1}]
    for params in bad:
        with pytest.raises(lms.LMStudioValueError) as caught:
            sdk.chat_completion("Hi", model=MODEL, **params)
        said.append(re.split(r" The native| To send", str(caught.value))[0])
    return said


PROGRAMS: dict[str, tuple[Program, Script]] = {
    "left alone": (whole, ()),
    "reasoning": (whole, ([Reasoning("Hm, hm."), "Because", " of", " that."],)),
    "a dict": (whole, ({"a": [1, 2]},)),
    "a function": (whole, (lambda request: request.text.upper(),)),
    "a tool call": (tools, (["Let me see.", ToolCall("add", {"a": 1, "b": [2]}, id="1")],)),
    "several calls": (tools, ([ToolCall("add", {}, id="1"), ToolCall("add", None, id="2")],)),
    "a broken call": (tools, ([BrokenToolCall("{oops"), "text"],)),
    "a forced call": (forced_tool, ([ToolCall("add", {"a": 1}, id="1")],)),
    "limits": (limited, ("one two three four", "one two three four")),
    "unscripted JSON": (json_object, ()),
    "chunks": (chunks, ([Reasoning("Hm."), "one", " two", ToolCall("add", {"a": 1}, id="1")],)),
    "events": (events, ([Reasoning("Hm."), "one", " two"],)),
    "a result only": (result_only, ("one two three",)),
    "an empty answer": (chunks, ("",)),
    "a conversation": (conversation, ([ToolCall("add", {"a": 1}, id="1")], "It is 3.")),
    "drafts": (whole, (Reply("one two", draft_tokens=2, accepted_draft_tokens=1, cached_tokens=3),)),
    "bad input": (bad_input, ()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_everything_answers_alike(name: str) -> None:
    program, script = PROGRAMS[name]
    results = []
    for implementation in ALL:
        with implementation(script) as sdk:
            results.append(plain(program(sdk)))
    assert results[0] == results[1]
    assert results[0] == results[2]


@pytest.mark.parametrize("implementation", ALL)
def test_everything_keeps_the_contract(implementation: Any) -> None:
    with implementation(()) as sdk:
        assert isinstance(sdk, SdkContract)
        assert sdk.health() is True
        sdk.chat_completion("Hi", model=MODEL)
        assert [model.id for model in sdk.list_models(status="ready")] == [MODEL]
        assert sdk.list_models(owned_by="nobody") == []
        assert len(sdk.list_models(limit=1).data) == 1


def test_everything_asynchronous_keeps_the_contract() -> None:
    for sdk in (lms.AsyncClient("localhost:1"), AsyncHttpClient("localhost:1"), AsyncFakeSdk()):
        assert isinstance(sdk, AsyncSdkContract)
