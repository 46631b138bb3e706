"""A server that speaks LM Studio's protocol, inside this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from lmstudio.server.background import DEFAULT_GRACE_SECONDS, BackgroundServer, if_started
from lmstudio.server.catalog import Catalog, InvalidModelFileError, read_model_file
from lmstudio.server.engine.base import Engine, EngineError, ModelFile
from lmstudio.server.errors import RequestError, ServerStartError
from lmstudio.server.models_folder import ModelsFolder
from lmstudio.server.repository.listing import DownloadCatalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AsyncExitStack

    from typing_extensions import Unpack

    from lmstudio.server.app import Core
    from lmstudio.server.auth import ApiTokens
    from lmstudio.server.background import ListeningSettings
    from lmstudio.server.connection import ConnectionLimits
    from lmstudio.server.files.store import FileLimits
    from lmstudio.server.http.settings import HttpSettings
    from lmstudio.server.instances import Clock
    from lmstudio.server.presets import PresetSource


class CoreSettings(TypedDict, total=False):
    """How models are kept and used; see `ServerCore`."""

    clock: Clock
    jit_loading: bool
    jit_ttl_seconds: float | None
    evict_jit: bool
    prediction_defaults: Mapping[str, Any]
    presets: PresetSource
    file_limits: FileLimits
    owner: ApiTokens | None


class Server(BackgroundServer):
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
        super().__init__(
            host=host,
            port=port,
            api_tokens=api_tokens,
            insecure=insecure,
            allowed_origins=allowed_origins,
            limits=limits,
            http=http,
            grace_seconds=grace_seconds,
        )
        self._models = models
        self._download_catalog = DownloadCatalog(catalog)
        self._models_folder = None if models_folder is None else Path(models_folder).absolute()
        self._core_settings = core_settings
        self._engine_choice = engine
        self._engine: Engine | None = engine if isinstance(engine, Engine) else None
        self._given_core: Core | None = None
        self._catalog = Catalog()

    @classmethod
    def for_core(cls, core: Core, **listening: Unpack[ListeningSettings]) -> Server:
        """A server for *core* instead of one of its own; it closes *core* when it stops."""
        server = cls(**listening)
        server._given_core = core
        return server

    @property
    def engine(self) -> Engine:
        """The inference engine."""
        return if_started(self._engine)

    @property
    def models(self) -> tuple[ModelFile, ...]:
        """What can be loaded, once the server has been started. Empty for a server made by `for_core`."""
        return self._catalog.models

    def _new_core(self) -> Core:
        from lmstudio.server.core import ServerCore

        if self._given_core is not None:
            return self._given_core
        return ServerCore(
            self.engine,
            self._catalog,
            download_catalog=self._download_catalog,
            models_folder=self._models_folder,
            on_shutdown_request=self._request_end,
            **self._core_settings,
        )

    def _new_clock(self) -> Clock:
        return self._core_settings.get("clock") or super()._new_clock()

    async def _open(self, core: Core, ending: AsyncExitStack) -> None:
        from lmstudio.server.core import ServerCore
        from lmstudio.server.extra_listener import ExtraListener

        extra = ExtraListener(core, self._app_settings(), self._find_binding)
        ending.push_async_callback(extra.aclose)
        if isinstance(core, ServerCore):
            core.http_server = extra
        await super()._open(core, ending)

    def _prepare(self) -> None:
        """Find the engine and read the models' files."""
        if self._given_core is not None:
            return
        if self._engine_choice == "llama_cpp":
            self._require_packages("xllamacpp")
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
