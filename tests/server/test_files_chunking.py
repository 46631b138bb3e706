"""Documents cut into pieces: none too long, nothing lost, places right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstudio.server.files.chunking import Chunk, chunks, halves
from lmstudio.server.files.parsing import Document

TEXTS = st.text(alphabet=st.sampled_from("ab \n.é"), max_size=200)


def cut(text: str, size: int, overlap: int = 0) -> list[Chunk]:
    return chunks(Document((text,), is_paged=False), size, overlap)


def test_text_that_fits_is_one_piece() -> None:
    assert cut("one\n\ntwo", 100) == [Chunk("one\n\ntwo", None, 1, 3)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("first paragraph\n\nsecond one", ["first paragraph", "second one"]),
        ("first line\nsecond line", ["first line", "second line"]),
        ("One is here. Two is there.", ["One is here.", "Two is there."]),
        ("several words in one line", ["several words", "in one line"]),
        ("x" * 35, ["x" * 16, "x" * 16, "x" * 3]),
        ("\n\n  \n", []),
        ("", []),
    ],
)
def test_cuts_are_where_the_text_allows_them(text: str, pieces: list[str]) -> None:
    assert [chunk.text for chunk in cut(text, 16)] == pieces


def test_end_of_a_piece_is_repeated_in_the_next_one() -> None:
    assert [chunk.text for chunk in cut("a1 b2 c3 d4 e5", 9, 6)] == ["a1 b2 c3", "b2 c3 d4", "c3 d4 e5"]


def test_pages_are_cut_by_themselves() -> None:
    found = chunks(Document(("one", "", "two\nlines"), is_paged=True), 100, 0)

    assert found == [Chunk("one", 1, 1, 1), Chunk("two\nlines", 3, 1, 2)]


@given(TEXTS, st.integers(1, 40), st.data())
def test_pieces_are_short_enough_and_stand_where_they_say(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size - 1))
    lines = text.split("\n")
    for chunk in cut(text, size, overlap):
        assert 1 <= len(chunk.text) <= size
        assert chunk.text in "\n".join(lines[chunk.first_line - 1 : chunk.last_line])
        assert chunk.last_line - chunk.first_line == chunk.text.count("\n")


@given(TEXTS, st.integers(1, 40))
def test_nothing_is_lost_or_doubled_without_overlap(text: str, size: int) -> None:
    assert "".join("".join(chunk.text.split()) for chunk in cut(text, size)) == "".join(text.split())


@given(TEXTS, st.integers(1, 40))
def test_halves_are_shorter_and_complete(text: str, first_line: int) -> None:
    for chunk in cut(text, 100):
        whole = Chunk(chunk.text, None, first_line, first_line + chunk.text.count("\n"))
        parts = halves(whole)
        assert "".join("".join(part.text.split()) for part in parts) == "".join(chunk.text.split())
        assert len(chunk.text) == 1 or all(len(part.text) < len(chunk.text) for part in parts)
        assert (parts[0].first_line, parts[-1].last_line) == (whole.first_line, whole.last_line)
