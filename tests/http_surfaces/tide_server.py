"""An MCP server for the tests of the surfaces whose requests may bring one."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import mcp.server.lowlevel
import uvicorn
from mcp import types
from patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

SCHEMA = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}
ANSWER = [{"type": "text", "text": "high 06:12 at Brest"}]


class TideServer:
    """An MCP server over HTTP with two tools. Remembers the headers of its requests."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on_request: Callable[[], object] = lambda: None
        """Called in the server's thread when a request has come."""
        server: Any = mcp.server.lowlevel.Server("tides", on_list_tools=self._list, on_call_tool=self._call)
        self._app = server.streamable_http_app()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/mcp"
        config = uvicorn.Config(self._asgi, log_config=None, lifespan="on", ws="none", interface="asgi3")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="tides")

    async def _list(self, _context: Any, _params: Any) -> types.ListToolsResult:
        names = ("tide_lookup", "tide_fail")
        tools = [types.Tool(name=name, description="Tides of a port.", input_schema=SCHEMA) for name in names]
        return types.ListToolsResult(tools=tools)

    async def _call(self, _context: Any, params: Any) -> types.CallToolResult:
        self.calls.append((params.name, params.arguments))
        is_error = params.name == "tide_fail"
        text = "no such port" if is_error else f"high 06:12 at {params.arguments['port']}"
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            self.on_request()
        await self._app(scope, receive, send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)
        self._socket.close()
