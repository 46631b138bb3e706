"""How both clients find out what a server is, what it offers, and what is missing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from two_surfaces import SURFACES, open_client

import lmstudio as lms
from lmstudio.http import ErrorType, HealthStatus
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNEXPECTED = {"error": "Unexpected endpoint or method. (GET /x). Returning 200 anyway"}
MODELS = {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "o"} for name in ("a/heron", "finch")]}
V0_MODELS = {
    "object": "list",
    "data": [
        {
            "id": name,
            "object": "model",
            "type": "llm",
            "publisher": "acme",
            "arch": "llama",
            "compatibility_type": "gguf",
            "quantization": "Q4",
            "state": state,
            "max_context_length": 4096,
        }
        for name, state in (("a/heron", "loaded"), ("finch", "not-loaded"))
    ],
}
HEALTH = {
    "status": "ok",
    "lmstudio_version": "0.2.21",
    "api_version": "v1",
    "models_loaded": 3,
    "uptime_ms": 362145,
    "gpu": "warm",
}


class Paths:
    """Answers by path: as LM Studio where it says nothing else. A number is a status."""

    def __init__(self, other: Any = UNEXPECTED, **replies: Any) -> None:
        self.replies = {"lmstudio-greeting": {"lmstudio": True}, "v1/models": MODELS, "api/v0/models": V0_MODELS}
        self.replies.update({path.replace("__", "/"): reply for path, reply in replies.items()})
        self.other = other
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.lstrip("/")
        self.asked.append(path)
        reply = self.replies.get(path, self.other)
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, int):
            return httpx.Response(reply, json={"error": {"message": "no", "type": "x"}})
        return httpx.Response(200, json=reply) if not isinstance(reply, str) else httpx.Response(200, text=reply)


@pytest.fixture(params=SURFACES)
def client_of(request: pytest.FixtureRequest) -> Iterator[Callable[[Paths], Any]]:
    """Makes clients of each surface that talk to such paths."""
    clients: list[Iterator[Any]] = []

    def make(paths: Paths) -> Any:
        opened = open_client(request.param, transport=httpx.MockTransport(paths), retry=lms.RetryConfig(max_retries=0))
        clients.append(opened)
        return next(opened)

    yield make
    for opened in clients:
        assert next(opened, None) is None


def test_a_server_that_tells_its_health_is_believed(client_of: Callable[[Paths], Any]) -> None:
    client = client_of(Paths(health=HEALTH))
    health = client.get_health()
    assert isinstance(health, HealthStatus)
    assert (health.status, health.lmstudio_version, health.api_version) == ("ok", "0.2.21", "v1")
    assert (health.models_loaded, health.uptime_ms) == (3, 362145)
    assert health.extra == {"gpu": "warm"}
    assert client.health() is True


@pytest.mark.parametrize("health", [UNEXPECTED, 404, "<html>", {"hello": "world"}], ids=["200", "404", "page", "other"])
def test_lm_studio_is_known_by_its_greeting(client_of: Callable[[Paths], Any], health: Any) -> None:
    client = client_of(Paths(health=health))
    assert (client.get_health().status, client.get_health().models_loaded) == ("ok", 1)
    assert client.health() is True


def test_another_server_is_known_by_its_models(client_of: Callable[[Paths], Any]) -> None:
    client = client_of(Paths(404, **{"lmstudio-greeting": 404, "api/v0/models": 404}))
    assert (client.get_health().status, client.get_health().models_loaded) == ("ok", 2)
    assert client.health() is True


def test_a_server_that_is_not_well_is_not_healthy(client_of: Callable[[Paths], Any]) -> None:
    assert client_of(Paths(health={"status": "degraded"})).health() is False
    client = client_of(Paths(health=503))
    assert client.health() is False
    with pytest.raises(lms.LMStudioServerError) as caught:
        client.get_health()
    assert caught.value.error_type is ErrorType.SERVER_ERROR


def test_a_server_that_is_none_of_these_is_not_healthy(client_of: Callable[[Paths], Any]) -> None:
    client = client_of(Paths("<html>", **{"lmstudio-greeting": "<html>", "v1/models": "<html>"}))
    assert client.health() is False
    report = client.health_check()
    assert (report["status"], report["missing"]) == ("unavailable", ["api", "model"])
    assert "no OpenAI-compatible API" in report["hints"][0]


def test_a_missing_server_is_reported(client_of: Callable[[Paths], Any]) -> None:
    nothing = httpx.ConnectError("Connection refused")
    client = client_of(Paths(nothing, **{"lmstudio-greeting": nothing, "v1/models": nothing}))
    report = client.health_check()
    assert (report["status"], report["missing"]) == ("unavailable", ["server", "api", "model"])
    assert "start LM Studio" in report["hints"][0]
    assert report["error_type"] == "network_error"
    assert client.health() is False
    with pytest.raises(lms.LMStudioConnectionError):
        client.get_health()


def test_a_missing_token_is_reported(client_of: Callable[[Paths], Any]) -> None:
    client = client_of(Paths(**{"v1/models": 401, "health": HEALTH}))
    report = client.health_check()
    assert report["missing"] == ["api", "model"]
    assert "LM_STUDIO_API_KEY" in report["hints"][0]
    assert report["error_type"] == "authentication_error"


def test_a_missing_model_is_reported(client_of: Callable[[Paths], Any]) -> None:
    report = client_of(Paths(**{"api/v0/models": {"object": "list", "data": []}})).health_check()
    assert (report["status"], report["missing"]) == ("no_model", ["model"])
    assert "lms load" in report["hints"][0]
    assert report["models"] == ["a/heron", "finch"]


def test_all_is_well_with_lm_studio(client_of: Callable[[Paths], Any]) -> None:
    report = client_of(Paths()).health_check()
    assert (report["status"], report["missing"], report["hints"]) == ("ok", [], [])
    assert (report["models_loaded"], report["error"]) == (1, None)


def test_models_are_ready_where_the_server_says_nothing_about_it(client_of: Callable[[Paths], Any]) -> None:
    client = client_of(Paths(**{"api/v0/models": UNEXPECTED}))
    assert [model.id for model in client.list_models(status="ready")] == ["a/heron", "finch"]
    assert client.list_models(status="not-loaded") == []
    with_states = client_of(Paths())
    assert [model.id for model in with_states.list_models(status="ready")] == ["a/heron"]
    assert [model.id for model in with_states.list_models(owned_by="ACME", limit=1)] == ["a/heron"]


def test_a_failure_of_the_server_is_not_taken_for_a_missing_path(client_of: Callable[[Paths], Any]) -> None:
    with pytest.raises(lms.LMStudioServerError):
        client_of(Paths(**{"api/v0/models": 500})).list_models(status="ready")
    with pytest.raises(lms.LMStudioAuthenticationError):
        client_of(Paths(**{"api/v0/models": 401})).list_models(status="ready")


@pytest.mark.parametrize("answer", [404, UNEXPECTED], ids=["404", "200"])
def test_a_model_is_looked_up_in_the_list_of_a_server_that_has_no_more(
    client_of: Callable[[Paths], Any], answer: Any
) -> None:
    paths = Paths(answer)
    client = client_of(paths)
    assert client.retrieve_model("a/heron").id == "a/heron"
    with pytest.raises(lms.LMStudioModelNotFoundError, match=r"no 'finsh'.*Did you mean 'finch'\?") as caught:
        client.retrieve_model("finsh")
    assert caught.value.context["model"] == "finsh"


@pytest.mark.parametrize("surface", SURFACES)
def test_the_embedded_server_is_asked_about_its_health(surface: str) -> None:
    with Server(engine=ScriptedEngine()) as server:
        for client in open_client(surface, server.api_host):
            assert client.get_health().api_version == "v1"
            assert client.health() is True
            assert client.health_check()["status"] == "no_model"
            client.chat_completion("Hi", model="scripted-chat")
            assert client.health_check()["status"] == "ok"
        address = server.api_host
    for client in open_client(surface, address):
        assert client.health() is False
        assert client.health_check()["missing"] == ["server", "api", "model"]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_server_that_never_answers_is_not_waited_for_longer_than_connecting_may_take(surface: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        limits = lms.Timeout(connect=0.2, idle=PATIENCE_SECONDS)
        for client in open_client(surface, address, timeout=limits):
            assert client.health() is False
            report = client.health_check()
            assert report["error_type"] == "timeout_error"
            assert report["server_reachable"] is False
