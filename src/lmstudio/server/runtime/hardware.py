"""What the system says about processor, memory and graphics cards, without packages of others."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio._sdk_models import RuntimeHardwareCpuArchitecture, RuntimeHardwareCpuInstructionSetExtension

__all__ = ["Machine", "Processor"]

_SECONDS: Final = 5.0
_GPU_VENDORS: Final = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# Of Windows' IsProcessorFeaturePresent.
_WINDOWS_FEATURES: Final[dict[RuntimeHardwareCpuInstructionSetExtension, int]] = {"AVX": 39, "AVX2": 40}


@dataclass(frozen=True)
class Processor:
    """The processor of a machine."""

    architecture: RuntimeHardwareCpuArchitecture
    extensions: tuple[RuntimeHardwareCpuInstructionSetExtension, ...]
    """Those that the protocol knows."""
    name: str | None


def _sysctl(name: str) -> str:
    """What macOS says about itself; "" if it does not."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "-n", name]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout.strip()
    return ""


class Machine:
    """A machine. Asking it reads files, or starts programs of the system: do it in a thread."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        system: str | None = None,
        machine: str | None = None,
        sysctl: Callable[[str], str] = _sysctl,
    ) -> None:
        """This machine, but for what is given: where its files are, and the words of `platform` for it."""
        self._root = root
        self._sysctl = sysctl
        self.system: str = (system or platform.system()).lower()
        self._machine = (machine or platform.machine()).lower()

    @property
    def platform(self) -> str:
        """In LM Studio's words: linux, mac or win."""
        return {"darwin": "mac", "windows": "win"}.get(self.system, self.system)

    @property
    def architecture(self) -> RuntimeHardwareCpuArchitecture:
        """Of the processor, in LM Studio's words."""
        if self._machine in ("x86_64", "amd64"):
            return "x86_64"
        return "ARM64" if self._machine in ("arm64", "aarch64") else "unknown"

    def processor(self) -> Processor:
        """What there is to know about it."""
        return Processor(self.architecture, self._extensions(), self._processor_name() or None)

    def _extensions(self) -> tuple[RuntimeHardwareCpuInstructionSetExtension, ...]:
        if self.architecture == "ARM64":
            return ("AdvSIMD",)  # part of the architecture
        if self.system == "windows":
            return _windows_extensions()
        if self.system == "darwin":
            flags = f"{self._sysctl('machdep.cpu.features')} {self._sysctl('machdep.cpu.leaf7_features')}"
        else:
            flags = self._cpu_fact("flags")
        words = flags.lower().replace("avx1.0", "avx").split()
        known: tuple[RuntimeHardwareCpuInstructionSetExtension, ...] = ("AVX", "AVX2")
        return tuple(name for name in known if name.lower() in words)

    def _processor_name(self) -> str:
        if self.system == "darwin":
            return self._sysctl("machdep.cpu.brand_string")
        # Processors other than x86 have no name in that file.
        return self._cpu_fact("model name") or platform.processor() or self._machine

    def _cpu_fact(self, name: str) -> str:
        match = re.search(rf"^{name}\s*: (.*)$", self._read("proc/cpuinfo"), re.MULTILINE)
        return match[1].strip() if match else ""

    def memory_bytes(self) -> int:
        """All of the memory, used or not; 0 if the system does not say."""
        match = re.search(r"^MemTotal:\s*(\d+) kB", self._read("proc/meminfo"), re.MULTILINE)
        if match:
            return int(match[1]) * 1024
        if self.system == "darwin" and (size := self._sysctl("hw.memsize")).isdigit():
            return int(size)
        return _windows_memory_bytes() if self.system == "windows" else 0

    def graphics_cards(self) -> list[str]:
        """Names of those in the machine, whether or not any program can use them. Linux only."""
        named = list(self._nvidia_cards())
        return named + [name for name in self._other_cards() if not (named and name.startswith("NVIDIA"))]

    def _nvidia_cards(self) -> Iterator[str]:
        # The driver's own list, so that nvidia-smi, which containers often lack, need not be there.
        for file in sorted(self._root.glob("proc/driver/nvidia/gpus/*/information")):
            if match := re.search(r"^Model:\s*(.+)$", self._text_of(file), re.MULTILINE):
                yield match[1].strip()

    def _other_cards(self) -> Iterator[str]:
        for folder in sorted(self._root.glob("sys/class/drm/card*/device")):
            vendor = self._text_of(folder / "vendor").strip()
            # Without a vendor it is a connector of a card, or a screen that only programs see.
            if vendor in _GPU_VENDORS:
                yield f"{_GPU_VENDORS[vendor]} {self._text_of(folder / 'device').strip()}"

    def _read(self, name: str) -> str:
        return self._text_of(self._root / name)

    @staticmethod
    def _text_of(file: Path) -> str:
        with suppress(OSError):
            return file.read_text("utf-8", "replace")
        return ""


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = [
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
    ]


def _windows_kernel() -> Any:
    """Windows' own library; None elsewhere."""
    return getattr(getattr(ctypes, "windll", None), "kernel32", None)


def _windows_extensions() -> tuple[RuntimeHardwareCpuInstructionSetExtension, ...]:
    kernel = _windows_kernel()
    if kernel is None:
        return ()
    return tuple(name for name, number in _WINDOWS_FEATURES.items() if kernel.IsProcessorFeaturePresent(number))


def _windows_memory_bytes() -> int:
    kernel = _windows_kernel()
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    if kernel is None or not kernel.GlobalMemoryStatusEx(ctypes.byref(status)):
        return 0
    return int(status.total)
