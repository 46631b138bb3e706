"""Reading from sockets beside anyio: nothing is lost, and a server that is too fast has to wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import httpcore
import pytest
from patience import PATIENCE_SECONDS

from lmstudio.http._socket_reads import SocketReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENOUGH = 32 * 1024 * 1024
"""Bytes that no buffers of a socket take."""


def with_pair(scenario: Callable[[SocketReader, socket.socket], Awaitable[None]]) -> None:
    async def run() -> None:
        near, far = socket.socketpair()
        with near, far:
            far.setblocking(False)
            reader = await SocketReader.of(near)
            try:
                await scenario(reader, far)
            finally:
                reader.close()

    asyncio.run(run())


def test_server_that_is_too_fast_waits_and_nothing_is_lost() -> None:
    async def scenario(reader: SocketReader, far: socket.socket) -> None:
        sent = 0
        for turn in range(20_000):
            with contextlib.suppress(BlockingIOError):
                sent += far.send(turn.to_bytes(4, "big") * 16_384)
            await asyncio.sleep(0)
        assert 0 < sent < ENOUGH
        far.shutdown(socket.SHUT_WR)
        got = 0
        while piece := await reader.read(10_000, PATIENCE_SECONDS):
            assert len(piece) <= 10_000
            got += len(piece)
        assert got == sent

    with_pair(scenario)


def test_silence_is_a_timeout_and_what_comes_after_it_is_read() -> None:
    async def scenario(reader: SocketReader, far: socket.socket) -> None:
        for seconds in (0.0, 0.01):
            with pytest.raises(httpcore.ReadTimeout):
                await reader.read(100, seconds)
        had_input = [reader.has_input]
        far.send(b"four")
        pieces = [await reader.read(3, PATIENCE_SECONDS)]
        had_input.append(reader.has_input)
        pieces.append(await reader.read(3, None))
        assert (had_input, pieces) == ([False, True], [b"fou", b"r"])

    with_pair(scenario)


def test_end_is_the_end_for_good() -> None:
    async def scenario(reader: SocketReader, far: socket.socket) -> None:
        far.send(b"four")
        far.close()
        assert [await reader.read(100, PATIENCE_SECONDS) for _ in range(3)] == [b"four", b"", b""]

    with_pair(scenario)


def test_cancelled_wait_leaves_the_reader_usable() -> None:
    async def scenario(reader: SocketReader, far: socket.socket) -> None:
        waiting = asyncio.ensure_future(reader.read(100, None))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        far.send(b"four")
        assert await reader.read(100, PATIENCE_SECONDS) == b"four"

    with_pair(scenario)
