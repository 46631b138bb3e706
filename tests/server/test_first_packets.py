"""The server and what it reads first: anything but what it should be.

Whatever comes, nothing is raised or logged as an error, nothing hangs, every call is answered once, and the next
client is served. Most of it runs in memory; a little of it over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import logging
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_wire import MESSAGES, MemoryServer, exchange
from raw_wire import CLOSE, CONT, PING, TEXT, Wire, frame, frame_header, upgrade_request
from transport_stub import StubCore, auth_packet, call, client

from lmstudio.server import ConnectionLimits, Server
from lmstudio.server.auth import AuthenticationRefusedError, Authenticator, parse_auth_packet

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unmeasured

SAME_EVERY_TIME = settings(
    derandomize=True,
    deadline=None,
    # The fixture only looks at the log at the end.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno >= logging.ERROR] == []


# What to send --------------------------------------------------------------------------------------------------------

ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    1 << 63,
    10**400,
    1e308,
    "",
    "x" * 300,
    "\ud800",
    "\x00",
    [],
    {},
    [[]],
    {"": {}},
    {"type": "unknown"},
    {"type": None},
]
# Copied, because the next change may go into it.
odd_values = (
    st.sampled_from(ODD_VALUES).map(deepcopy)
    | st.integers()
    | st.text(max_size=9)
    | st.lists(st.integers(0, 9), max_size=3)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside of *value*."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn, message: Any) -> bytes:
    """*message* as JSON with some of its values replaced, missing, added or named twice; or with damaged bytes."""
    value = json.loads(json.dumps(message))
    for _ in range(draw(st.integers(0, 2))):
        *way, last = draw(st.sampled_from(places(value)[1:] or [("type",)]))
        parent = value
        for key in way:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if change == "replace":
            parent[last] = draw(odd_values)
        elif change == "remove" and places(value)[1:]:
            del parent[last]
        elif isinstance(parent, dict):
            parent[draw(st.text(max_size=3))] = draw(odd_values)
        else:
            parent.append(draw(odd_values))
    # Half characters are written as escapes, as JavaScript does.
    text = bytearray(json.dumps(value).encode())
    wound = draw(st.sampled_from(["none", "none", "none", "bytes", "end", "deep", "twice", "not UTF-8"]))
    place = draw(st.integers(0, len(text) - 1)) if text else 0
    if wound == "bytes":
        text[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    elif wound == "end":
        del text[place:]
    elif wound == "deep":
        text[-1:] = b',"deep":' + b"[" * 3000 + b"]" * 3000 + b"}"
    elif wound == "twice":
        text[:1] = b'{"type":"rpcCall",'
    elif wound == "not UTF-8":
        text[place:place] = b"\xff"
    return bytes(text)


def some(messages: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    return st.sampled_from(messages).flatmap(damaged)


conversations = st.sampled_from(sorted(MESSAGES)).flatmap(
    lambda namespace: st.tuples(st.just(namespace), st.lists(some(MESSAGES[namespace]), min_size=1, max_size=5))
)
auth_packets = damaged(json.loads(auth_packet()))
frames = st.one_of(
    auth_packets.map(lambda data: frame(TEXT, data)),
    some(MESSAGES["llm"]).map(lambda data: frame(TEXT, data)),
    st.just(frame(TEXT, auth_packet().encode())),
    st.builds(
        lambda opcode, size, payload, fin, rsv, masked: (
            frame_header(opcode, max(size, len(payload)), fin=fin, rsv=rsv, masked=masked) + payload
        ),
        st.sampled_from([CONT, TEXT, TEXT, 2, 3, CLOSE, PING, 10, 15]),
        st.sampled_from([0, 0, 0, 126, 70_000, 1 << 62]),
        st.binary(max_size=20),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1, 4]),
        st.sampled_from([True, True, True, False]),
    ),
    st.binary(max_size=30),
)
header_values = st.sampled_from(
    b"\xff|a, \xff|xn--zzzz--||websocket|Upgrade|13|0|99999999999999999999|chunked|null|permessage-deflate|http://["
    b"|http://evil.example|100-continue".split(b"|")
)
header_names = st.sampled_from(
    b"Host|Upgrade|Connection|Origin|Sec-WebSocket-Key|Sec-WebSocket-Version|Sec-WebSocket-Extensions"
    b"|Sec-WebSocket-Protocol|Content-Length|Transfer-Encoding|Expect|\xff|".split(b"|")
)
headers = st.builds(lambda name, value: name + b": " + value, header_names, header_values)
lines = st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"PRI", b"\x16\x03\x01"],
).flatmap(
    lambda method: st.builds(
        lambda path, version: method + b" " + path + b" " + version,
        st.sampled_from(
            [b"/llm", b"/", b"/lms-status", b"*", b"http://x/llm", b"/%ff%00", b"/\xff", b"/llm?\x7f", b""]
        ),
        st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP", b""]),
    )
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request to open a WebSocket, or hardly one any more."""
    first, *parts = upgrade_request().split(b"\r\n")[:-2]
    for header in draw(st.lists(headers, min_size=1, max_size=2)):
        # In the place of one of the same name, which could not come twice, or besides.
        name = header.partition(b":")[0]
        same = [place for place, part in enumerate(parts) if part.startswith(name)] if draw(st.booleans()) else []
        parts[same[0] if same else 0 : same[0] + 1 if same else 0] = [header]
    kind = draw(st.sampled_from(["", "", "", "", "", "", "first line", "long", "end"]))
    if kind == "first line":
        first = draw(lines)
    elif kind == "long":
        parts.append(b"X: " + b"x" * 20_000)
    end = draw(st.sampled_from([b"\n\n", b"\r\n", b"\x00", b""])) if kind == "end" else b"\r\n\r\n"
    return b"\r\n".join([first, *parts]) + end


openings = st.integers(0, 9).flatmap(lambda number: requests() if number else st.binary(max_size=60))

# In memory -----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=40) | auth_packets.map(lambda data: data.decode("utf-8", "replace")))
@settings(SAME_EVERY_TIME, max_examples=200)
def test_first_frame_is_a_packet_or_nothing(text: str) -> None:
    packet = parse_auth_packet(text)
    if packet is not None:
        authenticator = Authenticator()
        try:
            context = authenticator.admit(packet)
        except AuthenticationRefusedError:
            return
        assert context.client_identifier == json.loads(text)["clientIdentifier"]
        authenticator.release(context)


@pytest.mark.parametrize("namespace", MESSAGES)
def test_messages_to_be_damaged_are_understood_before(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    for message in MESSAGES[namespace]:
        for answer in asyncio.run(exchange(namespace, [json.dumps(message)])):
            assert "Invalid parameter" not in json.dumps(answer), message


@given(conversations)
@settings(SAME_EVERY_TIME, max_examples=200)
def test_first_messages_may_be_anything(conversation: tuple[str, list[bytes]]) -> None:
    namespace, messages = conversation
    # As they come out of text frames.
    texts = [text for message in messages if (text := message.decode("utf-8", "ignore"))]
    asyncio.run(exchange(namespace, texts))


class Memory:
    """One server in memory for many connections, and its event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._server = MemoryServer(StubCore())

    def converse(self, chunks: list[bytes]) -> bytes:
        return self._loop.run_until_complete(self._converse(chunks))

    async def _converse(self, chunks: list[bytes]) -> bytes:
        written = await self._server.converse(chunks)
        sane = await self._server.converse([upgrade_request(), frame(TEXT, auth_packet("next").encode())])
        assert sane.endswith(b'{"success":true}')
        return written


@pytest.fixture(scope="module")
def memory() -> Iterator[Memory]:
    loop = asyncio.new_event_loop()
    yield Memory(loop)
    loop.close()


@given(openings, st.lists(frames, max_size=3), st.integers(0, 400))
@settings(SAME_EVERY_TIME, max_examples=250)
def test_request_may_be_anything(memory: Memory, request: bytes, more: list[bytes], cut: int) -> None:
    memory.converse([request[:cut], request[cut:], *more])


@given(st.lists(frames, max_size=5), st.booleans(), st.integers(0, 99))
@settings(SAME_EVERY_TIME, max_examples=250)
def test_first_frames_may_be_anything(memory: Memory, sent: list[bytes], is_authenticated: bool, cut: int) -> None:
    first = [frame(TEXT, auth_packet().encode())] if is_authenticated else []
    stream = b"".join(sent)
    written = memory.converse([upgrade_request(), *first, stream[:cut], stream[cut:]])
    assert written.startswith(b"HTTP/1.1 101 ")
    assert not is_authenticated or b'{"success":true}' in written


# Over sockets --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(engine="scripted", limits=ConnectionLimits(authentication_seconds=0.5, request_seconds=0.5)) as server:
        yield server


@given(openings, st.lists(frames, max_size=3))
@settings(SAME_EVERY_TIME, max_examples=40)
def test_connection_may_begin_with_anything(server: Server, request: bytes, more: list[bytes]) -> None:
    with Wire(server, request + b"".join(more)) as wire:
        wire.end()
        wire.rest()
    assert is_well(server)


@given(st.lists(frames, max_size=5), st.booleans())
@settings(SAME_EVERY_TIME, max_examples=40)
def test_websocket_may_begin_with_anything(server: Server, sent: list[bytes], is_authenticated: bool) -> None:
    with Wire.authenticated(server) if is_authenticated else Wire.upgraded(server) as wire:
        for data in sent:
            wire.send(data)
        wire.end()
        wire.rest()
    assert is_well(server)


def is_well(server: Server) -> bool:
    with client(server.api_host, "system") as websocket:
        return "version" in call(websocket, "version")
