# Generated from ../async/test_repository_plans.py by tools/make_sync.py. Edit that file instead.
"""Plans for downloads: made, looked at, changed, carried out or left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.models import EMBEDDING_MODEL_FILE
from surface.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from surface.fault_proxy import FaultProxy

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
SIZE = len(CONTENT)
MODELS = ("Chosen", "Owned", "Left", "Stopped", "Told")


def source(name: str) -> dict[str, str]:
    return {"type": "huggingface", "user": "Maker", "repo": name}


@pytest.fixture(scope="module")
def host() -> Iterator[FileHost]:
    """Where the files of the catalogue are."""
    with FileHost(model=CONTENT) as host:
        yield host


@pytest.fixture
def server(host: FileHost, tmp_path: Path) -> Iterator[Server]:
    """A server whose catalogue has models in two quantizations, of which it recommends the first."""

    def model(name: str) -> dict[str, Any]:
        files = [
            {"url": f"{host.url}/model", "name": f"{name}-{each}.gguf", "size": SIZE} for each in ("q4_k_m", "q8_0")
        ]
        return {"owner": "Maker", "name": name, "files": files}

    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [model(name) for name in MODELS]}))
    with Server(engine=ScriptedEngine(), catalog=catalog, models_folder=tmp_path / "models") as server:
        yield server


def model_node(planner: lms.ArtifactDownloadPlanner, index: int = 0) -> lms.ArtifactDownloadPlanNodeModel:
    node = planner.get_plan().nodes[index]
    assert isinstance(node, lms.ArtifactDownloadPlanNodeModel)
    return node


def test_a_plan_is_changed_and_carried_out(server: Server) -> None:
    versions: list[int] = []
    sizes: list[int] = []
    ends: list[int] = []
    with (
        lms.Client(server.api_host) as client,
        client.repository.create_model_download_planner(
            source("Chosen"), on_plan_updated=lambda plan: versions.append(plan.version)
        ) as planner,
    ):
        planner.until_ready()
        assert planner.is_ready()
        assert model_node(planner).selected_download_option_index == 0
        planner.select_model_download_option(0, 1)
        assert model_node(planner).selected_download_option_index == 1
        planner.download(lambda update: sizes.append(update.downloaded_bytes), lambda: ends.append(len(sizes)))
        assert repr(planner).endswith("'Maker/Chosen' over>")
        (downloaded,) = [each for each in client.system.list_downloaded_models() if "Chosen" in each.path]
    assert downloaded.path == "Maker/Chosen/Chosen-q8_0.gguf"
    assert (sizes[-1], ends) == (SIZE, [len(sizes)])
    assert versions == sorted(versions)
    assert versions[-1] == 1


def test_what_is_there_already_can_be_kept(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        for _ in range(2):
            planner = client.repository.create_artifact_download_planner(
                "maker", "owned", resolution_preference=[{"type": "quantName", "quantName": "Q8_0"}]
            )
            with planner:
                planner.download()
        with client.repository.create_artifact_download_planner("maker", "owned") as planner:
            planner.until_ready()
            planner.select_model_download_option(1, 0)
            assert planner.get_plan().download_action == "startNewDownload"
            planner.select_already_owned_model(1)
            assert planner.get_plan().download_action == "none"
            assert model_node(planner, 1).already_owned == model_node(planner, 1).selected


def test_what_does_not_exist_cannot_be_planned(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        with client.repository.create_artifact_download_planner("maker", "nothing") as planner:
            with pytest.raises(lms.LMStudioServerError, match="maker/nothing"):
                planner.until_ready()
            with pytest.raises(lms.LMStudioServerError, match="maker/nothing"):
                planner.download()
        with pytest.raises(lms.LMStudioValueError, match="owner"):
            client.repository.create_artifact_download_planner("Not So", "name")


def test_a_plan_that_is_left_is_discarded(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        with pytest.raises(KeyError):
            with client.repository.create_model_download_planner(source("Left")) as planner:
                planner.until_ready()
                raise KeyError
        assert background.wait(lambda: proxy.wait_for_packet("cancelPlan"))
        with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
            planner.download()
        planner.close()
        assert proxy.count_packets("cancelPlan") == 1


def test_a_plan_that_nobody_holds_is_discarded(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client, Background() as background:
        planner = client.repository.create_model_download_planner(source("Left"))
        planner.until_ready()
        del planner
        assert background.wait(lambda: proxy.wait_for_packet("cancelPlan"))


def test_signal_cancels_the_download_of_a_plan(proxy: FaultProxy, host: FileHost) -> None:
    host.stop_after = 100_000
    signal = lms.AbortSignal()
    with lms.Client(proxy.api_host) as client, Background() as background:
        try:
            with client.repository.create_model_download_planner(source("Stopped")) as planner:
                call = background.start(lambda: planner.download(signal=signal))
                assert background.wait(host.stopped.wait)
                signal.abort("enough")
                with pytest.raises(lms.LMStudioCancelledError, match="enough"):
                    call.result()
            assert background.wait(lambda: proxy.wait_for_packet("cancelDownload"))
            assert proxy.count_packets("cancelPlan") == 0
        finally:
            host.stop_after = None
            host.stopped.clear()


def test_a_plan_can_be_watched_while_another_waits(server: Server) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        planner = client.repository.create_model_download_planner(source("Left"))
        call = background.start(planner.until_ready)
        background.until(planner.is_ready)
        call.result()
        planner.close()
