"""The tools of a plugin, for one who uses them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from lmstudio._near import near_matches
from lmstudio._sdk_models import (
    LlmToolParametersObject,
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
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.hooks import plugin_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._sdk_models import KvConfig, LlmTool
    from lmstudio.server.plugins.hooks import Hook

__all__ = ["MAX_CALLS", "ToolCallListener", "ToolSession"]

MAX_CALLS: Final = 1000
"""Calls of one session that run at the same time."""


class ToolCallListener(Protocol):
    """Who waits for a tool call."""

    def status(self, text: str) -> None:
        """The tool says what it is doing."""

    def warn(self, text: str) -> None:
        """The tool warns."""

    def complete(self, result: Any) -> None:
        """It has ended well. Nothing follows."""

    def fail(self, error: RequestError) -> None:
        """It has failed. Nothing follows."""


class ToolSession:
    """The tools that a plugin offers under one configuration. Enter it to begin; leaving it ends what still runs."""

    def __init__(
        self,
        plugin_identifier: str,
        find_hook: Callable[[], Awaitable[Hook]],
        plugin_config: KvConfig,
        global_config: KvConfig,
        working_directory: str | None,
    ) -> None:
        self.plugin_identifier = plugin_identifier
        self.definitions: list[LlmTool] = []
        """What the plugin offers, once the session has begun."""
        self._find_hook = find_hook
        self._plugin_config = plugin_config
        self._global_config = global_config
        self._working_directory = working_directory
        self._hook: Hook | None = None
        self._id = ""
        self._calls: dict[str, ToolCallListener] = {}
        self._call_ids = itertools.count()
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[list[LlmTool]] = loop.create_future()
        self._lost: asyncio.Future[RequestError] = loop.create_future()

    async def __aenter__(self) -> Self:
        """Wait for a plugin that has just been started, and for its tools.

        Raises:
            RequestError: there is no such plugin, it provides no tools, or it failed to do so.
        """
        self._hook = await self._find_hook()
        self._id = self._hook.begin(self)
        self._hook.send(
            PluginsChannelSetToolsProviderToClientPacketInitSession(
                session_id=self._id,
                plugin_config=self._plugin_config,
                global_plugin_config=self._global_config,
                working_directory_path=self._working_directory,
            )
        )
        try:
            self.definitions = [_with_parameters(tool) for tool in await self._ready]
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def until_lost(self) -> RequestError:
        """Wait until the plugin goes; the error that says so."""
        return await asyncio.shield(self._lost)

    # Calls -----------------------------------------------------------------------------------------------------------

    def begin_call(self, name: str, arguments: Any, listener: ToolCallListener) -> str:
        """Call a tool; *listener* hears what becomes of it, until `abort_call` with the identifier returned.

        Raises:
            RequestError: the session has not begun or is over, there is no such tool, or too many calls are running.
        """
        if self._hook is None or not self._ready.done() or self._lost.done():
            raise RequestError(f"The tools of the plugin {self.plugin_identifier!r} are not ready, or not any more")
        names = [tool.function.name for tool in self.definitions]
        if name not in names:
            similar = near_matches(name, names)
            raise RequestError(
                f"The plugin {self.plugin_identifier!r} has no tool {name!r:.200}",
                suggestion=f"Call one of: {', '.join(similar or names)}." if names else None,
            )
        if len(self._calls) >= MAX_CALLS:
            raise RequestError(
                f"This session has {MAX_CALLS} tool calls running already, which is the limit",
                suggestion="Wait for some of them to end before you call more tools.",
            )
        call_id = str(next(self._call_ids))
        self._calls[call_id] = listener
        self._hook.send(
            PluginsChannelSetToolsProviderToClientPacketCallTool(
                session_id=self._id, call_id=call_id, tool_name=name, parameters=arguments
            )
        )
        return call_id

    def abort_call(self, call_id: str) -> None:
        """Stop a call; its listener hears nothing more. Too late is no error."""
        if self._calls.pop(call_id, None) is not None and self._hook is not None:
            self._hook.send(
                PluginsChannelSetToolsProviderToClientPacketAbortToolCall(session_id=self._id, call_id=call_id)
            )

    async def call(
        self,
        name: str,
        arguments: Any,
        *,
        on_status: Callable[[str], object] = lambda _: None,
        on_warn: Callable[[str], object] = lambda _: None,
    ) -> Any:
        """The result of a tool, as JSON. Cancelling this stops the tool.

        Raises:
            RequestError: the tool failed, there is no such tool, or the plugin has gone.
        """
        listener = _Waiting(on_status, on_warn)
        call_id = self.begin_call(name, arguments, listener)
        try:
            return await listener.result
        finally:
            self.abort_call(call_id)

    # From the hook ---------------------------------------------------------------------------------------------------

    def receive(self, packet: Any) -> None:
        """The plugin has answered."""
        match packet:
            case PluginsChannelSetToolsProviderToServerPacketSessionInitialized(tool_definitions=definitions):
                if not self._ready.done():
                    self._ready.set_result(definitions)
            case PluginsChannelSetToolsProviderToServerPacketSessionInitializationFailed(error=error):
                # The plugin has forgotten the session: there is nothing to discard.
                self.fail(plugin_error(self.plugin_identifier, "provide its tools", error))
            case _:
                self._tell(packet)

    def receive_invalid(self, packet: dict[str, Any], error: RequestError) -> None:
        """The plugin has answered with something that cannot be used."""
        listener = self._calls.pop(str(packet.get("callId")), None)
        if listener is not None:
            listener.fail(error)
        elif not self._ready.done():
            self._ready.set_exception(error)

    def _tell(self, packet: Any) -> None:
        """Give *packet* to whom it concerns, if the call was not aborted."""
        listener = self._calls.get(packet.call_id)
        if listener is None:
            return
        match packet:
            case PluginsChannelSetToolsProviderToServerPacketToolCallStatus(status_text=text):
                listener.status(text)
            case PluginsChannelSetToolsProviderToServerPacketToolCallWarn(warn_text=text):
                listener.warn(text)
            case PluginsChannelSetToolsProviderToServerPacketToolCallComplete(call_id=call_id, result=result):
                del self._calls[call_id]
                listener.complete(result)
            case PluginsChannelSetToolsProviderToServerPacketToolCallError(call_id=call_id, error=error):
                del self._calls[call_id]
                listener.fail(plugin_error(self.plugin_identifier, "run a tool", error))

    def fail(self, error: RequestError) -> None:
        """The plugin has gone."""
        if not self._ready.done():
            self._ready.set_exception(error)
        if not self._lost.done():
            self._lost.set_result(error)
        calls, self._calls = self._calls, {}
        for listener in calls.values():
            listener.fail(error)

    def _leave(self) -> None:
        if self._hook is not None:
            self._hook.end(self._id)
            if not self._lost.done():
                self._hook.send(PluginsChannelSetToolsProviderToClientPacketDiscardSession(session_id=self._id))
        self._calls.clear()
        self._hook = None
        if self._ready.done() and not self._ready.cancelled():
            self._ready.exception()  # seen, even if a cancellation came at the same moment


class _Waiting:
    """A caller that waits for a result."""

    def __init__(self, on_status: Callable[[str], object], on_warn: Callable[[str], object]) -> None:
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._on_status = on_status
        self._on_warn = on_warn

    def status(self, text: str) -> None:
        self._on_status(text)

    def warn(self, text: str) -> None:
        self._on_warn(text)

    def complete(self, result: Any) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def fail(self, error: RequestError) -> None:
        if not self.result.done():
            self.result.set_exception(error)


def _with_parameters(tool: LlmTool) -> LlmTool:
    """*tool* with a schema: lmstudio.js cannot use in `act` what has none."""
    if tool.function.parameters is not None:
        return tool
    function = msgspec.structs.replace(tool.function, parameters=LlmToolParametersObject(properties={}))
    return msgspec.structs.replace(tool, function=function)
