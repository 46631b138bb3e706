"""Which model a request gets: exact names, parts of names, defaults, what is allowed, and what has just changed."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS

from gateway.gateway_stage import (
    CHAT,
    CHAT_MODEL,
    EMBEDDING_MODEL,
    USER,
    Studio,
    error_of,
    native_only,
    new_gateway,
    running_gateway,
)
from lmstudio.gateway import core
from lmstudio.server import Gate, Reply
from lmstudio.server.engine.scripted import scripted_model
from lmstudio.server.errors import ServerStartError
from lmstudio.server.instances import Instance
from lmstudio.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from lmstudio.testing.network import PassedMessage

pytestmark = pytest.mark.usefixtures("provider")

MISTRAL = "TheBloke/Mistral-7B-Instruct-v0.2-GGUF"
USES = ('"predict"', '"countTokens"', '"applyPromptTemplate"')
MODELS = [scripted_model(MISTRAL), scripted_model("qwen/qwen3-4b"), scripted_model("qwen/qwen3-8b")]


@pytest.fixture
def zoo() -> Iterator[Studio]:
    """LM Studio with several models, the last of which is not loaded."""
    studio = Studio([*MODELS, scripted_model("phi-4"), scripted_model("bge-embed", "embedding")])
    try:
        studio.load(*(model.model_key for model in MODELS), "qwen/qwen3-4b=helper", "bge-embed")
        yield studio
    finally:
        studio.server.stop()


@pytest.fixture
def zoo_api(zoo: Studio) -> Iterator[httpx.Client]:
    with running_gateway(zoo.api_host) as api:
        yield api


def ask(api: httpx.Client, model: str | None) -> httpx.Response:
    named = {} if model is None else {"model": model}
    return api.post("/v1/chat/completions", json={**named, "messages": USER})


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        (MISTRAL, MISTRAL),
        ("Mistral-7B", MISTRAL),
        ("thebloke", MISTRAL),
        ("helper", "helper"),
        ("qwen/qwen3-4b", "qwen/qwen3-4b"),  # though "helper" has this key, too
        ("qwen3-8b", "qwen/qwen3-8b"),
    ],
)
def test_name_or_any_unique_part_of_it(zoo_api: httpx.Client, name: str, identifier: str) -> None:
    response = ask(zoo_api, name)
    assert (response.status_code, response.json()["model"]) == (200, identifier)


@native_only
def test_part_of_the_path(zoo_api: httpx.Client) -> None:
    assert ask(zoo_api, "Instruct-v0.2-GGUF/Mistral-7B-Instruct").json()["model"] == MISTRAL


def test_part_that_fits_several_models_names_them(zoo: Studio, zoo_api: httpx.Client) -> None:
    response = ask(zoo_api, "qwen")
    error = error_of(response)
    assert (response.status_code, error["param"], error["code"]) == (400, "model", "ambiguous_model")
    assert "qwen/qwen3-4b" in error["message"]
    assert "qwen/qwen3-8b" in error["message"]
    assert MISTRAL not in error["message"]
    assert zoo.engine.requests == []


@pytest.mark.parametrize("name", ["phi-4", "bge-embed", "gpt-4"])
def test_model_that_is_not_loaded_is_404_and_names_what_is(zoo_api: httpx.Client, name: str) -> None:
    response = ask(zoo_api, name)
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert MISTRAL in error["message"]
    assert "bge" not in error["message"].partition("Available")[2]


def test_near_name_is_suggested_in_anthropics_shape(zoo_api: httpx.Client) -> None:
    response = zoo_api.post("/v1/messages", json={"model": "qwen3-9b", "max_tokens": 5, "messages": USER})
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")
    assert "Did you mean" in response.json()["error"]["message"]


def test_embedding_models_have_names_of_their_own(zoo_api: httpx.Client) -> None:
    found = zoo_api.post("/v1/embeddings", json={"model": "bge", "input": "x"})
    missing = zoo_api.post("/v1/embeddings", json={"model": MISTRAL, "input": "x"})
    assert (found.status_code, found.json()["model"]) == (200, "bge-embed")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")


# Default and allowed models ------------------------------------------------------------------------------------------


def test_default_model_may_be_a_part_of_a_name(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, default_model="mistral") as api:
        assert ask(api, None).json()["model"] == MISTRAL
        assert ask(api, "phi-4").status_code == 404  # what was asked for, or nothing
        assert api.post("/v1/embeddings", json={"input": "x"}).json()["model"] == "bge-embed"


def test_without_a_default_the_only_model_needs_no_name(api: httpx.Client, zoo_api: httpx.Client) -> None:
    assert ask(api, None).json()["model"] == CHAT_MODEL
    refused = ask(zoo_api, None)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "missing_required_parameter")


@native_only
def test_only_allowed_models_are_there(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, allowed_models=["mistral", "qwen/qwen3-4b"]) as api:
        assert ask(api, "qwen").json()["model"] == "qwen/qwen3-4b"  # the only one that it can be
        assert ask(api, "helper").status_code == 200  # the same model
        refused = ask(api, "qwen3-8b")
        names = [model["id"] for model in api.get("/v1/models").json()["data"]]
        missing = ask(api, "gpt-4")
    assert (refused.status_code, error_of(refused)["code"]) == (403, "model_not_allowed")
    assert MISTRAL in error_of(refused)["message"]
    assert "8b" not in error_of(refused)["message"].partition("Allowed")[2]
    assert sorted(names) == sorted([MISTRAL, "qwen/qwen3-4b", "helper"])
    assert missing.status_code == 404


def test_allowed_name_that_fits_several_models_allows_none(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, allowed_models=["qwen", "mistral"]) as api:
        assert ask(api, "qwen3-4b").status_code == 403
        assert ask(api, "mistral").status_code == 200


# Changes -------------------------------------------------------------------------------------------------------------


def test_model_that_was_just_loaded_or_unloaded_is_seen(zoo: Studio, zoo_api: httpx.Client) -> None:
    assert ask(zoo_api, "phi").status_code == 404
    zoo.load("phi-4")
    assert ask(zoo_api, "phi").status_code == 200
    zoo.unload("phi-4")
    assert ask(zoo_api, "phi").status_code == 404
    assert ask(zoo_api, "qwen3-8b").status_code == 200
    zoo.load("phi-4=qwen3-8b")
    assert ask(zoo_api, "qwen3-8b").json()["model"] == "qwen3-8b"  # an exact name by now


@contextmanager
def interfering(studio: Studio, event: Callable[[], None]) -> Iterator[httpx.Client]:
    """A client of a gateway; *event* happens once, between the choice of a model and its use."""
    events = [event]

    def interfere(message: PassedMessage) -> None:
        if message.is_of_client and events and any(name in str(message.text) for name in USES):
            events.pop()()

    network = FaultProxy(studio.server.port, on_message=interfere, patience_seconds=PATIENCE_SECONDS)
    with network, running_gateway(network.api_host) as api:
        yield api
    assert events == []


@native_only
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", {"model": CHAT_MODEL, "prompt": "x"}),
        ("/v1/messages/count_tokens", CHAT),
    ],
)
def test_model_that_is_loaded_anew_meanwhile_is_used(studio: Studio, path: str, body: Any) -> None:
    def reload() -> None:
        studio.unload(CHAT_MODEL)
        studio.load(CHAT_MODEL)

    with interfering(studio, reload) as api:
        assert api.post(path, json=body).status_code == 200


@native_only
def test_model_that_is_unloaded_meanwhile_is_404(studio: Studio) -> None:
    with interfering(studio, lambda: studio.unload(CHAT_MODEL)) as api:
        response = ask(api, CHAT_MODEL)
    assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")


@native_only
def test_model_that_is_replaced_meanwhile_is_404(zoo: Studio) -> None:
    def replace() -> None:
        zoo.unload("helper")
        zoo.load("phi-4=helper")

    with interfering(zoo, replace) as api:
        response = ask(api, "helper")
        assert (response.status_code, error_of(response)["code"]) == (404, "model_not_found")
        assert zoo.engine.requests == []
        assert ask(api, "helper").status_code == 200


@native_only
def test_answer_of_another_model_is_not_passed_on(
    studio: Studio, api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_info, is_lying = Instance.llm_info, False

    def llm_info(instance: Instance) -> Any:
        info = true_info(instance)
        if is_lying:
            info.identifier = info.model_key = "another-model"
        return info

    def reply(_: object) -> str:
        nonlocal is_lying
        is_lying = True
        return "a secret"

    studio.engine.reply = reply
    monkeypatch.setattr(Instance, "llm_info", llm_info)
    response = ask(api, CHAT_MODEL)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "model_mismatch")
    assert "another-model" in error["message"]
    assert "a secret" not in response.text


def test_model_unloaded_during_a_request(studio: Studio, api: httpx.Client) -> None:
    gate = Gate()
    studio.engine.reply = Reply(["four", gate, " five"])
    with api.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        assert gate.reached()
        studio.unload(CHAT_MODEL)
        text = response.read().decode()
    assert '"code":"model_unloaded"' in text
    assert text.endswith("data: [DONE]\n\n")


# Loading -------------------------------------------------------------------------------------------------------------


def test_models_are_loaded_just_in_time_if_that_is_wanted(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, jit_loading=True) as api:
        names = [model["id"] for model in api.get("/v1/models").json()["data"]]
        assert "phi-4" in names
        assert len(set(names)) == len(names)
        assert ask(api, "phi").json()["model"] == "phi-4"
        assert ask(api, "gpt-4").status_code == 404
    assert [model.model_key for model, _ in zoo.engine.loads].count("phi-4") == 1


@native_only
def test_time_to_live_of_a_model_that_a_request_loads(zoo: Studio, network: FaultProxy) -> None:
    network.upstream_port = zoo.server.port
    with running_gateway(network.api_host, jit_loading=True) as api:
        assert api.post("/v1/chat/completions", json={"model": "phi-4", "messages": USER, "ttl": 90}).status_code == 200
    (created,) = [each for each in network.messages("channelCreate") if each["endpoint"] == "getOrLoad"]
    assert created["creationParameter"]["loadTtlMs"] == 90_000


def test_failed_load_is_500(zoo: Studio) -> None:
    zoo.engine.fail_load = "The device has not enough memory."
    with running_gateway(zoo.api_host, jit_loading=True) as api:
        response = ask(api, "phi-4")
    assert response.status_code == 500
    assert "not enough memory" in error_of(response)["message"]


def test_lists_show_downloaded_models_if_that_is_wanted(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, list_downloaded=True) as api:
        names = [model["id"] for model in api.get("/v1/models").json()["data"]]
        assert "phi-4" in names
        assert ask(api, "phi-4").status_code == 404  # it is there, but nothing is loaded for a request


def test_one_model_of_the_list(zoo_api: httpx.Client) -> None:
    assert zoo_api.get("/v1/models/helper").json()["id"] == "helper"
    assert zoo_api.get(f"/v1/models/{MISTRAL}").json()["id"] == MISTRAL
    assert zoo_api.get("/v1/models/phi-4").status_code == 404


def test_preloaded_models_are_there_when_the_gateway_listens(zoo: Studio) -> None:
    with running_gateway(zoo.api_host, preload=["phi", "bge"]) as api:
        assert [model.model_key for model, _ in zoo.engine.loads].count("phi-4") == 1
        assert [model.model_key for model, _ in zoo.engine.loads].count("bge-embed") == 1  # it was loaded before
        assert ask(api, "phi-4").status_code == 200


@pytest.mark.parametrize("name", ["gpt-4", "qwen"])
def test_model_that_cannot_be_preloaded_keeps_the_gateway_from_starting(zoo: Studio, name: str) -> None:
    server = new_gateway(zoo.api_host, preload=(name,))
    with pytest.raises(ServerStartError, match=f"Could not load '{name}' ahead"):
        server.start()
    assert not server.is_running


def test_models_are_preloaded_as_soon_as_the_studio_is_there(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_RETRY_SECONDS", 0.05)
    studio.server.stop()
    gate = studio.engine.load_gate = Gate()
    with running_gateway(studio.api_host, preload=["scripted-chat"]) as api:
        assert ask(api, CHAT_MODEL).status_code == 502
        studio.server.start()
        assert gate.reached()
        gate.open()


def test_late_preload_that_cannot_be_is_logged(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_RETRY_SECONDS", 0.05)
    texts: Queue[str] = Queue()
    handler = logging.Handler(logging.ERROR)
    monkeypatch.setattr(handler, "emit", lambda record: texts.put(record.getMessage()))
    logger = logging.getLogger("lmstudio.gateway")
    studio.server.stop()
    logger.addHandler(handler)
    try:
        with running_gateway(studio.api_host, preload=["gpt-4"]) as api:
            studio.restart()
            assert "Could not load 'gpt-4' ahead" in texts.get(timeout=PATIENCE_SECONDS)
            assert ask(api, CHAT_MODEL).status_code == 200
    finally:
        logger.removeHandler(handler)


def test_gateway_can_be_stopped_while_it_preloads(zoo: Studio) -> None:
    gate = zoo.engine.load_gate = Gate()
    server = new_gateway(zoo.api_host, preload=("phi-4",))

    def start() -> None:
        with pytest.raises(ServerStartError, match="told to stop before it had started"):
            server.start()

    starting = threading.Thread(target=start)
    starting.start()
    assert gate.reached()
    server.begin_stop(0)
    assert zoo.engine.wait_for_cancel()
    starting.join()
    assert not server.is_running


def test_embedding_model_is_listed(api: httpx.Client) -> None:
    assert EMBEDDING_MODEL in [model["id"] for model in api.get("/v1/models").json()["data"]]
