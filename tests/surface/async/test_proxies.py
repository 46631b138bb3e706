"""Proxies: never because of the environment, always when asked for."""

from __future__ import annotations

import base64
import logging
import re
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from surface.odd_servers import free_port, mute_server, tcp_server
from surface.relays import Relay, http_proxy, locked_http_proxy, refusing_socks_proxy, socks_proxy

if TYPE_CHECKING:
    from lmstudio.server import Server

pytestmark = pytest.mark.usefixtures("quiet")

VALUES = {
    "http": "http://127.0.0.1:1",
    "socks5": "socks5://127.0.0.1:1",
    "socks5h": "socks5h://me:hush@nowhere.invalid:1",
    "garbage": "::garbage//[",
}


@pytest.mark.parametrize("value", [None, *VALUES])
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY", "NO_PROXY"])
async def test_variables_for_proxies_do_not_matter(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None
) -> None:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        for spelling in (variable, variable.lower()):
            monkeypatch.delenv(spelling, raising=False)
    if value is not None:
        monkeypatch.setenv(name, VALUES[value])
        monkeypatch.setenv(name.lower(), VALUES[value])
    for api_host in (server.api_host, f"localhost:{server.port}"):
        async with lms.AsyncClient(api_host) as client:
            assert len(await client.list_downloaded_models()) == 2
        assert await lms.AsyncClient.is_valid_api_host(api_host)


async def test_all_variables_at_once_do_not_matter(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.setenv(name, "socks9://nowhere.invalid:1")
    async with lms.AsyncClient(server.api_host) as client:
        assert len(await client.list_downloaded_models()) == 2


async def test_http_proxy_is_used_when_asked_for(server: Server) -> None:
    with Relay(server.port, http_proxy) as proxy:
        async with lms.AsyncClient("lm.invalid:5000", proxy=f"http://127.0.0.1:{proxy.port}") as client:
            assert len(await client.list_downloaded_models()) == 2
            model = await client.llm.model("scripted-chat")
            assert (await model.respond("Hi")).content
    assert {head.splitlines()[0] for head in proxy.seen} == {"CONNECT lm.invalid:5000 HTTP/1.1"}
    assert not [head for head in proxy.seen if "authorization" in head.lower()]


async def test_loopback_goes_through_a_proxy_too_when_asked_for(server: Server) -> None:
    with Relay(server.port, http_proxy) as proxy:
        async with lms.AsyncClient("[::1]:7", proxy=f"http://127.0.0.1:{proxy.port}") as client:
            assert len(await client.list_downloaded_models()) == 2
    assert proxy.seen[0].startswith("CONNECT [::1]:7 HTTP/1.1\r\nHost: [::1]:7\r\n")


async def test_http_proxy_is_told_user_name_and_password(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Relay(server.port, http_proxy) as proxy:
        client = lms.AsyncClient("lm.invalid", proxy=f"http://me:hu%3Ash@127.0.0.1:{proxy.port}")
        async with client:
            assert len(await client.list_downloaded_models()) == 2
    login = base64.b64encode(b"me:hu:sh").decode()
    assert f"Proxy-Authorization: Basic {login}\r\n" in proxy.seen[0]
    texts = [caplog.text, repr(client), repr(client._state.settings)]
    assert not [text for text in texts if "hu:sh" in text or "hu%3Ash" in text or login in text]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_socks_proxy_is_used_when_asked_for(server: Server, scheme: str) -> None:
    with Relay(server.port, socks_proxy) as proxy:
        for api_host in ("lm.invalid:5000", "127.0.0.1:7", "[::1]:7"):
            async with lms.AsyncClient(api_host, proxy=f"{scheme}://127.0.0.1:{proxy.port}") as client:
                assert len(await client.list_downloaded_models()) == 2
    assert proxy.seen == ["lm.invalid 5000", "127.0.0.1 7", "::1 7"]


async def test_socks_proxy_is_told_user_name_and_password(server: Server) -> None:
    with Relay(server.port, socks_proxy) as proxy:
        async with lms.AsyncClient("lm.invalid", proxy=f"socks5://me:hush@127.0.0.1:{proxy.port}") as client:
            assert len(await client.list_downloaded_models()) == 2
        assert proxy.seen == ["me:hush", "lm.invalid 1234"]
        error = await failure(f"socks5://me:secret@127.0.0.1:{proxy.port}")
    assert "it does not accept the user name and password" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("scheme", "answer", "reason"),
    [
        ("http", b"", "it ended the connection"),
        ("http", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "it does not answer as an HTTP proxy does"),
        ("http", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "it answered 'HTTP/1.1 502 Bad Gateway'"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nHello", "it says something of its own"),
        ("socks5", b"", "it ended the connection"),
        ("socks5", b"\x05\xff", "it wants a user name and password"),
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not answer as a SOCKS 5 proxy does"),
    ],
)
async def test_what_is_no_proxy_is_an_error(scheme: str, answer: bytes, reason: str) -> None:
    with tcp_server(answer) as host:
        error = await failure(f"{scheme}://{host}")
    assert f"the proxy {scheme}://{host} did not connect: {reason}" in str(error)


async def test_proxy_that_wants_a_login_is_an_error_without_the_password() -> None:
    with Relay(1, locked_http_proxy) as proxy:
        error = await failure(f"http://me:hush@127.0.0.1:{proxy.port}")
    assert "it answered 'HTTP/1.1 407 Proxy Authentication Required', so check its user name" in str(error)
    assert "hush" not in f"{error!r}{vars(error)}{error.__cause__!r}"


async def test_proxy_that_cannot_reach_the_server_is_an_error() -> None:
    with Relay(1, refusing_socks_proxy) as proxy:
        error = await failure(f"socks5://127.0.0.1:{proxy.port}")
    assert "did not connect: the connection was refused" in str(error)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_proxy_that_is_not_there_is_an_error(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    error = await failure(url)
    assert re.search(f"the proxy {url}: .*refused", str(error))
    assert "nothing is connected to directly" in str(error)
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_proxy_that_never_answers_is_given_up() -> None:
    with mute_server() as mute:
        error = await failure(f"http://{mute.api_host}", lms.Timeout(connect=0.1))
    assert isinstance(error, lms.LMStudioConnectTimeoutError)
    assert "no answer within 0.1 seconds (timeout 'connect')" in str(error)


async def failure(proxy: str, timeout: lms.TimeoutInput = None) -> lms.LMStudioWebsocketError:
    """Why a client does not connect through *proxy*."""
    async with lms.AsyncClient("lm.invalid:5000", proxy=proxy, timeout=timeout) as client:
        with pytest.raises(lms.LMStudioWebsocketError) as error:
            await client.list_downloaded_models()
    assert (error.value.phase, error.value.url) == ("proxy", "ws://lm.invalid:5000/system")
    assert error.value.__cause__ is not None or timeout is not None
    return error.value


@pytest.mark.parametrize(
    "proxy",
    ["", "localhost:3128", "socks4://localhost", "ftp://localhost", "http://", "http://a b", "http://h:99999", 3128],
)
async def test_what_is_no_url_of_a_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match="Invalid proxy"):
        lms.AsyncClient("localhost", proxy=proxy)


@pytest.mark.parametrize("url", ["socks9://me:hush@h", "http://me:hush@h/path", "http://me:hush@[h", "me:hush@h:1"])
async def test_password_in_a_bad_url_of_a_proxy_is_not_repeated(url: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match="Invalid proxy") as error:
        lms.AsyncClient("localhost", proxy=url)
    assert "hush" not in str(error.value)


async def test_proxy_needs_an_address() -> None:
    with pytest.raises(lms.LMStudioValueError, match="proxy= needs the address of the server"):
        lms.AsyncClient(proxy="http://localhost:3128")
