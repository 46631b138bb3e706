"""Framing: each rule by itself, then against wsproto and websockets on generated and on damaged streams.

Where the three may differ, and why that is accepted:

- A message that is not UTF-8: wsproto refuses the first wrong byte, we refuse a plain frame once it is complete, and
  websockets leaves it to its connection layer (`websockets_reads` does that layer's work).
- websockets accepts lengths that are encoded longer than needed or have the top bit set, and close code 1014. It
  refuses a close frame inside a fragmented message, and may name the other of two faults in one frame. There we follow
  wsproto.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from codecs import getincrementaldecoder
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import uncovered
from websockets.frames import Frame
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from lmstudio._frames import (
    BLOCK_SIZE,
    CloseInfo,
    FrameError,
    FrameReader,
    encode_close,
    encode_ping,
    encode_text,
    encode_text_parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_LIMIT = (1 << 63) - 1
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CHARACTERS = "aé世😀"  # one to four bytes of UTF-8


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """A frame as a server may send it, or may not: *rsv* and *mask* are violations."""
    first = fin << 7 | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        header = struct.pack(">BB", first, masked | size)
    elif size < 1 << 16:
        header = struct.pack(">BBH", first, masked | 126, size)
    else:
        header = struct.pack(">BBQ", first, masked | 127, size)
    return header + mask + payload


def long_header(opcode: int, size: int) -> bytes:
    return struct.pack(">BBQ", 0x80 | opcode, 127, size)


def read(*chunks: bytes, limit: int = NO_LIMIT) -> list[bytes]:
    reader = FrameReader(max_message_size=limit)
    return [message for chunk in chunks for message in reader.feed(chunk)]


def failure(*chunks: bytes, limit: int = NO_LIMIT) -> FrameError:
    with pytest.raises(FrameError) as caught:
        read(*chunks, limit=limit)
    return caught.value


def sent(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of the frames in *data*, which must be whole, legal client frames."""
    server = Protocol(Side.SERVER, max_size=None)
    server.receive_data(data + frame(PING, b"end", mask=b"\0\0\0\0"))
    assert server.parser_exc is None
    frames = [(int(event.opcode), bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]
    if frames[-1][0] != CLOSE:
        assert frames.pop() == (PING, b"end")
    return frames


def joined(encoded: bytes | Iterable[bytes | bytearray]) -> bytes:
    return encoded if isinstance(encoded, bytes) else b"".join(encoded)


# Reading, rule by rule


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_message_of_each_header_form_is_delivered(size: int) -> None:
    message = b"x" * size
    assert read(frame(TEXT, message) + frame(TEXT, b"next")) == [message, b"next"]


def test_messages_come_out_in_order_wherever_the_chunks_end() -> None:
    stream = frame(TEXT, b"a") + frame(TEXT) + frame(TEXT, "é".encode() * 70) + frame(PING) + frame(TEXT, b"z" * 9)
    expected = [b"a", b"", "é".encode() * 70, b"z" * 9]
    for middle in range(len(stream) + 1):
        assert read(stream[:middle], stream[middle:]) == expected
    assert read(*(stream[index : index + 1] for index in range(len(stream)))) == expected


def test_messages_can_be_decoded_by_msgspec() -> None:
    (plain, fragmented) = read(frame(TEXT, b'{"a":1}') + frame(TEXT, b'{"a"', fin=False) + frame(CONT, b":2}"))
    assert [msgspec.json.decode(plain), msgspec.json.decode(fragmented)] == [{"a": 1}, {"a": 2}]
    assert type(plain) is bytes
    assert type(fragmented) is bytes


def test_incomplete_frame_yields_nothing() -> None:
    assert read(frame(TEXT, b"abc")[:-1]) == []
    assert read(b"\x81", b"\x7e", b"\x01") == []


def test_large_message_is_held_once_while_it_arrives() -> None:
    message = CHARACTERS.encode() * 800_000
    stream = frame(TEXT, message)
    reader = FrameReader(max_message_size=len(message))
    tracemalloc.start()
    try:
        messages = [
            m for start in range(0, len(stream), 1 << 16) for m in reader.feed(stream[start : start + (1 << 16)])
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert messages == [message]
    assert peak < 1.5 * len(message)


def test_fragments_are_joined_even_inside_a_character() -> None:
    first, second = CHARACTERS.encode()[:4], CHARACTERS.encode()[4:]
    frames = [frame(TEXT, first, fin=False), frame(CONT, b"", fin=False), frame(CONT, second), frame(TEXT, b"after")]
    assert read(b"".join(frames)) == [CHARACTERS.encode(), b"after"]
    assert read(*frames) == [CHARACTERS.encode(), b"after"]
    assert read(frame(TEXT, fin=False) + frame(CONT)) == [b""]


def test_binary_messages_are_dropped() -> None:
    stream = frame(BINARY, b"\xff") + frame(BINARY, b"\xff" * 9, fin=False) + frame(CONT, b"\xfe") + frame(TEXT, b"t")
    assert read(stream) == [b"t"]
    assert read(stream[:7], stream[7:12], stream[12:]) == [b"t"]


def test_pings_are_answered_in_order_with_their_payload() -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    stream = frame(PING, b"one") + frame(TEXT, b"a", fin=False) + frame(PING, b"p" * 125) + frame(CONT, b"b")
    assert reader.feed(stream + frame(PING)) == [b"ab"]
    assert sent(reader.take_replies()) == [(PONG, b"one"), (PONG, b"p" * 125), (PONG, b"")]
    assert reader.take_replies() == b""


def test_pongs_are_counted() -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    reader.feed(frame(PONG, b"a") + frame(TEXT, b"t") + frame(PONG))
    reader.feed(frame(PONG))
    assert reader.pongs_received == 3
    assert reader.take_replies() == b""


@pytest.mark.parametrize(
    ("payload", "info"),
    [
        (struct.pack(">H", 1001) + "bye é".encode(), CloseInfo(1001, "bye é")),
        (struct.pack(">H", 4999), CloseInfo(4999, "")),
        (b"", CloseInfo(1005, "")),
    ],
)
def test_close_frame_is_reported_and_echoed(payload: bytes, info: CloseInfo) -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    assert reader.feed(frame(TEXT, b"last") + frame(CLOSE, payload)) == [b"last"]
    assert reader.close == info
    assert reader.close_sent
    assert sent(reader.take_replies()) == [(CLOSE, payload)]


def test_everything_after_the_close_frame_is_ignored() -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    assert reader.feed(frame(CLOSE) + frame(TEXT, b"late") + frame(PING) + b"\xff\xff") == []
    assert reader.feed(frame(TEXT, b"later") + b"\xff\xff") == []
    assert sent(reader.take_replies()) == [(CLOSE, b"")]


def test_answer_to_our_close_frame_is_not_echoed_but_pings_still_are() -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    reader.close_sent = True
    assert reader.feed(frame(TEXT, b"crossing") + frame(PING, b"p") + frame(CLOSE, b"\x03\xe8")) == [b"crossing"]
    assert reader.close == CloseInfo(1000, "")
    assert sent(reader.take_replies()) == [(PONG, b"p")]


VIOLATIONS = {
    "masked": (frame(TEXT, b"abc", mask=b"mask"), 1002),
    "masked empty": (frame(TEXT, mask=b"mask"), 1002),
    "masked medium": (frame(TEXT, b"a" * 200, mask=b"mask"), 1002),
    "reserved bit 1": (frame(TEXT, b"abc", rsv=4), 1002),
    "reserved bit 2": (frame(TEXT, b"abc", rsv=2), 1002),
    "reserved bit 3": (frame(PING, b"abc", rsv=1), 1002),
    "reserved data opcode": (frame(0x3, b"abc"), 1002),
    "reserved control opcode": (frame(0xB, b"abc"), 1002),
    "fragmented control frame": (frame(PING, b"abc", fin=False), 1002),
    "long control frame": (frame(PING, b"a" * 126), 1002),
    "continuation of nothing": (frame(CONT, b"abc"), 1002),
    "text inside a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "binary inside a message": (frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), 1002),
    "short length in 16 bits": (b"\x81\x7e\x00\x7d" + b"a" * 125, 1002),
    "medium length in 64 bits": (long_header(TEXT, 65535) + b"a" * 65535, 1002),
    "length with the top bit": (long_header(TEXT, 1 << 63), 1002),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "close code below 1000": (frame(CLOSE, b"\x00\x01"), 1002),
    "close code never sent": (frame(CLOSE, struct.pack(">H", 1006)), 1002),
    "close reason not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "text not UTF-8": (frame(TEXT, b"ab\xff"), 1007),
    "text ends inside a character": (frame(TEXT, "é".encode()[:1]), 1007),
    "surrogate in text": (frame(TEXT, b"\xed\xa0\x80" * 60), 1007),
    "large text not UTF-8": (frame(TEXT, b"a" * 200_000 + b"\xff"), 1007),
    "large text ends inside a character": (frame(TEXT, b"a" * 200_000 + "é".encode()[:1]), 1007),
    "fragment not UTF-8": (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\xc3"), 1007),
}


@pytest.mark.parametrize(("stream", "code"), VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violation_fails_with_its_close_code(stream: bytes, code: int) -> None:
    before = frame(TEXT, b"before")
    whole = failure(before + stream + frame(TEXT, b"after"))
    assert (whole.close_code, whole.messages) == (code, [b"before"])
    middle = len(before) + len(stream) // 2
    assert failure((before + stream)[:middle], (before + stream)[middle:]).close_code == code


def test_nothing_is_read_after_a_violation() -> None:
    reader = FrameReader(max_message_size=NO_LIMIT)
    with pytest.raises(FrameError, match="broke the WebSocket protocol"):
        reader.feed(frame(PING, b"owed") + frame(CONT))
    assert reader.feed(frame(TEXT, b"late") + frame(PING)) == []
    assert reader.close is None
    assert sent(reader.take_replies()) == [(PONG, b"owed")]


@pytest.mark.parametrize("limit", [125, 126, 1000, 65535, 65536, 100_000])
def test_message_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(limit: int) -> None:
    assert read(frame(TEXT, b"x" * limit), limit=limit) == [b"x" * limit]
    error = failure(frame(TEXT, b"x" * (limit + 1)), limit=limit)
    assert error.close_code == 1009
    assert f"{limit + 1} bytes" in str(error)
    assert "max_message_size" in str(error)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_header_of_a_large_message_is_refused_before_its_payload_arrives(opcode: int) -> None:
    assert failure(frame(TEXT, b"ok") + long_header(opcode, 1 << 40), limit=1 << 20).messages == [b"ok"]


def test_fragments_beyond_the_limit_together_are_refused() -> None:
    first, second = frame(TEXT, b"x" * 80, fin=False), frame(CONT, b"y" * 46)
    assert read(first + frame(CONT, b"y" * 45), limit=125) == [b"x" * 80 + b"y" * 45]
    assert failure(first + second, limit=125).close_code == 1009
    assert failure(first, second[:2], limit=125).close_code == 1009
    assert failure(frame(BINARY, b"x" * 80, fin=False) + second, limit=125).close_code == 1009


def test_limit_counts_each_message_by_itself_and_no_control_frames() -> None:
    message = frame(TEXT, b"x" * 80, fin=False) + frame(PING, b"p" * 100) + frame(CONT, b"y" * 40)
    assert read(message * 5, limit=125) == [b"x" * 80 + b"y" * 40] * 5
    assert read(frame(BINARY, b"x" * 100) * 5 + message, limit=125) == [b"x" * 80 + b"y" * 40]


def test_limit_below_a_control_frame_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 125"):
        FrameReader(max_message_size=124)


# Writing


@pytest.mark.parametrize("size", [0, 1, 3, 125, 126, 65535, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 7])
def test_encoded_text_is_read_back_by_both_libraries(size: int) -> None:
    whole_characters = (CHARACTERS.encode() * size)[:size].decode(errors="ignore").encode()
    message = whole_characters.ljust(size, b".")
    encoded = encode_text(message)
    assert isinstance(encoded, bytes) == (size <= BLOCK_SIZE)
    encoded = joined(encoded)
    assert sent(encoded) == [(TEXT, message)]
    server = Connection(ConnectionType.SERVER)
    server.receive_data(encoded)
    text = "".join(event.data for event in server.events() if isinstance(event, TextMessage))
    assert text.encode() == message


def test_large_message_is_encoded_in_blocks_without_a_copy() -> None:
    message = b"0123456789" * 1_000_000
    tracemalloc.start()
    try:
        sizes = [len(block) for block in encode_text(message) if isinstance(block, (bytes, bytearray))]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(sizes) <= BLOCK_SIZE + 14
    assert sum(sizes) == len(message) + 14
    assert peak < 1_000_000


@given(st.lists(st.binary(max_size=9), max_size=9))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_parts_become_one_message(parts: list[bytes]) -> None:
    assert sent(joined(encode_text_parts(parts, sum(map(len, parts))))) == [(TEXT, b"".join(parts))]


def test_parts_of_any_size_are_encoded_in_full_blocks() -> None:
    parts = [b"head", b"x" * (2 * BLOCK_SIZE), b"", b"tail" * BLOCK_SIZE, b"."]
    size = sum(map(len, parts))
    blocks = list(encode_text_parts(parts, size))
    assert sent(b"".join(blocks)) == [(TEXT, b"".join(parts))]
    assert [len(block) for block in blocks] == [BLOCK_SIZE + 14, *[BLOCK_SIZE] * 5, 5]


def test_parts_that_do_not_add_up_are_refused() -> None:
    for size, blocks in ((BLOCK_SIZE + 5, 1), (BLOCK_SIZE + 7, 2)):
        encoded = encode_text_parts([b"." * BLOCK_SIZE, b"abc", b"def", b""], size)
        for _ in range(blocks):
            next(encoded)
        with pytest.raises(ValueError, match=f"{size} bytes was announced"):
            next(encoded)


def test_ping_and_close_are_read_back() -> None:
    assert sent(encode_ping(b"") + encode_ping(b"p" * 125)) == [(PING, b""), (PING, b"p" * 125)]
    assert sent(encode_close(1000)) == [(CLOSE, b"\x03\xe8")]
    assert sent(encode_close(1009, "too big")) == [(CLOSE, struct.pack(">H", 1009) + b"too big")]


def test_long_close_reason_is_cut_between_characters() -> None:
    ((_, payload),) = sent(encode_close(1000, "é" * 100))
    assert payload[2:].decode() == "é" * 61
    assert sent(encode_close(1000, "bad \ud800")) == [(CLOSE, b"\x03\xe8bad ?")]


def test_control_frames_that_no_peer_would_accept_are_not_made() -> None:
    with pytest.raises(ValueError, match="at most 125"):
        encode_ping(b"p" * 126)
    for code in (0, 999, 1004, 1005, 1006, 1015, 5000):
        with pytest.raises(ValueError, match=str(code)):
            encode_close(code)


def test_every_frame_has_its_own_masking_key() -> None:
    keys = {encode_ping(b"")[2:] for _ in range(20)}
    assert len(keys) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forked_child_does_not_reuse_the_keys_of_its_parent() -> None:
    # In a process of its own: forking one with threads is not safe, and the test run may have some.
    program = """
import os
from lmstudio._frames import encode_ping
encode_ping(b"")
reader, writer = os.pipe()
child = os.fork()
keys = b"".join(encode_ping(b"")[2:] for _ in range(8))
if child == 0:
    os.write(writer, keys)
    os._exit(0)
os.waitpid(child, 0)
print(keys.hex(), os.read(reader, 100).hex())
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=uncovered())
    parent, child = (bytes.fromhex(keys) for keys in run.stdout.split())
    assert len(parent) == len(child) == 32
    assert not set(struct.unpack("8I", parent)) & set(struct.unpack("8I", child))


def test_wsproto_is_imported_only_for_frames_that_need_it() -> None:
    program = """
import sys
from lmstudio._frames import FrameReader
reader = FrameReader(max_message_size=1000)
assert reader.feed(bytes([0x81, 1, 97])) == [b"a"]
assert "wsproto" not in sys.modules
reader.feed(bytes([0x89, 0]))
assert "wsproto" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# Against other implementations


@dataclass
class Reading:
    """What an implementation made of a stream, in one shape for all."""

    messages: list[bytes] = field(default_factory=list)
    replies: list[tuple[int, bytes]] = field(default_factory=list)
    pongs: int = 0
    close: tuple[int, str] | None = None
    error: int | None = None
    detail: str = field(default="", compare=False)


def we_read(chunks: Iterable[bytes], limit: int = NO_LIMIT) -> Reading:
    reading = Reading()
    reader = FrameReader(max_message_size=limit)
    for chunk in chunks:
        try:
            reading.messages += reader.feed(chunk)
        except FrameError as error:
            reading.messages += error.messages
            reading.error = error.close_code
        replies = reader.take_replies()
        if replies:
            reading.replies += sent(replies)
    reading.pongs = reader.pongs_received
    if reader.close is not None:
        reading.close = (reader.close.code, reader.close.reason)
    return reading


def wsproto_reads(chunks: Iterable[bytes]) -> Reading:
    reading = Reading()
    connection = Connection(ConnectionType.CLIENT)
    replies = b""
    text = ""
    for chunk in chunks:
        if reading.close is not None:
            break
        connection.receive_data(chunk)
        for event in connection.events():
            if isinstance(event, TextMessage):
                text += event.data
                if event.message_finished:
                    reading.messages.append(text.encode())
                    text = ""
            elif isinstance(event, Ping):
                replies += connection.send(event.response())
            elif isinstance(event, Pong):
                reading.pongs += 1
            elif isinstance(event, CloseConnection) and connection.state is ConnectionState.OPEN:
                reading.error = int(event.code)
            elif isinstance(event, CloseConnection):
                reading.close = (int(event.code), event.reason or "")
                replies += connection.send(event.response())
            else:
                assert isinstance(event, BytesMessage)
    reading.replies = sent(replies) if replies else []
    return reading


def websockets_reads(chunks: Iterable[bytes], limit: int | None = None) -> Reading:
    reading = Reading()
    client = Protocol(Side.CLIENT, max_size=limit)
    for chunk in chunks:
        client.receive_data(chunk)
    text: list[bytes] | None = None
    decode = getincrementaldecoder("utf-8")().decode
    for event in client.events_received():
        assert isinstance(event, Frame)
        payload = bytes(event.data)
        if event.opcode == TEXT:
            text, decode = [], getincrementaldecoder("utf-8")().decode
        if event.opcode == PING:
            reading.replies.append((PONG, payload))
        elif event.opcode == PONG:
            reading.pongs += 1
        elif event.opcode == CLOSE:
            assert client.close_rcvd is not None
            reading.replies.append((CLOSE, payload))
            reading.close = (client.close_rcvd.code, client.close_rcvd.reason)
        elif text is not None and event.opcode != BINARY:
            text.append(payload)
            try:
                decode(payload, final=event.fin)
            except UnicodeDecodeError:
                reading.error = 1007
                return reading
            if event.fin:
                reading.messages.append(b"".join(text))
                text = None
    if client.parser_exc is not None:
        assert client.close_sent is not None
        reading.error = client.close_sent.code
        reading.detail = str(client.parser_exc)
    return reading


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(edges)]


CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)
# Completes whatever is unfinished and is itself a violation, so that every reader comes to a verdict. The longest
# length that a short damaged header can announce is 65535.
PADDING = b"\xff" * 66_000
SENTINEL = frame(TEXT, b"sentinel")
MISENCODED_LENGTHS = (b"\x81\x7e\x00\x7d", b"\x81\x7f\x80")
HEADER_BYTES = b"\x00\x01\x02\x03\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xc1\xff"

payloads = st.one_of(
    st.binary(max_size=12).map(lambda data: data.decode("utf-8", "replace").encode()),
    st.text(CHARACTERS, max_size=60).map(str.encode),
    st.sampled_from([125, 126, 127, 300]).map(lambda size: b"x" * size),
)
control_frames = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def legal_frames(draw: st.DrawFn) -> list[bytes]:
    """The frames of one message, fragmented or not, with control frames between them; or one control frame."""
    kind = draw(st.sampled_from(["plain", "plain", "fragmented", "binary", "control"]))
    if kind == "plain":
        return [frame(TEXT, draw(payloads))]
    if kind == "control":
        return [draw(control_frames)]
    pieces = cut(draw(payloads), draw(st.lists(st.integers(0, 400), max_size=4)))
    frames: list[bytes] = []
    for index, piece in enumerate(pieces):
        opcode = (TEXT if kind == "fragmented" else BINARY) if index == 0 else CONT
        frames.append(frame(opcode, piece, fin=index == len(pieces) - 1))
        if index < len(pieces) - 1:
            frames += draw(st.lists(control_frames, max_size=1))
    return frames


streams = st.lists(legal_frames(), max_size=8).map(lambda messages: [part for frames in messages for part in frames])
damage = st.one_of(
    st.sampled_from([stream for stream, _ in VIOLATIONS.values() if len(stream) < 1000]),
    st.builds(frame, st.just(CLOSE), st.binary(max_size=2)),
    st.builds(lambda code: frame(CLOSE, struct.pack(">H", code) + b"why"), st.integers(990, 1020)),
    st.builds(lambda payload: frame(TEXT, payload), st.binary(max_size=6)),
    st.builds(lambda payload: frame(TEXT, payload, fin=False), st.binary(max_size=6)),
)


@given(streams, CUTS)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_legal_streams_are_read_as_by_wsproto_and_websockets(frames: list[bytes], places: list[int]) -> None:
    chunks = cut(b"".join(frames) + SENTINEL, places)
    ours = we_read(chunks)
    assert ours.error is None
    assert ours.messages[-1] == b"sentinel"
    assert ours == wsproto_reads(chunks)
    assert ours == websockets_reads(chunks)


@given(streams, CUTS, st.integers(0, 1 << 20))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_truncated_streams_are_read_as_by_wsproto_and_websockets(
    frames: list[bytes], places: list[int], end: int
) -> None:
    stream = b"".join(frames) + SENTINEL
    chunks = cut(stream[: end % len(stream)], places)
    ours = we_read(chunks)
    assert ours == wsproto_reads(chunks)
    assert ours == websockets_reads(chunks)


@given(streams, damage, st.integers(0, 99), CUTS)
@settings(derandomize=True, deadline=None, max_examples=400)
def test_damaged_streams_fail_as_with_wsproto_and_websockets(
    frames: list[bytes], damaged: bytes, place: int, places: list[int]
) -> None:
    index = place % (len(frames) + 1)
    stream = b"".join([*frames[:index], damaged, *frames[index:], SENTINEL])
    chunks = [*cut(stream, places), PADDING]
    ours = we_read(chunks)
    assert ours == wsproto_reads(chunks)
    theirs = websockets_reads(chunks)
    if theirs.detail == "incomplete fragmented message" or theirs.close == (1014, "why"):
        assert ours.messages == theirs.messages
    elif not damaged.startswith(MISENCODED_LENGTHS):
        assert ours == theirs


@given(
    st.one_of(
        st.lists(st.sampled_from(HEADER_BYTES), max_size=40).map(bytes),
        st.tuples(streams.map(b"".join), st.integers(0, 1 << 20), st.integers(0, 255)).map(
            lambda case: bytes(case[2] if at == case[1] % len(case[0]) else b for at, b in enumerate(case[0]))
        ),
    ),
    CUTS,
)
@settings(derandomize=True, deadline=None, max_examples=500)
def test_arbitrary_bytes_are_read_as_by_wsproto(stream: bytes, places: list[int]) -> None:
    chunks = [*cut(stream + SENTINEL, places), PADDING]
    ours, theirs = we_read(chunks), wsproto_reads(chunks)
    if ours.error is None and theirs.error == 1007:
        # A plain frame that is longer than the padding: we judge its text when the frame is complete.
        theirs.error = None
    assert ours == theirs


@given(st.lists(st.lists(st.integers(0, 140), min_size=1, max_size=3), max_size=4), CUTS)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_limit_is_applied_as_by_websockets(messages: list[list[int]], places: list[int]) -> None:
    parts = [(at, len(sizes) - 1, size) for sizes in messages for at, size in enumerate(sizes)]
    chunks = cut(b"".join(frame(CONT if at else TEXT, b"x" * size, fin=at == last) for at, last, size in parts), places)
    assert we_read(chunks, 130) == websockets_reads(chunks, 130)
