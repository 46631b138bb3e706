"""The page at `/`: models, a chat, statistics and the log, for whoever opens the server in a browser."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.routing import BaseRoute

__all__ = ["PAGE_PATHS", "page_routes"]

_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/protocol.js": ("protocol.js", "text/javascript; charset=utf-8"),
}
PAGE_PATHS: Final = frozenset(_FILES)
"""What needs no token: the page asks for one."""
_HEADERS: Final = {
    # Nothing but these files, and connections to this server: whatever a model writes, it can load and send nothing.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[BaseRoute]:
    """The files of the page."""
    return [Route(path, _file(name, media_type), methods=["GET"]) for path, (name, media_type) in _FILES.items()]


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = resources.files("lmstudio.server").joinpath("page").joinpath(name).read_bytes()

    async def send(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return send
