"""The fragments of a prediction that have been read, so that one can iterate over them again.

A prediction may have millions of fragments. Their text is kept anyhow, for the result; what else is needed to make them
again takes four bytes each, because most fragments differ in nothing but their text.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio._sdk_models import LlmPredictionFragment

if TYPE_CHECKING:
    from lmstudio._ops.prediction import PredictionInFlight
    from lmstudio._sdk_models import LlmToken

_Attributes: TypeAlias = tuple[Any, ...]
"""Token count, whether it contains drafted tokens, reasoning type, whether it is structural."""

_PLAIN: _Attributes = (1, False, "none", False)


class FragmentLog:
    """Everything about the fragments but their text. Written by the prediction, read by any number of cursors."""

    def __init__(self) -> None:
        self.lengths: array[int] = array("I")
        """The lengths of their texts."""
        # Runs of fragments that differ in text only: where they begin, and what they have in common.
        self._run_starts = [0]
        self._runs = [_PLAIN]
        self._is_plain = True
        self._tokens: dict[int, list[LlmToken]] = {}

    def append(self, fragment: LlmPredictionFragment) -> None:
        """Note *fragment*. Called for each: a fragment like nearly all others costs next to nothing."""
        if (
            fragment.tokens_count != 1
            or fragment.reasoning_type != "none"
            or fragment.contains_drafted
            or fragment.tokens
            or fragment.is_structural
        ):
            self._append_special(fragment)
        elif not self._is_plain:
            self._begin_run(_PLAIN)
        self.lengths.append(len(fragment.content))

    def _append_special(self, fragment: LlmPredictionFragment) -> None:
        attributes = (
            fragment.tokens_count,
            fragment.contains_drafted,
            fragment.reasoning_type,
            fragment.is_structural,
        )
        if attributes != self._runs[-1]:
            self._begin_run(attributes)
        if fragment.tokens:
            self._tokens[len(self.lengths)] = fragment.tokens

    def _begin_run(self, attributes: _Attributes) -> None:
        self._is_plain = attributes == _PLAIN
        self._run_starts.append(len(self.lengths))
        self._runs.append(attributes)

    def read(self, index: int, content: str) -> LlmPredictionFragment:
        """Fragment *index*, with its text."""
        run = bisect_right(self._run_starts, index) - 1
        tokens_count, contains_drafted, reasoning_type, is_structural = self._runs[run]
        return LlmPredictionFragment(
            content=content,
            tokens_count=tokens_count,
            contains_drafted=contains_drafted,
            reasoning_type=reasoning_type,
            is_structural=is_structural,
            tokens=self._tokens.get(index),
        )


class FragmentCursor:
    """One iteration over a prediction: first what others have read already, then what arrives."""

    def __init__(self, prediction: PredictionInFlight[Any]) -> None:
        self._prediction = prediction
        self._log = prediction.log
        self._index = 0
        self._offset: int | None = 0
        """Where the text of the next fragment begins; None as long as nobody needs to know."""
        self._text = ""

    def replay(self) -> LlmPredictionFragment | None:
        """The next one of those that have been read; None if there is none."""
        lengths = self._log.lengths
        if self._index == len(lengths):
            return None
        begin = sum(lengths[: self._index]) if self._offset is None else self._offset
        end = begin + lengths[self._index]
        if end > len(self._text):
            self._text = self._prediction.text()
        fragment = self._log.read(self._index, self._text[begin:end])
        self._index += 1
        self._offset = end
        return fragment

    def advance(self) -> bool:
        """Step over the one that has just been read. False if it is another one, because others have read on."""
        if self._index + 1 != len(self._log.lengths):
            return False
        self._index += 1
        self._offset = None
        return True
