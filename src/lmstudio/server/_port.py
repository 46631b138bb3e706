"""The server's side of a connection without any I/O: routing, validation, channels and calls.

The counterpart of `json_api.Multiplexer`. Messages come in through `ServerPort.receive`, handlers run where the given
`spawn` starts them, and finished frames leave through the given `send`. Nothing here waits or knows sockets, so a
client's multiplexer and a ServerPort wired back to back are a complete conversation.

Everything belongs to one event loop's thread.
"""

from __future__ import annotations

import difflib
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

import msgspec

from lmstudio import _wire
from lmstudio.logs import fields, get_logger
from lmstudio.server._known_endpoints import KNOWN_ENDPOINTS, EndpointKind
from lmstudio.server.errors import RequestError, as_request_error

if TYPE_CHECKING:
    from lmstudio._endpoints import ChannelSpec, Rpc

P = TypeVar("P")
R = TypeVar("R")
InT = TypeVar("InT")
OutT = TypeVar("OutT")

_logger = get_logger("server")

MAX_WARNINGS = 5
"""Communication warnings per connection, as lmstudio.js has it."""
MAX_OPEN = 10_000
"""Calls and channels of one connection that are open at the same time."""
MAX_EARLY_PACKETS = 1000
"""Packets of one channel that wait for its handler."""
_REMEMBERED_CHANNELS = 1024
_LONGEST_NAME = 100
_NOUNS: dict[EndpointKind, str] = {"rpc": "an rpc", "channel": "a channel"}

# msgspec raises more than its own errors: for text that is not valid Unicode, and for JSON that is nested too deeply.
_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


class ClientLifetime:
    """The time from a client's first connection to the end of its last one."""

    def __init__(self) -> None:
        self._actions: list[Callable[[], object]] = []
        self.connections: dict[object, Callable[[], object]] = {}
        """What ends each connection of the client, by anything that stands for it."""

    def at_end(self, action: Callable[[], object]) -> None:
        """Call *action* when the client is gone."""
        self._actions.append(action)

    def end(self) -> None:
        """The client is gone."""
        while self._actions:
            self._actions.pop()()

    def hang_up(self) -> None:
        """End all connections of the client."""
        for end in tuple(self.connections.values()):
            end()


@dataclass(frozen=True)
class ClientContext:
    """Who asks."""

    client_identifier: str
    """The same on all connections of one client."""
    is_privileged: bool = False
    """The client has proved that it is known to this server, with one of its API tokens."""
    lifetime: ClientLifetime = field(default_factory=ClientLifetime, compare=False)
    """The same on all connections of one client, too."""
    base_url: str | None = None
    """Where the client has found this server, e.g. "ws://127.0.0.1:1234"; None if that is not known."""


class ServerChannel(Generic[InT, OutT]):
    """One open channel, as its handler sees it."""

    def __init__(self, port: ServerPort, channel_id: int, spec: ChannelSpec[Any, InT, OutT]) -> None:
        self._port = port
        self.id = channel_id
        self.spec = spec
        self._callback: Callable[[OutT], None] | None = None
        self._on_invalid: Callable[[bytes, Exception], None] | None = None
        self._early: list[OutT] = []
        self.is_open = True
        """The client can still be reached, and the handler has not ended."""

    def send(self, packet: InT) -> None:
        """Queue *packet* for the client. Never waits; does nothing once the channel is over."""
        if self.is_open:
            # Encoded in one go: the envelope takes the packet as it is, whatever its annotation says.
            self._port.emit_frame(_wire.encode(_wire.ChannelSend(self.id, cast("msgspec.Raw", packet))))

    def listen(
        self, callback: Callable[[OutT], None], on_invalid: Callable[[bytes, Exception], None] | None = None
    ) -> None:
        """Call *callback* with every packet of the client, beginning with those that came already.

        *on_invalid* hears of packets that do not have the form of any, and why: for those whose sender will not try
        again while somebody waits.
        """
        self._callback = callback
        self._on_invalid = on_invalid
        early, self._early = self._early, []
        for packet in early:
            callback(packet)

    def deliver_invalid(self, packet: bytes, problem: Exception) -> None:
        """A packet has come that is none. Called by the port, which has told the client."""
        if self._on_invalid is not None:
            self._on_invalid(packet, problem)

    async def drain(self) -> None:
        """Wait while the client is too slow for what was sent. Await it after every packet of a long stream."""
        await self._port.drain()

    def deliver(self, packet: OutT) -> None:
        """A packet has come. Called by the port."""
        if self._callback is not None:
            self._callback(packet)
        elif len(self._early) < MAX_EARLY_PACKETS:
            self._early.append(packet)


RpcHandler: TypeAlias = Callable[[ClientContext, P], Awaitable[R]]
ChannelHandler: TypeAlias = Callable[[ClientContext, P, ServerChannel[InT, OutT]], Awaitable[None]]


class Handlers:
    """What a server does in one namespace."""

    def __init__(self) -> None:
        self.rpcs: dict[str, tuple[Rpc[Any, Any], RpcHandler[Any, Any]]] = {}
        self.channels: dict[str, tuple[ChannelSpec[Any, Any, Any], ChannelHandler[Any, Any, Any]]] = {}

    def rpc(self, spec: Rpc[P, R], handler: RpcHandler[P, R]) -> None:
        """Answer *spec* with the result of *handler*; what it raises becomes an rpcError."""
        self._refuse_second(spec.name)
        self.rpcs[spec.name] = (spec, handler)

    def channel(self, spec: ChannelSpec[P, InT, OutT], handler: ChannelHandler[P, InT, OutT]) -> None:
        """Serve *spec* with *handler*: the channel closes when it returns; what it raises becomes a channelError."""
        self._refuse_second(spec.name)
        self.channels[spec.name] = (spec, handler)

    def _refuse_second(self, name: str) -> None:
        if name in self.rpcs or name in self.channels:
            raise ValueError(f"The endpoint {name!r} has a handler already.")


class Cancellable(Protocol):
    """A started handler; an asyncio.Task is one."""

    def cancel(self) -> object:
        """Make the handler raise at its next wait."""


Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], Cancellable]


async def _never_congested() -> None:
    return


class ServerPort:
    """One connection of one client to one namespace.

    *send* takes finished frames in order and never waits. *drain* waits while too many of them are queued.
    """

    def __init__(
        self,
        namespace: str,
        handlers: Handlers,
        context: ClientContext,
        spawn: Spawn,
        send: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]] = _never_congested,
    ) -> None:
        self.namespace = namespace
        self.drain = drain
        self._handlers = handlers
        self._context = context
        self._spawn = spawn
        self._send = send
        self._channels: dict[int, ServerChannel[Any, Any]] = {}
        self._ended_channels: deque[int] = deque(maxlen=_REMEMBERED_CHANNELS)
        self._running: dict[int, Cancellable | None] = {}
        self._keys = itertools.count()
        self._warnings_left = MAX_WARNINGS
        self._is_closed = False

    def receive(self, message: bytes | str) -> None:
        """Act on one message of the client. Never raises for what a client may send."""
        try:
            incoming = _wire.decode_client_message(message)
        except _DECODE_ERRORS as error:
            # Also messages of kinds that need no answer: those of signals, which were refused when subscribed to.
            # The message itself is not for the log: it may be an authentication packet that comes a second time.
            known = fields(namespace=self.namespace, size_bytes=len(message))
            _logger.debug(
                "Ignored a message of %d characters in %s: %s", len(message), self.namespace, error, extra=known
            )
            return
        match incoming:
            case _wire.RpcCall():
                self._call(incoming)
            case _wire.ChannelSend():
                self._deliver(incoming)
            case _wire.ChannelCreate():
                self._create(incoming)
            case _wire.KeepAlive():
                self._emit(_wire.KeepAliveAck())
            case _wire.SignalSubscribe(endpoint=name, subscribe_id=id):
                self._emit(_wire.SignalError(id, _encoded(self._no_signal(name))))
            case _wire.WritableSignalSubscribe(endpoint=name, subscribe_id=id):
                self._emit(_wire.WritableSignalError(id, _encoded(self._no_signal(name))))
            case _wire.CommunicationWarning(warning=text):
                known = fields(namespace=self.namespace)
                _logger.debug("A client could not make sense of a message in %s: %s", self.namespace, text, extra=known)
            case _wire.ChannelAck():
                pass  # vestigial

    def close(self) -> None:
        """The connection is gone: cancel all handlers, send nothing more."""
        self._is_closed = True
        for channel in self._channels.values():
            channel.is_open = False
        self._channels.clear()
        running, self._running = self._running, {}
        for handle in running.values():
            if handle is not None:
                handle.cancel()

    def emit_frame(self, frame: bytes) -> None:
        """Send a finished frame, unless the connection is gone. For `ServerChannel`."""
        if not self._is_closed:
            self._send(frame)

    def _emit(self, message: _wire.ServerMessage) -> None:
        if not self._is_closed:
            self._send(_wire.encode(message))

    def _warn(self, kind: str, text: str) -> None:
        if self._warnings_left > 0:
            self._warnings_left -= 1
            self._emit(_wire.CommunicationWarning(text, kind))

    # Calls -----------------------------------------------------------------------------------------------------------

    def _call(self, call: _wire.RpcCall) -> None:
        try:
            self._require_room()
            spec, handler = self._handlers.rpcs.get(call.endpoint) or self._refuse("rpc", call.endpoint)
            parameter = self._parameter(spec, call.parameter)
        except RequestError as error:
            self._emit(_wire.RpcError(call.call_id, _encoded(error)))
            return
        self._start(
            lambda key: self._run_call(key, call.call_id, spec.name, partial(handler, self._context, parameter))
        )

    async def _run_call(self, key: int, call_id: int, endpoint: str, work: Callable[[], Awaitable[Any]]) -> None:
        try:
            result = await work()
            # As in ServerChannel.send. A void result is left out of the message.
            self.emit_frame(
                _wire.encode(_wire.RpcResult(call_id) if result is None else _wire.RpcResult(call_id, result))
            )
        except BaseException as error:
            self._emit(_wire.RpcError(call_id, self._failure(endpoint, error)))
            if not isinstance(error, Exception):
                raise
        finally:
            self._running.pop(key, None)

    # Channels --------------------------------------------------------------------------------------------------------

    def _create(self, create: _wire.ChannelCreate) -> None:
        channel_id = create.channel_id
        if channel_id in self._channels:
            self._warn("channelAlreadyOpen", f"Channel {channel_id} is open already; opening it again was ignored.")
            return
        try:
            self._require_room()
            spec, handler = self._handlers.channels.get(create.endpoint) or self._refuse("channel", create.endpoint)
            parameter = self._parameter(spec, create.creation_parameter)
        except RequestError as error:
            self._ended_channels.append(channel_id)
            self._emit(_wire.ChannelError(channel_id, _encoded(error)))
            return
        channel = self._channels[channel_id] = ServerChannel(self, channel_id, spec)
        self._start(lambda key: self._run_channel(key, channel, partial(handler, self._context, parameter, channel)))

    async def _run_channel(
        self, key: int, channel: ServerChannel[Any, Any], work: Callable[[], Awaitable[None]]
    ) -> None:
        last: _wire.ServerMessage = _wire.ChannelClose(channel.id)
        try:
            await work()
        except BaseException as error:
            last = _wire.ChannelError(channel.id, self._failure(channel.spec.name, error))
            if not isinstance(error, Exception):
                raise
        finally:
            self._running.pop(key, None)
            self._channels.pop(channel.id, None)
            self._ended_channels.append(channel.id)
            channel.is_open = False
            self._emit(last)

    def _deliver(self, incoming: _wire.ChannelSend) -> None:
        channel = self._channels.get(incoming.channel_id)
        if channel is None:
            # One that has ended is no mistake of the client: its packet and the end have crossed.
            if incoming.channel_id not in self._ended_channels:
                self._warn("channelUnknown", f"Channel {incoming.channel_id} is not open.")
            return
        spec = channel.spec
        raw = incoming.message or b"null"
        try:
            deliver = partial(channel.deliver, spec.decode_to_server(raw))
        except _DECODE_ERRORS as error:
            self._warn(
                "channelMessageTypeError",
                f"Ignored a packet for {self.namespace}/{spec.name}, which does not have the expected form: {error}",
            )
            deliver = partial(channel.deliver_invalid, bytes(raw), error)
        try:
            deliver()
        except Exception:
            known = fields(namespace=self.namespace, endpoint=spec.name)
            _logger.exception("Unexpected error in the listener of %s/%s", self.namespace, spec.name, extra=known)

    # Both ------------------------------------------------------------------------------------------------------------

    def _require_room(self) -> None:
        if len(self._running) >= MAX_OPEN:
            raise RequestError(
                f"This connection has {MAX_OPEN} calls and channels open already, which is the limit",
                suggestion="Wait for some of them to end before you start more.",
            )

    def _start(self, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        key = next(self._keys)
        self._running[key] = None
        handle = self._spawn(work(key))
        if key in self._running:  # a handler that did not have to wait may have ended already
            self._running[key] = handle

    def _failure(self, endpoint: str, error: BaseException) -> msgspec.Raw:
        if self._is_closed:
            return _wire.ABSENT  # nobody to tell
        return _encoded(as_request_error(error, f"{self.namespace}/{endpoint}"))

    def _parameter(self, spec: Rpc[Any, Any] | ChannelSpec[Any, Any, Any], raw: msgspec.Raw) -> Any:
        try:
            return spec.decode_parameter(raw or b"null")
        except _DECODE_ERRORS as error:
            title = f"Invalid parameter for {self.namespace}/{spec.name}: {error}"
            suggestion = "Send what the interface of LM Studio's protocol declares for this endpoint."
            raise RequestError(title, suggestion=suggestion) from None

    def _refuse(self, kind: EndpointKind, name: str) -> Any:
        """Raise for an endpoint without a handler."""
        name = name[:_LONGEST_NAME]  # looking for similar ones takes time and memory by its length
        endpoints = KNOWN_ENDPOINTS.get(self.namespace, {})
        other: EndpointKind = "channel" if kind == "rpc" else "rpc"
        if name in endpoints.get(kind, ()):
            raise RequestError(
                f"This server does not serve the {kind} endpoint {name!r} of the namespace {self.namespace!r}",
                suggestion="Only the LM Studio application serves it.",
            )
        if name in endpoints.get(other, ()):
            raise RequestError(
                f"The endpoint {name!r} of the namespace {self.namespace!r} is {_NOUNS[other]}, not {_NOUNS[kind]}"
            )
        similar = difflib.get_close_matches(name, endpoints.get(kind, ()), n=1)
        raise RequestError(
            f"The namespace {self.namespace!r} has no {kind} endpoint {name!r}",
            suggestion=f"Did you mean {similar[0]!r}?" if similar else None,
        )

    def _no_signal(self, name: str) -> RequestError:
        return RequestError(f"The namespace {self.namespace!r} has no signal {name[:_LONGEST_NAME]!r}")


def _encoded(error: RequestError) -> msgspec.Raw:
    return msgspec.Raw(_wire.encode(error.to_wire()))
