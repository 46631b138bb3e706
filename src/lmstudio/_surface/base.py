"""What the classes of both surfaces have in common."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex

from lmstudio.errors import LMStudioRuntimeError


class Surface:
    """Base of clients, of what they give out, and of what that gives out."""

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        # Both pickle and copy come here. What would come out has no connection, and nobody who would close one.
        raise LMStudioRuntimeError(
            f"{type(self).__name__} can neither be pickled nor copied, because it belongs to a client and its "
            "connections. Make a client in the other process, and get the object from that."
        )
