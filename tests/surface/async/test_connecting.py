"""Addresses, discovery, authentication, and servers that are not there or not LM Studio."""

from __future__ import annotations

import logging
import re
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio import _discovery as discovery_module
from lmstudio._remedies import Surroundings
from lmstudio.server import ScriptedEngine, Server
from surface.background import AsyncBackground
from surface.odd_servers import (
    black_hole,
    free_port,
    greeting_server,
    http_server,
    mute_server,
    silent_dns,
    tcp_server,
    websocket_server,
)
from surface.relays import Relay, below_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from surface.fault_proxy import FaultProxy

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"
OTHER_TOKEN = "sk-lm-ijklmnop:ABCDEFGHIJ0123456789"
NO_ANSWER = "the answer to the authentication is not one of LM Studio"
REDIRECT = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://lm.example/llm\r\nContent-Length: 0\r\n\r\n"

IMPATIENT = lms.Timeout(connect=0.1)
ALMOST_IMPATIENT = lms.Timeout(connect=0.5)
"""A busy machine comes past the first step."""

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(autouse=True)
def no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tests holds no token."""
    monkeypatch.delenv("LM_API_TOKEN", raising=False)
    monkeypatch.delenv("LMSTUDIO_API_TOKEN", raising=False)


@pytest.fixture
def guarded() -> Iterator[Server]:
    """A server that wants a token."""
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        yield server


async def failure(client: lms.AsyncClient) -> lms.LMStudioError:
    """What the first call fails with."""
    with pytest.raises(lms.LMStudioError) as error:
        await client.list_downloaded_models()
    await client.aclose()
    return error.value


def listen_on(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """LM Studio's own ports are *ports* from now on."""
    monkeypatch.setattr(discovery_module, "API_SERVER_PORTS", ports)


# Nobody, or somebody else, is there ----------------------------------------------------------------------------------


async def test_nothing_listens() -> None:
    api_host = f"127.0.0.1:{free_port()}"
    async with lms.AsyncClient(api_host) as client:
        for attempt in (client.list_downloaded_models, client.llm.connect):
            with pytest.raises(lms.LMStudioWebsocketError) as error:
                await attempt()
            assert f"Could not connect to ws://{api_host}/" in str(error.value)
            assert re.search(r"\(at TCP\): LM Studio is not reachable: .*refused", str(error.value))
            assert "Is it running there" in str(error.value)
            assert (error.value.phase, str(error.value.url).rpartition("/")[0]) == ("tcp", f"ws://{api_host}")
            assert isinstance(error.value.__cause__, ConnectionRefusedError)
        assert not client.llm.connected
    assert not await lms.AsyncClient.is_valid_api_host(api_host)


@pytest.mark.parametrize(
    ("surroundings", "is_said"),
    [
        (Surroundings(), []),
        (Surroundings(is_container=True), ["runs in a container", "host.docker.internal:1234", "Serve on Local"]),
        (Surroundings(is_wsl=True), ["runs in WSL", "Serve on Local"]),
    ],
    ids=["plain", "container", "wsl"],
)
async def test_hints_are_given_where_they_fit(
    monkeypatch: pytest.MonkeyPatch, surroundings: Surroundings, is_said: list[str]
) -> None:
    monkeypatch.setattr("lmstudio._remedies.look_around", lambda: surroundings)
    text = str(await failure(lms.AsyncClient(f"localhost:{free_port()}")))
    hints = ("runs in a container", "host.docker.internal:1234", "runs in WSL", "Serve on Local")
    assert [hint for hint in hints if hint in text] == is_said


async def test_host_name_that_nobody_knows() -> None:
    error = await failure(lms.AsyncClient("no-such-host.invalid:1234"))
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert "Could not connect to ws://no-such-host.invalid:1234/system (resolving the name): " in str(error)
    assert "Is the host name spelt right" in str(error)
    assert (error.phase, error.url) == ("dns", "ws://no-such-host.invalid:1234/system")
    assert isinstance(error.__cause__, socket.gaierror)


async def test_name_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmstudio._dial._RESOLVE_SECONDS", 0.1)
    with silent_dns(monkeypatch):
        error = await failure(lms.AsyncClient("lm.example:1234", timeout=IMPATIENT))
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert (error.phase, "no answer within 0.1 seconds (timeout 'connect')" in str(error)) == ("dns", True)


@pytest.mark.parametrize("host", ["localhost", "192.168.0.10"])
async def test_address_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    black_hole(monkeypatch)
    error = await failure(lms.AsyncClient(f"{host}:1234", timeout=IMPATIENT))
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert "LM Studio is not reachable: no answer within 0.1 seconds (timeout 'connect')" in str(error)
    assert error.phase == "tcp"
    assert ("'Serve on Local Network' on, and does its firewall let port 1234 through?" in str(error)) == (
        host != "localhost"
    )


@pytest.mark.parametrize(
    ("odd_server", "phase", "reason"),
    [
        (http_server, "greeting", "HTTP status 404 instead of a WebSocket. Is it LM Studio that listens there?"),
        (partial(tcp_server, b""), "greeting", "not as an HTTP server does"),
        (partial(tcp_server, b"SSH-2.0-OpenSSH_9.6\r\n"), "greeting", "not as an HTTP server does"),
        (
            partial(tcp_server, b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            "authentication",
            "instead of answering the authentication",
        ),
        (partial(tcp_server, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "greeting", "HTTP status 200"),
        (partial(tcp_server, b"HTTP/1.1 500 Oh no\r\nContent-Length: 0\r\n\r\n"), "greeting", "HTTP status 500"),
        (partial(tcp_server, REDIRECT), "websocket", "redirects to 'https://lm.example/llm': if LM Studio is there"),
        (partial(websocket_server, "hello"), "authentication", NO_ANSWER),
        (partial(websocket_server, "[1, 2]"), "authentication", NO_ANSWER),
        (partial(websocket_server, '{"success": 1}'), "authentication", NO_ANSWER),
    ],
    ids=["404", "hangs up", "ssh", "half an upgrade", "page", "500", "redirect", "websocket", "json", "wrong json"],
)
async def test_server_is_not_lm_studio(
    odd_server: Callable[[], AbstractContextManager[str]], phase: str, reason: str
) -> None:
    with odd_server() as api_host:
        error = await failure(lms.AsyncClient(api_host))
        assert isinstance(error, lms.LMStudioWebsocketError)
        assert reason in str(error)
        assert (error.phase, error.url) == (phase, f"ws://{api_host}/system")
        assert error.__cause__ is not None
        assert not await lms.AsyncClient.is_valid_api_host(api_host)


async def test_path_that_is_too_much_is_named(server: Server) -> None:
    error = await failure(lms.AsyncClient(f"{server.api_host}/v1/chat/completions"))
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert error.phase == "greeting"
    assert f"But LM Studio answers at http://{server.api_host}/: pass that address." in str(error)


async def test_path_that_is_missing_is_no_greeting(server: Server) -> None:
    with Relay(server.port, below_path) as relay:
        error = await failure(lms.AsyncClient(f"127.0.0.1:{relay.port}"))
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert (error.phase, "HTTP status 404" in str(error)) == ("greeting", True)


async def test_server_that_greets_but_refuses_the_websocket_is_told_from_others() -> None:
    with greeting_server(403) as api_host:
        error = await failure(lms.AsyncClient(api_host))
        assert await lms.AsyncClient.is_valid_api_host(api_host)
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert error.phase == "websocket"
    assert "HTTP status 403 instead of a WebSocket. LM Studio answers there, but does not allow this" in str(error)


async def test_server_that_demands_a_login_by_http_is_an_error_of_authentication() -> None:
    with greeting_server(401) as api_host:
        error = await failure(lms.AsyncClient(api_host))
    assert isinstance(error, lms.LMStudioAuthenticationError)
    assert (error.phase, error.url) == ("authentication", f"ws://{api_host}/system")
    assert "HTTP status 401" in str(error)
    assert "not reachable" not in str(error)
    assert error.__cause__ is not None


async def test_server_that_goes_away_after_the_upgrade_is_an_error() -> None:
    with websocket_server("", closes=True) as api_host:
        error = await failure(lms.AsyncClient(api_host))
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert error.phase == "authentication"
    assert "the server ended the connection instead of answering the authentication" in str(error)
    assert error.__cause__ is not None


async def test_server_that_never_answers_is_given_up() -> None:
    with mute_server() as mute:
        error = await failure(lms.AsyncClient(mute.api_host, timeout=ALMOST_IMPATIENT))
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert (error.phase, error.limit) == ("websocket", "connect")
    assert "did not answer within 0.5 seconds (timeout 'connect')" in str(error)


async def test_server_that_does_not_answer_the_authentication_is_given_up() -> None:
    with websocket_server(None) as api_host:
        error = await failure(lms.AsyncClient(api_host, timeout=ALMOST_IMPATIENT))
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert (error.phase, error.limit) == ("authentication", "connect")
    assert "at the authentication): the server accepted the connection, but did not answer" in str(error)


async def test_client_may_be_closed_while_it_connects(proxy: FaultProxy) -> None:
    proxy.hold()
    client = lms.AsyncClient(proxy.api_host)
    async with AsyncBackground() as background:
        call = background.start(client.list_downloaded_models)
        assert await background.wait(lambda: proxy.wait_for(lambda seen: seen.accepted))
        await client.aclose()
        with pytest.raises(lms.LMStudioWebsocketError, match="client was closed"):
            await call.result()


# Discovery -----------------------------------------------------------------------------------------------------------


async def test_server_on_one_of_the_known_ports_is_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    listen_on(monkeypatch, free_port(), server.port, free_port())
    assert await lms.AsyncClient.find_default_local_api_host() == f"127.0.0.1:{server.port}"
    async with lms.AsyncClient() as client:
        assert len(await client.list_downloaded_models()) == 2
        assert client.api_host == f"127.0.0.1:{server.port}"


async def test_first_of_several_servers_counts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(engine=ScriptedEngine()) as other:
        listen_on(monkeypatch, free_port(), other.port, server.port)
        assert await lms.AsyncClient.find_default_local_api_host() == f"127.0.0.1:{other.port}"


async def test_no_local_server_is_an_error_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    listen_on(monkeypatch, free_port(), free_port())
    started = time.monotonic()
    error = await failure(lms.AsyncClient())
    assert isinstance(error, lms.LMStudioWebsocketError)
    assert "no server answered on any of its local ports" in str(error)
    assert await lms.AsyncClient.find_default_local_api_host() is None
    assert time.monotonic() - started < 1.5


async def test_port_that_never_answers_does_not_hide_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    with mute_server() as mute, http_server() as other:
        listen_on(monkeypatch, *(int(host.rpartition(":")[2]) for host in (mute.api_host, other)), server.port)
        assert await lms.AsyncClient.find_default_local_api_host() == f"127.0.0.1:{server.port}"
    assert time.monotonic() - started < 1.5


async def test_server_that_moved_to_another_known_port_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = free_port(), free_port()
    listen_on(monkeypatch, *ports)
    async with lms.AsyncClient() as client, AsyncBackground() as background:
        for port in ports:
            with Server(engine=ScriptedEngine(), port=port):
                assert len(await client.list_downloaded_models()) == 2
                assert client.api_host == f"127.0.0.1:{port}"
            await background.until(lambda: not client.system.connected)


# Authentication ------------------------------------------------------------------------------------------------------


async def test_token_opens_the_door(guarded: Server) -> None:
    async with lms.AsyncClient(guarded.api_host, TOKEN) as client:
        assert len(await client.list_downloaded_models()) == 2


@pytest.mark.parametrize("name", ["LM_API_TOKEN", "LMSTUDIO_API_TOKEN"])
async def test_token_may_come_from_the_environment(guarded: Server, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, TOKEN)
    async with lms.AsyncClient(guarded.api_host) as client:
        assert len(await client.list_downloaded_models()) == 2


async def test_argument_counts_before_the_environment(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_API_TOKEN", OTHER_TOKEN)
    monkeypatch.setenv("LMSTUDIO_API_TOKEN", "nonsense")
    async with lms.AsyncClient(guarded.api_host, api_token=TOKEN) as client:
        assert len(await client.list_downloaded_models()) == 2
    error = await failure(lms.AsyncClient(guarded.api_host))
    assert isinstance(error, lms.LMStudioAuthenticationError)
    assert "the one given is not valid" in str(error)
    assert (error.phase, error.url) == ("authentication", f"ws://{guarded.api_host}/system")
    assert "not reachable" not in str(error)


async def test_missing_token_is_an_error_that_says_what_to_do(guarded: Server) -> None:
    async with lms.AsyncClient(guarded.api_host) as client:
        for _ in range(2):
            with pytest.raises(lms.LMStudioAuthenticationError, match=r"none was given\. Pass an API token"):
                await client.list_downloaded_models()
        assert not client.system.connected


async def test_token_of_a_wrong_form_is_refused_without_repeating_it() -> None:
    with pytest.raises(lms.LMStudioValueError, match="The API token given by api_token is not valid") as error:
        lms.AsyncClient("127.0.0.1:1", "sk-lm-secret")
    assert "secret" not in str(error.value)


async def test_token_appears_nowhere(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    client = lms.AsyncClient(guarded.api_host, OTHER_TOKEN)
    error = await failure(client)
    texts = [repr(client), str(error), repr(error), repr(vars(error)), caplog.text]
    assert not [text for text in texts if "ABCDEFGHIJ0123456789" in text]


async def test_the_end_of_a_connection_can_be_waited_for(server: Server, proxy: FaultProxy) -> None:
    async with lms.AsyncClient(proxy.api_host) as client, AsyncBackground() as background:
        waiting = background.start(client.system.when_disconnected)
        assert await background.wait(lambda: proxy.wait_for_message("channelCreate"))
        proxy.reset_connections()
        await waiting.result()
        assert not client.system.connected
        again = background.start(client.system.when_disconnected)
        assert await background.wait(lambda: proxy.wait_for_message("channelCreate", 2))
        await client.system.disconnect()
        await again.result()


async def test_without_a_server_there_is_no_end_to_wait_for(proxy: FaultProxy) -> None:
    proxy.refuse_connections()
    async with lms.AsyncClient(proxy.api_host) as client:
        with pytest.raises(lms.LMStudioWebsocketError, match="not reachable"):
            await client.system.when_disconnected()


async def test_a_client_can_report_on_a_logger_of_its_own(
    server: Server, engine: ScriptedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    logger = logging.getLogger("mine")
    caplog.set_level(logging.DEBUG)
    async with lms.AsyncClient(server.api_host, logger=logger) as client:
        model = await client.llm.model("scripted-chat", verbose=True)
        await model.respond("Hi", on_first_token=fail)
    names = {record.name for record in caplog.records if record.name.partition(".")[0] in ("mine", "lmstudio")}
    assert {name for name in names if not name.startswith("lmstudio.server")} == {
        "mine.websocket",
        "mine.models",
        "mine.callbacks",
    }


async def test_a_logger_is_a_logger() -> None:
    with pytest.raises(lms.LMStudioValueError, match="logger must be"):
        lms.AsyncClient(logger="mine")  # type: ignore[arg-type]
