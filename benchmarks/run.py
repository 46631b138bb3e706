"""Compare this package with the official one, in one run, on the same server: `python benchmarks/run.py`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog import BY_NAME, SCENARIOS, Result, Scenario, is_steady
from profiling import profile
from raw_client import server_speed
from sides import HERE, Side, WorkerError, open_sides

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALLEST_COUNT = {"parallel_1000": 1000, "rpc_100_in_flight": 100, "paced_100": 100}
COLUMNS = ("", "unit", "official", "ours", "ratio", "goal", "")
WIDTHS = (40, 5, 10, 10, 8, 8, 11)


@contextlib.contextmanager
def frame_server() -> Iterator[int]:
    """Port of a frame server in a process of its own."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "frame_server.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None or not (line := process.stdout.readline()):
                raise WorkerError("The frame server did not start.")
            yield int(line)
        finally:
            process.terminate()


def count_for(scenario: Scenario, side: Side, scale: float) -> int:
    """How much work *side* gets."""
    full = scenario.official_count if side.name == "official" else scenario.ours_count
    smallest = 3 if full < 1000 else 1000
    return max(round(full * scale), min(full, SMALLEST_COUNT.get(scenario.name, smallest)))


def compare(scenario: Scenario, sides: Sequence[Side], port: int, repeat: int, scale: float) -> dict[str, Any]:
    """Run *scenario* by turns and take medians."""
    runs: dict[str, list[Result]] = {side.name: [] for side in sides}
    for _ in range(1 if scenario.kind == "memory" else repeat):
        for side in sides:
            runs[side.name].append(side.measure(scenario, port, count_for(scenario, side, scale)))
    medians = {name: statistics.median(map(scenario.value, found)) for name, found in runs.items()}
    row: dict[str, Any] = {"scenario": scenario.name, "title": scenario.title, "unit": scenario.unit, **medians}
    row["better"] = scenario.better
    row["ratio"] = scenario.ratio(medians["official"], medians["ours"]) if "official" in medians else None
    row["goal"] = scenario.target
    row["is_reached"] = is_reached(scenario, row["ratio"], runs["ours"])
    row["runs"] = runs
    return row


def is_reached(scenario: Scenario, ratio: float | None, ours: Sequence[Result]) -> bool | None:
    """Whether the goal is reached; none without a goal, or without the other side."""
    if scenario.kind == "memory":
        return all(is_steady(result) for result in ours)
    return None if scenario.target is None or ratio is None else ratio >= scenario.target


def number(value: float | None) -> str:
    """*value* with three significant digits, thousands in full."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    ratio, goal = row["ratio"], row["goal"]
    verdict = {True: "reached", False: "not reached", None: ""}[row["is_reached"]]
    return (
        row["title"],
        row["unit"],
        number(row.get("official")),
        number(row["ours"]),
        "-" if ratio is None else f"{number(ratio)} x",
        "steady" if row["scenario"].startswith("memory") else "-" if goal is None else f"{goal:g} x",
        verdict,
    )


def line(values: Sequence[str]) -> str:
    """*values* in columns: the first and the last to the left, the others to the right."""
    first, *middle, last = zip(values, WIDTHS, strict=True)
    inner = [f"{value:>{width}}" for value, width in middle]
    return "  ".join([f"{first[0]:<{first[1]}}", *inner, last[0]]).rstrip()


def header(sides: Sequence[Side], speed: dict[str, float]) -> str:
    """What is compared, on what."""
    lines = [f"{platform.platform()}, {os.cpu_count()} cores"]
    for side in sides:
        found = ", ".join(f"{name} {text}" for name, text in side.versions.items() if name != "file")
        lines.append(f"{side.name}: {found}")
    lines.append(
        "frame server alone, per second: " + ", ".join(f"{name} {value:,.0f}" for name, value in speed.items())
    )
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", action="append", choices=list(BY_NAME), help="only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, of which the median counts (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the amount of work (1.0)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument("--ours-python", type=Path, default=Path(sys.executable), help="interpreter with this package")
    parser.add_argument("--official-python", type=Path, help="interpreter with the official package; default: make one")
    parser.add_argument("--ours-only", action="store_true", help="leave the official package out: no ratios")
    parser.add_argument("--one-core", action="store_true", help="keep server and clients on one core (Linux)")
    parser.add_argument("--profile", choices=list(BY_NAME), help="show where the time of this scenario goes, and stop")
    parser.add_argument("--side", choices=["ours", "official"], default="ours", help="whose time --profile shows")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Everything between the command line and the output."""
    sides = open_sides(arguments.official_python, arguments.ours_python, ours_only=arguments.ours_only)
    with frame_server() as port:
        if arguments.profile:
            side = next(side for side in sides if side.name == arguments.side)
            scenario = BY_NAME[arguments.profile]
            print(profile(side, scenario.name, port, count_for(scenario, side, arguments.scale)))
            return
        speed = server_speed(port, min(arguments.scale, 1.0))
        chosen = [BY_NAME[name] for name in arguments.scenario] if arguments.scenario else SCENARIOS
        if not arguments.json:
            print(header(sides, speed), line(COLUMNS), sep="\n\n", flush=True)
        rows: list[dict[str, Any]] = []
        for scenario in chosen:
            row = compare(scenario, sides, port, arguments.repeat, arguments.scale)
            rows.append(row)
            if not arguments.json:
                print(line(cells(row)), flush=True)
    if arguments.json:
        versions = {side.name: side.versions for side in sides}
        machine = {"platform": platform.platform(), "cores": os.cpu_count()}
        print(json.dumps({"machine": machine, "sides": versions, "server": speed, "results": rows}, indent=1))


def stay_on_one_core() -> None:
    """Keep this process, and with it every process it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        raise WorkerError("--one-core needs Linux: this system cannot bind a process to a core.")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def main() -> int:
    """Entry point; a goal that is missed is no failure, a benchmark that cannot run is."""
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(f"{scenario.name:<30}{scenario.title}" for scenario in SCENARIOS))
        return 0
    try:
        if arguments.one_core:
            stay_on_one_core()
        run(arguments)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
