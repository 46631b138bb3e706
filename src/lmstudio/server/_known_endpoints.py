"""The names of all endpoints of the protocol, so that a refusal can say whether an endpoint exists at all.

A test compares them with the cached schema.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

EndpointKind: TypeAlias = Literal["rpc", "channel"]

KNOWN_ENDPOINTS: dict[str, dict[EndpointKind, tuple[str, ...]]] = {
    "llm": {
        "rpc": (
            "unloadModel",
            "listLoaded",
            "getModelInfo",
            "getLoadConfig",
            "getBasePredictionConfig",
            "getInstanceProcessingState",
            "estimateModelUsage",
            "applyPromptTemplate",
            "tokenize",
            "countTokens",
            "preloadDraftModel",
        ),
        "channel": (
            "loadModel",
            "getOrLoad",
            "predict",
            "completeRawText",
        ),
    },
    "embedding": {
        "rpc": (
            "unloadModel",
            "listLoaded",
            "getModelInfo",
            "getLoadConfig",
            "getBasePredictionConfig",
            "getInstanceProcessingState",
            "estimateModelUsage",
            "embedString",
            "tokenize",
            "countTokens",
        ),
        "channel": (
            "loadModel",
            "getOrLoad",
        ),
    },
    "system": {
        "rpc": (
            "listDownloadedModels",
            "listDownloadedModelVariants",
            "notify",
            "version",
            "setExperimentFlag",
            "getExperimentFlags",
            "startHttpServer",
            "stopHttpServer",
            "info",
            "requestShutdown",
        ),
        "channel": ("alive",),
    },
    "diagnostics": {
        "rpc": (),
        "channel": ("streamLogs",),
    },
    "files": {
        "rpc": (
            "getLocalFileAbsolutePath",
            "uploadFileBase64",
            "getDocumentParsingLibrary",
        ),
        "channel": (
            "retrieve",
            "parseDocument",
        ),
    },
    "repository": {
        "rpc": (
            "searchModels",
            "getModelDownloadOptions",
            "installPluginDependencies",
            "getLocalArtifactFiles",
            "getWritableArtifactOwners",
            "isAuthenticated",
            "getAuthenticationStatus",
            "deauthenticate",
            "loginAsComputeDevice",
            "loginWithPreAuthenticatedKeys",
            "installLocalPlugin",
            "getModelCatalog",
            "fuzzyFindStaffPicks",
            "lmLinkStatus",
            "lmLinkSetDisabled",
            "lmLinkUpdateDeviceName",
            "lmLinkSetPreferredDevice",
        ),
        "channel": (
            "downloadModel",
            "downloadArtifact",
            "pushArtifact",
            "ensureAuthenticated",
            "createDownloadPlan",
        ),
    },
    "plugins": {
        "rpc": (
            "reindexPlugins",
            "processingHandleUpdate",
            "processingHandleRequest",
            "processingPullHistory",
            "processingGetOrLoadTokenSource",
            "processingHasStatus",
            "processingNeedsNaming",
            "processingSuggestName",
            "processingSetSenderName",
            "setConfigSchematics",
            "setGlobalConfigSchematics",
            "pluginInitCompleted",
            "reportError",
        ),
        "channel": (
            "startToolUseSession",
            "generateWithGenerator",
            "registerDevelopmentPlugin",
            "setPromptPreprocessor",
            "setPredictionLoopHandler",
            "setToolsProvider",
            "setGenerator",
        ),
    },
    "runtime": {
        "rpc": (
            "listEngines",
            "getEngineSelections",
            "selectEngine",
            "removeEngine",
            "surveyHardware",
            "searchRuntimeExtensions",
        ),
        "channel": ("downloadRuntimeExtension",),
    },
}
