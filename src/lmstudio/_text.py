"""Prompts in triple quotes."""

from __future__ import annotations

__all__ = ["text"]


def text(template: str) -> str:
    """*template* without the indentation that its lines have in common, and without blank lines around it.

    ::

        prompt = lms.text(f\"\"\"
            Summarise the following in one sentence.

            {document}
        \"\"\")

    lmstudio.js has the same as a template tag.
    """
    from inspect import cleandoc

    return cleandoc(template).strip("\n")
