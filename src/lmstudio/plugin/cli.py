"""`python -m lmstudio.plugin FOLDER`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lmstudio import logs
from lmstudio.errors import LMStudioError

from ._runner.development import develop
from ._runner.faults import own_traceback
from ._runner.running import EXIT_HOST_LOST, MAX_PARALLEL_TOOL_CALLS, HostLostError
from .runner import run_plugin_async

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

EXIT_ENDED: Final = 0
"""Ctrl-C, or the signal to terminate: how a plugin ends normally."""
EXIT_FAILED: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. The exit code: 0 ended by Ctrl-C, 1 failed, 2 wrong arguments, 3 the host is gone."""
    arguments = _parse(argv)
    _show_log(logging.DEBUG if arguments.debug else logging.INFO)
    work: Coroutine[Any, Any, None]
    if arguments.dev:
        child = (f"--max-parallel-tool-calls={arguments.max_parallel_tool_calls}", *(["--debug"] * arguments.debug))
        work = develop(arguments.folder, say=_say, child_arguments=child)
    else:
        work = run_plugin_async(
            arguments.folder,
            allow_local_imports=True,
            max_parallel_tool_calls=arguments.max_parallel_tool_calls,
            on_ready=lambda name: _say(f"The plugin {name} is running. Ctrl-C ends it."),
        )
    try:
        asyncio.run(_until_signal(work))
    except KeyboardInterrupt:  # on Windows, or for the second time
        pass
    except HostLostError as error:
        _complain(str(error))
        return EXIT_HOST_LOST
    except LMStudioError as error:
        _show_cause(error)
        _complain(str(error))
        return EXIT_FAILED
    if arguments.dev:  # else the process that has started this one says so
        _say("Stopped.")
    return EXIT_ENDED


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lmstudio.plugin",
        description="Run a plugin of LM Studio that is written in Python.",
        epilog="Without --dev, the host that starts it gives credentials in LMS_PLUGIN_CLIENT_IDENTIFIER and "
        "LMS_PLUGIN_CLIENT_PASSKEY.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=_folder, help="the plugin: manifest.json and src/plugin.py")
    parser.add_argument(
        "--dev",
        action="store_true",
        help="register the plugin with the running LM Studio, and start it again when a file changes",
    )
    parser.add_argument("--debug", action="store_true", help="show what the host calls, and connections")
    parser.add_argument(
        "--max-parallel-tool-calls",
        metavar="NUMBER",
        type=_number,
        default=MAX_PARALLEL_TOOL_CALLS,
        help="tool calls of one session that run at the same time (default: %(default)s)",
    )
    return parser.parse_args(argv)


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return path


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Do *work*, and cancel it at the first signal to end. A second one ends the program at once.

    Python's own Ctrl-C may strike inside a hook, which would take it for a failure of the hook.
    """
    task = asyncio.ensure_future(work)
    stopping = (signal.SIGINT, signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for number in stopping:
            loop.remove_signal_handler(number)
        task.cancel()

    if sys.platform == "win32":  # loops have no handlers there; what ends a child is Ctrl-Break
        signal.signal(signal.SIGBREAK, lambda *_: loop.call_soon_threadsafe(task.cancel))
    else:
        for number in stopping:
            loop.add_signal_handler(number, stop)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
    if not task.cancelled():
        task.result()


def _show_log(level: int) -> None:
    """On stderr, also what the plugin itself writes into the log."""
    handler = logging.StreamHandler()
    handler.setFormatter(logs.LineFormatter())
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("httpx", "httpcore"):  # at DEBUG, five lines for each connection that say nothing of plugins
        logging.getLogger(name).setLevel(logging.WARNING)


def _show_cause(error: LMStudioError) -> None:
    """Where the code of a plugin has failed."""
    cause = error.__cause__
    if cause is None or isinstance(cause, (LMStudioError, OSError)):
        return
    traceback.print_exception(type(cause), cause, own_traceback(cause), file=sys.stderr)


_say = partial(print, flush=True)


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)
