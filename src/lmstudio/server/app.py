"""The server's routes: greeting, status, one WebSocket per namespace, and the HTTP surfaces.

What a web page can do here, wherever it comes from. A WebSocket, and a request that changes something or makes a model
work, is refused unless `OriginPolicy` knows the page. What only reads is answered whatever the headers Origin and Host
say, without permission (CORS) to read the answer unless that is configured. Only a page whose name has been pointed at
this machine (DNS rebinding) could read which models there are, and of a server without API tokens at that. A check of
Host against that would turn away whoever uses a name of his own for this machine, a forwarded port or a proxy, and the
rest does not need it: such a page still sends its true Origin, which is compared with Host only where a token is
needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from lmstudio._address import NAMESPACES
from lmstudio._version import __version__
from lmstudio.server.auth import ApiTokens, Authenticator, IssuedCredentials
from lmstudio.server.connection import Connection, ConnectionLimits, Message, Receive, Send
from lmstudio.server.http.access import Access
from lmstudio.server.http.errors import HttpError, surface_of
from lmstudio.server.http.observer import Observer
from lmstudio.server.http.request_log import RequestLog
from lmstudio.server.http.settings import HttpSettings
from lmstudio.server.origins import OriginPolicy
from lmstudio.server.websocket import direct_websocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import HTTPConnection, Request

    from lmstudio.server._port import Handlers


class Core(Protocol):
    """Everything a server does but sockets; `ServerCore` is one."""

    credentials: IssuedCredentials
    """What this server has given to plugins, for their processes to connect with."""

    def handlers(self, namespace: str) -> Handlers | None:
        """What is served in *namespace*; an empty `Handlers` where nothing is, None without the native protocol."""
        raise NotImplementedError

    def http_routes(self, settings: HttpSettings) -> Sequence[BaseRoute]:
        """What is served over HTTP besides."""
        raise NotImplementedError

    async def wind_down(self, grace_seconds: float) -> None:
        """Begin nothing more, end what is running and tell its clients, within *grace_seconds*; not yet `aclose`."""

    async def aclose(self) -> None:
        """Unload all models and end the engine."""


@runtime_checkable
class PreparedCore(Protocol):
    """A core that has something to do before anybody is let in."""

    async def prepare(self) -> None:
        """Get ready. Raises ServerStartError if the server is not to start."""


@dataclass(frozen=True)
class AppSettings:
    """Who may connect, and what a client may cost."""

    api_tokens: ApiTokens = field(default_factory=ApiTokens)
    """If there are any, a client must hold one of them."""
    origins: OriginPolicy = field(default_factory=OriginPolicy)
    """Web pages that may connect."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    http: HttpSettings = field(default_factory=HttpSettings)
    observer: Observer = field(default_factory=Observer)
    """Who hears of requests over HTTP."""


def create_app(core: Core, settings: AppSettings | None = None) -> Starlette:
    """The application that serves *core*. uvicorn must run it with `DirectWebSocket`."""
    settings = settings or AppSettings()
    authenticator = Authenticator(settings.api_tokens, core.credentials)
    routes: list[BaseRoute] = [Route("/lmstudio-greeting", _greeting), Route("/lms-status", _status)]
    for namespace in NAMESPACES:
        handlers = core.handlers(namespace)
        if handlers is None:
            routes.append(WebSocketRoute(f"/{namespace}", _http_only))
            continue
        endpoint = _Namespace(namespace, handlers, authenticator, settings)
        routes += [WebSocketRoute(f"/{namespace}", endpoint), Route(f"/{namespace}", _upgrade_required)]
    routes += [*core.http_routes(settings.http), *settings.observer.routes()]
    routes.append(WebSocketRoute("/{path:path}", _no_such_websocket))
    middleware = [
        Middleware(RequestLog, settings.observer),
        Middleware(Access, settings.api_tokens, settings.origins, settings.http),
    ]
    errors = {HTTPException: partial(_http_error, settings.http)}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=errors)
    app.router.redirect_slashes = False
    return app


async def _greeting(_request: Request) -> JSONResponse:
    return JSONResponse({"lmstudio": True})


async def _status(_request: Request) -> JSONResponse:
    return JSONResponse({"package": "lmstudio-python", "version": __version__})


async def _upgrade_required(request: Request) -> JSONResponse:
    text = f"{request.url.path} is a WebSocket; connect to it with ws://, e.g. with lmstudio.Client"
    return JSONResponse({"error": text}, 426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


async def _http_error(settings: HttpSettings, request: HTTPConnection, error: Exception) -> JSONResponse:
    """Nothing is at the path, or not for this method."""
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.scope["method"]
    is_unknown = error.status_code == 404
    text = _no_such_path(request) if is_unknown else f"{path} does not know the method {method}."
    if settings.accept_unknown_paths:
        return JSONResponse({"error": text})
    refusal = HttpError("not_found" if is_unknown else "method_not_allowed", text, headers=error.headers)
    surface = surface_of(path)
    return JSONResponse(surface.body(refusal), surface.status(refusal), headers=refusal.headers)


async def _http_only(websocket: WebSocket) -> None:
    text = "This server has no native protocol, only HTTP: connect to LM Studio itself, or use lmstudio.http"
    await websocket.send_denial_response(JSONResponse({"error": text}, 404))


async def _no_such_websocket(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"error": _no_such_path(websocket)}, 404))


def _no_such_path(connection: HTTPConnection) -> str:
    return f"This server has nothing at {connection.url.path}."


class _Namespace:
    """The ASGI application behind one namespace's path."""

    def __init__(self, namespace: str, handlers: Handlers, authenticator: Authenticator, settings: AppSettings) -> None:
        self._namespace = namespace
        self._handlers = handlers
        self._authenticator = authenticator
        self._settings = settings

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        origins = websocket.headers.getlist("origin")
        if not self._settings.origins.admits(websocket.headers, self._settings.api_tokens):
            text = f"Web pages of {', '.join(origins)} may not use this server, see the option allowed_origins"
            await websocket.send_denial_response(JSONResponse({"error": text}, 403))
            return
        await websocket.accept()
        direct = direct_websocket(scope)
        connection = Connection(
            self._namespace,
            self._handlers,
            self._authenticator,
            self._settings.limits,
            direct,
            f"{websocket.url.scheme}://{websocket.url.netloc}",
        )
        try:
            await connection.run(receive, send)
        finally:
            direct.end_soon()
