"""`python -m lmstudio gateway`: the gateway in the foreground."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from lmstudio.gateway.background import Gateway
from lmstudio.gateway.settings import GATEWAY_TABLE, GatewaySettings
from lmstudio.logs import fields, get_logger
from lmstudio.server.foreground import Program, Speaker, StopRequests

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["add_arguments", "run"]

_logger = get_logger("gateway")

_MODELS_SHOWN: Final = 20
_SPARE_SECONDS: Final = 5.0
"""More than the gateway gives LM Studio to be connected to."""


class _Models(NamedTuple):
    """What a client sees now."""

    names: tuple[str, ...] = ()
    problem: str | None = None


class _GatewayProgram(Program[GatewaySettings, Gateway]):
    def start(self, values: GatewaySettings, tokens: list[str], stop_requests: StopRequests) -> Gateway:
        gateway = Gateway(replace(values, api_tokens=tuple(tokens), api_token_files=()))
        stop_requests.on_signal = gateway.interrupt_start
        gateway.start()
        return gateway

    def introduce(self, server: Gateway, values: GatewaySettings, speaker: Speaker, tokens: list[str]) -> None:
        models = _models(server, values, tokens)
        if speaker.is_logged:
            for name in models.names:
                _logger.info("Offering %s", name, extra=fields(model=name))
            if models.problem is not None:
                _logger.warning("There are no models now: %s", models.problem, extra=fields())
            known = fields(address=server.api_host)
            _logger.info("Serving OpenAI's API at %s/v1, for %s", server.base_url, _upstream(values), extra=known)
        else:
            speaker.say(*_describe(server, values, models, has_tokens=bool(tokens)))


_PROGRAM: Final = _GatewayProgram(
    "gateway", GATEWAY_TABLE, example=("port", "`port: 8000` in the section `gateway`, or `base_url` in `inference`")
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `gateway`."""
    _PROGRAM.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """As `Program.run`."""
    return _PROGRAM.run(arguments)


def _models(gateway: Gateway, values: GatewaySettings, tokens: list[str]) -> _Models:
    """What a client is told: by asking as one, so that it is neither more nor less."""
    import httpx

    headers = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
    seconds = values.connect_timeout_seconds + _SPARE_SECONDS
    try:
        with httpx.Client(base_url=gateway.base_url, headers=headers, timeout=seconds, trust_env=False) as client:
            reply = client.get("/v1/models")
            if reply.is_success:
                return _Models(tuple(model["id"] for model in reply.json()["data"]))
            # Who runs the gateway is told more than its clients.
            problem = client.get("/health").json()["provider"].get("error")
            return _Models(problem=problem or reply.json()["error"]["message"])
    except httpx.HTTPError as error:
        return _Models(problem=f"LM Studio does not answer ({type(error).__name__})")


def _upstream(values: GatewaySettings) -> str:
    if values.provider == "mock":
        return "nobody: replies are made up (provider mock)"
    return f"LM Studio at {values.base_url}"


def _describe(gateway: Gateway, values: GatewaySettings, models: _Models, *, has_tokens: bool) -> Iterator[str]:
    address = gateway.base_url
    key = '"sk-lm-..."' if has_tokens else '"none"'
    yield f"Serving OpenAI's API at {address}/v1 (Anthropic's clients: {address})"
    yield f"Upstream       {_upstream(values)}"
    yield f'Connect with   openai.OpenAI(base_url="{address}/v1", api_key={key})'
    yield f"Look after     {address}/health"
    for name in models.names[:_MODELS_SHOWN]:
        yield f"Model          {name}"
    if len(models.names) > _MODELS_SHOWN:
        yield f"               and {len(models.names) - _MODELS_SHOWN} more"
    if models.problem is not None:
        yield f"No models now  {models.problem}"
        yield "               Requests are answered as soon as it is there."
    elif not models.names:
        yield "No models now  none is loaded; see --preload and --jit-loading."
    yield "Press Ctrl-C to stop."
