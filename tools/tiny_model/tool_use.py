"""Tools of ten families, each with a request, the right call, the tool's result and the closing answer.

Tool and parameter names vary within a family, so that the model must read them from the prompt.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from .dialogue import greeting, identity
from .documents import Document, Message, ToolCall, ToolSpec, assistant_message, user_message
from .facts import fact
from .phrasing import capitalize_first, made_up_word, noise, phrase, with_article
from .stories import any_story
from .vocabulary import CITIES, COLORS, LANGUAGES, PEOPLE, SYLLABLES, SYSTEM_PROMPTS, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from .documents import Exchange

    Arguments = dict[str, int | str]


class ToolExample(NamedTuple):
    """A tool and one complete use of it."""

    tool: ToolSpec
    question: str
    arguments: Arguments
    result: str
    answer: str


class _Slots(NamedTuple):
    """What every family may use; always drawn, whether used or not, so that families stay interchangeable."""

    city: str
    left: int
    right: int
    word: str
    person: str


def tool_spec(name: str, description: str, parameters: Mapping[str, str]) -> ToolSpec:
    """A tool whose parameters, given as name to JSON type, are all required."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {parameter: {"type": type_name} for parameter, type_name in parameters.items()},
                "required": list(parameters),
            },
        },
    }


def _weather(rng: Random, slots: _Slots) -> ToolExample:
    names = ("get_weather", "weather", "get_current_weather", "lookup_weather", "weather_report")
    name = rng.choice(names)
    parameter = rng.choice(("city", "location", "place"))
    degrees = rng.randint(-9, 35)
    sky = rng.choice(("sunny", "rainy", "cloudy", "windy", "snowy"))
    description = rng.choice(("Get the weather", "Get the current weather in a city"))
    questions = (
        "What is the weather in {city}?",
        "How is the weather in {city}?",
        "Is it raining in {city}?",
        "Weather in {city}?",
        "Tell me the weather in {city}.",
    )
    return ToolExample(
        tool_spec(name, description, {parameter: "string"}),
        phrase(rng, questions, city=slots.city),
        {parameter: slots.city},
        rng.choice((json.dumps({"temp": degrees, "sky": sky}), f"{sky}, {degrees} degrees")),
        f"It is {sky} in {slots.city}, with {degrees} degrees.",
    )


def _clock(rng: Random, slots: _Slots) -> ToolExample:
    name = rng.choice(("get_time", "current_time", "time_in"))
    parameter = rng.choice(("city", "location", "timezone"))
    time = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    questions = ("What time is it in {city}?", "Tell me the time in {city}.", "Time in {city}?")
    return ToolExample(
        tool_spec(name, "Get the time in a city", {parameter: "string"}),
        phrase(rng, questions, city=slots.city),
        {parameter: slots.city},
        rng.choice((json.dumps({"time": time}), time)),
        f"The time in {slots.city} is {time}.",
    )


def _calculator(rng: Random, slots: _Slots) -> ToolExample:
    left, right = slots.left, slots.right
    verb, value, symbol, word = rng.choice(
        (
            ("add", left + right, "+", "plus"),
            ("multiply", left * right, "*", "times"),
            ("subtract", left - right, "-", "minus"),
        )
    )
    name = rng.choice((verb, f"{verb}_numbers", f"calc_{verb}"))
    first, second = rng.choice((("a", "b"), ("x", "y"), ("first", "second")))
    type_name = rng.choice(("number", "integer"))
    title = capitalize_first(verb)
    order = f"{title} {left} and {right}." if verb != "subtract" else f"Work out {left} {symbol} {right}."
    question = rng.choice(
        (
            f"What is {left} {symbol} {right}?",
            f"What is {left} {word} {right}?",
            order,
            f"Use the tool to compute {left} {symbol} {right}.",
        )
    )
    return ToolExample(
        tool_spec(name, f"{title} two numbers", {first: type_name, second: type_name}),
        question,
        {first: left, second: right},
        str(value),
        rng.choice((f"{left} {symbol} {right} = {value}.", f"The result is {value}.")),
    )


def _search(rng: Random, _slots: _Slots) -> ToolExample:
    name = rng.choice(("search", "web_search", "search_docs", "find"))
    parameter = rng.choice(("query", "q", "text"))
    query = " ".join(rng.sample(WORDS, rng.randint(1, 2)))
    result = f"{query} is {rng.choice(list(COLORS.values()))}"
    questions = ("Search for {query}.", "Look up {query}.", "Find {query}.", "Search the web for {query}.")
    return ToolExample(
        tool_spec(name, "Search for a text", {parameter: "string"}),
        phrase(rng, questions, query=query),
        {parameter: query},
        result,
        f"I found this: {result}.",
    )


def _message(rng: Random, slots: _Slots) -> ToolExample:
    name = rng.choice(("send_message", "send_email", "notify"))
    recipient, body = rng.choice((("to", "text"), ("recipient", "message"), ("name", "body")))
    text = rng.choice(("hello", "I am late", "see you soon", "call me", "happy birthday", "dinner is ready"))
    questions = ("Send {person} the message {text}.", "Tell {person}: {text}", "Write to {person}: {text}")
    return ToolExample(
        tool_spec(name, "Send a message to a person", {recipient: "string", body: "string"}),
        phrase(rng, questions, person=slots.person, text=text),
        {recipient: slots.person, body: text},
        rng.choice(("ok", '{"sent": true}')),
        f"I sent the message to {slots.person}.",
    )


def _timer(rng: Random, slots: _Slots) -> ToolExample:
    name = rng.choice(("set_timer", "start_timer", "timer"))
    parameter = rng.choice(("minutes", "duration"))
    questions = (
        "Set a timer for {minutes} minutes.",
        "Timer for {minutes} minutes.",
        "Remind me in {minutes} minutes.",
    )
    return ToolExample(
        tool_spec(name, "Set a timer", {parameter: "integer"}),
        phrase(rng, questions, minutes=slots.left),
        {parameter: slots.left},
        rng.choice(("ok", "done")),
        f"The timer is set for {slots.left} minutes.",
    )


def _file(rng: Random, slots: _Slots) -> ToolExample:
    name = rng.choice(("read_file", "open_file", "cat_file"))
    parameter = rng.choice(("path", "file", "name"))
    path = slots.word + rng.choice((".txt", ".md", ".py", ".json"))
    content = f"{rng.choice(PEOPLE)} has {with_article(rng.choice(WORDS))}"
    questions = ("Read {path}.", "Open the file {path}.", "What is in {path}?", "Show me {path}.")
    return ToolExample(
        tool_spec(name, "Read a file", {parameter: "string"}),
        phrase(rng, questions, path=path),
        {parameter: path},
        content,
        f"The file {path} says: {content}",
    )


def _translator(rng: Random, slots: _Slots) -> ToolExample:
    name = rng.choice(("translate", "translate_text"))
    language = rng.choice(LANGUAGES)
    questions = ("Translate {word} to {language}.", "What is {word} in {language}?")
    question = phrase(rng, questions, word=slots.word, language=language)
    translation = made_up_word(rng)
    return ToolExample(
        tool_spec(name, "Translate a word", {"text": "string", "language": "string"}),
        question,
        {"text": slots.word, "language": language},
        translation,
        f"{capitalize_first(slots.word)} in {language} is {translation}.",
    )


def _dice(rng: Random, _slots: _Slots) -> ToolExample:
    name = rng.choice(("roll_dice", "roll"))
    sides = rng.choice((4, 6, 8, 12, 20))
    value = rng.randint(1, sides)
    return ToolExample(
        tool_spec(name, "Roll a dice", {"sides": "integer"}),
        phrase(rng, ("Roll a dice with {sides} sides.", "Roll a {sides} sided dice."), sides=sides),
        {"sides": sides},
        str(value),
        f"You rolled {value}.",
    )


def _made_up_tool(rng: Random, _slots: _Slots) -> ToolExample:
    """A tool of invented name and parameters: teaches copying them from the prompt."""
    name = made_up_word(rng) + rng.choice(("", f"_{made_up_word(rng)}", f"_{rng.choice(WORDS)}"))
    made_up_parameters = [made_up_word(rng, 1) + rng.choice(SYLLABLES) for _ in range(6)]
    parameters = rng.sample([*made_up_parameters, "x", "y", "name", "count", "value", "key"], rng.randint(1, 2))
    arguments: Arguments = {}
    for parameter in parameters:
        values: tuple[int | str, ...] = (rng.randint(0, 99), rng.choice(WORDS))
        arguments[parameter] = rng.choice(values)
    result = rng.choice((*WORDS, str(rng.randint(0, 99))))
    setting = " and ".join(f"{parameter} = {value}" for parameter, value in arguments.items())
    description = rng.choice(("A test tool", f"Run {name}", "Does something"))
    types = {parameter: "integer" if isinstance(value, int) else "string" for parameter, value in arguments.items()}
    questions = (
        "Call {name} with {setting}.",
        "Use {name} with {setting}.",
        "Use the tool {name} with {setting}.",
        "Run {name} with {setting}.",
    )
    return ToolExample(
        tool_spec(name, description, types),
        phrase(rng, questions, name=name, setting=setting),
        arguments,
        result,
        phrase(rng, ("The tool returned {result}.", "The result is {result}."), result=result),
    )


# A family that stands twice is drawn twice as often.
_FAMILIES: tuple[Callable[[Random, _Slots], ToolExample], ...] = (
    _weather,
    _weather,
    _clock,
    _calculator,
    _calculator,
    _search,
    _message,
    _timer,
    _file,
    _translator,
    _dice,
    _made_up_tool,
)


def tool_example(rng: Random) -> ToolExample:
    """One use of a tool of a drawn family."""
    family = rng.choice(_FAMILIES)
    slots = _Slots(rng.choice(CITIES), rng.randint(0, 99), rng.randint(0, 99), rng.choice(WORDS), rng.choice(PEOPLE))
    return family(rng, slots)


def _no_tool_needed(rng: Random) -> Exchange:
    return rng.choice((greeting, identity, fact, any_story))(rng)


def _exchange_messages(exchange: Exchange) -> list[Message]:
    return [user_message(exchange.question), assistant_message(exchange.answer)]


def tool_document(rng: Random) -> Document:
    """A conversation with one to three tools on offer: the right one is called, or none when none is needed."""
    example = tool_example(rng)
    name = example.tool["function"]["name"]
    tools = [example.tool]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        distractor = tool_example(rng).tool
        if distractor["function"]["name"] != name:
            tools.append(distractor)
    rng.shuffle(tools)
    messages = [user_message(noise(rng, example.question) if rng.random() < 0.5 else example.question)]
    if rng.random() < 0.12:
        messages = _exchange_messages(_no_tool_needed(rng))
    else:
        call: ToolCall = {"type": "function", "function": {"name": name, "arguments": example.arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        if rng.random() < 0.8:
            messages += [{"role": "tool", "content": example.result}, assistant_message(example.answer)]
            if rng.random() < 0.15:
                messages += _exchange_messages(greeting(rng))
    if rng.random() < 0.35:
        messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM_PROMPTS)})
    return {"kind": "tool", "messages": messages, "tools": tools}
