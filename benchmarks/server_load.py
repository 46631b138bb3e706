"""Load the server with mixed work for a long time, kill its model processes meanwhile, and look at what is left.

`python benchmarks/server_load.py --minutes 10 --seed 1` starts `python -m lmstudio serve` with the shipped models and
the real engine, and 64 clients: half of them speak the native protocol, half of them HTTP. They chat, stream, embed,
call tools, and now and then give up in the middle, by a cancel or by hanging up. Every --kill-seconds one of the
server's model processes is killed. Prints a table; the exit status is 1 if a call failed for another reason than a
killed model, took too long, or if anything is left in the end: a slot in use, a child process, memory that grew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

import lmstudio as lms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

CLIENTS = 64
PATIENCE_SECONDS = 120.0
"""What a call may take: sixty of them share two processors with the model."""
CHAT, EMBEDDING = "pebble-2.6m", "pebble-embed-0.8m"
KILLED_WORDS = re.compile(r"stopped unexpectedly|unloaded|not loaded|no loaded model", re.IGNORECASE)
MEGABYTE = 1 << 20


class GivenUpError(Exception):
    """The client hung up, as it had decided."""


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = {}
        self.slowest: dict[str, float] = {}
        self.violations: list[str] = []
        self.kills = 0
        self.last_kill = 0.0

    def ended(self, job: str, began: float, outcome: str) -> None:
        """One call has ended."""
        self.outcomes.setdefault(job, Counter())[outcome] += 1
        self.slowest[job] = max(self.slowest.get(job, 0.0), time.monotonic() - began)

    def failed(self, job: str, began: float, error: BaseException) -> None:
        """One call has failed: rightly, if its model was killed."""
        if self.last_kill > began - 1 and KILLED_WORDS.search(str(error)):
            self.ended(job, began, "model killed")
        else:
            self.ended(job, began, "FAILED")
            self.violation(f"{job}: {type(error).__name__}: {error}")

    def violation(self, text: str) -> None:
        """Something that must not happen."""
        self.violations.append(text)
        print("VIOLATION:", text[:500], file=sys.stderr, flush=True)


# Jobs ----------------------------------------------------------------------------------------------------------------


def question(dice: random.Random) -> str:
    return f"Tell me a short story about a {dice.choice(('fox', 'girl', 'river', 'king', 'boat'))} no. {dice.random()}."


async def native_reply(client: lms.AsyncClient, dice: random.Random) -> None:
    model = await client.llm.model(CHAT)
    result = await model.respond(question(dice), config={"max_tokens": dice.randrange(10, 60)})
    if result.stats.stop_reason == "modelUnloaded":
        raise RuntimeError("unloaded")
    if not result.content:
        raise AssertionError(f"an empty reply: {result.stats}")


async def native_stream(client: lms.AsyncClient, dice: random.Random) -> None:
    model = await client.llm.model(CHAT)
    stop = dice.randrange(1, 40) if dice.random() < 0.5 else None
    seen = 0
    async with model.respond_stream(question(dice), config={"max_tokens": 60}) as stream:
        async for _ in stream:
            seen += 1
            if seen == stop:
                raise GivenUpError


async def native_cancel(client: lms.AsyncClient, dice: random.Random) -> None:
    model = await client.llm.model(CHAT)
    task = asyncio.ensure_future(model.respond(question(dice)))
    await asyncio.sleep(dice.random() * 0.5)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        raise GivenUpError from None


async def native_tools(client: lms.AsyncClient, dice: random.Random) -> None:
    def add(a: float, b: float) -> float:
        """Add two numbers."""
        return a + b

    model = await client.llm.model(CHAT)
    await model.act(f"What is {dice.randrange(100)} plus {dice.randrange(100)}?", [add], config={"max_tokens": 80})


async def native_embed(client: lms.AsyncClient, dice: random.Random) -> None:
    model = await client.embedding.model(EMBEDDING)
    vectors = await model.embed([question(dice) for _ in range(4)])
    if len(vectors) != 4:
        raise AssertionError(f"{len(vectors)} vectors for 4 texts")


async def http_json(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post(path, json=body)
    answer: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise RuntimeError(f"{response.status_code} {answer}")
    return answer


async def http_chat(client: httpx.AsyncClient, dice: random.Random) -> None:
    messages = [{"role": "user", "content": question(dice)}]
    await http_json(client, "/v1/chat/completions", {"model": CHAT, "messages": messages, "max_tokens": 40})


async def http_stream(client: httpx.AsyncClient, dice: random.Random) -> None:
    messages = [{"role": "user", "content": question(dice)}]
    body = {"model": CHAT, "messages": messages, "max_tokens": 60, "stream": True}
    stop = dice.randrange(1, 40) if dice.random() < 0.5 else None
    seen = 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{response.status_code} {(await response.aread()).decode()}")
        async for line in response.aiter_lines():
            seen += line.startswith("data:")
            if line.startswith('data: {"error"'):
                raise RuntimeError(line)
            if seen == stop:
                raise GivenUpError


async def http_hang_up(client: httpx.AsyncClient, dice: random.Random) -> None:
    try:
        await asyncio.wait_for(http_chat(client, dice), dice.random() * 0.5)
    except asyncio.TimeoutError:
        raise GivenUpError from None


async def http_completion(client: httpx.AsyncClient, _: random.Random) -> None:
    body = {"model": CHAT, "prompt": ["Once upon a time", "A fox"], "max_tokens": 20}
    if len((await http_json(client, "/v1/completions", body))["choices"]) != 2:
        raise AssertionError("not one choice for each prompt")


async def http_embed(client: httpx.AsyncClient, dice: random.Random) -> None:
    await http_json(client, "/v1/embeddings", {"model": EMBEDDING, "input": [question(dice)] * 3})


async def http_messages(client: httpx.AsyncClient, dice: random.Random) -> None:
    messages = [{"role": "user", "content": question(dice)}]
    await http_json(client, "/v1/messages", {"model": CHAT, "messages": messages, "max_tokens": 30})


async def http_responses(client: httpx.AsyncClient, dice: random.Random) -> None:
    await http_json(client, "/v1/responses", {"model": CHAT, "input": question(dice), "max_output_tokens": 30})


async def http_rest(client: httpx.AsyncClient, dice: random.Random) -> None:
    body = {"model": CHAT, "input": question(dice), "max_output_tokens": 30, "store": False}
    await http_json(client, "/api/v1/chat", body)


async def http_list(client: httpx.AsyncClient, _: random.Random) -> None:
    (await client.get("/v1/models")).raise_for_status()


NATIVE_JOBS = (native_reply, native_stream, native_stream, native_cancel, native_tools, native_embed)
HTTP_JOBS = (
    http_chat,
    http_stream,
    http_stream,
    http_hang_up,
    http_completion,
    http_embed,
    http_messages,
    http_responses,
    http_rest,
    http_list,
)


async def work(
    client: Any, jobs: tuple[Callable[..., Awaitable[None]], ...], dice: random.Random, record: Record, end: float
) -> None:
    """One client's life."""
    while time.monotonic() < end:
        job = dice.choice(jobs)
        began = time.monotonic()
        try:
            await asyncio.wait_for(job(client, dice), PATIENCE_SECONDS)
        except GivenUpError:
            record.ended(job.__name__, began, "given up")
        except asyncio.TimeoutError:
            record.violation(f"{job.__name__} took more than {PATIENCE_SECONDS:g} seconds")
        except Exception as error:
            record.failed(job.__name__, began, error)
        else:
            record.ended(job.__name__, began, "ok")


# The server ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(log: Path) -> Iterator[tuple[str, int]]:
    """Address and process of a server of its own."""
    command = [sys.executable, "-m", "lmstudio", "serve", "--port", "0"]
    with log.open("w") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"ws://([^/]+)/", process.stdout.readline())
            if address is None:
                raise RuntimeError(f"The server did not start; see {log}.")
            yield address[1], process.pid
        finally:
            process.terminate()


def children(pid: int) -> list[int]:
    """The child processes of *pid*."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def memory_megabytes(pid: int) -> float:
    """What the process itself has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


def files(pid: int) -> int:
    """How many files and sockets it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def kill_now_and_then(pid: int, seconds: float, dice: random.Random, record: Record, end: float) -> None:
    """Kill a model process every *seconds*."""
    while time.monotonic() < end - seconds:
        await asyncio.sleep(seconds)
        if models := children(pid):
            record.last_kill = time.monotonic()
            record.kills += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(models), signal.SIGKILL)


async def run(address: str, pid: int, options: argparse.Namespace, record: Record) -> list[str]:
    """All of it; lines for the table."""
    dice = random.Random(options.seed)
    end = time.monotonic() + options.minutes * 60
    sizes: list[float] = []

    async def watch() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(options.minutes * 60 / 20)
            sizes.append(memory_megabytes(pid))

    async with contextlib.AsyncExitStack() as stack:
        workers = []
        for number in range(CLIENTS):
            own = random.Random(dice.random())
            if number % 2:
                native = await stack.enter_async_context(lms.AsyncClient(address))
                workers.append(work(native, NATIVE_JOBS, own, record, end))
            else:
                http = httpx.AsyncClient(base_url=f"http://{address}", timeout=PATIENCE_SECONDS)
                workers.append(work(await stack.enter_async_context(http), HTTP_JOBS, own, record, end))
        await asyncio.gather(*workers, watch(), kill_now_and_then(pid, options.kill_seconds, dice, record, end))
    return [*await left(address, pid, record), memory_line(sizes, record)]


async def left(address: str, pid: int, record: Record) -> list[str]:
    """What is there after the work."""
    async with lms.AsyncClient(address) as client:
        loaded = await client.llm.list_loaded() + await client.embedding.list_loaded()
        for model in loaded:
            state = await model.get_instance_processing_state()
            if state.queued or state.status != "idle":
                record.violation(f"{model.identifier} is {state.status} with {state.queued} requests")
        await (await client.llm.model(CHAT)).respond("Hi")  # still works
    await asyncio.sleep(2)
    processes, open_files = children(pid), files(pid)
    if len(processes) > 2:
        record.violation(f"{len(processes)} child processes for 2 models")
    return [f"child processes {len(processes)}, open files and sockets {open_files}"]


def memory_line(sizes: list[float], record: Record) -> str:
    """How the server's memory went."""
    quarter, last = sizes[len(sizes) // 4], sizes[-1]
    if last > quarter * 1.3 + 20:
        record.violation(f"the server's memory grew from {quarter:.0f} to {last:.0f} MiB")
    return f"memory of the server {quarter:.0f} MiB after a quarter, {last:.0f} MiB at the end"


def main() -> int:
    """Run, print, say whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-seconds", type=float, default=45.0)
    parser.add_argument("--log", type=Path, default=Path("server_load.log"), help="where the server's log goes")
    options = parser.parse_args()
    record = Record()
    with server(options.log) as (address, pid):
        lines = asyncio.run(run(address, pid, options, record))
    print(f"{'job':18}{'slowest':>9}  outcomes")
    for job, outcomes in sorted(record.outcomes.items()):
        print(f"{job:18}{record.slowest[job]:>7.1f} s  {json.dumps(dict(outcomes))}")
    total = sum(sum(outcomes.values()) for outcomes in record.outcomes.values())
    print(f"{total} calls, {record.kills} killed models, {len(record.violations)} violations")
    print(*lines, sep="\n")
    return 1 if record.violations else 0


if __name__ == "__main__":
    sys.exit(main())
