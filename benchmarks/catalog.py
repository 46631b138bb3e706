"""The scenarios: how much work each side gets, what is compared, and which ratio is the goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Result = dict[str, Any]
"""The line of JSON that a worker printed: `worker.Measurement` and its peak memory."""

# A result has to keep its text, at most four bytes per character, and allocators round up.
BYTES_PER_CHARACTER = 4
ALLOCATOR_SLACK_BYTES = 2 << 20


@dataclass(frozen=True)
class Scenario:
    """One line of the table."""

    name: str
    title: str
    unit: str
    value: Callable[[Result], float]
    """The compared figure, out of a result."""
    official_count: int
    ours_count: int
    better: Literal["lower", "higher"] = "lower"
    target: float | None = None
    """How many times better this package has to be, if the goal says so."""
    kind: Literal["worker", "import", "first_token", "memory"] = "worker"

    def ratio(self, official: float, ours: float) -> float | None:
        """How many times better *ours* is; none where a quotient says nothing."""
        if self.kind == "memory" or ours <= 0 or official <= 0:
            return None
        return official / ours if self.better == "lower" else ours / official


def cpu_microseconds(result: Result) -> float:
    """Processor time of the client per fragment."""
    return float(result["cpu_seconds"] / result["count"] * 1e6)


def per_second(result: Result) -> float:
    """Fragments or calls per second."""
    return float(result["count"] / result["seconds"])


def milliseconds(result: Result) -> float:
    """Duration of the timed part."""
    return float(result["seconds"] * 1e3)


def middle(result: Result) -> float:
    """Median over the repetitions inside the process."""
    return float(result["values"]["p50"])


def growth_per_fragment(result: Result) -> float:
    """Bytes by which the process grew with each of the last nine tenths of its fragments."""
    return float(result["values"]["growth_bytes"] / (result["count"] * 0.9))


def is_steady(result: Result) -> bool:
    """Whether memory grew by no more than the text that the result of the prediction has to keep."""
    values = result["values"]
    return bool(
        values["growth_bytes"] <= values["text_characters"] * BYTES_PER_CHARACTER + ALLOCATOR_SLACK_BYTES,
    )


SCENARIOS = (
    Scenario("stream_async", "stream, async: CPU per fragment", "µs", cpu_microseconds, 30_000, 1_000_000, target=15),
    Scenario("stream_sync", "stream, sync: CPU per fragment", "µs", cpu_microseconds, 15_000, 1_000_000, target=30),
    Scenario(
        "parallel_1000", "1,000 parallel streams: fragments", "1/s", per_second, 100_000, 100_000, "higher", target=10
    ),
    Scenario("paced_100", "100 streams at 50/s: CPU per fragment", "µs", cpu_microseconds, 10_000, 10_000),
    Scenario("latency_async", "delay of a fragment, async", "µs", middle, 1_000, 1_000),
    Scenario("latency_sync", "delay of a fragment, sync", "µs", middle, 1_000, 1_000),
    Scenario("rpc_serial_async", "RPC one by one, async", "1/s", per_second, 5_000, 15_000, "higher", target=2),
    Scenario("rpc_serial_sync", "RPC one by one, sync", "1/s", per_second, 3_000, 12_000, "higher", target=2.5),
    Scenario("rpc_100_in_flight", "RPC, 100 in flight, async", "1/s", per_second, 10_000, 150_000, "higher", target=10),
    Scenario("open_first_reply_async", "open to first reply, async", "ms", middle, 10, 150, target=20),
    Scenario("open_first_reply_sync", "open to first reply, sync", "ms", middle, 20, 150, target=8),
    Scenario("import_time", "import lmstudio", "ms", milliseconds, 12, 12, target=2, kind="import"),
    Scenario(
        "start_to_first_token",
        "process start to first token, sync",
        "ms",
        milliseconds,
        10,
        10,
        target=1.5,
        kind="first_token",
    ),
    Scenario("embeddings_256x768_async", "embeddings 256 x 768, async", "ms", milliseconds, 256, 256),
    Scenario("embeddings_256x768_sync", "embeddings 256 x 768, sync", "ms", milliseconds, 256, 256),
    Scenario(
        "embeddings_1000x4096_async", "embeddings 1,000 x 4,096, async", "ms", milliseconds, 1_000, 1_000, target=3
    ),
    Scenario("embeddings_1000x4096_sync", "embeddings 1,000 x 4,096, sync", "ms", milliseconds, 1_000, 1_000, target=3),
    Scenario("respond_2000_messages_async", "respond, 2,000 messages, async", "ms", middle, 30, 30, target=5),
    Scenario("respond_2000_messages_sync", "respond, 2,000 messages, sync", "ms", middle, 30, 30, target=5),
    Scenario("upload_20mib_async", "upload of 20 MiB, async", "ms", middle, 5, 5, target=3),
    Scenario("upload_20mib_sync", "upload of 20 MiB, sync", "ms", middle, 5, 5, target=3),
    Scenario(
        "memory_stream_async",
        "memory per fragment, one stream, async",
        "B",
        growth_per_fragment,
        100_000,
        1_000_000,
        kind="memory",
    ),
    Scenario(
        "memory_stream_sync",
        "memory per fragment, one stream, sync",
        "B",
        growth_per_fragment,
        50_000,
        1_000_000,
        kind="memory",
    ),
    Scenario(
        "memory_streams_async",
        "memory per fragment, 100 streams, async",
        "B",
        growth_per_fragment,
        100_000,
        1_000_000,
        kind="memory",
    ),
    Scenario(
        "memory_streams_sync",
        "memory per fragment, 100 streams, sync",
        "B",
        growth_per_fragment,
        50_000,
        1_000_000,
        kind="memory",
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
