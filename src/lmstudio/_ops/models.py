"""Find, load, describe and unload models: the same for language and embedding models."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from lmstudio._endpoints.models import GET_LOAD_CONFIG, UNLOAD_MODEL, ModelEndpoints
from lmstudio._sdk_models import (
    KvConfig,
    KvConfigStack,
    ModelChannelGetOrLoadCreationParameter,
    ModelChannelGetOrLoadToServerPacketCancel,
    ModelChannelLoadModelCreationParameter,
    ModelChannelLoadModelToServerPacketCancel,
    ModelQuery,
    ModelRpcGetLoadConfigParameter,
    ModelRpcGetModelInfoParameter,
    ModelRpcUnloadModelParameter,
    ModelSpecifierInstanceReference,
    ModelSpecifierQuery,
)
from lmstudio.errors import LMStudioModelNotFoundError, LMStudioServerError, LMStudioValueError

if TYPE_CHECKING:
    from lmstudio.json_api import (
        Channel,
        Multiplexer,  # noqa: F401  # referenced by documentation only
        Port,
    )

InfoT = TypeVar("InfoT")

ModelTarget: TypeAlias = ModelSpecifierQuery | ModelSpecifierInstanceReference
LoadProgressCallback: TypeAlias = Callable[[float], object]

_logger = logging.getLogger("lmstudio.models")


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
        ttl: object = self.ttl_seconds
        is_number = isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and math.isfinite(ttl)
        if ttl is not None and (not is_number or self.ttl_ms == 0 or ttl < 0):  # type: ignore[operator]  # a number
            raise LMStudioValueError(f"ttl must be at least a millisecond, or None for no limit; got {ttl!r}.")
        return self


def check_key(text: object, what: str) -> str:
    """A string that may name a model: 1 to 1024 characters, none of Unicode's category C (control and the like)."""
    if not isinstance(text, str):
        raise LMStudioValueError(f"The {what} must be a string, got {type(text).__name__}.")
    if not 1 <= len(text) <= 1024 or not (text.isprintable() or _has_no_control_characters(text)):
        raise LMStudioValueError(f"The {what} must have 1 to 1024 printable characters, got {text[:40]!r}.")
    return text


def _has_no_control_characters(text: str) -> bool:
    import unicodedata

    return not any(unicodedata.category(character).startswith("C") for character in text)


def identifier_target(identifier: str) -> ModelSpecifierQuery:
    """Whatever instance has this identifier: a handle made with it survives a restart of the server."""
    return ModelSpecifierQuery(query=ModelQuery(identifier=identifier))


class _Progress:
    """Passes on a progress that starts at 0, never falls and ends at 1."""

    def __init__(self, callback: LoadProgressCallback | None) -> None:
        self._callback = callback
        self._last = -1.0

    def report(self, value: float) -> None:
        value = min(max(value, 0.0), 1.0)
        for step in (0.0, value) if self._last < 0.0 else (value,):
            if step > self._last:
                self._last = step
                if self._callback is not None:
                    self._callback(step)


async def load_model(
    port: Port, endpoints: ModelEndpoints[InfoT], request: LoadRequest, on_progress: LoadProgressCallback | None = None
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
    channel = port.channel(endpoints.load_model, parameter, f"load model {request.model_key!r}")
    info: InfoT = await _follow_load(channel, ModelChannelLoadModelToServerPacketCancel(), request, on_progress)
    return info


async def get_or_load(
    port: Port, endpoints: ModelEndpoints[InfoT], request: LoadRequest, on_progress: LoadProgressCallback | None = None
) -> InfoT:
    """Return the information of the instance with this identifier or model key, loading the model if necessary.

    The configuration and the TTL apply only if this call loads.

    Protocol: channel getOrLoad.
    """
    parameter = ModelChannelGetOrLoadCreationParameter(
        identifier=request.model_key,
        device_identifier=request.device_identifier,
        load_ttl_ms=request.ttl_ms,
        load_config_stack=request.config,
    )
    channel = port.channel(endpoints.get_or_load, parameter, f"get or load model {request.model_key!r}")
    info: InfoT = await _follow_load(channel, ModelChannelGetOrLoadToServerPacketCancel(), request, on_progress)
    return info


async def _follow_load(
    channel: Channel[Any, Any], cancel_packet: object, request: LoadRequest, on_progress: LoadProgressCallback | None
) -> Any:
    """Consume the packets of a load until it is done. Both channels differ only in the names of their packets."""
    progress = _Progress(on_progress)
    try:
        channel.open()
        while True:
            packet = await channel.receive()
            match packet.type:
                case "resolved":
                    if packet.ambiguous:
                        candidates = ", ".join(packet.ambiguous)
                        _logger.warning("Model key %r is ambiguous (%s).", request.model_key, candidates)
                    progress.report(0.0)
                case "startLoading":
                    progress.report(0.0)
                case "unloadingOtherJITModel":
                    _logger.info("Unloading %s to make room for %s.", packet.info.identifier, request.model_key)
                case "progress" | "loadProgress":
                    progress.report(packet.progress)
                case "alreadyLoaded":
                    channel.close()
                    return _identified(packet.info, request)
                case "success" | "loadSuccess":
                    channel.close()
                    progress.report(1.0)
                    return _identified(packet.info, request)
    except BaseException:
        if not channel.finished:
            channel.send(cancel_packet)
            channel.close()
        raise


def _identified(info: InfoT, request: LoadRequest) -> InfoT:
    if not info.identifier:  # type: ignore[attr-defined]  # both kinds of instance information have it
        raise LMStudioServerError(f"Loaded {request.model_key!r}, but the server did not say under which identifier.")
    return info


async def unload(port: Port, identifier: str) -> None:
    """Unload the instance with this identifier. Protocol: rpc unloadModel."""
    parameter = ModelRpcUnloadModelParameter(identifier=check_key(identifier, "instance identifier"))
    await port.call(UNLOAD_MODEL, parameter, f"unload model {identifier!r}")


async def list_loaded(port: Port, endpoints: ModelEndpoints[InfoT]) -> list[InfoT]:
    """The loaded instances of this namespace. Protocol: rpc listLoaded."""
    infos = await port.call(endpoints.list_loaded, None, "list loaded models")
    return [info for info in infos if info.identifier]  # type: ignore[attr-defined]  # useless without; all have it


async def get_any(port: Port, endpoints: ModelEndpoints[InfoT]) -> InfoT:
    """Any loaded instance.

    Raises:
        LMStudioModelNotFoundError: none is loaded.
    """
    loaded = await list_loaded(port, endpoints)
    if not loaded:
        kind = "LLM" if endpoints.namespace == "llm" else "embedding model"
        raise LMStudioModelNotFoundError(
            f"No {kind} is loaded, so there is none to choose. Name the one to load, e.g. "
            f"client.{endpoints.namespace}.model('model-key'); list_downloaded_models() shows what there is.",
            {"title": "No model loaded", "displayData": {"code": "generic.noModelMatchingQuery"}},
        )
    return loaded[0]


async def get_info(port: Port, endpoints: ModelEndpoints[InfoT], target: ModelTarget) -> InfoT:
    """Information about the instance that *target* means; it must be loaded. Protocol: rpc getModelInfo."""
    parameter = ModelRpcGetModelInfoParameter(specifier=target, throw_if_not_found=True)
    info = await port.call(endpoints.get_model_info, parameter, f"get the information of {describe(target)}")
    if info is None:
        raise LMStudioServerError(f"Could not get the information of {describe(target)}: the server sent none.")
    return info


async def get_load_config(port: Port, target: ModelTarget) -> KvConfig:
    """The configuration the instance was loaded with. Protocol: rpc getLoadConfig."""
    parameter = ModelRpcGetLoadConfigParameter(specifier=target)
    return await port.call(GET_LOAD_CONFIG, parameter, f"get the load configuration of {describe(target)}")


def describe(target: ModelTarget) -> str:
    """*target* in an error message."""
    if isinstance(target, ModelSpecifierInstanceReference):
        return f"model instance {target.instance_reference!r}"
    query = target.query
    if query.path is None and query.domain is None and query.vision is None and query.device_identifier is UNSET:
        return "any model" if query.identifier is None else f"model {query.identifier!r}"
    return f"a model matching {query.to_dict()}"
