"""Calls over HTTP: what is sent, how often, and what comes out of it. Nothing here waits but through `Connections`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from lmstudio import _lenient
from lmstudio._http_models import decode_reply
from lmstudio._timeouts import HTTP_TIMEOUT, INHERITED, PATIENT, Timeout, TimeoutInput, read_timeout
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioContextOverflowError,
    LMStudioError,
    LMStudioProtocolError,
    LMStudioRateLimitError,
    LMStudioServerError,
    LMStudioValueError,
    without_any_frames,
)
from lmstudio.logs import fields

from ._clock import CallClock
from ._errors import error_in, not_connected, read_error, redirected, retry_after, server_error
from ._exchange import ExchangeError, OutgoingRequest
from ._streams import EventT, OpenStream, ResultT

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from lmstudio._address import ServerAddress
    from lmstudio._retries import RetryConfig

    from ._exchange import Connections, IncomingReply
    from ._streams import StreamReader

ReplyT = TypeVar("ReplyT")
ErrorT = TypeVar("ErrorT", bound=LMStudioError)

_LARGEST_REFUSAL: Final = 1024 * 1024
_ERROR_MEMBERS: Final = frozenset(("error", "type", "status", "code", "message", "request_id"))


class HttpEndpoint(msgspec.Struct, Generic[ReplyT], frozen=True):
    """One path of the server: what is sent there and what comes back."""

    method: str
    path: str
    """Below the server's root; `{name}` stands for a part that a call gives."""
    reply: type[ReplyT]
    attempted: str
    """Completes "Could not ..."."""
    is_read: bool = False
    """It changes nothing and costs little: it may be repeated also when the server may be at work on it."""


class _Call(msgspec.Struct, Generic[ReplyT], frozen=True):
    """One call of an endpoint."""

    endpoint: HttpEndpoint[ReplyT]
    request: OutgoingRequest
    clock: CallClock
    model: str | None


class Caller:
    """Calls the server of one client."""

    def __init__(
        self,
        connections: Connections,
        address: ServerAddress,
        *,
        timeout: Timeout = INHERITED,
        retry: RetryConfig,
        logger: logging.Logger,
    ) -> None:
        self._connections = connections
        self.address: ServerAddress = address
        self.logger: logging.Logger = logger
        self._timeout, self._retry = timeout.over(HTTP_TIMEOUT), retry

    async def call(
        self,
        endpoint: HttpEndpoint[ReplyT],
        body: msgspec.Struct | Mapping[str, Any] | None = None,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> ReplyT:
        """The reply of *endpoint*. *path* fills the placeholders of its path, *extra_body* goes over *body*.

        Raises:
            LMStudioError: there is none, or it says that the server could not do it.
        """
        call = self._prepare(endpoint, body, path, query, timeout, extra_body)
        reply, content = await self._send(call, is_stream=False)
        return self._decode(call, reply.status, content)

    def stream(
        self,
        endpoint: HttpEndpoint[Any],
        body: msgspec.Struct | Mapping[str, Any] | None,
        reader: StreamReader[EventT, ResultT],
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> OpenStream[EventT, ResultT]:
        """A call whose reply arrives as events, not begun yet. *body* has to ask for a stream."""
        call = self._prepare(endpoint, body, None, None, timeout, extra_body, accept="text/event-stream")

        async def send() -> IncomingReply:
            return await self._begin_stream(call)

        def explain(error: ExchangeError | LMStudioError) -> LMStudioError:
            if isinstance(error, ExchangeError):
                error = self._explain(call, error)
            return self._with_context(call, error)

        return OpenStream(send, reader, call.clock, explain, endpoint.attempted)

    async def open(
        self,
        endpoint: HttpEndpoint[Any],
        body: msgspec.Struct | Mapping[str, Any] | None,
        reader: StreamReader[EventT, ResultT],
        *,
        timeout: TimeoutInput = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> OpenStream[EventT, ResultT]:
        """As `stream`, and begun: the headers of the reply have come."""
        opened = self.stream(endpoint, body, reader, timeout=timeout, extra_body=extra_body)
        await opened.start()
        return opened

    def _prepare(
        self,
        endpoint: HttpEndpoint[ReplyT],
        body: msgspec.Struct | Mapping[str, Any] | None,
        path: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        timeout: TimeoutInput,
        extra_body: Mapping[str, Any] | None,
        *,
        accept: str = "application/json",
    ) -> _Call[ReplyT]:
        parts = {name: quote(value, safe="") for name, value in (path or {}).items()}
        url = self.address.http_url(endpoint.path.format(**parts))
        if query:
            url = f"{url}?{urlencode(query)}"
        content, model = _encode(endpoint.attempted, body, extra_body)
        headers = [("accept", accept)]
        if content is not None:
            headers.append(("content-type", "application/json"))
        clock = CallClock(read_timeout(timeout).over(self._timeout), endpoint.attempted, self.address)
        return _Call(endpoint, OutgoingRequest(endpoint.method, url, content, tuple(headers)), clock, model)

    async def pause(self, seconds: float) -> None:
        """Wait between two calls, as long as a surface waits: suspended, or blocked."""
        await self._connections.pause(seconds, CallClock(PATIENT, "wait"))

    # Attempts --------------------------------------------------------------------------------------------------------

    async def _send(self, call: _Call[Any], *, is_stream: bool) -> tuple[IncomingReply, bytes]:
        """Send the request, again as often as the retries allow; a reply that is no refusal, and its body if it is no
        stream.
        """
        attempt = 0
        has_reconnected = False
        while True:
            attempt += 1
            wish: float | None = None
            try:
                reply = await self._connections.send(call.request, call.clock)
                if 200 <= reply.status < 300:
                    return reply, b"" if is_stream else await self._read_all(call, reply)
                error: LMStudioError = await self._refusal(call, reply)
            except ExchangeError as failure:
                if call.clock.is_cancelled:
                    raise _cancelled(call) from None
                error = self._explain(call, failure)
                may_repeat = _may_repeat(call, failure)
                if failure.was_reused and may_repeat and not has_reconnected:
                    # The server has closed it as idle. A new connection is all that it takes, so this is no retry.
                    has_reconnected = True
                    wish = 0.0
            else:
                may_repeat = _is_worth_repeating(error, self._retry)
                wish = retry_after(reply.headers) or None
            await self._pause(call, error, attempt, wish, may_repeat=may_repeat)
            attempt -= wish == 0
            call.clock.new_attempt()

    async def _pause(
        self, call: _Call[Any], error: LMStudioError, attempt: int, wish: float | None, *, may_repeat: bool
    ) -> None:
        """Wait for the next attempt, or raise *error* if there is none.

        *wish*: how many seconds it should be, if that is known; one of the server counts up to `max_backoff`, and 0 is
        no retry.
        """
        delay = self._retry.delay(attempt - 1) if may_repeat else None
        if wish == 0:
            delay = 0.0
        elif delay is not None and wish is not None:
            delay = min(max(delay, wish), self._retry.max_backoff)
        left = call.clock.left_in_total
        if delay is None or max(delay, wish or 0.0) > left:
            raise error
        self.logger.warning(
            "Attempt %d to %s failed, the next one follows in %.2g s. %s",
            attempt,
            call.endpoint.attempted,
            delay,
            error,
            extra=fields(error, attempt=attempt, delay=delay, method=call.request.method, status=error.status_code),
        )
        await self._connections.pause(delay, call.clock)
        if call.clock.is_cancelled:
            raise _cancelled(call)

    async def _begin_stream(self, call: _Call[Any]) -> IncomingReply:
        reply, _ = await self._send(call, is_stream=True)
        kind = reply.headers.get("content-type", "")
        if "text/event-stream" in kind.lower():
            return reply
        try:
            body = await self._read_all(call, reply)
        except ExchangeError as failure:
            raise self._explain(call, failure) from failure.cause
        self._raise_hidden_error(call, reply.status, body)
        error = LMStudioProtocolError(
            f"Could not {call.endpoint.attempted}: the server answered with {kind or 'something unknown'} instead of a "
            f"stream of events: {read_error(body, kind).message}"
        )
        error.status_code = reply.status
        raise self._with_context(call, error)

    # Replies ---------------------------------------------------------------------------------------------------------

    @staticmethod
    async def _read_all(call: _Call[Any], reply: IncomingReply, largest: float = math.inf) -> bytes:
        """The body; what is beyond *largest* bytes is left out."""
        call.clock.token_seen()
        parts: list[bytes] = []
        size = 0
        try:
            while size <= largest and (part := await reply.read()):
                parts.append(part)
                size += len(part)
        except BaseException:
            reply.abandon()
            raise
        await reply.aclose()
        return b"".join(parts)

    async def _refusal(self, call: _Call[Any], reply: IncomingReply) -> LMStudioError:
        try:
            body = await self._read_all(call, reply, _LARGEST_REFUSAL)
        except ExchangeError:
            body = b""  # the status says enough
        if 300 <= reply.status < 400:
            error: LMStudioServerError = redirected(
                reply.status, reply.headers.get("location", ""), call.endpoint.attempted
            )
        else:
            details = read_error(body, reply.headers.get("content-type", ""))
            error = server_error(reply.status, details, call.endpoint.attempted)
        if isinstance(error, LMStudioRateLimitError):
            error.retry_after = retry_after(reply.headers)
        return self._with_context(call, error)

    def _decode(self, call: _Call[ReplyT], status: int, body: bytes) -> ReplyT:
        endpoint = call.endpoint
        if b'"error"' in body:
            self._raise_hidden_error(call, status, body)
        try:
            return decode_reply(endpoint.reply, body)
        except _lenient.DECODE_ERRORS as error:
            failure = LMStudioProtocolError(
                f"Could not {endpoint.attempted}: the server's reply cannot be understood ({error}): "
                f"{read_error(body).message}"
            )
            failure.status_code = status
            raise self._with_context(call, failure) from error

    def _raise_hidden_error(self, call: _Call[Any], status: int, body: bytes) -> None:
        """Raise the failure that comes with a status of success, as LM Studio answers for paths that it has not."""
        try:
            value = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            return
        details = error_in(value)
        if details is not None and value.keys() <= _ERROR_MEMBERS:
            raise self._with_context(call, server_error(status, details, call.endpoint.attempted))

    # Failures --------------------------------------------------------------------------------------------------------

    def _explain(self, call: _Call[Any], failure: ExchangeError) -> LMStudioError:
        """The error to raise for a request without a (whole) reply."""
        error: LMStudioError
        if failure.kind in ("timeout", "connect timeout"):
            error = call.clock.timeout_error()
        else:
            error = not_connected(failure, self.address, call.endpoint.attempted)
        if failure.cause is not None:
            error.__cause__ = without_any_frames(failure.cause)
        return self._with_context(call, error)

    def _with_context(self, call: _Call[Any], error: ErrorT) -> ErrorT:
        return error.with_context(
            attempted=call.endpoint.attempted,
            endpoint=call.endpoint.path,
            address=self.address.api_host,
            model=call.model,
        )


def _may_repeat(call: _Call[Any], failure: ExchangeError) -> bool:
    if failure.kind in ("timeout", "broken reply"):
        return call.endpoint.is_read  # the server may be at work, or have done it
    return not failure.is_final


def _is_worth_repeating(error: LMStudioError, retry: RetryConfig) -> bool:
    if error.status_code not in retry.retry_on_status:
        return False
    # Servers are known to answer 500 where the request is to blame, which is the same the next time.
    data = error.data if isinstance(error, LMStudioServerError) else None
    return not (isinstance(error, LMStudioContextOverflowError) or str((data or {}).get("type")).startswith("invalid_"))


def _cancelled(call: _Call[Any]) -> LMStudioCancelledError:
    return LMStudioCancelledError(f"Could not {call.endpoint.attempted}: it was cancelled.")


def _encode(
    attempted: str, body: msgspec.Struct | Mapping[str, Any] | None, extra_body: Mapping[str, Any] | None
) -> tuple[bytes | None, str | None]:
    """The JSON to send, and the model that it names."""
    if body is None and not extra_body:
        return None, None
    try:
        members = msgspec.to_builtins(body, str_keys=True) if isinstance(body, msgspec.Struct) else dict(body or {})
        members.update(extra_body or {})
        model = members.get("model")
        return msgspec.json.encode(members), model if isinstance(model, str) else None
    except (TypeError, ValueError, RecursionError) as error:
        raise LMStudioValueError(
            f"Could not {attempted}: what is to be sent cannot be written as JSON: {error}."
        ) from error
