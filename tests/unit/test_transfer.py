"""How long messages leave: in pieces, without holding up others and without copies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgspec
from websockets.frames import Frame
from websockets.protocol import Protocol, Side

from lmstudio import _transfer, _wire
from lmstudio._async_io import asyncio_hooks
from lmstudio._sdk_models import FilesRpcUploadFileBase64Parameter
from lmstudio._transfer import FrameTransfer
from lmstudio.json_api import Multiplexer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from lmstudio.errors import LMStudioError


class FakeSocket:
    """Takes everything at once, which only the very fastest server does."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def send(self, data: bytes | memoryview) -> int:
        self.size_bytes += len(data)
        return len(data)

    def close(self) -> None:
        pass


class Queue(Multiplexer):
    """A multiplexer that is given finished messages."""

    def put(self, *messages: _wire.Outgoing) -> None:
        for message in messages:
            self._send(message)


@contextlib.asynccontextmanager
async def transfer_through(own: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Queue]:
    """A multiplexer whose messages are written to *own*, where nothing is ever read."""
    monkeypatch.setattr(_transfer, "_own_socket", lambda _stream: own)
    hooks = msgspec.structs.replace(asyncio_hooks(asyncio.get_running_loop()), watch=lambda *_: lambda: None)
    lost: list[LMStudioError] = []
    queue = Queue()
    stream: Any = None  # all it is asked for is its socket
    task = asyncio.create_task(FrameTransfer(stream, queue, hooks, lost.append).run(list))
    await until(lambda: queue.on_outgoing is not None)
    yield queue
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert lost == []


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - it counts turns of the loop, not time
        await asyncio.sleep(0)


def upload(content: bytes) -> _wire.LongText:
    parameter = FilesRpcUploadFileBase64Parameter(name="n", content_base64="")
    message = _wire.encode_with(
        _wire.encode_with_base64(parameter, "contentBase64", content), _wire.RpcCall, "upload", 1
    )
    assert isinstance(message, _wire.LongText)
    return message


def test_messages_of_every_size_arrive_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [_wire.encode(_wire.ChannelAck(1, number)) for number in range(3)]
    middle = b'"%s"' % (b"m" * 20_000)
    content = b"\x00\xff" * 500_000
    own, peer = socket.socketpair()
    own.setblocking(False)
    server = Protocol(Side.SERVER, max_size=None)

    async def send() -> None:
        async with transfer_through(own, monkeypatch) as queue:
            queue.put(small[0], upload(content), small[1], middle, small[2])
            received: list[Any] = []
            while len(received) < 5:
                data = await asyncio.to_thread(peer.recv, 1 << 20)
                server.receive_data(data)
                received += [bytes(event.data) for event in server.events_received() if isinstance(event, Frame)]
        assert [received[0], *received[2:]] == [small[0], small[1], middle, small[2]]
        assert json.loads(received[1]) == json.loads(bytes(upload(content)))

    with peer:
        asyncio.run(send())


def test_a_long_message_leaves_without_a_copy_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(20 << 20)
    own = FakeSocket()

    async def send() -> int:
        async with transfer_through(own, monkeypatch) as queue:
            message = upload(content)
            tracemalloc.start()
            try:
                queue.put(message)
                await until(lambda: own.size_bytes >= message.size_bytes)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    assert asyncio.run(send()) < 1_000_000


def test_others_get_their_turn_while_a_long_message_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    own = FakeSocket()

    async def send() -> list[int]:
        async with transfer_through(own, monkeypatch) as queue:
            message = upload(bytes(4 << 20))
            queue.put(message)
            seen: list[int] = []
            while own.size_bytes < message.size_bytes:
                seen.append(own.size_bytes)
                await asyncio.sleep(0)
            return [*seen, own.size_bytes]

    sizes = asyncio.run(send())
    assert max(later - earlier for earlier, later in itertools.pairwise(sizes)) <= 1 << 20
