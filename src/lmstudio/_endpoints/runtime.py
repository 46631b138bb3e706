"""Endpoints of the namespace runtime."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    ModelFormatName,
    RuntimeChannelDownloadRuntimeExtensionCreationParameter,
    RuntimeChannelDownloadRuntimeExtensionToClientPacket,
    RuntimeChannelDownloadRuntimeExtensionToServerPacket,
    RuntimeEngineInfo,
    RuntimeEngineSpecifier,
    RuntimeHardwareSurveyResult,
    RuntimeHardwareSurveyScope,
    RuntimeRpcSearchRuntimeExtensionsParameter,
    RuntimeRpcSearchRuntimeExtensionsReturns,
    RuntimeRpcSelectEngineParameter,
)
from lmstudio._superjson import SuperJson

LIST_ENGINES: Rpc[None, list[RuntimeEngineInfo]] = Rpc("listEngines", None, list[RuntimeEngineInfo], is_read=True)
# The one endpoint of the protocol with SuperJSON. A void parameter is an object there; plain nothing means it, too.
GET_ENGINE_SELECTIONS: Rpc[SuperJson[None] | None, SuperJson[list[tuple[ModelFormatName, RuntimeEngineSpecifier]]]] = (
    Rpc(
        "getEngineSelections",
        SuperJson[None] | None,
        SuperJson[list[tuple[ModelFormatName, RuntimeEngineSpecifier]]],
        ("json.[]",),
        is_read=True,
    )
)
SELECT_ENGINE: Rpc[RuntimeRpcSelectEngineParameter, None] = Rpc("selectEngine", RuntimeRpcSelectEngineParameter, None)
REMOVE_ENGINE: Rpc[RuntimeEngineSpecifier, None] = Rpc("removeEngine", RuntimeEngineSpecifier, None)
SURVEY_HARDWARE: Rpc[RuntimeHardwareSurveyScope | None, RuntimeHardwareSurveyResult] = Rpc(
    "surveyHardware", RuntimeHardwareSurveyScope | None, RuntimeHardwareSurveyResult, ("engines",)
)
SEARCH_RUNTIME_EXTENSIONS: Rpc[RuntimeRpcSearchRuntimeExtensionsParameter, RuntimeRpcSearchRuntimeExtensionsReturns] = (
    Rpc(
        "searchRuntimeExtensions",
        RuntimeRpcSearchRuntimeExtensionsParameter,
        RuntimeRpcSearchRuntimeExtensionsReturns,
        ("extensions",),
        is_read=True,
    )
)
DOWNLOAD_RUNTIME_EXTENSION: ChannelSpec[
    RuntimeChannelDownloadRuntimeExtensionCreationParameter,
    RuntimeChannelDownloadRuntimeExtensionToClientPacket,
    RuntimeChannelDownloadRuntimeExtensionToServerPacket,
] = ChannelSpec(
    "downloadRuntimeExtension",
    RuntimeChannelDownloadRuntimeExtensionCreationParameter,
    RuntimeChannelDownloadRuntimeExtensionToClientPacket,
    RuntimeChannelDownloadRuntimeExtensionToServerPacket,
    ("downloadProgress.update.downloadedBytes", "downloadProgress.update.totalBytes"),
)
