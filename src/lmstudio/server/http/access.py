"""Who may use the HTTP surfaces: API tokens, web pages, and bodies where none belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from lmstudio._auth import parse_api_token
from lmstudio.errors import LMStudioValueError
from lmstudio.server.http.errors import HttpError, surface_of
from lmstudio.server.http.exchange import send_json
from lmstudio.server.http.page import PAGE_PATHS
from lmstudio.server.http.request_log import QUIET_PATHS
from lmstudio.server.lobby import announces_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lmstudio.server.auth import ApiTokens
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.origins import OriginPolicy

__all__ = ["PUBLIC_PATHS", "Access"]

PUBLIC_PATHS: Final = PAGE_PATHS | QUIET_PATHS
"""What everybody may ask: clients look for servers without a token, and monitors have none."""
_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_ALLOWED_METHODS: Final = "GET, POST, DELETE, OPTIONS"
_ALLOWED_HEADERS: Final = "Authorization, Content-Type, X-Api-Key, Anthropic-Version"
_PREFLIGHT_SECONDS: Final = "600"


class Access:
    """Lets requests in that may come in, and tells browsers what their pages may read. WebSockets pass."""

    def __init__(self, app: ASGIApp, tokens: ApiTokens, origins: OriginPolicy, settings: HttpSettings) -> None:
        self._app = app
        self._tokens = tokens
        self._origins = origins
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = _BodyWatch(scope, receive)
        send = body.closing(self._with_cors(headers, send))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(headers, send)
            return
        try:
            self._check(scope, headers)
        except HttpError as error:
            surface = surface_of(scope["path"])
            await send_json(send, surface.status(error), surface.body(error), error.headers)
        else:
            await self._app(scope, body.receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Raises HttpError for a request that may not come in."""
        origins = headers.getlist("origin")
        # A page may send some requests without asking first, and then cannot read the answer. What changes nothing is
        # answered: links and pictures send no Origin anyway.
        is_harmless = scope["method"] in _SAFE_METHODS or self._settings.cors
        if not (is_harmless or self._origins.admits(headers, self._tokens)):
            pages = ", ".join(origins)[:100]
            text = f"Web pages of {pages} may not use this server, see the options cors and allowed_origins."
            raise HttpError("forbidden", text)
        if self._tokens and scope["path"] not in PUBLIC_PATHS:
            self._check_token(_token(headers))
        if scope["method"] in _SAFE_METHODS and announces_body(scope["headers"]):
            raise HttpError("too_large", f"{scope['method']} requests to this server have no body.")

    def _check_token(self, token: str | None) -> None:
        if token is not None:
            try:
                is_known = self._tokens.accept(*parse_api_token(token))
            except LMStudioValueError:
                is_known = False
            if is_known:
                return
        found = "none was given" if token is None else "the one given is not valid"
        text = f"This server requires an API token, and {found}. Send it as 'Authorization: Bearer sk-lm-...'."
        raise HttpError("unauthorized", text, headers={"WWW-Authenticate": "Bearer"})

    def _readers(self, headers: Headers) -> str | None:
        """The origin whose pages may read the answer; "*" for all, None for none."""
        if self._settings.cors:
            return "*"
        return self._origins.named(headers.getlist("origin"))

    def _with_cors(self, headers: Headers, send: Send) -> Send:
        readers = self._readers(headers)
        if readers is None:
            return send

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                added["Access-Control-Allow-Origin"] = readers
                if readers != "*":
                    added.add_vary_header("Origin")
            await send(message)

        return send_with_cors

    async def _preflight(self, headers: Headers, send: Send) -> None:
        added: list[tuple[bytes, bytes]] = []
        if self._readers(headers) is not None:
            wanted = headers.get("access-control-request-headers", _ALLOWED_HEADERS)
            names = {
                "access-control-allow-methods": _ALLOWED_METHODS,
                "access-control-allow-headers": wanted,
                "access-control-max-age": _PREFLIGHT_SECONDS,
            }
            if headers.get("access-control-request-private-network") == "true":
                names["access-control-allow-private-network"] = "true"
            added = [(name.encode(), value.encode("latin-1")) for name, value in names.items()]
        await send({"type": "http.response.start", "status": 204, "headers": added})
        await send({"type": "http.response.body", "body": b""})


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")


class _BodyWatch:
    """Ends connections whose request was answered before its body was read: the rest is nothing to wait for."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._is_unread = announces_body(scope["headers"])

    async def receive(self) -> Message:
        """As the server's own."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._is_unread = False
        return message

    def closing(self, send: Send) -> Send:
        """*send*, with the announcement where it is due."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_unread:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return send_closing
