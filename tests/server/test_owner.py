"""A server with an owner: privileged, while everybody else needs no token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lmstudio as lms
from lmstudio.errors import LMStudioAuthenticationError, LMStudioServerError
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.auth import ApiTokens

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "sk-lm-AbCd1234:abcdefghij0123456789"
GUEST = "sk-lm-ZyXw9876:zyxwvutsrq9876543210"
THIEF = "sk-lm-AbCd1234:zyxwvutsrq9876543210"


@pytest.fixture(params=[(), (GUEST,)], ids=["open", "with tokens"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that belongs to somebody."""
    with Server(engine=ScriptedEngine(), owner=ApiTokens([OWNER]), api_tokens=request.param) as server:
        yield server


def test_the_owner_may_shut_the_server_down(server: Server) -> None:
    with lms.Client(server.api_host, OWNER) as client:
        assert client.system.get_info().is_daemon
        client.system.request_shutdown()
    assert server.was_asked_to_stop


def test_nobody_else_takes_the_name_of_the_owner(server: Server) -> None:
    with pytest.raises(LMStudioAuthenticationError), lms.Client(server.api_host, THIEF) as client:
        client.system.get_info()


def test_others_need_no_token_and_may_do_less() -> None:
    with Server(engine=ScriptedEngine(), owner=ApiTokens([OWNER])) as server, lms.Client(server.api_host) as client:
        assert client.list_downloaded_models()
        with pytest.raises(LMStudioServerError, match="privileged"):
            client.system.request_shutdown()
