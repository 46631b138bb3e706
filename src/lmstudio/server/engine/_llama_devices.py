"""Run as a program: writes the devices that llama.cpp can use besides the processor, as JSON.

A program, because a driver that is broken must not end the server, and because the server itself never loads the
engine.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def describe(device: dict[str, Any]) -> dict[str, Any] | None:
    """What is of interest about *device*; None for the processor and what only helps it."""
    kind = getattr(device["type"], "name", "").removeprefix("GGML_BACKEND_DEVICE_TYPE_")
    if kind not in ("GPU", "IGPU"):
        return None
    return {
        "name": device["name"],
        "description": device["description"],
        "memory_bytes": device["memory_total"],
        "shares_memory": kind == "IGPU",
    }


def main() -> None:
    """Write them to stdout, after whatever the engine itself may say there."""
    sys.path[:] = json.loads(sys.stdin.read())
    import xllamacpp

    devices = xllamacpp.get_device_info()  # pyright: ignore[reportAttributeAccessIssue]  # compiled
    found = [describe(device) for device in devices]
    sys.stdout.write(f"\ndevices:{json.dumps([each for each in found if each is not None])}\n")


if __name__ == "__main__":
    main()
