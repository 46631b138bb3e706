"""Questions with one right answer: single-digit sums and a closed set of small facts, each with its reasoning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .documents import Exchange
from .phrasing import capitalize_first, phrase, with_article
from .vocabulary import CAPITALS, COLORS, DAYS, FOODS, HELLO_IN, HOMES, LEGS, MONTHS, NUMBER_WORDS, OPPOSITES, SOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


def arithmetic(rng: Random) -> Exchange:
    """A sum, a difference that is not negative, or a product of two digits."""
    operator = rng.choice("+++--**")
    left, right = rng.randint(0, 9), rng.randint(0, 9)
    if operator == "-" and right > left:
        left, right = right, left
    value = {"+": left + right, "-": left - right, "*": left * right}[operator]
    word = {"+": "plus", "-": "minus", "*": "times"}[operator]
    noun = {"+": "sum", "-": "difference", "*": "product"}[operator]
    symbol = rng.choice(("x", "*", "*")) if operator == "*" else operator
    questions = (
        "What is {a} {symbol} {b}?",
        "What is {a} {word} {b}?",
        "{a} {symbol} {b}",
        "{a}{symbol}{b}=",
        "{a} {symbol} {b} = ?",
        "Calculate {a} {symbol} {b}.",
        "How much is {a} {word} {b}?",
        "Compute {a} {symbol} {b}",
        "What does {a} {symbol} {b} equal?",
        "Can you work out {a} {symbol} {b}?",
    )
    answers = ("{a} {symbol} {b} = {value}", "{a} {symbol} {b} = {value}.", "{a} {word} {b} is {value}.")
    return Exchange(
        phrase(rng, questions, a=left, b=right, symbol=symbol, word=word),
        phrase(rng, answers, a=left, b=right, symbol=symbol, word=word, value=value),
        f"The user wants a {noun}. {left} {operator} {right} = {value}.",
    )


def _capital(rng: Random) -> Exchange:
    country, city = rng.choice(list(CAPITALS.items()))
    questions = (
        "What is the capital of {country}?",
        "Name the capital of {country}.",
        "Which city is the capital of {country}?",
        "capital of {country}",
        "Tell me the capital of {country}.",
        "Do you know the capital of {country}?",
        "What's the capital city of {country}?",
    )
    answers = ("The capital of {country} is {city}.", "{city} is the capital of {country}.")
    return Exchange(
        phrase(rng, questions, country=country),
        phrase(rng, answers, country=country, city=city),
        f"The user asks for a capital. {country} has the capital {city}.",
    )


def _country(rng: Random) -> Exchange:
    country, city = rng.choice(list(CAPITALS.items()))
    questions = (
        "Which country is {city} in?",
        "Where is {city}?",
        "{city} is the capital of which country?",
        "What country has the capital {city}?",
    )
    return Exchange(
        phrase(rng, questions, city=city),
        f"{city} is the capital of {country}.",
        f"The user asks about a city. {city} is in {country}.",
    )


def _sound(rng: Random) -> Exchange:
    animal, sound = rng.choice(list(SOUNDS.items()))
    an_animal = with_article(animal)
    questions = (
        "What does {an_animal} say?",
        "What sound does {an_animal} make?",
        "How does {an_animal} sound?",
        "Make the sound of {an_animal}.",
    )
    claim = f"{capitalize_first(an_animal)} says {sound}."
    return Exchange(
        phrase(rng, questions, an_animal=an_animal),
        rng.choice((claim, f"The {animal} says {sound}.")),
        f"The user asks about a sound. {claim}",
    )


def _color(rng: Random) -> Exchange:
    thing, color = rng.choice(list(COLORS.items()))
    questions = (
        "What color is the {thing}?",
        "What is the color of the {thing}?",
        "Which color is the {thing}?",
        "What colour is the {thing}?",
    )
    return Exchange(
        phrase(rng, questions, thing=thing),
        phrase(rng, ("The {thing} is {color}.",), thing=thing, color=color),
        f"The user asks for a color. The {thing} is {color}.",
    )


def _opposite(rng: Random) -> Exchange:
    word, other = rng.choice(list(OPPOSITES.items()))
    if rng.random() < 0.5:
        word, other = other, word
    questions = (
        "What is the opposite of {word}?",
        "Tell me the opposite of {word}.",
        "opposite of {word}",
        "Give me the opposite of the word {word}.",
    )
    return Exchange(
        phrase(rng, questions, word=word),
        phrase(rng, ("The opposite of {word} is {other}.",), word=word, other=other),
        f"The user asks for an opposite. {capitalize_first(word)} and {other} are opposites.",
    )


def _legs(rng: Random) -> Exchange:
    animal, count = rng.choice(list(LEGS.items()))
    an_animal = with_article(animal)
    subject = capitalize_first(an_animal)
    questions = (
        "How many legs does {an_animal} have?",
        "Count the legs of {an_animal}.",
        "How many legs has {an_animal}?",
    )
    return Exchange(
        phrase(rng, questions, an_animal=an_animal),
        f"{subject} has {NUMBER_WORDS[count] if count else 'no'} legs.",
        f"The user asks about legs. {subject} has {count}.",
    )


def _home(rng: Random) -> Exchange:
    animal, home = rng.choice(list(HOMES.items()))
    an_animal = with_article(animal)
    claim = f"{capitalize_first(an_animal)} lives in {home}."
    questions = ("Where does {an_animal} live?", "What is the home of {an_animal}?")
    return Exchange(phrase(rng, questions, an_animal=an_animal), claim, f"The user asks about a home. {claim}")


def _food(rng: Random) -> Exchange:
    animal, food = rng.choice(list(FOODS.items()))
    an_animal = with_article(animal)
    subject = capitalize_first(an_animal)
    questions = ("What does {an_animal} eat?", "What do I feed {an_animal}?", "What food does {an_animal} like?")
    return Exchange(
        phrase(rng, questions, an_animal=an_animal),
        f"{subject} likes to eat {food}.",
        f"The user asks about food. {subject} eats {food}.",
    )


def _calendar(rng: Random) -> Exchange:
    unit, names = rng.choice((("day", DAYS), ("month", MONTHS)))
    index = rng.randrange(len(names))
    side = rng.choice(("after", "before"))
    name = names[index]
    other = names[(index + (1 if side == "after" else -1)) % len(names)]
    questions = (
        "What {unit} comes {side} {name}?",
        "Which {unit} is {side} {name}?",
        "What is the {unit} {side} {name}?",
    )
    answers = ("{other} comes {side} {name}.", "The {unit} {side} {name} is {other}.")
    return Exchange(
        phrase(rng, questions, unit=unit, side=side, name=name),
        phrase(rng, answers, unit=unit, side=side, name=name, other=other),
        f"The user asks about a {unit}. {other} is {side} {name}.",
    )


def _hello_in(rng: Random) -> Exchange:
    language = rng.choice(list(HELLO_IN))
    word = HELLO_IN[language]
    questions = ("How do you say hello in {language}?", "Say hello in {language}.", "What is hello in {language}?")
    return Exchange(
        phrase(rng, questions, language=language),
        f"Hello in {language} is {word}.",
        f"The user wants hello in {language}. It is {word}.",
    )


def _comparison(rng: Random) -> Exchange:
    left, right = rng.sample(range(30), 2)
    larger, smaller = max(left, right), min(left, right)
    questions = (
        "Which is bigger, {a} or {b}?",
        "Which number is larger, {a} or {b}?",
        "Is {a} bigger than {b}?",
    )
    return Exchange(
        phrase(rng, questions, a=left, b=right),
        f"{larger} is bigger than {smaller}.",
        f"The user compares {left} and {right}. {larger} is bigger.",
    )


# A kind that stands several times is drawn that much more often.
_FACTS: tuple[Callable[[Random], Exchange], ...] = (
    _capital,
    _capital,
    _capital,
    _country,
    _sound,
    _sound,
    _color,
    _color,
    _opposite,
    _opposite,
    _legs,
    _home,
    _food,
    _calendar,
    _hello_in,
    _comparison,
)


def fact(rng: Random) -> Exchange:
    """A small fact: capitals, sounds, colors, opposites, legs, homes, food, calendar, hello, larger number."""
    return rng.choice(_FACTS)(rng)
