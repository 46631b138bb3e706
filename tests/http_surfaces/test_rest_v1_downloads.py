"""POST /api/v1/models/download, and the status of downloads."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import refusal
from lmstudio._http_models import rest_v1
from lmstudio.server import Server
from lmstudio.server.models import EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = EMBEDDING_MODEL_FILE.read_bytes()
SIZE = len(CONTENT)
NAME = "pebble-embed-0.8m-q8_0.gguf"
REPOSITORY = "maker/pebble-GGUF"
DOWNLOAD, STATUS = "/api/v1/models/download", "/api/v1/models/download/status"


@contextmanager
def serving(folder: Path, *files: dict[str, Any]) -> Iterator[httpx.Client]:
    """A client of a server whose catalogue has these files in one repository."""
    source = folder / "catalog.json"
    source.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble-GGUF", "files": files}]}))
    with (
        Server(engine="scripted", catalog=source, models_folder=folder / "models") as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def local(folder: Path, name: str = NAME) -> dict[str, Any]:
    (folder / name).write_bytes(CONTENT)
    return {"path": name}


def hosted(host: FileHost) -> dict[str, Any]:
    return {"url": f"{host.url}/model", "name": NAME, "size": SIZE}


def download(api: httpx.Client, **members: Any) -> dict[str, Any]:
    response = api.post(DOWNLOAD, json={"model": REPOSITORY, **members})
    assert response.status_code == 200, response.text
    msgspec.json.decode(response.content, type=rest_v1.DownloadReply)
    body: dict[str, Any] = response.json()
    return body


def status(api: httpx.Client, job_id: str) -> dict[str, Any]:
    response = api.get(f"{STATUS}/{job_id}")
    assert response.status_code == 200, response.text
    msgspec.json.decode(response.content, type=rest_v1.DownloadJob)
    body: dict[str, Any] = response.json()
    return body


def ended(api: httpx.Client, job_id: str) -> dict[str, Any]:
    """The status once the job is over; asked for as a client has to, again and again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (body := status(api, job_id))["status"] == "downloading":
        assert time.monotonic() < deadline
    return body


def moment(text: str) -> datetime:
    assert text.endswith("Z")
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=timezone.utc)


# How it goes ---------------------------------------------------------------------------------------------------------


def test_download_of_a_catalogue_id(tmp_path: Path) -> None:
    with serving(tmp_path, local(tmp_path)) as api:
        body = download(api)
        assert set(body) == {"job_id", "status", "total_size_bytes", "started_at"}
        assert body["job_id"].startswith("job_")
        assert (body["status"], body["total_size_bytes"]) == ("downloading", SIZE)
        end = ended(api, body["job_id"])
        assert set(end) == {
            "job_id",
            "status",
            "total_size_bytes",
            "downloaded_bytes",
            "started_at",
            "completed_at",
        }
        assert (end["status"], end["downloaded_bytes"]) == ("completed", SIZE)
        assert end["started_at"] == body["started_at"]
        assert moment(end["completed_at"]) >= moment(end["started_at"])
        keys = [model["key"] for model in api.get("/api/v1/models").json()["models"]]
        assert any("pebble" in key for key in keys)


def test_what_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    with serving(tmp_path, local(tmp_path)) as api:
        ended(api, download(api)["job_id"])
        assert download(api) == {"status": "already_downloaded"}
        assert len(api.get(STATUS).json()["jobs"]) == 1


def test_download_in_progress(tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = SIZE // 2
        with serving(tmp_path, hosted(host)) as api:
            body = download(api)
            assert host.stopped.wait(PATIENCE_SECONDS)
            now = status(api, body["job_id"])
            assert {"bytes_per_second", "downloaded_bytes", "started_at"} <= set(now)
            assert "completed_at" not in now
            assert (now["status"], now["total_size_bytes"]) == ("downloading", SIZE)
            assert 0 <= now["downloaded_bytes"] < SIZE
            if now["bytes_per_second"]:
                assert moment(now["estimated_completion"]) >= moment(now["started_at"])
            assert download(api)["job_id"] == body["job_id"]  # one for all who ask
            host.go_on()
            assert ended(api, body["job_id"])["status"] == "completed"
        assert host.requests == ["/model"]


def test_download_survives_the_client_that_asked_for_it(tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = 100
        with serving(tmp_path, hosted(host)) as api:
            with httpx.Client(base_url=api.base_url, timeout=PATIENCE_SECONDS) as other:
                job_id = download(other)["job_id"]
            assert host.stopped.wait(PATIENCE_SECONDS)
            host.go_on()
            assert ended(api, job_id)["status"] == "completed"
        assert not host.hung_up.is_set()


def test_download_ends_with_the_server(tmp_path: Path) -> None:
    with FileHost(model=CONTENT) as host:
        host.stop_after = SIZE // 2
        with serving(tmp_path, hosted(host)) as api:
            download(api)
            assert host.stopped.wait(PATIENCE_SECONDS)
        assert host.hung_up.wait(PATIENCE_SECONDS)
        assert list((tmp_path / "models").iterdir()) == []


def test_failed_download_says_why(tmp_path: Path) -> None:
    with FileHost() as host, serving(tmp_path, hosted(host)) as api:
        end = ended(api, download(api)["job_id"])
        assert set(end) == {"job_id", "status", "total_size_bytes", "downloaded_bytes", "started_at", "error"}
        assert end["status"] == "failed"
        assert end["error"]["type"] == "internal_error"
        assert "404" in end["error"]["message"]


def test_failed_download_can_be_tried_again(tmp_path: Path) -> None:
    with FileHost() as host, serving(tmp_path, hosted(host)) as api:
        first = download(api)["job_id"]
        ended(api, first)
        host.files["/model"] = CONTENT
        second = download(api)["job_id"]
        assert second != first
        assert ended(api, second)["status"] == "completed"
        assert [job["status"] for job in api.get(STATUS).json()["jobs"]] == ["failed", "completed"]


def test_list_of_no_downloads(api: httpx.Client) -> None:
    assert api.get(STATUS).json() == {"jobs": []}


def test_unknown_job(api: httpx.Client) -> None:
    code, error = refusal(api.get(f"{STATUS}/job_0123456789"))
    assert (code, error["type"]) == (404, "job_not_found")


# What is downloaded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "Maker/Pebble-gguf",
        "pebble-GGUF",
        f"https://models.example.com/{REPOSITORY}",
        f"https://models.example.com/{REPOSITORY}/",
        f"https://models.example.com/{REPOSITORY}/tree/main",
    ],
)
def test_names_of_a_repository(tmp_path: Path, model: str) -> None:
    with serving(tmp_path, local(tmp_path)) as api:
        assert ended(api, download(api, model=model)["job_id"])["status"] == "completed"


def test_quantization_of_a_repository(tmp_path: Path) -> None:
    small = {**local(tmp_path, "pebble-Q4_K_M.gguf"), "quantization": "Q4_K_M"}
    large = {**local(tmp_path, "pebble-Q8_0.gguf"), "quantization": "Q8_0"}
    url = f"https://models.example.com/{REPOSITORY}"
    with serving(tmp_path, small, large) as api:
        ended(api, download(api, model=url, quantization="q8_0")["job_id"])
        assert [file.name for file in (tmp_path / "models").rglob("*.gguf")] == ["pebble-Q8_0.gguf"]
        ended(api, download(api)["job_id"])  # the usual one
        assert download(api, model=url, quantization="Q4_K_M") == {"status": "already_downloaded"}
        code, error = refusal(api.post(DOWNLOAD, json={"model": url, "quantization": "Q2_K"}))
        assert (code, error["type"], error["param"]) == (404, "model_not_found", "quantization")
        assert "Q4_K_M, Q8_0" in error["message"]


def test_unknown_model_is_refused_with_near_names(tmp_path: Path) -> None:
    with serving(tmp_path, local(tmp_path)) as api:
        code, error = refusal(api.post(DOWNLOAD, json={"model": "maker/pebbles-GGUF"}))
    assert (code, error["type"], error["param"]) == (404, "model_not_found", "model")
    assert REPOSITORY in error["message"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": "https://models.example.com/maker"}, "model", "invalid_value"),
        ({"model": "ftp://models.example.com/maker/pebble-GGUF"}, "model", "invalid_value"),
        ({"model": REPOSITORY, "quantization": "Q8_0"}, "quantization", "invalid_value"),
        ({"model": REPOSITORY, "revision": "main"}, "revision", "unrecognized_keys"),
        ({}, "model", "missing_required_parameter"),
    ],
)
def test_bad_download_is_refused_by_name(tmp_path: Path, body: dict[str, Any], param: str, code: str) -> None:
    with serving(tmp_path, local(tmp_path)) as api:
        status_code, error = refusal(api.post(DOWNLOAD, json=body))
        assert (status_code, error["type"], error["param"], error["code"]) == (400, "invalid_request", param, code)
        assert api.get(STATUS).json() == {"jobs": []}


def test_shipped_catalogue(api: httpx.Client) -> None:
    body = download(api, model="lmstudio-python/pebble-embed-0.8m-GGUF")
    assert ended(api, body["job_id"])["status"] == "completed"
