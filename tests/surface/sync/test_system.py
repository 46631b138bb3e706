# Generated from ../async/test_system.py by tools/make_sync.py. Edit that file instead.
"""The server as a program: what it says of itself, and what it lets its clients do with it."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

import lmstudio as lms
from lmstudio.server import ScriptedEngine, Server
from surface.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "sk-lm-abcdefgh:0123456789abcdefghij"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose clients may do everything."""
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        yield server


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        number: int = found.getsockname()[1]
    return number


def test_a_server_says_which_one_it_is(server: Server) -> None:
    with lms.Client(server.api_host, TOKEN) as client:
        version = client.system.get_lm_studio_version()
        info = client.system.get_info()
    assert isinstance(version, lms.LMStudioVersion)
    assert lms.__version__.startswith(version.version)
    assert version.build == 0
    assert (info.pid, info.is_daemon, info.version) == (os.getpid(), False, version.version)


def test_experiments_are_switched_on_and_off(server: Server) -> None:
    with lms.Client(server.api_host, TOKEN) as client:
        client.system.set_experiment_flag("fast", True)
        client.system.set_experiment_flag("slow", True)
        assert client.system.get_experiment_flags() == ["fast", "slow"]
        client.system.set_experiment_flag("fast", False)
        assert client.system.get_experiment_flags() == ["slow"]
        client.system.set_experiment_flag("slow", False)


def test_a_notification_reaches_the_server(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lmstudio.server"):
        with lms.Client(server.api_host, TOKEN) as client:
            client.system.notify("Training", "Epoch 3 is done.", no_auto_dismiss=True)
    assert "Notification: Training: Epoch 3 is done." in caplog.messages


def test_the_http_server_is_started_and_stopped(server: Server) -> None:
    port, headers = free_port(), {"Authorization": f"Bearer {TOKEN}"}
    url = f"http://127.0.0.1:{port}/v1/models"
    with lms.Client(server.api_host, TOKEN) as client, Background() as background:
        client.system.start_http_server(port=port, cors=False, network_interface="127.0.0.1")
        answer = background.wait(lambda: httpx.get(url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False))
        assert answer.status_code == 200
        client.system.stop_http_server()
        with pytest.raises(lms.LMStudioServerError, match="stop the HTTP server"):
            client.system.stop_http_server()


def test_a_server_ends_when_a_client_asks_for_it() -> None:
    with Server(engine=ScriptedEngine(), api_tokens=[TOKEN]) as server:
        with lms.Client(server.api_host, TOKEN) as client, Background() as background:
            client.system.request_shutdown()
            background.until(lambda: not client.system.connected)


def test_what_no_server_could_do_is_refused_before_anything_is_sent() -> None:
    impossible: list[tuple[str, dict[str, Any], str]] = [
        ("start_http_server", {"port": 65536}, "from 1 to 65535, got 65536"),
        ("start_http_server", {"port": True}, "from 1 to 65535, got True"),
        ("start_http_server", {"cors": "yes"}, "cors must be True or False, got 'yes'"),
        ("start_http_server", {"network_interface": ""}, "network interface must have"),
        ("notify", {"title": None}, "title of a notification must be a string"),
        ("notify", {"title": "a", "description": 5}, "description of a notification must be a string"),
        ("notify", {"title": "a", "no_auto_dismiss": 1}, "no_auto_dismiss must be True or False"),
        ("set_experiment_flag", {"code": "", "value": True}, "code must have"),
        ("set_experiment_flag", {"code": "a", "value": "on"}, "value must be True or False"),
    ]
    client = lms.Client("127.0.0.1:1")
    for method, arguments, words in impossible:
        with pytest.raises(lms.LMStudioValueError, match=words):
            getattr(client.system, method)(**arguments)
    assert not client.system.connected
    client.close()
