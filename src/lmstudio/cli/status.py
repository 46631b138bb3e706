"""`lmstudio status`: whether the HTTP server is on, and what is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import background, native
from .output import disk_size
from .server import running_port
from .state import StateFolder

if TYPE_CHECKING:
    import argparse

    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    native.add_message_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Say it; returns the exit code."""

    def say(output: Output) -> None:
        folder = StateFolder.default()
        port = running_port(folder)
        if port is None:
            output.say("Server: OFF", "Start it with: lmstudio server start")
        else:
            output.say(f"Server: ON (port {port})")
        client = background.local_client(folder)
        if client is None:
            return
        with client:
            loaded = [handle.info for handle in client.list_loaded_models()]
        lines = [f"  {info.identifier}  {disk_size(info.size_bytes)}" for info in loaded if info is not None]
        output.say("Loaded models:" if lines else "No model is loaded.", *lines)

    return native.run_locally(arguments, say)
