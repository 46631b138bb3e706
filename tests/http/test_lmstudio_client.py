"""The client that other programs know as LMStudioClient, over a mock transport: no server is needed.

python -m pytest tests/http/test_lmstudio_client.py -v
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import lmstudio.http
from lmstudio.http import (
    CompletionChoice,
    CompletionRequest,
    CompletionResponse,
    CompletionUsage,
    ErrorType,
    LMStudioClient,
    LMStudioError,
    Model,
    RetryConfig,
    Settings,
    _compat,
    close_default_client,
    complete,
    list_models,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Reply = httpx.Response | Exception

COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1790000050,
    "model": "heron-3b",
    "choices": [{"index": 0, "text": " where the river bends", "logprobs": None, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 6, "completion_tokens": 5, "total_tokens": 11},
}
MODELS = {
    "object": "list",
    "data": [
        {"id": "heron-3b", "object": "model", "owned_by": "organization_owner"},
        {"id": "finch-small", "object": "model", "owned_by": "organization_owner", "created": 7, "root": "finch"},
    ],
}
NO_PAUSES = RetryConfig(backoff_factor=0)


class MockServer:
    """Gives its replies one after the other, the last one again and again; remembers what it was asked."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    def client(self, retry_config: RetryConfig | None = NO_PAUSES, **arguments: Any) -> LMStudioClient:
        return LMStudioClient(retry_config=retry_config, transport=httpx.MockTransport(self), **arguments)

    @property
    def body(self) -> Any:
        """What came last."""
        return json.loads(self.requests[-1].content)


def ok(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def refused(status: int, message: str = "No.", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "type": "t", "code": None}}, headers=headers)


# Serialization -------------------------------------------------------------------------------------------------------


def test_a_request_is_written_without_what_is_not_set() -> None:
    request = CompletionRequest(model="heron-3b", prompt="The heron stands", max_tokens=50)
    assert request.to_dict() == {"model": "heron-3b", "prompt": "The heron stands", "max_tokens": 50}


def test_a_request_has_all_parameters() -> None:
    given: dict[str, Any] = {
        "model": "heron-3b",
        "prompt": ["one", "two"],
        "max_tokens": 5,
        "temperature": 0.7,
        "top_p": 0.9,
        "n": 1,
        "stream": False,
        "logprobs": 2,
        "echo": True,
        "stop": ["."],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "best_of": 1,
        "logit_bias": {"50256": -100.0},
        "user": "somebody",
        "suffix": "The end.",
    }
    assert CompletionRequest(**given).to_dict() == given
    assert CompletionRequest.from_dict(given) == CompletionRequest(**given)


def test_a_model_is_read_with_what_is_there() -> None:
    model = Model.from_dict({"id": "heron-3b"})
    assert (model.id, model.object, model.created, model.owned_by) == ("heron-3b", "model", 0, "")
    assert (model.permission, model.root, model.parent) == (None, None, None)


def test_a_response_is_read_with_its_parts() -> None:
    response = CompletionResponse.from_dict(COMPLETION)
    assert response.choices == [CompletionChoice(index=0, text=" where the river bends", finish_reason="length")]
    assert response.usage == CompletionUsage(prompt_tokens=6, completion_tokens=5, total_tokens=11)
    assert (response.id, response.object, response.created, response.model) == (
        "cmpl-1",
        "text_completion",
        1790000050,
        "heron-3b",
    )


def test_a_response_is_written_as_it_was_read() -> None:
    assert CompletionResponse.from_dict({**COMPLETION, "warmth": 1}).to_dict() == {**COMPLETION, "warmth": 1}


def test_the_words_of_error_types_are_stable() -> None:
    assert {kind.name: kind.value for kind in ErrorType} == {
        "NETWORK_ERROR": "network_error",
        "API_ERROR": "api_error",
        "TIMEOUT_ERROR": "timeout_error",
        "AUTHENTICATION_ERROR": "authentication_error",
        "RATE_LIMIT_ERROR": "rate_limit_error",
        "SERVER_ERROR": "server_error",
        "CLIENT_ERROR": "client_error",
        "UNKNOWN_ERROR": "unknown_error",
    }


# Configuration -------------------------------------------------------------------------------------------------------


def test_the_address_is_that_of_lm_studio_by_default() -> None:
    server = MockServer(ok(MODELS))
    server.client().list_models()
    assert str(server.requests[0].url) == "http://localhost:1234/v1/models"


@pytest.mark.parametrize("base_url", ["http://lm.test:8000/v1", "http://lm.test:8000", "lm.test:8000/v1/"])
def test_the_address_may_be_given_in_several_ways(base_url: str) -> None:
    server = MockServer(ok(MODELS))
    client = server.client(base_url=base_url)
    client.list_models()
    assert str(server.requests[0].url) == "http://lm.test:8000/v1/models"
    assert client.base_url == "http://lm.test:8000/v1"


def test_a_key_is_sent_as_a_bearer_token_and_not_shown() -> None:
    server = MockServer(ok(MODELS))
    client = server.client(api_key="my-key")
    client.list_models()
    assert server.requests[0].headers["authorization"] == "Bearer my-key"
    assert "my-key" not in repr(client)


def test_no_key_is_sent_where_there_is_none() -> None:
    server = MockServer(ok(MODELS))
    server.client().list_models()
    assert "authorization" not in server.requests[0].headers


def test_retries_have_the_documented_defaults() -> None:
    config = RetryConfig()
    assert (config.max_retries, config.backoff_factor, config.max_backoff) == (3, 1.0, 60.0)
    assert config.retry_on_status == (500, 502, 503, 504, 429)


@pytest.mark.parametrize(
    "bad", [{"timeout": -1}, {"timeout": "soon"}, {"base_url": "not an address"}, {"retry_config": 3}]
)
def test_a_bad_argument_is_refused_at_once(bad: dict[str, Any]) -> None:
    with pytest.raises(LMStudioError) as caught:
        LMStudioClient(**bad)
    assert caught.value.error_type is ErrorType.CLIENT_ERROR


# Requests and replies ------------------------------------------------------------------------------------------------


def test_models_are_listed() -> None:
    with MockServer(ok(MODELS)).client() as client:
        models = client.list_models()
    assert [model.id for model in models] == ["heron-3b", "finch-small"]
    assert isinstance(models, list)
    assert models.data is models
    assert models[1].root == "finch"


def test_a_completion_is_created_from_a_request() -> None:
    server = MockServer(ok(COMPLETION))
    request = CompletionRequest(model="heron-3b", prompt="The heron stands", max_tokens=5, user="somebody")
    response = server.client().create_completion(request)
    assert response.choices[0].text == " where the river bends"
    assert (server.requests[0].method, server.requests[0].url.path) == ("POST", "/v1/completions")
    assert server.body == {"model": "heron-3b", "prompt": "The heron stands", "max_tokens": 5, "user": "somebody"}


def test_a_completion_is_created_from_a_model_and_a_text() -> None:
    server = MockServer(ok(COMPLETION))
    response = server.client().create_completion_simple("heron-3b", "The heron stands", max_tokens=50, temperature=0.7)
    assert response.choices[0].text == " where the river bends"
    assert server.body == {"model": "heron-3b", "prompt": "The heron stands", "max_tokens": 50, "temperature": 0.7}


def test_a_completion_can_be_streamed() -> None:
    choices: list[list[Any]] = [
        [{"index": 0, "text": text, "logprobs": None, "finish_reason": reason}]
        for text, reason in ((" where", None), (" the river", None), ("", "stop"))
    ]
    chunks = [{**COMPLETION, "choices": choice, "usage": None} for choice in choices]
    chunks.append({**COMPLETION, "choices": []})
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    server = MockServer(httpx.Response(200, content=events, headers={"content-type": "text/event-stream"}))
    request = CompletionRequest(model="heron-3b", prompt="The heron stands", stream=True)
    with server.client().create_completion(request, stream=True) as stream:
        assert [chunk.choices[0].text for chunk in stream] == [" where", " the river", ""]
    result = stream.result()
    assert result.choices == [CompletionChoice(text=" where the river", finish_reason="stop")]
    assert result.usage == CompletionUsage(prompt_tokens=6, completion_tokens=5, total_tokens=11)
    assert server.body["stream"] is True


def test_what_is_not_known_is_passed_on() -> None:
    server = MockServer(ok(COMPLETION))
    request = CompletionRequest(model="heron-3b", prompt="p", mirostat_mode=2)
    server.client().create_completion(request, extra_body={"cache_prompt": True, "dry_base": 1.75})
    sent = {"model": "heron-3b", "prompt": "p", "mirostat_mode": 2, "cache_prompt": True, "dry_base": 1.75}
    assert server.body == sent


def test_a_bad_value_is_refused_before_anything_is_sent() -> None:
    server = MockServer(ok(COMPLETION))
    with pytest.raises(LMStudioError, match="top_p") as caught:
        server.client().create_completion_simple("heron-3b", "p", top_p=7)
    assert caught.value.error_type is ErrorType.CLIENT_ERROR
    assert server.requests == []


def test_a_typing_error_is_refused_before_anything_is_sent() -> None:
    server = MockServer(ok(COMPLETION))
    with pytest.raises(LMStudioError, match=r"'max_token'. Did you mean 'max_tokens'\?"):
        server.client().create_completion_simple("heron-3b", "p", max_token=7)  # type: ignore[call-arg]
    assert server.requests == []


def test_health_tells_of_a_server_that_is_ready() -> None:
    server = MockServer(ok({"status": "ok", "lmstudio_version": "0.4.0", "models_loaded": 1}), ok(MODELS))
    health = server.client().health_check()
    assert (health["status"], health["missing"], health["models"]) == ("ok", [], ["heron-3b", "finch-small"])
    assert health["lmstudio_version"] == "0.4.0"


# Error classification ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ErrorType.CLIENT_ERROR),
        (401, ErrorType.AUTHENTICATION_ERROR),
        (403, ErrorType.CLIENT_ERROR),
        (404, ErrorType.CLIENT_ERROR),
        (422, ErrorType.CLIENT_ERROR),
        (429, ErrorType.RATE_LIMIT_ERROR),
        (500, ErrorType.SERVER_ERROR),
        (502, ErrorType.SERVER_ERROR),
        (503, ErrorType.SERVER_ERROR),
        (504, ErrorType.SERVER_ERROR),
    ],
)
def test_a_status_has_its_type_of_error(status: int, expected: ErrorType) -> None:
    with pytest.raises(LMStudioError, match="Oh no") as caught:
        MockServer(refused(status, "Oh no.")).client().create_completion_simple("heron-3b", "p")
    assert (caught.value.error_type, caught.value.status_code) == (expected, status)
    assert "Oh no" in caught.value.message


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (httpx.ConnectError("Name or service not known"), ErrorType.NETWORK_ERROR),
        (httpx.RemoteProtocolError("peer closed connection"), ErrorType.NETWORK_ERROR),
        (httpx.ReadTimeout("too slow"), ErrorType.TIMEOUT_ERROR),
        (httpx.ConnectTimeout("too slow"), ErrorType.TIMEOUT_ERROR),
    ],
)
def test_a_failure_without_a_reply_has_its_type_of_error(failure: Exception, expected: ErrorType) -> None:
    with pytest.raises(LMStudioError) as caught:
        MockServer(failure).client().create_completion_simple("heron-3b", "p")
    assert (caught.value.error_type, caught.value.status_code) == (expected, None)
    assert caught.value.context["endpoint"] == "v1/completions"


def test_an_error_with_a_status_of_success_is_an_error() -> None:
    server = MockServer(ok({"error": "Unexpected endpoint or method. (POST /v1/completions)"}))
    with pytest.raises(LMStudioError, match="Unexpected endpoint") as caught:
        server.client().create_completion_simple("heron-3b", "p")
    assert caught.value.error_type is ErrorType.API_ERROR
    assert len(server.requests) == 1


def test_a_reply_that_is_no_json_is_an_error() -> None:
    server = MockServer(httpx.Response(200, content="<html>Welcome</html>", headers={"content-type": "text/html"}))
    with pytest.raises(LMStudioError) as caught:
        server.client().list_models()
    assert caught.value.error_type is ErrorType.SERVER_ERROR


# Retries -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", RetryConfig().retry_on_status)
def test_a_status_that_passes_is_tried_again(status: int) -> None:
    server = MockServer(refused(status), refused(status), ok(COMPLETION))
    assert server.client().create_completion_simple("heron-3b", "p").id == "cmpl-1"
    assert len(server.requests) == 3


def test_a_connection_that_is_refused_is_tried_again() -> None:
    server = MockServer(httpx.ConnectError("refused"), ok(MODELS))
    assert len(server.client().list_models()) == 2
    assert len(server.requests) == 2


def test_there_are_three_retries_by_default() -> None:
    server = MockServer(refused(503))
    with pytest.raises(LMStudioError):
        server.client().list_models()
    assert len(server.requests) == 4


def test_the_number_of_retries_is_configurable() -> None:
    server = MockServer(refused(503))
    with pytest.raises(LMStudioError):
        server.client(RetryConfig(max_retries=5, backoff_factor=0, max_backoff=120.0)).list_models()
    assert len(server.requests) == 6


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_will_not_change_is_not_tried_again(status: int) -> None:
    server = MockServer(refused(status))
    with pytest.raises(LMStudioError):
        server.client().create_completion_simple("heron-3b", "p")
    assert len(server.requests) == 1


def test_a_status_that_is_not_listed_is_not_tried_again() -> None:
    server = MockServer(refused(503))
    with pytest.raises(LMStudioError):
        server.client(RetryConfig(backoff_factor=0, retry_on_status=(500,))).list_models()
    assert len(server.requests) == 1


def test_a_completion_that_may_be_under_way_is_not_sent_twice() -> None:
    server = MockServer(httpx.ReadTimeout("too slow"), ok(COMPLETION))
    with pytest.raises(LMStudioError):
        server.client().create_completion_simple("heron-3b", "p")
    assert len(server.requests) == 1


def test_pauses_double_up_to_a_limit_and_vary() -> None:
    config = RetryConfig(max_retries=5, backoff_factor=2.0, max_backoff=12.0)
    assert [config.delay(retry, lambda: 0.0) for retry in range(6)] == [2.0, 4.0, 8.0, 12.0, 12.0, None]
    assert [config.delay(retry, lambda: 1.0) for retry in range(3)] == [1.0, 2.0, 4.0]
    certain = RetryConfig(max_retries=3, backoff_factor=2.0, random_number=lambda: 0.5)
    assert [certain.delay(retry) for retry in range(4)] == [1.5, 3.0, 6.0, None]


# Whole programs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def default_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockServer]:
    """What the functions without a client talk to."""
    server = MockServer(ok(MODELS), ok(COMPLETION))
    monkeypatch.setitem(_compat._clients, "default", server.client())
    yield server
    close_default_client()


def test_functions_share_a_client(default_server: MockServer) -> None:
    assert [model.id for model in list_models()] == ["heron-3b", "finch-small"]
    response = complete(model="heron-3b", prompt="The heron stands", max_tokens=100)
    assert response.choices[0].text == " where the river bends"
    assert default_server.body == {"model": "heron-3b", "prompt": "The heron stands", "max_tokens": 100}


def test_the_shared_client_is_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    close_default_client()
    monkeypatch.setenv("LM_STUDIO_BASE_URL", "http://lm.test:5000")
    try:
        assert lmstudio.http.default_client().base_url == "http://lm.test:5000/v1"
        assert lmstudio.http.default_client() is lmstudio.http.default_client()
    finally:
        close_default_client()


def test_a_program_lists_completes_and_closes() -> None:
    server = MockServer(ok(MODELS), ok(COMPLETION))
    with server.client(timeout=60.0) as client:
        model = client.list_models()[0]
        response = client.create_completion(CompletionRequest(model=model.id, prompt="The heron stands"))
        assert response.usage is not None
        assert response.usage.total_tokens == 11
    with pytest.raises(LMStudioError, match="closed"):
        client.list_models()
    client.close()  # once more does no harm


def test_a_program_goes_on_after_an_error() -> None:
    server = MockServer(refused(400, "prompt is too long"), ok(COMPLETION))
    with server.client() as client:
        with pytest.raises(LMStudioError) as caught:
            client.create_completion_simple("heron-3b", "p")
        assert caught.value.error_type.value == "client_error"
        assert client.create_completion_simple("heron-3b", "p").model == "heron-3b"


def test_a_model_of_the_settings_is_used_where_none_is_named() -> None:
    server = MockServer(ok(COMPLETION))
    settings = Settings(default_model="heron-3b", allowed_models=["heron-*"])
    client = lmstudio.http.HttpClient(settings=settings, transport=httpx.MockTransport(server))
    client.complete("p")
    assert server.body["model"] == "heron-3b"
    with pytest.raises(LMStudioError, match="allowed_models"):
        client.complete("p", model="finch-small")
    with pytest.raises(LMStudioError, match="allowed_models"):
        client.complete("p", extra_body={"model": "finch-small"})
    assert len(server.requests) == 1


def test_the_import_loads_no_client() -> None:
    code = "import sys, lmstudio.http; print('httpx' in sys.modules, 'lmstudio.http.sync_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
