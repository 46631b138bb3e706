"""Every spelling of an address, with a server behind it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio import _address as address_module
from lmstudio._address import NAMESPACES
from lmstudio.server import ScriptedEngine, Server
from surface.odd_servers import free_port
from surface.relays import Relay, below_path

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("quiet")

SPELLINGS = [
    "127.0.0.1:{}",
    "localhost:{}",
    "LOCALHOST:{}",
    " 127.0.0.1:{} \n",
    "0.0.0.0:{}",
    "http://0.0.0.0:{}/v1",
    "127.1:{}",
    "//127.0.0.1:{}",
    "127.0.0.1:{}/",
    "127.0.0.1:{}//",
    "127.0.0.1:{}/v1",
    "127.0.0.1:{}/api/v0/",
    "http://127.0.0.1:{}",
    "http://localhost:{}/",
    "ws://127.0.0.1:{}/",
    "http://127.0.0.1:{}/v1",
    "http://127.0.0.1:{}//v1/",
    "http://127.0.0.1:{}/api/v1/",
    "HTTP://LOCALHOST:{}",
    "Ws://LocalHost:{}/v1",
    *(f"ws://127.0.0.1:{{}}/{namespace}" for namespace in NAMESPACES),
]
WITHOUT_PORT = ["127.0.0.1", "localhost", "localhost:", "http://localhost/v1", "ws://127.0.0.1/llm", "0.0.0.0"]
IPV6 = ["[::1]:{}", "http://[::1]:{}/v1", "ws://[::1]:{}/llm", "[::]:{}", "[0:0:0:0:0:0:0:1]:{}"]
BELOW_PATH = ["127.0.0.1:{}/some/path", "http://localhost:{}/some/path/", "ws://127.0.0.1:{}/some//path/v1"]
REFUSED = [
    ("", "it is empty"),
    (" \n", "it is empty"),
    ("ftp://localhost", "unknown scheme 'ftp'"),
    ("user@localhost:1", "use api_token instead"),
    ("localhost:99999", "Port out of range"),
    ("localhost:0", "port 0"),
    (":1234", "this machine is 'localhost'"),
    ("http://http://localhost:1234", "two schemes"),
    ("http:/localhost:1234", "not followed by '://'"),
    ("a b", "a blank"),
    ("http://x?y=1", "query or fragment"),
    ("local..host", "no valid host name"),
]


async def answers(api_host: str) -> bool:
    """Whether a client given *api_host* gets an answer, and the probe, too."""
    async with lms.AsyncClient(api_host) as client:
        models = await client.list_downloaded_models()
    return len(models) == 2 and await lms.AsyncClient.is_valid_api_host(api_host)


@pytest.fixture
def server_on_ipv6() -> Iterator[Server]:
    """A server that listens on ::1 only."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Server(engine=ScriptedEngine(), host="::1") as server:
        yield server


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_address_may_be_written_in_many_ways(server: Server, spelling: str) -> None:
    assert await answers(spelling.format(server.port))


@pytest.mark.parametrize("spelling", WITHOUT_PORT)
async def test_port_may_be_left_out(server: Server, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setattr(address_module, "DEFAULT_HTTP_PORT", server.port)
    assert await answers(spelling)


@pytest.mark.parametrize("spelling", IPV6)
async def test_ipv6_may_be_written_in_many_ways(server_on_ipv6: Server, spelling: str) -> None:
    assert await answers(spelling.format(server_on_ipv6.port))


@pytest.mark.parametrize("spelling", ["::1", "::", "0::1"])
async def test_ipv6_needs_no_brackets_without_a_port(
    server_on_ipv6: Server, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setattr(address_module, "DEFAULT_HTTP_PORT", server_on_ipv6.port)
    assert await answers(spelling)


@pytest.mark.parametrize("spelling", ["[fe80::1%eth0]:{}", "http://[FE80::1%25eth0]:{}/v1"])
async def test_ipv6_may_have_a_zone(server: Server, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    asked = resolve_as(monkeypatch, "127.0.0.1")
    assert await answers(spelling.format(server.port))
    assert asked == {"fe80::1%eth0"}


@pytest.mark.parametrize("spelling", BELOW_PATH)
async def test_server_may_be_below_a_path(server: Server, spelling: str) -> None:
    with Relay(server.port, below_path) as relay:
        assert await answers(spelling.format(relay.port))


@pytest.mark.parametrize(
    ("spelling", "asked"), [("B\u00fccher.example", "xn--bcher-kva.example"), ("xn--bcher-kva.example", "")]
)
async def test_name_may_be_international(
    server: Server, monkeypatch: pytest.MonkeyPatch, spelling: str, asked: str
) -> None:
    names = resolve_as(monkeypatch, "127.0.0.1")
    assert await answers(f"http://{spelling}:{server.port}/v1")
    assert names == {asked or spelling}


async def test_every_address_of_a_name_is_tried(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_as(monkeypatch, "::1", "127.0.0.1")
    assert await answers(f"localhost:{server.port}")
    error = await failure(f"localhost:{free_port()}")
    assert (error.phase, "refused" in str(error)) == ("tcp", True)


@pytest.mark.parametrize(("spelling", "reason"), REFUSED)
async def test_what_is_no_address_is_refused_at_once(spelling: str, reason: str) -> None:
    with pytest.raises(lms.LMStudioValueError, match=f"Invalid server address.*{reason}"):
        lms.AsyncClient(spelling)
    with pytest.raises(lms.LMStudioValueError, match=f"Invalid server address.*{reason}"):
        await lms.AsyncClient.is_valid_api_host(spelling)


async def test_name_that_only_the_newer_rules_refuse_is_an_error_too() -> None:
    error = await failure("http://\u2603.example:1234")
    assert (error.phase, "the host name is not valid" in str(error)) == ("dns", True)
    assert not await lms.AsyncClient.is_valid_api_host("http://\u2603.example:1234")


async def failure(api_host: str) -> lms.LMStudioWebsocketError:
    """Why a client given *api_host* does not connect."""
    async with lms.AsyncClient(api_host) as client:
        with pytest.raises(lms.LMStudioWebsocketError) as error:
            await client.list_downloaded_models()
    return error.value


def resolve_as(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> set[str]:
    """Let every name, and every address with a zone, mean *addresses*. Returns what is asked for."""
    real, names = socket.getaddrinfo, set()

    def resolve(host: object, *arguments: object, **options: object) -> object:
        text = host.decode() if isinstance(host, bytes) else str(host)
        if "%" in text or not (text[0].isdigit() or ":" in text):
            names.add(text)
            return [entry for address in addresses for entry in real(address, *arguments, **options)]  # type: ignore[arg-type]
        return real(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names
