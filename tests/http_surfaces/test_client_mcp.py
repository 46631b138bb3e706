"""The client over HTTP with MCP servers that its requests bring: their tools are called in the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL
from http_surfaces.tide_server import ANSWER, TideServer
from lmstudio.http import HttpClient
from lmstudio.http.responses import McpCallItem, McpListToolsItem
from lmstudio.http.rest_v1 import (
    EphemeralMcpIntegration,
    EphemeralMcpProvider,
    InvalidToolCallItem,
    MessageItem,
    ToolCallItem,
    ToolCallSuccess,
)
from lmstudio.server import BrokenToolCall, HttpSettings, Reply, ScriptedEngine, Server, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKUP = ToolCall("tide_lookup", {"port": "Brest"})
QUESTION = "When is high water at Brest?"


@pytest.fixture(scope="module")
def tides() -> Iterator[TideServer]:
    """The server that the requests bring."""
    with TideServer() as server:
        yield server


@pytest.fixture
def client(engine: ScriptedEngine) -> Iterator[HttpClient]:
    """A client of a server that lets requests bring servers."""
    with (
        Server(engine=engine, http=HttpSettings(allow_ephemeral_mcp=True)) as server,
        HttpClient(f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def integration(tides: TideServer) -> EphemeralMcpIntegration:
    return EphemeralMcpIntegration(server_label="tides", server_url=tides.url, allowed_tools=["tide_lookup"])


def test_chat_with_an_integration(client: HttpClient, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply(["Let me see.", LOOKUP]), Reply("At 06:12.")]
    reply = client.rest_v1.chat(model=CHAT_MODEL, input=QUESTION, integrations=[integration(tides)])
    first, call, last = reply.output
    assert (first, last) == (MessageItem(content="Let me see."), MessageItem(content="At 06:12."))
    assert isinstance(call, ToolCallItem)
    assert (call.tool, call.arguments, json.loads(call.output)) == ("tide_lookup", {"port": "Brest"}, ANSWER)
    assert call.provider_info == EphemeralMcpProvider(server_label="tides")
    assert [tool["function"]["name"] for tool in engine.chats[0].tools] == ["tide_lookup"]


def test_events_of_a_chat_with_an_integration(client: HttpClient, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply(["Let me see.", LOOKUP]), Reply("At 06:12.")]
    seen: dict[str, Any] = {}
    with client.rest_v1.stream_chat(model=CHAT_MODEL, input=QUESTION, integrations=[integration(tides)]) as stream:
        for event in stream:
            seen[event.type] = event
            if isinstance(event, ToolCallSuccess):
                stream.cancel()
        reply = stream.result()
    assert seen["tool_call.arguments"].arguments == {"port": "Brest"}
    assert seen["tool_call.success"].tool == "tide_lookup"
    # What has come until then, put together from the events.
    assert [item.type for item in reply.output] == ["message", "tool_call"]


def test_call_that_cannot_be_read(client: HttpClient, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([BrokenToolCall('{"name": "tide_lookup", "arg')]), Reply("Sorry.")]
    with client.rest_v1.stream_chat(model=CHAT_MODEL, input=QUESTION, integrations=[integration(tides)]) as stream:
        (failure,) = [event for event in stream if event.type == "tool_call.failure"]
        (item,) = stream.result().output
    assert isinstance(item, InvalidToolCallItem)
    assert "It ends in the middle" in item.reason
    assert (item.reason, item.metadata) == (failure.reason, failure.metadata)
    assert (item.metadata.type, item.metadata.tool_name) == ("invalid_arguments", "tide_lookup")


def test_response_with_a_remote_tool(client: HttpClient, engine: ScriptedEngine, tides: TideServer) -> None:
    engine.reply = [Reply([LOOKUP]), Reply("At 06:12."), Reply([LOOKUP]), Reply("At 06:12.")]
    tool = {"type": "mcp", "server_label": "tides", "server_url": tides.url, "require_approval": "never"}
    with client.responses.stream(model=CHAT_MODEL, input=QUESTION, tools=[tool]) as stream:
        kinds = {event.type for event in stream}
        response = stream.result()
    assert {"response.mcp_list_tools.completed", "response.mcp_call.completed"} <= kinds
    listed, call, _ = response.output
    assert isinstance(listed, McpListToolsItem)
    assert isinstance(call, McpCallItem)
    assert json.loads(call.output or "") == ANSWER
    assert response.output_text == "At 06:12."
    whole = client.responses.create(model=CHAT_MODEL, input=QUESTION, tools=[tool])
    assert [item.type for item in whole.output] == [item.type for item in response.output]
