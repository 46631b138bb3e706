"""uvicorn as a part of this program: it starts and ends when told to, and takes neither signals nor the log."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import uvicorn
from wsproto.utilities import LocalProtocolError

from lmstudio.logs import get_logger
from lmstudio.server.app import AppSettings, Core, create_app
from lmstudio.server.connection import HANDLER_END_SECONDS
from lmstudio.server.lobby import BriefHttp, ListenerConfig, Lobby
from lmstudio.server.websocket import DirectWebSocket

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

_logger = get_logger("server")

PING_SECONDS = 20.0
IDLE_SECONDS = 75
"""For a connection between two requests. Clients keep theirs for 5 seconds (httpx, Node) to 60 (load balancers). One
that the server ends in the moment in which its client uses it again costs that request."""
_GOODBYE_SECONDS = 0.2
_ACCEPT_TURNS = 5
"""From accepting a connection to telling us of it asyncio needs three. Nobody would close those in between."""


class Listener(uvicorn.Server):
    """Serves *core* on sockets that listen already, until `stopping` is set."""

    def __init__(
        self,
        core: Core,
        settings: AppSettings,
        on_started: Callable[[], None],
        wind_down: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """*wind_down* is awaited between the last connection that is accepted and the end of all of them."""
        super().__init__(
            ListenerConfig(
                create_app(core, settings),
                lobby=Lobby(settings.limits.max_strangers),
                request_seconds=settings.limits.request_seconds,
                stall_seconds=settings.limits.stall_seconds,
                http=BriefHttp,
                timeout_keep_alive=IDLE_SECONDS,
                ws=DirectWebSocket,
                ws_max_size=settings.limits.max_message_bytes,
                # Pings tell the system that a peer is gone, but nobody is disconnected for not answering them: a
                # program that stands at a breakpoint is alive.
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=None,
                # Compressing costs more than it saves on the way to the same machine.
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
            )
        )
        self.stopping: asyncio.Event = asyncio.Event()
        self._on_started = on_started
        self._wind_down = wind_down

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then report that."""
        await super().startup(sockets)
        self._on_started()

    async def main_loop(self) -> None:
        """Wait to be stopped. uvicorn's own looks ten times a second whether it should."""
        await self.stopping.wait()
        # A client may have asked for the end: what is ready to be written, its answer, leaves in this turn of the loop.
        await asyncio.sleep(0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections: those that are idle properly, those that are busy soon, those that are stuck at once."""
        await self._stop_accepting()
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        if self._wind_down is not None:
            await self._wind_down()
        state = self.server_state
        for connection in list(state.connections):
            # One whose closing handshake is done, but whose transport is still open, cannot be closed again.
            with contextlib.suppress(LocalProtocolError):
                connection.shutdown()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=HANDLER_END_SECONDS + _GOODBYE_SECONDS)
        await self._wait_for_goodbyes()
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.wait(list(state.tasks), timeout=_GOODBYE_SECONDS)

    async def _stop_accepting(self) -> None:
        """Take no more connections, and get to know those that have been accepted.

        asyncio drops connections that it has accepted, and does not close them, if their server is closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError):  # on Windows
                    loop.remove_reader(listening.fileno())
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)

    async def _wait_for_goodbyes(self) -> None:
        """Let closed connections flush what they have; one whose peer does not read never does."""
        deadline = asyncio.get_running_loop().time() + _GOODBYE_SECONDS
        # uvicorn has no event for the end of a connection.
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 (see above)
            await asyncio.sleep(0.005)
