# Generated from async_blocks.py by tools/make_sync.py. Edit that file instead.
"""Blocks that a hook shows in the chat, as hooks that are plain functions get them.

Showing never waits: updates go out at once and in order, and those that the host does not take are logged.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from lmstudio._abort import on_abort
from lmstudio._ops.processing import UpdateSender, new_block_id, read_struct
from lmstudio._sdk_models import (
    ContentBlockStyle,
    LlmGenInfo,
    ProcessingUpdateContentBlockAppendText,
    ProcessingUpdateContentBlockAppendToolRequest,
    ProcessingUpdateContentBlockAppendToolResult,
    ProcessingUpdateContentBlockAttachGenInfo,
    ProcessingUpdateContentBlockReplaceText,
    ProcessingUpdateContentBlockReplaceToolRequest,
    ProcessingUpdateContentBlockSetPrefix,
    ProcessingUpdateContentBlockSetStyle,
    ProcessingUpdateContentBlockSetSuffix,
    ProcessingUpdateStatusCreate,
    ProcessingUpdateStatusRemove,
    ProcessingUpdateStatusUpdate,
    ProcessingUpdateToolStatusArgumentFragment,
    ProcessingUpdateToolStatusUpdate,
    StatusStepState,
    ToolStatusStepState,
    ToolStatusStepStateStatus,
)
from lmstudio._sync_io import SyncBase
from lmstudio.errors import LMStudioCancelledError, LMStudioValueError
from lmstudio.results import PredictionResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lmstudio._abort import AbortSignal
    from lmstudio._sdk_models import ProcessingUpdateContentBlockCreateRoleOverride, StatusStepStatus
    from lmstudio._surface.sync_streams import GeneratorPredictionStream, PredictionStream
    from lmstudio.results import GeneratorPredictionResult

__all__ = [
    "SyncCitationBlockController",
    "SyncContentBlockController",
    "SyncDebugInfoBlockController",
    "SyncStatusBlockController",
    "SyncToolStatusController",
]

StatusInput: TypeAlias = "StatusStepState | Mapping[str, Any]"
StyleInput: TypeAlias = "ContentBlockStyle | Mapping[str, Any]"
ToolStatusInput: TypeAlias = "ToolStatusStepStateStatus | Mapping[str, Any]"

ParsedT = TypeVar("ParsedT")


class _Block(SyncBase):
    """Anything in the chat that has an id."""

    def __init__(self, sender: UpdateSender, block_id: str) -> None:
        self._sender = sender
        self.id: str = block_id
        """How the host knows the block."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r})"


class SyncCitationBlockController(_Block):
    """A piece of a source that was cited. There is nothing to change about it."""


class SyncDebugInfoBlockController(_Block):
    """A text for whoever develops the plugin. There is nothing to change about it."""


class SyncStatusBlockController(_Block):
    """A line in the chat that says what a hook is doing."""

    def __init__(self, sender: UpdateSender, block_id: str, state: StatusStepState, indentation: int = 0) -> None:
        super().__init__(sender, block_id)
        self._state = state
        self._indentation = indentation
        self._newest: SyncStatusBlockController = self

    # As in lmstudio.js -----------------------------------------------------------------------------------------------

    def set_state(self, state: StatusInput) -> None:
        """Show another status and text: a `StatusStepState`, or a dict with `status` and `text`."""
        update = read_struct(ProcessingUpdateStatusUpdate, "show a status", id=self.id, state=state)
        self._state = update.state
        self._sender.send(update)

    def set_text(self, text: str) -> None:
        """Show another text; the status stays."""
        self._set(self._state.status, text)

    def remove(self) -> None:
        """Take the line out of the chat."""
        self._sender.send(ProcessingUpdateStatusRemove(id=self.id))

    def add_sub_status(self, initial_state: StatusInput) -> SyncStatusBlockController:
        """A new line, indented, after this one and the lines that were added to it before."""
        newest = self._newest
        while newest is not newest._newest:
            newest = newest._newest
        update = read_struct(
            ProcessingUpdateStatusCreate,
            "show a status",
            id=new_block_id(),
            state=initial_state,
            location={"type": "afterId", "id": newest.id},
            indentation=self._indentation + 1,
        )
        self._sender.send(update)
        self._newest = SyncStatusBlockController(self._sender, update.id, update.state, self._indentation + 1)
        return self._newest

    def _set(self, status: StatusStepStatus, text: str) -> None:
        self.set_state({"status": status, "text": text})

    # As in the official Python package -------------------------------------------------------------------------------

    def notify_waiting(self, message: str) -> None:
        """The work waits for something."""
        self._set("waiting", message)

    def notify_working(self, message: str) -> None:
        """The work goes on."""
        self._set("loading", message)

    def notify_error(self, message: str) -> None:
        """The work has failed."""
        self._set("error", message)

    def notify_canceled(self, message: str) -> None:
        """The work was given up."""
        self._set("canceled", message)

    def notify_done(self, message: str) -> None:
        """The work is complete."""
        self._set("done", message)

    @contextmanager
    def notify_aborted(self, message: str) -> Iterator[None]:
        """For a `with` block: if it is left because the work is cancelled, *message* is shown, as `notify_canceled`.

        ::

            with status.notify_aborted("Search cancelled."):
                search()
        """
        try:
            yield
        except BaseException as error:
            # Cancellation of tasks, in each event loop, and Ctrl-C are not exceptions of the work itself.
            if isinstance(error, LMStudioCancelledError) or not isinstance(error, Exception):
                self._set("canceled", message)
            raise


class SyncContentBlockController(_Block):
    """A part of a message in the chat: text, or the requests and results of tools."""

    def __init__(
        self,
        sender: UpdateSender,
        block_id: str,
        role: ProcessingUpdateContentBlockCreateRoleOverride,
        signal: AbortSignal,
    ) -> None:
        super().__init__(sender, block_id)
        self.role: ProcessingUpdateContentBlockCreateRoleOverride = role
        """Whose words they are. Tool requests go into blocks of "assistant", results of tools into those of "tool"."""
        self._signal = signal

    def append_text(
        self,
        text: str,
        *,
        tokens_count: int | None = None,
        from_draft_model: bool | None = None,
        is_structural: bool | None = None,
    ) -> None:
        """Add text at the end.

        Args:
            text: What to add.
            tokens_count: How many tokens it is.
            from_draft_model: A draft model has written it.
            is_structural: It is part of a form, such as the braces of JSON, and not of the content.

        Raises:
            LMStudioValueError: this is a block of a tool, or a value cannot be used.
        """
        self._refuse_tool_block("append text")
        update = read_struct(
            ProcessingUpdateContentBlockAppendText,
            "append text",
            id=self.id,
            text=text,
            tokens_count=tokens_count,
            from_draft_model=from_draft_model,
            is_structural=is_structural,
        )
        self._sender.send(update)

    def replace_text(self, text: str) -> None:
        """Show another text in place of all that was there."""
        self._refuse_tool_block("replace the text")
        self._sender.send(
            read_struct(ProcessingUpdateContentBlockReplaceText, "replace the text", id=self.id, text=text)
        )

    def append_tool_request(
        self,
        *,
        call_id: int,
        name: str,
        parameters: Mapping[str, Any],
        tool_call_request_id: str | None = None,
        plugin_identifier: str | None = None,
    ) -> None:
        """Add the request for a tool.

        Args:
            call_id: Any number that has not been used for another call; the result and the tool status have it, too.
            name: The tool.
            parameters: Its arguments.
            tool_call_request_id: The id that the model has given the request.
            plugin_identifier: The plugin whose tool it is.

        Raises:
            LMStudioValueError: this is no block of "assistant", or a value cannot be used.
        """
        self._need_role("assistant", "append a tool request")
        update = read_struct(
            ProcessingUpdateContentBlockAppendToolRequest,
            "append a tool request",
            id=self.id,
            call_id=call_id,
            name=name,
            parameters=parameters,
            tool_call_request_id=tool_call_request_id,
            plugin_identifier=plugin_identifier,
        )
        self._sender.send(update)

    def replace_tool_request(
        self,
        *,
        call_id: int,
        name: str,
        parameters: Mapping[str, Any],
        tool_call_request_id: str | None = None,
        plugin_identifier: str | None = None,
    ) -> None:
        """Show another request in place of the one with this *call_id*. Arguments as in `append_tool_request`."""
        self._need_role("assistant", "replace a tool request")
        update = read_struct(
            ProcessingUpdateContentBlockReplaceToolRequest,
            "replace a tool request",
            id=self.id,
            call_id=call_id,
            name=name,
            parameters=parameters,
            tool_call_request_id=tool_call_request_id,
            plugin_identifier=plugin_identifier,
        )
        self._sender.send(update)

    def append_tool_result(
        self, *, call_id: int, content: str, tool_call_request_id: str | None = None, name: str | None = None
    ) -> None:
        """Add what a tool has returned: *content* is that as text, mostly JSON."""
        self._need_role("tool", "append a tool result")
        update = read_struct(
            ProcessingUpdateContentBlockAppendToolResult,
            "append a tool result",
            id=self.id,
            call_id=call_id,
            content=content,
            tool_call_request_id=tool_call_request_id,
            name=name,
        )
        self._sender.send(update)

    def set_style(self, style: StyleInput) -> None:
        """Show the block as thoughts or under a label, for example: `{"type": "thinking", "title": "Planning"}`."""
        self._sender.send(
            read_struct(ProcessingUpdateContentBlockSetStyle, "set the style of a block", id=self.id, style=style)
        )

    def set_prefix(self, prefix: str) -> None:
        """Put a text before that of the block, in place of an earlier prefix."""
        self._sender.send(
            read_struct(ProcessingUpdateContentBlockSetPrefix, "set the prefix of a block", id=self.id, prefix=prefix)
        )

    def set_suffix(self, suffix: str) -> None:
        """Put a text after that of the block, in place of an earlier suffix."""
        self._sender.send(
            read_struct(ProcessingUpdateContentBlockSetSuffix, "set the suffix of a block", id=self.id, suffix=suffix)
        )

    def attach_gen_info(self, gen_info: LlmGenInfo | Mapping[str, Any]) -> None:
        """Say which model has written the block, with which settings, and how fast."""
        self._sender.send(
            read_struct(
                ProcessingUpdateContentBlockAttachGenInfo, "attach generation info", id=self.id, gen_info=gen_info
            )
        )

    @overload
    def pipe_from(self, prediction: PredictionStream[ParsedT]) -> PredictionResult[ParsedT]: ...
    @overload
    def pipe_from(self, prediction: GeneratorPredictionStream) -> GeneratorPredictionResult: ...
    def pipe_from(
        self, prediction: PredictionStream[ParsedT] | GeneratorPredictionStream
    ) -> PredictionResult[ParsedT] | GeneratorPredictionResult:
        """Add a prediction to the block as it is written, and its statistics at the end. Returns its result.

        ::

            block = ctl.create_content_block()
            block.pipe_from(model.respond_stream(ctl.pull_history()))

        Generators have no statistics.

        Raises:
            LMStudioCancelledError: the hook was told to stop. The prediction is stopped, too.
        """
        signal = self._signal
        if signal.aborted:
            prediction.close()
            raise signal.error()
        with on_abort(signal, prediction._prediction.cancel):
            for fragment in prediction:
                self.append_text(fragment.content)
            result = prediction.wait_for_result()
        if isinstance(result, PredictionResult):
            self.attach_gen_info(
                LlmGenInfo(
                    indexed_model_identifier=result.model_info.path,
                    identifier=result.model_info.identifier,
                    load_model_config=result.load_config_kv,
                    prediction_config=result.prediction_config_kv,
                    stats=result.stats,
                )
            )
        signal.throw_if_aborted()
        return result

    def _refuse_tool_block(self, what: str) -> None:
        if self.role == "tool":
            raise LMStudioValueError(
                f"Could not {what}: this block is of the role 'tool', which has results of tools only. Make another "
                "one for text."
            )

    def _need_role(self, role: str, what: str) -> None:
        if self.role != role:
            raise LMStudioValueError(
                f"Could not {what}: this block is of the role {self.role!r}. Make one with role_override={role!r}."
            )


class SyncToolStatusController(_Block):
    """A line in the chat that says how the call of a tool proceeds."""

    def __init__(self, sender: UpdateSender, block_id: str, state: ToolStatusStepState) -> None:
        super().__init__(sender, block_id)
        self._state = state

    def set_status(self, status: ToolStatusInput) -> None:
        """How far the call has come: `{"type": "callingTool"}`, `{"type": "toolCallFailed", "error": ...}` and so on.

        The types are generatingToolCall, toolCallGenerationFailed, toolCallQueued, confirmingToolCall, toolCallDenied,
        callingTool, toolCallFailed and toolCallSucceeded.
        """
        self._show(status, self._state.custom_status, self._state.custom_warnings)

    def set_custom_status_text(self, text: str) -> None:
        """What the tool itself says about its work."""
        self._show(self._state.status, text, self._state.custom_warnings)

    def add_warning(self, warning: str) -> None:
        """One more of the tool's warnings."""
        self._show(self._state.status, self._state.custom_status, [*self._state.custom_warnings, warning])

    def append_argument_fragment(self, content: str) -> None:
        """More of the arguments, while the model writes them."""
        update = read_struct(
            ProcessingUpdateToolStatusArgumentFragment, "show arguments of a tool", id=self.id, content=content
        )
        self._sender.send(update)

    def _show(self, status: ToolStatusInput, custom_status: str, custom_warnings: list[str]) -> None:
        update = read_struct(
            ProcessingUpdateToolStatusUpdate,
            "show the status of a tool",
            id=self.id,
            state={"status": status, "customStatus": custom_status, "customWarnings": custom_warnings},
        )
        self._state = update.state
        self._sender.send(update)
