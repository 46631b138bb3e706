"""`python benchmarks/gateway_load.py`: 100 streams at once through the gateway, whose upstream is killed now and then.

Every client asks for one stream after the other. A request that has not begun to stream succeeds, or gets 502 or 504
within its time; one that streams when the upstream dies gets an error event and the end of the stream. Nothing hangs,
nothing fails while the upstream is there, and once it is back it is used. Prints what happened; the exit status is 1 if
anything was otherwise, or if something is left in the gateway at the end. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from gateway import free_port, lmstudio_gateway
from gateway_host import MODEL
from server_load import files, memory_megabytes
from sides import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = re.compile(r'"content":"\d')
TIMEOUT_SECONDS = 60.0
"""The gateway's own limit, from its defaults."""
SLACK_SECONDS = 10.0
"""A hundred clients share two processors with the gateway and its upstream."""
PACE_SECONDS = 0.01
DOWN_SECONDS = (0.5, 4.0)
BACK_SECONDS = 3.0
"""So long after its start the upstream may still be unknown to the gateway."""


class Upstream:
    """The server behind, which can be killed, and comes back on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.kills = 0
        self.down: list[tuple[float, float]] = []
        """From the kill to the time at which it was back."""
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "gateway_host.py"), str(PACE_SECONDS), str(self.port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("The upstream did not start; see above.")
        return process

    async def kill_and_restart(self, seconds: float) -> None:
        """Kill it now; it is back some time after *seconds*."""
        killed = time.monotonic()
        self.down.append((killed, float("inf")))
        self.kills += 1
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        await asyncio.sleep(seconds)
        self._process = await asyncio.to_thread(self._start)
        self.down[-1] = (killed, time.monotonic())

    def was_down(self, began: float, ended: float) -> bool:
        """Whether it was away, or just back, at some time in between."""
        return any(killed <= ended and began <= back + BACK_SECONDS for killed, back in self.down)

    def end(self) -> None:
        """For good."""
        self._process.kill()
        self._process.wait()


class Record:
    """What happened."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.tokens = 0
        self.violations: list[str] = []

    def ended(self, outcome: str, seconds: float) -> None:
        """One request has ended."""
        self.outcomes[outcome] += 1
        self.slowest[outcome] = max(self.slowest.get(outcome, 0.0), seconds)

    def violation(self, text: str) -> None:
        """Something that must not happen."""
        self.violations.append(text)
        print("VIOLATION:", text[:500], file=sys.stderr, flush=True)


async def one_request(client: httpx.AsyncClient, dice: random.Random) -> tuple[str, int, str]:
    """Stream once: how it ended, how many tokens came, and what the server said about a failure."""
    tokens = dice.randrange(20, 400)
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"What time is it? {dice.random()}"}],
        "max_tokens": tokens,
        "stream": True,
    }
    found, failure, is_done = 0, "", False
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            return str(response.status_code), 0, (await response.aread()).decode()
        async for line in response.aiter_lines():
            found += bool(TOKEN.search(line))
            if line.startswith('data: {"error"'):
                failure = line
            is_done |= line == "data: [DONE]"
    if failure:
        return "error event" if is_done else "ERROR WITHOUT END", found, failure
    return ("ok" if is_done and found == tokens else "CUT OFF"), found, f"{found} of {tokens}"


async def work(client: httpx.AsyncClient, upstream: Upstream, dice: random.Random, record: Record, end: float) -> None:
    """One client's life."""
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            outcome, found, said = await asyncio.wait_for(one_request(client, dice), TIMEOUT_SECONDS + SLACK_SECONDS)
        except asyncio.TimeoutError:
            outcome, found, said = "HANGS", 0, ""
        except httpx.HTTPError as error:
            outcome, found, said = type(error).__name__, 0, str(error)
        ended = time.monotonic()
        record.tokens += found
        record.ended(outcome, ended - began)
        if outcome in ("502", "504", "error event"):
            if not upstream.was_down(began, ended):
                record.violation(f"{outcome} although the upstream was there: {said}")
            await asyncio.sleep(dice.random() * 0.2)
        elif outcome != "ok":
            record.violation(f"{outcome}: {said}")


async def kill_now_and_then(upstream: Upstream, seconds: float, dice: random.Random, end: float) -> None:
    """Kill the upstream every *seconds*."""
    while time.monotonic() < end - seconds:
        await asyncio.sleep(seconds)
        await upstream.kill_and_restart(dice.uniform(*DOWN_SECONDS))


async def run(port: int, pid: int, upstream: Upstream, options: argparse.Namespace, record: Record) -> list[str]:
    """All of it; lines about what is left."""
    dice = random.Random(options.seed)
    end = time.monotonic() + options.minutes * 60
    sizes: list[float] = []

    async def watch() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(options.minutes * 3)
            sizes.append(memory_megabytes(pid))

    limits = httpx.Limits(max_connections=None)
    base_url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits, trust_env=False) as client:
        before = files(pid)
        workers = [work(client, upstream, random.Random(dice.random()), record, end) for _ in range(options.streams)]
        await asyncio.gather(*workers, watch(), kill_now_and_then(upstream, options.kill_seconds, dice, end))
        outcome, _, said = await one_request(client, dice)
        if outcome != "ok":
            record.violation(f"after all that: {outcome} {said}")
    await asyncio.sleep(2)
    after = files(pid)
    if after > before + 5:
        record.violation(f"{after} open files and sockets in the gateway, {before} in the beginning")
    quarter, last = sizes[len(sizes) // 4], sizes[-1]
    if last > quarter * 1.3 + 20:
        record.violation(f"the gateway's memory grew from {quarter:.0f} to {last:.0f} MiB")
    return [
        f"open files and sockets of the gateway {before} in the beginning, {after} at the end",
        f"memory of the gateway {quarter:.0f} MiB after a quarter, {last:.0f} MiB at the end",
    ]


@contextlib.contextmanager
def upstream_server() -> Iterator[Upstream]:
    """An upstream that ends with the block."""
    upstream = Upstream()
    try:
        yield upstream
    finally:
        upstream.end()


def main() -> int:
    """Run, print, say whether all was well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-seconds", type=float, default=20.0)
    parser.add_argument("--provider", choices=("lmstudio", "http"), default="lmstudio", help="how the gateway asks")
    options = parser.parse_args()
    record = Record()
    folder = Path(tempfile.mkdtemp(prefix="gateway-load-"))
    print(f"The gateway's log is in {folder}", flush=True)
    with (
        upstream_server() as upstream,
        lmstudio_gateway(upstream.port, folder, options.provider, jit_loading=True) as (port, pid),
    ):
        left = asyncio.run(run(port, pid, upstream, options, record))
        kills = upstream.kills
    for outcome, count in record.outcomes.most_common():
        print(f"{outcome:20}{count:>8}   slowest {record.slowest[outcome]:.1f} s")
    total = sum(record.outcomes.values())
    print(f"{total} requests, {record.tokens} tokens, {kills} kills, {len(record.violations)} violations")
    print(*left, sep="\n")
    return 1 if record.violations else 0


if __name__ == "__main__":
    sys.exit(main())
