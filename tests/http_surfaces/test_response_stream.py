"""POST /v1/responses as a stream: every event, in order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from http_surfaces.http_stage import CHAT_MODEL, Event, read_events
from http_surfaces.response_stage import PATH, TOOLS, ask, calls_of, text_of
from lmstudio._http_models import encode
from lmstudio._http_models.openai_responses import ResponseEvent
from lmstudio.server import BrokenToolCall, Gate, Reply, ScriptedEngine, ToolCall
from lmstudio.server.engine.scripted import Reasoning

if TYPE_CHECKING:
    import httpx

TEXT_EVENTS = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
REASONING_EVENTS = [name.replace("output_text", "reasoning_text") for name in TEXT_EVENTS]
CALL_EVENTS = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]
BEGIN = ["response.created", "response.in_progress"]


def stream(api: httpx.Client, given: Any = "Hi", **members: Any) -> list[Event]:
    """The events, of which each has its number and its name twice."""
    events = read_events(api.post(PATH, json={"model": CHAT_MODEL, "input": given, "stream": True, **members}))
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    assert [event.data["type"] for event in events] == [event.name for event in events]
    return events


def names(events: list[Event]) -> list[str]:
    """Their names, repeated ones once."""
    found = [event.name for event in events]
    return [name for name, before in zip(found, ["", *found[:-1]], strict=True) if name != before]


def of(events: list[Event], name: str) -> list[dict[str, Any]]:
    return [event.data for event in events if event.name == name]


def test_text(api: httpx.Client) -> None:
    events = stream(api)
    assert names(events) == [*BEGIN, *TEXT_EVENTS, "response.completed"]
    (added,), (part,) = of(events, "response.output_item.added"), of(events, "response.content_part.added")
    assert added["item"] == {**added["item"], "type": "message", "status": "in_progress", "content": []}
    assert part["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    deltas, (done,) = of(events, "response.output_text.delta"), of(events, "response.output_text.done")
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == "You said: Hi"
    inside = [event.data for event in events if "item_id" in event.data]
    assert {each["item_id"] for each in inside} == {added["item"]["id"]}
    assert {(each["output_index"], each["content_index"]) for each in inside} == {(0, 0)}
    (whole,) = of(events, "response.output_item.done")
    assert events[-1].data["response"]["output"] == [whole["item"]]


def test_first_events_have_an_empty_response(api: httpx.Client) -> None:
    created, in_progress, *_, last = stream(api, metadata={"a": "b"})
    assert created.data["response"] == in_progress.data["response"]
    response = created.data["response"]
    assert (response["status"], response["output"], response["usage"]) == ("in_progress", [], None)
    assert response["metadata"] == {"a": "b"}
    assert last.data["response"]["id"] == response["id"]


def test_last_event_has_what_a_whole_reply_has(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes.", ToolCall("add", {"a": 1, "b": 2})])
    streamed, whole = stream(api, tools=TOOLS)[-1].data["response"], ask(api, tools=TOOLS)
    for response in (streamed, whole):
        del response["id"], response["created_at"], response["completed_at"]
        for item in response["output"]:
            del item["id"]
            item.pop("call_id", None)
        del response["usage"]["input_tokens_details"]  # the second prompt is in the cache
    assert streamed == whole


def test_reasoning_text_and_calls_are_items_in_order(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(
        [Reasoning("Hm."), "Yes.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]
    )
    events = stream(api, tools=TOOLS)
    items = [REASONING_EVENTS, TEXT_EVENTS, CALL_EVENTS, CALL_EVENTS]
    assert names(events) == [*BEGIN, *(name for item in items for name in item), "response.completed"]
    added, done = of(events, "response.output_item.added"), of(events, "response.output_item.done")
    assert [each["output_index"] for each in added] == [each["output_index"] for each in done] == [0, 1, 2, 3]
    assert [each["item"]["id"] for each in added] == [each["item"]["id"] for each in done]
    assert [each["item"] for each in done] == events[-1].data["response"]["output"]
    deltas = of(events, "response.reasoning_text.delta")
    assert "".join(delta["delta"] for delta in deltas) == of(events, "response.reasoning_text.done")[0]["text"] == "Hm."


def test_arguments_of_calls(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    events = stream(api, tools=TOOLS)
    first, second = of(events, "response.output_item.added")
    assert (first["item"]["name"], first["item"]["arguments"]) == ("add", "")
    assert first["item"]["call_id"] != second["item"]["call_id"]
    for item, arguments in ((first, {"a": 1, "b": 2}), (second, {"a": 3, "b": 4})):
        item_id = item["item"]["id"]
        deltas = of(events, "response.function_call_arguments.delta")
        text = "".join(delta["delta"] for delta in deltas if delta["item_id"] == item_id)
        (done,) = [each for each in of(events, "response.function_call_arguments.done") if each["item_id"] == item_id]
        assert (done["arguments"], done["name"]) == (text, "add")
        assert json.loads(text) == arguments


def test_log_probabilities_come_with_their_text(api: httpx.Client) -> None:
    events = stream(api, include=["message.output_text.logprobs"])
    deltas, (done,) = of(events, "response.output_text.delta"), of(events, "response.output_text.done")
    assert "".join(token["token"] for token in done["logprobs"]) == "You said: Hi"
    assert [token for delta in deltas for token in delta["logprobs"]] == done["logprobs"]


def test_text_that_reaches_the_limit_ends_incomplete(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three four"
    *_, item, last = stream(api, max_output_tokens=2)
    assert item.data["item"]["status"] == "incomplete"
    assert last.name == "response.incomplete"
    assert last.data["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_failure_in_a_stream(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one "], error="The engine is out of order.", error_after=1)
    *_, item, last = stream(api)
    assert item.data["item"]["status"] == "incomplete"
    assert last.name == "response.failed"
    response = last.data["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert "out of order" in response["error"]["message"]
    assert text_of(response) == "one "
    assert api.get(f"{PATH}/{response['id']}").status_code == 404


def test_model_that_is_unloaded_meanwhile_has_failed(api: httpx.Client, engine: ScriptedEngine, server: Any) -> None:
    import lmstudio as lms

    gate = Gate()
    engine.reply = Reply(["one ", gate, "two"])
    body = {"model": CHAT_MODEL, "input": "Hi", "stream": True}
    with api.stream("POST", PATH, json=body) as response:
        assert gate.reached()
        with lms.Client(server.api_host) as client:
            client.llm.unload(CHAT_MODEL)
        response.read()
    last = read_events(response)[-1]
    assert last.name == "response.failed"
    assert "unloaded" in last.data["response"]["error"]["message"]


def test_call_that_cannot_be_read_ends_incomplete_and_stays_text(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "add", "arguments": {"a": x}}'), "Sorry."])
    events = stream(api, tools=TOOLS)
    call, message = of(events, "response.output_item.done")
    assert (call["item"]["type"], call["item"]["status"]) == ("function_call", "incomplete")
    assert of(events, "response.function_call_arguments.done") == []
    assert '"a": x' in message["item"]["content"][0]["text"]
    assert events[-1].data["response"]["output"] == [call["item"], message["item"]]


def test_one_call_at_a_time(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    events = stream(api, tools=TOOLS, parallel_tool_calls=False)
    assert names(events) == [*BEGIN, *CALL_EVENTS, "response.completed"]
    assert len(calls_of(events[-1].data["response"])) == 1


def test_client_that_goes_away_stops_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    with api.stream("POST", PATH, json={"model": CHAT_MODEL, "input": "Hi", "stream": True}) as response:
        chunks = response.iter_raw()  # kept, because its end would be that of the connection
        next(chunks)
        assert gate.reached()
    assert engine.wait_for_cancel()


def test_next_turn_may_follow_at_once(api: httpx.Client) -> None:
    response_id = stream(api)[-1].data["response"]["id"]
    assert ask(api, "More", previous_response_id=response_id)["status"] == "completed"


def test_events_can_be_read_with_the_types_that_wrote_them(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes.", ToolCall("add", {"a": 1, "b": 2})])
    for event in stream(api, tools=TOOLS):
        read: ResponseEvent = msgspec.convert(event.data, ResponseEvent)
        assert json.loads(encode(read)) == event.data
