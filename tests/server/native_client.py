"""A server without sockets and a client that speaks frames to it, for the tests of the native namespaces."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from lmstudio._endpoints import ChannelSpec, Rpc, embedding, llm
from lmstudio.server._port import ClientContext, ServerPort
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from lmstudio.server.engine.base import ModelFile


CHAT, EMBED = scripted_models()
OTHER = replace(CHAT, model_key="other-chat", path="maker/other-GGUF/other-Q4_K_M.gguf", publisher="maker")
ABSENT: Any = object()
ANY_MODEL = {"type": "query", "query": {}}
NO_LAYERS: dict[str, Any] = {"layers": []}


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["title"])
        self.error = error
        self.code = error.get("displayData", {}).get("code")


class OpenChannel:
    """A channel of the client. Packets are decoded strictly, by the client's own types, and kept as JSON."""

    def __init__(self, session: Session, id: int, spec: ChannelSpec[Any, Any, Any]) -> None:
        self._session = session
        self._id = id
        self._spec = spec
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def send(self, packet: dict[str, Any]) -> None:
        self._session.receive({"type": "channelSend", "channelId": self._id, "message": packet})

    async def next(self) -> dict[str, Any] | None:
        """The next packet; None once the channel is closed."""
        message = await self.messages.get()
        if message["type"] == "channelError":
            raise Refused(message["error"])
        if message["type"] == "channelClose":
            return None
        self._spec.decode_to_client(msgspec.json.encode(message["message"]))
        packet: dict[str, Any] = message["message"]
        return packet

    async def rest(self) -> list[dict[str, Any]]:
        """All packets until the channel is closed."""
        packets = []
        while (packet := await self.next()) is not None:
            packets.append(packet)
        return packets


class Session:
    """A client's connection to one namespace."""

    def __init__(
        self, core: ServerCore, namespace: str, *, is_privileged: bool = False, client_identifier: str = "tester"
    ) -> None:
        self.context = ClientContext(client_identifier, is_privileged, base_url="ws://127.0.0.1:1234")
        self.port = ServerPort(namespace, core.handlers(namespace), self.context, self._spawn, self._answer)
        self.warnings: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids = itertools.count()
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._channels: dict[int, OpenChannel] = {}

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        return task

    async def hang_up(self) -> None:
        """End the connection; all handlers have ended when this returns."""
        self.port.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.context.lifetime.end()

    def receive(self, message: dict[str, Any]) -> None:
        self.port.receive(msgspec.json.encode(message))

    def _answer(self, frame: bytes) -> None:
        message = msgspec.json.decode(frame)
        if message["type"] == "communicationWarning":
            self.warnings.append(message["warning"])
        elif "callId" in message:
            self._calls.pop(message["callId"]).set_result(message)
        else:
            self._channels[message["channelId"]].messages.put_nowait(message)

    def begin(self, spec: Rpc[Any, Any], parameter: Any = ABSENT) -> asyncio.Future[dict[str, Any]]:
        """Send a call; the answer, once it is there."""
        call_id = next(self._ids)
        self._calls[call_id] = answer = asyncio.get_running_loop().create_future()
        given = {} if parameter is ABSENT else {"parameter": parameter}
        self.receive({"type": "rpcCall", "endpoint": spec.name, "callId": call_id, **given})
        return answer

    async def call(self, spec: Rpc[Any, Any], parameter: Any = ABSENT) -> Any:
        """The result as JSON, after the client's own type has accepted it; ABSENT where there is none."""
        message = await self.begin(spec, parameter)
        if message["type"] == "rpcError":
            raise Refused(message["error"])
        result = message.get("result", ABSENT)
        if result is not ABSENT:
            spec.decode_result(msgspec.json.encode(result))
        return result

    def open(self, spec: ChannelSpec[Any, Any, Any], parameter: Any = ABSENT) -> OpenChannel:
        channel_id = next(self._ids)
        self._channels[channel_id] = channel = OpenChannel(self, channel_id, spec)
        given = {} if parameter is ABSENT else {"creationParameter": parameter}
        self.receive({"type": "channelCreate", "endpoint": spec.name, "channelId": channel_id, **given})
        return channel


class Stage:
    """A server without sockets, and clients for it."""

    def __init__(
        self, engine: ScriptedEngine, models: Sequence[ModelFile] = (CHAT, EMBED, OTHER), **settings: Any
    ) -> None:
        self.engine = engine
        self.core = ServerCore(engine, Catalog(models), **settings)
        self.llm = Session(self.core, "llm")
        self.embedding = Session(self.core, "embedding")
        self.system = Session(self.core, "system")

    async def load(self, key: str = "scripted-chat", session: Session | None = None, **members: Any) -> dict[str, Any]:
        """Load a model; its description."""
        endpoints = (embedding if session is self.embedding else llm).MODELS
        parameter = {"modelKey": key, "loadConfigStack": NO_LAYERS, **members}
        packets = await (session or self.llm).open(endpoints.load_model, parameter).rest()
        info: dict[str, Any] = packets[-1]["info"]
        return info

    def predict(self, text: str = "Hi", **members: Any) -> OpenChannel:
        history = {"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
        parameter = {"modelSpecifier": ANY_MODEL, "history": history, "predictionConfigStack": NO_LAYERS, **members}
        return self.llm.open(llm.PREDICT, parameter)


@asynccontextmanager
async def staged(engine: ScriptedEngine | None = None, **settings: Any) -> AsyncIterator[Stage]:
    stage = Stage(engine or ScriptedEngine(), **settings)
    try:
        yield stage
    finally:
        for session in (stage.llm, stage.embedding, stage.system):
            await session.hang_up()
        await stage.core.aclose()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def layers(**fields: Any) -> dict[str, Any]:
    named = [{"key": key.replace("__", "."), "value": value} for key, value in fields.items()]
    return {"layers": [{"layerName": "apiOverride", "config": {"fields": named}}]}


def fields_of(config: dict[str, Any]) -> dict[str, Any]:
    return {field["key"]: field["value"] for field in config["fields"]}


def get_or_load(session: Session, name: str, **members: Any) -> OpenChannel:
    endpoints = (embedding if session.port.namespace == "embedding" else llm).MODELS
    return session.open(endpoints.get_or_load, {"identifier": name, "loadConfigStack": NO_LAYERS, **members})


def types(packets: list[dict[str, Any]]) -> list[str]:
    return [packet["type"] for packet in packets]
