"""What hooks of plugins work with: controllers for coroutines, and their twins `Sync...` for plain functions."""

from __future__ import annotations

from ._controllers.async_blocks import (
    CitationBlockController,
    ContentBlockController,
    DebugInfoBlockController,
    StatusBlockController,
    ToolStatusController,
)
from ._controllers.async_contexts import AsyncToolCallContext
from ._controllers.async_controllers import HookController, TokenGeneratorController, ToolsProviderController
from ._controllers.async_processing import (
    PredictionLoopHandlerController,
    ProcessingController,
    PromptPreprocessorController,
)
from ._controllers.async_tool_sessions import AsyncMultiRemoteToolUseSession
from ._controllers.sync_blocks import (
    SyncCitationBlockController,
    SyncContentBlockController,
    SyncDebugInfoBlockController,
    SyncStatusBlockController,
    SyncToolStatusController,
)
from ._controllers.sync_contexts import ToolCallContext
from ._controllers.sync_controllers import SyncHookController, SyncTokenGeneratorController, SyncToolsProviderController
from ._controllers.sync_processing import (
    SyncPredictionLoopHandlerController,
    SyncProcessingController,
    SyncPromptPreprocessorController,
)
from ._controllers.sync_tool_sessions import MultiRemoteToolUseSession
from ._runner.calls import get_tool_call_context, get_tool_call_context_async

__all__ = [
    "AsyncMultiRemoteToolUseSession",
    "AsyncToolCallContext",
    "CitationBlockController",
    "ContentBlockController",
    "DebugInfoBlockController",
    "HookController",
    "MultiRemoteToolUseSession",
    "PredictionLoopHandlerController",
    "ProcessingController",
    "PromptPreprocessorController",
    "StatusBlockController",
    "SyncCitationBlockController",
    "SyncContentBlockController",
    "SyncDebugInfoBlockController",
    "SyncHookController",
    "SyncPredictionLoopHandlerController",
    "SyncProcessingController",
    "SyncPromptPreprocessorController",
    "SyncStatusBlockController",
    "SyncTokenGeneratorController",
    "SyncToolStatusController",
    "SyncToolsProviderController",
    "TokenGeneratorController",
    "ToolCallContext",
    "ToolStatusController",
    "ToolsProviderController",
    "get_tool_call_context",
    "get_tool_call_context_async",
]
