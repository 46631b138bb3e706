"""Use clients of both surfaces for a long time while their connections break, and look at what is left.

`python benchmarks/soak.py --minutes 30 --seed 1` runs an embedded server with the scripted engine, a proxy in front of
it that breaks things at random, and workers that make all kinds of calls: tasks that share an `AsyncClient`, threads
that share a `Client`. Every call must end within its patience, with the right result or with one of the package's own
errors. In the end no task, thread, file or channel may be left. Prints a table; the exit status is 1 if anything was
wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import gc
import os
import random
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import soak_jobs as jobs
from surface.fault_proxy import FAULTS, FaultProxy

import lmstudio as lms
from lmstudio import _transfer
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio.server.engine.base import GenerationRequest

PATIENCE_SECONDS = 60.0
"""What a call may take: a connection that falls silent while it opens is given up after 20 seconds; it may need two."""
KEEPALIVE_SECONDS = 2.0
MEGABYTE = 1 << 20


def reply(request: GenerationRequest) -> Reply | str | ToolCall:
    """What the model says; the last word of the prompt decides."""
    words = request.prompt.split("<|assistant|>")[0].split()
    if "<|tool|>" in request.prompt:
        return Reply("Done.")
    if words[-1] == jobs.ENDLESS:
        return Reply(["word "] * 2000, delay_seconds=0.01)
    if words[-1] == jobs.USE_TOOLS:
        return Reply([ToolCall("add", {"a": 1, "b": 2}, id="x"), ToolCall("add", {"a": 3, "b": 4}, id="y")])
    return Reply(f"You said: {words[-1]}")


class Record:
    """What happened, from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.outcomes: dict[str, Counter[str]] = {}
        self.slowest: dict[str, float] = {}
        self.faults: Counter[str] = Counter()
        self.violations: list[str] = []

    def outcome(self, job: str, outcome: str, seconds: float) -> None:
        with self._lock:
            self.outcomes.setdefault(job, Counter())[outcome] += 1
            self.slowest[job] = max(seconds, self.slowest.get(job, 0.0))

    def violation(self, text: str) -> None:
        with self._lock:
            self.violations.append(text)
        print("VIOLATION:", text, file=sys.stderr, flush=True)

    def ended(self, job: str, began: float, error: BaseException | None) -> None:
        """One call has ended, with *error* if it failed."""
        seconds = time.monotonic() - began
        self.outcome(job, "ok" if error is None else type(error).__name__, seconds)
        if seconds > PATIENCE_SECONDS:
            self.violation(f"{job} took {seconds:.0f} seconds")
        if error is not None and not isinstance(error, (lms.LMStudioError, jobs.ModelUnloadedError)):
            self.violation(f"{job}: {''.join(traceback.format_exception(error))}")


# Faults --------------------------------------------------------------------------------------------------------------


class Faults(threading.Thread):
    """Breaks things until told to stop; then everything works again."""

    def __init__(self, server: Server, engine: ScriptedEngine, proxy: FaultProxy, seed: int, record: Record) -> None:
        super().__init__(name="faults")
        self._server, self._engine, self._proxy, self._record = server, engine, proxy, record
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._kinds: dict[str, Callable[[], object]] = {
            **{name: lambda happen=happen: happen(proxy) for name, (happen, _) in FAULTS.items()},
            "drip": self._drip,
            "late": self._hold,
            "nobody listens": self._refuse,
            "server restarts": self._restart,
            "models die": engine.kill_models,
        }

    def run(self) -> None:
        try:
            while not self._end.wait(self._random.uniform(0.1, 2.0)):
                name = self._random.choice(list(self._kinds))
                self._kinds[name]()
                self._record.faults[name] += 1
                self._forget_the_past()
        except BaseException:
            self._record.violation(f"the soak itself failed: {traceback.format_exc()}")

    def stop(self) -> None:
        self._end.set()
        self.join()

    def _pause(self) -> None:
        self._end.wait(self._random.uniform(0.0, 0.5))

    def _drip(self) -> None:
        self._proxy.drip = True
        self._pause()
        self._proxy.drip = False

    def _hold(self) -> None:
        self._proxy.hold()
        self._pause()
        self._proxy.release()

    def _refuse(self) -> None:
        self._proxy.refuse_connections()
        self._pause()
        self._proxy.accept_connections()

    def _restart(self) -> None:
        self._server.stop()
        self._pause()
        self._server.start()

    def _forget_the_past(self) -> None:
        """What engine and proxy write down for tests would grow for ever."""
        for past in (self._engine.requests, self._engine.chats, self._engine.loads, self._proxy.frames):
            past.clear()
        self._proxy.accepted.clear()


# Workers -------------------------------------------------------------------------------------------------------------


def work_in_thread(client: lms.Client, seed: int, until: float, record: Record) -> None:
    """Make one call after the other."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        name = chance.choice(list(jobs.SYNC_JOBS))
        began, error = time.monotonic(), None
        try:
            jobs.SYNC_JOBS[name](client, chance)
        except BaseException as raised:
            error = raised
        record.ended(f"sync {name}", began, error)


async def work_in_task(client: lms.AsyncClient, seed: int, until: float, record: Record) -> None:
    """Make one call after the other."""
    chance = random.Random(seed)
    while time.monotonic() < until:
        name = chance.choice(list(jobs.ASYNC_JOBS))
        began, error = time.monotonic(), None
        try:
            await asyncio.wait_for(jobs.ASYNC_JOBS[name](client, chance), 2 * PATIENCE_SECONDS)
        except BaseException as raised:
            error = raised
        record.ended(f"async {name}", began, error)


async def run_tasks(host: str, options: argparse.Namespace, until: float, record: Record) -> None:
    """The asynchronous half, from the construction of its client to the last look at what it left."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: record.violation(f"the event loop reports {context}"))
    client = lms.AsyncClient(host)
    seeds = [options.seed * 1000 + number for number in range(options.workers)]
    await asyncio.gather(*(work_in_task(client, seed, until, record) for seed in seeds))
    await healed("async", lambda: client.llm.model("scripted-chat"), record)
    gc.collect()
    await asyncio.sleep(1.0)  # what was given up may still be on its way to the server
    for runtime in client._state._runtimes.values():
        check_channels("async", runtime.links, record)
    await client.aclose()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        record.violation(f"tasks are left: {left}")


async def healed(surface: str, call: Callable[[], Any], record: Record) -> None:
    """After the last fault a call works; a loss that nobody has noticed yet may cost one."""
    for attempt in range(2):
        try:
            await call()
        except lms.LMStudioError as error:
            if attempt:
                record.violation(f"{surface} does not work any more: {error}")
        else:
            return


def check_channels(surface: str, links: Any, record: Record) -> None:
    """Nothing may wait for the server when nobody waits."""
    for namespace, link in links._links.items():
        multiplexer = link.multiplexer
        if not multiplexer.is_idle or multiplexer.shared:
            record.violation(
                f"{surface} {namespace}: channels {list(multiplexer._channels)}, calls {list(multiplexer._calls)}, "
                f"shared {list(multiplexer.shared)} are left"
            )


# What is left --------------------------------------------------------------------------------------------------------


def open_files() -> list[str]:
    """What the file descriptors of this process are."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            names.append(os.readlink(f"/proc/self/fd/{number}").partition(":")[0])
    return sorted(names)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def warm_up(engine: ScriptedEngine) -> None:
    """Import everything, and let the executors begin whose threads stay."""
    with Server(engine=engine) as server:
        chance = random.Random(0)
        with lms.Client(server.api_host) as client:
            for job in jobs.SYNC_JOBS.values():
                job(client, chance)


def check_the_rest(before: tuple[set[threading.Thread], list[str]], record: Record) -> None:
    """Threads and files, once all is closed."""
    threads, files = before
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and (set(threading.enumerate()) - threads or len(open_files()) > len(files)):
        gc.collect()
        time.sleep(0.1)
    if left := set(threading.enumerate()) - threads:
        record.violation(f"threads are left: {[thread.name for thread in left]}")
    if len(open_files()) > len(files):
        record.violation(f"files are left: {Counter(open_files()) - Counter(files)}")


def memory_samples(until: float) -> Iterator[int]:
    while time.monotonic() < until:
        time.sleep(min(5.0, max(0.0, until - time.monotonic())))
        yield resident_bytes()


# The run -------------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, record: Record) -> list[int]:
    """Everything between warming up and the last check; how much memory was in use, every five seconds."""
    engine = ScriptedEngine(reply)
    with Server(engine=engine) as server, FaultProxy(server.port) as proxy:
        until = time.monotonic() + 60.0 * options.minutes
        faults = Faults(server, engine, proxy, options.seed, record)
        client = lms.Client(proxy.api_host)
        seeds = [options.seed * 1000 + 500 + number for number in range(options.workers)]
        workers = [threading.Thread(target=work_in_thread, args=(client, seed, until, record)) for seed in seeds]
        tasks = threading.Thread(target=lambda: asyncio.run(run_tasks(proxy.api_host, options, until, record)))
        for thread in (faults, tasks, *workers):
            thread.start()
        samples = list(memory_samples(until))
        faults.stop()
        for thread in (*workers, tasks):
            thread.join(max(0.0, until + 3 * PATIENCE_SECONDS - time.monotonic()))
            if thread.is_alive():
                faulthandler.dump_traceback()
                record.violation(f"{thread.name} does not end")
        asyncio.run(healed("sync", _later(lambda: client.llm.model("scripted-chat")), record))
        gc.collect()
        time.sleep(1.0)
        check_channels("sync", client._state.runtime().links, record)
        client.close()
    return samples


def _later(call: Callable[[], object]) -> Callable[[], Any]:
    return lambda: asyncio.to_thread(call)


def report(options: argparse.Namespace, record: Record, samples: list[int]) -> None:
    total = sum(sum(outcomes.values()) for outcomes in record.outcomes.values())
    print(f"\n{options.minutes:g} minutes, seed {options.seed}, {options.workers} tasks and {options.workers} threads")
    print(f"{total} calls, {sum(record.faults.values())} faults\n")
    print(f"| {'call':24} | {'ok':>7} | {'failed':>7} | {'slowest':>7} | errors")
    for job, outcomes in sorted(record.outcomes.items()):
        errors = ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items()) if name != "ok")
        failed = sum(outcomes.values()) - outcomes["ok"]
        print(f"| {job:24} | {outcomes['ok']:7} | {failed:7} | {record.slowest[job]:5.1f} s | {errors}")
    print("\nfaults: " + ", ".join(f"{name} {count}" for name, count in sorted(record.faults.items())))
    if len(samples) > 4:
        first, last = samples[len(samples) // 4], samples[-1]
        print(
            f"memory: {first / MEGABYTE:.0f} MiB after a quarter, {max(samples) / MEGABYTE:.0f} at most, "
            f"{last / MEGABYTE:.0f} at the end"
        )
    print(f"left: {'nothing' if not record.violations else 'see above'}; violations: {len(record.violations)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=6, help="tasks, and as many threads")
    options = parser.parse_args()
    record = Record()
    _transfer.KEEPALIVE_SECONDS = KEEPALIVE_SECONDS
    warnings.simplefilter("error", ResourceWarning)
    warnings.simplefilter("ignore", lms.LMStudioUnknownMessageWarning)
    threading.excepthook = lambda failed: record.violation(f"a thread died: {failed}")
    sys.unraisablehook = lambda failed: record.violation(f"unraisable: {failed.exc_value!r} in {failed.object!r}")
    warm_up(ScriptedEngine(reply))
    gc.collect()
    before = (set(threading.enumerate()), open_files())
    samples = run(options, record)
    check_the_rest(before, record)
    report(options, record, samples)
    return int(bool(record.violations))


if __name__ == "__main__":
    raise SystemExit(main())
