"""Every frame that our clients and our server send, under the eyes of lmstudio.js's own schemas.

What lmstudio.js would merely ignore counts, too: see `node/validate_frames.mjs`.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

import lmstudio as lms
from lmstudio.server import Gate, Reply, ScriptedEngine, Server

from .frame_relay import FrameRelay, FrameReport, RecordedFrame, Violation, check_frames
from .frame_sessions import (
    CHAT,
    EMBED,
    EMBEDDING_LOAD_CONFIG,
    LLM_LOAD_CONFIG,
    MAY_BE_FALSE,
    PREDICTION_CONFIG,
    everything,
    fails,
    read,
    run_without_loop,
    settle,
    tool_calls,
    whole_chat,
)
from .node_peer import JsClient, JsError, NodePeer
from .plugin_session import PluginCore, use_plugins
from .record_server_messages import main_session

if TYPE_CHECKING:
    from collections.abc import Callable

LLM = "pebble-2.6m"
EMBEDDER = "pebble-embed-0.8m"
TOKEN = "sk-lm-abcdefgh:abcdefghijklmnopqrst"

# `complete` asks for no chat template in the words of the official Python client 1.x, so that servers of any age know
# them: three members more than lmstudio.js has. Our server reports what it was given.
_RAW_TEMPLATE = "{llm.prediction.promptTemplate}.jinjaPromptTemplate"
IGNORED_ON_PURPOSE = {
    (direction, f"{config}.{_RAW_TEMPLATE}.{member}")
    for direction, config in (
        ("toServer", "creationParameter.predictionConfigStack.layers.1.config"),
        ("toClient", "toClientPacket.predictionConfig"),
    )
    for member in ("bosToken", "eosToken", "inputConfig")
}


# Conversations -------------------------------------------------------------------------------------------------------


def record_synchronous_client() -> list[RecordedFrame]:
    engine = ScriptedEngine()
    with Server(engine=engine) as server, FrameRelay(server.api_host) as relay, lms.Client(relay.api_host) as client:
        run_without_loop(everything(client, engine))
    return relay.frames


def record_asynchronous_client() -> list[RecordedFrame]:
    engine = ScriptedEngine()

    async def converse(api_host: str) -> None:
        async with lms.AsyncClient(api_host) as client:
            await everything(client, engine)

    with Server(engine=engine) as server, FrameRelay(server.api_host) as relay:
        asyncio.run(converse(relay.api_host))
    return relay.frames


def record_lmstudio_js() -> list[RecordedFrame]:
    engine = ScriptedEngine()
    with (
        NodePeer() as node,
        Server(engine=engine) as server,
        FrameRelay(server.api_host) as relay,
        node.client(relay.api_host) as js,
    ):
        load_and_describe_with_js(js)
        predict_with_js(js, engine)
        ask_the_system_with_js(js)
        watch = js.begin("whenDisconnected")
        watch.wait_for("connected")
        assert node.take_warnings() == []
        server.stop()
        watch.end()
    return relay.frames


def load_and_describe_with_js(js: JsClient) -> None:
    for namespace, key, config in (("llm", CHAT, LLM_LOAD_CONFIG), ("embedding", EMBED, EMBEDDING_LOAD_CONFIG)):
        name = f"my {key}"
        js.run("load", namespace=namespace, modelKey=key, opts={"identifier": name, "ttl": 10, "config": config})
        js.run("load", namespace=namespace, method="model", modelKey=key)
        model = {"namespace": namespace, "key": name}
        for method in ("getModelInfo", "getLoadConfig", "getContextLength", "getInstanceProcessingState"):
            js.call_model(model, method)
        js.call_model(model, "tokenize", ["some", "texts"])
        js.call_model(model, "countTokens", "text")
        js.call(f"{namespace}.listLoaded")
        js.call(f"{namespace}.estimateResourcesUsage", key, config)
        js.call(f"{namespace}.model")
        for bad_key in ("no-such-model", EMBED if key == CHAT else CHAT):
            fails_with_js(js, f"{namespace}.load", bad_key)
            fails_with_js(js, f"{namespace}.model", bad_key)
    js.call_model({"namespace": "embedding", "key": EMBED}, "embed", ["some", "texts"])
    js.call_model({"namespace": "embedding", "key": EMBED}, "unload")
    js.call_model({"key": CHAT}, "getBasePredictionConfig")
    js.call_model({"key": CHAT}, "applyPromptTemplate", "Hello")
    js.call_model({"key": CHAT}, "unstable_preloadDraftModel", CHAT)
    js.call("llm.unload", f"my {CHAT}")


def fails_with_js(js: JsClient, method: str, *parameters: Any) -> None:
    with pytest.raises(JsError):
        js.call(method, *parameters)


def predict_with_js(js: JsClient, engine: ScriptedEngine) -> None:
    model = {"key": CHAT}
    js.run("predict", model=model, input=whole_chat().to_dict(), opts=PREDICTION_CONFIG)
    off = dict.fromkeys(MAY_BE_FALSE[lms.LlmPredictionConfig], False)
    js.run("predict", model=model, method="complete", input="Once upon", opts=off)
    js.run("predict", model=model, input="Who?", zod="person")
    engine.reply = tool_calls()
    js.run("predict", model=model, input="Add.", opts={"rawTools": PREDICTION_CONFIG["rawTools"], "logProbs": 1})
    engine.reply = [tool_calls(), "Done."]
    tools = [{"kind": kind, "name": name, "result": 3} for kind, name in (("function", "add"), ("raw", "noop"))]
    js.run("act", model=model, input="Add.", tools=tools, onInvalid="answer")
    engine.reply = Reply(["One", Gate(), " two"])
    for method in ("respond", "complete"):
        js.run("predict", model=model, method=method, input="Count.", cancelAfter=1)
    engine.reply = Reply("One two", error="The engine has hiccups.", error_after=1)
    for method in ("respond", "complete"):
        with pytest.raises(JsError):
            js.run("predict", model=model, method=method, input="Count.")


def ask_the_system_with_js(js: JsClient) -> None:
    for method in ("listDownloadedModels", "getLMStudioVersion", "getInfo", "unstable_getExperimentFlags"):
        js.call(f"system.{method}")
    js.call("system.unstable_setExperimentFlag", "flag", True)
    js.call("system.notify", {"title": "Hello"})
    fails_with_js(js, "system.listDownloadedModelVariants", CHAT)
    fails_with_js(js, "system.startHttpServer", {"port": 1234})
    for method in ("system.stopHttpServer", "system.requestShutdown"):
        fails_with_js(js, method)
    js.call("plugins.reindexPlugins")
    for scope in ((), ({"type": "all"},)):
        js.call("runtime.surveyHardware", *scope)
    js.run("engineSelections")


def record_real_engine() -> list[RecordedFrame]:
    with (
        NodePeer() as node,
        Server() as server,
        FrameRelay(server.api_host) as relay,
        lms.Client(relay.api_host) as client,
        node.client(relay.api_host) as js,
    ):
        run_without_loop(use_real_engine(client))
        js.run("predict", model={"key": LLM}, input="Tell me a story.", opts={"maxTokens": 20, "logProbs": 2})
        js.run("predict", model={"key": LLM}, method="complete", input="Once upon", opts={"maxTokens": 20})
        js.run("predict", model={"key": LLM}, input="Who? Nina is 31 years old.", zod="person")
        use_tools_of_real_engine(js)
        js.call_model({"namespace": "embedding", "key": EMBEDDER}, "embed", ["some", "texts"])
    return relay.frames


def use_tools_of_real_engine(js: JsClient) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": "get_weather", "description": "Get the weather", "parameters": parameters}
    opts: dict[str, Any] = {"rawTools": {"type": "toolArray", "tools": [{"type": "function", "function": function}]}}
    for question, mode in (("What is the weather in Oslo?", "auto"), ("Hello!", "required")):
        choice = {"type": "generic", "mode": mode}
        run = js.run(
            "predict", model={"key": LLM}, input=question, opts={**opts, "toolChoice": choice, "temperature": 0}
        )
        assert run.all("toolEnd")
    opts = {"reasoningBudget": 3, "maxTokens": 30, "draftModel": LLM}
    js.run("predict", model={"key": LLM}, input="What is 4 + 5? /think", opts=opts)


async def use_real_engine(client: Any) -> None:
    config = {"contextLength": 600, "seed": 7, "speculativeDraftSimple": True, "speculativeDraftModel": LLM}
    drafting = await settle(client.llm.load_new_instance(LLM, "drafting", config=config))
    result = await settle(drafting.respond("What is the capital of Norway?"))
    assert result.stats.used_draft_model_key == LLM
    model = await settle(client.llm.load_new_instance(LLM))
    for subject in (drafting, model):
        await settle(subject.get_info())
        await settle(subject.get_load_config())
        await settle(subject.tokenize(["some", "naïve 🙂"]))
        await fails(lms.LMStudioServerError, subject.respond, "far too long " * 1000)
        await read(await settle(subject.respond_stream("Tell me a long story.")), cancel_after=2)
    await settle(drafting.unload())
    await settle(model.respond("Hello", config={"logProbs": 5, "maxTokens": 10}))
    person = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    await settle(model.respond("Nina is 31 years old.", response_format=person))
    grammar = {"type": "gbnf", "gbnfGrammar": "this is none"}
    await fails(lms.LMStudioServerError, model.respond, "Hello", response_format=grammar)
    embedder = await settle(client.embedding.model(EMBEDDER))
    await settle(embedder.embed(["some", "texts"]))
    await fails(lms.LMStudioServerError, embedder.embed, "far too long " * 1000)


def record_authentication() -> list[RecordedFrame]:
    with Server(engine="scripted", api_tokens=[TOKEN]) as server, FrameRelay(server.api_host) as relay:
        for token in (None, TOKEN[:-1] + "u"):
            with lms.Client(relay.api_host, token) as client, pytest.raises(lms.LMStudioAuthenticationError):
                client.list_downloaded_models()
        with lms.Client(relay.api_host, TOKEN) as client:
            client.list_downloaded_models()
            client.system.remote_call("requestShutdown")
    return relay.frames


def record_plugins() -> list[RecordedFrame]:
    core = PluginCore(ScriptedEngine())
    with Server.for_core(core) as server, FrameRelay(server.api_host) as relay:
        use_plugins(core, relay.api_host)
    return relay.frames


def record_every_endpoint() -> list[RecordedFrame]:
    with tempfile.TemporaryDirectory() as folder:
        return main_session(Path(folder))


CONVERSATIONS: dict[str, Callable[[], list[RecordedFrame]]] = {
    "synchronous client": record_synchronous_client,
    "asynchronous client": record_asynchronous_client,
    "lmstudio.js": record_lmstudio_js,
    "real engine": record_real_engine,
    "authentication": record_authentication,
    "plugins": record_plugins,
    "every endpoint": record_every_endpoint,
}


@pytest.fixture(scope="module")
def report_of() -> Callable[[str], FrameReport]:
    """What lmstudio.js thinks of a conversation, which is held at the first call."""
    return functools.cache(lambda name: check_frames(CONVERSATIONS[name]()))


# What lmstudio.js thinks of them -------------------------------------------------------------------------------------


def is_on_purpose(violation: Violation) -> bool:
    if violation.endpoint == "getEngineSelections":
        # The one endpoint with SuperJSON; lmstudio.js itself reads it in `test_lmstudio_js_machine.py`.
        return violation.problem.startswith("cannot be checked")
    place = (violation.direction, violation.path)
    return (
        violation.endpoint == "predict"
        and violation.problem.startswith("lmstudio.js ignores this")
        and place in IGNORED_ON_PURPOSE
    )


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_every_frame_is_what_lmstudio_js_expects(report_of: Callable[[str], FrameReport], name: str) -> None:
    report = report_of(name)

    assert report.frames > 0
    assert [str(violation) for violation in report.violations if not is_on_purpose(violation)] == []


@pytest.mark.parametrize("name", ["synchronous client", "asynchronous client"])
def test_what_is_ignored_on_purpose_is_still_sent(report_of: Callable[[str], FrameReport], name: str) -> None:
    ignored = {(violation.direction, violation.path) for violation in report_of(name).violations}

    assert ignored == IGNORED_ON_PURPOSE


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("synchronous client", {"llm/completeRawText", "system/alive"}),
        ("asynchronous client", {"llm/completeRawText", "system/alive"}),
        ("lmstudio.js", {"embedding/getBasePredictionConfig"}),
    ],
)
def test_conversation_used_every_endpoint_that_the_client_has_in_both_directions(
    report_of: Callable[[str], FrameReport], name: str, left_out: set[str]
) -> None:
    served = {
        endpoint: counts
        for endpoint, counts in report_of(name).endpoints.items()
        if endpoint.partition("/")[0] in ("llm", "embedding", "system")
    }

    assert len(served) == 15 + 12 + 11
    assert {endpoint for endpoint, counts in served.items() if not counts["toServer"]} == left_out
    # The channel `alive` carries nothing to the client: it ends with the connection.
    assert {endpoint for endpoint, counts in served.items() if not counts["toClient"]} == left_out | {"system/alive"}


def test_conversation_used_every_endpoint_of_plugins(report_of: Callable[[str], FrameReport]) -> None:
    counts = {name: each for name, each in report_of("plugins").endpoints.items() if name.startswith("plugins/")}

    assert len(counts) == 20
    assert [name for name, each in counts.items() if not (each["toServer"] and each["toClient"])] == []


@pytest.mark.parametrize(
    ("struct", "config", "left_out"),
    [
        (lms.LlmPredictionConfig, PREDICTION_CONFIG, set()),
        (lms.LlmLoadModelConfig, LLM_LOAD_CONFIG, {"autoFit"}),
        (lms.EmbeddingLoadModelConfig, EMBEDDING_LOAD_CONFIG, set()),
    ],
)
def test_conversations_set_every_member_of_the_configurations(
    struct: type[msgspec.Struct], config: dict[str, Any], left_out: set[str]
) -> None:
    members = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    optional = {name for name, type_ in members.items() if bool in get_args(type_) and len(get_args(type_)) > 2}

    assert config.keys() | left_out == members.keys()
    assert set(MAY_BE_FALSE[struct]) == optional
