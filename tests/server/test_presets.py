"""Presets: found by a part of their name, between the server's settings and those of the request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from native_client import ANY_MODEL, Refused, fields_of, layers, run, staged

from lmstudio._endpoints.models import GET_BASE_PREDICTION_CONFIG
from lmstudio.server.errors import RequestError
from lmstudio.server.presets import Presets

if TYPE_CHECKING:
    from pathlib import Path

TEMPERATURE, STOP, SYSTEM = (f"llm.prediction.{name}" for name in ("temperature", "stopStrings", "systemPrompt"))
PRESETS: dict[str, dict[str, Any]] = {
    "Creative Writing": {TEMPERATURE: 1.5, SYSTEM: "Write like a poet."},
    "@local:code": {TEMPERATURE: 0.1, STOP: ["END"]},
    "Code review": {TEMPERATURE: 0.2},
}


@pytest.mark.parametrize(
    ("wanted", "temperature"),
    [
        ("Creative Writing", 1.5),
        ("creative-writing", 1.5),
        ("creat", 1.5),
        ("WRITING", 1.5),
        ("@local:code", 0.1),
        ("review", 0.2),
        ("code", 0.2),  # a beginning counts more than another part
    ],
)
def test_preset_is_found_by_its_name_or_a_part_of_it(wanted: str, temperature: float) -> None:
    assert Presets(PRESETS).find(wanted)[TEMPERATURE] == temperature


@pytest.mark.parametrize(
    ("presets", "wanted", "message"),
    [
        ({}, "creative", "this server has no presets"),
        (PRESETS, "poetry", "No preset matches 'poetry'"),
        (PRESETS, "---", "No preset matches"),
        (PRESETS, "e", "could be any of the presets 'Creative Writing', '@local:code', 'Code review'"),
    ],
)
def test_preset_that_is_not_clear_is_refused(presets: Any, wanted: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Presets(presets).find(wanted)


def test_value_that_makes_no_sense_is_refused_at_once() -> None:
    with pytest.raises(RequestError, match="temperature"):
        Presets({"bad": {TEMPERATURE: "hot"}})


def preset_file(folder: Path, name: str, content: Any) -> None:
    (folder / f"{name}.preset.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_folder_of_preset_files_is_read(tmp_path: Path) -> None:
    fields = [{"key": TEMPERATURE, "value": 0.3}, {"key": STOP}]
    preset_file(tmp_path, "a", {"identifier": "@local:brief", "name": "Be brief", "operation": {"fields": fields}})
    (tmp_path / "notes.json").write_text("{}")
    presets = Presets(str(tmp_path))
    assert presets.find("be brief") == presets.find("@local:brief") == {TEMPERATURE: 0.3}


@pytest.mark.parametrize("content", ["{", {"name": "no identifier"}])
def test_file_that_is_no_preset_is_refused_by_name(tmp_path: Path, content: Any) -> None:
    preset_file(tmp_path, "broken", content)
    with pytest.raises(RequestError, match=r"broken\.preset\.json' is not a preset"):
        Presets(tmp_path)


def test_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no folder of presets"):
        Presets(tmp_path / "gone")


def test_preset_stands_between_the_server_and_the_request() -> None:
    async def test() -> None:
        async with staged(presets=PRESETS, prediction_defaults={STOP: ["STOP"], TEMPERATURE: 0.9}) as stage:
            await stage.load()

            async def effective(**members: Any) -> dict[str, Any]:
                packets = await stage.predict(**members).rest()
                return fields_of(packets[-1]["predictionConfig"])

            config = await effective(fuzzyPresetIdentifier="creative")
            assert (config[TEMPERATURE], config[STOP]) == (1.5, ["STOP"])
            config = await effective(
                fuzzyPresetIdentifier="creative", predictionConfigStack=layers(llm__prediction__temperature=0.5)
            )
            assert config[TEMPERATURE] == 0.5
            config = await effective(ignoreServerSessionConfig=True)
            assert (config[TEMPERATURE], config[STOP]) == (0.8, [])

    run(test)


def test_system_prompt_of_a_preset_is_for_chats_without_one() -> None:
    async def test() -> None:
        async with staged(presets=PRESETS) as stage:
            await stage.load()
            await stage.predict("Hi", fuzzyPresetIdentifier="creative").rest()
            assert stage.engine.chats[-1].messages == [
                {"role": "system", "content": "Write like a poet."},
                {"role": "user", "content": "Hi"},
            ]
            own = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
            await stage.predict(fuzzyPresetIdentifier="creative", history={"messages": [own]}).rest()
            assert [message["content"] for message in stage.engine.chats[-1].messages] == ["Be brief."]

    run(test)


def test_unknown_preset_fails_the_prediction_with_those_there_are() -> None:
    async def test() -> None:
        async with staged(presets=PRESETS) as stage:
            await stage.load()
            with pytest.raises(Refused) as caught:
                await stage.predict(fuzzyPresetIdentifier="poetry").rest()
            assert caught.value.error["displayData"] == {
                "code": "generic.presetNotFound",
                "specifiedFuzzyPresetIdentifier": "poetry",
                "availablePresetsSample": [{"identifier": name, "name": name} for name in PRESETS],
                "totalAvailablePresets": 3,
            }

    run(test)


def test_base_configuration_is_with_or_without_what_the_server_was_started_with() -> None:
    async def test() -> None:
        async with staged(prediction_defaults={TEMPERATURE: 0.25}) as stage:
            await stage.load()
            values = [
                fields_of(await stage.llm.call(GET_BASE_PREDICTION_CONFIG, {"specifier": ANY_MODEL, **members}))
                for members in ({}, {"ignoreServerSessionConfig": True})
            ]
            assert [config[TEMPERATURE] for config in values] == [0.25, 0.8]

    run(test)
