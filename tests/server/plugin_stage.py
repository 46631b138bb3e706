"""A server without sockets, plugins whose every word the test says, and those who use them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from native_client import Session, staged

from lmstudio._endpoints import plugins

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from native_client import OpenChannel

    from lmstudio.server.core import ServerCore
    from lmstudio.server.plugins.host import PluginHost

NO_CONFIG: dict[str, Any] = {"fields": []}
DIRECT = {"type": "direct", "config": NO_CONFIG}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    },
}
FAILURE = {"title": "No luck", "rootTitle": "No luck", "cause": "The dice."}
HISTORY = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}


def manifest(name: str = "helper", **members: Any) -> dict[str, Any]:
    return {"manifest": {"type": "plugin", "runner": "node", "owner": "me", "name": name, **members}}


class PluginProcess:
    """The process of a plugin, once it is connected."""

    def __init__(self, session: Session, identifier: str) -> None:
        self.session = session
        self.identifier = identifier

    async def init_completed(self) -> None:
        await self.session.call(plugins.PLUGIN_INIT_COMPLETED)

    def provide_tools(self) -> OpenChannel:
        return self.session.open(plugins.SET_TOOLS_PROVIDER)

    def generate(self) -> OpenChannel:
        return self.session.open(plugins.SET_GENERATOR)

    def preprocess(self) -> OpenChannel:
        return self.session.open(plugins.SET_PROMPT_PREPROCESSOR)

    def handle_loop(self) -> OpenChannel:
        return self.session.open(plugins.SET_PREDICTION_LOOP_HANDLER)

    async def process(self, spec: Any, task: dict[str, Any], **members: Any) -> Any:
        """A call that a hook makes while it works on *task*."""
        return await self.session.call(spec, {"pci": task["pci"], "token": task["token"], **members})

    def say(self, spec: Any, task: dict[str, Any], **members: Any) -> asyncio.Future[dict[str, Any]]:
        """As `process`, without waiting for the answer."""
        return self.session.begin(spec, {"pci": task["pci"], "token": task["token"], **members})


class PluginStage:
    """A server, and clients of its namespace plugins."""

    def __init__(self, core: ServerCore, clients: AsyncExitStack) -> None:
        self.core = core
        self.host: PluginHost = core.plugins
        self._clients = clients
        self.user = self.connect("a user")
        self.developer = self.connect("a developer")

    def connect(self, client_identifier: str) -> Session:
        session = Session(self.core, "plugins", client_identifier=client_identifier)
        self._clients.push_async_callback(session.hang_up)
        return session

    async def register(self, name: str = "helper") -> tuple[OpenChannel, dict[str, Any]]:
        """The registration, and the credentials that it gave."""
        registration = self.developer.open(plugins.REGISTER_DEVELOPMENT_PLUGIN, manifest(name))
        ready = await registration.next()
        assert ready is not None
        return registration, ready

    async def start(self, name: str = "helper") -> PluginProcess:
        """A registered plugin whose process is connected and has no hooks yet."""
        _, ready = await self.register(name)
        return PluginProcess(self.connect(ready["clientIdentifier"]), f"me/{name}")

    def use_tools(self, session: Session | None = None, **members: Any) -> OpenChannel:
        parameter = {"pluginIdentifier": "me/helper", "pluginConfigSpecifier": DIRECT, **members}
        return (session or self.user).open(plugins.START_TOOL_USE_SESSION, parameter)

    def use_generator(self, **members: Any) -> OpenChannel:
        parameter = {
            "pluginIdentifier": "me/helper",
            "pluginConfigSpecifier": DIRECT,
            "tools": [],
            "history": HISTORY,
            **members,
        }
        return self.user.open(plugins.GENERATE_WITH_GENERATOR, parameter)


@asynccontextmanager
async def plugin_stage() -> AsyncIterator[PluginStage]:
    async with staged() as stage, AsyncExitStack() as clients:
        yield PluginStage(stage.core, clients)
