"""What a plugin serves over an open channel, and errors that plugins report."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

import msgspec

from lmstudio.server.errors import RequestError

if TYPE_CHECKING:
    from lmstudio._sdk_models import SerializedLMSExtendedError
    from lmstudio.server._port import ServerChannel

__all__ = ["HOOK_NOUNS", "MAX_TASKS", "Hook", "HookKind", "HookTask", "plugin_error", "plugin_lost"]

HookKind: TypeAlias = Literal["promptPreprocessor", "predictionLoopHandler", "toolsProvider", "generator"]
HOOK_NOUNS: Final[dict[HookKind, str]] = {
    "promptPreprocessor": "prompt preprocessor",
    "predictionLoopHandler": "prediction loop handler",
    "toolsProvider": "tools provider",
    "generator": "generator",
}
MAX_TASKS: Final = 1000
"""Tasks, or sessions, that one hook may have at the same time."""


class HookTask(Protocol):
    """One task or session that a hook works on."""

    def receive(self, packet: Any) -> None:
        """The plugin has answered."""

    def fail(self, error: RequestError) -> None:
        """The plugin is gone."""

    def receive_invalid(self, packet: dict[str, Any], error: RequestError) -> None:
        """The plugin has answered with something that cannot be used."""


class Hook:
    """One open hook channel: it carries the packets of many tasks, and gives each answer to the task that it is for."""

    def __init__(self, plugin_identifier: str, kind: HookKind, channel: ServerChannel[Any, Any]) -> None:
        self.plugin_identifier = plugin_identifier
        self.kind: HookKind = kind
        self._channel = channel
        self._tasks: dict[str, HookTask] = {}
        channel.listen(self._receive, self._receive_invalid)

    def begin(self, task: HookTask) -> str:
        """The identifier under which *task* gets its answers, until `end`.

        Raises:
            RequestError: the plugin has too much to do, or is gone.
        """
        if not self._channel.is_open:
            raise plugin_lost(self.plugin_identifier)
        if len(self._tasks) >= MAX_TASKS:
            raise RequestError(
                f"The {HOOK_NOUNS[self.kind]} of the plugin {self.plugin_identifier!r} has {MAX_TASKS} tasks already, "
                "which is the limit",
                suggestion="Wait for some of them to end before you start more.",
            )
        identifier = secrets.token_hex(8)
        self._tasks[identifier] = task
        return identifier

    def send(self, packet: Any) -> None:
        """Queue *packet* for the plugin."""
        self._channel.send(packet)

    def end(self, identifier: str) -> None:
        """Forget a task; what the plugin still says about it is ignored."""
        self._tasks.pop(identifier, None)

    def close(self) -> None:
        """The channel is over: all tasks fail."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.fail(plugin_lost(self.plugin_identifier))

    def _receive(self, packet: Any) -> None:
        identifier = packet.session_id if self.kind == "toolsProvider" else packet.task_id
        task = self._tasks.get(identifier)
        # One that is unknown has been given up: the plugin's last words and our abort have crossed.
        if task is not None:
            task.receive(packet)

    def _receive_invalid(self, raw: bytes, problem: Exception) -> None:
        """Let those who wait for an answer know that there will be none."""
        try:
            packet = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return  # for nobody in particular
        # What is of a kind that a later version has is not the answer that anybody waits for.
        kinds = {kind.__struct_config__.tag for kind in get_args(self._channel.spec.to_server_type)}
        task = self._tasks.get(str(packet.get("sessionId" if self.kind == "toolsProvider" else "taskId")))
        if task is not None and packet.get("type") in kinds:
            title = f"The plugin {self.plugin_identifier!r} gave an answer that is not valid: {packet['type']}"
            task.receive_invalid(packet, RequestError(title, cause=str(problem)))


def plugin_lost(plugin_identifier: str) -> RequestError:
    """What is said to those who use a plugin when it goes."""
    return RequestError(
        f"The plugin {plugin_identifier!r} has gone",
        cause="Its process has ended or disconnected, or whoever registered it has withdrawn it.",
        suggestion="Start the plugin again, and repeat the request.",
    )


def plugin_error(plugin_identifier: str, attempted: str, error: SerializedLMSExtendedError) -> RequestError:
    """An error that a plugin reported, for those who use it. *attempted* is what the plugin was asked to do."""
    where = f"The plugin {plugin_identifier!r} failed to {attempted}."
    return RequestError(
        error.title or error.root_title or where.removesuffix("."),
        cause=error.cause or where,
        suggestion=error.suggestion,
        display_data=error.display_data,
        error_data=error.error_data,
    )
