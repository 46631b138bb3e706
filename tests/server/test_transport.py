"""The embedded server on real sockets: HTTP routes, authentication, and clients that misbehave."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING

import httpx
import pytest
from patience import PATIENCE_SECONDS
from transport_stub import (
    OTHER_TOKEN,
    TOKEN,
    RawClient,
    StubCore,
    auth_packet,
    call,
    client,
    create_message,
    receive,
    token_packet,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from lmstudio._address import NAMESPACES
from lmstudio._auth import parse_api_token
from lmstudio._version import __version__
from lmstudio._wire import AuthPacket
from lmstudio.errors import LMStudioValueError
from lmstudio.server import Server
from lmstudio.server.auth import AuthenticationRefusedError, Authenticator
from lmstudio.server.connection import ConnectionLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024


@pytest.fixture
def core() -> StubCore:
    return StubCore()


@pytest.fixture
def server(core: StubCore) -> Iterator[Server]:
    with Server.for_core(core) as server:
        yield server


def get(server: Server, path: str) -> httpx.Response:
    return httpx.get(f"http://{server.api_host}{path}", trust_env=False)


# HTTP ----------------------------------------------------------------------------------------------------------------


def test_greeting_tells_clients_that_this_is_such_a_server(server: Server) -> None:
    assert get(server, "/lmstudio-greeting").json() == {"lmstudio": True}


def test_status_names_package_and_version(server: Server) -> None:
    assert get(server, "/lms-status").json() == {"package": "lmstudio-python", "version": __version__}


@pytest.mark.parametrize("path", ["/nothing", "/lmstudio-greeting/", "/llm/", "/v1/nothing"])
def test_other_paths_are_not_found_in_json(server: Server, path: str) -> None:
    response = get(server, path)
    assert response.status_code == 404
    assert response.json()["error"]["message"] == f"This server has nothing at {path}."


def test_wrong_method_is_refused_in_json(server: Server) -> None:
    response = httpx.post(f"http://{server.api_host}/lms-status", trust_env=False)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert response.json()["error"]["message"] == "/lms-status does not know the method POST."


def test_namespace_without_websocket_says_what_it_is(server: Server) -> None:
    response = get(server, "/llm")
    assert response.status_code == 426
    assert "WebSocket" in response.json()["error"]


# Connecting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_namespace_accepts_connections(server: Server, namespace: str) -> None:
    with client(server.api_host, namespace) as websocket:
        websocket.send('{"type":"keepAlive"}')
        assert receive(websocket) == {"type": "keepAliveAck"}


@pytest.mark.parametrize("path", ["llm/", "LLM", "nothing", "llm/more"])
def test_websocket_at_another_path_is_not_found(server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{server.api_host}/{path}", proxy=None):
        pass
    assert refused.value.response.status_code == 404
    assert json.loads(refused.value.response.body or b"")["error"] == f"This server has nothing at /{path}."


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://127.0.0.1.evil.example"])
def test_web_page_from_elsewhere_is_refused(server: Server, origin: str) -> None:
    headers = {"Origin": origin}
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://{server.api_host}/llm", proxy=None, additional_headers=headers),
    ):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080"])
def test_web_page_of_this_machine_may_connect(server: Server, origin: str) -> None:
    with client(server.api_host, additional_headers={"Origin": origin}) as websocket:
        assert call(websocket, "countTokens", {"inputString": "abc"}) == 3


@pytest.mark.parametrize("allowed", ["https://app.example", "*"])
def test_allowed_web_page_may_connect(core: StubCore, allowed: str) -> None:
    with (
        Server.for_core(core, allowed_origins=[allowed]) as server,
        client(server.api_host, additional_headers={"Origin": "https://app.example"}) as websocket,
    ):
        assert call(websocket, "countTokens", {"inputString": "abc"}) == 3


def test_fifty_connections_are_served(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        websockets = [stack.enter_context(client(server.api_host)) for _ in range(50)]
        for number, websocket in enumerate(websockets):
            parameter = {"inputString": "x" * number}
            websocket.send(
                json.dumps({"type": "rpcCall", "endpoint": "countTokens", "callId": 1, "parameter": parameter})
            )
        assert [receive(websocket)["result"] for websocket in websockets] == list(range(50))


def test_ping_is_answered(server: Server) -> None:
    with client(server.api_host) as websocket:
        assert websocket.ping().wait(PATIENCE_SECONDS)


# Authentication ------------------------------------------------------------------------------------------------------


def refusal(server: Server, packet: str) -> str:
    """What the server says before it closes the connection."""
    with connect(f"ws://{server.api_host}/llm", proxy=None) as websocket:
        websocket.send(packet)
        answer = receive(websocket)
        assert answer.pop("success") is False
        with pytest.raises(ConnectionClosed):
            websocket.recv(PATIENCE_SECONDS)
        reason: str = answer["error"]
        return reason


def test_frames_before_the_packet_that_are_none_are_ignored(server: Server) -> None:
    with connect(f"ws://{server.api_host}/llm", proxy=None) as websocket:
        for garbage in (
            "",
            "garbage",
            "[]",
            "{}",
            '{"clientIdentifier":5,"clientPasskey":"x"}',
            b"\x00binary",
            "[" * 9999,
        ):
            websocket.send(garbage)
        websocket.send(auth_packet())
        assert receive(websocket) == {"success": True}


def test_client_that_says_nothing_is_told_and_disconnected(core: StubCore) -> None:
    limits = ConnectionLimits(authentication_seconds=0.05)
    with Server.for_core(core, limits=limits) as server:
        assert refusal(server, "not a packet") == "Authentication timed out"


def test_client_may_leave_without_authentication(server: Server) -> None:
    with connect(f"ws://{server.api_host}/llm", proxy=None):
        pass
    with client(server.api_host) as websocket:
        assert call(websocket, "countTokens", {"inputString": "a"}) == 1


def test_identifier_in_use_needs_the_same_passkey(server: Server) -> None:
    with client(server.api_host, packet=auth_packet("me", "first")):
        reason = refusal(server, auth_packet("me", "second"))
        assert reason == 'Failed to validate client: Invalid client passkey for client "me"'
        with client(server.api_host, "system", packet=auth_packet("me", "first")):
            pass


def test_identifier_is_free_again_after_its_last_connection() -> None:
    authenticator = Authenticator()
    first, second = (authenticator.admit(AuthPacket("me", "old")) for _ in range(2))
    authenticator.release(first)
    with pytest.raises(AuthenticationRefusedError):
        authenticator.admit(AuthPacket("me", "new"))
    authenticator.release(second)
    assert authenticator.admit(AuthPacket("me", "new")).client_identifier == "me"


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (auth_packet("x" * 257), "at most 256 characters"),
        (auth_packet(passkey="x" * 257), "at most 256 characters"),
        (auth_packet(authVersion=2), "authVersion 1 only"),
    ],
    ids=["identifier", "passkey", "version"],
)
def test_packet_out_of_bounds_is_refused_with_the_reason(server: Server, packet: str, words: str) -> None:
    assert words in refusal(server, packet)


def test_longest_credentials_are_accepted(server: Server) -> None:
    with client(server.api_host, packet=auth_packet("x" * 256, "y" * 256)):
        pass


@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (auth_packet(), "requires an API token, and none was given"),
        (token_packet(OTHER_TOKEN), "the one given is not valid"),
        (auth_packet("abcdefgh", "wrong"), "the one given is not valid"),
        (auth_packet("abcdefgh", ""), "the one given is not valid"),
        (auth_packet("", ""), "the one given is not valid"),
    ],
    ids=["guest", "other token", "wrong passkey", "no passkey", "nothing"],
)
def test_server_with_tokens_refuses_everybody_else(core: StubCore, packet: str, words: str) -> None:
    with Server.for_core(core, api_tokens=[TOKEN]) as server:
        assert words in refusal(server, packet)


def test_holder_of_a_token_is_privileged_and_a_guest_is_not(core: StubCore) -> None:
    with (
        Server.for_core(core, api_tokens=[OTHER_TOKEN, TOKEN]) as server,
        client(server.api_host, packet=token_packet(TOKEN)) as websocket,
    ):
        assert call(websocket, "listLoaded") == "abcdefgh True"
    with Server.for_core(core) as server, client(server.api_host) as websocket:
        assert call(websocket, "listLoaded") == "guest:test False"


def test_token_of_another_form_is_refused_without_repeating_it() -> None:
    with pytest.raises(LMStudioValueError, match="10 characters") as refused:
        parse_api_token("sk-secret!")
    assert "sk-secret!" not in str(refused.value)


# Clients that misbehave ----------------------------------------------------------------------------------------------


def test_binary_message_ends_the_connection(server: Server) -> None:
    with client(server.api_host) as websocket:
        websocket.send(b'{"type":"keepAlive"}')
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(PATIENCE_SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1003


def test_huge_message_is_served(server: Server) -> None:
    with client(server.api_host) as websocket:
        assert call(websocket, "countTokens", {"inputString": "x" * (20 << 20)}) == 20 << 20


def test_message_over_the_limit_ends_only_its_connection(core: StubCore) -> None:
    limits = ConnectionLimits(max_message_bytes=64 * KIB)
    with Server.for_core(core, limits=limits) as server, client(server.api_host) as bystander:
        with client(server.api_host) as websocket, pytest.raises(ConnectionClosed) as closed:
            websocket.send("x" * (65 * KIB))
            websocket.recv(PATIENCE_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert call(bystander, "countTokens", {"inputString": "a"}) == 1


@pytest.mark.parametrize("leave", [RawClient.reset, lambda raw: raw.socket.close()], ids=["reset", "closed socket"])
def test_client_that_goes_away_cancels_its_handlers(core: StubCore, server: Server, leave: object) -> None:
    assert callable(leave)
    raw = RawClient(server.api_host)
    raw.send(create_message("predict"))
    assert core.started.wait(PATIENCE_SECONDS)
    leave(raw)
    assert core.cancelled.wait(PATIENCE_SECONDS)
    with client(server.api_host) as websocket:
        assert call(websocket, "countTokens", {"inputString": "a"}) == 1


def test_client_that_says_goodbye_cancels_its_handlers(core: StubCore, server: Server) -> None:
    with client(server.api_host) as websocket:
        websocket.send(create_message("predict"))
        assert receive(websocket)["message"] == {"type": "fragment", "content": "started"}
    assert core.cancelled.wait(PATIENCE_SECONDS)


def test_slow_client_costs_bounded_memory_and_holds_up_nobody_else(core: StubCore) -> None:
    limits = ConnectionLimits(busy_bytes=256 * KIB)
    with Server.for_core(core, limits=limits) as server, RawClient(server.api_host) as raw:
        raw.send(create_message("completeRawText", "politely"))
        assert core.blocked.wait(PATIENCE_SECONDS)
        held_back = core.sent_bytes
        # The rest is in the buffers of the two sockets.
        assert held_back < 8 * KIB * KIB
        with client(server.api_host) as bystander:
            assert call(bystander, "countTokens", {"inputString": "a"}) == 1
        assert core.sent_bytes == held_back
        received = 0
        while not core.unblocked.is_set():
            received += len(raw.receive())
        assert received > 0
    assert core.cancelled.wait(PATIENCE_SECONDS)


def test_slow_client_is_not_read_from(core: StubCore) -> None:
    limits = ConnectionLimits(busy_bytes=64 * KIB)
    with Server.for_core(core, limits=limits) as server, RawClient(server.api_host) as raw:
        raw.send(create_message("completeRawText", "politely"))
        assert core.blocked.wait(PATIENCE_SECONDS)
        core.started.clear()
        raw.send('{"type":"keepAlive"}')  # the last one that is still read
        raw.send(create_message("predict", channel_id=2))
        with client(server.api_host) as bystander:
            assert call(bystander, "countTokens", {"inputString": "a"}) == 1
        assert not core.started.is_set()
        while not core.started.is_set():
            raw.receive()


def test_client_that_never_reads_is_disconnected(core: StubCore, caplog: pytest.LogCaptureFixture) -> None:
    limits = ConnectionLimits(busy_bytes=64 * KIB, stall_seconds=0.05)
    with (
        caplog.at_level(logging.WARNING, "lmstudio.server"),
        Server.for_core(core, limits=limits) as server,
        RawClient(server.api_host) as raw,
    ):
        raw.send(create_message("completeRawText", "politely"))
        assert core.cancelled.wait(PATIENCE_SECONDS)
    assert "it has read nothing for 0.05 s" in caplog.text


def test_results_that_cannot_wait_are_bounded_too(core: StubCore, caplog: pytest.LogCaptureFixture) -> None:
    limits = ConnectionLimits(max_queued_bytes=1024 * KIB)
    with (
        caplog.at_level(logging.WARNING, "lmstudio.server"),
        Server.for_core(core, limits=limits) as server,
        RawClient(server.api_host) as raw,
    ):
        raw.send(create_message("completeRawText", "without waiting"))
        assert core.cancelled.wait(PATIENCE_SECONDS)
    assert "more than 1048576 bytes wait for it to read" in caplog.text


def test_messages_of_every_size_arrive_whole(server: Server) -> None:
    # The length of a frame takes one, three or nine bytes, and long frames are written in two pieces.
    with client(server.api_host) as websocket:
        for size in (1, 300, 50_000, 70_000, 200_000):
            text = "x" * size
            assert call(websocket, "applyPromptTemplate", {"inputString": text}) == text
