"""When a request over HTTP is sent again, and when not."""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from both_clients import KINDS, run
from fault_host import MODELS, FaultHost, Visit, chunk
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.http import AsyncHttpClient, HttpClient, LMStudioClient, RetryConfig
from lmstudio.json_api import run_blocking

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = RetryConfig(max_retries=2, backoff_factor=0.0)
CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "heron", "choices": []}


class Server:
    """Answers with each of *answers* once, then with the last one."""

    def __init__(self, *answers: int | Exception | httpx.Response) -> None:
        self._answers = list(answers)
        self.count = 0
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(self.count, len(self._answers) - 1)]
        self.count += 1
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        if answer != 200:
            return httpx.Response(answer, json={"error": "it failed"})
        return httpx.Response(200, json=MODELS if request.method == "GET" else CHAT)

    def client(self, retry: RetryConfig = AT_ONCE, **more: Any) -> HttpClient:
        return HttpClient(transport=self.transport, retry=retry, **more)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def list_models(client: AsyncHttpClient) -> list[str]:
    return [model.id for model in await client.list_models()]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_failure_that_may_pass_is_tried_again(kind: str, status: int) -> None:
    server = Server(status, status, 200)
    assert run(kind, list_models, transport=server.transport, retry=AT_ONCE) == ["heron"]
    assert server.count == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
def test_other_refusals_are_final(status: int) -> None:
    server = Server(status)
    with pytest.raises(lms.LMStudioServerError) as caught:
        server.client().list_models()
    assert (caught.value.status_code, server.count) == (status, 1)


def test_the_last_failure_is_raised() -> None:
    server = Server(500, 502, 503)
    with pytest.raises(lms.LMStudioServerError) as caught:
        server.client().list_models()
    assert (caught.value.status_code, server.count) == (503, 3)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda transport: HttpClient(transport=transport), 3),
        (lambda transport: HttpClient(transport=transport, retry=RetryConfig(max_retries=5)), 6),
        (lambda transport: HttpClient(transport=transport, retry=RetryConfig(max_retries=0)), 1),
    ],
    ids=["by default", "by wish", "never"],
)
def test_how_often(make: Callable[[Any], HttpClient], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RetryConfig, "delay", lambda self, retry: 0.0 if retry < self.max_retries else None)
    server = Server(503)
    with pytest.raises(lms.LMStudioServerError):
        make(server.transport).list_models()
    assert server.count == count


def test_the_client_of_r0_tries_three_times_more() -> None:
    with LMStudioClient() as client:
        assert client._caller._retry == RetryConfig(max_retries=3)


def test_statuses_of_ones_own() -> None:
    server = Server(409, 200)
    assert server.client(RetryConfig(backoff_factor=0.0, retry_on_status=(409,))).list_models()
    server = Server(503, 200)
    with pytest.raises(lms.LMStudioServerError):
        server.client(RetryConfig(backoff_factor=0.0, retry_on_status=(409,))).list_models()


@pytest.mark.parametrize(
    "error",
    [
        {"message": "too long", "code": "context_length_exceeded"},
        {"message": "messages is missing", "type": "invalid_request_error"},
        "request (5000 tokens) exceeds the available context size (4096 tokens)",
    ],
)
def test_a_500_for_what_the_request_is_to_blame_is_final(error: object) -> None:
    server = Server(httpx.Response(500, json={"error": error}))
    with pytest.raises(lms.LMStudioServerError):
        server.client().chat_completion("Hi", model="heron")
    assert server.count == 1


# Connections ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("reset"),
    ],
    ids=["refused", "connect timeout", "no reply", "reset"],
)
@pytest.mark.parametrize("is_read", [True, False])
def test_a_request_without_a_reply_is_sent_again(failure: Exception, is_read: bool) -> None:
    server = Server(failure, failure, 200)
    client = server.client()
    assert client.list_models() if is_read else client.chat_completion("Hi", model="heron")
    assert server.count == 3


def test_only_reading_is_repeated_when_the_reply_takes_too_long() -> None:
    server = Server(httpx.ReadTimeout("late"), 200)
    assert server.client().list_models()
    server = Server(httpx.ReadTimeout("late"), 200)
    with pytest.raises(lms.LMStudioTimeoutError):
        server.client().chat_completion("Hi", model="heron")
    assert server.count == 1


def test_a_server_that_is_not_there_yet(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.hang_up() if visit.number < 3 else visit.reply()

    with FaultHost(answer) as host:
        assert run(kind, list_models, host.url, retry=AT_ONCE) == ["heron"]


def test_a_connection_that_the_server_closed_as_idle_costs_no_pause(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(visit: Visit) -> None:
        visit.hang_up() if visit.number == 2 else visit.reply()

    async def scenario(client: AsyncHttpClient) -> None:
        await list_models(client)
        await list_models(client)

    with FaultHost(answer) as host, caplog.at_level(logging.WARNING, "lmstudio.http"):
        run(kind, scenario, host.url, retry=RetryConfig(backoff_factor=1000.0, max_backoff=1000.0))
        assert (len(host.requests), host.connections) == (3, 2)
    assert [vars(record)["delay"] for record in caplog.records] == [0.0]


def test_a_connection_that_the_server_closed_as_idle_costs_no_retry(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.hang_up() if visit.number in (2, 3) else visit.reply()

    async def scenario(client: AsyncHttpClient) -> None:
        await list_models(client)
        with pytest.raises(lms.LMStudioConnectionError):  # that of the new connection
            await list_models(client)
        await list_models(client)

    with FaultHost(answer) as host:
        run(kind, scenario, host.url, retry=RetryConfig(max_retries=0))
        assert (len(host.requests), host.connections) == (4, 3)


def test_nothing_is_repeated_after_the_first_byte_of_a_stream(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> list[str | None]:
        texts = []
        with pytest.raises(lms.LMStudioConnectionError, match="in the middle of the reply"):
            async with client.stream_chat_completion("Hi", model="heron") as stream:
                async for event in stream:
                    texts.append(event.choices[0].delta.content)  # noqa: PERF401 - it breaks off
        return texts

    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.hang_up()

    with FaultHost(answer) as host:
        assert run(kind, scenario, host.url, retry=AT_ONCE) == ["Ahoy"]
        assert len(host.requests) == 1


def test_a_stream_that_was_refused_is_asked_for_again(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> list[str | None]:
        async with client.stream_chat_completion("Hi", model="heron") as stream:
            return [event.choices[0].delta.content async for event in stream]

    def answer(visit: Visit) -> None:
        if visit.number < 3:
            visit.reply(503, {"error": "loading"})
            return
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.event("[DONE]")
        visit.end_events()

    with FaultHost(answer) as host:
        assert run(kind, scenario, host.url, retry=AT_ONCE) == ["Ahoy"]
        assert host.connections == 1, "a refusal leaves the connection as it is"


# Pauses --------------------------------------------------------------------------------------------------------------


def delays(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [vars(record)["delay"] for record in caplog.records if record.name == "lmstudio.http"]


def test_pauses_double_and_chance_shortens_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry = RetryConfig(max_retries=4, backoff_factor=0.001, max_backoff=0.004)
    for chance, expected in ((0.0, [0.001, 0.002, 0.004, 0.004]), (1.0, [0.0005, 0.001, 0.002, 0.002])):
        monkeypatch.setattr(random, "random", lambda chance=chance: chance)
        caplog.clear()
        with pytest.raises(lms.LMStudioServerError):
            Server(503).client(retry).list_models()
        assert delays(caplog) == pytest.approx(expected)


def test_each_attempt_is_told(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(503, httpx.ConnectError("refused"), 200)
    server.client().list_models()
    first, second = (vars(record) for record in caplog.records if record.name == "lmstudio.http")
    assert (first["attempt"], first["status"], first["error_type"], first["levelno"]) == (
        1,
        503,
        "server_error",
        logging.WARNING,
    )
    assert (second["attempt"], second["status"], second["error_type"]) == (2, None, "network_error")
    assert "list the models" in first["message"]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [("0.02", 0.02), ("3600", 0.05), ("0", 0.0), ("soon", 0.0), ("-1", 0.0), ("1" * 400, 0.0)],
    ids=["seconds", "capped", "zero", "nonsense", "negative", "huge"],
)
def test_retry_after_in_seconds(wish: str, expected: float, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": wish}, json={"error": "busy"}), 200)
    server.client(RetryConfig(backoff_factor=0.0, max_backoff=0.05)).list_models()
    assert delays(caplog) == pytest.approx([expected])


def test_retry_after_as_a_date(caplog: pytest.LogCaptureFixture) -> None:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    server = Server(httpx.Response(503, headers={"Retry-After": date}, json={"error": "busy"}), 200)
    server.client(RetryConfig(backoff_factor=0.0, max_backoff=0.05)).list_models()
    assert delays(caplog) == pytest.approx([0.05])


def test_a_wish_beyond_the_total_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "3600"}, json={"error": "busy"}), 200)
    with pytest.raises(lms.LMStudioRateLimitError) as caught:
        server.client(RetryConfig(max_backoff=0.01)).list_models(timeout=PATIENCE_SECONDS)
    assert (caught.value.retry_after, caught.value.status_code, server.count) == (3600.0, 429, 1)
    assert caught.value.error_type is lms.ErrorType.RATE_LIMIT_ERROR
    assert delays(caplog) == []


def test_a_pause_beyond_the_total_ends_the_call() -> None:
    server = Server(503)
    with pytest.raises(lms.LMStudioServerError, match="it failed"):
        server.client(RetryConfig(backoff_factor=1000.0, max_backoff=1000.0)).list_models(timeout=PATIENCE_SECONDS)
    assert server.count == 1


def test_cancel_ends_a_pause() -> None:
    answered = threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        answered.set()
        return httpx.Response(503)

    retry = RetryConfig(backoff_factor=1000.0, max_backoff=1000.0)
    with HttpClient(transport=httpx.MockTransport(answer), retry=retry) as client:
        stream = client.stream_chat_completion("Hi", model="heron")

        def cancel() -> None:
            answered.wait(PATIENCE_SECONDS)
            stream.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        assert list(stream) == []
        thread.join()


def test_cancel_before_a_pause_leaves_it_out(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        streams.append(client.stream_chat_completion("Hi", model="heron"))
        async with streams[0] as stream:
            assert [event async for event in stream] == []

    async def cancel(request: httpx.Request) -> httpx.Response:
        await streams[0].cancel()
        return httpx.Response(503)

    streams: list[Any] = []
    handler: Any = cancel if kind != "sync" else lambda request: run_blocking(cancel(request))
    retry = RetryConfig(backoff_factor=1000.0, max_backoff=1000.0)
    run(kind, scenario, transport=httpx.MockTransport(handler), retry=retry)


def test_closing_the_client_ends_a_pause() -> None:
    answered = threading.Event()

    def answer(visit: Visit) -> None:
        visit.reply(503, {"error": "busy"})
        answered.set()

    with FaultHost(answer) as host:
        retry = RetryConfig(backoff_factor=1000.0, max_backoff=1000.0)
        client = HttpClient(host.url, retry=retry)
        with ThreadPoolExecutor() as threads:
            running = threads.submit(client.list_models)
            assert answered.wait(PATIENCE_SECONDS)
            client.close()
            with pytest.raises(lms.LMStudioError, match="closed"):
                running.result(PATIENCE_SECONDS)
