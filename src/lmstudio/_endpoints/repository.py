"""Endpoints of the namespace repository."""

from __future__ import annotations

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._sdk_models import (
    ComputeDeviceAuthenticationStatus,
    LmLinkStatusResult,
    RepositoryChannelCreateDownloadPlanCreationParameter,
    RepositoryChannelCreateDownloadPlanToClientPacket,
    RepositoryChannelCreateDownloadPlanToServerPacket,
    RepositoryChannelDownloadArtifactCreationParameter,
    RepositoryChannelDownloadArtifactToClientPacket,
    RepositoryChannelDownloadArtifactToServerPacket,
    RepositoryChannelDownloadModelCreationParameter,
    RepositoryChannelDownloadModelToClientPacket,
    RepositoryChannelDownloadModelToServerPacketCancel,
    RepositoryChannelEnsureAuthenticatedToClientPacket,
    RepositoryChannelPushArtifactCreationParameter,
    RepositoryChannelPushArtifactToClientPacket,
    RepositoryRpcFuzzyFindStaffPicksParameter,
    RepositoryRpcFuzzyFindStaffPicksReturns,
    RepositoryRpcGetAuthenticationStatusReturns,
    RepositoryRpcGetLocalArtifactFilesParameter,
    RepositoryRpcGetLocalArtifactFilesReturns,
    RepositoryRpcGetModelCatalogReturns,
    RepositoryRpcGetModelDownloadOptionsParameter,
    RepositoryRpcGetModelDownloadOptionsReturns,
    RepositoryRpcGetWritableArtifactOwnersReturns,
    RepositoryRpcInstallLocalPluginParameter,
    RepositoryRpcInstallPluginDependenciesParameter,
    RepositoryRpcIsAuthenticatedReturns,
    RepositoryRpcLmLinkSetDisabledParameter,
    RepositoryRpcLmLinkSetPreferredDeviceParameter,
    RepositoryRpcLmLinkUpdateDeviceNameParameter,
    RepositoryRpcLoginAsComputeDeviceParameter,
    RepositoryRpcLoginWithPreAuthenticatedKeysParameter,
    RepositoryRpcLoginWithPreAuthenticatedKeysReturns,
    RepositoryRpcSearchModelsParameter,
    RepositoryRpcSearchModelsReturns,
)

_PROGRESS = ("downloadProgress.update.downloadedBytes", "downloadProgress.update.totalBytes")

# Models ---------------------------------------------------------------------------------------------------------------

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
    _PROGRESS,
)
GET_MODEL_CATALOG: Rpc[None, RepositoryRpcGetModelCatalogReturns] = Rpc(
    "getModelCatalog", None, RepositoryRpcGetModelCatalogReturns, ("models.[].owner", "models.[].name"), is_read=True
)
FUZZY_FIND_STAFF_PICKS: Rpc[RepositoryRpcFuzzyFindStaffPicksParameter, RepositoryRpcFuzzyFindStaffPicksReturns] = Rpc(
    "fuzzyFindStaffPicks",
    RepositoryRpcFuzzyFindStaffPicksParameter,
    RepositoryRpcFuzzyFindStaffPicksReturns,
    ("results.[].owner", "results.[].name"),
    is_read=True,
)
CREATE_DOWNLOAD_PLAN: ChannelSpec[
    RepositoryChannelCreateDownloadPlanCreationParameter,
    RepositoryChannelCreateDownloadPlanToClientPacket,
    RepositoryChannelCreateDownloadPlanToServerPacket,
] = ChannelSpec(
    "createDownloadPlan",
    RepositoryChannelCreateDownloadPlanCreationParameter,
    RepositoryChannelCreateDownloadPlanToClientPacket,
    RepositoryChannelCreateDownloadPlanToServerPacket,
    ("planUpdated.plan.version", "planReady.plan.version", *_PROGRESS),
)

# Artifacts and plugins ------------------------------------------------------------------------------------------------

INSTALL_PLUGIN_DEPENDENCIES: Rpc[RepositoryRpcInstallPluginDependenciesParameter, None] = Rpc(
    "installPluginDependencies", RepositoryRpcInstallPluginDependenciesParameter, None
)
INSTALL_LOCAL_PLUGIN: Rpc[RepositoryRpcInstallLocalPluginParameter, None] = Rpc(
    "installLocalPlugin", RepositoryRpcInstallLocalPluginParameter, None
)
GET_LOCAL_ARTIFACT_FILES: Rpc[
    RepositoryRpcGetLocalArtifactFilesParameter, RepositoryRpcGetLocalArtifactFilesReturns
] = Rpc(
    "getLocalArtifactFiles",
    RepositoryRpcGetLocalArtifactFilesParameter,
    RepositoryRpcGetLocalArtifactFilesReturns,
    ("fileList.files.[].relativePath",),
    is_read=True,
)
GET_WRITABLE_ARTIFACT_OWNERS: Rpc[None, RepositoryRpcGetWritableArtifactOwnersReturns] = Rpc(
    "getWritableArtifactOwners", None, RepositoryRpcGetWritableArtifactOwnersReturns, is_read=True
)
DOWNLOAD_ARTIFACT: ChannelSpec[
    RepositoryChannelDownloadArtifactCreationParameter,
    RepositoryChannelDownloadArtifactToClientPacket,
    RepositoryChannelDownloadArtifactToServerPacket,
] = ChannelSpec(
    "downloadArtifact",
    RepositoryChannelDownloadArtifactCreationParameter,
    RepositoryChannelDownloadArtifactToClientPacket,
    RepositoryChannelDownloadArtifactToServerPacket,
    _PROGRESS,
)
PUSH_ARTIFACT: ChannelSpec[
    RepositoryChannelPushArtifactCreationParameter, RepositoryChannelPushArtifactToClientPacket, None
] = ChannelSpec(
    "pushArtifact",
    RepositoryChannelPushArtifactCreationParameter,
    RepositoryChannelPushArtifactToClientPacket,
    None,
)

# The account, and LM Link ---------------------------------------------------------------------------------------------

IS_AUTHENTICATED: Rpc[None, RepositoryRpcIsAuthenticatedReturns] = Rpc(
    "isAuthenticated", None, RepositoryRpcIsAuthenticatedReturns, ("authenticated",), is_read=True
)
GET_AUTHENTICATION_STATUS: Rpc[None, RepositoryRpcGetAuthenticationStatusReturns] = Rpc(
    "getAuthenticationStatus",
    None,
    RepositoryRpcGetAuthenticationStatusReturns,
    ("authenticationStatus",),
    is_read=True,
)
DEAUTHENTICATE: Rpc[None, None] = Rpc("deauthenticate", None, None)
LOGIN_AS_COMPUTE_DEVICE: Rpc[RepositoryRpcLoginAsComputeDeviceParameter, ComputeDeviceAuthenticationStatus] = Rpc(
    "loginAsComputeDevice", RepositoryRpcLoginAsComputeDeviceParameter, ComputeDeviceAuthenticationStatus
)
LOGIN_WITH_PRE_AUTHENTICATED_KEYS: Rpc[
    RepositoryRpcLoginWithPreAuthenticatedKeysParameter, RepositoryRpcLoginWithPreAuthenticatedKeysReturns
] = Rpc(
    "loginWithPreAuthenticatedKeys",
    RepositoryRpcLoginWithPreAuthenticatedKeysParameter,
    RepositoryRpcLoginWithPreAuthenticatedKeysReturns,
)
ENSURE_AUTHENTICATED: ChannelSpec[None, RepositoryChannelEnsureAuthenticatedToClientPacket, None] = ChannelSpec(
    "ensureAuthenticated",
    None,
    RepositoryChannelEnsureAuthenticatedToClientPacket,
    None,
    ("authenticationCode.filledUrl", "authenticationCode.code"),
)
LM_LINK_STATUS: Rpc[None, LmLinkStatusResult] = Rpc("lmLinkStatus", None, LmLinkStatusResult, ("status",), is_read=True)
LM_LINK_SET_DISABLED: Rpc[RepositoryRpcLmLinkSetDisabledParameter, None] = Rpc(
    "lmLinkSetDisabled", RepositoryRpcLmLinkSetDisabledParameter, None
)
LM_LINK_UPDATE_DEVICE_NAME: Rpc[RepositoryRpcLmLinkUpdateDeviceNameParameter, None] = Rpc(
    "lmLinkUpdateDeviceName", RepositoryRpcLmLinkUpdateDeviceNameParameter, None
)
LM_LINK_SET_PREFERRED_DEVICE: Rpc[RepositoryRpcLmLinkSetPreferredDeviceParameter, None] = Rpc(
    "lmLinkSetPreferredDevice", RepositoryRpcLmLinkSetPreferredDeviceParameter, None
)
