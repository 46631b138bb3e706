"""What hooks of plugins work with."""

from __future__ import annotations

from ._controllers.async_blocks import StatusBlockController
from ._controllers.async_contexts import AsyncToolCallContext
from ._controllers.async_controllers import TokenGeneratorController, ToolsProviderController
from ._controllers.async_processing import PredictionLoopHandlerController, PromptPreprocessorController
from ._controllers.sync_contexts import ToolCallContext
from ._runner.calls import get_tool_call_context, get_tool_call_context_async

__all__ = [
    "AsyncToolCallContext",
    "PredictionLoopHandlerController",
    "PromptPreprocessorController",
    "StatusBlockController",
    "TokenGeneratorController",
    "ToolCallContext",
    "ToolsProviderController",
    "get_tool_call_context",
    "get_tool_call_context_async",
]
