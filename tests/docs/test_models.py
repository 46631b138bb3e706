"""Examples of the pages about models: embedding, tokens, listing, loading, information."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from docs.catalogue import documents

if TYPE_CHECKING:
    from docs.stage import Stage

EMBEDDING_KEY = "text-embedding-nomic-embed-text-v1.5"


# Embedding and tokens ------------------------------------------------------------------------------------------------


@documents(102)
def test_embedding_model_is_found_without_the_prefix_of_its_key(stage: Stage) -> None:
    for _ in range(2):
        run = stage.run(102)
        assert {type(number) for number in run["embedding"]} == {float}
        assert run["model"].model_key == EMBEDDING_KEY
    assert len(stage.engine.loads) == 1


@documents(103)
def test_tokens_are_numbers(stage: Stage) -> None:
    stage.load()
    run = stage.run(103)
    assert run["tokens"] == stage.engine.tokenize("Rain on a tin roof")
    assert run.printed == f"{run['tokens']}\n"


@documents(104)
def test_tokens_are_counted(stage: Stage) -> None:
    stage.load()
    assert stage.run(104).printed.endswith("\nTokens: 5\n")


@documents(105, 132)
def test_chat_is_compared_with_the_context(stage: Stage, example: int) -> None:
    stage.load()
    assert stage.run(example).printed == "Fits: True\n"


# Lists ---------------------------------------------------------------------------------------------------------------


@documents(110, 111, 112)
def test_downloaded_models_print_after_the_client_is_closed(stage: Stage, example: int) -> None:
    run = stage.run(example)
    prefix = "Async" if example == 112 else ""
    lines = run.printed.splitlines()
    assert (
        f"{prefix}DownloadedLlm(model_key='qwen2-vl-2b-instruct', display_name='Qwen2 VL 2B Instruct', "
        "architecture='qwen2vl', vision=True)"
    ) in lines
    assert lines[-1] == (
        f"{prefix}DownloadedEmbeddingModel(model_key='{EMBEDDING_KEY}', display_name='Nomic Embed Text v1.5', "
        "architecture='nomic-bert')"
    )
    assert run["downloaded"] == [*run["llm_only"], *run["embedding_only"]]
    assert [model.model_key for model in run["embedding_only"]] == [EMBEDDING_KEY]


@documents(110)
def test_downloaded_model_is_loaded_from_the_list(stage: Stage) -> None:
    model = stage.run(110)["llm_only"][0]
    handles = [model.model(), model.load_new_instance(instance_identifier="other")]
    assert [handle.identifier for handle in handles] == stage.loaded() == [model.model_key, "other"]


@documents(113, 114, 115)
def test_loaded_models_print_as_a_list_of_handles(stage: Stage, example: int) -> None:
    stage.load()
    stage.load(EMBEDDING_KEY)
    run = stage.run(example)
    prefix = "Async" if example == 115 else ""
    assert run.printed == (
        f"[{prefix}LLM(identifier='qwen2.5-7b-instruct'), {prefix}EmbeddingModel(identifier='{EMBEDDING_KEY}')]\n"
    )
    assert run["all_loaded_models"] == [*run["llm_only"], *run["embedding_only"]]


@documents(114)
def test_wrong_name_of_the_package_is_pythons_error(stage: Stage) -> None:
    with pytest.raises(ModuleNotFoundError, match="'lms'"):
        stage.run("d114_scoped_as_published")


# Loading -------------------------------------------------------------------------------------------------------------


@documents(116, 117, 118)
def test_any_loaded_model_is_taken_without_a_key(stage: Stage, example: int) -> None:
    stage.load()
    assert stage.run(example)["model"].identifier == "qwen2.5-7b-instruct"


@documents(116, 117, 118)
def test_no_loaded_model_is_an_error(stage: Stage, example: int) -> None:
    with pytest.raises(lms.LMStudioModelNotFoundError, match="loaded"):
        stage.run(example)


@documents(119, 120, 121)
def test_model_is_loaded_once(stage: Stage, example: int) -> None:
    for _ in range(2):
        assert stage.run(example)["model"].identifier == "qwen/qwen3-4b-2507"
    assert len(stage.engine.loads) == 1


@documents(122, 123, 124)
def test_second_instance_has_the_identifier_given(stage: Stage, example: int) -> None:
    run = stage.run(example)
    assert [run["model"].identifier, run["another_model"].identifier] == stage.loaded()
    assert stage.loaded() == ["qwen/qwen3-4b-2507", "my-second-model"]


@documents(122, 123, 124)
def test_identifier_that_is_taken_is_the_servers_error(stage: Stage, example: int) -> None:
    stage.run(example)
    with pytest.raises(lms.LMStudioServerError, match="my-second-model"):
        stage.run(example)


@documents(125, 126, 127)
def test_model_is_unloaded(stage: Stage, example: int) -> None:
    stage.load()
    stage.run(example)
    assert stage.loaded() == []


@documents(128, 129, 130)
def test_idle_time_counts_for_the_call_that_loads(stage: Stage, example: int) -> None:
    assert stage.run(example)["llm"].ttl_ms == 3_600_000


@documents(128, 129, 130)
def test_idle_time_leaves_a_loaded_model_alone(stage: Stage, example: int) -> None:
    with lms.Client() as client:
        client.llm.load_new_instance("qwen/qwen3-4b-2507", ttl=60)
    assert stage.run(example)["llm"].ttl_ms == 60_000


# Information ---------------------------------------------------------------------------------------------------------


@documents(131)
def test_context_length_is_that_of_the_instance(stage: Stage) -> None:
    with lms.Client() as client:
        client.llm.load_new_instance("qwen2.5-7b-instruct", config={"contextLength": 2000})
    assert stage.run(131)["context_length"] == 2000


def data_in(printed: str, name: str) -> object:
    """What is printed as ``name.from_dict({...})``, which must be sorted and indented by two."""
    head, tail = f"{name}.from_dict(", ")\n"
    assert printed.startswith(head)
    assert printed.endswith(tail)
    shown = printed[len(head) : -len(tail)]
    data = json.loads(shown)
    assert shown == json.dumps(data, indent=2, sort_keys=True)
    return data


@documents(133, 134, 135)
def test_load_configuration_prints_as_data(stage: Stage, example: int) -> None:
    with lms.Client() as client:
        client.llm.load_new_instance("qwen2.5-7b-instruct", config={"contextLength": 2000})
    data = data_in(stage.run(example).printed, "LlmLoadModelConfig")
    assert isinstance(data, dict)
    assert data["contextLength"] == 2000


@documents(135)
def test_async_with_over_the_synchronous_client_is_told_of_the_other(stage: Stage) -> None:
    stage.load()
    with pytest.raises(TypeError, match="AsyncClient"):
        stage.run("d135_async_as_published")


@documents(136, 137, 138)
def test_model_information_prints_as_data(stage: Stage, example: int) -> None:
    stage.load()
    data = data_in(stage.run(example).printed, "LlmInstanceInfo")
    assert isinstance(data, dict)
    documented = {
        "architecture": "qwen2",
        "contextLength": 32768,
        "displayName": "Qwen2.5 7B Instruct",
        "format": "gguf",
        "identifier": "qwen2.5-7b-instruct",
        "maxContextLength": 32768,
        "modelKey": "qwen2.5-7b-instruct",
        "paramsString": "7B",
        "path": "lmstudio-community/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf",
        "sizeBytes": 4_000_000_000,
        "trainedForToolUse": True,
        "type": "llm",
        "vision": False,
    }
    assert {key: data[key] for key in documented} == documented
    assert isinstance(data["instanceReference"], str)
