"""What a running tool of a plugin knows about its call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from lmstudio.plugin._controllers.async_contexts import AsyncToolCallContext
from lmstudio.plugin._controllers.sync_contexts import ToolCallContext
from lmstudio.plugin.sdk_api import LMStudioPluginRuntimeError

if TYPE_CHECKING:
    from lmstudio._sdk_models import PluginsChannelSetToolsProviderToClientPacketCallTool

    from .outlet import Outlet

__all__ = ["enter_tool_call", "get_tool_call_context", "get_tool_call_context_async"]

_current: ContextVar[ToolCallContext | AsyncToolCallContext] = ContextVar("lmstudio_plugin_tool_call")


def enter_tool_call(
    packet: PluginsChannelSetToolsProviderToClientPacketCallTool, outlet: Outlet, *, in_loop: bool
) -> None:
    """From now on the functions below return something, in this task and in threads that copy its context."""
    kind = AsyncToolCallContext if in_loop else ToolCallContext
    _current.set(kind(packet.session_id, packet.call_id, outlet.send, outlet.signal))


def get_tool_call_context() -> ToolCallContext:
    """The call of the tool that is running here, at any depth below the tool, which is a plain function.

    Raises:
        LMStudioPluginRuntimeError: no tool of a plugin is running here, or it is a coroutine.
    """
    context = _current_call()
    if isinstance(context, ToolCallContext):
        return context
    raise LMStudioPluginRuntimeError("This tool is a coroutine: use get_tool_call_context_async().")


def get_tool_call_context_async() -> AsyncToolCallContext:
    """As `get_tool_call_context`, for tools that are coroutine functions."""
    context = _current_call()
    if isinstance(context, AsyncToolCallContext):
        return context
    raise LMStudioPluginRuntimeError("This tool is a plain function: use get_tool_call_context().")


def _current_call() -> ToolCallContext | AsyncToolCallContext:
    context = _current.get(None)
    if context is None:
        raise LMStudioPluginRuntimeError(
            "No tool call of a plugin is running here. A thread that the tool has started itself is not part of it."
        )
    return context
