"""What a server with models of its own can say of them at any moment."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from lmstudio.server.engine.base import ModelKind
from lmstudio.server.http.observer import Figure

if TYPE_CHECKING:
    from lmstudio.server.instances import InstanceManager

__all__ = ["local_figures", "resident_bytes"]

_PROCESSES: Final = Path("/proc")
_KINDS: Final[tuple[ModelKind, ...]] = get_args(ModelKind)
_MEMORY_HELP: Final = "Memory that the processes of a model take, without what is on a graphics card."


async def local_figures(instances: InstanceManager) -> list[Figure]:
    """How many models are loaded, and how much memory the processes that hold them take."""
    figures: list[Figure] = []
    memory: Counter[str] = Counter()
    for kind in _KINDS:
        loaded = instances.loaded(kind)
        figures.append(Figure("models_loaded", "Models in memory, by kind.", len(loaded), (("kind", kind),)))
        for instance in loaded:
            resident = resident_bytes(instance.model.process_id)
            if resident is not None:
                memory[instance.file.model_key] += resident
    figures += (
        Figure("model_resident_memory_bytes", _MEMORY_HELP, size, (("model", model),)) for model, size in memory.items()
    )
    return figures


def resident_bytes(process_id: int | None, processes: Path = _PROCESSES) -> int | None:
    """Memory that a process takes; None where the system does not say."""
    if process_id is not None:
        with suppress(OSError, ValueError, IndexError, AttributeError):
            pages = int((processes / str(process_id) / "statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE")
    return None
