"""What monitors see of the gateway, whatever LM Studio does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gateway.gateway_stage import CHAT, Studio, running_gateway

if TYPE_CHECKING:
    import httpx

    from lmstudio.testing import FaultProxy

pytestmark = pytest.mark.usefixtures("provider")

TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"


def test_healthy(network: FaultProxy, api: httpx.Client, provider: str) -> None:
    response = api.get("/health")
    health = response.json()
    assert response.status_code == 200
    assert (health["status"], health["api_version"], health["models_loaded"]) == ("ok", "v1", 2)
    assert health["lmstudio_version"]
    assert health["uptime_ms"] >= 0
    assert health["provider"] == {"name": provider, "status": "ok", "base_url": network.api_host}
    assert health["http"] == {
        "timeout_secs": 60.0,
        "connect_timeout_secs": 10.0,
        "keep_alive_secs": 30.0,
        "max_idle_connections": 10,
    }


def test_studio_that_is_away_and_back(studio: Studio) -> None:
    with running_gateway(studio.api_host) as api:
        studio.server.stop()
        response = api.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "unavailable")
        assert response.json()["provider"]["status"] == "unavailable"
        assert "Connection refused" in response.json()["provider"]["error"]
        assert response.json()["models_loaded"] == 0
        studio.restart()
        assert api.get("/health").status_code == 200


def test_studio_that_hangs_is_not_waited_for(network: FaultProxy, api: httpx.Client) -> None:
    api.get("/health")
    network.go_silent()
    began = time.monotonic()
    response = api.get("/health")
    assert time.monotonic() - began < 8.0
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")
    assert "has not answered" in response.json()["provider"]["error"]


def test_no_secrets(studio: Studio) -> None:
    with running_gateway(studio.api_host, api_token=TOKEN) as api:
        assert "abcdefgh" not in api.get("/health").text


def test_monitors_need_no_token(studio: Studio) -> None:
    from gateway.gateway_stage import client_of
    from lmstudio.gateway import GatewaySettings
    from lmstudio.gateway.core import GatewayCore
    from lmstudio.server import Server

    core = GatewayCore(GatewaySettings(base_url=studio.api_host))
    with Server.for_core(core, api_tokens=[TOKEN]) as gateway, client_of(gateway) as api:
        assert api.get("/health").status_code == 200
        assert api.post("/v1/chat/completions", json=CHAT).status_code == 401
        authorized = {"Authorization": f"Bearer {TOKEN}"}
        assert api.post("/v1/chat/completions", json=CHAT, headers=authorized).status_code == 200
