"""Loaded models: naming them, finding them, unloading them, and what clients are told about them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from instance_stage import EMBED, OTHER, OTHER_Q8, FakeClock, by_query, code_of, run, settle, staged

from lmstudio._sdk_models import (
    EmbeddingModelInstanceInfo,
    LlmInstanceInfo,
    ModelQuery,
    ModelSpecifierInstanceReference,
)
from lmstudio.server.catalog import Catalog
from lmstudio.server.engine.base import EngineError, ModelDiedError
from lmstudio.server.engine.scripted import Gate, ScriptedEngine, ScriptedModel
from lmstudio.server.errors import RequestError
from lmstudio.server.instances import Clock, InstanceManager, require_local

# Identifiers ---------------------------------------------------------------------------------------------------------


def test_explicit_load_without_identifier_counts_instances_of_a_key() -> None:
    async def test() -> None:
        async with staged() as stage:
            loaded = [await stage.load() for _ in range(3)]
            assert [instance.identifier for instance in loaded] == [
                "scripted-chat",
                "scripted-chat:2",
                "scripted-chat:3",
            ]

    run(test)


def test_identifiers_of_loads_in_progress_are_taken() -> None:
    async def test() -> None:
        async with staged() as stage:
            loaded = await asyncio.gather(stage.load(), stage.load())
            assert {instance.identifier for instance in loaded} == {"scripted-chat", "scripted-chat:2"}

    run(test)


def test_given_identifier_that_is_in_use_is_refused_in_both_namespaces() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(identifier="mine")
            with pytest.raises(RequestError, match="'mine' is already in use"):
                await stage.load(EMBED, identifier="mine")

    run(test)


def test_just_in_time_load_is_named_as_requested() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.jit_load("Maker/Other-GGUF")
            assert (instance.identifier, instance.file.model_key) == ("Maker/Other-GGUF", "other-chat")

    run(test)


def test_instance_references_differ_and_never_return() -> None:
    async def test() -> None:
        async with staged() as stage:
            first = await stage.load()
            await stage.manager.unload(first, "test")
            assert (await stage.load()).instance_reference != first.instance_reference

    run(test)


# Finding -------------------------------------------------------------------------------------------------------------


def test_reference_finds_its_instance() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            second = await stage.load()
            specifier = ModelSpecifierInstanceReference(instance_reference=second.instance_reference)
            assert stage.manager.find("llm", specifier) is second

    run(test)


def test_reference_of_unloaded_instance_says_so() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            await stage.manager.unload(instance, "test")
            with pytest.raises(RequestError) as caught:
                stage.manager.find("llm", ModelSpecifierInstanceReference(instance_reference="gone"))
            assert code_of(caught.value) == "generic.specificModelUnloaded"

    run(test)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"identifier": "it"},
        {"domain": "llm"},
        {"vision": False},
        {"device_identifier": None},
        {"path": "MAKER/other-gguf"},
        {"path": "maker/other-GGUF/other-Q4_K_M.gguf"},
    ],
)
def test_query_matches(query: dict[str, Any]) -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(OTHER, identifier="it")
            assert stage.manager.find("llm", by_query(**query)) is instance

    run(test)


@pytest.mark.parametrize(
    "query",
    [
        {"identifier": "other"},
        {"identifier": "IT"},
        {"vision": True},
        {"domain": "embedding"},
        {"path": "maker/other"},
        {"path": "maker/other-GGUF/other-Q8_0.gguf"},
    ],
)
def test_query_without_match_names_what_is_loaded(query: dict[str, Any]) -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(OTHER, identifier="it")
            with pytest.raises(RequestError) as caught:
                stage.manager.find("llm", by_query(**query))
            data: Any = caught.value.display_data
            assert code_of(caught.value) == "generic.noModelMatchingQuery"
            assert (data.loaded_models_sample, data.total_loaded_models) == (["it"], 1)
            assert data.query == ModelQuery(**query)

    run(test)


def test_query_for_any_model_with_none_loaded_says_so() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(RequestError, match="No model is loaded that is an embedding model"):
                stage.manager.find("embedding", by_query())

    run(test)


def test_query_with_identifier_of_the_other_namespace_is_a_domain_mismatch() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(EMBED)
            with pytest.raises(RequestError) as caught:
                stage.manager.find("llm", by_query(identifier="scripted-embed"))
            assert code_of(caught.value) == "generic.domainMismatch"

    run(test)


def test_query_for_a_domain_that_this_server_does_not_have_is_a_domain_mismatch() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            with pytest.raises(RequestError, match="'scripted-chat' is a language model, not tts"):
                stage.manager.find("llm", by_query(identifier="scripted-chat", domain="tts"))

    run(test)


def test_other_devices_are_out_of_reach() -> None:
    with pytest.raises(RequestError, match="cannot reach the device 'mac-mini'"):
        require_local("mac-mini")
    require_local(None)


def test_unknown_key_names_what_could_be_loaded() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(RequestError) as caught:
                stage.manager.resolve("llm", "scripted-cat")
            data: Any = caught.value.display_data
            assert caught.value.title == 'Cannot find model "scripted-cat".'
            assert code_of(caught.value) == "generic.pathNotFound"
            assert data.available_paths_sample[0] == "scripted-chat"
            assert data.total_models == 3

    run(test)


def test_key_of_the_other_namespace_is_a_domain_mismatch() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(RequestError) as caught:
                stage.manager.resolve("llm", "scripted-embed")
            data: Any = caught.value.display_data
            assert (data.path, data.actual_domain, data.expected_domain) == ("scripted-embed", "embedding", "llm")

    run(test)


def test_ambiguous_key_means_the_models_of_the_namespace() -> None:
    embedding = replace(EMBED, model_key="aaa", path="maker/other-GGUF/aaa.gguf", publisher="maker")
    catalog = Catalog([embedding, OTHER, OTHER_Q8])
    manager = InstanceManager(ScriptedEngine(), catalog, clock=FakeClock())
    file, candidates = manager.resolve("llm", "maker/other-GGUF")
    assert (file.model_key, candidates) == ("other-chat", ["other-chat", "other-chat@q8_0"])
    assert manager.resolve("embedding", "maker/other-GGUF") == (embedding, [])


# Unloading and dying -------------------------------------------------------------------------------------------------


def test_unloading_frees_the_model_and_may_be_repeated() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            await stage.manager.unload(instance, "test")
            await stage.manager.unload(instance, "test")
            assert (stage.engine.models, instance.is_unloaded) == ([], True)

    run(test)


def test_unknown_identifier_to_unload_names_what_is_loaded() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(EMBED)
            with pytest.raises(RequestError) as caught:
                stage.manager.named("embedding", "other")
            data: Any = caught.value.display_data
            assert code_of(caught.value) == "generic.identifierNotFound"
            assert (data.loaded_models_sample, data.total_loaded_models) == (["scripted-embed"], 1)
            with pytest.raises(RequestError, match="'scripted-embed' is an embedding model, not a language model"):
                stage.manager.named("llm", "scripted-embed")

    run(test)


def test_instance_that_died_is_removed_and_the_next_request_loads_again() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.jit_load()
            stage.engine.kill_models()
            with pytest.raises(RequestError, match="'scripted-chat' stopped unexpectedly") as caught:  # noqa: SIM117
                with stage.manager.use(instance):
                    await instance.model.tokenize("x")
            assert caught.value.cause == "The scripted model died, as it was told to."
            assert stage.identifiers() == []
            assert (await stage.jit_load()) is not instance

    run(test)


def test_use_of_an_instance_that_was_unloaded_meanwhile_says_so() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            with pytest.raises(RequestError) as caught:  # noqa: SIM117
                with stage.manager.use(instance):
                    await stage.manager.unload(instance, "test")
                    await instance.model.tokenize("x")
            assert code_of(caught.value) == "generic.specificModelUnloaded"

    run(test)


def test_other_errors_of_a_use_pass_through() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            with pytest.raises(EngineError, match="no model of type embedding"):  # noqa: SIM117
                with stage.manager.use(instance):
                    await instance.model.embed("x")
            assert stage.identifiers() == ["scripted-chat"]

    run(test)


def test_model_that_cannot_be_freed_is_forgotten_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: ScriptedModel) -> None:
        raise ModelDiedError("Already gone.")

    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            await stage.manager.unload(instance, "test")
            assert stage.identifiers() == []

    monkeypatch.setattr(ScriptedModel, "close", fail)
    with caplog.at_level(logging.WARNING, "lmstudio.server"):
        run(test)
    assert caplog.messages == ["Unloading 'scripted-chat' failed: Already gone."]


def test_closing_cancels_loads_and_unloads_everything() -> None:
    async def test() -> None:
        gate = Gate()
        engine = ScriptedEngine()
        async with staged(engine) as stage:
            await stage.load()
            await stage.load(EMBED, ttl_ms=1000)
            engine.load_gate = gate
            waiter = asyncio.ensure_future(stage.jit_load("other-chat"))
            await gate.wait_reached()
            await stage.manager.aclose()
            await settle()
            assert waiter.cancelled()
            assert (engine.models, engine.cancelled) == ([], 1)
            assert (stage.identifiers(), stage.identifiers("embedding")) == ([], [])

    run(test)


# Descriptions --------------------------------------------------------------------------------------------------------


def test_description_of_a_language_model_instance() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(OTHER, identifier="mine", ttl_ms=1000)
            assert instance.info() == LlmInstanceInfo(
                model_key="other-chat",
                format="gguf",
                display_name=OTHER.display_name,
                publisher="maker",
                path=OTHER.path,
                size_bytes=OTHER.size_bytes,
                indexed_model_identifier=OTHER.path,
                device_identifier=None,
                identifier="mine",
                instance_reference=instance.instance_reference,
                ttl_ms=1000,
                last_used_time=None,
                vision=False,
                trained_for_tool_use=True,
                max_context_length=4096,
                context_length=4096,
                params_string="1M",
                architecture="scripted",
                quantization=instance.llm_info().quantization,
            )

    run(test)


def test_description_tells_when_the_instance_was_last_used() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(EMBED)
            with stage.manager.use(instance, "computingEmbedding"):
                stage.clock.now += 0.5
            info = instance.info()
            assert isinstance(info, EmbeddingModelInstanceInfo)
            assert info.last_used_time == 1000_500

    run(test)


def test_processing_state_tells_the_furthest_request_and_the_queue() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load()
            with stage.manager.use(instance), stage.manager.use(instance, "processingPrompt"):
                assert (instance.state().status, instance.state().queued) == ("processingPrompt", 1)
                with stage.manager.use(instance, "processingPrompt") as use:
                    use.status = "generating"
                    assert (instance.state().status, instance.state().queued) == ("generating", 2)
            assert (instance.state().status, instance.state().queued) == ("idle", 0)

    run(test)


# The real clock ------------------------------------------------------------------------------------------------------


def test_system_clock_tells_time_and_calls_back() -> None:
    async def test() -> None:
        clock, called = Clock(), asyncio.Event()
        clock.call_later(0, called.set)
        await called.wait()
        assert clock.time() > 1e9
        assert clock.monotonic() <= clock.monotonic()

    run(test)
