"""The protocol without any I/O: ids, routing, channels and calls.

Nothing here waits, opens sockets or knows about threads. Operations wait through an `Inbox`; a `Runtime` supplies
inboxes and the place where the protocol state lives (see `_runtime`). One operation serves both surfaces: in the
synchronous one its waits block, so that it never suspends (see `run_blocking`).

Ownership: a `Multiplexer` belongs to the thread of one event loop. Everybody else reaches it through `Runtime.post`,
whose actions run there in order and never wait. That is why sending, cancelling and cleaning up need no `await`.
"""

from __future__ import annotations

import copy
import math
import warnings
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from . import _lenient, _wire, logs
from .errors import (
    LMStudioCancelledError,
    LMStudioChannelClosedError,
    LMStudioError,
    LMStudioTimeoutError,
    LMStudioUnknownMessageWarning,
    LMStudioWebsocketError,
    from_wire,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from typing_extensions import Self

    from ._endpoints import ChannelSpec
    from ._port import Port
    from ._runtime import Delivery, Outlet
    from ._shared_channel import SharedRequest
    from ._timeouts import CallLimits
    from .errors import ConnectionPhase

    # isort: split
    from . import (
        ActResult,
        AnyLoadConfig,
        AnyModelSpecifier,
        DownloadFinalizedCallback,
        DownloadProgressCallback,
        DownloadProgressUpdate,
        EmbeddingLoadModelConfig,
        EmbeddingLoadModelConfigDict,
        EmbeddingModelInfo,
        EmbeddingModelInstanceInfo,
        LlmInfo,
        LlmInstanceInfo,
        LlmLoadModelConfig,
        LlmLoadModelConfigDict,
        LlmPredictionConfig,
        LlmPredictionConfigDict,
        LlmPredictionFragment,
        LlmPredictionStats,
        LMStudioClientError,
        LMStudioModelNotFoundError,
        LMStudioPredictionError,
        LMStudioPresetNotFoundError,
        LMStudioServerError,
        ModelInfo,
        ModelInstanceInfo,
        ModelLoadResult,
        ModelQuery,
        ModelQueryDict,
        ModelSpecifier,
        ModelSpecifierDict,
        PredictionFirstTokenCallback,
        PredictionFragmentCallback,
        PredictionMessageCallback,
        PredictionResult,
        PredictionRoundResult,
        PromptProcessingCallback,
        ResponseSchema,
        SerializedLMSExtendedError,
        ToolDefinition,
        ToolFunctionDef,
        ToolFunctionDefDict,
    )

# What users of the official package find here. Its own names are for the modules of this package.
__all__ = [
    "ActResult",
    "AnyLoadConfig",
    "AnyModelSpecifier",
    "DownloadFinalizedCallback",
    "DownloadProgressCallback",
    "DownloadProgressUpdate",
    "EmbeddingLoadModelConfig",
    "EmbeddingLoadModelConfigDict",
    "EmbeddingModelInfo",
    "EmbeddingModelInstanceInfo",
    "LMStudioCancelledError",
    "LMStudioChannelClosedError",
    "LMStudioClientError",
    "LMStudioModelNotFoundError",
    "LMStudioPredictionError",
    "LMStudioPresetNotFoundError",
    "LMStudioServerError",
    "LMStudioTimeoutError",
    "LMStudioUnknownMessageWarning",
    "LMStudioWebsocketError",
    "LlmInfo",
    "LlmInstanceInfo",
    "LlmLoadModelConfig",
    "LlmLoadModelConfigDict",
    "LlmPredictionConfig",
    "LlmPredictionConfigDict",
    "LlmPredictionFragment",
    "LlmPredictionStats",
    "ModelInfo",
    "ModelInstanceInfo",
    "ModelLoadResult",
    "ModelQuery",
    "ModelQueryDict",
    "ModelSpecifier",
    "ModelSpecifierDict",
    "PredictionFirstTokenCallback",
    "PredictionFragmentCallback",
    "PredictionMessageCallback",
    "PredictionResult",
    "PredictionRoundResult",
    "PromptProcessingCallback",
    "ResponseSchema",
    "SerializedLMSExtendedError",
    "ToolDefinition",
    "ToolFunctionDef",
    "ToolFunctionDefDict",
]

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")
InT = TypeVar("InT")
OutT = TypeVar("OutT")
ErrorT = TypeVar("ErrorT", bound=LMStudioError)

_logger = logs.get_logger("protocol")

_NUDGE = LMStudioCancelledError("Look again.")
"""Put where somebody waits, and never raised."""


class Multiplexer:
    """One connection: assigns ids, routes messages. Owned by one event loop's thread."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        """For the log."""
        self.next_id: int = 1
        """The id of the next call or channel."""
        self._channels: dict[int, Outlet] = {}
        self._calls: dict[int, Outlet] = {}
        self._outgoing: list[_wire.Outgoing] = []
        self.on_outgoing: Callable[[], None] | None = None
        """Called after a message was queued. The writer sets it once it may send (after authentication)."""
        self.failure: LMStudioError | None = None
        """Why this connection is over; None while it is usable, which includes the time before it is connected."""
        self.was_lost: bool = False
        """It was authenticated, and then ended without the client wanting it."""
        self.attempt_at: float | None = None
        """When the attempt to connect began that is under way, by the monotonic clock; None if there is none."""
        self.ready_at: float | None = None
        """When the server accepted the authentication."""
        self.sent_at: float = 0.0
        """When a large message made progress on its way to the server."""
        self.tick_seconds: float | None = None
        """Within this time `tick` will be called; None if nobody does that."""
        self.connecting: tuple[ConnectionPhase, str | None] | None = None
        """How far the attempt to connect has come, and the URL if it is known."""
        self.patience: float = math.inf
        """Seconds that an attempt to connect may take."""
        self.on_patience: Callable[[], None] | None = None
        """Called when `patience` has grown."""
        self.on_unknown: Callable[[_lenient.Findings], None] | None = None
        """Told of what messages have that this version does not know."""
        self.shared: dict[tuple[str, bytes], SharedRequest] = {}
        """The requests in flight that others may join, by endpoint and parameter."""

    @property
    def is_idle(self) -> bool:
        """No call or channel is open."""
        return not self._channels and not self._calls

    def allow_connecting(self, seconds: float | None) -> None:
        """Let an attempt to connect take at least so long; None for any time."""
        self.patience = math.inf if seconds is None else max(self.patience, seconds)
        if self.on_patience is not None:
            self.on_patience()

    def begin_attempt(self) -> None:
        """An attempt to connect begins."""
        self.attempt_at = monotonic()
        self.tick()

    def end_attempt(self, *, is_ready: bool) -> None:
        """The attempt to connect is over: calls may go out now, or there will be another one."""
        self.attempt_at = self.connecting = None
        self.ready_at = monotonic() if is_ready else None
        self.tick()

    def tick(self) -> None:
        """Let all who wait look at their time limits again."""
        for inbox in (*self._channels.values(), *self._calls.values()):
            inbox.wake()

    def take_outgoing(self) -> list[_wire.Outgoing]:
        """The queued messages, in order; the queue is empty afterwards."""
        messages, self._outgoing = self._outgoing, []
        return messages

    def receive(self, messages: Iterable[bytes]) -> None:
        """Route what one socket read brought."""
        if logs.traffic.isEnabledFor(logs.RECV):
            messages = logs.log_received(messages, self.namespace)
        decode = _wire.decode_server_message
        channels = self._channels
        touched: Outlet | None = None
        for message in messages:
            try:
                delivery = decode(message)
            except (msgspec.MsgspecError, RecursionError) as error:
                odd = self._decode_odd(message, error)
                if odd is None:
                    continue
                delivery = odd
            # Nearly all messages of a stream are of this type, so it is not left to the match in _route.
            inbox = channels.get(delivery.channel_id) if type(delivery) is _wire.ChannelSend else self._route(delivery)
            if inbox is None:
                continue
            inbox.put(cast("Delivery", delivery))
            if inbox is not touched:
                if touched is not None:
                    touched.wake()
                touched = inbox
        if touched is not None:
            touched.wake()

    def _decode_odd(self, message: bytes, error: Exception) -> _wire.ServerMessage | None:
        """A message that does not match the schema, as far as it can be understood; None to ignore it."""
        findings: _lenient.Findings = []
        odd: _wire.ServerMessage | None = None
        try:
            text = _wire.without_half_characters(message)
            decode, essentials = _wire.decode_server_message, _wire.SERVER_MESSAGE_ESSENTIALS
            odd = _lenient.decode(decode, _wire.ServerMessage, text, essentials, findings)
        except _lenient.DECODE_ERRORS:
            # Not in the warning, because Python keeps each text that it has warned with.
            _logger.debug("A message that was not understood: %.200r", message, extra=logs.fields())
            _warn(f"Ignored a message that this version does not understand: {error}")
            findings = [("$", f"Ignored: {error}")]
        if self.on_unknown is not None:
            self.on_unknown(findings)
        return odd

    def _route(self, delivery: _wire.ServerMessage) -> Outlet | None:
        # An id that is not (or no longer) ours is not an error: the server may answer what was abandoned meanwhile.
        match delivery:
            case _wire.ChannelClose(channel_id=id) | _wire.ChannelError(channel_id=id):
                return self._channels.pop(id, None)
            case _wire.RpcResult(call_id=id) | _wire.RpcError(call_id=id):
                return self._calls.pop(id, None)
            case _wire.CommunicationWarning(warning=text):
                _warn(f"The server could not make sense of a message: {text}")
        return None

    def fail(self, error: LMStudioError, *, was_lost: bool = False) -> None:
        """End the connection: everybody who waits gets *error*. Later calls do nothing."""
        if self.failure is not None:
            return
        self.failure, self.was_lost = error, was_lost
        self._outgoing.clear()
        inboxes = [*self._channels.values(), *self._calls.values()]
        self._channels.clear()
        self._calls.clear()
        for inbox in inboxes:
            self._refuse(inbox, error)

    def _send(self, message: _wire.Outgoing) -> None:
        if logs.traffic.isEnabledFor(logs.SEND):
            logs.log_sent(message, self.namespace)
        self._outgoing.append(message)
        if self.on_outgoing is not None:
            self.on_outgoing()

    @staticmethod
    def _refuse(inbox: Outlet, error: LMStudioError) -> None:
        inbox.put(error)
        inbox.wake()

    def call(self, endpoint: str, parameter: _wire.Payload, inbox: Outlet) -> int:
        """Send an rpc; its reply goes to *inbox*. Returns the call's id."""
        call_id = self.next_id
        self.next_id += 1
        if self.failure is not None:
            self._refuse(inbox, self.failure)
            return call_id
        self._calls[call_id] = inbox
        self._send(_wire.encode_with(parameter, _wire.RpcCall, endpoint, call_id))
        return call_id

    def open(self, endpoint: str, parameter: _wire.Payload, inbox: Outlet) -> int:
        """Open a channel; its packets go to *inbox*. Returns the channel's id."""
        channel_id = self.next_id
        self.next_id += 1
        if self.failure is not None:
            self._refuse(inbox, self.failure)
            return channel_id
        self._channels[channel_id] = inbox
        self._send(_wire.encode_with(parameter, _wire.ChannelCreate, endpoint, channel_id))
        return channel_id

    def send(self, channel_id: int, packet: _wire.Payload) -> None:
        """Send a packet on an open channel; on one that has ended, do nothing."""
        if channel_id in self._channels:
            self._send(_wire.encode_with(packet, _wire.ChannelSend, channel_id))

    def forget_channel(self, channel_id: int) -> None:
        """Drop what still arrives for this channel."""
        self._channels.pop(channel_id, None)

    def forget_call(self, call_id: int) -> None:
        """Drop the reply of this call."""
        self._calls.pop(call_id, None)


def _warn(text: str) -> None:
    try:
        warnings.warn(text, LMStudioUnknownMessageWarning, stacklevel=3)
    except LMStudioUnknownMessageWarning:
        # A filter that turns warnings into errors must not end the connection, which others share.
        _logger.warning(text, extra=logs.fields())


def decode_error(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return "Unknown server error"


def fresh_copy(error: LMStudioError) -> LMStudioError:
    """A copy to raise: one lost connection ends many calls, and each traceback must be its caller's own."""
    duplicate = copy.copy(error)
    if error.__cause__ is not None:  # else what the caller is handling when it is raised would not be shown
        duplicate.__cause__ = error.__cause__
    if "__notes__" in vars(error):
        vars(duplicate)["__notes__"] = [*vars(error)["__notes__"]]  # a note for one caller is not for the others
    return duplicate


class Channel(Generic[InT, OutT]):
    """A channel: packets in, packets out.

    Making it and opening it are two steps, so that whoever opens it can already cancel it: Ctrl-C may strike when the
    request is on its way and `open` has not returned yet.
    """

    def __init__(
        self,
        port: Port,
        spec: ChannelSpec[Any, InT, OutT],
        parameter: _wire.Payload,
        attempted: str,
        model: str | None = None,
    ) -> None:
        self._port, self._spec, self._attempted, self._model = port, spec, attempted, model
        # No method of its own: streams that are left must be freed at once, so they are in no cycle.
        looks = port.runtime.looks_for_unknown
        self._decode: Callable[[msgspec.Raw], InT] = (
            partial(_decode_and_look, port, spec) if looks else spec.decode_to_client
        )
        self._skipped = ""
        self._parameter: _wire.Payload = parameter
        self._inbox = port.runtime.new_inbox()
        self.limits: CallLimits = port.new_limits(attempted)
        """The clock of `receive`."""
        self._multiplexer: Multiplexer | None = None
        self._id = 0
        self._is_closed = False
        self.finished: bool = False
        """No packet will come any more: the channel ended, the connection was lost, or `close` was called."""

    @property
    def endpoint(self) -> str:
        """Its name on the wire."""
        return self._spec.name

    def open(self) -> Self:
        """Send the request. Nothing is awaited: if it fails, `receive` says so."""
        self._port.runtime.post(self._open)
        return self

    def _open(self) -> None:
        self._multiplexer = self._port.live_multiplexer()
        self.limits.use(self._multiplexer, self._inbox)
        self._id = self._multiplexer.open(self._spec.name, self._parameter, self._inbox)
        self._parameter = _wire.ABSENT  # a long history need not stay in memory as long as its reply

    async def receive(self) -> InT:
        """The next packet. Packets of a kind that this version does not know are skipped with a warning.

        Raises:
            LMStudioServerError: the server reported an error; the channel is over.
            LMStudioChannelClosedError: the server closed the channel, so there is no next packet.
            LMStudioCancelledError: `close` was called while this waited.
            LMStudioTimeoutError: a time limit expired; the channel is still open.
            LMStudioWebsocketError: the connection is lost.
        """
        if self._is_closed:
            raise self.located(self._cancelled())
        if self.finished:
            ended = LMStudioChannelClosedError(f"Could not {self._attempted}: the channel has ended already.")
            raise self.located(ended)
        while True:
            try:
                delivery = await self._inbox.get(self.limits)
            except LMStudioTimeoutError as error:
                raise self.located(error)  # noqa: B904 - it is the same error
            if type(delivery) is _wire.ChannelSend:
                try:
                    return self._decode(delivery.message)
                except _lenient.DECODE_ERRORS:
                    packet = self._decode_odd(delivery.message)
                    if packet is not None:
                        return packet
                    continue
            if delivery is not _NUDGE:
                raise self._end(delivery)

    def _end(self, delivery: Delivery) -> LMStudioError:
        """Note that there are no more packets; what to raise."""
        self.finished = True
        if isinstance(delivery, _wire.ChannelError):
            return self.located(from_wire(decode_error(delivery.error), self._attempted))
        if isinstance(delivery, LMStudioError):
            return self.located(fresh_copy(delivery))
        text = f"Could not {self._attempted}: the server closed the channel early.{self._skipped}"
        return self.located(LMStudioChannelClosedError(text))

    # For those who look at what has come before they wait: several tasks may do so at the same time.

    def take(self) -> InT | None:
        """The next packet that is here already; None if there is none. Raises as `receive`."""
        while not self.finished and (delivery := self._inbox.take()) is not None:
            if type(delivery) is _wire.ChannelSend:
                try:
                    packet: InT | None = self._decode(delivery.message)
                except _lenient.DECODE_ERRORS:
                    packet = self._decode_odd(delivery.message)
                if packet is not None:
                    return packet
            elif delivery is not _NUDGE:
                raise self._end(delivery)
        return None

    async def arrival(self, limits: CallLimits) -> None:
        """Wait until something may have come that nobody has taken, or the channel may be over.

        Raises:
            LMStudioTimeoutError: one of *limits* has expired; the channel is still open.
        """
        if self._multiplexer is not None:
            limits.multiplexer = self._multiplexer
        try:
            await self._inbox.pause(limits.left())
        except LMStudioTimeoutError as error:
            raise self.located(error)  # noqa: B904 - it is the same error

    def nudge(self) -> None:
        """Let those who wait for an `arrival` look again. From any thread."""
        self._port.runtime.post(self._nudge)

    def _nudge(self) -> None:
        self._inbox.put(_NUDGE)
        self._inbox.wake()

    def located(self, error: ErrorT) -> ErrorT:
        """*error*, whose context says what was attempted where."""
        return self._port.located(error, self._spec.name, self._attempted, self._model)

    def _decode_odd(self, message: msgspec.Raw) -> InT | None:
        """A packet that does not match the schema, as far as it can be understood; None to skip it."""
        spec = self._spec
        findings: _lenient.Findings = []
        packet: InT | None = None
        try:
            decode, data = spec.decode_to_client, message or b"null"
            packet = _lenient.decode(decode, spec.to_client_type, data, spec.essentials, findings)
        except _lenient.DECODE_ERRORS as error:
            if isinstance(error, _lenient.UnknownTagError) and error.tag == "error":
                # Not in the schema any more, but that is how older servers report a failure.
                self.close()
                reported = from_wire(msgspec.json.decode(message).get("error"), self._attempted)
                raise self.located(reported) from None
            _warn(f"Ignored a packet of {spec.name!r} that this version does not understand: {error}")
            self._skipped = f" It had sent a packet of {spec.name!r} that this version does not understand: {error}"
            findings = [("$", f"Ignored: {error}")]
        self._port._report(spec, findings)
        return packet

    def send(self, packet: OutT) -> None:
        """Send *packet*, at once and without waiting. Does nothing when the channel is over."""
        if not self.finished:
            self._port.runtime.post(partial(self._send, _wire.encode_payload(packet)))

    def _send(self, packet: _wire.Payload) -> None:
        if self._multiplexer is not None:
            self._multiplexer.send(self._id, packet)

    def send_last(self, packet: OutT) -> None:
        """Send the packet with which an endpoint is told to stop, and listen no more. No answer to it is heard."""
        if not self.finished:
            self.finished = self._is_closed = True
            self._port.runtime.post(partial(self._send_last, _wire.encode_payload(packet)))

    def _send_last(self, packet: _wire.Payload) -> None:
        self._send(packet)
        self._close()

    def close(self) -> None:
        """Stop listening. The protocol has no close from this side: see `send_last`."""
        self.finished = self._is_closed = True
        self._port.runtime.post(self._close)

    def _cancelled(self) -> LMStudioCancelledError:
        return LMStudioCancelledError(f"Could not {self._attempted}: it was cancelled meanwhile.")

    def _close(self) -> None:
        if self._multiplexer is not None:
            self._multiplexer.forget_channel(self._id)
        # Another task or thread may be waiting for the next packet.
        self._inbox.put(self._cancelled())
        self._inbox.wake()


def _decode_and_look(port: Port, spec: ChannelSpec[Any, InT, Any], message: msgspec.Raw) -> InT:
    """The packet; what is unknown in it is reported."""
    packet = spec.decode_to_client(message)
    port._report(spec, _lenient.find_unknown(spec.to_client_type, message))
    return packet


def run_blocking(operation: Coroutine[Any, Any, T]) -> T:
    """Run *operation* to its end on this thread. Its waits block, so it never suspends."""
    try:
        operation.send(None)
    except StopIteration as finished:
        return cast("T", finished.value)
    operation.close()
    raise RuntimeError(f"{operation!r} suspended: an operation may wait only through its Runtime.")


def closed_error() -> LMStudioWebsocketError:
    """What a call gets that was in flight when its client was closed."""
    return LMStudioWebsocketError("The client was closed while this call was in progress.")


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: they live in modules that import this one.
    if name in __all__:
        import lmstudio

        return getattr(lmstudio, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
