"""Tools that this server calls for the model: those of MCP servers, and those of plugins.

The session with an MCP server lives in a task of its own, because task groups inside of it would wrap what the request
raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lmstudio._http_models import encode
from lmstudio._http_models.rest_v1 import (
    EphemeralMcpIntegration,
    EphemeralMcpProvider,
    PluginIntegration,
    PluginProvider,
)
from lmstudio._tool_results import result_text
from lmstudio._waiting import wait_within
from lmstudio.mcp import mcp_tools
from lmstudio.server.config import tool_definitions
from lmstudio.server.errors import RequestError
from lmstudio.server.http.errors import HttpError, as_http_error
from lmstudio.server.http.mcp_servers import CONFIGURED, McpServer, McpUrl, configured_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from pathlib import Path

    import mcp

    from lmstudio._http_models.rest_v1 import Provider
    from lmstudio.server.core import ServerCore
    from lmstudio.server.plugins.hooks import HookKind

__all__ = ["MAX_ROUNDS", "Toolbox", "server_tools"]

MAX_ROUNDS: Final = 25
"""So often may a model call tools before it has to answer."""

_Caller: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[str]]

_CONNECT_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 300.0
_END_SECONDS: Final = 8.0
"""A server that was started has almost so long to end, until it is killed."""


@dataclass
class Toolbox:
    """Tools that this server calls itself."""

    param: str
    """Where the request names them."""
    functions: list[dict[str, Any]] = field(default_factory=list)
    """For the model: `name`, `description`, `parameters`."""
    providers: dict[str, Provider] = field(default_factory=dict)
    """Where each tool is from, by its name."""
    hooks: dict[str, frozenset[HookKind]] = field(default_factory=dict)
    """What else plugins can do with the chat, by their identifiers, in the order of the request."""
    _callers: dict[str, _Caller] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """The MCP server of each tool, by the tool's name."""
        return {
            name: provider.server_label
            for name, provider in self.providers.items()
            if isinstance(provider, EphemeralMcpProvider)
        }

    def add(
        self, functions: Sequence[dict[str, Any]], allowed: Sequence[str] | None, provider: Provider, call: _Caller
    ) -> None:
        """Offer *functions*, which are *provider*'s and called with *call*; with *allowed*, only those.

        Raises:
            HttpError: there is a tool of that name already, or one that is allowed is none of them.
        """
        names = [function["name"] for function in functions]
        for name in allowed or ():
            if name not in names:
                message = f"allowed_tools has {name[:100]!r}, but the tools there are: {', '.join(names) or 'none'}."
                raise HttpError("invalid_request", message, param=self.param, code="invalid_value")
        for function in functions:
            name = function["name"]
            if allowed is not None and name not in allowed:
                continue
            if name in self.providers:
                message = f"Two {self.param} have a tool {name!r}; choose others with allowed_tools."
                raise HttpError("invalid_request", message, param=self.param, code="invalid_value")
            self.functions.append(function)
            self.providers[name] = provider
            self._callers[name] = call

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the tool says, also where that is an error.

        Raises:
            HttpError: the connection is lost, or the tool takes too long.
        """
        return await self._callers[name](name, dict(arguments))


@asynccontextmanager
async def server_tools(
    core: ServerCore,
    integrations: Iterable[EphemeralMcpIntegration | PluginIntegration],
    *,
    param: str = "integrations",
    mcp_json: Path | None = None,
) -> AsyncIterator[Toolbox]:
    """The tools of *integrations*, for as long as the block runs. *param* is where the request names them.

    *mcp_json* has the servers that the user has set up: what is called `mcp/...` is one of them.

    Raises:
        HttpError: one of them cannot be used, or has not the tools that are asked for.
    """
    toolbox = Toolbox(param)
    async with AsyncExitStack() as stack:
        for integration in integrations:
            provider: Provider
            if isinstance(integration, EphemeralMcpIntegration):
                server = _brought(integration, param)
                provider = EphemeralMcpProvider(server_label=integration.server_label)
            elif mcp_json is not None and integration.id.startswith(CONFIGURED):
                server = await asyncio.to_thread(configured_server, mcp_json, integration.id, param)
                provider = PluginProvider(plugin_id=integration.id)
            else:
                await _add_plugin(stack, toolbox, core, integration)
                continue
            session = _Session(server)
            stack.push_async_callback(session.close)
            await session.open()
            toolbox.add(session.functions, integration.allowed_tools, provider, session.call)
        yield toolbox


def _brought(integration: EphemeralMcpIntegration, param: str) -> McpServer:
    url = integration.server_url
    if not url.lower().startswith(("http://", "https://")):
        message = f"server_url {url[:200]!r} is no http or https address."
        raise HttpError("invalid_request", message, param=param, code="invalid_value")
    return McpServer(integration.server_label, McpUrl(url=url, headers=integration.headers), param)


async def _add_plugin(
    stack: AsyncExitStack, toolbox: Toolbox, core: ServerCore, integration: PluginIntegration
) -> None:
    provider = PluginProvider(plugin_id=integration.id)
    try:
        toolbox.hooks[integration.id] = kinds = await core.plugins.kinds(integration.id)
        if kinds and "toolsProvider" not in kinds:
            toolbox.add([], integration.allowed_tools, provider, _no_tool)
            return
        session = await stack.enter_async_context(core.plugins.tools(integration.id))
    except RequestError as error:
        raise HttpError("plugin_connection", as_http_error(error, "").message, param="integrations") from None

    async def call(name: str, arguments: dict[str, Any]) -> str:
        try:
            return result_text(await session.call(name, arguments))
        except RequestError as error:
            return as_http_error(error, "").message  # for the model, which may know better

    functions = [tool["function"] for tool in tool_definitions(session.definitions)]
    toolbox.add(functions, integration.allowed_tools, provider, call)


async def _no_tool(name: str, _: dict[str, Any]) -> str:
    raise RequestError(f"There is no tool {name!r}")


class _Session:
    """A connection to one MCP server."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self.functions: list[dict[str, Any]] = []
        self._session: mcp.ClientSession | None = None
        self._is_open = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and find out what there is.

        Raises:
            HttpError: that is not possible.
        """
        self._task = asyncio.ensure_future(self._hold())
        opened = asyncio.ensure_future(self._is_open.wait())
        try:
            await asyncio.wait((self._task, opened), timeout=_CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._task.done():
            raise self._server.problem(_cause(self._task.exception()))
        if not self._is_open.is_set():
            raise self._server.problem(f"it did not answer within {_CONNECT_SECONDS:g} seconds")

    async def _hold(self) -> None:
        async with AsyncExitStack() as stack:
            self._session = await self._server.way.connect(stack)
            for tool in await mcp_tools(self._session):
                function = {"name": tool.name, "parameters": tool.parameters_json_schema}
                self.functions.append({**function, "description": tool.description} if tool.description else function)
            self._is_open.set()
            await self._closing.wait()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """See `Toolbox.call`."""
        assert self._session is not None
        try:
            result = await wait_within(self._session.call_tool(name, arguments), _CALL_SECONDS)
        except asyncio.TimeoutError:
            raise self._server.problem(f"its tool {name!r} did not answer within {_CALL_SECONDS:g} seconds") from None
        except Exception as error:
            raise self._server.problem(_cause(error)) from error
        return encode(result.model_dump(mode="json", by_alias=True, exclude_none=True)["content"]).decode()

    async def close(self) -> None:
        """Say goodbye, but not for long. Being cancelled, as a request is once it is answered, does not end that."""
        self._closing.set()
        if self._task is None:
            return
        ending = asyncio.ensure_future(self._end(self._task))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait((ending,))
            raise

    async def _end(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait((task,), timeout=_END_SECONDS if self._is_open.is_set() else 0)
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.exception()  # nobody asks for it any more


def _cause(error: BaseException | None) -> str:
    """What went wrong, in words: task groups wrap what their tasks raise."""
    while error is not None and (inner := getattr(error, "exceptions", None)):
        error = inner[0]
    return (str(error).rstrip(".") or type(error).__name__) if error is not None else "it closed the connection"
