"""Searching and downloading models, with a scripted server."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
from scripted_runtime import ScriptedRuntime, channel_error, close, packet, result, rpc_error, run

from lmstudio._abort import AbortSignal
from lmstudio._ops.repository import download, get_download_options, search_models, search_options
from lmstudio._sdk_models import (
    DownloadProgressUpdate,
    ModelSearchOpts,
    ModelSearchResultDownloadOptionData,
    ModelSearchResultEntryData,
    ModelSearchResultIdentifierHf,
)
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioServerError,
    LMStudioTimeoutError,
    LMStudioValueError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY = {"name": "Heron", "identifier": {"type": "hf", "identifier": "maker/heron"}, "exact": True}
OPTION = {
    "name": "Heron 1B",
    "quantization": "Q4_K_M",
    "sizeBytes": 100,
    "fitEstimation": "fitWithoutGPU",
    "recommended": True,
    "downloadIdentifier": "maker/heron/q4",
    "indexedModelIdentifier": "maker/heron/heron-q4.gguf",
    "compatibilityType": "gguf",
}
HERON = ModelSearchResultDownloadOptionData.from_dict(OPTION)
FINALIZING = packet({"type": "startFinalizing"})
SUCCESS = packet({"type": "success", "defaultIdentifier": "heron"})
CANCEL = {"type": "cancel"}


def progress(downloaded: int) -> dict[str, Any]:
    update = {"downloadedBytes": downloaded, "totalBytes": 100, "speedBytesPerSecond": 2.5}
    return packet({"type": "downloadProgress", "update": update})


def downloading(runtime: ScriptedRuntime, **options: Any) -> str:
    return run(download(runtime.port("repository"), HERON, **options))


# Searching -----------------------------------------------------------------------------------------------------------


def test_a_search_sends_what_was_given() -> None:
    runtime = ScriptedRuntime(result({"results": [ENTRY]}))
    found = run(search_models(runtime.port("repository"), search_options("heron", 3, ("gguf",))))
    assert found == [ModelSearchResultEntryData.from_dict(ENTRY)]
    parameter = {"opts": {"searchTerm": "heron", "limit": 3, "compatibilityTypes": ["gguf"]}}
    assert runtime.sent == [{"type": "rpcCall", "endpoint": "searchModels", "callId": 1, "parameter": parameter}]


def test_a_search_needs_no_argument() -> None:
    runtime = ScriptedRuntime(result({"results": []}))
    assert run(search_models(runtime.port("repository"), search_options(None, None, None))) == []
    assert runtime.sent[0]["parameter"] == {"opts": {}}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((5, None, None), "search_term must be a string, got int."),
        ((None, 0, None), "limit must be a whole number from 1 to 25, got 0."),
        ((None, 26, None), "limit must be a whole number from 1 to 25, got 26."),
        ((None, True, None), "limit must be a whole number from 1 to 25, got True."),
        ((None, 2.0, None), "limit must be a whole number from 1 to 25, got 2.0."),
        ((None, None, "gguf"), "compatibility_types must be a list, got a string: pass ['gguf']."),
        ((None, None, 5), "compatibility_types must be a list, got int."),
        ((None, None, ["ggfu"]), "'ggfu' is not a compatibility type; there are gguf, "),
    ],
)
def test_what_no_server_could_accept_is_refused(arguments: Any, problem: str) -> None:
    with pytest.raises(LMStudioValueError, match=re.escape(problem)):
        search_options(*arguments)


@pytest.mark.parametrize("limit", [1, 25])
def test_the_limits_of_the_limit_are_allowed(limit: int) -> None:
    assert search_options(None, limit, None) == ModelSearchOpts(limit=limit)


def test_a_failed_search_says_so() -> None:
    runtime = ScriptedRuntime(rpc_error({"title": "The catalogue is gone"}))
    with pytest.raises(LMStudioServerError, match=r"^Could not search for models: The catalogue is gone"):
        run(search_models(runtime.port("repository"), ModelSearchOpts()))


def test_download_options_are_asked_for_by_the_identifier_found() -> None:
    runtime = ScriptedRuntime(result({"results": [OPTION]}))
    entry = ModelSearchResultEntryData.from_dict(ENTRY)
    assert isinstance(entry.identifier, ModelSearchResultIdentifierHf)
    assert run(get_download_options(runtime.port("repository"), entry)) == [HERON]
    assert runtime.sent[0]["endpoint"] == "getModelDownloadOptions"
    assert runtime.sent[0]["parameter"] == {"modelSearchResultIdentifier": ENTRY["identifier"]}


# Downloading ---------------------------------------------------------------------------------------------------------


def test_a_download_reports_progress_then_finalizes_then_returns_the_key() -> None:
    runtime = ScriptedRuntime(progress(10), progress(100), FINALIZING, SUCCESS)
    events: list[object] = []
    assert downloading(runtime, on_progress=events.append, on_finalize=lambda: events.append("finalize")) == "heron"
    updates = [
        DownloadProgressUpdate(downloaded_bytes=size, total_bytes=100, speed_bytes_per_second=2.5) for size in (10, 100)
    ]
    assert events == [*updates, "finalize"]
    assert [message["type"] for message in runtime.sent] == ["channelCreate"]
    assert runtime.sent[0]["creationParameter"] == {"downloadIdentifier": "maker/heron/q4"}


def test_a_download_needs_no_callbacks() -> None:
    assert downloading(ScriptedRuntime(progress(10), FINALIZING, SUCCESS)) == "heron"


def test_finalizing_is_told_once() -> None:
    runtime = ScriptedRuntime(FINALIZING, FINALIZING, SUCCESS)
    calls: list[int] = []
    downloading(runtime, on_finalize=lambda: calls.append(1))
    assert calls == [1]


def test_failing_callbacks_are_logged_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise KeyError("mine")

    runtime = ScriptedRuntime(progress(10), FINALIZING, SUCCESS)
    with caplog.at_level(logging.ERROR, "lmstudio"):
        assert downloading(runtime, on_progress=fail, on_finalize=fail) == "heron"
    assert len(caplog.records) == 2
    assert runtime.sent_packets() == []


@pytest.mark.parametrize("name", ["on_progress", "on_finalize"])
def test_a_callback_that_cannot_be_called_is_refused_before_anything_is_sent(name: str) -> None:
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioValueError, match=f"{name} must be a function"):
        downloading(runtime, **{name: 5})
    assert runtime.sent == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), LMStudioTimeoutError("late")])
def test_leaving_early_cancels_the_download(error: BaseException) -> None:
    runtime = ScriptedRuntime(progress(10), error)
    with pytest.raises(type(error)):
        downloading(runtime)
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


def test_ctrl_c_in_a_callback_cancels_the_download() -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    runtime = ScriptedRuntime(progress(10))
    with pytest.raises(KeyboardInterrupt):
        downloading(runtime, on_progress=interrupt)
    assert runtime.sent_packets() == [CANCEL]


def test_ctrl_c_while_the_request_leaves_cancels_the_download() -> None:
    runtime = ScriptedRuntime()
    runtime.interrupt_next_post = True
    with pytest.raises(KeyboardInterrupt):
        downloading(runtime)
    assert runtime.sent_packets() == [CANCEL]


@pytest.mark.parametrize("where", ["while waiting", "in a callback"])
def test_an_aborted_signal_cancels_at_once_and_tells_the_reason(where: str) -> None:
    signal = AbortSignal()

    def abort() -> None:
        signal.abort("no time")

    steps: dict[str, list[Any]] = {"while waiting": [progress(10), abort], "in a callback": [progress(10)]}
    on_progress: dict[str, Callable[[object], None] | None] = {
        "while waiting": None,
        "in a callback": lambda _: abort(),
    }
    runtime = ScriptedRuntime(*steps[where])
    with pytest.raises(LMStudioCancelledError, match="no time"):
        downloading(runtime, signal=signal, on_progress=on_progress[where])
    assert runtime.sent_packets() == [CANCEL]
    assert runtime.multiplexers[0].is_idle


def test_a_signal_aborted_before_prevents_the_request() -> None:
    signal = AbortSignal()
    signal.abort()
    runtime = ScriptedRuntime()
    with pytest.raises(LMStudioCancelledError):
        downloading(runtime, signal=signal)
    assert runtime.sent == []


def test_a_signal_aborted_afterwards_does_nothing() -> None:
    signal = AbortSignal()
    runtime = ScriptedRuntime(SUCCESS)
    downloading(runtime, signal=signal)
    signal.abort()
    assert runtime.sent_packets() == []


def test_a_refused_download_says_why_and_sends_no_cancel() -> None:
    runtime = ScriptedRuntime(progress(10), channel_error({"title": "Not enough space"}))
    with pytest.raises(LMStudioServerError, match=r"^Could not download 'Heron 1B': Not enough space"):
        downloading(runtime)
    assert runtime.sent_packets() == []


def test_a_channel_that_closes_without_success_is_an_error() -> None:
    with pytest.raises(LMStudioChannelClosedError, match="download 'Heron 1B'"):
        downloading(ScriptedRuntime(FINALIZING, close()))


def test_a_success_without_a_key_is_an_error() -> None:
    runtime = ScriptedRuntime(packet({"type": "success", "defaultIdentifier": ""}))
    with pytest.raises(LMStudioServerError, match="did not say under which key"):
        downloading(runtime)
