"""Loading once for everybody, and giving models up when they idle or when others need the room."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest
from instance_stage import CHAT, EMBED, NO_CONFIG, OTHER, OTHER_Q8, code_of, ignore, present, run, settle, staged

from lmstudio._sdk_models import (
    KvConfigStack,
    KvConfigStackLayer,
)
from lmstudio.server.catalog import Catalog
from lmstudio.server.config import LoadConfig, kv_config
from lmstudio.server.engine.base import EngineError, LoadOptions
from lmstudio.server.engine.scripted import Gate, ScriptedEngine
from lmstudio.server.errors import RequestError
from lmstudio.server.instances import Clock, InstanceManager
from lmstudio.server.loads import AcquireEvent, EvictedInstance, LoadEvent, StartedLoad

# Get or load ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine", "MINE", "other-chat", "Other-Chat", "maker/other-gguf", OTHER.path])
def test_loaded_instance_matches_by_identifier_key_and_path_in_any_case(name: str) -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(OTHER, identifier="mine")
            assert stage.manager.match("llm", name) is instance

    run(test)


def test_loaded_variant_matches_an_ambiguous_key() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(OTHER_Q8)
            assert stage.manager.match("llm", "maker/other-GGUF") is instance

    run(test)


@pytest.mark.parametrize("name", ["scripted-chat", "nonsense"])
def test_nothing_matches_while_nothing_is_loaded(name: str) -> None:
    async def test() -> None:
        async with staged() as stage:
            assert stage.manager.match("llm", name) is None

    run(test)


def test_identifier_of_the_other_namespace_is_a_domain_mismatch() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(EMBED, identifier="it")
            with pytest.raises(RequestError) as caught:
                stage.manager.match("llm", "it")
            assert code_of(caught.value) == "generic.domainMismatch"

    run(test)


def test_concurrent_requests_for_one_model_make_one_load() -> None:
    async def test() -> None:
        async with staged() as stage:
            names = ["scripted-chat", "Scripted-Chat", CHAT.path]
            loaded = await asyncio.gather(*(stage.jit_load(name) for name in names))
            assert len({id(instance) for instance in loaded}) == 1
            assert len(stage.engine.loads) == 1

    run(test)


@pytest.mark.parametrize("name", ["scripted-chat", "mine"])
def test_request_joins_an_explicit_load_in_progress(name: str) -> None:
    async def test() -> None:
        async with staged() as stage:
            stage.manager = InstanceManager(
                stage.engine, Catalog([CHAT, replace(CHAT, model_key="mine")]), clock=Clock()
            )
            explicit, joined = await asyncio.gather(stage.load(identifier="mine"), stage.jit_load(name))
            assert explicit is joined

    run(test)


def test_every_waiter_sees_the_progress_from_when_it_came() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate, load_steps=2)) as stage:
            load = stage.manager.jit_load("llm", "scripted-chat", NO_CONFIG)
            seen: list[list[LoadEvent]] = [[], []]
            first = load.join(seen[0].append)
            await gate.wait_reached()
            second = load.join(seen[1].append)
            gate.open()
            assert await first.result() is await second.result()
            assert seen == [[0.0, 0.5, 1.0], [0.5, 1.0]]

    run(test)


def test_late_waiter_is_told_how_far_the_load_is() -> None:
    async def test() -> None:
        async with staged() as stage:
            load = stage.manager.jit_load("llm", "scripted-chat", NO_CONFIG)
            load.report(0.25)
            load.report(0.25)
            load.report(0.1)
            seen: list[LoadEvent] = []
            await load.join(seen.append).result()
            assert seen == [0.25, 0.5, 0.75, 1.0]

    run(test)


def test_cancelled_waiter_does_not_cancel_the_load_for_others() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            waiters = [asyncio.ensure_future(stage.jit_load()) for _ in range(2)]
            await gate.wait_reached()
            waiters[0].cancel()
            await settle()
            gate.open()
            assert (await waiters[1]).identifier == "scripted-chat"
            assert (waiters[0].cancelled(), stage.engine.cancelled) == (True, 0)

    run(test)


def test_last_cancelled_waiter_cancels_the_load_at_once() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            waiters = [asyncio.ensure_future(stage.jit_load()) for _ in range(2)]
            await gate.wait_reached()
            for waiter in waiters:
                waiter.cancel()
            await settle()
            assert (stage.engine.cancelled, stage.identifiers()) == (1, [])

    run(test)


def test_cancelled_load_is_not_joined_and_its_identifier_is_free() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            waiter = asyncio.ensure_future(stage.jit_load())
            await gate.wait_reached()
            stage.manager.jit_load("llm", "scripted-chat", NO_CONFIG).abandon()
            gate.open()
            assert (await stage.jit_load()).identifier == "scripted-chat"
            await asyncio.wait([waiter])
            assert waiter.cancelled()

    run(test)


def test_cancelled_ticket_gives_nothing_and_cancels_the_load_at_once() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            ticket = stage.manager.load(CHAT, NO_CONFIG).join(ignore)
            waiter = asyncio.ensure_future(ticket.result())
            await gate.wait_reached()
            ticket.cancel()
            assert await waiter is None
            assert stage.engine.cancelled == 1

    run(test)


def test_ticket_that_is_cancelled_too_late_gives_the_instance() -> None:
    async def test() -> None:
        async with staged() as stage:
            ticket = stage.manager.load(CHAT, NO_CONFIG).join(ignore)
            instance = await ticket.result()
            ticket.cancel()
            assert present(instance).identifier == "scripted-chat"
            assert stage.identifiers() == ["scripted-chat"]

    run(test)


def test_load_that_ends_at_the_moment_of_a_cancellation_stands() -> None:
    async def test() -> None:
        async with staged() as stage:
            load = stage.manager.load(CHAT, NO_CONFIG)
            ticket = load.join(ignore)
            ticket.outcome.cancel()  # as the cancellation of the waiting task does, before that task goes on
            await load.task
            await settle()
            assert stage.identifiers() == ["scripted-chat"]

    run(test)


def test_failure_at_the_moment_of_a_cancellation_is_not_reported_by_the_loop() -> None:
    async def test() -> None:
        reported: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        async with staged() as stage:
            ticket = stage.manager.load(CHAT, NO_CONFIG).join(ignore)
            waiter = asyncio.ensure_future(ticket.result())
            await asyncio.sleep(0)
            ticket.outcome.set_exception(EngineError("The file is damaged."))
            waiter.cancel()
            await asyncio.wait([waiter])
            assert waiter.cancelled()
            del ticket, waiter
            gc.collect()
            assert reported == []

    run(test)


def test_load_that_is_cancelled_before_it_began_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with staged() as stage:
            stage.manager.load(CHAT, NO_CONFIG).abandon()
            await settle()
            assert (await stage.load()).identifier == "scripted-chat"
            assert len(stage.engine.loads) == 1

    run(test)


def test_failed_load_reaches_every_waiter_and_leaves_nothing_behind() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(fail_load="The file is damaged.")) as stage:
            outcomes = await asyncio.gather(stage.jit_load(), stage.jit_load(), return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == ["The file is damaged."] * 2
            stage.engine.fail_load = None
            assert (await stage.jit_load()).identifier == "scripted-chat"

    run(test)


def test_draft_model_is_loaded_by_its_file() -> None:
    async def test() -> None:
        async with staged() as stage:
            layer = KvConfigStackLayer(
                layer_name="apiOverride",
                config=kv_config({"llm.load.llama.speculativeDecoding.draftModel": "Other-Chat"}),
            )
            config = LoadConfig.parse("llm", KvConfigStack(layers=[layer]))
            instance = present(await stage.manager.load(CHAT, config).join(ignore).result())
            assert instance.draft_model_key == "other-chat"
            assert stage.engine.loads == [(CHAT, LoadOptions(draft_model=OTHER.file))]
            with pytest.raises(RequestError, match='Cannot find model "nothing"'):
                stage.manager.load(CHAT, replace(config, draft_model_key="nothing"))

    run(test)


# Acquire: what a request needs, loaded or not ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine", "other-chat", "maker/other-GGUF"])
def test_acquired_is_what_is_loaded_already(name: str) -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(OTHER, identifier="mine")
            seen: list[AcquireEvent] = []
            assert await stage.manager.acquire("llm", name, ttl_seconds=1, on_event=seen.append) is instance
            assert (seen, instance.ttl_ms) == ([], None)

    run(test)


def test_identifier_comes_before_the_name_of_a_model() -> None:
    async def test() -> None:
        async with staged() as stage:
            named = await stage.load(OTHER, identifier="scripted-chat")
            await stage.load(CHAT)
            assert await stage.manager.acquire("llm", "scripted-chat") is named

    run(test)


def test_acquired_model_is_loaded_as_the_request_wishes() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(load_steps=2)) as stage:
            seen: list[AcquireEvent] = []
            config = LoadConfig.from_fields("llm", {"llm.load.contextLength": 512})
            instance = await stage.manager.acquire(
                "llm", "scripted-chat", config=config, ttl_seconds=2.5, on_event=seen.append
            )
            assert seen == [StartedLoad("scripted-chat", CHAT), 0.0, 0.5, 1.0]
            assert (instance.ttl_ms, instance.context_length) == (2500, 512)

    run(test)


def test_acquired_model_has_the_time_to_live_of_the_server_by_default() -> None:
    async def test() -> None:
        async with staged(jit_ttl_seconds=7) as stage:
            assert (await stage.manager.acquire("embedding", "scripted-embed")).ttl_ms == 7000

    run(test)


def test_load_that_nobody_waits_for_any_more_is_given_up() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            waiter = asyncio.ensure_future(stage.manager.acquire("llm", "scripted-chat"))
            await gate.wait_reached()
            waiter.cancel()
            await settle()
            assert (stage.identifiers(), stage.engine.models) == ([], [])

    run(test)


def test_without_just_in_time_loading_only_what_is_loaded_is_acquired() -> None:
    async def test() -> None:
        async with staged(jit_loading=False) as stage:
            instance = await stage.load(CHAT, identifier="mine")
            assert await stage.manager.acquire("llm", "scripted-chat") is instance
            with pytest.raises(RequestError, match="'other-chat', and JIT loading is off") as caught:
                await stage.manager.acquire("llm", "other-chat")
            assert code_of(caught.value) == "generic.noModelMatchingQuery"
            assert stage.identifiers() == ["mine"]

    run(test)


@pytest.mark.parametrize("jit_loading", [True, False])
@pytest.mark.parametrize(
    ("name", "code"), [("scripted-chatt", "generic.pathNotFound"), ("scripted-embed", "generic.domainMismatch")]
)
def test_name_that_is_wrong_is_told_from_a_model_that_is_not_loaded(jit_loading: bool, name: str, code: str) -> None:
    async def test() -> None:
        async with staged(jit_loading=jit_loading) as stage:
            with pytest.raises(RequestError) as caught:
                await stage.manager.acquire("llm", name)
            assert code_of(caught.value) == code

    run(test)


# Time to live --------------------------------------------------------------------------------------------------------


def test_explicit_load_has_no_time_to_live() -> None:
    async def test() -> None:
        async with staged() as stage:
            assert (await stage.load()).ttl_ms is None
            await stage.clock.advance(1e9)
            assert stage.identifiers() == ["scripted-chat"]

    run(test)


@pytest.mark.parametrize(
    ("settings", "ttl_ms", "expected"),
    [
        ({}, None, 3_600_000),
        ({}, 500, 500),
        ({"jit_ttl_seconds": 1.5}, None, 1500),
        ({"jit_ttl_seconds": None}, None, None),
    ],
)
def test_just_in_time_load_has_a_time_to_live(
    settings: dict[str, Any], ttl_ms: int | None, expected: int | None
) -> None:
    async def test() -> None:
        async with staged(**settings) as stage:
            assert (await stage.jit_load(ttl_ms=ttl_ms)).ttl_ms == expected

    run(test)


def test_idle_instance_is_unloaded_after_its_time_to_live() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(ttl_ms=10_000)
            await stage.clock.advance(9.9)
            assert stage.identifiers() == ["scripted-chat"]
            await stage.clock.advance(0.1)
            assert (stage.identifiers(), stage.engine.models) == ([], [])

    run(test)


def test_idle_time_counts_from_the_last_use() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(ttl_ms=10_000)
            await stage.clock.advance(9)
            with stage.manager.use(instance):
                pass
            await stage.clock.advance(9)
            assert stage.identifiers() == ["scripted-chat"]
            stage.manager.keep_alive(instance)
            await stage.clock.advance(9)
            assert stage.identifiers() == ["scripted-chat"]
            await stage.clock.advance(1)
            assert stage.identifiers() == []

    run(test)


def test_instance_in_use_is_never_unloaded_for_idling() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(ttl_ms=10_000)
            with stage.manager.use(instance, "generating"):
                await stage.clock.advance(1000)
                assert stage.identifiers() == ["scripted-chat"]
            await stage.clock.advance(10)
            assert stage.identifiers() == []

    run(test)


def test_instance_is_in_use_until_its_last_use_ends() -> None:
    async def test() -> None:
        async with staged() as stage:
            instance = await stage.load(ttl_ms=10_000)
            with stage.manager.use(instance):
                with stage.manager.use(instance):
                    pass
                await stage.clock.advance(1000)
                assert stage.identifiers() == ["scripted-chat"]

    run(test)


# Eviction ------------------------------------------------------------------------------------------------------------


def test_just_in_time_loads_stay_side_by_side_by_default() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.jit_load()
            await stage.jit_load("other-chat")
            assert stage.identifiers() == ["scripted-chat", "other-chat"]

    run(test)


def test_eviction_unloads_idle_just_in_time_instances_only_and_tells_the_waiters() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            await stage.load(identifier="explicit")
            embedding = await stage.jit_load("scripted-embed", "embedding")
            seen: list[LoadEvent] = []
            await stage.manager.jit_load("llm", "other-chat", NO_CONFIG).join(seen.append).result()
            assert (stage.identifiers(), stage.identifiers("embedding")) == (["explicit", "other-chat"], [])
            assert seen[0] == EvictedInstance(embedding)

    run(test)


def test_eviction_waits_for_what_runs() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            first = await stage.jit_load()
            with stage.manager.use(first, "generating"):
                loading = asyncio.ensure_future(stage.jit_load("other-chat"))
                await settle()
                assert (stage.identifiers(), len(stage.engine.models)) == ([], 1)
            await loading
            assert (stage.identifiers(), len(stage.engine.models)) == (["other-chat"], 1)

    run(test)


def test_model_is_evicted_only_after_those_who_waited_for_it_have_used_it() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            used: list[str] = []

            async def use(name: str) -> None:
                instance = await stage.manager.acquire("llm", name)
                with stage.manager.use(instance, "generating"):
                    await settle()
                    assert instance.model in stage.engine.models
                    used.append(name)

            names = ["scripted-chat", "other-chat", "scripted-chat", "other-chat@q8_0"]
            await asyncio.gather(*map(use, names))
            assert (sorted(used), len(stage.engine.models)) == (sorted(names), 1)

    run(test)


def test_eviction_goes_on_when_the_load_that_caused_it_is_given_up() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            first = await stage.jit_load()
            with stage.manager.use(first, "generating"):
                loading = asyncio.ensure_future(stage.jit_load("other-chat"))
                await settle()
                loading.cancel()
                await settle()
                assert len(stage.engine.models) == 1
            await settle()
            assert stage.engine.models == []

    run(test)


def test_closing_ends_an_eviction_that_waits() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            first = await stage.jit_load()
            with stage.manager.use(first, "generating"):
                loading = asyncio.ensure_future(stage.jit_load("other-chat"))
                await settle()
                await stage.manager.aclose()
                assert stage.engine.models == []
            await asyncio.wait([loading])
            assert loading.cancelled()

    run(test)


def test_explicit_load_evicts_nothing() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            await stage.jit_load()
            await stage.load(OTHER)
            assert stage.identifiers() == ["scripted-chat", "other-chat"]

    run(test)
