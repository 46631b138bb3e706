"""What commands have in common that ask a server: which one, how long, what to print, and how it ended."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lmstudio._retries import NO_RETRIES
from lmstudio._setting_kinds import Number
from lmstudio._timeouts import DEFAULT_TIMEOUT, Timeout
from lmstudio.errors import LMStudioAuthenticationError, LMStudioError, LMStudioServerError, LMStudioValueError
from lmstudio.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.http import HttpClient
    from lmstudio.sync_api import Client

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_WRONG_ARGUMENTS: Final = 2
EXIT_REFUSED: Final = 3
EXIT_SERVER_ERROR: Final = 4

EXIT_CODES: Final = f"""\
exit codes:
  {EXIT_OK}    done
  {EXIT_FAILED}    the server cannot be reached, does not answer in time, or a file cannot be written
  {EXIT_WRONG_ARGUMENTS}    wrong arguments or settings
  {EXIT_REFUSED}    the server does not accept the credentials
  {EXIT_SERVER_ERROR}    the server answers with another error
  130  interrupted"""

_NOT_ALLOWED: Final = 403


class Server(NamedTuple):
    """Which server to ask, and how."""

    settings: Settings
    timeout: Timeout
    is_http: bool

    def native(self) -> Client:
        """A client of the native protocol. It tries once."""
        from lmstudio.sync_api import Client

        return Client(settings=self.settings, timeout=self.timeout, retry=NO_RETRIES)

    def http(self) -> HttpClient:
        """A client of the HTTP port. It tries once."""
        from lmstudio.http import HttpClient

        return HttpClient(settings=self.settings, timeout=self.timeout, retry=NO_RETRIES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of all these commands."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXIT_CODES
    parser.add_argument(
        "address",
        metavar="ADDRESS",
        nargs="?",
        help="host, host:port or URL (default: that of LM_STUDIO_BASE_URL or of the file, else the server on this "
        "machine)",
    )
    parser.add_argument(
        "--http",
        action="store_true",
        help="use the HTTP API, not the native protocol (default address: localhost:1234)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--timeout",
        type=seconds_argument,
        metavar="SECONDS",
        help="time to connect, and for each request (default: connect_timeout of the settings, else "
        f"{DEFAULT_TIMEOUT.connect:g})",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="file of settings (TOML, JSON, YAML or .env); an API token comes from there or from LM_API_TOKEN",
    )


def seconds_argument(text: str) -> float | int | None:
    """A time limit on the command line."""
    try:
        return Number("SECONDS", 0.001).parse(text)
    except LMStudioValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def ask(arguments: argparse.Namespace, question: Callable[[Server], None]) -> int:
    """Ask the server that *arguments* name; says what went wrong, and returns the exit code."""
    try:
        settings = Settings.load(arguments.settings, api_host=arguments.address)
        seconds = arguments.timeout or settings.connect_timeout or DEFAULT_TIMEOUT.connect
        question(Server(settings, Timeout(connect=seconds, total=seconds), arguments.http))
    except LMStudioError as error:
        if arguments.json:
            say_json(
                {
                    "address": arguments.address,
                    "reachable": isinstance(error, LMStudioServerError),
                    "error": str(error),
                    "error_type": error.error_type.value,
                }
            )
        sys.stderr.write(f"error: {error}\n")
        return _exit_code(error)
    return EXIT_OK


def _exit_code(error: LMStudioError) -> int:
    if isinstance(error, LMStudioAuthenticationError) or error.status_code == _NOT_ALLOWED:
        return EXIT_REFUSED
    if isinstance(error, LMStudioServerError):
        return EXIT_SERVER_ERROR
    return EXIT_WRONG_ARGUMENTS if isinstance(error, LMStudioValueError) else EXIT_FAILED


def say(*lines: str) -> None:
    """Print, also where the terminal cannot show every letter."""
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        sys.stdout.write(f"{line.encode(encoding, 'replace').decode(encoding)}\n")
    sys.stdout.flush()


def say_json(value: Any) -> None:
    """Print as JSON."""
    say(as_json(value))


def as_json(value: Any) -> str:
    """*value* as JSON, for people and programs."""
    return json.dumps(value, indent=2)
