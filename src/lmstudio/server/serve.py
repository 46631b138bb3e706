"""`python -m lmstudio serve`: the embedded server in the foreground."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lmstudio._address import API_SERVER_PORTS
from lmstudio.errors import LMStudioError, LMStudioValueError
from lmstudio.logs import warnings_shown
from lmstudio.server.auth import parse_api_token
from lmstudio.server.embedded import Server
from lmstudio.server.errors import PortInUseError, ServerStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_STOPPED = 0
EXIT_FAILED = 1
SERVED_NAMESPACES = ("llm", "embedding", "files", "repository", "system", "diagnostics", "runtime")
TOKENS_VARIABLE = "LMSTUDIO_SERVER_API_TOKENS"
_LOOK_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`."""
    ports = ", ".join(map(str, API_SERVER_PORTS))
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s); one that other machines can reach needs an API token",
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"port to listen on, 0 for any free one (default: the first free one of {ports}, where "
        "clients look that are given no address)",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="FILE.gguf",
        dest="models",
        help="a model to offer; may be repeated (default: the two tiny ones that come with this package)",
    )
    parser.add_argument(
        "--engine",
        choices=("llama_cpp", "scripted"),
        default="llama_cpp",
        help="what runs the models; scripted makes up its replies, for tests (default: %(default)s)",
    )
    _add_access_arguments(parser)


def _add_access_arguments(parser: argparse.ArgumentParser) -> None:
    """Who may connect."""
    parser.add_argument(
        "--api-token",
        action="append",
        type=_api_token,
        default=[],
        metavar="TOKEN",
        dest="api_tokens",
        help="let in only clients with this token, sk-lm-xxxxxxxx:xxxxxxxxxxxxxxxxxxxx; may be repeated. Other "
        "users of this machine can see it in the list of processes: better use --api-token-file",
    )
    parser.add_argument(
        "--api-token-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        dest="api_token_files",
        help="let in only clients with one of the tokens in this file, one per line; may be repeated. The environment "
        f"variable {TOKENS_VARIABLE} may hold tokens, too, with spaces between them",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen on an address that other machines can reach although no API token is given",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        dest="allowed_origins",
        help="let web pages of this origin connect, e.g. https://example.com; '*' for all; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code: 0 when stopped, 1 when the server could not start."""
    with warnings_shown(), _stop_signals() as stop_requests:
        try:
            tokens = _api_tokens(arguments)
            server = _start(arguments, tokens)
        except LMStudioError as error:
            _complain(str(error))
            return EXIT_FAILED
        try:
            _say(*_describe(server, has_tokens=bool(tokens)))
            if not (tokens or server.is_local):
                _complain(
                    f"warning: everybody who can reach {arguments.host} may use this server; see --api-token-file"
                )
            was_asked = _wait(server, stop_requests)
        finally:
            server.stop()
    if not was_asked:
        _complain("the server has ended by itself; its log says why")
        return EXIT_FAILED
    _say("Stopped.")
    return EXIT_STOPPED


def _wait(server: Server, stop_requests: queue.SimpleQueue[int]) -> bool:
    """Wait until a signal asks for the end, or the server ends. True for a signal."""
    while server.is_running:
        # In slices, because on Windows Ctrl-C does not interrupt a wait.
        with suppress(queue.Empty):
            stop_requests.get(timeout=_LOOK_SECONDS)
            return True
    return False


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"lmstudio serve: {text}\n")
    sys.stderr.flush()


@contextmanager
def _stop_signals() -> Iterator[queue.SimpleQueue[int]]:
    """Collect the signals that ask the program to end, instead of acting on them."""
    requests: queue.SimpleQueue[int] = queue.SimpleQueue()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    # SimpleQueue.put may interrupt anything, itself included; an Event may not.
    previous = {number: signal.signal(number, lambda received, _frame: requests.put(received)) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _api_tokens(arguments: argparse.Namespace) -> list[str]:
    """The tokens of the command line, of files and of the environment.

    Raises:
        LMStudioValueError: one has another form, or a file cannot be read or has none.
    """
    tokens = list(arguments.api_tokens)
    for file in arguments.api_token_files:
        tokens += _tokens_of(file)
    for token in os.environ.get(TOKENS_VARIABLE, "").split():
        try:
            parse_api_token(token)
        except LMStudioValueError as error:
            raise LMStudioValueError(f"In the environment variable {TOKENS_VARIABLE}: {error}") from None
        tokens.append(token)
    return tokens


def _tokens_of(file: Path) -> list[str]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise LMStudioValueError(f"Cannot read the API tokens in {file}: {reason}.") from None
    tokens = []
    for number, line in enumerate(lines, 1):
        token = line.strip()
        if token and not token.startswith("#"):
            try:
                parse_api_token(token)
            except LMStudioValueError as error:
                raise LMStudioValueError(f"{file}, line {number}: {error}") from None
            tokens.append(token)
    if not tokens:
        # Going on would open the server to everybody, which whoever names a file does not expect.
        raise LMStudioValueError(f"There is no API token in {file}; write one per line.")
    if os.name == "posix" and file.stat().st_mode & 0o077:
        _complain(f"warning: other users of this machine may read {file}; run: chmod 600 {file}")
    return tokens


def _start(arguments: argparse.Namespace, tokens: list[str]) -> Server:
    ports = API_SERVER_PORTS if arguments.port is None else (arguments.port,)
    for port in ports:
        server = Server(
            arguments.models,
            engine=arguments.engine,
            host=arguments.host,
            port=port,
            api_tokens=tokens,
            insecure=arguments.insecure,
            allowed_origins=arguments.allowed_origins,
        )
        try:
            server.start()
        except PortInUseError:
            if arguments.port is not None:
                raise
        else:
            return server
    raise ServerStartError(f"The ports {', '.join(map(str, ports))} are all in use; choose another one with --port.")


def _describe(server: Server, *, has_tokens: bool) -> Iterator[str]:
    address = server.api_host
    yield f"Serving LM Studio's protocol at ws://{address}/ (namespaces {', '.join(SERVED_NAMESPACES)})"
    yield f'Connect with   import lmstudio as lms; client = lms.Client("{address}")'
    if server.port in API_SERVER_PORTS and server.is_local:
        condition = "" if server.port == API_SERVER_PORTS[0] else ", unless a server on an earlier port answers first"
        yield f"               lms.Client() without an address finds it as well{condition}"
    if has_tokens:
        yield "               and an API token of this server in LM_API_TOKEN, or as api_token=..."
    for model in server.models:
        yield f"Model          {model.model_key} ({model.kind}, {model.size_bytes / 1e6:.1f} MB)"
    yield "Press Ctrl-C to stop."


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535, or 0 for any free one")
    return port


def _api_token(text: str) -> str:
    try:
        parse_api_token(text)
    except LMStudioValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
