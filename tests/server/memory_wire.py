"""The server on wires in memory, for fuzzing: the tests do it with hypothesis, `tools/fuzz.py` with atheris.

Both end with the same questions: did anything raise, did anything go on for ever, was every answer one of the protocol?
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from native_client import ANY_MODEL, NO_LAYERS
from patience import PATIENCE_SECONDS

from lmstudio import _wire
from lmstudio.server._port import ClientContext, ServerPort
from lmstudio.server.app import AppSettings, Core
from lmstudio.server.catalog import Catalog
from lmstudio.server.core import ServerCore
from lmstudio.server.engine.scripted import ScriptedEngine, scripted_models
from lmstudio.server.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

_HISTORY = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}
_PREDICTION = {"modelSpecifier": ANY_MODEL, "predictionConfigStack": NO_LAYERS}
_LOAD = {"modelKey": "scripted-chat", "identifier": "mine", "loadConfigStack": NO_LAYERS}
_SCHEMA = {
    "layerName": "apiOverride",
    "config": {
        "fields": [
            {
                "key": "llm.prediction.structured",
                "value": {"type": "json", "jsonSchema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
            },
            {"key": "llm.prediction.stopStrings", "value": ["."]},
            {"key": "llm.prediction.maxPredictedTokens", "value": {"checked": True, "value": 5}},
        ]
    },
}


def _call(endpoint: str, parameter: object = None) -> dict[str, Any]:
    return {"type": "rpcCall", "endpoint": endpoint, "callId": 1, "parameter": parameter}


def _create(endpoint: str, parameter: object = None) -> dict[str, Any]:
    return {"type": "channelCreate", "endpoint": endpoint, "channelId": 1, "creationParameter": parameter}


def _void(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}


_MODELS = [
    _call("listLoaded"),
    _call("getModelInfo", {"specifier": ANY_MODEL, "throwIfNotFound": False}),
    _call("getLoadConfig", {"specifier": ANY_MODEL}),
    _call("getBasePredictionConfig", {"specifier": ANY_MODEL}),
    _call("estimateModelUsage", {"modelKey": "scripted-chat", "loadConfigStack": NO_LAYERS}),
    _call("tokenize", {"specifier": ANY_MODEL, "inputString": "a b"}),
    _call("countTokens", {"specifier": {"type": "instanceReference", "instanceReference": "x"}, "inputString": "a"}),
    _call("unloadModel", {"identifier": "mine"}),
    _create("loadModel", _LOAD),
    _create("getOrLoad", {"identifier": "scripted-chat", "loadConfigStack": NO_LAYERS}),
]
_FRAMEWORK: list[dict[str, Any]] = [
    {"type": "keepAlive"},
    {"type": "communicationWarning", "warning": "what?"},
    {"type": "channelSend", "channelId": 1, "message": {"type": "cancel"}},
    {"type": "channelAck", "channelId": 1, "ackId": 1},
    {"type": "signalSubscribe", "endpoint": "x", "subscribeId": 1},
    {"type": "writableSignalSubscribe", "endpoint": "x", "subscribeId": 1},
    {"type": "signalUnsubscribe", "subscribeId": 1},
    {"authVersion": 1, "clientIdentifier": "me", "clientPasskey": "secret"},
]
MESSAGES: dict[str, list[dict[str, Any]]] = {
    namespace: [_void(message) for message in [*_FRAMEWORK, *messages]]
    for namespace, messages in {
        "llm": [
            *_MODELS,
            _call("applyPromptTemplate", {"specifier": ANY_MODEL, "history": _HISTORY, "opts": {}, **_PREDICTION}),
            _create("predict", {"history": _HISTORY, **_PREDICTION}),
            _create("predict", {"history": _HISTORY, **_PREDICTION, "predictionConfigStack": {"layers": [_SCHEMA]}}),
            _create("completeRawText", {"rawPrompt": "Once", **_PREDICTION}),
        ],
        "embedding": [*_MODELS, _call("embedString", {"modelSpecifier": ANY_MODEL, "inputString": "a"})],
        "system": [
            _call("version"),
            _call("info"),
            _call("listDownloadedModels"),
            _call("notify", {"title": "a", "description": "b"}),
            _call("setExperimentFlag", {"code": "a", "value": True}),
            _call("getExperimentFlags"),
            _call("requestShutdown"),
            _call("startHttpServer", {"port": 1}),
            _create("alive"),
        ],
        "files": [
            _call("uploadFileBase64", {"name": "a.txt", "contentBase64": "aGFsbG8="}),
            _call("getLocalFileAbsolutePath", {"fileName": "a.txt"}),
            _call("getDocumentParsingLibrary", {"fileIdentifier": "a"}),
            _create("parseDocument", {"fileIdentifier": "a", "parseOpts": {}}),
            _create("retrieve", {"query": "a", "fileIdentifiers": ["a"], "config": {"fields": []}}),
        ],
        "repository": [
            _call("searchModels", {"opts": {"searchTerm": "pebble", "limit": 3}}),
            _call("getModelDownloadOptions", {"modelSearchResultIdentifier": {"type": "hf", "identifier": "a/b"}}),
            _create("downloadModel", {"downloadIdentifier": "a"}),
            _create(
                "createDownloadPlan",
                {"target": {"type": "model", "source": {"type": "huggingface", "user": "a", "repo": "b"}}, "opts": {}},
            ),
            _create("pushArtifact", {"path": "a"}),
            _call("getLocalArtifactFiles", {"path": "/a"}),
            _call("fuzzyFindStaffPicks", {"searchTerm": "a", "limit": 1}),
            _call("lmLinkSetDisabled", {"disabled": True}),
        ],
        "diagnostics": [_create("streamLogs")],
        "runtime": [
            _call("listEngines"),
            _call("getEngineSelections", {"json": None, "meta": {"values": ["undefined"]}}),
            _call("selectEngine", {"engine": {"name": "a", "version": "1"}, "modelFormatName": "GGUF"}),
            _call("surveyHardware", {"type": "custom", "engines": [{"name": "a", "version": "1"}]}),
            _create("downloadRuntimeExtension", {"name": "a", "version": "1", "updateSelections": True}),
        ],
        "plugins": [
            _call("reindexPlugins"),
            _call("processingHasStatus", {"pci": "a", "token": "b"}),
            _call(
                "processingHandleUpdate", {"pci": "a", "token": "b", "update": {"type": "setSenderName", "name": "c"}}
            ),
            _call("setConfigSchematics", {"schematics": {"fields": []}}),
            _create(
                "registerDevelopmentPlugin",
                {"manifest": {"type": "plugin", "runner": "node", "owner": "me", "name": "helper"}},
            ),
            _create("setGenerator"),
            _create(
                "startToolUseSession",
                {
                    "pluginIdentifier": "me/helper",
                    "pluginConfigSpecifier": {"type": "direct", "config": {"fields": []}},
                },
            ),
        ],
    }.items()
}


def new_core() -> ServerCore:
    return ServerCore(ScriptedEngine(), Catalog(scripted_models()))


async def exchange(namespace: str, messages: Iterable[bytes | str]) -> list[dict[str, Any]]:
    """What a server without sockets answers to *messages*, which are the first after authentication."""
    core = new_core()
    sent: list[bytes] = []
    tasks: list[asyncio.Task[None]] = []
    calls: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        tasks.append(task)
        if "_run_call" in getattr(work, "__qualname__", ""):
            calls.append(task)
        return task

    port = ServerPort(namespace, core.handlers(namespace), ClientContext("me"), spawn, sent.append)
    asked: Counter[int] = Counter()
    try:
        for message in messages:
            port.receive(message)
            asked.update(_call_ids(message))
            await asyncio.sleep(0)
        await _finish(calls, "calls were not answered")
    finally:
        port.close()
        await _finish(tasks, "handlers did not end with their connection")
        await core.aclose()
    for frame in sent:
        _wire.decode_server_message(frame)
    answers: list[dict[str, Any]] = [json.loads(frame) for frame in sent]
    answered = Counter(answer["callId"] for answer in answers if answer["type"] in ("rpcResult", "rpcError"))
    assert answered == asked, f"{asked} was asked, {answered} was answered"
    return answers


def _call_ids(message: bytes | str) -> list[int]:
    try:
        decoded = _wire.decode_client_message(message)
    except (ValueError, RecursionError):  # what msgspec raises is among them
        return []
    return [decoded.call_id] if isinstance(decoded, _wire.RpcCall) else []


async def _finish(tasks: Sequence[asyncio.Task[None]], complaint: str) -> None:
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        assert not pending, complaint


class MemoryTransport(asyncio.Transport):
    """The server's end of a connection. Its peer takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_paused = False
        self._is_closing = False
        self._protocol: asyncio.BaseProtocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_closing:
            self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            # The protocol of that time: it may be about to change, as in asyncio's own transports.
            asyncio.get_running_loop().call_soon(lambda: self._protocol.connection_lost(None))

    abort = close


class MemoryServer:
    """HTTP, WebSockets, authentication and all, in the running event loop."""

    def __init__(self, core: Core, settings: AppSettings | None = None) -> None:
        listener = Listener(core, settings or AppSettings(), lambda: None)
        listener.config.load()
        self._config = listener.config
        self._state = listener.server_state

    async def converse(self, chunks: Iterable[bytes]) -> bytes:
        """What the server writes to a peer that sends *chunks* and goes away."""
        transport = MemoryTransport()
        protocol_class: Any = self._config.http_protocol_class
        protocol = protocol_class(config=self._config, server_state=self._state, app_state={})
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for chunk in filter(None, chunks):  # an event loop never delivers nothing
            await _turns(transport)
            if transport.is_closing():
                break
            current: Any = transport.get_protocol()
            current.data_received(chunk)
        await _turns(transport)
        transport.close()
        await asyncio.sleep(0)
        await _finish([*self._state.tasks], "the application did not end with its connection")
        assert not self._state.connections, "the connection was not forgotten"
        return bytes(transport.written)


async def _turns(transport: MemoryTransport) -> None:
    """Let the server do what it can do at once, and go on until it reads again."""
    for _ in range(12):
        await asyncio.sleep(0)
    for _ in range(10_000):
        if not transport.is_paused or transport.is_closing():
            return
        await asyncio.sleep(0)
    raise AssertionError("the server does not read any more")
