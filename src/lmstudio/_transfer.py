"""Move frames between a multiplexer and an open connection, until it ends.

Reading and writing go straight to the socket where that is possible (see `_own_socket`); the streams that httpx puts on
top of it cost several turns of the event loop and two cancel scopes for each message. TLS connections and platforms
without that possibility use the stream, with the same behaviour.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import msgspec

from ._frames import FrameError, FrameReader, encode_close, encode_ping, encode_text, encode_text_parts
from .errors import LMStudioError, LMStudioWebsocketError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from httpcore import AsyncNetworkStream

    from ._wire import Outgoing
    from .json_api import Multiplexer

KEEPALIVE_SECONDS = 20.0
"""A lost connection is noticed within this time: after half of it without a sign of life a ping leaves, after the whole
the connection is given up."""
CLOSE_SECONDS = 1.0
"""For saying goodbye, however unresponsive the peer is."""
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""Larger messages end the connection instead of filling the memory."""

# asyncio allocates the full size for every read, so large reads are asked for only while they come back full.
_READ_BYTES = 64 * 1024
_MAX_READ_BYTES = 1024 * 1024
_WRITE_BYTES = 64 * 1024
_LARGE_BYTES = 16 * 1024
# A fast server takes a long message as fast as it is masked. After so much (about a millisecond) others get their turn.
_SEND_BUFFER_BYTES = 1 << 19
_TURN_BYTES = 512 * 1024
# Silence is counted in so many naps, each for no more than its intended length: see _keep_alive.
_NAPS = 8
# A large write to a stream that took so long has waited for the peer to take what came before.
_WAITED_SECONDS = 0.01


class LoopHooks(msgspec.Struct, frozen=True):
    """What we need of an event loop beyond anyio. There is one for asyncio and one for trio."""

    spawn: Callable[[Coroutine[Any, Any, None]], object]
    """Start a task that is nobody's child."""
    defer: Callable[[Callable[[], None]], object]
    """Call something in the next turn of the loop."""
    post: Callable[[Callable[[], None]], None]
    """Call something in the loop: at once from there, soon from other threads, never after its end."""
    watch: Callable[[socket.socket, Callable[[], None]], Callable[[], object]]
    """Call something whenever a socket has data, until what is returned is called."""
    is_running: Callable[[], bool]
    """Whether it would do now what is posted."""
    is_over: Callable[[], bool]
    """Whether it has ended for good, so that nothing is left to be done in it."""


class LinkDownError(Exception):
    """Ends the tasks of a connection; carries what the callers will see."""

    def __init__(self, error: LMStudioError, *, is_transient: bool = False) -> None:
        self.error = error
        self.is_transient = is_transient
        """Another attempt to connect may succeed."""


class FrameTransfer:
    """The frames of one open connection.

    *lose* is called with the reason as soon as the connection is known to be lost: no call may go out on it any more.
    """

    def __init__(
        self,
        stream: AsyncNetworkStream,
        multiplexer: Multiplexer,
        hooks: LoopHooks,
        lose: Callable[[LMStudioError], None],
        note: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self._stream = stream
        self._multiplexer = multiplexer
        self._hooks = hooks
        self._lose = lose
        self._note = note
        """For the log."""
        self.read_pending: Callable[[], None] = _nothing
        """Read what has arrived already, without waiting for the loop to come to it."""
        self._reader = FrameReader(max_message_size=MAX_MESSAGE_BYTES)
        self._read_bytes = _READ_BYTES
        self._last_sign = time.monotonic()
        """When the peer has last shown that it is there."""
        self._down: LinkDownError | None = None
        """How the connection ended, after the messages that were read last."""
        self._socket: socket.socket | None = None
        self._wakeup = anyio.Event()
        # Written before the messages of the multiplexer: the rest of a frame, then pings, pongs and close frames.
        self._unsent: Iterable[bytes | bytearray] = ()
        self._control = bytearray()
        self._is_writing = False
        self._wrote_this_turn = False
        self._put_this_turn = 0

    # Both directions -------------------------------------------------------------------------------------------------

    async def run(self, last_messages: Callable[[], list[Outgoing]]) -> None:
        """Move frames until the connection is lost (LinkDownError) or this is cancelled.

        When cancelled, *last_messages* and what is queued are still sent, then the connection is closed in order.
        """
        down: list[LMStudioError] = []

        async def guard(work: Callable[[], Awaitable[None]]) -> None:
            # Errors stay out of the task group, which would wrap them in an exception group.
            try:
                await work()
            except LinkDownError as error:
                down.append(error.error)
                self._lose(error.error)
                tasks.cancel_scope.cancel()

        self._socket = _own_socket(self._stream)
        self._multiplexer.on_outgoing = self._outgoing_ready
        self._wakeup.set()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(guard, self._write_loop)
                tasks.start_soon(guard, self._keep_alive)
                await guard(self._read_loop if self._socket is None else self._read_by_callback)
        finally:
            self._multiplexer.on_outgoing = None
            if not down:
                # Control frames overtake messages, and after a close frame nothing counts: so it is written by itself.
                await self._write_last(last_messages() + self._multiplexer.take_outgoing())
                self._note("Closing")
                self._control += encode_close(1000)
                await self._write_last([])
            elif self._control:
                await self._write_last([])  # completes the closing handshake
            if self._socket is not None:
                self._socket.close()
        raise LinkDownError(down[0])

    async def _keep_alive(self) -> None:
        """Give up when nothing has come for KEEPALIVE_SECONDS, a ping after half of them notwithstanding.

        Only time in which this process could have read counts. One that was stopped, a computer that slept, or a loop
        that was held up wakes late from a nap, and reads what has come meanwhile in the naps that follow.
        """
        seen, silence, has_asked = self._last_sign, 0.0, False
        while True:
            nap = min(KEEPALIVE_SECONDS / _NAPS, KEEPALIVE_SECONDS / (1 if has_asked else 2) - silence)
            self._multiplexer.tick_seconds = nap
            await anyio.sleep(nap)
            self._multiplexer.tick()
            if self._last_sign != seen:
                if has_asked:
                    self._note("The ping was answered")
                seen, has_asked = self._last_sign, False
                silence = min(time.monotonic() - seen, nap)
            else:
                silence += nap
            if silence >= KEEPALIVE_SECONDS:
                raise LinkDownError(lost(f"no sign of life for {silence:.0f} seconds"))
            if not has_asked and silence >= KEEPALIVE_SECONDS / 2:
                has_asked = True
                self._note("Sent a ping")
                self._control += encode_ping(b"")
                self._wakeup.set()

    # Reading ---------------------------------------------------------------------------------------------------------

    async def read_messages(self) -> list[bytes]:
        """What the next read brings. Raises LinkDownError at the end of the connection."""
        if self._down is not None:
            raise self._down
        try:
            data = await self._stream.read(self._read_bytes)
        except Exception as error:  # httpcore and anyio each have several of their own
            raise LinkDownError(lost(describe(error), error)) from None
        return self._take(data)

    async def _read_loop(self) -> None:
        receive = self._multiplexer.receive
        while True:
            receive(await self.read_messages())

    async def _read_by_callback(self) -> None:
        assert self._socket is not None
        own, receive = self._socket, self._multiplexer.receive
        ended = anyio.Event()

        def readable() -> None:
            try:
                receive(self._take(own.recv(self._read_bytes)))
            except BlockingIOError:
                pass
            except Exception as error:  # nobody else would see it, and the callers would wait for ever
                self._down = LinkDownError(lost(describe(error), error))
            if self._down is not None:
                self._lose(self._down.error)
                stop()
                ended.set()

        if self._down is not None:
            raise self._down
        stop = self._hooks.watch(own, readable)
        self.read_pending = readable
        try:
            await ended.wait()
        finally:
            self.read_pending = _nothing
            stop()
        if self._down is not None:
            raise self._down

    def _take(self, data: bytes) -> list[bytes]:
        """The messages that *data* completes. Sets `_down` where the connection ends after them."""
        if not data:
            self._down = LinkDownError(lost("the server closed it"))
            return []
        self._last_sign = time.monotonic()
        if len(data) >= self._read_bytes:
            self._read_bytes = min(2 * self._read_bytes, _MAX_READ_BYTES)
        elif len(data) < _READ_BYTES // 4:
            self._read_bytes = _READ_BYTES
        reader = self._reader
        try:
            messages = reader.feed(data)
        except FrameError as error:
            self._control += reader.take_replies() + encode_close(error.close_code, str(error))
            self._down = LinkDownError(lost(str(error), error))
            return error.messages
        if replies := reader.take_replies():
            self._note("Answered a close frame" if reader.close is not None else "Answered a ping")
            self._control += replies
            self._wakeup.set()
        if reader.close is not None:
            reason = f", {reader.close.reason}" if reader.close.reason else ""
            closed = lost(f"the server closed it (code {reader.close.code}{reason})")
            self._down = LinkDownError(closed.with_context(close_code=reader.close.code))
        return messages

    # Writing ---------------------------------------------------------------------------------------------------------

    async def write_message(self, message: bytes) -> None:
        """Write one message; used before `run`."""
        await self._write([message])

    def _outgoing_ready(self) -> None:
        """A message was queued. The first one of a loop turn leaves at once if the socket takes it.

        That saves a single call the turn in which the writer wakes up; what follows in the same turn leaves together.
        """
        if self._socket is None or self._is_writing or self._wrote_this_turn or self._wakeup.is_set():
            self._wakeup.set()
            return
        self._wrote_this_turn = True
        self._hooks.defer(self._end_turn)
        # Usually one. A stream that is garbage, and is collected in here, adds its cancel packet.
        message, *others = self._multiplexer.take_outgoing()
        blocks = iter(_blocks(message))
        frame = next(blocks)
        try:
            sent = self._socket.send(frame)
        except OSError:
            sent = 0  # full, or broken: the writer waits, or finds out
        is_whole = sent == len(frame) and isinstance(message, bytes) and sent > len(message)
        if not is_whole or others:
            self._unsent = itertools.chain((frame[sent:],), blocks, *map(_blocks, others))
            self._wakeup.set()

    def _end_turn(self) -> None:
        self._wrote_this_turn = False

    async def _write_loop(self) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup = anyio.Event()
            await self._write(self._multiplexer.take_outgoing())

    async def _write(self, messages: list[Outgoing]) -> None:
        """Write what is unsent, control frames and *messages*: small ones together, a large one block by block."""
        self._put_this_turn = 0
        self._is_writing = True  # and stays so when this is cancelled: then the last frame may be cut
        unsent, self._unsent = self._unsent, ()
        control, self._control = bytes(self._control), bytearray()
        buffer = bytearray()
        try:
            for block in itertools.chain(unsent, (control,), *map(_blocks, messages)):
                if not buffer and len(block) >= _LARGE_BYTES:
                    await self._put(block)  # not worth a copy
                    self._multiplexer.sent_at = time.monotonic()
                    continue
                buffer += block
                if len(buffer) >= _WRITE_BYTES:
                    await self._put(buffer)
                    buffer = bytearray()
            if buffer:
                await self._put(buffer)
        except Exception as error:
            raise LinkDownError(lost(describe(error), error)) from None
        self._is_writing = False

    async def _put(self, data: bytes | bytearray) -> None:
        if self._socket is None:
            began = time.monotonic()
            await self._stream.write(bytes(data))
            if len(data) >= _LARGE_BYTES and time.monotonic() - began >= _WAITED_SECONDS:
                self._last_sign = time.monotonic()
            return
        rest = memoryview(data)
        while True:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
            if not rest:
                break
            await anyio.wait_writable(self._socket)
            # The buffer was full, and the peer has made room: a long message may take longer than a ping may wait.
            self._last_sign = time.monotonic()
        self._put_this_turn += len(data)
        if self._put_this_turn >= _TURN_BYTES:
            self._put_this_turn = 0
            await anyio.lowlevel.checkpoint()

    async def _write_last(self, messages: list[Outgoing]) -> None:
        """Write to a peer that may be gone, within a deadline. Not in the middle of a frame: it would be part of it."""
        if not self._is_writing:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True), contextlib.suppress(LinkDownError):
                await self._write(messages)


def _own_socket(stream: AsyncNetworkStream) -> socket.socket | None:
    """A second handle of the connection's socket, with a life of its own; None where that is not possible.

    From here on everything is read and written through it, so nothing can overtake anything. Before, the server says
    nothing that it was not asked for, so nothing is left in the buffers of the stream.
    """
    if os.name != "posix" or stream.get_extra_info("ssl_object") is not None:
        return None
    own = socket.socket(fileno=os.dup(stream.get_extra_info("socket").fileno()))
    own.setblocking(False)
    # Left alone, the kernel lets it grow to megabytes, which costs a long message a sixth of its time.
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return own


def _blocks(message: Outgoing) -> Iterable[bytes | bytearray]:
    if not isinstance(message, bytes):
        return encode_text_parts(message.parts, message.size_bytes)
    encoded = encode_text(message)
    return (encoded,) if isinstance(encoded, bytes) else encoded


def _nothing() -> None:
    pass


def describe(error: BaseException) -> str:
    """What an exception says, or else one beneath it; its name if none says anything."""
    beneath: BaseException | None = error
    while beneath is not None and not str(beneath):
        beneath = beneath.__cause__ or beneath.__context__
    return type(error).__name__ if beneath is None else str(beneath)


def lost(reason: str, cause: BaseException | None = None) -> LMStudioWebsocketError:
    """The error for a connection that was open and is not any more."""
    error = LMStudioWebsocketError(f"The connection to LM Studio was lost: {reason.removesuffix('.')}.")
    error.__cause__ = cause
    return error
