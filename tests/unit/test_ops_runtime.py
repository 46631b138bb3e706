"""Engines and extensions, with a scripted server: what is sent, and what a server with extensions answers."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_runtime import ScriptedRuntime, channel_error, packet, result, run

from lmstudio._abort import AbortSignal
from lmstudio._ops.downloads import DownloadWatch
from lmstudio._ops.runtime import (
    download_extension,
    get_selections,
    read_engine,
    read_scope,
    search_extensions,
    search_parameter,
    survey_hardware,
)
from lmstudio._sdk_models import DownloadableRuntimeFrameworkExtension, DownloadProgressUpdate, RuntimeEngineSpecifier
from lmstudio.errors import LMStudioCancelledError, LMStudioServerError

CUDA = RuntimeEngineSpecifier(name="llama.cpp-cuda", version="1.2.3")
PROGRESS = {"downloadedBytes": 5, "totalBytes": 10, "speedBytesPerSecond": 1.5}


def selections(value: dict[str, Any]) -> Any:
    runtime = ScriptedRuntime(result(value))
    selected = run(get_selections(runtime.port("runtime")))
    assert runtime.sent[0]["parameter"] == {"json": None, "meta": {"values": ["undefined"]}}
    return selected


def test_selections_are_read_from_a_map() -> None:
    engine = {"name": CUDA.name, "version": CUDA.version}
    both = {"json": [["GGUF", engine], ["GGML", engine]], "meta": {"values": ["map"]}}
    assert selections(both) == {"GGUF": CUDA, "GGML": CUDA}
    assert selections({"json": [], "meta": {"values": ["map"]}}) == {}


def test_a_selection_for_a_newer_format_spoils_no_others() -> None:
    engine = {"name": CUDA.name, "version": CUDA.version}
    entries = [["GGUF", engine], ["GGUF2", engine], ["no entry"], "nor this"]
    assert selections({"json": entries, "meta": {"values": ["map"]}}) == {"GGUF": CUDA, "GGUF2": CUDA}


@pytest.mark.parametrize(
    ("scope", "sent"),
    [
        ("selected", {"type": "selected"}),
        ("all", {"type": "all"}),
        ([CUDA], {"type": "custom", "engines": [{"name": "llama.cpp-cuda", "version": "1.2.3"}]}),
    ],
)
def test_the_scope_of_a_survey_is_sent(scope: Any, sent: dict[str, Any]) -> None:
    runtime = ScriptedRuntime(result({"status": "noCompatibleBackends", "engines": []}))
    assert run(survey_hardware(runtime.port("runtime"), read_scope(scope))).engines == []
    assert runtime.sent[0]["parameter"] == sent


def test_without_a_scope_nothing_is_sent() -> None:
    runtime = ScriptedRuntime(result({"status": "noCompatibleBackends", "engines": []}))
    run(survey_hardware(runtime.port("runtime"), read_scope(None)))
    assert "parameter" not in runtime.sent[0]


def test_extensions_are_found_and_can_be_named_as_they_are() -> None:
    found = {
        "type": "framework",
        "name": "cuda",
        "version": "12",
        "package": "cuda-12",
        "platform": "linux",
        "cpu": {"architecture": "x86_64"},
        "localVersions": [],
    }
    runtime = ScriptedRuntime(result({"extensions": [found]}))
    (extension,) = run(search_extensions(runtime.port("runtime"), search_parameter("cuda", "beta", True)))
    assert runtime.sent[0]["parameter"] == {"query": "cuda", "includeIncompatible": True, "channelOverride": "beta"}
    assert isinstance(extension, DownloadableRuntimeFrameworkExtension)
    assert read_engine(extension) == RuntimeEngineSpecifier(name="cuda", version="12")


# Downloads ------------------------------------------------------------------------------------------------------------


def download(runtime: ScriptedRuntime, watch: DownloadWatch) -> None:
    run(download_extension(runtime.port("runtime"), CUDA, True, watch))


def test_a_download_reports_how_far_it_is() -> None:
    told: list[object] = []
    runtime = ScriptedRuntime(
        packet({"type": "downloadProgress", "update": PROGRESS}),
        packet({"type": "startFinalizing"}),
        packet({"type": "startFinalizing"}),
        packet({"type": "success"}),
    )
    download(runtime, DownloadWatch(told.append, lambda: told.append("finalizing")))
    update = DownloadProgressUpdate(downloaded_bytes=5, total_bytes=10, speed_bytes_per_second=1.5)
    assert told == [update, "finalizing"]
    assert runtime.sent[0]["creationParameter"] == {
        "name": "llama.cpp-cuda",
        "version": "1.2.3",
        "updateSelections": True,
    }
    assert runtime.sent_packets() == []


def test_an_aborted_download_is_cancelled() -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(lambda: signal.abort("enough"))
    with pytest.raises(LMStudioCancelledError, match="enough"):
        download(runtime, DownloadWatch(signal=signal))
    assert runtime.sent_packets() == [{"type": "cancel"}]


def test_an_interrupted_download_is_cancelled() -> None:
    runtime = ScriptedRuntime(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        download(runtime, DownloadWatch())
    assert runtime.sent_packets() == [{"type": "cancel"}]


def test_a_download_that_is_refused_says_why() -> None:
    runtime = ScriptedRuntime(channel_error({"title": "The disk is full"}))
    with pytest.raises(LMStudioServerError, match=r"extension 'llama.cpp-cuda' 1\.2\.3: The disk is full"):
        download(runtime, DownloadWatch())
    assert runtime.sent_packets() == []
