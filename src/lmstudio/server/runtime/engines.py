"""The engine of a server as LM Studio describes engines. There is one, it came with the installation, and it stays."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lmstudio._sdk_models import (
    CpuInfo,
    GpuInfo,
    RuntimeEngineInfo,
    RuntimeEngineSpecifier,
    RuntimeHardwareCpuInfo,
    RuntimeHardwareCpuSurveyResult,
    RuntimeHardwareGpuInfo,
    RuntimeHardwareGpuSurveyResult,
    RuntimeHardwareSurveyCompatibility,
    RuntimeHardwareSurveyEngine,
    RuntimeHardwareSurveyHardware,
    RuntimeHardwareSurveyMemoryInfo,
    RuntimeHardwareSurveyResultInfo,
)
from lmstudio.server.engine.base import EngineError
from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from lmstudio._sdk_models import ModelFormatName, RuntimeHardwareGpuDetectionPlatform
    from lmstudio.server.engine.base import Engine, EngineDevice
    from lmstudio.server.runtime.hardware import Machine

__all__ = ["InstalledEngine"]

MODEL_FORMATS: Final[list[ModelFormatName]] = ["GGUF"]
_FRAMEWORKS: Final[dict[str, RuntimeHardwareGpuDetectionPlatform]] = {
    "CUDA": "CUDA",
    "ROCm": "ROCm",
    "Vulkan": "Vulkan",
    "Metal": "Metal",
    "MTL": "Metal",
    "OpenCL": "OpenCl",
    "GPUOpenCL": "OpenCl",
}
"""What the names of llama.cpp's devices begin with, e.g. CUDA0."""


class InstalledEngine:
    """An engine, and the machine that it runs on."""

    def __init__(self, engine: Engine, machine: Machine) -> None:
        self.engine = engine
        self.machine = machine
        self._found: list[EngineDevice] | None = None
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        """As LM Studio names its engines: llama.cpp-linux-x86_64."""
        architecture = self.machine.architecture.lower()
        return f"{self.engine.name}-{self.machine.platform}-{architecture}"

    @property
    def specifier(self) -> RuntimeEngineSpecifier:
        """Name and version."""
        return RuntimeEngineSpecifier(name=self.name, version=self.engine.version)

    def require(self, specifier: RuntimeEngineSpecifier, attempted: str) -> None:
        """Refuse any other engine; *attempted* completes "Cannot ...".

        Raises:
            RequestError: this server has no such engine.
        """
        if specifier != self.specifier:
            raise RequestError(
                f"Cannot {attempted} the engine {specifier.name!r} {specifier.version}: it is not installed.",
                suggestion=f"This server has one engine: {self.name!r} {self.engine.version}.",
            )

    async def info(self) -> RuntimeEngineInfo:
        """Its description."""
        processor = await asyncio.to_thread(self.machine.processor)
        framework = None
        with suppress(EngineError):  # a list of engines is no place to say so; a survey is
            framework = next((_framework(device) for device in await self._devices()), None)
        return RuntimeEngineInfo(
            name=self.name,
            version=self.engine.version,
            engine=self.engine.name,
            platform=self.machine.platform,
            cpu=CpuInfo(
                architecture=processor.architecture, instruction_set_extensions=list(processor.extensions) or None
            ),
            supported_model_format_names=MODEL_FORMATS,
            gpu=None if framework is None else GpuInfo(framework=framework),
        )

    async def survey(self) -> RuntimeHardwareSurveyEngine:
        """What it finds on this machine."""
        devices: list[EngineDevice] = []
        problem = None
        try:
            devices = await self._devices()
        except EngineError as error:
            problem = str(error)
        vram = sum(device.memory_bytes for device in devices if not device.shares_memory)
        ram = await asyncio.to_thread(self.machine.memory_bytes)
        hardware = RuntimeHardwareSurveyHardware(
            gpu_survey_result=RuntimeHardwareGpuSurveyResult(
                result=await self._gpu_result(devices, problem),
                gpu_info=[_gpu_info(number, device) for number, device in enumerate(devices)],
            ),
            cpu_survey_result=await self._cpu_result(),
        )
        compatibility = RuntimeHardwareSurveyCompatibility(status="compatible")
        if problem is not None:
            compatibility = RuntimeHardwareSurveyCompatibility(status="errorSurveyingHardware", message=problem)
        return RuntimeHardwareSurveyEngine(
            name=self.name,
            version=self.engine.version,
            engine=self.engine.name,
            platform=self.machine.platform,
            compatibility=compatibility,
            supported_model_format_names=MODEL_FORMATS,
            hardware_survey=hardware,
            memory_info=RuntimeHardwareSurveyMemoryInfo(ram_capacity=ram, vram_capacity=vram, total_memory=ram + vram),
        )

    async def _devices(self) -> list[EngineDevice]:
        # One after the other, because looking for them may start a process.
        async with self._looking:
            if self._found is None:
                self._found = list(await self.engine.devices())
            return self._found

    async def _gpu_result(self, devices: list[EngineDevice], problem: str | None) -> RuntimeHardwareSurveyResultInfo:
        if problem is not None:
            return RuntimeHardwareSurveyResultInfo(code="error", message=problem)
        if devices:
            return RuntimeHardwareSurveyResultInfo(code="success", message="")
        cards = await asyncio.to_thread(self.machine.graphics_cards)
        text = "The engine finds no graphics card that it can use."
        if cards:
            text += f" This machine has {', '.join(cards)}: the engine may have been built without support for it."
        return RuntimeHardwareSurveyResultInfo(code="noDevicesFound", message=text)

    async def _cpu_result(self) -> RuntimeHardwareCpuSurveyResult:
        processor = await asyncio.to_thread(self.machine.processor)
        return RuntimeHardwareCpuSurveyResult(
            result=RuntimeHardwareSurveyResultInfo(code="success", message=""),
            cpu_info=RuntimeHardwareCpuInfo(
                architecture=processor.architecture,
                supported_instruction_set_extensions=list(processor.extensions),
                name=processor.name,
            ),
        )


def _framework(device: EngineDevice) -> RuntimeHardwareGpuDetectionPlatform:
    return _FRAMEWORKS.get(device.name.rstrip("0123456789"), "unknown")


def _gpu_info(number: int, device: EngineDevice) -> RuntimeHardwareGpuInfo:
    return RuntimeHardwareGpuInfo(
        name=device.description or device.name,
        device_id=number,
        total_memory_capacity_bytes=device.memory_bytes,
        dedicated_memory_capacity_bytes=0 if device.shares_memory else device.memory_bytes,
        integration_type="integrated" if device.shares_memory else "discrete",
        detection_platform=_framework(device),
        detection_platform_version="",
        other_info={"engineDevice": device.name},
    )
