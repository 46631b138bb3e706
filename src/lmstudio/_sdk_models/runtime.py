# Generated from sdk-schema/lmstudio-sdk.schema.json (@lmstudio/sdk 2.0.0) by `tox -e sync-sdk-schema`. Never edit.

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from lmstudio._struct import LMStudioStruct
from msgspec import Meta, field

from .shared import (
    ChannelPacketCancel,
    ChannelPacketDownloadProgress,
    ChannelPacketStartFinalizing,
    ChannelPacketSuccess,
)


class CpuInfo(LMStudioStruct, kw_only=True):
    """Part of DownloadableRuntimeEngineExtension, DownloadableRuntimeFrameworkExtension, RuntimeEngineInfo."""

    architecture: str
    instruction_set_extensions: list[str] | None = None


class GpuInfo(LMStudioStruct, kw_only=True):
    """Part of DownloadableRuntimeEngineExtension, DownloadableRuntimeFrameworkExtension, RuntimeEngineInfo."""

    make: str | None = None
    framework: str | None = None


ModelFormatName: TypeAlias = Literal["GGUF", "MLX", "GGML", "PT", "PTE", "yuzu"]


class RuntimeEngineSpecifier(LMStudioStruct, kw_only=True):
    """Parameter of the rpc runtime/removeEngine."""

    name: str
    version: str


class RuntimeRpcSelectEngineParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc runtime/selectEngine."""

    engine: RuntimeEngineSpecifier
    model_format_name: ModelFormatName


class RuntimeHardwareSurveyScopeSelected(LMStudioStruct, kw_only=True, tag_field="type", tag="selected"):
    """Parameter of the rpc runtime/surveyHardware."""

    type: ClassVar[Literal["selected"]] = "selected"


class RuntimeHardwareSurveyScopeAll(LMStudioStruct, kw_only=True, tag_field="type", tag="all"):
    """Parameter of the rpc runtime/surveyHardware."""

    type: ClassVar[Literal["all"]] = "all"


class RuntimeHardwareSurveyScopeCustom(LMStudioStruct, kw_only=True, tag_field="type", tag="custom"):
    """Parameter of the rpc runtime/surveyHardware."""

    type: ClassVar[Literal["custom"]] = "custom"
    engines: list[RuntimeEngineSpecifier]


RuntimeHardwareSurveyStatus: TypeAlias = Literal["ok", "noCompatibleBackends"]


RuntimeHardwareSurveyCompatibilityStatus: TypeAlias = Literal["compatible", "incompatibleAppVersion", "incompatibleBackendVersion", "invalidCpuArchitecture", "invalidCpuInstructionSetExtensions", "cpuSurveyUnsuccessful", "gpuSurveyUnsuccessful", "gpuRequiredButNoneFound", "gpuTargetsRequiredButNoneSpecified", "gpuDriverUnsupported", "noSupportedGpus", "incompatiblePlatform", "libraryOutdated", "invalidLibraryVersionFormat", "missingLibraries", "errorSurveyingHardware", "errorCheckingCompatibility", "unknown"]


RuntimeHardwareSurveyResultCode: TypeAlias = Literal["unset", "success", "error", "noDevicesFound", "invalidDevice"]


RuntimeHardwareGpuIntegrationType: TypeAlias = Literal["unknown", "integrated", "discrete"]


RuntimeHardwareGpuDetectionPlatform: TypeAlias = Literal["unknown", "shell", "ROCm", "CUDA", "OpenCl", "Metal", "Vulkan"]


RuntimeHardwareCpuArchitecture: TypeAlias = Literal["x86_64", "ARM64", "unknown"]


RuntimeHardwareCpuInstructionSetExtension: TypeAlias = Literal["AVX2", "AdvSIMD", "AVX"]


class RuntimeHardwareSurveyMemoryInfo(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyEngine."""

    ram_capacity: float
    vram_capacity: float
    total_memory: float


class RuntimeHardwareSurveyVisibleDevicesConfig(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyEngine."""

    visible_devices: list[float]
    changes_order: bool


class RuntimeRpcSearchRuntimeExtensionsParameter(LMStudioStruct, kw_only=True):
    """Parameter of the rpc runtime/searchRuntimeExtensions."""

    query: str
    include_incompatible: bool
    channel_override: Annotated[str, Meta(max_length=30, min_length=1)] | None = None


class DownloadableRuntimeEngineExtension(LMStudioStruct, kw_only=True, tag_field="type", tag="engine"):
    """Part of RuntimeRpcSearchRuntimeExtensionsReturns."""

    type: ClassVar[Literal["engine"]] = "engine"
    name: str
    version: str
    package: str
    platform: str
    cpu: CpuInfo
    supported_model_format_names: list[ModelFormatName]
    local_versions: list[str]
    gpu: GpuInfo | None = None


class DownloadableRuntimeFrameworkExtension(LMStudioStruct, kw_only=True, tag_field="type", tag="framework"):
    """Part of RuntimeRpcSearchRuntimeExtensionsReturns."""

    type: ClassVar[Literal["framework"]] = "framework"
    name: str
    version: str
    package: str
    platform: str
    cpu: CpuInfo
    local_versions: list[str]
    gpu: GpuInfo | None = None


class RuntimeChannelDownloadRuntimeExtensionCreationParameter(LMStudioStruct, kw_only=True):
    """Parameter of the channel runtime/downloadRuntimeExtension."""

    name: str
    version: str
    update_selections: bool


RuntimeRpcRemoveEngineParameter: TypeAlias = RuntimeEngineSpecifier


class RuntimeEngineInfo(LMStudioStruct, kw_only=True):
    """Not sent as such: its content travels in the fields of a KvConfig."""

    name: str
    version: str
    engine: str
    platform: str
    cpu: CpuInfo
    supported_model_format_names: list[ModelFormatName]
    gpu: GpuInfo | None = None


SelectedRuntimeEngineMapItem: TypeAlias = Annotated[
    list[ModelFormatName | RuntimeEngineSpecifier], Meta(max_length=2)
]


SelectedRuntimeEngineMap: TypeAlias = list[SelectedRuntimeEngineMapItem]


RuntimeHardwareSurveyScope: TypeAlias = RuntimeHardwareSurveyScopeSelected | RuntimeHardwareSurveyScopeAll | RuntimeHardwareSurveyScopeCustom


class RuntimeHardwareSurveyCompatibility(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyEngine."""

    status: RuntimeHardwareSurveyCompatibilityStatus
    message: str | None = None


class RuntimeHardwareSurveyResultInfo(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareCpuSurveyResult, RuntimeHardwareGpuSurveyResult."""

    code: RuntimeHardwareSurveyResultCode
    message: str


class RuntimeHardwareGpuInfo(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareGpuSurveyResult."""

    name: str
    device_id: float
    total_memory_capacity_bytes: float
    dedicated_memory_capacity_bytes: float
    integration_type: RuntimeHardwareGpuIntegrationType
    detection_platform: RuntimeHardwareGpuDetectionPlatform
    detection_platform_version: str
    other_info: dict[str, str]


class RuntimeHardwareCpuInfo(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareCpuSurveyResult."""

    architecture: RuntimeHardwareCpuArchitecture
    supported_instruction_set_extensions: list[RuntimeHardwareCpuInstructionSetExtension]
    name: str | None = None


DownloadableRuntimeExtensionInfo: TypeAlias = DownloadableRuntimeEngineExtension | DownloadableRuntimeFrameworkExtension


RuntimeChannelDownloadRuntimeExtensionToClientPacket: TypeAlias = ChannelPacketDownloadProgress | ChannelPacketStartFinalizing | ChannelPacketSuccess


RuntimeChannelDownloadRuntimeExtensionToClientPacketDownloadProgress: TypeAlias = ChannelPacketDownloadProgress


RuntimeChannelDownloadRuntimeExtensionToClientPacketStartFinalizing: TypeAlias = ChannelPacketStartFinalizing


RuntimeChannelDownloadRuntimeExtensionToClientPacketSuccess: TypeAlias = ChannelPacketSuccess


RuntimeChannelDownloadRuntimeExtensionToServerPacket: TypeAlias = ChannelPacketCancel


RuntimeChannelDownloadRuntimeExtensionToServerPacketCancel: TypeAlias = ChannelPacketCancel


RuntimeRpcListEnginesReturns: TypeAlias = list[RuntimeEngineInfo]


RuntimeRpcGetEngineSelectionsReturns: TypeAlias = SelectedRuntimeEngineMap


RuntimeRpcSurveyHardwareParameter: TypeAlias = RuntimeHardwareSurveyScope


class RuntimeHardwareGpuSurveyResult(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyHardware."""

    result: RuntimeHardwareSurveyResultInfo
    gpu_info: list[RuntimeHardwareGpuInfo]


class RuntimeHardwareCpuSurveyResult(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyHardware."""

    result: RuntimeHardwareSurveyResultInfo
    cpu_info: RuntimeHardwareCpuInfo | None = None


class RuntimeRpcSearchRuntimeExtensionsReturns(LMStudioStruct, kw_only=True):
    """Result of the rpc runtime/searchRuntimeExtensions."""

    extensions: list[DownloadableRuntimeExtensionInfo]


class RuntimeHardwareSurveyHardware(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyEngine."""

    gpu_survey_result: RuntimeHardwareGpuSurveyResult
    cpu_survey_result: RuntimeHardwareCpuSurveyResult


class RuntimeHardwareSurveyEngine(LMStudioStruct, kw_only=True):
    """Part of RuntimeHardwareSurveyResult."""

    name: str
    version: str
    engine: str
    platform: str
    compatibility: RuntimeHardwareSurveyCompatibility
    supported_model_format_names: list[ModelFormatName]
    hardware_survey: RuntimeHardwareSurveyHardware
    memory_info: RuntimeHardwareSurveyMemoryInfo
    visible_devices_config: RuntimeHardwareSurveyVisibleDevicesConfig | None = None


class RuntimeHardwareSurveyResult(LMStudioStruct, kw_only=True):
    """Result of the rpc runtime/surveyHardware."""

    status: RuntimeHardwareSurveyStatus
    engines: list[RuntimeHardwareSurveyEngine]


RuntimeRpcSurveyHardwareReturns: TypeAlias = RuntimeHardwareSurveyResult
