"""One more port, which clients open and close with startHttpServer and stopHttpServer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from lmstudio.logs import fields, get_logger
from lmstudio.server.errors import RequestError, ServerStartError
from lmstudio.server.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio.server.app import AppSettings, Core
    from lmstudio.server.binding import Binding

__all__ = ["ExtraListener"]

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 1234
_END_SECONDS: Final = 5.0

_logger = get_logger("server")


class _Wish(NamedTuple):
    """What a client has asked for."""

    host: str
    port: int
    cors: bool


class ExtraListener:
    """Serves *core* at one more port, as at the first one. It belongs to the server's own event loop."""

    def __init__(self, core: Core, settings: AppSettings, find_binding: Callable[[str, int], Binding]) -> None:
        """*find_binding* says whether the server may listen at a host and port; it raises ServerStartError if not."""
        self._core = core
        self._settings = settings
        self._find_binding = find_binding
        self._wish: _Wish | None = None
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def is_started(self) -> bool:
        """It listens."""
        return self._wish is not None

    async def start(self, host: str | None, port: int | None, *, cors: bool) -> None:
        """Listen at *port*, by default LM Studio's, of *host*; no longer at the one before.

        Raises:
            RequestError: the port is in use, or everybody could connect, which is not wanted.
        """
        wish = _Wish(host or _DEFAULT_HOST, port or _DEFAULT_PORT, cors)
        async with self._turn:
            if wish == self._wish:
                return
            try:
                binding = self._find_binding(wish.host, wish.port)
                await self._end()
                sock = binding.listen()
            except ServerStartError as error:
                raise RequestError(f"Cannot start the HTTP server: {error}") from error
            self._listener = Listener(self._core, self._settings_for(wish), (started := asyncio.Event()).set)
            self._task = asyncio.ensure_future(self._listener.serve([sock]))
            # From now on it can be ended, also if nobody waits for this any more.
            self._wish = wish
            waiting = asyncio.ensure_future(started.wait())
            try:
                await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if self._task.done():
                self._wish = None
                sock.close()
                self._task.result()
            _logger.info("Listening at %s:%d, too", wish.host, wish.port, extra=fields())

    def _settings_for(self, wish: _Wish) -> AppSettings:
        return replace(self._settings, http=replace(self._settings.http, cors=wish.cors))

    async def stop(self) -> None:
        """Listen there no longer, and end its connections. Does nothing while it does not listen."""
        async with self._turn:
            await self._end()

    async def aclose(self) -> None:
        """As `stop`, at the end of the server."""
        await self._end()

    async def _end(self) -> None:
        wish, self._wish = self._wish, None
        if wish is None or self._listener is None or self._task is None:
            return
        self._listener.stopping.set()
        # Not for ever: who has asked for this may be a client of this very listener.
        await asyncio.wait((self._task,), timeout=_END_SECONDS)
        _logger.info("Listening at %s:%d no longer", wish.host, wish.port, extra=fields())
