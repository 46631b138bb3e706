"""The one entry to plugins, for every surface of this server: the native protocol, the page's chat, HTTP."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lmstudio._sdk_models import (
    PluginsChannelSetGeneratorToClientPacketGenerate,
    PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    PluginsChannelSetPromptPreprocessorToClientPacketPreprocess,
)
from lmstudio.server.plugins.registry import START_SECONDS, PluginRegistry
from lmstudio.server.plugins.runs import GeneratorRun
from lmstudio.server.plugins.tool_sessions import ToolSession
from lmstudio.server.plugins.turns import (
    EMPTY_CONFIG,
    NameSuggestion,
    Turn,
    TurnItem,
    TurnRun,
    Turns,
    TurnSettings,
    task_members,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from lmstudio._sdk_models import AnyChatMessage, AvailablePluginInfo, ChatHistoryData, KvConfig, LlmTool
    from lmstudio.server.auth import IssuedCredentials
    from lmstudio.server.plugins.hooks import Hook, HookKind

__all__ = ["NameSuggestion", "PluginHost", "Turn", "TurnItem", "TurnSettings"]


class PluginHost:
    """Lets plugins work: tools, generators, prompt preprocessors and prediction loop handlers.

    What comes from a plugin is read with `async with` and `async for`; leaving the block ends the plugin's work.

        with host.turn(message, settings) as turn:
            async with host.preprocess("me/shout", turn) as run:
                async for update in run: ...
            async with host.run_loop("me/agent", turn) as run:
                async for update in run: ...
    """

    def __init__(self, credentials: IssuedCredentials, start_seconds: float = START_SECONDS) -> None:
        """*credentials* are those that plugins' processes connect with. *start_seconds* a plugin may take to start."""
        self.registry: PluginRegistry = PluginRegistry(credentials)
        self.turns: Turns = Turns()
        self.global_configs: dict[str, KvConfig] = {}
        """What users have set for each plugin, by its identifier, that does not belong to a chat."""
        self._start_seconds = start_seconds

    async def kinds(self, plugin_identifier: str) -> frozenset[HookKind]:
        """What hooks a plugin has.

        Raises:
            RequestError: there is no such plugin, or its process did not start in time.
        """
        return await self.registry.find(plugin_identifier).kinds(self._start_seconds)

    def tools(
        self, plugin_identifier: str, config: KvConfig = EMPTY_CONFIG, working_directory: str | None = None
    ) -> ToolSession:
        """The tools of a plugin, for an `async with`."""
        return ToolSession(
            plugin_identifier,
            self._hook_finder(plugin_identifier, "toolsProvider"),
            config,
            self._global_config(plugin_identifier),
            working_directory,
        )

    def generate(
        self,
        plugin_identifier: str,
        history: ChatHistoryData,
        tools: Sequence[LlmTool] = (),
        config: KvConfig = EMPTY_CONFIG,
        working_directory: str | None = None,
    ) -> GeneratorRun:
        """What a generator plugin answers to *history*."""

        def start(task_id: str) -> PluginsChannelSetGeneratorToClientPacketGenerate:
            return PluginsChannelSetGeneratorToClientPacketGenerate(
                task_id=task_id,
                input=history,
                plugin_config=config,
                global_plugin_config=self._global_config(plugin_identifier),
                tool_definitions=[*tools],
                working_directory_path=working_directory,
            )

        finder = self._hook_finder(plugin_identifier, "generator")
        return GeneratorRun(plugin_identifier, "generate text", finder, start)

    @contextmanager
    def turn(self, message: AnyChatMessage, settings: TurnSettings) -> Iterator[Turn]:
        """A message for `preprocess` and `run_loop`; plugins can speak about it until the block ends."""
        turn = Turn(message, settings)
        self.turns.add(turn)
        try:
            yield turn
        finally:
            self.turns.remove(turn)

    def preprocess(self, plugin_identifier: str, turn: Turn) -> TurnRun:
        """Let a plugin change the message of *turn*. Yields what the plugin shows; `turn.message` is the result."""

        def start(task_id: str) -> PluginsChannelSetPromptPreprocessorToClientPacketPreprocess:
            members = self._task_members(plugin_identifier, turn)
            return PluginsChannelSetPromptPreprocessorToClientPacketPreprocess(
                task_id=task_id, input=turn.message, **members
            )

        finder = self._hook_finder(plugin_identifier, "promptPreprocessor")
        return TurnRun(plugin_identifier, "preprocess a message", turn, finder, start)

    def run_loop(self, plugin_identifier: str, turn: Turn) -> TurnRun:
        """Let a plugin write the answer to *turn*. Yields the answer as it grows, and what else the plugin shows."""

        def start(task_id: str) -> PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop:
            members = self._task_members(plugin_identifier, turn)
            return PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop(task_id=task_id, **members)

        finder = self._hook_finder(plugin_identifier, "predictionLoopHandler")
        return TurnRun(plugin_identifier, "answer a message", turn, finder, start)

    def _hook_finder(self, plugin_identifier: str, kind: HookKind) -> Callable[[], Awaitable[Hook]]:
        async def find() -> Hook:
            return await self.registry.find(plugin_identifier).hook(kind, self._start_seconds)

        return find

    def _global_config(self, plugin_identifier: str) -> KvConfig:
        return self.global_configs.get(plugin_identifier, EMPTY_CONFIG)

    def _task_members(self, plugin_identifier: str, turn: Turn) -> dict[str, Any]:
        enabled = turn.settings.enabled_plugins
        infos: list[AvailablePluginInfo] = [
            plugin.info() for plugin in self.registry.all() if plugin.identifier in enabled
        ]
        return task_members(turn, plugin_identifier, self._global_config(plugin_identifier), infos)
