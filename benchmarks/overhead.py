"""What the server costs above the bare engine, per token: `python benchmarks/overhead.py`.

The same client, which counts bytes and decodes nothing, asks the engine's process directly, the native protocol, and
POST /v1/chat/completions, by turns. Reported is the time from the first token to the last, of all streams together,
and the processor time of the server's own process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from overhead_host import ENDLESS, PROMPT
from raw_client import RawConnection, masked
from sides import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOALS = {1: 0.15, 8: 0.30}
"""By number of streams: how much more time than the bare engine's."""
_READ_BYTES = 1 << 16
_TICKS = os.sysconf("SC_CLK_TCK")
_BIAS = {str(token): -100 for token, _ in ENDLESS}


@contextlib.contextmanager
def host(tokens: int, sessions: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Where the server and its engine listen, and the server's process."""
    command = [sys.executable, str(HERE / "overhead_host.py"), str(tokens), str(sessions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("The server did not start; see above.")
        yield json.loads(line), process.pid


def post(port: int, path: str, body: dict[str, Any], headers: str = "") -> socket.socket:
    """A request on its way."""
    content = json.dumps(body).encode()
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n{headers}Content-Length: {len(content)}\r\n"
    sock.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
    return sock


def read_all(socks: list[socket.socket], is_over: Callable[[bytes], bool], marker: bytes) -> tuple[int, float]:
    """Read until each stream is over; how often *marker* came, and the seconds since the first one."""
    found, started = 0, 0.0
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, [b""])
        while selector.get_map():
            for key, _ in selector.select():
                data = key.fileobj.recv(_READ_BYTES)  # type: ignore[union-attr]  # a socket
                text = key.data[0] + data
                found += text.count(marker) - key.data[0].count(marker)
                if found and not started:
                    started = time.perf_counter()
                key.data[0] = text[-len(marker) - 40 :]
                if not data or is_over(text):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    return found, time.perf_counter() - started


def engine_alone(facts: dict[str, Any], _tokens: int, streams: int) -> tuple[int, float]:
    """The engine's own HTTP server."""
    key = f"Authorization: Bearer {facts['engine_key']}\r\n"
    socks = [post(facts["engine_port"], "/completion", facts["engine_body"], key) for _ in range(streams)]
    return read_all(socks, lambda text: b'"stop":true' in text, b'"stop":false')


def over_http(facts: dict[str, Any], tokens: int, streams: int) -> tuple[int, float]:
    """OpenAI's chat completions."""
    body = {
        "model": facts["model"],
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": tokens,
        "stream": True,
        "logit_bias": _BIAS,
    }
    socks = [post(facts["port"], "/v1/chat/completions", body) for _ in range(streams)]
    return read_all(socks, lambda text: b"data: [DONE]" in text, b'"delta":{"')


def over_websocket(facts: dict[str, Any], tokens: int, streams: int) -> tuple[int, float]:
    """The native protocol, each stream on a connection of its own."""
    fields = [
        {"key": "llm.prediction.maxPredictedTokens", "value": {"checked": True, "value": tokens}},
        {"key": "llm.prediction.llama.logitBias", "value": [[token, "-inf"] for token, _ in ENDLESS]},
    ]
    message = {"role": "user", "content": [{"type": "text", "text": PROMPT}]}
    creation = {
        "modelSpecifier": {"type": "query", "query": {"identifier": facts["model"]}},
        "history": {"messages": [message]},
        "predictionConfigStack": {"layers": [{"layerName": "apiOverride", "config": {"fields": fields}}]},
    }
    request = {"type": "channelCreate", "endpoint": "predict", "channelId": 1, "creationParameter": creation}
    socks = [RawConnection(facts["port"])._sock for _ in range(streams)]
    for sock in socks:
        sock.sendall(masked(request))
    return read_all(socks, lambda text: b'"channelClose"' in text, b'"type":"fragment"')


WAYS: dict[str, Callable[[dict[str, Any], int, int], tuple[int, float]]] = {
    "engine alone": engine_alone,
    "native protocol": over_websocket,
    "chat completions": over_http,
}


def processor_seconds(pid: int) -> float:
    """Processor time of one process, so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def measure(streams: int, tokens: int, rounds: int) -> dict[str, dict[str, float]]:
    """Medians for each way: seconds per token of all streams together, server's processor seconds per token."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with host(tokens, streams) as (facts, pid):
        for _ in range(rounds + 1):  # the first is to warm up
            for name, way in WAYS.items():
                cpu = processor_seconds(pid)
                counted, seconds = way(facts, tokens, streams)
                if counted < 0.9 * tokens * streams:
                    raise RuntimeError(f"{name}: {counted} tokens came, {tokens * streams} were asked for.")
                total = tokens * streams
                found[name].append((seconds / total, (processor_seconds(pid) - cpu) / total))
    medians = {}
    for name, pairs in found.items():
        walls, cpus = zip(*pairs[1:], strict=True)
        medians[name] = {"seconds": statistics.median(walls), "cpu": statistics.median(cpus)}
    return medians


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=600, help="tokens per stream (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each way is taken (default: %(default)s)")
    arguments = parser.parse_args()
    sys.stdout.write(f"{'':20}{'streams':>8}{'µs/token':>10}{'overhead':>10}{'goal':>7}{'server CPU µs/token':>22}\n")
    for streams, goal in GOALS.items():
        medians = measure(streams, arguments.tokens, arguments.rounds)
        base = medians["engine alone"]["seconds"]
        for name, values in medians.items():
            overhead = values["seconds"] / base - 1
            shown = "" if name == "engine alone" else f"{overhead:>10.1%}{goal:>7.0%}{values['cpu'] * 1e6:>22.0f}"
            sys.stdout.write(f"{name:20}{streams:>8}{values['seconds'] * 1e6:>10.0f}{shown}\n")


if __name__ == "__main__":
    main()
