"""One namespace of the server, as operations see it: calls and channels, their limits, and retries of reads."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import msgspec
from msgspec import UNSET

from . import _lenient, _wire, logs
from ._abort import check_signal, on_abort
from ._timeouts import PATIENT, CallLimits, read_timeout
from .errors import (
    LMStudioCancelledError,
    LMStudioError,
    LMStudioProtocolError,
    LMStudioWebsocketError,
    from_wire,
)
from .json_api import Channel, Multiplexer, decode_error, fresh_copy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ._abort import AbortSignal
    from ._endpoints import ChannelSpec, Rpc
    from ._runtime import Delivery, Inbox, Runtime
    from ._timeouts import Timeout, TimeoutInput

P = TypeVar("P")
R = TypeVar("R")
InT = TypeVar("InT")
OutT = TypeVar("OutT")
ErrorT = TypeVar("ErrorT", bound=LMStudioError)


class _Clock:
    """Knows when an operation began: when it asked first."""

    def __init__(self) -> None:
        self._started: float | None = None

    def started(self) -> float:
        if self._started is None:
            self._started = monotonic()
        return self._started


class Port:
    """One namespace of the server, as operations see it. Connects on first use and again after a loss."""

    def __init__(self, namespace: str, runtime: Runtime) -> None:
        self.namespace = namespace
        self.runtime = runtime
        self.base: Port = self
        """The port that all calls of the namespace share, connection included."""
        self._multiplexer: Multiplexer | None = None
        self._timeout: Timeout | None = None
        self._signal: AbortSignal | None = None
        self._clock: _Clock | None = None

    def within(self, timeout: TimeoutInput, signal: AbortSignal | None = None) -> Port:
        """This port for one operation, with time limits of its own and a signal that ends its calls, not its channels.

        The total counts from the first call or channel.

        Raises:
            LMStudioValueError: *timeout* or *signal* cannot be used.
        """
        if timeout is None and signal is None and not self.runtime.timeout.has_total:
            return self  # which is no different then, and saves each call two microseconds
        check_signal(signal)
        return self._derive(read_timeout(timeout), signal, _Clock())

    def like(self, other: Port) -> Port:
        """This port for the same operation as *other*, of another namespace: with its limits, its clock, its signal."""
        return self._derive(other._timeout, other._signal, other._clock)

    def _derive(self, timeout: Timeout | None, signal: AbortSignal | None, clock: _Clock | None) -> Port:
        port = Port.__new__(Port)  # every call makes one, and copy.copy() takes four times as long
        port.__dict__.update(self.__dict__)
        port._timeout, port._signal, port._clock = timeout, signal, clock
        return port

    @property
    def timeout(self) -> Timeout:
        """The time limits."""
        base = self.runtime.timeout
        return base if self._timeout is None else self._timeout.over(base)

    def new_limits(self, attempted: str, *, is_patient: bool = False) -> CallLimits:
        """The clock for a call or channel that begins now. *attempted* completes "Could not ...".

        With *is_patient* only the total counts, and it may be for a wait that no connection knows of.
        """
        # Without a clock this is the base, of which each call is an operation.
        started = monotonic() if self._clock is None else self._clock.started()
        timeout = self.timeout
        limits = CallLimits(PATIENT.over(timeout) if is_patient else timeout, started, attempted)
        if not is_patient:
            # In the synchronous surface the wait may begin before the loop's thread has come to the request.
            limits.multiplexer = self.base._multiplexer
        return limits

    def live_multiplexer(self) -> Multiplexer:
        """The usable connection, a new one if there is none. Only inside a posted action."""
        base = self.base
        multiplexer = base._multiplexer
        if multiplexer is None or multiplexer.failure is not None:
            multiplexer = base._multiplexer = Multiplexer(self.namespace)
            multiplexer.on_unknown = partial(self.runtime.report_unknown, self.namespace)
            self.runtime.connect(self.namespace, multiplexer)
        if self._timeout is not None and self._timeout.connect is not UNSET:
            multiplexer.allow_connecting(self._timeout.connect)
        return multiplexer

    def located(self, error: ErrorT, endpoint: str, attempted: str, model: str | None) -> ErrorT:
        """*error*, whose context says what was attempted where."""
        where = {"endpoint": endpoint, "namespace": self.namespace, "address": self.runtime.server_address}
        return error.with_context(attempted=attempted, model=model, **where)

    async def call(self, rpc: Rpc[P, R], parameter: P | _wire.LongText, attempted: str) -> R:
        """Call *rpc* and return its result. *attempted* completes "Could not ..." if it fails.

        Raises:
            LMStudioServerError: the server refused (its class depends on the reason).
            LMStudioWebsocketError: no connection, or it was lost. Only a read is sent again, as the client's `retry`
                says.
            LMStudioTimeoutError: a time limit expired.
            LMStudioCancelledError: the signal was aborted.
        """
        return (await self._exchange(rpc, (parameter,), attempted))[0]

    async def call_many(self, rpc: Rpc[P, R], parameters: Sequence[P], attempted: str) -> list[R]:
        """Call *rpc* once per parameter, all in flight together; result[i] belongs to parameters[i].

        The first failure is raised; the other replies are then ignored.
        """
        if not parameters:
            return []
        return await self._exchange(rpc, parameters, attempted)

    async def _exchange(self, rpc: Rpc[P, R], parameters: Sequence[P | _wire.LongText], attempted: str) -> list[R]:
        payloads = [_wire.encode_payload(parameter) for parameter in parameters]
        limits, signal = self.new_limits(attempted), self._signal
        for retry in count():
            pending: _PendingCalls | None = None
            try:
                if signal is not None and signal.aborted:
                    raise aborted(signal, attempted)
                pending = _PendingCalls(self, rpc.name, payloads, limits)
                if not rpc.is_read:
                    payloads = []  # a large one need not stay in memory until the reply
                if signal is None:
                    return await pending.results(rpc, attempted)
                with self.interruptible(pending.inbox, attempted):
                    return await pending.results(rpc, attempted)
            except BaseException as error:
                if pending is not None:
                    pending.forget()
                if not isinstance(error, LMStudioError):
                    raise
                self.located(error, rpc.name, attempted, named_model(parameters[0]))
                was_lost = isinstance(error, LMStudioWebsocketError) and pending is not None and pending.was_lost
                delay = self.runtime.retry.delay(retry) if rpc.is_read and was_lost else None
                if delay is None or delay >= limits.left_in_total():
                    raise  # what went wrong says more than that the time is up
                self._log_retry(error, retry, delay)
            await self._pause(delay, attempted)
        raise AssertionError("count() has no end")

    def _log_retry(self, error: LMStudioError, retry: int, delay: float) -> None:
        message = f"Could not {error.context.get('attempted')}: {error} Trying again in {delay:.1f} seconds."
        self.runtime.logger("websocket").warning(message, extra=logs.fields(error, attempt=retry + 1))

    async def _pause(self, seconds: float, attempted: str) -> None:
        """Wait before a retry. The signal ends the pause."""
        until = monotonic() + seconds
        inbox = self.runtime.new_inbox()
        with self.interruptible(inbox, attempted):
            while not inbox.has_items and (left := until - monotonic()) > 0:
                await inbox.pause(left)

    def interruptible(self, inbox: Inbox, attempted: str) -> AbstractContextManager[None]:
        """Within the block, the signal of this port puts the error of an aborted operation into *inbox*."""
        signal, post = self._signal, self.runtime.post
        if signal is None:
            return nullcontext()

        def put() -> None:
            inbox.put(aborted(signal, attempted))
            inbox.wake()

        return on_abort(signal, partial(post, put))

    def _result(self, rpc: Rpc[P, R], reply: Delivery, attempted: str) -> R:
        if not isinstance(reply, _wire.RpcResult):
            if isinstance(reply, _wire.RpcError):
                raise from_wire(decode_error(reply.error), attempted)
            raise fresh_copy(cast("LMStudioError", reply))
        if rpc.result_type is None:
            return cast("R", None)
        # An absent result stands for null: an rpc whose result is optional leaves it out.
        data = reply.result or b"null"
        try:
            result = rpc.decode_result(data)
        except _lenient.DECODE_ERRORS:
            return self._odd_result(rpc, data, attempted)
        if self.runtime.looks_for_unknown:
            self._report(rpc, _lenient.find_unknown(rpc.result_type, data))
        return result

    def _odd_result(self, rpc: Rpc[P, R], data: bytes | msgspec.Raw, attempted: str) -> R:
        """A result that does not match the schema, as far as it can be understood."""
        findings: _lenient.Findings = []
        try:
            result = _lenient.decode(rpc.decode_result, rpc.result_type, data, rpc.essentials, findings)
        except _lenient.DECODE_ERRORS as error:
            message = f"Could not {attempted}: the server's result of {rpc.name!r} has an unexpected form: {error}"
            raise LMStudioProtocolError(message) from error
        self._report(rpc, findings)
        return result

    def _report(self, endpoint: Rpc[Any, Any] | ChannelSpec[Any, Any, Any], findings: _lenient.Findings) -> None:
        """Tell who wants to know what an answer has that this version does not know."""
        self.runtime.report_unknown(f"{self.namespace}/{endpoint.name}", findings)

    def channel(self, spec: ChannelSpec[P, InT, OutT], parameter: P, attempted: str) -> Channel[InT, OutT]:
        """A channel, not open yet. *attempted* completes "Could not ..." if it fails."""
        return Channel(self, spec, _wire.encode_payload(parameter), attempted, named_model(parameter))


def named_model(parameter: object) -> str | None:
    """The model that the parameter of an endpoint is about, for the context of errors."""
    target = getattr(parameter, "specifier", None) or getattr(parameter, "model_specifier", None)
    for place in (parameter, target, getattr(target, "query", None)):
        for member in ("model_key", "identifier", "path", "instance_reference"):
            name = getattr(place, member, None)
            if isinstance(name, str):
                return name
    return None


_Reply: TypeAlias = "_wire.RpcResult | _wire.RpcError"


class _PendingCalls:
    """Rpcs of one endpoint in flight, with one inbox: their ids are consecutive."""

    def __init__(self, port: Port, endpoint: str, parameters: Sequence[_wire.Payload], limits: CallLimits) -> None:
        self._port, self._endpoint, self._parameters, self._limits = port, endpoint, parameters, limits
        self._count = len(parameters)
        self.inbox = port.runtime.new_inbox()
        self._multiplexer: Multiplexer | None = None
        self._first_id = 0
        port.runtime.post(self._start)

    def _start(self) -> None:
        multiplexer = self._multiplexer = self._port.live_multiplexer()
        self._limits.use(multiplexer, self.inbox)
        self._first_id = multiplexer.next_id
        for parameter in self._parameters:
            multiplexer.call(self._endpoint, parameter, self.inbox)
        self._parameters = ()  # as above

    async def results(self, rpc: Rpc[Any, R], attempted: str) -> list[R]:
        """The results, in the order of the parameters."""
        results: list[Any] = [None] * self._count
        for _ in range(self._count):
            reply = await self.inbox.get(self._limits)
            result = self._port._result(rpc, reply, attempted)
            results[cast("_Reply", reply).call_id - self._first_id] = result
        return results

    @property
    def was_lost(self) -> bool:
        """The connection was lost after the calls had gone out."""
        return self._multiplexer is not None and self._multiplexer.was_lost

    def forget(self) -> None:
        self._port.runtime.post(self._forget)

    def _forget(self) -> None:
        if self._multiplexer is not None:
            for offset in range(self._count):
                self._multiplexer.forget_call(self._first_id + offset)


def aborted(signal: AbortSignal, attempted: str) -> LMStudioCancelledError:
    """What an operation ends with whose signal was aborted."""
    return LMStudioCancelledError(f"Could not {attempted}: {signal.error()}")
