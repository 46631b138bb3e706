"""The recording of what servers say is complete and of today; and a newer server, on a real socket, breaks nothing."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import pkgutil
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import pytest
from file_host import FileHost
from sample_files import PNG
from server_messages import AUTHENTICATION, NO_ENDPOINT, Messages, recorded, shape

import lmstudio as lms
from lmstudio import _endpoints, _wire
from lmstudio._endpoints import ChannelSpec, Rpc
from lmstudio._endpoints.models import ModelEndpoints
from lmstudio.server import Reply, ScriptedEngine, Server, ToolCall
from lmstudio.server.engine.scripted import scripted_models
from lmstudio.server.models import EMBEDDING_MODEL_FILE

from .frame_relay import FrameRelay, RecordedFrame
from .frame_sessions import CHAT, EMBED, read, run_without_loop, settle
from .record_server_messages import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HOW_TO_RECORD = "Look at what has changed, and run `python -m peer.record_server_messages` with PYTHONPATH=tests."


@functools.cache
def recorded_now() -> dict[str, list[Messages]]:
    return record()


def shapes(conversations: dict[str, list[Messages]]) -> dict[str, set[str]]:
    return {endpoint: {line for item in items for line in shape(item)} for endpoint, items in conversations.items()}


# The recording -------------------------------------------------------------------------------------------------------

NAMESPACES = ("llm", "embedding", "system", "files", "repository", "diagnostics", "runtime", "plugins")
SAYS_NOTHING = {"system/alive"}
"""Endpoints whose server says nothing: this one ends with the connection."""
ONLY_REFUSED = {
    "repository/downloadArtifact",
    "repository/ensureAuthenticated",
    "repository/pushArtifact",
    "runtime/downloadRuntimeExtension",
}
"""Channels that end with an error here, always: they belong to LM Studio's hub, or to its application."""
NEVER_SAID = {"plugins/generateWithGenerator": {"promptProcessingProgress"}}
"""Packets that no server of ours sends: generator plugins have no word for their progress."""


def declared_endpoints() -> set[str]:
    """Every endpoint in `_endpoints`, by "namespace/endpoint"."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(_endpoints.__path__):
        declarations = vars(importlib.import_module(f"{_endpoints.__name__}.{module.name}"))
        values = list(declarations.values())
        values += [
            getattr(each, name)
            for each in values
            if isinstance(each, ModelEndpoints)
            for name in each.__struct_fields__
        ]
        names = [each.name for each in values if isinstance(each, (Rpc, ChannelSpec))]
        namespaces = ("llm", "embedding") if module.name == "models" else (module.name,)
        assert set(namespaces) <= set(NAMESPACES)
        found |= {f"{namespace}/{name}" for namespace in namespaces for name in names}
    return found


def test_every_endpoint_is_recorded() -> None:
    assert set(recorded()) == declared_endpoints() - SAYS_NOTHING | {AUTHENTICATION, NO_ENDPOINT}


def test_every_kind_of_message_is_recorded() -> None:
    kinds = {message.get("type") for items in recorded().values() for item in items for message in item}
    vestigial = {"channelAck"}
    assert kinds == {struct.__struct_config__.tag for struct in _wire.ServerMessage.__args__} - vestigial | {None}


def test_every_packet_is_recorded() -> None:
    said = shapes(recorded())
    for endpoint, lines in said.items():
        names = {line.partition(" ")[0].partition(".")[0].partition(":")[2] for line in lines}
        if endpoint in ONLY_REFUSED:
            assert not names - {""}, endpoint
        else:
            assert names - {""} >= packets_of(endpoint) - NEVER_SAID.get(endpoint, set()), endpoint


def packets_of(endpoint: str) -> set[str]:
    namespace, _, name = endpoint.partition("/")
    for module in (namespace, "models"):
        if module not in (*NAMESPACES, "models"):
            continue
        declarations = vars(importlib.import_module(f"{_endpoints.__name__}.{module}"))
        specs = [declarations.get("MODELS"), *declarations.values()]
        specs += [specs[0].load_model, specs[0].get_or_load] if specs[0] is not None else []
        for spec in specs:
            if isinstance(spec, ChannelSpec) and spec.name == name:
                packets = get_args(spec.to_client_type) or (spec.to_client_type,)
                return {packet.__struct_config__.tag for packet in packets}
    return set()


@pytest.mark.parametrize("endpoint", sorted(recorded()))
def test_the_server_says_what_is_recorded(endpoint: str) -> None:
    assert shapes(recorded_now())[endpoint] == shapes(recorded())[endpoint], HOW_TO_RECORD


# A newer server ------------------------------------------------------------------------------------------------------

NEW_VALUES = {"stopReason": "newReason", "format": "newFormat", "fitEstimation": "newFit", "fileType": "newKind"}
"""Values of enumerations that no version knows."""
NESTED = "[" * 100_000 + "]" * 100_000


def newer(value: Any) -> Any:
    """*value* with new members in all objects, new kinds in all lists of objects, and new values of enumerations."""
    if isinstance(value, list):
        additions = [{"type": "somethingNew"}, None] if any(isinstance(item, dict) for item in value) else []
        return [*map(newer, value), *additions]
    if not isinstance(value, dict):
        return value
    changed = {
        name: item if name == "arguments" else NEW_VALUES.get(name) or newer(item) for name, item in value.items()
    }
    return {**changed, "brandNew": {"a": [1, None]}, "long": "x" * 100}


class NewerServer(FrameRelay):
    """Makes a newer server of another one: it says more, in other words, and what nobody asked for."""

    def pass_on(self, frame: RecordedFrame) -> Sequence[str]:
        message = json.loads(frame.frame)
        if frame.direction == "toServer":
            return [frame.frame]
        if "success" in message:
            return [json.dumps({**newer(message), "error": 5})]
        strange: list[Any] = [
            {"type": "somethingNew", "channelId": message.get("channelId"), "callId": message.get("callId")},
            {"type": "rpcResult", "callId": 123456, "result": {}},
            {"type": "channelSend", "channelId": 123456, "message": {"type": "success"}},
            {"type": "communicationWarning", "warning": "Something is not right.", "kind": "newKind"},
            {"type": "signalUpdate", "subscribeId": 1, "patches": [], "tags": []},
            {"type": "keepAliveAck"},
        ]
        if message["type"] == "channelSend":
            strange += [
                {**message, "message": {"type": "somethingNew", "more": 1}},
                {**message, "message": None},
                {"type": "channelAck", "channelId": message["channelId"], "ackId": 1},
            ]
        before = [json.dumps(each) for each in strange]
        before += ['{"type":"somethingNew","nested":' + NESTED + "}", "", "[]"] if "result" in message else []
        twice = [json.dumps(newer(message))] * (2 if message["type"] not in ("channelSend", "channelClose") else 1)
        return [*before, *twice]


@contextmanager
def newer_server(folder: Path, engine: ScriptedEngine) -> Iterator[str]:
    """The address of one."""
    content = EMBEDDING_MODEL_FILE.read_bytes()
    chat, *others = scripted_models()
    with FileHost(model=content) as host:
        files = [{"url": f"{host.url}/model", "name": "pebble-embed-0.8m-q8_0.gguf", "size": len(content)}]
        catalog = folder / "catalog.json"
        catalog.write_text(json.dumps({"models": [{"owner": "maker", "name": "pebble-GGUF", "files": files}]}))
        models = [replace(chat, vision=True), *others]
        with (
            Server(models, engine=engine, catalog=catalog, models_folder=folder / "models") as server,
            NewerServer(server.api_host) as relay,
        ):
            yield relay.api_host


async def use_everything(client: Any, engine: ScriptedEngine) -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    downloaded = await settle(client.list_downloaded_models())
    assert [model.model_key for model in downloaded] == [CHAT, EMBED]
    model = await settle(client.llm.model(CHAT))
    await settle(client.llm.load_new_instance(CHAT, "other"))
    embedder = await settle(client.embedding.model(EMBED))
    assert [each.identifier for each in await settle(client.list_loaded_models())] == [CHAT, "other", EMBED]
    assert (await settle(model.get_info())).format == "newFormat"
    await settle(model.get_load_config())
    assert len(await settle(model.tokenize("one two"))) == await settle(model.count_tokens("one two")) == 2
    assert [len(vector) for vector in await settle(embedder.embed(["one", "two"]))] == [16, 16]
    engine.reply = "One two."
    result = await settle(model.respond("Hello"))
    assert (result.content, result.stats.stop_reason) == ("One two.", "newReason")
    assert await read(await settle(model.respond_stream("Hello"))) == "One two."
    engine.reply = [Reply([ToolCall("add", {"a": 1, "b": 2})]), "Three."]
    acted = await settle(model.act("1 + 2?", [add]))
    assert (acted.rounds, acted.content) == (2, "Three.")
    image = await settle(client.prepare_image(PNG, "cat.png"))
    assert image.file_type == "newKind"
    file = await settle(client.prepare_file(b"Oslo is in Norway.", "facts.txt"))
    assert (await settle(client.files.parse_document(file))).content == "Oslo is in Norway."
    found = await settle(client.files.retrieve("Oslo?", [file]))
    assert [entry.source for entry in found.entries] == [file]
    (available,) = await settle(client.repository.search_models("pebble"))
    (option,) = await settle(available.get_download_options())
    assert option.fit_estimation == "newFit"
    assert await settle(option.download()) == "text-embedding-pebble"
    with pytest.raises(lms.LMStudioModelNotFoundError):
        await settle(client.llm.load_new_instance("no-such-model"))
    await settle(model.unload())


@pytest.fixture
def _unknown_is_no_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lms.LMStudioUnknownMessageWarning)
        yield


@pytest.mark.usefixtures("_unknown_is_no_error")
def test_the_synchronous_client_understands_a_newer_server(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    with newer_server(tmp_path, engine) as api_host, lms.Client(api_host) as client:
        run_without_loop(use_everything(client, engine))


@pytest.mark.usefixtures("_unknown_is_no_error")
def test_the_asynchronous_client_understands_a_newer_server(tmp_path: Path) -> None:
    engine = ScriptedEngine()

    async def converse(api_host: str) -> None:
        async with lms.AsyncClient(api_host) as client:
            await use_everything(client, engine)

    with newer_server(tmp_path, engine) as api_host:
        asyncio.run(converse(api_host))
