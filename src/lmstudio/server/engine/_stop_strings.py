"""Finding stop strings in text that arrives in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class StopStringFinder:
    """Passes text on until a stop string occurs, holding back only what may be the beginning of one."""

    def __init__(self, stop_strings: Sequence[str]) -> None:
        self._stop_strings = [stop for stop in stop_strings if stop]
        self._held = ""
        self.found: str | None = None
        """The stop string that occurred: the one that begins first, of several the one named first."""

    def feed(self, text: str) -> str:
        """What of the text so far is certain to come before any stop string. Nothing may follow once one is found."""
        if not self._stop_strings:
            return text
        text = self._held + text
        matches = [(position, stop) for stop in self._stop_strings if (position := text.find(stop)) >= 0]
        if matches:
            end, self.found = min(matches, key=lambda match: match[0])
            self._held = ""
            return text[:end]
        held = max(_overlap(text, stop) for stop in self._stop_strings)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back, once the text has ended without a stop string."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of *text* that is a proper beginning of *stop*."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
