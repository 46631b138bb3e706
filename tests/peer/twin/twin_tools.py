"""Cases: act."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

from typing import Literal

from twin_kit import (
    CHAT,
    case,
    got,
    messages_of,
    plain,
    sync_only,
)

import lmstudio as lms


def add(a: int, b: int = 10) -> int:
    """Add two numbers."""
    return a + b


def plus(a: int, b: int) -> int:
    """Do as `add`."""
    return a + b


def greet(name: str) -> str:
    """Greet somebody."""
    return f"Grüß Gott, {name} 🙂"


def fail_at_once() -> str:
    """Fail."""
    raise ZeroDivisionError("of a tool")


def odd() -> object:
    """Return what is no JSON."""
    return object()


class Followed:
    """Callbacks that note everything."""

    NAMES = (
        "on_message",
        "on_first_token",
        "on_prediction_fragment",
        "on_round_start",
        "on_round_end",
        "on_prediction_completed",
        "on_prompt_processing_progress",
    )

    def __init__(self):
        self.events = []
        self.chat = lms.Chat("Use tools.")

    def note(self, name):
        def call(*arguments):
            self.events.append([name, *(self.show(argument) for argument in arguments)])
            if name == "on_message":
                self.chat.append(arguments[0])

        return call

    def show(self, value):
        if isinstance(value, lms.PredictionRoundResult):
            return [repr(value), str(value), value.round_index, plain(value.stats)]
        return plain(value)

    def keywords(self, *names):
        return {name: self.note(name) for name in names or self.NAMES}


async def acted(client, text, tools, *names, **options):
    model = await got(client.llm.model(CHAT))
    followed = Followed()
    followed.chat.add_user_message(text)
    try:
        result = await got(model.act(followed.chat, tools, **followed.keywords(*names), **options))
        outcome = [result.rounds, type(result.total_time_seconds).__name__, type(result).__name__]
    except Exception as error:
        outcome = {"$error": [made.__name__ for made in type(error).__mro__ if made is not object]}
    return {"events": followed.events, "outcome": outcome, "chat": messages_of(followed.chat)}


def in_order(acted):
    """What was seen, with the results of tools in the order of their ids."""
    messages = [arguments[1]["dict"] for arguments in acted["events"]] + acted["chat"]["messages"]
    for message in messages:
        message["content"].sort(key=lambda part: part.get("toolCallId", ""))
    return acted


@case
async def act_calls_back(client):
    return {
        "function": await acted(client, "add 1 and 2", [add]),
        "default": await acted(client, "add 1", [add], "on_message"),
        "text": await acted(client, "greet", [greet, add], "on_message"),
        "no call": await acted(client, "hello", [add]),
        "two at once": in_order(await acted(client, "add twice", [add], "on_message", max_parallel_tool_calls=1)),
        "from a text": [(await got((await got(client.llm.model(CHAT))).act("add 1 and 2", [add]))).rounds],
    }


class Point(lms.BaseModel):
    x: int
    y: int = 0


def take_much(
    whole: int,
    real: float,
    flag: bool,
    words: list[str],
    counts: dict[str, int],
    choice: Literal["a", "b"],
    point: Point,
    maybe: int | None = None,
    text: str = "x",
) -> str:
    """Take much."""
    return f"{whole} {real} {flag} {words} {counts} {choice} {point is None} {maybe} {text}"


@case
async def act_describes_and_reads_types(client):
    return await acted(client, "take much", [take_much], "on_message")


def show_point(point: Point) -> str:
    """Show a point."""
    return repr(point)


@case
async def act_gives_structs_to_tools(client):
    return await acted(client, "show a point", [show_point], "on_message")


@case
async def act_takes_definitions(client):
    definitions = {
        "object": lms.ToolFunctionDef(
            name="add", description="Add.", parameters={"a": int, "b": int}, implementation=lambda a, b: a + b
        ),
        "renamed": lms.ToolFunctionDef.from_callable(plus, name="add", description="Instead."),
        "dict": {
            "name": "add",
            "description": "Add.",
            "parameters": {"a": int, "b": {"type": int, "default": 5}},
            "implementation": lambda a, b: a + b,
        },
    }
    made = lms.ToolFunctionDef.from_callable(add)
    seen = {name: await acted(client, "add 1 and 2", [tool], "on_message") for name, tool in definitions.items()}
    seen["read"] = [made.name, made.description, sorted(made.parameters)]
    return seen


INVALID = {"unknown": "call nobody", "arguments": "add badly", "raises": "fail at once", "value": "be odd"}


@case
async def act_with_invalid_requests(client):
    seen = {}
    for name, text in INVALID.items():
        tools = [add, fail_at_once, odd]

        def replace(error, request):
            seen.setdefault("handled", []).append(
                [type(error).__name__ in dir(lms), isinstance(error, lms.LMStudioPredictionError), plain(request)]
            )
            return "Say sorry."

        def refuse(error, request):
            raise KeyError("of the handler")

        seen[name] = {
            "replaced": await acted(client, text, tools, "on_message", handle_invalid_tool_request=replace),
            "refused": await acted(client, text, tools, "on_message", handle_invalid_tool_request=refuse),
        }
    return seen


@case
async def act_goes_on_after_invalid_requests(client):
    tools = [add, fail_at_once, odd]
    seen = []
    for text in INVALID.values():
        seen.append((await acted(client, text, tools, "on_round_end"))["outcome"])
        handler = {"handle_invalid_tool_request": lambda error, request: None}
        seen.append((await acted(client, text, tools, "on_round_end", **handler))["outcome"])
    return seen


@case
async def act_tells_what_a_tool_raised(client):
    return await acted(client, "fail at once", [fail_at_once], "on_message")


@case
async def act_tells_of_a_tool_that_is_not_there(client):
    return await acted(client, "call nobody", [add], "on_message")


@case
async def act_tells_what_is_wrong_with_arguments(client):
    return await acted(client, "add badly", [add], "on_message")


@case
async def act_with_a_broken_request(client):
    seen = []

    def note(error, request):
        seen.append([isinstance(error, lms.LMStudioPredictionError), plain(request)])

    outcome = await acted(client, "break", [add], "on_round_start", handle_invalid_tool_request=note)
    return [seen, outcome, await acted(client, "break", [add], "on_round_start")]


@case
async def act_within_limits(client):
    return {
        "two rounds": await acted(client, "add 1 and 2", [add], max_prediction_rounds=2),
        "one round": await acted(client, "hello", [add], "on_message", max_prediction_rounds=1),
        "no round": await acted(client, "hello", [add], max_prediction_rounds=0),
        "parallel": in_order(await acted(client, "add twice", [add], "on_message", max_parallel_tool_calls=None)),
        "configuration": await acted(client, "add 1 and 2", [add], "on_message", config={"temperature": 0.5}),
    }


@case
async def act_asked_for_a_tool_in_the_last_round(client):
    return await acted(client, "add 1 and 2", [add], "on_message", max_prediction_rounds=1)


@case
async def act_with_bad_tools(client):
    def undocumented(a: int):
        return a

    return {
        "duplicates": (await acted(client, "hello", [add, add]))["outcome"],
        "number": (await acted(client, "hello", [3]))["outcome"],
        "undocumented": (await acted(client, "hello", [undocumented]))["outcome"],
        "bad dict": (await acted(client, "hello", [{"name": "add"}]))["outcome"],
    }


@case
async def act_without_tools(client):
    return (await acted(client, "hello", []))["outcome"]


@case
async def act_when_callbacks_fail(client):
    model = await got(client.llm.model(CHAT))

    def fail(*_arguments):
        raise ZeroDivisionError("of a callback")

    return (await got(model.act("add 1 and 2", [add], **dict.fromkeys(Followed.NAMES, fail)))).rounds


@sync_only
async def tools_that_are_coroutines_in_the_synchronous_surface(client):
    async def later(a: int) -> int:
        """Wait."""
        return a

    return (await acted(client, "hello", [later]))["outcome"]
