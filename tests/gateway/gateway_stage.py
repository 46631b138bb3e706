"""What the tests of the gateway have in common: an LM Studio of our own, a network that fails, and a gateway."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio
from lmstudio.gateway import GatewaySettings
from lmstudio.gateway.core import GatewayCore
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lmstudio.server.engine.base import ModelFile

PROVIDER = "lmstudio"
"""Of the gateways that are told nothing else; the fixture `provider` sets it."""
native_only = pytest.mark.parametrize("provider", ["lmstudio"], indirect=True)
"""What the native protocol has and HTTP has not."""
CHAT_MODEL = "scripted-chat"
EMBEDDING_MODEL = "scripted-embed"
USER: list[dict[str, Any]] = [{"role": "user", "content": "one two three"}]
CHAT: dict[str, Any] = {"model": CHAT_MODEL, "messages": USER}


class Studio:
    """An LM Studio: it may be stopped, and started again on the same port."""

    def __init__(self, models: Sequence[ModelFile] | None = None) -> None:
        self.engine = ScriptedEngine()
        self.server = Server(models, engine=self.engine)
        self.server.start()

    @property
    def api_host(self) -> str:
        """Where it is."""
        return self.server.api_host

    def load(self, *names: str) -> None:
        """Load models, one instance each; "KEY=IDENTIFIER" gives it another name."""
        with lmstudio.Client(self.api_host) as client:
            for name in names:
                key, _, identifier = name.partition("=")
                session: Any = client.embedding if "embed" in key else client.llm
                session.load_new_instance(key, identifier or None)

    def unload(self, identifier: str) -> None:
        """Unload an instance of a language model."""
        with lmstudio.Client(self.api_host) as client:
            client.llm.unload(identifier)

    def restart(self) -> None:
        """Begin again with the default models loaded, after `server.stop()`."""
        self.server.start()
        self.load(CHAT_MODEL, EMBEDDING_MODEL)


def new_gateway(api_host: str, **settings: Any) -> Server:
    """A gateway in front of *api_host*, not started."""
    chosen = {"provider": PROVIDER, "base_url": api_host, **settings}
    return Server.for_core(GatewayCore(GatewaySettings(**chosen)))


@contextmanager
def client_of(gateway: Server) -> Iterator[httpx.Client]:
    """A plain HTTP client of *gateway*."""
    with httpx.Client(base_url=f"http://{gateway.api_host}", timeout=PATIENCE_SECONDS) as client:
        yield client


@contextmanager
def running_gateway(api_host: str, **settings: Any) -> Iterator[httpx.Client]:
    """A plain HTTP client of a gateway in front of *api_host*."""
    with new_gateway(api_host, **settings) as gateway, client_of(gateway) as client:
        yield client


def error_of(response: httpx.Response) -> dict[str, Any]:
    """What a reply of OpenAI's surface says went wrong."""
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
