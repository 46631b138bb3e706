"""A server, and plugins of this package that run in threads of this process."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from patience import PATIENCE_SECONDS
from peer.plugin_session import PluginCore
from plugin_kit import config, turn_settings, user_message

from lmstudio import Client
from lmstudio._sdk_models import KvConfig, PluginManifest
from lmstudio.plugin import run_plugin_async
from lmstudio.server import ScriptedEngine, Server

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    import pytest

    from lmstudio.server.plugins.host import PluginHost, TurnItem


def write_plugin(folder: Path, source: str, name: str = "helper", **manifest: Any) -> Path:
    """A plugin in *folder* with this code."""
    (folder / "src").mkdir(parents=True, exist_ok=True)
    members = {"type": "plugin", "runner": "python", "owner": "me", "name": name, **manifest}
    (folder / "manifest.json").write_text(json.dumps(members), encoding="utf-8")
    (folder / "src" / "plugin.py").write_text(source, encoding="utf-8")
    return folder


class InThread:
    """A coroutine that runs in a loop of its own."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self.error: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(work)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:
            self.error = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def cancel(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join()


class RunningStage:
    """The server, what it knows about plugins, and what a chat window does with them."""

    def __init__(self, server: Server, core: PluginCore, engine: ScriptedEngine, owner: str) -> None:
        self.owner = owner
        self.server = server
        self.engine = engine
        self.core = core
        self.host: PluginHost = core.plugins
        self.within = core.within

    @contextmanager
    def registered(self, monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
        """The server has given credentials to a plugin, which are in the environment."""
        registration = self.host.registry.registered(PluginManifest(runner="node", owner=self.owner, name=name))

        async def begin() -> Any:
            return registration.__enter__()

        async def end() -> None:
            registration.__exit__(None, None, None)

        plugin = self.within(begin)
        monkeypatch.setenv("LMS_PLUGIN_CLIENT_IDENTIFIER", plugin.client_identifier)
        monkeypatch.setenv("LMS_PLUGIN_CLIENT_PASSKEY", plugin.client_passkey)
        monkeypatch.setenv("LMS_PLUGIN_BASE_URL", f"ws://{self.server.api_host}")
        try:
            yield
        finally:
            self.within(end)

    @contextmanager
    def running(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str = "helper", **options: Any
    ) -> Iterator[InThread]:
        """The plugin in *folder* runs, and is ready."""
        ready = threading.Event()
        with self.registered(monkeypatch, name):
            work = InThread(run_plugin_async(folder, on_ready=lambda _: ready.set(), **options))
            try:
                while not ready.wait(0.05):
                    assert work._thread.is_alive(), work.error
                yield work
            finally:
                work.cancel()

    # What applications do --------------------------------------------------------------------------------------------

    def preprocess(self, text: str, plugin: str = "me/helper", **settings: Any) -> tuple[str, list[TurnItem]]:
        """The message that the plugin makes of *text*, and what it has shown meanwhile."""

        async def run() -> tuple[str, list[TurnItem]]:
            with self.host.turn(user_message(text), turn_settings(**settings)) as turn:
                async with self.host.preprocess(plugin, turn) as work:
                    shown = [item async for item in work]
                return turn.message.content[0].text, shown  # type: ignore[union-attr]

        return self.within(run)

    def call(self, *calls: tuple[str, dict[str, Any]], plugin: str = "me/helper", **settings: Any) -> list[Any]:
        """The results of tools, or their errors, and last what they have reported; all at the same time."""
        said: list[str] = []

        async def run() -> list[Any]:
            async with self.host.tools(plugin, KvConfig.from_dict(config(**settings))) as session:
                results = await asyncio.gather(
                    *(
                        session.call(name, arguments, on_status=said.append, on_warn=said.append)
                        for name, arguments in calls
                    ),
                    return_exceptions=True,
                )
            return [*results, said]

        return self.within(run)


@contextmanager
def running_stage(owner: str = "me", port: int = 0) -> Iterator[RunningStage]:
    """*owner* is that of the plugins."""
    engine = ScriptedEngine()
    core = PluginCore(engine)
    with ExitStack() as stack:
        server = stack.enter_context(Server.for_core(core, port=port))
        # The loop is known from the first connection on.
        with Client(server.api_host) as client:
            client.system.list_downloaded_models()
        yield RunningStage(server, core, engine, owner)
