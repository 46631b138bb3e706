"""The models in memory: loading them once, finding them, giving them up when they idle."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lmstudio._sdk_models import (
    ErrorDisplayDataGenericDomainMismatch,
    ErrorDisplayDataGenericIdentifierNotFound,
    ErrorDisplayDataGenericNoModelMatchingQuery,
    ErrorDisplayDataGenericPathNotFound,
    ErrorDisplayDataGenericSpecificModelUnloaded,
    ModelQuery,
    ModelSpecifierQuery,
)
from lmstudio.logs import fields, get_logger
from lmstudio.server.catalog import ModelNotFoundError, distinct_keys, is_name_of
from lmstudio.server.config import LoadConfig
from lmstudio.server.diagnostics import EventHub
from lmstudio.server.drafts import DraftedModels
from lmstudio.server.engine.base import EngineError, ModelDiedError
from lmstudio.server.errors import RequestError
from lmstudio.server.instance import Clock, Instance, Timer, Use, model_info
from lmstudio.server.loads import EvictedInstance, PendingLoad, StartedLoad
from lmstudio.server.running import RunningWork, StoppingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from lmstudio._sdk_models import ModelProcessingStatus, ModelSpecifier
    from lmstudio.server.catalog import Catalog
    from lmstudio.server.config import PredictionConfig
    from lmstudio.server.engine.base import Engine, LoadedModel, LoadOptions, ModelFile, ModelKind
    from lmstudio.server.http.observer import LoadOutcome
    from lmstudio.server.loads import AcquireEvent

__all__ = ["Clock", "Instance", "InstanceManager", "Timer", "Use", "model_info", "require_local"]

DEFAULT_JIT_TTL_SECONDS: Final = 3600.0
_LONGEST_TTL_SECONDS: Final = 1e12
"""Beyond all need. In milliseconds, every client can still read the number."""
_SAMPLE_SIZE: Final = 10
_KIND_NAMES: Final = {"llm": "a language model", "embedding": "an embedding model"}

_logger = get_logger("server")


def require_local(device_identifier: object) -> None:
    """Refuse a device other than this one; absent and null mean this one.

    Raises:
        RequestError: *device_identifier* names a device.
    """
    if isinstance(device_identifier, str):
        raise RequestError(
            f"This server cannot reach the device {device_identifier!r}: it has no LM Link.",
            suggestion="Leave the device out, or give null.",
        )


class InstanceManager:
    """All loaded instances, and those being loaded."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        *,
        clock: Clock,
        jit_loading: bool = True,
        jit_ttl_seconds: float | None = DEFAULT_JIT_TTL_SECONDS,
        evict_jit: bool = False,
        events: EventHub | None = None,
    ) -> None:
        """*jit_ttl_seconds* is for JIT loads that name no time to live, None for no end.

        Without *jit_loading*, `acquire` finds loaded instances only. With *evict_jit* a JIT load first unloads all
        instances that were loaded so, each as soon as nobody uses it. *events* hears of predictions.
        """
        self.is_jit_enabled: bool = jit_loading
        self.events: EventHub = events or EventHub(clock.time)
        self.on_load: Callable[[str, LoadOutcome, float], object] = _forget_load
        """Hears of every load that is over: the model's key, how it ended, after how many seconds."""
        self.work: RunningWork = RunningWork()
        self._engine = engine
        self._catalog = catalog
        self._clock = clock
        self._jit_ttl_ms = _milliseconds(jit_ttl_seconds)
        self._evict_jit = evict_jit
        self._instances: dict[str, Instance] = {}
        self._loads: set[PendingLoad] = set()
        self._leaving: dict[Instance, asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._eviction_turn = asyncio.Lock()

    # Finding ---------------------------------------------------------------------------------------------------------

    def loaded(self, kind: ModelKind) -> list[Instance]:
        """The instances of one namespace, in the order in which they were loaded."""
        return [instance for instance in self._instances.values() if instance.kind == kind]

    def find(self, kind: ModelKind, specifier: ModelSpecifier) -> Instance:
        """The instance that *specifier* means.

        Raises:
            RequestError: there is none; the display data says why.
        """
        if isinstance(specifier, ModelSpecifierQuery):
            return self._query(kind, specifier.query)
        instance = next(
            (each for each in self._instances.values() if each.instance_reference == specifier.instance_reference), None
        )
        if instance is None:
            raise RequestError(
                "The model instance is not loaded any more.",
                suggestion="Load the model again.",
                display_data=ErrorDisplayDataGenericSpecificModelUnloaded(),
            )
        return _of_kind(instance, kind)

    def _query(self, kind: ModelKind, query: ModelQuery) -> Instance:
        require_local(query.device_identifier)
        if query.identifier is not None and query.identifier in self._instances:
            _of_kind(self._instances[query.identifier], query.domain or kind)
        found = next((instance for instance in self.loaded(kind) if _matches(instance, query)), None)
        if found is not None:
            return found
        raise self._not_loaded(kind, query)

    def _not_loaded(self, kind: ModelKind, query: ModelQuery, reason: str = "") -> RequestError:
        names = self._loaded_names(kind)
        wanted = query.identifier or query.path
        found = f"No loaded model matches {wanted!r}" if wanted else f"No model is loaded that is {_KIND_NAMES[kind]}"
        return RequestError(
            f"{found}, and {reason}." if reason else f"{found}.",
            suggestion="Load the model first.",
            display_data=ErrorDisplayDataGenericNoModelMatchingQuery(
                query=query, loaded_models_sample=names[:_SAMPLE_SIZE], total_loaded_models=len(names)
            ),
        )

    def in_process(self, pid: int | None) -> Instance | None:
        """The instance whose model is held by this process of its own."""
        held = (each for each in self._instances.values() if pid is not None and each.model.process_id == pid)
        return next(held, None)

    def _loaded_names(self, kind: ModelKind) -> list[str]:
        return [instance.identifier for instance in self.loaded(kind)]

    def resolve(self, kind: ModelKind, key: str) -> tuple[ModelFile, list[str]]:
        """The model that *key* means, and the keys of all that it could mean if they are several.

        Raises:
            RequestError: there is none, or it belongs to the other namespace.
        """
        fitting = self._fitting(kind, key)
        return fitting[0], distinct_keys(fitting)

    def _fitting(self, kind: ModelKind, key: str) -> list[ModelFile]:
        try:
            matches = self._catalog.matching(key)
        except ModelNotFoundError as error:
            available = [model.model_key for model in self._catalog.listed if model.kind == kind]
            sample = list(dict.fromkeys([*error.near_matches, *available]))[:_SAMPLE_SIZE]
            raise RequestError(
                f'Cannot find model "{key}".',
                suggestion=f"Did you mean {' or '.join(error.near_matches)}?" if error.near_matches else None,
                display_data=ErrorDisplayDataGenericPathNotFound(
                    path=key, available_paths_sample=sample, total_models=len(available)
                ),
            ) from None
        fitting = [model for model in matches if model.kind == kind]
        if not fitting:
            raise _domain_mismatch(key, matches[0], kind)
        return fitting

    def match(self, kind: ModelKind, name: str) -> Instance | None:
        """The instance with this identifier, or else one of the model that *name* means; None if none is loaded.

        Raises:
            RequestError: the identifier belongs to the other namespace.
        """
        if name in self._instances:
            return _of_kind(self._instances[name], kind)
        loaded = self.loaded(kind)
        similar = next((each for each in loaded if each.identifier.casefold() == name.casefold()), None)
        if similar is not None:
            return similar
        with suppress(RequestError):
            paths = [file.path for file in self._fitting(kind, name)]
            fitting = [each for each in loaded if each.file.path in paths]
            if fitting:
                return min(fitting, key=lambda each: paths.index(each.file.path))
        # Its file may be gone meanwhile, or have got another key.
        return next((each for each in loaded if is_name_of(name, each.file)), None)

    # Loading ---------------------------------------------------------------------------------------------------------

    def load(
        self, file: ModelFile, config: LoadConfig, *, identifier: str | None = None, ttl_ms: int | None = None
    ) -> PendingLoad:
        """Begin to load a new instance of *file*; the caller joins at once.

        Raises:
            RequestError: the identifier is taken, or the draft model unknown.
        """
        if identifier is None:
            identifier = self._free_identifier(file.shortest_key)
        elif self._is_taken(identifier):
            raise RequestError(
                f"The identifier {identifier!r} is already in use.",
                suggestion="Choose another one, or unload the model that has it.",
            )
        return self._begin(file, config, identifier, ttl_ms, is_jit=False)

    def jit_load(self, kind: ModelKind, name: str, config: LoadConfig, *, ttl_ms: int | None = None) -> PendingLoad:
        """The load in progress of the model that *name* means, or a new one; the caller joins at once.

        Its identifier is *name*.

        Raises:
            RequestError: no such model, or the draft model is unknown.
        """
        file, _ = self.resolve(kind, name)
        for load in self._loads:
            is_same = load.file.path == file.path or load.identifier == name
            if load.file.kind == kind and not load.is_abandoned and is_same:
                return load
        ttl_ms = self._jit_ttl_ms if ttl_ms is None else ttl_ms
        return self._begin(file, config, self._free_identifier(name), ttl_ms, is_jit=True)

    async def acquire(
        self,
        kind: ModelKind,
        name: str,
        *,
        config: LoadConfig | None = None,
        ttl_seconds: float | None = None,
        on_event: Callable[[AcquireEvent], None] | None = None,
    ) -> Instance:
        """The instance that *name* means, an identifier or any name of a model; it is loaded if it has to be.

        *config* and *ttl_seconds* count only if this call begins a load. *on_event* hears of a load, first of all that
        there is one. Call `use` before anything else is awaited: until then the instance waits for that.

        Raises:
            RequestError: no such model, or none that is loaded while JIT loading is off.
            EngineError: it cannot be loaded.
        """
        while True:
            instance = self.match(kind, name)
            if instance is not None:
                return instance
            if not self.is_jit_enabled:
                self.resolve(kind, name)
                raise self._not_loaded(kind, ModelQuery(identifier=name), "JIT loading is off")
            config = config or LoadConfig.from_fields(kind, {})
            load = self.jit_load(kind, name, config, ttl_ms=_milliseconds(ttl_seconds))
            report = on_event or _ignore
            with load.refusable():
                report(StartedLoad(load.identifier, load.file))
            instance = await load.join(report).result()
            # One that has to make room already does so only when its waiters have used it.
            if instance is not None and (not instance.is_unloaded or instance in self._leaving):
                return instance

    def _is_taken(self, identifier: str) -> bool:
        return identifier in self._instances or any(
            load.identifier == identifier and not load.is_abandoned for load in self._loads
        )

    def _free_identifier(self, wanted: str) -> str:
        number = 1
        identifier = wanted
        while self._is_taken(identifier):
            number += 1
            identifier = f"{wanted}:{number}"
        return identifier

    def _begin(
        self, file: ModelFile, config: LoadConfig, identifier: str, ttl_ms: int | None, *, is_jit: bool
    ) -> PendingLoad:
        self.work.refuse_if_stopping()
        options, draft_key = config.options, None
        if config.draft_model_key is not None:
            draft = self.resolve("llm", config.draft_model_key)[0]
            options, draft_key = replace(options, draft_model=draft.file), draft.model_key

        async def run(load: PendingLoad) -> Instance:
            async with AsyncExitStack() as stack:
                stack.callback(self._loads.discard, load)
                if is_jit and self._evict_jit:
                    # One after the other, or two loads at the same time would both stay.
                    await stack.enter_async_context(self._eviction_turn)
                    await self._evict(load)
                model = await self._load_file(load, options)
                drafted = DraftedModels(lambda options: self._engine.load(file, options, lambda _: None))
                instance = Instance(identifier, file, model, config, ttl_ms, is_jit, drafted, draft_key, load=load)
                self._instances[identifier] = instance
                self._restart_timer(instance)
                return instance

        load = PendingLoad(identifier, file, run)
        self._loads.add(load)
        # A task that is cancelled before its first step runs no finally.
        load.task.add_done_callback(lambda _: self._loads.discard(load))
        return load

    async def _load_file(self, load: PendingLoad, options: LoadOptions) -> LoadedModel:
        file, known = load.file, fields(model=load.identifier)
        _logger.info("Loading %s as %r", file.model_key, load.identifier, extra=known)
        started = self._clock.monotonic()
        outcome: LoadOutcome = "failed"
        try:
            model = await self._engine.load(file, options, lambda progress: load.report(float(progress)))
            outcome = "loaded"
        except EngineError as error:
            _logger.info("Could not load %s: %s", file.model_key, error, extra=known)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = self._clock.monotonic() - started
            self.on_load(file.model_key, outcome, seconds)
        known = fields(model=load.identifier, seconds=seconds)
        _logger.info("Loaded %s in %.2f s", file.model_key, seconds, extra=known)
        return model

    async def _evict(self, load: PendingLoad) -> None:
        evicted = [instance for instance in self._instances.values() if instance.is_jit]
        for instance in evicted:
            load.report(EvictedInstance(instance))
            self._forget(instance, "another model is loaded just in time")
            # A task of its own: what has been announced happens, also if this load is given up meanwhile.
            self._leaving[instance] = self._in_background(self._drain(instance))
        if self._leaving:
            await asyncio.wait(self._leaving.values())

    async def _drain(self, instance: Instance) -> None:
        try:
            await instance.wait_until_idle()
            await self._free(instance)
        finally:
            del self._leaving[instance]

    # Using -----------------------------------------------------------------------------------------------------------

    @contextmanager
    def use(
        self,
        instance: Instance,
        status: ModelProcessingStatus | None = None,
        cancel: Callable[[], object] | None = None,
    ) -> Iterator[Use]:
        """Keep *instance* from being unloaded for idling, and note that it was used.

        *cancel* ends the body early, and properly, when the server stops; see `RunningWork.track`.

        Raises:
            StoppingError: nothing new may begin.
            RequestError: the model died or was unloaded meanwhile, and the body could not go on.
        """
        use = Use(status)
        instance.uses.append(use)
        instance.last_used_ms = round(self._clock.time() * 1000)
        if instance.timer is not None:
            instance.timer.cancel()
            instance.timer = None
        try:
            with self.work.track(cancel):
                yield use
        except ModelDiedError as error:
            raise self._died(instance, error) from error
        finally:
            instance.uses.remove(use)
            instance.released.set()
            instance.last_used_ms = round(self._clock.time() * 1000)
            self._restart_timer(instance)

    @asynccontextmanager
    async def model_for(self, instance: Instance, config: PredictionConfig) -> AsyncIterator[tuple[LoadedModel, str]]:
        """The model to predict with, and the key of the draft model at its side, "" without.

        Where *config* names another draft model than the one that *instance* was loaded with, the model is loaded once
        more, and kept for the next prediction with that one.

        Raises:
            RequestError: there is no such draft model.
            EngineError: the two cannot be loaded together.
        """
        own_key = instance.draft_model_key or ""
        if not config.draft_model_key:
            yield instance.model, own_key
            return
        draft = self.resolve("llm", config.draft_model_key)[0]
        if draft.model_key == own_key:
            yield instance.model, own_key
            return
        options = config.load_options(instance.config.options, draft.file)
        async with instance.drafted.use(options) as model:
            yield model, draft.model_key

    def _died(self, instance: Instance, error: ModelDiedError) -> RequestError:
        if instance.is_unloaded:
            return RequestError(
                f"The model {instance.identifier!r} was unloaded during the request.",
                display_data=ErrorDisplayDataGenericSpecificModelUnloaded(),
            )
        known = fields(model=instance.identifier)
        _logger.warning("The model %r stopped unexpectedly: %s", instance.identifier, error, extra=known)
        self._retire(instance, "it stopped unexpectedly")
        return RequestError(
            f"The model {instance.identifier!r} stopped unexpectedly.",
            cause=str(error),
            suggestion=error.suggestion or "Load it again.",
        )

    def keep_alive(self, instance: Instance) -> None:
        """Let the idle time of *instance* begin anew."""
        self._restart_timer(instance)

    def _restart_timer(self, instance: Instance) -> None:
        if instance.timer is not None:
            instance.timer.cancel()
            instance.timer = None
        if instance.ttl_ms is None or instance.uses or instance.is_unloaded:
            return

        reason = f"it was idle for {instance.ttl_ms / 1000:g} s"
        instance.timer = self._clock.call_later(instance.ttl_ms / 1000, lambda: self._retire(instance, reason))

    # Unloading -------------------------------------------------------------------------------------------------------

    def named(self, kind: ModelKind, identifier: str) -> Instance:
        """The instance with exactly this identifier.

        Raises:
            RequestError: there is none in this namespace.
        """
        instance = self._instances.get(identifier)
        if instance is not None:
            return _of_kind(instance, kind)
        names = self._loaded_names(kind)
        raise RequestError(
            f"No loaded model has the identifier {identifier!r}.",
            display_data=ErrorDisplayDataGenericIdentifierNotFound(
                identifier=identifier, loaded_models_sample=names[:_SAMPLE_SIZE], total_loaded_models=len(names)
            ),
        )

    async def unload(self, instance: Instance, reason: str) -> None:
        """Free *instance*; what runs on it ends. Safe to call twice."""
        self._forget(instance, reason)
        await self._free(instance)

    def _retire(self, instance: Instance, reason: str) -> None:
        """As `unload`, without waiting: from now on nobody finds the instance."""
        self._forget(instance, reason)
        self._in_background(self._free(instance))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _forget(self, instance: Instance, reason: str) -> None:
        if not instance.is_unloaded:
            _logger.info("Unloading %r: %s", instance.identifier, reason, extra=fields(model=instance.identifier))
            instance.is_unloaded = True
            del self._instances[instance.identifier]
        self._restart_timer(instance)

    async def _free(self, instance: Instance) -> None:
        try:
            await instance.drafted.close()
            await instance.model.close()
        except EngineError as error:
            known = fields(model=instance.identifier)
            _logger.warning("Unloading %r failed: %s", instance.identifier, error, extra=known)

    def begin_stop(self) -> set[asyncio.Task[Any]]:
        """Begin nothing more, cancel all predictions and loads; the tasks that are about to say so."""
        ending = self.work.begin_stop()
        for load in tuple(self._loads):
            ending |= load.fail(StoppingError())
        return ending

    async def aclose(self) -> None:
        """Cancel all loads, unload all instances."""
        for load in tuple(self._loads):
            load.abandon()
        for instance, drain in tuple(self._leaving.items()):
            drain.cancel()
            await self._free(instance)
        # A cancelled load needs a moment to free what it has.
        while waiting := [*(load.task for load in self._loads), *self._background]:
            await asyncio.wait(waiting)
        for instance in list(self._instances.values()):
            await self.unload(instance, "the server is closing")


def _milliseconds(ttl_seconds: float | None) -> int | None:
    return None if ttl_seconds is None else max(1, round(min(ttl_seconds, _LONGEST_TTL_SECONDS) * 1000))


def _ignore(_: AcquireEvent) -> None:
    pass


def _forget_load(_model: str, _outcome: LoadOutcome, _seconds: float) -> None:
    pass


def _of_kind(instance: Instance, kind: str) -> Instance:
    if instance.kind != kind:
        raise _domain_mismatch(instance.identifier, instance.file, kind)
    return instance


def _domain_mismatch(name: str, file: ModelFile, expected: Any) -> RequestError:
    is_known = expected in _KIND_NAMES
    return RequestError(
        f"{name!r} is {_KIND_NAMES[file.kind]}, not {_KIND_NAMES[expected] if is_known else expected}.",
        suggestion=f"Use it in the namespace {file.kind!r}.",
        display_data=ErrorDisplayDataGenericDomainMismatch(
            path=name, actual_domain=file.kind, expected_domain=expected
        ),
    )


def _matches(instance: Instance, query: ModelQuery) -> bool:
    if query.domain is not None and query.domain != instance.kind:
        return False
    if query.identifier is not None and query.identifier != instance.identifier:
        return False
    if query.vision is not None and query.vision != instance.file.vision:
        return False
    if query.path is None:
        return True
    path, wanted = instance.file.path.casefold(), query.path.casefold().rstrip("/")
    return path == wanted or path.startswith(wanted + "/")
