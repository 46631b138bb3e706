"""Plans for downloads as clients see them: what there is, what they choose, and what a commit does."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from native_client import CHAT, OpenChannel, Refused, Session, Stage, run, staged, types
from patience import PATIENCE_SECONDS

from lmstudio._endpoints.repository import CREATE_DOWNLOAD_PLAN
from lmstudio._endpoints.system import LIST_DOWNLOADED_MODELS
from lmstudio.server.models import EMBEDDING_MODEL_FILE
from lmstudio.server.repository.listing import DownloadCatalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
SIZE = len(CONTENT)
SMALL, LARGE = "pebble-q4_k_m.gguf", "pebble-q8_0.gguf"
COMMIT, CANCEL_PLAN, CANCEL_DOWNLOAD = {"type": "commit"}, {"type": "cancelPlan"}, {"type": "cancelDownload"}
SOURCE: dict[str, Any] = {"type": "model", "source": {"type": "huggingface", "user": "Maker", "repo": "Pebble_GGUF"}}
ARTIFACT = {"type": "artifact", "owner": "maker", "name": "pebble-gguf"}


@pytest.fixture
def host() -> Iterator[FileHost]:
    with FileHost(model=CONTENT) as host:
        yield host


@asynccontextmanager
async def repository(tmp_path: Path, host: FileHost, **settings: Any) -> AsyncIterator[tuple[Stage, Session]]:
    """A server whose catalogue has one model, in two quantizations."""
    files = [{"url": f"{host.url}/model", "name": name, "size": SIZE} for name in (SMALL, LARGE)]
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [{"owner": "Maker", "name": "Pebble_GGUF", "files": files}]}))
    given: dict[str, Any] = {"models_folder": tmp_path / "models", "free_memory": lambda: None, **settings}
    async with staged(models=[CHAT], download_catalog=DownloadCatalog(catalog), **given) as stage:
        session = Session(stage.core, "repository")
        try:
            yield stage, session
        finally:
            await session.hang_up()


async def opened(session: Session, target: dict[str, Any] = SOURCE, **opts: Any) -> tuple[OpenChannel, dict[str, Any]]:
    """A channel, and the plan once it is ready."""
    channel = session.open(CREATE_DOWNLOAD_PLAN, {"target": target, "opts": opts})
    first, ready = await channel.next(), await channel.next()
    assert first is not None
    assert ready is not None
    assert types([first, ready]) == ["planUpdated", "planReady"]
    return channel, ready["plan"]


def select(option: int | None, version: int, node: int = 0) -> dict[str, Any]:
    return {
        "type": "setSelectedDownloadOptionIndex",
        "nodeIndex": node,
        "selectedDownloadOptionIndex": option,
        "requestedPlanVersion": version,
    }


async def keys(stage: Stage) -> list[str]:
    return [model["modelKey"] for model in await stage.system.call(LIST_DOWNLOADED_MODELS)]


# The plan ------------------------------------------------------------------------------------------------------------


def test_plan_for_a_model(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            channel = session.open(CREATE_DOWNLOAD_PLAN, {"target": SOURCE})
            first = await channel.next()
            node = {"type": "model", "state": "fetching", "dependencyLabel": "Maker/Pebble_GGUF"}
            nothing = {"downloadSizeBytes": 0, "downloadAction": "none", "version": 0}
            assert first == {"type": "planUpdated", "plan": {"nodes": [node], **nothing}}
            small = {"displayName": "Pebble_GGUF", "sizeBytes": SIZE, "compatibilityType": "gguf"}
            offered = {**small, "fitEstimation": "fitWithoutGPU", "availability": "notDownloaded"}
            assert await channel.next() == {
                "type": "planReady",
                "plan": {
                    "nodes": [
                        {
                            "type": "model",
                            "state": "completed",
                            "dependencyLabel": "Maker/Pebble_GGUF",
                            "resolvedSources": 1,
                            "totalSources": 1,
                            "selected": {**small, "quantName": "Q4_K_M"},
                            "downloadOptions": [
                                {**offered, "quantName": "Q4_K_M", "recommended": True},
                                {**offered, "quantName": "Q8_0"},
                            ],
                            "selectedDownloadOptionIndex": 0,
                            "recommendedDownloadOptionIndex": 0,
                        }
                    ],
                    "downloadSizeBytes": SIZE,
                    "downloadAction": "startNewDownload",
                    "version": 0,
                },
            }

    run(test)


def test_plan_for_a_model_as_an_artifact(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (stage, session):
            channel, plan = await opened(session, ARTIFACT)
            artifact, model = plan["nodes"]
            assert artifact == {
                **ARTIFACT,
                "state": "completed",
                "dependencyNodes": [1],
                "artifactType": "model",
                "sizeBytes": 0,
            }
            assert model["dependencyLabel"] == "Maker/Pebble_GGUF"
            channel.send(select(1, 1, node=1))
            channel.send(COMMIT)
            assert types(await channel.rest())[-1] == "success"
            assert "text-embedding-pebble" in await keys(stage)

    run(test)


@pytest.mark.parametrize(
    ("preferences", "index"),
    [
        ([{"type": "quantName", "quantName": "q8_0"}], 1),
        ([{"type": "fileName", "fileName": LARGE.upper()}], 1),
        ([{"type": "quantName", "quantName": "F16"}, {"type": "fileName", "fileName": LARGE}], 1),
        ([{"type": "quantName", "quantName": "F16"}], 0),
        ([], 0),
    ],
)
def test_preferences_choose(tmp_path: Path, host: FileHost, preferences: list[dict[str, str]], index: int) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            _channel, plan = await opened(session, resolutionPreference=preferences)
            assert plan["nodes"][0]["selectedDownloadOptionIndex"] == index

    run(test)


def test_what_does_not_fit_into_memory_is_not_recommended(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host, free_memory=lambda: 1000) as (_, session):
            _channel, plan = await opened(session)
            (node,) = plan["nodes"]
            assert {option["fitEstimation"] for option in node["downloadOptions"]} == {"willNotFit"}
            assert node["recommendedDownloadOptionIndex"] is None
            assert node["selectedDownloadOptionIndex"] == 0

    run(test)


# Choosing ------------------------------------------------------------------------------------------------------------


def test_selection_is_answered_with_the_version_that_was_asked_for(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            channel, _plan = await opened(session)
            for option, version in ((1, 1), (0, 5)):
                channel.send(select(option, version))
                packet = await channel.next()
                assert packet is not None
                assert packet["type"] == "planUpdated"
                assert packet["plan"]["version"] == version
                assert packet["plan"]["nodes"][0]["selectedDownloadOptionIndex"] == option

    run(test)


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (select(2, 1), "There is no download option 2: 'Maker/Pebble_GGUF' has 2, from 0"),
        (select(-1, 1), "There is no download option -1"),
        (select(0, 1, node=3), "Node 3 of the plan is no model; node 0 is"),
        (select(None, 1), "is there already; select a download option"),
    ],
)
def test_impossible_selection_is_refused(tmp_path: Path, host: FileHost, packet: dict[str, Any], words: str) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            channel, _plan = await opened(session)
            channel.send(packet)
            with pytest.raises(Refused, match=words):
                await channel.rest()

    run(test)


def test_discarded_plan_downloads_nothing(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (stage, session):
            channel, _plan = await opened(session)
            channel.send(CANCEL_DOWNLOAD)  # there is none yet
            channel.send(CANCEL_PLAN)
            assert await channel.rest() == []
            assert await keys(stage) == ["scripted-chat"]

    run(test)


# Downloading ---------------------------------------------------------------------------------------------------------


def test_commit_downloads_what_is_selected(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (stage, session):
            channel, _plan = await opened(session)
            channel.send(select(1, 1))
            channel.send(COMMIT)
            packets = await channel.rest()
            assert types(packets)[0] == "planUpdated"
            assert types(packets)[1] == "downloadProgress"
            assert types(packets)[-2:] == ["startFinalizing", "success"]
            assert [path.name for path in (tmp_path / "models").rglob("*.gguf")] == [LARGE]
            assert await keys(stage) == ["scripted-chat", "text-embedding-pebble"]

    run(test)


def test_model_that_is_there_already_is_kept_unless_another_is_chosen(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            channel, _plan = await opened(session, resolutionPreference=[{"type": "fileName", "fileName": LARGE}])
            channel.send(COMMIT)
            await channel.rest()
            channel, plan = await opened(session)
            (node,) = plan["nodes"]
            assert (plan["downloadAction"], plan["downloadSizeBytes"], node["state"]) == ("none", 0, "satisfied")
            assert node["selectedDownloadOptionIndex"] is None
            assert node["alreadyOwned"] == node["selected"]
            assert node["alreadyOwned"]["modelKey"] == "text-embedding-pebble"
            assert [option["availability"] for option in node["downloadOptions"]] == ["notDownloaded", "downloaded"]
            channel.send(select(0, 1))
            packet = await channel.next()
            assert packet is not None
            assert packet["plan"]["downloadAction"] == "startNewDownload"
            channel.send(select(None, 2))
            channel.send(COMMIT)
            assert types(await channel.rest())[-1] == "success"

    run(test)


def test_plan_attaches_to_a_download_in_progress(tmp_path: Path, host: FileHost) -> None:
    host.stop_after = 100_000

    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            first, _plan = await opened(session)
            first.send(COMMIT)
            assert types([await first.next() or {}]) == ["downloadProgress"]
            assert await asyncio.to_thread(host.stopped.wait, PATIENCE_SECONDS)
            second, plan = await opened(session)
            assert plan["downloadAction"] == "attachToExistingDownload"
            assert plan["downloadJobIdentifier"] == f"Maker/Pebble_GGUF/{SMALL}"
            assert plan["nodes"][0]["downloadOptions"][0]["availability"] == "downloading"
            second.send(CANCEL_PLAN)
            assert await second.rest() == []
            first.send(CANCEL_DOWNLOAD)
            with pytest.raises(Refused, match="was cancelled"):
                await first.rest()
            assert await asyncio.to_thread(host.hung_up.wait, PATIENCE_SECONDS)

    run(test)


def test_download_cancelled_together_with_its_commit_does_not_happen(tmp_path: Path, host: FileHost) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (stage, session):
            channel, _plan = await opened(session)
            channel.send(COMMIT)
            channel.send(CANCEL_DOWNLOAD)
            with pytest.raises(Refused, match="was cancelled"):
                await channel.rest()
            assert await keys(stage) == ["scripted-chat"]

    run(test)


# What cannot be planned ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "opts", "words"),
    [
        ({**ARTIFACT, "name": "wikipedia"}, {}, "'maker/wikipedia': this server's catalogue has no such model"),
        ({**SOURCE, "source": {**SOURCE["source"], "repo": "other"}}, {}, "The catalogue has no model 'Maker/other'"),
        (SOURCE, {"compatibilityTypes": ["safetensors"]}, "this server runs GGUF models only"),
        ({**ARTIFACT, "owner": "Not Kebab"}, {}, "Invalid parameter for repository/createDownloadPlan"),
    ],
)
def test_plan_that_cannot_be_made_says_why(
    tmp_path: Path, host: FileHost, target: dict[str, Any], opts: dict[str, Any], words: str
) -> None:
    async def test() -> None:
        async with repository(tmp_path, host) as (_, session):
            with pytest.raises(Refused, match=words):
                await session.open(CREATE_DOWNLOAD_PLAN, {"target": target, "opts": opts}).rest()

    run(test)
