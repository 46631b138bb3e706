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

from . import config_schemas, hooks, runner, sdk_api
from ._definition import PluginContext
from .config_schemas import (
    BaseConfigSchema,
    ConfigFieldParams,
    ConfigSchematics,
    ConfigSchematicsBuilder,
    ConfigSchematicsField,
    FieldDependency,
    KVConfigBuilder,
    KVFieldValueTypeLibrary,
    ParsedConfig,
    SelectOption,
    SliderRange,
    basic_kv_value_types_library,
    config_field,
    create_config_schematics,
    depends_on,
    kv_value_types_library,
    parse_config_schema,
    schematics_of,
)
from .hooks import (
    AsyncMultiRemoteToolUseSession,
    AsyncToolCallContext,
    CitationBlockController,
    ContentBlockController,
    DebugInfoBlockController,
    HookController,
    MultiRemoteToolUseSession,
    PredictionLoopHandlerController,
    ProcessingController,
    PromptPreprocessorController,
    StatusBlockController,
    SyncCitationBlockController,
    SyncContentBlockController,
    SyncDebugInfoBlockController,
    SyncHookController,
    SyncPredictionLoopHandlerController,
    SyncProcessingController,
    SyncPromptPreprocessorController,
    SyncStatusBlockController,
    SyncTokenGeneratorController,
    SyncToolsProviderController,
    SyncToolStatusController,
    TokenGeneratorController,
    ToolCallContext,
    ToolsProviderController,
    ToolStatusController,
    get_tool_call_context,
    get_tool_call_context_async,
)
from .runner import MAX_PARALLEL_TOOL_CALLS, run_plugin, run_plugin_async
from .sdk_api import LMStudioPluginInitError, LMStudioPluginRuntimeError

__all__ = [
    "MAX_PARALLEL_TOOL_CALLS",
    "AsyncMultiRemoteToolUseSession",
    "AsyncToolCallContext",
    "BaseConfigSchema",
    "CitationBlockController",
    "ConfigFieldParams",
    "ConfigSchematics",
    "ConfigSchematicsBuilder",
    "ConfigSchematicsField",
    "ContentBlockController",
    "DebugInfoBlockController",
    "FieldDependency",
    "HookController",
    "KVConfigBuilder",
    "KVFieldValueTypeLibrary",
    "LMStudioPluginInitError",
    "LMStudioPluginRuntimeError",
    "MultiRemoteToolUseSession",
    "ParsedConfig",
    "PluginContext",
    "PredictionLoopHandlerController",
    "ProcessingController",
    "PromptPreprocessorController",
    "SelectOption",
    "SliderRange",
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
    "basic_kv_value_types_library",
    "config_field",
    "config_schemas",
    "create_config_schematics",
    "depends_on",
    "get_tool_call_context",
    "get_tool_call_context_async",
    "hooks",
    "kv_value_types_library",
    "parse_config_schema",
    "run_plugin",
    "run_plugin_async",
    "runner",
    "schematics_of",
    "sdk_api",
]
