"""What the namespaces llm and embedding have in common: finding, loading, unloading and describing models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lmstudio._endpoints.models import (
    COUNT_TOKENS,
    ESTIMATE_MODEL_USAGE,
    GET_BASE_PREDICTION_CONFIG,
    GET_INSTANCE_PROCESSING_STATE,
    GET_LOAD_CONFIG,
    TOKENIZE,
    UNLOAD_MODEL,
)
from lmstudio._sdk_models import (
    ChannelPacketProgress,
    EstimatedResourcesUsage,
    KvConfigStack,
    ModelChannelGetOrLoadToClientPacketLoadProgress,
    ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel,
    ModelProcessingState,
    ModelRpcCountTokensReturns,
    ModelRpcTokenizeReturns,
)
from lmstudio.server.config import LoadConfig, kv_config
from lmstudio.server.errors import RequestError
from lmstudio.server.estimate import estimate_memory
from lmstudio.server.instances import model_info, require_local
from lmstudio.server.loads import EvictedInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._endpoints.models import GetOrLoadPacket, LoadModelPacket, ModelEndpoints
    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        KvConfig,
        ModelChannelGetOrLoadCreationParameter,
        ModelChannelLoadModelCreationParameter,
        ModelRpcEstimateModelUsageParameter,
        ModelRpcGetBasePredictionConfigParameter,
        ModelRpcGetLoadConfigParameter,
        ModelRpcGetModelInfoParameter,
        ModelRpcTokenizeParameter,
        ModelRpcUnloadModelParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.engine.base import ModelKind
    from lmstudio.server.instances import Instance
    from lmstudio.server.loads import LoadEvent

InstanceInfoT = TypeVar("InstanceInfoT")


@dataclass(frozen=True)
class LoadPackets:
    """The packets that carry model information: one class for each namespace."""

    resolved: Callable[..., LoadModelPacket]
    success: Callable[..., LoadModelPacket]
    already_loaded: Callable[..., GetOrLoadPacket]
    start_loading: Callable[..., GetOrLoadPacket]
    load_success: Callable[..., GetOrLoadPacket]


class ModelHandlers(Generic[InstanceInfoT]):
    """The handlers of one namespace. `bind` connects them to their endpoints."""

    def __init__(
        self, core: ServerCore, kind: ModelKind, endpoints: ModelEndpoints[InstanceInfoT], packets: LoadPackets
    ) -> None:
        self.core = core
        self.kind: ModelKind = kind
        self._endpoints = endpoints
        self._packets = packets

    def bind(self, handlers: Handlers) -> None:
        """Serve the common endpoints."""
        handlers.rpc(UNLOAD_MODEL, self._unload)
        handlers.rpc(self._endpoints.list_loaded, self._list_loaded)
        handlers.rpc(self._endpoints.get_model_info, self._get_model_info)
        handlers.rpc(GET_LOAD_CONFIG, self._get_load_config)
        handlers.rpc(GET_BASE_PREDICTION_CONFIG, self._get_base_prediction_config)
        handlers.rpc(GET_INSTANCE_PROCESSING_STATE, self._get_processing_state)
        handlers.rpc(ESTIMATE_MODEL_USAGE, self._estimate_usage)
        handlers.rpc(TOKENIZE, self._tokenize)
        handlers.rpc(COUNT_TOKENS, self._count_tokens)
        handlers.channel(self._endpoints.load_model, self._load)
        handlers.channel(self._endpoints.get_or_load, self._get_or_load)

    # Loading ---------------------------------------------------------------------------------------------------------

    async def _load(
        self,
        _: ClientContext,
        parameter: ModelChannelLoadModelCreationParameter,
        channel: ServerChannel[LoadModelPacket, ChannelPacketCancel],
    ) -> None:
        require_local(parameter.device_identifier)
        instances = self.core.instances
        file, ambiguous = instances.resolve(self.kind, parameter.model_key)
        config = LoadConfig.parse(self.kind, parameter.load_config_stack)
        load = instances.load(file, config, identifier=parameter.identifier or None, ttl_ms=parameter.ttl_ms)
        channel.send(self._packets.resolved(info=model_info(file), ambiguous=ambiguous or None))

        def report(event: LoadEvent) -> None:
            if isinstance(event, float):
                channel.send(ChannelPacketProgress(progress=event))

        ticket = load.join(report)
        channel.listen(lambda _: ticket.cancel())
        instance = await ticket.result()
        if instance is not None:
            channel.send(self._packets.success(info=instance.info()))

    async def _get_or_load(
        self,
        _: ClientContext,
        parameter: ModelChannelGetOrLoadCreationParameter,
        channel: ServerChannel[GetOrLoadPacket, ChannelPacketCancel],
    ) -> None:
        require_local(parameter.device_identifier)
        instances = self.core.instances
        loaded = instances.match(self.kind, parameter.identifier)
        if loaded is not None:
            instances.keep_alive(loaded)
            channel.send(self._packets.already_loaded(info=loaded.info()))
            return
        config = LoadConfig.parse(self.kind, parameter.load_config_stack)
        load = instances.jit_load(self.kind, parameter.identifier, config, ttl_ms=parameter.load_ttl_ms)
        channel.send(self._packets.start_loading(identifier=load.identifier, info=model_info(load.file)))

        def report(event: LoadEvent) -> None:
            if isinstance(event, EvictedInstance):
                info = event.instance.info()
                channel.send(ModelChannelGetOrLoadToClientPacketUnloadingOtherJITModel(info=info))
            else:
                channel.send(ModelChannelGetOrLoadToClientPacketLoadProgress(progress=event))

        ticket = load.join(report)
        channel.listen(lambda _: ticket.cancel())
        instance = await ticket.result()
        if instance is not None:
            channel.send(self._packets.load_success(info=instance.info()))

    async def _unload(self, _: ClientContext, parameter: ModelRpcUnloadModelParameter) -> None:
        require_local(parameter.device_identifier)
        instance = self.core.instances.named(self.kind, parameter.identifier)
        await self.core.instances.unload(instance, "a client asked for it")

    # Describing ------------------------------------------------------------------------------------------------------

    async def _list_loaded(self, _: ClientContext, __: None) -> list[InstanceInfoT]:
        infos: list[Any] = [instance.info() for instance in self.core.instances.loaded(self.kind)]
        return infos

    def _find(self, parameter: ModelRpcGetModelInfoParameter) -> Instance | None:
        try:
            return self.core.instances.find(self.kind, parameter.specifier)
        except RequestError:
            if parameter.throw_if_not_found:
                raise
            return None

    async def _get_model_info(self, _: ClientContext, parameter: ModelRpcGetModelInfoParameter) -> InstanceInfoT | None:
        instance = self._find(parameter)
        info: Any = None if instance is None else instance.info()
        return info  # type: ignore[no-any-return]  # the kind of the instance decides which of the two it is

    async def _get_load_config(self, _: ClientContext, parameter: ModelRpcGetLoadConfigParameter) -> KvConfig:
        return self.core.instances.find(self.kind, parameter.specifier).load_config

    async def _get_base_prediction_config(
        self, _: ClientContext, parameter: ModelRpcGetBasePredictionConfigParameter
    ) -> KvConfig:
        self.core.instances.find(self.kind, parameter.specifier)
        if self.kind == "embedding":
            return kv_config({})
        ignore_session = bool(parameter.ignore_server_session_config)
        return self.core.prediction_config(KvConfigStack(layers=[]), ignore_session=ignore_session).to_kv()

    async def _get_processing_state(
        self, _: ClientContext, parameter: ModelRpcGetModelInfoParameter
    ) -> ModelProcessingState:
        instance = self._find(parameter)
        # The result has no form for "no such instance": what is not there does nothing.
        return ModelProcessingState(status="idle", queued=0) if instance is None else instance.state()

    async def _estimate_usage(
        self, _: ClientContext, parameter: ModelRpcEstimateModelUsageParameter
    ) -> EstimatedResourcesUsage:
        require_local(parameter.device_identifier)
        file, _candidates = self.core.instances.resolve(self.kind, parameter.model_key)
        config = LoadConfig.parse(self.kind, parameter.load_config_stack)
        options = config.options
        if config.draft_model_key is not None:
            options = replace(options, draft_model=self.core.instances.resolve("llm", config.draft_model_key)[0].file)
        # Reading the header of a large file may take a moment.
        memory = await asyncio.to_thread(estimate_memory, file, options)
        free = self.core.free_memory()
        return EstimatedResourcesUsage(memory=memory, passes_guardrails=free is None or memory.total_bytes <= free)

    # Tokens ----------------------------------------------------------------------------------------------------------

    async def _tokenize(self, _: ClientContext, parameter: ModelRpcTokenizeParameter) -> ModelRpcTokenizeReturns:
        instance = self.core.instances.find(self.kind, parameter.specifier)
        with self.core.instances.use(instance):
            return ModelRpcTokenizeReturns(tokens=await instance.model.tokenize(parameter.input_string))

    async def _count_tokens(self, _: ClientContext, parameter: ModelRpcTokenizeParameter) -> ModelRpcCountTokensReturns:
        instance = self.core.instances.find(self.kind, parameter.specifier)
        # LM Studio counts the text alone for an embedding model, but shows the tokens around it.
        special = self.kind == "llm"
        with self.core.instances.use(instance):
            tokens = await instance.model.tokenize(parameter.input_string, special=special)
        return ModelRpcCountTokensReturns(token_count=len(tokens))
