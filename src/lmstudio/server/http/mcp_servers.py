"""MCP servers: how they are reached, and those that the user of this server has set up in a file.

The file is LM Studio's `mcp.json`, which editors have as well: `mcpServers` with a name for each, and its address or
the command that starts it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from lmstudio._near import near_matches
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    import mcp

    from lmstudio.server.http.errors import ErrorReason

__all__ = ["CONFIGURED", "McpCommand", "McpServer", "McpUrl", "configured_server"]

CONFIGURED: Final = "mcp/"
"""Begins the names of the servers that the user has set up."""
_LONGEST_WANTED: Final = 200


class McpUrl(msgspec.Struct, kw_only=True, frozen=True):
    """An MCP server that is there already."""

    url: str
    headers: dict[str, str] | None = None

    @property
    def place(self) -> str:
        """For people; without the secrets in headers."""
        return f"at {self.url[:_LONGEST_WANTED]}"

    async def connect(self, stack: AsyncExitStack) -> mcp.ClientSession:
        """A session that lives as long as *stack*."""
        package = _package()
        from mcp.client import streamable_http
        from mcp.shared._httpx_utils import create_mcp_http_client

        connect: Any = getattr(streamable_http, "streamable_http_client", None)
        if connect is not None:
            client = await stack.enter_async_context(create_mcp_http_client(headers=self.headers))
            hooks: Any = client.event_hooks
            client.event_hooks = {**hooks, "request": [*hooks.get("request", ()), _refuse_to_listen]}
            streams = await stack.enter_async_context(connect(self.url, http_client=client))
        else:  # before version 1.24
            connect = streamable_http.streamablehttp_client  # type: ignore[attr-defined, unused-ignore]
            streams = await stack.enter_async_context(connect(self.url, headers=self.headers))
        return await _session(stack, package, streams)


class McpCommand(msgspec.Struct, kw_only=True, frozen=True):
    """An MCP server that is started for each chat, and talks through its standard streams."""

    command: str
    args: list[str] = []
    env: dict[str, str] | None = None
    cwd: str | None = None

    @property
    def place(self) -> str:
        """For people; without the secrets in arguments and environment."""
        return f"started with {self.command[:_LONGEST_WANTED]!r}"

    async def connect(self, stack: AsyncExitStack) -> mcp.ClientSession:
        """A session that lives as long as *stack*, as the process does."""
        package = _package()
        from mcp.client.stdio import stdio_client

        parameters = package.StdioServerParameters(command=self.command, args=self.args, env=self.env, cwd=self.cwd)
        # What it has to say goes where this process says it; without a console, nowhere.
        errors = sys.__stderr__ or stack.enter_context(open(os.devnull, "w"))  # noqa: SIM115, ASYNC230
        streams = await stack.enter_async_context(stdio_client(parameters, errlog=errors))
        return await _session(stack, package, streams)


_Way: TypeAlias = McpUrl | McpCommand


@dataclass(frozen=True)
class McpServer:
    """An MCP server, what a request calls it, and what to say where it cannot be used."""

    name: str
    way: _Way
    param: str
    """Where the request names it."""
    reason: ErrorReason = "mcp_connection"

    def problem(self, cause: str) -> HttpError:
        """The error for the client."""
        name = f"{self.name[:100]!r} {self.way.place}"
        return HttpError(self.reason, f"Cannot use the MCP server {name}: {cause}.", param=self.param)


def configured_server(file: Path, name: str, param: str) -> McpServer:
    """The server *name*, `mcp/...`, of *file*, which is read again each time: users change it while the server runs.

    Raises:
        HttpError: there is none, or the file cannot be used.
    """
    try:
        servers = _read(file)
        way = servers.get(name.removeprefix(CONFIGURED))
        if way is None:
            names = [CONFIGURED + each for each in servers]
            near = near_matches(name[:_LONGEST_WANTED], names)
            known = f"did you mean {' or '.join(near)}?" if near else f"it has: {', '.join(names[:10]) or 'none'}."
            raise LMStudioValueError(f"The mcp.json of this server has no {name[:_LONGEST_WANTED]!r}; {known}")
    except LMStudioValueError as error:
        raise HttpError("plugin_connection", str(error), param=param) from None
    return McpServer(name, way, param, "plugin_connection")


class _File(msgspec.Struct, kw_only=True):
    servers: dict[str, dict[str, Any]] = msgspec.field(name="mcpServers", default_factory=dict)


def _read(file: Path) -> dict[str, _Way]:
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_File).servers
    except OSError as error:
        raise LMStudioValueError(f"The mcp.json of this server cannot be read: {error.strerror or error}.") from None
    except msgspec.MsgspecError as error:
        raise LMStudioValueError(f"The mcp.json of this server is not usable: {error}.") from None
    return {name: _way(name, members) for name, members in found.items()}


def _way(name: str, members: dict[str, Any]) -> _Way:
    kind: Callable[..., Any] = McpUrl if "url" in members else McpCommand
    try:
        way: _Way = msgspec.convert(members, kind)
    except msgspec.ValidationError as error:
        text = f"The mcp.json of this server is not usable: mcpServers has {name[:100]!r}, but {error}"
        raise LMStudioValueError(f"{text}. It needs a url, or a command.") from None
    return way


def _package() -> Any:
    try:
        import mcp
    except ImportError as error:
        text = 'this server lacks the mcp package; install it there with: pip install "lmstudio[mcp]"'
        raise LMStudioRuntimeError(text) from error
    return mcp


async def _session(stack: AsyncExitStack, package: Any, streams: Any) -> mcp.ClientSession:
    session: mcp.ClientSession = await stack.enter_async_context(package.ClientSession(streams[0], streams[1]))
    await session.initialize()
    return session


async def _refuse_to_listen(request: Any) -> None:
    """Keep the session from asking for messages that the server may send of itself: nobody would read them.

    A short session would end while that connection is being made, and the package then loses it without closing it.
    What the session asks for again after an interruption names the last event.
    """
    if request.method == "GET" and "last-event-id" not in request.headers:
        raise LMStudioRuntimeError("Nothing but answers is wanted of this MCP server.")
