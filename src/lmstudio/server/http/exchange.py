"""One request over HTTP: its body read, its handler run for as long as the client is there, its reply written."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from lmstudio._http_models import HttpStruct, encode
from lmstudio.logs import fields, get_logger
from lmstudio.server.http.errors import HttpError, as_http_error
from lmstudio.server.http.observer import observed
from lmstudio.server.lobby import DIRECT_BODY

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from starlette.types import Receive, Scope, Send

    from lmstudio.server.core import ServerCore
    from lmstudio.server.http.backend import Backend
    from lmstudio.server.http.errors import Surface
    from lmstudio.server.http.local_backend import LocalBackend
    from lmstudio.server.http.observer import Operation
    from lmstudio.server.http.settings import HttpSettings

__all__ = ["Endpoint", "Exchange", "Handler", "send_json"]

BodyT = TypeVar("BodyT")
Handler: TypeAlias = Callable[["Exchange", BodyT], Awaitable[None]]

_logger = get_logger("server")

_EVENT_STREAM: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


async def send_json(send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
    """Reply with *body* (a struct, or plain JSON)."""
    content = encode(body)
    extra = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    length = (b"content-length", str(len(content)).encode())
    all_headers = [(b"content-type", b"application/json; charset=utf-8"), length, *extra]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": content})


class Exchange:
    """A request that is being answered."""

    def __init__(
        self, request: Request, send: Send, backend: Backend, surface: Surface, settings: HttpSettings
    ) -> None:
        self.backend = backend
        """Who answers."""
        self.surface = surface
        self.settings = settings
        self.request = request
        self._send = send
        self.has_started: bool = False
        """The status has been sent: what goes wrong from now on can only be an event of the stream."""
        self.end_of_failed_stream: Callable[[HttpError], bytes] | None = None
        """How a stream that has begun ends if it fails, where the surface has its own way to say so."""

    @property
    def local(self) -> LocalBackend:
        """The backend, in surfaces that only a server with models of its own has."""
        from lmstudio.server.http.local_backend import LocalBackend

        assert isinstance(self.backend, LocalBackend)  # the routes say so
        return self.backend

    @property
    def core(self) -> ServerCore:
        """What the backend works with, in the same surfaces."""
        return self.local.core

    @property
    def path_parameters(self) -> Mapping[str, str]:
        """What the path says, by the names of the route."""
        parameters: Mapping[str, str] = self.request.path_params
        return parameters

    async def reply(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send the whole reply: a struct, or plain JSON."""
        self.has_started = True
        await send_json(self._send, status, body, headers)

    async def start_stream(self) -> None:
        """Begin a stream of events, unless it has begun."""
        if not self.has_started:
            self.has_started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(_EVENT_STREAM)})

    async def write(self, events: bytes) -> None:
        """Send a part of the stream. Waits while the client does not read."""
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    def write_now(self, events: bytes) -> bool:
        """Send a part of the stream if nothing has to be waited for; False if it was not sent."""
        body = self.request.scope.get(DIRECT_BODY)
        return body is not None and body.write(events)

    async def end_stream(self) -> None:
        """End the stream."""
        await self._send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True)
class Endpoint(Generic[BodyT]):
    """The application (ASGI) behind one path: *handler* gets the request's body as *body_type*, None without one."""

    path: str
    """As a template."""
    handler: Handler[BodyT]
    body_type: type[BodyT] | None
    surface: Surface
    backend: Backend
    settings: HttpSettings
    end_of_failed_stream: bytes = b""
    """What follows the error in a stream that fails."""
    operation: Operation | None = None
    """What a model is asked for here, if it is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        exchange = Exchange(request, send, self.backend, self.surface, self.settings)
        request_observer = observed()
        request_observer.routed(self.path, self.operation)
        try:
            body: Any = None
            if self.body_type is not None:
                body = decode_body(await _read_body(request, self.settings.max_body_bytes), self.body_type)
                request_observer.asked(body)
            await _while_connected(receive, self.handler(exchange, body))
        except ClientDisconnect:
            return  # within its body
        except Exception as error:
            await self._fail(exchange, as_http_error(error, scope["path"]))

    async def _fail(self, exchange: Exchange, error: HttpError) -> None:
        status = self.surface.status(error)
        observed().failed(error.reason, status)
        # %r, because the message may hold text of the client's choice, line breaks and all.
        path = exchange.request.scope["path"]
        _logger.info("%r failed: %d %r", path, status, error.detail, extra=fields(endpoint=path))
        with contextlib.suppress(OSError):  # the client may be gone
            if not exchange.has_started:
                await exchange.reply(self.surface.body(error), status, error.headers)
                return
            if exchange.end_of_failed_stream is not None:
                await exchange.write(exchange.end_of_failed_stream(error))
            else:
                await exchange.write(b"event: error\ndata: " + encode(self.surface.body(error)) + b"\n\n")
                if self.end_of_failed_stream:
                    await exchange.write(self.end_of_failed_stream)
            await exchange.end_stream()


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    with contextlib.suppress(ValueError):
        if int(request.headers.get("content-length", 0)) > limit:
            raise _too_large(limit)
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> HttpError:
    return HttpError("too_large", f"The body of this request is larger than the {limit} bytes that are allowed.")


def decode_body(body: bytes, body_type: type[BodyT]) -> BodyT:
    """*body* as *body_type*.

    Raises:
        HttpError: it is no JSON, a member is missing or not known, or has a value that is not valid.
    """
    try:
        value = msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        found = "is empty" if not body.strip() else f"is no JSON: {error}"
        raise HttpError("invalid_request", f"The body of this request {found}.", code="invalid_json") from None
    if isinstance(value, HttpStruct):
        value.remember(body)
    return value


def _invalid(error: msgspec.ValidationError) -> HttpError:
    text, separator, path = str(error).partition(" - at `$")
    inner = path.removesuffix("`").lstrip(".") if separator else ""
    if text.startswith("Object missing required field"):
        name = text.split("`")[1]
        param = f"{inner}.{name}" if inner else name
        return HttpError("invalid_request", f"{param} is required.", param=param, code="missing_required_parameter")
    if text.startswith("Object contains unknown field"):
        name = text.split("`")[1]
        param = f"{inner}.{name}" if inner else name
        message = f"This endpoint does not know {param}; leave it out."
        return HttpError("invalid_request", message, param=param, code="unrecognized_keys")
    if text.startswith("Invalid value "):  # of the member that tells what else there is
        message = f"The value of {inner} is not known: {text.removeprefix('Invalid value ')}."
        return HttpError("invalid_request", message, param=inner, code="invalid_union")
    where = f"the value of {inner}" if inner else "the body of this request"
    message = f"{where[0].upper()}{where[1:]} is not valid: {text[0].lower()}{text[1:]}."
    return HttpError("invalid_request", message, param=inner or None, code="invalid_value")


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Run *work*; cancel it when the client goes away."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnection(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
    if not working.cancelled() and (error := working.exception()) is not None:
        _logger.debug("A request that its client had given up failed: %r", error, extra=fields())


async def _disconnection(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
