"""An MCP server to be started as a program: its one tool tells what it was started with."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import anyio
import mcp.server.lowlevel
from mcp import types
from mcp.server.stdio import stdio_server


async def _list(_context: Any, _params: Any) -> types.ListToolsResult:
    tool = types.Tool(name="tide_lookup", description="Tides of a port.", input_schema={"type": "object"})
    return types.ListToolsResult(tools=[tool])


async def _call(_context: Any, _params: Any) -> types.CallToolResult:
    text = json.dumps([sys.argv[1:], os.environ.get("TIDES")])
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


async def _main() -> None:
    server: Any = mcp.server.lowlevel.Server("tides", on_list_tools=_list, on_call_tool=_call)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(_main)
