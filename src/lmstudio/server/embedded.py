"""A server that speaks LM Studio's protocol, inside this process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from lmstudio._address import LOOPBACK_OF, ServerAddress
from lmstudio.errors import LMStudioRuntimeError, LMStudioValueError
from lmstudio.logs import fields, follow_environment, get_logger
from lmstudio.server.auth import ApiTokens
from lmstudio.server.binding import Binding
from lmstudio.server.catalog import Catalog, InvalidModelFileError, read_model_file
from lmstudio.server.engine.base import Engine, EngineError, ModelFile
from lmstudio.server.errors import RequestError, ServerStartError
from lmstudio.server.models_folder import ModelsFolder
from lmstudio.server.origins import OriginPolicy
from lmstudio.server.repository.listing import DownloadCatalog

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from lmstudio.server.app import AppSettings, Core
    from lmstudio.server.connection import ConnectionLimits
    from lmstudio.server.files.store import FileLimits
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Clock
    from lmstudio.server.listener import Listener
    from lmstudio.server.presets import PresetSource

T = TypeVar("T")

_logger = get_logger("server")

DEFAULT_GRACE_SECONDS = 10.0
"""For telling clients, when the server stops, how what they wait for has ended."""
CORE_END_SECONDS = 5.0
"""For unloading all models then."""
_STOP_SECONDS = 15.0
_TRANSPORT_PACKAGES = ("starlette", "uvicorn", "wsproto")


class CoreSettings(TypedDict, total=False):
    """How models are kept and used; see `ServerCore`."""

    clock: Clock
    jit_loading: bool
    jit_ttl_seconds: float | None
    evict_jit: bool
    prediction_defaults: Mapping[str, Any]
    presets: PresetSource
    file_limits: FileLimits


class Server:
    """LM Studio's protocol on a local port, from a background thread of this process.

        with Server() as server:
            client = lmstudio.Client(server.api_host)

    Or with `async with`, or with `start` and `stop`. Once stopped it may be started again, on the same port. A server
    that was forgotten is stopped when the interpreter ends.

    *models*: paths of GGUF files, or `ModelFile` objects; by default the two tiny ones that come with this package, or
    with the scripted engine the two that it makes up. *catalog*: what clients can download, as a folder of models with
    LM Studio's layout, a JSON file, or the http address of one; by default the models of this package. *models_folder*:
    where downloads go, and more models to offer, also those that come while the server runs; by default downloads are
    gone when the server stops. `default_models_folder` finds LM Studio's own. *engine*: "llama_cpp", "scripted", or an
    engine. *port* 0 takes any free port. *api_tokens*: if there are any, clients must hold one of them. *insecure*:
    listen at an address that other machines can reach although there is no API token. *allowed_origins*: web pages that
    may connect besides those of this machine, e.g. "https://example.com". *limits*: what one client may cost.
    *http*: what the HTTP surfaces allow. *grace_seconds*: see `stop`. *core_settings*: see `CoreSettings`.

    Raises:
        LMStudioValueError: an API token or an origin does not have the form of one.

    Raises (`start`):
        ServerStartError: the port is in use, other machines could connect without a token, a model's file or the
            catalogue is not usable, a package is missing.
    """

    def __init__(
        self,
        models: Sequence[str | Path | ModelFile] | None = None,
        *,
        engine: Literal["llama_cpp", "scripted"] | Engine = "llama_cpp",
        catalog: str | Path | None = None,
        models_folder: str | Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        api_tokens: Sequence[str] = (),
        insecure: bool = False,
        allowed_origins: Sequence[str] = (),
        limits: ConnectionLimits | None = None,
        http: HttpSettings | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        **core_settings: Unpack[CoreSettings],
    ) -> None:
        if not isinstance(engine, Engine) and engine not in ("llama_cpp", "scripted"):
            raise ValueError(f"engine must be 'llama_cpp', 'scripted' or an Engine, not {engine!r:.80}.")
        if isinstance(models, (str, Path)):
            raise ValueError(f"models must be a list of files, e.g. [{str(models)!r}].")
        self._grace_seconds = require_grace(grace_seconds)
        self.host = host
        self.port: int = port
        """The port that clients connect to, once the server has been started."""
        self._models = models
        self._download_catalog = DownloadCatalog(catalog)
        self._models_folder = None if models_folder is None else Path(models_folder).absolute()
        self._core_settings = core_settings
        self._engine_choice = engine
        self._engine: Engine | None = engine if isinstance(engine, Engine) else None
        self._core: Core | None = None
        self._given_core: Core | None = None
        self._limits = limits
        self._http = http
        self._catalog = Catalog()
        self._api_tokens = ApiTokens(api_tokens)
        self._is_insecure = insecure
        self._origins = OriginPolicy(allowed_origins)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Listener | None = None
        self._socket: socket.socket | None = None
        self._is_ending = False
        self._ending_seconds = self._grace_seconds
        self._winding_down: asyncio.Task[None] | None = None

    @classmethod
    def for_core(
        cls,
        core: Core,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_tokens: Sequence[str] = (),
        insecure: bool = False,
        allowed_origins: Sequence[str] = (),
        limits: ConnectionLimits | None = None,
        http: HttpSettings | None = None,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
    ) -> Server:
        """A server for *core* instead of one of its own; it closes *core* when it stops."""
        server = cls(
            host=host,
            port=port,
            api_tokens=api_tokens,
            insecure=insecure,
            allowed_origins=allowed_origins,
            limits=limits,
            http=http,
            grace_seconds=grace_seconds,
        )
        server._given_core = core
        return server

    @property
    def api_host(self) -> str:
        """host:port for clients. A server that listens on all addresses is given by its loopback address."""
        if self.port == 0:
            raise LMStudioRuntimeError("The server has no address before it has been started.")
        return ServerAddress(LOOPBACK_OF.get(self.host, self.host), self.port).api_host

    @property
    def engine(self) -> Engine:
        """The inference engine."""
        return _if_started(self._engine)

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """What can be loaded, once the server has been started. Empty for a server made by `for_core`."""
        return self._catalog.models

    @property
    def core(self) -> Core:
        """Everything but the sockets. It belongs to the server's own event loop."""
        return _if_started(self._core)

    @property
    def is_local(self) -> bool:
        """Only programs of this machine can reach the server.

        Raises:
            ServerStartError: the host name is not known.
        """
        return Binding.find(self.host, self.port).is_local

    @property
    def is_running(self) -> bool:
        """Clients can connect."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def was_asked_to_stop(self) -> bool:
        """It ends, or has ended, because this program or a privileged client wants that."""
        return self._is_ending

    def start(self) -> None:
        """Listen; clients can connect when this returns. Does nothing while the server is running."""
        with self._lock:
            if self.is_running:
                return
            follow_environment()
            binding = self._find_binding(self.host, self.port)
            if self._given_core is None:
                self._prepare()
            _require_extras(*_TRANSPORT_PACKAGES)
            sock = self._socket = binding.listen()
            port = sock.getsockname()[1]
            started: Future[None] = Future()
            self._is_ending = False
            self._ending_seconds = self._grace_seconds
            # A daemon, because Python waits for other threads before it runs what `atexit` has to stop this one.
            self._thread = threading.Thread(
                target=self._run, args=(sock, started), name=f"lmstudio-server-{port}", daemon=True
            )
            self._thread.start()
            try:
                started.result()
            except RequestError as error:  # a setting of the core that no request could have either
                self._end_thread()
                raise ServerStartError(error.title) from error
            except BaseException:
                self._end_thread()
                raise
            self.port = port
            _running.add(self)

    def stop(self, grace_seconds: float | None = None) -> None:
        """End all connections, unload all models, free the port.

        First no more connections and requests are taken, predictions end with the stop reason `userStopped`, loads and
        downloads with an error, and their clients are told; other requests may finish. That takes *grace_seconds* at
        most (by default as the server was told), mostly much less, and 0 leaves it out. What follows takes a second,
        whatever clients do.

        Does nothing when the server is not running. Called in the server's own thread it returns before that is done.
        """
        if threading.current_thread() is self._thread:
            self.begin_stop(grace_seconds)
            return
        with self._lock:
            self._end_thread(grace_seconds)
            _running.discard(self)

    def begin_stop(self, grace_seconds: float | None = None) -> None:
        """As `stop`, but return at once; `is_running` turns False when that is done, and `stop` waits for it.

        May be called again with 0, so that what an earlier call waits for is waited for no longer.
        """
        self._ending_seconds = self._grace_seconds if grace_seconds is None else require_grace(grace_seconds)
        self._request_end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        from anyio import to_thread

        await to_thread.run_sync(self.start)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from anyio import CancelScope, to_thread

        with CancelScope(shield=True):
            await to_thread.run_sync(self.stop)

    def __repr__(self) -> str:
        return f"<Server {self.host}:{self.port}, {'running' if self.is_running else 'stopped'}>"

    # The background thread -------------------------------------------------------------------------------------------

    def _run(self, sock: socket.socket, started: Future[None]) -> None:
        with sock:
            try:
                asyncio.run(self._serve(sock, started))
            except BaseException as error:
                if not started.done():
                    started.set_exception(error)
                else:
                    _logger.exception("The server on port %s ended unexpectedly", self.port, extra=fields())

    async def _serve(self, sock: socket.socket, started: Future[None]) -> None:
        from lmstudio.server.core import ServerCore
        from lmstudio.server.extra_listener import ExtraListener
        from lmstudio.server.http.observer import Observable
        from lmstudio.server.listener import Listener

        settings = self._app_settings()
        core = self._core = self._given_core or self._new_core()
        extra = ExtraListener(core, settings, self._find_binding)
        if isinstance(core, ServerCore):
            core.http_server = extra
        if isinstance(core, Observable):
            core.tell(settings.observer)
        try:
            self._listener = Listener(core, settings, lambda: started.set_result(None), self._wind_down)
            self._loop = asyncio.get_running_loop()
            if self._is_ending:
                self._listener.stopping.set()
            await self._listener.serve([sock])
        finally:
            await extra.aclose()
            try:
                await asyncio.wait_for(core.aclose(), CORE_END_SECONDS)
            except Exception:
                _logger.exception("Could not unload all models", extra=fields())
            await settings.observer.aclose()

    def _app_settings(self) -> AppSettings:
        from lmstudio.server.app import AppSettings
        from lmstudio.server.connection import ConnectionLimits
        from lmstudio.server.http.settings import HttpSettings
        from lmstudio.server.http.telemetry import open_telemetry
        from lmstudio.server.instances import Clock

        http = self._http or HttpSettings()
        observer = open_telemetry(http, self._core_settings.get("clock") or Clock())
        return AppSettings(self._api_tokens, self._origins, self._limits or ConnectionLimits(), http, observer)

    def _new_core(self) -> Core:
        from lmstudio.server.core import ServerCore

        return ServerCore(
            self.engine,
            self._catalog,
            download_catalog=self._download_catalog,
            models_folder=self._models_folder,
            on_shutdown_request=self._request_end,
            **self._core_settings,
        )

    def _find_binding(self, host: str, port: int) -> Binding:
        """Where to listen. Refuses to be open to everybody, unless that is wanted."""
        binding = Binding.find(host, port)
        if not (binding.is_local or self._api_tokens or self._is_insecure):
            raise ServerStartError(
                f"Everybody who can reach {host} could use this server, because it has no API token; give it one "
                "(api_tokens, or --api-token-file on the command line), listen on 127.0.0.1, or say that this is "
                "wanted (insecure=True, or --insecure)."
            )
        return binding

    def _prepare(self) -> None:
        """Find the engine and read the models' files, on the caller's thread."""
        if self._engine_choice == "llama_cpp":
            _require_extras("xllamacpp")
        try:
            self._engine = self._new_engine()
            self._catalog = self._new_catalog(self._engine, self._downloaded_models())
            self._download_catalog.check()
        except (InvalidModelFileError, EngineError, RequestError) as error:
            raise ServerStartError(str(error)) from error

    def _downloaded_models(self) -> ModelsFolder | None:
        folder = self._models_folder
        if folder is None:
            return None
        if folder.exists() and not folder.is_dir():
            raise ServerStartError(f"{folder} is not a folder; name the one that downloaded models go to.")
        return ModelsFolder(folder)

    def _new_catalog(self, engine: Engine, folder: ModelsFolder | None) -> Catalog:
        if self._models is not None:
            given = (item if isinstance(item, ModelFile) else read_model_file(item) for item in self._models)
            return Catalog(given, folder)
        if engine.name == "scripted":
            from lmstudio.server.engine.scripted import scripted_models

            return Catalog(scripted_models(), folder)
        return Catalog.shipped(folder)

    def _new_engine(self) -> Engine:
        if isinstance(self._engine_choice, Engine):
            return self._engine_choice
        if self._engine_choice == "scripted":
            from lmstudio.server.engine.scripted import ScriptedEngine

            return ScriptedEngine()
        from lmstudio.server.engine.llama_cpp import LlamaCppEngine

        return LlamaCppEngine()

    def _abandon(self) -> None:
        self._thread = self._loop = self._listener = None
        self._lock = threading.Lock()
        if self._socket is not None:
            self._socket.close()  # else the port stays in use for as long as this process lives

    def _request_end(self) -> None:
        self._is_ending = True
        if self._loop is not None and self._listener is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._end_in_loop, self._listener)

    def _end_in_loop(self, listener: Listener) -> None:
        listener.stopping.set()
        if self._winding_down is not None and self._ending_seconds == 0:
            self._winding_down.cancel()

    async def _wind_down(self) -> None:
        assert self._core is not None  # the listener that calls this serves it
        self._winding_down = asyncio.ensure_future(self._core.wind_down(self._ending_seconds))
        try:
            await asyncio.wait([self._winding_down])
            if not self._winding_down.cancelled():
                self._winding_down.result()
        except Exception:
            _logger.exception("Could not end all requests properly", extra=fields())
        finally:
            self._winding_down = None

    def _end_thread(self, grace_seconds: float | None = None) -> None:
        thread = self._thread
        if thread is None:
            return
        self.begin_stop(grace_seconds)
        thread.join(self._ending_seconds + _STOP_SECONDS)
        if thread.is_alive():
            _logger.error("The server on port %s does not end", self.port, extra=fields())
        self._thread = self._loop = self._listener = None


# Servers that must be stopped before the interpreter ends.
_running: set[Server] = set()


@atexit.register
def _stop_all() -> None:
    for server in list(_running):
        server.stop()


def _forget_all() -> None:
    """In a forked child: threads and clients are the parent's."""
    for server in _running:
        server._abandon()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def require_grace(seconds: float) -> float:
    """*seconds*, if that is how long somebody can wait.

    Raises:
        LMStudioValueError: it is not.
    """
    if not 0 <= seconds <= threading.TIMEOUT_MAX - _STOP_SECONDS:
        raise LMStudioValueError(f"grace_seconds must be a number of seconds from 0 on, not {seconds!r}.")
    return seconds


def _if_started(value: T | None) -> T:
    if value is None:
        raise LMStudioRuntimeError("The server has not been started.")
    return value


def _require_extras(*packages: str) -> None:
    """Raise ServerStartError if one of *packages*, of the extra `server`, is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerStartError(
            f"The embedded server needs {', '.join(missing)}, not installed here; run: pip install 'lmstudio[server]'"
        )
