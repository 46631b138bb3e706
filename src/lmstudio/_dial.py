"""The way to a server below HTTP: TCP, then a proxy if one was asked for, then TLS. Failures say how far it came.

There are no time limits here: an attempt to connect has one as a whole.

Imported when the first connection is made, because the libraries below take long to load.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING, Any

import anyio
import httpcore
import httpx

from ._transfer import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from httpcore import AsyncNetworkStream

    from ._proxy import Proxy
    from .errors import ConnectionPhase

_RESOLVE_SECONDS = 1.0
_LARGEST_HEAD = 64 * 1024
_SOCKS_FAILURES = {
    1: "it failed",
    2: "its rules do not allow this",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "the connection was refused",
    6: "the host is too far away",
    7: "it does not know the command",
    8: "it does not know this type of address",
}


class DialError(httpx.ConnectError):
    """There is no way to the server. *cause* is kept here because httpcore drops it from the exception."""

    def __init__(self, phase: ConnectionPhase, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.phase: ConnectionPhase = phase
        self.reason = reason
        self.cause = cause


class ProxyRefusalError(Exception):
    """What a proxy said instead of yes."""


class Transport(httpx.AsyncHTTPTransport):
    """httpx's own, but connections are made by a dialer."""

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None, proxy_context: ssl.SSLContext | None) -> None:
        super().__init__(verify=context, trust_env=False)
        # httpx has no parameter for the backend; pyproject.toml pins the minor version for this.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            # Upgraded connections are their owners' to close; one that a greeting left behind would be nobody's.
            max_keepalive_connections=0,
            network_backend=Dialer(proxy, proxy_context),
        )


class Dialer(httpcore.AsyncNetworkBackend):
    """Makes TCP connections, directly or through a proxy.

    httpcore's own proxies do not fit: an HTTP one would be asked for TLS in a tunnel for ws://, and a SOCKS one would
    not be for wss://.
    """

    def __init__(self, proxy: Proxy | None, proxy_context: ssl.SSLContext | None) -> None:
        self._backend: Any = httpcore.AnyIOBackend()
        self._proxy = proxy
        self._proxy_context = proxy_context

    @property
    def has_proxy(self) -> bool:
        """Whether connections go through one."""
        return self._proxy is not None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        if self._proxy is not None:
            return _Stream(await self._connect_through(self._proxy, host, port))
        try:
            return _Stream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))
        except httpcore.ConnectError as error:
            leaves = list(os_errors(error.__cause__ or error))
            phase: ConnectionPhase = "dns" if isinstance(leaves[0], socket.gaierror) else "tcp"
            raise DialError(phase, "; ".join(dict.fromkeys(map(describe_os_error, leaves))), leaves[0]) from error

    async def _connect_through(self, proxy: Proxy, host: str, port: int) -> AsyncNetworkStream:
        try:
            stream: AsyncNetworkStream = await self._backend.connect_tcp(proxy.host, proxy.port)
            try:
                if self._proxy_context is not None:
                    stream = await _Stream(stream).start_tls(self._proxy_context, proxy.host)
                shake_hands = connect_by_http if proxy.scheme in ("http", "https") else connect_by_socks
                await shake_hands(stream, proxy, host, port)
            except BaseException:
                await _close_at_once(stream)
                raise
        except DialError as error:
            raise DialError("proxy", f"TLS with the proxy {proxy.url} failed: {error.reason}", error.cause) from error
        except ProxyRefusalError as error:
            raise DialError("proxy", f"the proxy {proxy.url} did not connect: {error}", error) from error
        except httpcore.NetworkError as error:
            causes = list(os_errors(error.__cause__ or error))
            reason = "; ".join(dict.fromkeys(map(describe_os_error, causes)))
            raise DialError("proxy", f"the proxy {proxy.url}: {reason}", causes[0]) from error
        return stream


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is about to speak TLS, or not."""

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as error:
            cause = error.__cause__ or error
            raise DialError("tls", describe_tls_error(cause), cause) from error
        except BaseException:  # cancelled: httpcore would leave the connection open
            await _close_at_once(self._stream)
            raise


async def _close_at_once(stream: AsyncNetworkStream) -> None:
    with anyio.CancelScope(shield=True):  # takes no time: nobody says goodbye
        await stream.aclose()


# Proxies -------------------------------------------------------------------------------------------------------------


async def connect_by_http(stream: AsyncNetworkStream, proxy: Proxy, host: str, port: int) -> None:
    """Ask an HTTP proxy for a tunnel, also where there is no TLS in it: RFC 6455, 4.1."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
    if proxy.username is not None:
        login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        request += f"Proxy-Authorization: Basic {login}\r\n"
    await stream.write(f"{request}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _LARGEST_HEAD:
        data = await stream.read(4096)
        if not data:
            raise ProxyRefusalError("it ended the connection")
        answer += data
    match = re.match(rb"HTTP/1\.\d (\d\d\d)[^\r\n]*", answer)
    if match is None:
        raise ProxyRefusalError("it does not answer as an HTTP proxy does")
    if not match[1].startswith(b"2"):
        login_text = ", so check its user name and password" if match[1] == b"407" else ""
        raise ProxyRefusalError(f"it answered {match[0].decode('latin-1')!r}{login_text}")
    if not answer.endswith(b"\r\n\r\n"):
        raise ProxyRefusalError("it says something of its own in the tunnel")


async def connect_by_socks(stream: AsyncNetworkStream, proxy: Proxy, host: str, port: int) -> None:
    """Ask a SOCKS 5 proxy, which also resolves the name: RFC 1928 and 1929."""
    has_login = proxy.username is not None
    await stream.write(b"\x05\x02\x00\x02" if has_login else b"\x05\x01\x00")
    version, method = await _read_exactly(stream, 2)
    if version != 5 or method not in ((0, 2) if has_login else (0,)):
        wants_login = version == 5 and method == 0xFF and not has_login
        raise ProxyRefusalError(
            "it wants a user name and password" if wants_login else "it does not answer as a SOCKS 5 proxy does"
        )
    if method == 2:
        login = [part.encode()[:255] for part in (proxy.username or "", proxy.password)]
        await stream.write(b"\x01" + b"".join(bytes((len(part),)) + part for part in login))
        if (await _read_exactly(stream, 2))[1] != 0:
            raise ProxyRefusalError("it does not accept the user name and password")
    await stream.write(b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
    _version, status, _reserved, kind = await _read_exactly(stream, 4)
    if status != 0:
        raise ProxyRefusalError(_SOCKS_FAILURES.get(status, f"it answered with code {status}"))
    size = (await _read_exactly(stream, 1))[0] if kind == 3 else {1: 4, 4: 16}.get(kind, 0)
    await _read_exactly(stream, size + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode()
        return bytes((3, len(name))) + name
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


async def _read_exactly(stream: AsyncNetworkStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.read(size - len(data))
        if not more:
            raise ProxyRefusalError("it ended the connection")
        data += more
    return data


# What went wrong -----------------------------------------------------------------------------------------------------


async def resolves(host: str, port: int) -> bool:
    """Whether the name is known, asked after a time-out: connecting does not tell how far it came."""
    with anyio.move_on_after(_RESOLVE_SECONDS):
        try:
            await anyio.getaddrinfo(host, port)
        except OSError:
            return False
        return True
    return False


def os_errors(error: BaseException) -> Iterator[BaseException]:
    """The errors of the system beneath *error*: one for each address that was tried."""
    group = getattr(error, "exceptions", None)
    if group is not None:
        for member in group:
            yield from os_errors(member)
    elif error.__cause__ is not None:
        yield from os_errors(error.__cause__)
    else:
        yield error


def describe_os_error(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror) or not number:
        return describe(error)
    # asyncio says "Connect call failed" instead of what the system says. Windows has numbers that strerror lacks.
    meaning = os.strerror(number)
    return describe(error) if "unknown" in meaning.lower() else f"{meaning} (errno {number})"


def describe_tls_error(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return str(error)
    return "the server ended the connection during the TLS handshake"
