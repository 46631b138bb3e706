"""Who watches the log of an embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.server.core import ServerCore

if TYPE_CHECKING:
    from lmstudio.server import Server


def is_watched(server: Server) -> bool:
    """Whether somebody does."""
    assert isinstance(server.core, ServerCore)
    return server.core.events.is_watched
