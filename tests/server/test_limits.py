"""What a client may cost the server: time, connections, bodies, frames, messages, calls and channels."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import tracemalloc
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from patience import PATIENCE_SECONDS
from raw_wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, frame, frame_header, upgrade_request
from transport_stub import StubCore, auth_packet, call, client, create_message

from lmstudio import Client, LMStudioWebsocketError, _transfer
from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio.server import ConnectionLimits, Server, _port
from lmstudio.server import websocket as websocket_module
from lmstudio.server._port import ClientContext, Handlers, ServerChannel, ServerPort
from lmstudio.server.websocket import FIRST_MESSAGE_BYTES, DirectWebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KIB = 1024
GREETING = b"GET /lmstudio-greeting HTTP/1.1\r\nHost: localhost\r\n"
SHORT = ConnectionLimits(request_seconds=0.05)


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a client does is no error of the server."""
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno >= logging.ERROR] == []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server.for_core(StubCore()) as server:
        yield server


def serves(server: Server) -> bool:
    with client(server.api_host) as websocket:
        return bool(call(websocket, "countTokens", {"inputString": "abc"}) == 3)


# HTTP ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"G", GREETING, upgrade_request()[:-2]], ids=["nothing", "byte", "get", "ws"])
def test_request_that_does_not_end_is_not_waited_for(sent: bytes) -> None:
    with Server.for_core(StubCore(), limits=SHORT) as server, Wire(server, sent) as wire:
        assert wire.rest() == b""
        assert serves(server)


def test_second_request_that_does_not_end_is_not_waited_for_either() -> None:
    with Server.for_core(StubCore(), limits=SHORT) as server, Wire(server, GREETING + b"\r\n") as wire:
        wire.until(b'{"lmstudio":true}')
        wire.send(GREETING)
        assert wire.rest() == b""


def test_time_limit_of_requests_does_not_end_idle_connections() -> None:
    # Those of clients that keep connections for some seconds: one that is ended at the same time costs a request.
    with Server.for_core(StubCore(), limits=SHORT) as server, Wire(server, GREETING + b"\r\n") as idle:
        idle.until(b'{"lmstudio":true}')
        with Wire(server) as silent:
            assert silent.rest() == b""  # opened later, ended by the limit
        idle.send((GREETING + b"\r\n") * 2)  # the second one before the first is answered
        for _ in range(2):
            assert idle.until(b'{"lmstudio":true}').startswith(b"HTTP/1.1 200 ")


def test_time_limit_of_requests_does_not_end_websockets() -> None:
    with (
        Server.for_core(StubCore(), limits=SHORT) as server,
        client(server.api_host) as websocket,
        Wire(server) as wire,
    ):
        assert wire.rest() == b""  # opened later, ended by the limit
        assert call(websocket, "countTokens", {"inputString": "abc"}) == 3


@pytest.mark.parametrize("header", [b"Content-Length: 1000000000000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("method", "status"), [(b"POST", b"405"), (b"GET", b"413")])
def test_request_with_a_body_is_refused_before_the_body_comes(
    server: Server, method: bytes, status: bytes, header: bytes
) -> None:
    with Wire(server, GREETING.replace(b"GET", method) + header + b"\r\n\r\n") as wire:
        assert wire.rest().startswith(b"HTTP/1.1 " + status)  # and then the connection ends


@pytest.mark.parametrize("header", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_websocket_request_with_a_body_is_refused(server: Server, header: bytes) -> None:
    with Wire(server, upgrade_request("/llm", header)) as wire:
        assert wire.rest().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "endless"])
def test_headers_have_a_limit(server: Server, end: bytes) -> None:
    with Wire(server, GREETING + b"X: " + b"x" * 256 * KIB + end) as wire:
        assert wire.rest()[:13] in (b"HTTP/1.1 400 ", b"")


@pytest.mark.parametrize(
    "header",
    [
        b"Sec-WebSocket-Extensions: \xff",
        b"Sec-WebSocket-Protocol: \xff",
        b"Connection: upgrade, \xff",
        b"Host: \xff",
        b"Host: xn--zzzz--",
    ],
)
def test_headers_that_are_no_text_are_the_clients_mistake(server: Server, header: bytes) -> None:
    request = upgrade_request("/llm", header)
    if header.startswith(b"Host"):
        request = request.replace(b"Host: localhost\r\n", b"")
    with Wire(server, request) as wire:
        assert wire.rest().startswith(b"HTTP/1.1 400 ")
    assert serves(server)


# Before authentication -----------------------------------------------------------------------------------------------


def test_oldest_stranger_makes_room_and_clients_do_not_count() -> None:
    limits = ConnectionLimits(max_strangers=3)
    with Server.for_core(StubCore(), limits=limits) as server, ExitStack() as stack:
        clients = [stack.enter_context(client(server.api_host)) for _ in range(5)]
        first = stack.enter_context(Wire.upgraded(server))
        others = [stack.enter_context(Wire(server)) for _ in range(2)]
        newest = stack.enter_context(client(server.api_host))
        assert first.rest() == b""
        for wire in others:
            wire.send(GREETING + b"\r\n")
            assert wire.until(b'{"lmstudio":true}')
        for websocket in [*clients, newest]:
            assert call(websocket, "countTokens", {"inputString": "abc"}) == 3


def test_connections_that_have_ended_leave_room() -> None:
    with Server.for_core(StubCore(), limits=ConnectionLimits(max_strangers=2)) as server, Wire(server) as oldest:
        for _ in range(5):
            with Wire(server, GREETING + b"Connection: close\r\n\r\n") as wire:
                assert b'{"lmstudio":true}' in wire.rest()
            with Wire(server, upgrade_request("/nothing")) as wire:
                assert wire.rest().startswith(b"HTTP/1.1 404 ")
        oldest.send(GREETING + b"\r\n")
        assert oldest.until(b'{"lmstudio":true}')


def close_code(received: bytes) -> int:
    """Of a close frame that is all that was received."""
    assert received[0] == 0x80 | CLOSE
    return int.from_bytes(received[2:4], "big")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_first_message_is_limited(server: Server, opcode: int) -> None:
    with Wire.upgraded(server) as wire:
        wire.send(frame(opcode, b" " * FIRST_MESSAGE_BYTES))  # ignored
        wire.send(frame(TEXT, auth_packet().encode()))
        wire.until(b'{"success":true}')
    with Wire.upgraded(server) as wire:
        wire.send(frame(opcode, b" " * (FIRST_MESSAGE_BYTES + 1)))
        assert close_code(wire.rest()) == 1009


def test_first_message_is_limited_however_it_is_cut(server: Server) -> None:
    with Wire.upgraded(server) as wire:
        wire.send(frame(TEXT, b" " * FIRST_MESSAGE_BYTES, fin=False) + frame(CONT, fin=False) + frame(CONT, b" "))
        assert close_code(wire.rest()) == 1009
    with Wire.upgraded(server) as wire:
        wire.send(frame_header(TEXT, 1 << 62) + b" " * (FIRST_MESSAGE_BYTES + 1))
        assert close_code(wire.rest()) == 1009


def test_longest_credentials_fit_however_they_are_written(server: Server) -> None:
    packet = auth_packet("\U0001f600" * 256, "\U0001f600" * 256, remark="x" * 1000)  # ASCII: each takes two escapes
    assert len(packet) > 256 * 24
    with client(server.api_host, packet=packet):
        pass


# Afterwards ----------------------------------------------------------------------------------------------------------


def test_message_of_exactly_the_limit_is_served() -> None:
    with Server.for_core(StubCore(), limits=ConnectionLimits(max_message_bytes=64 * KIB)) as server:
        with client(server.api_host) as websocket:
            fixed = len(json.dumps({"type": "rpcCall", "endpoint": "countTokens", "callId": 1}))
            fixed += len(', "parameter": {"inputString": ""}')
            text = "é" * 10  # counted as bytes of UTF-8, and json.dumps writes six for each
            text += "x" * (64 * KIB - fixed - 60)
            assert call(websocket, "countTokens", {"inputString": text}) == len(text)
        with Wire.authenticated(server) as wire:
            wire.send(frame(TEXT, "é".encode() * (32 * KIB) + b" "))
            assert close_code(wire.rest()) == 1009


def test_memory_of_a_refused_message_is_free_when_its_connection_ends() -> None:
    size = 8 * KIB * KIB
    with (
        Server.for_core(StubCore(), limits=ConnectionLimits(max_message_bytes=size)) as server,
        Wire.authenticated(server) as wire,
    ):
        gc.disable()
        tracemalloc.start()
        try:
            wire.send(frame(TEXT, b" " * (size + 1)))
            assert close_code(wire.rest()) == 1009
            assert serves(server)
            kept, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert kept < size < peak


def test_no_compression_is_agreed_on(server: Server) -> None:
    with Wire(server, upgrade_request("/llm", b"Sec-WebSocket-Extensions: permessage-deflate")) as wire:
        answer = wire.until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in answer.lower()


def test_announced_size_takes_no_memory() -> None:
    with Server.for_core(StubCore()) as server, ExitStack() as stack:
        tracemalloc.start()
        try:
            for _ in range(3):
                wire = stack.enter_context(Wire.authenticated(server))
                wire.send(frame_header(TEXT, 1 << 62) + b"x" * KIB)
            assert serves(server)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * KIB * KIB


def test_message_in_countless_pieces_takes_no_more_memory_than_in_one(server: Server) -> None:
    with Wire.authenticated(server) as wire:
        tracemalloc.start()
        try:
            wire.send(frame(TEXT, b"{", fin=False) + frame(CONT, fin=False) * 10_000)
            wire.send(frame(CONT, b'"type":"keepAlive"}'))
            wire.until(b'{"type":"keepAliveAck"}')
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * KIB * KIB


def test_client_that_pings_and_does_not_read_costs_no_memory() -> None:
    core = StubCore()
    with Server.for_core(core) as server, Wire.authenticated(server, receive_buffer=8192) as wire:
        count, payload = 50_000, b"p" * 120
        for start in range(0, count, 1000):
            wire.send(b"".join(frame(PING, payload + b"%05d" % n) for n in range(start, start + 1000)))
        wire.send(frame(TEXT, create_message("predict").encode()))
        assert core.started.wait(PATIENCE_SECONDS)  # all pings have been read
        last = payload + b"%05d" % (count - 1)
        received = len(wire.until(bytes((0x80 | PONG, len(last))) + last))
        # What was in the buffers of the two sockets, and the pong that counts.
        assert received < count * 127 * 3 // 4


def test_client_that_says_goodbye_and_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Event()
    connection_lost = DirectWebSocket.connection_lost

    def notice(self: DirectWebSocket, exc: Exception | None) -> None:
        connection_lost(self, exc)
        gone.set()

    monkeypatch.setattr(DirectWebSocket, "connection_lost", notice)
    monkeypatch.setattr(websocket_module, "_LINGER_SECONDS", 0.05)
    core = StubCore()
    with Server.for_core(core) as server, Wire.authenticated(server) as wire:
        wire.send(frame(TEXT, create_message("completeRawText", "politely").encode()))
        assert core.blocked.wait(PATIENCE_SECONDS)
        wire.send(frame(CLOSE))
        assert gone.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (frame_header(TEXT, 1, masked=False) + b"x", 1002),
        (frame_header(TEXT, 1, rsv=4) + b"x", 1002),
        (frame(0x3, b"x"), 1002),
        (frame(CONT, b"x"), 1002),
        (frame_header(PING, 126) + b"x" * 126, 1002),
        (frame(TEXT, b"\xff"), 1007),
    ],
    ids=["unmasked", "reserved bit", "opcode", "continuation", "long ping", "not UTF-8"],
)
@pytest.mark.parametrize("open_wire", [Wire.upgraded, Wire.authenticated])
def test_broken_frame_ends_the_connection_and_is_told_why(
    server: Server, open_wire: Callable[[Server], Wire], damage: bytes, code: int
) -> None:
    with open_wire(server) as wire:
        wire.send(damage)
        assert close_code(wire.rest()) == code
    assert serves(server)


# The other direction -------------------------------------------------------------------------------------------------


def test_client_takes_a_message_of_exactly_its_limit_and_none_above(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transfer, "MAX_MESSAGE_BYTES", 64 * KIB)
    around = len('{"type":"rpcResult","callId":0,"result":""}')
    with Client(server.api_host) as client:
        longest = "x" * (64 * KIB - around)
        assert client.llm.remote_call("applyPromptTemplate", {"inputString": longest}) == longest
        with pytest.raises(LMStudioWebsocketError, match=f"a message of {64 * KIB + 1} bytes or more"):
            client.llm.remote_call("applyPromptTemplate", {"inputString": longest + "x"})
        # On a new connection.
        assert client.llm.remote_call("countTokens", {"inputString": "abc"}) == 3


# Calls and channels --------------------------------------------------------------------------------------------------

CALL: Rpc[Any, None] = Rpc("countTokens", Any, None)
CHANNEL: ChannelSpec[Any, None, Any] = ChannelSpec("predict", Any, None, Any)


class Handled:
    """A port whose handlers wait until they are released, and how many packets their listeners got then."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.packets: list[Any] = []
        self.release = asyncio.Event()
        handlers = Handlers()
        handlers.rpc(CALL, self._call)
        handlers.channel(CHANNEL, self._channel)
        self.port = ServerPort(
            "llm",
            handlers,
            ClientContext("me"),
            asyncio.ensure_future,
            lambda frame: self.sent.append(json.loads(frame)),
        )

    async def _call(self, _context: ClientContext, _parameter: Any) -> None:
        await self.release.wait()

    async def _channel(self, _c: ClientContext, _p: Any, channel: ServerChannel[None, Any]) -> None:
        await self.release.wait()
        channel.listen(self.packets.append)

    def call(self, call_id: int, parameter: Any = None) -> None:
        self._receive(type="rpcCall", endpoint="countTokens", callId=call_id, parameter=parameter)

    def create(self, channel_id: int) -> None:
        self._receive(type="channelCreate", endpoint="predict", channelId=channel_id)

    def packet(self, channel_id: int, message: Any) -> None:
        self._receive(type="channelSend", channelId=channel_id, message=message)

    def _receive(self, **message: Any) -> None:
        self.port.receive(json.dumps(message))

    async def settled(self) -> list[dict[str, Any]]:
        self.release.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return self.sent


def test_open_calls_and_channels_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_port, "MAX_OPEN", 3)

    async def main() -> None:
        handled = Handled()
        handled.call(1)
        handled.create(1)
        handled.call(2)
        assert handled.sent == []
        handled.call(3)
        handled.create(2)
        assert [(reply["type"], reply["error"]["title"]) for reply in handled.sent] == [
            (kind, "This connection has 3 calls and channels open already, which is the limit")
            for kind in ("rpcError", "channelError")
        ]
        handled.sent.clear()
        await handled.settled()
        handled.call(4)
        assert [reply["type"] for reply in await handled.settled()] == [
            "rpcResult",
            "channelClose",
            "rpcResult",
            "rpcResult",
        ]

    asyncio.run(main())


def test_packets_that_nobody_takes_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_port, "MAX_EARLY_PACKETS", 3)

    async def main() -> None:
        handled = Handled()
        handled.create(1)
        for number in range(5):
            handled.packet(1, number)
        await handled.settled()
        assert handled.packets == [0, 1, 2]

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["rpcCall", "channelCreate"])
def test_endless_name_of_an_endpoint_costs_no_more_than_its_message(kind: str) -> None:
    async def main() -> None:
        handled = Handled()
        message = json.dumps({"type": kind, "endpoint": "x" * 4_000_000, "callId": 1, "channelId": 1})
        tracemalloc.start()
        try:
            handled.port.receive(message)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        (reply,) = handled.sent
        assert len(reply["error"]["title"]) < 300
        assert peak < 3 * len(message)

    asyncio.run(main())


def test_handler_that_meets_too_deep_data_refuses_it() -> None:
    def dig(value: Any) -> int:
        return dig([value])

    async def call(_context: ClientContext, parameter: Any) -> int:
        return dig(parameter)

    async def main() -> dict[str, Any]:
        sent: list[dict[str, Any]] = []
        handlers = Handlers()
        handlers.rpc(Rpc("countTokens", Any, int), call)
        port = ServerPort(
            "llm", handlers, ClientContext("me"), asyncio.ensure_future, lambda frame: sent.append(json.loads(frame))
        )
        port.receive('{"type":"rpcCall","endpoint":"countTokens","callId":1,"parameter":[]}')
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        (reply,) = sent
        return reply

    reply = asyncio.run(main())
    assert reply["type"] == "rpcError"
    assert reply["error"]["title"] == "The request is nested too deeply"
