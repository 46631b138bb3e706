"""A server core without models, and a client that is nothing but a socket: for the tests of the transport."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from patience import PATIENCE_SECONDS
from websockets.sync.client import connect

from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio.server._port import ClientContext, Handlers, ServerChannel
from lmstudio.server.auth import IssuedCredentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import BaseRoute
    from typing_extensions import Self
    from websockets.sync.client import ClientConnection

    from lmstudio.server.http.settings import HttpSettings

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"
OTHER_TOKEN = "sk-lm-ijklmnop:ABCDEFGHIJ0123456789"


class Text(msgspec.Struct, rename="camel"):
    input_string: str


class Fragment(msgspec.Struct, tag="fragment"):
    content: str


COUNT: Rpc[Text, int] = Rpc("countTokens", Text, int)
ECHO: Rpc[Text, str] = Rpc("applyPromptTemplate", Text, str)
WHO: Rpc[None, str] = Rpc("listLoaded", None, str)
PREDICT: ChannelSpec[Text, Fragment, None] = ChannelSpec("predict", Text, Fragment, None)
FLOOD: ChannelSpec[Text, Fragment, None] = ChannelSpec("completeRawText", Text, Fragment, None)
BIG_FRAGMENT = "x" * 16 * 1024


class StubCore:
    """Counts, echoes, says who asks, holds channels open, floods. What happened may be looked at from any thread."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.blocked = threading.Event()
        """A flood waits for its client."""
        self.unblocked = threading.Event()
        self.sent_bytes = 0
        self.is_closed = False
        self.credentials = IssuedCredentials()

    def handlers(self, namespace: str) -> Handlers:
        handlers = Handlers()
        if namespace == "llm":
            handlers.rpc(COUNT, self._count)
            handlers.rpc(ECHO, self._echo)
            handlers.rpc(WHO, self._who)
            handlers.channel(PREDICT, self._hold)
            handlers.channel(FLOOD, self._flood)
        return handlers

    def http_routes(self, settings: HttpSettings) -> list[BaseRoute]:
        return []

    async def wind_down(self, grace_seconds: float) -> None:
        pass

    async def aclose(self) -> None:
        self.is_closed = True

    async def _count(self, _context: ClientContext, parameter: Text) -> int:
        return len(parameter.input_string)

    async def _echo(self, _context: ClientContext, parameter: Text) -> str:
        return parameter.input_string

    async def _who(self, context: ClientContext, _parameter: None) -> str:
        return f"{context.client_identifier} {context.is_privileged}"

    async def _hold(self, _c: ClientContext, _p: Text, channel: ServerChannel[Fragment, None]) -> None:
        channel.send(Fragment("started"))
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def _flood(self, _c: ClientContext, parameter: Text, channel: ServerChannel[Fragment, None]) -> None:
        self.started.set()
        try:
            while True:
                channel.send(Fragment(BIG_FRAGMENT))
                self.sent_bytes += len(BIG_FRAGMENT)
                if parameter.input_string == "politely":
                    await self._drain(channel)
                else:
                    await asyncio.sleep(0)
        finally:
            self.cancelled.set()

    async def _drain(self, channel: ServerChannel[Fragment, None]) -> None:
        draining = asyncio.ensure_future(channel.drain())
        try:
            await asyncio.sleep(0)
            if not draining.done():
                self.blocked.set()
                await draining
                self.unblocked.set()
        finally:
            draining.cancel()


def auth_packet(identifier: str = "guest:test", passkey: str = "secret", **members: Any) -> str:
    return json.dumps({"authVersion": 1, "clientIdentifier": identifier, "clientPasskey": passkey, **members})


def token_packet(token: str) -> str:
    identifier, passkey = token.removeprefix("sk-lm-").split(":")
    return auth_packet(identifier, passkey)


@contextmanager
def client(
    api_host: str, namespace: str = "llm", *, packet: str | None = None, **options: Any
) -> Iterator[ClientConnection]:
    """An authenticated connection."""
    with connect(f"ws://{api_host}/{namespace}", proxy=None, max_size=None, **options) as websocket:
        websocket.send(auth_packet() if packet is None else packet)
        assert receive(websocket) == {"success": True}
        yield websocket


def receive(websocket: ClientConnection) -> Any:
    return json.loads(websocket.recv(PATIENCE_SECONDS))


def call(websocket: ClientConnection, endpoint: str, parameter: object = None, call_id: int = 1) -> Any:
    """The result of an rpc."""
    message = {"type": "rpcCall", "endpoint": endpoint, "callId": call_id}
    websocket.send(json.dumps(message if parameter is None else {**message, "parameter": parameter}))
    reply = receive(websocket)
    assert reply["type"] == "rpcResult", reply
    return reply.get("result")


def create_message(endpoint: str, text: str = "", channel_id: int = 1) -> str:
    creation_parameter = {"inputString": text}
    return json.dumps(
        {
            "type": "channelCreate",
            "endpoint": endpoint,
            "channelId": channel_id,
            "creationParameter": creation_parameter,
        }
    )


class RawClient:
    """A WebSocket client that reads only when told to, and may go away without a word."""

    def __init__(self, api_host: str, namespace: str = "llm") -> None:
        host, port = api_host.split(":")
        self.socket = socket.socket()
        # The less the system buffers, the sooner the server notices that nobody reads.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect((host, int(port)))
        self.socket.sendall(
            f"GET /{namespace} HTTP/1.1\r\nHost: {api_host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._received = b""
        while b"\r\n\r\n" not in self._received:
            self._received += self.socket.recv(4096)
        self._received = self._received.partition(b"\r\n\r\n")[2]
        self.send(auth_packet())
        assert self.receive() == b'{"success":true}'

    def send(self, text: str) -> None:
        # Spaces after the value, so that every length takes the same form in the header.
        data = text.encode().ljust(126)
        assert len(data) < 1 << 16
        # A mask of zeros leaves the data as it is.
        self.socket.sendall(b"\x81" + struct.pack("!BH4x", 0x80 | 126, len(data)) + data)

    def receive(self) -> bytes:
        """The next frame."""
        length = self._take(2)[1]
        if length >= 126:
            length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
        return self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._received += data
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def reset(self) -> None:
        """Go away with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()
