"""Who can reach the server, which web pages may use it, and what becomes of API tokens."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS
from transport_stub import OTHER_TOKEN, TOKEN, StubCore, auth_packet, call, client, receive
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from lmstudio._wire import AuthPacket
from lmstudio.errors import LMStudioValueError
from lmstudio.server import Server, ServerStartError
from lmstudio.server.app import AppSettings
from lmstudio.server.auth import ApiTokens, AuthenticationRefusedError, Authenticator
from lmstudio.server.origins import OriginPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = TOKEN.partition(":")[2]

# Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "127.1", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "localhost"]
)
def test_loopback_needs_no_token(host: str) -> None:
    assert Server(host=host).is_local


OPEN_HOSTS = ["0.0.0.0", "0", "::", "::0", "::ffff:0.0.0.0", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"]


class UnusableSocket(socket.socket):
    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a socket was opened")


@pytest.mark.parametrize("host", OPEN_HOSTS)
def test_address_that_others_can_reach_is_refused_without_a_token(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(socket, "socket", UnusableSocket)
    # Before anything else: not even the models are looked for.
    server = Server([tmp_path / "absent.gguf"], host=host)
    with pytest.raises(ServerStartError) as refused:
        server.start()
    assert not server.is_local
    text = str(refused.value)
    assert text.startswith(f"Everybody who can reach {host} could use this server, because it has no API token;")
    assert "insecure=True" in text


def resolving_to(*addresses: str) -> Callable[..., list[Any]]:
    def look_up(_host: str, port: int, **_options: Any) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return look_up


@pytest.mark.parametrize("addresses", [["192.0.2.1"], ["::1", "192.0.2.1"], ["2001:db8::1"]])
def test_name_is_judged_by_the_address_that_would_be_bound(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to(*addresses))
    monkeypatch.setattr(socket, "socket", UnusableSocket)
    # Also one that is called "localhost".
    with pytest.raises(ServerStartError, match="Everybody who can reach localhost"):
        Server(host="localhost").start()


def test_empty_host_is_no_address() -> None:
    with pytest.raises(ServerStartError, match="The host name '' is not known"):
        Server.for_core(StubCore(), host="", insecure=True).start()


@pytest.mark.parametrize("options", [{"insecure": True}, {"api_tokens": [TOKEN]}], ids=["insecure", "token"])
def test_server_is_open_to_others_with_a_token_or_if_that_is_wanted(options: dict[str, Any]) -> None:
    with Server.for_core(StubCore(), host="0.0.0.0", **options) as server:
        assert not server.is_local
        assert httpx.get(f"http://{server.api_host}/lmstudio-greeting", trust_env=False).json() == {"lmstudio": True}


# Web pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "HTTP://LocalHost:3000",
        "https://localhost:8443",
        "http://127.0.0.1:5173",
        "http://127.0.0.2",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]",
        "tauri://localhost",
    ],
)
def test_page_of_this_machine_is_let_in(origin: str) -> None:
    assert OriginPolicy().allows([origin])


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "localhost",
        "http://",
        "http://localhost.evil.example",
        "http://evil.example.localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://evil.example@localhost",
        "http://evil.example#@localhost",
        "http://evil.example/@localhost",
        "http://localhost\\@evil.example",
        "http://evil.example\\@localhost",
        "http://localhost:80@evil.example",
        "http://localhost:http",
        "http://localhost/",
        "http://localhost/page",
        "http://localhost, http://evil.example",
        "http://localhost http://evil.example",
        "http://localhost\t",
        " http://localhost",
        "http://[::1",
        "http://[localhost]",
        "http://::1",
        "http://0.0.0.0",
        "http://192.168.0.1",
        "http://\uff4cocalhost",
        "http://2130706433",
    ],
)
def test_page_from_elsewhere_is_not_let_in(origin: str) -> None:
    assert not OriginPolicy().allows([origin])
    assert not OriginPolicy(["https://app.example"]).allows([origin])


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("https://App.Example/", "HTTPS://app.EXAMPLE"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example", "http://app.example:80"),
        ("http://app.example:8080", "http://app.example:8080"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("*", "null"),
    ],
)
def test_allowed_page_is_let_in_however_it_is_spelt(allowed: str, origin: str) -> None:
    assert OriginPolicy([allowed]).allows([origin])


@pytest.mark.parametrize(
    "origin",
    ["http://app.example", "https://app.example:8443", "https://sub.app.example", "https://app.example.evil.example"],
)
def test_page_that_is_nearly_allowed_is_not_let_in(origin: str) -> None:
    assert not OriginPolicy(["https://app.example"]).allows([origin])


def test_several_origins_are_no_browsers() -> None:
    assert not OriginPolicy().allows(["http://localhost", "http://evil.example"])
    assert not OriginPolicy().allows(["http://localhost", "http://localhost"])
    headers = [("Origin", "http://localhost"), ("Origin", "http://evil.example")]
    with (
        Server.for_core(StubCore()) as server,
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://{server.api_host}/llm", proxy=None, additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["null", "app.example", "https://app.example/page", "https://*.example", ""])
def test_setting_that_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(LMStudioValueError, match="is not the origin of web pages"):
        Server(allowed_origins=[origin])


def test_one_text_is_no_list_of_origins() -> None:
    with pytest.raises(LMStudioValueError, match="must be a list"):
        Server(allowed_origins="https://app.example")


def test_rebound_page_gets_no_websocket_although_its_origin_is_its_host() -> None:
    with Server.for_core(StubCore()) as server:
        host = f"evil.example:{server.port}"
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(f"ws://{host}/llm", sock=_connected(server), proxy=None, origin=Origin(f"http://{host}")),
        ):
            pass
    assert refused.value.response.status_code == 403


def _connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)


@pytest.mark.parametrize("path", ["/lmstudio-greeting", "/lms-status", "/llm"])
def test_no_page_from_elsewhere_gets_permission_to_read_the_plain_routes(path: str) -> None:
    with Server.for_core(StubCore()) as server:
        headers = {"Origin": "https://evil.example"}
        response = httpx.get(f"http://{server.api_host}{path}", headers=headers, trust_env=False)
    assert not [name for name in response.headers if name.startswith("access-control")]


# API tokens ----------------------------------------------------------------------------------------------------------


def test_no_object_of_the_server_shows_a_token() -> None:
    server = Server.for_core(StubCore(), api_tokens=[TOKEN])
    tokens = ApiTokens([TOKEN])
    for shown in (server, vars(server), tokens, vars(tokens), AppSettings(tokens), vars(Authenticator(tokens))):
        assert SECRET not in repr(shown)
    assert repr(tokens) == "<1 API tokens>"


def test_refusal_does_not_tell_whether_the_identifier_is_known() -> None:
    authenticator = Authenticator(ApiTokens([TOKEN]))
    reasons = set()
    for identifier in ("abcdefgh", "12345678"):
        for passkey in ("", "wrong", "x" * 20, OTHER_TOKEN):
            with pytest.raises(AuthenticationRefusedError) as refused:
                authenticator.admit(AuthPacket(identifier, passkey))
            reasons.add(str(refused.value))
    assert reasons == {"This server requires an API token, and the one given is not valid"}


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([TOKEN, TOKEN[:-1] + "x"], "Two API tokens begin with 'sk-lm-abcdefgh:'"),
        (TOKEN, "must be a list of API tokens"),
        ([TOKEN, SECRET], "An API token has the form"),
    ],
    ids=["same identifier", "text", "form"],
)
def test_tokens_that_cannot_work_are_refused_without_repeating_them(tokens: Any, words: str) -> None:
    with pytest.raises(LMStudioValueError, match=words) as refused:
        Server(api_tokens=tokens)
    assert SECRET not in str(refused.value)


def test_same_token_twice_is_one() -> None:
    assert len(ApiTokens([TOKEN, f" {TOKEN}\n"])) == 1


def test_credentials_are_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        Server.for_core(StubCore(), api_tokens=[f"sk-lm-ijklmnop:{'z' * 20}"]) as server,
    ):
        for packet in (auth_packet("abcdefgh", SECRET), auth_packet("ijklmnop", SECRET), auth_packet(passkey=SECRET)):
            with connect(f"ws://{server.api_host}/llm", proxy=None) as websocket:
                websocket.send(packet[:-1])  # ignored, because it is no packet
                websocket.send(packet)
                assert receive(websocket)["success"] is False
                with pytest.raises(ConnectionClosed):
                    websocket.recv(PATIENCE_SECONDS)
    with (
        caplog.at_level(logging.DEBUG),
        Server.for_core(StubCore()) as server,
        client(server.api_host, packet=auth_packet(passkey=SECRET)) as websocket,
    ):
        websocket.send(auth_packet(passkey=SECRET))  # a second time, when it is no message
        assert call(websocket, "countTokens", {"inputString": "abc"}) == 3
    # The client of this test writes all that it sends.
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets")]
    assert any(line.startswith("Refused a connection") for line in logged)
    assert any(line.startswith("Ignored a message") for line in logged)
    assert not [line for line in logged if SECRET in line]


def test_identifier_cannot_forge_lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    identifier = "me\n2026-01-01 INFO all is well\x1b[2J"
    with (
        caplog.at_level(logging.INFO, "lmstudio.server"),
        Server.for_core(StubCore()) as server,
        client(server.api_host, packet=auth_packet(identifier, "first")),
        connect(f"ws://{server.api_host}/llm", proxy=None) as websocket,
    ):
        websocket.send(auth_packet(identifier, "second"))
        assert receive(websocket)["success"] is False
    (message,) = [record.getMessage() for record in caplog.records if "Refused" in record.getMessage()]
    assert message.isprintable()
