"""How many requests may be at one model, or wait until it is loaded."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmstudio.server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Place", "Places"]


class Places:
    """The places at all models, by the identifiers that these have or will have."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, limit: int) -> Iterator[Place]:
        """A place for one request, which it has to `take`; it is free again at the end of the block."""
        place = Place(self._taken, limit)
        try:
            yield place
        finally:
            place.leave()

    @property
    def taken(self) -> dict[str, int]:
        """How many places are taken, where any are."""
        return dict(self._taken)


class Place:
    """The place of one request, from before it waits for anything to its end. Requests over HTTP have one each."""

    def __init__(self, taken: Counter[str], limit: int) -> None:
        self._taken = taken
        self._limit = limit
        self._at: str | None = None

    def take(self, identifier: str) -> None:
        """Have the place at this model, and no longer at another.

        Raises:
            HttpError: there is none.
        """
        if identifier == self._at:
            return
        self.leave()
        found = self._taken[identifier]
        if found >= self._limit:
            message = f"{found} requests are at the model {identifier!r} already, which is the limit."
            raise HttpError("too_many_requests", f"{message} Try again in a moment.", headers={"Retry-After": "1"})
        self._taken[identifier] += 1
        self._at = identifier

    def leave(self) -> None:
        """Have no place."""
        if self._at is not None:
            self._taken[self._at] -= 1
            if not self._taken[self._at]:
                del self._taken[self._at]
            self._at = None
