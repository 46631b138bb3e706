"""Tools of an MCP server, for `act`. Needs the `mcp` package: `pip install "lmstudio[mcp]"`.

::

    import mcp
    from lmstudio.mcp import mcp_tools

    async with mcp.Client("http://localhost:8000/mcp") as session:
        await model.act("What is on my calendar?", await mcp_tools(session))

A session belongs to the event loop that it was opened in. Programs without one give it a loop in a thread::

    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(mcp.Client("http://localhost:8000/mcp")) as session:
            model.act("What is on my calendar?", portal.call(mcp_tools, session))

The tools then find their way to that loop from whatever thread they are called in.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from ._async_io import loop_hooks, running_loop
from ._tool_definitions import RawFunctionTool, current_call
from .errors import LMStudioError, LMStudioRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    import mcp

    from ._async_io import EventLoop
    from ._transfer import LoopHooks

    _ProgressReporter: TypeAlias = Callable[[float, float | None, str | None], Coroutine[Any, Any, None]]

__all__ = ["MCPToolError", "mcp_tools"]


class MCPToolError(LMStudioError):
    """A tool of an MCP server has reported an error. Its text is for the model."""


async def mcp_tools(session: mcp.ClientSession | mcp.Client) -> list[RawFunctionTool]:
    """The tools that the server of *session* offers, in its order.

    *session* is an open `mcp.ClientSession`, or a `mcp.Client` of version 2. The tools work as long as it is open. A
    result is what the server calls its structured content, else its text; images and the like are described in words.
    Progress goes to `ToolCallContext.status`.

    Raises:
        LMStudioRuntimeError: the `mcp` package is not installed.
    """
    try:
        import mcp
    except ImportError as error:
        raise LMStudioRuntimeError(
            'Tools of MCP servers need the mcp package. Install it with: pip install "lmstudio[mcp]"'
        ) from error
    home = running_loop()
    if home is None:
        raise LMStudioRuntimeError("mcp_tools works in tasks of asyncio and of trio only.")
    tools: list[RawFunctionTool] = []
    cursor: str | None = None
    while True:
        if isinstance(session, mcp.ClientSession):
            listed = await session.list_tools(params=mcp.types.PaginatedRequestParams(cursor=cursor))
        else:
            listed = await session.list_tools(cursor=cursor)
        # As on the wire: the two versions of the package have different names for it.
        page = listed.model_dump(mode="json", by_alias=True)
        tools += [_as_tool(session, tool, home) for tool in page["tools"]]
        cursor = page.get("nextCursor")
        if not cursor:
            return tools


def _as_tool(session: Any, tool: dict[str, Any], home: EventLoop) -> RawFunctionTool:
    name, hooks = tool["name"], loop_hooks(home)

    async def call(**arguments: Any) -> Any:
        work = partial(_call, session, name, arguments, _progress_reporter())
        here = running_loop()
        if here is home:
            return await work()
        ended = LMStudioRuntimeError(
            f"Cannot call the MCP tool {name!r}: the event loop of its session has ended. Keep it running during "
            "`act`, for example in a blocking portal of anyio."
        )
        if here is None or not hooks.is_running():
            raise ended
        return await _Errand(work, loop_hooks(here)).run_in(hooks, ended)

    return RawFunctionTool(
        name=name,
        description=tool.get("description") or tool.get("title"),
        parameters_json_schema=tool["inputSchema"],
        implementation=call,
    )


class _Errand:
    """A call in another loop, which is that of another thread."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Any]], here: LoopHooks) -> None:
        self._work = work
        self._here = here
        self._ended = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._is_cancelled = False
        self._value: Any = None
        self._error: BaseException | None = None

    async def run_in(self, home: LoopHooks, home_ended: LMStudioRuntimeError) -> Any:
        """The result of the work. Raises *home_ended* if the other loop does not bring it to its end."""
        home.post(partial(self._begin, home))
        if not home.is_running():  # it may have ended without a look at what was posted
            raise home_ended
        try:
            await self._ended.wait()
        except BaseException:
            home.post(self._cancel)
            raise
        if self._error is None:
            return self._value
        raise self._error if isinstance(self._error, Exception) else home_ended

    def _begin(self, home: LoopHooks) -> None:
        home.spawn(self._run())

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if not self._is_cancelled:
                    self._value = await self._work()
        except Exception as error:
            self._error = error
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._here.post(self._ended.set)

    def _cancel(self) -> None:
        self._is_cancelled = True
        if self._scope is not None:
            self._scope.cancel()


def _progress_reporter() -> _ProgressReporter | None:
    context = current_call()
    if context is None:
        return None

    async def report(progress: float, total: float | None, message: str | None) -> None:
        numbers = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
        context.status(numbers if message is None else f"{message} ({numbers})")

    return report


async def _call(session: Any, name: str, arguments: dict[str, Any], report: _ProgressReporter | None) -> Any:
    result = await session.call_tool(name, arguments, progress_callback=report)
    return _read_result(name, result.model_dump(mode="json", by_alias=True))


def _read_result(name: str, result: dict[str, Any]) -> Any:
    blocks = result.get("content") or []
    text = "\n".join(map(_block_text, blocks))
    if result.get("isError"):
        raise MCPToolError(text or f"The tool {name!r} failed without saying why.")
    structured = result.get("structuredContent")
    if structured is None:
        return text
    if all(block["type"] == "text" for block in blocks):
        return structured  # the text is the same in words
    return {"structuredContent": structured, "content": text}


def _block_text(block: dict[str, Any]) -> str:
    match block:
        case {"type": "text", "text": text}:
            return str(text)
        case {"type": "image" | "audio" as kind, "data": data}:
            return f"[{kind}, {block.get('mimeType')}, {_size(data)} bytes]"
        case {"type": "resource_link", "uri": uri}:
            about = [block.get(member) for member in ("name", "description", "mimeType")]
            return f"[link to {uri}: {', '.join(item for item in about if item)}]"
        case {"type": "resource", "resource": {"uri": uri, "text": text}}:
            return f"[{uri}]\n{text}"
        case {"type": "resource", "resource": {"uri": uri, "blob": data} as resource}:
            return f"[{uri}, {resource.get('mimeType')}, {_size(data)} bytes]"
        case _:
            return f"[content of type {block.get('type')!r}]"


def _size(base64_text: str) -> int:
    return len(base64_text.rstrip("=")) * 3 // 4
