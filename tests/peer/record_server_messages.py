"""Records `tests/server_messages.json`: what the embedded server says in sessions that use every endpoint.

    PYTHONPATH=tests python -m peer.record_server_messages

`test_server_messages.py` fails when the server says something of another shape, and when an endpoint is missing.
"""

from __future__ import annotations

import json
import platform
import re
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from file_host import FileHost
from patience import PATIENCE_SECONDS
from sample_files import PNG, pdf
from server_messages import AUTHENTICATION, NO_ENDPOINT, Messages, shape, write_recording
from websockets.sync.client import connect

import lmstudio as lms
from lmstudio._endpoints.llm import COMPLETE_RAW_TEXT
from lmstudio._sdk_models import (
    KvConfigStack,
    LlmChannelCompleteRawTextCreationParameter,
    ModelQuery,
    ModelSpecifierQuery,
)
from lmstudio.json_api import run_blocking
from lmstudio.server import Reply, ScriptedEngine, Server
from lmstudio.server.engine.scripted import scripted_models
from lmstudio.server.models import EMBEDDING_MODEL_FILE

from .frame_relay import FrameRelay, RecordedFrame
from .frame_sessions import CHAT, EMBED, everything, fails, run_without_loop
from .plugin_session import PluginCore, use_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"
_ENDINGS = ("channelClose", "channelError", "rpcResult", "rpcError")


def record() -> dict[str, list[Messages]]:
    """Conversations of each endpoint that show everything the server can say in them."""
    found: dict[str, list[Messages]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sessions = (main_session(Path(folder)), _crowded_session(), _plugins(), _authentication(), _plain_frames())
        for frames in sessions:
            for endpoint, items in _conversations(frames).items():
                found.setdefault(endpoint, []).extend(items)
    return {endpoint: _varied(items) for endpoint, items in found.items()}


def main_session(folder: Path) -> list[RecordedFrame]:
    engine = ScriptedEngine()
    content = EMBEDDING_MODEL_FILE.read_bytes()
    chat, *others = scripted_models()
    models = [replace(chat, vision=True), *others]
    with FileHost(model=content) as host:
        files = [{"url": f"{host.url}/model", "name": "pebble-embed-0.8m-q8_0.gguf", "size": len(content)}]
        gone = [{"url": f"{host.url}/gone", "name": "gone-q4_0.gguf", "size": 10}]
        catalog = folder / "catalog.json"
        entries = [
            {"owner": "maker", "name": "pebble-GGUF", "files": files, "staffPick": True},
            {"owner": "maker", "name": "gone-GGUF", "files": gone},
        ]
        catalog.write_text(json.dumps({"models": entries}))
        with (
            Server(models, engine=engine, catalog=catalog, models_folder=folder / "models") as server,
            FrameRelay(server.api_host) as relay,
            lms.Client(relay.api_host) as client,
        ):
            run_without_loop(everything(client, engine))
            run_without_loop(_files(client, engine))
            run_without_loop(_repository(client))
            _rarities(client)
            _without_client(relay.api_host, client, folder)
    return relay.frames


def _crowded_session() -> list[RecordedFrame]:
    """A server that makes room for models, and has two of the same name."""
    chat, *others = scripted_models()
    twins = [replace(chat, model_key=f"twin-{name}", path=f"maker/twin/{name}.gguf") for name in ("q4", "q8")]
    with (
        Server([chat, *others, *twins], engine=ScriptedEngine(), evict_jit=True) as server,
        FrameRelay(server.api_host) as relay,
        lms.Client(relay.api_host) as client,
    ):
        client.embedding.model(EMBED)
        client.llm.model(CHAT)
        client.embedding.model(EMBED)
        client.llm.load_new_instance("maker/twin")
    return relay.frames


async def _files(client: Any, engine: ScriptedEngine) -> None:
    model = client.llm.model(CHAT)
    client.embedding.model(EMBED)
    text = client.prepare_file(b"Rome is in Italy.\n\nOslo is in Norway.\n\nParis is in France.\n", "facts.txt")
    document = client.prepare_file(pdf("Oslo is the capital of Norway."), "facts.pdf")
    image = client.prepare_image(PNG, "cat.png")
    engine.reply = Reply("A cat.")
    chat = lms.Chat()
    chat.add_user_message("What is this?", images=[image])
    model.respond(chat)
    chunks = {"chunk_size": 20, "chunk_overlap": 0}
    client.files.retrieve("Oslo", [text, document], chunking_method=chunks)
    client.files.retrieve("Oslo", [text])
    for file in (text, document):
        client.files.get_file_path(file)
        client.files.get_document_parsing_library(file)
        client.files.parse_document(file)
    absent = lms.FileHandle(name="x", identifier="local:absent.txt", size_bytes=1, file_type="text/plain")
    for operation in (client.files.get_file_path, client.files.get_document_parsing_library):
        await fails(lms.LMStudioServerError, operation, absent)
    await fails(lms.LMStudioServerError, client.files.parse_document, absent)
    await fails(lms.LMStudioServerError, client.files.retrieve, "Oslo", [absent])


async def _repository(client: Any) -> None:
    for found in client.repository.search_models():
        for option in found.get_download_options():
            if "gone" in option.name:
                await fails(lms.LMStudioServerError, option.download)
            else:
                option.download()


def _rarities(client: lms.Client) -> None:
    """What no operation of the client asks for, or only in a rare case."""
    client.system.remote_call("setExperimentFlag", {"code": "flag", "value": True})
    client.system.remote_call("getExperimentFlags")
    target = ModelSpecifierQuery(query=ModelQuery(identifier=CHAT))
    parameter = LlmChannelCompleteRawTextCreationParameter(
        model_specifier=target, raw_prompt="Once upon", prediction_config_stack=KvConfigStack(layers=[])
    )
    channel = client.llm._port.channel(COMPLETE_RAW_TEXT, parameter, "continue a text").open()
    while run_blocking(channel.receive()).type != "success":
        pass


def _plugins() -> list[RecordedFrame]:
    core = PluginCore(ScriptedEngine())
    with Server.for_core(core) as server, FrameRelay(server.api_host) as relay:
        use_plugins(core, relay.api_host)
    return relay.frames


# What no operation of the client asks for. Each is asked over a connection of its own.
_MODEL = {"type": "model", "source": {"type": "huggingface", "user": "maker", "repo": "pebble-GGUF"}}
_ARTIFACT = {"type": "artifact", "owner": "maker", "name": "gone-gguf"}
_COMMIT = {"type": "commit"}
_LOGIN = {"keyId": "a", "publicKey": "b", "privateKey": "c"}
_ENGINE = {"name": "other", "version": "1"}
_PLAIN_CALLS: tuple[tuple[str, Any], ...] = (
    ("repository/isAuthenticated", None),
    ("repository/getAuthenticationStatus", None),
    ("repository/deauthenticate", None),
    ("repository/loginAsComputeDevice", {"token": "a"}),
    ("repository/loginWithPreAuthenticatedKeys", _LOGIN),
    ("repository/getWritableArtifactOwners", None),
    ("repository/installLocalPlugin", {"pluginPath": "/plugin"}),
    ("repository/installPluginDependencies", {"pluginFolder": "/plugin"}),
    ("repository/getLocalArtifactFiles", {"path": "/plugin"}),
    ("repository/getModelCatalog", None),
    ("repository/fuzzyFindStaffPicks", {}),
    ("repository/lmLinkStatus", None),
    ("repository/lmLinkSetDisabled", {"disabled": True}),
    ("repository/lmLinkSetDisabled", {"disabled": False}),
    ("repository/lmLinkUpdateDeviceName", {"deviceName": "a"}),
    ("repository/lmLinkSetPreferredDevice", {"deviceIdentifier": "a"}),
    ("runtime/listEngines", None),
    ("runtime/getEngineSelections", {"json": None, "meta": {"values": ["undefined"]}}),
    ("runtime/selectEngine", {"engine": _ENGINE, "modelFormatName": "GGUF"}),
    ("runtime/removeEngine", _ENGINE),
    ("runtime/surveyHardware", None),
    ("runtime/searchRuntimeExtensions", {"query": "llama.cpp", "includeIncompatible": False}),
)
_PLAIN_CHANNELS: tuple[tuple[str, Any, tuple[dict[str, Any], ...]], ...] = (
    ("repository/ensureAuthenticated", None, ()),
    ("repository/pushArtifact", {"path": "/plugin"}, ()),
    (
        "repository/downloadArtifact",
        {"artifactOwner": "maker", "artifactName": "gone", "revisionNumber": None, "path": "/plugin"},
        (),
    ),
    ("repository/createDownloadPlan", {"target": _MODEL}, (_COMMIT,)),
    ("repository/createDownloadPlan", {"target": _ARTIFACT}, (_COMMIT,)),
    ("repository/createDownloadPlan", {"target": {**_ARTIFACT, "name": "none"}}, ()),
    ("runtime/downloadRuntimeExtension", {**_ENGINE, "updateSelections": False}, ()),
)


def _without_client(api_host: str, client: lms.Client, folder: Path) -> None:
    plugin = folder / "plugin"
    plugin.mkdir()
    (plugin / "manifest.json").write_text("{}")
    for endpoint, parameter in (*_PLAIN_CALLS, ("repository/getLocalArtifactFiles", {"path": str(plugin)})):
        given = {} if parameter is None else {"parameter": parameter}
        with _plain_connection(api_host, endpoint) as socket:
            socket.send(json.dumps({"type": "rpcCall", "endpoint": endpoint.split("/")[1], "callId": 1, **given}))
            socket.recv(PATIENCE_SECONDS)
    for endpoint, parameter, packets in _PLAIN_CHANNELS:
        given = {} if parameter is None else {"creationParameter": parameter}
        with _plain_connection(api_host, endpoint) as socket:
            name = endpoint.split("/")[1]
            socket.send(json.dumps({"type": "channelCreate", "endpoint": name, "channelId": 1, **given}))
            for packet in packets:
                socket.send(json.dumps({"type": "channelSend", "channelId": 1, "message": packet}))
            while json.loads(socket.recv(PATIENCE_SECONDS))["type"] not in _ENDINGS:
                pass
    _log_stream(api_host, client)


def _log_stream(api_host: str, client: lms.Client) -> None:
    """Every kind of event, in the order in which they happen."""
    with _plain_connection(api_host, "diagnostics/streamLogs") as socket:
        socket.send(json.dumps({"type": "channelCreate", "endpoint": "streamLogs", "channelId": 1}))
        is_open = False
        while not is_open:  # another connection: nothing else says that the stream has begun
            client.system.remote_call("notify", {"title": "Is it on?"})
            with suppress(TimeoutError):
                is_open = bool(socket.recv(0.1))
        model = client.llm.load_new_instance(CHAT, "logged")
        model.respond("Hi")
        model.unload()
        wanted = {"llm.prediction.input", "llm.prediction.output", "server.log", "runtime.log"}
        while wanted:
            wanted.discard(json.loads(socket.recv(PATIENCE_SECONDS))["message"]["log"]["data"]["type"])
        socket.send(json.dumps({"type": "channelSend", "channelId": 1, "message": {"type": "stop"}}))
        while json.loads(socket.recv(PATIENCE_SECONDS))["type"] not in _ENDINGS:
            pass


@contextmanager
def _plain_connection(api_host: str, endpoint: str) -> Iterator[ClientConnection]:
    """A connection to the namespace of *endpoint*, authenticated."""
    with connect(f"ws://{api_host}/{endpoint.split('/', maxsplit=1)[0]}") as socket:
        socket.send(json.dumps({"clientIdentifier": "plain", "clientPasskey": "plain", "authVersion": 1}))
        socket.recv(PATIENCE_SECONDS)
        yield socket


def _authentication() -> list[RecordedFrame]:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server, FrameRelay(server.api_host) as relay:
        with lms.Client(relay.api_host, TOKEN[:-1] + "u") as client, pytest.raises(lms.LMStudioAuthenticationError):
            client.list_downloaded_models()
        with lms.Client(relay.api_host, TOKEN) as client:
            client.system.remote_call("requestShutdown")
    return relay.frames


def _plain_frames() -> list[RecordedFrame]:
    """What belongs to no endpoint, said to a client that says what none of ours does."""
    said = (
        {"clientIdentifier": "plain", "clientPasskey": "plain", "authVersion": 1},
        {"type": "keepAlive"},
        {"type": "signalSubscribe", "endpoint": "noSuchSignal", "subscribeId": 1},
        {"type": "writableSignalSubscribe", "endpoint": "noSuchSignal", "subscribeId": 1},
        {"type": "channelSend", "channelId": 99, "message": {}},
    )
    with (
        Server(engine="scripted") as server,
        FrameRelay(server.api_host) as relay,
        connect(f"ws://{relay.api_host}/llm") as socket,
    ):
        for message in said:
            socket.send(json.dumps(message))
            socket.recv()
    return relay.frames


# From frames to conversations ----------------------------------------------------------------------------------------


def _conversations(frames: list[RecordedFrame]) -> dict[str, list[Messages]]:
    """What the server said, by endpoint."""
    open_ones: dict[tuple[int, int], tuple[str, Messages]] = {}
    found: dict[str, list[Messages]] = {}
    for frame in frames:
        message = json.loads(frame.frame)
        member = "channelId" if "channelId" in message else "callId"
        key = (frame.connection, message.get(member))
        if frame.direction == "toServer":
            if "endpoint" in message and member in message:
                open_ones[key] = (f"{frame.namespace}/{message['endpoint']}", [])
        elif key not in open_ones:
            found.setdefault(AUTHENTICATION if "success" in message else NO_ENDPOINT, []).append([message])
        else:
            endpoint, messages = open_ones[key]
            messages.append(_without_machine({**message, member: 1}))
            if message["type"] in _ENDINGS:
                found.setdefault(endpoint, []).append(_without_repetitions(messages))
    return found


def _without_repetitions(messages: Messages) -> Messages:
    """Of packets about progress that follow each other the first and the last."""

    def is_progress(number: int) -> bool:
        packet = messages[number].get("message", {})
        return "rogress" in packet.get("type", "") and shape([messages[number]]) == shape([messages[number - 1]])

    inner = range(1, len(messages) - 1)
    skipped = {number for number in inner if is_progress(number) and is_progress(number + 1)}
    return [message for number, message in enumerate(messages) if number not in skipped]


def _without_machine(value: Any) -> Any:
    """*value* without what differs from machine to machine."""
    if isinstance(value, dict):
        return {name: _without_machine(item) for name, item in value.items() if name != "stack"}
    if isinstance(value, list):
        return [_without_machine(item) for item in value]
    if isinstance(value, str) and tempfile.gettempdir() in value:
        return f"/folder/{Path(value).name}"
    if value == platform.node():
        return "machine"
    if isinstance(value, str):
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", "1234", value)
    return value


def _varied(items: list[Messages]) -> list[Messages]:
    """The shortest conversations that have together the shape of all of them."""
    kept: list[Messages] = []
    seen: set[str] = set()
    for item in sorted(items, key=lambda each: len(json.dumps(each))):
        new = shape(item)
        if not new <= seen:
            kept.append(item)
            seen |= new
    return list(_without_superfluous(kept))


def _without_superfluous(items: list[Messages]) -> Iterator[Messages]:
    left = list(items)
    for item in items:
        others = [each for each in left if each is not item]
        if shape(item) <= {line for other in others for line in shape(other)}:
            left = others
    yield from left


if __name__ == "__main__":
    write_recording(record())
