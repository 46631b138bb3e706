"""A server as a program in the foreground: its options, what it says, and how it ends."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from lmstudio._setting_files import public_file_warnings
from lmstudio._setting_kinds import Choice, Many, Switch
from lmstudio.errors import LMStudioError, LMStudioValueError
from lmstudio.logs import fields, get_logger
from lmstudio.server.background import BackgroundServer
from lmstudio.server.errors import StartInterruptedError
from lmstudio.server.log_output import log_shown
from lmstudio.server.service_manager import tell_service_manager
from lmstudio.server.token_files import read_token_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lmstudio._setting_kinds import Kind
    from lmstudio._setting_table import Setting, SettingTable

__all__ = ["EXIT_FAILED", "EXIT_STOPPED", "EXIT_WRONG_SETTINGS", "Program", "Speaker", "StopRequests"]

_logger = get_logger("server")

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_WRONG_SETTINGS: Final = 2
_LOOK_SECONDS = 0.5
_END_LOOK_SECONDS = 0.05
"""Ending takes less than that, mostly."""


class ProgramSettings(Protocol):
    """What every program can be told."""

    @property
    def host(self) -> str:
        """The address to listen on."""
        raise NotImplementedError

    @property
    def api_tokens(self) -> Sequence[str]:
        """Those of its clients."""
        raise NotImplementedError

    @property
    def api_token_files(self) -> Sequence[Path]:
        """Files with more of them."""
        raise NotImplementedError

    @property
    def log_format(self) -> str:
        """As `log_shown` wants it."""
        raise NotImplementedError

    @property
    def log_level(self) -> str | None:
        """As `log_shown` wants it."""
        raise NotImplementedError

    @property
    def log_file(self) -> Path | None:
        """As `log_shown` wants it."""
        raise NotImplementedError


ValuesT = TypeVar("ValuesT", bound=ProgramSettings)
ServerT = TypeVar("ServerT", bound=BackgroundServer)


class StopRequests:
    """The signals that asked the program to end."""

    def __init__(self) -> None:
        # SimpleQueue.put may interrupt anything, itself included; an Event may not.
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.on_signal: Callable[[], object] | None = None
        """Called in the signal handler as well, for which it must be fit."""

    def put(self, number: int) -> None:
        """A signal has come."""
        self._received.put(number)
        if self.on_signal is not None:
            self.on_signal()

    def wait(self, seconds: float) -> bool:
        """Whether one comes within *seconds*."""
        with suppress(queue.Empty):
            self._received.get(timeout=seconds)
            return True
        return False


@contextmanager
def _stop_signals() -> Iterator[StopRequests]:
    """Collect the signals that ask the program to end, instead of acting on them."""
    requests = StopRequests()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        numbers.append(signal.SIGBREAK)
    previous = {number: signal.signal(number, lambda received, _frame: requests.put(received)) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Speaker:
    """Tells people what happens, on stdout and stderr; or machines, in the log."""

    def __init__(self, name: str) -> None:
        """*name* is the command."""
        self._name = name
        self.is_logged = False

    def say(self, *lines: str) -> None:
        """What is as it should be."""
        if self.is_logged:
            for line in lines:
                _logger.info("%s", line, extra=fields())
        else:
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()

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
            sys.stderr.write(f"lmstudio {self._name}: {text}\n")
            sys.stderr.flush()


class Program(ABC, Generic[ValuesT, ServerT]):
    """A command that serves until it is stopped. *example* is the name of a setting, with a value for the file."""

    def __init__(self, name: str, table: SettingTable[ValuesT], *, example: tuple[str, str]) -> None:
        self._name = name
        self._table = table
        self._example = example

    @abstractmethod
    def start(self, values: ValuesT, tokens: list[str], stop_requests: StopRequests) -> ServerT:
        """The server, which has started. *tokens* are all that its clients may hold.

        Before it starts, *stop_requests* is told how to interrupt that.

        Raises:
            StartInterruptedError: a signal came first.
            LMStudioError: it cannot start.
        """

    @abstractmethod
    def introduce(self, server: ServerT, values: ValuesT, speaker: Speaker, tokens: list[str]) -> None:
        """Say where it is and what it has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options: `--config`, `--show-settings`, and one for each setting."""
        settings = self._table.settings
        name, text = self._example
        parser.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            help=f"file of settings (TOML, JSON or YAML), with the names of these options: {text}. The environment "
            f"variable {self._table.config_variable} may name it, too, and there is one for every option: "
            f"{settings[name].variable}. An option wins over the environment, and that over the file",
        )
        parser.add_argument(
            "--show-settings",
            action="store_true",
            help="print the settings that apply and where each comes from, and exit",
        )
        groups: dict[str, argparse._ArgumentGroup] = {}
        for setting in settings.values():
            title = setting.section.title
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            _add_argument(groups[title], setting)

    def run(self, arguments: argparse.Namespace) -> int:
        """Serve until Ctrl-C or SIGTERM.

        Returns the exit code: 0 when stopped, 1 when the server could not start or broke down, 2 for wrong settings.
        """
        speaker = Speaker(self._name)
        try:
            settings = self._table.resolve(vars(arguments), os.environ, arguments.config)
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
                    return self._serve(values, stop_requests, speaker)
                except StartInterruptedError:
                    speaker.say("Stopped.")
                    return EXIT_STOPPED
                except LMStudioError as error:
                    speaker.complain(str(error))
        except LMStudioValueError as error:
            speaker.complain(str(error))
        return EXIT_FAILED

    def _serve(self, values: ValuesT, stop_requests: StopRequests, speaker: Speaker) -> int:
        tokens = _api_tokens(values, speaker)
        server = self.start(values, tokens, stop_requests)
        stop_requests.on_signal = None
        try:
            self.introduce(server, values, speaker, tokens)
            if not (tokens or server.is_local):
                speaker.warn(f"everybody who can reach {values.host} may use this server; see --api-token-file")
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


def _wait(server: BackgroundServer, stop_requests: StopRequests) -> bool:
    """Wait until a signal asks for the end, or the server ends. True for a signal."""
    while server.is_running:
        # In slices, because on Windows Ctrl-C does not interrupt a wait.
        if stop_requests.wait(_LOOK_SECONDS):
            return True
    return False


def _end(server: BackgroundServer, stop_requests: StopRequests, speaker: Speaker) -> None:
    """Let running requests end, unless a second signal comes."""
    server.begin_stop()
    while server.is_running:
        if stop_requests.wait(_END_LOOK_SECONDS):
            speaker.say("Stopping at once.")
            return


# Options -------------------------------------------------------------------------------------------------------------


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


# Tokens --------------------------------------------------------------------------------------------------------------


def _api_tokens(settings: ProgramSettings, speaker: Speaker) -> list[str]:
    """The tokens of the settings and of the files that they name.

    Raises:
        LMStudioValueError: one has another form, or a file cannot be read or has none.
    """
    tokens = list(settings.api_tokens)
    for file in settings.api_token_files:
        tokens += read_token_file(file)
        speaker.warn(*public_file_warnings(file))
    return tokens
