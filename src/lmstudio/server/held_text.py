"""Generated text that waits until it is decided what it belongs to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lmstudio._sdk_models import LlmPredictionFragmentReasoningType
    from lmstudio.server.engine.base import TokenInfo


@dataclass(frozen=True)
class Piece:
    """Text of one kind. The pieces of a generation, joined, are its text."""

    text: str
    token_count: int
    kind: LlmPredictionFragmentReasoningType = "none"
    tokens: Sequence[TokenInfo] = ()
    has_drafted: bool = False


class HeldText:
    """A text that grows at its end and is taken away from its beginning, with the tokens that belong to it."""

    def __init__(self) -> None:
        self.text: str = ""
        self.token_count: int = 0
        self._infos: deque[TokenInfo] = deque()
        self._info_position = 0
        """Where in the text the first token of _infos begins."""
        self._has_drafted = False

    def __bool__(self) -> bool:
        return bool(self.text or self.token_count)

    def add(self, text: str, token_count: int, tokens: Sequence[TokenInfo], *, has_drafted: bool = False) -> None:
        """Append a text and its tokens."""
        self.text += text
        self.token_count += token_count
        self._infos.extend(tokens)
        self._has_drafted = self._has_drafted or has_drafted

    def take(self, length: int, kind: LlmPredictionFragmentReasoningType = "none") -> Piece:
        """The first *length* characters, with their share of the tokens; they are held no more."""
        total = len(self.text)
        # Rounded down, so that what is left goes to later text: the sum is exact in the end.
        share = self.token_count * length // total if total else 0
        piece = Piece(
            self.text[:length], share, kind, self._take_infos(length, is_all=length == total), self._has_drafted
        )
        self.text = self.text[length:]
        self.token_count -= share
        self._has_drafted = self._has_drafted and bool(self.text)
        return piece

    def partial(self, wanted: str) -> int:
        """Length of the longest end of the text that *wanted*, not complete, begins with."""
        longest = min(len(wanted) - 1, len(self.text))
        if longest <= 0 or wanted[0] not in (end := self.text[-longest:]):
            return 0
        return next((length for length in range(longest, 0, -1) if end.endswith(wanted[:length])), 0)

    def _take_infos(self, length: int, *, is_all: bool) -> Sequence[TokenInfo]:
        """The tokens that begin within the next *length* characters; all of them where nothing is left for later."""
        taken = []
        while self._infos and (is_all or self._info_position < length):
            info = self._infos.popleft()
            self._info_position += len(info.text)
            taken.append(info)
        self._info_position = 0 if is_all else max(0, self._info_position - length)
        return tuple(taken)
