"""What the workers of `soak.py` do: one function per kind of call, for each surface.

Each checks what it gets, so that a mixed-up reply is noticed. What is random comes from the worker's own generator.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import lmstudio as lms

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

ENDLESS = "endless"
"""A reply that takes longer than anybody waits."""
USE_TOOLS = "tools"
WORDS = [f"word{number}" for number in range(200)]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class ModelUnloadedError(Exception):
    """The model went away in the middle of a prediction, which then ends with a result that says so."""


def complete(result: lms.PredictionResult[Any]) -> str:
    """The text of a prediction that came to its own end."""
    if result.stop_reason == "modelUnloaded":
        raise ModelUnloadedError
    return result.content


def expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{found!r:.200} instead of {wanted!r:.200}")


# Synchronous ---------------------------------------------------------------------------------------------------------


def respond(client: lms.Client, chance: random.Random) -> None:
    word = chance.choice(WORDS)
    expect(complete(client.llm.model("scripted-chat").respond(word)), f"You said: {word}")


def stream(client: lms.Client, chance: random.Random) -> None:
    word = chance.choice(WORDS)
    with client.llm.model("scripted-chat").respond_stream(word) as fragments:
        text = "".join(fragment.content for fragment in fragments)
    expect(complete(fragments.result()), text)
    expect(text, f"You said: {word}")


def break_off(client: lms.Client, chance: random.Random) -> None:
    wanted = chance.randrange(1, 20)
    for number, fragment in enumerate(client.llm.model("scripted-chat").respond_stream(ENDLESS), 1):
        expect(fragment.content, "word ")
        if number == wanted:
            break


def forget(client: lms.Client, chance: random.Random) -> None:
    unread = client.llm.model("scripted-chat").respond_stream(ENDLESS)
    unread.start()
    del unread
    if chance.random() < 0.1:
        gc.collect()


def abort(client: lms.Client, chance: random.Random) -> None:
    model = client.llm.model("scripted-chat")
    signal = lms.AbortSignal()
    timer = threading.Timer(chance.uniform(0.0, 0.3), signal.abort)
    timer.start()
    try:
        result = model.respond(ENDLESS, signal=signal)
        complete(result)
        expect(result.stop_reason, "userStopped")
    except lms.LMStudioCancelledError:  # it was early
        pass
    finally:
        timer.join()


def act(client: lms.Client, _chance: random.Random) -> None:
    rounds: list[lms.PredictionRoundResult] = []
    client.llm.model("scripted-chat").act(
        USE_TOOLS, [add], max_parallel_tool_calls=None, on_prediction_completed=rounds.append
    )
    expect([complete(each) for each in rounds], ["", "Done."])


def embed(client: lms.Client, chance: random.Random) -> None:
    text = chance.choice(WORDS)
    first, second = client.embedding.model("scripted-embed").embed([text, text])
    expect(first, second)


def tokenize(client: lms.Client, chance: random.Random) -> None:
    texts = ["x " * chance.randrange(1, 20) for _ in range(5)]
    found = client.llm.model("scripted-chat").tokenize(texts)
    expect([len(tokens) for tokens in found], [len(text.split()) + 1 for text in texts])


def load_and_unload(client: lms.Client, chance: random.Random) -> None:
    model = client.llm.load_new_instance("scripted-chat", f"own-{chance.getrandbits(64)}")
    model.unload()


def look(client: lms.Client, _chance: random.Random) -> None:
    expect(len(client.list_downloaded_models()), 2)
    client.list_loaded_models()


def upload(client: lms.Client, chance: random.Random) -> None:
    size = chance.randrange(1, 300_000)
    file = client.files.prepare_file(chance.randbytes(size), "random.txt")
    expect(file.size_bytes, size)


def another_client(client: lms.Client, _chance: random.Random) -> None:
    with lms.Client(client.api_host) as other:
        expect(len(other.list_downloaded_models()), 2)


SYNC_JOBS: dict[str, Callable[[lms.Client, random.Random], None]] = {
    job.__name__: job
    for job in (
        *(respond, stream, break_off, forget, abort, act, embed, tokenize, load_and_unload, look, upload),
        another_client,
    )
}


# Asynchronous --------------------------------------------------------------------------------------------------------


async def respond_async(client: lms.AsyncClient, chance: random.Random) -> None:
    word = chance.choice(WORDS)
    expect(complete(await (await client.llm.model("scripted-chat")).respond(word)), f"You said: {word}")


async def stream_async(client: lms.AsyncClient, chance: random.Random) -> None:
    word = chance.choice(WORDS)
    async with (await client.llm.model("scripted-chat")).respond_stream(word) as fragments:
        text = "".join([fragment.content async for fragment in fragments])
    expect(complete(fragments.result()), text)
    expect(text, f"You said: {word}")


async def break_off_async(client: lms.AsyncClient, chance: random.Random) -> None:
    left = chance.randrange(1, 20)
    async for fragment in (await client.llm.model("scripted-chat")).respond_stream(ENDLESS):
        expect(fragment.content, "word ")
        left -= 1
        if not left:
            break


async def forget_async(client: lms.AsyncClient, chance: random.Random) -> None:
    unread = (await client.llm.model("scripted-chat")).respond_stream(ENDLESS)
    await unread.start()
    del unread
    if chance.random() < 0.1:
        gc.collect()


async def cancel_async(client: lms.AsyncClient, chance: random.Random) -> None:
    model = await client.llm.model("scripted-chat")
    task = asyncio.ensure_future(model.respond(ENDLESS))
    await asyncio.wait([task], timeout=chance.uniform(0.0, 0.3))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def time_out_async(client: lms.AsyncClient, chance: random.Random) -> None:
    model = await client.llm.model("scripted-chat")
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(model.respond(ENDLESS), chance.uniform(0.0, 0.3))


async def act_async(client: lms.AsyncClient, _chance: random.Random) -> None:
    rounds: list[lms.PredictionRoundResult] = []
    model = await client.llm.model("scripted-chat")
    await model.act(USE_TOOLS, [add], max_parallel_tool_calls=None, on_prediction_completed=rounds.append)
    expect([complete(each) for each in rounds], ["", "Done."])


async def embed_async(client: lms.AsyncClient, chance: random.Random) -> None:
    text = chance.choice(WORDS)
    first, second = await (await client.embedding.model("scripted-embed")).embed([text, text])
    expect(first, second)


async def tokenize_async(client: lms.AsyncClient, chance: random.Random) -> None:
    texts = ["x " * chance.randrange(1, 20) for _ in range(5)]
    found = await (await client.llm.model("scripted-chat")).tokenize(texts)
    expect([len(tokens) for tokens in found], [len(text.split()) + 1 for text in texts])


async def load_and_unload_async(client: lms.AsyncClient, chance: random.Random) -> None:
    model = await client.llm.load_new_instance("scripted-chat", f"own-{chance.getrandbits(64)}")
    await model.unload()


async def look_async(client: lms.AsyncClient, _chance: random.Random) -> None:
    expect(len(await client.list_downloaded_models()), 2)
    await client.list_loaded_models()


async def upload_async(client: lms.AsyncClient, chance: random.Random) -> None:
    size = chance.randrange(1, 300_000)
    file = await client.files.prepare_file(chance.randbytes(size), "random.txt")
    expect(file.size_bytes, size)


async def another_client_async(client: lms.AsyncClient, _chance: random.Random) -> None:
    async with lms.AsyncClient(client.api_host) as other:
        expect(len(await other.list_downloaded_models()), 2)


ASYNC_JOBS: dict[str, Callable[[lms.AsyncClient, random.Random], Awaitable[None]]] = {
    job.__name__.removesuffix("_async"): job
    for job in (
        *(respond_async, stream_async, break_off_async, forget_async, cancel_async, time_out_async, act_async),
        *(embed_async, tokenize_async, load_and_unload_async, look_async, upload_async, another_client_async),
    )
}
