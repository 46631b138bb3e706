"""One WebSocket connection: authentication, reading, writing, and handlers that end with it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio import _wire
from lmstudio._waiting import wait_within
from lmstudio.logs import fields, get_logger
from lmstudio.server._port import ClientContext, Handlers, ServerPort
from lmstudio.server.auth import (
    AUTHENTICATION_SECONDS,
    AuthenticationRefusedError,
    Authenticator,
    parse_auth_packet,
)

if TYPE_CHECKING:
    from lmstudio.server.websocket import DirectWebSocket

Message: TypeAlias = MutableMapping[str, Any]
"""Of ASGI."""
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_logger = get_logger("server")

HANDLER_END_SECONDS = 1.0
"""How long to wait for cancelled handlers before going on without them."""
HANG_UP_SECONDS = 0.5
"""How long a connection whose credentials were revoked has for its last words."""
_WRITE_BYTES = 256 * 1024
_UNSUPPORTED_DATA = 1003
_POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class ConnectionLimits:
    """What one client may cost."""

    max_message_bytes: int = 256 * 1024 * 1024
    """Larger messages end the connection. Images travel as base64, 4/3 of their size."""
    authentication_seconds: float = AUTHENTICATION_SECONDS
    request_seconds: float = 10.0
    """For an HTTP request to arrive, also one that opens a WebSocket; a long body has as much for every 64 KiB."""
    max_strangers: int = 512
    """With more connections that have not authenticated yet, the oldest of them ends."""
    busy_bytes: int = 1024 * 1024
    """With more than this queued, streams of this client wait, and nothing more is read from it."""
    max_queued_bytes: int = 256 * 1024 * 1024
    """With more than this queued (results that could not wait), the connection ends."""
    stall_seconds: float = 60.0
    """A client with *busy_bytes* queued that takes nothing for so long is disconnected: it holds up a model."""


class Outbox:
    """Frames on their way to one client."""

    def __init__(self, namespace: str, limits: ConnectionLimits, websocket: DirectWebSocket) -> None:
        self._namespace = namespace
        self._limits = limits
        self._websocket = websocket
        self._frames: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sent_bytes = 0
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_open = True

    def put(self, frame: bytes) -> None:
        """Queue *frame*. Never waits; does nothing when the connection is gone or given up."""
        if not self._is_open:
            return
        self._frames.append(frame)
        self._queued_bytes += len(frame)
        self._filled.set()
        if self._queued_bytes > self._limits.busy_bytes:
            self._has_room.clear()
            if self._queued_bytes > self._limits.max_queued_bytes:
                self._end(f"more than {self._limits.max_queued_bytes} bytes wait for it to read")

    async def drain(self) -> None:
        """Return at once while the client keeps up, else when half of what waits is on its way."""
        while not self._has_room.is_set():
            progress = self._progress()
            try:
                await wait_within(self._has_room.wait(), self._limits.stall_seconds)
            except asyncio.TimeoutError:
                if self._progress() == progress:
                    self._end(f"it has read nothing for {self._limits.stall_seconds:g} s")

    def _progress(self) -> tuple[int, int]:
        return self._sent_bytes, self._websocket.unsent_bytes

    def _end(self, reason: str | None) -> None:
        self._is_open = False
        self._frames.clear()
        self._has_room.set()  # the reader must go on, to learn how the connection ended
        if reason is not None:
            known = fields(namespace=self._namespace)
            _logger.warning("Ended a connection to %s: %s", self._namespace, reason, extra=known)
            self._websocket.abort()

    async def write(self) -> None:
        """Move frames, those that wait together in one write, until the connection is gone."""
        with contextlib.suppress(OSError):
            while True:
                await self._filled.wait()
                await self._websocket.can_send()
                self._send_batch()
        self._end(None)

    def _send_batch(self) -> None:
        size = 0
        batch = []
        while self._frames and size < _WRITE_BYTES:
            batch.append(self._frames.popleft())
            size += len(batch[-1])
        self._websocket.send_now(batch)
        self._queued_bytes -= size
        self._sent_bytes += size
        if not self._frames:
            self._filled.clear()
        if self._queued_bytes <= self._limits.busy_bytes // 2:
            self._has_room.set()

    def flush(self) -> None:
        """Send all that waits, whether the client reads or not: the connection is about to be closed."""
        with contextlib.suppress(OSError):
            while self._frames:
                self._send_batch()


class Connection:
    """One client in one namespace."""

    def __init__(
        self,
        namespace: str,
        handlers: Handlers,
        authenticator: Authenticator,
        limits: ConnectionLimits,
        websocket: DirectWebSocket,
        base_url: str | None = None,
    ) -> None:
        self._namespace = namespace
        self._base_url = base_url
        self._handlers = handlers
        self._authenticator = authenticator
        self._limits = limits
        self._websocket = websocket
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve the connection, which is open, until it ends."""
        try:
            context = await wait_within(self._admit(receive), self._limits.authentication_seconds)
        except asyncio.TimeoutError:
            await self._refuse(send, "Authentication timed out")
        except AuthenticationRefusedError as refusal:
            await self._refuse(send, str(refusal))
        else:
            if context is not None:
                await self._serve(context, receive, send)

    async def _admit(self, receive: Receive) -> ClientContext | None:
        """Who the client is; None if it goes away before it says so."""
        while (message := await receive())["type"] != "websocket.disconnect":
            packet = parse_auth_packet(message.get("text") or "")
            if packet is not None:
                return self._authenticator.admit(packet)
            known = fields(namespace=self._namespace)
            _logger.debug("Ignored a first frame in %s that is no authentication packet", self._namespace, extra=known)
        return None

    async def _refuse(self, send: Send, reason: str) -> None:
        known = fields(namespace=self._namespace, peer=self._websocket.peer)
        # %r, because the reason may hold an identifier of the client's choice, line breaks and all.
        _logger.info("Refused a connection to %s: %r", self._namespace, reason, extra=known)
        with contextlib.suppress(OSError):
            await self._websocket.send_text([_wire.encode(_wire.AuthResult(success=False, error=reason))])
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "Authentication failed"})

    async def _serve(self, context: ClientContext, receive: Receive, send: Send) -> None:
        context = replace(context, base_url=self._base_url)
        context.lifetime.connections[self] = self._hang_up
        outbox = Outbox(self._namespace, self._limits, self._websocket)
        self._websocket.admit(outbox.flush)
        started = time.monotonic()
        peer = self._websocket.peer
        _logger.info("Connected to %s", self._namespace, extra=fields(namespace=self._namespace, peer=peer))
        outbox.put(_wire.encode(_wire.AuthResult(success=True)))
        port = ServerPort(self._namespace, self._handlers, context, self._spawn, outbox.put, outbox.drain)
        writer = self._spawn(outbox.write())
        try:
            was_binary = await self._read(port, outbox, receive)
        finally:
            port.close()
            writer.cancel()
            await self._end_tasks()
            del context.lifetime.connections[self]
            self._authenticator.release(context)
            known = fields(namespace=self._namespace, peer=peer, seconds=time.monotonic() - started)
            _logger.info("A connection to %s has ended", self._namespace, extra=known)
        if was_binary:
            reason = "Messages are JSON in text frames, this one is binary"
            with contextlib.suppress(OSError):
                await send({"type": "websocket.close", "code": _UNSUPPORTED_DATA, "reason": reason})

    async def _read(self, port: ServerPort, outbox: Outbox, receive: Receive) -> bool:
        """Pass messages on until the connection ends. True if it must be ended, because of a binary message."""
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            if text is None:
                return True
            port.receive(text)
            await outbox.drain()
        return False

    def _hang_up(self) -> None:
        # Not at once: channels that end with what the client was admitted for shall say so.
        asyncio.get_running_loop().call_later(HANG_UP_SECONDS, self._websocket.abort)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end_tasks(self) -> None:
        if self._tasks:
            _done, pending = await asyncio.wait(self._tasks, timeout=HANDLER_END_SECONDS)
            if pending:
                text = "%d handlers of %s go on although they were cancelled"
                _logger.warning(text, len(pending), self._namespace, extra=fields(namespace=self._namespace))
