"""Everything that `lmstudio.Client` and `lmstudio.AsyncClient` can say, in one conversation for both.

A session is written for the asynchronous client. The synchronous one returns values where that returns awaitables, so
`settle` is all it takes, and `run_without_loop` to run it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import lmstudio as lms
from lmstudio.server import BrokenToolCall, Gate, Reasoning, Reply, ScriptedEngine, ToolCall
from lmstudio.server.engine.base import TextChunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

CHAT = "scripted-chat"
EMBED = "scripted-embed"

PREDICTION_CONFIG: dict[str, Any] = {
    "maxTokens": 20,
    "reasoningBudget": 100,
    "temperature": 0.5,
    "stopStrings": ["END"],
    "toolCallStopStrings": ["CALL"],
    "contextOverflowPolicy": "rollingWindow",
    "structured": {"type": "json", "jsonSchema": {"type": "string"}},
    "rawTools": {
        "type": "toolArray",
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add",
                    "description": "Adds.",
                    "parameters": {
                        "type": "object",
                        "properties": {"a": {"$ref": "#/$defs/number"}},
                        "required": ["a"],
                        "additionalProperties": False,
                        "$defs": {"number": {"type": "number"}},
                    },
                },
            },
            {"type": "function", "function": {"name": "noop"}},
        ],
    },
    "toolChoice": {"type": "generic", "mode": "required"},
    "toolNaming": "snakeCase",
    "topKSampling": 10,
    "repeatPenalty": 1.2,
    "presencePenalty": 0.1,
    "minPSampling": 0.1,
    "topPSampling": 0.9,
    "cpuThreads": 1,
    "enableThinking": False,
    "promptTemplate": {
        "type": "manual",
        "manualPromptTemplate": {
            "beforeSystem": "a",
            "afterSystem": "b",
            "beforeUser": "c",
            "afterUser": "d",
            "beforeAssistant": "e",
            "afterAssistant": "f",
        },
        "stopStrings": ["STOP"],
    },
    "draftModel": CHAT,
    "speculativeDecodingNumDraftTokensExact": 2,
    "speculativeDecodingMinDraftLengthToConsider": 1,
    "speculativeDecodingMinContinueDraftingProbability": 0.5,
    "logProbs": 3,
    "reasoningParsing": {"enabled": True, "startString": "<r>", "endString": "</r>"},
    "userMaxImageDimensionPixels": 100,
    "ignoreModelPreferredMaxImageDimension": True,
    "raw": {"fields": [{"key": "llm.prediction.llama.frequencyPenalty", "value": {"checked": True, "value": 0.1}}]},
    "xtcProbability": 0.1,
    "xtcThreshold": 0.2,
}
"""Every member of `LlmPredictionConfig`."""

LLM_LOAD_CONFIG: dict[str, Any] = {
    "gpu": {
        "ratio": 0.5,
        "numCpuExpertLayersRatio": "off",
        "mainGpu": 1,
        "splitStrategy": "favorMainGpu",
        "disabledGpus": [0],
    },
    "maxParallelPredictions": 2,
    "useUnifiedKvCache": True,
    "gpuStrictVramCap": True,
    "offloadKVCacheToGpu": False,
    "contextLength": 1000,
    "promptTemplate": {"type": "jinja", "jinjaPromptTemplate": {"template": "{{ messages }}"}},
    "ropeFrequencyBase": 10_000,
    "ropeFrequencyScale": 1.5,
    "evalBatchSize": 64,
    "physicalBatchSize": 32,
    "flashAttention": True,
    "contextCheckpoints": 3,
    "reasoningBudgetMessage": "Enough.",
    "speculativeDraftMtp": False,
    "speculativeDraftSimple": True,
    "speculativeDraftModel": CHAT,
    "speculativeDraftMaxTokens": 4,
    "speculativeDraftMinTokens": 1,
    "speculativeDraftMinContinueProbability": 0.5,
    "keepModelInMemory": False,
    "seed": 7,
    "useFp16ForKVCache": False,
    "tryMmap": False,
    "tryDirectIO": True,
    "llamaCppArgumentsOverride": {
        "enabled": True,
        "disabledParameters": ["mlock"],
        "overrideParameters": [{"key": "threads", "value": "1"}],
        "excludeAllConfig": False,
    },
    "numExperts": 2,
    "llamaKCacheQuantizationType": "q8_0",
    "llamaVCacheQuantizationType": "q4_0",
    "mlxDiskCache": True,
    "mlxKvCacheQuantization": {"enabled": True, "bits": 4, "groupSize": 32, "quantizedStart": 10},
}
"""Every member of `LlmLoadModelConfig` but `autoFit`, which excludes some of the others."""

EMBEDDING_LOAD_CONFIG: dict[str, Any] = {
    "gpu": {"ratio": "max", "splitStrategy": "evenly"},
    "contextLength": 100,
    "ropeFrequencyBase": 10_000,
    "ropeFrequencyScale": 0.5,
    "keepModelInMemory": True,
    "tryMmap": True,
}
"""Every member of `EmbeddingLoadModelConfig`."""


MAY_BE_FALSE: dict[type[Any], tuple[str, ...]] = {
    lms.LlmPredictionConfig: (
        "maxTokens",
        "reasoningBudget",
        "repeatPenalty",
        "presencePenalty",
        "minPSampling",
        "topPSampling",
        "logProbs",
        "userMaxImageDimensionPixels",
        "xtcProbability",
        "xtcThreshold",
    ),
    lms.LlmLoadModelConfig: (
        "ropeFrequencyBase",
        "ropeFrequencyScale",
        "seed",
        "llamaKCacheQuantizationType",
        "llamaVCacheQuantizationType",
        "mlxKvCacheQuantization",
    ),
    lms.EmbeddingLoadModelConfig: ("ropeFrequencyBase", "ropeFrequencyScale"),
}
"""Members that are switched off by `False`, which the wire spells in another way."""


async def settle(value: Awaitable[T] | T) -> T:
    """What an operation of either client has returned."""
    return await value if inspect.isawaitable(value) else value


def run_without_loop(session: Coroutine[Any, Any, T]) -> T:
    """Run a session with the synchronous client: it never waits for anything."""
    try:
        session.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("The session waits, although the client is synchronous.")


async def fails(error: type[Exception], operation: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Expect *operation* to raise *error*."""
    with pytest.raises(error):
        await settle(operation(*args, **kwargs))


async def read(stream: Any, *, cancel_after: int | None = None, leave_after: int | None = None) -> str:
    """Read a stream of either client."""
    text = ""
    count = 0
    if isinstance(stream, lms.AsyncPredictionStream):
        async with stream:
            async for fragment in stream:
                text, count = text + fragment.content, count + 1
                if count == cancel_after:
                    await stream.cancel()
                if count == leave_after:
                    break
        return text
    with stream:
        for fragment in stream:
            text, count = text + fragment.content, count + 1
            if count == cancel_after:
                stream.cancel()
            if count == leave_after:
                break
    return text


# The session ---------------------------------------------------------------------------------------------------------


async def everything(client: Any, engine: ScriptedEngine) -> None:
    """Every operation of the client, in every variation that changes what is said."""
    await _find_and_load(client)
    await _fail_to_load(client, engine)
    await _texts(client)
    await _predict(client, engine)
    await _predict_with_callbacks_and_formats(client, engine)
    await _fail_to_predict(client, engine)
    await _call_by_name(client)


async def _find_and_load(client: Any) -> None:
    for namespace in (None, "llm", "embedding"):
        await settle(client.list_downloaded_models(namespace))
        await settle(client.list_loaded_models(namespace))
    for session, config, struct in (
        (client.llm, LLM_LOAD_CONFIG, lms.LlmLoadModelConfig),
        (client.embedding, EMBEDDING_LOAD_CONFIG, lms.EmbeddingLoadModelConfig),
    ):
        await settle(session.connect())
        (downloaded,) = await settle(session.list_downloaded())
        progress: list[float] = []
        model = await settle(downloaded.model(config=config, on_load_progress=progress.append))
        assert (progress[0], progress[-1]) == (0.0, 1.0)
        off = dict.fromkeys(MAY_BE_FALSE[struct], False)
        other = await settle(downloaded.load_new_instance(ttl=None, instance_identifier="other", config=off))
        await settle(session.load_new_instance(downloaded.model_key, ttl=5, on_load_progress=progress.append))
        assert await settle(session.model()) == await settle(session.model(downloaded.model_key)) == model
        info = await settle(other.get_info())
        by_reference = {"type": "instanceReference", "instanceReference": info.instance_reference}
        for specifier in ("other", {"path": info.path, "domain": info.type}, by_reference):
            await settle(session.get_model_info(specifier))
        await settle(model.get_load_config())
        await settle(model.get_context_length())
        await settle(session.list_loaded())
        await settle(other.unload())
        await settle(session.unload(f"{downloaded.model_key}:2"))
    auto_fit = await settle(client.llm.load_new_instance(CHAT, config={"autoFit": True}))
    await settle(auto_fit.unload())


async def _fail_to_load(client: Any, engine: ScriptedEngine) -> None:
    def give_up(_progress: float) -> None:
        raise ZeroDivisionError

    for session, key, other_key in ((client.llm, CHAT, EMBED), (client.embedding, EMBED, CHAT)):
        for bad_key in ("no-such-model", other_key):
            await fails(lms.LMStudioServerError, session.model, bad_key)
            await fails(lms.LMStudioServerError, session.load_new_instance, bad_key)
        await fails(lms.LMStudioServerError, session.load_new_instance, key, key)  # the identifier is taken
        await fails(lms.LMStudioServerError, session.unload, "no-such-instance")
        await fails(lms.LMStudioModelNotFoundError, session.get_model_info, "no-such-instance")
        engine.fail_load = "The file is damaged."
        await fails(lms.LMStudioServerError, session.load_new_instance, key)
        engine.fail_load = None
        engine.load_gate = Gate()  # never opened
        await fails(ZeroDivisionError, session.load_new_instance, key, on_load_progress=give_up)
        engine.load_gate = None


async def _texts(client: Any) -> None:
    llm = await settle(client.llm.model(CHAT))
    embedding = await settle(client.embedding.model(EMBED))
    for model in (llm, embedding):
        await settle(model.tokenize("one text, naïve 🙂"))
        await settle(model.tokenize(["several", "", "texts"]))
        await settle(model.count_tokens("one text"))
    await settle(embedding.embed("one text"))
    await settle(embedding.embed(["several", "", "texts"]))
    tools = PREDICTION_CONFIG["rawTools"]["tools"]
    opts = {"omitBosToken": True, "omitEosToken": True, "toolDefinitions": tools}
    await settle(llm.apply_prompt_template("Hello", opts))
    await settle(llm.apply_prompt_template(whole_chat()))


def whole_chat() -> lms.Chat:
    """A chat with all kinds of messages."""
    chat = lms.Chat("Be brief.")
    chat.add_user_message(["Hello", "there"])
    request = lms.ToolCallRequestData(
        tool_call_request=lms.ToolCallRequest(id="1", name="add", arguments={"a": 1, "b": [None, {"deep_key": 2}]})
    )
    chat.add_assistant_response("I shall add.", [request])
    chat.add_tool_result(lms.ToolCallResultData(content='"3"', tool_call_id="1", name="add"))
    chat.add_assistant_response("3.")
    chat.add_user_message("And now?")
    return chat


async def _predict(client: Any, engine: ScriptedEngine) -> None:
    model = await settle(client.llm.model(CHAT))
    await settle(model.respond("Hello"))
    await settle(model.respond(whole_chat()))
    await settle(model.respond("Hello", config=PREDICTION_CONFIG))
    for config in (dict.fromkeys(MAY_BE_FALSE[lms.LlmPredictionConfig], False), {"rawTools": {"type": "none"}}):
        await settle(model.respond("Hello", config=config))
    await settle(model.complete("Once upon"))
    await settle(model.complete("Once upon", config={"stopStrings": ["a"], "maxTokens": 2}))
    engine.reply = Reply(["One", " two", Gate(), " three"])  # never opened
    for start in (model.respond_stream, model.complete_stream):
        assert await read(await settle(start("Count.")), cancel_after=2) == "One two"
        assert await read(await settle(start("Count.")), leave_after=1) == "One"
    engine.reply = "<think>Let me see.</think>It is 4."
    stream = await settle(model.respond_stream("2 + 2?", config={"logProbs": 2}))
    await settle(stream.start())
    await settle(stream.wait_for_result())
    engine.reply = tool_calls()
    only_tools = {"rawTools": PREDICTION_CONFIG["rawTools"]}
    await settle(model.respond("Add.", config={**only_tools, "logProbs": 1}))
    engine.reply = Reply([Reasoning("one two three"), "Three."])
    await settle(model.respond("Count.", config={**only_tools, "reasoningBudget": 2}))
    engine.reply = Reply(["One", TextChunk(" two", 1, has_drafted=True)], draft_tokens=2, accepted_draft_tokens=1)
    await settle(model.respond("Count.", config={"draftModel": CHAT}))
    engine.reply = None


def tool_calls() -> Reply:
    """Every kind of packet about tool calls, between texts."""
    calls = (ToolCall("add", {"a": 1}, id="1"), ToolCall("noop"), BrokenToolCall("oops"))
    return Reply([Reasoning("A sum."), "Let me see.", *calls, " So."])


class Person(lms.BaseModel):
    """A structured reply."""

    name: str
    age: int


async def _predict_with_callbacks_and_formats(client: Any, engine: ScriptedEngine) -> None:
    model = await settle(client.llm.model(CHAT))
    engine.reply = Reply("One two three", prompt_steps=3)
    heard: list[Any] = []
    await settle(
        model.respond(
            "Count.",
            on_message=heard.append,
            on_first_token=lambda: heard.append("first token"),
            on_prediction_fragment=heard.append,
            on_prompt_processing_progress=heard.append,
        )
    )
    assert len(heard) == 9  # progress 0, two thirds between, 1; the first token; three fragments; the message
    engine.reply = None
    person: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    for response_format in (Person, person, {"type": "json"}, {"type": "json", "jsonSchema": person}):
        result = await settle(model.respond("Who?", response_format=response_format))
        assert result.parsed is not None
    engine.reply = "yes"
    await settle(model.respond("Well?", response_format={"type": "gbnf", "gbnfGrammar": 'root ::= "yes"'}))
    engine.reply = None


async def _fail_to_predict(client: Any, engine: ScriptedEngine) -> None:
    model = await settle(client.llm.model(CHAT))
    await fails(lms.LMStudioPresetNotFoundError, model.respond, "Hello", preset="formal")
    await fails(lms.LMStudioModelNotFoundError, model.respond, "Hello", config={"draftModel": "no-such-model"})
    grammar = {"type": "gbnf", "gbnfGrammar": "root ::= 1"}
    await fails(lms.LMStudioServerError, model.respond, "Hello", response_format=grammar)
    engine.reply = Reply("One two", error="The engine has hiccups.", error_after=1)
    await fails(lms.LMStudioServerError, model.respond, "Hello")
    engine.reply = Reply("One two", die_after=1)
    await fails(lms.LMStudioServerError, model.complete, "Hello")
    engine.reply = None
    await fails(lms.LMStudioModelNotFoundError, model.respond, "Hello")
    await fails(lms.LMStudioModelNotFoundError, model.get_info)


async def _call_by_name(client: Any) -> None:
    """What has no method of its own."""
    model = await settle(client.llm.model(CHAT))
    specifier = {"type": "query", "query": {"identifier": CHAT, "deviceIdentifier": None}}
    await settle(client.llm.remote_call("preloadDraftModel", {"specifier": specifier, "draftModelKey": CHAT}))
    for session, key in ((client.llm, CHAT), (client.embedding, EMBED)):
        target = {"specifier": {"type": "query", "query": {"identifier": key}}}
        await settle(session.remote_call("getBasePredictionConfig", target))
        await settle(session.remote_call("getInstanceProcessingState", {**target, "throwIfNotFound": True}))
        absent = {"specifier": {"type": "query", "query": {"identifier": "absent"}}, "throwIfNotFound": False}
        assert await settle(session.remote_call("getModelInfo", absent)) is None
        load = {"modelKey": key, "loadConfigStack": {"layers": []}}
        await settle(session.remote_call("estimateModelUsage", {**load, "deviceIdentifier": None}))
    call = client.system.remote_call
    for endpoint in ("version", "info", "getExperimentFlags"):
        await settle(call(endpoint))
    await settle(call("setExperimentFlag", {"code": "flag", "value": True}))
    await settle(call("notify", {"title": "Hello", "description": "There", "noAutoDismiss": False}))
    for key in (CHAT, "no-such-model"):
        await fails(lms.LMStudioServerError, call, "listDownloadedModelVariants", {"modelKey": key})
    http_server = {"port": 1234, "cors": True, "networkInterface": "127.0.0.1"}
    await fails(lms.LMStudioServerError, call, "startHttpServer", http_server)
    for endpoint in ("stopHttpServer", "requestShutdown"):
        await fails(lms.LMStudioServerError, call, endpoint)
    await settle(model.unload())
