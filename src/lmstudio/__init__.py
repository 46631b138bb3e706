"""Python SDK for LM Studio, over its native WebSocket protocol.

::

    import lmstudio as lms

    model = lms.llm()  # any loaded model of the LM Studio on this machine
    print(model.respond("What is the capital of Norway?"))

Quick start: the module-level functions. Programs: `Client` (synchronous) or `AsyncClient`. Names are loaded on first
use, so `import lmstudio` costs next to nothing and touches neither the network nor the environment.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    # Modules that are attributes without an import of their own.
    from . import (  # noqa: F401
        async_api,
        contract,
        convenience,
        errors,
        events,
        history,
        json_api,
        logs,
        manifests,
        results,
        schemas,
        sdk_api,
        settings,
        sync_api,
        tools,
    )
    from ._abort import AbortSignal
    from ._local_files import LocalFileInput
    from ._ops.act_options import ActCallbacks
    from ._ops.diagnostics import LogEventType
    from ._ops.downloads import DownloadFinalizedCallback, DownloadProgressCallback
    from ._ops.files import ParseDocumentResult, RetrievalResult, RetrievalResultEntry
    from ._ops.guard import GuardToolCallController
    from ._ops.hub import AuthenticationCode
    from ._ops.loading import AnyLoadConfig, LoadProgressCallback
    from ._ops.prediction_options import (
        PredictionFirstTokenCallback,
        PredictionFragmentCallback,
        PredictionMessageCallback,
        PromptProcessingCallback,
        ToolRequestCallbacks,
    )
    from ._ops.runtime import EngineSpecifierInput, HardwareSurveyScopeInput
    from ._ops.system import LMStudioVersion, ServiceInfo
    from ._retries import RetryConfig
    from ._runtime import UnknownItem
    from ._sdk_models import (
        AnyChatMessage,
        ArtifactArtifactDependency,
        ArtifactDependency,
        ArtifactDownloadPlan,
        ArtifactDownloadPlanDownloadOptionInfo,
        ArtifactDownloadPlanModelInfo,
        ArtifactDownloadPlanNode,
        ArtifactDownloadPlanNodeArtifact,
        ArtifactDownloadPlanNodeModel,
        ArtifactModelDependency,
        AssistantResponse,
        AssistantResponseContent,
        AuthenticationStatus,
        ChatHistoryData,
        DiagnosticsLogEvent,
        DiagnosticsLogEventData,
        DiagnosticsLogEventDataLlmPredictionInput,
        DiagnosticsLogEventDataLlmPredictionOutput,
        DiagnosticsLogEventDataRuntimeLog,
        DiagnosticsLogEventDataServerLog,
        DocumentParsingLibraryIdentifier,
        DownloadableRuntimeEngineExtension,
        DownloadableRuntimeExtensionInfo,
        DownloadableRuntimeFrameworkExtension,
        DownloadProgressUpdate,
        EmbeddingLoadModelConfig,
        EmbeddingModelInfo,
        EmbeddingModelInstanceInfo,
        EstimatedResourcesUsage,
        FileHandle,
        FileType,
        FuzzyFindStaffPickResult,
        GpuSetting,
        HubModel,
        HuggingFaceModelDownloadSource,
        KvConfig,
        KvConfigField,
        LlmApplyPromptTemplateOpts,
        LlmInfo,
        LlmInstanceInfo,
        LlmLoadModelConfig,
        LlmPredictionConfig,
        LlmPredictionFragment,
        LlmPredictionStats,
        LmLinkStatusResult,
        LocalArtifactFileList,
        LogLevel,
        ModelDownloadSource,
        ModelFormatName,
        ModelInfo,
        ModelInstanceInfo,
        ModelProcessingState,
        ModelQuery,
        ModelSpecifier,
        ModelSpecifierInstanceReference,
        ModelSpecifierQuery,
        PluginSandboxSettings,
        Quantization,
        RuntimeEngineInfo,
        RuntimeEngineSpecifier,
        RuntimeHardwareSurveyEngine,
        RuntimeHardwareSurveyResult,
        RuntimeHardwareSurveyScope,
        RuntimeHardwareSurveyScopeAll,
        RuntimeHardwareSurveyScopeCustom,
        RuntimeHardwareSurveyScopeSelected,
        SerializedLMSExtendedError,
        SystemPrompt,
        SystemPromptContent,
        TextData,
        ToolCallRequest,
        ToolCallRequestData,
        ToolCallResultData,
        ToolResultMessage,
        UserMessage,
        UserMessageContent,
    )
    from ._sdk_models.dicts import (
        ChatHistoryDataDict,
        EmbeddingLoadModelConfigDict,
        FileHandleDict,
        LlmLoadModelConfigDict,
        LlmPredictionConfigDict,
        ModelQueryDict,
        ModelSpecifierDict,
        TextDataDict,
        UserMessageDict,
    )
    from ._specifiers import AnyModelSpecifier
    from ._surface.async_diagnostics import AsyncLogStream
    from ._surface.async_planner import AsyncArtifactDownloadPlanner
    from ._surface.async_repository import AsyncAvailableModel, AsyncModelDownloadOption
    from ._surface.sync_diagnostics import LogStream
    from ._surface.sync_planner import ArtifactDownloadPlanner
    from ._surface.sync_repository import AvailableModel, ModelDownloadOption
    from ._text import text
    from ._timeouts import Timeout, TimeoutInput
    from .async_api import (
        AnyAsyncDownloadedModel,
        AsyncClient,
        AsyncDownloadedEmbeddingModel,
        AsyncDownloadedLlm,
        AsyncEmbeddingModel,
        AsyncLLM,
        AsyncModelHandle,
        AsyncPredictionStream,
    )
    from .contract import AsyncSdkContract, ChatMessage, ChatRole, SdkContract
    from .convenience import (
        close_default_client,
        configure_default_client,
        embedding_model,
        get_default_client,
        get_sync_api_timeout,
        list_downloaded_models,
        list_loaded_models,
        llm,
        prepare_file,
        prepare_image,
        set_sync_api_timeout,
    )
    from .errors import (
        ConnectionPhase,
        ErrorType,
        LMStudioAuthenticationError,
        LMStudioCancelledError,
        LMStudioChannelClosedError,
        LMStudioClientError,
        LMStudioConnectionError,
        LMStudioConnectTimeoutError,
        LMStudioContextOverflowError,
        LMStudioError,
        LMStudioFileNotFoundError,
        LMStudioModelNotFoundError,
        LMStudioOSError,
        LMStudioPredictionError,
        LMStudioPresetNotFoundError,
        LMStudioProtocolError,
        LMStudioRateLimitError,
        LMStudioRuntimeError,
        LMStudioServerError,
        LMStudioStructuredOutputError,
        LMStudioTimeoutError,
        LMStudioUnknownMessageWarning,
        LMStudioValidationError,
        LMStudioValueError,
        LMStudioWebsocketError,
        ToolCallRequestError,
        ToolCallRequestInvalidArgumentsError,
        ToolCallRequestInvalidFormatError,
        ToolCallRequestInvalidNameError,
    )
    from .events import PredictionEvent
    from .history import AnyChatMessageDict, Chat, ChatInput, FileHandleInput, make_message
    from .manifests import ArtifactManifestBase, PluginManifest
    from .results import (
        ActResult,
        ModelLoadResult,
        PredictionResult,
        PredictionRoundResult,
        PromptProcessingProgress,
        TokenUsage,
        ToolCallRequestInfo,
    )
    from .schemas import (
        AnyLMStudioStruct,
        BaseModel,
        DictObject,
        DictSchema,
        ModelSchema,
        ResponseSchema,
        ValidationError,
    )
    from .settings import Settings
    from .sync_api import (
        LLM,
        AnyDownloadedModel,
        Client,
        DownloadedEmbeddingModel,
        DownloadedLlm,
        EmbeddingModel,
        PredictionStream,
        SyncModelHandle,
    )
    from .tools import (
        FunctionTool,
        RawFunctionTool,
        ToolCallContext,
        ToolDefinition,
        ToolFunctionDef,
        ToolFunctionDefDict,
        UnimplementedRawFunctionTool,
        get_tool_call_context,
        raw_function_tool,
        tool,
        unimplemented_raw_function_tool,
    )

# Module -> the public names that it defines; `__getattr__` below loads a name when it is first used.
_EXPORTS = {
    "_local_files": "LocalFileInput",
    "_ops.files": "ParseDocumentResult RetrievalResult RetrievalResultEntry",
    "_ops.hub": "AuthenticationCode",
    "_ops.loading": "AnyLoadConfig LoadProgressCallback",
    "_specifiers": "AnyModelSpecifier",
    "_abort": "AbortSignal",
    "_retries": "RetryConfig",
    "_runtime": "UnknownItem",
    "_timeouts": "Timeout TimeoutInput",
    "_ops.act_options": "ActCallbacks",
    "_ops.guard": "GuardToolCallController",
    "_ops.prediction_options": (
        "PredictionFirstTokenCallback PredictionFragmentCallback PredictionMessageCallback PromptProcessingCallback "
        "ToolRequestCallbacks"
    ),
    "_ops.diagnostics": "LogEventType",
    "_ops.downloads": "DownloadFinalizedCallback DownloadProgressCallback",
    "_ops.runtime": "EngineSpecifierInput HardwareSurveyScopeInput",
    "_ops.system": "LMStudioVersion ServiceInfo",
    "_sdk_models": (
        "AnyChatMessage AssistantResponse AssistantResponseContent ChatHistoryData DiagnosticsLogEvent "
        "DiagnosticsLogEventData DiagnosticsLogEventDataLlmPredictionInput "
        "DiagnosticsLogEventDataLlmPredictionOutput DiagnosticsLogEventDataRuntimeLog "
        "DiagnosticsLogEventDataServerLog DocumentParsingLibraryIdentifier DownloadProgressUpdate "
        "DownloadableRuntimeEngineExtension DownloadableRuntimeExtensionInfo DownloadableRuntimeFrameworkExtension "
        "EmbeddingLoadModelConfig EmbeddingModelInfo EmbeddingModelInstanceInfo EstimatedResourcesUsage FileHandle "
        "FileType GpuSetting KvConfig KvConfigField LlmApplyPromptTemplateOpts LlmInfo LlmInstanceInfo "
        "LlmLoadModelConfig LlmPredictionConfig LlmPredictionFragment LlmPredictionStats LogLevel ModelFormatName "
        "ModelInfo ModelInstanceInfo ModelProcessingState ModelQuery ModelSpecifier "
        "ModelSpecifierInstanceReference ModelSpecifierQuery Quantization RuntimeEngineInfo RuntimeEngineSpecifier "
        "RuntimeHardwareSurveyEngine RuntimeHardwareSurveyResult RuntimeHardwareSurveyScope "
        "RuntimeHardwareSurveyScopeAll RuntimeHardwareSurveyScopeCustom RuntimeHardwareSurveyScopeSelected "
        "SerializedLMSExtendedError SystemPrompt SystemPromptContent TextData ToolCallRequest ToolCallRequestData "
        "ToolCallResultData ToolResultMessage UserMessage UserMessageContent "
        "ArtifactArtifactDependency ArtifactDependency ArtifactDownloadPlan ArtifactDownloadPlanDownloadOptionInfo "
        "ArtifactDownloadPlanModelInfo ArtifactDownloadPlanNode ArtifactDownloadPlanNodeArtifact "
        "ArtifactDownloadPlanNodeModel ArtifactModelDependency AuthenticationStatus FuzzyFindStaffPickResult HubModel "
        "HuggingFaceModelDownloadSource LmLinkStatusResult LocalArtifactFileList ModelDownloadSource "
        "PluginSandboxSettings"
    ),
    "_sdk_models.dicts": (
        "ChatHistoryDataDict EmbeddingLoadModelConfigDict FileHandleDict LlmLoadModelConfigDict "
        "LlmPredictionConfigDict ModelQueryDict ModelSpecifierDict TextDataDict UserMessageDict"
    ),
    "_surface.async_planner": "AsyncArtifactDownloadPlanner",
    "_surface.async_diagnostics": "AsyncLogStream",
    "_surface.sync_diagnostics": "LogStream",
    "_surface.async_repository": "AsyncAvailableModel AsyncModelDownloadOption",
    "_surface.sync_planner": "ArtifactDownloadPlanner",
    "_surface.sync_repository": "AvailableModel ModelDownloadOption",
    "async_api": (
        "AnyAsyncDownloadedModel AsyncClient AsyncDownloadedEmbeddingModel AsyncDownloadedLlm AsyncEmbeddingModel "
        "AsyncLLM AsyncModelHandle AsyncPredictionStream"
    ),
    "_text": "text",
    "contract": "AsyncSdkContract ChatMessage ChatRole SdkContract",
    "convenience": (
        "close_default_client configure_default_client embedding_model get_default_client get_sync_api_timeout "
        "list_downloaded_models list_loaded_models llm prepare_file prepare_image set_sync_api_timeout"
    ),
    "errors": (
        "ConnectionPhase ErrorType "
        "LMStudioAuthenticationError LMStudioCancelledError LMStudioChannelClosedError LMStudioClientError "
        "LMStudioConnectTimeoutError LMStudioConnectionError LMStudioContextOverflowError "
        "LMStudioError LMStudioFileNotFoundError LMStudioModelNotFoundError LMStudioOSError LMStudioPredictionError "
        "LMStudioPresetNotFoundError LMStudioProtocolError LMStudioRateLimitError LMStudioRuntimeError "
        "LMStudioServerError LMStudioStructuredOutputError LMStudioTimeoutError LMStudioUnknownMessageWarning "
        "LMStudioValidationError LMStudioValueError LMStudioWebsocketError "
        "ToolCallRequestError ToolCallRequestInvalidArgumentsError ToolCallRequestInvalidFormatError "
        "ToolCallRequestInvalidNameError"
    ),
    "events": "PredictionEvent",
    "history": "AnyChatMessageDict Chat ChatInput FileHandleInput make_message",
    "manifests": "ArtifactManifestBase PluginManifest",
    "results": (
        "ActResult ModelLoadResult PredictionResult PredictionRoundResult PromptProcessingProgress TokenUsage "
        "ToolCallRequestInfo"
    ),
    "schemas": "AnyLMStudioStruct BaseModel DictObject DictSchema ModelSchema ResponseSchema ValidationError",
    "settings": "Settings",
    "sync_api": (
        "LLM AnyDownloadedModel Client DownloadedEmbeddingModel DownloadedLlm EmbeddingModel PredictionStream "
        "SyncModelHandle"
    ),
    "tools": (
        "FunctionTool RawFunctionTool ToolCallContext ToolDefinition ToolFunctionDef ToolFunctionDefDict "
        "UnimplementedRawFunctionTool get_tool_call_context raw_function_tool tool unimplemented_raw_function_tool"
    ),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names.split()}
# As in the official package, public modules are attributes without an import of their own.
_MODULES = {"json_api", "logs", "sdk_api", *(module for module in _EXPORTS if not module.startswith("_"))}
# What the annotations of clients name, and clients load when it is used.
_ON_DEMAND = ("_surface.async_files", "_surface.async_runtime", "_surface.sync_files", "_surface.sync_runtime")

__all__ = [
    "LLM",
    "AbortSignal",
    "ActCallbacks",
    "ActResult",
    "AnyAsyncDownloadedModel",
    "AnyChatMessage",
    "AnyChatMessageDict",
    "AnyDownloadedModel",
    "AnyLMStudioStruct",
    "AnyLoadConfig",
    "AnyModelSpecifier",
    "ArtifactArtifactDependency",
    "ArtifactDependency",
    "ArtifactDownloadPlan",
    "ArtifactDownloadPlanDownloadOptionInfo",
    "ArtifactDownloadPlanModelInfo",
    "ArtifactDownloadPlanNode",
    "ArtifactDownloadPlanNodeArtifact",
    "ArtifactDownloadPlanNodeModel",
    "ArtifactDownloadPlanner",
    "ArtifactManifestBase",
    "ArtifactModelDependency",
    "AssistantResponse",
    "AssistantResponseContent",
    "AsyncArtifactDownloadPlanner",
    "AsyncAvailableModel",
    "AsyncClient",
    "AsyncDownloadedEmbeddingModel",
    "AsyncDownloadedLlm",
    "AsyncEmbeddingModel",
    "AsyncLLM",
    "AsyncLogStream",
    "AsyncModelDownloadOption",
    "AsyncModelHandle",
    "AsyncPredictionStream",
    "AsyncSdkContract",
    "AuthenticationCode",
    "AuthenticationStatus",
    "AvailableModel",
    "BaseModel",
    "Chat",
    "ChatHistoryData",
    "ChatHistoryDataDict",
    "ChatInput",
    "ChatMessage",
    "ChatRole",
    "Client",
    "ConnectionPhase",
    "DiagnosticsLogEvent",
    "DiagnosticsLogEventData",
    "DiagnosticsLogEventDataLlmPredictionInput",
    "DiagnosticsLogEventDataLlmPredictionOutput",
    "DiagnosticsLogEventDataRuntimeLog",
    "DiagnosticsLogEventDataServerLog",
    "DictObject",
    "DictSchema",
    "DocumentParsingLibraryIdentifier",
    "DownloadFinalizedCallback",
    "DownloadProgressCallback",
    "DownloadProgressUpdate",
    "DownloadableRuntimeEngineExtension",
    "DownloadableRuntimeExtensionInfo",
    "DownloadableRuntimeFrameworkExtension",
    "DownloadedEmbeddingModel",
    "DownloadedLlm",
    "EmbeddingLoadModelConfig",
    "EmbeddingLoadModelConfigDict",
    "EmbeddingModel",
    "EmbeddingModelInfo",
    "EmbeddingModelInstanceInfo",
    "EngineSpecifierInput",
    "ErrorType",
    "EstimatedResourcesUsage",
    "FileHandle",
    "FileHandleDict",
    "FileHandleInput",
    "FileType",
    "FunctionTool",
    "FuzzyFindStaffPickResult",
    "GpuSetting",
    "GuardToolCallController",
    "HardwareSurveyScopeInput",
    "HubModel",
    "HuggingFaceModelDownloadSource",
    "KvConfig",
    "KvConfigField",
    "LMStudioAuthenticationError",
    "LMStudioCancelledError",
    "LMStudioChannelClosedError",
    "LMStudioClientError",
    "LMStudioConnectTimeoutError",
    "LMStudioConnectionError",
    "LMStudioContextOverflowError",
    "LMStudioError",
    "LMStudioFileNotFoundError",
    "LMStudioModelNotFoundError",
    "LMStudioOSError",
    "LMStudioPredictionError",
    "LMStudioPresetNotFoundError",
    "LMStudioProtocolError",
    "LMStudioRateLimitError",
    "LMStudioRuntimeError",
    "LMStudioServerError",
    "LMStudioStructuredOutputError",
    "LMStudioTimeoutError",
    "LMStudioUnknownMessageWarning",
    "LMStudioValidationError",
    "LMStudioValueError",
    "LMStudioVersion",
    "LMStudioWebsocketError",
    "LlmApplyPromptTemplateOpts",
    "LlmInfo",
    "LlmInstanceInfo",
    "LlmLoadModelConfig",
    "LlmLoadModelConfigDict",
    "LlmPredictionConfig",
    "LlmPredictionConfigDict",
    "LlmPredictionFragment",
    "LlmPredictionStats",
    "LmLinkStatusResult",
    "LoadProgressCallback",
    "LocalArtifactFileList",
    "LocalFileInput",
    "LogEventType",
    "LogLevel",
    "LogStream",
    "ModelDownloadOption",
    "ModelDownloadSource",
    "ModelFormatName",
    "ModelInfo",
    "ModelInstanceInfo",
    "ModelLoadResult",
    "ModelProcessingState",
    "ModelQuery",
    "ModelQueryDict",
    "ModelSchema",
    "ModelSpecifier",
    "ModelSpecifierDict",
    "ModelSpecifierInstanceReference",
    "ModelSpecifierQuery",
    "ParseDocumentResult",
    "PluginManifest",
    "PluginSandboxSettings",
    "PredictionEvent",
    "PredictionFirstTokenCallback",
    "PredictionFragmentCallback",
    "PredictionMessageCallback",
    "PredictionResult",
    "PredictionRoundResult",
    "PredictionStream",
    "PromptProcessingCallback",
    "PromptProcessingProgress",
    "Quantization",
    "RawFunctionTool",
    "ResponseSchema",
    "RetrievalResult",
    "RetrievalResultEntry",
    "RetryConfig",
    "RuntimeEngineInfo",
    "RuntimeEngineSpecifier",
    "RuntimeHardwareSurveyEngine",
    "RuntimeHardwareSurveyResult",
    "RuntimeHardwareSurveyScope",
    "RuntimeHardwareSurveyScopeAll",
    "RuntimeHardwareSurveyScopeCustom",
    "RuntimeHardwareSurveyScopeSelected",
    "SdkContract",
    "SerializedLMSExtendedError",
    "ServiceInfo",
    "Settings",
    "SyncModelHandle",
    "SystemPrompt",
    "SystemPromptContent",
    "TextData",
    "TextDataDict",
    "Timeout",
    "TimeoutInput",
    "TokenUsage",
    "ToolCallContext",
    "ToolCallRequest",
    "ToolCallRequestData",
    "ToolCallRequestError",
    "ToolCallRequestInfo",
    "ToolCallRequestInvalidArgumentsError",
    "ToolCallRequestInvalidFormatError",
    "ToolCallRequestInvalidNameError",
    "ToolCallResultData",
    "ToolDefinition",
    "ToolFunctionDef",
    "ToolFunctionDefDict",
    "ToolRequestCallbacks",
    "ToolResultMessage",
    "UnimplementedRawFunctionTool",
    "UnknownItem",
    "UserMessage",
    "UserMessageContent",
    "UserMessageDict",
    "ValidationError",
    "__version__",
    "close_default_client",
    "configure_default_client",
    "embedding_model",
    "get_default_client",
    "get_sync_api_timeout",
    "get_tool_call_context",
    "list_downloaded_models",
    "list_loaded_models",
    "llm",
    "make_message",
    "prepare_file",
    "prepare_image",
    "raw_function_tool",
    "set_sync_api_timeout",
    "text",
    "tool",
    "unimplemented_raw_function_tool",
]


if not TYPE_CHECKING:  # or type checkers would believe in every name

    def __getattr__(name: str) -> Any:
        module_name = _MODULE_OF.get(name)
        if module_name is None and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if module_name is None:
            return _imported(name)
        value = getattr(_imported(module_name), name)
        globals()[name] = value
        return value


def _imported(name: str) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}")
    except ImportError as error:
        if "subinterpreter" not in str(error) or isinstance(error.__cause__, ImportError):
            raise
        raise ImportError(
            "lmstudio does not work in a subinterpreter that has a GIL of its own, because a package that it needs "
            f"does not ({error}). Use threads, which may share a client, or processes."
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Module(ModuleType):
    """This module. Whoever looks at all of it, with `vars(lmstudio)` for example, sees every public name."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # an attribute of the base class
        for name in (*__all__, *_MODULES):
            getattr(self, name)
        for name in _ON_DEMAND:
            import_module(f"{__name__}.{name}")
        return globals()


sys.modules[__name__].__class__ = _Module
