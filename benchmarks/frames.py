"""What the benchmark server sends, encoded once: frames, packets and blocks of fragments."""

from __future__ import annotations

import json
import random
import re
import struct
import time
from dataclasses import dataclass, field
from typing import Any

OPCODE_CONTINUATION, OPCODE_TEXT, OPCODE_CLOSE, OPCODE_PING, OPCODE_PONG = 0x0, 0x1, 0x8, 0x9, 0xA
FRAMES_PER_BLOCK = 512
# Sixteen pieces of ordinary text: what a model of a few billion parameters emits token by token.
TOKENS = (
    " the",
    " model",
    " answers",
    ",",
    " in",
    " small",
    " pieces",
    " of",
    " text",
    ".",
    "\n",
    " Ünder",
    " 42",
    ' "quoted"',
    "ing",
    " and",
)
TEXT_BYTES_PER_FRAGMENT = sum(len(token.encode()) for token in TOKENS) / len(TOKENS)
_SPEC = re.compile(rb"bench/((?:[a-z]+=[0-9.]+,?)+)")


@dataclass(frozen=True)
class Spec:
    """What a model key asks of the server, for example `bench/fragments=1000,rate=50,parallel=100`."""

    fragments: int = 1
    """Fragments per prediction."""
    rate: float = 0
    """Fragments per second of each stream, each carrying its time of sending; 0 means blocks without pause."""
    parallel: int = 1
    """Predictions to wait for before any of them is answered; they are then answered in turns."""
    dims: int = 768
    """Length of an embedding."""

    @classmethod
    def find(cls, message: bytes) -> Spec | None:
        """The first specification in *message*, if any."""
        match = _SPEC.search(message)
        if match is None:
            return None
        values = dict(item.split("=") for item in match[1].decode().strip(",").split(","))
        return cls(
            fragments=int(values.get("fragments", 1)),
            rate=float(values.get("rate", 0)),
            parallel=int(values.get("parallel", 1)),
            dims=int(values.get("dims", 768)),
        )


def compact(value: object) -> bytes:
    """*value* as JSON without spaces, non-ASCII text unescaped."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def frame_head(length: int, opcode: int = OPCODE_TEXT) -> bytes:
    """Header of a final, unmasked frame with *length* bytes of payload."""
    first = 0x80 | opcode
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def frame(payload: bytes, opcode: int = OPCODE_TEXT) -> bytes:
    """*payload* as one final, unmasked frame."""
    return frame_head(len(payload), opcode) + payload


class Template:
    """A frame in which only one number changes; the number is spliced in, nothing else is encoded again."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self._tail = after
        # One head per number of digits, so that filling is one concatenation.
        self._heads = [frame_head(len(before) + digits + len(after)) + before for digits in range(20)]

    @classmethod
    def of(cls, message: dict[str, Any], hole: str) -> Template:
        """The frame of *message*, whose member *hole* is the number."""
        before, after = compact({**message, hole: "HOLE"}).split(b'"HOLE"')
        return cls(before, after)

    def fill(self, number: bytes) -> bytes:
        """The complete frame."""
        return self._heads[len(number)] + number + self._tail


def channel_template(message: dict[str, Any]) -> Template:
    """Template of a channel packet."""
    return Template.of({"type": "channelSend", "channelId": 0, "message": message}, "channelId")


def fragment_packet(content: str) -> dict[str, Any]:
    """A fragment with every required member."""
    return {
        "type": "fragment",
        "fragment": {
            "content": content,
            "tokensCount": 1,
            "containsDrafted": False,
            "reasoningType": "none",
            "isStructural": False,
        },
    }


def instance_info(namespace: str, key: str) -> dict[str, Any]:
    """A loaded model; its reference repeats the key, so whatever a client refers to it by carries the specification."""
    info: dict[str, Any] = {
        "type": "llm" if namespace == "llm" else "embedding",
        "modelKey": key,
        "format": "gguf",
        "displayName": "Benchmark",
        "publisher": "bench",
        "path": "bench/benchmark/benchmark-Q4_K_M.gguf",
        "sizeBytes": 397807936,
        "indexedModelIdentifier": "bench/benchmark/benchmark-Q4_K_M.gguf",
        "deviceIdentifier": None,
        "paramsString": "0.5B",
        "architecture": "qwen2",
        "identifier": key,
        "instanceReference": key,
        "ttlMs": None,
        "lastUsedTime": None,
        "maxContextLength": 32768,
        "contextLength": 32768,
    }
    if namespace == "llm":
        info.update(vision=False, trainedForToolUse=True)
    return info


FRAGMENTS = tuple(channel_template(fragment_packet(token)) for token in TOKENS)
CHANNEL_CLOSE = Template.of({"type": "channelClose", "channelId": 0}, "channelId")
# All but the number of tokens is fixed, and nobody compares that number.
_SUCCESS = {
    reason: channel_template(
        {
            "type": "success",
            "stats": {
                "stopReason": reason,
                "tokensPerSecond": 50.0,
                "numGpuLayers": 99,
                "timeToFirstTokenSec": 0.1,
                "totalTimeSec": 1.0,
                "promptTokensCount": 10,
                "predictedTokensCount": 10,
                "totalTokensCount": 20,
            },
            "modelInfo": instance_info("llm", "benchmark"),
            "loadModelConfig": {"fields": []},
            "predictionConfig": {"fields": []},
        }
    )
    for reason in ("eosFound", "userStopped")
}


def ending(channel: bytes, reason: str = "eosFound") -> bytes:
    """The last packet of a prediction and the end of its channel."""
    return _SUCCESS[reason].fill(channel) + CHANNEL_CLOSE.fill(channel)


def embedding_body(dims: int) -> bytes:
    """A vector as a server prints it: single precision values with the digits of double precision."""
    source = random.Random(dims)
    values = struct.unpack(f"{dims}f", struct.pack(f"{dims}f", *(source.gauss(0, 0.03) for _ in range(dims))))
    return compact(list(values))


@dataclass
class Stream:
    """Predictions answered together: one block after another until each channel had its fragments."""

    spec: Spec
    channels: list[bytes]
    due: float = 0.0
    """When the next block is to be sent, on the `time.perf_counter` clock."""
    _sent: int = 0
    _blocks: dict[int, bytes] = field(default_factory=dict)

    def cancel(self, channel: bytes) -> bytes:
        """Leave *channel* out from now on; returns how it ends."""
        self.channels.remove(channel)
        self._blocks.clear()
        return ending(channel, "userStopped")

    @property
    def is_finished(self) -> bool:
        """Whether every fragment and the endings were handed out."""
        return not self.channels

    def next_block(self) -> bytes:
        """The next bytes to send."""
        if self.spec.rate:
            return self._paced_frame()
        rounds = self._rounds()
        token = self._sent % len(FRAGMENTS)
        block = self._blocks.get(token)
        if block is None or len(self.channels) == 1:
            block = self._build(token, rounds)
        self._sent += rounds
        return block + self._finish() if self._sent >= self.spec.fragments else block

    def _rounds(self) -> int:
        """Fragments per channel in the next block. Many channels take turns, one fragment each: the worst case."""
        if len(self.channels) > 1:
            return 1
        return min(FRAMES_PER_BLOCK, self.spec.fragments - self._sent)

    def _build(self, token: int, rounds: int) -> bytes:
        if len(self.channels) > 1:
            fill = FRAGMENTS[token].fill
            block = b"".join([fill(channel) for channel in self.channels])
            self._blocks[token] = block
            return block
        full = self._blocks.get(-1)
        if full is None:
            cycle = b"".join([template.fill(self.channels[0]) for template in FRAGMENTS])
            full = self._blocks[-1] = cycle * (FRAMES_PER_BLOCK // len(FRAGMENTS))
        if rounds == FRAMES_PER_BLOCK and token == 0:
            return full
        picked = [FRAGMENTS[(token + index) % len(FRAGMENTS)] for index in range(rounds)]
        return b"".join([template.fill(self.channels[0]) for template in picked])

    def _paced_frame(self) -> bytes:
        """One frame of one channel; its content is the time of sending in nanoseconds, which a client can compare."""
        channel = self.channels[self._sent % len(self.channels)]
        self.due = max(self.due + 1 / (self.spec.rate * len(self.channels)), time.perf_counter() - 0.1)
        packet = fragment_packet(str(time.perf_counter_ns()))
        block = frame(compact({"type": "channelSend", "channelId": int(channel), "message": packet}))
        self._sent += 1
        if self._sent >= self.spec.fragments * len(self.channels):
            block += self._finish()
        return block

    def _finish(self) -> bytes:
        block = b"".join([ending(channel) for channel in self.channels])
        self.channels.clear()
        return block
