"""`lmstudio log stream`: what happens in the server, as it happens."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lmstudio.errors import LMStudioRuntimeError

from . import native
from .interrupts import expect_loose_ends

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lmstudio._ops.diagnostics import LogEventType
    from lmstudio._sdk_models import DiagnosticsLogEvent

    from .output import Output

_SOURCES: Final = ("model", "server", "runtime")
_FILTERS: Final[dict[str, LogEventType]] = {"input": "llm.prediction.input", "output": "llm.prediction.output"}
_OF_SOURCE: Final[dict[str, tuple[LogEventType, ...]]] = {"server": ("server.log",), "runtime": ("runtime.log",)}
_HARMLESS: Final = "\n\t"
_CONTROLS: Final = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in _HARMLESS}
"""What could move the cursor of a terminal, or worse: prompts and replies come from anywhere."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below this one, and their options."""
    commands = native.add_commands(parser)
    stream = commands.add_parser(
        "stream",
        help="show it as it happens",
        description="Show what happens in the server, until Ctrl-C: by default the prompt of each prediction as the "
        "model gets it, and the reply.",
    )
    stream.set_defaults(action=_stream)
    stream.add_argument(
        "-s", "--source", choices=_SOURCES, default="model", help="predictions, the server's log or that of its engines"
    )
    stream.add_argument("--stats", action="store_true", help="show the statistics of each prediction")
    stream.add_argument("--filter", metavar="input,output", help="only prompts or only replies (default: both)")
    native.add_json_argument(stream)
    native.add_arguments(stream)


def run(arguments: argparse.Namespace) -> int:
    """Show it; returns the exit code."""
    return native.run_locally(arguments, lambda output: arguments.action(arguments, output))


def _stream(arguments: argparse.Namespace, output: Output) -> None:
    types = _types(arguments)
    try:
        with native.connected(arguments) as client, client.diagnostics.stream_logs(types) as events:
            output.info(f"Watching {client.api_host}. Ctrl-C ends it.")
            for event in events:
                _show(event, arguments, output)
    except KeyboardInterrupt:  # how one ends this
        expect_loose_ends()
        return
    raise LMStudioRuntimeError("The server has ended the stream.")


def _show(event: DiagnosticsLogEvent, arguments: argparse.Namespace, output: Output) -> None:
    data = event.data.to_dict()
    if not arguments.stats:
        data.pop("stats", None)
    if arguments.json:
        output.say(json.dumps({"timestamp": round(event.timestamp), "data": data}))
    else:
        output.say(*_lines(event.timestamp, data, is_terminal=sys.stdout.isatty()))


def _types(arguments: argparse.Namespace) -> tuple[LogEventType, ...]:
    """Which events are wanted."""
    if arguments.source == "model":
        names = ["input", "output"] if arguments.filter is None else arguments.filter.split(",")
        wrong = [name for name in names if name.strip() not in _FILTERS]
        if wrong:
            raise LMStudioRuntimeError(f"--filter is input, output or input,output, not {arguments.filter!r}.")
        return tuple(_FILTERS[name.strip()] for name in names)
    for flag, is_given in (("--stats", arguments.stats), ("--filter", arguments.filter is not None)):
        if is_given:
            raise LMStudioRuntimeError(f"{flag} is for predictions: leave it out, or say --source model.")
    return _OF_SOURCE[arguments.source]


def _lines(timestamp_ms: float, data: dict[str, Any], *, is_terminal: bool) -> Iterator[str]:
    text = "\n".join(_plain_lines(timestamp_ms, data)).replace("\r\n", "\n")
    yield text.translate(_CONTROLS) if is_terminal else text


def _plain_lines(timestamp_ms: float, data: dict[str, Any]) -> Iterator[str]:
    if data["type"] == "server.log":
        yield data["content"]
        return
    if data["type"] == "runtime.log":
        yield f"[{data['level'].upper()}] {data['engineName']}@{data['engineVersion']}: {data['message']}"
        return
    yield f"timestamp: {datetime.fromtimestamp(timestamp_ms / 1e3).astimezone().isoformat(' ', 'milliseconds')}"
    for member in ("type", "modelIdentifier", "modelPath"):
        if member in data:
            yield f"{member}: {data[member]}"
    for member in ("input", "output"):
        if member in data:
            yield f"{member}:\n{data[member]}"
    if "stats" in data:
        yield from ("stats:", *(f"  {name}: {value}" for name, value in data["stats"].items()))
    yield "\n"
