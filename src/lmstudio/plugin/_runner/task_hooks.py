"""The hooks that work on one task after the other, or on several at once, each with a beginning and an end."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from lmstudio._sdk_models import (
    PluginsChannelSetGeneratorToClientPacketGenerate,
    PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    PluginsChannelSetPromptPreprocessorToClientPacketPreprocess,
    PluginsChannelSetPromptPreprocessorToServerPacketComplete,
    PluginsChannelToClientPacketAbort,
    PluginsChannelToServerPacketAborted,
    PluginsChannelToServerPacketComplete,
    PluginsChannelToServerPacketError,
)
from lmstudio.history import Chat
from lmstudio.plugin._definition import HOOK_NOUNS, HookName
from lmstudio.plugin.sdk_api import LMStudioPluginRuntimeError

from .outlet import HookChannel, Outlet
from .work import is_coroutine, run_user_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from lmstudio._sdk_models import AnyChatMessage

    from .running import RunningPlugin

__all__ = ["TASK_HOOKS", "TaskHook"]


class _Task:
    """A task that the hook works on."""

    def __init__(self, outlet: Outlet, work: asyncio.Task[Any]) -> None:
        self.outlet = outlet
        self.work = work


class TaskHook(ABC):
    """Serves the channel of one hook."""

    name: ClassVar[HookName]
    start_type: ClassVar[type[Any]]
    """The packet that begins a task."""

    def __init__(self, plugin: RunningPlugin, channel: HookChannel) -> None:
        self._plugin = plugin
        self._channel = channel
        self._function = plugin.definition.hooks[self.name]
        self._in_loop = is_coroutine(self._function)
        self._tasks: dict[str, _Task] = {}

    async def serve(self) -> None:
        """Work until the channel ends, which raises why.

        Raises:
            LMStudioError: the host has gone, or does not want the plugin any more.
        """
        try:
            while True:
                self._receive(await self._channel.receive())
        finally:
            self._channel.close()
            await self._stop()

    def _receive(self, packet: Any) -> None:
        if isinstance(packet, PluginsChannelToClientPacketAbort):
            self._abort(packet.task_id)
        elif isinstance(packet, self.start_type):
            outlet = Outlet(self._channel.send)
            work = asyncio.get_running_loop().create_task(self._work(packet, outlet))
            self._tasks[packet.task_id] = _Task(outlet, work)
            work.add_done_callback(partial(self._end, packet.task_id))

    def _end(self, task_id: str, work: asyncio.Task[Any]) -> None:
        """Tell the host what *work* has come to."""
        task = self._tasks.pop(task_id)
        # Even a result comes too late after an abort.
        is_aborted = work.cancelled() or task.outlet.signal.aborted
        task.outlet.end(PluginsChannelToServerPacketAborted(task_id=task_id) if is_aborted else work.result())

    def _abort(self, task_id: str) -> None:
        """End a task. The host hears so when the coroutine has ended, or at once if a thread cannot be stopped."""
        task = self._tasks.get(task_id)
        if task is not None:
            task.outlet.signal.abort()
            task.work.cancel()

    async def _stop(self) -> None:
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.outlet.end()
            task.outlet.signal.abort()
            task.work.cancel()
        if tasks:
            await asyncio.wait([task.work for task in tasks])

    async def _work(self, packet: Any, outlet: Outlet) -> Any:
        """The packet that ends the task."""
        try:
            controller = self._plugin.controller(self.name, packet, outlet, in_loop=self._in_loop)
            call = self._call(controller, packet, outlet)
            return self._answer(packet, await run_user_code(call, in_loop=self._in_loop))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # also SystemExit: one task does not end the plugin
            what = f"The {HOOK_NOUNS[self.name]} of the plugin {self._plugin.identifier!r}"
            return PluginsChannelToServerPacketError(task_id=packet.task_id, error=self._plugin.fault(what, error))

    def _call(self, controller: Any, packet: Any, outlet: Outlet) -> Callable[[], Any]:  # noqa: ARG002 (others do)
        """The work itself."""
        return partial(self._function, *self._arguments(controller, packet))

    @abstractmethod
    def _arguments(self, controller: Any, packet: Any) -> tuple[Any, ...]:
        """What the function is called with."""

    def _answer(self, packet: Any, result: Any) -> Any:  # noqa: ARG002 (one kind of hook has a result)
        """The packet that ends a task well."""
        return PluginsChannelToServerPacketComplete(task_id=packet.task_id)


class ProcessingHook(TaskHook):
    """A hook that shows blocks in the chat."""

    def _call(self, controller: Any, packet: Any, outlet: Outlet) -> Callable[[], Any]:
        call = super()._call(controller, packet, outlet)
        if self._in_loop:
            return call  # what it shows and the end of the task travel on one connection

        def work() -> Any:
            try:
                return call()
            finally:
                if not outlet.signal.aborted:
                    controller.flush()  # this travels on another one, and must not come after the end

        return work


class PromptPreprocessorHook(ProcessingHook):
    """`preprocess_prompt(ctl, message)`."""

    name = "preprocess_prompt"
    start_type = PluginsChannelSetPromptPreprocessorToClientPacketPreprocess

    def _arguments(self, controller: Any, packet: Any) -> tuple[Any, ...]:
        return controller, packet.input

    def _answer(self, packet: Any, result: Any) -> Any:
        return PluginsChannelSetPromptPreprocessorToServerPacketComplete(
            task_id=packet.task_id, processed=_processed(packet.input, result)
        )


def _processed(message: AnyChatMessage, result: Any) -> AnyChatMessage:
    """The message that goes on, from what the hook has returned.

    Raises:
        LMStudioPluginRuntimeError: it is none.
    """
    if result is None:
        return message  # as it is, or as the hook has changed it
    if isinstance(result, str):
        message.replace_text(result)
        return message
    try:
        chat = Chat()
        return chat.append(result)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise LMStudioPluginRuntimeError(
            f"It returned {result!r:.80}, which is no message. Return a text, a message, or None to leave the message "
            "as it is."
        ) from error


class PredictionLoopHook(ProcessingHook):
    """`handle_prediction_loop(ctl)`."""

    name = "handle_prediction_loop"
    start_type = PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop

    def _arguments(self, controller: Any, packet: Any) -> tuple[Any, ...]:  # noqa: ARG002 (all is in the controller)
        return (controller,)


class GeneratorHook(TaskHook):
    """`generate_tokens(ctl, history)`, or `generate_tokens(ctl)`."""

    name = "generate_tokens"
    start_type = PluginsChannelSetGeneratorToClientPacketGenerate

    def _arguments(self, controller: Any, packet: Any) -> tuple[Any, ...]:
        if _takes_two(self._function):
            return controller, Chat.from_history(packet.input)
        return (controller,)


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


TASK_HOOKS: tuple[type[TaskHook], ...] = (PromptPreprocessorHook, PredictionLoopHook, GeneratorHook)
