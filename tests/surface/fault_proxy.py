"""The proxy of `lmstudio.testing`, and every way to lose connections through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.testing._frames import frame_header, text_frame
from lmstudio.testing.network import ClientFrame, FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAULTS", "ClientFrame", "FaultProxy", "frame_header"]

FAULTS: dict[str, tuple[Callable[[FaultProxy], None], str]] = {
    "closed": (FaultProxy.close_connections, "the server closed it"),
    "reset": (FaultProxy.reset_connections, "reset by peer|forcibly closed"),
    "goodbye": (lambda proxy: proxy.send(frame_header(0x88, 6) + b"\x03\xe9away"), "code 1001, away"),
    "goodbye without code": (lambda proxy: proxy.send(frame_header(0x88, 0)), "code 1005"),
    "half-open": (FaultProxy.go_silent, "no sign of life"),
    "garbage": (lambda proxy: proxy.send(b"HTTP/1.1 500 Oops\r\n\r\n"), "broke the WebSocket protocol"),
    "masked frame": (lambda proxy: proxy.send(bytes((0x81, 0x81, 1, 2, 3, 4, 5))), "broke the WebSocket protocol"),
    "reserved opcode": (lambda proxy: proxy.send(frame_header(0x83, 0)), "broke the WebSocket protocol"),
    "text that is not UTF-8": (lambda proxy: proxy.send(text_frame(b'"\xff\xff"')), "not UTF-8|utf-8"),
    "oversized": (lambda proxy: proxy.send(frame_header(0x81, 1 << 40)), "the limit is"),
    "impossible size": (lambda proxy: proxy.send(frame_header(0x81, 1 << 63)), "broke the WebSocket protocol|limit"),
}
"""Ways to lose all connections, and what the errors say about each, as a regular expression."""
