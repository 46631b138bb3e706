"""Endpoints of the namespace repository."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    RepositoryChannelDownloadModelCreationParameter,
    RepositoryChannelDownloadModelToClientPacket,
    RepositoryChannelDownloadModelToServerPacketCancel,
    RepositoryRpcGetModelDownloadOptionsParameter,
    RepositoryRpcGetModelDownloadOptionsReturns,
    RepositoryRpcSearchModelsParameter,
    RepositoryRpcSearchModelsReturns,
)

SEARCH_MODELS: Rpc[RepositoryRpcSearchModelsParameter, RepositoryRpcSearchModelsReturns] = Rpc(
    "searchModels",
    RepositoryRpcSearchModelsParameter,
    RepositoryRpcSearchModelsReturns,
    ("results.[].identifier",),
    is_read=True,
)
GET_MODEL_DOWNLOAD_OPTIONS: Rpc[
    RepositoryRpcGetModelDownloadOptionsParameter, RepositoryRpcGetModelDownloadOptionsReturns
] = Rpc(
    "getModelDownloadOptions",
    RepositoryRpcGetModelDownloadOptionsParameter,
    RepositoryRpcGetModelDownloadOptionsReturns,
    ("results.[].downloadIdentifier",),
    is_read=True,
)
DOWNLOAD_MODEL: ChannelSpec[
    RepositoryChannelDownloadModelCreationParameter,
    RepositoryChannelDownloadModelToClientPacket,
    RepositoryChannelDownloadModelToServerPacketCancel,
] = ChannelSpec(
    "downloadModel",
    RepositoryChannelDownloadModelCreationParameter,
    RepositoryChannelDownloadModelToClientPacket,
    RepositoryChannelDownloadModelToServerPacketCancel,
    ("downloadProgress.update.downloadedBytes", "downloadProgress.update.totalBytes"),
)
