"""The helper for prompts in triple quotes."""

from __future__ import annotations

import lmstudio as lms


def test_indentation_and_blank_lines_around_are_removed() -> None:
    prompt = lms.text(
        """
        Summarise:

          - this
        - that
        """
    )
    assert prompt == "Summarise:\n\n  - this\n- that"


def test_a_single_line_stays() -> None:
    assert lms.text("Hello!") == "Hello!"
