"""The namespace plugins: registering them, what their processes serve and ask, and using them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from lmstudio._endpoints import plugins as endpoints
from lmstudio._sdk_models import (
    ChannelPacketSuccess,
    KvConfigStack,
    PluginConfigSpecifierDirect,
    PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
    PluginsChannelStartToolUseSessionToClientPacketSessionReady,
    PluginsChannelStartToolUseSessionToClientPacketToolCallComplete,
    PluginsChannelStartToolUseSessionToClientPacketToolCallError,
    PluginsChannelStartToolUseSessionToClientPacketToolCallStatus,
    PluginsChannelStartToolUseSessionToClientPacketToolCallWarn,
    PluginsChannelStartToolUseSessionToServerPacketAbortToolCall,
    PluginsChannelStartToolUseSessionToServerPacketCallTool,
    PluginsChannelStartToolUseSessionToServerPacketDiscardSession,
    PluginsRpcProcessingGetOrLoadTokenSourceReturns,
    PluginsRpcProcessingHandleRequestReturns,
    ProcessingUpdateSetSenderName,
    TokenSourceIdentifierModel,
)
from lmstudio.logs import fields, get_logger
from lmstudio.server.config import LoadConfig
from lmstudio.server.errors import RequestError
from lmstudio.server.plugins.turns import NameSuggestion

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from lmstudio._sdk_models import (
        ChannelPacketCancel,
        ChatHistoryData,
        KvConfig,
        PluginConfigSpecifier,
        PluginRuntimeErrorReport,
        PluginsChannelGenerateWithGeneratorCreationParameter,
        PluginsChannelGenerateWithGeneratorToClientPacket,
        PluginsChannelRegisterDevelopmentPluginCreationParameter,
        PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
        PluginsChannelStartToolUseSessionCreationParameter,
        PluginsChannelStartToolUseSessionToClientPacket,
        PluginsChannelStartToolUseSessionToServerPacket,
        PluginsRpcConfigSchematicsParameter,
        PluginsRpcProcessingHandleRequestParameter,
        PluginsRpcProcessingHandleUpdateParameter,
        PluginsRpcProcessingNameParameter,
        PluginsRpcProcessingParameter,
        PluginsRpcProcessingPullHistoryParameter,
    )
    from lmstudio.server._port import ClientContext, Handlers, ServerChannel
    from lmstudio.server.core import ServerCore
    from lmstudio.server.plugins.hooks import HookKind
    from lmstudio.server.plugins.tool_sessions import ToolSession

_logger = get_logger("server")


def bind(handlers: Handlers, core: ServerCore) -> None:
    """Serve the namespace."""
    RegistrationHandlers(core).bind(handlers)
    ProcessingHandlers(core).bind(handlers)
    UseHandlers(core).bind(handlers)


class RegistrationHandlers:
    """Registering a plugin, and what its process says about itself."""

    def __init__(self, core: ServerCore) -> None:
        self._registry = core.plugins.registry

    def bind(self, handlers: Handlers) -> None:
        """Serve these endpoints."""
        handlers.rpc(endpoints.REINDEX_PLUGINS, self._reindex)
        handlers.channel(endpoints.REGISTER_DEVELOPMENT_PLUGIN, self._register)
        handlers.channel(endpoints.SET_PROMPT_PREPROCESSOR, partial(self._serve_hook, "promptPreprocessor"))
        handlers.channel(endpoints.SET_PREDICTION_LOOP_HANDLER, partial(self._serve_hook, "predictionLoopHandler"))
        handlers.channel(endpoints.SET_TOOLS_PROVIDER, partial(self._serve_hook, "toolsProvider"))
        handlers.channel(endpoints.SET_GENERATOR, partial(self._serve_hook, "generator"))
        handlers.rpc(endpoints.SET_CONFIG_SCHEMATICS, self._set_config_schematics)
        handlers.rpc(endpoints.SET_GLOBAL_CONFIG_SCHEMATICS, self._set_global_config_schematics)
        handlers.rpc(endpoints.PLUGIN_INIT_COMPLETED, self._init_completed)
        handlers.rpc(endpoints.REPORT_ERROR, self._report_error)

    async def _reindex(self, _: ClientContext, __: None) -> None:
        """There is no folder of plugins to look through: what is registered is known."""

    async def _register(
        self,
        context: ClientContext,
        parameter: PluginsChannelRegisterDevelopmentPluginCreationParameter,
        channel: ServerChannel[
            PluginsChannelRegisterDevelopmentPluginToClientPacketReady,
            PluginsChannelRegisterDevelopmentPluginToServerPacketEnd,
        ],
    ) -> None:
        ended = asyncio.Event()
        with self._registry.registered(parameter.manifest) as plugin:
            channel.send(
                PluginsChannelRegisterDevelopmentPluginToClientPacketReady(
                    client_identifier=plugin.client_identifier,
                    client_passkey=plugin.client_passkey,
                    # Where the plugin's process finds this server; without it, it would look for LM Studio.
                    base_url=context.base_url,
                )
            )
            channel.listen(lambda _: ended.set())
            await ended.wait()

    async def _serve_hook(
        self, kind: HookKind, context: ClientContext, _: None, channel: ServerChannel[Any, Any]
    ) -> None:
        await self._registry.of_client(context).serve(kind, channel)

    async def _set_config_schematics(
        self, context: ClientContext, parameter: PluginsRpcConfigSchematicsParameter
    ) -> None:
        self._registry.of_client(context).config_schematics = parameter.schematics

    async def _set_global_config_schematics(
        self, context: ClientContext, parameter: PluginsRpcConfigSchematicsParameter
    ) -> None:
        self._registry.of_client(context).global_config_schematics = parameter.schematics

    async def _init_completed(self, context: ClientContext, _: None) -> None:
        self._registry.of_client(context).ready()

    async def _report_error(self, context: ClientContext, report: PluginRuntimeErrorReport) -> None:
        plugin = self._registry.of_client(context)
        plugin.last_report = report
        text = "The plugin %r reports %s at %r: %r"
        known = fields(namespace="plugins")
        _logger.warning(text, plugin.identifier, report.type, report.server_url, report.message, extra=known)


class ProcessingHandlers:
    """What a hook asks and says while it works on a message."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self._turns = core.plugins.turns

    def bind(self, handlers: Handlers) -> None:
        """Serve these endpoints."""
        handlers.rpc(endpoints.PROCESSING_HANDLE_UPDATE, self._handle_update)
        handlers.rpc(endpoints.PROCESSING_HANDLE_REQUEST, self._handle_request)
        handlers.rpc(endpoints.PROCESSING_PULL_HISTORY, self._pull_history)
        handlers.rpc(endpoints.PROCESSING_GET_OR_LOAD_TOKEN_SOURCE, self._get_or_load_token_source)
        handlers.rpc(endpoints.PROCESSING_HAS_STATUS, self._has_status)
        handlers.rpc(endpoints.PROCESSING_NEEDS_NAMING, self._needs_naming)
        handlers.rpc(endpoints.PROCESSING_SUGGEST_NAME, self._suggest_name)
        handlers.rpc(endpoints.PROCESSING_SET_SENDER_NAME, self._set_sender_name)

    async def _handle_update(self, _: ClientContext, parameter: PluginsRpcProcessingHandleUpdateParameter) -> None:
        await self._turns.find(parameter.pci, parameter.token).update(parameter.update)

    async def _handle_request(
        self, _: ClientContext, parameter: PluginsRpcProcessingHandleRequestParameter
    ) -> PluginsRpcProcessingHandleRequestReturns:
        turn = self._turns.find(parameter.pci, parameter.token)
        return PluginsRpcProcessingHandleRequestReturns(response=await turn.request(parameter.request))

    async def _pull_history(
        self, _: ClientContext, parameter: PluginsRpcProcessingPullHistoryParameter
    ) -> ChatHistoryData:
        turn = self._turns.find(parameter.pci, parameter.token)
        return turn.history(with_current=parameter.include_current)

    async def _get_or_load_token_source(
        self, _: ClientContext, parameter: PluginsRpcProcessingParameter
    ) -> PluginsRpcProcessingGetOrLoadTokenSourceReturns:
        source = self._turns.find(parameter.pci, parameter.token).settings.token_source
        if isinstance(source, TokenSourceIdentifierModel):
            source = TokenSourceIdentifierModel(identifier=await self._ready_model(source.identifier))
        return PluginsRpcProcessingGetOrLoadTokenSourceReturns(token_source_identifier=source)

    async def _ready_model(self, name: str) -> str:
        """The identifier of the model that *name* means; it is loaded if it is not."""
        instances = self._core.instances
        loaded = instances.match("llm", name)
        if loaded is not None:
            instances.keep_alive(loaded)
            return loaded.identifier
        load = instances.jit_load("llm", name, LoadConfig.parse("llm", KvConfigStack(layers=[])))
        instance = await load.join(lambda _: None).result()
        if instance is None:
            raise RequestError(f"Loading the model {name!r} was cancelled")
        return instance.identifier

    async def _has_status(self, _: ClientContext, parameter: PluginsRpcProcessingParameter) -> bool:
        return self._turns.find(parameter.pci, parameter.token).has_status

    async def _needs_naming(self, _: ClientContext, parameter: PluginsRpcProcessingParameter) -> bool:
        return self._turns.find(parameter.pci, parameter.token).needs_name

    async def _suggest_name(self, _: ClientContext, parameter: PluginsRpcProcessingNameParameter) -> None:
        await self._turns.find(parameter.pci, parameter.token).update(NameSuggestion(parameter.name))

    async def _set_sender_name(self, _: ClientContext, parameter: PluginsRpcProcessingNameParameter) -> None:
        turn = self._turns.find(parameter.pci, parameter.token)
        await turn.update(ProcessingUpdateSetSenderName(name=parameter.name))


class UseHandlers:
    """Using the tools and the generators of plugins."""

    def __init__(self, core: ServerCore) -> None:
        self._host = core.plugins

    def bind(self, handlers: Handlers) -> None:
        """Serve these endpoints."""
        handlers.channel(endpoints.START_TOOL_USE_SESSION, self._use_tools)
        handlers.channel(endpoints.GENERATE_WITH_GENERATOR, self._generate)

    def _config(self, plugin_identifier: str, specifier: PluginConfigSpecifier) -> tuple[KvConfig, str | None]:
        """The plugin's settings and the working directory that *specifier* means."""
        if isinstance(specifier, PluginConfigSpecifierDirect):
            return specifier.config, specifier.working_directory_path
        settings = self._host.turns.find(specifier.pci, specifier.token).settings
        return settings.plugin_config(plugin_identifier), settings.working_directory

    async def _use_tools(
        self,
        _: ClientContext,
        parameter: PluginsChannelStartToolUseSessionCreationParameter,
        channel: ServerChannel[
            PluginsChannelStartToolUseSessionToClientPacket, PluginsChannelStartToolUseSessionToServerPacket
        ],
    ) -> None:
        identifier = parameter.plugin_identifier
        session = self._host.tools(identifier, *self._config(identifier, parameter.plugin_config_specifier))
        calls = _RemoteCalls(session, channel)

        async def serve() -> None:
            async with session:
                definitions = session.definitions
                channel.send(PluginsChannelStartToolUseSessionToClientPacketSessionReady(tool_definitions=definitions))
                raise await session.until_lost()

        work = _Stoppable(serve())

        def receive(packet: PluginsChannelStartToolUseSessionToServerPacket) -> None:
            match packet:
                case PluginsChannelStartToolUseSessionToServerPacketCallTool():
                    calls.begin(packet)
                case PluginsChannelStartToolUseSessionToServerPacketAbortToolCall(call_id=call_id):
                    calls.abort(call_id)
                case PluginsChannelStartToolUseSessionToServerPacketDiscardSession():
                    work.stop()

        channel.listen(receive)
        await work.end()

    async def _generate(
        self,
        _: ClientContext,
        parameter: PluginsChannelGenerateWithGeneratorCreationParameter,
        channel: ServerChannel[PluginsChannelGenerateWithGeneratorToClientPacket, ChannelPacketCancel],
    ) -> None:
        identifier = parameter.plugin_identifier
        config, working_directory = self._config(identifier, parameter.plugin_config_specifier)
        run = self._host.generate(identifier, parameter.history, parameter.tools, config, working_directory)

        async def pass_on() -> None:
            async with run:
                async for packet in run:
                    channel.send(packet)
                    await channel.drain()

        work = _Stoppable(pass_on())
        channel.listen(lambda _: work.stop())
        await work.end()
        # Also after a cancellation: lmstudio.js waits for it.
        channel.send(ChannelPacketSuccess())


class _Stoppable:
    """Work that the client can end before it is done."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.ensure_future(work)
        self._is_stopped = False

    def stop(self) -> None:
        """End the work at once. Too late is no error."""
        self._is_stopped = True
        self._task.cancel()

    async def end(self) -> None:
        """Wait until the work is done or stopped. Cancelling this stops it, too."""
        try:
            await self._task
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise


class _RemoteCalls:
    """The tool calls of one client, which numbers them itself."""

    def __init__(
        self, session: ToolSession, channel: ServerChannel[PluginsChannelStartToolUseSessionToClientPacket, Any]
    ) -> None:
        self._session = session
        self._channel = channel
        self._running: dict[float, str] = {}

    def begin(self, packet: PluginsChannelStartToolUseSessionToServerPacketCallTool) -> None:
        call_id = packet.call_id
        listener = _RemoteCall(call_id, self._channel, self._running)
        if call_id in self._running:
            # An answer to this one would be taken for that of the other.
            self._channel.send(
                PluginsChannelStartToolUseSessionToClientPacketToolCallWarn(
                    call_id=call_id, warn_text=f"The call {call_id:g} is running; another with its number was ignored."
                )
            )
            return
        try:
            self._running[call_id] = self._session.begin_call(packet.name, packet.arguments, listener)
        except RequestError as error:
            listener.fail(error)

    def abort(self, call_id: float) -> None:
        identifier = self._running.pop(call_id, None)
        if identifier is not None:
            self._session.abort_call(identifier)


class _RemoteCall:
    """Tells the client what becomes of one call."""

    def __init__(
        self,
        call_id: float,
        channel: ServerChannel[PluginsChannelStartToolUseSessionToClientPacket, Any],
        running: dict[float, str],
    ) -> None:
        self._call_id = call_id
        self._channel = channel
        self._running = running

    def status(self, text: str) -> None:
        self._channel.send(
            PluginsChannelStartToolUseSessionToClientPacketToolCallStatus(call_id=self._call_id, status_text=text)
        )

    def warn(self, text: str) -> None:
        self._channel.send(
            PluginsChannelStartToolUseSessionToClientPacketToolCallWarn(call_id=self._call_id, warn_text=text)
        )

    def complete(self, result: Any) -> None:
        self._running.pop(self._call_id, None)
        self._channel.send(
            PluginsChannelStartToolUseSessionToClientPacketToolCallComplete(call_id=self._call_id, result=result)
        )

    def fail(self, error: RequestError) -> None:
        self._running.pop(self._call_id, None)
        self._channel.send(
            PluginsChannelStartToolUseSessionToClientPacketToolCallError(call_id=self._call_id, error=error.to_wire())
        )
