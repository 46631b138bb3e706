"""The hook that provides tools: sessions, and the calls in them."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._near import near_matches
from lmstudio._sdk_models import (
    LlmTool,
    PluginsChannelSetToolsProviderToClientPacketAbortToolCall,
    PluginsChannelSetToolsProviderToClientPacketCallTool,
    PluginsChannelSetToolsProviderToClientPacketDiscardSession,
    PluginsChannelSetToolsProviderToClientPacketInitSession,
    PluginsChannelSetToolsProviderToServerPacketSessionInitializationFailed,
    PluginsChannelSetToolsProviderToServerPacketSessionInitialized,
    PluginsChannelSetToolsProviderToServerPacketToolCallComplete,
    PluginsChannelSetToolsProviderToServerPacketToolCallError,
    PluginsChannelSetToolsProviderToServerPacketToolCallStatus,
    PluginsChannelSetToolsProviderToServerPacketToolCallWarn,
)
from lmstudio._tool_definitions import ToolCallContext
from lmstudio._tool_reading import Tool, read_tools
from lmstudio._tool_results import result_text
from lmstudio.errors import LMStudioTimeoutError
from lmstudio.plugin.sdk_api import LMStudioPluginRuntimeError

from .calls import enter_tool_call
from .outlet import HookChannel, Outlet
from .work import is_coroutine, run_user_code

if TYPE_CHECKING:
    from .running import RunningPlugin

__all__ = ["ToolsHook"]


class ToolsHook:
    """Serves the channel of `list_provided_tools(ctl)`."""

    def __init__(self, plugin: RunningPlugin, channel: HookChannel) -> None:
        self._plugin = plugin
        self._channel = channel
        self._sessions: dict[str, _Session] = {}

    async def serve(self) -> None:
        """Work until the channel ends, which raises why.

        Raises:
            LMStudioError: the host has gone, or does not want the plugin any more.
        """
        try:
            while True:
                self._receive(await self._channel.receive())
        finally:
            self._channel.close()
            works = [work for session in self._sessions.values() for work in session.discard()]
            if works:
                await asyncio.wait(works)

    def _receive(self, packet: Any) -> None:
        session = self._sessions.get(packet.session_id)
        match packet:
            case PluginsChannelSetToolsProviderToClientPacketInitSession():
                if session is None:
                    self._sessions[packet.session_id] = _Session(self._plugin, packet, self._channel)
            case PluginsChannelSetToolsProviderToClientPacketDiscardSession():
                if session is not None:
                    del self._sessions[packet.session_id]
                    session.discard()
            case PluginsChannelSetToolsProviderToClientPacketCallTool():
                if session is not None:
                    session.call(packet)
                else:
                    error = LMStudioPluginRuntimeError("There is no such session; it may have been discarded.")
                    what = f"The call of the tool {packet.tool_name!r}"
                    self._channel.send(_failed(packet, self._plugin.fault(what, error, tool=packet.tool_name)))
            case PluginsChannelSetToolsProviderToClientPacketAbortToolCall():
                if session is not None:
                    session.abort(packet.call_id)


class _Session:
    """The tools for one who uses them, under one configuration."""

    def __init__(
        self,
        plugin: RunningPlugin,
        packet: PluginsChannelSetToolsProviderToClientPacketInitSession,
        channel: HookChannel,
    ) -> None:
        self._plugin = plugin
        self._id = packet.session_id
        self._channel = channel
        self._outlet = Outlet(channel.send)
        self._tools: dict[str, Tool] = {}
        self._free = asyncio.Semaphore(plugin.max_parallel_tool_calls)
        self._calls: dict[str, tuple[Outlet, asyncio.Task[None]]] = {}
        self._numbers = count()
        self._works: set[asyncio.Task[None]] = set()
        self._begin(self._provide(packet))

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)
        return task

    def discard(self) -> list[asyncio.Task[None]]:
        """End everything, and say nothing more. Returns what may still need time to end."""
        self._outlet.end()
        self._outlet.signal.abort()
        for outlet, _ in self._calls.values():
            outlet.end()
            outlet.signal.abort()
        works = [*self._works]
        for work in works:
            work.cancel()
        return works

    async def _provide(self, packet: PluginsChannelSetToolsProviderToClientPacketInitSession) -> None:
        """Ask the plugin for its tools, and tell the host."""
        function = self._plugin.definition.hooks["list_provided_tools"]
        in_loop = is_coroutine(function)
        try:
            controller = self._plugin.controller("list_provided_tools", packet, self._outlet, in_loop=in_loop)
            tools = read_tools(await run_user_code(partial(function, controller), in_loop=in_loop))
            for tool in tools:
                if tool.implementation is None:
                    raise LMStudioPluginRuntimeError(f"The tool {tool.name!r} has no implementation.")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            reported = self._plugin.fault(f"The tools provider of the plugin {self._plugin.identifier!r}", error)
            self._outlet.send(
                PluginsChannelSetToolsProviderToServerPacketSessionInitializationFailed(
                    session_id=self._id, error=reported
                )
            )
            return
        self._tools = {tool.name: tool for tool in tools}
        definitions = [LlmTool.from_dict(tool.definition) for tool in tools]
        self._outlet.send(
            PluginsChannelSetToolsProviderToServerPacketSessionInitialized(
                session_id=self._id, tool_definitions=definitions
            )
        )

    def call(self, packet: PluginsChannelSetToolsProviderToClientPacketCallTool) -> None:
        """Begin a call, or let it wait for others to end."""
        outlet = Outlet(self._channel.send)
        work = self._begin(self._call(packet, outlet))
        self._calls[packet.call_id] = outlet, work
        work.add_done_callback(lambda _: self._calls.pop(packet.call_id))

    def abort(self, call_id: str) -> None:
        """Stop a call, and say nothing more about it. Too late is no error."""
        if call_id in self._calls:
            outlet, work = self._calls[call_id]
            outlet.end()
            outlet.signal.abort()
            work.cancel()

    async def _call(self, packet: PluginsChannelSetToolsProviderToClientPacketCallTool, outlet: Outlet) -> None:
        try:
            async with self._free:
                value = await self._run(packet, outlet)
            # Any JSON, which is what the text is already.
            result = msgspec.Raw(result_text(value).encode())
            outlet.end(
                PluginsChannelSetToolsProviderToServerPacketToolCallComplete(
                    session_id=self._id, call_id=packet.call_id, result=result
                )
            )
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            what = f"The tool {packet.tool_name!r} of the plugin {self._plugin.identifier!r}"
            outlet.end(_failed(packet, self._plugin.fault(what, error, tool=packet.tool_name)))
            if isinstance(error, LMStudioTimeoutError):
                outlet.signal.abort()  # a plain function is still at work

    async def _run(self, packet: PluginsChannelSetToolsProviderToClientPacketCallTool, outlet: Outlet) -> Any:
        self._plugin.called(f"the tool {packet.tool_name!r}", tool=packet.tool_name)
        tool = self._tools.get(packet.tool_name)
        if tool is None:
            similar = near_matches(packet.tool_name, [*self._tools]) or [*self._tools]
            raise LMStudioPluginRuntimeError(f"There is no such tool. There is: {', '.join(similar) or 'none'}.")
        arguments = tool.check_arguments(packet.parameters)
        context = self._context(packet, outlet, tool)
        enter_tool_call(packet, outlet, in_loop=tool.is_coroutine)
        call = partial(tool.call, arguments, context)
        return await run_user_code(call, in_loop=tool.is_coroutine, timeout=tool.timeout)

    def _context(
        self, packet: PluginsChannelSetToolsProviderToClientPacketCallTool, outlet: Outlet, tool: Tool
    ) -> ToolCallContext:
        """What tools get that are written for `act`."""
        about = {"session_id": self._id, "call_id": packet.call_id}

        def status(text: str) -> None:
            outlet.send(PluginsChannelSetToolsProviderToServerPacketToolCallStatus(status_text=text, **about))

        def warn(text: str) -> None:
            outlet.send(PluginsChannelSetToolsProviderToServerPacketToolCallWarn(warn_text=text, **about))

        return ToolCallContext(next(self._numbers), tool.name, outlet.signal, on_status=status, on_warn=warn)


def _failed(
    packet: PluginsChannelSetToolsProviderToClientPacketCallTool, error: Any
) -> PluginsChannelSetToolsProviderToServerPacketToolCallError:
    return PluginsChannelSetToolsProviderToServerPacketToolCallError(
        session_id=packet.session_id, call_id=packet.call_id, error=error
    )
