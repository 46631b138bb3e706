"""What a line in a chat may be besides a question: a command that begins with a slash."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from lmstudio._near import near_matches
from lmstudio.errors import LMStudioOSError, LMStudioValueError

from . import choosing
from .chat_session import REASONING, choose_llm, load
from .downloading import Choices, download

if TYPE_CHECKING:
    from collections.abc import Callable

    from .chat_session import ChatSession

# Neither a path nor a comment of some language.
_COMMAND: Final = re.compile(r"/([A-Za-z?][A-Za-z-]*)?(?:\s+(.*))?", re.DOTALL)
_SWITCH: Final = {"on": True, "off": False}


class Command(NamedTuple):
    """What a user may write, what it does, and the words that may follow it."""

    run: Callable[[ChatSession, str], object]
    help: str
    argument: str = ""
    words: tuple[str, ...] = ()


def do_command(session: ChatSession, line: str) -> bool:
    """Do what *line* says, if it is a command.

    Raises:
        LMStudioError: that cannot be done.
    """
    found = _COMMAND.fullmatch(line.rstrip())
    if found is None:
        return False
    name, argument = found.group(1) or "", (found.group(2) or "").strip()
    name = _OTHER_NAMES.get(name.lower(), name.lower())
    if name not in COMMANDS:
        near = near_matches(name, COMMANDS)
        hint = f" Did you mean /{' or /'.join(near)}?" if near else ""
        raise LMStudioValueError(f"There is no command /{name}.{hint} /help lists them.")
    command = COMMANDS[name]
    if argument and not command.argument:
        raise LMStudioValueError(f"/{name} takes nothing after it, got {argument!r}.")
    if argument and command.words and argument not in command.words:
        raise LMStudioValueError(f"/{name} takes {' or '.join(command.words)}, not {argument!r}.")
    command.run(session, argument)
    return True


def _help(session: ChatSession, _argument: str) -> None:
    usages = {name: f"/{name} {command.argument}".rstrip() for name, command in COMMANDS.items()}
    width = max(map(len, usages.values()))
    lines = [f"{usages[name]:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    keys = (
        "Alt-Enter, or a backslash at the end of a line, begins a new line.",
        "Ctrl-C stops an answer, Ctrl-D ends the chat.",
    )
    session.screen.info("\n".join([*lines, "", *keys]))


def _exit(session: ChatSession, _argument: str) -> None:
    session.is_over = True


def _model(session: ChatSession, wanted: str) -> None:
    screen = session.screen
    if wanted:
        session.use(choose_llm(session.client, screen, wanted, takes_first=False, ttl=session.ttl))
    else:
        screen.info(f"You chat with {session.model.identifier}.")
        info = choosing.choose_downloaded(session.client, screen, None, kind="llm")
        session.use(load(session.client, screen, info.model_key, session.ttl))
    screen.info(f"You chat with {session.model.identifier} now.")


def _clear(session: ChatSession, _argument: str) -> None:
    session.forget()
    session.screen.info("The chat begins anew.")


def _system_prompt(session: ChatSession, text: str) -> None:
    if text:
        session.system_prompt = text
        session.screen.info("The system prompt is changed, from the next answer on.")
    else:
        session.screen.info(session.system_prompt or "There is no system prompt.")


def _stats(session: ChatSession, switch: str) -> None:
    session.shows_stats = _SWITCH.get(switch, not session.shows_stats)
    session.screen.info(f"Statistics are {'' if session.shows_stats else 'not '}shown after each answer.")


def _reasoning(session: ChatSession, switch: str) -> None:
    session.reasoning = switch or session.reasoning
    session.screen.info(f"Reasoning is {session.reasoning}.")


def _download(session: ChatSession, wanted: str) -> None:
    if not wanted:
        raise LMStudioValueError("/download needs the name of a model, or a part of it.")
    fetched = download(session.client, session.screen, wanted, Choices())
    session.screen.info(f"/model {fetched.model_key or fetched.label} chats with it.")


def _image(session: ChatSession, file: str) -> None:
    if not file:
        raise LMStudioValueError("/image needs the path of a file.")
    image = session.attach(os.path.expanduser(file))
    session.screen.info(f"{image.name} goes with the next message.")


def _save(session: ChatSession, file: str) -> None:
    if not file:
        raise LMStudioValueError("/save needs the path of a new file: JSON if it ends with .json, else Markdown.")
    path = Path(file).expanduser()
    messages = session.transcript()
    if path.suffix.lower() == ".json":
        text = json.dumps(messages, indent=2, ensure_ascii=False)
    else:
        text = "\n\n".join(f"## {message['role'].capitalize()}\n\n{message['content'].strip()}" for message in messages)
    try:
        with path.open("x", encoding="utf-8", errors="replace") as stream:
            stream.write(f"{text}\n")
    except FileExistsError as error:
        raise LMStudioOSError(error.errno, f"{path} is there already, and is not overwritten.") from error
    except OSError as error:
        raise LMStudioOSError(error.errno, f"Could not write {path}: {error.strerror or error}.") from error
    session.screen.info(f"Saved as {path}.")


_OTHER_NAMES: Final = {"?": "help", "": "help", "quit": "exit", "bye": "exit"}
COMMANDS: Final = {
    "help": Command(_help, "list these commands"),
    "exit": Command(_exit, "end the chat"),
    "model": Command(_model, "chat with another model", "[MODEL]"),
    "clear": Command(_clear, "forget what was said, but not the system prompt"),
    "system-prompt": Command(_system_prompt, "show or change the system prompt", "[TEXT]"),
    "stats": Command(_stats, "show statistics after each answer, or not", "[on|off]", tuple(_SWITCH)),
    "reasoning": Command(_reasoning, "let the model think, or not", "[auto|on|off]", tuple(REASONING)),
    "image": Command(_image, "show an image to the model with the next message", "FILE"),
    "download": Command(_download, "let the server download a model", "NAME"),
    "save": Command(_save, "write the chat to a new file", "FILE"),
}
