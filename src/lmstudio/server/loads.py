"""Loads in progress: one for all who wait for the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lmstudio.server.shared_job import SharedJob

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lmstudio.server.engine.base import ModelFile
    from lmstudio.server.instances import Instance

__all__ = ["AcquireEvent", "EvictedInstance", "LoadEvent", "PendingLoad", "StartedLoad"]


@dataclass(frozen=True)
class EvictedInstance:
    """An instance had to make room for the one that is being loaded."""

    instance: Instance


@dataclass(frozen=True)
class StartedLoad:
    """A model is not loaded yet: it is being loaded under this identifier."""

    identifier: str
    file: ModelFile


LoadEvent: TypeAlias = float | EvictedInstance
"""Progress from 0 to 1, never decreasing, or an eviction."""
AcquireEvent: TypeAlias = "StartedLoad | LoadEvent"
"""What is told to one who wants a model, loaded or not."""


class PendingLoad(SharedJob[LoadEvent, "Instance"]):
    """A load in progress."""

    def __init__(
        self, identifier: str, file: ModelFile, load: Callable[[PendingLoad], Coroutine[Any, Any, Instance]]
    ) -> None:
        self.identifier = identifier
        self.file = file
        self.progress: float = 0.0
        super().__init__(load(self))

    def report(self, event: LoadEvent) -> None:
        """Tell all who wait."""
        if isinstance(event, float):
            event = min(1.0, event)
            if event <= self.progress and self.progress:
                return
            self.progress = event
        self._tell(event)

    def _so_far(self) -> list[LoadEvent]:
        # Who comes later needs no evictions: they are over.
        return [self.progress] if self.progress else []
