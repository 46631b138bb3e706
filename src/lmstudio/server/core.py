"""The server without sockets: an engine, a catalogue, the loaded models, and what is done in each namespace."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from lmstudio._sdk_models import DiagnosticsLogEventDataRuntimeLog
from lmstudio.logs import fields, get_logger
from lmstudio.server._port import Handlers
from lmstudio.server.auth import IssuedCredentials
from lmstudio.server.config import DEFAULT_PREDICTION_FIELDS, PredictionConfig
from lmstudio.server.diagnostics import EventHub
from lmstudio.server.files.store import FileLimits, FileStore
from lmstudio.server.instances import DEFAULT_JIT_TTL_SECONDS, Clock, InstanceManager
from lmstudio.server.plugins.host import PluginHost
from lmstudio.server.presets import Presets
from lmstudio.server.repository.downloads import Downloads, free_disk_bytes
from lmstudio.server.repository.jobs import DownloadJobs
from lmstudio.server.repository.listing import DownloadCatalog
from lmstudio.server.runtime.engines import InstalledEngine
from lmstudio.server.runtime.hardware import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.routing import BaseRoute

    from lmstudio._sdk_models import KvConfigStack
    from lmstudio.server.auth import ApiTokens
    from lmstudio.server.catalog import Catalog
    from lmstudio.server.engine.base import Engine, EngineLogLine
    from lmstudio.server.http.observer import Observer
    from lmstudio.server.http.places import Places
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.http.stored_chats import StoredChats
    from lmstudio.server.presets import PresetSource
    from lmstudio.server.running import RunningWork

__all__ = ["HttpServer", "ServerCore", "available_memory_bytes"]

_logger = get_logger("server")

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


class HttpServer(Protocol):
    """One more port, at the wish of clients."""

    @property
    def is_started(self) -> bool:
        """It listens."""
        raise NotImplementedError

    async def start(self, host: str | None, port: int | None, *, cors: bool) -> None:
        """Listen there. Raises RequestError if that is not possible."""

    async def stop(self) -> None:
        """Listen there no longer."""


class ServerCore:
    """Serves LM Studio's namespaces for any number of connections.

    Belongs to one event loop. Close it with `aclose`, which also closes the engine.
    """

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        jit_loading: bool = True,
        jit_ttl_seconds: float | None = DEFAULT_JIT_TTL_SECONDS,
        evict_jit: bool = False,
        prediction_defaults: Mapping[str, Any] | None = None,
        presets: PresetSource | None = None,
        free_memory: Callable[[], int | None] = available_memory_bytes,
        download_catalog: DownloadCatalog | None = None,
        models_folder: Path | None = None,
        free_disk: Callable[[Path], int] = free_disk_bytes,
        file_limits: FileLimits | None = None,
        on_shutdown_request: Callable[[], object] | None = None,
        owner: ApiTokens | None = None,
    ) -> None:
        """Serve the models of *catalog* with *engine*.

        Without *jit_loading* a request over HTTP gets only what is loaded already; a native client that says
        "get or load" still gets what it asks for, because it could say "load" as well.
        *jit_ttl_seconds* is the idle time after which a model that was loaded because somebody used it is unloaded,
        unless the request names another; None for never. With *evict_jit* such a load first unloads all models that
        were loaded so, when what runs on them is over ("only keep last JIT model"). LM Studio has this on; here it is
        off by default, because two models in turn, one for chat and one for embeddings, would evict each other.
        *prediction_defaults* (key-value fields by full key) apply where a request says nothing, over LM Studio's own.
        *download_catalog* holds what clients can download, by default the models of this package; they go to
        *models_folder*, by default a temporary one.
        *file_limits* say how much a client may upload.
        *presets* are what requests may name instead of giving settings.
        *on_shutdown_request* is called when a privileged client asks for the end; without it that is refused.
        *owner* has the tokens of who runs the server in the background: they are privileged, and nobody else needs one.
        """
        self.engine = engine
        self.catalog = catalog
        self.clock: Clock = clock or Clock()
        self.events: EventHub = EventHub(self.clock.time)
        self.instances: InstanceManager = InstanceManager(
            engine,
            catalog,
            clock=self.clock,
            jit_loading=jit_loading,
            jit_ttl_seconds=jit_ttl_seconds,
            evict_jit=evict_jit,
            events=self.events,
        )
        self.installed_engine: InstalledEngine = InstalledEngine(engine, Machine())
        engine.on_log = self._pass_on
        self.free_memory = free_memory
        self.download_catalog: DownloadCatalog = download_catalog or DownloadCatalog()
        self.downloads: Downloads = Downloads(catalog, models_folder, self.clock, free_disk)
        self.download_jobs: DownloadJobs = DownloadJobs(self.downloads, self.clock)
        self.files: FileStore = FileStore(file_limits)
        self.credentials: IssuedCredentials = IssuedCredentials(owner)
        self.plugins: PluginHost = PluginHost(self.credentials)
        self.on_shutdown_request = on_shutdown_request
        self.http_server: HttpServer | None = None
        """Set by who has sockets, for clients that want one more port."""
        self._prediction_defaults = {**DEFAULT_PREDICTION_FIELDS, **(prediction_defaults or {})}
        PredictionConfig(self._prediction_defaults)  # a bad default is the caller's mistake, not a client's
        self._presets = Presets(presets)
        self._handlers: dict[str, Handlers] = {}
        self.started_at: float = self.clock.time()
        """Seconds since the epoch."""

    def handlers(self, namespace: str) -> Handlers:
        """What this server does in *namespace*: nothing, in one that it does not know."""
        if namespace not in self._handlers:
            from lmstudio.server.native import BINDERS

            handlers = self._handlers[namespace] = Handlers()
            if namespace in BINDERS:
                BINDERS[namespace](handlers, self)
        return self._handlers[namespace]

    def http_routes(self, settings: HttpSettings) -> list[BaseRoute]:
        """What this server answers over HTTP."""
        from lmstudio.server.http.routes import http_routes

        return http_routes(self, settings)

    @cached_property
    def stored_chats(self) -> StoredChats:
        """The chats that clients over HTTP can go on with, whichever surface they use."""
        from lmstudio.server.http.stored_chats import StoredChats

        return StoredChats()

    @cached_property
    def places(self) -> Places:
        """How many requests over HTTP are at each model."""
        from lmstudio.server.http.places import Places

        return Places()

    def tell(self, observer: Observer) -> None:
        """Let *observer* hear of all loads, and see which models are loaded and what they take."""
        from lmstudio.server.http.figures import local_figures

        self.instances.on_load = observer.loaded
        observer.add_figures(partial(local_figures, self.instances))

    def prediction_config(
        self, stack: KvConfigStack, *, preset: str | None = None, ignore_session: bool = False, is_raw: bool = False
    ) -> PredictionConfig:
        """How to predict: *stack* over the *preset* over this server's defaults.

        With *ignore_session* over LM Studio's defaults instead of those that this server was started with.

        Raises:
            RequestError: no such preset, or a value that is not valid.
        """
        defaults = DEFAULT_PREDICTION_FIELDS if ignore_session else self._prediction_defaults
        if preset:
            defaults = {**defaults, **self._presets.find(preset)}
        return PredictionConfig.parse(stack, defaults, is_raw=is_raw)

    def _pass_on(self, line: EngineLogLine) -> None:
        if self.events.is_watched:
            instance = self.instances.in_process(line.pid)
            self.events.publish(
                DiagnosticsLogEventDataRuntimeLog(
                    level=line.level,
                    message=line.text,
                    engine_name=self.installed_engine.name,
                    engine_version=self.engine.version,
                    engine_type=self.engine.name,
                    model_identifier=None if instance is None else instance.identifier,
                    instance_reference=None if instance is None else instance.instance_reference,
                    pid=line.pid,
                )
            )

    @property
    def work(self) -> RunningWork:
        """What is waited for when the server stops."""
        return self.instances.work

    async def wind_down(self, grace_seconds: float) -> None:
        """Begin nothing more; end predictions (`userStopped`), loads and downloads, and let other work finish.

        When this returns their clients have been told, unless that took longer than *grace_seconds*; 0 is for not
        waiting at all.
        """
        ending = self.instances.begin_stop() | self.downloads.begin_stop()
        if ending and grace_seconds > 0:
            _logger.info("Ending %d requests", len(ending), extra=fields())
            _done, late = await asyncio.wait(ending, timeout=grace_seconds)
            if late:
                text = "%d requests did not end within %g s; their connections are closed"
                _logger.warning(text, len(late), grace_seconds, extra=fields())

    async def aclose(self) -> None:
        """Cancel all loads and downloads, unload all models, close the engine, delete all files of clients."""
        self.events.close()
        self.files.close()
        await self.instances.aclose()
        await self.engine.close()
        await self.downloads.aclose()  # last: models of a temporary folder may have been loaded
