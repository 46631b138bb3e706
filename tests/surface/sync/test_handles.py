# Generated from ../async/test_handles.py by tools/make_sync.py. Edit that file instead.
"""Handles: what they know, what they ask, and which model they mean."""

from __future__ import annotations

import copy
import dataclasses
import pickle
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
    """A server with two language models, one of which can see."""
    chat, _embed = scripted_models()
    seeing = dataclasses.replace(chat, model_key="seeing", path="somebody/seeing/seeing.gguf", vision=True)
    with Server([chat, seeing], engine=ScriptedEngine()) as server:
        yield server


# What is known -------------------------------------------------------------------------------------------------------

KNOWN = (
    "identifier",
    "instance_reference",
    "model_key",
    "path",
    "indexed_model_identifier",
    "device_identifier",
    "format",
    "display_name",
    "publisher",
    "architecture",
    "params_string",
    "quantization",
    "size_bytes",
    "max_context_length",
    "context_length",
    "ttl_ms",
)


def test_handle_knows_what_the_server_said_when_it_was_made(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        loaded = client.llm.load_new_instance("scripted-chat", "mine", ttl=60, config={"contextLength": 99})
        found = client.llm.model("mine")
        (listed,) = client.llm.list_loaded()
        embedding = client.embedding.model("scripted-embed")
        before = len(proxy.messages("rpcCall"))
        for handle in (loaded, found, listed):
            assert (handle.identifier, handle.model_key, handle.context_length) == ("mine", "scripted-chat", 99)
            assert (handle.format, handle.display_name, handle.ttl_ms) == ("gguf", "Scripted Chat", 60_000)
            assert handle.path == "lmstudio-python/scripted-chat/scripted-chat.gguf"
        assert embedding.model_key == "scripted-embed"
        assert len(proxy.messages("rpcCall")) == before
        for model in (loaded, embedding):
            info = model.get_info()
            assert {name: getattr(model, name) for name in KNOWN} == {name: getattr(info, name) for name in KNOWN}
            assert model.info is not None


def test_dynamic_handle_says_that_it_knows_nothing(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        handle = client.llm.create_dynamic_handle(path="lmstudio-python/scripted-chat")
        assert handle.info is None
        for name in KNOWN:
            with pytest.raises(lms.LMStudioRuntimeError, match=r"is a dynamic handle.*get_info\(\)"):
                getattr(handle, name)


# Dynamic handles -----------------------------------------------------------------------------------------------------


def test_dynamic_handle_costs_nothing_and_finds_its_model_later(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        handle = client.llm.create_dynamic_handle("mine")
        assert (handle.identifier, proxy.accepted) == ("mine", [])
        with pytest.raises(lms.LMStudioModelNotFoundError, match="'mine'"):
            handle.get_info()
        first = client.llm.load_new_instance("scripted-chat", "mine")
        assert handle == first
        assert (handle.get_info()).instance_reference == first.instance_reference
        handle.unload()
        second = client.llm.load_new_instance("scripted-chat", "mine")
        assert (handle.get_info()).instance_reference == second.instance_reference
        assert "Hello there" in str(handle.respond("Hello there"))


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("scripted-chat",), {}),
        ((), {"identifier": "scripted-chat"}),
        ((), {"path": "lmstudio-python/scripted-chat"}),
        ((), {"vision": False, "domain": "llm", "device_identifier": None}),
        ((lms.ModelQuery(identifier="scripted-chat"),), {}),
        (({"identifier": "scripted-chat", "vision": False},), {}),
        ((), {}),
    ],
    ids=str,
)
def test_model_is_meant_in_many_ways(two_models: Server, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    with lms.Client(two_models.api_host) as client:
        client.llm.model("scripted-chat")
        client.llm.model("seeing")
        handle = client.llm.create_dynamic_handle(*arguments, **keywords)
        assert (handle.get_info()).model_key == "scripted-chat"
        assert handle.count_tokens("one two") == 2
        assert handle.get_context_length() == (handle.get_load_config()).context_length == 4096


def test_query_that_nothing_matches_is_an_error(two_models: Server) -> None:
    with lms.Client(two_models.api_host) as client:
        client.llm.model("scripted-chat")
        handle = client.llm.create_dynamic_handle(vision=True)
        for call in (handle.get_info, handle.unload, handle.get_load_config, handle.get_instance_processing_state):
            with pytest.raises(lms.LMStudioModelNotFoundError):
                call()


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("mine",), {"vision": True}),
        (({"identifire": "mine"},), {}),
        (("",), {}),
        ((5,), {}),
        ((), {"path": "publisher\\repository"}),
        ((), {"domain": "poetry"}),
        ((), {"vision": "yes"}),
    ],
    ids=str,
)
def test_bad_query_is_refused(server: Server, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    with lms.Client(server.api_host) as client:
        with pytest.raises(lms.LMStudioValueError):
            client.llm.create_dynamic_handle(*arguments, **keywords)


def test_reference_means_one_instance_for_ever(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", "mine")
        reference = model.instance_reference
        before = len(proxy.messages("rpcCall"))
        dynamic = client.llm.create_dynamic_handle_from_instance_reference(reference)
        assert len(proxy.messages("rpcCall")) == before
        assert (dynamic.get_info()).identifier == "mine"
        whole = client.llm.create_domain_specific_model_from_instance_reference(reference)
        assert (whole, whole.instance_reference) == (model, reference)
        dynamic.unload()
        client.llm.load_new_instance("scripted-chat", "mine")
        with pytest.raises(lms.LMStudioModelNotFoundError, match="unloaded"):
            dynamic.get_info()
        with pytest.raises(lms.LMStudioModelNotFoundError, match="unloaded"):
            client.llm.create_domain_specific_model_from_instance_reference(reference)
        with pytest.raises(lms.LMStudioValueError, match="instance reference"):
            client.llm.create_dynamic_handle_from_instance_reference("")


# Handles as objects --------------------------------------------------------------------------------------------------


def test_handles_of_the_same_model_are_equal(server: Server) -> None:
    with lms.Client(server.api_host) as client, lms.Client(server.api_host) as other:
        handles = [client.llm.create_dynamic_handle(path="a/b") for _ in range(2)]
        assert handles[0] == handles[1]
        assert len({*handles, client.llm.create_dynamic_handle(path="a/c")}) == 2
        assert client.llm.create_dynamic_handle("x") != other.llm.create_dynamic_handle("x")
        assert client.llm.create_dynamic_handle("x") != client.embedding.create_dynamic_handle("x")
        assert client.llm.create_dynamic_handle("x") != "x"


def test_handles_say_what_they_mean(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        reference = client.llm.create_dynamic_handle_from_instance_reference("ref-1")
        assert repr(client.llm.create_dynamic_handle("mine")).endswith("LLM(identifier='mine')")
        assert repr(client.embedding.create_dynamic_handle("e")).endswith("EmbeddingModel(identifier='e')")
        assert repr(client.llm.create_dynamic_handle(vision=True)).endswith("LLM(vision=True)")
        assert repr(reference).endswith("LLM(instance_reference='ref-1')")


def test_nothing_of_a_client_can_be_pickled_or_copied(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        (downloaded,) = client.llm.list_downloaded()
        for thing in (client, client.llm, client.llm.create_dynamic_handle("mine"), downloaded):
            for use in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(lms.LMStudioRuntimeError, match="Make a client in the other process"):
                    use(thing)


# Asking the server ---------------------------------------------------------------------------------------------------


def test_processing_state_says_how_much_an_instance_has_to_do(server: Server, gate: Gate) -> None:
    with lms.Client(server.api_host) as client, Background() as background:
        model = client.llm.model("scripted-chat")
        idle = model.get_instance_processing_state()
        call = background.start(lambda: model.respond("Hi"))
        assert background.wait(gate.reached)
        busy = model.get_instance_processing_state()
        gate.open()
        call.result()
    assert (idle.status, idle.queued) == ("idle", 0)
    assert (busy.status, busy.queued) == ("generating", 1)


def test_need_of_a_model_is_estimated_without_loading_it(proxy: FaultProxy, engine: ScriptedEngine) -> None:
    with lms.Client(proxy.api_host) as client:
        small = client.llm.estimate_resources_usage("scripted-chat", {"contextLength": 512})
        large = client.llm.estimate_resources_usage(
            "scripted-chat", lms.LlmLoadModelConfig(context_length=4096), device_identifier=None
        )
        usual = client.embedding.estimate_resources_usage("scripted-embed")
        with pytest.raises(lms.LMStudioModelNotFoundError):
            client.llm.estimate_resources_usage("no-such-model")
        with pytest.raises(lms.LMStudioValueError, match="contextLenght"):
            client.llm.estimate_resources_usage("scripted-chat", {"contextLenght": 5})  # type: ignore[arg-type]  # the mistake
    assert 0 < small.memory.context_bytes < large.memory.context_bytes
    assert usual.memory.total_bytes == usual.memory.model_bytes + usual.memory.context_bytes
    assert small.passes_guardrails
    assert engine.loads == []
    calls = [message["parameter"] for message in proxy.messages("rpcCall")]
    assert "deviceIdentifier" not in calls[0]
    assert calls[1]["deviceIdentifier"] is None


def test_embedding_model_knows_its_batch_size(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.embedding.model("scripted-embed")
        assert model.get_eval_batch_size() == 2048


def test_information_is_printed_as_it_is_made(server: Server) -> None:
    with lms.Client(server.api_host) as client:
        model = client.llm.load_new_instance("scripted-chat", "mine", config={"contextLength": 99})
        info, config = model.get_info(), model.get_load_config()
    assert str(info).startswith('LlmInstanceInfo.from_dict({\n  "architecture": ')
    assert '  "identifier": "mine",\n  "indexedModelIdentifier": ' in str(info)
    assert str(info).endswith("\n})")
    assert str(config).startswith("LlmLoadModelConfig.from_dict({\n")
    assert '  "contextLength": 99' in str(config)


def test_unknown_namespace_is_refused(proxy: FaultProxy) -> None:
    with lms.Client(proxy.api_host) as client:
        for call in (client.list_downloaded_models, client.list_loaded_models):
            with pytest.raises(lms.LMStudioValueError, match="namespace must be 'llm', 'embedding' or None"):
                call("llms")
    assert proxy.accepted == []
