"""Servers for the tests of the HTTP surfaces, and plain HTTP clients for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from patience import PATIENCE_SECONDS

from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def engine() -> ScriptedEngine:
    """Says what the test tells it to."""
    return ScriptedEngine()


@pytest.fixture
def server(engine: ScriptedEngine) -> Iterator[Server]:
    """Serves the models that the engine makes up."""
    with Server(engine=engine) as server:
        yield server


@pytest.fixture
def api(server: Server) -> Iterator[httpx.Client]:
    """A plain client of it."""
    with httpx.Client(base_url=f"http://{server.api_host}", timeout=PATIENCE_SECONDS) as client:
        yield client
