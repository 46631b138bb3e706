# Generated from ../async/test_repository_hub.py by tools/make_sync.py. Edit that file instead.
"""LM Studio's hub: what a server without an account says, and how the client asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from surface.hub_server import FILLED_URL, MESSAGES, hub_server

if TYPE_CHECKING:
    from pathlib import Path

    from lmstudio.server import Server


def test_logging_in_and_publishing_call_back(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []
    messages: list[str] = []
    with hub_server(monkeypatch) as server:
        with lms.Client(server.api_host) as client:
            client.repository.ensure_authenticated(lambda code: urls.append(code.filled_url))
            client.repository.push_artifact("/plugin", on_message=messages.append)
    assert urls == [FILLED_URL]
    assert messages == MESSAGES


def test_nobody_is_logged_in_at_the_embedded_server(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        repository = client.repository
        assert not repository.is_authenticated()
        assert (repository.get_authentication_status()).type == "none"
        repository.deauthenticate()
        with pytest.raises(lms.LMStudioServerError, match=r"log in to LM Studio's hub: .*no account"):
            repository.ensure_authenticated(print)
        with pytest.raises(lms.LMStudioServerError, match=r"log in with keys: .*no account"):
            repository.login_with_pre_authenticated_keys("id", "public", "private")
        with pytest.raises(lms.LMStudioServerError, match=r"log in as a compute device: .*no account"):
            repository.login_as_compute_device("token")


def test_artifacts_are_listed_and_refused_by_the_embedded_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with lms.Client(server.api_host) as client:
        repository = client.repository
        found = repository.get_local_artifact_file_list(tmp_path)
        assert [file.relative_path for file in found.files] == ["manifest.json"]
        assert repository.get_writable_artifact_owners() == []
        with pytest.raises(lms.LMStudioServerError, match="publish"):
            repository.push_artifact(tmp_path, description="A bird.", on_message=print)
        with pytest.raises(lms.LMStudioServerError, match="download the artifact ann/dice"):
            repository.download_artifact("ann", "dice", tmp_path, 3)
        with pytest.raises(lms.LMStudioServerError, match="install the plugin"):
            repository.install_local_plugin(tmp_path)
        with pytest.raises(lms.LMStudioServerError, match="no package manager"):
            repository.install_plugin_dependencies(tmp_path)


def test_the_catalogue_can_be_read_as_a_whole(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        names = {(model.owner, model.name) for model in client.repository.get_model_catalog()}
        assert {(pick.owner, pick.name) for pick in client.repository.fuzzy_find_staff_picks()} <= names
        assert client.repository.fuzzy_find_staff_picks("x", 1, ["safetensors"]) == []


def test_lm_link_is_off_at_the_embedded_server(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        link = client.repository.lm_link
        status = link.status()
        assert (status.status, status.device_identifier) == ("offline", None)
        link.set_disabled(True)
        with pytest.raises(lms.LMStudioServerError, match="no LM Link"):
            link.set_disabled(False)
        with pytest.raises(lms.LMStudioServerError, match="no LM Link"):
            link.update_device_name("desk")
        with pytest.raises(lms.LMStudioServerError, match="no LM Link"):
            link.set_preferred_device("other")
        assert repr(link).endswith(".repository.lm_link")
