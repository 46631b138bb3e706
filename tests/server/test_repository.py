"""Finding and downloading models as clients see it: frames in, frames out, files on the disk."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from download_stage import (
    CANCEL,
    CONTENT,
    IDENTIFIER,
    KEY,
    NAME,
    download,
    happens,
    hosted,
    left_in,
    repository,
    write_catalog,
)
from file_host import FileHost
from native_client import CHAT, OpenChannel, Refused, Session, run, types
from patience import PATIENCE_SECONDS

from lmstudio._endpoints.repository import GET_MODEL_DOWNLOAD_OPTIONS, SEARCH_MODELS
from lmstudio._endpoints.system import LIST_DOWNLOADED_MODELS
from lmstudio.server import Server, ServerStartError
from lmstudio.server.models import EMBEDDING_MODEL_FILE
from lmstudio.server.repository import downloads, fetching

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The models folder, not there yet."""
    return tmp_path / "models"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A catalogue with one local file."""
    (tmp_path / NAME).write_bytes(CONTENT)
    return write_catalog(tmp_path, {"path": NAME})


# Searching -----------------------------------------------------------------------------------------------------------


def test_search_tells_exact_matches_and_staff_picks(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"x")
    models = [{"owner": "a", "name": name, "files": [{"path": "x.gguf"}], "staffPick": name == "b"} for name in "abc"]
    (tmp_path / "catalog.json").write_text(json.dumps({"models": models}))

    async def test() -> None:
        async with repository(None, tmp_path / "catalog.json") as (_, session):
            reply = await session.call(SEARCH_MODELS, {"opts": {"searchTerm": "a"}})
            assert reply["results"] == [
                {"name": "a/a", "identifier": {"type": "catalog", "identifier": "a/a"}, "exact": True},
                {"name": "a/b", "identifier": {"type": "catalog", "identifier": "a/b"}, "staffPick": True},
                {"name": "a/c", "identifier": {"type": "catalog", "identifier": "a/c"}},
            ]
            limited = await session.call(SEARCH_MODELS, {"opts": {"limit": 1}})
            assert [result["name"] for result in limited["results"]] == ["a/b"]

    run(test)


@pytest.mark.parametrize(("compatibility_types", "count"), [(["gguf"], 1), (["safetensors", "gguf"], 1), (["onnx"], 0)])
def test_search_finds_what_the_engine_can_run(source: Path, compatibility_types: list[str], count: int) -> None:
    async def test() -> None:
        async with repository(None, source) as (_, session):
            reply = await session.call(SEARCH_MODELS, {"opts": {"compatibilityTypes": compatibility_types}})
            assert len(reply["results"]) == count

    run(test)


@pytest.mark.parametrize("limit", [0, 26, 1.5])
def test_search_with_an_impossible_limit_is_refused(source: Path, limit: float) -> None:
    async def test() -> None:
        async with repository(None, source) as (_, session):
            with pytest.raises(Refused, match="Invalid parameter for repository/searchModels"):
                await session.call(SEARCH_MODELS, {"opts": {"limit": limit}})

    run(test)


def test_broken_catalogue_is_refused_in_one_sentence(tmp_path: Path) -> None:
    async def test() -> None:
        async with repository(None, tmp_path / "none.json") as (_, session):
            with pytest.raises(Refused, match=r"^There is no catalogue at .*none.json\.$"):
                await session.call(SEARCH_MODELS, {"opts": {}})

    run(test)


# Options -------------------------------------------------------------------------------------------------------------


async def options(session: Session, kind: str = "catalog") -> list[dict[str, Any]]:
    identifier = {"type": kind, "identifier": "maker/pebble-GGUF"}
    reply = await session.call(GET_MODEL_DOWNLOAD_OPTIONS, {"modelSearchResultIdentifier": identifier})
    results: list[dict[str, Any]] = reply["results"]
    return results


@pytest.mark.parametrize("kind", ["catalog", "hf"])
def test_options_describe_files(source: Path, kind: str) -> None:
    async def test() -> None:
        async with repository(None, source) as (_, session):
            assert await options(session, kind) == [
                {
                    "name": "pebble-GGUF",
                    "quantization": "Q8_0",
                    "sizeBytes": len(CONTENT),
                    "fitEstimation": "fitWithoutGPU",
                    "recommended": True,
                    "downloadIdentifier": IDENTIFIER,
                    "indexedModelIdentifier": IDENTIFIER,
                    "compatibilityType": "gguf",
                }
            ]

    run(test)


@pytest.mark.parametrize(
    ("free_memory", "fitting", "recommended"),
    [(None, "Q4_K_M Q6_K F16", "Q4_K_M"), (700, "Q4_K_M Q6_K", "Q4_K_M"), (100, "", None)],
)
def test_the_usual_quantization_is_recommended_if_it_fits(
    tmp_path: Path, free_memory: int | None, fitting: str, recommended: str | None
) -> None:
    sizes = {"q4_k_m": 400, "q6_k": 500, "f16": 1600}
    files = [{"url": f"http://example.com/x-{name}.gguf", "size": size} for name, size in sizes.items()]
    source = write_catalog(tmp_path, *files)

    async def test() -> None:
        async with repository(None, source, free_memory=lambda: free_memory) as (_, session):
            found = await options(session)
            fit = [option["quantization"] for option in found if option["fitEstimation"] == "fitWithoutGPU"]
            assert " ".join(fit) == fitting
            best = [option["quantization"] for option in found if option.get("recommended")]
            assert best == ([recommended] if recommended else [])

    run(test)


def test_without_the_usual_quantization_the_best_that_fits_is_recommended(tmp_path: Path) -> None:
    sizes = {"q2_k": 400, "q6_k": 500, "f16": 1600}
    files = [{"url": f"http://example.com/x-{name}.gguf", "size": size} for name, size in sizes.items()]

    async def test() -> None:
        async with repository(None, write_catalog(tmp_path, *files), free_memory=lambda: 700) as (_, session):
            assert [option.get("recommended") for option in await options(session)] == [None, True, None]

    run(test)


def test_unknown_model_has_no_options(source: Path) -> None:
    async def test() -> None:
        async with repository(None, source) as (_, session):
            parameter = {"modelSearchResultIdentifier": {"type": "catalog", "identifier": "maker/none"}}
            with pytest.raises(Refused, match=r"^The catalogue has no model 'maker/none'\.$"):
                await session.call(GET_MODEL_DOWNLOAD_OPTIONS, parameter)

    run(test)


# Downloading ---------------------------------------------------------------------------------------------------------


def test_download_reports_progress_finalizes_and_names_the_key(folder: Path, source: Path) -> None:
    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            packets = await download(session).rest()
            assert types(packets) == [*["downloadProgress"] * (len(packets) - 2), "startFinalizing", "success"]
            updates = [packet["update"] for packet in packets[:-2]]
            sizes = [update["downloadedBytes"] for update in updates]
            assert sizes == sorted(sizes)
            assert (sizes[0], sizes[-1]) == (0, len(CONTENT))
            assert {update["totalBytes"] for update in updates} == {len(CONTENT)}
            assert packets[-1]["defaultIdentifier"] == KEY
            assert left_in(folder) == [IDENTIFIER]
            assert (folder / IDENTIFIER).read_bytes() == CONTENT
            model, _ = stage.core.catalog.resolve(KEY)
            assert (model.path, model.file, model.kind) == (IDENTIFIER, folder / IDENTIFIER, "embedding")

    run(test)


def test_downloaded_model_is_listed_and_can_be_loaded(folder: Path, source: Path) -> None:
    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            key = (await download(session).rest())[-1]["defaultIdentifier"]
            listed = await stage.system.call(LIST_DOWNLOADED_MODELS)
            assert [info["modelKey"] for info in listed] == [CHAT.model_key, KEY]
            assert listed[1]["indexedModelIdentifier"] == IDENTIFIER
            assert (await stage.load(key, stage.embedding))["path"] == IDENTIFIER

    run(test)


def test_model_of_the_same_name_gets_a_key_of_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    source = write_catalog(tmp_path, {"path": NAME}, {"path": NAME, "name": "pebble-embed-0.8m.gguf"})

    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            assert (await download(session).rest())[-1]["defaultIdentifier"] == KEY
            second = await download(session, "maker/pebble-GGUF/pebble-embed-0.8m.gguf").rest()
            assert second[-1]["defaultIdentifier"] == f"{KEY}:2"
            assert stage.core.catalog.resolve(KEY)[0].path == IDENTIFIER

    run(test)


def test_without_a_models_folder_downloads_last_as_long_as_the_server(source: Path) -> None:
    async def test() -> None:
        async with repository(None, source) as (stage, session):
            await download(session).rest()
            file = stage.core.catalog.resolve(KEY)[0].file
            assert file is not None
            assert file.read_bytes() == CONTENT
        assert not file.parents[2].exists()

    run(test)


def test_downloads_that_begin_together_share_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    source = write_catalog(tmp_path, {"path": NAME}, {"path": NAME, "name": "other.gguf"})

    async def test() -> None:
        async with repository(None, source) as (stage, session):
            both = [download(session, f"maker/pebble-GGUF/{name}") for name in (NAME, "other.gguf")]
            keys = [(await channel.rest())[-1]["defaultIdentifier"] for channel in both]
            files = [stage.core.catalog.resolve(key)[0].file for key in keys]
            assert [file is not None and file.read_bytes() == CONTENT for file in files] == [True, True]
            assert len({file and file.parent for file in files}) == 1

    run(test)


def test_the_sha256_is_checked(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        source = hosted(tmp_path, host, sha256=hashlib.sha256(CONTENT).hexdigest())

        async def test() -> None:
            async with repository(folder, source) as (_, session):
                assert (await download(session).rest())[-1]["defaultIdentifier"] == KEY

        run(test)
    assert left_in(folder) == [IDENTIFIER]


def test_all_parts_of_an_option_are_downloaded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    (tmp_path / "mmproj.gguf").write_bytes(b"image part")
    source = write_catalog(tmp_path, {"path": "mmproj.gguf"}, {"path": NAME})

    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            packets = await download(session).rest()
            assert packets[-3]["update"]["downloadedBytes"] == len(CONTENT) + len(b"image part")
            assert stage.core.catalog.resolve(KEY)[0].vision
            assert left_in(folder) == ["maker/pebble-GGUF/mmproj.gguf", IDENTIFIER]
            assert types(await download(session).rest()) == ["downloadProgress", "startFinalizing", "success"]

    run(test)


def test_slow_download_reports_every_half_second(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least: the clock of this test stands still, so only the parts count; then it leaps at every look."""
    monkeypatch.setattr(fetching, "_CHUNK_BYTES", 1000)  # about a thousand chunks
    (tmp_path / NAME).write_bytes(CONTENT)
    source = write_catalog(tmp_path, {"path": NAME})

    async def count(step: float) -> int:
        from lmstudio.server.instances import Clock

        class LeapingClock(Clock):
            now = 0.0

            def monotonic(self) -> float:
                self.now += step
                return self.now

        async with repository(folder / str(step), source, clock=LeapingClock()) as (_, session):
            return types(await download(session).rest()).count("downloadProgress")

    async def test() -> None:
        assert 150 <= await count(0.0) <= 202
        assert await count(1.0) == 2 + len(CONTENT) // 1000

    run(test)


# More than once ------------------------------------------------------------------------------------------------------


def test_second_download_fetches_nothing_and_ends_the_same(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (stage, session):
                first = await download(session).rest()
                second = await download(session).rest()
                assert second[-1] == first[-1]
                assert types(second) == ["downloadProgress", "startFinalizing", "success"]
                assert second[0]["update"]["speedBytesPerSecond"] == 0
                assert len(stage.core.catalog.models) == 2

        run(test)
        assert host.requests == ["/model"]


def test_file_of_another_size_is_downloaded_anew_under_the_same_key(folder: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    source = write_catalog(tmp_path, {"path": NAME})

    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            await download(session).rest()
            (tmp_path / NAME).write_bytes(CONTENT + bytes(8))
            assert (await download(session).rest())[-1]["defaultIdentifier"] == KEY
            assert stage.core.catalog.resolve(KEY)[0].size_bytes == len(CONTENT) + 8
            assert len(stage.core.catalog.models) == 2

    run(test)


def test_lost_file_is_downloaded_again(folder: Path, source: Path) -> None:
    async def test() -> None:
        async with repository(folder, source) as (_, session):
            await download(session).rest()
            (folder / IDENTIFIER).unlink()
            await download(session).rest()
            assert left_in(folder) == [IDENTIFIER]

    run(test)


def test_two_clients_share_a_download_and_one_may_leave(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = 1000
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (_, session):
                first, second = download(session), download(session)
                await happens(host.stopped)
                first.send(CANCEL)
                with pytest.raises(Refused, match="was cancelled"):
                    await first.rest()
                late = download(session)
                assert (await late.next() or {})["type"] == "downloadProgress"
                host.go_on()
                assert (await second.rest())[-1] == (await late.rest())[-1]

        run(test)
        assert host.requests == ["/model"]


# Cancelling ----------------------------------------------------------------------------------------------------------


def stop_by_cancel(session: Session, channel: OpenChannel) -> None:
    channel.send(CANCEL)


def stop_by_leaving(session: Session, channel: OpenChannel) -> None:
    session.port.close()


@pytest.mark.parametrize("stop", [stop_by_cancel, stop_by_leaving])
def test_cancelled_download_stops_and_leaves_nothing(
    folder: Path, tmp_path: Path, stop: Callable[[Session, OpenChannel], None]
) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = 1000
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (stage, session):
                channel = download(session)
                await happens(host.stopped)
                stop(session, channel)
                await happens(host.hung_up)
                if stop is stop_by_cancel:
                    with pytest.raises(Refused, match=f"^The download of '{IDENTIFIER}' was cancelled.$"):
                        await channel.rest()
                host.stop_after = None
                assert (await download(Session(stage.core, "repository")).rest())[-1]["defaultIdentifier"] == KEY

        run(test)
        assert left_in(folder) == [IDENTIFIER]
        assert [path.name for path in folder.iterdir()] == ["maker"]


def test_download_cancelled_before_it_began_stops(folder: Path, source: Path) -> None:
    async def test() -> None:
        async with repository(folder, source) as (stage, session):
            channel = download(session)
            channel.send(CANCEL)
            with pytest.raises(Refused, match="was cancelled"):
                await channel.rest()
            assert [model.model_key for model in stage.core.catalog.models] == [CHAT.model_key]

    run(test)


def test_cancel_after_the_end_changes_nothing(folder: Path, source: Path) -> None:
    async def test() -> None:
        async with repository(folder, source) as (_, session):
            channel = download(session)
            await channel.rest()
            channel.send(CANCEL)
            assert (await download(session).rest())[-1]["defaultIdentifier"] == KEY

    run(test)


def test_the_end_of_the_server_ends_downloads(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = 1000
        source = hosted(tmp_path, host)

        async def test() -> None:
            async with repository(folder, source) as (stage, session):
                download(session)
                await happens(host.stopped)
                await stage.core.aclose()
                assert host.hung_up.is_set() or await asyncio.to_thread(host.hung_up.wait, PATIENCE_SECONDS)

        run(test)
    assert left_in(folder) == []


# Failures ------------------------------------------------------------------------------------------------------------


async def refusal(session: Session, identifier: str = IDENTIFIER) -> str:
    with pytest.raises(Refused) as error:
        await download(session, identifier).rest()
    title: str = error.value.error["title"]
    return title


def fails(folder: Path | None, source: Path, **settings: Any) -> str:
    """Why a download fails, after which the server goes on and nothing is left."""
    titles = []

    async def test() -> None:
        async with repository(folder, source, **settings) as (stage, session):
            titles.append(await refusal(session))
            await session.call(SEARCH_MODELS, {"opts": {}})
            assert [model.model_key for model in stage.core.catalog.models] == [CHAT.model_key]

    run(test)
    assert folder is None or not folder.is_dir() or list(folder.iterdir()) == []
    return titles[0]


def test_unknown_identifier_is_refused(source: Path) -> None:
    async def test() -> None:
        async with repository(None, source) as (_, session):
            assert await refusal(session, "maker/none") == "The catalogue has no file 'maker/none'."

    run(test)


@pytest.mark.parametrize(
    ("size", "found"), [(len(CONTENT) + 1, f"{len(CONTENT)} bytes"), (len(CONTENT) - 1, "more bytes")]
)
def test_file_of_the_wrong_size_is_refused(folder: Path, tmp_path: Path, size: int, found: str) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    title = fails(folder, write_catalog(tmp_path, {"path": NAME, "size": size}))
    assert title == f"{tmp_path / NAME} is not the file of the catalogue: it has {found} instead of {size}."


def test_file_of_the_wrong_content_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)
    title = fails(folder, write_catalog(tmp_path, {"path": NAME, "sha256": "0" * 64}))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert title == f"{tmp_path / NAME} is not the file of the catalogue: its SHA-256 is {sha256}."


def test_file_that_is_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"not a model")
    title = fails(folder, write_catalog(tmp_path, {"path": NAME}))
    assert title.startswith(f"Cannot use the download of '{IDENTIFIER}': {NAME} ")
    assert ".download-" not in title


def test_lost_source_is_refused(folder: Path, tmp_path: Path) -> None:
    title = fails(folder, write_catalog(tmp_path, {"path": NAME, "size": 5}))
    assert title == f"The catalogue's file {tmp_path / NAME} cannot be read: No such file or directory."


def test_address_without_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    with FileHost() as host:
        assert fails(folder, hosted(tmp_path, host)) == f"Cannot download {host.url}/model: 404 Not Found."


def test_address_that_falls_silent_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_SILENCE_SECONDS", 0.1)
    with FileHost(model=CONTENT) as host:
        host.stop_after = 1000
        title = fails(folder, hosted(tmp_path, host))
        assert title == f"Cannot download {host.url}/model: nothing came for 0.1 seconds."


def test_address_without_a_server_is_refused(folder: Path, tmp_path: Path) -> None:
    with FileHost() as host:
        source = hosted(tmp_path, host)
    assert fails(folder, source).startswith(f"Cannot download {host.url}/model: ")


def test_connection_that_breaks_is_refused(folder: Path, tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.break_after = 1000
        assert fails(folder, hosted(tmp_path, host)).startswith(f"Cannot download {host.url}/model: ")


def test_download_that_does_not_fit_on_the_disk_is_refused(folder: Path, source: Path) -> None:
    title = fails(folder, source, free_disk=lambda _: 500_000)
    needs = "it needs 0.00 GB, 0.00 GB are free."
    assert title == f"{folder} has not enough space for '{IDENTIFIER}': {needs}"


def test_disk_that_fills_up_is_refused(folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetching, "_write", fail)
    assert fails(folder, source).startswith(f"{folder} has not enough space for '{IDENTIFIER}': ")


def test_folder_that_cannot_be_written_is_refused(folder: Path, source: Path) -> None:
    folder.write_text("a file")
    title = fails(folder, source)
    assert title == f"Cannot write the download of '{IDENTIFIER}' to {folder}: File exists."


def test_free_space_is_that_of_the_folder(tmp_path: Path) -> None:
    assert downloads.free_disk_bytes(tmp_path) > 0


# The server's settings -----------------------------------------------------------------------------------------------


def test_server_offers_what_its_models_folder_holds(folder: Path) -> None:
    place = folder / "maker" / "pebble-GGUF"
    place.mkdir(parents=True)
    (place / NAME).write_bytes(CONTENT)
    (place / "mmproj.gguf").write_bytes(b"image part")
    (place / "broken.gguf").write_bytes(b"broken")
    with Server(engine="scripted", models_folder=str(folder)) as server:
        assert [model.path for model in server.models if model.publisher == "maker"] == [IDENTIFIER]


def test_model_in_the_folder_and_in_the_package_is_one(folder: Path) -> None:
    place = folder / "lmstudio-python" / "pebble-embed-0.8m-GGUF"
    place.mkdir(parents=True)
    (place / NAME).write_bytes(CONTENT)
    with Server([EMBEDDING_MODEL_FILE], engine="scripted", models_folder=folder) as server:
        (model,) = server.models
    assert model.file == place / NAME


@pytest.mark.parametrize("setting", ["catalog", "models_folder"])
def test_server_does_not_start_with_a_setting_that_makes_no_sense(tmp_path: Path, setting: str) -> None:
    (tmp_path / "file").write_text("nonsense")
    settings: Any = {setting: tmp_path / "file"}
    with pytest.raises(ServerStartError, match=str(tmp_path / "file")):
        Server(engine="scripted", **settings).start()
