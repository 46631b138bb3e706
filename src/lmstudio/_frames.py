"""WebSocket framing without I/O: what the client reads becomes text messages, what it sends becomes masked frames.

Reading is the hot path of the package. A *plain* frame (one complete, unmasked text message in the shortest header
that fits) is sliced out of the chunk here; every other frame goes, byte for byte, through wsproto's ``Connection``,
which stays the authority for the protocol. Both paths check that text is UTF-8: msgspec does not look inside the parts
of a message that it skips, and reports damage with an exception that is not its own ``DecodeError``.

Protocol: RFC 6455, sections 5 (framing) and 7 (closing). No extension is ever negotiated.
"""

from __future__ import annotations

import os
import struct
from codecs import getincrementaldecoder
from io import BytesIO
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wsproto.connection import Connection

BLOCK_SIZE = 64 * 1024
"""Bytes that are masked at a time. A longer text message is encoded lazily, in pieces of at most this size."""

_TEXT = 0x81  # FIN and the opcode, as they stand in a frame's first byte
_CLOSE = 0x88
_PING = 0x89
_CONTROL_BIT = 0x08
_LARGEST_CONTROL_PAYLOAD = 125
_BAD_TEXT = 1007
_TOO_BIG = 1009
# 1004 is undefined; the others stand for things that happened without a close frame (RFC 6455, 7.4.1).
_CODES_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})
_KEYS_PER_READ = 1024

_unpack_two_shorts = struct.Struct(">HH").unpack_from
_unpack_short = struct.Struct(">H").unpack_from
_unpack_long = struct.Struct(">Q").unpack_from
_pack_small_header = struct.Struct(">BB4s").pack
_pack_medium_header = struct.Struct(">BBH4s").pack
_pack_large_header = struct.Struct(">BBQ4s").pack


class CloseInfo(msgspec.Struct, frozen=True):
    """What the peer's close frame said.

    Attributes:
        code: The close code, 1005 if the frame carried none.
        reason: The peer's explanation, often empty.
    """

    code: int
    reason: str


class FrameError(Exception):
    """The peer broke the protocol or sent more than we accept; the connection must be failed.

    Attributes:
        close_code: What to tell the peer: 1002 (protocol), 1007 (text that is not UTF-8) or 1009 (too large).
        messages: The complete text messages that preceded the damage in the same chunk, in order.
    """

    def __init__(self, message: str, close_code: int, messages: list[bytes]) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.messages = messages


class FrameReader:
    """Splits what a client reads from the socket into complete text messages.

    Binary messages are legal but not part of LM Studio's protocol: they are read and dropped.

    Attributes:
        close: What the peer's close frame said, once it was read. Everything after it is ignored.
        close_sent: Whether a close frame of ours is under way. The reader sets it when it queues the echo of the
            peer's; whoever sends one first must set it, so that the peer's answer is not echoed a second time.
        pongs_received: Number of pong frames so far, for a keep-alive to compare.
    """

    __slots__ = (
        "_connection",
        "_ended",
        "_header",
        "_in_message",
        "_limit",
        "_message_size",
        "_missing",
        "_payload",
        "_replies",
        "_text",
        "close",
        "close_sent",
        "pongs_received",
    )

    def __init__(self, *, max_message_size: int) -> None:
        """Start at a frame boundary, right after the upgrade response.

        Args:
            max_message_size: Largest text or binary message to accept, in bytes, at least 125.
        Raises:
            ValueError: *max_message_size* is below 125.
        """
        if max_message_size < _LARGEST_CONTROL_PAYLOAD:
            # Below this the fast path would have to compare the length of every short frame.
            raise ValueError(
                f"max_message_size is {max_message_size} bytes; give at least {_LARGEST_CONTROL_PAYLOAD} bytes."
            )
        self.close: CloseInfo | None = None
        self.close_sent = False
        self.pongs_received = 0
        self._limit = max_message_size
        self._ended = False
        self._replies = bytearray()
        self._header = b""  # a header cut by the end of a chunk
        self._missing = 0  # payload bytes until the current frame is complete
        self._payload: BytesIO | None = None  # of a plain frame cut by the end of a chunk
        self._connection: Connection | None = None
        self._in_message = False  # wsproto has seen part of a message: every frame is its business until the last
        self._message_size = 0  # as announced by the frames of that message so far
        self._text = BytesIO()  # of that message, if it is a text

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read from the socket; return the text messages that are now complete, in order.

        Chunks may end anywhere. Each message is valid UTF-8; an empty one is ``b""``. After a call, write
        `take_replies` and look at `close`. After the peer's close frame or a `FrameError` everything is ignored.

        Raises:
            FrameError: The bytes are not what a WebSocket server may send, or a message is larger than
                *max_message_size*. The size is judged when a header announces it, before anything is kept.
        """
        messages: list[bytes] = []
        if self._ended:
            return messages
        try:
            self._read(data, messages)
        except UnicodeDecodeError as error:
            self._ended = True
            raise FrameError(
                f"The server sent a text message that is not UTF-8 ({error}). Reconnect.", _BAD_TEXT, messages
            ) from error
        except FrameError:
            self._ended = True
            raise
        return messages

    def take_replies(self) -> bytes:
        """Return the frames that `feed` found to be owed (pongs, the echo of a close frame) and forget them."""
        replies = bytes(self._replies)
        self._replies.clear()
        return replies

    def _read(self, data: bytes, messages: list[bytes]) -> None:
        position = 0
        if self._missing:
            position = self._take_payload(data, 0, messages)
        elif self._header:
            data = self._header + data
            self._header = b""
        end = len(data)
        while not self._ended:
            if not self._in_message:
                position = _take_plain_frames(data, position, self._limit, messages)
            if position == end:
                return
            position = self._start_frame(data, position, messages)

    def _start_frame(self, data: bytes, position: int, messages: list[bytes]) -> int:
        """Read the header at *position* and what the chunk holds of its payload; return where that ends."""
        header = _parse_header(data, position)
        if header is None:
            self._header = data[position:]
            return len(data)
        start, size = header
        if not self._in_message and size <= self._limit and data[position:start] == _plain_header(size):
            self._payload = BytesIO()
        else:
            # The header goes first: wsproto refuses an illegal one before we hold its size against the peer.
            self._delegate(data[position:start], messages)
            if not data[position] & _CONTROL_BIT:
                self._message_size += size
                if self._message_size > self._limit:
                    raise FrameError(
                        f"The server announced a message of {self._message_size} bytes or more, the limit is "
                        f"{self._limit} bytes. Raise max_message_size to accept it.",
                        _TOO_BIG,
                        messages,
                    )
        self._missing = size
        return self._take_payload(data, start, messages)

    def _take_payload(self, data: bytes, position: int, messages: list[bytes]) -> int:
        """Read what the chunk holds of the current frame's payload; return where that ends."""
        part = data[position : position + self._missing]
        self._missing -= len(part)
        if self._payload is None:
            if part:
                self._delegate(part, messages)
        else:
            # A chunk is copied once, whatever the size of the message, and getvalue() hands the buffer over.
            self._payload.write(part)
            if not self._missing:
                message = self._payload.getvalue()
                self._payload = None
                _check_utf8(message)
                messages.append(message)
        return position + len(part)

    def _delegate(self, data: bytes, messages: list[bytes]) -> None:
        """Let wsproto read part of a frame that is not plain, and act on what it reports."""
        # Imported late: most connections never carry such a frame before their first ping.
        from wsproto.connection import Connection, ConnectionState, ConnectionType
        from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage

        if self._connection is None:
            self._connection = Connection(ConnectionType.CLIENT)
        connection = self._connection
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, Message):
                self._in_message = not event.message_finished
                if event.message_finished:
                    self._message_size = 0
                if isinstance(event, TextMessage):
                    # Not a list of pieces: a peer may send any number of empty ones.
                    self._text.write(event.data.encode())
                    if event.message_finished:
                        messages.append(self._text.getvalue())
                        self._text = BytesIO()
            elif isinstance(event, Ping):
                self._replies += connection.send(event.response())
            elif isinstance(event, Pong):
                self.pongs_received += 1
            elif isinstance(event, CloseConnection):
                if connection.state is ConnectionState.OPEN:
                    # A close frame would have changed the state: this is how wsproto reports a violation.
                    raise FrameError(
                        f"The server broke the WebSocket protocol: {event.reason}. Reconnect.",
                        int(event.code),
                        messages,
                    )
                self._ended = True
                self.close = CloseInfo(int(event.code), event.reason or "")
                if not self.close_sent:
                    self._replies += connection.send(event.response())
                    self.close_sent = True


def _take_plain_frames(data: bytes, position: int, limit: int, messages: list[bytes]) -> int:
    """Append the plain messages at *position* to *messages*; return where the first other or incomplete frame starts.

    The hot loop, about 0.12 µs per frame: one call of C code reads both header forms that fit into 16 bits of length.
    What it leaves out (larger frames, a short one in the last three bytes of a chunk) takes the slower path.
    """
    append = messages.append
    unpack = _unpack_two_shorts
    end = len(data)
    last = end - 4
    while position <= last:
        head, extended = unpack(data, position)
        size = head ^ 0x8100  # leaves the length if the first byte is that of a text frame and nothing is masked
        if size < 126:
            start = position + 2
            stop = start + size
        elif size == 126 and 125 < extended <= limit:
            start = position + 4
            stop = start + extended
        else:
            break
        if stop > end:
            break
        message = data[start:stop]
        if not message.isascii():
            str(message, "utf-8")
        append(message)
        position = stop
    return position


def _check_utf8(message: bytes) -> None:
    """Raise UnicodeDecodeError if *message* is not UTF-8, without decoding a large one as a whole."""
    if message.isascii():
        return
    decode = getincrementaldecoder("utf-8")().decode
    view = memoryview(message)
    for start in range(0, len(message), BLOCK_SIZE):
        decode(view[start : start + BLOCK_SIZE])
    decode(b"", final=True)


def _parse_header(data: bytes, position: int) -> tuple[int, int] | None:
    """Return where the payload of the frame at *position* starts and its size; None if the header is incomplete.

    The masking key is not counted: a masked frame from a server is an error that wsproto reports.
    """
    available = len(data) - position
    if available < 2:
        return None
    size = data[position + 1] & 0x7F
    if size < 126:
        return position + 2, size
    if size == 126:
        return (position + 4, _unpack_short(data, position + 2)[0]) if available >= 4 else None
    return (position + 10, _unpack_long(data, position + 2)[0]) if available >= 10 else None


def _plain_header(size: int) -> bytes:
    if size < 126:
        return bytes((_TEXT, size))
    if size < 1 << 16:
        return struct.pack(">BBH", _TEXT, 126, size)
    return struct.pack(">BBQ", _TEXT, 127, size)


def encode_text(message: bytes) -> bytes | Iterator[bytes | bytearray]:
    """Encode one text message as a masked client frame.

    Up to `BLOCK_SIZE` bytes the frame comes as one ``bytes``. A longer message comes as an iterator of pieces that are
    masked when they are asked for, so that no second copy of it exists; they must be written in order with nothing
    between them.

    Args:
        message: The text, UTF-8.
    """
    size = len(message)
    if size > BLOCK_SIZE:
        return encode_text_parts((message,), size)
    key = _take_key()
    header = _masked_header(_TEXT, size, key)
    return header + _mask(message, key) if size < _SMALLEST_TRANSLATED else bytes(_LongMask(key).apply(header, message))


def encode_text_parts(parts: Iterable[bytes], size: int) -> Iterator[bytes | bytearray]:
    """Encode one text message that is itself produced piece by piece, such as a file in base64.

    Args:
        parts: The text, UTF-8, in pieces of any size; taken one at a time.
        size: Their total size in bytes, which the frame announces before the first piece.
    Raises:
        ValueError: The parts do not add up to *size*. The frame is then broken and so is the connection.
    """
    key = _take_key()
    mask = _LongMask(key)
    prefix = _masked_header(_TEXT, size, key)
    missing = size
    for block in _blocks(parts):
        missing -= len(block)
        if missing < 0:
            break
        yield mask.apply(prefix, block)
        prefix = b""
    if missing:
        raise ValueError(f"A message of {size} bytes was announced, its parts have {size - missing} bytes or more.")
    if prefix:
        yield prefix


def _blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of `BLOCK_SIZE`, the last one shorter. A multiple of four keeps the key in step."""
    block = b""
    for part in parts:
        start = BLOCK_SIZE - len(block)
        block += part[:start]
        while len(block) == BLOCK_SIZE:
            yield block
            block = part[start : start + BLOCK_SIZE]
            start += BLOCK_SIZE
    if block:
        yield block


def encode_ping(payload: bytes) -> bytes:
    """Encode a ping as a masked client frame.

    Raises:
        ValueError: *payload* is longer than the 125 bytes that a control frame can hold.
    """
    return _control_frame(_PING, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """Encode a close frame as a masked client frame.

    Args:
        code: Why, such as 1000 (done) or a `FrameError.close_code`.
        reason: For the peer's log. What exceeds 123 bytes of UTF-8 is cut off.
    Raises:
        ValueError: *code* may not be sent in a close frame.
    """
    if not 1000 <= code < 5000 or code in _CODES_NEVER_SENT:
        raise ValueError(f"Close code {code} may not be sent; use 1000 to 4999 except 1004, 1005, 1006 and 1015.")
    text = reason.encode("utf-8", "replace")[: _LARGEST_CONTROL_PAYLOAD - 2]
    # The cut may have gone through a character.
    return _control_frame(_CLOSE, struct.pack(">H", code) + text.decode("utf-8", "ignore").encode())


def _control_frame(first_byte: int, payload: bytes) -> bytes:
    if len(payload) > _LARGEST_CONTROL_PAYLOAD:
        raise ValueError(
            f"A control frame holds at most {_LARGEST_CONTROL_PAYLOAD} bytes, the payload has {len(payload)}."
        )
    key = _take_key()
    return _masked_header(first_byte, len(payload), key) + _mask(payload, key)


def _masked_header(first_byte: int, size: int, key: bytes) -> bytes:
    if size < 126:
        return _pack_small_header(first_byte, 0x80 | size, key)
    if size < 1 << 16:
        return _pack_medium_header(first_byte, 0x80 | 126, size, key)
    return _pack_large_header(first_byte, 0x80 | 127, size, key)


def _mask(data: bytes, key: bytes) -> bytes:
    """XOR *data* with *key*, repeated."""
    size = len(data)
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ mask).to_bytes(size, "little")


class _LongMask:
    """As `_mask`, for blocks of the same message: the interpreter has no operation for it, and this is a third faster.

    Every fourth byte meets the same byte of the key, and what that does to any byte is a table.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._tables = [(_ALL_BYTES ^ _ONES * byte).to_bytes(256, "big") for byte in key]

    def apply(self, prefix: bytes, block: bytes) -> bytes | bytearray:
        """*prefix* as it is, then *block* masked."""
        if len(block) < _SMALLEST_TRANSLATED:
            return prefix + _mask(block, self._key)
        start = len(prefix)
        masked = bytearray(start + len(block))
        masked[:start] = prefix
        for offset, table in enumerate(self._tables):
            masked[start + offset :: 4] = block[offset::4].translate(table)
        return masked


_SMALLEST_TRANSLATED = 4096
_ALL_BYTES = int.from_bytes(range(256), "big")
_ONES = int.from_bytes(b"\1" * 256, "big")


_unused_keys: list[bytes] = []
# A child would otherwise mask with the keys that its parent uses. Windows has neither fork nor the hook.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unused_keys.clear)


def _take_key() -> bytes:
    """Return four fresh, unpredictable bytes; callable from any thread."""
    try:
        return _unused_keys.pop()
    except IndexError:
        # One system call for many keys: a call for each would cost more than masking a short message.
        entropy = os.urandom(4 * _KEYS_PER_READ)
        keys = [entropy[start : start + 4] for start in range(0, len(entropy), 4)]
        # Kept back before the others are shared: another thread may take all of those at once.
        own = keys.pop()
        _unused_keys.extend(keys)
        return own
