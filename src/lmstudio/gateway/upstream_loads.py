"""Loads that requests wait for, each counted once."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from lmstudio.server.http.observer import Observer, observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lmstudio.server.http.observer import LoadOutcome

__all__ = ["LoadCount"]


@dataclass(eq=False)
class _Load:
    """One load of LM Studio, which all who want the same model wait for."""

    began: float
    waiters: int = 0


class LoadCount:
    """Tells an observer of loads."""

    def __init__(self) -> None:
        self.observer: Observer = Observer()
        self._loads: dict[str, _Load] = {}

    @contextmanager
    def waiting(self, model: str) -> Iterator[None]:
        """The block waits until *model* is loaded."""
        observed().load_awaited(model)
        load = self._loads.setdefault(model, _Load(monotonic()))
        load.waiters += 1
        outcome: LoadOutcome = "cancelled"
        try:
            yield
            outcome = "loaded"
        except Exception:
            outcome = "failed"
            raise
        finally:
            load.waiters -= 1
            is_over = outcome == "loaded" or not load.waiters
            # Who is told after the first one of the same end tells nothing new.
            if is_over and self._loads.get(model) is load:
                del self._loads[model]
                self.observer.loaded(model, outcome, monotonic() - load.began)
