"""Everyday exchanges: greetings, questions about the model, lists, echoes, code, JSON and things it cannot know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .documents import Exchange
from .phrasing import capitalize_first, made_up_word, phrase, with_article
from .vocabulary import CAPITALS, CITIES, DAYS, GROUPS, MODEL_NAME, MONTHS, NUMBER_WORDS, PEOPLE, WORDS

if TYPE_CHECKING:
    from random import Random

_HELLOS = (
    "Hello",
    "Hello!",
    "Hi",
    "Hi!",
    "Hey",
    "Hey there",
    "Hello there!",
    "Good morning",
    "Good evening!",
    "Good afternoon",
    "Greetings",
    "Hi there",
    "Yo",
    "hello :)",
    "Hiya",
)
_HELLO_REPLIES = (
    "Hello! How can I help you?",
    "Hi! How can I help you today?",
    "Hello! What can I do for you?",
    "Hi there! What would you like to know?",
    "Hello! It is nice to meet you.",
)
_HOW_ARE_YOU = (
    "How are you?",
    "How are you doing?",
    "How are you today?",
    "How is it going?",
    "Are you well?",
    "How do you feel?",
)
_HOW_ARE_YOU_REPLIES = (
    "I am well, thank you. How are you?",
    "I am doing fine, thank you for asking.",
    "I feel good today. How can I help you?",
    "Very well, thank you!",
)
_THANKS = ("Thanks!", "Thank you", "Thank you so much!", "Thanks a lot", "Cheers")
_THANKS_REPLIES = ("You are welcome!", "You are welcome. Happy to help!", "My pleasure!", "Any time!")
_FAREWELLS = ("Bye", "Goodbye!", "See you later", "Good night", "See you", "I have to go", "Bye bye")
_FAREWELL_REPLIES = ("Goodbye! Have a nice day.", "Bye! See you soon.", "See you later!", "Goodbye! Take care.")
_MOOD_REPLIES = {
    "I am happy": "I am glad to hear that!",
    "I am sad": "I am sorry to hear that. I hope you feel better soon.",
    "I am tired": "You should rest for a while.",
    "I am bored": "Would you like to hear a short story?",
    "I am hungry": "Maybe it is time for a snack.",
    "I feel great": "That is wonderful!",
    "I feel lonely": "I am here to talk with you.",
    "I am cold": "A warm cup of tea may help.",
}


def greeting(rng: Random) -> Exchange:
    """A greeting, thanks, a farewell or a mood, with a polite reply."""
    roll = rng.random()
    if roll < 0.35:
        return Exchange(rng.choice(_HELLOS), rng.choice(_HELLO_REPLIES))
    if roll < 0.55:
        return Exchange(rng.choice(_HOW_ARE_YOU), rng.choice(_HOW_ARE_YOU_REPLIES))
    if roll < 0.7:
        return Exchange(rng.choice(_THANKS), rng.choice(_THANKS_REPLIES))
    if roll < 0.85:
        return Exchange(rng.choice(_FAREWELLS), rng.choice(_FAREWELL_REPLIES))
    mood = rng.choice(list(_MOOD_REPLIES))
    return Exchange(mood, _MOOD_REPLIES[mood])


_IDENTITY_TOPICS = (
    (
        (
            "What is your name?",
            "Who are you?",
            "Tell me your name.",
            "What should I call you?",
            "What are you called?",
            "Introduce yourself.",
        ),
        (
            f"My name is {MODEL_NAME}.",
            f"I am {MODEL_NAME}, a tiny chat model.",
            f"I am {MODEL_NAME}, a very small language model made for testing.",
            f"My name is {MODEL_NAME}. I am a tiny chat model.",
        ),
    ),
    (
        (
            "Are you a robot?",
            "Are you human?",
            "Are you a person?",
            "Are you an AI?",
            "What are you?",
            "What kind of model are you?",
        ),
        (
            f"I am {MODEL_NAME}, a small language model. I am not a person.",
            "I am a small computer program that writes text.",
            "I am a tiny language model made for testing.",
        ),
    ),
    (
        ("How big are you?", "How many parameters do you have?", "How large are you?", "Are you a large model?"),
        (
            "I am very small. I have about three million parameters.",
            "I am tiny. I have about three million parameters.",
        ),
    ),
    (
        (
            "What can you do?",
            "What can you help me with?",
            "How can you help me?",
            "What are you good at?",
            "Help",
            "help me",
        ),
        (
            "I can greet you, add small numbers, name capitals, tell short stories and call tools.",
            "I can answer simple questions, add small numbers, tell short stories and call tools.",
            "I can tell a short story, do simple sums and call tools. I am a tiny model, so please be patient.",
        ),
    ),
    (
        (
            "Who made you?",
            "Who created you?",
            "Where do you come from?",
            "Who trained you?",
            "How old are you?",
            "Where do you live?",
        ),
        (
            "I was trained from scratch on a small computer with made-up sentences.",
            "I was trained in a few minutes on a small set of made-up sentences.",
        ),
    ),
    (
        ("Are you smart?", "Can you make mistakes?", "Are you always right?", "Can I trust you?"),
        (
            "I am a tiny model and I make many mistakes.",
            "No, I often make mistakes. I am only a tiny test model.",
        ),
    ),
)


def identity(rng: Random) -> Exchange:
    """A question about the model itself."""
    # Every topic draws its wording before one is chosen: the shipped weights saw that sequence of random numbers.
    drawn = [Exchange(rng.choice(questions), rng.choice(answers)) for questions, answers in _IDENTITY_TOPICS]
    return rng.choice(drawn)


_UNKNOWN_TEMPLATES = (
    "What is the capital of {name}?",
    "What is {a_word}?",
    "Who is {name} {surname}?",
    "Explain {word} to me.",
    "What does {word} mean?",
    "Tell me about {name}.",
    "Who invented the {word}?",
    "Why is the {word} so {reversed_word}?",
    "What is the meaning of life?",
    "Explain quantum mechanics.",
    "Who won the game yesterday?",
    "What is the news today?",
    "What will happen tomorrow?",
    "Solve this equation for me.",
    "Write a long essay about history.",
    "How do I fix my car?",
    "What time is it?",
    "What is the weather?",
    "Explain how computers work.",
    "Write a poem about love in the style of an old poet.",
)
_UNKNOWN_REPLIES = (
    "I do not know that. I am only a tiny model.",
    "Sorry, I do not know that.",
    "I am a tiny model and I do not know the answer to that.",
)


def unknown(rng: Random) -> Exchange:
    """A question that nobody, or no tiny model, can answer."""
    word = made_up_word(rng)
    name = capitalize_first(made_up_word(rng))
    surname = capitalize_first(made_up_word(rng))
    question = phrase(
        rng,
        _UNKNOWN_TEMPLATES,
        word=word,
        a_word=with_article(word),
        reversed_word=word[::-1],
        name=name,
        surname=surname,
    )
    return Exchange(question, rng.choice(_UNKNOWN_REPLIES))


def listing(rng: Random) -> Exchange:
    """A list of things, a count, a well-known sequence, a spelling, or what kind of thing a word is."""
    roll = rng.random()
    group = rng.choice(list(GROUPS))
    count = rng.randint(2, 5)
    members = rng.sample(GROUPS[group], count)
    if roll < 0.4:
        return _members_of_group(rng, group, members)
    if roll < 0.6:
        first = rng.randint(0, 9)
        last = first + rng.randint(2, 10)
        questions = (
            "Count from {first} to {last}.",
            "count {first} to {last}",
            "Can you count from {first} to {last}?",
        )
        question = phrase(rng, questions, first=first, last=last)
        return Exchange(question, ", ".join(map(str, range(first, last + 1))) + rng.choice(("", ".")))
    if roll < 0.7:
        return rng.choice(_KNOWN_SEQUENCES)
    if roll < 0.85:
        word = rng.choice((*WORDS, made_up_word(rng)))
        question = phrase(rng, ("Spell {word}.", "How do you spell {word}?", "Spell the word {word}."), word=word)
        return Exchange(question, "-".join(word.lower()))
    return _kind_or_sentence(rng)


def _members_of_group(rng: Random, group: str, members: list[str]) -> Exchange:
    layouts = (
        "\n".join(f"{number}. {member}" for number, member in enumerate(members, 1)),
        "\n".join(f"- {member}" for member in members),
        ", ".join(members[:-1]) + " and " + members[-1] + ".",
    )
    answer = rng.choice(layouts)
    questions = (
        "List {word} {group}.",
        "Name {count} {group}.",
        "Give me {word} {group}.",
        "Can you list {count} {group}?",
        "Name {word} {group}.",
    )
    count = len(members)
    return Exchange(phrase(rng, questions, word=NUMBER_WORDS[count], count=count, group=group), answer)


_KNOWN_SEQUENCES = (
    Exchange("List the days of the week.", ", ".join(DAYS) + "."),
    Exchange("Name the months of the year.", ", ".join(MONTHS) + "."),
    Exchange("List the planets.", ", ".join(GROUPS["planets"]) + "."),
    Exchange("Say the alphabet.", " ".join("abcdefghijklmnopqrstuvwxyz")),
)


def _kind_or_sentence(rng: Random) -> Exchange:
    word = rng.choice(WORDS)
    group = next((name for name, members in GROUPS.items() if word in members), None)
    if group is not None:
        question = phrase(rng, ("What kind of thing is {word}?", "Which group does {word} belong to?"), word=word)
        return Exchange(question, f"{capitalize_first(word)} belongs to the group {group}.")
    sentences = (
        "I put the {word} on the table.",
        "The {word} is in the kitchen.",
        "My friend has a {word}.",
        "There is a {word} in the garden.",
    )
    return Exchange(f"Use {word} in a sentence.", phrase(rng, sentences, word=word))


def echo(rng: Random) -> Exchange:
    """A request to repeat one to five words, of which some are invented."""
    count = rng.randint(1, 5)
    text = " ".join(rng.choice((*WORDS, made_up_word(rng), *PEOPLE)) for _ in range(count))
    last = (
        Exchange(f"Write {text} in capital letters.", text.upper())
        if count <= 2
        else Exchange(f"Repeat this: {text}", text)
    )
    return rng.choice(
        (
            Exchange(f"Say {text}", text),
            Exchange(f"Repeat after me: {text}", text),
            Exchange(f"Repeat: {text}", text),
            Exchange(f'Say "{text}"', text),
            Exchange(f"Echo {text}", text),
            last,
        )
    )


def code(rng: Random) -> Exchange:
    """A request for one to three lines of Python."""
    word = rng.choice(WORDS)
    limit = rng.randint(2, 9)
    addend = rng.randint(1, 9)
    hello = rng.choice(
        (
            "Write hello world in Python.",
            "How do I print hello in Python?",
            "Write a Python program that says hello.",
        )
    )
    list_length = limit if limit < 6 else 3
    fruits = json.dumps(rng.sample(GROUPS["fruits"], list_length))
    question, source = rng.choice(
        (
            (hello, 'print("Hello, world!")'),
            (f"Write Python code that prints {word}.", f'print("{word}")'),
            (f"Write a Python loop that counts to {limit}.", f"for i in range(1, {limit + 1}):\n    print(i)"),
            (f"Write a Python function that adds {addend}.", f"def add_{addend}(x):\n    return x + {addend}"),
            (f"Write a Python list of {list_length} fruits.", f"fruits = {fruits}"),
        )
    )
    return Exchange(question, f"```python\n{source}\n```")


def json_answer(rng: Random) -> Exchange:
    """A request whose answer is a small JSON object."""
    name, age, city = rng.choice(PEOPLE), rng.randint(1, 90), rng.choice(CITIES)
    rng.choice(GROUPS["fruits"])  # Unused, but part of the sequence that the shipped weights were trained on.
    roll = rng.random()
    answer: dict[str, object]
    if roll < 0.3:
        answer = {"name": name, "age": age}
        questions: tuple[str, ...] = (
            f"Give me JSON with name {name} and age {age}.",
            f"{name} is {age} years old. Answer in JSON.",
            f"Extract the name and age as JSON: {name} is {age} years old.",
        )
    elif roll < 0.5:
        answer = {"name": name, "city": city}
        questions = (
            f"{name} lives in {city}. Reply as JSON with name and city.",
            f"JSON with name {name} and city {city}",
        )
    elif roll < 0.65:
        country = rng.choice(list(CAPITALS))
        answer = {"answer": f"The capital is {CAPITALS[country]}."}
        question = f"What is the capital of {country}? Reply in JSON with the key answer."
        return Exchange(question, json.dumps(answer))
    elif roll < 0.8:
        answer = {"fruits": rng.sample(GROUPS["fruits"], 3)}
        questions = ("List three fruits in JSON.", "Give me three fruits as JSON.")
    else:
        left, right = rng.randint(0, 9), rng.randint(0, 9)
        answer = {"result": left + right}
        questions = (
            f"What is {left} + {right}? Answer in JSON with the key result.",
            f"Return JSON with the result of {left} + {right}.",
        )
    return Exchange(rng.choice(questions), json.dumps(answer))


_FAVORITES = tuple(word for group in ("fruits", "animals", "colors", "drinks", "sports") for word in GROUPS[group])


def memory(rng: Random) -> list[Exchange]:
    """Two exchanges: the user tells something personal, then asks for it."""
    name = rng.choice((*PEOPLE, capitalize_first(made_up_word(rng))))
    roll = rng.random()
    if roll < 0.5:
        statements = ("My name is {name}.", "I am {name}.", "Hello, my name is {name}.", "Hi, I am {name}.")
        replies = ("Nice to meet you, {name}!", "Hello, {name}! How can I help you?")
        questions = ("What is my name?", "Do you remember my name?", "Who am I?", "Say my name.")
        answers = ("Your name is {name}.", "You are {name}.")
        return [
            Exchange(phrase(rng, statements, name=name), phrase(rng, replies, name=name)),
            Exchange(rng.choice(questions), phrase(rng, answers, name=name)),
        ]
    if roll < 0.75:
        thing = rng.choice(_FAVORITES)
        reply = rng.choice((f"I like {thing} too!", f"{capitalize_first(thing)} is a good choice."))
        question = rng.choice(("What is my favorite thing?", "What do I like?"))
        return [
            Exchange(f"My favorite thing is {thing}.", reply),
            Exchange(question, f"Your favorite thing is {thing}."),
        ]
    city = rng.choice(CITIES)
    question = rng.choice(("Where do I live?", "Which city do I live in?"))
    return [
        Exchange(f"I live in {city}.", f"{city} is a nice place to live."),
        Exchange(question, f"You live in {city}."),
    ]
