"""`Gateway`: one in a program, or in a test."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.gateway import Gateway, GatewaySettings
from lmstudio.server import Gate, ScriptedEngine, Server, ServerStartError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "sk-lm-abcdefgh:ABCDEFGHIJ0123456789"
OTHER_TOKEN = "sk-lm-ijklmnop:ABCDEFGHIJ0123456789"


def models(gateway: Gateway, token: str | None = None) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{gateway.base_url}/v1/models", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)


def test_gateway_is_there_within_the_block_only() -> None:
    with Server(engine="scripted") as server, lms.Client(server.api_host) as client:
        client.llm.load_new_instance("scripted-chat")
        with Gateway(base_url=f"http://{server.api_host}", port=0) as gateway:
            assert [model["id"] for model in models(gateway).json()["data"]] == ["scripted-chat"]
        assert not gateway.is_running
        with pytest.raises(httpx.ConnectError):
            models(gateway)


def test_gateway_can_be_started_again_on_its_port() -> None:
    gateway = Gateway(GatewaySettings(provider="mock", port=0))
    with gateway:
        address = gateway.base_url
        assert models(gateway).is_success
    with gateway:
        assert gateway.base_url == address
        assert models(gateway).is_success


def test_async_with_starts_and_stops_it_as_well() -> None:
    async def visit() -> Gateway:
        async with Gateway(provider="mock", port=0) as gateway, httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{gateway.base_url}/v1/models")).is_success
        return gateway

    assert not asyncio.run(visit()).is_running


def test_address_is_known_after_the_start_only() -> None:
    with pytest.raises(LMStudioRuntimeError, match="before it has been started"):
        _ = Gateway(port=0).base_url


def test_tokens_come_from_arguments_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{OTHER_TOKEN}\n")
    with Gateway(provider="mock", port=0, api_tokens=[TOKEN], api_token_files=[file]) as gateway:
        assert models(gateway).status_code == 401
        assert models(gateway, TOKEN).is_success
        assert models(gateway, OTHER_TOKEN).is_success
    file.write_text("")
    with pytest.raises(LMStudioValueError, match="There is no API token in"):
        Gateway(api_token_files=[file])


def test_environment_of_the_program_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_GATEWAY_PORT", "x")
    monkeypatch.setenv("INFERENCE_INFERENCE_PROVIDER", "x")
    with Gateway(provider="mock", port=0) as gateway:
        assert models(gateway).is_success


def test_open_gateway_without_token_is_refused() -> None:
    gateway = Gateway(provider="mock", host="0.0.0.0", port=0)
    with pytest.raises(ServerStartError, match="could use this server"):
        gateway.start()
    with Gateway(provider="mock", host="0.0.0.0", port=0, insecure=True) as gateway:
        assert models(gateway).is_success


@pytest.mark.parametrize("end", [Gateway.begin_stop, Gateway.stop, Gateway.interrupt_start])
def test_start_that_loads_can_be_interrupted_from_another_thread(end: Callable[[Gateway], None]) -> None:
    gate = Gate()
    with Server(engine=ScriptedEngine(load_gate=gate)) as server:
        gateway = Gateway(base_url=server.api_host, port=0, preload=["scripted-chat"])
        failures: list[BaseException] = []

        def start() -> None:
            try:
                gateway.start()
            except ServerStartError as error:
                failures.append(error)

        starting = threading.Thread(target=start)
        starting.start()
        assert gate.reached(PATIENCE_SECONDS)
        end(gateway)
        starting.join(PATIENCE_SECONDS)
        assert [str(failure) for failure in failures] == ["The server was told to stop before it had started."]
        assert not gateway.is_running
        gate.open()
        with gateway:
            assert [model["id"] for model in models(gateway).json()["data"]] == ["scripted-chat"]
