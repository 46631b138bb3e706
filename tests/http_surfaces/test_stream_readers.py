"""The readers of streams of the HTTP client, with what the server sends: the parts make what a whole reply has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from http_surfaces.http_stage import ADD, CHAT_MODEL, read_events
from lmstudio import LMStudioProtocolError, LMStudioRuntimeError
from lmstudio._http_models import HttpStruct, anthropic, openai_responses, rest_v1
from lmstudio.http._events import UnknownEvent
from lmstudio.http._sse import ServerSentEvent
from lmstudio.http._streams_anthropic import MessageReader
from lmstudio.http._streams_responses import ResponseReader
from lmstudio.http._streams_rest_v1 import ChatReader
from lmstudio.server import Reply, ScriptedEngine, ToolCall
from lmstudio.server.engine.scripted import Reasoning

if TYPE_CHECKING:
    import httpx

RESPONSES, MESSAGES, CHAT = "/v1/responses", "/v1/messages", "/api/v1/chat"
BODIES: dict[str, dict[str, Any]] = {
    RESPONSES: {"model": CHAT_MODEL, "input": "Hi"},
    MESSAGES: {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50},
    CHAT: {"model": CHAT_MODEL, "input": "Hi"},
}
TOOLS: dict[str, Any] = {
    RESPONSES: {"tools": [{"type": "function", **ADD}]},
    MESSAGES: {"tools": [{"name": "add", "input_schema": ADD["parameters"]}]},
}
READERS: dict[str, Any] = {RESPONSES: ResponseReader, MESSAGES: MessageReader, CHAT: ChatReader}
REPLIES: dict[str, Any] = {
    RESPONSES: openai_responses.Response,
    MESSAGES: anthropic.Message,
    CHAT: rest_v1.ChatReply,
}
CHANGING = {"id", "created_at", "completed_at", "response_id", "call_id", "stats", "usage"}
"""What no two replies have in common: names, times, and what the engine still had in its cache."""


def events_of(api: httpx.Client, path: str, **members: Any) -> list[ServerSentEvent]:
    """The events of a stream, as the client's parser gives them."""
    response = api.post(path, json={**BODIES[path], "stream": True, **members})
    return [ServerSentEvent(json.dumps(event.data), event.name) for event in read_events(response)]


def reply_of(api: httpx.Client, path: str, **members: Any) -> Any:
    """The reply that is not streamed."""
    response = api.post(path, json={**BODIES[path], **members})
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=REPLIES[path])


def read(path: str, events: list[ServerSentEvent]) -> Any:
    """A reader that was given *events*."""
    reader = READERS[path]()
    for event in events:
        reader.feed(event)
    return reader


def lasting(value: Any) -> Any:
    """*value* as JSON, without what changes."""
    if isinstance(value, list):
        return [lasting(item) for item in value]
    if isinstance(value, dict):
        return {name: lasting(member) for name, member in value.items() if name not in CHANGING}
    return value if value is None or isinstance(value, (str, int, float)) else lasting(msgspec.to_builtins(value))


def event(name: str, **members: Any) -> ServerSentEvent:
    return ServerSentEvent(json.dumps({"type": name, **members}), name)


# Whole streams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BODIES)
def test_text_is_that_of_a_whole_reply(api: httpx.Client, path: str) -> None:
    reader = read(path, events_of(api, path))
    assert reader.is_over
    assert lasting(reader.result()) == lasting(reply_of(api, path))


@pytest.mark.parametrize("path", BODIES)
def test_reasoning_is_that_of_a_whole_reply(api: httpx.Client, engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply([Reasoning(["They ", "greet."]), "Hello", " there"])
    result = lasting(read(path, events_of(api, path)).result())
    assert "They greet." in json.dumps(result)
    assert result == lasting(reply_of(api, path))


@pytest.mark.parametrize("path", TOOLS)
def test_tool_calls_are_those_of_a_whole_reply(api: httpx.Client, engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply(["Adding.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    result = lasting(read(path, events_of(api, path, **TOOLS[path])).result())
    assert json.dumps(result).count("add") >= 2
    assert result == lasting(reply_of(api, path, **TOOLS[path]))


@pytest.mark.parametrize("path", BODIES)
def test_model_that_writes_nothing(api: httpx.Client, engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply([])
    assert lasting(read(path, events_of(api, path)).result()) == lasting(reply_of(api, path))


def test_response_that_ends_early_is_incomplete(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one", " two", " three"])
    response = read(RESPONSES, events_of(api, RESPONSES, max_output_tokens=2)).result()
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text == "one two"


def test_message_counts_the_tokens_of_both_ends(api: httpx.Client) -> None:
    usage = read(MESSAGES, events_of(api, MESSAGES)).result().usage
    assert usage.input_tokens > 0
    assert usage.output_tokens == 3


def test_message_whose_last_count_lacks_the_prompt_keeps_that_of_the_first(api: httpx.Client) -> None:
    events = events_of(api, MESSAGES)
    sent = read(MESSAGES, events).result().usage.input_tokens
    (place,) = [number for number, each in enumerate(events) if each.event == "message_delta"]
    last = json.loads(events[place].data) | {"usage": {"output_tokens": 2}}
    events[place] = ServerSentEvent(json.dumps(last), "message_delta")
    usage = read(MESSAGES, events).result().usage
    assert (usage.input_tokens, usage.output_tokens) == (sent, 2)


# Parts of streams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BODIES)
def test_nothing_has_come_yet(path: str) -> None:
    reader = READERS[path]()
    assert not reader.is_over
    if path == CHAT:
        assert reader.result().output == []
    else:
        with pytest.raises(LMStudioRuntimeError, match="has not begun"):
            reader.result()


@pytest.mark.parametrize("path", BODIES)
def test_each_begin_of_a_stream_has_the_begin_of_the_text(api: httpx.Client, engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply([Reasoning(["Hm", "m."]), "one", " two", " three"])
    events = events_of(api, path)
    reader, texts = READERS[path](), [""]
    for each in events[:-1]:
        reader.feed(each)
        if each.event not in ("message_start", "response.created"):
            result = reader.result()
            text = result.output_text if path == RESPONSES else result.text
            assert text.startswith(texts[-1])
            texts.append(text)
    assert texts[-1] == "one two three"


@pytest.mark.parametrize("path", TOOLS)
def test_arguments_of_a_call_that_is_not_over(api: httpx.Client, engine: ScriptedEngine, path: str) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2})])
    events = events_of(api, path, **TOOLS[path])
    (first, *_) = [number for number, each in enumerate(events) if each.event.endswith("delta")]
    reader = read(path, events[: first + 1])
    (call,) = reader.result().output if path == RESPONSES else reader.result().content
    assert call.name == "add"
    sent = json.loads(events[first].data)
    assert (call.arguments == sent["delta"]) if path == RESPONSES else (call.input in ({}, {"a": 1, "b": 2}))


@pytest.mark.parametrize("path", BODIES)
def test_first_content_is_what_the_model_writes_first(api: httpx.Client, path: str) -> None:
    events, reader = events_of(api, path), READERS[path]()
    first = next(each for each in events if reader.has_content(reader.feed(each)))
    assert first.event in {"response.output_text.delta", "content_block_start", "message.delta"}


def test_results_do_not_change_with_what_comes_later(api: httpx.Client) -> None:
    events, reader = events_of(api, RESPONSES), ResponseReader()
    for each in events[:-2]:
        reader.feed(each)
    early = reader.result()
    before = msgspec.to_builtins(early)
    for each in events[-2:]:
        reader.feed(each)
    assert msgspec.to_builtins(early) == before


# What is not known, or odd -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BODIES)
def test_unknown_event_is_kept_as_it_is_and_changes_nothing(api: httpx.Client, path: str) -> None:
    events = events_of(api, path)
    odd = event("something.new", value={"deep": [1]})
    reader = READERS[path]()
    reader.feed(events[0])
    assert reader.feed(odd) == UnknownEvent(name="something.new", data=json.loads(odd.data))
    for each in events[1:]:
        reader.feed(each)
    assert lasting(reader.result()) == lasting(read(path, events).result())


def test_item_of_an_unknown_kind_is_an_unknown_event(api: httpx.Client) -> None:
    odd = event("response.output_item.added", output_index=0, item={"type": "web_search_call", "id": "w"})
    reader = read(RESPONSES, events_of(api, RESPONSES)[:1])
    assert isinstance(reader.feed(odd), UnknownEvent)
    assert reader.result().output == []


def test_block_of_an_unknown_kind_is_an_unknown_event_with_its_deltas(api: httpx.Client) -> None:
    reader = read(MESSAGES, events_of(api, MESSAGES)[:1])
    block = event("content_block_start", index=0, content_block={"type": "server_tool_use", "id": "s"})
    delta = event("content_block_delta", index=0, delta={"type": "citations_delta", "citation": {}})
    more = event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": "{"})
    assert isinstance(reader.feed(block), UnknownEvent)
    assert isinstance(reader.feed(delta), UnknownEvent)
    assert isinstance(reader.feed(more), anthropic.ContentBlockDelta)
    assert reader.result().content == []


def test_pings_are_not_handed_on() -> None:
    assert MessageReader().feed(event("ping")) is None


@pytest.mark.parametrize("path", BODIES)
def test_the_mark_at_the_end_of_other_streams_says_nothing(path: str) -> None:
    reader = READERS[path]()
    assert reader.feed(ServerSentEvent("[DONE]")) is None
    assert not reader.is_over


def test_events_of_lm_studio_have_no_number() -> None:
    text = {"item_id": "m", "output_index": 0, "content_index": 0, "delta": "Hi", "logprobs": []}
    found = ResponseReader().feed(event("response.output_text.delta", **text))
    assert isinstance(found, openai_responses.OutputTextDelta)
    assert (found.delta, found.sequence_number) == ("Hi", None)


@pytest.mark.parametrize(
    ("path", "odd"),
    [
        (RESPONSES, event("response.completed", sequence_number=1)),
        (RESPONSES, event("response.output_text.delta", item_id="m", output_index=0, content_index=0, delta=5)),
        (MESSAGES, event("message_start", message="?")),
        (MESSAGES, event("content_block_delta", index=0, delta={"type": "text_delta", "text": None})),
        (CHAT, event("chat.end", result=None)),
        (CHAT, event("message.delta")),
        (CHAT, ServerSentEvent("{", "message.delta")),
        (CHAT, ServerSentEvent("5", "message.delta")),
    ],
)
def test_event_without_what_it_is_for_is_refused(path: str, odd: ServerSentEvent) -> None:
    with pytest.raises(LMStudioProtocolError, match=f"kind '{odd.event}' has an unexpected form"):
        READERS[path]().feed(odd)


def test_arguments_that_are_no_json_are_refused(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2})])
    events = events_of(api, MESSAGES, **TOOLS[MESSAGES])
    delta = {"type": "input_json_delta", "partial_json": "?"}
    reader = read(MESSAGES, [*events[:-3], event("content_block_delta", index=0, delta=delta), *events[-3:]])
    with pytest.raises(LMStudioProtocolError, match="arguments of the tool call 'add' are no JSON object"):
        reader.result()


# Types ---------------------------------------------------------------------------------------------------------------


def structs_of(module: Any) -> list[Any]:
    return [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, HttpStruct)]


@pytest.mark.parametrize("module", [anthropic, openai_responses, rest_v1])
def test_type_of_a_struct_is_the_one_on_the_wire(module: Any) -> None:
    tags = {each: each.__struct_config__.tag for each in structs_of(module) if not each.__name__.startswith("_")}
    tagged = {each: tag for each, tag in tags.items() if tag is not None}
    assert len(tagged) > 20
    assert {each: each.type for each in tagged} == tagged


@pytest.mark.parametrize(
    ("params", "request_type", "others"),
    [
        (openai_responses.ResponseParams, openai_responses.ResponseRequest, {"background", "conversation", "prompt"}),
        (anthropic.CountTokensParams, anthropic.CountTokensRequest, set()),
        (anthropic.MessagesParams, anthropic.MessagesRequest, set()),
        (rest_v1.ChatParams, rest_v1.ChatRequest, set()),
    ],
)
def test_keywords_are_the_members_of_the_request(params: Any, request_type: Any, others: set[str]) -> None:
    assert params.__optional_keys__ == set(request_type.__struct_fields__) - {"stream"} - others
