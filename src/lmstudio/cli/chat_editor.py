"""Where a user writes in a chat: a line editor with history and completion. The one module with prompt_toolkit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from lmstudio.errors import LMStudioOSError

from .chat_commands import COMMANDS
from .state import StateFolder, private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyPressEvent

    from .output import Output

_PROMPT: Final = "> "
_CONTINUATION: Final = "  "
_TAKE_FILES: Final = ("image", "save")


class Editor:
    """Reads what a user writes, in one line or several."""

    def __init__(self, output: Output, model_keys: Callable[[], Sequence[str]]) -> None:
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=_CONTINUATION,
            history=_history(output),
            completer=Commands(model_keys),
            complete_in_thread=True,  # the server is asked for the models
            key_bindings=_keys(),
            enable_open_in_editor=True,
        )

    def read(self) -> str:
        """What the user sends.

        Raises:
            EOFError: Ctrl-D, with nothing written.
            KeyboardInterrupt: Ctrl-C, with nothing written.
        """
        return self._session.prompt()


def _history(output: Output) -> History:
    """What was written in earlier chats. Only the user may read it."""
    folder = StateFolder.default()
    try:
        folder.prepare()
        file = folder.path / "chat_history"
        with open(file, "ab", opener=private):
            file.chmod(0o600)
    except OSError as error:
        why = error if isinstance(error, LMStudioOSError) else error.strerror
        output.debug(f"What you write is not kept for later chats: {why}")
        return InMemoryHistory()
    return FileHistory(file)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        elif buffer.text.strip():
            buffer.validate_and_handle()

    # Not Ctrl-J, which is what Enter becomes that was pressed during an answer.
    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    return keys


class Commands(Completer):
    """Completes commands and what follows them."""

    def __init__(self, model_keys: Callable[[], Sequence[str]]) -> None:
        self._model_keys = model_keys
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may stand at the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        name, space, begun = text[1:].partition(" ")
        if not space:
            names: dict[str, Any] = {known: command.help for known, command in COMMANDS.items()}
            yield from _beginning_with(name, names)
        elif name in _TAKE_FILES:
            yield from self._paths.get_completions(Document(begun, len(begun)), complete_event)
        elif name == "model":
            yield from (Completion(key, -len(begun)) for key in self._model_keys() if begun.lower() in key.lower())
        elif name in COMMANDS:
            yield from _beginning_with(begun, dict.fromkeys(COMMANDS[name].words))


def _beginning_with(begun: str, words: dict[str, Any]) -> Iterable[Completion]:
    return (Completion(word, -len(begun), display_meta=text) for word, text in words.items() if word.startswith(begun))
