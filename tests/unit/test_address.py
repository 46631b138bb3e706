"""Addresses as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from lmstudio._address import API_SERVER_PORTS, NAMESPACES, ServerAddress, parse_api_host
from lmstudio.errors import LMStudioValueError

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
        ("[::1", ""),
        ("[nonsense]:1", ""),
        ("1:2:3:nonsense", ""),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(LMStudioValueError, match=f"Invalid server address .*{reason}.*Expected for example"):
        parse_api_host(text)


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
