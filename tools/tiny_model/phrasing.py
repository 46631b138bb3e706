"""Sentence pieces: articles, invented words, a choice among templates and the noise of real typing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .vocabulary import SYLLABLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


def with_article(noun: str) -> str:
    """The noun behind "a" or "an", judged by its first letter."""
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def capitalize_first(text: str) -> str:
    """The text with its first letter raised and the rest untouched, unlike `str.capitalize`."""
    return text[0].upper() + text[1:]


def phrase(rng: Random, templates: Sequence[str], **values: object) -> str:
    """One of the templates, drawn evenly and filled with the values.

    A single template is drawn as well: the draw moves the generator on, and the corpus depends on it.
    """
    return rng.choice(templates).format(**values)


def made_up_word(rng: Random, syllables: int | None = None) -> str:
    """A word that means nothing, of the given number of syllables or of two to three."""
    return "".join(rng.choice(SYLLABLES) for _ in range(syllables or rng.randint(2, 3)))


def noise(rng: Random, question: str) -> str:
    """The question as people type it: sometimes lower case, without its last mark, or with polite words around."""
    if rng.random() < 0.12:
        question = question.lower()
    if rng.random() < 0.10:
        question = question.rstrip("?.!")
    if rng.random() < 0.06:
        openers = ("Please tell me. ", "Hi! ", "Hello. ", "Quick question: ", "Okay. ", "So, ")
        question = rng.choice(openers) + question
    if rng.random() < 0.04:
        question += rng.choice((" Please.", " Thanks.", " Thank you."))
    return question
