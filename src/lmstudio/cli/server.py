"""`lmstudio server`: the HTTP server of the server in the background, or of LM Studio."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from lmstudio._address import DEFAULT_HTTP_PORT, LOOPBACK_OF, ServerAddress, is_this_machine
from lmstudio.errors import LMStudioRuntimeError

from . import background, native
from .state import StateFolder

if TYPE_CHECKING:
    import argparse

    from .output import Output

_HOST_VARIABLE: Final = "LMS_SERVER_HOST"
"""As for `lms`."""
_THIS_MACHINE: Final = "127.0.0.1"
_TRIES: Final = 5
_TRY_SECONDS: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below this one, and their options."""
    commands = native.add_commands(parser)
    start = commands.add_parser(
        "start",
        help="start it",
        description="Start the HTTP server: that of the server in the background or of LM Studio. If there is neither, "
        "a server is started in the background.",
    )
    start.add_argument(
        "-p",
        "--port",
        type=native.port_argument,
        metavar="PORT",
        help=f"the port (default: that of the last time, at first {DEFAULT_HTTP_PORT})",
    )
    start.add_argument(
        "--bind", metavar="ADDRESS", help=f"the address to listen on (default: {_HOST_VARIABLE}, else {_THIS_MACHINE})"
    )
    start.add_argument("--cors", action="store_true", help="let web pages of all origins use it")
    stop = commands.add_parser("stop", help="stop it", description="Stop the HTTP server; running requests are ended.")
    status = commands.add_parser("status", help="say whether it is on", description="Say whether it is on.")
    for command, action in ((start, _start), (stop, _stop), (status, _status)):
        command.set_defaults(action=action)
        native.add_message_arguments(command)
    native.add_json_argument(status)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return native.run_locally(arguments, lambda output: arguments.action(arguments, output))


def running_port(folder: StateFolder) -> int | None:
    """The port of the HTTP server, None if it is off."""
    port = folder.last_port or DEFAULT_HTTP_PORT
    return port if _answers(_THIS_MACHINE, port) else None


def _answers(host: str, port: int) -> bool:
    from lmstudio.sync_api import Client

    return Client.is_valid_api_host(ServerAddress(LOOPBACK_OF.get(host, host), port).api_host)


def _start(arguments: argparse.Namespace, output: Output) -> None:
    folder = StateFolder.default()
    port = arguments.port or folder.last_port or DEFAULT_HTTP_PORT
    host = arguments.bind or os.environ.get(_HOST_VARIABLE, "").strip() or _THIS_MACHINE
    if arguments.cors:
        output.warn("web pages of all origins can use the server, also harmful ones")
    if not is_this_machine(host):
        output.warn(f"other machines can reach the server at {host}")
    client = background.local_client(folder)
    if client is None:
        daemon = background.start(folder)
        output.info(f"Started a server in the background (process {daemon.pid}).")
        client = background.owner_client(daemon)
    with client:
        client.system.start_http_server(port=port, cors=arguments.cors, network_interface=host)
    for left in reversed(range(_TRIES)):
        if _answers(host, port):
            folder.remember_port(port)
            output.info(f"The HTTP server is on, at port {port}.")
            return
        time.sleep(_TRY_SECONDS if left else 0)
    raise LMStudioRuntimeError(f"The HTTP server was started, but nothing answers at port {port} of {host}.")


def _stop(_arguments: argparse.Namespace, output: Output) -> None:
    folder = StateFolder.default()
    port = running_port(folder)
    if port is None:
        raise LMStudioRuntimeError("The HTTP server is not on.")
    client = background.local_client(folder)
    if client is None:
        raise LMStudioRuntimeError(
            f"The server at port {port} is neither that of LM Studio nor the one in the background: stop it where it "
            "was started."
        )
    with client:
        client.system.stop_http_server()
    output.info(f"The HTTP server at port {port} is off.")


def _status(arguments: argparse.Namespace, output: Output) -> None:
    folder = StateFolder.default()
    port = running_port(folder)
    known = port or folder.last_port
    if arguments.json:
        output.say_json({"running": port is not None, **({} if known is None else {"port": known})})
    elif port is None:
        output.info("The HTTP server is not on.")
    else:
        output.info(f"The HTTP server is on, at port {port}.")
