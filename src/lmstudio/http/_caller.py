"""Calls over HTTP: what is sent, how often, and what comes out of it. Nothing here waits but through `Connections`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from lmstudio import _lenient
from lmstudio._http_models import decode_reply
from lmstudio._timeouts import INHERITED, PATIENT, Timeout, TimeoutInput, read_timeout
from lmstudio.errors import (
    ErrorType,
    LMStudioCancelledError,
    LMStudioConnectionError,
    LMStudioError,
    LMStudioProtocolError,
    LMStudioRateLimitError,
    LMStudioServerError,
    LMStudioValueError,
    without_any_frames,
)
from lmstudio.logs import fields

from ._clock import DEFAULT_TIMEOUT, CallClock
from ._errors import error_in, read_error, retry_after, server_error
from ._exchange import ExchangeError, OutgoingRequest
from ._streams import EventT, OpenStream, ResultT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from lmstudio._address import ServerAddress
    from lmstudio._retries import RetryConfig

    from ._exchange import Connections, IncomingReply
    from ._streams import StreamReader

ReplyT = TypeVar("ReplyT")
ErrorT = TypeVar("ErrorT", bound=LMStudioError)

_ERROR_MEMBERS = frozenset(("error", "type", "status", "code", "message", "request_id"))


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
        random_number: Callable[[], float] | None = None,
    ) -> None:
        self._connections, self.address = connections, address
        self._timeout, self._retry, self.logger = timeout.over(DEFAULT_TIMEOUT), retry, logger
        self._random_number = random_number

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
        reply = await self._send(call)
        call.clock.token_seen()
        return self._decode(call, reply.status, await self._read_all(call, reply))

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
        clock = CallClock(read_timeout(timeout).over(self._timeout), endpoint.attempted, self.address.http_url(""))
        return _Call(endpoint, OutgoingRequest(endpoint.method, url, content, tuple(headers)), clock, model)

    async def pause(self, seconds: float) -> None:
        """Wait between two calls, as long as a surface waits: suspended, or blocked."""
        await self._connections.pause(seconds, CallClock(PATIENT, "wait"))

    # Attempts --------------------------------------------------------------------------------------------------------

    async def _send(self, call: _Call[Any]) -> IncomingReply:
        """Send the request, again as often as the retries allow; a reply that is no refusal."""
        attempt = 0
        while True:
            attempt += 1
            try:
                reply = await self._connections.send(call.request, call.clock)
            except ExchangeError as failure:
                if call.clock.is_cancelled:
                    raise _cancelled(call) from None
                error = self._explain(call, failure)
                may_repeat = self._may_repeat(call, failure)
                wish = 0.0 if failure.was_reused else None
            else:
                if 200 <= reply.status < 300:
                    return reply
                error = await self._refusal(call, reply)
                may_repeat = _is_worth_repeating(error, self._retry)
                wish = retry_after(reply.headers)
            await self._pause(call, error, attempt, wish, may_repeat=may_repeat)
            call.clock.new_attempt()

    async def _pause(
        self, call: _Call[Any], error: LMStudioError, attempt: int, wish: float | None, *, may_repeat: bool
    ) -> None:
        """Wait for the next attempt, or raise *error* if there is none. *wish*: how long the server wants it to be."""
        delay = self._retry.delay(attempt - 1, self._random_number) if may_repeat else None
        if delay is not None and wish is not None:
            delay = min(max(delay, wish), self._retry.max_backoff) if wish else 0.0
        if delay is None or delay > call.clock.left_in_total:
            raise error
        self.logger.warning(
            "Attempt %d to %s failed: %s The next one follows in %.2g seconds.",
            attempt,
            call.endpoint.attempted,
            error,
            delay,
            extra=fields(error, attempt=attempt, method=call.request.method, status=error.status_code),
        )
        await self._connections.pause(delay, call.clock)
        if call.clock.is_cancelled:
            raise _cancelled(call)

    @staticmethod
    def _may_repeat(call: _Call[Any], failure: ExchangeError) -> bool:
        if failure.kind in ("timeout", "broken reply"):
            return call.endpoint.is_read
        return failure.kind != "closed"

    async def _begin_stream(self, call: _Call[Any]) -> IncomingReply:
        reply = await self._send(call)
        if "text/event-stream" in reply.headers.get("content-type", "").lower():
            return reply
        body = await self._read_all(call, reply)
        try:
            details = error_in(msgspec.json.decode(body))
        except (ValueError, RecursionError):
            details = None
        if details is not None:
            error: LMStudioServerError = server_error(reply.status, details, call.endpoint.attempted)
        else:
            found = read_error(body, reply.headers.get("content-type", "")).message
            error = LMStudioProtocolError(
                f"Could not {call.endpoint.attempted}: the server did not answer with a stream of events, but with "
                f"{reply.headers.get('content-type') or 'something else'}: {found}"
            )
        error.status_code = reply.status
        raise self._with_context(call, error)

    # Replies ---------------------------------------------------------------------------------------------------------

    async def _read_all(self, call: _Call[Any], reply: IncomingReply) -> bytes:
        parts = []
        try:
            while part := await reply.read():
                parts.append(part)
        except ExchangeError as failure:
            reply.abandon()
            raise self._explain(call, failure) from failure.cause
        except BaseException:
            reply.abandon()
            raise
        await reply.aclose()
        return b"".join(parts)

    async def _refusal(self, call: _Call[Any], reply: IncomingReply) -> LMStudioError:
        call.clock.token_seen()
        body = await self._read_all(call, reply)
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
            found = read_error(body).message
            failure = LMStudioProtocolError(
                f"Could not {endpoint.attempted}: the server's reply cannot be understood ({error}): {found}"
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
            url = self.address.http_url("")
            what = {
                "connect": f"LM Studio is not reachable at {url}",
                "no reply": "the connection ended before the server replied",
                "broken reply": "the connection ended in the middle of the reply",
                "closed": "the client was closed while this call was in progress",
            }[failure.kind]
            error = LMStudioConnectionError(
                f"Could not {call.endpoint.attempted}: {what}: {failure.reason.removesuffix('.')}.",
                phase=failure.phase,
                url=url,
            )
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


def _is_worth_repeating(error: LMStudioError, retry: RetryConfig) -> bool:
    if error.status_code not in retry.retry_on_status:
        return False
    return isinstance(error, LMStudioRateLimitError) or error.error_type is ErrorType.SERVER_ERROR


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
