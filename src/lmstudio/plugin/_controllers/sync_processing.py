# Generated from async_processing.py by tools/make_sync.py. Edit that file instead.
"""What hooks that work on a message get as their first argument, for hooks that are plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias

from lmstudio._ops import processing as ops
from lmstudio._ops.plugin_tools import ToolUseSession
from lmstudio._ops.processing import Processing, UpdateSender, new_block_id, patient, read_struct
from lmstudio._sdk_models import (
    PluginConfigSpecifierPredictionProcess,
    PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    PluginsChannelSetPromptPreprocessorToClientPacketPreprocess,
    ProcessingRequestConfirmToolCall,
    ProcessingRequestResponseConfirmToolCallResultAllow,
    ProcessingRequestResponseConfirmToolCallResultDeny,
    ProcessingRequestTextInput,
    ProcessingUpdateCitationBlockCreate,
    ProcessingUpdateContentBlockCreate,
    ProcessingUpdateDebugInfoBlockCreate,
    ProcessingUpdateSetSenderName,
    ProcessingUpdateStatusCreate,
    ProcessingUpdateToolStatusCreate,
    TokenSourceIdentifierModel,
)
from lmstudio._surface.sync_plugins import LLMGeneratorHandle, RemoteToolUseSession
from lmstudio.history import Chat
from lmstudio.plugin._controllers.debug_text import debug_text
from lmstudio.plugin._controllers.sync_blocks import (
    SyncCitationBlockController,
    SyncContentBlockController,
    SyncDebugInfoBlockController,
    SyncStatusBlockController,
    SyncToolStatusController,
)
from lmstudio.plugin._controllers.sync_controllers import (
    GlobalConfigT,
    PluginConfigT,
    RequestT,
    SyncHookController,
)
from lmstudio.plugin._controllers.sync_tool_sessions import MultiRemoteToolUseSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lmstudio._abort import AbortSignal
    from lmstudio._ops.files import Place, RetrievalResult, RetrievalResultEntry
    from lmstudio._port import Port
    from lmstudio._sdk_models import (
        AvailablePluginInfo,
        ProcessingUpdateContentBlockCreateRoleOverride,
    )
    from lmstudio._surface.sync_llm import LLM
    from lmstudio._timeouts import TimeoutInput
    from lmstudio.plugin._controllers.sync_blocks import StatusInput, StyleInput, ToolStatusInput
    from lmstudio.sync_api import Client

__all__ = ["SyncPredictionLoopHandlerController", "SyncProcessingController", "SyncPromptPreprocessorController"]

ToolCallDecision: TypeAlias = (
    "ProcessingRequestResponseConfirmToolCallResultAllow | ProcessingRequestResponseConfirmToolCallResultDeny"
)


class SyncProcessingController(SyncHookController[RequestT, PluginConfigT, GlobalConfigT]):
    """What a hook can ask and show while it works on a message.

    What it shows goes out at once, in order and without waiting; what the host does not take is logged. All that waits
    ends with LMStudioCancelledError when the work is aborted.
    """

    _INCLUDES_CURRENT: ClassVar[bool]
    """Whether the history ends with the message that is worked on."""

    def __init__(
        self,
        client: Client,
        request: RequestT,
        signal: AbortSignal | None = None,
        *,
        plugin_config: PluginConfigT | None = None,
        global_config: GlobalConfigT | None = None,
    ) -> None:
        super().__init__(client, request, signal, plugin_config=plugin_config, global_config=global_config)
        packet: Any = request
        self._processing = Processing(packet.pci, packet.token)
        self._port = client._port("plugins")
        self._sender = UpdateSender(self._port, self._processing)

    def _within(self, timeout: TimeoutInput) -> Port:
        return self._port.within(timeout, self.abort_signal)

    # What the host has said ------------------------------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The host's name for this work."""
        packet: Any = self.request
        task_id: str = packet.task_id
        return task_id

    @property
    def pci(self) -> str:
        """The host's name for the message that is worked on."""
        return self._processing.pci

    @property
    def token(self) -> str:
        """Proves to the host that this hook may speak about the message. A secret."""
        return self._processing.token

    @property
    def enabled_plugin_infos(self) -> list[AvailablePluginInfo]:
        """The plugins that are switched on in the chat, and the hooks that they have."""
        packet: Any = self.request
        return [*packet.enabled_plugin_infos]

    # What the host can be asked --------------------------------------------------------------------------------------

    def pull_history(self, *, timeout: TimeoutInput = None) -> Chat:
        """The chat so far, as a copy that can be edited.

        A preprocessor gets it without the message that it works on, a prediction loop handler with it.
        """
        history = self._run(
            ops.pull_history(self._within(timeout), self._processing, include_current=self._INCLUDES_CURRENT)
        )
        return Chat.from_history(history)

    def token_source(self, *, timeout: TimeoutInput = None) -> LLM | LLMGeneratorHandle:
        """What the user has chosen to answer: a model, which is loaded if it is not, or a generator of a plugin.

        Both have `respond`, `respond_stream` and `act`, and predict with the settings of the chat.

        Args:
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. By default a load may take any time.
        """
        patience = patient(timeout)
        source = self._run(ops.get_or_load_token_source(self._within(patience), self._processing))
        if not isinstance(source, TokenSourceIdentifierModel):
            return LLMGeneratorHandle(source.plugin_identifier, self.session, self._specifier)
        model = self.client.llm.model(source.identifier, timeout=patience, signal=self.abort_signal)
        packet: Any = self.request
        model._chat_config = packet.config
        return model

    def start_tool_use_session(self, *, timeout: TimeoutInput = None) -> MultiRemoteToolUseSession:
        """The tools of all plugins that are switched on in the chat, with the settings of the chat, for `act`.

        ::

            with ctl.start_tool_use_session() as tools:
                model.act(ctl.pull_history(), tools)

        Args:
            timeout: A time limit for the start, in seconds, or a `lmstudio.Timeout`.

        Raises:
            LMStudioServerError: one of the plugins cannot provide its tools.
        """
        sessions = [
            RemoteToolUseSession(
                ToolUseSession(self._port.within(timeout), info.identifier, self._specifier), self.session, None
            )
            for info in self.enabled_plugin_infos
            if info.has_tools_provider
        ]
        args = sessions, self.abort_signal
        return MultiRemoteToolUseSession(*args).start()

    @property
    def _specifier(self) -> PluginConfigSpecifierPredictionProcess:
        """For other plugins: the settings that the chat has for them."""
        return PluginConfigSpecifierPredictionProcess(pci=self.pci, token=self.token)

    def has_status(self, *, timeout: TimeoutInput = None) -> bool:
        """Whether the chat shows a status of this work, from whichever plugin."""
        return self._run(ops.has_status(self._within(timeout), self._processing))

    def needs_naming(self, *, timeout: TimeoutInput = None) -> bool:
        """Whether the chat has no name yet."""
        return self._run(ops.needs_naming(self._within(timeout), self._processing))

    def suggest_name(self, name: str, *, timeout: TimeoutInput = None) -> None:
        """Propose a name for the chat."""
        self._run(ops.suggest_name(self._within(timeout), self._processing, name))

    def request_confirm_tool_call(
        self,
        *,
        call_id: int,
        name: str,
        parameters: Mapping[str, Any],
        plugin_identifier: str | None = None,
        timeout: TimeoutInput = None,
    ) -> ToolCallDecision:
        """Ask the user whether a tool may be called. The `type` of the answer is "allow" or "deny".

        Args:
            call_id: The number of the call, as in the blocks that show it.
            name: The tool.
            parameters: Its arguments; `tool_args_override` of the answer has others, if the user has changed them.
            plugin_identifier: The plugin whose tool it is.
            timeout: A time limit in seconds, or a `lmstudio.Timeout`. By default the user has any time.
        """
        request = read_struct(
            ProcessingRequestConfirmToolCall,
            "ask whether a tool may be called",
            call_id=call_id,
            name=name,
            parameters=parameters,
            plugin_identifier=plugin_identifier,
        )
        port = self._within(patient(timeout))
        response: Any = self._run(ops.handle_request(port, self._processing, request))
        decision: ToolCallDecision = response.result
        return decision

    def request_text_input(self, prompt: str, *, timeout: TimeoutInput = None) -> str:
        """Ask the user for a text. Arguments as in `request_confirm_tool_call`."""
        request = read_struct(ProcessingRequestTextInput, "ask for a text", prompt=prompt)
        port = self._within(patient(timeout))
        response: Any = self._run(ops.handle_request(port, self._processing, request))
        text: str = response.result
        return text

    # What the chat shows ---------------------------------------------------------------------------------------------

    def set_sender_name(self, name: str, *, wait: bool = False, timeout: TimeoutInput = None) -> None:
        """Set the name that the chat shows above the answer.

        Args:
            name: The name.
            wait: Until the host has done so. It is then an error if the host does not take the name.
            timeout: For *wait*: a time limit in seconds, or a `lmstudio.Timeout`.
        """
        if wait:
            self._run(ops.set_sender_name(self._within(timeout), self._processing, name))
        else:
            self._sender.send(read_struct(ProcessingUpdateSetSenderName, "set the sender's name", name=name))

    def create_status(self, initial_state: StatusInput) -> SyncStatusBlockController:
        """A new line that says what the hook is doing: a `StatusStepState`, or a dict with `status` and `text`.

        The status is "waiting", "loading", "done", "error" or "canceled".
        """
        update = read_struct(ProcessingUpdateStatusCreate, "show a status", id=new_block_id(), state=initial_state)
        self._sender.send(update)
        return SyncStatusBlockController(self._sender, update.id, update.state)

    def notify_start(self, message: str) -> SyncStatusBlockController:
        """A new line for work that is about to begin."""
        return self.create_status({"status": "waiting", "text": message})

    def notify_done(self, message: str) -> None:
        """A new line for work that is complete."""
        self.create_status({"status": "done", "text": message})

    def add_citations(self, citations: RetrievalResult | Iterable[RetrievalResultEntry]) -> None:
        """Show what a search in files has found: the result of `client.files.retrieve`, or entries of one."""
        entries: Any = getattr(citations, "entries", citations)
        for entry in entries:
            self.create_citation_block(
                entry.content,
                file_name=entry.source.name,
                file_identifier=entry.source.identifier,
                page_number=entry.page_number,
                line_number=entry.line_number,
            )

    def create_citation_block(
        self,
        cited_text: str,
        *,
        file_name: str,
        file_identifier: str,
        page_number: Place = None,
        line_number: Place = None,
    ) -> SyncCitationBlockController:
        """Show a piece of a source.

        Args:
            cited_text: The piece.
            file_name: The name of the file, for people.
            file_identifier: The file, as its handle says.
            page_number: The page, or the first and the last.
            line_number: The line, or the first and the last.
        """
        update = read_struct(
            ProcessingUpdateCitationBlockCreate,
            "show a citation",
            id=new_block_id(),
            cited_text=cited_text,
            file_name=file_name,
            file_identifier=file_identifier,
            page_number=page_number,
            line_number=line_number,
        )
        self._sender.send(update)
        return SyncCitationBlockController(self._sender, update.id)

    def create_content_block(
        self,
        *,
        role_override: ProcessingUpdateContentBlockCreateRoleOverride | None = None,
        include_in_context: bool = True,
        style: StyleInput | None = None,
        prefix: str | None = None,
        suffix: str | None = None,
    ) -> SyncContentBlockController:
        """A new part of the answer, still empty.

        Args:
            role_override: Whose words they are: "assistant" if nothing is said, "user", "system" or "tool".
            include_in_context: Whether the model sees it in later predictions.
            style: How it is shown: `{"type": "default"}`, `{"type": "customLabel", "label": ..., "color": ...}`, or
                `{"type": "thinking", "ended": ..., "title": ...}`.
            prefix: See `SyncContentBlockController.set_prefix`.
            suffix: See `SyncContentBlockController.set_suffix`.
        """
        update = read_struct(
            ProcessingUpdateContentBlockCreate,
            "make a content block",
            id=new_block_id(),
            include_in_context=include_in_context,
            role_override=role_override,
            style=style,
            prefix=prefix,
            suffix=suffix,
        )
        self._sender.send(update)
        return SyncContentBlockController(self._sender, update.id, role_override or "assistant", self.abort_signal)

    def debug(self, *messages: object) -> SyncDebugInfoBlockController:
        """Show *messages*, separated by spaces, to whoever develops the plugin.

        Dicts, lists and values of the protocol are shown as JSON, exceptions with their traceback.
        """
        update = ProcessingUpdateDebugInfoBlockCreate(id=new_block_id(), debug_info=debug_text(messages))
        self._sender.send(update)
        return SyncDebugInfoBlockController(self._sender, update.id)

    def create_tool_status(self, call_id: int, initial_status: ToolStatusInput) -> SyncToolStatusController:
        """A new line that says how the call of a tool proceeds.

        Args:
            call_id: The number of the call, as in the blocks that show its request and its result.
            initial_status: As in `SyncToolStatusController.set_status`.
        """
        state: dict[str, Any] = {"status": initial_status, "customStatus": "", "customWarnings": []}
        update = read_struct(
            ProcessingUpdateToolStatusCreate,
            "show the status of a tool",
            id=new_block_id(),
            call_id=call_id,
            state=state,
        )
        self._sender.send(update)
        return SyncToolStatusController(self._sender, update.id, update.state)

    def flush(self, *, timeout: TimeoutInput = None) -> None:
        """Wait until the host has answered all that was shown so far, also after an abort.

        What comes after the end of a hook is dropped by the host; the runner of plugins waits by itself.
        """
        self._run(self._sender.flush(self._port.within(timeout)))


class SyncPromptPreprocessorController(
    SyncProcessingController[PluginsChannelSetPromptPreprocessorToClientPacketPreprocess, PluginConfigT, GlobalConfigT],
    Generic[PluginConfigT, GlobalConfigT],
):
    """For `preprocess_prompt`: a message before the model sees it."""

    _INCLUDES_CURRENT: ClassVar[bool] = False


class SyncPredictionLoopHandlerController(
    SyncProcessingController[
        PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop, PluginConfigT, GlobalConfigT
    ],
    Generic[PluginConfigT, GlobalConfigT],
):
    """For `handle_prediction_loop`: a hook that writes the whole answer, in content blocks."""

    _INCLUDES_CURRENT: ClassVar[bool] = True
