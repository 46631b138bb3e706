"""GET /api/v1/models, POST /api/v1/models/load and unload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from patience import PATIENCE_SECONDS

from http_surfaces.http_stage import CHAT_MODEL, EMBEDDING_MODEL, refusal
from lmstudio._http_models import rest_v1
from lmstudio.server import Gate, ScriptedEngine, Server
from lmstudio.server.engine.scripted import scripted_models

if TYPE_CHECKING:
    from collections.abc import Iterator

LOAD, UNLOAD, MODELS = "/api/v1/models/load", "/api/v1/models/unload", "/api/v1/models"
COMMON = {
    "type",
    "publisher",
    "key",
    "display_name",
    "quantization",
    "size_bytes",
    "params_string",
    "loaded_instances",
    "max_context_length",
    "format",
}


def load(api: httpx.Client, model: str = CHAT_MODEL, **members: Any) -> dict[str, Any]:
    response = api.post(LOAD, json={"model": model, **members})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def listed(api: httpx.Client) -> dict[str, dict[str, Any]]:
    response = api.get(MODELS)
    assert response.status_code == 200
    msgspec.json.decode(response.content, type=rest_v1.ModelList)
    body = response.json()
    assert set(body) == {"models"}
    return {model["key"]: model for model in body["models"]}


# The list ------------------------------------------------------------------------------------------------------------


def test_language_model_has_all_its_members(api: httpx.Client) -> None:
    model = listed(api)[CHAT_MODEL]
    assert set(model) == COMMON | {"architecture", "capabilities", "description"}
    assert model["type"] == "llm"
    assert model["publisher"] == "lmstudio-python"
    assert model["display_name"] == "Scripted Chat"
    assert model["quantization"] == {"name": "Q8_0", "bits_per_weight": 8}
    assert model["size_bytes"] == 1_000_000
    assert model["params_string"] == "1M"
    assert model["loaded_instances"] == []
    assert model["max_context_length"] == 4096
    assert model["format"] == "gguf"
    assert model["description"] is None
    assert model["capabilities"] == {
        "vision": False,
        "trained_for_tool_use": True,
        "reasoning": {"allowed_options": ["off", "low", "medium", "high", "on"], "default": "on"},
    }


def test_embedding_model_has_no_more_than_its_members(api: httpx.Client) -> None:
    model = listed(api)[EMBEDDING_MODEL]
    assert set(model) == COMMON
    assert model["type"] == "embedding"


def test_loaded_instances_say_how_they_were_loaded(api: httpx.Client) -> None:
    load(api, context_length=2048, eval_batch_size=128, flash_attention=False, offload_kv_cache_to_gpu=False)
    load(api)
    load(api, EMBEDDING_MODEL)
    models = listed(api)
    first, second = models[CHAT_MODEL]["loaded_instances"]
    assert (first["id"], second["id"]) == (CHAT_MODEL, f"{CHAT_MODEL}:2")
    assert first["config"] == {
        "context_length": 2048,
        "eval_batch_size": 128,
        "parallel": 4,
        "flash_attention": False,
        "offload_kv_cache_to_gpu": False,
    }
    assert second["config"]["context_length"] == 4096
    assert set(second["config"]) == set(first["config"])
    assert models[EMBEDDING_MODEL]["loaded_instances"] == [{"id": EMBEDDING_MODEL, "config": {"context_length": 512}}]


def test_what_a_file_does_not_tell_is_null() -> None:
    model = replace(
        scripted_models()[0], quantization=None, params_string=None, architecture=None, vision=True, can_reason=False
    )
    with (
        Server([model], engine="scripted") as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        found = listed(api)[CHAT_MODEL]
    assert (found["quantization"], found["params_string"], found["architecture"]) == (None, None, None)
    assert found["capabilities"] == {"vision": True, "trained_for_tool_use": True}


def test_quantizations_of_one_model_are_its_variants() -> None:
    small, large = (
        replace(
            scripted_models()[0],
            path=f"maker/heron-GGUF/heron-{name}.gguf",
            model_key="heron",
            quantization=(name, bits),
        )
        for name, bits in (("Q4_K_M", 4), ("Q8_0", 8))
    )
    with (
        Server([small, large], engine="scripted") as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as api,
    ):
        instance_id = load(api, "heron@q8_0")["instance_id"]
        (model,) = listed(api).values()
    assert model["key"] == "heron"
    assert sorted(model["variants"]) == ["heron@q4_k_m", "heron@q8_0"]
    assert model["selected_variant"] in model["variants"]
    assert [each["id"] for each in model["loaded_instances"]] == [instance_id]


# Loading -------------------------------------------------------------------------------------------------------------


def test_load_of_a_language_model(api: httpx.Client) -> None:
    body = load(api)
    assert set(body) == {"type", "instance_id", "load_time_seconds", "status"}
    assert (body["type"], body["instance_id"], body["status"]) == ("llm", CHAT_MODEL, "loaded")
    assert body["load_time_seconds"] >= 0


def test_settings_reach_the_engine_and_are_echoed(api: httpx.Client, engine: ScriptedEngine) -> None:
    given: dict[str, Any] = {
        "context_length": 1024,
        "eval_batch_size": 64,
        "flash_attention": True,
        "offload_kv_cache_to_gpu": False,
    }
    body = load(api, **given, num_experts=2, echo_load_config=True)
    assert body["load_config"] == given
    (_, options), *_ = engine.loads
    assert (options.context_length, options.eval_batch_size) == (1024, 64)
    assert (options.flash_attention, options.offload_kv_cache) == (True, False)


def test_echo_tells_also_what_nobody_asked_for(api: httpx.Client) -> None:
    assert load(api, echo_load_config=True)["load_config"] == {
        "context_length": 4096,
        "eval_batch_size": 512,
        "flash_attention": True,
        "offload_kv_cache_to_gpu": True,
    }


def test_load_of_an_embedding_model(api: httpx.Client) -> None:
    body = load(
        api, EMBEDDING_MODEL, context_length=256, flash_attention=True, eval_batch_size=32, echo_load_config=True
    )
    assert body["type"] == "embedding"
    assert body["load_config"] == {"context_length": 256}


def test_each_load_is_a_new_instance(api: httpx.Client) -> None:
    ids = [load(api)["instance_id"] for _ in range(3)]
    assert ids == [CHAT_MODEL, f"{CHAT_MODEL}:2", f"{CHAT_MODEL}:3"]


def test_client_that_goes_away_gives_the_load_up(server: Server, engine: ScriptedEngine) -> None:
    engine.load_gate = gate = Gate()
    with (
        httpx.Client(base_url=f"http://{server.api_host}", timeout=0.2) as hasty,
        pytest.raises(httpx.ReadTimeout),
    ):
        hasty.post(LOAD, json={"model": CHAT_MODEL})
    assert engine.wait_for_cancel(PATIENCE_SECONDS)
    gate.open()


def test_model_that_cannot_be_loaded(api: httpx.Client, engine: ScriptedEngine) -> None:
    engine.fail_load = "There is not enough memory."
    status, error = refusal(api.post(LOAD, json={"model": CHAT_MODEL}))
    assert (status, error["type"]) == (500, "internal_error")
    assert "not enough memory" in error["message"]


def test_unknown_model_is_refused_with_near_names(api: httpx.Client) -> None:
    status, error = refusal(api.post(LOAD, json={"model": "scripted-chad"}))
    assert (status, error["type"], error["param"]) == (404, "model_not_found", "model")
    assert CHAT_MODEL in error["message"]
    assert "?." not in error["message"]


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"ttl": 60}, "ttl", "unrecognized_keys"),
        ({"instance_id": "mine"}, "instance_id", "unrecognized_keys"),
        ({"context_length": 0}, "context_length", "invalid_value"),
        ({"context_length": "4096"}, "context_length", "invalid_value"),
        ({"flash_attention": 1}, "flash_attention", "invalid_value"),
        ({"model": ""}, "model", "invalid_value"),
    ],
)
def test_bad_load_is_refused_by_name(
    api: httpx.Client, engine: ScriptedEngine, members: dict[str, Any], param: str, code: str
) -> None:
    status, error = refusal(api.post(LOAD, json={"model": CHAT_MODEL, **members}))
    assert (status, error["type"], error["param"], error["code"]) == (400, "invalid_request", param, code)
    assert engine.loads == []


# Unloading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [CHAT_MODEL, EMBEDDING_MODEL])
def test_unload(api: httpx.Client, engine: ScriptedEngine, model: str) -> None:
    load(api, model)
    response = api.post(UNLOAD, json={"instance_id": model})
    assert (response.status_code, response.json()) == (200, {"instance_id": model})
    assert engine.models == []
    assert listed(api)[model]["loaded_instances"] == []


def test_unload_ends_only_the_instance_that_is_named(api: httpx.Client) -> None:
    load(api)
    load(api)
    api.post(UNLOAD, json={"instance_id": CHAT_MODEL})
    assert [each["id"] for each in listed(api)[CHAT_MODEL]["loaded_instances"]] == [f"{CHAT_MODEL}:2"]


def test_unload_of_what_is_not_loaded(api: httpx.Client) -> None:
    load(api)
    status, error = refusal(api.post(UNLOAD, json={"instance_id": f"{CHAT_MODEL}:2"}))
    assert (status, error["type"], error["param"]) == (404, "model_not_found", "instance_id")
    assert CHAT_MODEL in error["message"]


def test_unload_names_the_member_that_is_missing(api: httpx.Client) -> None:
    status, error = refusal(api.post(UNLOAD, json={}))
    assert (status, error["code"], error["param"]) == (400, "missing_required_parameter", "instance_id")


def test_unload_by_model_is_refused(api: httpx.Client) -> None:
    load(api)
    status, error = refusal(api.post(UNLOAD, json={"model": CHAT_MODEL}))
    assert (status, error["type"]) == (400, "invalid_request")
    assert listed(api)[CHAT_MODEL]["loaded_instances"]


# The real engine -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_api() -> Iterator[httpx.Client]:
    """A server with the models of this package."""
    with (
        Server() as server,
        httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


def test_shipped_models(real_api: httpx.Client) -> None:
    models = listed(real_api)
    assert {model["type"] for model in models.values()} == {"llm", "embedding"}
    for key, model in models.items():
        body = load(real_api, key, context_length=256, echo_load_config=True)
        assert body["type"] == model["type"]
        assert body["load_config"]["context_length"] == 256
        assert listed(real_api)[key]["loaded_instances"][0]["id"] == body["instance_id"]
        assert real_api.post(UNLOAD, json={"instance_id": body["instance_id"]}).status_code == 200
        assert listed(real_api)[key]["loaded_instances"] == []
