"""The server without sockets: an engine, a catalogue, the loaded models, and what is done in each namespace."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lmstudio.server._port import Handlers
from lmstudio.server.config import DEFAULT_PREDICTION_FIELDS, PredictionConfig
from lmstudio.server.instances import DEFAULT_JIT_TTL_SECONDS, Clock, InstanceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lmstudio._sdk_models import KvConfigStack
    from lmstudio.server.catalog import Catalog
    from lmstudio.server.engine.base import Engine

__all__ = ["ServerCore", "available_memory_bytes"]

_MEMORY_FILE: Final = Path("/proc/meminfo")


def available_memory_bytes(memory_file: Path = _MEMORY_FILE) -> int | None:
    """Memory that a new model could take without swapping; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in memory_file.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


class ServerCore:
    """Serves the namespaces llm, embedding and system for any number of connections.

    Belongs to one event loop. Close it with `aclose`, which also closes the engine.
    """

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        jit_ttl_seconds: float | None = DEFAULT_JIT_TTL_SECONDS,
        evict_jit: bool = False,
        prediction_defaults: Mapping[str, Any] | None = None,
        free_memory: Callable[[], int | None] = available_memory_bytes,
        on_shutdown_request: Callable[[], object] | None = None,
    ) -> None:
        """Serve the models of *catalog* with *engine*.

        *jit_ttl_seconds* is the idle time after which a model that was loaded because somebody used it is unloaded,
        unless the request names another; None for never. With *evict_jit* such a load first unloads all idle models
        that were loaded so ("only keep last JIT model"). LM Studio has this on; here it is off by default, because two
        models in turn, one for chat and one for embeddings, would evict each other.
        *prediction_defaults* (key-value fields by full key) apply where a request says nothing, over LM Studio's own.
        *on_shutdown_request* is called when a privileged client asks for the end; without it that is refused.
        """
        self.engine = engine
        self.catalog = catalog
        self.clock = clock or Clock()
        self.instances = InstanceManager(
            engine, catalog, clock=self.clock, jit_ttl_seconds=jit_ttl_seconds, evict_jit=evict_jit
        )
        self.free_memory = free_memory
        self.on_shutdown_request = on_shutdown_request
        self._prediction_defaults = {**DEFAULT_PREDICTION_FIELDS, **(prediction_defaults or {})}
        PredictionConfig(self._prediction_defaults)  # a bad default is the caller's mistake, not a client's
        self._handlers: dict[str, Handlers] = {}

    def handlers(self, namespace: str) -> Handlers:
        """What this server does in *namespace*: nothing, in one that it does not know."""
        if namespace not in self._handlers:
            from lmstudio.server.native import BINDERS

            handlers = self._handlers[namespace] = Handlers()
            if namespace in BINDERS:
                BINDERS[namespace](handlers, self)
        return self._handlers[namespace]

    def prediction_config(self, stack: KvConfigStack) -> PredictionConfig:
        """How to predict: *stack* over this server's defaults. Raises RequestError for a value that is not valid."""
        return PredictionConfig.parse(stack, self._prediction_defaults)

    async def aclose(self) -> None:
        """Cancel all loads, unload all models, close the engine."""
        await self.instances.aclose()
        await self.engine.close()
