"""What is read from docstrings of the three common styles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstudio._docstrings import parse_docstring

GOOGLE = """Book a table.

    Call this only when the guest has agreed.

    Args:
        guest (str): Who comes.
        seats (int, optional): How many chairs,
            children included.

            Never more than ten.
        when: The time: hours and minutes.
        extras (dict[str, tuple(int)]): What else.
        unexplained (str):

    Returns:
        str: A number.

    Example:
        book("Ann")
    """

NUMPY = """
    Book a table.

    Call this only when the guest has agreed.

    Parameters
    ----------
    guest : str
        Who comes.
    seats : {1, 2}, optional
        How many chairs,
        children included.

        Never more than ten.
    when
        The time: hours and minutes.
    extras, more : dict
        What else.
    unexplained : str

    Returns
    -------
    number : str
        A number.
    """

SPHINX = """Book a table.

    Call this only when the guest has agreed.

    :param guest: Who comes.
    :type guest: str
    :param int seats: How many chairs,
        children included.

        Never more than ten.
    :keyword when: The time: hours and minutes.
    :arg dict[str, tuple] extras: What else.
    :param unexplained:
    :returns: A number.
    :rtype: str
    :raises ValueError: never
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX], ids=["google", "numpy", "sphinx"])
def test_every_style_gives_the_description_and_the_parameters(text: str) -> None:
    description, parameters = parse_docstring(text)
    assert description == "Book a table.\n\nCall this only when the guest has agreed."
    parameters.pop("more", None)
    assert parameters == {
        "guest": "Who comes.",
        "seats": "How many chairs, children included. Never more than ten.",
        "when": "The time: hours and minutes.",
        "extras": "What else.",
    }


def test_one_numpy_entry_may_describe_several_parameters() -> None:
    assert parse_docstring(NUMPY).parameters["more"] == "What else."


@pytest.mark.parametrize(
    "text",
    [
        "Add two numbers.",
        "\n    Add two numbers.\n    ",
        "Add two numbers.\n\n    Args:\n        a: One.",
        "Add two numbers.\n",
    ],
)
def test_the_description_has_no_blank_edges(text: str) -> None:
    assert parse_docstring(text).description == "Add two numbers."


@pytest.mark.parametrize(
    "text",
    [
        "Note: be careful.",
        "Lists:\n\n- one\n- two",
        "A ratio a:b, and :emphasis: too.",
        "Usage\n-----\nCall it.",
        "Answers in the form\n\n    key: value\n\nalways.",
    ],
)
def test_prose_that_only_resembles_a_section_stays(text: str) -> None:
    assert parse_docstring(text) == (text, {})


def test_text_after_a_section_belongs_to_the_description() -> None:
    text = "First.\n\nArgs:\n    a: One.\n\nLast."
    assert parse_docstring(text) == ("First.\n\nLast.", {"a": "One."})


def test_google_sections_of_keyword_parameters_count() -> None:
    text = "Do.\n\nArgs:\n    a: One.\n\nKeyword Args:\n    b: Two.\n\nOther Parameters:\n    c: Three."
    assert parse_docstring(text).parameters == {"a": "One.", "b": "Two.", "c": "Three."}


def test_stars_are_not_part_of_a_name() -> None:
    text = "Do.\n\nArgs:\n    *a: One.\n    **b: Two.\n\n:param \\*c: Three."
    assert parse_docstring(text).parameters == {"a": "One.", "b": "Two.", "c": "Three."}


def test_a_numpy_section_ends_at_the_next_one() -> None:
    text = "Do.\n\nParameters\n----------\na : int\n    One.\n\nRaises\n------\nValueError\n    Never."
    assert parse_docstring(text) == ("Do.", {"a": "One."})


def test_the_first_description_of_a_parameter_counts() -> None:
    assert parse_docstring(":param a: One.\n:param a: Two.").parameters == {"a": "One."}


def test_an_empty_docstring_has_nothing() -> None:
    assert parse_docstring("") == ("", {})


LINES = st.sampled_from(
    [
        "Args:",
        "Parameters",
        "----------",
        ":param a: x",
        ":param",
        "a: b",
        "    a: b",
        "a : int",
        "    text",
        "",
        "Returns:",
    ]
)


@given(st.lists(st.one_of(LINES, st.text(max_size=8))))
def test_any_text_can_be_parsed(lines: list[str]) -> None:
    description, parameters = parse_docstring("\n".join(lines))
    assert description == description.strip()
    assert all(parameters.values())
