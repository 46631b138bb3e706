"""Connections over HTTP: made when needed, used again, dropped at once, in every kind of program."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio
import trustme
from both_clients import KINDS, run
from fault_host import MODELS, FaultHost, Visit, chunk
from patience import PATIENCE_SECONDS
from programs import uncovered

import lmstudio as lms
from lmstudio.http import AsyncHttpClient, HttpClient, RetryConfig
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_RETRIES = RetryConfig(max_retries=0)


def models(visit: Visit) -> None:
    visit.reply()


def endless_chat(visit: Visit) -> None:
    visit.begin_events()
    visit.event(chunk("Ahoy"))
    visit.until_hang_up()


def short_chat(visit: Visit) -> None:
    visit.begin_events()
    visit.event(chunk("Ahoy"))
    visit.event("[DONE]")
    visit.end_events()


async def list_models(client: AsyncHttpClient) -> list[str]:
    return [model.id for model in await client.list_models()]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_connection_is_used_again(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        for _ in range(3):
            assert await list_models(client) == ["heron"]
        async with client.stream_chat_completion("Hi", model="heron") as stream:
            assert [event.choices[0].delta.content async for event in stream] == ["Ahoy"]
        await list_models(client)

    def answer(visit: Visit) -> None:
        (short_chat if "POST" in visit.head else models)(visit)

    with FaultHost(answer) as host:
        run(kind, scenario, host.url)
        assert (host.connections, len(host.requests)) == (1, 5)


def test_nothing_is_opened_before_the_first_call(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        client.stream_chat_completion("Hi", model="heron")

    with FaultHost(models) as host:
        run(kind, scenario, host.url)
        assert host.connections == 0


def test_a_compressed_body_is_read(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.reply(body=gzip.compress(json.dumps(MODELS).encode()), headers="Content-Encoding: gzip\r\n")

    with FaultHost(answer) as host:
        assert run(kind, list_models, host.url) == ["heron"]


def test_a_damaged_compressed_body_is_a_connection_error(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.reply(body=b"not gzip", headers="Content-Encoding: gzip\r\n")

    with FaultHost(answer) as host, pytest.raises(lms.LMStudioConnectionError):
        run(kind, list_models, host.url, retry=NO_RETRIES)


def test_a_redirect_is_not_followed_but_named(kind: str) -> None:
    def answer(visit: Visit) -> None:
        visit.reply(307, b"", headers="Location: https://elsewhere.example/v1/models\r\n")

    with FaultHost(answer) as host:
        with pytest.raises(
            lms.LMStudioServerError, match=r"redirects to 'https://elsewhere\.example/v1/models'"
        ) as caught:
            run(kind, list_models, host.url)
        assert caught.value.status_code == 307
        assert len(host.requests) == 1


def test_proxies_of_the_environment_do_not_count(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks4a://nowhere.invalid:1")
    with FaultHost(models) as host:
        assert run(kind, list_models, host.url) == ["heron"]


# Leaving -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["block", "break", "exception", "aclose", "forgotten"])
def test_leaving_a_stream_early_hangs_up(kind: str, way: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        stream = client.stream_chat_completion("Hi", model="heron")
        if way == "block":
            async with stream:
                pass
        elif way == "break":
            async for _ in stream:
                break
        elif way == "exception":
            with pytest.raises(ZeroDivisionError):
                async with stream:
                    async for _ in stream:
                        raise ZeroDivisionError
        else:
            await stream.start()
            if way == "aclose":
                await stream.aclose()
            else:
                del stream
                gc.collect()
        assert host.hung_up.wait(PATIENCE_SECONDS)

    with FaultHost(endless_chat) as host:
        run(kind, scenario, host.url)


@pytest.mark.parametrize("way", ["asyncio", "trio"])
def test_cancelling_the_task_hangs_up(way: str) -> None:
    async def main() -> None:
        async with AsyncHttpClient(host.url) as client:
            with anyio.CancelScope() as scope:
                async with client.stream_chat_completion("Hi", model="heron") as stream:
                    async for _ in stream:
                        scope.cancel()
            assert scope.cancelled_caught
            assert host.hung_up.wait(PATIENCE_SECONDS)

    with FaultHost(endless_chat) as host:
        anyio.run(main, backend=way)


def test_cancel_ends_a_stream_with_what_has_come(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        async with client.stream_chat_completion("Hi", model="heron") as stream:
            async for _ in stream:
                await stream.cancel()
            assert stream.result().choices[0].message.content == "Ahoy"
        assert host.hung_up.wait(PATIENCE_SECONDS)

    with FaultHost(endless_chat) as host:
        run(kind, scenario, host.url)


def test_cancel_from_another_thread_ends_a_blocked_read() -> None:
    with FaultHost(endless_chat) as host, HttpClient(host.url, timeout=PATIENCE_SECONDS) as client:
        with client.stream_chat_completion("Hi", model="heron") as stream:
            events = iter(stream)
            next(events)
            threading.Timer(0.05, stream.cancel).start()
            assert next(events, None) is None
        assert host.hung_up.wait(PATIENCE_SECONDS)


def test_cancel_from_another_thread_ends_the_wait_for_a_reply() -> None:
    with FaultHost(Visit.until_hang_up) as host, HttpClient(host.url, timeout=PATIENCE_SECONDS) as client:
        stream = client.stream_chat_completion("Hi", model="heron")

        def cancel() -> None:
            host.asked.wait(PATIENCE_SECONDS)
            stream.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        assert list(stream) == []
        thread.join()
        assert host.hung_up.wait(PATIENCE_SECONDS)


def test_cancel_from_another_task_ends_a_wait() -> None:
    async def main() -> None:
        async with AsyncHttpClient(host.url) as client, anyio.create_task_group() as group:
            stream = client.stream_chat_completion("Hi", model="heron")
            async with stream:
                events = aiter(stream)
                await anext(events)
                group.start_soon(stream.cancel)
                assert await anext(events, None) is None

    with FaultHost(endless_chat) as host:
        asyncio.run(main())
        trio.run(main)


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
@pytest.mark.parametrize("is_stream", [False, True])
def test_ctrl_c_ends_a_blocked_call(is_stream: bool) -> None:
    def answer(visit: Visit) -> None:
        if is_stream:
            visit.begin_events()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        visit.until_hang_up()

    with FaultHost(answer) as host, HttpClient(host.url) as client:
        with pytest.raises(KeyboardInterrupt):
            if is_stream:
                list(client.stream_chat_completion("Hi", model="heron"))
            else:
                client.list_models()
        assert host.hung_up.wait(PATIENCE_SECONDS)


def test_the_server_stops_generating_when_its_client_leaves(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        async with client.stream_chat_completion("Hi", model="scripted-chat") as stream:
            async for event in stream:
                if event.choices[0].delta.content == "Hello":
                    break
        assert engine.wait_for_cancel(PATIENCE_SECONDS)

    engine = ScriptedEngine(Reply(["Hello", Gate(), " world"]))
    with Server(engine=engine) as server:
        run(kind, scenario, f"http://{server.api_host}", timeout=PATIENCE_SECONDS)


# Life cycle ----------------------------------------------------------------------------------------------------------


def test_a_closed_client_says_so_and_can_be_opened_again(kind: str) -> None:
    async def scenario(client: AsyncHttpClient) -> None:
        await list_models(client)
        await client.aclose()
        await client.aclose()
        with pytest.raises(lms.LMStudioRuntimeError, match="closed"):
            await list_models(client)
        async with client:
            assert await list_models(client) == ["heron"]

    with FaultHost(models) as host:
        run(kind, scenario, host.url)


def test_closing_ends_calls_in_other_threads() -> None:
    with FaultHost(Visit.until_hang_up) as host:
        client = HttpClient(host.url)
        with ThreadPoolExecutor() as threads:
            running = threads.submit(client.list_models)
            assert host.asked.wait(PATIENCE_SECONDS)
            client.close()
            with pytest.raises(lms.LMStudioConnectionError, match="closed while this call"):
                running.result(PATIENCE_SECONDS)
        assert len(host.requests) == 1


def test_one_client_in_several_loops_one_after_another_and_at_once() -> None:
    with FaultHost(models) as host:
        client = AsyncHttpClient(host.url)
        for _ in range(3):
            assert asyncio.run(list_models(client)) == ["heron"]
        assert trio.run(list_models, client) == ["heron"]
        with ThreadPoolExecutor(4) as threads:
            for names in threads.map(lambda _: asyncio.run(list_models(client)), range(8)):
                assert names == ["heron"]
        asyncio.run(client.aclose())
    gc.collect()  # a socket that was left open would warn


@pytest.mark.parametrize("kind", ["threads", "asyncio", "trio"])
def test_a_hundred_calls_at_once(kind: str) -> None:
    async def main() -> None:
        async with AsyncHttpClient(url) as client, anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(check, client)

    async def check(client: AsyncHttpClient) -> None:
        reply = await client.chat_completion("Hi", model="scripted-chat", timeout=PATIENCE_SECONDS)
        assert reply.choices[0].message.content

    with Server(engine="scripted") as server:
        url = f"http://127.0.0.1:{server.port}"
        if kind != "threads":
            anyio.run(main, backend=kind)
            return
        with HttpClient(url) as client, ThreadPoolExecutor(100) as threads:
            calls = [threads.submit(client.chat_completion, "Hi", model="scripted-chat") for _ in range(100)]
            assert all(call.result(PATIENCE_SECONDS).choices for call in calls)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own() -> None:
    program = """
import os, sys
from lmstudio.http import HttpClient
with HttpClient(sys.argv[1]) as client:
    client.list_models()
    child = os.fork()
    client.list_models()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    with FaultHost(models) as host:
        command = [sys.executable, "-c", program, host.url]
        subprocess.run(command, check=True, timeout=PATIENCE_SECONDS, env=uncovered())
        assert host.connections == 2


def test_a_forgotten_client_closes_its_connections(kind: str) -> None:
    async def forget() -> None:
        client = AsyncHttpClient(host.url)
        await list_models(client)
        del client
        gc.collect()
        await anyio.lowlevel.checkpoint()

    def answer(visit: Visit) -> None:
        visit.reply()
        visit.until_hang_up()

    with FaultHost(answer) as host:
        if kind == "sync":
            HttpClient(host.url).list_models()
            gc.collect()
            assert host.hung_up.wait(PATIENCE_SECONDS)
        else:
            anyio.run(forget, backend=kind)
        assert host.hung_up.wait(PATIENCE_SECONDS)


def test_a_stream_outlives_the_client_that_was_forgotten(kind: str) -> None:
    async def scenario(_: AsyncHttpClient) -> list[str | None]:
        if kind == "sync":
            with HttpClient(host.url).stream_chat_completion("Hi", model="heron") as events:
                gc.collect()
                return [event.choices[0].delta.content for event in events]
        async with AsyncHttpClient(host.url).stream_chat_completion("Hi", model="heron") as stream:
            gc.collect()
            return [event.choices[0].delta.content async for event in stream]

    with FaultHost(short_chat) as host:
        assert run(kind, scenario, host.url) == ["Ahoy"]


# TLS, proxies and what users bring -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_host(authority: trustme.CA) -> Iterator[FaultHost]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultHost(models, tls=context) as host:
        yield host


def test_tls_with_an_authority_of_ones_own(kind: str, tls_host: FaultHost, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert run(kind, list_models, tls_host.url, ssl_context=context) == ["heron"]


def test_a_certificate_that_is_not_accepted(kind: str, tls_host: FaultHost) -> None:
    with pytest.raises(lms.LMStudioConnectionError, match="LM_STUDIO_VERIFY_TLS=false") as caught:
        run(kind, list_models, tls_host.url)
    assert (caught.value.phase, tls_host.connections) == ("tls", 1), "it would be the same the next time"


def test_certificates_are_not_checked_on_demand(kind: str, tls_host: FaultHost) -> None:
    assert run(kind, list_models, settings=lms.Settings(api_host=tls_host.url, verify_tls=False)) == ["heron"]


def test_no_certificates_are_loaded_without_tls(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_keywords: object) -> None:
        raise AssertionError("certificates were loaded")

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
    with FaultHost(models) as host:
        assert run(kind, list_models, host.url) == ["heron"]


def test_a_proxy_that_was_asked_for(kind: str) -> None:
    def answer(visit: Visit) -> None:
        if visit.head.startswith("CONNECT"):
            visit.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            visit.reply()

    with FaultHost(answer) as proxy:
        names = run(kind, list_models, "http://lm.example:1234", proxy=f"http://me:secret@127.0.0.1:{proxy.port}")
        assert names == ["heron"]
        assert proxy.requests[0].startswith("CONNECT lm.example:1234 ")
        assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.requests[0]


def test_a_proxy_that_refuses(kind: str) -> None:
    with FaultHost(lambda visit: visit.reply(407, b"")) as proxy:
        with pytest.raises(lms.LMStudioConnectionError, match="user name and password") as caught:
            run(
                kind,
                list_models,
                "http://lm.example",
                proxy=f"http://me:secret@127.0.0.1:{proxy.port}",
                retry=NO_RETRIES,
            )
        assert caught.value.phase == "proxy"
        assert "secret" not in everything_about(caught.value)


def test_a_transport_of_the_user(kind: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=MODELS))
    assert run(kind, list_models, transport=transport) == ["heron"]


def test_a_client_of_the_user_stays_open() -> None:
    http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=MODELS)))
    with HttpClient(http_client=http) as client:
        assert client.list_models()[0].id == "heron"
    assert not http.is_closed
    http.close()


def everything_about(error: BaseException | None) -> str:
    """All that a traceback of *error* shows outside of this file, variables included."""
    text = ""
    while error is not None:
        text += f"{error!r} {getattr(error, 'context', '')!r}"
        frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), capture_locals=True)
        text += " ".join(
            f"{frame.name} {frame.locals}" for frame in frames if os.path.dirname(__file__) not in frame.filename
        )
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("status", [None, 401, 500])
def test_a_token_is_in_no_error(kind: str, status: int | None) -> None:
    def answer(visit: Visit) -> None:
        assert "authorization: Bearer sk-lm-abc" in visit.head
        visit.hang_up() if status is None else visit.reply(status, {"error": "no"})

    secret = "sk-lm-abcdefgh:12345678901234567890"
    with FaultHost(answer) as host, pytest.raises(lms.LMStudioError) as caught:
        run(kind, list_models, host.url, secret, retry=NO_RETRIES)
    assert secret not in everything_about(caught.value)


@pytest.mark.parametrize("token", ["sk-lm-abc\ndef", "schlüssel", "a\0b"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match="printable ASCII") as caught:
        HttpClient(api_key=token)
    assert token not in repr(caught.value)
