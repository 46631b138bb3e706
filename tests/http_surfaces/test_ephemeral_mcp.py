"""POST /api/v1/chat with an MCP server that the request brings."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, Event, read_events, refusal
from http_surfaces.tide_server import ANSWER, SCHEMA, TideServer
from lmstudio.server import BrokenToolCall, HttpSettings, Reply, ScriptedEngine, Server, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator


PATH = "/api/v1/chat"
PROVIDER = {"type": "ephemeral_mcp", "server_label": "tides"}


@pytest.fixture(scope="module")
def tides() -> Iterator[TideServer]:
    """The server that the requests bring."""
    with TideServer() as server:
        yield server


@contextmanager
def serving(engine: ScriptedEngine) -> Iterator[httpx.Client]:
    with (
        Server(engine=engine, http=HttpSettings(allow_ephemeral_mcp=True)) as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        yield api


@pytest.fixture
def api(engine: ScriptedEngine) -> Iterator[httpx.Client]:
    """A client of a server that lets requests bring servers."""
    with serving(engine) as client:
        yield client


def request(tides: TideServer, **members: Any) -> dict[str, Any]:
    integration = {"type": "ephemeral_mcp", "server_label": "tides", "server_url": tides.url, **members}
    return {"model": CHAT_MODEL, "input": "When is high water at Brest?", "integrations": [integration]}


def ask(api: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    response = api.post(PATH, json=body)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def tool_events(events: list[Event]) -> list[Event]:
    return [event for event in events if event.name.startswith("tool_call.")]


def test_tool_is_called_and_the_model_goes_on(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply(["Let me see.", ToolCall("tide_lookup", {"port": "Brest"})]), Reply("At 06:12.")]
    body = ask(api, request(tides))
    first, call, last = body["output"]
    assert first == {"type": "message", "content": "Let me see."}
    assert {**call, "output": json.loads(call["output"])} == {
        "type": "tool_call",
        "tool": "tide_lookup",
        "arguments": {"port": "Brest"},
        "output": ANSWER,
        "provider_info": PROVIDER,
    }
    assert last == {"type": "message", "content": "At 06:12."}
    assert tides.calls[-1] == ("tide_lookup", {"port": "Brest"})
    offered, followed = engine.chats
    assert [tool["function"]["name"] for tool in offered.tools] == ["tide_lookup", "tide_fail"]
    assert offered.tools[0]["function"]["parameters"] == SCHEMA
    assert [message["role"] for message in followed.messages] == ["user", "assistant", "tool"]
    assert json.loads(followed.messages[2]["content"]) == ANSWER
    assert body["stats"]["total_output_tokens"] > 2


def test_events_of_a_call(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([ToolCall("tide_lookup", {"port": "Brest"})]), Reply("At 06:12.")]
    events = read_events(api.post(PATH, json={**request(tides), "stream": True}))
    known = {"tool": "tide_lookup", "provider_info": PROVIDER}
    start, arguments, success = tool_events(events)
    assert start.data == {"type": "tool_call.start", **known}
    assert arguments.data == {"type": "tool_call.arguments", **known, "arguments": {"port": "Brest"}}
    output = success.data.pop("output")
    assert success.data == {"type": "tool_call.success", **known, "arguments": {"port": "Brest"}}
    assert json.loads(output) == ANSWER
    names = [event.name for event in events]
    assert names.count("chat.start") == names.count("chat.end") == 1
    assert names.count("prompt_processing.start") == names.count("prompt_processing.end") == 2
    assert [item["type"] for item in events[-1].data["result"]["output"]] == ["tool_call", "message"]


def test_chat_with_calls_goes_on(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([ToolCall("tide_lookup", {"port": "Brest"})]), Reply("At 06:12."), Reply("You are welcome.")]
    first = ask(api, request(tides))["response_id"]
    ask(api, {"model": CHAT_MODEL, "input": "Thanks!", "previous_response_id": first})
    roles = [message["role"] for message in engine.chats[-1].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert engine.chats[-1].tools == []


def test_tool_that_fails_tells_the_model(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([ToolCall("tide_fail", {"port": "Ys"})]), Reply("There is none.")]
    call, last = ask(api, request(tides))["output"]
    assert "no such port" in call["output"]
    assert last["content"] == "There is none."


def test_tool_that_does_not_exist(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([ToolCall("moon_lookup", {})]), Reply("Sorry.")]
    events = read_events(api.post(PATH, json={**request(tides), "stream": True}))
    (failure,) = tool_events(events)
    assert failure.name == "tool_call.failure"
    assert failure.data["metadata"] == {"type": "invalid_name", "tool_name": "moon_lookup"}
    item, last = events[-1].data["result"]["output"]
    assert (item["type"], item["reason"]) == ("invalid_tool_call", failure.data["reason"])
    assert last["content"] == "Sorry."


def test_call_that_cannot_be_read(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = Reply([BrokenToolCall('{"name": "tide_lookup", "arguments": {')])
    events = read_events(api.post(PATH, json={**request(tides), "stream": True}))
    failure = tool_events(events)[-1]
    assert failure.name == "tool_call.failure"
    assert failure.data["reason"]
    assert events[-1].data["result"]["output"][-1]["type"] == "invalid_tool_call"


def test_model_that_never_stops_calling_has_to_answer(
    api: httpx.Client, engine: ScriptedEngine, tides: TideServer
) -> None:
    def reply(_: object) -> Reply:
        return Reply([ToolCall("tide_lookup", {"port": "Brest"})]) if engine.chats[-1].tools else Reply("Enough.")

    engine.reply = reply
    *calls, last = ask(api, request(tides))["output"]
    assert {item["type"] for item in calls} == {"tool_call"}
    assert last == {"type": "message", "content": "Enough."}


def test_only_allowed_tools_are_offered(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    ask(api, request(tides, allowed_tools=["tide_fail"]))
    assert [tool["function"]["name"] for tool in engine.chats[-1].tools] == ["tide_fail"]


def test_headers_reach_the_server(api: httpx.Client, tides: TideServer) -> None:
    tides.headers.clear()
    ask(api, request(tides, headers={"X-Tide-Key": "ebb"}))
    assert tides.headers
    assert {headers.get("x-tide-key") for headers in tides.headers} == {"ebb"}


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_server_that_is_not_there(api: httpx.Client, engine: ScriptedEngine, *, is_stream: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    integration = {"type": "ephemeral_mcp", "server_label": "tides", "server_url": f"http://127.0.0.1:{port}/mcp"}
    body = {"model": CHAT_MODEL, "input": "Hi", "integrations": [integration], "stream": is_stream}
    status, error = refusal(api.post(PATH, json=body))
    assert (status, error["type"], error["param"]) == (502, "mcp_connection_error", "integrations")
    assert "tides" in error["message"]
    assert engine.loads == []


@pytest.mark.parametrize(
    ("members", "text"),
    [({"allowed_tools": ["moon_lookup"]}, "tide_lookup, tide_fail"), ({"server_url": "file:///etc/hosts"}, "http")],
)
def test_bad_integration(api: httpx.Client, tides: TideServer, members: dict[str, Any], text: str) -> None:
    status, error = refusal(api.post(PATH, json=request(tides, **members)))
    assert (status, error["type"], error["param"]) == (400, "invalid_request", "integrations")
    assert text in error["message"]


def test_two_servers_with_the_same_tool(api: httpx.Client, tides: TideServer) -> None:
    body = request(tides)
    body["integrations"] *= 2
    status, error = refusal(api.post(PATH, json=body))
    assert (status, error["param"]) == (400, "integrations")
    assert "tide_lookup" in error["message"]


def test_failure_of_the_engine_is_told_as_it_is(api: httpx.Client, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = Reply([], error="The engine is out of order.")
    status, error = refusal(api.post(PATH, json=request(tides)))
    assert (status, error["type"]) == (500, "internal_error")
    assert "out of order" in error["message"]
