"""Predictions in flight, as the asynchronous surface gives them to its users."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lmstudio._async_io import AsyncBase
from lmstudio._ops.fragment_log import FragmentCursor
from lmstudio._sdk_models import LlmPredictionFragment
from lmstudio._surface.base import LeftWhenForgotten
from lmstudio.results import GeneratedReply, GeneratorPredictionResult, ParsedT, PredictionResult

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio._http_models.openai import ChatCompletionChunk, ChatCompletionResponse
    from lmstudio._ops.generators import GeneratorPrediction
    from lmstudio._ops.openai_chat import ChatInFlight
    from lmstudio._ops.prediction import Prediction, PredictionInFlight
    from lmstudio._sdk_models import LlmInstanceInfo, LlmPredictionStats
    from lmstudio.contract import ChatStreamEvent
    from lmstudio.events import PredictionEvent

__all__ = ["AsyncChatCompletionStream", "AsyncGeneratorPredictionStream", "AsyncPredictionStream"]

T = TypeVar("T")
ReplyT = TypeVar("ReplyT", bound=GeneratedReply)


class _AsyncIteration(LeftWhenForgotten, Generic[T]):
    """One loop over a stream. Leaving it early, for example by `break`, cancels the prediction at once."""

    # No generator: the event loop would finalise it, later, and trio warns of those left early.  # sync: skip

    def __init__(self, stream: _AsyncReplyStream[Any] | AsyncChatCompletionStream) -> None:
        self._stream = stream  # which cancels when nobody holds it any more
        self._is_left = False

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> T: ...

    async def aclose(self) -> None:
        """Leave it."""
        self._is_left = True
        self._leave()

    def _leave(self) -> None:
        self._stream._prediction.cancel()


class _AsyncFragments(_AsyncIteration[LlmPredictionFragment]):
    _stream: _AsyncReplyStream[Any]

    def __init__(self, stream: _AsyncReplyStream[Any]) -> None:
        super().__init__(stream)
        self._cursor = FragmentCursor(stream._prediction)

    async def __anext__(self) -> LlmPredictionFragment:
        if self._is_left:
            raise StopAsyncIteration
        cursor = self._cursor
        fragment = cursor.replay()
        if fragment is None:
            fragment = await self._stream._step(self._stream._prediction.next_fragment())
            if fragment is None or not cursor.advance():
                # Others have read on meanwhile, perhaps to the end.
                fragment = cursor.replay()
                if fragment is None:
                    raise StopAsyncIteration
        return fragment


class _AsyncEvents(_AsyncIteration["PredictionEvent"]):
    _stream: AsyncPredictionStream[Any]

    async def __anext__(self) -> PredictionEvent:
        event = None if self._is_left else await self._stream._step(self._stream._prediction.next_event())
        if event is None:
            raise StopAsyncIteration
        return event


class _AsyncReplyStream(AsyncBase, LeftWhenForgotten, Generic[ReplyT]):
    """The fragments of one reply, as they arrive."""

    def __init__(self, prediction: PredictionInFlight[ReplyT]) -> None:
        self._prediction = prediction

    async def start(self) -> None:
        """Send the request. Entering the `with` block or iterating does it, too."""
        self._prediction.start()

    async def cancel(self) -> None:
        """Ask the server to stop. The stream then ends with the text so far, and `userStopped` as stop reason."""
        self._prediction.cancel()

    async def aclose(self) -> None:
        """Stop the prediction if it is still running, and forget it."""
        self._prediction.abandon()

    async def __aenter__(self) -> Self:
        if not self._prediction.is_started:
            self._prediction.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._prediction.abandon(exc)

    def __await__(self) -> Generator[Any, None, Self]:  # sync: skip
        # `await model.respond_stream(...)` is how the official package spells it; nothing has to be waited for.
        yield from ()
        return self

    if not TYPE_CHECKING:  # sync: skip

        def __iter__(self):
            # Only for its message: without it, Python says that the stream is not iterable.
            raise TypeError("The fragments of an asynchronous stream are read by `async for`, not by `for`.")

    def __aiter__(self) -> _AsyncIteration[LlmPredictionFragment]:
        return _AsyncFragments(self)

    def _leave(self) -> None:
        self._prediction.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prediction.state}>"

    async def wait_for_result(self) -> ReplyT:
        """Wait until the prediction is complete and return its result."""
        return await self._run(self._prediction.run())

    def result(self) -> ReplyT:
        """The result of a complete prediction.

        Raises:
            LMStudioRuntimeError: the prediction is not complete yet.
            LMStudioError: what the prediction failed with.
        """
        return self._prediction.result()  # sync: return self._run(self._prediction.result_or_run())


class AsyncPredictionStream(_AsyncReplyStream[PredictionResult[ParsedT]], Generic[ParsedT]):
    """The fragments of one prediction, as they arrive.

    ::

        async with model.respond_stream("Tell me a story.") as stream:
            async for fragment in stream:
                print(fragment.content, end="", flush=True)
            print(stream.result().stats)

    Leaving the `with` block or the loop early tells the server to stop, at once. Iterating again begins with the first
    fragment again. Several tasks may do so at the same time.

    The server does not wait for its readers: what nobody reads stays in memory, at most the whole reply, which
    `maxTokens` limits. Other calls of the client are not held up.
    """

    def __init__(self, prediction: Prediction[ParsedT]) -> None:
        super().__init__(prediction)

    def events(self) -> _AsyncIteration[PredictionEvent]:
        """Everything that happens, one event at a time: see `lmstudio.events`.

        ::

            async for event in stream.events():
                if event.kind == "text":
                    print(event.content, end="", flush=True)
                elif event.kind == "tool_call":
                    print(event.tool_call_request)

        Unlike fragments, events are not repeated: one loop gets each of them.
        """
        return _AsyncEvents(self)

    @property
    def stats(self) -> LlmPredictionStats | None:
        """The statistics; None until the prediction is complete."""
        result = self._prediction.result_or_none
        return None if result is None else result.stats

    @property
    def model_info(self) -> LlmInstanceInfo | None:
        """The instance that predicted; None until the prediction is complete."""
        result = self._prediction.result_or_none
        return None if result is None else result.model_info


class AsyncGeneratorPredictionStream(_AsyncReplyStream[GeneratorPredictionResult]):
    """The fragments of one reply of a generator, as they arrive; used as `AsyncPredictionStream`."""

    def __init__(self, prediction: GeneratorPrediction) -> None:
        super().__init__(prediction)


class _AsyncChunks(_AsyncIteration["ChatCompletionChunk"]):
    _stream: AsyncChatCompletionStream

    async def __anext__(self) -> ChatCompletionChunk:
        chunk = None if self._is_left else await self._stream._step(self._stream._prediction.next_chunk())
        if chunk is None:
            raise StopAsyncIteration
        return chunk


class _AsyncChatEvents(_AsyncIteration["ChatStreamEvent"]):
    _stream: AsyncChatCompletionStream

    async def __anext__(self) -> ChatStreamEvent:
        event = None if self._is_left else await self._stream._step(self._stream._prediction.next_event())
        if event is None:
            raise StopAsyncIteration
        return event


class AsyncChatCompletionStream(AsyncBase, LeftWhenForgotten):
    """The chunks of a chat completion, as they arrive: an `AsyncChatStream` of `lmstudio.contract`.

    ::

        async with client.stream_chat_completion("Tell me a story.") as stream:
            async for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
            print(stream.result().usage)

    Leaving the `with` block or the loop early tells the server to stop, at once. Each chunk is given once.
    """

    def __init__(self, chat: ChatInFlight) -> None:
        self._prediction = chat

    async def start(self) -> None:
        """Send the request. Entering the `with` block or iterating does it, too."""
        await self._run(self._prediction.start())

    async def cancel(self) -> None:
        """Ask the server to stop. The stream then ends with the text so far; a load is given up with an error."""
        self._prediction.cancel()

    async def aclose(self) -> None:
        """Stop if it is still running, and forget it."""
        self._prediction.abandon()

    async def __aenter__(self) -> Self:
        if not self._prediction.is_started:
            await self._run(self._prediction.start())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._prediction.abandon(exc)

    def __aiter__(self) -> _AsyncIteration[ChatCompletionChunk]:
        return _AsyncChunks(self)

    def events(self) -> _AsyncIteration[ChatStreamEvent]:
        """A `Chunk` for each piece of text and `Completed` at the end, in place of chunks."""
        return _AsyncChatEvents(self)

    def _leave(self) -> None:
        self._prediction.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._prediction.state}>"

    async def wait_for_result(self) -> ChatCompletionResponse:
        """Wait until the chat is completed and return the whole reply."""
        return await self._run(self._prediction.run())

    def result(self) -> ChatCompletionResponse:
        """The whole reply to a chat that is completed.

        Raises:
            LMStudioRuntimeError: it is not completed yet.
            LMStudioError: what it failed with.
        """
        return self._prediction.result()  # sync: return self._run(self._prediction.result_or_run())
