"""Searching for models and downloading them."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from file_host import FileHost

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE
from surface.background import AsyncBackground

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from surface.fault_proxy import FaultProxy

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
KEY = "text-embedding-pebble"
IDENTIFIER = "maker/pebble-GGUF/pebble-embed-0.8m-q8_0.gguf"


@pytest.fixture
def host() -> Iterator[FileHost]:
    """Where the files of the catalogue are; it can be stopped in the middle of one."""
    with FileHost(model=CONTENT) as host:
        yield host


@pytest.fixture
def server(engine: ScriptedEngine, host: FileHost, tmp_path: Path) -> Iterator[Server]:
    """A server whose catalogue has two models, of which one can be had."""

    def model(name: str, path: str, file: str) -> dict[str, Any]:
        files = [{"url": f"{host.url}/{path}", "name": file, "size": len(CONTENT)}]
        return {"owner": "maker", "name": name, "files": files, "staffPick": path == "gone"}

    pebble = model("pebble-GGUF", "model", "pebble-embed-0.8m-q8_0.gguf")
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [pebble, model("gone-GGUF", "gone", "gone.gguf")]}))
    with Server(engine=engine, catalog=catalog, models_folder=tmp_path / "models") as server:
        yield server


@pytest.fixture
def chat_server(tmp_path: Path) -> Iterator[Server]:
    """A server with llama.cpp, one of the models of the package, and the other one to download."""
    pytest.importorskip("xllamacpp")
    with Server([CHAT_MODEL_FILE], models_folder=tmp_path) as server:
        yield server


async def option_of(client: lms.AsyncClient, term: str = "pebble") -> lms.AsyncModelDownloadOption:
    (model,) = await client.repository.search_models(term)
    (option,) = await model.get_download_options()
    return option


def models_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*/*/*.gguf")]


# Searching -----------------------------------------------------------------------------------------------------------


async def test_search_finds_models(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        models = await client.repository.search_models("pebble-gguf", limit=5, compatibility_types=["gguf"])
    assert [model.name for model in models] == ["maker/pebble-GGUF"]
    assert models[0].is_exact_match()
    assert not models[0].is_staff_pick()
    assert models[0].search_result.name == "maker/pebble-GGUF"
    assert models[0].search_result.identifier.identifier == "maker/pebble-GGUF"


async def test_search_without_arguments_finds_what_is_recommended(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        models = await client.repository.search_models()
    assert [(model.name, model.is_staff_pick()) for model in models] == [
        ("maker/gone-GGUF", True),
        ("maker/pebble-GGUF", False),
    ]


async def test_search_with_impossible_arguments_is_refused_at_once(server: Server) -> None:
    client = lms.AsyncClient(server.api_host)
    with pytest.raises(lms.LMStudioValueError, match="from 1 to 25, got 100"):
        await client.repository.search_models("pebble", 100)
    assert not client.repository.connected
    await client.aclose()


async def test_results_of_one_session_are_equal(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client, lms.AsyncClient(server.api_host) as other:
        first, second = [await client.repository.search_models("pebble") for _ in range(2)]
        foreign = await other.repository.search_models("pebble")
        options = [await option_of(client) for _ in range(2)]
        foreign_option = await option_of(other)
    assert first == second
    assert hash(first[0]) == hash(second[0])
    assert first != foreign
    assert first[0] != first[0].search_result
    assert options[0] == options[1]
    assert hash(options[0]) == hash(options[1])
    assert options[0] != foreign_option
    assert options[0] != options[0].info


async def test_results_tell_what_they_are(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        (model,) = await client.repository.search_models("pebble")
        option = await option_of(client)
    assert "AvailableModel(name='maker/pebble-GGUF')" in repr(model)
    assert "ModelDownloadOption(name='pebble-GGUF', quantization='Q8_0')" in repr(option)


async def test_options_describe_what_there_is_to_download(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        option = await option_of(client)
    assert (option.name, option.quantization, option.size_bytes) == ("pebble-GGUF", "Q8_0", len(CONTENT))
    assert (option.compatibility_type, option.indexed_model_identifier) == ("gguf", IDENTIFIER)
    assert option.fit_estimation == "fitWithoutGPU"
    assert option.is_recommended()
    assert option.info.download_identifier == IDENTIFIER


# Downloading ---------------------------------------------------------------------------------------------------------


async def test_downloaded_model_is_listed_and_loads_by_its_key(server: Server) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        key = await (await option_of(client)).download()
        listed = await client.embedding.list_downloaded()
        model = await client.embedding.model(key)
        info = await model.get_info()
    assert key == KEY
    assert KEY in [downloaded.model_key for downloaded in listed]
    assert info.path == IDENTIFIER


async def test_download_reports_progress_and_finalizes_once(server: Server) -> None:
    updates: list[lms.DownloadProgressUpdate] = []
    ends: list[int] = []
    async with lms.AsyncClient(server.api_host) as client:
        await (await option_of(client)).download(updates.append, lambda: ends.append(len(updates)))
    sizes = [update.downloaded_bytes for update in updates]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, len(CONTENT))
    assert {update.total_bytes for update in updates} == {len(CONTENT)}
    assert updates[-1].speed_bytes_per_second > 0
    assert ends == [len(updates)]


async def test_second_download_of_an_option_gives_the_same_key(server: Server, host: FileHost) -> None:
    ends: list[str] = []
    async with lms.AsyncClient(server.api_host) as client:
        option = await option_of(client)
        first = await option.download()
        assert await option.download(on_finalize=lambda: ends.append("end")) == first
    assert ends == ["end"]
    assert host.requests == ["/model"]


async def test_failing_callbacks_are_logged_and_do_not_stop_the_download(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("mine")

    caplog.set_level(logging.ERROR, "lmstudio")
    async with lms.AsyncClient(server.api_host) as client:
        assert await (await option_of(client)).download(fail, fail) == KEY
    assert "KeyError: 'mine'" in caplog.text


async def test_failed_download_says_why(server: Server, host: FileHost) -> None:
    async with lms.AsyncClient(server.api_host) as client:
        option = await option_of(client, "gone")
        with pytest.raises(lms.LMStudioServerError, match=f"download 'gone-GGUF'(.|\n)*{host.url}/gone: 404 Not Found"):
            await option.download()
        assert await (await option_of(client)).download() == KEY


async def test_downloaded_model_works_in_the_real_engine(chat_server: Server, tmp_path: Path) -> None:
    async with lms.AsyncClient(chat_server.api_host) as client:
        (model,) = await client.repository.search_models("pebble-embed")
        (option,) = await model.get_download_options()
        embedding_model = await client.embedding.model(await option.download())
        assert len(await embedding_model.embed("A heron stands in the water.")) == 128
    assert models_in(tmp_path) == [EMBEDDING_MODEL_FILE.name]


# Cancelling ----------------------------------------------------------------------------------------------------------


async def test_signal_cancels_the_download(proxy: FaultProxy, host: FileHost, tmp_path: Path) -> None:
    host.stop_after = 100_000
    signal = lms.AbortSignal()
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        option = await option_of(client)
        call = background.start(lambda: option.download(signal=signal))
        assert await background.wait(host.stopped.wait)
        signal.abort("enough")
        with pytest.raises(lms.LMStudioCancelledError, match="enough"):
            await call.result()
        assert await background.wait(lambda: proxy.wait_for_packet("cancel"))
        assert await background.wait(host.hung_up.wait)
        assert proxy.count_packets("cancel") == 1
    assert models_in(tmp_path / "models") == []


async def test_download_goes_on_for_the_others_when_one_is_cancelled(server: Server, host: FileHost) -> None:
    host.stop_after = 100_000
    signal = lms.AbortSignal()
    async with lms.AsyncClient(server.api_host) as client, AsyncBackground() as background:
        option = await option_of(client)
        given_up = background.start(lambda: option.download(signal=signal))
        kept = background.start(option.download)
        assert await background.wait(host.stopped.wait)
        signal.abort()
        with pytest.raises(lms.LMStudioCancelledError):
            await given_up.result()
        host.go_on()
        assert await kept.result() == KEY
    assert host.requests == ["/model"]


async def test_leaving_through_a_callback_cancels_the_download(proxy: FaultProxy, host: FileHost) -> None:
    host.stop_after = 100_000

    def leave(_: object) -> None:
        raise SystemExit

    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        option = await option_of(client)
        with pytest.raises(SystemExit):
            await option.download(leave)
        assert await background.wait(lambda: proxy.wait_for_packet("cancel"))


async def test_cancelled_task_cancels_the_download(proxy: FaultProxy, host: FileHost) -> None:  # sync: skip
    host.stop_after = 100_000
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        option = await option_of(client)
        call = background.start(option.download)
        assert await background.wait(host.stopped.wait)
        await call.cancelled()
        assert await background.wait(lambda: proxy.wait_for_packet("cancel"))
        assert await background.wait(host.hung_up.wait)


async def test_callbacks_may_be_coroutine_functions(server: Server) -> None:  # sync: skip
    events: list[object] = []

    async def note(update: lms.DownloadProgressUpdate) -> None:
        await anyio.lowlevel.checkpoint()
        events.append(update.downloaded_bytes)

    async def end() -> None:
        await anyio.lowlevel.checkpoint()
        events.append("end")

    async with lms.AsyncClient(server.api_host) as client:
        await (await option_of(client)).download(note, end)
    assert events[-2:] == [len(CONTENT), "end"]
