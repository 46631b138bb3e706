"""POST /v1/responses with an MCP server that the request brings."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, read_events
from http_surfaces.response_stage import PATH, TOOLS, ask, calls_of, refused, text_of
from http_surfaces.tide_server import ANSWER, SCHEMA, TideServer
from lmstudio._http_models.openai_responses import ResponseEvent
from lmstudio.server import BrokenToolCall, HttpSettings, Reply, ScriptedEngine, Server, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKUP = ToolCall("tide_lookup", {"port": "Brest"})
TEXT_EVENTS = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


@pytest.fixture(scope="module")
def tides() -> Iterator[TideServer]:
    """The server that the requests bring."""
    with TideServer() as server:
        yield server


@pytest.fixture
def api(engine: ScriptedEngine) -> Iterator[httpx.Client]:
    """A client of a server that lets requests bring servers."""
    with (
        Server(engine=engine, http=HttpSettings(allow_ephemeral_mcp=True)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def remote(tides: TideServer, **members: Any) -> dict[str, Any]:
    return {"type": "mcp", "server_label": "tides", "server_url": tides.url, **members}


def offered(engine: ScriptedEngine) -> list[str]:
    return [tool["function"]["name"] for tool in engine.chats[-1].tools]


def test_tool_is_called_and_the_model_goes_on(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply(["Let me see.", LOOKUP]), Reply("At 06:12.")]
    body = ask(api, tools=[remote(tides)])
    listed, first, call, last = body["output"]
    assert (listed["type"], listed["server_label"], listed["error"]) == ("mcp_list_tools", "tides", None)
    assert [(tool["name"], tool["input_schema"]) for tool in listed["tools"]] == [
        ("tide_lookup", SCHEMA),
        ("tide_fail", SCHEMA),
    ]
    assert first["content"][0]["text"] == "Let me see."
    assert json.loads(call.pop("output")) == ANSWER
    assert json.loads(call.pop("arguments")) == {"port": "Brest"}
    assert call == {
        "type": "mcp_call",
        "id": call["id"],
        "server_label": "tides",
        "name": "tide_lookup",
        "error": None,
        "status": "completed",
        "approval_request_id": None,
    }
    assert last["content"][0]["text"] == "At 06:12."
    assert tides.calls[-1] == ("tide_lookup", {"port": "Brest"})
    assert [message["role"] for message in engine.chats[-1].messages] == ["user", "assistant", "tool"]


def test_tokens_of_all_rounds_count(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([LOOKUP]), Reply("one two three")]
    both = ask(api, tools=[remote(tides)])["usage"]
    engine.reply = Reply([LOOKUP])
    first = ask(api, tools=[{"type": "function", "name": "tide_lookup", "parameters": SCHEMA}])["usage"]
    assert both["output_tokens"] == first["output_tokens"] + 3
    assert both["input_tokens"] > first["input_tokens"]
    assert both["total_tokens"] == both["input_tokens"] + both["output_tokens"]


def test_events_of_a_call(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([LOOKUP]), Reply("At 06:12.")]
    body = {"model": CHAT_MODEL, "input": "Hi", "tools": [remote(tides)], "stream": True}
    events = read_events(api.post(PATH, json=body))
    names = [event.name for event in events]
    assert [name for name, before in zip(names, ["", *names[:-1]], strict=True) if name != before] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.output_item.done",
        "response.output_item.added",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.completed",
        "response.output_item.done",
        *TEXT_EVENTS,
        "response.completed",
    ]
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    done = [event.data for event in events if event.name == "response.output_item.done"]
    assert [each["output_index"] for each in done] == [0, 1, 2]
    assert [each["item"] for each in done] == events[-1].data["response"]["output"]
    deltas = [event.data["delta"] for event in events if event.name == "response.mcp_call_arguments.delta"]
    assert "".join(deltas) == done[1]["item"]["arguments"]
    for event in events:
        msgspec.convert(event.data, ResponseEvent)


def test_several_calls_in_one_round(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([LOOKUP, ToolCall("tide_fail", {"port": "Ys"})]), Reply("Done.")]
    _, lookup, fail, _ = ask(api, tools=[remote(tides)])["output"]
    assert (json.loads(lookup["output"]), lookup["status"]) == (ANSWER, "completed")
    assert "no such port" in fail["output"]


def test_calls_of_functions_are_left_to_the_client(
    api: httpx.Client, engine: ScriptedEngine, tides: TideServer
) -> None:
    engine.reply = [Reply([LOOKUP, ToolCall("add", {"a": 1, "b": 2})]), Reply("Done.")]
    tools = [remote(tides), *TOOLS]
    first = ask(api, tools=tools)
    assert [item["type"] for item in first["output"]] == ["mcp_list_tools", "mcp_call", "function_call"]
    assert len(engine.chats) == 1
    (call,) = calls_of(first)
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "3"}
    assert text_of(ask(api, [result], previous_response_id=first["id"], tools=tools)) == "Done."
    assert [message["role"] for message in engine.chats[-1].messages] == ["user", "assistant", "tool", "tool"]


def test_chat_with_calls_goes_on_from_the_server_s_memory_or_the_client_s(
    api: httpx.Client, engine: ScriptedEngine, tides: TideServer
) -> None:
    engine.reply = [Reply([LOOKUP]), Reply("At 06:12."), Reply("Welcome."), Reply("Welcome.")]
    first = ask(api, tools=[remote(tides)])
    ask(api, "Thanks!", previous_response_id=first["id"])
    remembered = engine.chats[-1].messages
    user = {"role": "user", "content": "Hi"}
    ask(api, [user, *first["output"], {"role": "user", "content": "Thanks!"}])
    sent = engine.chats[-1].messages
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert [(message["role"], message["content"]) for message in sent] == [
        (message["role"], message["content"]) for message in remembered
    ]


def test_call_that_has_to_be_made_is_made_once(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([LOOKUP]), Reply("At 06:12.")]
    choice = {"type": "mcp", "server_label": "tides", "name": "tide_lookup"}
    body = ask(api, tools=[remote(tides), *TOOLS], tool_choice=choice)
    assert text_of(body) == "At 06:12."
    assert offered(engine) == ["tide_lookup"]
    assert [request.json_schema is None for request in engine.requests] == [False, True]


def test_model_that_never_stops_calling_has_to_answer(
    api: httpx.Client, engine: ScriptedEngine, tides: TideServer
) -> None:
    engine.reply = lambda _: Reply([LOOKUP]) if engine.chats[-1].tools else Reply("Enough.")
    assert text_of(ask(api, tools=[remote(tides)])) == "Enough."


def test_limit_of_tokens_is_that_of_all_rounds(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = lambda _: Reply([LOOKUP]) if len(engine.requests) == 1 else Reply("word " * 100)
    body = ask(api, tools=[remote(tides)], max_output_tokens=30)
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["usage"]["output_tokens"] == 30


def test_call_that_cannot_be_read_is_not_made(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "tide_lookup", "arguments": {"port": x}}')])
    before = len(tides.calls)
    body = {"model": CHAT_MODEL, "input": "Hi", "tools": [remote(tides)], "stream": True}
    events = read_events(api.post(PATH, json=body))
    _, call, _ = events[-1].data["response"]["output"]
    assert (call["status"], call["output"]) == ("incomplete", None)
    assert "response.mcp_call.failed" in [event.name for event in events]
    assert [item["type"] for item in ask(api, tools=[remote(tides)])["output"]] == ["mcp_list_tools", "message"]
    assert len(tides.calls) == before


@pytest.mark.parametrize("allowed", [["tide_fail"], {"tool_names": ["tide_fail"]}])
def test_only_allowed_tools_are_offered(
    api: httpx.Client, engine: ScriptedEngine, tides: TideServer, allowed: Any
) -> None:
    body = ask(api, tools=[remote(tides, allowed_tools=allowed)])
    assert offered(engine) == ["tide_fail"]
    assert [tool["name"] for tool in body["output"][0]["tools"]] == ["tide_fail"]


def test_secrets_reach_the_server_and_nobody_else(api: httpx.Client, tides: TideServer) -> None:
    tides.headers.clear()
    tool = remote(tides, headers={"X-Tide-Key": "low water"}, authorization="flood")
    body = ask(api, tools=[tool])
    assert {(headers.get("x-tide-key"), headers.get("authorization")) for headers in tides.headers} == {
        ("low water", "Bearer flood")
    }
    assert body["tools"] == [remote(tides)]
    stored = api.get(f"{PATH}/{body['id']}").text
    assert "low water" not in stored  # ids are hexadecimal: shorter words of that could be in them
    assert "flood" not in stored


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_server_that_is_not_there(api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    tool = {"type": "mcp", "server_label": "tides", "server_url": f"http://127.0.0.1:{port}/mcp"}
    status, error = refused(api, tools=[tool], stream=is_stream)
    assert (status, error["param"]) == (502, "tools")
    assert "tides" in error["message"]
    assert engine.loads == []


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"server_url": None}, "tools[0].server_url"),
        ({"server_label": None}, "tools[0].server_label"),
        ({"allowed_tools": "all"}, "tools[0].allowed_tools"),
        ({"allowed_tools": ["moon_lookup"]}, "tools"),
        ({"headers": "none"}, "tools[0].headers"),
        ({"require_approval": "always"}, "tools[0].require_approval"),
    ],
)
def test_bad_member_is_refused_by_name(
    api: httpx.Client, tides: TideServer, members: dict[str, Any], param: str
) -> None:
    status, error = refused(api, tools=[remote(tides, **members)])
    assert status == 400
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_function_with_the_name_of_a_remote_tool(api: httpx.Client, tides: TideServer) -> None:
    status, error = refused(api, tools=[remote(tides), {"type": "function", "name": "tide_lookup"}])
    assert (status, error["param"]) == (400, "tools")
    assert "tide_lookup" in error["message"]


@pytest.mark.parametrize("choice", [{"server_label": "moons"}, {"server_label": "tides", "name": "moon_lookup"}])
def test_choice_of_a_remote_tool_that_is_not_there(
    api: httpx.Client, tides: TideServer, choice: dict[str, str]
) -> None:
    status, error = refused(api, tools=[remote(tides)], tool_choice={"type": "mcp", **choice})
    assert (status, error["param"]) == (400, "tool_choice")
