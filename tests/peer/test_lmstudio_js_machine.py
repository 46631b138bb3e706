"""The npm package @lmstudio/sdk asks our server for its log, its engine, its hardware, and what belongs to the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lmstudio.server import ScriptedEngine, Server

from .node_peer import JsClient, JsError, NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_to_complain_about")

CHAT = "scripted-chat"


@pytest.fixture
def js(node: NodePeer) -> Iterator[JsClient]:
    with Server(engine=ScriptedEngine("One two.")) as server, node.client(server) as client:
        yield client


# Diagnostics ---------------------------------------------------------------------------------------------------------


def test_log_is_streamed_while_a_model_predicts(js: JsClient) -> None:
    watching = js.begin("streamLogs", until="llm.prediction.output")
    watching.wait_for("open")
    js.run("predict", model={"key": CHAT}, input="Hello")
    watching.end()

    logs = [log["data"] for log in watching.all("log")]
    by_type = {data["type"]: data for data in logs}
    assert set(by_type) == {"server.log", "runtime.log", "llm.prediction.input", "llm.prediction.output"}
    assert "Hello" in by_type["llm.prediction.input"]["input"]
    assert by_type["llm.prediction.input"]["modelIdentifier"] == CHAT
    assert by_type["llm.prediction.output"]["output"] == "One two."
    assert by_type["llm.prediction.output"]["stats"]["predictedTokensCount"] == 2
    assert by_type["runtime.log"]["engineType"] == "scripted"
    assert {"type": "server.log", "level": "info", "content": "Notification: Is it on?"} in logs


# Runtime -------------------------------------------------------------------------------------------------------------


def test_engine_is_listed_and_selected(js: JsClient) -> None:
    (engine,) = js.call("runtime.engine.list")
    specifier = {"name": engine["name"], "version": engine["version"]}

    assert engine["engine"] == "scripted"
    assert js.run("engineSelections").value == [["GGUF", specifier]]
    assert js.call("runtime.engine.select", specifier, "GGUF") is None


def test_hardware_is_surveyed(js: JsClient) -> None:
    survey = js.call("runtime.surveyHardware")
    (engine,) = survey["engines"]

    assert survey["status"] == "ok"
    assert engine["hardwareSurvey"]["cpuSurveyResult"]["result"]["code"] == "success"
    assert js.call("runtime.surveyHardware", {"type": "all"}) == survey


def test_there_are_no_runtime_extensions(js: JsClient) -> None:
    assert js.call("runtime.extensions.search", "llama.cpp") == []
    with pytest.raises(JsError, match="this server has none to offer"):
        js.run("downloadExtension", specifier={"name": "llama.cpp-cuda", "version": "1.2.3"})


def test_only_engine_is_not_removed(js: JsClient) -> None:
    (engine,) = js.call("runtime.engine.list")
    with pytest.raises(JsError, match="it is the only one"):
        js.call("runtime.engine.remove", {"name": engine["name"], "version": engine["version"]})


# The hub -------------------------------------------------------------------------------------------------------------


def test_server_answers_as_one_without_an_account(js: JsClient) -> None:
    assert js.call("repository.isAuthenticated") is False
    assert js.call("repository.getAuthenticationStatus") == {"type": "none"}
    assert js.call("repository.deauthenticate") is None
    assert js.call("repository.unstable.getWritableArtifactOwners") == []
    assert js.call("repository.lmLink.status")["status"] == "offline"
    assert js.call("repository.lmLink.setDisabled", True) is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("repository.loginAsComputeDevice", "token"), "Cannot log in as a compute device"),
        (
            ("repository.loginWithPreAuthenticatedKeys", {"keyId": "a", "publicKey": "b", "privateKey": "c"}),
            "Cannot log in with these keys",
        ),
        (("repository.pushArtifact", {"path": "/mine"}), "Cannot publish '/mine'"),
        (("repository.installPluginDependencies", "/mine"), "this server has no package manager"),
        (("repository.lmLink.setDisabled", False), "this server has no LM Link"),
        (("repository.lmLink.updateDeviceName", "mine"), "this server has no LM Link"),
        (("repository.lmLink.setPreferredDevice", "other"), "this server has no LM Link"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_needs_the_hub_rejects_and_says_why(js: JsClient, call: tuple[Any, ...], words: str) -> None:
    with pytest.raises(JsError, match=words):
        js.call(*call)


def test_channels_of_the_hub_reject_and_say_why(js: JsClient) -> None:
    with pytest.raises(JsError, match="Cannot log in here"):
        js.run("ensureAuthenticated")
    wanted = {"owner": "lmstudio", "name": "wikipedia", "revisionNumber": 1, "path": "/mine"}
    with pytest.raises(JsError, match="Cannot download the artifact lmstudio/wikipedia"):
        js.run("downloadArtifact", opts=wanted)


def test_files_of_an_artifact_are_listed(js: JsClient, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert js.call("repository.getLocalArtifactFileList", str(tmp_path)) == {
        "files": [{"relativePath": "manifest.json", "sizeBytes": 2}],
        "usedIgnoreFile": None,
    }


def test_catalogue_of_the_shipped_models(js: JsClient) -> None:
    models = js.call("repository.unstable.getModelCatalog")
    assert {model["metadata"]["type"] for model in models} == {"llm", "embedding"}
