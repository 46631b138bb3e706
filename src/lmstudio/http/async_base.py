"""What all parts of the client over HTTP have in common, and streams as it gives them to its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from lmstudio._async_io import AsyncBase
from lmstudio._surface.base import LeftWhenForgotten
from lmstudio.http._async_io import AsyncConnections
from lmstudio.http._streams import EventT, ResultT

if TYPE_CHECKING:
    from types import TracebackType

    import httpx
    from typing_extensions import Self

    from lmstudio.http._caller import Caller
    from lmstudio.http._io import HttpOptions
    from lmstudio.http._streams import OpenStream

__all__ = ["AsyncEventStream"]


class AsyncHttpBase(AsyncBase):
    """Base of the client, and of what it groups its methods in."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller


class AsyncHttpClientBase(AsyncHttpBase):
    """Base of the client: its connections, which open when they are needed."""

    def __init__(
        self,
        options: HttpOptions,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connections = AsyncConnections(options, http_client, transport)
        super().__init__(options.caller(self._connections))

    async def __aenter__(self) -> Self:
        self._connections.reopen()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. Calls in flight fail; later ones are refused until the client is entered again."""
        await self._connections.aclose()


class _AsyncEventIteration(LeftWhenForgotten, Generic[EventT]):
    """One loop over a stream. Leaving it early, for example by `break`, tells the server to stop, at once."""

    # No generator: the event loop would finalise it, later, and trio warns of those left early.  # sync: skip

    def __init__(self, stream: AsyncEventStream[EventT, Any]) -> None:
        self._stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        event = await self._stream._step(self._stream._stream.next_event())
        if event is None:
            raise StopAsyncIteration
        return event

    def _leave(self) -> None:
        self._stream._stream.cancel()


class AsyncEventStream(AsyncBase, LeftWhenForgotten, Generic[EventT, ResultT]):
    """The events of one reply, as they arrive. Leaving the `with` block early tells the server to stop, at once.

    Nothing is sent before the block is entered, or the stream is iterated.
    """

    def __init__(self, stream: OpenStream[EventT, ResultT]) -> None:
        self._stream = stream

    async def start(self) -> None:
        """Send the request and wait until the reply begins. Entering the `with` block or iterating does it, too."""
        await self._run(self._stream.start())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._run(self._stream.leave())

    if not TYPE_CHECKING:  # sync: skip

        def __iter__(self):
            # Only for its message: without it, Python says that the stream is not iterable.
            raise TypeError("The events of an asynchronous stream are read by `async for`, not by `for`.")

    def __aiter__(self) -> _AsyncEventIteration[EventT]:
        return _AsyncEventIteration(self)

    async def cancel(self) -> None:
        """Tell the server to stop. The stream then ends with what has come so far."""
        self._stream.cancel()

    async def aclose(self) -> None:
        """Tell the server to stop if it is still at work, and forget the stream."""
        await self._run(self._stream.leave())

    async def wait_for_result(self) -> ResultT:
        """Read to the end, and return everything put together."""
        return await self._run(self._stream.run())

    def result(self) -> ResultT:
        """Everything put together, once the stream has ended.

        Raises:
            LMStudioRuntimeError: it has not ended yet.
            LMStudioError: what it failed with.
        """
        return self._stream.result()  # sync: return self._run(self._stream.run())

    def _leave(self) -> None:
        self._stream.abandon()
