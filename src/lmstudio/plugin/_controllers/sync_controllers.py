# Generated from async_controllers.py by tools/make_sync.py. Edit that file instead.
"""What hooks get as their first argument, for hooks that are plain functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from lmstudio._abort import AbortSignal, check_signal
from lmstudio._ops.generation_reports import GenerationReports
from lmstudio._sdk_models import (
    PluginsChannelSetGeneratorToClientPacketGenerate,
    PluginsChannelSetToolsProviderToClientPacketInitSession,
)
from lmstudio._sync_io import SyncBase
from lmstudio.errors import LMStudioRuntimeError
from lmstudio.history import Chat
from lmstudio.plugin._controllers.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lmstudio._sdk_models import (
        LlmPredictionFragmentReasoningType,
        LlmToken,
        LlmTool,
        PluginsChannelSetGeneratorToServerPacket,
        ToolCallRequest,
    )
    from lmstudio._surface.sync_plugins import _SessionPlugins
    from lmstudio.plugin._schematics import ConfigSchematics, ParsedConfig
    from lmstudio.plugin.config_schemas import BaseConfigSchema
    from lmstudio.sync_api import Client

__all__ = ["SyncHookController", "SyncTokenGeneratorController", "SyncToolsProviderController"]

PluginConfigT = TypeVar("PluginConfigT", default=Any)
GlobalConfigT = TypeVar("GlobalConfigT", default=Any)
RequestT = TypeVar("RequestT", default=Any)
SchemaT = TypeVar("SchemaT", bound="BaseConfigSchema")


class SyncHookController(SyncBase, Generic[RequestT, PluginConfigT, GlobalConfigT]):
    """What every hook can use: a client, the settings of the plugin, the working directory and the abort signal."""

    def __init__(
        self,
        client: Client,
        request: RequestT,
        signal: AbortSignal | None = None,
        *,
        plugin_config: PluginConfigT | None = None,
        global_config: GlobalConfigT | None = None,
    ) -> None:
        """Controllers come from the runner of plugins; tests may make their own.

        Args:
            client: Connected with the credentials of the plugin.
            request: The packet of the host that begins the work.
            signal: Aborted when the host does not want the work any more.
            plugin_config: The settings of the chat for this plugin, parsed; else as the host has sent them.
            global_config: The same for those of the application.
        """
        check_signal(signal)
        packet: Any = request
        self.client: Client = client
        """A client of the application that the plugin runs in: models, embeddings, files and so on."""
        self.request: RequestT = request
        """What the host has sent."""
        self.abort_signal: AbortSignal = signal or AbortSignal()
        """Aborted when the work is not wanted any more. Give it to what takes long as `signal=`."""
        self.plugin_config: PluginConfigT = packet.plugin_config if plugin_config is None else plugin_config
        """The settings of the chat for this plugin: an instance of its `ConfigSchema`, if it has one."""
        self.global_config: GlobalConfigT = packet.global_plugin_config if global_config is None else global_config
        """The settings of the application for this plugin: an instance of its `GlobalConfigSchema`, if it has one."""
        directory = packet.working_directory_path
        self.working_path: Path | None = None if directory is None else Path(directory)
        """Where files that the plugin makes belong; None where the chat has no such directory."""

    @property
    def session(self) -> _SessionPlugins:
        """`client.plugins`, as the official package has it."""
        return self.client.plugins

    def get_working_directory(self) -> Path:
        """As `working_path`, for hooks that cannot do without.

        Raises:
            LMStudioRuntimeError: there is none.
        """
        if self.working_path is None:
            raise LMStudioRuntimeError(
                "This work has no working directory: the chat is not attached to one. `working_path` is None then."
            )
        return self.working_path

    @overload
    def get_plugin_config(self, schematics: ConfigSchematics) -> ParsedConfig: ...
    @overload
    def get_plugin_config(self, schematics: type[SchemaT]) -> SchemaT: ...
    def get_plugin_config(self, schematics: ConfigSchematics | type[SchemaT]) -> ParsedConfig | SchemaT:
        """The settings of the chat for this plugin, read with what declares them.

        Args:
            schematics: What `create_config_schematics()` has made, or a class derived from `BaseConfigSchema`.

        Raises:
            LMStudioValueError: a value does not fit; the message names the key.
        """
        packet: Any = self.request
        return parse_settings(schematics, packet.plugin_config)

    @overload
    def get_global_plugin_config(self, schematics: ConfigSchematics) -> ParsedConfig: ...
    @overload
    def get_global_plugin_config(self, schematics: type[SchemaT]) -> SchemaT: ...
    def get_global_plugin_config(self, schematics: ConfigSchematics | type[SchemaT]) -> ParsedConfig | SchemaT:
        """The settings of the application for this plugin; as `get_plugin_config`."""
        packet: Any = self.request
        return parse_settings(schematics, packet.global_plugin_config)

    def on_aborted(self, callback: Callable[[], object]) -> None:
        """Call *callback* once when the work is aborted, in whatever thread learns of it; at once if it is already."""
        self.abort_signal.add_listener(callback)

    def guard_abort(self) -> None:
        """Raise LMStudioCancelledError if the work was aborted. Call it often in what takes long."""
        self.abort_signal.throw_if_aborted()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class SyncToolsProviderController(
    SyncHookController[PluginsChannelSetToolsProviderToClientPacketInitSession, PluginConfigT, GlobalConfigT],
    Generic[PluginConfigT, GlobalConfigT],
):
    """For `list_provided_tools`: the tools that it returns serve one session.

    The abort signal is aborted when the session ends.
    """

    @property
    def session_id(self) -> str:
        """The session that the tools are for."""
        return self.request.session_id


class SyncTokenGeneratorController(
    SyncHookController[PluginsChannelSetGeneratorToClientPacketGenerate, PluginConfigT, GlobalConfigT],
    Generic[PluginConfigT, GlobalConfigT],
):
    """For `generate_tokens`: a plugin that answers chats in place of a model.

    Reports go out at once, in order, and without waiting.
    """

    def __init__(
        self,
        client: Client,
        request: PluginsChannelSetGeneratorToClientPacketGenerate,
        send: Callable[[PluginsChannelSetGeneratorToServerPacket], object],
        signal: AbortSignal | None = None,
        *,
        plugin_config: PluginConfigT | None = None,
        global_config: GlobalConfigT | None = None,
    ) -> None:
        """As `SyncHookController`; *send* passes a packet on to the host, from any thread and without waiting."""
        super().__init__(client, request, signal, plugin_config=plugin_config, global_config=global_config)
        self._reports = GenerationReports(request.task_id, send)

    @property
    def task_id(self) -> str:
        """The host's name for this work."""
        return self.request.task_id

    @property
    def history(self) -> Chat:
        """The chat to answer; a copy."""
        return Chat.from_history(self.request.input)

    def get_tool_definitions(self) -> list[LlmTool]:
        """The tools that may be called."""
        return [*self.request.tool_definitions]

    def fragment_generated(
        self,
        content: str,
        *,
        token_count: int | None = None,
        contains_drafted: bool | None = None,
        reasoning_type: LlmPredictionFragmentReasoningType | None = None,
        is_structural: bool | None = None,
        tokens: Iterable[LlmToken | Mapping[str, Any]] | None = None,
    ) -> None:
        """A piece of text is there.

        Args:
            content: The text.
            token_count: How many tokens it is; 1 if nothing is said.
            contains_drafted: Whether a draft model has written some of it.
            reasoning_type: Whether it is part of the thoughts, or the mark at their beginning or end; "none" if nothing
                is said.
            is_structural: It is part of a form, such as the braces of JSON, and not of the content.
            tokens: The tokens, each with text and id.

        Raises:
            LMStudioValueError: a value that the protocol does not allow; nothing was sent.
        """
        self._reports.fragment(
            content,
            token_count=token_count,
            contains_drafted=contains_drafted,
            reasoning_type=reasoning_type,
            is_structural=is_structural,
            tokens=None if tokens is None else [*tokens],
        )

    def tool_call_generation_started(self, tool_call_id: str | None = None) -> None:
        """The request for a tool begins. It ends with `tool_call_generation_ended` or `tool_call_generation_failed`."""
        self._reports.started(tool_call_id)

    def tool_call_generation_name_received(self, tool_name: str) -> None:
        """The name of the tool is known. Once for each request."""
        self._reports.name(tool_name)

    def tool_call_generation_argument_fragment_generated(self, content: str) -> None:
        """More of the arguments is there, as the text of JSON."""
        self._reports.arguments(content)

    def tool_call_generation_ended(self, tool_call_request: ToolCallRequest | Mapping[str, Any]) -> None:
        """The request is complete: its name, its arguments, and its id if it has one."""
        self._reports.ended(tool_call_request)

    def tool_call_generation_failed(self, error: BaseException | str) -> None:
        """What was begun as the request for a tool cannot be read."""
        self._reports.failed(error)
