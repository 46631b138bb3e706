"""Time limits over HTTP: which one counts when, and that none is missed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from both_clients import KINDS, run
from fault_host import MODELS, FaultHost, Visit, chunk
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio import Timeout
from lmstudio.http import AsyncHttpClient, HttpClient, RetryConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SHORT = 0.05
FAR = PATIENCE_SECONDS
NO_RETRIES = RetryConfig(max_retries=0)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


async def list_models(client: AsyncHttpClient) -> list[str]:
    return [model.id for model in await client.list_models()]


async def read_chat(client: AsyncHttpClient) -> list[str | None]:
    texts = []
    async with client.stream_chat_completion("Hi", model="heron") as stream:
        async for event in stream:
            texts.append(event.choices[0].delta.content)  # noqa: PERF401 - it breaks off
    return texts


@contextmanager
def expires(limit: str, seconds: float = SHORT) -> Iterator[None]:
    """What is in the block ends by that limit."""
    begin = time.monotonic()
    with pytest.raises(
        lms.LMStudioTimeoutError, match=f"within {seconds:g} seconds \\(timeout '{limit}'[,)]"
    ) as caught:
        yield
    assert (caught.value.limit, caught.value.seconds) == (limit, seconds)
    assert caught.value.error_type is lms.ErrorType.TIMEOUT_ERROR
    assert seconds * 0.9 <= time.monotonic() - begin < PATIENCE_SECONDS / 2


@pytest.fixture
def silent_port() -> Iterator[int]:
    """It takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_connect_while_tls_gets_no_answer(kind: str, silent_port: int) -> None:
    with expires("connect"):
        run(
            kind,
            list_models,
            f"https://127.0.0.1:{silent_port}",
            ssl_context=ssl.create_default_context(),
            timeout=Timeout(connect=SHORT, idle=FAR),
            retry=NO_RETRIES,
        )


def test_connect_while_a_proxy_says_nothing(kind: str, silent_port: int) -> None:
    with expires("connect"):
        run(
            kind,
            list_models,
            "http://lm.example",
            proxy=f"http://127.0.0.1:{silent_port}",
            timeout=Timeout(connect=SHORT, idle=FAR),
            retry=NO_RETRIES,
        )


def test_connect_while_the_system_has_no_room(kind: str) -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):  # the queue of a listener that accepts nobody
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=SHORT):
                pytest.skip("this system takes any number of connections")
        except TimeoutError:
            pass
        with expires("connect"):
            run(
                kind,
                list_models,
                f"http://127.0.0.1:{port}",
                timeout=Timeout(connect=SHORT, idle=FAR),
                retry=NO_RETRIES,
            )


def test_connect_while_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def look_up(*_arguments: object, **_keywords: object) -> list[Any]:
        released.wait(PATIENCE_SECONDS)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        with expires("connect"), HttpClient("http://lm.example", retry=NO_RETRIES) as client:
            client.list_models(timeout=Timeout(connect=SHORT, idle=FAR))
    finally:
        released.set()


def test_a_connect_timeout_is_both_kinds_of_error(silent_port: int) -> None:
    context = ssl.create_default_context()
    client = HttpClient(f"https://127.0.0.1:{silent_port}", ssl_context=context, retry=NO_RETRIES)
    with client, pytest.raises(lms.LMStudioConnectTimeoutError) as caught:
        client.list_models(timeout=Timeout(connect=SHORT))
    error = caught.value
    assert isinstance(error, lms.LMStudioConnectionError)
    assert isinstance(error, TimeoutError)
    assert (error.phase, error.url) == ("tls", f"https://127.0.0.1:{silent_port}/")
    assert "Does the server speak TLS" in str(error)


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [
        (Timeout(idle=SHORT), "idle"),
        (Timeout(first_token=SHORT, idle=FAR), "first_token"),
        (Timeout(total=SHORT, idle=FAR), "total"),
        (SHORT, "total"),
    ],
    ids=["idle", "first_token", "total", "a number"],
)
def test_a_reply_that_does_not_come(kind: str, timeout: Any, limit: str) -> None:
    with FaultHost(Visit.until_hang_up) as host:
        with expires(limit):
            run(kind, list_models, host.url, timeout=timeout, retry=NO_RETRIES)
        assert host.hung_up.wait(PATIENCE_SECONDS)


def test_a_head_byte_by_byte_does_not_put_the_limit_off(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\n")
        while not visit.host.over.wait(SHORT / 5):  # type: ignore[attr-defined]  # of this test
            visit.send(b"X-A: b\r\n")
        visit.hang_up()

    host = FaultHost(answer)
    host.over = threading.Event()  # type: ignore[attr-defined]
    with host:
        with expires("idle", 4 * SHORT):
            run(kind, list_models, host.url, timeout=Timeout(idle=4 * SHORT), retry=NO_RETRIES)
        host.over.set()  # type: ignore[attr-defined]


def test_a_body_that_stops(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        visit.until_hang_up()

    with FaultHost(answer) as host, expires("idle"):
        run(kind, list_models, host.url, timeout=Timeout(first_token=FAR, idle=SHORT), retry=NO_RETRIES)


@pytest.mark.parametrize("begin", ["nothing", "a comment", "an event without content"])
def test_the_first_token_has_a_limit_of_its_own(kind: str, begin: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        if begin == "a comment":
            visit.piece(": working\n\n")
        elif begin != "nothing":
            visit.event(chunk(""))
        visit.until_hang_up()

    with FaultHost(answer) as host, expires("first_token"):
        run(kind, read_chat, host.url, timeout=Timeout(first_token=SHORT, idle=FAR))


def test_comments_do_not_put_off_the_first_token(kind: str) -> None:
    over = threading.Event()

    def answer(visit: Visit) -> None:
        visit.begin_events()
        while not over.wait(SHORT / 5):
            visit.piece(": working\n\n")
        visit.hang_up()

    with FaultHost(answer) as host:
        with expires("first_token", 4 * SHORT):
            run(kind, read_chat, host.url, timeout=Timeout(first_token=4 * SHORT, idle=FAR))
        over.set()


def test_after_the_first_token_idle_counts(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("Ahoy"))
        visit.until_hang_up()

    with FaultHost(answer) as host, expires("idle"):
        run(kind, read_chat, host.url, timeout=Timeout(first_token=FAR, idle=SHORT))


def test_who_reads_slowly_does_not_make_the_server_idle(kind: str) -> None:
    sent = threading.Event()

    def answer(visit: Visit) -> None:
        visit.begin_events()
        visit.event(chunk("one"))
        visit.event(chunk("two"))
        visit.event("[DONE]")
        visit.end_events()
        sent.set()

    async def scenario(client: AsyncHttpClient) -> list[str | None]:
        texts = []
        async with client.stream_chat_completion("Hi", model="heron") as stream:
            async for event in stream:
                texts.append(event.choices[0].delta.content)
                assert sent.wait(PATIENCE_SECONDS)
                threading.Event().wait(2 * SHORT)  # longer than the limit: that is the point
        return texts

    with FaultHost(answer) as host:
        assert run(kind, scenario, host.url, timeout=Timeout(first_token=FAR, idle=SHORT)) == ["one", "two"]


def test_the_total_counts_over_a_stream_that_never_ends(kind: str) -> None:
    over = threading.Event()

    def answer(visit: Visit) -> None:
        visit.begin_events()
        while not over.wait(SHORT / 5):
            visit.event(chunk("on"))
        visit.hang_up()

    with FaultHost(answer) as host:
        with expires("total", 4 * SHORT):
            run(kind, read_chat, host.url, timeout=4 * SHORT)
        over.set()


def test_the_total_counts_over_all_attempts(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.reply(503, {"error": "busy"}) if visit.number < 3 else visit.until_hang_up()

    with FaultHost(answer) as host, expires("total", 4 * SHORT):
        run(kind, list_models, host.url, timeout=4 * SHORT, retry=RetryConfig(backoff_factor=0.0))


def test_a_server_that_does_not_read(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        await client.chat_completion("x" * 50_000_000, model="heron")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with expires("idle", 4 * SHORT):
            run(kind, scenario, f"http://127.0.0.1:{port}", timeout=Timeout(idle=4 * SHORT), retry=NO_RETRIES)


@pytest.mark.parametrize("limit", ["idle", "total"])
def test_transports_of_the_user_have_limits(kind: str, limit: str) -> None:
    """A transport that heeds what httpx tells it, as all of httpx do."""

    def answer(request: httpx.Request) -> httpx.Response:
        seconds = request.extensions["timeout"]["read"]
        assert 0 < seconds <= SHORT
        threading.Event().wait(seconds)
        raise httpx.ReadTimeout("late", request=request)

    with expires(limit):
        run(
            kind,
            list_models,
            transport=httpx.MockTransport(answer),
            timeout=Timeout(**{"idle": FAR, limit: SHORT}),
            retry=NO_RETRIES,
        )


class _SlowBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Comes in pieces, with pauses between them."""

    def __init__(self, pause: float, pieces: list[bytes]) -> None:
        self._pause, self._pieces = pause, pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            threading.Event().wait(self._pause)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            await anyio.sleep(self._pause)
            yield piece


def test_pieces_of_a_users_transport_end_its_silence(kind: str) -> None:
    text = json.dumps(MODELS)
    pieces = [text[start : start + 2].encode() for start in range(0, len(text), 2)]
    pause, idle = 0.02, 0.6
    assert len(pieces) * pause > idle
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=_SlowBody(pause, pieces)))
    names = run(kind, list_models, transport=transport, timeout=Timeout(idle=idle), retry=NO_RETRIES)
    assert names == ["heron"]
    if kind != "trio":  # which warns of the generator above
        with expires("idle", pause / 2):
            run(kind, list_models, transport=transport, timeout=Timeout(idle=pause / 2), retry=NO_RETRIES)


def test_a_call_within_its_limits_is_not_disturbed(kind: str) -> None:
    limits = Timeout(connect=FAR, first_token=FAR, idle=FAR, total=FAR)
    with FaultHost(lambda visit: visit.reply(body=MODELS)) as host:
        assert run(kind, list_models, host.url, timeout=limits) == ["heron"]


def test_no_limits_at_all(kind: str) -> None:
    limits = Timeout(connect=None, first_token=None, idle=None, total=None)
    with FaultHost(lambda visit: visit.reply(body=MODELS)) as host:
        assert run(kind, list_models, host.url, timeout=limits) == ["heron"]
