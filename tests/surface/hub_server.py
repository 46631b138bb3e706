"""A server where one can log in at the hub, and publish: both succeed at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lmstudio._sdk_models import (
    RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated,
    RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode,
    RepositoryChannelPushArtifactToClientPacketMessage,
)
from lmstudio.server import ScriptedEngine, Server
from lmstudio.server.native.account import AccountHandlers

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from lmstudio.server._port import ServerChannel

FILLED_URL = "http://hub?AB-CD"
MESSAGES = ["Packing", "Uploading"]


async def _log_in(_: AccountHandlers, __: object, ___: object, channel: ServerChannel[Any, None]) -> None:
    channel.send(
        RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticationCode(
            code="AB-CD", manual_url="http://hub", filled_url=FILLED_URL
        )
    )
    channel.send(RepositoryChannelEnsureAuthenticatedToClientPacketAuthenticated())


async def _publish(_: AccountHandlers, __: object, ___: object, channel: ServerChannel[Any, None]) -> None:
    for message in MESSAGES:
        channel.send(RepositoryChannelPushArtifactToClientPacketMessage(message=message))


@contextmanager
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """It is running in the `with` block."""
    monkeypatch.setattr(AccountHandlers, "_ensure_authenticated", _log_in)
    monkeypatch.setattr(AccountHandlers, "_push_artifact", _publish)
    with Server(engine=ScriptedEngine()) as server:
        yield server
