"""`lmstudio daemon`: a server in the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmstudio.errors import LMStudioRuntimeError

from . import background, native
from .state import StateFolder

if TYPE_CHECKING:
    import argparse

    from .output import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below this one, and their options."""
    commands = native.add_commands(parser)
    up = commands.add_parser("up", help="start it, unless it runs", description="Start a server in the background.")
    up.add_argument("--config", type=Path, metavar="FILE", help="its settings, as for `lmstudio serve`")
    status = commands.add_parser("status", help="say whether it runs", description="Say whether it runs.")
    down = commands.add_parser("down", help="end it", description="End the server in the background.")
    for command, action in ((up, _up), (status, _status), (down, _down)):
        command.set_defaults(action=action)
        native.add_json_argument(command)
        native.add_message_arguments(command)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return native.run_locally(arguments, lambda output: arguments.action(arguments, output))


def _up(arguments: argparse.Namespace, output: Output) -> None:
    options = [] if arguments.config is None else ["--config", str(arguments.config.absolute())]
    daemon = background.start(StateFolder.default(), options)
    if arguments.json:
        output.say_json({"status": "running", "pid": daemon.pid, "isDaemon": True, "version": daemon.version})
    else:
        output.say(f"The server in the background runs at {daemon.api_host} (process {daemon.pid}).")


def _status(arguments: argparse.Namespace, output: Output) -> None:
    found = _find_server()
    if arguments.json:
        output.say_json({"status": "not-running"} if found is None else {"status": "running", **found})
    elif found is None:
        output.say("Nothing runs in the background.")
    else:
        what = "The server in the background" if found["isDaemon"] else "LM Studio or another server, no daemon,"
        output.say(f"{what} runs (process {found['pid']}, version {found['version']}).")


def _find_server() -> dict[str, Any] | None:
    client = background.local_client(StateFolder.default())
    if client is None:
        return None
    with client:
        found = client.system.get_info()
    return {"pid": found.pid, "isDaemon": found.is_daemon, "version": found.version}


def _down(_arguments: argparse.Namespace, output: Output) -> None:
    folder = StateFolder.default()
    daemon = folder.daemon()
    if daemon is None:
        found = _find_server()
        hint = "" if found is None else f" Process {found['pid']} serves here; end it where it was started."
        raise LMStudioRuntimeError(f"No server of `lmstudio daemon up` runs.{hint}")
    output.info(f"Ending the server in the background (process {daemon.pid}) ...")
    background.stop(folder, daemon)
    output.info("It has ended.")
