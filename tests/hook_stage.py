"""A server whose plugin does nothing but hand the tasks of its hooks to a test, which works on them itself."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from patience import PATIENCE_SECONDS
from peer.plugin_session import ADD, FAILURE, MANIFEST, PluginCore, Wire
from plugin_kit import turn_settings, user_message

from lmstudio._sdk_models import (
    ChatHistoryData,
    PluginsChannelSetGeneratorToClientPacketGenerate,
    PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    PluginsChannelSetPromptPreprocessorToClientPacketPreprocess,
)
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lmstudio._sdk_models import ProcessingRequest, ProcessingRequestResponse
    from lmstudio.server.plugins.turns import Ask, TurnItem

    Answer = Callable[[ProcessingRequest], ProcessingRequestResponse | None]

HELPER = "me/helper"
_STARTS: dict[str, tuple[str, Any]] = {
    "preprocess": ("setPromptPreprocessor", PluginsChannelSetPromptPreprocessorToClientPacketPreprocess),
    "handlePredictionLoop": (
        "setPredictionLoopHandler",
        PluginsChannelSetPredictionLoopHandlerToClientPacketHandlePredictionLoop,
    ),
    "generate": ("setGenerator", PluginsChannelSetGeneratorToClientPacketGenerate),
}


def _asking(answer: Answer) -> Ask:
    async def ask(request: ProcessingRequest) -> ProcessingRequestResponse:
        found = answer(request)
        if found is None:
            await asyncio.Event().wait()  # the end of the work cancels it
        assert found is not None
        return found

    return ask


class HookWork:
    """A task of a hook, and what its host has heard of it."""

    def __init__(self, task: Any, plugin: Wire, hook: int) -> None:
        self.task = task
        self._plugin, self._hook = plugin, hook
        self.items: list[Any] = []
        """What has come to the host. Complete when the work is over."""

    def send(self, packet: Any) -> None:
        """Pass a packet of the plugin on to its host."""
        members = packet.to_dict()
        self._plugin.say(self._hook, members.pop("type"), **members)

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The items that are updates, as they were on the wire."""
        return [item.to_dict() for item in self.items if hasattr(item, "to_dict")]


class HookStage:
    """The server and the process of its plugin."""

    def __init__(self, server: Server, core: PluginCore, engine: ScriptedEngine, stack: ExitStack) -> None:
        self.api_host = server.api_host
        self.engine = engine
        self.core = core
        developer = Wire(stack, server.api_host, "a developer")
        ready = developer.hear(developer.open("registerDevelopmentPlugin", {"manifest": MANIFEST}), "ready")
        self._plugin = Wire(stack, server.api_host, ready["clientIdentifier"], ready["clientPasskey"])
        self._hooks = {kind: self._plugin.open(endpoint) for kind, (endpoint, _) in _STARTS.items()}
        self._tools = self._plugin.open("setToolsProvider")
        self._plugin.call("pluginInitCompleted")

    @contextmanager
    def work(
        self, kind: str = "handlePredictionLoop", answer: Answer | None = None, **settings: Any
    ) -> Iterator[HookWork]:
        """A task of the hook *kind*, which is complete when the block ends. The user answers with *answer*, None for
        never."""
        items: list[TurnItem] = []
        if answer is not None:
            settings["ask"] = _asking(answer)
        working = self.core.begin(lambda: self._host(kind, settings, items))
        hook = self._hooks[kind]
        packet = self._plugin.hear(hook, kind)
        work = HookWork(_STARTS[kind][1].from_dict(packet), self._plugin, hook)
        work.items = items
        try:
            yield work
        finally:
            processed = {"processed": packet["input"]} if kind == "preprocess" else {}
            self._plugin.say(hook, "complete", taskId=packet["taskId"], **processed)
            working.result(PATIENCE_SECONDS)

    @contextmanager
    def generating(self, text: str) -> Iterator[list[dict[str, Any]]]:
        """Meanwhile, the plugin generates *text* once. Yields what it is asked."""
        asked: list[dict[str, Any]] = []

        def generate() -> None:
            hook = self._hooks["generate"]
            asked.append(self._plugin.hear(hook, "generate"))
            task = asked[0]["taskId"]
            self._plugin.say(hook, "fragmentGenerated", taskId=task, content=text, opts={})
            self._plugin.say(hook, "complete", taskId=task)

        with self._meanwhile(generate):
            yield asked

    @contextmanager
    def providing_tools(self, *, fails: bool = False) -> Iterator[list[dict[str, Any]]]:
        """Meanwhile, the plugin offers a tool, and answers one call with 3. Yields what it is asked."""
        asked: list[dict[str, Any]] = []

        def provide() -> None:
            hook = self._tools
            asked.append(self._plugin.hear(hook, "initSession"))
            session = asked[0]["sessionId"]
            if fails:
                self._plugin.say(hook, "sessionInitializationFailed", sessionId=session, error=FAILURE)
                return
            self._plugin.say(hook, "sessionInitialized", sessionId=session, toolDefinitions=[ADD])
            asked.append(self._plugin.hear(hook, "callTool"))
            call = asked[1]["callId"]
            self._plugin.say(hook, "toolCallComplete", sessionId=session, callId=call, result=3)
            asked.append(self._plugin.hear(hook, "discardSession"))

        with self._meanwhile(provide):
            yield asked

    @contextmanager
    def _meanwhile(self, work: Callable[[], None]) -> Iterator[None]:
        # The test must leave the plugin alone: its connection is for one thread at a time.
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(work)
            yield
            running.result(PATIENCE_SECONDS)

    async def _host(self, kind: str, settings: dict[str, Any], items: list[Any]) -> None:
        plugins = self.core.plugins
        if kind == "generate":
            async with plugins.generate(HELPER, ChatHistoryData(messages=[user_message("Hi")]), **settings) as run:
                items.extend([item async for item in run])
            return
        with plugins.turn(user_message("Hi"), turn_settings(**settings)) as turn:
            start = plugins.preprocess if kind == "preprocess" else plugins.run_loop
            async with start(HELPER, turn) as running:
                items.extend([item async for item in running])


@contextmanager
def hook_stage() -> Iterator[HookStage]:
    engine = ScriptedEngine()
    core = PluginCore(engine)
    with Server.for_core(core) as server, ExitStack() as stack:
        yield HookStage(server, core, engine, stack)
