"""One script of calls for two packages of the same name: run by the official one's interpreter and by ours.

    python twin_calls.py HOST IMAGE    # prints one JSON object: what was observed, by surface and case

It uses only what the official package has. The cases are written once for both surfaces: what is awaited may be a plain
value, so that the synchronous client needs no event loop.
"""

# Which package this uses is decided when it runs.
# mypy: ignore-errors

from __future__ import annotations

import asyncio
import json
import logging
import sys

import twin_chats  # noqa: F401 - its cases are found when it is imported
import twin_models  # noqa: F401
import twin_predictions  # noqa: F401
import twin_tools  # noqa: F401
from twin_kit import CASES, CHAT, CONVENIENCE, HOST, MARK, SYNC_ONLY, got, run_plainly

import lmstudio as lms


async def observe(cases, *clients):
    seen = {}
    for function in cases:
        for client in clients:
            # So that the server knows what the requests that follow belong to.
            await got((await got(client.llm.model(CHAT))).complete(f"{MARK}{function.__name__}"))
        try:
            seen[function.__name__] = await function(*clients)
        except Exception as error:
            seen[function.__name__] = {"$raised": f"{type(error).__name__}: {error}"}
    return seen


async def observe_async():
    async with lms.AsyncClient(HOST) as client:
        return await observe(CASES, client)


async def observe_sync():
    with lms.Client(HOST) as client:
        return await observe([*CASES, *SYNC_ONLY], client)


def main():
    logging.getLogger().addHandler(logging.NullHandler())
    observed = {
        "async": asyncio.run(observe_async()),
        "convenience": run_plainly(observe(CONVENIENCE)),
        "sync": run_plainly(observe_sync()),
        "version": lms.__version__,
    }
    json.dump(observed, sys.stdout)


main()
