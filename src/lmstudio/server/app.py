"""The server's routes: greeting, status, and one WebSocket per namespace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from lmstudio._address import NAMESPACES
from lmstudio._version import __version__
from lmstudio.server.auth import Authenticator
from lmstudio.server.connection import Connection, ConnectionLimits, Message, Receive, Send
from lmstudio.server.websocket import direct_websocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection, Request

    from lmstudio.server._port import Handlers

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class Core(Protocol):
    """Everything a server does but sockets; `ServerCore` is one."""

    def handlers(self, namespace: str) -> Handlers:
        """What is served in *namespace*; an empty `Handlers` where nothing is."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Unload all models and end the engine."""


@dataclass(frozen=True)
class AppSettings:
    """Who may connect, and what a client may cost."""

    api_tokens: Sequence[str] = ()
    """If there are any, a client must hold one of them."""
    allowed_origins: Sequence[str] = ()
    """Web pages that may connect, besides those of this machine, e.g. "https://example.com"; "*" allows all."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


def create_app(core: Core, settings: AppSettings | None = None) -> Starlette:
    """The application that serves *core*. uvicorn must run it with `DirectWebSocket`.

    Raises:
        LMStudioValueError: an API token does not have the form of one.
    """
    settings = settings or AppSettings()
    authenticator = Authenticator(settings.api_tokens)
    routes: list[BaseRoute] = [Route("/lmstudio-greeting", _greeting), Route("/lms-status", _status)]
    for namespace in NAMESPACES:
        endpoint = _Namespace(namespace, core.handlers(namespace), authenticator, settings)
        routes += [WebSocketRoute(f"/{namespace}", endpoint), Route(f"/{namespace}", _upgrade_required)]
    routes.append(WebSocketRoute("/{path:path}", _no_such_websocket))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False
    return app


async def _greeting(_request: Request) -> JSONResponse:
    return JSONResponse({"lmstudio": True})


async def _status(_request: Request) -> JSONResponse:
    return JSONResponse({"package": "lmstudio-python", "version": __version__})


async def _upgrade_required(request: Request) -> JSONResponse:
    text = f"{request.url.path} is a WebSocket; connect to it with ws://, e.g. with lmstudio.Client"
    return JSONResponse({"error": text}, 426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


async def _http_error(request: HTTPConnection, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    text = _no_such_path(request) if error.status_code == 404 else f"{error.detail}: {request.url.path}"
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)


async def _no_such_websocket(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"error": _no_such_path(websocket)}, 404))


def _no_such_path(connection: HTTPConnection) -> str:
    return f"This server has nothing at {connection.url.path}"


class _Namespace:
    """The ASGI application behind one namespace's path."""

    def __init__(self, namespace: str, handlers: Handlers, authenticator: Authenticator, settings: AppSettings) -> None:
        self._namespace = namespace
        self._handlers = handlers
        self._authenticator = authenticator
        self._settings = settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        origin = websocket.headers.get("origin")
        if origin is not None and not self._is_allowed(origin):
            text = f"Web pages of {origin} may not use this server, see the option allowed_origins"
            await websocket.send_denial_response(JSONResponse({"error": text}, 403))
            return
        await websocket.accept()
        connection = Connection(
            self._namespace, self._handlers, self._authenticator, self._settings.limits, direct_websocket(scope)
        )
        await connection.run(receive, send)

    def _is_allowed(self, origin: str) -> bool:
        # Browsers let any page open a WebSocket to any address, this machine's too, and tell only where it came from.
        allowed = self._settings.allowed_origins
        return "*" in allowed or origin in allowed or _host_name(origin) in _LOOPBACK_NAMES


def _host_name(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None
