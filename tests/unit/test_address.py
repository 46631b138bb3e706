"""Addresses as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from lmstudio._address import (
    API_SERVER_PORTS,
    NAMESPACES,
    ServerAddress,
    parse_api_host,
)
from lmstudio.errors import LMStudioValueError
from lmstudio.settings import settings_for

ADDRESSES: list[tuple[str, ServerAddress]] = [
    ("localhost", ServerAddress("localhost", 1234)),
    ("localhost:1234", ServerAddress("localhost", 1234)),
    ("LocalHost:1234", ServerAddress("localhost", 1234)),
    ("127.0.0.1:41343", ServerAddress("127.0.0.1", 41343)),
    (" localhost:1234 \n", ServerAddress("localhost", 1234)),
    ("localhost:", ServerAddress("localhost", 1234)),
    ("localhost:1234/", ServerAddress("localhost", 1234)),
    ("host.docker.internal:1234", ServerAddress("host.docker.internal", 1234)),
    ("my_host-1.local", ServerAddress("my_host-1.local", 1234)),
    ("http://localhost:1234", ServerAddress("localhost", 1234)),
    ("HTTP://localhost:1234", ServerAddress("localhost", 1234)),
    ("ws://localhost", ServerAddress("localhost", 1234)),
    ("http://localhost:1234/v1", ServerAddress("localhost", 1234)),
    ("http://localhost:1234/v1/", ServerAddress("localhost", 1234)),
    ("http://localhost:1234/api/v0", ServerAddress("localhost", 1234)),
    ("http://localhost:1234/api/v1/", ServerAddress("localhost", 1234)),
    ("localhost:1234/v1", ServerAddress("localhost", 1234)),
    ("ws://localhost:1234/llm", ServerAddress("localhost", 1234)),
    ("ws://localhost:1234/embedding/", ServerAddress("localhost", 1234)),
    ("wss://example.com", ServerAddress("example.com", 443, secure=True)),
    ("https://example.com/", ServerAddress("example.com", 443, secure=True)),
    ("https://example.com:8443/v1", ServerAddress("example.com", 8443, secure=True)),
    ("https://example.com/lm/studio", ServerAddress("example.com", 443, secure=True, prefix="/lm/studio")),
    ("https://example.com/lm/studio/v1", ServerAddress("example.com", 443, secure=True, prefix="/lm/studio")),
    ("http://example.com/proxy//", ServerAddress("example.com", 1234, prefix="/proxy")),
    ("example.com/my-llm", ServerAddress("example.com", 1234, prefix="/my-llm")),
    ("::1", ServerAddress("::1", 1234)),
    ("[::1]", ServerAddress("::1", 1234)),
    ("[::1]:5000", ServerAddress("::1", 5000)),
    ("http://[::1]:5000/v1", ServerAddress("::1", 5000)),
    ("wss://[2001:db8::1]", ServerAddress("2001:db8::1", 443, secure=True)),
    ("fe80::1%eth0", ServerAddress("fe80::1%eth0", 1234)),
    ("http://[fe80::1%25Eth0]:5000/v1", ServerAddress("fe80::1%Eth0", 5000)),
    ("[FE80::A]", ServerAddress("fe80::a", 1234)),
    ("::ffff:127.0.0.1", ServerAddress("::ffff:127.0.0.1", 1234)),
    ("0.0.0.0:1234", ServerAddress("127.0.0.1", 1234)),
    ("http://0.0.0.0", ServerAddress("127.0.0.1", 1234)),
    ("::", ServerAddress("::1", 1234)),
    ("[::]:5000", ServerAddress("::1", 5000)),
    ("//localhost:5000", ServerAddress("localhost", 5000)),
    ("//localhost", ServerAddress("localhost", 1234)),
    ("http://localhost:1234//v1", ServerAddress("localhost", 1234)),
    ("WSS://Example.COM:8443/LM/v1", ServerAddress("example.com", 8443, secure=True, prefix="/LM")),
    ("example.com.:1234", ServerAddress("example.com.", 1234)),
    ("M\u00fcnchen.example:5000/v1", ServerAddress("m\u00fcnchen.example", 5000)),
    ("http://xn--mnchen-3ya.example", ServerAddress("xn--mnchen-3ya.example", 1234)),
    ("localhost:65535", ServerAddress("localhost", 65535)),
    ("http", ServerAddress("http", 1234)),
    ("http:5000", ServerAddress("http", 5000)),
]


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_an_address_may_be_written_in_many_ways(text: str, address: ServerAddress) -> None:
    assert parse_api_host(text) == address


@pytest.mark.parametrize(("text", "address"), ADDRESSES)
def test_the_short_form_of_an_address_means_the_same(text: str, address: ServerAddress) -> None:
    assert parse_api_host(address.api_host) == address


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_url_of_a_namespace_may_be_given(namespace: str) -> None:
    assert parse_api_host(f"ws://localhost:1234/{namespace}") == ServerAddress("localhost", 1234)
    assert parse_api_host(f"localhost:1234/prefix/{namespace}").prefix == "/prefix"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("ftp://localhost", "unknown scheme 'ftp'"),
        ("localhost:99999", "[Pp]ort"),
        ("localhost:port", "[Pp]ort"),
        ("localhost:0", "port 0"),
        ("localhost:-1", "[Pp]ort"),
        ("http://", "no valid host"),
        ("://localhost", "no valid host"),
        (":1234", "no valid host"),
        ("/v1", "no valid host"),
        ("local host:1234", "no valid host"),
        ("localhost:1234?x=1", "query or fragment"),
        ("localhost:1234#top", "query or fragment"),
        ("localhost:65536", "[Pp]ort"),
        ("localhost:0x4d2", "[Pp]ort"),
        ("http://localhost:\uff11\uff12", "[Pp]ort"),
        (":1234", "this machine is 'localhost'"),
        ("http:///v1", "no valid host"),
        ("//", "no valid host"),
        ("http://http://localhost:1234", "two schemes"),
        ("ws://http://localhost:1234/v1", "two schemes"),
        ("https//localhost:1234", "two schemes"),
        ("http:/localhost:1234", "not followed by '://'"),
        ("http:localhost:1234", "not followed by '://'"),
        ("HTTPS:/localhost", "not followed by '://'"),
        ("http:\\\\localhost", "not followed by '://'"),
        ("local\thost", "no valid host"),
        ("local\nhost", "no valid host"),
        ("local\u200bhost", "no valid host"),
        ("localhost:12 34", "a blank"),
        ("localhost,other:1234", "no valid host"),
        ("local..host", "no valid host"),
        ("-localhost", "no valid host"),
        (f"{'a' * 64}.example", "no valid host"),
        ("a." * 127 + "example", "no valid host"),
        (f"{chr(252) * 64}.example", "no valid host"),
        ("http://::1:1234", "[Pp]ort"),
        ("[:::]:1", ""),
        ("[::1", ""),
        ("[nonsense]:1", ""),
        ("1:2:3:nonsense", ""),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(LMStudioValueError, match=f"Invalid server address .*{reason}.*Expected for example"):
        parse_api_host(text)


ADDRESS_VARIABLE = "LM_STUDIO_BASE_URL"


def chosen_api_host(api_host: str | None) -> str | None:
    """As for a client with this argument."""
    return settings_for(None, api_host=api_host).api_host


def test_the_environment_may_hold_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)
    assert chosen_api_host(None) is None
    monkeypatch.setenv(ADDRESS_VARIABLE, "  ")
    assert chosen_api_host(None) is None
    monkeypatch.setenv(ADDRESS_VARIABLE, " http://example.com:5000/v1 ")
    assert chosen_api_host(None) == "http://example.com:5000/v1"
    assert chosen_api_host("other:1") == "other:1"


def test_an_error_names_the_variable_that_holds_a_bad_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, "localhost:99999")
    with pytest.raises(LMStudioValueError, match="variable LM_STUDIO_BASE_URL: Invalid server address 'localhost:99"):
        chosen_api_host(None)
    monkeypatch.setenv(ADDRESS_VARIABLE, "http://me:hush@localhost")
    with pytest.raises(LMStudioValueError, match=r"variable LM_STUDIO_BASE_URL.*use api_token instead") as caught:
        chosen_api_host(None)
    assert "hush" not in str(caught.value)
    with pytest.raises(LMStudioValueError, match=r"^Invalid server address ''"):
        chosen_api_host("")


@pytest.mark.parametrize("thing", [None, 1234, b"localhost", ["localhost"], ("localhost", 1234)])
def test_an_address_must_be_text(thing: Any) -> None:
    with pytest.raises(LMStudioValueError, match="must be a string"):
        parse_api_host(thing)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hush@localhost:1234",
        "user:hush@localhost",
        "user:hush@localhost:port",
        "ftp://user:hush@localhost",
        "http://user:hush@localhost?x=1",
        "http://user:hush@[::1",
        "http://user:hu/hush@localhost",
        "hush@localhost",
        "a:b:hush@c",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(LMStudioValueError, match="use api_token instead") as caught:
        parse_api_host(text)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("address", "http", "websocket", "short"),
    [
        (ServerAddress("h", 1), "http://h:1/v1", "ws://h:1/llm", "h:1"),
        (ServerAddress("::1", 1), "http://[::1]:1/v1", "ws://[::1]:1/llm", "[::1]:1"),
        (ServerAddress("h", 443, secure=True), "https://h:443/v1", "wss://h:443/llm", "https://h:443"),
        (ServerAddress("h", 1, prefix="/p"), "http://h:1/p/v1", "ws://h:1/p/llm", "h:1/p"),
        (ServerAddress("h", 1, True, "/p"), "https://h:1/p/v1", "wss://h:1/p/llm", "https://h:1/p"),
    ],
)
def test_an_address_makes_urls(address: ServerAddress, http: str, websocket: str, short: str) -> None:
    assert (address.http_url("v1"), address.websocket_url("llm"), address.api_host) == (http, websocket, short)


def test_the_ports_of_the_local_server_are_those_of_the_protocol() -> None:
    assert API_SERVER_PORTS == (41343, 52993, 16141, 39414, 22931)
