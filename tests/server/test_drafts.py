"""Draft models: loaded beside the model when a prediction asks for one, shared, kept, and freed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from native_client import ANY_MODEL, CHAT, EMBED, OTHER, Refused, Stage, layers, run, staged

from lmstudio._endpoints import llm
from lmstudio._endpoints.models import UNLOAD_MODEL
from lmstudio.server import Gate, Reply, ScriptedEngine
from lmstudio.server.engine.base import LoadOptions, TextChunk

DRAFT = replace(OTHER, file=Path("other.gguf"))
THIRD = replace(OTHER, model_key="third", path="maker/third-GGUF/third.gguf", file=Path("third.gguf"))
MODELS = (CHAT, EMBED, DRAFT, THIRD)


def drafting(key: str = "other-chat", **fields: Any) -> dict[str, Any]:
    prefix = "llm.prediction.speculativeDecoding."
    return layers(**{prefix + "draftModel": key, **{prefix + name: value for name, value in fields.items()}})


async def stats_of(stage: Stage, stack: dict[str, Any]) -> dict[str, Any]:
    packets = await stage.predict(predictionConfigStack=stack).rest()
    stats: dict[str, Any] = packets[-1]["stats"]
    return stats


def drafts_loaded(stage: Stage) -> list[str]:
    return [options.draft_model.stem for _, options in stage.engine.loads if options.draft_model]


def test_statistics_name_the_draft_model_and_count_its_guesses() -> None:
    async def test() -> None:
        reply = Reply(["a", TextChunk(" b c", 3, has_drafted=True)], draft_tokens=5, accepted_draft_tokens=2)
        async with staged(ScriptedEngine(reply), models=MODELS) as stage:
            await stage.load()
            packets = await stage.predict(predictionConfigStack=drafting("Other-Chat")).rest()
            stats = packets[-1]["stats"]
            assert {name: value for name, value in stats.items() if "raft" in name} == {
                "usedDraftModelKey": "other-chat",
                "totalDraftTokensCount": 5,
                "acceptedDraftTokensCount": 2,
                "rejectedDraftTokensCount": 3,
                "ignoredDraftTokensCount": 0,
            }
            fragments = [packet["fragment"] for packet in packets if packet["type"] == "fragment"]
            assert [fragment["containsDrafted"] for fragment in fragments] == [False, True]

    run(test)


def test_draft_model_is_loaded_once_with_the_settings_of_the_prediction() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            stack = drafting(maxTokensToDraft=4, minDraftLengthToConsider=1, minContinueDraftingProbability=0.5)
            await stats_of(stage, stack)
            await stats_of(stage, stack)
            options = LoadOptions(
                draft_model=DRAFT.file, draft_max_tokens=4, draft_min_tokens=1, draft_min_probability=0.5
            )
            assert stage.engine.loads == [(CHAT, LoadOptions()), (CHAT, options)]

    run(test)


def test_preloaded_draft_model_is_there_for_the_prediction() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            await stage.llm.call(llm.PRELOAD_DRAFT_MODEL, {"specifier": ANY_MODEL, "draftModelKey": "other-chat"})
            assert drafts_loaded(stage) == ["other"]
            await stats_of(stage, drafting())
            assert drafts_loaded(stage) == ["other"]

    run(test)


def test_draft_model_of_the_instance_is_not_loaded_again() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load(loadConfigStack=layers(llm__load__llama__speculativeDecoding__draftModel="other-chat"))
            await stats_of(stage, drafting())
            await stats_of(stage, {"layers": []})
            assert len(stage.engine.loads) == 1

    run(test)


def test_another_draft_model_takes_the_place_of_the_one_that_nobody_uses() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            await stats_of(stage, drafting())
            await stats_of(stage, drafting("third"))
            assert drafts_loaded(stage) == ["other", "third"]
            assert [model.options.draft_model for model in stage.engine.models] == [None, THIRD.file]

    run(test)


def test_predictions_at_the_same_time_share_the_draft_model() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            await asyncio.gather(*(stats_of(stage, drafting()) for _ in range(3)))
            assert drafts_loaded(stage) == ["other"]

    run(test)


def test_cancelled_prediction_gives_up_the_load_of_its_draft_model() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(models=MODELS) as stage:
            await stage.load()
            stage.engine.load_gate = gate
            channel = stage.predict(predictionConfigStack=drafting())
            await gate.wait_reached()
            channel.send({"type": "cancel"})
            packets = await channel.rest()
            assert packets[-1]["stats"]["stopReason"] == "userStopped"
            assert len(stage.engine.models) == 1
            stage.engine.load_gate = None
            await stats_of(stage, drafting())
            assert len(stage.engine.models) == 2

    run(test)


def test_draft_model_that_cannot_be_loaded_fails_the_prediction_alone() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            stage.engine.fail_load = "The vocabularies differ."
            with pytest.raises(Refused, match="The vocabularies differ"):
                await stats_of(stage, drafting())
            assert (await stats_of(stage, {"layers": []}))["stopReason"] == "eosFound"

    run(test)


def test_unloading_the_model_frees_its_drafted_copy() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            info = await stage.load()
            await stats_of(stage, drafting())
            await stage.llm.call(UNLOAD_MODEL, {"identifier": info["identifier"]})
            assert stage.engine.models == []

    run(test)


def test_copy_that_dies_takes_nothing_with_it() -> None:
    async def test() -> None:
        async with staged(models=MODELS) as stage:
            await stage.load()
            stage.engine.reply = Reply("one two", die_after=1)
            with pytest.raises(Refused, match="stopped unexpectedly beside its draft model"):
                await stats_of(stage, drafting())
            stage.engine.reply = "Well again."
            assert (await stats_of(stage, {"layers": []}))["stopReason"] == "eosFound"
            assert (await stats_of(stage, drafting()))["stopReason"] == "eosFound"
            assert drafts_loaded(stage) == ["other", "other"]

    run(test)


def test_unloading_the_model_ends_what_runs_on_its_drafted_copy() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(Reply(["One", gate])), models=MODELS) as stage:
            info = await stage.load()
            channel = stage.predict(predictionConfigStack=drafting())
            await gate.wait_reached()
            await stage.llm.call(UNLOAD_MODEL, {"identifier": info["identifier"]})
            packets = await channel.rest()
            assert packets[-1]["stats"]["stopReason"] == "modelUnloaded"

    run(test)
