"""POST /v1/messages and /v1/messages/count_tokens over plain HTTP, with the scripted engine."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from patience import PATIENCE_SECONDS

import lmstudio
from http_surfaces.http_stage import ADD, CHAT_MODEL, EMBEDDING_MODEL, PIXEL, USER, Event, read_events
from lmstudio._http_models.anthropic import Message, StreamEvent
from lmstudio.server import BrokenToolCall, Gate, HttpSettings, Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import Reasoning, scripted_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
TOOLS = [{"name": ADD["name"], "description": ADD["description"], "input_schema": ADD["parameters"]}]
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]},
}


def body_of(**members: Any) -> dict[str, Any]:
    return {"model": CHAT_MODEL, "max_tokens": 500, "messages": USER, **members}


def ask(api: httpx.Client, **members: Any) -> dict[str, Any]:
    response = api.post(PATH, json=body_of(**members))
    assert response.status_code == 200, response.text
    msgspec.json.decode(response.content, type=Message)
    body: dict[str, Any] = response.json()
    return body


def stream(api: httpx.Client, **members: Any) -> list[Event]:
    events = read_events(api.post(PATH, json=body_of(stream=True, **members)))
    for event in events:
        assert event.name == event.data["type"]
        if event.name != "error":
            msgspec.convert(event.data, type=StreamEvent)
    return events


def refused(api: httpx.Client, path: str = PATH, **members: Any) -> tuple[int, dict[str, Any]]:
    response = api.post(path, json=body_of(**members))
    body = response.json()
    assert set(body) == {"type", "error"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    return response.status_code, body["error"]


def shown(engine: ScriptedEngine) -> Sequence[Mapping[str, Any]]:
    """The messages that the model was shown last."""
    return engine.chats[-1].messages


def outline(events: list[Event]) -> list[tuple[Any, ...]]:
    """Names and indices of events; several deltas in a row once, with their kind."""
    lines: list[tuple[Any, ...]] = []
    for event in events:
        line: tuple[Any, ...] = (event.name.removeprefix("content_block_"),)
        if "index" in event.data:
            line += (event.data["index"],)
        kind = event.data.get("content_block", event.data.get("delta", {})).get("type")
        if kind is not None:
            line += (kind,)
        if not lines or lines[-1] != line:
            lines.append(line)
    return lines


def joined(events: list[Event], index: int, member: str) -> str:
    deltas = [
        event.data["delta"] for event in events if event.name == "content_block_delta" and event.data["index"] == index
    ]
    return "".join(delta.get(member, "") for delta in deltas)


# Whole replies -------------------------------------------------------------------------------------------------------


def test_reply_has_the_members_of_anthropic(api: httpx.Client) -> None:
    body = ask(api)
    usage = body.pop("usage")
    assert body.pop("id").startswith("msg_")
    assert body == {
        "type": "message",
        "role": "assistant",
        "model": CHAT_MODEL,
        "content": [{"type": "text", "text": "You said: Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
    }
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0


def test_config_reaches_the_engine(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, temperature=0.25, top_p=0.5, top_k=7, max_tokens=20, stop_sequences=["END", "FIN"])
    request = engine.requests[-1]
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.25, 0.5, 7)
    assert request.max_tokens == 20
    assert list(request.stop_strings) == ["END", "FIN"]


def test_limit_is_a_stop_reason(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two three four"
    body = ask(api, max_tokens=2)
    assert body["stop_reason"] == "max_tokens"
    assert body["usage"]["output_tokens"] == 2


def test_stop_sequence_is_named(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = "one two END three"
    body = ask(api, stop_sequences=["FIN", "END"])
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")
    assert body["content"] == [{"type": "text", "text": "one two "}]
    *_, delta, _ = stream(api, stop_sequences=["FIN", "END"])
    assert delta.data["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def test_full_context_is_a_stop_reason(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one"], stop_reason="contextLengthReached")
    assert ask(api)["stop_reason"] == "model_context_window_exceeded"


def test_reasoning_is_a_block(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    body = ask(api)
    thinking, text = body["content"]
    assert (thinking["type"], thinking["thinking"].strip(), thinking["signature"]) == ("thinking", "Hm.", "")
    assert (text["type"], text["text"].strip()) == ("text", "Yes.")
    assert body["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_white_space_alone_is_no_block(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "\n\n", ToolCall("add", {"a": 1, "b": 2})])
    assert [block["type"] for block in ask(api, tools=TOOLS)["content"]] == ["thinking", "tool_use"]


def test_white_space_before_text_stays(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["  ", "indented "])
    assert ask(api)["content"] == [{"type": "text", "text": "  indented "}]


def test_reasoning_within_the_text(engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("Hm."), "Yes."])
    with (
        Server(engine=engine, http=HttpSettings(separate_reasoning=False)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        (block,) = ask(api)["content"]
    assert block["type"] == "text"
    assert "Hm." in block["text"]
    assert "Yes." in block["text"]
    assert block["text"].startswith("<think>")


@pytest.mark.parametrize(
    ("thinking", "is_enabled"),
    [
        (None, True),
        ({"type": "disabled"}, False),
        ({"type": "adaptive"}, True),
        ({"type": "between_tools"}, True),
        ({"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
def test_thinking_reaches_the_template(
    api: httpx.Client, engine: ScriptedEngine, thinking: dict[str, Any] | None, *, is_enabled: bool
) -> None:
    ask(api, thinking=thinking)
    assert engine.chats[-1].enable_thinking is is_enabled


def test_budget_ends_reasoning(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([Reasoning("one two three four five"), "Yes."])
    thinking, text = ask(api, thinking={"type": "enabled", "budget_tokens": 3})["content"]
    assert "five" not in thinking["thinking"]
    assert text["text"].strip() == "Yes."


def test_structured_output(api: httpx.Client, engine: ScriptedEngine) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = ask(api, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert engine.requests[-1].json_schema == schema
    assert body["content"] == [{"type": "text", "text": '{"n": 0}'}]


# The chat ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
def test_system_prompt(api: httpx.Client, engine: ScriptedEngine, system: Any) -> None:
    ask(api, system=system)
    assert shown(engine)[0] == {"role": "system", "content": "Be brief."}


def test_blocks_of_text_are_lines(api: httpx.Client, engine: ScriptedEngine) -> None:
    blocks = [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "two"}]
    ask(api, system=blocks, messages=[{"role": "user", "content": blocks}])
    assert [message["content"] for message in shown(engine)] == ["one\ntwo", "one\ntwo"]


def test_messages_of_one_role_are_one(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, messages=[{"role": "user", "content": "one"}, {"role": "user", "content": "two"}])
    assert list(shown(engine)) == [{"role": "user", "content": "one\ntwo"}]


def test_tools_and_their_results_reach_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    messages = [
        {"role": "user", "content": "Add."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I need the tool.", "signature": ""},
                {"type": "redacted_thinking", "data": "c2VjcmV0"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": 2}},
                {"type": "tool_use", "id": "t2", "name": "add", "input": {"a": 3, "b": 4}},
                {"type": "tool_use", "id": "t3", "name": "add", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "7"}]},
                {"type": "tool_result", "tool_use_id": "t1", "content": "3"},
                {"type": "tool_result", "tool_use_id": "t3", "content": "a is missing", "is_error": True},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    ask(api, messages=messages, tools=TOOLS)
    user, assistant, *results, question = shown(engine)
    assert user["role"] == "user"
    assert assistant["content"] == "Let me see."
    assert [call["id"] for call in assistant["tool_calls"]] == ["t1", "t2", "t3"]
    assert [(each["role"], each["tool_call_id"], each["content"]) for each in results] == [
        ("tool", "t2", "7"),
        ("tool", "t1", "3"),
        ("tool", "t3", "Error: a is missing"),
    ]
    assert question == {"role": "user", "content": "And now?"}
    assert engine.chats[-1].tools[0]["function"]["parameters"]["required"] == ["a", "b"]


def test_result_without_content_is_empty(api: httpx.Client, engine: ScriptedEngine) -> None:
    messages = [
        *USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "add", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    ]
    ask(api, messages=messages, tools=TOOLS)
    assert shown(engine)[-1]["content"] == ""


def test_answer_goes_on_with_what_is_given(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = " blue."
    body = ask(api, messages=[*USER, {"role": "assistant", "content": "The sky is"}])
    assert body["content"] == [{"type": "text", "text": " blue."}]
    assert engine.requests[-1].prompt.endswith("The sky is")
    assert [message["role"] for message in shown(engine)] == ["user"]


def test_documents_are_text(api: httpx.Client, engine: ScriptedEngine) -> None:
    data = base64.b64encode(b"Bananas are berries.").decode()
    blocks = [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Pears are pomes."}},
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": data}, "title": "b.txt"},
    ]
    ask(api, messages=[{"role": "user", "content": blocks}])
    content = shown(engine)[-1]["content"]
    assert "Pears are pomes." in content
    assert "Bananas are berries." in content


def test_images_reach_a_model_that_sees(engine: ScriptedEngine) -> None:
    models = [replace(model, vision=True) for model in scripted_models()]
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Here."}, IMAGE]}
    with (
        Server(models, engine=engine) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        ask(api, messages=[{"role": "user", "content": [IMAGE, {"type": "text", "text": "What is it?"}]}])
        (image,) = engine.chats[-1].images
        assert image.content == base64.b64decode(IMAGE["source"]["data"])  # type: ignore[index]
        ask(api, messages=[*USER, call, {"role": "user", "content": [result]}])
        *_, answer, picture = shown(engine)
        assert (answer["role"], answer["content"]) == ("tool", "Here.")
        assert len(picture["images"]) == 1


# Tools ---------------------------------------------------------------------------------------------------------------


def test_tool_calls_are_blocks(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["Let me see.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})])
    body = ask(api, tools=TOOLS)
    text, first, second = body["content"]
    assert text == {"type": "text", "text": "Let me see."}
    assert (first["type"], first["name"], first["input"]) == ("tool_use", "add", {"a": 1, "b": 2})
    assert second["input"] == {"a": 3, "b": 4}
    assert first["id"] != second["id"]
    assert body["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("choice", "must_call"),
    [({"type": "auto"}, False), ({"type": "any"}, True), ({"type": "tool", "name": "add"}, True)],
)
def test_choice_of_tools(api: httpx.Client, engine: ScriptedEngine, choice: dict[str, str], *, must_call: bool) -> None:
    engine.reply = Reply([ToolCall("add", {"a": 1, "b": 2})])
    tools = [*TOOLS, {"name": "now", "input_schema": {"type": "object"}}]
    body = ask(api, tools=tools, tool_choice=choice)
    assert body["stop_reason"] == "tool_use"
    assert (engine.requests[-1].json_schema is not None) is must_call
    names = [tool["function"]["name"] for tool in engine.chats[-1].tools]
    assert names == (["add"] if "name" in choice else ["add", "now"])


def test_no_tool_may_be_called(api: httpx.Client, engine: ScriptedEngine) -> None:
    ask(api, tools=TOOLS, tool_choice={"type": "none"})
    assert engine.chats[-1].tools == []


@pytest.mark.parametrize("is_stream", [False, True])
def test_call_that_cannot_be_read_is_text(api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "add", ')])
    if is_stream:
        events = stream(api, tools=TOOLS)
        starts = [event for event in events if event.name == "content_block_start"]
        index = next(each.data["index"] for each in starts if each.data["content_block"]["type"] == "text")
        text, reason = joined(events, index, "text"), events[-2].data["delta"]["stop_reason"]
    else:
        body = ask(api, tools=TOOLS)
        (block,) = body["content"]
        text, reason = block["text"], body["stop_reason"]
    assert '{"name": "add"' in text
    assert reason == "end_turn"


# Streams -------------------------------------------------------------------------------------------------------------


def test_order_of_events(api: httpx.Client) -> None:
    events = stream(api)
    assert outline(events) == [
        ("message_start",),
        ("start", 0, "text"),
        ("delta", 0, "text_delta"),
        ("stop", 0),
        ("message_delta",),
        ("message_stop",),
    ]
    start, end = events[0].data["message"], events[-2].data
    usage = start.pop("usage")
    assert start.pop("id").startswith("msg_")
    assert start == {
        "type": "message",
        "role": "assistant",
        "model": CHAT_MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    assert joined(events, 0, "text") == "You said: Hi"
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert usage["input_tokens"] == end["usage"]["input_tokens"] > 0
    assert usage["output_tokens"] == 0
    assert end["usage"]["output_tokens"] > 0
    assert events[1].data["content_block"] == {"type": "text", "text": ""}


def test_reply_without_text_has_no_block(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([])
    assert outline(stream(api)) == [("message_start",), ("message_delta",), ("message_stop",)]
    assert ask(api)["content"] == []


def test_stream_of_reasoning_and_tools(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(
        [Reasoning("Hm."), "Let me see.", ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]
    )
    events = stream(api, tools=TOOLS)
    assert outline(events) == [
        ("message_start",),
        ("start", 0, "thinking"),
        ("delta", 0, "thinking_delta"),
        ("delta", 0, "signature_delta"),
        ("stop", 0),
        ("start", 1, "text"),
        ("delta", 1, "text_delta"),
        ("stop", 1),
        ("start", 2, "tool_use"),
        ("delta", 2, "input_json_delta"),
        ("stop", 2),
        ("start", 3, "tool_use"),
        ("delta", 3, "input_json_delta"),
        ("stop", 3),
        ("message_delta",),
        ("message_stop",),
    ]
    blocks = [event.data["content_block"] for event in events if event.name == "content_block_start"]
    assert blocks[0] == {"type": "thinking", "thinking": "", "signature": ""}
    assert (blocks[2]["name"], blocks[2]["input"]) == ("add", {})
    assert blocks[2]["id"] != blocks[3]["id"]
    assert joined(events, 0, "thinking").strip() == "Hm."
    assert msgspec.json.decode(joined(events, 2, "partial_json")) == {"a": 1, "b": 2}
    assert msgspec.json.decode(joined(events, 3, "partial_json")) == {"a": 3, "b": 4}
    assert events[-2].data["delta"]["stop_reason"] == "tool_use"


def test_client_that_goes_away_stops_the_model(api: httpx.Client, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    with api.stream("POST", PATH, json=body_of(stream=True)) as response:
        next(response.iter_raw())
        assert gate.reached(PATIENCE_SECONDS)
    assert engine.wait_for_cancel(PATIENCE_SECONDS)


def test_failure_in_a_stream_is_the_last_event(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply(["one "], error="The engine is out of order.", error_after=1)
    *_, error = stream(api)
    assert error.name == "error"
    assert error.data["error"]["type"] == "api_error"
    assert "out of order" in error.data["error"]["message"]


# Counting ------------------------------------------------------------------------------------------------------------


def test_count_is_what_a_message_takes(api: httpx.Client) -> None:
    members = {"system": "Be brief.", "tools": TOOLS, "messages": [{"role": "user", "content": "one two three"}]}
    response = api.post(COUNT, json={"model": CHAT_MODEL, **members})
    assert response.status_code == 200
    assert response.json() == {"input_tokens": ask(api, **members)["usage"]["input_tokens"]}


def test_count_grows_with_tools(api: httpx.Client) -> None:
    bare, tools = (
        api.post(COUNT, json={"model": CHAT_MODEL, "messages": USER, **more}).json() for more in ({}, {"tools": TOOLS})
    )
    assert tools["input_tokens"] > bare["input_tokens"]


@pytest.mark.parametrize("path", [PATH, COUNT])
def test_query_strings_are_ignored(api: httpx.Client, path: str) -> None:
    assert api.post(f"{path}?beta=true", json=body_of()).status_code == 200


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, COUNT])
def test_unknown_model_is_refused_with_near_names(api: httpx.Client, path: str) -> None:
    status, error = refused(api, path, model="scripted-chad")
    assert (status, error["type"]) == (404, "not_found_error")
    assert CHAT_MODEL in error["message"]
    assert "?." not in error["message"]


def test_embedding_model_cannot_chat(api: httpx.Client) -> None:
    status, error = refused(api, model=EMBEDDING_MODEL)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert EMBEDDING_MODEL in error["message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_prompt_that_is_too_long_is_no_failure_of_the_server(api: httpx.Client, *, is_stream: bool) -> None:
    status, error = refused(api, messages=[{"role": "user", "content": "word " * 20_000}], stream=is_stream)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert "tokens" in error["message"]


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "pirate", "content": "Ahoy"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{**IMAGE, "source": {"type": "url", "url": "http://x/"}}]}]},
            "messages[0]: This server does not fetch",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "1"}]}]},
            "messages[0]: Blocks of the type tool_result",
        ),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "cannot see images"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "sometimes"}}, "thinking"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tools": [{"input_schema": {}}]}, "tools[0] has no name"),
        ({"tools": TOOLS, "tool_choice": {"type": "maybe"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "sub"}}, "'sub'"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "yaml"}}}, "output_config.format"),
    ],
)
def test_bad_value_is_refused_by_name(api: httpx.Client, members: dict[str, Any], part: str) -> None:
    status, error = refused(api, **members)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert part in error["message"]


@pytest.mark.parametrize("member", ["model", "messages", "max_tokens"])
def test_missing_member_is_named(api: httpx.Client, member: str) -> None:
    body = body_of()
    del body[member]
    response = api.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json()["error"] == {"type": "invalid_request_error", "message": f"{member} is required."}


def test_unknown_members_are_ignored(api: httpx.Client) -> None:
    ask(api, metadata={"user_id": "me"}, service_tier="auto", cache_control={"type": "ephemeral"}, something=[1])


def test_failure_of_the_engine_is_no_mistake_of_the_client(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.reply = Reply([], error="The engine is out of order.")
    status, error = refused(api)
    assert (status, error["type"]) == (500, "api_error")


def test_unknown_path_below_messages(api: httpx.Client) -> None:
    status, error = refused(api, f"{PATH}/batches")
    assert (status, error["type"]) == (404, "not_found_error")


def test_model_unloaded_meanwhile(api: httpx.Client, engine: ScriptedEngine, server: Server) -> None:
    gate = Gate()
    engine.reply = Reply(["one", gate, "two"])
    with api.stream("POST", PATH, json=body_of(stream=True)) as response, lmstudio.Client(server.api_host) as client:
        assert gate.reached(PATIENCE_SECONDS)
        client.llm.unload(CHAT_MODEL)
        *_, error = read_events(response)
    assert (error.name, error.data["error"]["type"]) == ("error", "api_error")
    assert "unloaded" in error.data["error"]["message"]
