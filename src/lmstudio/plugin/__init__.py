"""Plugins of LM Studio in Python.

::

    my-plugin/
        manifest.json       {"type": "plugin", "runner": "python", "owner": "me", "name": "my-plugin"}
        src/plugin.py

`src/plugin.py` has functions with these names, each of them plain or a coroutine:

- `preprocess_prompt(ctl, message)` sees each message of the user, and may change it;
- `list_provided_tools(ctl)` returns tools for models;
- `generate_tokens(ctl, history)` writes answers in place of a model;
- `handle_prediction_loop(ctl)` answers in place of the application;

and settings in classes `ConfigSchema` and `GlobalConfigSchema`. `python -m lmstudio.plugin --dev my-plugin` runs it in
LM Studio.
"""

from ._definition import PluginContext
from .config_schemas import BaseConfigSchema, config_field
from .hooks import (
    AsyncToolCallContext,
    PredictionLoopHandlerController,
    PromptPreprocessorController,
    StatusBlockController,
    TokenGeneratorController,
    ToolCallContext,
    ToolsProviderController,
    get_tool_call_context,
    get_tool_call_context_async,
)
from .runner import MAX_PARALLEL_TOOL_CALLS, run_plugin, run_plugin_async
from .sdk_api import LMStudioPluginInitError, LMStudioPluginRuntimeError

__all__ = [
    "MAX_PARALLEL_TOOL_CALLS",
    "AsyncToolCallContext",
    "BaseConfigSchema",
    "LMStudioPluginInitError",
    "LMStudioPluginRuntimeError",
    "PluginContext",
    "PredictionLoopHandlerController",
    "PromptPreprocessorController",
    "StatusBlockController",
    "TokenGeneratorController",
    "ToolCallContext",
    "ToolsProviderController",
    "config_field",
    "get_tool_call_context",
    "get_tool_call_context_async",
    "run_plugin",
    "run_plugin_async",
]
