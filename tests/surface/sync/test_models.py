# Generated from ../async/test_models.py by tools/make_sync.py. Edit that file instead.
"""Models: finding, loading, describing and unloading them; sessions and handles."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server, scripted_models
from surface.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server import Gate
    from surface.fault_proxy import FaultProxy


@pytest.fixture
def two_models() -> Iterator[Server]:
    """A server with two language models."""
    chat, _embed = scripted_models()
    other = dataclasses.replace(chat, model_key="other-chat", path="somebody/other-chat/other-chat.gguf")
    with Server([chat, other], engine=ScriptedEngine()) as server:
        yield server


# Get or load ---------------------------------------------------------------------------------------------------------


def test_model_is_loaded_once(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        first = client.llm.model("scripted-chat")
        second = client.llm.model("scripted-chat")
    assert first == second
    assert hash(first) == hash(second)
    assert first.identifier == "scripted-chat"
    assert len(engine.loads) == 1


def test_concurrent_requests_for_a_model_load_it_once(server: Server, engine: ScriptedEngine, gate: Gate) -> None:
    engine.load_gate = gate
    with lms.Client(server.api_host) as client, Background() as background:
        calls = [background.start(lambda: client.llm.model("scripted-chat")) for _ in range(10)]
        assert background.wait(gate.reached)
        gate.open()
        handles = [call.result() for call in calls]
    assert len(set(handles)) == 1
    assert len(engine.loads) == 1


def test_without_a_key_any_loaded_model_will_do(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine")
        assert (client.llm.model()).identifier == "mine"


def test_without_a_key_a_model_must_be_loaded(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioModelNotFoundError, match=r"No LLM is loaded.*client\.llm\.model\('"):
            client.llm.model()
        with pytest.raises(lms.LMStudioModelNotFoundError, match=r"No embedding model is loaded"):
            client.embedding.model()


def test_progress_rises_from_zero_to_one(server: Server) -> None:
    values: list[float] = []
    more: list[float] = []
    with lms.Client(server.api_host) as client:
        client.llm.model("scripted-chat", on_load_progress=values.append)
        client.llm.load_new_instance("scripted-chat", on_load_progress=more.append)
    assert values == more == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_model_that_is_loaded_already_reports_no_progress(server: Server) -> None:
    values: list[float] = []
    with lms.Client(server.api_host) as client:
        client.llm.model("scripted-chat")
        client.llm.model("scripted-chat", on_load_progress=values.append)
    assert values == []


def test_unknown_model_is_an_error_that_lists_what_there_is(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        for call in (client.llm.model, client.llm.load_new_instance):
            with pytest.raises(lms.LMStudioModelNotFoundError, match="Downloaded models: scripted-chat") as error:
                call("no-such-model")
            assert error.value.code == "generic.pathNotFound"
            assert error.value.server_error is not None
            assert "no-such-model" in (error.value.server_error.title or "")


def test_failed_load_says_why(server: Server, engine: ScriptedEngine) -> None:
    engine.fail_load = "The weights are damaged."
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match=r"load model 'scripted-chat'(.|\n)*The weights are damaged"):
            client.llm.model("scripted-chat")
        engine.fail_load = None
        assert (client.llm.model("scripted-chat")).identifier == "scripted-chat"


@pytest.mark.parametrize(
    "config",
    [
        {"contextLength": 100, "seed": 7},
        {"context_length": 100, "seed": 7},
        lms.LlmLoadModelConfig(context_length=100, seed=7),
    ],
    ids=["camelCase", "snake_case", "struct"],
)
def test_load_configuration_reaches_the_engine(server: Server, engine: ScriptedEngine, config: Any) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat", config=config, ttl=60)
        loaded = model.get_load_config()
        info = model.get_info()
    assert (engine.loads[-1][1].context_length, engine.loads[-1][1].seed) == (100, 7)
    assert (loaded.context_length, loaded.seed) == (100, 7)
    assert (info.context_length, info.ttl_ms) == (100, 60_000)


def test_embedding_model_takes_a_configuration(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        model = client.embedding.load_new_instance("scripted-embed", config={"contextLength": 64}, ttl=None)
        assert (model.get_load_config()).context_length == model.get_context_length() == 64
        assert (model.get_info()).ttl_ms is None


@pytest.mark.parametrize(
    "bad",
    [
        {"config": {"contextLenght": 5}},
        {"config": {"contextLength": "long"}},
        {"ttl": 0},
        {"ttl": -5},
        {"model_key": ""},
        {"model_key": "with\nline end"},
        {"model_key": "x" * 1025},
        {"model_key": 5},
        {"instance_identifier": ""},
    ],
    ids=str,
)
def test_bad_load_is_refused_before_anything_is_sent(proxy: FaultProxy, bad: dict[str, Any]) -> None:
    arguments = {"model_key": "scripted-chat", **bad}
    with lms.Client(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioValueError):
            client.llm.load_new_instance(**arguments)
        if "instance_identifier" not in bad:
            with pytest.raises(lms.LMStudioValueError):
                client.llm.model(arguments.pop("model_key"), **arguments)
    assert proxy.accepted == []


# New instances and unloading -----------------------------------------------------------------------------------------


def test_every_new_instance_has_an_identifier_of_its_own(server: Server, engine: ScriptedEngine) -> None:
    with lms.Client(server.api_host) as client:
        named = client.llm.load_new_instance("scripted-chat", "mine")
        first = client.llm.load_new_instance("scripted-chat")
        second = client.llm.load_new_instance("scripted-chat")
    assert named.identifier == "mine"
    assert len({named, first, second}) == len(engine.loads) == 3


def test_identifier_that_is_in_use_is_refused(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat", "mine")
        with pytest.raises(lms.LMStudioServerError, match="mine"):
            client.llm.load_new_instance("scripted-chat", "mine")


def test_instance_is_unloaded_by_its_handle_or_its_identifier(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        one = client.llm.load_new_instance("scripted-chat", "one")
        two = client.llm.load_new_instance("scripted-chat", "two")
        one.unload()
        assert client.llm.list_loaded() == [two]
        client.llm.unload("two")
        assert client.llm.list_loaded() == []
        with pytest.raises(lms.LMStudioModelNotFoundError, match="Loaded models: none"):
            two.unload()


# Lists ---------------------------------------------------------------------------------------------------------------


def test_downloaded_models_are_listed(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        every = client.list_downloaded_models()
        assert [model.model_key for model in every] == ["scripted-chat", "scripted-embed"]
        assert [type(model) for model in every] == [lms.DownloadedLlm, lms.DownloadedEmbeddingModel]
        assert client.list_downloaded_models("llm") == client.llm.list_downloaded() == every[:1]
        assert client.list_downloaded_models("embedding") == client.embedding.list_downloaded() == every[1:]
        assert client.system.list_downloaded_models() == every


def test_loaded_models_are_listed(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        assert client.list_loaded_models() == []
        chat = client.llm.model("scripted-chat")
        embed = client.embedding.model("scripted-embed")
        assert client.list_loaded_models() == [chat, embed]
        assert client.list_loaded_models("llm") == client.llm.list_loaded() == [chat]
        assert client.list_loaded_models("embedding") == client.embedding.list_loaded() == [embed]


def test_downloaded_model_describes_itself(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        chat, embed = client.list_downloaded_models()
        (again,) = client.list_downloaded_models("llm")
    assert (chat.type, embed.type) == ("llm", "embedding")
    assert chat.path == chat.info.path == "lmstudio-python/scripted-chat/scripted-chat.gguf"
    assert chat.info.display_name == "Scripted Chat"
    assert repr(chat).endswith(
        "DownloadedLlm(model_key='scripted-chat', display_name='Scripted Chat', architecture='scripted', vision=False)"
    )
    assert repr(embed).endswith(
        "DownloadedEmbeddingModel(model_key='scripted-embed', display_name='Scripted Embed', architecture='scripted')"
    )
    assert (chat == again, hash(chat) == hash(again), chat == embed) == (True, True, False)


def test_model_without_variants_has_none_to_list(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError, match="no variants"):
            client.system.list_downloaded_model_variants("scripted-chat")
        with pytest.raises(lms.LMStudioModelNotFoundError):
            client.system.list_downloaded_model_variants("no-such-model")
        with pytest.raises(lms.LMStudioValueError):
            client.system.list_downloaded_model_variants("")


def test_downloaded_model_is_loaded_or_found(server: Server, engine: ScriptedEngine) -> None:
    values: list[float] = []
    with lms.Client(server.api_host) as client:
        (chat,) = client.llm.list_downloaded()
        model = chat.model(ttl=60, config={"contextLength": 99}, on_load_progress=values.append)
        assert chat.model() == model
        other = chat.load_new_instance(
            ttl=None, instance_identifier="other", config={"contextLength": 98}, on_load_progress=values.append
        )
        assert [model.get_context_length(), other.get_context_length()] == [99, 98]
        with pytest.raises(lms.LMStudioRuntimeError, match="contextLength is 99 instead of 5"):
            chat.model(config={"contextLength": 5}, on_mismatch="error")
        (embed,) = client.embedding.list_downloaded()
        assert (embed.model()).identifier == "scripted-embed"
    assert other.identifier == "other"
    assert values == [0.0, 0.25, 0.5, 0.75, 1.0] * 2


def test_several_models_do_not_get_mixed_up(two_models: Server) -> None:
    with lms.Client(two_models.api_host) as client:
        for model_key in ("other-chat", "scripted-chat", "other-chat"):
            model = client.llm.model(model_key)
            assert (model.get_info()).model_key == model_key


# Handles and information ---------------------------------------------------------------------------------------------


def test_handle_describes_its_instance(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", "mine")
        info = model.get_info()
        assert (info.identifier, info.model_key, info.context_length) == ("mine", "scripted-chat", 4096)
        assert model.get_context_length() == 4096
        assert repr(model).endswith("LLM(identifier='mine')")
        assert model != client.embedding.model("scripted-embed")


def test_information_is_found_by_every_kind_of_specifier(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", "mine")
        info = model.get_info()
        query = lms.ModelQuery(identifier="mine")
        reference = lms.ModelSpecifierInstanceReference(instance_reference=info.instance_reference)
        for specifier in (
            "mine",
            query,
            lms.ModelSpecifierQuery(query=query),
            reference,
            {"identifier": "mine"},
            {"type": "query", "query": {"identifier": "mine"}},
            {"type": "instanceReference", "instanceReference": info.instance_reference},
        ):
            assert (client.llm.get_model_info(specifier)).instance_reference == info.instance_reference
        with pytest.raises(lms.LMStudioModelNotFoundError):
            client.llm.get_model_info("nobody")
        with pytest.raises(lms.LMStudioValueError):
            client.llm.get_model_info({"identifire": "mine"})


def test_handle_of_a_namespace_does_not_find_models_of_the_other(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioServerError):
            client.llm.model("scripted-embed")
        with pytest.raises(lms.LMStudioServerError):
            client.embedding.model("scripted-chat")


# Sessions ------------------------------------------------------------------------------------------------------------


def test_session_connects_when_told_to_or_when_used(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        assert (client.llm.connected, proxy.accepted) == (False, [])
        client.llm.connect()
        assert (client.llm.connected, client.system.connected, proxy.accepted) == (True, False, ["llm"])
        client.llm.connect()
        client.system.list_downloaded_models()
        assert (client.system.connected, proxy.accepted) == (True, ["llm", "system"])


def test_disconnected_session_connects_again_when_used(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        client.llm.connect()
        client.llm.disconnect()
        client.llm.close()
        assert not client.llm.connected
        assert client.llm.list_loaded() == []
        assert proxy.accepted == ["llm", "llm"]


def test_session_is_connected_inside_its_with_block(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        with client.embedding as session:
            assert session is client.embedding
            assert session.connected
        assert not client.embedding.connected
        assert client.embedding.client is client


def test_any_endpoint_may_be_called_by_its_name(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.model("scripted-chat")
        specifier = {"type": "query", "query": {"identifier": model.identifier}}
        reply = client.llm.remote_call("countTokens", {"specifier": specifier, "inputString": "a b c"})
        assert reply == {"tokenCount": 3}
        assert [info["identifier"] for info in client.llm.remote_call("listLoaded")] == ["scripted-chat"]
        with pytest.raises(lms.LMStudioServerError, match=r"Could not call llm\.noSuchEndpoint"):
            client.llm.remote_call("noSuchEndpoint")
        with pytest.raises(lms.LMStudioValueError, match="endpoint must"):
            client.llm.remote_call("")
