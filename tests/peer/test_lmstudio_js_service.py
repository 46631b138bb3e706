"""The npm package @lmstudio/sdk against our server: who may connect, what is refused and how, and how things end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio._version import __version__
from lmstudio.server import Gate, Reply, ScriptedEngine, Server
from lmstudio.server.prediction import Prediction

from .node_peer import JsClient, JsError, NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "scripted-chat"
EMBED = "scripted-embed"
TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
OTHER_TOKEN = "sk-lm-abcdefgh:tsrqponmlkjihgfedcba"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def js(node: NodePeer, engine: ScriptedEngine) -> Iterator[JsClient]:
    """A client of a fresh server. It must have found nothing to complain about."""
    node.take_warnings()
    with Server(engine=engine) as server, node.client(server) as client:
        yield client
        assert node.take_warnings() == []


# The namespace system ------------------------------------------------------------------------------------------------


def test_version_and_information(js: JsClient) -> None:
    version = js.call("system.getLMStudioVersion")
    info = js.call("system.getInfo")

    assert __version__.startswith(version["version"])
    assert version["version"].count(".") == 2
    assert info == {"pid": os.getpid(), "isDaemon": False, "version": version["version"]}


def test_model_without_variants_says_so(js: JsClient) -> None:
    with pytest.raises(JsError, match="'scripted-chat' has no variants"):
        js.call("system.listDownloadedModelVariants", CHAT)


def test_experiment_flags_are_kept(js: JsClient) -> None:
    assert js.call("system.unstable_getExperimentFlags") == []
    for flag in ("second", "first"):
        js.call("system.unstable_setExperimentFlag", flag, True)
    js.call("system.unstable_setExperimentFlag", "second", False)

    assert js.call("system.unstable_getExperimentFlags") == ["first"]


def test_notification_is_accepted(js: JsClient) -> None:
    assert js.call("system.notify", {"title": "Hello", "description": "There", "noAutoDismiss": True}) is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("system.startHttpServer", {"port": 1234}), "for privileged clients only"),
        (("system.stopHttpServer",), "it serves this connection, too"),
        (("system.requestShutdown",), "for privileged clients only"),
    ],
    ids=["start", "stop", "shutdown"],
)
def test_running_of_the_server_is_not_a_guest_s_business(js: JsClient, call: tuple[Any, ...], words: str) -> None:
    with pytest.raises(JsError, match=words):
        js.call(*call)


def test_privileged_client_shuts_the_server_down(node: NodePeer) -> None:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server, node.client(server, apiToken=TOKEN) as js:
        watch = js.begin("whenDisconnected")
        watch.wait_for("connected")
        assert js.call("system.requestShutdown") is None
        watch.end()


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["llm.load", "llm.model", "embedding.load", "embedding.model"])
def test_unknown_model_is_an_error_that_names_those_there_are(js: JsClient, method: str) -> None:
    with pytest.raises(JsError) as caught:
        js.call(method, "no-such-model")

    message = str(caught.value)
    assert 'Cannot find a model with path "no-such-model"' in message
    assert "Here are your available models" in message
    assert (EMBED if method.startswith("embedding") else CHAT) in message
    assert_has_title(caught.value)


def test_model_of_the_other_kind_is_an_error_that_says_so(js: JsClient) -> None:
    with pytest.raises(JsError) as caught:
        js.call("llm.load", EMBED)

    assert "embedding" in str(caught.value)
    assert EMBED in str(caught.value)
    assert_has_title(caught.value)


def test_identifier_that_is_taken_is_an_error(js: JsClient) -> None:
    js.run("load", modelKey=CHAT, opts={"identifier": "mine"})

    with pytest.raises(JsError, match="'mine' is already in use"):
        js.run("load", modelKey=CHAT, opts={"identifier": "mine"})


def test_other_device_is_an_error(js: JsClient) -> None:
    with pytest.raises(JsError, match="cannot reach the device 'another'"):
        js.run("load", modelKey=CHAT, opts={"deviceIdentifier": "another"})


def test_unknown_preset_is_an_error(js: JsClient) -> None:
    with pytest.raises(JsError, match='"formal"') as caught:
        js.run("predict", model={"key": CHAT}, input="Hello", opts={"preset": "formal"})

    assert_has_title(caught.value)


def test_query_without_a_match_is_an_error(js: JsClient) -> None:
    with pytest.raises(JsError, match="No loaded model satisfies all requirements") as caught:
        js.run("predict", model={"query": {"identifier": "gone"}}, input="Hello")

    assert_has_title(caught.value)


def test_failing_generation_rejects_the_prediction(js: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = Reply("One two three", error="The engine has hiccups.", error_after=1)
    run = js.begin("predict", model={"key": CHAT}, input="Hello")

    with pytest.raises(JsError, match=r"The engine has hiccups\."):
        run.end()
    assert [fragment["content"] for fragment in run.all("fragment")] == ["One"]


def test_model_that_dies_rejects_the_prediction_and_is_gone(js: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = Reply("One two three", die_after=1)

    with pytest.raises(JsError, match="stopped unexpectedly"):
        js.run("predict", model={"key": CHAT}, input="Hello")
    assert js.call("llm.listLoaded") == []


def test_prediction_ends_when_its_model_is_unloaded(js: JsClient, engine: ScriptedEngine) -> None:
    gate = Gate()
    engine.reply = Reply(["One", gate, " two"])
    run = js.begin("predict", model={"key": CHAT}, input="Count.")
    assert gate.reached()
    js.call("llm.unload", CHAT)

    result = run.end()
    assert (result["content"], result["stats"]["stopReason"]) == ("One", "modelUnloaded")


def assert_has_title(error: JsError) -> None:
    """What lmstudio.js adds to the messages of its own when it understands the error's code."""
    assert error.details["title"]


# Authentication ------------------------------------------------------------------------------------------------------


def test_api_token_opens_the_server(node: NodePeer) -> None:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server, node.client(server, apiToken=TOKEN) as js:
        assert len(js.call("system.listDownloadedModels")) == 2


@pytest.mark.parametrize(
    ("opts", "words"),
    [({"apiToken": OTHER_TOKEN}, "the one given is not valid"), ({}, "none was given")],
    ids=["wrong", "none"],
)
def test_without_a_valid_api_token_everything_is_refused(node: NodePeer, opts: dict[str, Any], words: str) -> None:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server, node.client(server, **opts) as js:
        for method in ("system.getLMStudioVersion", "llm.listLoaded", "embedding.listLoaded"):
            with pytest.raises(JsError, match=f"Failed to authenticate: This server requires an API token.*{words}"):
                js.call(method)


def test_passkey_of_a_client_in_use_cannot_be_another(node: NodePeer) -> None:
    first = {"clientIdentifier": "me", "clientPasskey": "secret"}
    with Server(engine="scripted") as server, node.client(server, **first) as js:
        js.call("system.getLMStudioVersion")
        with (
            node.client(server, clientIdentifier="me", clientPasskey="guess") as other,
            pytest.raises(JsError, match='Invalid client passkey for client "me"'),
        ):
            other.call("system.getLMStudioVersion")
        assert js.call("llm.listLoaded") == []


# Ends ----------------------------------------------------------------------------------------------------------------


def test_end_of_the_server_is_noticed(node: NodePeer) -> None:
    with Server(engine="scripted") as server, node.client(server) as js:
        watch = js.begin("whenDisconnected")
        watch.wait_for("connected")
        assert not watch.is_over
        server.stop()
        watch.end()


def test_end_of_the_server_ends_what_is_in_flight(node: NodePeer) -> None:
    gate = Gate()
    with Server(engine=ScriptedEngine(Reply(["One", gate, " two"]))) as server, node.client(server) as js:
        run = js.begin("predict", model={"key": CHAT}, input="Count.")
        assert gate.reached()
        server.stop()

        result = run.end()
        assert (result["content"], result["stats"]["stopReason"]) == ("One", "userStopped")


def test_what_does_not_end_in_time_ends_with_the_connection(node: NodePeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prediction, "cancel", lambda _: None)
    gate = Gate()
    with Server(engine=ScriptedEngine(Reply(["One", gate, " two"]))) as server, node.client(server) as js:
        run = js.begin("predict", model={"key": CHAT}, input="Count.")
        assert gate.reached()
        server.stop(grace_seconds=0.01)

        with pytest.raises(JsError, match="WebSocket connection closed"):
            run.end()


def test_client_connects_again_after_the_server_was_away(node: NodePeer) -> None:
    with Server(engine="scripted") as server, node.client(server) as js:
        js.call("llm.model", CHAT)
        server.stop()
        server.start()

        assert js.call("system.getLMStudioVersion")["build"] == 0


def test_node_ends_by_itself_when_its_client_is_disposed() -> None:
    with Server(engine="scripted") as server:
        node = NodePeer()
        with node.client(server) as js:
            js.run("predict", model={"key": CHAT}, input="Hello")
            with pytest.raises(JsError):
                js.call("llm.load", "no-such-model")
        node.close()  # which raises if it does not


def test_node_ends_by_itself_although_its_client_is_still_connected() -> None:
    with Server(engine=ScriptedEngine(Reply(["One", Gate()]))) as server:
        node = NodePeer()
        js = JsClient(node, f"ws://{server.api_host}", {})
        js.call("embedding.model", EMBED)
        js.call("system.getLMStudioVersion")
        js.run("predict", model={"key": CHAT}, input="Count.", cancelAfter=1)
        node.close()
