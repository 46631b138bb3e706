"""What a chat shows: the answer on stdout; on stderr what the model thinks, dimmed, and everything else."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.status import Status

from .output import Output, harmless, showable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from lmstudio._sdk_models import LlmPredictionStats

_LINE_ENDS: Final = "\r\n"


class _Trimmed:
    """A text that arrives in pieces, without empty lines before and after it."""

    def __init__(self) -> None:
        self.has_begun: bool = False
        self._held = ""

    def feed(self, piece: str) -> str:
        """What is known to belong to the text."""
        text = self._held + piece if self.has_begun else piece.lstrip(_LINE_ENDS)
        known = text.rstrip(_LINE_ENDS)
        self._held = text[len(known) :]
        self.has_begun = self.has_begun or bool(known)
        return known


class Screen(Output):
    """Shows answers while they arrive."""

    def __init__(self, level: str = "info", *, shows_answers: bool = True) -> None:
        super().__init__(level)
        self._shows_answers = shows_answers
        self._stdout, self._stderr = self.out, self.err
        self._answer, self._thoughts = _Trimmed(), _Trimmed()
        self._is_thinking = False
        self._status: Status | None = None

    @property
    def has_answer(self) -> bool:
        """Whether something of the last answer, or of what came before it, has been shown."""
        return self._answer.has_begun or self._thoughts.has_begun

    @contextmanager
    def answering(self, *, always_ends_line: bool = False) -> Iterator[None]:
        """Between these calls an answer is shown. It ends with one line end, and with none if there is no answer,
        unless *always_ends_line*.
        """
        self._answer, self._thoughts = _Trimmed(), _Trimmed()
        self._is_thinking = False
        if self._stderr.is_terminal and not self._stderr.is_dumb_terminal and self.shows("info"):
            self._status = status = Status("Waiting for the model", console=self._stderr, spinner="line")
            status.start()
        is_done = False
        try:
            with _no_echo():
                yield
            is_done = True
        finally:
            self._stop_waiting()
            if self._is_thinking:
                self._write(self._stderr, "\n")
            if self._shows_answers and (self._answer.has_begun or (always_ends_line and is_done)):
                self._write(self._stdout, "\n")

    def reading(self, progress: float) -> None:
        """So much of the prompt has been read, 0.0 to 1.0."""
        if self._status is not None:
            self._status.update(f"Reading the prompt: {progress:.0%}")

    def text(self, piece: str) -> None:
        """More of the answer."""
        shown = self._answer.feed(piece)
        if shown and self._shows_answers:
            self._stop_waiting()
            if self._is_thinking:
                self._write(self._stderr, "\n\n")
                self._is_thinking = False
            self._write(self._stdout, shown)

    def reasoning(self, piece: str) -> None:
        """More of what the model thinks; programs do not want to see it."""
        if not (self._shows_answers and self._stderr.is_terminal and self.shows("info")):
            return
        if not self._is_thinking:
            self._thoughts = _Trimmed()
        shown = self._thoughts.feed(piece)
        if shown:
            self._stop_waiting()
            if not self._is_thinking:
                begin = "\n" if self._answer.has_begun else ""
                self._write(self._stderr, f"{begin}Thinking:\n", "dim")
                self._is_thinking = True
            self._write(self._stderr, shown, "dim")

    def stats(self, stats: LlmPredictionStats) -> None:
        """How the answer came to be. It was asked for, so it is shown whatever the level is."""
        if not self._shows_answers:
            return
        speed, first = stats.tokens_per_second, stats.time_to_first_token_sec
        lines = {
            "Stop Reason": stats.stop_reason,
            "Tokens/Second": None if speed is None else f"{speed:.2f}",
            "Time to First Token": None if first is None else f"{first:.3f}s",
            "Prompt Tokens": stats.prompt_tokens_count,
            "Predicted Tokens": stats.predicted_tokens_count,
            "Total Tokens": stats.total_tokens_count,
        }
        known = [f"  {name}: {value}" for name, value in lines.items() if value is not None]
        self._write(self._stderr, "\n".join(["", "Prediction Stats:", *known, ""]))

    def _stop_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _write(self, console: Console, text: str, style: str | None = None) -> None:
        if console.is_terminal:
            text = harmless(text)
        text = showable(text, console.file)
        if style is None:
            # Not through the console, which makes spaces of tabs.
            console.file.write(text)
            console.file.flush()
        else:
            console.out(text, style=style, end="", highlight=False)


if sys.platform == "win32":

    @contextmanager
    def _no_echo() -> Iterator[None]:
        """Windows shows no keys that nobody reads."""
        yield

else:
    import os
    import termios

    @contextmanager
    def _no_echo() -> Iterator[None]:
        """What is written meanwhile does not show in the middle of an answer; it is there for the next question."""
        try:
            terminal = sys.stdin.fileno()
            # A job in the background would be stopped if it changed the terminal.
            if os.tcgetpgrp(terminal) != os.getpgrp():
                raise OSError("not ours")
            before = termios.tcgetattr(terminal)
        except (AttributeError, OSError, ValueError, termios.error):
            yield
            return
        silent = before.copy()
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(terminal, termios.TCSANOW, silent)
        try:
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
