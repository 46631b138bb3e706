"""`lmstudio chat`: one answer for a program, or a conversation on a terminal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from lmstudio._abort import AbortSignal
from lmstudio._surface.sync_sessions import DEFAULT_TTL_SECONDS
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioConnectionError,
    LMStudioContextOverflowError,
    LMStudioError,
    LMStudioRuntimeError,
    LMStudioValueError,
)

from . import asking, choosing, native
from .chat_commands import do_command
from .chat_screen import Screen
from .chat_session import REASONING, SYSTEM_PROMPT, ChatSession, choose_llm

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from .output import Output

_HINT: Final = "Ctrl-D or /exit ends the chat."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="identifier of a loaded model, key of another one, or a part of it (default: the one that is loaded)",
    )
    parser.add_argument(
        "-p",
        "--prompt",
        metavar="TEXT",
        help="print the answer to this, and to what is piped in, and exit (default: a conversation)",
    )
    parser.add_argument(
        "-s",
        "--system-prompt",
        metavar="TEXT",
        default=SYSTEM_PROMPT,
        help='what the model is told before (default: to be helpful and concise; "" for nothing)',
    )
    parser.add_argument(
        "--image",
        metavar="FILE",
        action="append",
        default=[],
        help="show an image to the model, with the first message; may be repeated",
    )
    parser.add_argument(
        "--reasoning", choices=tuple(REASONING), default="auto", help="let the model think, or not (default: auto)"
    )
    parser.add_argument("--stats", action="store_true", help="print statistics of each answer on stderr")
    parser.add_argument(
        "--ttl",
        type=asking.seconds_argument,
        metavar="SECONDS",
        default=DEFAULT_TTL_SECONDS,
        help=f"if a model has to be loaded: unload it after so long without use (default: {DEFAULT_TTL_SECONDS})",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: of several models, take the first")
    parser.add_argument("--dont-fetch-catalog", action="store_true", help="has no effect: no catalogue is fetched")
    native.add_json_argument(parser)
    native.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer, or converse; returns the exit code."""

    def work(output: Output) -> None:
        # What can be found wrong without a server is found wrong first.
        prompt = _prompt(arguments)
        if prompt is None:
            if arguments.json:
                raise LMStudioValueError("--json is for one answer: give a prompt with -p.")
            from . import chat_editor  # noqa: F401  # fails here if it is not installed

        with native.connected(arguments) as client:
            screen = Screen(output.level, shows_answers=not arguments.json)
            session = ChatSession(
                client,
                screen,
                choose_llm(client, screen, arguments.model, takes_first=arguments.yes, ttl=arguments.ttl),
                system_prompt=arguments.system_prompt,
                reasoning=arguments.reasoning,
                shows_stats=arguments.stats,
                ttl=arguments.ttl,
            )
            for file in arguments.image:
                session.attach(os.path.expanduser(file))
            if prompt is None:
                _converse_on_terminal(session)
            elif arguments.json:
                _answer_as_json(session, prompt)
            else:
                session.ask(prompt, is_only=True)

    return native.run_locally(arguments, work)


def _prompt(arguments: argparse.Namespace) -> str | None:
    """The only question, of the command line and of what is piped in; None for a conversation.

    Raises:
        LMStudioRuntimeError: there is none, and no terminal to ask on.
    """
    stdin, piped = sys.stdin, ""
    if stdin is not None and stdin.isatty():
        if arguments.prompt is None and sys.stdout.isatty():
            return None
    elif stdin is not None:
        piped = choosing.read_piped().rstrip("\r\n")
    prompt = "\n\n".join(part for part in (arguments.prompt, piped) if part and part.strip())
    if not prompt:
        raise LMStudioRuntimeError(
            "There is no prompt: give it with -p, or pipe it in. A conversation needs a terminal."
        )
    return prompt


def _answer_as_json(session: ChatSession, prompt: str) -> None:
    result = session.ask(prompt)
    assert result is not None  # nobody stops it
    session.screen.say_json(
        {
            "model": result.model_info.identifier,
            "content": result.non_reasoning_content,
            "reasoningContent": result.reasoning_content,
            "stats": result.stats.to_dict(),
        }
    )


def _converse_on_terminal(session: ChatSession) -> None:
    from .chat_editor import Editor

    def model_keys() -> list[str]:
        try:
            return [info.model_key for info in choosing.downloaded(session.client, "llm")]
        except LMStudioError:
            return []  # it is only for completion

    session.screen.info(f"You chat with {session.model.identifier}. /help lists the commands. {_HINT}")
    converse(session, Editor(session.screen, model_keys).read)


def converse(session: ChatSession, read: Callable[[], str]) -> None:
    """Answer what *read* returns, until it raises EOFError or the user has enough. Whatever fails, the chat goes on."""
    while not session.is_over:
        with suppress(KeyboardInterrupt):  # that came too late for what it was meant for
            _take_one(session, read)


def _take_one(session: ChatSession, read: Callable[[], str]) -> None:
    try:
        line = read()
    except EOFError:
        session.is_over = True
        return
    except KeyboardInterrupt:
        session.screen.info(_HINT)
        return
    try:
        if line.strip() and not do_command(session, line):
            with _ctrl_c_stops() as stop:
                session.ask(line, stop)
    except LMStudioCancelledError:
        session.screen.info("Cancelled.")
    except KeyboardInterrupt:
        session.screen.info("\nCancelled.")  # perhaps in the line of a question
    except LMStudioError as error:
        session.screen.error(f"{error}{_advice(error)}")


def _advice(error: LMStudioError) -> str:
    if isinstance(error, LMStudioContextOverflowError):
        return "\n/clear forgets what was said before."
    if isinstance(error, LMStudioConnectionError):
        return "\nThe chat is kept: send the message again when the server is back (the Up key has it)."
    return ""


@contextmanager
def _ctrl_c_stops() -> Iterator[AbortSignal]:
    """Ctrl-C aborts the signal; for a second time, it does what it always does."""
    stop = AbortSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler

    def handle(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop.abort()

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
