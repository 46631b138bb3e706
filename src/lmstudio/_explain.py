"""Why a connection could not be made: URL, how far it came, cause, and what to do."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import msgspec

from ._discovery import first_server
from ._transfer import describe
from .errors import (
    LMStudioAuthenticationError,
    LMStudioConnectTimeoutError,
    LMStudioError,
    LMStudioWebsocketError,
)

if TYPE_CHECKING:
    from collections.abc import Container

    import httpx
    from httpx_ws import WebSocketUpgradeError

    from ._address import ServerAddress
    from ._dial import DialError
    from .errors import ConnectionPhase

_PHASES: dict[ConnectionPhase, str] = {
    "proxy": "at the proxy",
    "dns": "resolving the name",
    "tcp": "at TCP",
    "tls": "at TLS",
    "greeting": "at the greeting",
    "websocket": "at the WebSocket upgrade",
    "authentication": "at the authentication",
}
_LONGEST_LOCATION = 200


def cannot_connect(
    url: str, phase: ConnectionPhase, reason: str, cause: BaseException, advice: str = ""
) -> LMStudioWebsocketError:
    """The error to raise. *reason* is a sentence without its end, *advice* are whole ones."""
    text = f"{_failure(url, phase)}: {reason.removesuffix('.')}. {advice}"
    error = LMStudioWebsocketError(text.rstrip(), phase=phase, url=url)
    error.__cause__ = cause
    return error.with_context(phase=phase, url=url)


def _failure(url: str | None, phase: ConnectionPhase) -> str:
    return f"Could not connect to {url or 'the server on this machine'} ({_PHASES[phase]})"


def not_authenticated(url: str, reason: str, cause: BaseException | None = None) -> LMStudioAuthenticationError:
    """The error to raise where the server does not accept the credentials; *reason* is the server's."""
    error = LMStudioAuthenticationError(
        f"Authentication failed at {url}: {reason}. "
        "Pass an API token of this server with api_token=..., or set LM_API_TOKEN.",
        {"title": reason},
        url=url,
    )
    error.__cause__ = cause
    return error.with_context(phase=error.phase, url=url)


async def explain(http: httpx.AsyncClient, address: ServerAddress, url: str, error: Exception) -> LMStudioError:
    """The error to raise when asking for a WebSocket at *url* ended with *error*, one of httpx or httpx-ws.

    Where something listens that is not what was expected, it is asked what it is. That takes a second at most.
    """
    import httpx
    from httpx_ws import WebSocketUpgradeError

    from ._dial import DialError

    if isinstance(error, DialError):
        return await _unreachable(http, address, url, error)
    if isinstance(error, WebSocketUpgradeError):
        return await _refused(http, address, url, error)
    if isinstance(error, httpx.InvalidURL):
        return cannot_connect(url, "dns", f"the host name is not valid: {describe(error)}", error)
    reason = f"the server accepted the connection, but not as an HTTP server does ({describe(error)})"
    return await _unexpected(http, address, url, reason, error)


def may_pass(error: Exception, statuses: Container[int]) -> bool:
    """Whether another attempt may succeed where this one ended with *error*; *statuses* of HTTP are worth one."""
    import httpx
    from httpx_ws import WebSocketUpgradeError

    from ._dial import DialError

    if isinstance(error, WebSocketUpgradeError):
        return error.response.status_code in statuses
    if isinstance(error, DialError):
        is_unknown_name = isinstance(error.cause, socket.gaierror) and error.cause.errno == socket.EAI_NONAME
        return not is_unknown_name and not isinstance(error.cause, ssl.SSLError)
    return not isinstance(error, httpx.InvalidURL)


async def attempt_timed_out(
    address: ServerAddress | None, url: str | None, phase: ConnectionPhase, seconds: float
) -> LMStudioConnectTimeoutError:
    """The error to raise when an attempt has reached *phase* after *seconds*, all that it may take."""
    from ._dial import resolves
    from ._remedies import look_around, remedy

    if phase == "tcp" and address is not None and not await resolves(address.host, address.port):
        phase = "dns"
    if phase in ("websocket", "authentication"):
        what = "the server accepted the connection, but did not answer"
        advice = "Is it LM Studio that listens there, and is it stuck?"
    else:
        what = "LM Studio is not reachable: no answer"
        advice = "" if address is None else remedy(phase, address, None, look_around())
    text = f"{_failure(url, phase)}: {what} within {seconds:g} seconds (timeout 'connect'). {advice}"
    error = LMStudioConnectTimeoutError.of_limit("connect", seconds, text.rstrip(), phase=phase, url=url)
    return error.with_context(phase=phase, url=url)


async def _unreachable(
    http: httpx.AsyncClient, address: ServerAddress, url: str, error: DialError
) -> LMStudioWebsocketError:
    """There is no connection below HTTP."""
    from ._remedies import look_around, remedy

    what, advice = "LM Studio is not reachable", ""
    if error.phase == "tls":
        what = "TLS failed"
        advice = _elsewhere(await first_server(http, _neighbours(address)))
    advice = advice or remedy(error.phase, address, error.cause, look_around())
    return cannot_connect(url, error.phase, f"{what}: {error.reason}", error.cause or error, advice)


async def _refused(
    http: httpx.AsyncClient, address: ServerAddress, url: str, error: WebSocketUpgradeError
) -> LMStudioError:
    """Something answers as a web server does, but not with a WebSocket."""
    status, location = error.response.status_code, error.response.headers.get("location", "")
    reason = f"the server answered with HTTP status {status} instead of a WebSocket"
    if status == 401:
        return not_authenticated(url, reason, error)
    if location:
        advice = f"It redirects to {location[:_LONGEST_LOCATION]!r}: if LM Studio is there, pass that address."
        return cannot_connect(url, "websocket", reason, error, advice)
    return await _unexpected(http, address, url, reason, error, is_missing=status == 404)


async def _unexpected(
    http: httpx.AsyncClient,
    address: ServerAddress,
    url: str,
    reason: str,
    error: Exception,
    *,
    is_missing: bool = False,
) -> LMStudioWebsocketError:
    """*is_missing*: it has nothing at that path."""
    found = await first_server(http, [address, *_neighbours(address)])
    if found == address:
        advice = "LM Studio answers there, but does not allow this connection, or its version does not know it."
        if is_missing:
            advice = "It greets as LM Studio does, but may be a gateway, which has HTTP only: use lmstudio.http there."
        return cannot_connect(url, "websocket", reason, error, advice)
    advice = _elsewhere(found) or "Is it LM Studio that listens there? It does not greet as LM Studio does."
    return cannot_connect(url, "greeting", reason, error, advice)


def _neighbours(address: ServerAddress) -> list[ServerAddress]:
    """What may have been meant: the other of TLS and no TLS, and no path."""
    other = msgspec.structs.replace(address, secure=not address.secure)
    no_path = [msgspec.structs.replace(variant, prefix="") for variant in (address, other)]
    return [other, *no_path] if address.prefix else [other]


def _elsewhere(found: ServerAddress | None) -> str:
    return "" if found is None else f"But LM Studio answers at {found.http_url('')}: pass that address."
