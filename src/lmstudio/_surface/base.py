"""What the classes of both surfaces have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NoReturn, SupportsIndex

from lmstudio.errors import LMStudioRuntimeError


class LeftWhenForgotten(ABC):
    """Base of what is given up when nobody holds it any more."""

    @abstractmethod
    def _leave(self) -> None:
        """Give it up. Nothing is awaited: this may happen on any thread."""

    def __del__(self) -> None:
        if vars(self):  # else it was never made: arguments are missing, or Ctrl-C struck before the first line
            self._leave()


class Surface:
    """Base of clients, of what they give out, and of what that gives out."""

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        # Both pickle and copy come here. What would come out has no connection, and nobody who would close one.
        raise LMStudioRuntimeError(
            f"{type(self).__name__} can neither be pickled nor copied, because it belongs to a client and its "
            "connections. Make a client in the other process, and get the object from that."
        )
