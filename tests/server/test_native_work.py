"""What models are for, and the namespace system, as clients see it: frames in, frames out, no sockets."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any

import pytest
from native_client import (
    ABSENT,
    ANY_MODEL,
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

from lmstudio._endpoints import embedding, llm, models, system
from lmstudio.server.engine.base import ModelDiedError
from lmstudio.server.engine.scripted import Gate, Reply, ScriptedEngine, ScriptedModel

# Tokens and templates ------------------------------------------------------------------------------------------------


def test_tokens_are_given_and_counted() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            parameter = {"specifier": ANY_MODEL, "inputString": "one two three"}
            tokens = (await stage.llm.call(models.TOKENIZE, parameter))["tokens"]
            assert stage.engine.detokenize(tokens) == "one two three"
            assert await stage.llm.call(models.COUNT_TOKENS, parameter) == {"tokenCount": 3}

    run(test)


@pytest.mark.parametrize(("namespace", "expected"), [("llm", True), ("embedding", False)])
def test_tokens_around_a_text_are_shown_but_not_counted_for_embeddings(
    namespace: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    async def tokenize(self: ScriptedModel, text: str, *, special: bool = True) -> list[int]:
        asked.append(special)
        return []

    monkeypatch.setattr(ScriptedModel, "tokenize", tokenize)

    async def test() -> None:
        async with staged() as stage:
            session = stage.llm if namespace == "llm" else stage.embedding
            await stage.load("scripted-chat" if namespace == "llm" else "scripted-embed", session)
            for spec in (models.TOKENIZE, models.COUNT_TOKENS):
                await session.call(spec, {"specifier": ANY_MODEL, "inputString": "a"})

    run(test)
    assert asked == [True, expected]


def test_template_is_applied_with_the_tools_of_the_call() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            tool = {"type": "function", "function": {"name": "add"}}
            parameter = {
                "specifier": ANY_MODEL,
                "history": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
                "predictionConfigStack": NO_LAYERS,
                "opts": {"toolDefinitions": [tool]},
            }
            formatted = (await stage.llm.call(llm.APPLY_PROMPT_TEMPLATE, parameter))["formatted"]
            assert formatted.endswith("<|user|>\nHi\n<|assistant|>\n")
            assert stage.engine.chats[-1].tools == [tool]
            await stage.llm.call(llm.APPLY_PROMPT_TEMPLATE, {**parameter, "opts": {}})
            assert stage.engine.chats[-1].tools == []

    run(test)


def test_draft_model_is_looked_up_before_it_is_needed() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            parameter = {"specifier": ANY_MODEL, "draftModelKey": "other-chat"}
            assert await stage.llm.call(llm.PRELOAD_DRAFT_MODEL, parameter) is ABSENT
            with pytest.raises(Refused, match='Cannot find model "invalid-model"'):
                await stage.llm.call(llm.PRELOAD_DRAFT_MODEL, {**parameter, "draftModelKey": "invalid-model"})

    run(test)


# Predictions ---------------------------------------------------------------------------------------------------------


def test_predict_streams_progress_fragments_and_success() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine(["Hel", "lo"])) as stage:
            info = await stage.load()
            stack = layers(llm__prediction__temperature=0, llm__prediction__llama__cpuThreads=2)
            packets = await stage.predict(predictionConfigStack=stack).rest()
            assert types(packets) == ["promptProcessingProgress"] * 2 + ["fragment"] * 2 + ["success"]
            assert packets[2]["fragment"] == {
                "content": "Hel",
                "tokensCount": 1,
                "containsDrafted": False,
                "reasoningType": "none",
                "isStructural": False,
            }
            success = packets[-1]
            assert success["stats"]["stopReason"] == "eosFound"
            assert success["modelInfo"] == {**info, "lastUsedTime": success["modelInfo"]["lastUsedTime"]}
            assert success["modelInfo"]["lastUsedTime"] > 1e12
            assert fields_of(success["loadModelConfig"]) == {"llm.load.contextLength": 4096}
            effective = fields_of(success["predictionConfig"])
            assert effective["llm.prediction.temperature"] == 0
            assert "llm.prediction.llama.cpuThreads" not in effective

    run(test)


def test_complete_raw_text_sends_the_prompt_as_it_is() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine("there")) as stage:
            await stage.load()
            parameter = {"modelSpecifier": ANY_MODEL, "rawPrompt": "Once upon", "predictionConfigStack": NO_LAYERS}
            packets = await stage.llm.open(llm.COMPLETE_RAW_TEXT, parameter).rest()
            assert types(packets)[-1] == "success"
            assert (stage.engine.requests[0].prompt, stage.engine.chats) == ("Once upon", [])

    run(test)


def test_predict_with_complete_mode_formatting_sends_the_prompt_as_it_is() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine("there")) as stage:
            await stage.load()
            template = {
                "type": "jinja",
                "stopStrings": [],
                "jinjaPromptTemplate": {
                    "bosToken": "",
                    "eosToken": "",
                    "template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
                    "inputConfig": {"messagesConfig": {"contentConfig": {"type": "string"}}, "useTools": False},
                },
            }
            field = {"key": "llm.prediction.promptTemplate", "value": template}
            stack = {"layers": [{"layerName": "completeModeFormatting", "config": {"fields": [field]}}]}
            await stage.predict("Once upon", predictionConfigStack=stack).rest()
            assert (stage.engine.requests[0].prompt, stage.engine.chats) == ("Once upon", [])

    run(test)


def test_cancelled_prediction_ends_with_success_and_user_stopped() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(Reply(["Hello", gate, "!"]))) as stage:
            await stage.load()
            channel = stage.predict()
            await gate.wait_reached()
            channel.send({"type": "cancel"})
            channel.send({"type": "cancel"})
            packets = await channel.rest()
            assert types(packets)[-2:] == ["fragment", "success"]
            assert packets[-1]["stats"]["stopReason"] == "userStopped"

    run(test)


def test_unload_during_a_prediction_ends_it_with_success_and_model_unloaded() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(Reply(["Hello", gate, "!"]))) as stage:
            await stage.load()
            channel = stage.predict()
            await gate.wait_reached()
            await stage.llm.call(models.UNLOAD_MODEL, {"identifier": "scripted-chat"})
            assert (await channel.rest())[-1]["stats"]["stopReason"] == "modelUnloaded"

    run(test)


def test_connection_that_goes_away_aborts_its_predictions() -> None:
    async def test() -> None:
        gate = Gate()
        async with staged(ScriptedEngine(Reply(["Hello", gate, "!"]))) as stage:
            await stage.load()
            stage.predict()
            await gate.wait_reached()
            await stage.llm.hang_up()
            assert stage.engine.cancelled == 1
            assert stage.core.instances.loaded("llm")[0].state().queued == 0

    run(test)


def test_model_that_dies_fails_the_prediction_and_is_loaded_again_on_demand() -> None:
    async def test() -> None:
        async with staged(ScriptedEngine([Reply("one two", die_after=1), Reply("fine")])) as stage:
            await stage.load()
            with pytest.raises(Refused, match="stopped unexpectedly") as caught:
                await stage.predict().rest()
            assert caught.value.error["suggestion"]
            assert types(await get_or_load(stage.llm, "scripted-chat").rest())[-1] == "loadSuccess"
            assert types(await stage.predict().rest())[-1] == "success"

    run(test)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"fuzzyPresetIdentifier": "creative"}, "generic.presetNotFound"),
        ({"modelSpecifier": {"type": "instanceReference", "instanceReference": "x"}}, "generic.specificModelUnloaded"),
        ({"modelSpecifier": {"type": "query", "query": {"identifier": "x"}}}, "generic.noModelMatchingQuery"),
        (
            {"predictionConfigStack": layers(llm__prediction__speculativeDecoding__draftModel="invalid-model")},
            "generic.pathNotFound",
        ),
        ({"predictionConfigStack": layers(llm__prediction__temperature=-1)}, None),
    ],
)
def test_prediction_that_cannot_begin_is_refused(members: dict[str, Any], code: str | None) -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            with pytest.raises(Refused) as caught:
                await stage.predict(**members).rest()
            assert caught.value.code == code
            assert stage.engine.requests == []

    run(test)


def test_preset_error_says_that_there_are_none() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            with pytest.raises(Refused) as caught:
                await stage.predict(fuzzyPresetIdentifier="creative").rest()
            assert caught.value.error["displayData"] == {
                "code": "generic.presetNotFound",
                "specifiedFuzzyPresetIdentifier": "creative",
                "availablePresetsSample": [],
                "totalAvailablePresets": 0,
            }

    run(test)


def test_empty_preset_name_means_none() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load()
            assert types(await stage.predict(fuzzyPresetIdentifier="").rest())[-1] == "success"

    run(test)


# Embeddings ----------------------------------------------------------------------------------------------------------


def test_embedding_of_a_text_also_of_an_empty_one() -> None:
    async def test() -> None:
        async with staged() as stage:
            await stage.load("scripted-embed", stage.embedding)
            for text in ("Hello", ""):
                parameter = {"modelSpecifier": ANY_MODEL, "inputString": text}
                assert len((await stage.embedding.call(embedding.EMBED_STRING, parameter))["embedding"]) == 16
            (info,) = await stage.embedding.call(embedding.MODELS.list_loaded)
            assert info["lastUsedTime"] > 1e12

    run(test)


def test_embedding_counts_as_work_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[str] = []

    async def test() -> None:
        async with staged() as stage:

            async def embed(self: ScriptedModel, text: str) -> list[float]:
                states.append(stage.core.instances.loaded("embedding")[0].state().status)
                raise ModelDiedError("Out of memory.")

            monkeypatch.setattr(ScriptedModel, "embed", embed)
            await stage.load("scripted-embed", stage.embedding)
            with pytest.raises(Refused, match="'scripted-embed' stopped unexpectedly"):
                await stage.embedding.call(
                    embedding.EMBED_STRING, {"modelSpecifier": ANY_MODEL, "inputString": "Hello"}
                )

    run(test)
    assert states == ["computingEmbedding"]


# System --------------------------------------------------------------------------------------------------------------


def test_downloaded_models_of_both_kinds_are_listed() -> None:
    async def test() -> None:
        async with staged() as stage:
            listed = await stage.system.call(system.LIST_DOWNLOADED_MODELS)
            assert [(model["type"], model["modelKey"]) for model in listed] == [
                ("llm", "scripted-chat"),
                ("embedding", "scripted-embed"),
                ("llm", "other-chat"),
            ]

    run(test)


HERONS = [
    replace(OTHER, model_key="heron", path=f"acme/Heron-GGUF/heron-{name}.gguf", quantization=(name, bits))
    for name, bits in (("Q8_0", 8), ("Q4_K_M", 4))
]


def test_variants_are_listed_under_their_own_keys_and_once_under_their_common_one() -> None:
    async def test() -> None:
        async with staged(models=HERONS) as stage:
            (model,) = await stage.system.call(system.LIST_DOWNLOADED_MODELS)
            keys = ["heron@q4_k_m", "heron@q8_0"]
            assert (model["modelKey"], model["variants"], model["selectedVariant"]) == ("heron", keys, keys[0])
            assert model["quantization"] == {"name": "Q4_K_M", "bits": 4}
            for name in ("heron", "heron@q8_0", "acme/Heron-GGUF"):
                variants = await stage.system.call(system.LIST_DOWNLOADED_MODEL_VARIANTS, {"modelKey": name})
                assert sorted(variant["modelKey"] for variant in variants) == keys
                assert all("variants" not in variant for variant in variants)

    run(test)


def test_loaded_variant_says_which_it_is() -> None:
    async def test() -> None:
        async with staged(models=HERONS) as stage:
            selected = "heron@q4_k_m"
            for key, variant in (("heron", selected), ("heron@q8_0", "heron@q8_0"), (selected, selected)):
                info = await stage.load(key)
                assert (info["modelKey"], info["selectedVariant"]) == ("heron", variant)
            loaded = await stage.llm.call(llm.MODELS.list_loaded)
            assert [info["identifier"] for info in loaded] == ["heron", "heron@q8_0", "heron:2"]

    run(test)


def test_any_loaded_variant_is_good_enough_for_the_common_key() -> None:
    async def test() -> None:
        async with staged(models=HERONS) as stage:
            await stage.load("heron@q8_0")
            for name, expected in (("heron", "alreadyLoaded"), ("heron@q4_k_m", "loadSuccess")):
                packets = await get_or_load(stage.llm, name).rest()
                assert types(packets)[-1] == expected
            (packet,) = await get_or_load(stage.llm, "heron").rest()
            assert packet["info"]["selectedVariant"] == "heron@q4_k_m"

    run(test)


def test_there_are_no_variants() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(Refused, match="The model 'scripted-chat' has no variants"):
                await stage.system.call(system.LIST_DOWNLOADED_MODEL_VARIANTS, {"modelKey": "scripted-chat"})
            with pytest.raises(Refused) as caught:
                await stage.system.call(system.LIST_DOWNLOADED_MODEL_VARIANTS, {"modelKey": "nothing"})
            assert caught.value.code == "generic.pathNotFound"

    run(test)


def test_version_and_process_are_told() -> None:
    async def test() -> None:
        async with staged() as stage:
            version = await stage.system.call(system.VERSION)
            assert [part.isdigit() for part in version["version"].split(".")] == [True] * 3
            info = await stage.system.call(system.INFO)
            assert info == {"pid": os.getpid(), "isDaemon": False, "version": version["version"]}

    run(test)


def test_notification_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with staged() as stage:
            assert await stage.system.call(system.NOTIFY, {"title": "Done", "description": "All of it"}) is ABSENT
            await stage.system.call(system.NOTIFY, {"title": "Done"})

    with caplog.at_level(logging.INFO, "lmstudio.server"):
        run(test)
    assert caplog.messages == ["Notification: Done: All of it", "Notification: Done"]


def test_experiment_flags_are_remembered_by_all_connections() -> None:
    async def test() -> None:
        async with staged() as stage:
            for code, value in (("b", True), ("a", True), ("c", True), ("c", False)):
                await stage.system.call(system.SET_EXPERIMENT_FLAG, {"code": code, "value": value})
            assert await Session(stage.core, "system").call(system.GET_EXPERIMENT_FLAGS) == ["a", "b"]

    run(test)


def test_http_server_can_neither_be_started_nor_stopped() -> None:
    async def test() -> None:
        async with staged() as stage:
            with pytest.raises(Refused, match="always on"):
                await stage.system.call(system.START_HTTP_SERVER, {"port": 1234})
            with pytest.raises(Refused, match="cannot be stopped alone"):
                await stage.system.call(system.STOP_HTTP_SERVER)

    run(test)


@pytest.mark.parametrize(
    ("is_wired", "is_privileged", "message"),
    [
        (False, True, "cannot be shut down by a client"),
        (True, False, "for privileged clients only"),
        (True, True, None),
    ],
)
def test_shutdown_is_for_privileged_clients(is_wired: bool, is_privileged: bool, message: str | None) -> None:
    async def test() -> None:
        calls: list[None] = []
        async with staged(on_shutdown_request=(lambda: calls.append(None)) if is_wired else None) as stage:
            session = Session(stage.core, "system", is_privileged=is_privileged)
            if message is None:
                assert await session.call(system.REQUEST_SHUTDOWN) is ABSENT
            else:
                with pytest.raises(Refused, match=message):
                    await session.call(system.REQUEST_SHUTDOWN)
            assert len(calls) == (message is None)

    run(test)


def test_alive_stays_open_until_the_connection_ends() -> None:
    async def test() -> None:
        async with staged() as stage:
            channel = stage.system.open(system.ALIVE)
            await stage.system.call(system.VERSION)
            assert channel.messages.empty()

    run(test)
