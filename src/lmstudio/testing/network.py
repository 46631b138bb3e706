"""A TCP proxy between client and server that breaks connections on purpose, and writes down what the client says.

with FaultProxy(server.port) as proxy, lmstudio.Client(proxy.api_host) as client:
    proxy.lose_after(3)  # fragments of a prediction
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import selectors
import socket
import struct
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

from lmstudio.errors import LMStudioValueError
from lmstudio.testing._frames import ServerTexts, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from lmstudio.testing._frames import FoundText

T = TypeVar("T")

_READ_BYTES = 64 * 1024
_KINDS: dict[type[Event], str] = {Ping: "ping", Pong: "pong", CloseConnection: "close", BytesMessage: "binary"}
_REQUEST = re.compile(rb"GET /(\S*) HTTP")
_EXTENSIONS = re.compile(rb"\r\nsec-websocket-extensions:[^\r\n]*", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class ClientFrame:
    """One frame that left the client."""

    namespace: str
    kind: str
    """"text", "binary", "ping", "pong" or "close"."""
    message: Any = None
    """What a text frame says."""
    arrived: float = 0.0
    """When it did, on the clock of `time.monotonic`."""

    @property
    def packet_type(self) -> str | None:
        """Type of the packet in a channelSend message, e.g. "cancel"."""
        packet = self.message.get("message") if isinstance(self.message, dict) else None
        return packet.get("type") if isinstance(packet, dict) else None


@dataclass(frozen=True)
class PassedMessage:
    """One text message that went through."""

    connection: int
    namespace: str
    is_of_client: bool
    text: str | bytes


@dataclass(eq=False)
class _Link:
    """One connection of a client, and the one behind it."""

    client: socket.socket
    server: socket.socket
    number: int
    namespace: str = "?"
    head: bytes = b""
    """The client's request, until it is complete."""
    is_plain: bool = False
    """HTTP that does not become a WebSocket: passed on as it is."""
    protocol: Connection | None = None
    """Reads the client's frames."""
    text: str = ""
    """The beginning of a message."""
    texts: ServerTexts = field(default_factory=ServerTexts)
    """Reads the server's frames."""
    to_client: bytearray = field(default_factory=bytearray)
    to_server: bytearray = field(default_factory=bytearray)
    server_ended: bool = False
    is_lost: bool = False
    """What waits for the client is the last that it gets."""
    is_silent: bool = False


class FaultProxy:
    """Listens on a port of its own and forwards to a server; each method below is one fault.

    All of them act on every open connection and return when the fault has happened. `frames` is what clients sent.
    *patience_seconds* is how long the methods that wait for something do so. *on_message* is called with every message
    of both sides, in the proxy's own thread and before it is passed on.
    """

    def __init__(
        self,
        upstream_port: int,
        upstream_host: str = "127.0.0.1",
        *,
        patience_seconds: float = 10.0,
        on_message: Callable[[PassedMessage], object] | None = None,
    ) -> None:
        self.upstream_port = upstream_port
        self.upstream_host = upstream_host
        self.patience_seconds = patience_seconds
        self.frames: list[ClientFrame] = []
        self.accepted: list[str] = []
        """The namespace of every WebSocket, in the order in which they were opened."""
        self.drip = False
        """Pass the server's bytes on one by one."""
        self.received_bytes: int = 0
        """From clients, altogether."""
        self.silent_from: int | None = None
        """Do as in `go_silent` with a connection once `received_bytes` is so much."""
        self._on_message = on_message
        self._fragments_left: int | None = None
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._links: list[_Link] = []
        self._is_held = False
        self._selector = selectors.DefaultSelector()
        self._jobs: list[Callable[[], None]] = []
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._is_ending = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"fault-proxy-{self.port}", daemon=True)

    @property
    def api_host(self) -> str:
        """For clients."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._do(self._end)
        self._thread.join(self.patience_seconds)
        self._wake_writer.close()
        if self._failure is not None:
            raise self._failure

    # What the client did ---------------------------------------------------------------------------------------------

    def wait_for(self, claim: Callable[[FaultProxy], object]) -> bool:
        """Block until *claim* is true of this proxy; False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(claim(self)), self.patience_seconds)

    def wait_for_packet(self, packet_type: str, count: int = 1) -> bool:
        """Block until the client has sent *count* packets of this type on its channels."""
        return self.wait_for(lambda proxy: proxy.count_packets(packet_type) >= count)

    def wait_for_message(self, message_type: str, count: int = 1) -> bool:
        """Block until the client has sent *count* messages of this type, e.g. "rpcCall"."""
        return self.wait_for(lambda proxy: len(proxy.messages(message_type)) >= count)

    def wait_for_pings(self, count: int) -> bool:
        """Block until the client has sent *count* more pings."""
        wanted = self._pings + count
        return self.wait_for(lambda proxy: proxy._pings >= wanted)

    def wait_until_closed(self) -> bool:
        """Block until no connection is open."""
        return self.wait_for(lambda proxy: not proxy._links)

    def messages(self, message_type: str) -> list[Any]:
        """The client's messages of this type."""
        return [frame.message for frame in self.frames if frame.message and frame.message.get("type") == message_type]

    def count_packets(self, packet_type: str) -> int:
        """How many packets of this type the client has sent on its channels."""
        return sum(frame.packet_type == packet_type for frame in self.frames)

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    @property
    def _pings(self) -> int:
        return sum(frame.kind == "ping" for frame in self.frames)

    # Faults ----------------------------------------------------------------------------------------------------------

    def close_connections(self) -> None:
        """End all connections in order, but without WebSocket's goodbye."""

        def close() -> None:
            for link in list(self._links):
                with contextlib.suppress(OSError):  # what is left unread would make it a reset
                    while link.client.recv(_READ_BYTES):
                        pass
                self._drop(link)

        self._do(close)

    def reset_connections(self) -> None:
        """End all connections by a TCP reset."""

        def reset() -> None:
            for link in list(self._links):
                self._drop(link, reset=True)

        self._do(reset)

    def lose_after(self, fragments: int) -> None:
        """End the connection of the prediction that sends the fragment with this number from now on, right after it.

        With 0 that happens before the first fragment. What was sent before still arrives.
        """
        if fragments < 0:
            raise LMStudioValueError(f"lose_after needs a number of fragments from 0 on, got {fragments}.")
        self._do(lambda: setattr(self, "_fragments_left", fragments))

    def send(self, data: bytes) -> None:
        """Say *data* to all clients."""

        def say() -> None:
            for link in list(self._links):
                link.to_client += data
                try:
                    self._flush(link)
                except OSError:  # the client has just gone
                    self._drop(link)

        self._do(say)

    def send_message(self, message: Any) -> None:
        """Say *message* to all clients, as a text frame of the server."""
        self.send(text_frame(json.dumps(message).encode()))

    def go_silent(self) -> None:
        """Neither read nor write on the connections that are open now, for ever, and keep them open."""

        def ignore() -> None:
            for link in self._links:
                link.is_silent = True
                self._watch(link)

        self._do(ignore)

    def hold(self) -> None:
        """Keep back what the server says, until `release`."""
        self._do(lambda: self._set_held(True))

    def release(self) -> None:
        """Pass on what was held, and what follows."""
        self._do(lambda: self._set_held(False))

    def refuse_connections(self) -> None:
        """Stop listening, and end what is open."""

        def refuse() -> None:
            self._selector.unregister(self._listener)
            self._listener.close()
            for link in list(self._links):
                self._drop(link)

        self._do(refuse)

    def accept_connections(self) -> None:
        """Listen again, on the same port."""

        def accept() -> None:
            self._listener = _listen(self.port)
            self._selector.register(self._listener, selectors.EVENT_READ)

        self._do(accept)

    # The thread ------------------------------------------------------------------------------------------------------

    def _do(self, job: Callable[[], object]) -> None:
        """Run *job* in the proxy's thread and wait for it."""
        done: Future[None] = Future()

        def run() -> None:
            try:
                job()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self._jobs.append(run)
        with contextlib.suppress(OSError):  # it was awake already, and the job was the last one
            self._wake_writer.send(b"x")
        done.result(self.patience_seconds)

    def _run(self) -> None:
        while not self._is_ending:
            try:
                self._turn()
            except BaseException as error:
                self._failure = error  # of the test's own tools: the end of the test raises it
                for link in list(self._links):
                    self._drop(link)

    def _turn(self) -> None:
        for key, events in self._selector.select():
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(_READ_BYTES)
            elif key.fileobj is self._listener:
                self._accept()
            elif key.data in self._links:
                self._serve(key.data, key.fileobj, events)
        while self._jobs:
            self._jobs.pop(0)()

    def _end(self) -> None:
        self._is_ending = True
        for link in list(self._links):
            self._drop(link)
        self._selector.close()
        self._listener.close()
        self._wake_reader.close()

    def _set_held(self, is_held: bool) -> None:
        self._is_held = is_held
        for link in self._links:
            self._watch(link)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection((self.upstream_host, self.upstream_port), self.patience_seconds)
        except OSError:
            client.close()
            return
        link = _Link(client, server, next(self._numbers))
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, link)
        self._links.append(link)
        self._watch(link)

    def _watch(self, link: _Link) -> None:
        """Ask for what can be done now."""
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        is_full = len(link.to_client) > _READ_BYTES
        for sock, is_read, pending in (
            (link.client, True, link.to_client),
            (link.server, not (self._is_held or link.server_ended or link.is_lost or is_full), link.to_server),
        ):
            events = 0 if link.is_silent else (read if is_read else 0) | (write if pending else 0)
            with contextlib.suppress(KeyError):
                self._selector.unregister(sock)
            if events:
                self._selector.register(sock, events, link)

    def _serve(self, link: _Link, sock: object, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(link, from_client=sock is link.client)
            self._flush(link)
        except BlockingIOError:
            pass
        except OSError:
            with contextlib.suppress(OSError):  # what the client said before it went away can still be read
                while data := link.client.recv(_READ_BYTES):
                    self._record(link, data)
            self._drop(link)

    def _read(self, link: _Link, *, from_client: bool) -> None:
        data = (link.client if from_client else link.server).recv(_READ_BYTES)
        if from_client and data:
            if not link.is_lost:
                self._take_from_client(link, data)
        elif from_client:
            self._drop(link)
        elif data:
            link.to_client += data[: self._watch_server(link, data)]
        else:
            link.server_ended = True

    def _take_from_client(self, link: _Link, data: bytes) -> None:
        """Read *data* and pass it on, the head without an offer to compress: compressed frames could not be read."""
        is_head = link.protocol is None and not link.is_plain
        self._record(link, data)
        if not is_head:
            link.to_server += data
        elif link.protocol is not None or link.is_plain:
            head, end, rest = link.head.partition(_HEAD_END)
            link.to_server += _EXTENSIONS.sub(b"", head) + end + rest
            link.head = b""
        self._note(lambda: self._count(link, len(data)))

    def _watch_server(self, link: _Link, data: bytes) -> int:
        """Look at the messages in *data*; how much of it the client is to get."""
        if link.protocol is None:
            return len(data)
        for found in link.texts.feed(data):
            cut = self._cut(found)
            if cut is not None:
                link.is_lost = True
                return max(0, cut)
            if self._on_message is not None:
                self._on_message(PassedMessage(link.number, link.namespace, False, found.text))
        return len(data)

    def _cut(self, found: FoundText) -> int | None:
        """Where to end the connection because of `lose_after`; None for not here."""
        if self._fragments_left is None:
            return None
        message = _decoded(found.text)
        packet = message.get("message") if isinstance(message, dict) else None
        kind = packet.get("type") if isinstance(packet, dict) else None
        if self._fragments_left == 0 and kind in ("fragment", "success"):
            self._fragments_left = None
            return found.start
        if kind == "fragment":
            self._fragments_left -= 1
            if self._fragments_left == 0:
                self._fragments_left = None
                return found.end
        return None

    def _flush(self, link: _Link) -> None:
        if link not in self._links:
            return
        with contextlib.suppress(BlockingIOError):
            while link.to_client:
                sent = link.client.send(link.to_client[:1] if self.drip else link.to_client)
                del link.to_client[:sent]
        with contextlib.suppress(BlockingIOError):
            while link.to_server and not link.is_lost:
                del link.to_server[: link.server.send(link.to_server)]
        if link.server_ended and not link.to_client:
            self._drop(link)
            return
        if link.is_lost and not link.to_client:
            # Closed when the client closes its end: with something unread it would be a reset, which destroys what the
            # client has not read either.
            link.client.shutdown(socket.SHUT_WR)
        self._watch(link)

    def _drop(self, link: _Link, *, reset: bool = False) -> None:
        for sock in (link.client, link.server):
            with contextlib.suppress(KeyError):
                self._selector.unregister(sock)
            if reset:
                # Closing then sends a reset.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        with self._changed:
            self._links.remove(link)
            self._changed.notify_all()

    def _count(self, link: _Link, size: int) -> None:
        self.received_bytes += size
        link.is_silent |= self.silent_from is not None and self.received_bytes >= self.silent_from

    # Recording -------------------------------------------------------------------------------------------------------

    def _record(self, link: _Link, data: bytes) -> None:
        if link.is_plain:
            return
        if link.protocol is None:
            link.head += data
            head, end, data = link.head.partition(_HEAD_END)
            request = _REQUEST.match(head)
            if not end:
                return
            if request is None or b"upgrade: websocket" not in head.lower():
                link.is_plain = True
                return
            link.namespace = request[1].decode()
            link.protocol = Connection(ConnectionType.SERVER)
            self._note(lambda: self.accepted.append(link.namespace))
        protocol = link.protocol
        protocol.receive_data(data)
        for event in protocol.events():
            if isinstance(event, TextMessage):
                link.text += event.data
                if event.message_finished:
                    text, link.text = link.text, ""
                    self._note_frame(link, "text", _decoded(text))
                    if self._on_message is not None:
                        self._on_message(PassedMessage(link.number, link.namespace, True, text))
            else:
                self._note_frame(link, _KINDS[type(event)])

    def _note_frame(self, link: _Link, kind: str, message: Any = None) -> None:
        self._note(lambda: self.frames.append(ClientFrame(link.namespace, kind, message, time.monotonic())))

    def _note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


def _decoded(text: str | bytes) -> Any:
    """What a message says; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener
