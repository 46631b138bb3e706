"""Bytes to and from a server as an attacker would send them: nothing here follows the protocol by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_wire import TcpWire
from transport_stub import auth_packet

if TYPE_CHECKING:
    from lmstudio.server import Server

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def upgrade_request(path: str = "/llm", *more_headers: bytes) -> bytes:
    head = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
    return head.encode() + b"".join(header + b"\r\n" for header in more_headers) + b"\r\n"


def frame_header(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """The mask is zero, so that the payload follows as it is."""
    first, bit = fin << 7 | rsv << 4 | opcode, 0x80 if masked else 0
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 1 << 16:
        header = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return header + (bytes(4) if masked else b"")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return frame_header(opcode, len(payload), fin=fin) + payload


class Wire(TcpWire):
    """A TCP connection to *server*."""

    @classmethod
    def upgraded(cls, server: Server, *, receive_buffer: int | None = None) -> Wire:
        """With an open WebSocket, and nothing said on it."""
        wire = cls(server, upgrade_request(), receive_buffer=receive_buffer)
        assert wire.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        return wire

    @classmethod
    def authenticated(cls, server: Server, *, receive_buffer: int | None = None) -> Wire:
        wire = cls.upgraded(server, receive_buffer=receive_buffer)
        wire.send(frame(TEXT, auth_packet().encode()))
        wire.until(b'{"success":true}')
        return wire
