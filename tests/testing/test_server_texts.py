"""Text messages found in the bytes of a server, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstudio.testing._frames import ServerTexts, frame_header, text_frame

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 3000), max_size=12))
def test_messages_are_found_wherever_the_bytes_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    data = HEAD + b"".join(map(text_frame, messages))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    texts = ServerTexts()
    found = []
    ends = []
    for start, end in itertools.pairwise(places):
        for text in texts.feed(data[start:end]):
            found.append(text.text)
            ends.append((start + text.start, start + text.end))
    assert found == messages
    assert [data[start:end] for start, end in ends] == [text_frame(message) for message in messages]


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 70000])
def test_every_form_of_the_length(size: int) -> None:
    message = b"x" * size
    assert [each.text for each in ServerTexts().feed(HEAD + text_frame(message))] == [message]


def test_message_in_several_frames_with_a_ping_between() -> None:
    frames = frame_header(0x01, 2) + b"ab" + frame_header(0x89, 1) + b"!" + frame_header(0x80, 2) + b"cd"
    (found,) = ServerTexts().feed(HEAD + frames)
    assert found.text == b"abcd"
    assert (HEAD + frames)[found.start :] == frame_header(0x80, 2) + b"cd"


def test_what_is_not_text_is_no_message() -> None:
    assert ServerTexts().feed(HEAD + frame_header(0x82, 1) + b"x" + frame_header(0x88, 2) + b"\x03\xe8") == []
