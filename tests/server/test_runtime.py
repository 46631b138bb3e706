"""The engine and the machine as clients see them: frames in, frames out; and machines that are not this one."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.metadata
import json
import os
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from native_client import ABSENT, Refused, Session, run, staged

from lmstudio._endpoints.runtime import (
    DOWNLOAD_RUNTIME_EXTENSION,
    GET_ENGINE_SELECTIONS,
    LIST_ENGINES,
    REMOVE_ENGINE,
    SEARCH_RUNTIME_EXTENSIONS,
    SELECT_ENGINE,
    SURVEY_HARDWARE,
)
from lmstudio._superjson import SuperJson, superjson_undefined
from lmstudio.server import ScriptedEngine
from lmstudio.server.engine._llama_process import find_devices
from lmstudio.server.engine.base import EngineDevice, EngineError
from lmstudio.server.engine.llama_cpp import LlamaCppEngine
from lmstudio.server.runtime.hardware import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from lmstudio.server.engine.base import Engine


@asynccontextmanager
async def runtime(engine: Engine | None = None, machine: Machine | None = None) -> AsyncIterator[Session]:
    chosen: Any = engine or ScriptedEngine()
    async with staged(chosen) as stage:
        if machine is not None:
            stage.core.installed_engine.machine = machine
        session = Session(stage.core, "runtime")
        try:
            yield session
        finally:
            await session.hang_up()


async def only_engine(session: Session) -> dict[str, str]:
    (engine,) = await session.call(LIST_ENGINES)
    return {"name": engine["name"], "version": engine["version"]}


# Engines -------------------------------------------------------------------------------------------------------------


def test_installed_engine_is_listed_with_its_real_version() -> None:
    async def test() -> None:
        async with runtime(LlamaCppEngine()) as session:
            (engine,) = await session.call(LIST_ENGINES)
            assert engine["engine"] == "llama.cpp"
            assert engine["name"].startswith("llama.cpp-")
            assert engine["version"] == importlib.metadata.version("xllamacpp")
            assert engine["supportedModelFormatNames"] == ["GGUF"]

    run(test)


def test_scripted_engine_says_that_it_is_one() -> None:
    async def test() -> None:
        async with runtime(machine=Machine(system="Darwin", machine="arm64", sysctl=lambda _: "")) as session:
            assert await session.call(LIST_ENGINES) == [
                {
                    "name": "scripted-mac-arm64",
                    "version": "1",
                    "engine": "scripted",
                    "platform": "mac",
                    "cpu": {"architecture": "ARM64", "instructionSetExtensions": ["AdvSIMD"]},
                    "supportedModelFormatNames": ["GGUF"],
                }
            ]

    run(test)


@pytest.mark.parametrize("parameter", [{"json": None, "meta": {"values": ["undefined"]}}, ABSENT])
def test_selections_are_a_map_in_superjson(parameter: Any) -> None:
    async def test() -> None:
        async with runtime() as session:
            engine = await only_engine(session)
            reply = await session.call(GET_ENGINE_SELECTIONS, parameter)
            assert reply == {"json": [["GGUF", engine]], "meta": {"values": ["map"]}}
            assert GET_ENGINE_SELECTIONS.decode_result(b'{"json":[],"meta":{"values":["map"]}}').kind == "map"

    run(test)


def test_undefined_is_what_lmstudio_js_sends() -> None:
    sent = superjson_undefined()
    assert (sent.json, sent.kind) == (None, "undefined")
    assert SuperJson({"plain": 1}).kind is None


def test_only_engine_may_be_selected_for_what_it_runs() -> None:
    async def test() -> None:
        async with runtime() as session:
            engine = await only_engine(session)
            assert await session.call(SELECT_ENGINE, {"engine": engine, "modelFormatName": "GGUF"}) is ABSENT
            with pytest.raises(Refused, match="cannot run models in the format MLX"):
                await session.call(SELECT_ENGINE, {"engine": engine, "modelFormatName": "MLX"})
            other = {**engine, "version": "0.0.1"}
            with pytest.raises(Refused, match=r"0\.0\.1: it is not installed") as caught:
                await session.call(SELECT_ENGINE, {"engine": other, "modelFormatName": "GGUF"})
            assert engine["name"] in caught.value.error["suggestion"]

    run(test)


def test_only_engine_cannot_be_removed() -> None:
    async def test() -> None:
        async with runtime() as session:
            engine = await only_engine(session)
            with pytest.raises(Refused, match="it is the only one") as caught:
                await session.call(REMOVE_ENGINE, engine)
            assert "pip" in caught.value.error["suggestion"]
            with pytest.raises(Refused, match="it is not installed"):
                await session.call(REMOVE_ENGINE, {"name": "other", "version": "1"})

    run(test)


# Extensions ----------------------------------------------------------------------------------------------------------


def test_there_are_no_extensions() -> None:
    async def test() -> None:
        async with runtime() as session:
            query = {"query": "llama.cpp", "includeIncompatible": True, "channelOverride": "beta"}
            assert await session.call(SEARCH_RUNTIME_EXTENSIONS, query) == {"extensions": []}
            with pytest.raises(Refused, match="Invalid parameter"):
                await session.call(SEARCH_RUNTIME_EXTENSIONS, {**query, "channelOverride": ""})
            wanted = {"name": "llama.cpp-linux-x86_64-cuda", "version": "1.2.3", "updateSelections": True}
            with pytest.raises(Refused, match=r"'llama\.cpp-linux-x86_64-cuda' 1\.2\.3: this server has none to offer"):
                await session.open(DOWNLOAD_RUNTIME_EXTENSION, wanted).rest()

    run(test)


# Hardware ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [ABSENT, {"type": "selected"}, {"type": "all"}])
def test_survey_describes_this_machine(scope: Any) -> None:
    async def test() -> None:
        async with runtime() as session:
            survey = await session.call(SURVEY_HARDWARE, scope)
            assert survey["status"] == "ok"
            (engine,) = survey["engines"]
            assert engine["compatibility"] == {"status": "compatible"}
            memory = engine["memoryInfo"]
            assert memory["totalMemory"] == memory["ramCapacity"] + memory["vramCapacity"]
            if sys.platform == "linux":
                assert 0 < memory["ramCapacity"] <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            assert engine["hardwareSurvey"]["cpuSurveyResult"]["result"]["code"] == "success"

    run(test)


def test_survey_of_chosen_engines() -> None:
    async def test() -> None:
        async with runtime() as session:
            engine = await only_engine(session)
            survey = await session.call(SURVEY_HARDWARE, {"type": "custom", "engines": [engine]})
            assert [each["name"] for each in survey["engines"]] == [engine["name"]]
            nothing = await session.call(SURVEY_HARDWARE, {"type": "custom", "engines": []})
            assert nothing == {"status": "noCompatibleBackends", "engines": []}
            with pytest.raises(Refused, match="Cannot survey the hardware with the engine 'other' 1"):
                await session.call(SURVEY_HARDWARE, {"type": "custom", "engines": [{"name": "other", "version": "1"}]})

    run(test)


class GraphicsEngine(ScriptedEngine):
    """Claims to see devices."""

    asked = 0

    def __init__(self, *devices: EngineDevice, problem: str | None = None) -> None:
        super().__init__()
        self._devices = devices
        self._problem = problem

    async def devices(self) -> Sequence[EngineDevice]:
        self.asked += 1
        if self._problem:
            raise EngineError(self._problem)
        return self._devices


def test_graphics_cards_of_the_engine_are_reported() -> None:
    cards = (EngineDevice("CUDA0", "NVIDIA L4", 24_000), EngineDevice("Vulkan1", "Iris", 7_000, shares_memory=True))

    async def test() -> None:
        engine = GraphicsEngine(*cards)
        async with runtime(engine) as session:
            survey = await session.call(SURVEY_HARDWARE)
            found = survey["engines"][0]
            gpus = found["hardwareSurvey"]["gpuSurveyResult"]
            assert gpus["result"]["code"] == "success"
            assert gpus["gpuInfo"] == [
                {
                    "name": "NVIDIA L4",
                    "deviceId": 0,
                    "totalMemoryCapacityBytes": 24_000,
                    "dedicatedMemoryCapacityBytes": 24_000,
                    "integrationType": "discrete",
                    "detectionPlatform": "CUDA",
                    "detectionPlatformVersion": "",
                    "otherInfo": {"engineDevice": "CUDA0"},
                },
                {
                    "name": "Iris",
                    "deviceId": 1,
                    "totalMemoryCapacityBytes": 7_000,
                    "dedicatedMemoryCapacityBytes": 0,
                    "integrationType": "integrated",
                    "detectionPlatform": "Vulkan",
                    "detectionPlatformVersion": "",
                    "otherInfo": {"engineDevice": "Vulkan1"},
                },
            ]
            assert found["memoryInfo"]["vramCapacity"] == 24_000
            (listed,) = await session.call(LIST_ENGINES)
            assert listed["gpu"] == {"framework": "CUDA"}
            assert engine.asked == 1

    run(test)


def test_engine_that_cannot_say_what_it_finds() -> None:
    async def test() -> None:
        async with runtime(GraphicsEngine(problem="The driver is asleep.")) as session:
            survey = await session.call(SURVEY_HARDWARE)
            assert survey["status"] == "noCompatibleBackends"
            (found,) = survey["engines"]
            assert found["compatibility"] == {"status": "errorSurveyingHardware", "message": "The driver is asleep."}
            assert found["hardwareSurvey"]["gpuSurveyResult"]["result"]["code"] == "error"
            assert "gpu" not in (await session.call(LIST_ENGINES))[0]

    run(test)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_cards_that_the_engine_cannot_use_are_named(tmp_path: Path) -> None:
    files = {
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA L4\nIRQ: 5\n",
        "sys/class/drm/card0/device/vendor": "0x10de\n",
        "sys/class/drm/card1/device/vendor": "0x1002\n",
        "sys/class/drm/card1/device/device": "0x744c\n",
        "sys/class/drm/card1-DP-1/device/enabled": "enabled\n",
    }

    async def test() -> None:
        async with runtime(machine=Machine(write(tmp_path, files), system="Linux", machine="x86_64")) as session:
            survey = await session.call(SURVEY_HARDWARE)
            result = survey["engines"][0]["hardwareSurvey"]["gpuSurveyResult"]["result"]
            assert result["code"] == "noDevicesFound"
            assert "This machine has NVIDIA L4, AMD 0x744c:" in result["message"]

    run(test)


def test_linux_is_read_from_its_files(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx sse avx2 avx512f\n",
        "proc/meminfo": "MemTotal:       2048 kB\nMemFree: 1 kB\n",
    }
    machine = Machine(write(tmp_path, files), system="Linux", machine="x86_64")
    processor = machine.processor()
    assert (processor.name, processor.extensions) == ("Some CPU @ 2 GHz", ("AVX", "AVX2"))
    assert machine.memory_bytes() == 2048 * 1024
    assert machine.graphics_cards() == []
    assert machine.platform == "linux"


def test_macos_is_asked_by_sysctl(tmp_path: Path) -> None:
    said = {
        "machdep.cpu.brand_string": "Intel(R) Core(TM) i7",
        "machdep.cpu.features": "FPU AVX1.0",
        "machdep.cpu.leaf7_features": "AVX2 BMI2",
        "hw.memsize": "17179869184",
    }
    machine = Machine(tmp_path, system="Darwin", machine="x86_64", sysctl=lambda name: said.get(name, ""))
    processor = machine.processor()
    assert (processor.name, processor.extensions) == ("Intel(R) Core(TM) i7", ("AVX", "AVX2"))
    assert machine.memory_bytes() == 17179869184


def test_machine_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path, system="Plan9", machine="riscv64")
    assert machine.processor().architecture == "unknown"
    assert machine.processor().extensions == ()
    assert machine.processor().name
    assert machine.memory_bytes() == 0
    assert machine.platform == "plan9"


def test_windows_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fill(status: Any) -> int:
        status._obj.total = 5_000_000
        return 1

    kernel = SimpleNamespace(IsProcessorFeaturePresent=lambda number: number == 40, GlobalMemoryStatusEx=fill)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    machine = Machine(tmp_path, system="Windows", machine="AMD64")
    assert (machine.platform, machine.architecture) == ("win", "x86_64")
    assert machine.processor().extensions == ("AVX2",)
    assert machine.memory_bytes() == 5_000_000


# Asking llama.cpp ----------------------------------------------------------------------------------------------------


def asked(program: str) -> list[EngineDevice]:
    return asyncio.run(find_devices((sys.executable, "-c", program)))


def test_llama_cpp_is_asked_in_a_process_of_its_own() -> None:
    assert all(device.memory_bytes > 0 for device in asyncio.run(LlamaCppEngine().devices()))


def test_devices_are_read_from_among_other_output() -> None:
    found = json.dumps([{"name": "CUDA0", "description": "NVIDIA L4", "memory_bytes": 5, "shares_memory": False}])
    program = f"print('found 1 device'); print('devices:' + {found!r}); print('bye')"
    assert asked(program) == [EngineDevice("CUDA0", "NVIDIA L4", 5)]


def test_program_that_cannot_be_started_says_so() -> None:
    with pytest.raises(EngineError, match="Cannot ask the inference engine"):
        asyncio.run(find_devices(("/no/such/program",)))


@pytest.mark.parametrize(
    ("program", "words"),
    [("import no_such_module", "No module named 'no_such_module'"), ("import os; os._exit(3)", "exit code 3")],
)
def test_engine_that_cannot_be_asked_says_why(program: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        asked(program)
