"""How fast the frame server is by itself, seen by a client that counts bytes and decodes nothing.

Nothing that a benchmark reports may come near these figures: then it would measure the server.
"""

from __future__ import annotations

import os
import socket
import struct
import time

from frames import compact

CLOSED = b'{"type":"channelClose"'


def masked(message: object) -> bytes:
    """*message* as one masked text frame."""
    payload = compact(message)
    key = os.urandom(4)
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    body = bytes(left ^ right for left, right in zip(payload, mask, strict=True))
    if len(payload) < 126:
        return struct.pack("!BB", 0x81, 0x80 | len(payload)) + key + body
    return struct.pack("!BBH", 0x81, 0x80 | 126, len(payload)) + key + body


class RawConnection:
    """An authenticated connection to the `llm` namespace."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 20)
        upgrade = "GET /llm HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self._sock.sendall(
            f"{upgrade}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n".encode()
        )
        self._receive()
        self._sock.sendall(masked({"authVersion": 1, "clientIdentifier": "raw", "clientPasskey": "raw"}))
        self._receive()

    def close(self) -> None:
        """Close the socket without a goodbye."""
        self._sock.close()

    def _receive(self) -> int:
        size = self._sock.recv_into(self._buffer)
        if not size:
            raise ConnectionError("The server closed the connection.")
        return size

    def stream(self, fragments: int, parallel: int = 1) -> float:
        """Fragments per second over *parallel* predictions with *fragments* fragments each."""
        key = f"bench/fragments={fragments},parallel={parallel}"
        parameter = {"modelSpecifier": {"type": "query", "query": {"identifier": key}}, "history": {"messages": []}}
        creation = {"type": "channelCreate", "endpoint": "predict", "creationParameter": parameter}
        requests = b"".join([masked({**creation, "channelId": number}) for number in range(1, parallel + 1)])
        start = time.perf_counter()
        self._sock.sendall(requests)
        # The last channel ends last: its closing packet is the end of the last block.
        last = CLOSED + b',"channelId":%d}' % parallel
        while True:
            size = self._receive()
            if self._buffer.endswith(last, 0, size):
                return fragments * parallel / (time.perf_counter() - start)

    def calls(self, count: int, in_flight: int) -> float:
        """RPCs per second, *in_flight* sent together each time."""
        parameter = {
            "specifier": {"type": "query", "query": {"identifier": "bench/fragments=1"}},
            "inputString": "hello",
        }
        request = {"type": "rpcCall", "endpoint": "tokenize", "parameter": parameter}
        batch = b"".join([masked({**request, "callId": 1000 + number}) for number in range(in_flight)])
        self._sock.sendall(batch[: len(batch) // in_flight])
        expected = self._receive() * in_flight
        rounds = count // in_flight
        start = time.perf_counter()
        for _ in range(rounds):
            self._sock.sendall(batch)
            received = 0
            while received < expected:
                received += self._receive()
        return rounds * in_flight / (time.perf_counter() - start)


def server_speed(port: int, scale: float = 1.0) -> dict[str, float]:
    """Fragments or calls per second that the server alone delivers."""
    connection = RawConnection(port)
    try:
        return {
            "fragments, one stream": connection.stream(int(5_000_000 * scale)),
            "fragments, 1000 streams": connection.stream(int(2_000 * scale), 1000),
            "calls, one after the other": connection.calls(int(20_000 * scale), 1),
            "calls, 100 in flight": connection.calls(int(100_000 * scale), 100),
        }
    finally:
        connection.close()
