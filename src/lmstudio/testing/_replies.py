"""Which scripted reply belongs to which prediction."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio.errors import LMStudioValueError
from lmstudio.server.engine._gate import Gate
from lmstudio.server.engine.base import TextChunk
from lmstudio.server.engine.scripted import BrokenToolCall, Reasoning, Reply, ToolCall
from lmstudio.testing.requests import Matcher, PredictionRequest, fits, shortened

if TYPE_CHECKING:
    from lmstudio.server.engine.scripted import Answer

ReplyInput: TypeAlias = "Answer | Mapping[str, Any] | Callable[[PredictionRequest], Answer | Mapping[str, Any]]"


_PIECES = (str, TextChunk, Gate, Reasoning, ToolCall, BrokenToolCall)


def read_answer(answer: object) -> Answer:
    """What the engine takes for *answer*, which is no function.

    Raises:
        LMStudioValueError: it is no answer.
    """
    if isinstance(answer, Mapping):
        return Reply(json.dumps(dict(answer), ensure_ascii=False))
    if isinstance(answer, (Reply, *_PIECES)):
        return answer
    if not isinstance(answer, Sequence):
        raise LMStudioValueError(
            f"Cannot reply with {answer!r:.80}. Expected a text, a Reply, a dict, a list of pieces, or a function."
        )
    for piece in answer:
        if isinstance(piece, Reply):
            raise LMStudioValueError("A list is one reply: give several as arguments of their own, reply(a, b).")
        if not isinstance(piece, _PIECES):
            raise LMStudioValueError(f"{piece!r:.80} is no piece of a reply: a text, a Gate, a ToolCall, ...")
    return list(answer)


@dataclass(eq=False)
class PlannedReply:
    """What to say, to whom, and how often."""

    answer: ReplyInput
    to: Matcher
    times_left: int | None
    """None: as often as somebody asks."""

    def __str__(self) -> str:
        wanted = "" if self.to is None else f" to {getattr(self.to, 'pattern', self.to)!r}"
        return f"{shortened(str(self.answer))}{wanted}"


class ReplyBook:
    """Replies in the order in which they were planned. From any thread."""

    def __init__(self) -> None:
        self.is_strict = False
        self.problems: list[str] = []
        """What went wrong on the server's side, where a test would not see it."""
        self._planned: list[PlannedReply] = []
        self._given: dict[PredictionRequest, Answer] = {}
        self._lock = threading.Lock()

    def plan(self, answer: ReplyInput, to: Matcher, times: int | None) -> None:
        """Say *answer* to the next predictions that fit."""
        if not callable(answer):
            read_answer(answer)
        if times is not None and times < 1:
            raise LMStudioValueError(
                f"times is how often to give the reply, from 1 on, or None for always; got {times}."
            )
        with self._lock:
            self._planned.append(PlannedReply(answer, to, times))

    def unused(self) -> list[PlannedReply]:
        """Those that are not for always and that nobody has asked for."""
        with self._lock:
            return [planned for planned in self._planned if planned.times_left]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._planned.clear()
            self._given.clear()
            self.problems.clear()

    def answer(self, request: PredictionRequest) -> Answer | None:
        """What to say; None for what the engine says by itself. The same request always gets the same.

        A server asks again when it has shortened the chat, or has ended reasoning that was too long.
        """
        with self._lock:
            if request in self._given:
                return self._given[request]
        answer = self._find(request)
        if answer is not None:
            with self._lock:
                self._given[request] = answer
        return answer

    def _find(self, request: PredictionRequest) -> Answer | None:
        try:
            planned = self._take(request)
            if planned is not None:
                return read_answer(planned.answer(request) if callable(planned.answer) else planned.answer)
        except Exception as error:  # of a user's function; pytest would not see it
            self.problems.append(f"A scripted reply to {request} failed: {type(error).__name__}: {error}")
            raise
        if not self._planned and not self.is_strict:
            return None
        problem = f"There is no scripted reply for {request}; plan one with reply()."
        self.problems.append(problem)
        return Reply(error=problem)

    def _take(self, request: PredictionRequest) -> PlannedReply | None:
        """The first one that fits, those for always last."""
        with self._lock:
            candidates = sorted(self._planned, key=lambda planned: planned.times_left is None)
        for planned in candidates:
            if planned.times_left != 0 and fits(planned.to, request.text, request):
                with self._lock:
                    if planned.times_left is not None:
                        planned.times_left -= 1
                return planned
        return None
