"""The npm package @lmstudio/sdk searches our server's catalogue and downloads from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS

from lmstudio.server import Server
from lmstudio.server.models import EMBEDDING_MODEL_FILE

from .node_peer import JsClient, JsError, NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_to_complain_about")

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
NAME = "pebble-embed-0.8m-q8_0.gguf"
KEY = "text-embedding-pebble"
IDENTIFIER = f"maker/pebble-GGUF/{NAME}"


@pytest.fixture
def host() -> Iterator[FileHost]:
    with FileHost(model=CONTENT) as host:
        yield host


@pytest.fixture
def js(node: NodePeer, host: FileHost, tmp_path: Path) -> Iterator[JsClient]:
    """A client of a server whose catalogue has one model of *host*, and one that cannot be had."""

    def model(name: str, path: str) -> dict[str, Any]:
        files = [{"url": f"{host.url}/{path}", "name": NAME, "size": len(CONTENT)}]
        return {"owner": "maker", "name": name, "files": files, "staffPick": name == "gone-GGUF"}

    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps({"models": [model("pebble-GGUF", "model"), model("gone-GGUF", "gone")]}))
    with (
        Server(engine="scripted", catalog=catalog, models_folder=tmp_path / "models") as server,
        node.client(server) as client,
    ):
        yield client


def test_search(js: JsClient) -> None:
    entries = js.run("searchModels").value
    assert entries == [
        {"name": "maker/gone-GGUF", "isExactMatch": False, "isStaffPick": True},
        {"name": "maker/pebble-GGUF", "isExactMatch": False, "isStaffPick": False},
    ]
    opts = {"searchTerm": "pebble-gguf", "limit": 3, "compatibilityTypes": ["gguf"]}
    assert js.run("searchModels", opts=opts).value == [{**entries[1], "isExactMatch": True}]


def test_download_options(js: JsClient) -> None:
    assert js.run("downloadOptions", term="pebble").value == [
        {
            "quantization": "Q8_0",
            "name": "pebble-GGUF",
            "sizeBytes": len(CONTENT),
            "fitEstimation": "fitWithoutGPU",
            "indexedModelIdentifier": IDENTIFIER,
            "compatibilityType": "gguf",
            "isRecommended": True,
        }
    ]


def test_download_resolves_to_a_key_that_loads(js: JsClient) -> None:
    run = js.run("download", term="pebble")
    assert run.value == KEY
    sizes = [update["downloadedBytes"] for update in run.all("progress")]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, len(CONTENT))
    assert len(run.all("finalizing")) == 1
    assert KEY in [model["modelKey"] for model in js.call("system.listDownloadedModels", "embedding")]
    assert js.run("load", namespace="embedding", modelKey=KEY).value["path"] == IDENTIFIER


def test_download_is_aborted(js: JsClient, host: FileHost, tmp_path: Path) -> None:
    host.stop_after = 100_000
    run = js.begin("download", term="pebble", abortAt=10_000)
    with pytest.raises(JsError, match=r"The test does not want it any more\."):
        run.end()
    assert host.hung_up.wait(PATIENCE_SECONDS)
    assert not list((tmp_path / "models").glob("maker/*"))


def test_failed_download_rejects_and_says_why(js: JsClient, host: FileHost) -> None:
    with pytest.raises(JsError, match=f"Cannot download {host.url}/gone: 404 Not Found"):
        js.run("download", term="gone")
    assert js.run("download", term="pebble").value == KEY


# Plans ---------------------------------------------------------------------------------------------------------------

SOURCE = {"type": "huggingface", "user": "maker", "repo": "pebble-GGUF"}


def test_staff_picks_are_found(js: JsClient) -> None:
    (pick,) = js.call("repository.unstable.fuzzyFindStaffPicks", {"searchTerm": "gone"})
    assert (pick["owner"], pick["name"]) == ("maker", "gone-gguf")


@pytest.mark.parametrize("target", [{"source": SOURCE}, {"artifact": {"owner": "maker", "name": "pebble-gguf"}}])
def test_planned_download(js: JsClient, target: dict[str, Any]) -> None:
    run = js.run("downloadPlan", **target)
    plan = run.wait_for("ready")
    assert (plan["downloadAction"], plan["downloadSizeBytes"]) == ("startNewDownload", len(CONTENT))
    assert run.all("progress")[-1]["downloadedBytes"] == len(CONTENT)
    assert len(run.all("finalizing")) == 1
    assert KEY in [model["modelKey"] for model in js.call("system.listDownloadedModels", "embedding")]
    again = js.run("downloadPlan", **target).wait_for("ready")
    assert (again["downloadAction"], again["nodes"][-1]["alreadyOwned"]["modelKey"]) == ("none", KEY)


def test_selection_in_a_plan(js: JsClient) -> None:
    js.run("downloadPlan", source=SOURCE)  # so that the model is there, and nothing is selected
    run = js.run("downloadPlan", source=SOURCE, select={"nodeIndex": 0, "downloadOptionIndex": 0})
    assert run.wait_for("ready")["nodes"][0]["selectedDownloadOptionIndex"] is None
    selected = run.wait_for("selected")
    assert (selected["version"], selected["nodes"][0]["selectedDownloadOptionIndex"]) == (1, 0)


def test_discarded_plan_downloads_nothing(js: JsClient, tmp_path: Path) -> None:
    js.run("downloadPlan", source=SOURCE, discard=True)
    assert not list((tmp_path / "models").glob("maker/*"))


def test_planned_download_is_aborted(js: JsClient, host: FileHost) -> None:
    host.stop_after = 100_000
    with pytest.raises(JsError, match=r"The test does not want it any more\."):
        js.run("downloadPlan", source=SOURCE, abortAt=10_000)
    assert host.hung_up.wait(PATIENCE_SECONDS)


def test_impossible_plan_rejects_and_says_why(js: JsClient) -> None:
    with pytest.raises(JsError, match="The catalogue has no model 'maker/other'"):
        js.run("downloadPlan", source={**SOURCE, "repo": "other"})
    with pytest.raises(JsError, match="this server's catalogue has no such model"):
        js.run("downloadPlan", artifact={"owner": "lmstudio", "name": "wikipedia"})
