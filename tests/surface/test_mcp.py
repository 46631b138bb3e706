"""`act` with the tools of an MCP server, from both surfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp
import pytest
from anyio.from_thread import start_blocking_portal
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import lmstudio as lms
from lmstudio.mcp import mcp_tools
from lmstudio.server import Reply, ToolCall

from .loops import LOOPS, Run, in_both_loops

if TYPE_CHECKING:
    from lmstudio.server import ScriptedEngine, Server

mcp_server = MCPServer("calculator")


@mcp_server.tool()
async def divide(a: float, b: float) -> str:
    """Divide two numbers."""
    if b == 0:
        raise ToolError("b must not be 0")
    return f"{a / b:g}"


REPLY = [Reply([ToolCall("divide", {"a": 6, "b": 2}), ToolCall("divide", {"a": 6, "b": 0})]), Reply("Done.")]


def results(engine: ScriptedEngine) -> list[Any]:
    return [message["content"] for message in engine.chats[-1].messages if message["role"] == "tool"]


def check(result: lms.ActResult, engine: ScriptedEngine) -> None:
    assert (result.rounds, result.content) == (2, "Done.")
    assert engine.chats[0].tools[0]["function"]["description"] == "Divide two numbers."
    good, bad = results(engine)
    assert "3" in good
    assert "b must not be 0" in bad


async def use_tools(server: Server) -> lms.ActResult:
    async with mcp.Client(mcp_server) as session, lms.AsyncClient(server.api_host) as client:
        model = await client.llm.model("scripted-chat")
        return await model.act("What is 6 / 2?", await mcp_tools(session))


@in_both_loops
def test_act_uses_the_tools_of_a_session(server: Server, engine: ScriptedEngine, run: Run) -> None:
    engine.reply = REPLY
    check(run(use_tools, server), engine)


@pytest.mark.parametrize("loop", LOOPS)
def test_act_of_the_synchronous_surface_uses_a_session_in_a_portal(
    server: Server, engine: ScriptedEngine, loop: str
) -> None:
    engine.reply = REPLY
    with (
        start_blocking_portal(loop) as portal,
        portal.wrap_async_context_manager(mcp.Client(mcp_server)) as session,
        lms.Client(server.api_host) as client,
    ):
        model = client.llm.model("scripted-chat")
        check(model.act("What is 6 / 2?", portal.call(mcp_tools, session)), engine)
