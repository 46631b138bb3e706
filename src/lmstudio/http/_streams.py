"""Replies that arrive as server-sent events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioError,
    LMStudioRuntimeError,
)

from ._errors import ErrorDetails, error_in, server_error
from ._exchange import ExchangeError
from ._sse import EventParser

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ._clock import CallClock
    from ._exchange import IncomingReply
    from ._sse import ServerSentEvent

EventT = TypeVar("EventT")
ResultT = TypeVar("ResultT")

_LAST_SECONDS: Final = 1.0
"""For the end of a body whose last event has come."""


class StreamReader(ABC, Generic[EventT, ResultT]):
    """Reads the events of one stream of one surface, and puts them together."""

    is_over: bool = False
    """The event that ends this surface's streams has come."""

    @abstractmethod
    def feed(self, event: ServerSentEvent) -> EventT | None:
        """The typed event to pass on; None for one that is only the protocol's."""

    @abstractmethod
    def has_content(self, event: EventT) -> bool:
        """Whether the wait for the first token ends with *event*."""

    @abstractmethod
    def result(self) -> ResultT:
        """Everything so far, put together."""


class OpenStream(Generic[EventT, ResultT]):
    """One streamed call. Nothing is sent before it is started."""

    def __init__(
        self,
        send: Callable[[], Coroutine[Any, Any, IncomingReply]],
        reader: StreamReader[EventT, ResultT],
        clock: CallClock,
        explain: Callable[[ExchangeError | LMStudioError], LMStudioError],
        attempted: str,
    ) -> None:
        self._send, self._reader, self._clock = send, reader, clock
        self._explain, self._attempted = explain, attempted
        self._reply: IncomingReply | None = None
        self._parser = EventParser()
        self._waiting: deque[ServerSentEvent] = deque()
        self._has_token = False
        self._error: LMStudioError | None = None
        self.is_started: bool = False
        self.is_finished: bool = False
        """Nothing more will come."""

    async def start(self) -> None:
        """Send the request and wait until the reply begins, if that was not done."""
        if self.is_started:
            return
        self.is_started = True
        try:
            self._reply = await self._send()
        except BaseException as error:
            self.is_finished = True
            if self._clock.is_cancelled and isinstance(error, LMStudioCancelledError):
                return
            if isinstance(error, LMStudioError):
                self._error = error
            raise

    async def next_event(self) -> EventT | None:
        """The next event, None at the end.

        Raises:
            LMStudioError: the server reported a failure, or the stream broke off.
        """
        await self.start()
        if self._error is not None:
            raise self._error
        while not self.is_finished:
            try:
                if not self._waiting and not await self._receive():
                    return None
                typed = self._take()
            except BaseException as error:
                self._fail(error)
                raise
            if typed is not None:
                return typed
        return None

    async def next_events(self) -> list[EventT]:
        """The next event, and those after it that have come already; none at the end.

        Raises:
            LMStudioError: as `next_event`, once the events before it have been returned.
        """
        first = await self.next_event()
        if first is None:
            return []
        events = [first]
        try:
            while self._waiting and not self.is_finished:
                typed = self._take()
                if typed is not None:
                    events.append(typed)
        except LMStudioError as error:
            with suppress(LMStudioError):  # the next call raises it
                self._fail(error)
        return events

    def _take(self) -> EventT | None:
        """The typed form of the first event that waits; None for one that is only the protocol's."""
        event = self._waiting.popleft()
        self._raise_if_error(event)
        typed = self._reader.feed(event)
        if typed is not None and not self._has_token and self._reader.has_content(typed):
            self._has_token = True
            self._clock.token_seen()
        return typed

    def _fail(self, error: BaseException) -> None:
        """There is no more after *error*.

        Raises:
            LMStudioError: what *error* means to the caller.
        """
        if isinstance(error, LMStudioError):
            self._error = self._explain(error)
            self.abandon()
            raise self._error from error.__cause__
        self.abandon()

    async def _receive(self) -> bool:
        """Wait for more events; False at the end of the stream."""
        reply = self._reply
        assert reply is not None, "it is started, and not finished"
        if self._reader.is_over:
            await self._finish(reply)
            return False
        self._clock.begin_wait()
        while not self._waiting:
            try:
                data = await reply.read()
            except ExchangeError as error:
                if self._clock.is_cancelled:
                    self.is_finished = True
                    return False
                raise self._explain(error) from error.cause
            if self._clock.is_cancelled:
                self.is_finished = True
                return False
            self._waiting += self._parser.feed(data) if data else self._parser.end()
            if not data and not self._waiting:
                raise LMStudioChannelClosedError(
                    f"Could not {self._attempted}: the server ended the stream before its last event."
                )
        return True

    async def _finish(self, reply: IncomingReply) -> None:
        """Read the end of the body, so that the connection can be used again."""
        self.is_finished = True
        self._clock.end_within(_LAST_SECONDS)
        try:
            while await reply.read():
                pass
        except ExchangeError:
            reply.abandon()
        except BaseException:
            reply.abandon()
            raise
        else:
            await reply.aclose()

    def _raise_if_error(self, event: ServerSentEvent) -> None:
        if event.event != "error" and '"error"' not in event.data:
            return
        try:
            details = error_in(msgspec.json.decode(event.data))
        except (ValueError, RecursionError):
            details = None
        if details is None and event.event == "error":
            details = ErrorDetails(event.data)
        if details is not None:
            raise server_error(200, details, self._attempted)

    async def run(self) -> ResultT:
        """Read to the end; everything put together."""
        while await self.next_event() is not None:
            pass
        return self.result()

    def result(self) -> ResultT:
        """Everything put together.

        Raises:
            LMStudioRuntimeError: the stream has not ended.
            LMStudioError: what it failed with.
        """
        if self._error is not None:
            raise self._error
        if not self.is_finished:
            raise LMStudioRuntimeError(
                "The stream has not ended, so it has no result: read it to its end, or call wait_for_result()."
            )
        return self._reader.result()

    def cancel(self) -> None:
        """Stop the server, from any thread or task. The stream then ends with what has come."""
        if self.is_finished:
            return
        self._clock.cancel()
        if not self.is_started:
            self.is_started = self.is_finished = True
        elif self._reply is not None:
            self.abandon()

    def abandon(self) -> None:
        """Drop the connection, if it is still needed: nobody wants to know more. Never waits, never fails."""
        was_finished, self.is_finished = self.is_finished, True
        if not was_finished and self._reply is not None:
            self._reply.abandon()

    async def leave(self) -> None:
        """As `abandon`, and give back what the connection took here."""
        self.abandon()
        if self._reply is not None:
            await self._reply.aclose()
