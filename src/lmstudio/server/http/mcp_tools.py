"""Tools of MCP servers that a request brings: connected to for this request, called here, for the model.

The session lives in a task of its own, because task groups inside of it would wrap what the request raises.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lmstudio._http_models import encode
from lmstudio._http_models.rest_v1 import EphemeralMcpProvider
from lmstudio.errors import LMStudioRuntimeError
from lmstudio.mcp import mcp_tools
from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    import mcp

    from lmstudio._http_models.rest_v1 import EphemeralMcpIntegration, Provider

__all__ = ["MAX_ROUNDS", "Toolbox", "ephemeral_tools"]

MAX_ROUNDS: Final = 25
"""So often may a model call tools before it has to answer."""

_CONNECT_SECONDS: Final = 30.0
_CALL_SECONDS: Final = 300.0
_END_SECONDS: Final = 5.0


@dataclass
class Toolbox:
    """Tools that this server calls itself."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    """For the model: `name`, `description`, `parameters`."""
    providers: dict[str, Provider] = field(default_factory=dict)
    """Where each tool is from, by its name."""
    _sessions: dict[str, _Session] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """The server of each tool, by the tool's name."""
        return {name: session.integration.server_label for name, session in self._sessions.items()}

    def add(self, session: _Session) -> None:
        """Offer what *session* has.

        Raises:
            HttpError: there is a tool of that name already.
        """
        label = session.integration.server_label
        for function in session.functions:
            name = function["name"]
            if name in self.providers:
                message = f"Two MCP servers have a tool {name!r}; choose others with allowed_tools."
                raise HttpError("invalid_request", message, param=session.param, code="invalid_value")
            self.functions.append(function)
            self.providers[name] = EphemeralMcpProvider(server_label=label)
            self._sessions[name] = session

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the tool says: the content of its answer as JSON, also where that is an error.

        Raises:
            HttpError: the connection is lost, or the tool takes too long.
        """
        return await self._sessions[name].call(name, dict(arguments))


@asynccontextmanager
async def ephemeral_tools(
    integrations: Iterable[EphemeralMcpIntegration], *, param: str = "integrations"
) -> AsyncIterator[Toolbox]:
    """Connections to these servers, for as long as the block runs. *param* is where the request names them.

    Raises:
        HttpError: one of them cannot be used, or has not the tools that are asked for.
    """
    toolbox, sessions = Toolbox(), []
    try:
        for integration in integrations:
            session = _Session(integration, param)
            sessions.append(session)
            await session.open()
            toolbox.add(session)
        yield toolbox
    finally:
        for session in sessions:
            await session.close()


class _Session:
    """A connection to one MCP server."""

    def __init__(self, integration: EphemeralMcpIntegration, param: str) -> None:
        self.integration = integration
        self.param = param
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
        if not self.integration.server_url.lower().startswith(("http://", "https://")):
            message = f"server_url {self.integration.server_url[:200]!r} is no http or https address."
            raise HttpError("invalid_request", message, param=self.param, code="invalid_value")
        self._task = asyncio.ensure_future(self._hold())
        opened = asyncio.ensure_future(self._is_open.wait())
        try:
            await asyncio.wait((self._task, opened), timeout=_CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._task.done():
            raise self._problem(_cause(self._task.exception()))
        if not self._is_open.is_set():
            raise self._problem(f"it did not answer within {_CONNECT_SECONDS:g} seconds")
        self._choose()

    def _choose(self) -> None:
        allowed = self.integration.allowed_tools
        if allowed is None:
            return
        names = [function["name"] for function in self.functions]
        missing = [name for name in allowed if name not in names]
        if missing:
            message = (
                f"The MCP server {self.integration.server_label[:100]!r} has no tool {missing[0][:100]!r}; "
                f"it has: {', '.join(names) or 'none'}."
            )
            raise HttpError("invalid_request", message, param=self.param, code="invalid_value")
        self.functions = [function for function in self.functions if function["name"] in allowed]

    async def _hold(self) -> None:
        async with AsyncExitStack() as stack:
            self._session = await _connected(stack, self.integration)
            for tool in await mcp_tools(self._session):
                function = {"name": tool.name, "parameters": tool.parameters_json_schema}
                self.functions.append({**function, "description": tool.description} if tool.description else function)
            self._is_open.set()
            await self._closing.wait()

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """See `Toolbox.call`."""
        assert self._session is not None
        try:
            result = await asyncio.wait_for(self._session.call_tool(name, arguments), _CALL_SECONDS)
        except asyncio.TimeoutError:
            raise self._problem(f"its tool {name!r} did not answer within {_CALL_SECONDS:g} seconds") from None
        except Exception as error:
            raise self._problem(_cause(error)) from error
        return encode(result.model_dump(mode="json", by_alias=True, exclude_none=True)["content"]).decode()

    async def close(self) -> None:
        """Say goodbye, but not for long."""
        self._closing.set()
        if self._task is None:
            return
        await asyncio.wait((self._task,), timeout=_END_SECONDS if self._is_open.is_set() else 0)
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()  # nobody asks for it any more

    def _problem(self, reason: str) -> HttpError:
        label, url = self.integration.server_label[:100], self.integration.server_url[:200]
        return HttpError("mcp_connection", f"Cannot use the MCP server {label!r} at {url}: {reason}.", param=self.param)


async def _connected(stack: AsyncExitStack, integration: EphemeralMcpIntegration) -> mcp.ClientSession:
    try:
        from mcp import ClientSession
        from mcp.client import streamable_http
        from mcp.shared._httpx_utils import create_mcp_http_client
    except ImportError as error:
        text = 'this server lacks the mcp package; install it there with: pip install "lmstudio[mcp]"'
        raise LMStudioRuntimeError(text) from error
    url, headers = integration.server_url, integration.headers
    connect: Any = getattr(streamable_http, "streamable_http_client", None)
    if connect is not None:
        client = await stack.enter_async_context(create_mcp_http_client(headers=headers))
        hooks: Any = client.event_hooks
        client.event_hooks = {**hooks, "request": [*hooks.get("request", ()), _refuse_to_listen]}
        streams = await stack.enter_async_context(connect(url, http_client=client))
    else:  # before version 1.24
        connect = streamable_http.streamablehttp_client  # type: ignore[attr-defined, unused-ignore]
        streams = await stack.enter_async_context(connect(url, headers=headers))
    session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
    await session.initialize()
    return session


async def _refuse_to_listen(request: Any) -> None:
    """Keep the session from asking for messages that the server may send of itself: nobody would read them.

    A short session would end while that connection is being made, and the package then loses it without closing it.
    What the session asks for again after an interruption names the last event.
    """
    if request.method == "GET" and "last-event-id" not in request.headers:
        raise LMStudioRuntimeError("Nothing but answers is wanted of this MCP server.")


def _cause(error: BaseException | None) -> str:
    """What went wrong, in words: task groups wrap what their tasks raise."""
    while error is not None and (inner := getattr(error, "exceptions", None)):
        error = inner[0]
    return (str(error).rstrip(".") or type(error).__name__) if error is not None else "it closed the connection"
