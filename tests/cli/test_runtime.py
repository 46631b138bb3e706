"""`lmstudio runtime`: engines, those to download, and the hardware."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.shell import Shell
from lmstudio.__main__ import main
from lmstudio._sdk_models import (
    ChannelPacketDownloadProgress,
    ChannelPacketSuccess,
    CpuInfo,
    DownloadableRuntimeEngineExtension,
    DownloadProgressUpdate,
    RuntimeEngineInfo,
    RuntimeEngineSpecifier,
    RuntimeRpcSearchRuntimeExtensionsReturns,
)
from lmstudio._superjson import superjson_map
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.native.runtime import RuntimeHandlers

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = CpuInfo(architecture="x86_64")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A server for all tests."""
    with Server(engine=ScriptedEngine()) as server:
        yield server


@pytest.fixture
def shell(running: Server, capsys: pytest.CaptureFixture[str]) -> Shell:
    """What the commands of a test run in."""
    return Shell(running, capsys)


def engine(name: str, version: str) -> RuntimeEngineInfo:
    return RuntimeEngineInfo(
        name=name, version=version, engine="llama.cpp", platform="linux", cpu=CPU, supported_model_format_names=["GGUF"]
    )


def extension(name: str, version: str, *installed: str) -> DownloadableRuntimeEngineExtension:
    return DownloadableRuntimeEngineExtension(
        name=name,
        version=version,
        package=name,
        platform="linux",
        cpu=CPU,
        supported_model_format_names=["GGUF"],
        local_versions=list(installed),
    )


class Studio:
    """What a server with engines to choose from does. Two are there, and a newer one is offered."""

    def __init__(self) -> None:
        self.engines = [engine("llama-cpu", "1.10.0"), engine("llama-cpu", "1.9.0"), engine("llama-cuda", "1.9.0")]
        self.offered = [extension("llama-cpu", "1.10.0", "1.10.0", "1.9.0"), extension("llama-cuda", "1.11.0", "1.9.0")]
        self.done: list[tuple[str, str]] = []

    async def list(self, _: RuntimeHandlers, __: object, ___: object) -> list[RuntimeEngineInfo]:
        return self.engines

    async def selections(self, _: RuntimeHandlers, __: object, ___: object) -> Any:
        return superjson_map([("GGUF", RuntimeEngineSpecifier(name="llama-cuda", version="1.9.0"))])

    async def select(self, _: RuntimeHandlers, __: object, parameter: Any) -> None:
        self.done.append(("select", parameter.engine.version))

    async def remove(self, _: RuntimeHandlers, __: object, parameter: Any) -> None:
        self.done.append(("remove", parameter.version))

    async def search(self, _: RuntimeHandlers, __: object, parameter: Any) -> Any:
        found: list[Any] = [each for each in self.offered if each.name.startswith(parameter.query)]
        return RuntimeRpcSearchRuntimeExtensionsReturns(extensions=found)

    async def download(self, _: RuntimeHandlers, __: object, parameter: Any, channel: Any) -> None:
        self.done.append((f"download {parameter.update_selections}", parameter.version))
        update = DownloadProgressUpdate(downloaded_bytes=5, total_bytes=5, speed_bytes_per_second=0)
        channel.send(ChannelPacketDownloadProgress(update=update))
        channel.send(ChannelPacketSuccess())


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Studio, Shell]]:
    """Such a server, and what commands run in that talk to it."""
    studio = Studio()
    for handler, work in (
        ("_list_engines", studio.list),
        ("_get_selections", studio.selections),
        ("_select", studio.select),
        ("_remove", studio.remove),
        ("_search_extensions", studio.search),
        ("_download_extension", studio.download),
    ):
        monkeypatch.setattr(RuntimeHandlers, handler, _method(work))
    with Server(engine=ScriptedEngine()) as server:
        yield studio, Shell(server, capsys)


def _method(work: Any) -> Any:
    """A function, which becomes a method of the handlers."""

    async def method(*arguments: Any) -> Any:
        return await work(*arguments)

    return method


# A server of this package --------------------------------------------------------------------------------------------


def test_the_one_engine_is_a_table_of_one_row(shell: Shell) -> None:
    head, row = shell("runtime", "ls").splitlines()
    (found,) = json.loads(shell("runtime", "ls", "--json"))
    assert (found["engine"], found["selectedFor"]) == ("scripted", ["GGUF"])
    assert head.split() == ["LLM", "ENGINE", "SELECTED", "MODEL", "FORMAT"]
    assert row.split() == [f"{found['name']}@{found['version']}", "✓", "GGUF"]


def test_the_hardware(shell: Shell) -> None:
    survey = json.loads(shell("runtime", "survey", "--json", "--refresh"))
    assert survey["status"] == "ok"
    first, *lines = shell("runtime", "survey").splitlines()
    assert first == f"{survey['engines'][0]['name']}@1: compatible"
    assert [line.split(":")[0] for line in lines] == ["  CPU", "  GPU", "  RAM"]


def test_what_the_server_cannot_do_is_said_in_its_words(shell: Shell) -> None:
    shell("runtime", "select", "script")
    assert "runs models of the format GGUF" in shell.err
    shell("runtime", "remove", "script", code=1)
    assert "Give --yes to remove scripted-" in shell.err
    shell("runtime", "remove", "script", "--yes", code=1)
    assert "it is the only one, and part of this installation" in shell.err
    shell("runtime", "select", "skript", code=1)
    assert "No installed engine matches 'skript'." in shell.err
    shell("runtime", "get", "llama.cpp", code=1)
    assert "offers no engine 'llama.cpp' to download" in shell.err
    assert shell("runtime", "get", "--list") == ""
    assert "offers no engines" in shell.err
    shell("runtime", "update")
    assert "Nothing newer is offered." in shell.err


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtime"]) == 0
    assert "survey" in capsys.readouterr().out


# A server with engines to choose from --------------------------------------------------------------------------------


def test_select_and_remove(studio: tuple[Studio, Shell]) -> None:
    server, shell = studio
    assert [line.split()[0] for line in shell("runtime", "ls").splitlines()[1:]] == [
        "llama-cpu@1.9.0",
        "llama-cpu@1.10.0",
        "llama-cuda@1.9.0",
    ]
    shell("runtime", "select", "llama-cpu", code=1)
    assert "Name one of llama-cpu@1.9.0, llama-cpu@1.10.0." in shell.err
    shell("runtime", "select", "llama-cpu", "--latest")
    shell("runtime", "select", "llama-cpu@1.9.0")
    assert shell("runtime", "remove", "llama-cuda", "--dry-run") == "Would remove llama-cuda@1.9.0.\n"
    shell("runtime", "remove", "llama-cuda", "--yes")
    assert server.done == [("select", "1.10.0"), ("select", "1.9.0"), ("remove", "1.9.0")]


def test_get_and_update(studio: tuple[Studio, Shell]) -> None:
    server, shell = studio
    table = [line.split() for line in shell("runtime", "get", "--list").splitlines()[1:]]
    assert table == [["llama-cpu@1.10.0", "engine", "1.10.0,", "1.9.0"], ["llama-cuda@1.11.0", "engine", "1.9.0"]]
    assert len(json.loads(shell("runtime", "get", "llama-cuda", "--json"))) == 1
    shell("runtime", "get", "llama", code=1)
    assert "Name one of llama-cpu, llama-cuda." in shell.err
    shell("runtime", "get", "llama-cpu")
    assert shell.err == "llama-cpu@1.10.0 is installed already.\n"
    shell("runtime", "get", "llama-cuda")
    assert shell.err.splitlines()[-1] == "Installed llama-cuda@1.11.0."
    assert shell("runtime", "update", "--dry-run") == "Would update llama-cuda@1.9.0 to 1.11.0.\n"
    shell("runtime", "update", code=1)
    assert "Give --yes to update llama-cuda@1.9.0 to 1.11.0." in shell.err
    shell("runtime", "update", "--all", "--yes")
    assert server.done == [("download False", "1.11.0"), ("download True", "1.11.0")]


def test_a_version_is_newer_than_its_candidates(studio: tuple[Studio, Shell]) -> None:
    server, shell = studio
    server.offered = [extension("llama-cuda", version) for version in ("1.9.1-rc.1", "1.9.1", "1.9.1-beta.2")]
    assert shell("runtime", "update", "--dry-run") == "Would update llama-cuda@1.9.0 to 1.9.1.\n"
    server.offered = [extension("llama-cuda", "1.9.0-rc.1")]
    assert shell("runtime", "update", "--dry-run") == ""
    assert "Nothing newer is offered." in shell.err
