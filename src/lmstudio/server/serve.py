"""`python -m lmstudio serve`: the embedded server in the foreground."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmstudio._address import API_SERVER_PORTS, NAMESPACES
from lmstudio._auth import parse_api_token
from lmstudio._setting_files import public_file_warnings
from lmstudio._setting_kinds import Choice, Many, Switch
from lmstudio.errors import LMStudioError, LMStudioValueError
from lmstudio.logs import fields, get_logger
from lmstudio.server.embedded import Server
from lmstudio.server.errors import PortInUseError, ServerStartError
from lmstudio.server.home import default_models_folder
from lmstudio.server.log_output import log_shown
from lmstudio.server.service_manager import tell_service_manager
from lmstudio.server.settings import CONFIG_VARIABLE, SETTINGS, resolve_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio._setting_kinds import Kind
    from lmstudio.server.settings import ServerSettings, Setting

_logger = get_logger("server")

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
_MODELS_SHOWN = 20
_LOOK_SECONDS = 0.5
_END_LOOK_SECONDS = 0.05
"""Ending takes less than that, mostly."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`: `--config`, `--show-settings`, and one for each setting."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="file of settings (TOML, JSON or YAML), with the names of these options: jit_ttl_seconds = 600. The "
        f"environment variable {CONFIG_VARIABLE} may name it, too, and there is one for every option: "
        f"{SETTINGS['jit_ttl_seconds'].variable}. An option wins over the environment, and that over the file",
    )
    parser.add_argument(
        "--show-settings", action="store_true", help="print the settings that apply and where each comes from, and exit"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in SETTINGS.values():
        title = setting.section.title
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_argument(groups[title], setting)


def _add_argument(group: argparse._ArgumentGroup, setting: Setting) -> None:
    kind = setting.kind
    options: dict[str, Any] = {"dest": setting.name, "help": _help(setting), "default": argparse.SUPPRESS}
    if isinstance(kind, Switch):
        group.add_argument(setting.flag, action=argparse.BooleanOptionalAction, **options)
        return
    if isinstance(kind, Many):
        options["action"] = "append"
        kind = kind.kind
    if isinstance(kind, Choice):
        group.add_argument(setting.flag, choices=kind.words, **options)
    else:
        group.add_argument(setting.flag, type=_reader(kind), metavar=kind.metavar, **options)


def _help(setting: Setting) -> str:
    is_told = setting.default in (None, (), False)
    default = "" if is_told else f" (default: {setting.kind.toml(setting.default).strip(chr(34))})"
    return f"{setting.help}{default}".replace("%", "%%")


def _reader(kind: Kind) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return kind.parse(text)
        except LMStudioValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM.

    Returns the exit code: 0 when stopped, 1 when the server could not start or broke down, 2 for wrong settings.
    """
    speaker = _Speaker()
    try:
        settings = resolve_settings(vars(arguments), os.environ, arguments.config)
    except LMStudioValueError as error:
        speaker.complain(str(error))
        return EXIT_WRONG_SETTINGS
    if arguments.show_settings:
        speaker.say(*settings.lines())
        speaker.warn(*settings.warnings)
        return EXIT_STOPPED
    values = settings.values
    try:
        with log_shown(values.log_format, values.log_level, values.log_file), _stop_signals() as stop_requests:
            speaker.is_logged = values.log_format == "json"
            speaker.warn(*settings.warnings)
            try:
                return _serve(values, stop_requests, speaker)
            except LMStudioError as error:
                speaker.complain(str(error))
    except LMStudioValueError as error:
        speaker.complain(str(error))
    return EXIT_FAILED


class _Speaker:
    """Tells people what happens, on stdout and stderr; or machines, in the log."""

    is_logged = False

    def say(self, *lines: str) -> None:
        """What is as it should be."""
        if self.is_logged:
            for line in lines:
                _logger.info("%s", line, extra=fields())
        else:
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()

    def introduce(self, server: Server, *, has_tokens: bool, has_page: bool) -> None:
        """Where the server is, and what it has."""
        if self.is_logged:
            for model in server.models:
                _logger.info("Offering %s", model.model_key, extra=fields(model=model.model_key))
            known = fields(address=server.api_host)
            _logger.info("Serving LM Studio's protocol at ws://%s/", server.api_host, extra=known)
        else:
            self.say(*_describe(server, has_tokens=has_tokens, has_page=has_page))

    def warn(self, *texts: str) -> None:
        """What may be a mistake."""
        for text in texts:
            if self.is_logged:
                _logger.warning("%s", text, extra=fields())
            else:
                self.complain(f"warning: {text}")

    def complain(self, text: str) -> None:
        """What went wrong."""
        if self.is_logged:
            _logger.error("%s", text, extra=fields())
        else:
            sys.stderr.write(f"lmstudio serve: {text}\n")
            sys.stderr.flush()


def _serve(settings: ServerSettings, stop_requests: queue.SimpleQueue[int], speaker: _Speaker) -> int:
    tokens = _api_tokens(settings, speaker)
    server = _start(settings, tokens)
    try:
        speaker.introduce(server, has_tokens=bool(tokens), has_page=settings.page)
        if not (tokens or server.is_local):
            speaker.warn(f"everybody who can reach {settings.host} may use this server; see --api-token-file")
        tell_service_manager("READY=1")
        was_signalled = _wait(server, stop_requests)
        tell_service_manager("STOPPING=1")
        is_wanted = was_signalled or server.was_asked_to_stop
        if was_signalled:
            _end(server, stop_requests, speaker)
    finally:
        server.stop(0)
    if not is_wanted:
        speaker.complain("the server has ended by itself; its log says why")
        return EXIT_FAILED
    speaker.say("Stopped.")
    return EXIT_STOPPED


def _end(server: Server, stop_requests: queue.SimpleQueue[int], speaker: _Speaker) -> None:
    """Let running requests end, unless a second signal comes."""
    server.begin_stop()
    while server.is_running:
        with suppress(queue.Empty):
            stop_requests.get(timeout=_END_LOOK_SECONDS)
            speaker.say("Stopping at once.")
            return


def _wait(server: Server, stop_requests: queue.SimpleQueue[int]) -> bool:
    """Wait until a signal asks for the end, or the server ends. True for a signal."""
    while server.is_running:
        # In slices, because on Windows Ctrl-C does not interrupt a wait.
        with suppress(queue.Empty):
            stop_requests.get(timeout=_LOOK_SECONDS)
            return True
    return False


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


def _api_tokens(settings: ServerSettings, speaker: _Speaker) -> list[str]:
    """The tokens of the settings and of the files that they name.

    Raises:
        LMStudioValueError: one has another form, or a file cannot be read or has none.
    """
    tokens = list(settings.api_tokens)
    for file in settings.api_token_files:
        tokens += _tokens_of(file, speaker)
    return tokens


def _tokens_of(file: Path, speaker: _Speaker) -> list[str]:
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
    speaker.warn(*public_file_warnings(file))
    return tokens


def _models_folder(settings: ServerSettings) -> Path | None:
    """LM Studio's own, unless something else was said about models."""
    is_open = settings.models is None and settings.models_folder is None and settings.engine == "llama_cpp"
    return default_models_folder() if is_open else settings.models_folder


def _start(settings: ServerSettings, tokens: list[str]) -> Server:
    ports = API_SERVER_PORTS if settings.port is None else (settings.port,)
    for port in ports:
        given: dict[str, Any] = {**settings.server_arguments(), "models_folder": _models_folder(settings), "port": port}
        server = Server(api_tokens=tokens, **given)
        try:
            server.start()
        except PortInUseError:
            if settings.port is not None:
                raise
        else:
            return server
    raise ServerStartError(f"The ports {', '.join(map(str, ports))} are all in use; choose another one with --port.")


def _describe(server: Server, *, has_tokens: bool, has_page: bool) -> Iterator[str]:
    address = server.api_host
    yield f"Serving LM Studio's protocol at ws://{address}/ (namespaces {', '.join(NAMESPACES)})"
    yield f'Connect with   import lmstudio as lms; client = lms.Client("{address}")'
    if server.port in API_SERVER_PORTS and server.is_local:
        condition = "" if server.port == API_SERVER_PORTS[0] else ", unless a server on an earlier port answers first"
        yield f"               lms.Client() without an address finds it as well{condition}"
    if has_tokens:
        yield "               and an API token of this server in LM_API_TOKEN, or as api_token=..."
    yield f"OpenAI         http://{address}/v1 (Anthropic's clients: http://{address})"
    if has_page:
        yield f"In a browser   http://{address}/"
    for model in server.models[:_MODELS_SHOWN]:
        yield f"Model          {model.model_key} ({model.kind}, {model.size_bytes / 1e6:.1f} MB)"
    if len(server.models) > _MODELS_SHOWN:
        yield f"               and {len(server.models) - _MODELS_SHOWN} more"
    yield "Press Ctrl-C to stop."
