# Generated from async_namespace.py by tools/make_sync.py. Edit that file instead.
"""What the groups of methods of the client over HTTP have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmstudio.http.sync_base import HttpBase

if TYPE_CHECKING:
    import logging

    from lmstudio.http.sync_client import HttpClient

__all__ = ["Namespace"]


class CallbackHome:
    """What callbacks of users are called for."""

    suspends = False
    """Whether they may be coroutine functions."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def logger(self, area: str) -> logging.Logger:
        """Where it is said that a callback failed."""
        return self._logger.getChild(area)


class Namespace(HttpBase):
    """The methods of one surface, an attribute of the client."""

    def __init__(self, client: HttpClient) -> None:
        super().__init__(client._caller)
        self._client = client  # which would close its connections if nobody held it
        self._settings = client._settings

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client!r}>"
