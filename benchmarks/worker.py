"""One benchmark scenario in one process: `python worker.py SCENARIO --port N --count N` prints one line of JSON.

Every scenario is written once, against the public names that the official package and this one share. Which of the two
runs is decided by the interpreter that starts this file.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmstudio as lms

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

PARALLEL_STREAMS = 1000
CALLS_IN_FLIGHT = 100
HISTORY_MESSAGES = 2000
PACED_STREAMS, PACED_RATE = 100, 50
LATENCY_RATE = 500
STREAMS_FOR_MEMORY = 100


@dataclass
class Measurement:
    """What a scenario measured: its timed part, and what else it noted."""

    count: int
    """Fragments, calls or repetitions in the timed part."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the enclosed part: wall clock, and processor time of all threads."""
        cpu, start = time.process_time(), time.perf_counter()
        yield
        self.seconds = time.perf_counter() - start
        self.cpu_seconds = time.process_time() - cpu


class Tally:
    """Callbacks as a user would pass them: they look at what they get."""

    def __init__(self) -> None:
        self.fragments = 0
        self.characters = 0
        self.first_tokens = 0

    def on_fragment(self, fragment: Any) -> None:
        """Count a fragment and its text."""
        self.fragments += 1
        self.characters += len(fragment.content)

    def on_first_token(self) -> None:
        """Count the start of an answer."""
        self.first_tokens += 1

    def check(self, streams: int, fragments: int) -> None:
        """Fail unless every fragment arrived: a benchmark of lost data is worth nothing."""
        found = (self.first_tokens, self.fragments)
        if found != (streams, fragments):
            raise RuntimeError(f"Expected {(streams, fragments)} first tokens and fragments, but {found} arrived.")


def median(values: list[float]) -> float:
    """The middle of *values*, without loading the statistics module."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def resident_bytes() -> int:
    """Memory of this process that is in use now; where the system does not tell, its peak so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    return peak_bytes()


def peak_bytes() -> int:
    """Largest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# Streams


async def read_stream(client: lms.AsyncClient, key: str, tally: Tally) -> None:
    """One answer of the model *key*, fragment by fragment."""
    model = await client.llm.model(key)
    stream = await model.respond_stream(
        "Go", on_prediction_fragment=tally.on_fragment, on_first_token=tally.on_first_token
    )
    async for _ in stream:
        pass


def read_stream_sync(client: lms.Client, key: str, tally: Tally) -> None:
    """As `read_stream`."""
    model = client.llm.model(key)
    stream = model.respond_stream("Go", on_prediction_fragment=tally.on_fragment, on_first_token=tally.on_first_token)
    for _ in stream:
        pass


async def stream_async(host: str, count: int) -> Measurement:
    """One stream of *count* fragments."""
    measurement, tally = Measurement(count), Tally()
    async with lms.AsyncClient(host) as client:
        await read_stream(client, "bench/fragments=1000", Tally())
        with measurement.timed():
            await read_stream(client, f"bench/fragments={count}", tally)
    tally.check(1, count)
    return measurement


def stream_sync(host: str, count: int) -> Measurement:
    """As `stream_async`."""
    measurement, tally = Measurement(count), Tally()
    with lms.Client(host) as client:
        read_stream_sync(client, "bench/fragments=1000", Tally())
        with measurement.timed():
            read_stream_sync(client, f"bench/fragments={count}", tally)
    tally.check(1, count)
    return measurement


async def parallel_streams(host: str, count: int) -> Measurement:
    """*count* fragments over 1,000 streams that the server answers in turns, from the requests to the last fragment."""
    each = count // PARALLEL_STREAMS
    measurement, tally = Measurement(each * PARALLEL_STREAMS), Tally()

    async def read(model: Any) -> None:
        stream = await model.respond_stream(
            "Go", on_prediction_fragment=tally.on_fragment, on_first_token=tally.on_first_token
        )
        async for _ in stream:
            pass

    async with lms.AsyncClient(host) as client:
        await read_stream(client, "bench/fragments=1000", Tally())
        model = await client.llm.model(f"bench/fragments={each},parallel={PARALLEL_STREAMS}")
        with measurement.timed():
            await asyncio.gather(*(read(model) for _ in range(PARALLEL_STREAMS)))
    tally.check(PARALLEL_STREAMS, measurement.count)
    return measurement


async def paced_streams(host: str, count: int) -> Measurement:
    """100 streams at 50 fragments a second each, as real models send them."""
    each = count // PACED_STREAMS
    measurement, tally = Measurement(each * PACED_STREAMS), Tally()
    async with lms.AsyncClient(host) as client:
        await read_stream(client, "bench/fragments=1000", Tally())
        key = f"bench/fragments={each},parallel={PACED_STREAMS},rate={PACED_RATE}"
        with measurement.timed():
            await asyncio.gather(*(read_stream(client, key, tally) for _ in range(PACED_STREAMS)))
    tally.check(PACED_STREAMS, measurement.count)
    return measurement


class Latency(Tally):
    """Compares the time of sending, which is the fragment's content, with the time of the callback."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def on_fragment(self, fragment: Any) -> None:
        """Note the delay."""
        now = time.perf_counter_ns()
        self.fragments += 1
        self.delays.append((now - int(fragment.content)) / 1000)

    def result(self) -> Measurement:
        """Microseconds, without the first tenth."""
        steady = sorted(self.delays[len(self.delays) // 10 :])
        values = {"p50": steady[len(steady) // 2], "p99": steady[len(steady) * 99 // 100]}
        return Measurement(len(steady), values=values)


async def latency_async(host: str, count: int) -> Measurement:
    """Delay between the server's sending and the callback, at 500 fragments a second."""
    latency = Latency()
    async with lms.AsyncClient(host) as client:
        await read_stream(client, f"bench/fragments={count},rate={LATENCY_RATE}", latency)
    return latency.result()


def latency_sync(host: str, count: int) -> Measurement:
    """As `latency_async`."""
    latency = Latency()
    with lms.Client(host) as client:
        read_stream_sync(client, f"bench/fragments={count},rate={LATENCY_RATE}", latency)
    return latency.result()


# Calls


async def rpc_serial_async(host: str, count: int) -> Measurement:
    """*count* calls of `tokenize`, each after the reply to the one before."""
    measurement = Measurement(count)
    async with lms.AsyncClient(host) as client:
        model = await client.llm.model("bench/fragments=1")
        for _ in range(50):
            await model.tokenize("This is a test")
        with measurement.timed():
            for _ in range(count):
                await model.tokenize("This is a test")
    return measurement


def rpc_serial_sync(host: str, count: int) -> Measurement:
    """As `rpc_serial_async`."""
    measurement = Measurement(count)
    with lms.Client(host) as client:
        model = client.llm.model("bench/fragments=1")
        for _ in range(50):
            model.tokenize("This is a test")
        with measurement.timed():
            for _ in range(count):
                model.tokenize("This is a test")
    return measurement


async def rpc_100_in_flight(host: str, count: int) -> Measurement:
    """*count* calls of `tokenize` by 100 tasks, so that 100 are always under way."""
    each = count // CALLS_IN_FLIGHT
    measurement = Measurement(each * CALLS_IN_FLIGHT)

    async def call(model: Any, times: int) -> None:
        for _ in range(times):
            await model.tokenize("This is a test")

    async with lms.AsyncClient(host) as client:
        model = await client.llm.model("bench/fragments=1")
        await asyncio.gather(*(call(model, 2) for _ in range(CALLS_IN_FLIGHT)))
        with measurement.timed():
            await asyncio.gather(*(call(model, each) for _ in range(CALLS_IN_FLIGHT)))
    return measurement


async def open_async(host: str, count: int) -> Measurement:
    """From the construction of a client to its first reply, milliseconds; closing is not part of it."""
    opened: list[float] = []
    for _ in range(count + 2):
        start = time.perf_counter()
        async with lms.AsyncClient(host) as client:
            await client.llm.list_loaded()
            opened.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(opened[2:])})


def open_sync(host: str, count: int) -> Measurement:
    """As `open_async`."""
    opened: list[float] = []
    for _ in range(count + 2):
        start = time.perf_counter()
        with lms.Client(host) as client:
            client.llm.list_loaded()
            opened.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(opened[2:])})


# Large messages


def texts(count: int) -> list[str]:
    """Texts to embed, all different."""
    return [f"Text number {number} of a collection that is to be embedded" for number in range(count)]


async def embed_async(host: str, count: int, dims: int) -> Measurement:
    """*count* texts in one `embed`, *dims* numbers each."""
    measurement = Measurement(count)
    async with lms.AsyncClient(host) as client:
        model = await client.embedding.model(f"bench/dims={dims}")
        await model.embed(texts(8))
        with measurement.timed():
            vectors: Any = await model.embed(texts(count))
    check_vectors(vectors, count, dims)
    return measurement


def embed_sync(host: str, count: int, dims: int) -> Measurement:
    """As `embed_async`."""
    measurement = Measurement(count)
    with lms.Client(host) as client:
        model = client.embedding.model(f"bench/dims={dims}")
        model.embed(texts(8))
        with measurement.timed():
            vectors: Any = model.embed(texts(count))
    check_vectors(vectors, count, dims)
    return measurement


def check_vectors(vectors: list[list[float]], count: int, dims: int) -> None:
    """Fail unless every vector is complete."""
    if len(vectors) != count or any(len(vector) != dims for vector in vectors):
        raise RuntimeError(f"Expected {count} vectors of {dims} numbers, but received others.")


def long_chat() -> lms.Chat:
    """2,000 messages of about 120 characters, user and assistant by turns."""
    chat = lms.Chat("You are a helpful assistant.")
    for number in range(HISTORY_MESSAGES // 2 - 1):
        chat.add_user_message(f"Question {number}: what follows from the previous answer? " + "Please explain. " * 4)
        chat.add_assistant_response(f"Answer {number}: quite a lot, as can be shown. " + "It is explained. " * 4)
    chat.add_user_message("And in short?")
    return chat


async def respond_async(host: str, count: int) -> Measurement:
    """Milliseconds of one `respond` with 2,000 messages and an answer of one fragment; the chats exist beforehand."""
    # A chat of its own for every repetition: nothing remembered from the one before may help.
    chats = [long_chat() for _ in range(count + 2)]
    taken: list[float] = []
    async with lms.AsyncClient(host) as client:
        model = await client.llm.model("bench/fragments=1")
        for chat in chats:
            start = time.perf_counter()
            await model.respond(chat)
            taken.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(taken[2:])})


def respond_sync(host: str, count: int) -> Measurement:
    """As `respond_async`."""
    chats = [long_chat() for _ in range(count + 2)]
    taken: list[float] = []
    with lms.Client(host) as client:
        model = client.llm.model("bench/fragments=1")
        for chat in chats:
            start = time.perf_counter()
            model.respond(chat)
            taken.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(taken[2:])})


# Uploads


def image(number: int) -> bytes:
    """Twenty mebibytes that begin like a PNG. No two are the same, nor of the same size, as photos are."""
    return b"\x89PNG\r\n\x1a\n" + os.urandom(1 << 16) * 320 + bytes(number)


async def upload_async(host: str, count: int) -> Measurement:
    """Milliseconds of one `prepare_image` with 20 MiB that are in memory."""
    images = [image(number) for number in range(count + 1)]
    taken: list[float] = []
    async with lms.AsyncClient(host) as client:
        for content in images:
            start = time.perf_counter()
            await client.files.prepare_image(content, "photo.png")
            taken.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(taken[1:])})


def upload_sync(host: str, count: int) -> Measurement:
    """As `upload_async`."""
    images = [image(number) for number in range(count + 1)]
    taken: list[float] = []
    with lms.Client(host) as client:
        for content in images:
            start = time.perf_counter()
            client.files.prepare_image(content, "photo.png")
            taken.append((time.perf_counter() - start) * 1000)
    return Measurement(count, values={"p50": median(taken[1:])})


# Memory


class MemoryMarks(Tally):
    """Notes the memory at one tenth of a stream and at its end."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._marks: list[tuple[int, int]] = []

    def on_fragment(self, fragment: Any) -> None:
        """Count, and note the memory twice."""
        super().on_fragment(fragment)
        if self.fragments in {self._count // 10, self._count}:
            self._marks.append((resident_bytes(), self.characters))

    def result(self) -> Measurement:
        """Growth between the two marks, beside the text that the result of the prediction has to keep."""
        (early, early_characters), (late, late_characters) = self._marks
        return Measurement(
            self._count, values={"growth_bytes": late - early, "text_characters": late_characters - early_characters}
        )


async def memory_stream_async(host: str, count: int) -> Measurement:
    """Growth of the memory in one stream, between one tenth of its fragments and the last."""
    marks = MemoryMarks(count)
    async with lms.AsyncClient(host) as client:
        await read_stream(client, f"bench/fragments={count}", marks)
    return marks.result()


def memory_stream_sync(host: str, count: int) -> Measurement:
    """As `memory_stream_async`."""
    marks = MemoryMarks(count)
    with lms.Client(host) as client:
        read_stream_sync(client, f"bench/fragments={count}", marks)
    return marks.result()


async def memory_streams_async(host: str, count: int) -> Measurement:
    """Growth of the memory between the 10th and the 100th of 100 streams, *count* fragments altogether."""
    key = f"bench/fragments={count // STREAMS_FOR_MEMORY}"
    marks: list[int] = []
    async with lms.AsyncClient(host) as client:
        for number in range(1, STREAMS_FOR_MEMORY + 1):
            await read_stream(client, key, Tally())
            if number in {10, STREAMS_FOR_MEMORY}:
                gc.collect()
                marks.append(resident_bytes())
    return Measurement(count, values={"growth_bytes": marks[1] - marks[0], "text_characters": 0})


def memory_streams_sync(host: str, count: int) -> Measurement:
    """As `memory_streams_async`."""
    key = f"bench/fragments={count // STREAMS_FOR_MEMORY}"
    marks: list[int] = []
    with lms.Client(host) as client:
        for number in range(1, STREAMS_FOR_MEMORY + 1):
            read_stream_sync(client, key, Tally())
            if number in {10, STREAMS_FOR_MEMORY}:
                gc.collect()
                marks.append(resident_bytes())
    return Measurement(count, values={"growth_bytes": marks[1] - marks[0], "text_characters": 0})


ASYNC_SCENARIOS: dict[str, Callable[[str, int], Coroutine[Any, Any, Measurement]]] = {
    "stream_async": stream_async,
    "parallel_1000": parallel_streams,
    "paced_100": paced_streams,
    "latency_async": latency_async,
    "rpc_serial_async": rpc_serial_async,
    "rpc_100_in_flight": rpc_100_in_flight,
    "open_first_reply_async": open_async,
    "embeddings_256x768_async": lambda host, count: embed_async(host, count, 768),
    "embeddings_1000x4096_async": lambda host, count: embed_async(host, count, 4096),
    "respond_2000_messages_async": respond_async,
    "upload_20mib_async": upload_async,
    "memory_stream_async": memory_stream_async,
    "memory_streams_async": memory_streams_async,
}
SYNC_SCENARIOS: dict[str, Callable[[str, int], Measurement]] = {
    "stream_sync": stream_sync,
    "latency_sync": latency_sync,
    "rpc_serial_sync": rpc_serial_sync,
    "open_first_reply_sync": open_sync,
    "embeddings_256x768_sync": lambda host, count: embed_sync(host, count, 768),
    "embeddings_1000x4096_sync": lambda host, count: embed_sync(host, count, 4096),
    "respond_2000_messages_sync": respond_sync,
    "upload_20mib_sync": upload_sync,
    "memory_stream_sync": memory_stream_sync,
    "memory_streams_sync": memory_streams_sync,
}


def main() -> None:
    """Run one scenario and print what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenario", choices=sorted(ASYNC_SCENARIOS | SYNC_SCENARIOS))
    parser.add_argument("--port", type=int, required=True, help="port of the frame server")
    parser.add_argument("--count", type=int, required=True, help="fragments, calls or repetitions")
    arguments = parser.parse_args()
    host = f"127.0.0.1:{arguments.port}"
    if arguments.scenario in SYNC_SCENARIOS:
        measurement = SYNC_SCENARIOS[arguments.scenario](host, arguments.count)
    else:
        measurement = asyncio.run(ASYNC_SCENARIOS[arguments.scenario](host, arguments.count))
    print(json.dumps({**asdict(measurement), "max_rss_kb": peak_bytes() // 1024}))


if __name__ == "__main__":
    main()
