# Generated from async_plugins.py by tools/make_sync.py. Edit that file instead.
"""Plugins: their tools, their generators, and their development, in the synchronous surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

from lmstudio._abort import check_signal
from lmstudio._ops import generators as generator_ops
from lmstudio._ops import plugin_host as host_ops
from lmstudio._ops import plugins as plugin_ops
from lmstudio._ops.plugin_tools import ToolUseSession, parameters_of
from lmstudio._ops.prediction_options import prediction_options
from lmstudio._surface.base import LeftWhenForgotten
from lmstudio._surface.sync_sessions import _Session
from lmstudio._surface.sync_streams import GeneratorPredictionStream
from lmstudio._sync_io import SyncBase
from lmstudio._tool_definitions import RawFunctionTool
from lmstudio.errors import LMStudioRuntimeError
from lmstudio.history import read_history
from lmstudio.json_api import InT, OutT

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.act_options import (
        ActCallbacks,
        ActFirstTokenCallback,
        ActFragmentCallback,
        ActMessageCallback,
        ActProgressCallback,
        ActRoundCallback,
        GuardToolCallback,
        InvalidToolRequestHandler,
    )
    from lmstudio._ops.generators import GeneratorPredictionCompletedCallback
    from lmstudio._ops.plugin_host import SchematicsInput, ServedHook
    from lmstudio._ops.prediction_options import (
        PredictionFirstTokenCallback,
        PredictionFragmentCallback,
        PredictionMessageCallback,
        PromptProcessingCallback,
    )
    from lmstudio._sdk_models import (
        KvConfig,
        LlmTool,
        PluginConfigSpecifier,
        PluginConfigSpecifierPredictionProcess,
        PluginManifest,
        PluginRuntimeErrorReport,
        PluginsChannelSetGeneratorToClientPacket,
        PluginsChannelSetGeneratorToServerPacket,
        PluginsChannelSetPredictionLoopHandlerToClientPacket,
        PluginsChannelSetPredictionLoopHandlerToServerPacket,
        PluginsChannelSetPromptPreprocessorToClientPacket,
        PluginsChannelSetPromptPreprocessorToServerPacket,
        PluginsChannelSetToolsProviderToClientPacket,
        PluginsChannelSetToolsProviderToServerPacket,
    )
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.history import ChatInput
    from lmstudio.results import GeneratorActResult, GeneratorPredictionResult
    from lmstudio.tools import ToolDefinition

__all__ = [
    "HookChannel",
    "LLMGeneratorHandle",
    "PluginRegistration",
    "RemoteToolUseSession",
    "SelfRegistrationHost",
]


# Tools ---------------------------------------------------------------------------------------------------------------


class RemoteToolUseSession(SyncBase, LeftWhenForgotten, Sequence[RawFunctionTool]):
    """The tools of a plugin, while they are in use: a sequence that `act` takes, alone or among others.

    ::

        with client.plugins.plugin_tools("lmstudio/js-code-sandbox") as tools:
            model.act("What is 12345 times 54321?", tools)

    Several calls may run at the same time. Leaving the `with` block lets the plugin forget the session; calls fail
    afterwards, as they do when the connection is lost.
    """

    def __init__(self, session: ToolUseSession, plugins: _SessionPlugins, signal: AbortSignal | None) -> None:
        self._session = session
        self._plugins, self._signal = plugins, signal
        self._tools: tuple[RawFunctionTool, ...] | None = None

    @property
    def plugin_identifier(self) -> str:
        """The plugin, as "owner/name"."""
        return self._session.plugin_identifier

    @property
    def tools(self) -> tuple[RawFunctionTool, ...]:
        """The tools, in the order of the plugin.

        Raises:
            LMStudioRuntimeError: it does not know them before it is started.
        """
        if self._tools is None:
            raise LMStudioRuntimeError(
                f"The tools of the plugin {self.plugin_identifier!r} are not known yet: use them within `with`."
            )
        return self._tools

    def start(self) -> Self:
        """Ask the plugin for its tools, if that has not been done. Entering the `with` block does it, too."""
        if self._tools is None:
            definitions = self._run(self._session.start(self._signal))
            self._tools = tuple(map(self._as_tool, definitions))
        return self

    def _as_tool(self, definition: LlmTool) -> RawFunctionTool:
        function = definition.function
        name = function.name

        def call(**arguments: Any) -> Any:
            if self._plugins._port.runtime is not self._session.port.runtime:
                raise LMStudioRuntimeError(
                    f"Could not call the tool {name!r}: the tools of the plugin {self.plugin_identifier!r} belong to "
                    "another event loop. Ask for them, and call `act`, in the same one."
                )
            return self._run(self._session.call(name, arguments))

        return RawFunctionTool(
            name=name,
            description=function.description,
            parameters_json_schema=parameters_of(definition),
            implementation=call,
        )

    def close(self) -> None:
        """End the session; calls that are running fail."""
        self._session.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    @overload
    def __getitem__(self, index: int) -> RawFunctionTool: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RawFunctionTool, ...]: ...
    def __getitem__(self, index: int | slice) -> RawFunctionTool | tuple[RawFunctionTool, ...]:
        return self.tools[index]

    def __len__(self) -> int:
        return len(self.tools)

    def __iter__(self) -> Iterator[RawFunctionTool]:
        return iter(self.tools)

    def _leave(self) -> None:
        self._session.close()

    def __repr__(self) -> str:
        names = None if self._tools is None else [tool.name for tool in self._tools]
        return f"<{type(self).__name__} {self.plugin_identifier!r}: {'not started' if names is None else names}>"


# Generators ----------------------------------------------------------------------------------------------------------


class LLMGeneratorHandle(SyncBase):
    """A generator of a plugin, used in place of a model."""

    def __init__(
        self,
        identifier: str,
        session: _SessionPlugins,
        process: PluginConfigSpecifierPredictionProcess | None = None,
    ) -> None:
        self._identifier = identifier
        self._session = session
        self._process = process

    @property
    def identifier(self) -> str:
        """The plugin, as "owner/name"."""
        return self._identifier

    def _actor(
        self,
        timeout: TimeoutInput,
        plugin_config: KvConfig | Mapping[str, Any] | None,
        working_directory: str | os.PathLike[str] | None,
    ) -> generator_ops.GeneratorActor:
        specifier = plugin_ops.config_specifier(plugin_config, working_directory, self._process)
        return generator_ops.GeneratorActor(self._session._within(timeout), self._identifier, specifier)

    def respond(
        self,
        history: ChatInput,
        *,
        plugin_config: KvConfig | Mapping[str, Any] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> GeneratorPredictionResult:
        """The generator's next message in a chat, complete.

        Args:
            history: The chat so far, as in `LLM.respond`.
            plugin_config: The plugin's settings, as a dict of keys and values; what is missing has its default.
            working_directory: A folder on the server's machine that the generator may work in.
            on_message: Called with the complete message.
            on_first_token: Called once, before the first fragment.
            on_prediction_fragment: Called with each fragment.
            on_prompt_processing_progress: Called with numbers that rise from 0.0 to 1.0, where the generator tells.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`.
            signal: Stops the generator from elsewhere; the result is then what there is.

        Raises:
            LMStudioServerError: there is no such plugin, it has no generator, or this failed.
            LMStudioValueError: bad input; nothing was sent.
            LMStudioError: as `LLM.respond`.
        """
        options = prediction_options(
            self._session._port.runtime,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            signal=signal,
        )
        actor = self._actor(timeout, plugin_config, working_directory)
        return self._run(actor.predict(read_history(history), options).run())

    def respond_stream(
        self,
        history: ChatInput,
        *,
        plugin_config: KvConfig | Mapping[str, Any] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        on_message: PredictionMessageCallback | None = None,
        on_first_token: PredictionFirstTokenCallback | None = None,
        on_prediction_fragment: PredictionFragmentCallback | None = None,
        on_prompt_processing_progress: PromptProcessingCallback | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> GeneratorPredictionStream:
        """As `respond`, but returns the reply as a stream of fragments. Nothing is sent before the stream is used."""
        options = prediction_options(
            self._session._port.runtime,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_prompt_processing_progress=on_prompt_processing_progress,
            signal=signal,
        )
        actor = self._actor(timeout, plugin_config, working_directory)
        return GeneratorPredictionStream(actor.predict(read_history(history), options))

    def act(
        self,
        chat: ChatInput,
        tools: Iterable[ToolDefinition],
        *,
        plugin_config: KvConfig | Mapping[str, Any] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        max_prediction_rounds: int | None = None,
        max_parallel_tool_calls: int | None = 1,
        on_message: ActMessageCallback | None = None,
        on_first_token: ActFirstTokenCallback | None = None,
        on_prediction_fragment: ActFragmentCallback | None = None,
        on_round_start: ActRoundCallback | None = None,
        on_round_end: ActRoundCallback | None = None,
        on_prediction_completed: GeneratorPredictionCompletedCallback | None = None,
        on_prompt_processing_progress: ActProgressCallback | None = None,
        handle_invalid_tool_request: InvalidToolRequestHandler | None = None,
        guard_tool_call: GuardToolCallback | None = None,
        tool_timeout: float | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
        **callbacks: Unpack[ActCallbacks],
    ) -> GeneratorActResult:
        """Let the generator call *tools* until it has an answer.

        Arguments and errors are those of `LLM.act`, but for *plugin_config* and *working_directory*, which are those of
        `respond`. Results of rounds are a `GeneratorPredictionRoundResult`.
        """
        from lmstudio._ops.act_options import act_options
        from lmstudio.tools import read_tools

        options = act_options(
            self._session._port.runtime,
            response_format=None,
            config=None,
            preset=None,
            callbacks=callbacks,
            max_prediction_rounds=max_prediction_rounds,
            max_parallel_tool_calls=max_parallel_tool_calls,
            tool_timeout=tool_timeout,
            signal=signal,
            on_message=on_message,
            on_first_token=on_first_token,
            on_prediction_fragment=on_prediction_fragment,
            on_round_start=on_round_start,
            on_round_end=on_round_end,
            on_prediction_completed=on_prediction_completed,
            on_prompt_processing_progress=on_prompt_processing_progress,
            handle_invalid_tool_request=handle_invalid_tool_request,
            guard_tool_call=guard_tool_call,
        )
        actor = self._actor(timeout, plugin_config, working_directory)
        return self._run(generator_ops.act(actor, read_history(chat), read_tools(tools), options))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        mine, others = ((each._identifier, each._process) for each in (self, other))
        return mine == others and self._session is other._session

    def __hash__(self) -> int:
        return hash((type(self), self._identifier))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(identifier={self._identifier!r})"


# Development ---------------------------------------------------------------------------------------------------------


class PluginRegistration(SyncBase):
    """A plugin under development, registered until the `with` block ends or the connection is lost.

    ::

        with client.plugins.register_development_plugin(manifest) as registration:
            process = Client(
                registration.base_url,
                client_identifier=registration.client_identifier,
                client_passkey=registration.client_passkey,
            )

    With these credentials the plugin's process connects.
    """

    def __init__(self, registration: plugin_ops.Registration) -> None:
        self._registration = registration

    @property
    def identifier(self) -> str:
        """The plugin, as "owner/name"."""
        return self._registration.identifier

    @property
    def client_identifier(self) -> str:
        """The name that the plugin's process connects with."""
        return self._registration.ready.client_identifier

    @property
    def client_passkey(self) -> str:
        """What proves that the process may use that name."""
        return self._registration.ready.client_passkey

    @property
    def base_url(self) -> str | None:
        """The address that the process connects to; None where the server has not said, and it is to be found."""
        return self._registration.ready.base_url

    @property
    def deno_broker_ipc_path(self) -> str | None:
        """For plugins of Deno in a sandbox: where their permissions are asked for."""
        return self._registration.ready.deno_broker_ipc_path

    def start(self) -> Self:
        """Register the plugin, if that has not been done. Entering the `with` block does it, too."""
        if not self._registration.is_ready:
            self._run(self._registration.start())
        return self

    def unregister(self) -> None:
        """End the registration, and wait until the server has confirmed it. Too late is no error."""
        self._run(self._registration.end())

    def close(self) -> None:
        """As `unregister`."""
        self.unregister()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            self._run(self._registration.end())
        else:
            self._registration.abandon()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identifier!r}>"


class HookChannel(SyncBase, Generic[InT, OutT]):
    """The channel through which the host calls one hook of a plugin, packet by packet."""

    def __init__(self, channel: ServedHook[InT, OutT]) -> None:
        self._channel = channel

    def receive(self) -> InT:
        """The next packet of the host, however long that takes.

        Raises:
            LMStudioServerError: the host refuses the hook, or has ended it.
            LMStudioChannelClosedError: the registration of the plugin has ended.
            LMStudioWebsocketError: the connection to the host is lost.
            LMStudioCancelledError: `close` was called.
        """
        return self._run(self._channel.receive())

    def send(self, packet: OutT) -> None:
        """Send *packet*, at once and without waiting. Does nothing when the channel is over."""
        self._channel.send(packet)

    def close(self) -> None:
        """Stop listening. Packets go on coming until the connection ends, or the registration."""
        self._channel.close()


class SelfRegistrationHost(SyncBase):
    """What the process of a plugin tells its host. Each hook and each set of settings may be registered once.

    `lmstudio.plugin` does all of this for plugins; this is for those who write a runner of their own.
    """

    def __init__(self, session: _SessionPlugins) -> None:
        self._session = session

    def set_config_schematics(
        self, schematics: SchematicsInput, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Declare the settings that the plugin has in each chat."""
        self._run(host_ops.set_config_schematics(self._session._within(timeout, signal), schematics))

    def set_global_config_schematics(
        self, schematics: SchematicsInput, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None
    ) -> None:
        """Declare the settings that the plugin has once."""
        self._run(host_ops.set_global_config_schematics(self._session._within(timeout, signal), schematics))

    def init_completed(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Say that all hooks have been registered."""
        self._run(host_ops.init_completed(self._session._within(timeout, signal)))

    def report_error(
        self,
        report: PluginRuntimeErrorReport | Mapping[str, Any],
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> None:
        """Tell the host that the plugin cannot work as long as a server wants a login, or is out of reach."""
        self._run(host_ops.report_error(self._session._within(timeout, signal), report))

    def set_prompt_preprocessor(
        self,
    ) -> HookChannel[
        PluginsChannelSetPromptPreprocessorToClientPacket, PluginsChannelSetPromptPreprocessorToServerPacket
    ]:
        """Register a prompt preprocessor, and get the channel to serve it on. If the host refuses, `receive` raises."""
        return HookChannel(host_ops.open_prompt_preprocessor(self._session._port))

    def set_prediction_loop_handler(
        self,
    ) -> HookChannel[
        PluginsChannelSetPredictionLoopHandlerToClientPacket, PluginsChannelSetPredictionLoopHandlerToServerPacket
    ]:
        """Register a prediction loop handler, in the same way."""
        return HookChannel(host_ops.open_prediction_loop_handler(self._session._port))

    def set_tools_provider(
        self,
    ) -> HookChannel[PluginsChannelSetToolsProviderToClientPacket, PluginsChannelSetToolsProviderToServerPacket]:
        """Register a tools provider, in the same way."""
        return HookChannel(host_ops.open_tools_provider(self._session._port))

    def set_generator(
        self,
    ) -> HookChannel[PluginsChannelSetGeneratorToClientPacket, PluginsChannelSetGeneratorToServerPacket]:
        """Register a generator, in the same way."""
        return HookChannel(host_ops.open_generator(self._session._port))


# The session ---------------------------------------------------------------------------------------------------------


class _SessionPlugins(_Session):
    """Plugins that are installed, and plugins under development."""

    API_NAMESPACE: ClassVar[str] = "plugins"

    def reindex_plugins(self, *, timeout: TimeoutInput = None, signal: AbortSignal | None = None) -> None:
        """Let the server look for plugins again. It may do so after this has returned."""
        self._run(plugin_ops.reindex_plugins(self._within(timeout, signal)))

    def plugin_tools(
        self,
        plugin_identifier: str,
        *,
        plugin_config: KvConfig | Mapping[str, Any] | None = None,
        working_directory: str | os.PathLike[str] | None = None,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> RemoteToolUseSession:
        """The tools of a plugin, or of an MCP server ("mcp/name"), for `act`.

        ::

            with client.plugins.plugin_tools("lmstudio/js-code-sandbox") as tools:
                model.act("What is 12345 times 54321?", [*tools, my_own_tool])

        Arguments are checked before they are sent; what a tool says while it works goes to the log `lmstudio.tools`, as
        with tools of one's own. Cancelling a call tells the plugin.

        Args:
            plugin_identifier: "owner/name".
            plugin_config: The plugin's settings, as a dict of keys and values; what is missing has its default.
            working_directory: A folder on the server's machine that the tools may work in.
            timeout: A time limit for the start, in seconds, or a `lmstudio.Timeout`.
            signal: Gives up the start.

        Raises:
            LMStudioValueError: bad input; nothing was sent.
            LMStudioServerError: there is no such plugin, it has no tools, or cannot provide them.
        """
        specifier = plugin_ops.direct_specifier(plugin_config, working_directory)
        return self._tool_use_session(plugin_identifier, specifier, timeout, signal)

    def _tool_use_session(
        self,
        plugin_identifier: str,
        specifier: PluginConfigSpecifier,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> RemoteToolUseSession:
        """As `plugin_tools`; *specifier* may be that of a hook that works on a message."""
        identifier = plugin_ops.check_identifier(plugin_identifier)
        check_signal(signal)
        session = ToolUseSession(self._within(timeout), identifier, specifier)
        args = session, self, signal
        return RemoteToolUseSession(*args).start()

    def create_generator_handle(self, plugin_identifier: str) -> LLMGeneratorHandle:
        """The generator of a plugin, "owner/name", to use in place of a model. Nothing is sent."""
        return LLMGeneratorHandle(plugin_ops.check_identifier(plugin_identifier), self)

    def register_development_plugin(
        self,
        manifest: PluginManifest | Mapping[str, Any],
        *,
        timeout: TimeoutInput = None,
        signal: AbortSignal | None = None,
    ) -> PluginRegistration:
        """Register a plugin under development: see `PluginRegistration`.

        Args:
            manifest: What `manifest.json` says.
            timeout: A time limit for the registration, in seconds, or a `lmstudio.Timeout`.
            signal: Ends the wait for the registration with LMStudioCancelledError.

        Raises:
            LMStudioValueError: the manifest cannot be used; nothing was sent.
            LMStudioServerError: the server refuses, because the plugin is registered already, for example.
        """
        checked = plugin_ops.read_manifest(manifest)
        registration = plugin_ops.Registration(self._within(timeout), checked, signal)
        return PluginRegistration(registration).start()

    def get_self_registration_host(self) -> SelfRegistrationHost:
        """For the process of a plugin, whose client has the credentials of its registration: tell the host of hooks."""
        return SelfRegistrationHost(self)
