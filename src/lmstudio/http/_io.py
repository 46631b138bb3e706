"""What the connections of both surfaces have in common: their options, and what the errors of httpx mean."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import zlib
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx
import msgspec

from lmstudio._auth import NO_SECRET, Secret
from lmstudio._retries import RetryConfig
from lmstudio._timeouts import INHERITED, Timeout
from lmstudio._transfer import describe
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.logs import get_logger

from ._caller import Caller
from ._exchange import ExchangeError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from lmstudio._address import ServerAddress
    from lmstudio._proxy import Proxy

    from ._clock import CallClock
    from ._exchange import Connections, OutgoingRequest

WRITE_SIZE: Final = 64 * 1024
"""Bytes that have to go out within the limit of one wait."""


class HttpOptions(msgspec.Struct, frozen=True):
    """Where, how and as whom to connect, and how patiently."""

    address: ServerAddress
    token: Secret = NO_SECRET
    timeout: Timeout = INHERITED
    retry: RetryConfig = RetryConfig()
    tls: ssl.SSLContext | bool = True
    """How to check certificates; or only whether to, against the public authorities."""
    proxy: Proxy | None = None
    keep_alive_seconds: float | None = 4.0
    """How long an idle connection is kept. Servers close them, too, perhaps while a request is on its way: LM Studio's
    after five seconds."""
    max_idle_connections: int | None = 20
    own_logger: logging.Logger | None = None
    random_number: Callable[[], float] | None = None
    """Numbers from 0 to 1 for the pauses between attempts."""

    def __post_init__(self) -> None:
        # Not repeated: it is a secret, even if it is none that can be sent.
        if self.token.value and not (self.token.value.isascii() and self.token.value.isprintable()):
            raise LMStudioValueError(
                "The API token cannot be sent in a header: it has characters that are not printable ASCII. Is it one "
                "line, as it was given to you?"
            )

    @property
    def logger(self) -> logging.Logger:
        """Where attempts are told."""
        return get_logger("http") if self.own_logger is None else self.own_logger.getChild("http")

    def caller(self, connections: Connections) -> Caller:
        """Calls by these options."""
        return Caller(
            connections,
            self.address,
            timeout=self.timeout,
            retry=self.retry,
            logger=self.logger,
            random_number=self.random_number,
        )

    def headers(self, request: OutgoingRequest) -> httpx.Headers:
        """Those of *request*; their repr hides the token."""
        headers = httpx.Headers([*request.headers, ("accept-encoding", "gzip, deflate")])
        if self.token.value:
            headers["authorization"] = f"Bearer {self.token.value}"
        return headers

    def pool_options(self) -> Mapping[str, Any]:
        """For the pool of httpcore. No CA store is loaded where there is no TLS: that takes tens of milliseconds."""
        return {
            "ssl_context": self.context(is_used=self.address.secure),
            "max_connections": None,
            "max_keepalive_connections": self.max_idle_connections,
            "keepalive_expiry": self.keep_alive_seconds,
        }

    def context(self, *, is_used: bool) -> ssl.SSLContext:
        """How to check certificates where TLS is used."""
        return httpx.create_ssl_context(verify=self.tls if is_used else False, trust_env=False)

    def proxy_context(self) -> ssl.SSLContext | None:
        """How to check the certificate of the proxy, if it has one."""
        return self.context(is_used=True) if self.proxy is not None and self.proxy.scheme == "https" else None


ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpcore.NetworkError, OSError)
"""What httpx raises where an exchange fails, and what passes through it."""


def timeouts(clock: CallClock) -> dict[str, float | None]:
    """The limits of *clock* as numbers, for transports that know nothing of clocks."""
    return {"connect": clock.seconds("connect"), "write": clock.seconds("write"), "read": clock.seconds("read")}


def failure(error: Exception, clock: CallClock, *, has_reply: bool) -> ExchangeError:
    """What *error* means, which one of `ERRORS` or TimeoutError is."""
    from lmstudio._dial import DialError

    if isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout)):
        clock.seconds("connect")
        return ExchangeError("connect timeout", "no connection in time", error)
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        clock.seconds("write" if isinstance(error, httpx.WriteTimeout) else "read")
        return ExchangeError("timeout", "nothing in time", error)
    if isinstance(error, DialError):
        is_final = isinstance(error.cause, ssl.SSLError)
        return ExchangeError("connect", error.reason, error.cause or error, phase=error.phase, is_final=is_final)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return ExchangeError("connect", f"its address is not valid: {describe(error)}", error, is_final=True)
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return ExchangeError("connect", describe(error), error)
    return ExchangeError(
        "broken reply" if has_reply else "no reply",
        describe(error),
        error,
        was_reused=clock.is_reused and not has_reply,
    )


def content_of(response: httpx.Response) -> bytes | None:
    """The body, if a transport or a hook of the user has read it already."""
    return response.content if response.is_stream_consumed else None


class BodyDecoder:
    """Takes the compression off a body."""

    # Not that of httpx, which comes as nested asynchronous generators: a body that is not read to its end would leave
    # them to the collector, of which trio warns.

    def __init__(self, headers: Mapping[str, str]) -> None:
        encoding = headers.get("content-encoding", "").strip().lower() or "identity"
        self._unknown = "" if encoding in ("identity", "gzip", "x-gzip", "deflate") else encoding
        self._inflater = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)

    def feed(self, data: bytes) -> bytes:
        """What *data*, b"" at the end, adds to the body.

        Raises:
            ExchangeError: it cannot be read.
        """
        if self._inflater is None:
            return data
        if self._unknown:
            raise ExchangeError("broken reply", f"its encoding {self._unknown!r:.40} was not asked for")
        try:
            return self._inflater.decompress(data) if data else self._inflater.flush()
        except zlib.error as error:
            raise ExchangeError("broken reply", f"its compression is damaged ({error})", error) from None


def closed_error() -> LMStudioRuntimeError:
    """For a call after the client was closed."""
    return LMStudioRuntimeError("The client is closed. Open it again with a `with` block.")


def shut_down(connection: Any) -> None:
    """End both directions of a socket, or of what stands for one, without closing it; it may be closed already."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        if isinstance(connection, socket.socket):
            # Not the method of an SSLSocket, which forgets its state under the feet of whoever reads.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
            return
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except (TypeError, NotImplementedError):  # that of uvloop
            with socket.socket(fileno=os.dup(connection.fileno())) as twin:
                twin.shutdown(socket.SHUT_RDWR)
