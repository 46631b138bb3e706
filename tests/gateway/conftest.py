"""LM Studio, and a gateway in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway import gateway_stage
from gateway.gateway_stage import CHAT_MODEL, EMBEDDING_MODEL, Studio, client_of, new_gateway
from lmstudio.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from lmstudio.server import Server


@pytest.fixture(params=["lmstudio", "http"])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the gateways of a test ask LM Studio."""
    name: str = request.param
    monkeypatch.setattr(gateway_stage, "PROVIDER", name)
    return name


@pytest.fixture
def studio() -> Iterator[Studio]:
    """LM Studio, with a model that chats and one that embeds."""
    studio = Studio()
    try:
        studio.load(CHAT_MODEL, EMBEDDING_MODEL)
        yield studio
    finally:
        studio.server.stop()


@pytest.fixture
def network(studio: Studio) -> Iterator[FaultProxy]:
    """What is between LM Studio and the gateway."""
    with FaultProxy(studio.server.port) as network:
        yield network


@pytest.fixture
def gateway(network: FaultProxy) -> Iterator[Server]:
    """The gateway, with its defaults."""
    with new_gateway(network.api_host) as gateway:
        yield gateway


@pytest.fixture
def api(gateway: Server) -> Iterator[httpx.Client]:
    """A plain client of the gateway."""
    with client_of(gateway) as client:
        yield client
