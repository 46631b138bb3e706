"""WebSocket frames as a server sends them, unmasked: written, and found again in a stream of bytes. No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEAD_END = b"\r\n\r\n"
_FINAL = 0x80
_CONTINUATION, _TEXT = 0, 1
_LONGEST_HEADER = 10


def text_frame(payload: bytes) -> bytes:
    """A text frame of a server."""
    return frame_header(_FINAL | _TEXT, len(payload)) + payload


def frame_header(first_byte: int, size: int) -> bytes:
    """The header of a frame of a server with *size* bytes of payload."""
    if size < 126:
        return bytes((first_byte, size))
    if size < 1 << 16:
        return struct.pack(">BBH", first_byte, 126, size)
    return struct.pack(">BBQ", first_byte, 127, size)


@dataclass(frozen=True)
class FoundText:
    """A text message that is complete."""

    text: bytes
    start: int
    """Where its last frame begins, in bytes of what was fed last. Negative: before that."""
    end: int
    """Where the byte after it is."""


class ServerTexts:
    """Finds the text messages in what a server sends on a WebSocket, beginning with its HTTP answer."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_after_head = False
        self._message = b""
        self._is_text = False

    def feed(self, data: bytes) -> list[FoundText]:
        """The messages that *data* completes."""
        known = len(self._buffer)
        self._buffer += data
        position = self._skip_head()
        found = []
        while (frame := self._frame_at(position)) is not None:
            first_byte, payload, end = frame
            opcode = first_byte & 0x0F
            if opcode in (_TEXT, _CONTINUATION):
                self._is_text = opcode == _TEXT or self._is_text
                self._message += payload
                if first_byte & _FINAL:
                    if self._is_text:
                        found.append(FoundText(self._message, position - known, end - known))
                    self._message, self._is_text = b"", False
            position = end
        del self._buffer[:position]
        return found

    def _skip_head(self) -> int:
        if self._is_after_head:
            return 0
        end = self._buffer.find(_HEAD_END)
        self._is_after_head = end >= 0
        return end + len(_HEAD_END) if end >= 0 else 0

    def _frame_at(self, position: int) -> tuple[int, bytes, int] | None:
        """First byte, payload and end of the frame at *position*; None if it is not complete."""
        header = self._buffer[position : position + _LONGEST_HEADER]
        if not self._is_after_head or len(header) < 2:
            return None
        size, start = header[1], 2
        if size >= 126:
            start = 4 if size == 126 else _LONGEST_HEADER
            if len(header) < start:
                return None
            size = int.from_bytes(header[2:start], "big")
        end = position + start + size
        if len(self._buffer) < end:
            return None
        return header[0], bytes(self._buffer[position + start : end]), end
