# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import UNSET, Meta, UnsetType, field

from .shared import (
    ChannelPacketCancel,
    ChannelPacketDownloadProgress,
    ChannelPacketStartFinalizing,
    ChannelPacketSuccess,
    KebabCase,
    KebabCaseWithDots,
    ModelCompatibilityType,
    ModelDownloadSource,
)


class ModelSearchOpts(LMStudioStruct, kw_only=True):
    """Part of RepositoryRpcSearchModelsParameter."""

    search_term: str | None = None
    limit: Annotated[int, Meta(gt=0, le=25)] | None = None
    compatibility_types: list[ModelCompatibilityType] | None = None


class ModelSearchResultIdentifierCatalog(LMStudioStruct, kw_only=True, tag_field="type", tag="catalog"):
    """Part of ModelSearchResultEntryData, RepositoryRpcGetModelDownloadOptionsParameter."""

    type: ClassVar[Literal["catalog"]] = "catalog"
    identifier: str


class ModelSearchResultIdentifierHf(LMStudioStruct, kw_only=True, tag_field="type", tag="hf"):
    """Part of ModelSearchResultEntryData, RepositoryRpcGetModelDownloadOptionsParameter."""

    type: ClassVar[Literal["hf"]] = "hf"
    identifier: str


ModelSearchResultDownloadOptionFitEstimation: TypeAlias = Literal["fullGPUOffload", "partialGPUOffload", "fitWithoutGPU", "willNotFit"]


class RepositoryRpcInstallPluginDependenciesParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/installPluginDependencies."""

    plugin_folder: str


class RepositoryRpcGetLocalArtifactFilesParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/getLocalArtifactFiles."""

    path: str


class LocalArtifactFileEntry(LMStudioStruct, kw_only=True):
    """Part of LocalArtifactFileList."""

    relative_path: str
    size_bytes: int


class RepositoryRpcIsAuthenticatedReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/isAuthenticated."""

    authenticated: bool


class NoAuthenticationStatus(LMStudioStruct, kw_only=True, tag_field="type", tag="none"):
    """Part of RepositoryRpcGetAuthenticationStatusReturns."""

    type: ClassVar[Literal["none"]] = "none"


class LoggedInUserAuthenticationStatus(LMStudioStruct, kw_only=True, tag_field="type", tag="loggedInUser"):
    """Part of RepositoryRpcGetAuthenticationStatusReturns."""

    type: ClassVar[Literal["loggedInUser"]] = "loggedInUser"
    user_name: str


class ComputeDeviceAuthenticationStatus(LMStudioStruct, kw_only=True, tag_field="type", tag="computeDevice"):
    """Result of the rpc repository/loginAsComputeDevice."""

    type: ClassVar[Literal["computeDevice"]] = "computeDevice"
    owner_username: str
    owner_is_organization: bool


class RepositoryRpcLoginAsComputeDeviceParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/loginAsComputeDevice."""

    token: Annotated[str, Meta(min_length=1)]


class RepositoryRpcLoginWithPreAuthenticatedKeysParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/loginWithPreAuthenticatedKeys."""

    key_id: str
    public_key: str
    private_key: str


class RepositoryRpcLoginWithPreAuthenticatedKeysReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/loginWithPreAuthenticatedKeys."""

    user_name: str


class RepositoryRpcInstallLocalPluginParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/installLocalPlugin."""

    plugin_path: str


class HubModelMetadataLlm(LMStudioStruct, kw_only=True, tag_field="type", tag="llm"):
    """Part of HubModel."""

    type: ClassVar[Literal["llm"]] = "llm"
    architectures: list[str]
    compatibility_types: list[ModelCompatibilityType]
    params_strings: list[str]
    min_memory_usage_bytes: float
    trained_for_tool_use: bool | Literal["mixed"]
    vision: bool | Literal["mixed"]
    reasoning: bool | Literal["mixed"]
    context_lengths: list[float]


class HubModelMetadataEmbedding(LMStudioStruct, kw_only=True, tag_field="type", tag="embedding"):
    """Part of HubModel."""

    type: ClassVar[Literal["embedding"]] = "embedding"
    architectures: list[str]
    compatibility_types: list[ModelCompatibilityType]
    params_strings: list[str]
    min_memory_usage_bytes: float
    context_lengths: list[float]


class RepositoryRpcFuzzyFindStaffPicksParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/fuzzyFindStaffPicks."""

    search_term: str | None = None
    limit: Annotated[int, Meta(gt=0)] | None = None
    compatibility_types: list[ModelCompatibilityType] | None = None


LmLinkStatus: TypeAlias = Literal["offline", "starting", "online", "stopping"]


LmLinkIssue: TypeAlias = Literal["deviceDisabled", "notLoggedIn", "noAccess", "badVersion"]


LmLinkPeerStatus: TypeAlias = Literal["connected", "disconnected"]


class LmLinkLastError(LMStudioStruct, kw_only=True):
    """Part of LmLinkStatusResult."""

    message: str
    timestamp: Annotated[int, Meta(ge=0)]


class RepositoryRpcLmLinkSetDisabledParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/lmLinkSetDisabled."""

    disabled: bool


class RepositoryRpcLmLinkUpdateDeviceNameParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/lmLinkUpdateDeviceName."""

    device_name: str


class RepositoryRpcLmLinkSetPreferredDeviceParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/lmLinkSetPreferredDevice."""

    device_identifier: str


class RepositoryChannelDownloadModelCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel repository/downloadModel."""

    download_identifier: str


class RepositoryChannelDownloadModelToClientPacketSuccess(LMStudioStruct, kw_only=True, tag_field="type", tag="success"):
    """Packet `success` from the server, channel repository/downloadModel."""

    type: ClassVar[Literal["success"]] = "success"
    default_identifier: str


class RepositoryChannelDownloadArtifactCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel repository/downloadArtifact."""

    artifact_owner: KebabCase
    artifact_name: KebabCaseWithDots
    revision_number: int | None
    path: str


class RepositoryChannelPushArtifactCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel repository/pushArtifact."""

    path: str
    description: Annotated[str, Meta(max_length=1000)] | None = None
    make_private: bool | None = None
    write_revision: bool | None = None
    overrides: Any | UnsetType = UNSET


class RepositoryChannelPushArtifactToClientPacketMessage(LMStudioStruct, tag_field="type", tag="message", kw_only=True):
    """Packet `message` from the server, channel repository/pushArtifact."""

    type: ClassVar[Literal["message"]] = "message"
    message: str


class RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode(LMStudioStruct, kw_only=True, tag_field="type", tag="authenticationCode"):
    """Packet `authenticationCode` from the server, channel repository/ensureAuthenticated."""

    type: ClassVar[Literal["authenticationCode"]] = "authenticationCode"
    code: str
    manual_url: str
    filled_url: str


class RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated(LMStudioStruct, kw_only=True, tag_field="type", tag="authenticated"):
    """Packet `authenticated` from the server, channel repository/ensureAuthenticated."""

    type: ClassVar[Literal["authenticated"]] = "authenticated"


class RepositoryDownloadPlannerTargetArtifact(LMStudioStruct, kw_only=True, tag_field="type", tag="artifact"):
    """Part of RepositoryChannelCreateDownloadPlanCreationParameter."""

    type: ClassVar[Literal["artifact"]] = "artifact"
    owner: KebabCase
    name: KebabCaseWithDots


class RepositoryDownloadPlannerResolutionPreferenceFileName(LMStudioStruct, kw_only=True, tag_field="type", tag="fileName"):
    """Part of RepositoryDownloadPlannerOpts."""

    type: ClassVar[Literal["fileName"]] = "fileName"
    file_name: str


class RepositoryDownloadPlannerResolutionPreferenceQuantName(LMStudioStruct, kw_only=True, tag_field="type", tag="quantName"):
    """Part of RepositoryDownloadPlannerOpts."""

    type: ClassVar[Literal["quantName"]] = "quantName"
    quant_name: str


ArtifactDownloadPlanNodeState: TypeAlias = Literal["pending", "fetching", "satisfied", "completed"]


ArtifactType: TypeAlias = Literal["plugin", "preset", "model", "project", "skill"]


class ArtifactDownloadPlanModelInfo(LMStudioStruct, kw_only=True):
    """Part of ArtifactDownloadPlanNodeModel."""

    display_name: str
    size_bytes: float
    compatibility_type: ModelCompatibilityType
    quant_name: str | None = None
    model_key: str | None = None


ArtifactDownloadPlanDownloadOptionAvailability: TypeAlias = Literal["notDownloaded", "downloading", "downloaded"]


ArtifactDownloadPlanDownloadAction: TypeAlias = Literal["none", "startNewDownload", "attachToExistingDownload"]


class RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload(LMStudioStruct, kw_only=True, tag_field="type", tag="cancelDownload"):
    """Packet `cancelDownload` to the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["cancelDownload"]] = "cancelDownload"


class RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex(LMStudioStruct, kw_only=True, tag_field="type", tag="setSelectedDownloadOptionIndex"):
    """Packet `setSelectedDownloadOptionIndex` to the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["setSelectedDownloadOptionIndex"]] = (
        "setSelectedDownloadOptionIndex"
    )
    node_index: int
    selected_download_option_index: int | None
    requested_plan_version: int


class RepositoryChannelCreateDownloadPlanToServerPacketCommit(LMStudioStruct, kw_only=True, tag_field="type", tag="commit"):
    """Packet `commit` to the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["commit"]] = "commit"


class RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan(LMStudioStruct, kw_only=True, tag_field="type", tag="cancelPlan"):
    """Packet `cancelPlan` to the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["cancelPlan"]] = "cancelPlan"


RepositoryRpcLoginAsComputeDeviceReturns: TypeAlias = ComputeDeviceAuthenticationStatus


class RepositoryRpcSearchModelsParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/searchModels."""

    opts: ModelSearchOpts


ModelSearchResultIdentifier: TypeAlias = ModelSearchResultIdentifierCatalog | ModelSearchResultIdentifierHf


class RepositoryRpcGetModelDownloadOptionsParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc repository/getModelDownloadOptions."""

    model_search_result_identifier: ModelSearchResultIdentifier


class ModelSearchResultDownloadOptionData(LMStudioStruct, kw_only=True):
    """Part of RepositoryRpcGetModelDownloadOptionsReturns."""

    name: str
    size_bytes: int
    fit_estimation: ModelSearchResultDownloadOptionFitEstimation
    download_identifier: str
    indexed_model_identifier: str
    compatibility_type: ModelCompatibilityType
    quantization: str | None = None
    recommended: bool | None = None


class LocalArtifactFileList(LMStudioStruct, kw_only=True):
    """Part of RepositoryRpcGetLocalArtifactFilesReturns."""

    files: list[LocalArtifactFileEntry]
    used_ignore_file: str | None


class RepositoryRpcGetWritableArtifactOwnersReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/getWritableArtifactOwners."""

    owners: list[KebabCase]


AuthenticationStatus: TypeAlias = NoAuthenticationStatus | LoggedInUserAuthenticationStatus | ComputeDeviceAuthenticationStatus


HubModelMetadata: TypeAlias = HubModelMetadataLlm | HubModelMetadataEmbedding


class FuzzyFindStaffPickResult(LMStudioStruct, kw_only=True):
    """Part of RepositoryRpcFuzzyFindStaffPicksReturns."""

    owner: KebabCase
    name: KebabCaseWithDots
    revision_number: int
    created_at_timestamp: int
    description: str
    exact: bool


class LmLinkPeer(LMStudioStruct, kw_only=True):
    """Part of LmLinkStatusResult."""

    device_identifier: str
    device_name: str
    status: LmLinkPeerStatus


RepositoryChannelDownloadModelToClientPacket: TypeAlias = ChannelPacketDownloadProgress | ChannelPacketStartFinalizing | RepositoryChannelDownloadModelToClientPacketSuccess


RepositoryChannelDownloadModelToClientPacketDownloadProgress: TypeAlias = ChannelPacketDownloadProgress


RepositoryChannelDownloadModelToClientPacketStartFinalizing: TypeAlias = ChannelPacketStartFinalizing


RepositoryChannelDownloadModelToServerPacket: TypeAlias = ChannelPacketCancel


RepositoryChannelDownloadModelToServerPacketCancel: TypeAlias = ChannelPacketCancel


RepositoryChannelDownloadArtifactToClientPacket: TypeAlias = ChannelPacketDownloadProgress | ChannelPacketStartFinalizing | ChannelPacketSuccess


RepositoryChannelDownloadArtifactToClientPacketDownloadProgress: TypeAlias = ChannelPacketDownloadProgress


RepositoryChannelDownloadArtifactToClientPacketStartFinalizing: TypeAlias = ChannelPacketStartFinalizing


RepositoryChannelDownloadArtifactToClientPacketSuccess: TypeAlias = ChannelPacketSuccess


RepositoryChannelDownloadArtifactToServerPacket: TypeAlias = ChannelPacketCancel


RepositoryChannelDownloadArtifactToServerPacketCancel: TypeAlias = ChannelPacketCancel


RepositoryChannelPushArtifactToClientPacket: TypeAlias = RepositoryChannelPushArtifactToClientPacketMessage


RepositoryChannelEnsureAuthenticatedToClientPacket: TypeAlias = RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode | RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated


RepositoryDownloadPlannerResolutionPreference: TypeAlias = RepositoryDownloadPlannerResolutionPreferenceFileName | RepositoryDownloadPlannerResolutionPreferenceQuantName


class ArtifactDownloadPlanNodeArtifact(LMStudioStruct, kw_only=True, tag_field="type", tag="artifact"):
    """Part of ArtifactDownloadPlan."""

    type: ClassVar[Literal["artifact"]] = "artifact"
    owner: KebabCase
    name: KebabCaseWithDots
    state: ArtifactDownloadPlanNodeState
    dependency_nodes: list[int]
    artifact_type: ArtifactType | None = None
    size_bytes: int | None = None


class ArtifactDownloadPlanDownloadOptionInfo(LMStudioStruct, kw_only=True):
    """Part of ArtifactDownloadPlanNodeModel."""

    display_name: str
    size_bytes: float
    compatibility_type: ModelCompatibilityType
    fit_estimation: ModelSearchResultDownloadOptionFitEstimation
    availability: ArtifactDownloadPlanDownloadOptionAvailability
    quant_name: str | None = None
    recommended: bool | None = None


RepositoryChannelCreateDownloadPlanToClientPacketDownloadProgress: TypeAlias = ChannelPacketDownloadProgress


RepositoryChannelCreateDownloadPlanToClientPacketStartFinalizing: TypeAlias = ChannelPacketStartFinalizing


RepositoryChannelCreateDownloadPlanToClientPacketSuccess: TypeAlias = ChannelPacketSuccess


RepositoryChannelCreateDownloadPlanToServerPacket: TypeAlias = RepositoryChannelCreateDownloadPlanToServerPacketCancelDownload | RepositoryChannelCreateDownloadPlanToServerPacketSetSelectedDownloadOptionIndex | RepositoryChannelCreateDownloadPlanToServerPacketCommit | RepositoryChannelCreateDownloadPlanToServerPacketCancelPlan


class ModelSearchResultEntryData(LMStudioStruct, kw_only=True):
    """Part of RepositoryRpcSearchModelsReturns."""

    name: str
    identifier: ModelSearchResultIdentifier
    exact: bool | None = None
    staff_pick: bool | None = None


class RepositoryRpcGetModelDownloadOptionsReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/getModelDownloadOptions."""

    results: list[ModelSearchResultDownloadOptionData]


class RepositoryRpcGetLocalArtifactFilesReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/getLocalArtifactFiles."""

    file_list: LocalArtifactFileList


class RepositoryRpcGetAuthenticationStatusReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/getAuthenticationStatus."""

    authentication_status: AuthenticationStatus


class HubModel(LMStudioStruct, tag_field="type", tag="model", kw_only=True):
    """Part of RepositoryRpcGetModelCatalogReturns."""

    type: ClassVar[Literal["model"]] = "model"
    owner: str
    name: str
    description: str
    downloads: float
    like_count: float
    metadata: HubModelMetadata
    staff_picked_at: float | None = None


class RepositoryRpcFuzzyFindStaffPicksReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/fuzzyFindStaffPicks."""

    results: list[FuzzyFindStaffPickResult]


class LmLinkStatusResult(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/lmLinkStatus."""

    status: LmLinkStatus
    issues: list[LmLinkIssue]
    peers: list[LmLinkPeer]
    device_identifier: str | None
    device_name: str
    preferred_device_identifier: str | None = None
    reconnect_in_seconds: Annotated[int, Meta(ge=0)] | None = None
    last_error: LmLinkLastError | None = None


class RepositoryDownloadPlannerOpts(LMStudioStruct, kw_only=True):
    """Part of RepositoryChannelCreateDownloadPlanCreationParameter."""

    resolution_preference: list[RepositoryDownloadPlannerResolutionPreference] | None = (
        None
    )
    compatibility_types: list[ModelCompatibilityType] | None = None


class ArtifactDownloadPlanNodeModel(LMStudioStruct, kw_only=True, tag_field="type", tag="model"):
    """Part of ArtifactDownloadPlan."""

    type: ClassVar[Literal["model"]] = "model"
    state: ArtifactDownloadPlanNodeState
    dependency_label: str
    resolved_sources: int | None = None
    total_sources: int | None = None
    already_owned: ArtifactDownloadPlanModelInfo | None = None
    selected: ArtifactDownloadPlanModelInfo | None = None
    download_options: list[ArtifactDownloadPlanDownloadOptionInfo] | None = None
    selected_download_option_index: int | None | UnsetType = UNSET
    recommended_download_option_index: int | None | UnsetType = UNSET


RepositoryRpcLmLinkStatusReturns: TypeAlias = LmLinkStatusResult


class RepositoryRpcSearchModelsReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/searchModels."""

    results: list[ModelSearchResultEntryData]


class RepositoryRpcGetModelCatalogReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc repository/getModelCatalog."""

    models: list[HubModel]


class RepositoryDownloadPlannerTargetModel(LMStudioStruct, kw_only=True, tag_field="type", tag="model"):
    """Part of RepositoryChannelCreateDownloadPlanCreationParameter."""

    type: ClassVar[Literal["model"]] = "model"
    source: ModelDownloadSource


ArtifactDownloadPlanNode: TypeAlias = ArtifactDownloadPlanNodeArtifact | ArtifactDownloadPlanNodeModel


RepositoryDownloadPlannerTarget: TypeAlias = RepositoryDownloadPlannerTargetArtifact | RepositoryDownloadPlannerTargetModel


class ArtifactDownloadPlan(LMStudioStruct, kw_only=True):
    """Part of RepositoryChannelCreateDownloadPlanToClientPacketPlanReady and 1 more."""

    nodes: list[ArtifactDownloadPlanNode]
    download_size_bytes: int
    download_action: ArtifactDownloadPlanDownloadAction
    version: int
    download_job_identifier: str | None = None


class RepositoryChannelCreateDownloadPlanToClientPacketPlanReady(LMStudioStruct, kw_only=True, tag_field="type", tag="planReady"):
    """Packet `planReady` from the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["planReady"]] = "planReady"
    plan: ArtifactDownloadPlan


class RepositoryChannelCreateDownloadPlanCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel repository/createDownloadPlan."""

    target: RepositoryDownloadPlannerTarget
    opts: RepositoryDownloadPlannerOpts | None = None


class RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated(LMStudioStruct, kw_only=True, tag_field="type", tag="planUpdated"):
    """Packet `planUpdated` from the server, channel repository/createDownloadPlan."""

    type: ClassVar[Literal["planUpdated"]] = "planUpdated"
    plan: ArtifactDownloadPlan


RepositoryChannelCreateDownloadPlanToClientPacket: TypeAlias = RepositoryChannelCreateDownloadPlanToClientPacketPlanUpdated | RepositoryChannelCreateDownloadPlanToClientPacketPlanReady | ChannelPacketDownloadProgress | ChannelPacketStartFinalizing | ChannelPacketSuccess
