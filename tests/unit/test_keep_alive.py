"""When a silent connection is given up: counted with a clock that the test moves, nap by nap."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from lmstudio import _transfer, _wire
from lmstudio._async_io import asyncio_hooks
from lmstudio._runtime import Outlet
from lmstudio._transfer import FrameTransfer, LinkDownError
from lmstudio.json_api import Multiplexer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from lmstudio.errors import LMStudioError

PONG = b"\x8a\x00"
FEW = 3
MANY = 100
"""Naps; far more than one interval has."""


class Clock:
    """Stands still until the test grants a nap."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._naps: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()
        monkeypatch.setattr(_transfer, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(anyio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._naps.put_nowait((seconds, woken))
        await woken

    async def pass_nap(self, *, oversleep: float = 0.0) -> None:
        """Let the next nap end, *oversleep* seconds too late."""
        seconds, woken = await self._naps.get()
        self.now += seconds + oversleep
        woken.set_result(None)
        for _ in range(FEW):
            await asyncio.sleep(0)


@dataclass
class Link:
    """A connection, seen from its other end."""

    clock: Clock
    peer: socket.socket
    multiplexer: Multiplexer
    lost: list[LMStudioError] = field(default_factory=list)

    async def says(self, data: bytes) -> None:
        """The server sends *data*, and the client reads it."""
        self.peer.sendall(data)
        for _ in range(FEW):
            await asyncio.sleep(0)

    def heard(self) -> bytes:
        """What the client has sent since the last call."""
        try:
            return self.peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    async def pass_until(self, claim: str) -> float:
        """Let naps pass until the client has sent a ping, or has given up; how many seconds that took."""
        began = self.clock.now
        for _ in range(MANY):
            await self.clock.pass_nap()
            if self.lost if claim == "lost" else self.heard():
                return self.clock.now - began
        raise AssertionError(f"Never {claim}.")


@contextlib.asynccontextmanager
async def open_link(monkeypatch: pytest.MonkeyPatch, *, own_socket: bool = True) -> AsyncIterator[Link]:
    own, peer = socket.socketpair()
    own.setblocking(False)
    peer.setblocking(False)
    link = Link(Clock(monkeypatch), peer, Multiplexer())
    stream: Any = SocketStream(own)
    monkeypatch.setattr(_transfer, "_own_socket", lambda _stream: own if own_socket else None)
    hooks = asyncio_hooks(asyncio.get_running_loop())
    task = asyncio.create_task(FrameTransfer(stream, link.multiplexer, hooks, link.lost.append).run(list))
    await until(lambda: link.multiplexer.on_outgoing)
    with peer, own:
        yield link
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, LinkDownError):
            await task


class SocketStream:
    """As much of a stream as a transfer needs that has no socket of its own."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own

    async def read(self, max_bytes: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._own, max_bytes)

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._own, data)


class Nobody(Outlet):
    """Waits for no answer."""

    def __init__(self) -> None:
        self.put = lambda _delivery: None

    def wake(self) -> None:
        pass


async def until(claim: Callable[[], object]) -> None:
    while not claim():  # noqa: ASYNC110 - it counts turns of the loop, not time
        await asyncio.sleep(0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10.0))


def test_silence_is_asked_about_after_half_of_the_interval_and_lost_after_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with open_link(monkeypatch) as link:
            asked = await link.pass_until("asked")
            assert asked == pytest.approx(_transfer.KEEPALIVE_SECONDS / 2)
            assert asked + await link.pass_until("lost") == pytest.approx(_transfer.KEEPALIVE_SECONDS)
            assert "no sign of life for 20 seconds" in str(link.lost[0])

    run(test())


def test_interval_begins_with_the_last_sign_of_life_and_not_with_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with open_link(monkeypatch) as link:
            await link.pass_until("asked")
            await link.clock.pass_nap()
            link.clock.now += 1.0  # within a nap
            await link.says(PONG)
            heard = link.clock.now
            await link.clock.pass_nap(oversleep=-1.0)  # that second was of this nap
            await link.pass_until("lost")
            assert link.clock.now - heard == pytest.approx(_transfer.KEEPALIVE_SECONDS)

    run(test())


def test_server_that_answers_is_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with open_link(monkeypatch) as link:
            for _ in range(FEW):
                await link.pass_until("asked")
                await link.says(PONG)
            assert link.lost == []

    run(test())


@pytest.mark.parametrize("when", ["before it asks", "while it waits for the answer"])
def test_process_that_was_stopped_asks_and_reads_before_it_gives_up(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    async def test() -> None:
        async with open_link(monkeypatch) as link:
            if when == "while it waits for the answer":
                await link.pass_until("asked")
            await link.clock.pass_nap(oversleep=3600.0)
            assert link.lost == []
            if when == "before it asks":
                await link.pass_until("asked")
            await link.says(PONG)
            await link.pass_until("asked")
            assert link.lost == []

    run(test())


def test_loop_that_is_held_up_all_the_time_notices_a_loss_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with open_link(monkeypatch) as link:
            for _ in range(MANY):
                await link.clock.pass_nap(oversleep=60.0)
                if link.lost:
                    return
            raise AssertionError("Never lost.")

    run(test())


@pytest.mark.parametrize("own_socket", [True, False])
def test_long_message_that_the_server_takes_slowly_is_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch, own_socket: bool
) -> None:
    async def test() -> None:
        async with open_link(monkeypatch, own_socket=own_socket) as link:
            link.multiplexer.call("upload", _wire.encode_payload({"content": "x" * (64 << 20)}), Nobody())
            for _ in range(MANY):
                await until(link.heard)
                await link.clock.pass_nap()
            assert link.lost == []
            await link.pass_until("lost")  # and when it takes no more, it is lost

    run(test())
