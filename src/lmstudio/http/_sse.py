"""Server-sent events: bytes as they arrive in, events out.

By the rules of the WHATWG, with one exception: what a stream ends with counts as an event even without the blank line
after it, because some servers leave that out.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lmstudio.errors import LMStudioProtocolError

LARGEST_EVENT: Final = 64 * 1024 * 1024
"""Bytes; nothing that a server of language models sends comes near it."""
_MARK: Final = b"\xef\xbb\xbf"
_LONGEST_NUMBER: Final = 18


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event of a stream."""

    data: str
    event: str = ""
    """Its name; "" where the server gives none."""
    id: str = ""
    """The last id that the server gave, with this event or an earlier one."""
    retry: int | None = None
    """Milliseconds after which the server wants a lost connection to be made again."""


class EventParser:
    """Takes one stream apart, which may arrive in pieces of any size."""

    def __init__(self, largest: int = LARGEST_EVENT) -> None:
        self._largest = largest
        self._head: bytes | None = b""
        """What came before it was clear whether there is a byte order mark; None afterwards."""
        self._begun: list[bytes] = []
        """The line that is not complete yet."""
        self._skips_newline = False
        """A carriage return came last; a line feed would be the rest of the same line end."""
        self._begun_size = self._data_size = 0
        self._data: list[bytes] = []
        self._name = self._id = ""
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that *data* completes.

        Raises:
            LMStudioProtocolError: an event is too large.
        """
        if self._head is not None:
            data = self._without_mark(data)
        if self._skips_newline and data:
            self._skips_newline = False
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            self._skips_newline = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = data.split(b"\n")
        events: list[ServerSentEvent] = []
        self._begun.append(first)
        self._begun_size += len(first)
        if lines:
            line = first if len(self._begun) == 1 else b"".join(self._begun)
            for following in lines:
                if line:
                    self._take_line(line)
                else:
                    self._dispatch(events)
                line = following
            self._begun, self._begun_size = [line], len(line)
        if self._begun_size + self._data_size > self._largest:
            raise LMStudioProtocolError(
                f"Could not read the server's stream of events: one is larger than {self._largest} bytes."
            )
        return events

    def end(self) -> list[ServerSentEvent]:
        """The stream has ended: what it ends with."""
        return self.feed(b"\n\n")

    def _without_mark(self, data: bytes) -> bytes:
        data = (self._head or b"") + data
        if len(data) < len(_MARK) and _MARK.startswith(data):
            self._head = data
            return b""
        self._head = None
        return data.removeprefix(_MARK)

    def _take_line(self, line: bytes) -> None:
        if line.startswith(b"data: "):
            self._data.append(line[6:])
            self._data_size += len(line)
            return
        name, _, value = line.partition(b":")  # a comment has an empty name
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_size += len(line)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _LONGEST_NUMBER:
            self._retry = int(value)

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(ServerSentEvent(data.decode("utf-8", "replace"), self._name, self._id, self._retry))
            self._data, self._data_size = [], 0
        self._name, self._retry = "", None
