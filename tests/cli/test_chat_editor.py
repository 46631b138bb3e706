"""Where a user writes in a chat: keys, history and completion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from cli.keyboard import typing
from lmstudio.cli.chat_editor import Commands, Editor
from lmstudio.cli.output import Output

if TYPE_CHECKING:
    from lmstudio.cli.state import StateFolder


def typed(keys: str) -> str:
    """What the editor returns for *keys*."""
    with typing(keys):
        return Editor(Output(), list).read()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("one\r", "one"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("one\\\rtwo\r", "one\ntwo"),
        ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"),
        ("\r \rone\r", " one"),
        ("wrong\x03right\r", "right"),
    ],
    ids=["enter", "alt-enter", "backslash", "paste", "empty", "ctrl-c"],
)
def test_keys(keys: str, text: str) -> None:
    assert typed(keys) == text


def test_leaving_keys() -> None:
    with pytest.raises(KeyboardInterrupt):
        typed("\x03")
    with pytest.raises(EOFError):
        typed("\x04")


def test_what_was_written_is_there_in_the_next_chat_for_the_user_only(state: StateFolder) -> None:
    typed("one\x1b\rtwo\r")
    file = state.path / "chat_history"
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o777 == 0o600
    assert list(FileHistory(file).load_history_strings()) == ["one\ntwo"]


def test_without_a_folder_nothing_is_kept(state: StateFolder) -> None:
    state.path.write_text("in the way")
    assert typed("one\r") == "one"


@pytest.mark.parametrize(
    ("begun", "completions"),
    [
        ("/sy", ["system-prompt"]),
        ("/model hero", ["acme/heron-1b"]),
        ("/reasoning o", ["on", "off"]),
        ("/save chat-not", []),
        ("hello", []),
        ("/nothing ", []),
    ],
)
def test_completion(begun: str, completions: list[str]) -> None:
    found = Commands(lambda: ["acme/heron-1b", "acme/owl"]).get_completions(Document(begun), CompleteEvent())
    assert [completion.text for completion in found] == completions
