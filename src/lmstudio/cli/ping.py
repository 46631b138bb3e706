"""`python -m lmstudio ping`: whether a server answers, how fast, which one it is, and what it has loaded."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from lmstudio._setting_kinds import Number
from lmstudio.errors import LMStudioServerError, LMStudioValueError

from . import asking

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from .asking import Server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    asking.add_arguments(parser)
    parser.add_argument("--count", type=_count, default=3, metavar="COUNT", help="round trips to measure (default: 3)")


def _count(text: str) -> int:
    import argparse

    try:
        return int(Number("COUNT", 1, is_whole=True).parse(text) or 1)
    except LMStudioValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer; returns the exit code."""

    def question(server: Server) -> None:
        answer = (_over_http if server.is_http else _natively)(server, arguments.count)
        if arguments.json:
            asking.say_json(answer)
        else:
            asking.say(*_lines(answer))

    return asking.ask(arguments, question)


def _natively(server: Server, count: int) -> dict[str, Any]:
    with server.native() as client:
        client.system.connect()  # finds the server, and loads what this program needs for that
        client.system.disconnect()
        connect_ms = _milliseconds(client.system.connect)
        version: dict[str, Any] = {}

        def ask_version() -> None:
            try:
                version.update(client.system.remote_call("version"))
            except LMStudioServerError:
                version.clear()  # an older server, which has answered all the same

        round_trips = [_milliseconds(ask_version) for _ in range(count)]
        loaded = [model.identifier for model in client.list_loaded_models()]
        return {
            "address": client.api_host,
            "reachable": True,
            "protocol": "native",
            "version": version.get("version"),
            "build": version.get("build"),
            "connect_ms": connect_ms,
            "round_trip_ms": round_trips,
            "models_loaded": loaded,
        }


def _over_http(server: Server, count: int) -> dict[str, Any]:
    with server.http() as client:
        # Unlike the health, the list needs credentials where there are some.
        connect_ms = _milliseconds(client.list_models)
        health = client.get_health()
        round_trips = [_milliseconds(client.list_models) for _ in range(count)]
        return {
            "address": client.base_url,
            "reachable": True,
            "protocol": "http",
            "version": health.lmstudio_version,
            "build": None,
            "connect_ms": connect_ms,
            "round_trip_ms": round_trips,
            "models_loaded": [model.id for model in client.list_models(status="ready")],
        }


def _milliseconds(action: Callable[[], object]) -> float:
    started = perf_counter()
    action()
    return round((perf_counter() - started) * 1e3, 3)


def _lines(answer: dict[str, Any]) -> list[str]:
    version = "" if answer["version"] is None else f", version {answer['version']}"
    build = f" (build {answer['build']})" if answer["build"] else ""
    times, loaded = answer["round_trip_ms"], answer["models_loaded"]
    return [
        f"{answer['address']} answers ({answer['protocol']}){version}{build}",
        f"connected in {answer['connect_ms']:.1f} ms, round trip {min(times):.1f} to {max(times):.1f} ms",
        f"models loaded: {len(loaded)}{' - ' if loaded else ''}{', '.join(loaded)}",
    ]
