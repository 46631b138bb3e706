"""The parser of server-sent events, against the algorithm of the WHATWG written down as it stands there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmstudio as lms
from lmstudio.http._sse import EventParser, ServerSentEvent


def by_the_book(stream: bytes) -> list[ServerSentEvent]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6.

    Two things differ: what is left at the end is an event, and a `retry` of more than 18 digits is ignored.
    """
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events = []
    data, name, last_id, retry = "", "", "", None
    for line in [*lines, ""]:
        if not line:
            if data:
                events.append(ServerSentEvent(data.removesuffix("\n"), name, last_id, retry))
            data, name, retry = "", "", None
        elif line.startswith(":"):
            pass
        else:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data += value + "\n"
            elif field == "id" and "\0" not in value:
                last_id = value
            elif field == "retry" and value.isascii() and value.isdigit() and len(value) <= 18:
                retry = int(value)
    return events


def parse(*pieces: bytes) -> list[ServerSentEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


LINE_ENDS = st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"])
FIELDS = st.sampled_from(
    ["data", "data: ", "data:", "event: ", "event:", "id: ", "id", "retry: ", ":", "\ufeff", "x: "]
)
VALUES = st.one_of(
    st.text(max_size=8), st.sampled_from(["", " ", '{"a": 1}', "1000", "[DONE]", "\0", "ü€😀", "9" * 19])
)
STREAMS = st.lists(st.tuples(FIELDS, VALUES, LINE_ENDS).map("".join), max_size=12).map("".join)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts})
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]


@given(
    stream=STREAMS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    cuts=st.lists(st.integers(min_value=0), max_size=20),
)
def test_any_stream_in_any_pieces(stream: bytes, cuts: list[int]) -> None:
    assert parse(*cut(stream, cuts)) == by_the_book(stream)


@given(stream=st.binary(max_size=200), cuts=st.lists(st.integers(min_value=0), max_size=20))
def test_any_bytes_in_any_pieces(stream: bytes, cuts: list[int]) -> None:
    assert parse(*cut(stream, cuts)) == by_the_book(stream)


@given(stream=STREAMS.map(str.encode))
def test_byte_by_byte(stream: bytes) -> None:
    assert parse(*(bytes((byte,)) for byte in stream)) == by_the_book(stream)


def test_an_event_is_there_with_its_last_byte() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [ServerSentEvent("a")]
    assert parser.feed(b"data: b\r\r") == [ServerSentEvent("b")]
    assert parser.feed(b"\ndata: c\r\n\r") == [ServerSentEvent("c")]


def test_what_ends_without_a_blank_line_counts() -> None:
    assert parse(b"event: error\ndata: 1\ndata: 2") == [ServerSentEvent("1\n2", "error")]


def test_a_stream_of_comments_has_no_event_and_takes_no_memory() -> None:
    parser = EventParser(largest=100)
    for _ in range(100):
        assert parser.feed(b": keep-alive\n\n") == []
    assert parser.feed(b"data: x\n\n") == [ServerSentEvent("x")]


@pytest.mark.parametrize("piece", [b"a" * 60, b"data: aaaa\n" * 6], ids=["one line", "many lines"])
def test_an_event_without_end_is_refused(piece: bytes) -> None:
    parser = EventParser(largest=100)
    parser.feed(piece)
    with pytest.raises(lms.errors.LMStudioProtocolError, match="larger than 100 bytes"):
        parser.feed(piece)


def test_many_events_at_once_are_not_one_large_one() -> None:
    assert len(EventParser(largest=100).feed(b"data: aaaa\n\n" * 50)) == 50


def test_a_large_event_in_small_pieces_is_read_in_linear_time() -> None:
    parser = EventParser()
    piece = b"a" * 1024
    parser.feed(b"data: ")
    for _ in range(16 * 1024):
        assert parser.feed(piece) == []
    (event,) = parser.feed(b"\n\n")
    assert len(event.data) == 16 * 1024 * 1024
