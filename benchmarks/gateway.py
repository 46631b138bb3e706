"""The gateway beside LiteLLM's proxy: `python benchmarks/gateway.py`.

All stand in front of the same server, which writes the time into its tokens (`gateway_host.py`), and get the same
requests of the same client, which decodes nothing. Reported for each: the processor time of its process per token, and
how much older a token is when it has come through it than when it was asked for directly. Beside them a relay that
looks at nothing it passes on (`byte_relay.py`): what it costs to be woken for a token, which nobody can save. LiteLLM
has an environment of its own, `benchmarks/.env-litellm`, which the first run makes and git ignores. "lmstudio" and
"http" are providers of our gateway; LiteLLM does what the latter does. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from gateway_host import MODEL
from overhead import post, processor_seconds
from sides import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL = 5.0
"""How many times less processor time per token than LiteLLM."""
LITELLM = "litellm[proxy]==1.106.2"
LITELLM_ENVIRONMENT = HERE / ".env-litellm"
START_SECONDS = 120.0
_READ_BYTES = 1 << 16
_STAMP = re.compile(rb'"content": ?"(\d{10,}) "')
_WAYS = ("direct", "relay", "lmstudio", "http", "litellm")
_OURS = ("lmstudio", "http")
"""The providers of our gateway."""


@dataclass(frozen=True)
class Scenario:
    """What the client asks for."""

    name: str
    streams: int
    tokens: int
    pace_seconds: float
    """Between two tokens of a stream; 0 for as fast as they are taken."""


SCENARIOS = (
    Scenario("1 stream, 50/s", 1, 200, 0.02),
    Scenario("20 streams, 50/s each", 20, 200, 0.02),
    Scenario("1 stream, unpaced", 1, 3000, 0.0),
    Scenario("20 streams, unpaced", 20, 300, 0.0),
)


@dataclass
class Outcome:
    """What one round of requests has shown."""

    tokens: int
    cpu_seconds: float
    ages: list[float]
    """Of the tokens when they came, in seconds."""
    seconds: float

    @property
    def cpu_per_token(self) -> float:
        """In seconds."""
        return self.cpu_seconds / self.tokens


# Processes -----------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], log: Path, url: str, **more: Any) -> Iterator[int]:
    """The process of *command* once *url* answers."""
    with log.open("ab") as file, subprocess.Popen(command, stdout=file, stderr=file, **more) as running:
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(url, trust_env=False).status_code == 200:
                        break
                if running.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[:3]} did not start; see {log}.")
                time.sleep(0.1)
            yield running.pid
        finally:
            running.terminate()


@contextlib.contextmanager
def upstream(pace_seconds: float) -> Iterator[int]:
    """The port of the server that is behind."""
    command = [sys.executable, str(HERE / "gateway_host.py"), str(pace_seconds), "0", "loaded"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield int(running.stdout.readline())


@contextlib.contextmanager
def byte_relay(upstream_port: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process of the relay."""
    port = free_port()
    command = [sys.executable, str(HERE / "byte_relay.py"), str(upstream_port), str(port)]
    with process(command, folder / "relay.log", f"http://127.0.0.1:{port}/v1/models") as pid:
        yield port, pid


@contextlib.contextmanager
def lmstudio_gateway(
    upstream_port: int, folder: Path, provider: str, *, jit_loading: bool = False
) -> Iterator[tuple[int, int]]:
    """Port and process of our gateway, which asks over the native protocol or over HTTP."""
    port = free_port()
    config = folder / f"gateway-{provider}.json"
    settings = {
        "inference": {"provider": provider, "base_url": f"http://127.0.0.1:{upstream_port}"},
        "gateway": {"port": port, "jit_loading": jit_loading},
    }
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "lmstudio", "gateway", "--config", str(config)]
    with process(command, folder / f"gateway-{provider}.log", f"http://127.0.0.1:{port}/v1/models") as pid:
        yield port, pid


def litellm_python() -> Path:
    """The interpreter of LiteLLM's environment, which is made if there is none."""
    python = LITELLM_ENVIRONMENT / "bin" / "python"
    if not python.exists():
        sys.stderr.write(f"Making {LITELLM_ENVIRONMENT.name} ...\n")
        venv.create(LITELLM_ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", LITELLM], check=True)
    return python


@contextlib.contextmanager
def litellm_proxy(upstream_port: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process of LiteLLM's proxy, with one worker."""
    port = free_port()
    config = folder / "litellm.json"
    parameters = {"model": f"lm_studio/{MODEL}", "api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none"}
    general = {"dangerously_permit_weak_or_unset_master_key": True}  # as ours, it asks for no token
    model = {"model_name": MODEL, "litellm_params": parameters}
    config.write_text(json.dumps({"model_list": [model], "general_settings": general}))
    command = [str(litellm_python().parent / "litellm"), "--config", str(config), "--port", str(port)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Or it asks the web for prices, and reports home.
    environment = {**kept, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1"}
    address = f"http://127.0.0.1:{port}/health/liveliness"
    with process([*command, "--telemetry", "False"], folder / "litellm.log", address, env=environment) as pid:
        yield port, pid


# The client ----------------------------------------------------------------------------------------------------------


def ask(port: int, scenario: Scenario) -> tuple[list[float], float]:
    """Stream as the scenario says; the ages of all tokens, and the seconds it took."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "What time is it?"}],
        "max_tokens": scenario.tokens,
        "stream": True,
    }
    started = time.monotonic()
    ages: list[float] = []
    socks = [post(port, "/v1/chat/completions", body) for _ in range(scenario.streams)]
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, [b""])
        while selector.get_map():
            for key, _ in selector.select():
                data = key.fileobj.recv(_READ_BYTES)  # type: ignore[union-attr]  # a socket
                now = time.monotonic_ns()
                text = key.data[0] + data
                end = 0
                for match in _STAMP.finditer(text):
                    ages.append((now - int(match[1])) / 1e9)
                    end = match.end()
                key.data[0] = text[end:]
                if not data or b"data: [DONE]" in text:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    return ages, time.monotonic() - started


def one_round(port: int, pid: int | None, scenario: Scenario) -> Outcome:
    """One round of requests at *port*; *pid* is the process whose time counts."""
    before = 0.0 if pid is None else processor_seconds(pid)
    ages, seconds = ask(port, scenario)
    if len(ages) < scenario.streams * scenario.tokens:
        raise RuntimeError(f"{len(ages)} tokens came of {scenario.streams * scenario.tokens}.")
    cpu = 0.0 if pid is None else processor_seconds(pid) - before
    return Outcome(len(ages), cpu, ages, seconds)


def measure(scenario: Scenario, rounds: int, folder: Path) -> dict[str, Outcome]:
    """All ways, by turns; the rounds of each put together."""
    found: dict[str, list[Outcome]] = {way: [] for way in _WAYS}
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(upstream(scenario.pace_seconds))
        relay = stack.enter_context(byte_relay(behind, folder))
        ours = {name: stack.enter_context(lmstudio_gateway(behind, folder, name)) for name in _OURS}
        theirs = stack.enter_context(litellm_proxy(behind, folder))
        ways: dict[str, tuple[int, int | None]] = {
            "direct": (behind, None),
            "relay": relay,
            **ours,
            "litellm": theirs,
        }
        for number in range(rounds + 1):  # the first is to warm up
            for way, (port, pid) in ways.items():
                outcome = one_round(port, pid, scenario)
                if number:
                    found[way].append(outcome)
    return {way: together(outcomes) for way, outcomes in found.items()}


def together(outcomes: list[Outcome]) -> Outcome:
    """One outcome for several rounds."""
    return Outcome(
        sum(each.tokens for each in outcomes),
        sum(each.cpu_seconds for each in outcomes),
        [age for each in outcomes for age in each.ages],
        sum(each.seconds for each in outcomes),
    )


def lines(scenario: Scenario, outcomes: dict[str, Outcome]) -> Iterator[str]:
    """The rows of the table."""
    direct = statistics.median(outcomes["direct"].ages)
    for way, outcome in outcomes.items():
        added = (statistics.median(outcome.ages) - direct) * 1e3
        high = sorted(outcome.ages)[int(len(outcome.ages) * 0.99)] * 1e3
        cpu = "" if way == "direct" else f"{outcome.cpu_per_token * 1e6:>15.0f}"
        ratio = (
            f"{outcomes['litellm'].cpu_per_token / max(outcome.cpu_per_token, 1e-9):>8.1f} x" if way in _OURS else ""
        )
        latency = f"{added:>12.2f}{high:>12.2f}" if scenario.pace_seconds else f"{'':24}"
        rate = outcome.tokens / outcome.seconds
        yield f"{scenario.name:24}{way:10}{rate:>10.0f}{latency}{cpu}{ratio}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is taken (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where configurations and logs go (default: a temporary folder)")
    arguments = parser.parse_args()
    print(f"{'':34}{'tokens/s':>10}{'added ms':>12}{'99 % ms':>12}{'CPU µs/token':>15}{'ratio':>10} (goal {GOAL:g} x)")
    with tempfile.TemporaryDirectory() as temporary:
        for scenario in SCENARIOS:
            for line in lines(scenario, measure(scenario, arguments.rounds, arguments.folder or Path(temporary))):
                print(line, flush=True)


if __name__ == "__main__":
    main()
