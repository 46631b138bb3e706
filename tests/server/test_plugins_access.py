"""The credentials of plugins, on real sockets."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from plugin_stage import manifest
from transport_stub import TOKEN, auth_packet, call, client, receive, token_packet
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lmstudio.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server:
        yield server


@contextmanager
def registered(server: Server) -> Iterator[tuple[ClientConnection, dict[str, Any]]]:
    """The connection that registered a plugin, and what it got for it."""
    with client(server.api_host, "plugins", packet=token_packet(TOKEN)) as developer:
        create = {"type": "channelCreate", "endpoint": "registerDevelopmentPlugin", "channelId": 1}
        developer.send(json.dumps({**create, "creationParameter": manifest()}))
        yield developer, receive(developer)["message"]


def packet_of(ready: dict[str, Any], **members: Any) -> str:
    return auth_packet(ready["clientIdentifier"], **{"passkey": ready["clientPasskey"], **members})


def refusal(server: Server, packet: str) -> str:
    with connect(f"ws://{server.api_host}/llm", proxy=None) as websocket:
        websocket.send(packet)
        answer = receive(websocket)
        assert not answer["success"]
        return str(answer["error"])


def test_plugin_may_use_every_namespace_without_a_token(server: Server) -> None:
    with registered(server) as (_, ready), client(server.api_host, "llm", packet=packet_of(ready)) as plugin:
        assert call(plugin, "listLoaded") == []


def test_plugin_is_not_trusted_as_the_holder_of_a_token_is(server: Server) -> None:
    with registered(server) as (_, ready), client(server.api_host, "system", packet=packet_of(ready)) as plugin:
        plugin.send(json.dumps({"type": "rpcCall", "endpoint": "requestShutdown", "callId": 1}))
        assert receive(plugin)["type"] == "rpcError"


def test_address_is_the_one_that_was_used(server: Server) -> None:
    with registered(server) as (_, ready):
        assert ready["baseUrl"] == f"ws://{server.api_host}"


def test_wrong_passkey_is_refused(server: Server) -> None:
    with registered(server) as (_, ready):
        assert "not the credentials" in refusal(server, packet_of(ready, passkey="guessed"))


@pytest.mark.parametrize("tokens", [[TOKEN], []], ids=["with-tokens", "open"])
def test_nobody_can_take_the_identifier_of_a_plugin(tokens: list[str]) -> None:
    with Server(engine="scripted", api_tokens=tokens) as server:
        assert "those of registered plugins" in refusal(server, auth_packet("plugin:me/helper:0", "mine"))


def test_end_of_the_registration_ends_the_connections_and_the_credentials(server: Server) -> None:
    with registered(server) as (developer, ready), client(server.api_host, "llm", packet=packet_of(ready)) as plugin:
        developer.send(json.dumps({"type": "channelSend", "channelId": 1, "message": {"type": "end"}}))
        assert receive(developer)["type"] == "channelClose"
        with pytest.raises(ConnectionClosed):
            plugin.recv(PATIENCE_SECONDS)
        assert "not the credentials" in refusal(server, packet_of(ready))


def test_registration_ends_when_its_client_goes_without_a_word(server: Server) -> None:
    with registered(server) as (developer, ready), client(server.api_host, "llm", packet=packet_of(ready)) as plugin:
        developer.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ConnectionClosed):
            plugin.recv(PATIENCE_SECONDS)
