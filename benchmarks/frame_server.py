"""A server for benchmarks: it speaks the protocol, but everything it sends was encoded beforehand.

`python frame_server.py --port 0` prints the port it listens on and serves until it is stopped. What a prediction or an
embedding looks like is part of the model key: see `frames.Spec`. One thread per connection, blocking sockets, no
dependencies: a reply costs one `recv` and one `send`, a block of 512 fragments one `send`.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import re
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from frames import (
    CHANNEL_CLOSE,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    Spec,
    Stream,
    Template,
    channel_template,
    compact,
    embedding_body,
    frame,
    instance_info,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 64
READ_BYTES = 1 << 18
# Of a longer message only the two ends are unmasked: ids come first, and a specification is at one of the ends.
LONG_MESSAGE_BYTES = 1 << 14
END_BYTES = 1 << 11
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CALL_ID = re.compile(rb'"callId": ?(\d+)')
_CHANNEL_ID = re.compile(rb'"channelId": ?(\d+)')
_ENDPOINT = re.compile(rb'"endpoint": ?"(\w+)"')
_IDENTIFIER = re.compile(rb'"identifier": ?"([^"]*)"')
_WEBSOCKET_KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)


def unmask(payload: bytes | memoryview, key: bytes) -> bytes:
    """*payload* without its mask; exclusive or of two large integers is the fastest way without dependencies."""
    length = len(payload)
    mask = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(length, "little")


class Message:
    """A masked message. `head` suffices for the ids; `text` unmasks everything, on demand."""

    __slots__ = ("_key", "_payload", "head", "is_long")

    def __init__(self, payload: bytes | memoryview, key: bytes) -> None:
        self._payload = payload
        self._key = key
        self.is_long = len(payload) > LONG_MESSAGE_BYTES
        self.head = unmask(payload[:END_BYTES] if self.is_long else payload, key)

    @property
    def text(self) -> bytes:
        """All of it."""
        return unmask(self._payload, self._key) if self.is_long else self.head

    def find_first(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """First group of *pattern* if it is at the start: unmasking everything takes longer than most clients do."""
        match = pattern.search(self.head)
        return None if match is None else match[1]

    def find(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """First group of *pattern*, looked for at the start, then everywhere."""
        match = pattern.search(self.head)
        if match is None and self.is_long:
            match = pattern.search(self.text)
        return None if match is None else match[1]

    def spec(self) -> Spec:
        """The specification in the message, looked for at both ends, then everywhere."""
        found = Spec.find(self.head)
        if found is None and self.is_long:
            start = (len(self._payload) - END_BYTES) // 4 * 4
            found = Spec.find(unmask(self._payload[start:], self._key)) or Spec.find(self.text)
        return found or Spec()


class FrameReader:
    """Masked frames out of the bytes of a connection, however they were cut."""

    def __init__(self) -> None:
        self._late: list[bytes] = []
        self._missing = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[tuple[int, Message]]:
        """Complete messages and control frames in *data* and what was left over before."""
        self._late.append(data)
        self._missing -= len(data)
        if self._missing > 0:  # In the middle of a long message: join its pieces once, at its end.
            return
        buffer = b"".join(self._late) if len(self._late) > 1 else data
        position = 0
        self._missing = 0
        while len(buffer) - position >= 6:
            first, length = buffer[position], buffer[position + 1] & 0x7F
            start = position + 6
            if length == 126:
                start += 2
                length = int.from_bytes(buffer[position + 2 : position + 4], "big")
            elif length == 127:
                start += 8
                length = int.from_bytes(buffer[position + 2 : position + 10], "big")
            end = start + length
            if end > len(buffer):
                self._missing = end - len(buffer)
                break
            payload = memoryview(buffer)[start:end] if length > LONG_MESSAGE_BYTES else buffer[start:end]
            message = Message(payload, buffer[start - 4 : start])
            position = end
            if first == 0x80 | OPCODE_TEXT or first & 0x0F >= OPCODE_CLOSE:
                yield first & 0x0F, message
            else:
                yield from self._join(first, message)
        self._late = [buffer[position:]] if position < len(buffer) else []

    def _join(self, first: int, message: Message) -> Iterator[tuple[int, Message]]:
        """A message in several frames, or a binary one, which no client of this server sends."""
        if first & 0x0F not in {OPCODE_TEXT, OPCODE_CONTINUATION}:
            raise ValueError(f"The client sent a frame with opcode {first & 0x0F}; the protocol has only text.")
        self._pieces.append(message.text)
        if first & 0x80:
            yield OPCODE_TEXT, Message(b"".join(self._pieces), bytes(4))
            self._pieces.clear()


def rpc_template(result: object) -> Template:
    """Template of an RPC reply."""
    return Template.of({"type": "rpcResult", "callId": 0, "result": result}, "callId")


@functools.cache
def fixed_reply(namespace: str, endpoint: bytes) -> Template:
    """Reply of an RPC that does not depend on its parameter."""
    info = instance_info(namespace, "bench/fragments=1")
    results: dict[str, object] = {
        "tokenize": {"tokens": [40, 1079, 264, 1296]},
        "countTokens": {"tokenCount": 4},
        "listLoaded": [info],
        "getModelInfo": info,
        "getLoadConfig": {"fields": [{"key": "llm.load.contextLength", "value": 32768}]},
        "getBasePredictionConfig": {"fields": []},
        "applyPromptTemplate": {"formatted": "user: hello"},
        "listDownloadedModels": [],
        "version": {"version": "1.0.0", "build": 1},
        "uploadFileBase64": {"identifier": "photo.png", "fileType": "image", "sizeBytes": 20971536},
    }
    name = endpoint.decode()
    if name not in results:
        error = {"title": f"The benchmark server has no RPC {namespace}/{name}."}
        return Template.of({"type": "rpcError", "callId": 0, "error": error}, "callId")
    return rpc_template(results[name])


@functools.cache
def embedding_reply(dims: int) -> Template:
    """Reply with a vector of *dims* numbers."""
    return Template(b'{"type":"rpcResult","callId":', b',"result":{"embedding":' + embedding_body(dims) + b"}}")


class Connection:
    """One client on one namespace."""

    def __init__(self, sock: socket.socket, namespace: str) -> None:
        self._sock = sock
        self._namespace = namespace
        self._reader = FrameReader()
        self._is_open = True
        self._is_authenticated = False
        self._replies: list[bytes] = []
        self._reply_bytes = 0
        self._streams: list[Stream] = []
        self._waiting: dict[Spec, Stream] = {}

    def serve(self) -> None:
        """Answer until the client closes."""
        while self._is_open:
            if self._wait_for_data():
                data = self._sock.recv(READ_BYTES)
                if not data:
                    return
                for opcode, message in self._reader.feed(data):
                    self._answer(opcode, message)
                self._flush()
            now = time.perf_counter()
            for stream in [stream for stream in self._streams if stream.due <= now]:
                self._sock.sendall(stream.next_block())
                if stream.is_finished:
                    self._streams.remove(stream)

    def _reply(self, reply: bytes) -> None:
        """Send with everything else that answers the same read, but do not hold back large replies."""
        self._replies.append(reply)
        self._reply_bytes += len(reply)
        if self._reply_bytes > READ_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._replies:
            self._sock.sendall(b"".join(self._replies))
            self._replies.clear()
            self._reply_bytes = 0

    def _wait_for_data(self) -> bool:
        """Whether there is something to read; without streams simply wait in `recv`."""
        if not self._streams:
            return True
        pause = max(0.0, min(stream.due for stream in self._streams) - time.perf_counter())
        return bool(select.select([self._sock], [], [], pause)[0])

    def _answer(self, opcode: int, message: Message) -> None:
        if opcode == OPCODE_CLOSE:
            self._is_open = False
            self._reply(frame(message.text, OPCODE_CLOSE))
        elif opcode == OPCODE_PING:
            self._reply(frame(message.text, OPCODE_PONG))
        elif opcode == OPCODE_PONG:
            return
        elif not self._is_authenticated:
            self._is_authenticated = True
            self._reply(frame(b'{"success":true}'))
        elif (channel := message.find_first(_CHANNEL_ID)) is not None:
            self._answer_channel(channel, message)
        elif (call := message.find(_CALL_ID)) is not None:
            endpoint = message.find(_ENDPOINT) or b""
            if endpoint == b"embedString":
                template = embedding_reply(message.spec().dims)
            else:
                template = fixed_reply(self._namespace, endpoint)
            self._reply(template.fill(call))

    def _answer_channel(self, channel: bytes, message: Message) -> None:
        endpoint = message.find(_ENDPOINT)
        if endpoint is None:
            if b'"cancel"' in message.head:
                self._cancel(channel)
        elif endpoint == b"getOrLoad":
            key = (message.find(_IDENTIFIER) or b"").decode()
            info = instance_info(self._namespace, key)
            self._reply(channel_template({"type": "alreadyLoaded", "info": info}).fill(channel))
            self._reply(CHANNEL_CLOSE.fill(channel))
        elif endpoint in {b"predict", b"completeRawText"}:
            self._predict(channel, message.spec())
        else:
            error = {"title": f"The benchmark server has no channel {self._namespace}/{endpoint.decode()}."}
            template = Template.of({"type": "channelError", "channelId": 0, "error": error}, "channelId")
            self._reply(template.fill(channel))

    def _predict(self, channel: bytes, spec: Spec) -> None:
        """Start a prediction, once as many as the specification asks for are waiting."""
        stream = self._waiting.setdefault(spec, Stream(spec, []))
        stream.channels.append(channel)
        if len(stream.channels) >= spec.parallel:
            stream.due = time.perf_counter() if spec.rate else 0.0
            self._streams.append(self._waiting.pop(spec))

    def _cancel(self, channel: bytes) -> None:
        for stream in [*self._streams, *self._waiting.values()]:
            if channel in stream.channels:
                self._reply(stream.cancel(channel))
        self._streams = [stream for stream in self._streams if not stream.is_finished]


def http_reply(path: bytes) -> bytes:
    """Reply to a plain request."""
    bodies: dict[bytes, object] = {
        b"/lmstudio-greeting": {"lmstudio": True},
        b"/lms-status": {"package": "benchmark", "version": "1.0.0"},
    }
    status = b"200 OK" if path in bodies else b"404 Not Found"
    body = compact(bodies.get(path, {"error": "The benchmark server has no such page."}))
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def upgrade_reply(key: bytes) -> bytes:
    """Reply that turns the connection into a WebSocket."""
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SUFFIX).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"


def answer_requests(sock: socket.socket) -> None:
    """Answer plain requests, one after the other, until one asks for a WebSocket or the client closes."""
    request = b""
    while data := sock.recv(READ_BYTES):
        request += data
        while b"\r\n\r\n" in request:
            head, _, request = request.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            key = _WEBSOCKET_KEY.search(head)
            if key is None:
                sock.sendall(http_reply(path))
            else:
                sock.sendall(upgrade_reply(key[1]))
                Connection(sock, path.rsplit(b"/", 1)[-1].decode()).serve()
                return


def accept_forever(listener: socket.socket) -> None:
    """Serve one connection after another; many threads do so, and none has to be started for a new client."""
    while True:
        sock, _ = listener.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                answer_requests(sock)
            except OSError:
                continue  # The client went away in the middle, which ends its connection and nothing else.


def main() -> None:
    """Listen, print the port, serve."""
    parser = argparse.ArgumentParser(description="Serve pre-built frames to benchmarks.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one (default)")
    listener = socket.create_server(("127.0.0.1", parser.parse_args().port), backlog=256)
    print(listener.getsockname()[1], flush=True)
    threads = [threading.Thread(target=accept_forever, args=(listener,), daemon=True) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
