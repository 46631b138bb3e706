"""`python -m lmstudio serve`: the embedded server in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lmstudio._address import API_SERVER_PORTS, NAMESPACES
from lmstudio.logs import fields, get_logger
from lmstudio.server.embedded import Server
from lmstudio.server.errors import PortInUseError, ServerStartError
from lmstudio.server.foreground import Program, Speaker, StopRequests
from lmstudio.server.home import default_models_folder
from lmstudio.server.settings import SERVER_TABLE, ServerSettings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from lmstudio.server.auth import ApiTokens

_logger = get_logger("server")

_MODELS_SHOWN = 20


class ServeProgram(Program[ServerSettings, Server]):
    """The program *name*, with a server for everybody, or one that belongs to *owner*."""

    def __init__(self, name: str, owner: ApiTokens | None = None) -> None:
        super().__init__(name, SERVER_TABLE, example=("jit_ttl_seconds", "jit_ttl_seconds = 600"))
        self._owner = owner

    def start(self, values: ServerSettings, tokens: list[str], stop_requests: StopRequests) -> Server:
        """The server, on the first port that is free."""
        return _start(values, tokens, stop_requests, self._owner)

    def introduce(self, server: Server, values: ServerSettings, speaker: Speaker, tokens: list[str]) -> None:
        """Say where it is and what it has."""
        if speaker.is_logged:
            for model in server.models:
                _logger.info("Offering %s", model.model_key, extra=fields(model=model.model_key))
            known = fields(address=server.api_host)
            _logger.info("Serving LM Studio's protocol at ws://%s/", server.api_host, extra=known)
        else:
            speaker.say(*_describe(server, has_tokens=bool(tokens), has_page=values.page))


_PROGRAM = ServeProgram("serve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`."""
    _PROGRAM.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """As `Program.run`."""
    return _PROGRAM.run(arguments)


def _models_folder(settings: ServerSettings) -> Path | None:
    """LM Studio's own, unless something else was said about models."""
    is_open = settings.models is None and settings.models_folder is None and settings.engine == "llama_cpp"
    return default_models_folder() if is_open else settings.models_folder


def _start(settings: ServerSettings, tokens: list[str], stop_requests: StopRequests, owner: ApiTokens | None) -> Server:
    ports = API_SERVER_PORTS if settings.port is None else (settings.port,)
    for port in ports:
        given: dict[str, Any] = {**settings.server_arguments(), "models_folder": _models_folder(settings), "port": port}
        server = Server(api_tokens=tokens, owner=owner, **given)
        stop_requests.on_signal = server.interrupt_start
        try:
            server.start()
        except PortInUseError:
            if settings.port is not None:
                raise
        else:
            return server
    raise ServerStartError(f"The ports {', '.join(map(str, ports))} are all in use; choose another one with --port.")


def _describe(server: Server, *, has_tokens: bool, has_page: bool) -> Iterator[str]:
    address = server.api_host
    yield f"Serving LM Studio's protocol at ws://{address}/ (namespaces {', '.join(NAMESPACES)})"
    yield f'Connect with   import lmstudio as lms; client = lms.Client("{address}")'
    if server.port in API_SERVER_PORTS and server.is_local:
        condition = "" if server.port == API_SERVER_PORTS[0] else ", unless a server on an earlier port answers first"
        yield f"               lms.Client() without an address finds it as well{condition}"
    if has_tokens:
        yield "               and an API token of this server in LM_API_TOKEN, or as api_token=..."
    yield f"OpenAI         http://{address}/v1 (Anthropic's clients: http://{address})"
    if has_page:
        yield f"In a browser   http://{address}/"
    for model in server.models[:_MODELS_SHOWN]:
        yield f"Model          {model.model_key} ({model.kind}, {model.size_bytes / 1e6:.1f} MB)"
    if len(server.models) > _MODELS_SHOWN:
        yield f"               and {len(server.models) - _MODELS_SHOWN} more"
    yield "Press Ctrl-C to stop."
