"""Python SDK for LM Studio, over its native WebSocket protocol.

::

    import lmstudio as lms

    model = lms.llm()  # any loaded model of the LM Studio on this machine
    print(model.respond("What is the capital of Norway?"))

Quick start: the module-level functions. Programs: `Client` (synchronous) or `AsyncClient`. Names are loaded on first
use, so `import lmstudio` costs next to nothing and touches neither the network nor the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._ops.models import LoadProgressCallback
    from ._ops.prediction import (
        PredictionFirstTokenCallback,
        PredictionFragmentCallback,
        PredictionMessageCallback,
        PromptProcessingCallback,
    )
    from ._sdk_models import (
        AnyChatMessage,
        AssistantResponse,
        AssistantResponseContent,
        ChatHistoryData,
        EmbeddingLoadModelConfig,
        EmbeddingModelInfo,
        EmbeddingModelInstanceInfo,
        FileHandle,
        FileType,
        GpuSetting,
        KvConfig,
        KvConfigField,
        LlmApplyPromptTemplateOpts,
        LlmInfo,
        LlmInstanceInfo,
        LlmLoadModelConfig,
        LlmPredictionConfig,
        LlmPredictionFragment,
        LlmPredictionStats,
        ModelInfo,
        ModelInstanceInfo,
        ModelQuery,
        ModelSpecifier,
        ModelSpecifierInstanceReference,
        ModelSpecifierQuery,
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
    from .async_api import (
        AnyAsyncDownloadedModel,
        AsyncClient,
        AsyncDownloadedEmbeddingModel,
        AsyncDownloadedLlm,
        AsyncEmbeddingModel,
        AsyncLLM,
        AsyncPredictionStream,
    )
    from .convenience import (
        close_default_client,
        configure_default_client,
        embedding_model,
        get_default_client,
        get_sync_api_timeout,
        list_downloaded_models,
        list_loaded_models,
        llm,
        set_sync_api_timeout,
    )
    from .errors import (
        LMStudioAuthenticationError,
        LMStudioCancelledError,
        LMStudioChannelClosedError,
        LMStudioClientError,
        LMStudioError,
        LMStudioFileNotFoundError,
        LMStudioModelNotFoundError,
        LMStudioOSError,
        LMStudioPredictionError,
        LMStudioPresetNotFoundError,
        LMStudioRuntimeError,
        LMStudioServerError,
        LMStudioStructuredOutputError,
        LMStudioTimeoutError,
        LMStudioUnknownMessageWarning,
        LMStudioValueError,
        LMStudioWebsocketError,
    )
    from .history import AnyChatMessageDict, Chat, ChatInput, FileHandleInput
    from .results import PredictionResult
    from .schemas import (
        AnyLMStudioStruct,
        BaseModel,
        DictObject,
        DictSchema,
        ModelSchema,
        ResponseSchema,
        ValidationError,
    )
    from .sync_api import (
        LLM,
        AnyDownloadedModel,
        Client,
        DownloadedEmbeddingModel,
        DownloadedLlm,
        EmbeddingModel,
        PredictionStream,
    )

# Module -> the public names that it defines; `__getattr__` below loads a name when it is first used.
_EXPORTS = {
    "_ops.models": "LoadProgressCallback",
    "_ops.prediction": (
        "PredictionFirstTokenCallback PredictionFragmentCallback PredictionMessageCallback PromptProcessingCallback"
    ),
    "_sdk_models": (
        "AnyChatMessage AssistantResponse AssistantResponseContent ChatHistoryData EmbeddingLoadModelConfig "
        "EmbeddingModelInfo EmbeddingModelInstanceInfo FileHandle FileType GpuSetting KvConfig KvConfigField "
        "LlmApplyPromptTemplateOpts LlmInfo LlmInstanceInfo LlmLoadModelConfig LlmPredictionConfig "
        "LlmPredictionFragment LlmPredictionStats ModelInfo ModelInstanceInfo ModelQuery ModelSpecifier "
        "ModelSpecifierInstanceReference ModelSpecifierQuery SerializedLMSExtendedError SystemPrompt "
        "SystemPromptContent TextData ToolCallRequest ToolCallRequestData ToolCallResultData ToolResultMessage "
        "UserMessage UserMessageContent"
    ),
    "_sdk_models.dicts": (
        "ChatHistoryDataDict EmbeddingLoadModelConfigDict FileHandleDict LlmLoadModelConfigDict "
        "LlmPredictionConfigDict ModelQueryDict ModelSpecifierDict TextDataDict UserMessageDict"
    ),
    "async_api": (
        "AnyAsyncDownloadedModel AsyncClient AsyncDownloadedEmbeddingModel AsyncDownloadedLlm AsyncEmbeddingModel "
        "AsyncLLM AsyncPredictionStream"
    ),
    "convenience": (
        "close_default_client configure_default_client embedding_model get_default_client get_sync_api_timeout "
        "list_downloaded_models list_loaded_models llm set_sync_api_timeout"
    ),
    "errors": (
        "LMStudioAuthenticationError LMStudioCancelledError LMStudioChannelClosedError LMStudioClientError "
        "LMStudioError LMStudioFileNotFoundError LMStudioModelNotFoundError LMStudioOSError LMStudioPredictionError "
        "LMStudioPresetNotFoundError LMStudioRuntimeError LMStudioServerError LMStudioStructuredOutputError "
        "LMStudioTimeoutError LMStudioUnknownMessageWarning LMStudioValueError LMStudioWebsocketError"
    ),
    "history": "AnyChatMessageDict Chat ChatInput FileHandleInput",
    "results": "PredictionResult",
    "schemas": "AnyLMStudioStruct BaseModel DictObject DictSchema ModelSchema ResponseSchema ValidationError",
    "sync_api": (
        "LLM AnyDownloadedModel Client DownloadedEmbeddingModel DownloadedLlm EmbeddingModel PredictionStream"
    ),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names.split()}
# As in the official package, public modules are attributes without an import of their own.
_MODULES = {"json_api", *(module for module in _EXPORTS if not module.startswith("_"))}

__all__ = [
    "LLM",
    "AnyAsyncDownloadedModel",
    "AnyChatMessage",
    "AnyChatMessageDict",
    "AnyDownloadedModel",
    "AnyLMStudioStruct",
    "AssistantResponse",
    "AssistantResponseContent",
    "AsyncClient",
    "AsyncDownloadedEmbeddingModel",
    "AsyncDownloadedLlm",
    "AsyncEmbeddingModel",
    "AsyncLLM",
    "AsyncPredictionStream",
    "BaseModel",
    "Chat",
    "ChatHistoryData",
    "ChatHistoryDataDict",
    "ChatInput",
    "Client",
    "DictObject",
    "DictSchema",
    "DownloadedEmbeddingModel",
    "DownloadedLlm",
    "EmbeddingLoadModelConfig",
    "EmbeddingLoadModelConfigDict",
    "EmbeddingModel",
    "EmbeddingModelInfo",
    "EmbeddingModelInstanceInfo",
    "FileHandle",
    "FileHandleDict",
    "FileHandleInput",
    "FileType",
    "GpuSetting",
    "KvConfig",
    "KvConfigField",
    "LMStudioAuthenticationError",
    "LMStudioCancelledError",
    "LMStudioChannelClosedError",
    "LMStudioClientError",
    "LMStudioError",
    "LMStudioFileNotFoundError",
    "LMStudioModelNotFoundError",
    "LMStudioOSError",
    "LMStudioPredictionError",
    "LMStudioPresetNotFoundError",
    "LMStudioRuntimeError",
    "LMStudioServerError",
    "LMStudioStructuredOutputError",
    "LMStudioTimeoutError",
    "LMStudioUnknownMessageWarning",
    "LMStudioValueError",
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
    "LoadProgressCallback",
    "ModelInfo",
    "ModelInstanceInfo",
    "ModelQuery",
    "ModelQueryDict",
    "ModelSchema",
    "ModelSpecifier",
    "ModelSpecifierDict",
    "ModelSpecifierInstanceReference",
    "ModelSpecifierQuery",
    "PredictionFirstTokenCallback",
    "PredictionFragmentCallback",
    "PredictionMessageCallback",
    "PredictionResult",
    "PredictionStream",
    "PromptProcessingCallback",
    "ResponseSchema",
    "SerializedLMSExtendedError",
    "SystemPrompt",
    "SystemPromptContent",
    "TextData",
    "TextDataDict",
    "ToolCallRequest",
    "ToolCallRequestData",
    "ToolCallResultData",
    "ToolResultMessage",
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
    "list_downloaded_models",
    "list_loaded_models",
    "llm",
    "set_sync_api_timeout",
]


def __getattr__(name: str) -> Any:
    module_name = _MODULE_OF.get(name)
    if module_name is None and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if module_name is None:
        return import_module(f"{__name__}.{name}")
    value = getattr(import_module(f"{__name__}.{module_name}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
