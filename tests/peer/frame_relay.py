"""Recording frames between a client and a server, and asking lmstudio.js's schemas what they think of them.

with FrameRelay(server.api_host) as relay:
    client = lmstudio.Client(relay.api_host)
    ...
report = check_frames(relay.frames)
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from .node_peer import NODE_FOLDER, node_environment, require_node

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection

Direction = Literal["toServer", "toClient"]


@dataclass(frozen=True)
class RecordedFrame:
    """One frame, in the order in which it came to the relay."""

    connection: int
    """Ids of calls and channels count within it."""
    namespace: str
    direction: Direction
    frame: str


@dataclass(frozen=True)
class Violation:
    """Something that lmstudio.js would not accept, or would ignore. *line* counts frames from 1."""

    line: int
    connection: int
    namespace: str
    direction: Direction
    endpoint: str
    path: str
    problem: str

    def __str__(self) -> str:
        where = " ".join(part for part in (f"{self.namespace}/{self.endpoint}", self.direction, self.path) if part)
        return f"{where}: {self.problem}"


@dataclass(frozen=True)
class FrameReport:
    """What lmstudio.js thinks of a conversation."""

    violations: Sequence[Violation]
    frames: int
    endpoints: dict[str, dict[str, Any]]
    """By "namespace/endpoint", all there are: kind, and number of frames "toServer" and "toClient"."""


def check_frames(frames: Sequence[RecordedFrame]) -> FrameReport:
    """Check every frame with the schemas of the npm package."""
    done = subprocess.run(
        [require_node(), "validate_frames.mjs"],
        cwd=NODE_FOLDER,
        env=node_environment(),
        input="".join(json.dumps(asdict(frame)) + "\n" for frame in frames),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *violations, last = (json.loads(line) for line in done.stdout.splitlines())
    summary = last["summary"]
    assert summary["frames"] == len(frames)
    found = [Violation(**line["violation"]) for line in violations]
    return FrameReport(found, summary["frames"], summary["endpoints"])


class FrameRelay:
    """A server that passes everything on to another one, both ways, and keeps a copy. Runs in a thread of its own."""

    def __init__(self, api_host: str) -> None:
        self.api_host = ""
        """host:port for clients, once it runs."""
        self.frames: list[RecordedFrame] = []
        self._target = api_host
        self._connections = 0
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="frame relay")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    def pass_on(self, frame: RecordedFrame) -> Sequence[str]:
        """What the other side gets instead of *frame*."""
        return [frame.frame]

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with serve(self._relay, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.api_host = f"127.0.0.1:{port}"
            self._started.set_result(None)
            await self._stopping.wait()

    async def _relay(self, client: ServerConnection) -> None:
        assert client.request is not None
        path = client.request.path
        number = self._connections
        self._connections += 1
        async with connect(
            f"ws://{self._target}{path}", compression=None, max_size=None, ping_interval=None, proxy=None
        ) as server:
            namespace = path.removeprefix("/")
            ways = [
                asyncio.ensure_future(self._copy(number, namespace, "toServer", client, server)),
                asyncio.ensure_future(self._copy(number, namespace, "toClient", server, client)),
            ]
            await asyncio.wait(ways)

    async def _copy(
        self, number: int, namespace: str, direction: Direction, source: Connection, target: Connection
    ) -> None:
        """Until one side closes; then close the other."""
        try:
            async for message in source:
                text = message if isinstance(message, str) else f"a binary message: {message!r}"
                frame = RecordedFrame(number, namespace, direction, text)
                self.frames.append(frame)
                for passed_on in self.pass_on(frame) if isinstance(message, str) else [message]:
                    await target.send(passed_on)
        except ConnectionClosed:
            pass  # without a closing handshake, or while the other side was being written to
        await target.close()
