"""Passes bytes on and looks at none of them: the least that a process in between can cost, for `gateway.py`."""

from __future__ import annotations

import asyncio
import sys


class Upward(asyncio.Protocol):
    """The connection to the server behind."""

    def __init__(self, client: asyncio.Transport, first: list[bytes]) -> None:
        self._client = client
        self._first = first
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what has come meanwhile."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.writelines(self._first)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """The other one ends as well."""
        self._client.close()


class Relay(asyncio.Protocol):
    """The connection of a client."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._first: list[bytes] = []
        self._upward: Upward | None = None
        self._connecting: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to the server behind."""
        assert isinstance(transport, asyncio.Transport)
        upward = self._upward = Upward(transport, self._first)
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(loop.create_connection(lambda: upward, "127.0.0.1", self._port))

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        assert self._upward is not None
        if self._upward.transport is None:
            self._first.append(data)
        else:
            self._upward.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """The other one ends as well."""
        if self._upward is not None and self._upward.transport is not None:
            self._upward.transport.close()


async def main() -> None:
    """Listen at the second argument's port for the server at the first one's."""
    behind, port = int(sys.argv[1]), int(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(lambda: Relay(behind), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
