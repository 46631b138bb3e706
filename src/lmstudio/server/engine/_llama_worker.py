"""The child process that holds one model: starts the engine's HTTP server, says where it listens, and waits.

Run by path, not as a module, so that the package around it is not imported. On stdin it gets its settings, once, as
eight decimal digits (the length) and JSON; then stdin only tells, by ending, that the parent is gone. On stdout it
writes lines ``worker:{...}`` beside the engine's own progress lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any


def read_settings(descriptor: int) -> dict[str, Any]:
    """The settings that the parent wrote; {} if it ended before."""

    def read_exactly(size: int) -> bytes:
        parts = b""
        while len(parts) < size and (part := os.read(descriptor, size - len(parts))):
            parts += part
        return parts

    size = read_exactly(8)
    settings: dict[str, Any] = json.loads(read_exactly(int(size))) if size else {}
    return settings


def resolve(engine: Any, value: Any) -> Any:
    """*value* with every ``"@enum.NAME"`` replaced by that member of the engine's enumeration."""
    if isinstance(value, list):
        return [resolve(engine, item) for item in value]
    if isinstance(value, str) and value.startswith("@"):
        enumeration, _, name = value[1:].partition(".")
        return getattr(getattr(engine, enumeration), name)
    return value


def apply_parameters(engine: Any, target: Any, parameters: dict[str, Any]) -> None:
    """Set each dotted name of *parameters* on *target*."""
    for dotted, value in parameters.items():
        *path, name = dotted.split(".")
        owner = target
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, name, resolve(engine, value))


def _say(descriptor: int, message: dict[str, Any]) -> None:
    # The leading line end separates it from a progress line that the engine may be writing.
    os.write(descriptor, b"\nworker:" + json.dumps(message).encode() + b"\n")


def _exit_with_parent(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os._exit(0)


def main() -> None:
    """Serve one model until stdin ends."""
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The engine re-points descriptor 1 at stderr and shuts down, not always cleanly, when descriptor 0 ends.
    control, output = os.dup(0), os.dup(1)
    silent, _held_open = os.pipe()
    os.dup2(silent, 0)
    settings = read_settings(control)
    threading.Thread(target=_exit_with_parent, args=(control,), daemon=True).start()
    sys.path[:] = settings["sys_path"]
    try:
        import xllamacpp

        parameters = xllamacpp.CommonParams()  # pyright: ignore[reportAttributeAccessIssue]  # compiled
        apply_parameters(xllamacpp, parameters, settings["parameters"])
        server = xllamacpp.Server(parameters)  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:
        _say(output, {"failed": str(error), "type": type(error).__name__})
        # Not os._exit: the engine's log, which holds the reason, is written by a thread that ends with the process.
        sys.exit(1)
    _say(output, {"listening": server.listening_address})
    threading.Event().wait()


if __name__ == "__main__":
    main()
