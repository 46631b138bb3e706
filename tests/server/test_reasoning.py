"""The splitter that tells reasoning apart: tags in one piece or in many, tokens, and what is held back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstudio.server.engine.base import TextChunk, TokenInfo
from lmstudio.server.reasoning import Piece, ReasoningSplitter

if TYPE_CHECKING:
    from collections.abc import Iterable

TEXT = "Hi. <think>2 + 2</think> 4, not <think>5</think>."


def split(chunks: Iterable[str], *, is_open: bool = False) -> list[Piece]:
    splitter = ReasoningSplitter("<think>", "</think>", is_open=is_open)
    pieces = [piece for chunk in chunks for piece in splitter.feed(TextChunk(chunk, 1))]
    return pieces + splitter.finish()


def merged(pieces: Iterable[Piece]) -> list[tuple[str, str]]:
    """(kind, text), neighbours of one kind joined."""
    result: list[tuple[str, str]] = []
    for piece in pieces:
        if result and result[-1][0] == piece.kind:
            result[-1] = (piece.kind, result[-1][1] + piece.text)
        else:
            result.append((piece.kind, piece.text))
    return result


EXPECTED = [
    ("none", "Hi. "),
    ("reasoningStartTag", "<think>"),
    ("reasoning", "2 + 2"),
    ("reasoningEndTag", "</think>"),
    ("none", " 4, not <think>5</think>."),
]


def test_text_in_one_chunk_is_split_at_both_tags() -> None:
    assert merged(split([TEXT])) == EXPECTED


def test_tags_that_arrive_character_by_character_are_found() -> None:
    assert merged(split(TEXT)) == EXPECTED


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_the_split_does_not_depend_on_the_chunks(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TEXT)]
    chunks = [TEXT[start:end] for start, end in itertools.pairwise(edges) if end > start]
    pieces = split(chunks)
    assert merged(pieces) == EXPECTED
    assert sum(piece.token_count for piece in pieces) == len(chunks)


def test_each_tag_is_one_piece() -> None:
    kinds = [piece.kind for piece in split(TEXT)]
    assert (kinds.count("reasoningStartTag"), kinds.count("reasoningEndTag")) == (1, 1)


def test_text_without_tags_is_passed_on_at_once() -> None:
    splitter = ReasoningSplitter("<think>", "</think>")
    assert splitter.feed(TextChunk("Hello", 1)) == [Piece("Hello", 1)]


def test_beginning_of_a_tag_is_held_back_until_it_is_decided() -> None:
    splitter = ReasoningSplitter("<think>", "</think>")
    assert [piece.text for piece in splitter.feed(TextChunk("a <th", 1))] == ["a "]
    assert [piece.text for piece in splitter.feed(TextChunk("ree", 1))] == ["<three"]


def test_part_of_a_tag_at_the_end_is_text() -> None:
    assert merged(split(["a<thi"])) == [("none", "a<thi")]


def test_part_of_the_end_tag_at_the_end_is_reasoning() -> None:
    assert merged(split(["<think>a</thi"]))[-1] == ("reasoning", "a</thi")


def test_tag_that_begins_anew_within_its_own_beginning_is_found() -> None:
    splitter = ReasoningSplitter("aab", "c")
    pieces = [piece for chunk in "aaab" for piece in splitter.feed(TextChunk(chunk, 1))]
    assert merged(pieces) == [("none", "a"), ("reasoningStartTag", "aab")]


def test_open_text_begins_inside_the_reasoning() -> None:
    assert merged(split(["so</think>yes"], is_open=True)) == [
        ("reasoning", "so"),
        ("reasoningEndTag", "</think>"),
        ("none", "yes"),
    ]


def test_without_strings_all_text_is_of_one_kind() -> None:
    splitter = ReasoningSplitter("", "")
    assert splitter.feed(TextChunk("<think>", 1)) == [Piece("<think>", 1)]
    assert splitter.finish() == []


@pytest.mark.parametrize("start", ["<think>", ""])
def test_tokens_without_text_are_counted_with_the_next_text(start: str) -> None:
    splitter = ReasoningSplitter(start, start)
    assert splitter.feed(TextChunk("", 2)) == []
    assert splitter.feed(TextChunk("é", 1)) == [Piece("é", 3)]


def test_tokens_of_a_chunk_are_shared_out_by_length() -> None:
    splitter = ReasoningSplitter("<think>", "</think>")
    pieces = splitter.feed(TextChunk("aaaaaaa<think>", 4))
    assert [(piece.text, piece.token_count) for piece in pieces] == [("aaaaaaa", 2), ("<think>", 2)]


def test_each_token_goes_with_the_piece_in_which_it_begins() -> None:
    infos = [TokenInfo(1, "a <"), TokenInfo(2, "think"), TokenInfo(3, ">"), TokenInfo(4, "b")]
    splitter = ReasoningSplitter("<think>", "</think>")
    pieces = splitter.feed(TextChunk("a <think>b", 4, infos))
    assert [(piece.text, [info.id for info in piece.tokens]) for piece in pieces] == [
        ("a ", [1]),
        ("<think>", [2, 3]),
        ("b", [4]),
    ]


def test_tokens_that_were_held_back_are_not_lost() -> None:
    splitter = ReasoningSplitter("<think>", "</think>")
    pieces = splitter.feed(TextChunk("a<", 1, [TokenInfo(1, "a<")])) + splitter.feed(
        TextChunk("b", 1, [TokenInfo(2, "b")])
    )
    assert [(piece.text, [info.id for info in piece.tokens]) for piece in pieces] == [("a", [1]), ("<b", [2])]


def test_after_the_reasoning_tokens_pass_through() -> None:
    info = TokenInfo(9, "x", -0.5)
    splitter = ReasoningSplitter("<", ">")
    splitter.feed(TextChunk("<r>", 3))
    assert splitter.feed(TextChunk("x", 1, [info])) == [Piece("x", 1, "none", [info])]
