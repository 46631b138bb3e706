"""What commands have in common that use the native protocol in the manner of `lms`: the server, and what is shown."""

from __future__ import annotations

import argparse
import logging
import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lmstudio._address import DEFAULT_HTTP_PORT, LOOPBACK_OF, ServerAddress, parse_api_host
from lmstudio._retries import NO_RETRIES
from lmstudio._timeouts import Timeout
from lmstudio.errors import LMStudioError, LMStudioRuntimeError, LMStudioServerError, LMStudioValueError
from lmstudio.logs import shown_on_stderr
from lmstudio.settings import Settings

from . import asking
from .output import LEVELS, Output
from .state import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.sync_api import Client

_THIS_MACHINE: Final = "127.0.0.1"
_PORTS: Final = range(1, 65536)
_EXIT_CODES: Final = f"""\
exit codes:
  {asking.EXIT_OK}    done
  {asking.EXIT_FAILED}    it cannot be done; a message says why
  {asking.EXIT_WRONG_ARGUMENTS}    wrong arguments or settings
  130  interrupted"""


def add_message_arguments(parser: argparse.ArgumentParser) -> None:
    """How much a command says; for all commands."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXIT_CODES
    group = parser.add_argument_group("messages").add_mutually_exclusive_group()
    group.add_argument("--log-level", choices=LEVELS, help="the least important messages to show (default: info)")
    group.add_argument(
        "--quiet", action="store_const", const="error", dest="log_level", help="show nothing but errors on stderr"
    )
    group.add_argument(
        "--verbose", action="store_const", const="debug", dest="log_level", help="show what happens to connections, too"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which server to ask, and how much to say."""
    group = parser.add_argument_group("server")
    group.add_argument("--host", metavar="HOST", help="name or address of the server's machine (default: this one)")
    group.add_argument(
        "--port",
        type=port_argument,
        metavar="PORT",
        help=f"its port (default: with --host {DEFAULT_HTTP_PORT}; else what LM_STUDIO_BASE_URL or the file says, the "
        "server of `daemon up`, or the one that is found on this machine)",
    )
    group.add_argument(
        "--timeout",
        type=asking.seconds_argument,
        metavar="SECONDS",
        help="time to connect, and longest silence of the server",
    )
    group.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="file of settings (TOML, JSON, YAML or .env); an API token comes from there or from LM_API_TOKEN",
    )
    add_message_arguments(parser)


def add_commands(parser: argparse.ArgumentParser) -> Any:
    """For the commands below *parser*, each of which sets `action`. Without one of them, the help is shown."""
    parser.set_defaults(action=lambda _arguments, _output: parser.print_help(), log_level=None)
    return parser.add_subparsers(metavar="COMMAND", title="commands")


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """For commands that answer with data."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def port_argument(text: str) -> int:
    """A port on the command line."""
    if not text.isdecimal() or int(text) not in _PORTS:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {_PORTS[-1]}, not {text!r}")
    return int(text)


def connected(arguments: argparse.Namespace) -> Client:
    """A client of the server that *arguments* name; it connects on first use, and tries once.

    Raises:
        LMStudioError: what they say cannot be used.
    """
    from lmstudio.sync_api import Client

    settings = Settings.load(arguments.settings, api_host=_api_host(arguments.host, arguments.port))
    if settings.api_host is None and (daemon := StateFolder.default().daemon()) is not None:
        settings = settings.replace(api_host=daemon.api_host, api_token=daemon.token.value)
    seconds = arguments.timeout
    timeout = None if seconds is None else Timeout(connect=seconds, idle=seconds)
    return Client(settings=settings, timeout=timeout, retry=NO_RETRIES)


def _api_host(host: str | None, port: int | None) -> str | None:
    if host is None:
        return None if port is None else ServerAddress(_THIS_MACHINE, port).api_host
    if re.search(r"://|/|\]:|^[^:]*:\d*$", host):
        raise LMStudioRuntimeError(
            f"--host is the name or address of a machine only, not {host!r}: leave out the scheme, and give the port "
            "with --port."
        )
    address = parse_api_host(host)
    return ServerAddress(LOOPBACK_OF.get(address.host, address.host), port or DEFAULT_HTTP_PORT).api_host


def run(arguments: argparse.Namespace, command: Callable[[Client, Output], int | None]) -> int:
    """Do *command* with the server that *arguments* name; says what went wrong, and returns the exit code."""

    def work(output: Output) -> int | None:
        with connected(arguments) as client:
            return command(client, output)

    return run_locally(arguments, work)


def run_locally(arguments: argparse.Namespace, command: Callable[[Output], int | None]) -> int:
    """As `run`, for what needs no server."""
    output = Output.of(arguments)
    log = shown_on_stderr(logging.DEBUG) if output.shows("debug") else nullcontext()
    try:
        with log:
            return command(output) or asking.EXIT_OK
    except LMStudioError as error:
        output.error(str(error))
        is_wrong_input = isinstance(error, LMStudioValueError) and not isinstance(error, LMStudioServerError)
        return asking.EXIT_WRONG_ARGUMENTS if is_wrong_input else asking.EXIT_FAILED
