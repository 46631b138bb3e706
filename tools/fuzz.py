"""Fuzz what reads bytes from a peer, guided by coverage: by hand, for as long as you like.

    pip install atheris          # in an environment that has the package and its test requirements
    python tools/fuzz.py frames -max_total_time=180

Targets: `frames` (the client's frame splitter), `lenient` (decoding of replies), `auth` (the first packet of a client),
`messages` (the first messages after it), `damaged` (the same, but nearly right: made by the strategies of the test run)
and `connection` (whole connections to the server, in memory). What follows the target goes to libFuzzer; a folder is a
corpus that grows. An input that fails is written to `crash-...`, and runs again when it is given instead of a folder.
Then write a test with it, and mend it.

The test run fuzzes the same with hypothesis, for seconds: `test_frames_any_bytes.py`, `test_first_packets.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atheris

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "src"), str(ROOT / "tests" / "server")]

with atheris.instrument_imports(include=["lmstudio", "wsproto", "h11", "uvicorn.protocols"]):
    import msgspec
    from memory_wire import MESSAGES, MemoryServer, exchange
    from raw_wire import CLOSE, PING, TEXT, frame, frame_header, upgrade_request
    from test_first_packets import test_first_messages_may_be_anything
    from transport_stub import StubCore, auth_packet

    from lmstudio import _lenient, _sdk_models
    from lmstudio._frames import FrameError, FrameReader
    from lmstudio.server.auth import AuthenticationRefusedError, Authenticator, parse_auth_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LIMIT = 1000
NAMESPACES = sorted(MESSAGES)
REPLIES: list[Any] = [
    _sdk_models.SerializedLMSExtendedError,
    _sdk_models.LlmInstanceInfo,
    _sdk_models.LlmChannelPredictToClientPacket,
    _sdk_models.KvConfig,
    list[_sdk_models.ModelInfo],
    list[float],
]

_loop = asyncio.new_event_loop()


class LoggedError(logging.Handler):
    """Makes a logged error one that the fuzzer sees."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


_logged = LoggedError()


def _run(work: Any) -> Any:
    result = _loop.run_until_complete(work)
    assert not _logged.messages, _logged.messages
    return result


def _chunks(data: bytes) -> list[bytes]:
    """*data* cut into pieces, whose sizes are its first bytes: up to the first zero, at most sixteen."""
    sizes = list(itertools.takewhile(bool, data[:16]))
    rest = data[len(sizes) + 1 :]
    edges = [0, *itertools.accumulate(sizes), len(rest)]
    return [rest[start:stop] for start, stop in itertools.pairwise(edges)]


def frames(data: bytes) -> None:
    def read(chunks: Iterable[bytes]) -> tuple[list[bytes], int | None, object]:
        reader = FrameReader(max_message_size=LIMIT)
        messages: list[bytes] = []
        code = None
        for chunk in chunks:
            try:
                messages += reader.feed(chunk)
            except FrameError as error:
                assert code is None
                code = error.close_code
                messages += error.messages
            reader.take_replies()
        assert all(len(message) <= LIMIT and message.decode() is not None for message in messages)
        return messages, code, reader.close

    chunks = _chunks(data)
    # Whatever is open ends with this, so that the verdicts of all ways to cut the stream can be compared.
    padding = b"\xff" * (LIMIT + 20)
    assert read([*chunks, padding]) == read([b"".join(chunks) + padding])


def lenient(data: bytes) -> None:
    if not data:
        return
    expected = REPLIES[data[0] % len(REPLIES)]
    try:
        value = _lenient.decode(msgspec.json.Decoder(expected).decode, expected, data[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    msgspec.json.encode(value)


def auth(data: bytes) -> None:
    text = data.decode("utf-8", "ignore")
    packet = parse_auth_packet(text)
    if packet is None:
        return
    authenticator = Authenticator()
    try:
        authenticator.release(authenticator.admit(packet))
    except AuthenticationRefusedError as refusal:
        json.dumps(str(refusal)).encode()


def messages(data: bytes) -> None:
    if data:
        texts = data[1:].decode("utf-8", "ignore").split("\n")
        _run(exchange(NAMESPACES[data[0] % len(NAMESPACES)], texts[:6]))


def damaged(data: bytes) -> None:
    test_first_messages_may_be_anything.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined] # hypothesis adds it
    assert not _logged.messages, _logged.messages


def connection(data: bytes) -> None:
    # The odd ones begin behind the upgrade, the other ones with the request.
    opened = [upgrade_request()] if data[:1] and data[0] & 1 else []
    server = MemoryServer(_core)
    _run(server.converse([*opened, *_chunks(data[1:])]))


_core = StubCore()


def _seeds(target: str) -> list[bytes]:
    packet = auth_packet().encode()
    return {
        "frames": [
            b"\x03\x00" + b"\x81\x03abc\x01\x01a\x80\x01b\x89\x00\x8a\x00\x82\x01x\x88\x02\x03\xe8",
            b"\x00\x81\x7e\x00\x80" + b"x" * 128,
            b"\x00\x81\x7f" + bytes(6) + b"\xff\xff",
        ],
        "lenient": [
            bytes((number,)) + text
            for number in range(len(REPLIES))
            for text in (
                b'{"title":"a","rootTitle":"b","displayData":{"code":"generic.noModelMatchingQuery","query":{}}}',
                b'{"type":"llm","identifier":"a","instanceReference":"b","modelKey":"c","vision":false}',
                b'{"type":"fragment","fragment":{"content":"a","tokensCount":1}}',
                b'{"fields":[{"key":"a","value":1}]}',
                b'[{"type":"llm","modelKey":"c","sizeBytes":1.0}]',
                b"[1,2.5]",
            )
        ],
        "auth": [packet],
        "messages": [
            bytes((number,)) + json.dumps(message).encode()
            for number, namespace in enumerate(NAMESPACES)
            for message in MESSAGES[namespace]
        ],
        "damaged": [bytes((number,)) * 200 for number in range(0, 256, 8)],
        "connection": [
            b"\x01\x00" + frame(TEXT, packet) + frame(TEXT, b'{"type":"keepAlive"}') + frame(PING) + frame(CLOSE),
            b"\x01\x00" + frame_header(TEXT, 1 << 62) + b"x",
            b"\x00\x00" + upgrade_request(),
            b"\x00\x00GET /lms-status HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n",
            b"\x00\x00POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        ],
    }[target]


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (frames, lenient, auth, messages, damaged, connection)
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python tools/fuzz.py {{{','.join(TARGETS)}}} [CORPUS] [OPTION OF LIBFUZZER...]")
    target = sys.argv.pop(1)
    logging.getLogger().addHandler(_logged)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a refused request is not news here
    with tempfile.TemporaryDirectory() as seeds:
        for number, seed in enumerate(_seeds(target)):
            Path(seeds, str(number)).write_bytes(seed)
        arguments = [*sys.argv]
        if not any(Path(argument).is_file() for argument in sys.argv[1:]):
            if not any(Path(argument).is_dir() for argument in sys.argv[1:]):
                arguments.append(seeds)  # the first folder is written to
            arguments.append(seeds)
        atheris.Setup(arguments, TARGETS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
