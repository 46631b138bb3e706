"""What a server or the way to it can answer instead of a reply, as exceptions."""

from __future__ import annotations

import json
import pickle
import socket
from typing import Any

import httpx
import pytest
from both_clients import KINDS, run
from fault_host import MODELS, FaultHost, Visit, chunk

import lmstudio as lms
from lmstudio.errors import LMStudioProtocolError
from lmstudio.http import AsyncHttpClient, ErrorType, HttpClient, RetryConfig
from lmstudio.server import Server

NO_RETRIES = RetryConfig(max_retries=0)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def client_of(status: int, body: object, headers: dict[str, str] | None = None) -> HttpClient:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"content-type": "text/html" if content[:1] == b"<" else "application/json"}
    transport = httpx.MockTransport(
        lambda _: httpx.Response(status, headers={**kind, **(headers or {})}, content=content)
    )
    return HttpClient("http://lm.example:1234", transport=transport, retry=NO_RETRIES)


def refusal(status: int, body: object, headers: dict[str, str] | None = None) -> lms.LMStudioServerError:
    """What a chat fails with."""
    with pytest.raises(lms.LMStudioServerError) as caught:
        client_of(status, body, headers).chat_completion("Hi", model="heron")
    error = caught.value
    assert error.status_code == status
    known = {"attempted": "complete a chat", "endpoint": "v1/chat/completions", "address": "lm.example:1234"}
    assert error.context.items() >= {**known, "model": "heron"}.items()
    assert str(error).startswith("Could not complete a chat: ")
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), twin.status_code, dict(twin.context)) == (type(error), status, dict(error.context))
    json.dumps(dict(error.context))
    return error


SHAPES = [
    {"error": "the text"},
    {"error": {"message": "the text", "type": "t", "param": None, "code": None}},
    {"error": {"type": "unknown", "message": "the text"}},
    {"type": "error", "error": {"type": "api_error", "message": "the text"}},
]


@pytest.mark.parametrize("body", SHAPES, ids=["string", "OpenAI", "REST v1", "Anthropic"])
@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_every_shape_is_read(body: object, status: int) -> None:
    assert "the text" in str(refusal(status, body))


@pytest.mark.parametrize(
    ("status", "expected", "error_type"),
    [
        (400, lms.LMStudioValidationError, ErrorType.CLIENT_ERROR),
        (401, lms.LMStudioAuthenticationError, ErrorType.AUTHENTICATION_ERROR),
        (403, lms.LMStudioServerError, ErrorType.CLIENT_ERROR),
        (404, lms.LMStudioServerError, ErrorType.CLIENT_ERROR),
        (409, lms.LMStudioServerError, ErrorType.CLIENT_ERROR),
        (422, lms.LMStudioValidationError, ErrorType.CLIENT_ERROR),
        (429, lms.LMStudioRateLimitError, ErrorType.RATE_LIMIT_ERROR),
        (500, lms.LMStudioServerError, ErrorType.SERVER_ERROR),
        (502, lms.LMStudioServerError, ErrorType.SERVER_ERROR),
        (599, lms.LMStudioServerError, ErrorType.SERVER_ERROR),
    ],
)
def test_each_status_has_its_class(status: int, expected: type[lms.LMStudioServerError], error_type: ErrorType) -> None:
    error = refusal(status, {"error": "no"})
    assert (type(error), error.error_type) == (expected, error_type)


def test_a_refused_parameter_is_named() -> None:
    error = refusal(400, {"error": {"message": "must be at most 2", "param": "temperature", "code": "too_big"}})
    assert isinstance(error, lms.LMStudioValidationError)
    assert isinstance(error, ValueError)
    assert error.context["errors"] == {"temperature": "must be at most 2"}
    assert error.code == error.context["code"] == "too_big"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "no", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}),
        (404, {"message": "no", "type": "model_not_found"}),
        (404, "Model 'heron' not found."),
        (400, "No models loaded. Please load a model in the developer page or use the `lms load` command."),
    ],
)
def test_an_unknown_model(status: int, error: object) -> None:
    assert isinstance(refusal(status, {"error": error}), lms.LMStudioModelNotFoundError)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "too long", "code": "context_length_exceeded"},
        {"message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096},
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_prompt_that_is_too_long(error: object, status: int) -> None:
    found = refusal(status, {"error": error})
    assert isinstance(found, lms.LMStudioContextOverflowError)
    if "5000" in str(error):
        assert (found.prompt_tokens, found.context_length) == (5000, 4096)


@pytest.mark.parametrize(("wish", "seconds"), [("12", 12.0), ("1.5", 1.5), (None, None), ("soon", None)])
def test_too_many_requests(wish: str | None, seconds: float | None) -> None:
    error = refusal(429, {"error": "busy"}, {} if wish is None else {"Retry-After": wish})
    assert isinstance(error, lms.LMStudioRateLimitError)
    assert error.retry_after == seconds


def test_a_page_of_a_proxy() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<p>nginx</p>" * 1000
    error = refusal(502, page)
    assert "a web page with the title '502 Bad Gateway'" in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe\x00", b"[1, 2]", b"null", b'{"error": null}', b"[" * 100_000, b"x" * 5_000_000]
)
def test_any_other_body(body: bytes) -> None:
    assert len(str(refusal(500, body))) < 500


@pytest.mark.parametrize("body", SHAPES, ids=["string", "OpenAI", "REST v1", "Anthropic"])
def test_a_failure_with_the_status_of_success(body: object) -> None:
    error = refusal(200, body)
    assert (type(error), error.error_type) == (lms.LMStudioServerError, ErrorType.API_ERROR)


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"[]", b"{", b"3", b'"text"'])
def test_a_success_that_is_no_reply(body: bytes) -> None:
    error = refusal(200, body)
    assert isinstance(error, LMStudioProtocolError)


def test_a_reply_with_an_error_of_null_is_a_reply() -> None:
    assert client_of(200, {**MODELS, "error": None}).list_models()[0].id == "heron"


# Streams -------------------------------------------------------------------------------------------------------------


async def read_chat(client: AsyncHttpClient) -> list[str | None]:
    texts: list[str | None] = []
    async with client.stream_chat_completion("Hi", model="heron") as stream:
        try:
            async for event in stream:
                texts.append(event.choices[0].delta.content)  # noqa: PERF401 - it breaks off
        except lms.LMStudioError:
            with pytest.raises(lms.LMStudioError):  # it stays so
                stream.result()
            assert texts == ["Ahoy"]
            raise
    return texts


@pytest.mark.parametrize("body", SHAPES, ids=["string", "OpenAI", "REST v1", "Anthropic"])
@pytest.mark.parametrize("name", ["", "error"])
def test_a_failure_in_a_stream(kind: str, body: object, name: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.event(body, name)
        visit.event("[DONE]")
        visit.end_events()

    with FaultHost(answer) as host:
        with pytest.raises(lms.LMStudioServerError, match="the text") as caught:
            run(kind, read_chat, host.url)
        assert (caught.value.status_code, caught.value.error_type) == (200, ErrorType.API_ERROR)
        assert caught.value.context["model"] == "heron"
        assert len(host.requests) == 1


def test_a_failure_in_a_stream_that_is_no_json() -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.event("the engine died", "error")
        visit.end_events()

    with FaultHost(answer) as host, pytest.raises(lms.LMStudioServerError, match="the engine died"):
        run("sync", read_chat, host.url)


def test_a_stream_whose_prompt_is_too_long(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.event({"error": {"message": "x", "code": "context_length_exceeded"}}, "error")
        visit.end_events()

    with FaultHost(answer) as host, pytest.raises(lms.LMStudioContextOverflowError):
        run(kind, read_chat, host.url)


@pytest.mark.parametrize("body", SHAPES, ids=["string", "OpenAI", "REST v1", "Anthropic"])
def test_a_failure_instead_of_a_stream(kind: str, body: object) -> None:
    with FaultHost(lambda visit: visit.reply(200, body)) as host:
        with pytest.raises(lms.LMStudioServerError, match="the text") as caught:
            run(kind, read_chat, host.url)
        assert caught.value.error_type is ErrorType.API_ERROR
        assert len(host.requests) == 1


def test_something_else_instead_of_a_stream(kind: str) -> None:
    host = FaultHost(lambda visit: visit.reply(200, b"<title>Hello</title>", kind="text/html"))
    with host, pytest.raises(LMStudioProtocolError, match="text/html instead of a stream of events"):
        run(kind, read_chat, host.url)


@pytest.mark.parametrize("ending", ["body", "connection"])
def test_a_stream_without_its_last_event(kind: str, ending: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.end_events() if ending == "body" else visit.hang_up()

    expected = lms.LMStudioChannelClosedError if ending == "body" else lms.LMStudioConnectionError
    with FaultHost(answer) as host, pytest.raises(expected):
        run(kind, read_chat, host.url)


def test_a_stream_whose_last_event_has_no_blank_line(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.piece("data: [DONE]")
        visit.end_events()

    with FaultHost(answer) as host:
        assert run(kind, read_chat, host.url) == ["Ahoy"]


def test_a_stream_that_speaks_of_errors_is_none() -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk('{"error": "as I said"}'))
        visit.event({**chunk("!"), "error": None})
        visit.event("[DONE]")
        visit.end_events()

    with FaultHost(answer) as host:
        assert run("sync", read_chat, host.url) == ['{"error": "as I said"}', "!"]


# No connection -------------------------------------------------------------------------------------------------------


async def list_models(client: AsyncHttpClient) -> Any:
    return await client.list_models()


def test_nobody_listens(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(lms.LMStudioConnectionError, match="lms server start") as caught:
        run(kind, list_models, f"http://127.0.0.1:{port}", retry=NO_RETRIES)
    error = caught.value
    assert (error.phase, error.url, error.error_type) == ("tcp", f"http://127.0.0.1:{port}/", ErrorType.NETWORK_ERROR)
    assert (error.status_code, error.context["endpoint"]) == (None, "v1/models")
    assert isinstance(error.__cause__, OSError)


def test_a_name_that_nobody_knows(kind: str) -> None:
    with pytest.raises(lms.LMStudioConnectionError, match="spelt") as caught:
        run(kind, list_models, "http://no-such-host.invalid", retry=NO_RETRIES)
    assert caught.value.phase == "dns"


def test_something_that_does_not_speak_http(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        visit.hang_up()

    with FaultHost(answer) as host, pytest.raises(lms.LMStudioConnectionError):
        run(kind, list_models, host.url, retry=NO_RETRIES)


def test_tls_where_there_is_none(kind: str) -> None:
    with Server(engine="scripted") as server, pytest.raises(lms.LMStudioConnectionError, match="http://") as caught:
        run(kind, list_models, f"https://{server.api_host}")
    assert caught.value.phase == "tls"


def test_bad_input_is_refused_before_anything_is_sent(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        with pytest.raises(lms.LMStudioValueError, match="cannot be written as JSON"):
            await client.chat_completion("Hi", model="heron", extra_body={"x": object()})
        with pytest.raises(lms.LMStudioValueError, match="timeout"):
            await client.list_models(timeout="soon")  # type: ignore[arg-type]  # that is the point

    with FaultHost(lambda visit: visit.reply()) as host:
        run(kind, scenario, host.url)
        assert host.connections == 0


def test_the_embedded_server_is_understood(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        with pytest.raises(lms.LMStudioModelNotFoundError) as unknown:
            await client.chat_completion("Hi", model="no-such-model")
        assert unknown.value.context["model"] == "no-such-model"
        with pytest.raises(lms.LMStudioContextOverflowError):
            await client.chat_completion("word " * 100_000, model="scripted-chat")
        with pytest.raises(lms.LMStudioModelNotFoundError):
            async with client.stream_chat_completion("Hi", model="no-such-model"):
                pass

    with Server(engine="scripted") as server:
        run(kind, scenario, f"http://{server.api_host}")
