"""What a server tells those who watch it: prompts, what models made of them, its own log, and the engine's.

`EventHub` is the one place that events come from. Telling it something costs nothing while nobody watches.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from typing_extensions import assert_never

from lmstudio._sdk_models import (
    DiagnosticsLogEvent,
    DiagnosticsLogEventDataLlmPredictionInput,
    DiagnosticsLogEventDataLlmPredictionOutput,
    DiagnosticsLogEventDataRuntimeLog,
    DiagnosticsLogEventDataServerLog,
)
from lmstudio.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio._sdk_models import LogLevel

__all__ = ["EventData", "EventHub", "Watcher", "level_word"]

EventData: TypeAlias = (
    DiagnosticsLogEventDataLlmPredictionInput
    | DiagnosticsLogEventDataLlmPredictionOutput
    | DiagnosticsLogEventDataServerLog
    | DiagnosticsLogEventDataRuntimeLog
)

MAX_WAITING_EVENTS: Final = 1000
"""For one watcher. Who is slower than that misses some."""
MAX_WAITING_CHARACTERS: Final = 16 * 2**20
"""As well. A single event may be longer: a prompt can be."""


class Watcher:
    """The events that one watcher has not had yet. What there is no room for is left out, and he is told."""

    def __init__(self, stamped: Callable[[EventData], DiagnosticsLogEvent]) -> None:
        self._stamped = stamped
        self._events: deque[DiagnosticsLogEvent] = deque()
        self._characters = 0
        self._left_out = 0
        self._changed = asyncio.Event()
        self._is_over = False

    def put(self, event: DiagnosticsLogEvent) -> None:
        """One more event. Never waits."""
        characters = _characters(event.data)
        is_full = len(self._events) >= MAX_WAITING_EVENTS
        if self._events and (is_full or self._characters + characters > MAX_WAITING_CHARACTERS):
            self._left_out += 1
            return
        if self._left_out:
            self._events.append(self._gap())
        self._events.append(event)
        self._characters += characters
        self._changed.set()

    def end(self) -> None:
        """Nothing more is wanted: `next` returns None from now on."""
        self._is_over = True
        self._changed.set()

    async def next(self) -> DiagnosticsLogEvent | None:
        """The next event, once there is one; None when it is over."""
        while not self._is_over:
            if self._events:
                event = self._events.popleft()
                self._characters -= _characters(event.data)
                return event
            if self._left_out:
                return self._gap()
            self._changed.clear()
            await self._changed.wait()
        return None

    def _gap(self) -> DiagnosticsLogEvent:
        """What stands for the events that were left out; it counts as no characters."""
        count, self._left_out = self._left_out, 0
        text = f"{count} events are missing here: they came faster than this client has read them."
        return self._stamped(DiagnosticsLogEventDataServerLog(content=text, level="warn"))


def _characters(data: EventData) -> int:
    match data:
        case DiagnosticsLogEventDataLlmPredictionInput():
            return len(data.input)
        case DiagnosticsLogEventDataLlmPredictionOutput():
            return len(data.output)
        case DiagnosticsLogEventDataServerLog():
            return len(data.content)
        case DiagnosticsLogEventDataRuntimeLog():
            return len(data.message)
        case _:
            assert_never(data)


class EventHub:
    """Passes what happens in one server on to everybody who watches. Belongs to that server's event loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        """*now* gives the seconds since the epoch."""
        self._now = now
        self._watchers: list[Watcher] = []
        self.thread_id: int | None = None
        """The thread of the event loop, while somebody watches."""

    @property
    def is_watched(self) -> bool:
        """Somebody wants to know. Ask before you make an event that takes time to make."""
        return bool(self._watchers)

    def publish(self, data: EventData) -> None:
        """Tell all who watch. Never waits."""
        if self._watchers:
            event = self._stamped(data)
            for watcher in self._watchers:
                watcher.put(event)

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Everything that happens meanwhile."""
        watcher = Watcher(self._stamped)
        self._watchers.append(watcher)
        if len(self._watchers) == 1:
            self.thread_id = threading.get_ident()
            _log_tap.add(self)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            if not self._watchers:
                _log_tap.remove(self)

    def close(self) -> None:
        """The server ends: so does watching it."""
        for watcher in self._watchers:
            watcher.end()

    def _stamped(self, data: EventData) -> DiagnosticsLogEvent:
        return DiagnosticsLogEvent(timestamp=round(self._now() * 1000), data=data)


# The server's log ----------------------------------------------------------------------------------------------------


def level_word(level: int) -> LogLevel:
    """A level of `logging` in the protocol's words."""
    if level >= logging.ERROR:
        return "error"
    if level >= logging.WARNING:
        return "warn"
    return "info" if level >= logging.INFO else "debug"


class _LogTap(logging.Filter):
    """Gives the records of the logger `lmstudio.server` to the hubs that are watched.

    A filter, not a handler, because a watcher wants more than the program may have asked for: the logger lets
    everything from DEBUG on come into being meanwhile, and this keeps from the program's handlers what they would not
    have got. Several servers of one process share the logger; each gets what its own thread has logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logger = get_logger("server")
        self._formatter = logging.Formatter()
        self._lock = threading.Lock()
        self._hubs: tuple[EventHub, ...] = ()
        self._level_before = logging.NOTSET
        self._level = logging.NOTSET

    def add(self, hub: EventHub) -> None:
        with self._lock:
            if not self._hubs:
                self._level_before = self._logger.level
                self._level = min(logging.DEBUG, self._logger.getEffectiveLevel())
                self._logger.setLevel(self._level)
                self._logger.addFilter(self)
            self._hubs = (*self._hubs, hub)

    def remove(self, hub: EventHub) -> None:
        with self._lock:
            self._hubs = tuple(each for each in self._hubs if each is not hub)
            if not self._hubs:
                self._logger.removeFilter(self)
                if self._logger.level == self._level:  # else the program has set another one meanwhile
                    self._logger.setLevel(self._level_before)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the program would have got *record* without this."""
        for hub in self._hubs:
            if record.thread == hub.thread_id:
                content = self._formatter.format(record)
                hub.publish(DiagnosticsLogEventDataServerLog(content=content, level=level_word(record.levelno)))
        if self._logger.level != self._level:
            return True
        parent = self._logger.parent
        inherited = logging.NOTSET if parent is None else parent.getEffectiveLevel()
        return record.levelno >= (self._level_before or inherited)


_log_tap = _LogTap()
