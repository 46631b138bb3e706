"""What happens in the server, in the asynchronous surface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lmstudio._async_io import AsyncBase
from lmstudio._ops.diagnostics import LogEvents, read_event_types
from lmstudio._surface.async_sessions import _AsyncSession
from lmstudio._surface.base import LeftWhenForgotten

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.diagnostics import LogEventType
    from lmstudio._sdk_models import DiagnosticsLogEvent
    from lmstudio._timeouts import TimeoutInput


class AsyncLogStream(AsyncBase, LeftWhenForgotten):
    """The events of a server, from the moment on that it got the request for them.

    ::

        async with client.diagnostics.stream_logs("server.log") as events:
            async for event in events:
                print(event.timestamp, event.data.content)

    The loop ends when the server ends the stream or somebody closes it, and raises what the server reports, or that the
    connection is lost: a stream that is lost is not opened again by itself. Leaving the loop early, or a wait that is
    interrupted, ends nothing: the next event is there for the next loop. Leaving the `with` block tells the server to
    stop. Of several that wait, one gets each event.

    The server does not wait for its readers: up to 10,000 events, or 64 MiB of them, are kept for one that is slow. Who
    falls further behind gets those, and then LMStudioRuntimeError.
    """

    def __init__(self, session: _AsyncSessionDiagnostics, events: LogEvents) -> None:
        self._events = events
        self._session = session

    async def start(self) -> None:
        """Connect, and ask for the events. Entering the `with` block or iterating does it, too.

        Raises:
            LMStudioWebsocketError: it cannot connect; says why.
            LMStudioRuntimeError: the stream was closed.
        """
        if not self._events.is_started:
            await self._session.connect()
        self._events.start()

    async def aclose(self) -> None:
        """Tell the server to stop. Loops over the stream end."""
        self._events.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DiagnosticsLogEvent:
        if self._events.state == "not started":
            await self.start()
        event = await self._run(self._events.next_event())
        if event is None:
            raise StopAsyncIteration
        return event

    def _leave(self) -> None:
        self._events.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._events.state}>"


class _AsyncSessionDiagnostics(_AsyncSession):
    """What happens in the server."""

    API_NAMESPACE: ClassVar[str] = "diagnostics"

    def stream_logs(
        self,
        types: LogEventType | Iterable[LogEventType] | None = None,
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> AsyncLogStream:
        """What happens in the server, as it happens: prompts, replies, its log and that of its engines.

        Nothing is sent before the stream is used.

        Args:
            types: Which events; by default all. "llm.prediction.input" has the prompt as the model gets it,
                "llm.prediction.output" the reply and its statistics.
            timeout: A time limit in seconds for the whole stream, or a `lmstudio.Timeout`, of which only *total*
                counts: silence is no failure here.
            signal: Ends the stream with LMStudioCancelledError.

        Raises:
            LMStudioValueError: there is no such type.
        """
        return AsyncLogStream(self, LogEvents(self._within(timeout), read_event_types(types), signal))
