"""`lmstudio ps`: the loaded models, and what they do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lmstudio.errors import LMStudioModelNotFoundError

from . import native
from .output import disk_size

if TYPE_CHECKING:
    import argparse

    from lmstudio.sync_api import Client

    from .output import Output

_COLUMNS = ("IDENTIFIER", "MODEL", "STATUS", "SIZE", "CONTEXT", "PARALLEL", "DEVICE", "TTL")
_NUMBERS = ("SIZE", "CONTEXT", "PARALLEL")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List them; returns the exit code."""

    def command(client: Client, output: Output) -> None:
        instances = describe_loaded(client)
        if arguments.json:
            output.say_json(instances)
        elif not instances:
            output.info("No model is loaded. Load one with: lmstudio load")
        else:
            instances.sort(key=lambda instance: str(instance["identifier"]))
            output.table(_COLUMNS, [_row(instance, time.time() * 1e3) for instance in instances], right=_NUMBERS)

    return native.run(arguments, command)


def describe_loaded(client: Client) -> list[dict[str, Any]]:
    """The loaded instances with their state, language models first: members as `lms ps --json` has them."""
    instances = []
    for handle in client.list_loaded_models():
        try:
            state = handle.get_instance_processing_state()
            parallel = getattr(handle.get_load_config(), "max_parallel_predictions", None)
        except LMStudioModelNotFoundError:  # it was unloaded meanwhile
            continue
        known = {} if handle.info is None else handle.info.to_dict()
        known.pop("instanceReference", None)
        more = {
            "status": state.status,
            "queued": state.queued,
            "parallel": parallel,
            "ttlMs": known.get("ttlMs"),
            "lastUsedTime": known.get("lastUsedTime"),
        }
        instances.append({**known, **more})
    return instances


def _row(instance: dict[str, Any], now_ms: float) -> list[str]:
    parallel = instance["parallel"]
    return [
        instance["identifier"],
        instance["modelKey"],
        instance["status"].upper(),
        disk_size(instance["sizeBytes"]),
        str(instance["contextLength"]),
        "" if parallel is None else str(parallel),
        instance.get("deviceIdentifier") or "Local",
        _ttl(instance["ttlMs"], instance["lastUsedTime"], now_ms),
    ]


def _ttl(ttl_ms: float | None, last_used_ms: float | None, now_ms: float) -> str:
    """How long it will stay without use, of how long altogether."""
    if ttl_ms is None:
        return ""
    left_ms = ttl_ms if last_used_ms is None else min(max(ttl_ms - (now_ms - last_used_ms), 0), ttl_ms)
    return f"{_short(left_ms)} / {_short(ttl_ms)}"


def _short(milliseconds: float) -> str:
    seconds = round(milliseconds / 1e3)
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{seconds}s"
    return f"{minutes}m" if minutes < 60 else f"{round(seconds / 3600)}h"
