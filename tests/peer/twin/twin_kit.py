"""What the cases are written with: one spelling for both surfaces, and observations as JSON."""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager

HOST, IMAGE = sys.argv[1:3]
CHAT, EMBED = "scripted-chat", "scripted-embed"
MARK = "case: "

CASES = []
SYNC_ONLY = []
CONVENIENCE = []


def case(function):
    """A case for both surfaces: it gets a client."""
    CASES.append(function)
    return function


def sync_only(function):
    """A case for the synchronous surface."""
    SYNC_ONLY.append(function)
    return function


def convenience(function):
    """A case for the functions of the module: it gets nothing."""
    CONVENIENCE.append(function)
    return function


async def got(value):
    return await value if hasattr(value, "__await__") else value


def is_asynchronous(thing):
    return type(thing).__name__.startswith("Async")


async def each(stream):
    if is_asynchronous(stream):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


@asynccontextmanager
async def entered(manager):
    if is_asynchronous(manager):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


def run_plainly(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("something was awaited in the synchronous surface")


async def error_of(call):
    """What *call* raises, as the names of its classes; the value if it raises nothing."""
    try:
        value = await got(call())
    except Exception as error:
        return {"$error": [made.__name__ for made in type(error).__mro__ if made is not object]}
    return {"value": plain(value)}


def plain(value):
    """*value* as JSON."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if hasattr(value, "to_dict"):
        return {"type": type(value).__name__, "dict": plain(value.to_dict())}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return repr(value)


def messages_of(chat):
    """The messages in the text of *chat*."""
    return json.loads(str(chat).removeprefix("Chat.from_history(").removesuffix(")"))


def shown(result):
    """All that a result offers."""
    return {
        "str": str(result),
        "repr": repr(result),
        "content": result.content,
        "parsed": plain(result.parsed),
        "structured": result.structured,
        "stats": plain(result.stats),
        "model_info": plain(result.model_info),
        "load_config": plain(result.load_config),
        "prediction_config": plain(result.prediction_config),
    }
