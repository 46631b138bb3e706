"""Load models: one operation for each way, the same for language and embedding models."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UNSET, UnsetType

from lmstudio._abort import check_signal, on_abort
from lmstudio._callbacks import check_callbacks
from lmstudio._ops.models import check_device, check_key, get_info, get_load_config, unload
from lmstudio._port import aborted
from lmstudio._sdk_models import (
    EmbeddingLoadModelConfig,
    KvConfigStack,
    LlmLoadModelConfig,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToServerPacketCancel,
    ModelChannelLoadModelCreationParameter,
    ModelChannelLoadModelToServerPacketCancel,
    ModelSpecifierInstanceReference,
)
from lmstudio._shared_channel import SharedChannel
from lmstudio.errors import (
    LMStudioCancelledError,
    LMStudioModelNotFoundError,
    LMStudioProtocolError,
    LMStudioRuntimeError,
    LMStudioValueError,
)
from lmstudio.logs import fields

if TYPE_CHECKING:
    from lmstudio._abort import AbortSignal
    from lmstudio._endpoints.models import ModelEndpoints
    from lmstudio._port import Port
    from lmstudio.json_api import Channel

InfoT = TypeVar("InfoT")

LoadProgressCallback: TypeAlias = Callable[[float], object]
AnyLoadConfig: TypeAlias = EmbeddingLoadModelConfig | LlmLoadModelConfig
OnMismatch: TypeAlias = Literal["use", "error", "reload"]

_LOG_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_LOG_SECONDS = 0.5
"""Between two lines about the progress of one load."""
_LAST_PACKETS = ("alreadyLoaded", "success", "loadSuccess")


# What instances lack although they were loaded with it, by their reference: the server would choose so again.
_settled: WeakKeyDictionary[Port, dict[str, list[str]]] = WeakKeyDictionary()


_LONGEST_TTL_SECONDS = 2**53 / 1000
"""Beyond, servers cannot count milliseconds exactly."""


class LoadRequest(msgspec.Struct, frozen=True):
    """What to load and how."""

    model_key: str
    config: KvConfigStack
    ttl_seconds: float | None = None
    identifier: str | None = None
    device_identifier: str | UnsetType | None = UNSET

    @property
    def ttl_ms(self) -> int | None:
        """Idle time to live in milliseconds; None for none, or the server's default."""
        return None if self.ttl_seconds is None else round(self.ttl_seconds * 1000)

    def check(self) -> LoadRequest:
        """Refuse what the server could not accept."""
        check_key(self.model_key, "model key")
        if self.identifier is not None:
            check_key(self.identifier, "instance identifier")
        check_device(self.device_identifier)
        ttl: object = self.ttl_seconds
        is_number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and 0 < ttl < _LONGEST_TTL_SECONDS
        if ttl is not None and (not is_number or self.ttl_ms == 0):
            raise LMStudioValueError(f"ttl must be at least a millisecond, or None for no limit; got {ttl!r}.")
        return self


class LoadWatch(msgspec.Struct, frozen=True):
    """How a caller follows a load, and stops it."""

    on_progress: LoadProgressCallback | None = None
    """Called with numbers that rise from 0.0 to 1.0. Its exceptions cancel the load."""
    verbose: bool | str = False
    """Log the progress, at the level named or, for True, "info"; not together with `on_progress`."""
    signal: AbortSignal | None = None
    """Cancels the load when it is aborted."""

    @property
    def log_level(self) -> int | None:
        """The level for lines about the progress; None for no lines."""
        if self.verbose is False or self.on_progress is not None:
            return None
        return _LOG_LEVELS["info" if self.verbose is True else self.verbose]

    def check(self, port: Port) -> LoadWatch:
        """Refuse what cannot be done."""
        check_callbacks(port.runtime, on_load_progress=self.on_progress)
        if not isinstance(self.verbose, bool) and str(self.verbose) not in _LOG_LEVELS:
            raise LMStudioValueError(
                f"verbose must be True, False or one of {', '.join(_LOG_LEVELS)}; got {self.verbose!r}."
            )
        return self


_NO_WATCH = LoadWatch()


class _Progress:
    """Passes on a progress that starts at 0, never falls and ends at 1."""

    def __init__(self, watch: LoadWatch, model_key: str, logger: logging.Logger) -> None:
        self.logger = logger
        self._callback, self._level = watch.on_progress, watch.log_level
        self._model_key = model_key
        self._last = -1.0
        self._logged_at = -math.inf

    async def report(self, value: float) -> None:
        value = min(max(value, 0.0), 1.0)
        for step in (0.0, value) if self._last < 0.0 else (value,):
            if step > self._last:
                self._last = step
                if self._level is not None:
                    self._log(step, self._level)
                if self._callback is not None:
                    outcome = self._callback(step)
                    if isinstance(outcome, Awaitable):
                        await outcome

    def _log(self, value: float, level: int) -> None:
        now = monotonic()
        if value == 1.0 or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            known = fields(model=self._model_key, progress=value)
            self.logger.log(level, "Loading %s: %d %%", self._model_key, math.floor(value * 100), extra=known)


async def load_model(
    port: Port, endpoints: ModelEndpoints[InfoT], request: LoadRequest, watch: LoadWatch = _NO_WATCH
) -> InfoT:
    """Load a new instance and return its information.

    Leaving early in any way (exception of the callback, timeout, task cancellation, Ctrl-C) cancels the load.

    Protocol: channel loadModel.
    """
    parameter = ModelChannelLoadModelCreationParameter(
        model_key=request.model_key,
        identifier=request.identifier,
        device_identifier=request.device_identifier,
        ttl_ms=request.ttl_ms,
        load_config_stack=request.config,
    )
    attempted = f"load model {request.model_key!r}"
    watch.check(port)
    channel = port.channel(endpoints.load_model, parameter, attempted)
    info: InfoT
    cancel = ModelChannelLoadModelToServerPacketCancel()
    info, _ = await _follow_load(channel, cancel, attempted, request, watch, port.runtime.logger("models"))
    return info


async def get_or_load(
    port: Port,
    endpoints: ModelEndpoints[InfoT],
    request: LoadRequest,
    watch: LoadWatch = _NO_WATCH,
    on_mismatch: OnMismatch = "use",
) -> InfoT:
    """Return the information of the instance with this identifier or model key, loading the model if necessary.

    The TTL applies only if this call loads. So does the configuration with *on_mismatch* "use"; "error" compares it
    with that of the instance and raises, and "reload" unloads an instance that differs and loads the model anew.

    Callers on one connection that ask for the same at the same time send one request. It is cancelled when the last of
    them leaves.

    Raises:
        LMStudioRuntimeError: the instance has another configuration (*on_mismatch* "error").

    Protocol: channel getOrLoad.
    """
    if on_mismatch not in ("use", "error", "reload"):
        raise LMStudioValueError(f"on_mismatch must be 'use', 'error' or 'reload'; got {on_mismatch!r}.")
    parameter = ModelChannelGetOrLoadCreationParameter(
        identifier=request.model_key,
        device_identifier=request.device_identifier,
        load_ttl_ms=request.ttl_ms,
        load_config_stack=request.config,
    )
    attempted = f"get or load model {request.model_key!r}"
    watch.check(port)
    while True:
        channel: SharedChannel[Any, Any] = SharedChannel(port, endpoints.get_or_load, parameter, attempted)
        cancel = ModelChannelGetOrLoadToServerPacketCancel()
        info: Any
        logger = port.runtime.logger("models")
        info, was_loaded = await _follow_load(channel, cancel, attempted, request, watch, logger)
        if on_mismatch == "use":
            break
        try:
            differences = await _differences(port, info, request)
        except LMStudioModelNotFoundError:
            continue  # somebody else unloaded it meanwhile, perhaps to load it as we want it
        if not differences:
            break
        if on_mismatch == "error":
            raise LMStudioRuntimeError(
                f"Model {request.model_key!r} is loaded as {info.identifier!r} with another configuration: "
                f"{', '.join(differences)}. Unload it, load a new instance, or use on_mismatch='reload'."
            )
        settled = _settled.setdefault(port.base, {})
        if not was_loaded:
            settled[info.instance_reference] = differences
        if settled.get(info.instance_reference) == differences:
            break
        await _unload_instance(port, endpoints, info)
    result: InfoT = info
    return result


async def _follow_load(
    channel: Channel[Any, Any],
    cancel_packet: object,
    attempted: str,
    request: LoadRequest,
    watch: LoadWatch,
    logger: logging.Logger,
) -> tuple[Any, bool]:
    """Consume the packets of a load until it is done. Both channels differ only in the names of their packets.

    Returns the instance's information, and whether it was loaded before.
    """
    progress = _Progress(watch, request.model_key, logger)
    signal = watch.signal
    check_signal(signal)

    def cancel() -> None:
        channel.send_last(cancel_packet)

    if signal is not None and signal.aborted:
        raise channel.located(aborted(signal, attempted))
    try:
        channel.open()
        with on_abort(signal, cancel):
            while (packet := await channel.receive()).type not in _LAST_PACKETS:
                await _note(packet, request, progress)
        channel.close()
        was_loaded = packet.type == "alreadyLoaded"
        if not was_loaded:
            await progress.report(1.0)
    except BaseException as error:
        if not channel.finished:
            cancel()
        if isinstance(error, LMStudioCancelledError) and signal is not None and signal.aborted:
            raise channel.located(aborted(signal, attempted)) from None
        raise
    if not packet.info.identifier:
        text = (
            f"Loaded {request.model_key!r}, but the server did not say under which identifier: the packet "
            f"{packet.type!r} of {channel.endpoint!r} has none at `$.info.identifier`."
        )
        raise channel.located(LMStudioProtocolError(text))
    return packet.info, was_loaded


async def _note(packet: Any, request: LoadRequest, progress: _Progress) -> None:
    """Take notice of a packet that is not the last one."""
    match packet.type:
        case "resolved":
            if packet.ambiguous:
                candidates = ", ".join(packet.ambiguous)
                known = fields(model=request.model_key)
                progress.logger.warning("Model key %r is ambiguous (%s).", request.model_key, candidates, extra=known)
            await progress.report(0.0)
        case "startLoading":
            await progress.report(0.0)
        case "unloadingOtherJITModel":
            identifier = packet.info.identifier
            known = fields(model=identifier)
            progress.logger.info("Unloading %s to make room for %s.", identifier, request.model_key, extra=known)
        case "progress" | "loadProgress":
            await progress.report(packet.progress)


async def _unload_instance(port: Port, endpoints: ModelEndpoints[Any], info: Any) -> None:
    """Unload exactly the instance that *info* is about, unless somebody else was faster."""
    reference = ModelSpecifierInstanceReference(instance_reference=info.instance_reference)
    try:
        found = await get_info(port, endpoints, reference)
        await unload(port, found.identifier, found.device_identifier)
    except LMStudioModelNotFoundError:
        pass


async def _differences(port: Port, info: Any, request: LoadRequest) -> list[str]:
    """What the instance has instead of what *request* asks for, in words."""
    from lmstudio._ops.load_differences import load_differences

    if not any(layer.config.fields for layer in request.config.layers):
        return []
    reference = ModelSpecifierInstanceReference(instance_reference=info.instance_reference)
    return load_differences(request.config, await get_load_config(port, reference))
