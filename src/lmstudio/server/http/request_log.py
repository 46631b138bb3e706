"""One line of the log for every request over HTTP: who asked for what, and what came of it. Never what was said."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from lmstudio.logs import fields, get_logger
from lmstudio.server.http.observer import observing

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lmstudio.server.http.observer import Observer

__all__ = ["METRICS_PATH", "QUIET_PATHS", "RequestLog"]

QUIET_PATHS: Final = frozenset(("/lmstudio-greeting", "/lms-status", "/health"))
"""What monitors and clients that look for servers ask all the time."""
METRICS_PATH: Final = "/metrics"
"""The same, but not for everybody: it tells how much a server is used, and for what."""
_LONGEST: Final = 200

_logger = get_logger("server")


class RequestLog:
    """Passes everything on, and tells of requests over HTTP: the log when they are over, *observer* all the time."""

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status: int | None = None
        is_whole = False

        async def send_watched(message: Message) -> None:
            nonlocal status, is_whole
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not message.get("more_body", False):
                is_whole = True

        request = self._observer.request(scope)
        try:
            with observing(request):
                await self._app(scope, receive, send_watched)
        finally:
            outcome = status if is_whole else None
            request.ended(outcome)
            _tell(scope, outcome, time.monotonic() - started)


def _tell(scope: Scope, status: int | None, seconds: float) -> None:
    # Without the query, which may hold anything; quoted, because the path may have line breaks.
    method, path, client = scope["method"], scope["path"][:_LONGEST], scope.get("client")
    level = logging.DEBUG if path in QUIET_PATHS or path == METRICS_PATH else logging.INFO
    peer = None if client is None else ":".join(map(str, client))
    known = fields(endpoint=path, method=method, status=status, peer=peer, seconds=seconds)
    outcome = "no whole answer" if status is None else status
    _logger.log(level, "%s %r: %s in %.3f s", method, path, outcome, seconds, extra=known)
