# Generated from async_base.py by tools/make_sync.py. Edit that file instead.
"""What all parts of the client over HTTP have in common, and streams as it gives them to its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from lmstudio._surface.base import LeftWhenForgotten
from lmstudio._sync_io import SyncBase
from lmstudio.http._streams import EventT, ResultT
from lmstudio.http._sync_io import SyncConnections

if TYPE_CHECKING:
    from types import TracebackType

    import httpx
    from typing_extensions import Self

    from lmstudio.http._caller import Caller
    from lmstudio.http._io import HttpOptions
    from lmstudio.http._streams import OpenStream

__all__ = ["EventStream"]


class HttpBase(SyncBase):
    """Base of the client, and of what it groups its methods in."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller


class HttpClientBase(HttpBase):
    """Base of the client: its connections, which open when they are needed."""

    def __init__(
        self,
        options: HttpOptions,
        http_client: httpx.Client | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connections = SyncConnections(options, http_client, transport)
        super().__init__(options.caller(self._connections))

    def __enter__(self) -> Self:
        self._connections.reopen()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls in flight fail; later ones are refused until the client is entered again."""
        self._connections.close()


class _EventIteration(LeftWhenForgotten, Generic[EventT]):
    """One loop over a stream. Leaving it early, for example by `break`, tells the server to stop, at once."""

    def __init__(self, stream: EventStream[EventT, Any]) -> None:
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> EventT:
        event = self._stream._step(self._stream._stream.next_event())
        if event is None:
            raise StopIteration
        return event

    def _leave(self) -> None:
        self._stream._stream.cancel()


class EventStream(SyncBase, LeftWhenForgotten, Generic[EventT, ResultT]):
    """The events of one reply, as they arrive. Leaving the `with` block early tells the server to stop, at once.

    Nothing is sent before the block is entered, or the stream is iterated.
    """

    def __init__(self, stream: OpenStream[EventT, ResultT]) -> None:
        self._stream = stream

    def start(self) -> None:
        """Send the request and wait until the reply begins. Entering the `with` block or iterating does it, too."""
        self._run(self._stream.start())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run(self._stream.leave())

    def __iter__(self) -> _EventIteration[EventT]:
        return _EventIteration(self)

    def cancel(self) -> None:
        """Tell the server to stop. The stream then ends with what has come so far."""
        self._stream.cancel()

    def close(self) -> None:
        """Tell the server to stop if it is still at work, and forget the stream."""
        self._run(self._stream.leave())

    def wait_for_result(self) -> ResultT:
        """Read to the end, and return everything put together."""
        return self._run(self._stream.run())

    def result(self) -> ResultT:
        """Everything put together, once the stream has ended.

        Raises:
            LMStudioRuntimeError: it has not ended yet.
            LMStudioError: what it failed with.
        """
        return self._run(self._stream.run())

    def _leave(self) -> None:
        self._stream.abandon()
