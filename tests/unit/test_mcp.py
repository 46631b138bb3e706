"""Tools of MCP servers, with servers in memory."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp
import pytest
from anyio.from_thread import start_blocking_portal
from mcp import types
from mcp.client import session as client_session
from mcp.server.lowlevel import Server
from mcp.shared.memory import create_client_server_memory_streams

import lmstudio as lms
from lmstudio._abort import AbortSignal
from lmstudio.mcp import MCPToolError, mcp_tools
from lmstudio.tools import Tool, ToolArgumentsError, ToolCallContext, read_tools, result_text

Handler = Callable[[dict[str, Any], Any], Awaitable[types.CallToolResult]]

SCHEMA = {
    "type": "object",
    "required": ["z"],
    "properties": {"z": {"type": "integer"}, "aA_b": {"type": "string", "default": "x"}},
}


def text_result(*texts: str, **members: Any) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text) for text in texts], **members)


async def echo(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
    return text_result(json.dumps(arguments))


def server_of(handlers: dict[str, Handler], page_size: int = 100) -> Server[Any]:
    names = list(handlers)

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        start = int(params.cursor) if params is not None and params.cursor else 0
        end = start + page_size
        page = [types.Tool(name=name, description=f"It {name}s.", input_schema=SCHEMA) for name in names[start:end]]
        return types.ListToolsResult(tools=page, next_cursor=str(end) if end < len(names) else None)

    async def call_tool(context: Any, params: Any) -> types.CallToolResult:
        return await handlers[params.name](params.arguments or {}, context)

    return Server("test", on_list_tools=list_tools, on_call_tool=call_tool)


@asynccontextmanager
async def session_with(server: Server[Any]) -> AsyncIterator[mcp.ClientSession]:
    async with (
        create_client_server_memory_streams() as (client_streams, server_streams),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.run, *server_streams, server.create_initialization_options())
        async with client_session.ClientSession(*client_streams) as session:
            await session.initialize()
            yield session
        tasks.cancel_scope.cancel()


def call_context(name: str = "echo", **listeners: Any) -> ToolCallContext:
    return ToolCallContext(1, name, AbortSignal(), **listeners)


async def called(tool: Tool, arguments: dict[str, Any], context: ToolCallContext | None = None) -> Any:
    return await tool.call(tool.check_arguments(arguments), context or call_context())


def test_the_tools_of_a_session_can_be_used() -> None:
    async def main() -> None:
        async with session_with(server_of({"echo": echo})) as session:
            (tool,) = read_tools(await mcp_tools(session))
            assert tool.is_coroutine
            assert tool.definition == {
                "type": "function",
                "function": {"name": "echo", "description": "It echos.", "parameters": SCHEMA},
            }
            (listed,) = (await session.list_tools()).tools
            assert json.dumps(tool.definition["function"]["parameters"]) == json.dumps(listed.input_schema)
            assert json.loads(await called(tool, {"z": 1})) == {"z": 1}
            with pytest.raises(ToolArgumentsError, match="tool 'echo': 'z' is missing"):
                tool.check_arguments({})

    anyio.run(main)


def test_a_client_of_version_two_works_like_a_session() -> None:
    async def main() -> None:
        async with mcp.Client(server_of({"one": echo, "two": echo}, page_size=1)) as client:
            tools = read_tools(await mcp_tools(client))
            assert [tool.name for tool in tools] == ["one", "two"]
            assert json.loads(await called(tools[1], {"z": 2})) == {"z": 2}

    anyio.run(main)


def test_all_pages_are_listed() -> None:
    names = [f"tool{number}" for number in range(5)]

    async def main() -> None:
        async with session_with(server_of(dict.fromkeys(names, echo), page_size=2)) as session:
            assert [tool.name for tool in await mcp_tools(session)] == names

    anyio.run(main)


PICTURE = types.ImageContent(type="image", data="QUJDRA==", mime_type="image/png")
CONTENTS: list[tuple[list[Any], str]] = [
    ([types.TextContent(type="text", text="a"), types.TextContent(type="text", text="b")], "a\nb"),
    ([types.TextContent(type="text", text="See:"), PICTURE], "See:\n[image, image/png, 4 bytes]"),
    ([types.AudioContent(type="audio", data="QUJD", mime_type="audio/wav")], "[audio, audio/wav, 3 bytes]"),
    (
        [types.ResourceLink(type="resource_link", uri="file:///a.txt", name="a", description="A file")],
        "[link to file:///a.txt: a, A file]",
    ),
    (
        [types.EmbeddedResource(type="resource", resource=types.TextResourceContents(uri="file:///a", text="Hi"))],
        "[file:///a]\nHi",
    ),
    (
        [
            types.EmbeddedResource(
                type="resource",
                resource=types.BlobResourceContents(uri="file:///b", blob="QUI=", mime_type="application/pdf"),
            )
        ],
        "[file:///b, application/pdf, 2 bytes]",
    ),
    ([], ""),
]


@pytest.mark.parametrize(("content", "text"), CONTENTS)
def test_a_result_is_the_text_of_its_content(content: list[Any], text: str) -> None:
    async def answer(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        return types.CallToolResult(content=content)

    async def main() -> None:
        async with session_with(server_of({"answer": answer})) as session:
            (tool,) = read_tools(await mcp_tools(session))
            assert await called(tool, {"z": 1}) == text

    anyio.run(main)


def test_structured_content_goes_before_its_text() -> None:
    async def answer(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        return text_result("in words", structured_content={"z": "é", "a": 1})

    async def illustrated(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[PICTURE], structured_content={"a": 1})

    async def main() -> None:
        async with session_with(server_of({"answer": answer, "illustrated": illustrated})) as session:
            plain, with_picture = read_tools(await mcp_tools(session))
            assert result_text(await called(plain, {"z": 1})) == '{"z": "é", "a": 1}'
            assert await called(with_picture, {"z": 1}) == {
                "structuredContent": {"a": 1},
                "content": "[image, image/png, 4 bytes]",
            }

    anyio.run(main)


@pytest.mark.parametrize(
    ("texts", "message"), [(["No such city.", "Try Oslo."], "No such city.\nTry Oslo."), ([], "'fail' failed")]
)
def test_an_error_of_the_tool_is_an_exception_with_its_text(texts: list[str], message: str) -> None:
    async def fail(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        return text_result(*texts, is_error=True)

    async def main() -> None:
        async with session_with(server_of({"fail": fail})) as session:
            (tool,) = read_tools(await mcp_tools(session))
            with pytest.raises(MCPToolError, match=message):
                await called(tool, {"z": 1})

    anyio.run(main)


def test_progress_is_a_status_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async def work(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        await context.session.report_progress(1, 4, "Digging")
        await context.session.report_progress(2)
        return text_result("done")

    async def main() -> list[str]:
        reports: list[str] = []
        async with session_with(server_of({"work": work})) as session:
            (tool,) = read_tools(await mcp_tools(session))
            await called(tool, {"z": 1}, call_context("work", on_status=reports.append))
        return reports

    with caplog.at_level(logging.INFO, "lmstudio.tools"):
        assert anyio.run(main) == ["Digging (1 of 4)", "2"]
    assert "work: Digging (1 of 4)" in caplog.text


def test_an_implementation_can_be_called_without_act() -> None:
    async def main() -> None:
        async with session_with(server_of({"echo": echo})) as session:
            (tool,) = await mcp_tools(session)
            assert await tool.implementation(z=3) == '{"z": 3}'

    anyio.run(main)


@pytest.mark.parametrize("there", ["asyncio", "trio"])
@pytest.mark.parametrize("here", ["asyncio", "trio"])
def test_the_tools_work_from_another_thread_and_event_loop(here: str, there: str) -> None:
    async def fail(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        return text_result("No.", is_error=True)

    async def main() -> Any:
        with pytest.raises(MCPToolError, match="No"):
            await called(failing, {"z": 4})
        return await called(tool, {"z": 4})

    with (
        start_blocking_portal(there) as portal,
        portal.wrap_async_context_manager(session_with(server_of({"echo": echo, "fail": fail}))) as session,
    ):
        tool, failing = read_tools(portal.call(mcp_tools, session))
        assert anyio.run(main, backend=here) == '{"z": 4}'
    with pytest.raises(lms.LMStudioRuntimeError, match="the event loop of its session has ended"):
        anyio.run(main, backend=here)


@pytest.mark.parametrize("there", ["asyncio", "trio"])
@pytest.mark.parametrize("here", ["asyncio", "trio"])
def test_a_call_that_is_given_up_ends_in_the_other_event_loop(here: str, there: str) -> None:
    ended = threading.Event()

    async def hang(arguments: dict[str, Any], context: Any) -> types.CallToolResult:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return text_result()

    async def main() -> None:
        with anyio.move_on_after(0.1):
            await called(tool, {"z": 4})
        assert await anyio.to_thread.run_sync(ended.wait, 10)

    with (
        start_blocking_portal(there) as portal,
        portal.wrap_async_context_manager(session_with(server_of({"hang": hang}))) as session,
    ):
        (tool,) = read_tools(portal.call(mcp_tools, session))
        anyio.run(main, backend=here)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)

    async def main() -> None:
        await mcp_tools(None)  # type: ignore[arg-type]  # not looked at

    with pytest.raises(lms.LMStudioRuntimeError, match=r'pip install "lmstudio\[mcp\]"'):
        anyio.run(main)
