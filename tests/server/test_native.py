"""Finding, loading and describing models as clients see it: frames in, frames out, no sockets."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio._endpoints import embedding, llm, models
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS
from lmstudio.server.catalog import Catalog, read_model_file
from lmstudio.server.core import ServerCore, available_memory_bytes
from lmstudio.server.engine.base import LoadOptions
from lmstudio.server.engine.scripted import Gate, Reply, ScriptedEngine
from lmstudio.server.errors import RequestError
from lmstudio.server.estimate import estimate_memory
from lmstudio.server.models import CHAT_MODEL_FILE, EMBEDDING_MODEL_FILE

if TYPE_CHECKING:
    from pathlib import Path

from native_client import (
    ABSENT,
    ANY_MODEL,
    CHAT,
    EMBED,
    NO_LAYERS,
    OTHER,
    Refused,
    Session,
    fields_of,
    get_or_load,
    layers,
    run,
    staged,
    types,
)

# Completeness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("namespace", "rpcs", "channels"), [("llm", 11, 4), ("embedding", 10, 2), ("system", 10, 1)])
def test_namespace_is_complete(namespace: str, rpcs: int, channels: int) -> None:
    handlers = ServerCore(ScriptedEngine(), Catalog([CHAT])).handlers(namespace)
    assert (len(handlers.rpcs), len(handlers.channels)) == (rpcs, channels)


def test_namespace_that_the_server_does_not_have_has_no_handlers() -> None:
    core = ServerCore(ScriptedEngine(), Catalog())
    assert core.handlers("dreams").rpcs == {}
    assert core.handlers("dreams") is core.handlers("dreams")


# Loading -------------------------------------------------------------------------------------------------------------


def test_load_resolves_reports_progress_and_describes_the_instance() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(load_steps=2)) as stage:
            parameter = {"modelKey": "Scripted-Chat", "identifier": "mine", "ttlMs": 5000, "loadConfigStack": NO_LAYERS}
            packets = await stage.llm.open(llm.MODELS.load_model, parameter).rest()
            assert types(packets) == ["resolved", "progress", "progress", "progress", "success"]
            assert [packet["progress"] for packet in packets[1:-1]] == [0.0, 0.5, 1.0]
            resolved, info = packets[0]["info"], packets[-1]["info"]
            assert "ambiguous" not in packets[0]
            assert resolved == {
                "type": "llm",
                "modelKey": "scripted-chat",
                "format": "gguf",
                "displayName": "Scripted Chat",
                "publisher": "lmstudio-python",
                "path": CHAT.path,
                "sizeBytes": 1_000_000,
                "indexedModelIdentifier": CHAT.path,
                "deviceIdentifier": None,
                "paramsString": "1M",
                "architecture": "scripted",
                "quantization": {"name": "Q8_0", "bits": 8},
                "vision": False,
                "trainedForToolUse": True,
                "maxContextLength": 4096,
            }
            assert info == {
                **resolved,
                "identifier": "mine",
                "instanceReference": info["instanceReference"],
                "ttlMs": 5000,
                "lastUsedTime": None,
                "contextLength": 4096,
            }

    run(test)


def test_load_of_an_ambiguous_key_names_the_candidates() -> None:
    async def test() -> None:
        twin = replace(OTHER, model_key="other-chat-2", path="maker/other-GGUF/other-2.gguf")
        async with staged(models=[OTHER, twin]) as stage:
            parameter = {"modelKey": "maker/other-GGUF", "loadConfigStack": NO_LAYERS}
            packets = await stage.llm.open(llm.MODELS.load_model, parameter).rest()
            assert packets[0]["ambiguous"] == ["other-chat", "other-chat-2"]
            assert packets[-1]["info"]["modelKey"] == "other-chat"

    run(test)


def test_load_configuration_reaches_the_engine_and_is_reported_back() -> None:
    async def test() -> None:
        async with staged() as stage:
            stack = layers(llm__load__contextLength=100, llm__load__llama__flashAttention=True, llm__load__numExperts=2)
            info = await stage.load(loadConfigStack=stack)
            config = await stage.llm.call(models.GET_LOAD_CONFIG, {"specifier": ANY_MODEL})
            assert info["contextLength"] == 100
            assert fields_of(config) == {
                "llm.load.contextLength": 100,
                "llm.load.llama.flashAttention": True,
                "llm.load.numExperts": 2,
            }

    run(test)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"modelKey": "nothing"}, 'Cannot find model "nothing".'),
        ({"deviceIdentifier": "mac"}, "This server cannot reach the device 'mac': it has no LM Link."),
        (
            {"loadConfigStack": layers(llm__load__contextLength=0)},
            "The value of llm.load.contextLength is not valid: Expected `int` >= 1. Found 0.",
        ),
        ({"ttlMs": 0}, "Invalid parameter for llm/loadModel: Expected `int` >= 1 - at `$.ttlMs`"),
    ],
)
def test_load_that_cannot_begin_is_refused(members: dict[str, Any], message: str) -> None:
    async def test() -> None:
        async with staged() as stage:
            parameter = {"modelKey": "scripted-chat", "loadConfigStack": NO_LAYERS, **members}
            with pytest.raises(Refused) as caught:
                await stage.llm.open(llm.MODELS.load_model, parameter).rest()
            assert str(caught.value) == message
            assert stage.engine.loads == []

    run(test)


def test_empty_identifier_is_none() -> None:
    async def test() -> None:
        async with staged() as stage:
            assert (await stage.load(identifier=""))["identifier"] == "scripted-chat"

    run(test)


def test_null_device_is_this_one() -> None:
    async def test() -> None:
        async with staged() as stage:
            assert (await stage.load(deviceIdentifier=None))["deviceIdentifier"] is None

    run(test)


def test_load_that_fails_says_why_and_the_server_lives_on() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(fail_load="The file is damaged.")) as stage:
            with pytest.raises(Refused, match=r"The file is damaged\."):
                await stage.load()
            stage.engine.fail_load = None
            assert (await stage.load())["identifier"] == "scripted-chat"

    run(test)


def test_cancelled_load_is_aborted_and_its_channel_closed() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            parameter = {"modelKey": "scripted-chat", "loadConfigStack": NO_LAYERS}
            channel = stage.llm.open(llm.MODELS.load_model, parameter)
            await gate.wait_reached()
            channel.send({"type": "cancel"})
            assert types(await channel.rest()) == ["resolved", "progress"]
            assert stage.engine.cancelled == 1
            assert await stage.llm.call(llm.MODELS.list_loaded) == []

    run(test)


def test_load_that_is_cancelled_before_it_began_never_reaches_the_engine() -> None:
    async def test() -> None:
        async with staged() as stage:
            channel = get_or_load(stage.llm, "scripted-chat")
            channel.send({"type": "cancel"})
            assert types(await channel.rest()) == ["startLoading"]
            assert stage.engine.loads == []

    run(test)


def test_load_of_a_connection_that_is_gone_is_aborted() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            get_or_load(stage.llm, "scripted-chat")
            await gate.wait_reached()
            await stage.llm.hang_up()
            assert stage.engine.cancelled == 1

    run(test)


# Get or load ---------------------------------------------------------------------------------------------------------


def test_get_or_load_loads_once_and_then_finds() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(load_steps=1)) as stage:
            first = await get_or_load(stage.llm, "Scripted-Chat").rest()
            assert types(first) == ["startLoading", "loadProgress", "loadProgress", "loadSuccess"]
            assert (first[0]["identifier"], first[0]["info"]["modelKey"]) == ("Scripted-Chat", "scripted-chat")
            assert (first[-1]["info"]["identifier"], first[-1]["info"]["ttlMs"]) == ("Scripted-Chat", 3_600_000)
            second = await get_or_load(stage.llm, "scripted-chat", loadTtlMs=5).rest()
            assert types(second) == ["alreadyLoaded"]
            assert second[0]["info"] == first[-1]["info"]

    run(test)


def test_concurrent_get_or_load_of_several_clients_make_one_load() -> None:
    async def test() -> None:
        async with staged() as stage:
            sessions = [Session(stage.core, "llm") for _ in range(5)]
            outcomes = await asyncio.gather(*(get_or_load(session, "scripted-chat").rest() for session in sessions))
            assert len({packets[-1]["info"]["instanceReference"] for packets in outcomes}) == 1
            assert [types(packets)[-1] for packets in outcomes] == ["loadSuccess"] * 5
            assert len(stage.engine.loads) == 1

    run(test)


def test_one_client_cancels_and_the_other_gets_its_model() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(load_gate=gate)) as stage:
            quitter, stayer = (get_or_load(stage.llm, "scripted-chat") for _ in range(2))
            await gate.wait_reached()
            quitter.send({"type": "cancel"})
            assert "loadSuccess" not in types(await quitter.rest())
            gate.open()
            assert types(await stayer.rest())[-1] == "loadSuccess"

    run(test)


def test_client_that_asks_for_a_load_gets_one_without_just_in_time_loading() -> None:
    async def test() -> None:
        async with staged(jit_loading=False) as stage:
            assert types(await get_or_load(stage.llm, "scripted-chat").rest())[-1] == "loadSuccess"

    run(test)


def test_eviction_is_announced() -> None:
    async def test() -> None:
        async with staged(evict_jit=True) as stage:
            await get_or_load(stage.embedding, "scripted-embed").rest()
            packets = await get_or_load(stage.llm, "scripted-chat").rest()
            evicted = [packet for packet in packets if packet["type"] == "unloadingOtherJITModel"]
            assert [packet["info"]["identifier"] for packet in evicted] == ["scripted-embed"]
            assert await stage.embedding.call(embedding.MODELS.list_loaded) == []

    run(test)


def test_embedding_key_in_the_namespace_llm_is_a_domain_mismatch() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(Refused) as caught:
                await get_or_load(stage.llm, "scripted-embed").rest()
            assert caught.value.error["displayData"] == {
                "code": "generic.domainMismatch",
                "path": "scripted-embed",
                "actualDomain": "embedding",
                "expectedDomain": "llm",
            }

    run(test)


def test_unknown_key_names_what_could_be_loaded() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(Refused) as caught:
                await get_or_load(stage.llm, "invalid-model").rest()
            data = caught.value.error["displayData"]
            assert caught.value.code == "generic.pathNotFound"
            assert (data["path"], data["totalModels"]) == ("invalid-model", 2)
            assert "scripted-chat" in data["availablePathsSample"]

    run(test)


def test_get_or_load_on_another_device_is_refused() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(Refused, match="cannot reach the device"):
                await get_or_load(stage.llm, "scripted-chat", deviceIdentifier="mac").rest()

    run(test)


# Describing and unloading --------------------------------------------------------------------------------------------


def test_loaded_models_are_listed_by_namespace() -> None:
    async def test() -> None:
        async with staged() as stage:
            info = await stage.load()
            await stage.load("scripted-embed", stage.embedding)
            assert await stage.llm.call(llm.MODELS.list_loaded) == [info]
            (listed,) = await stage.embedding.call(embedding.MODELS.list_loaded)
            assert listed == {
                "type": "embedding",
                "modelKey": "scripted-embed",
                "format": "gguf",
                "displayName": "Scripted Embed",
                "publisher": "lmstudio-python",
                "path": EMBED.path,
                "sizeBytes": 1_000_000,
                "indexedModelIdentifier": EMBED.path,
                "deviceIdentifier": None,
                "paramsString": "1M",
                "architecture": "scripted",
                "quantization": {"name": "Q8_0", "bits": 8},
                "identifier": "scripted-embed",
                "instanceReference": listed["instanceReference"],
                "ttlMs": None,
                "lastUsedTime": None,
                "maxContextLength": 512,
                "contextLength": 512,
            }

    run(test)


def test_model_info_is_found_or_absent_or_an_error() -> None:
    async def test() -> None:
        async with staged() as stage:
            parameter = {"specifier": ANY_MODEL, "throwIfNotFound": False}
            assert await stage.llm.call(llm.MODELS.get_model_info, parameter) is ABSENT
            with pytest.raises(Refused) as caught:
                await stage.llm.call(llm.MODELS.get_model_info, {**parameter, "throwIfNotFound": True})
            assert caught.value.code == "generic.noModelMatchingQuery"
            info = await stage.load()
            assert await stage.llm.call(llm.MODELS.get_model_info, parameter) == info

    run(test)


def test_processing_state_follows_the_prediction() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(Reply(["a", gate]))) as stage:
            parameter = {"specifier": ANY_MODEL, "throwIfNotFound": True}
            await stage.load()
            channel = stage.predict()
            await gate.wait_reached()
            state = await stage.llm.call(models.GET_INSTANCE_PROCESSING_STATE, parameter)
            assert state == {"status": "generating", "queued": 1}
            gate.open()
            await channel.rest()
            state = await stage.llm.call(models.GET_INSTANCE_PROCESSING_STATE, parameter)
            assert state == {"status": "idle", "queued": 0}

    run(test)


def test_processing_state_of_no_instance_is_idle_or_an_error() -> None:
    async def test() -> None:
        async with staged() as stage:
            parameter = {"specifier": ANY_MODEL, "throwIfNotFound": False}
            state = await stage.llm.call(models.GET_INSTANCE_PROCESSING_STATE, parameter)
            assert state == {"status": "idle", "queued": 0}
            with pytest.raises(Refused):
                await stage.llm.call(models.GET_INSTANCE_PROCESSING_STATE, {**parameter, "throwIfNotFound": True})

    run(test)


def test_base_prediction_config_is_what_applies_without_a_request() -> None:
    async def test() -> None:
        defaults = {"llm.prediction.temperature": 0.1}
        async with staged(prediction_defaults=defaults) as stage:
            await stage.load()
            await stage.load("scripted-embed", stage.embedding)
            config = await stage.llm.call(models.GET_BASE_PREDICTION_CONFIG, {"specifier": ANY_MODEL})
            assert fields_of(config)["llm.prediction.temperature"] == 0.1
            assert fields_of(config)["llm.prediction.topKSampling"] == 40
            parameter = {"specifier": ANY_MODEL, "ignoreServerSessionConfig": True}
            assert await stage.embedding.call(models.GET_BASE_PREDICTION_CONFIG, parameter) == {"fields": []}

    run(test)


def test_bad_prediction_default_is_the_mistake_of_who_starts_the_server() -> None:
    with pytest.raises(RequestError, match="temperature"):
        ServerCore(ScriptedEngine(), Catalog(), prediction_defaults={"llm.prediction.temperature": "hot"})


def test_unload_frees_the_model() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load(identifier="mine")
            assert await stage.llm.call(models.UNLOAD_MODEL, {"identifier": "mine", "deviceIdentifier": None}) is ABSENT
            assert stage.engine.models == []

    run(test)


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        ({"identifier": "other"}, "generic.identifierNotFound"),
        ({"identifier": "scripted-chat", "deviceIdentifier": "mac"}, None),
    ],
)
def test_unload_of_what_is_not_there_is_refused(parameter: dict[str, Any], code: str | None) -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            with pytest.raises(Refused) as caught:
                await stage.llm.call(models.UNLOAD_MODEL, parameter)
            assert caught.value.code == code

    run(test)


@pytest.mark.parametrize(("free", "passes"), [(None, True), (10**9, True), (1_000_000, False)])
def test_estimate_passes_if_the_model_fits_into_free_memory(free: int | None, passes: bool) -> None:
    async def test() -> None:
        async with staged(free_memory=lambda: free) as stage:
            parameter = {"modelKey": "scripted-chat", "loadConfigStack": NO_LAYERS}
            estimate = await stage.llm.call(models.ESTIMATE_MODEL_USAGE, parameter)
            memory = estimate["memory"]
            assert estimate["passesGuardrails"] is passes
            assert memory["confidence"] == "low"
            assert memory["totalBytes"] == memory["modelBytes"] + memory["contextBytes"]
            assert memory["totalVramBytes"] == memory["modelVramBytes"] + memory["contextVramBytes"]

    run(test)


def test_estimate_grows_with_the_context() -> None:
    async def test() -> None:
        async with staged() as stage:
            estimates = [
                await stage.llm.call(
                    models.ESTIMATE_MODEL_USAGE,
                    {"modelKey": "scripted-chat", "loadConfigStack": layers(llm__load__contextLength=length)},
                )
                for length in (1000, 2000, 3000)
            ]
            small, medium, large = (estimate["memory"]["contextBytes"] for estimate in estimates)
            assert 0 < medium - small == large - medium

    run(test)


@pytest.mark.parametrize(
    ("size_bytes", "quantization", "low", "high"),
    [
        (4_400_000_000, ("Q4_K_M", 4), 2e8, 2e9),  # a model of 7 to 9 billion parameters: 0.5 to 2 GB for 4096 tokens
        (2_840_000, ("Q8_0", 8), 1e6, 2e7),  # the shipped one: 9.4 MB
        (2_000_000_000, None, 1e8, 2e9),
    ],
)
def test_estimate_has_the_right_order_of_magnitude(
    size_bytes: int, quantization: tuple[str, int] | None, low: float, high: float
) -> None:
    file = replace(CHAT, size_bytes=size_bytes, quantization=quantization)
    estimate = estimate_memory(file, LoadOptions(context_length=4096, parallel_sessions=1))
    assert low < estimate.context_bytes < high
    assert estimate.confidence == "low"


# 6 layers with 3 heads of 32 for keys and values; 512 tokens at once, 192 wide, twice, in 32 bits.
CACHED_TOKEN, BATCH = 6 * 3 * 32, 512 * 192 * 2 * 4


@pytest.mark.parametrize(
    ("options", "context_bytes"),
    [
        (LoadOptions(context_length=1024, parallel_sessions=1), 1024 * CACHED_TOKEN * 4 + BATCH),
        (LoadOptions(context_length=1024), 4 * 1024 * CACHED_TOKEN * 4 + BATCH),
        (LoadOptions(context_length=1024, unified_kv_cache=True), 1024 * CACHED_TOKEN * 4 + BATCH),
        (LoadOptions(parallel_sessions=1), 2048 * CACHED_TOKEN * 4 + BATCH),
        (LoadOptions(context_length=1024, parallel_sessions=1, k_cache_type="f32"), 1024 * CACHED_TOKEN * 6 + BATCH),
        (LoadOptions(context_length=256, parallel_sessions=1), 256 * CACHED_TOKEN * 4 + BATCH // 2),
    ],
)
def test_estimate_is_calculated_from_the_header_of_the_file(options: LoadOptions, context_bytes: int) -> None:
    estimate = estimate_memory(read_model_file(CHAT_MODEL_FILE), options)
    assert (estimate.confidence, estimate.model_bytes, estimate.context_bytes) == (
        "high",
        CHAT_MODEL_FILE.stat().st_size,
        context_bytes,
    )
    assert estimate.total_bytes == estimate.model_bytes + estimate.context_bytes


def test_estimate_counts_a_draft_model() -> None:
    estimate = estimate_memory(read_model_file(CHAT_MODEL_FILE), LoadOptions(draft_model=EMBEDDING_MODEL_FILE))
    assert estimate.model_bytes == CHAT_MODEL_FILE.stat().st_size + EMBEDDING_MODEL_FILE.stat().st_size


def test_embedding_model_keeps_nothing_for_its_context() -> None:
    estimate = estimate_memory(read_model_file(EMBEDDING_MODEL_FILE), LoadOptions(context_length=512))
    assert estimate.context_bytes == 512 * 128 * 2 * 4


# The core ------------------------------------------------------------------------------------------------------------


def test_closing_unloads_everything_and_closes_the_engine() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            await stage.core.aclose()
            assert (stage.engine.models, stage.engine.is_closed) == ([], True)

    run(test)


def test_free_memory_is_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 3 kB\nMemAvailable:   2 kB\n")
    assert available_memory_bytes(file) == 2048
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_AVPHYS_PAGES": 3, "SC_PAGE_SIZE": 100}[name], raising=False)
    assert available_memory_bytes(tmp_path / "missing") == 300
    monkeypatch.delattr(os, "sysconf")
    assert available_memory_bytes(tmp_path / "missing") is None


def test_every_endpoint_of_the_protocol_has_a_handler() -> None:
    async def test() -> None:
        async with staged() as stage:
            for namespace, kinds in KNOWN_ENDPOINTS.items():
                handlers = stage.core.handlers(namespace)
                assert (set(handlers.rpcs), set(handlers.channels)) == (set(kinds["rpc"]), set(kinds["channel"]))

    run(test)
