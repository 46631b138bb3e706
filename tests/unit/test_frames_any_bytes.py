"""The frame splitter and bytes that no server would send: it may refuse them, and nothing else."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_frames import CONT, CUTS, PADDING, PING, TEXT, cut, damage, frame, streams, we_read

from lmstudio._frames import FrameError, FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unmeasured

LIMIT = 200
KIB = 1024

# Bytes with which frames begin are likelier than others, or hardly anything but the first header would be read.
anything = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b"\x81", b"\x01", b"\x80", b"\x00", b"\x82", b"\x88", b"\x89", b"\x81\x7e", b"\x81\x7f"])
    | st.builds(frame, st.sampled_from([CONT, TEXT, 2, 8, PING, 10]), st.binary(max_size=LIMIT + 1), fin=st.booleans())
    | damage,
    max_size=12,
)


def fed(reader: FrameReader, chunk: bytes) -> tuple[list[bytes], int | None]:
    try:
        return reader.feed(chunk), None
    except FrameError as error:
        return error.messages, error.close_code


@given(anything)
@settings(derandomize=True, deadline=None, max_examples=400)
def test_whatever_comes_is_read_or_refused_and_then_ignored(chunks: list[bytes]) -> None:
    reader = FrameReader(max_message_size=LIMIT)
    has_ended = False
    for chunk in chunks:
        messages, close_code = fed(reader, chunk)
        assert close_code in (None, 1002, 1007, 1009)
        assert not has_ended or (messages, close_code) == ([], None)
        has_ended = has_ended or close_code is not None
        for message in messages:
            assert len(message) <= LIMIT
            message.decode()
        has_ended = has_ended or reader.close is not None
        replies = reader.take_replies()
        # A pong is as long as its ping, and four bytes of mask; the header may have come with the chunk before.
        assert len(replies) <= 3 * len(chunk) + 131
    if has_ended:
        before = (reader.close, reader.pongs_received)
        assert reader.feed(frame(TEXT, b"late") + frame(PING, b"late") + frame(10)) == []
        assert reader.take_replies() == b""
        assert (reader.close, reader.pongs_received) == before


@given(streams, damage, st.integers(0, 99), CUTS, st.sampled_from([125, 300, 1 << 40]))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_verdict_does_not_depend_on_where_the_chunks_end(
    frames: list[bytes], damaged: bytes, place: int, places: list[int], limit: int
) -> None:
    index = place % (len(frames) + 1)
    stream = b"".join([*frames[:index], damaged, *frames[index:]])
    assert we_read([*cut(stream, places), PADDING], limit) == we_read([stream + PADDING], limit)


def pieces_without_end() -> Iterator[bytes]:
    yield frame(TEXT, b"x", fin=False)
    while True:
        yield frame(CONT, b"", fin=False) * 9 + frame(CONT, b"x" * 100, fin=False)


def binary_without_end() -> Iterator[bytes]:
    yield frame(2, b"x", fin=False)
    while True:
        yield frame(CONT, b"x" * 100, fin=False)


def header_byte_by_byte() -> Iterator[bytes]:
    for byte in b"\x81\x7f\x40" + bytes(7):
        yield bytes((byte,))
    while True:
        yield b"x" * 100


@pytest.mark.parametrize("attack", [pieces_without_end, binary_without_end, header_byte_by_byte])
def test_endless_message_is_refused_and_holds_no_more_than_the_limit(attack: object) -> None:
    assert callable(attack)
    limit = 64 * KIB
    reader = FrameReader(max_message_size=limit)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError) as refused:
            for chunk in attack():
                assert reader.feed(chunk) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.close_code == 1009
    assert peak < 3 * limit
