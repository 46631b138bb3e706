"""The npm package @lmstudio/sdk against our server: what it asks for is what it gets.

Most tests use the engine that users have. Those in which a moment counts use the scripted one, which can be held still.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from lmstudio.server import Gate, Reply, ScriptedEngine, Server

from .node_peer import JsClient, JsError, NodePeer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_to_complain_about")

LLM = "pebble-2.6m"
EMBED = "text-embedding-pebble-embed-0.8m"
LLM_PATH = "lmstudio-python/pebble-2.6m-GGUF/pebble-2.6m-q8_0.gguf"
CHAT = "scripted-chat"
"""The language model of the scripted engine."""
HOUR_MS = 3_600_000
EXACT = {"temperature": 0}
"""The prediction config that makes the tiny model say the same every time."""


@pytest.fixture(scope="module")
def real_server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def js(node: NodePeer, real_server: Server) -> Iterator[JsClient]:
    """A client of a server with the real engine, on which other tests may have loaded models."""
    with node.client(real_server) as client:
        yield client


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def scripted(node: NodePeer, engine: ScriptedEngine) -> Iterator[JsClient]:
    """A client of a fresh server with the scripted engine."""
    with Server(engine=engine) as server, node.client(server) as client:
        yield client


def assert_contains(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: actual.get(name) for name in expected} == expected


# Models on disk and in memory ----------------------------------------------------------------------------------------


def test_lists_downloaded_models(js: JsClient) -> None:
    llm, embedding = js.call("system.listDownloadedModels")

    size_bytes, max_context_length = 2_836_576, 2048
    assert llm == {
        "type": "llm",
        "modelKey": LLM,
        "format": "gguf",
        "displayName": "Pebble",
        "publisher": "lmstudio-python",
        "path": LLM_PATH,
        "sizeBytes": size_bytes,
        "indexedModelIdentifier": LLM_PATH,
        "deviceIdentifier": None,
        "paramsString": "2.6M",
        "architecture": "llama",
        "quantization": {"name": "Q8_0", "bits": 8},
        "vision": False,
        "trainedForToolUse": True,
        "maxContextLength": max_context_length,
    }
    assert (embedding["type"], embedding["modelKey"], embedding["maxContextLength"]) == ("embedding", EMBED, 512)
    assert js.call("system.listDownloadedModels", "embedding") == [embedding]


def test_load_reports_progress_and_obeys_identifier_ttl_and_config(js: JsClient) -> None:
    opts = {"identifier": "mine", "ttl": 100, "config": {"contextLength": 512}}
    load = js.run("load", modelKey=LLM, opts=opts)

    progress = load.all("progress")
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0, 1)
    assert_contains(load.value, {"identifier": "mine", "modelKey": LLM, "path": LLM_PATH, "format": "gguf"})
    info = js.call_model({"key": "mine"}, "getModelInfo")
    assert_contains(info, {"identifier": "mine", "ttlMs": 100_000, "contextLength": 512, "modelKey": LLM})
    js.call("llm.unload", "mine")


def test_each_load_makes_an_instance_of_its_own(js: JsClient) -> None:
    first, second = (js.run("load", modelKey=LLM).value for _ in range(2))

    assert first["instanceReference"] != second["instanceReference"]
    assert first["identifier"] != second["identifier"]
    for model in (first, second):
        js.call("llm.unload", model["identifier"])


def test_model_loads_at_first_and_finds_the_instance_afterwards(scripted: JsClient) -> None:
    first = scripted.run("load", method="model", modelKey=CHAT)
    second = scripted.run("load", method="model", modelKey=CHAT)

    assert first.all("progress") == [0, 0.25, 0.5, 0.75, 1]
    assert second.all("progress") == []
    assert first.value == second.value
    assert first.value["identifier"] == CHAT
    info = scripted.call_model({"key": CHAT}, "getModelInfo")
    assert (info["ttlMs"], info["lastUsedTime"]) == (HOUR_MS, None)


def test_model_without_key_is_any_loaded_one(scripted: JsClient) -> None:
    with pytest.raises(JsError, match="No loaded model satisfies all requirements") as caught:
        scripted.call("llm.model")
    assert caught.value.details["title"]
    scripted.run("load", modelKey=CHAT, opts={"identifier": "the one"})

    assert scripted.call("llm.model")["identifier"] == "the one"


def test_lists_loaded_models_of_each_kind(scripted: JsClient) -> None:
    assert scripted.call("llm.listLoaded") == []
    models = [scripted.run("load", modelKey=CHAT, opts={"identifier": name}).value for name in ("a", "b")]
    embedding = scripted.run("load", namespace="embedding", modelKey="scripted-embed").value

    assert scripted.call("llm.listLoaded") == models
    assert scripted.call("embedding.listLoaded") == [embedding]


def test_query_finds_a_model_by_its_path(js: JsClient) -> None:
    js.call("llm.model", LLM)
    folder, _, _ = LLM_PATH.rpartition("/")

    for query in ({"path": LLM_PATH}, {"path": folder}, {"domain": "llm", "vision": False}, {}):
        assert js.call_model({"query": query}, "getModelInfo")["modelKey"] == LLM
    assert js.call_model({"query": {"vision": True}}, "getModelInfo") is None


def test_unload_ends_the_instance(js: JsClient) -> None:
    model = js.run("load", modelKey=LLM, opts={"identifier": "short-lived"}).value
    js.call_model({"key": "short-lived"}, "unload")

    assert model not in js.call("llm.listLoaded")
    with pytest.raises(JsError, match='Cannot find a model with identifier "short-lived"'):
        js.call("llm.unload", "short-lived")
    with pytest.raises(JsError, match="unloaded"):
        js.call("llm.createDomainSpecificModelFromInstanceReference", model["instanceReference"])


@pytest.mark.parametrize("method", ["load", "model"])
def test_aborted_load_is_given_up_by_the_server(node: NodePeer, method: str) -> None:
    engine = ScriptedEngine(load_gate=Gate())
    with Server(engine=engine) as server, node.client(server) as js:
        with pytest.raises(JsError, match="The test does not want it any more"):
            js.run("load", method=method, modelKey=CHAT, abortAt=0)

        assert engine.wait_for_cancel()
        assert js.call("llm.listLoaded") == []


def test_failing_load_is_an_error_with_the_reason(node: NodePeer) -> None:
    engine = ScriptedEngine(fail_load="The file is damaged.")
    with (
        Server(engine=engine) as server,
        node.client(server) as js,
        pytest.raises(JsError, match=r"The file is damaged\."),
    ):
        js.run("load", modelKey=CHAT)


# Configuration -------------------------------------------------------------------------------------------------------

LOAD_CONFIG: dict[str, Any] = {
    "contextLength": 512,
    "maxParallelPredictions": 2,
    "useUnifiedKvCache": False,
    "gpu": {"ratio": 0.5},
    "offloadKVCacheToGpu": False,
    "promptTemplate": {"type": "jinja", "jinjaPromptTemplate": {"template": "{{ messages[0].content }}"}},
    "ropeFrequencyBase": 20_000,
    "ropeFrequencyScale": 0.5,
    "evalBatchSize": 128,
    "physicalBatchSize": 64,
    "flashAttention": True,
    "keepModelInMemory": False,
    "seed": 7,
    "tryMmap": False,
    "llamaKCacheQuantizationType": "q8_0",
    "llamaVCacheQuantizationType": False,
}


def test_load_config_comes_back_as_it_was_set(js: JsClient) -> None:
    js.run("load", modelKey=LLM, opts={"identifier": "configured", "config": LOAD_CONFIG})
    model = {"key": "configured"}
    config = js.call_model(model, "getLoadConfig")

    gpu = {"splitStrategy": "evenly", "disabledGpus": [], "ratio": 0.5, "numCpuExpertLayersRatio": "off"}
    assert_contains(config, {**LOAD_CONFIG, "gpu": gpu, "autoFit": False})
    assert js.call_model(model, "getContextLength") == 512
    prediction = js.run("predict", model=model, input="Hello", opts={"maxTokens": 1}).value
    assert {"key": "llm.load.contextLength", "value": 512} in prediction["loadConfig"]["fields"]
    js.call("llm.unload", "configured")


def test_embedding_load_config_comes_back_as_it_was_set(js: JsClient) -> None:
    config = {"contextLength": 256, "keepModelInMemory": False, "tryMmap": False, "ropeFrequencyBase": False}
    js.run("load", namespace="embedding", modelKey=EMBED, opts={"identifier": "configured", "config": config})
    model = {"namespace": "embedding", "key": "configured"}

    assert_contains(js.call_model(model, "getLoadConfig"), config)
    assert js.call_model(model, "getContextLength") == 256
    js.call("embedding.unload", "configured")


def test_context_length_is_the_effective_one_when_none_was_asked_for(js: JsClient) -> None:
    for namespace, key in (("llm", LLM), ("embedding", EMBED)):
        model = {"namespace": namespace, "key": key}
        info = js.call_model(model, "getModelInfo")
        assert js.call_model(model, "getContextLength") == info["contextLength"] == info["maxContextLength"]


def test_base_prediction_config_is_that_of_the_server(node: NodePeer) -> None:
    defaults = {"llm.prediction.temperature": 0.25, "llm.prediction.stopStrings": ["END"]}
    with Server(engine="scripted", prediction_defaults=defaults) as server, node.client(server) as js:
        config = js.call_model({"key": CHAT}, "getBasePredictionConfig")
        js.call("llm.unload", CHAT)

    assert_contains(
        config,
        {
            "temperature": 0.25,
            "stopStrings": ["END"],
            "maxTokens": False,
            "topKSampling": 40,
            "topPSampling": 0.95,
            "minPSampling": 0.05,
            "repeatPenalty": 1.1,
            "contextOverflowPolicy": "truncateMiddle",
            "structured": {"type": "none"},
        },
    )


def test_estimates_the_memory_that_a_load_would_take(js: JsClient) -> None:
    estimate = js.call("llm.estimateResourcesUsage", LLM, {"contextLength": 1024})

    memory = estimate["memory"]
    assert memory["totalBytes"] == memory["modelBytes"] + memory["contextBytes"]
    assert memory["modelBytes"] == 2_836_576
    assert estimate["passesGuardrails"] is True


# Texts and tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [{"key": LLM}, {"namespace": "embedding", "key": EMBED}], ids=["llm", "embedding"])
def test_tokenizes_one_text_and_many(js: JsClient, model: dict[str, Any]) -> None:
    texts = ["What is the capital of Norway?", "", "naïve 🙂 \u0000"]
    many = js.call_model(model, "tokenize", texts)

    assert many == [js.call_model(model, "tokenize", text) for text in texts]
    assert many[0]
    assert all(isinstance(token, int) for tokens in many for token in tokens)
    assert [js.call_model(model, "countTokens", text) for text in texts] == [len(tokens) for tokens in many]


def test_applies_the_prompt_template_of_the_model(js: JsClient) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]

    assert js.call_model({"key": LLM}, "applyPromptTemplate", chat) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_embeds_one_text_and_many(js: JsClient) -> None:
    model = {"namespace": "embedding", "key": EMBED}
    texts = ["Tell me a story.", "What is two plus two?", "Please tell me a story."]
    vectors = [result["embedding"] for result in js.call_model(model, "embed", texts)]

    assert [len(vector) for vector in vectors] == [128] * 3
    for text, vector in zip(texts, vectors, strict=True):
        single = js.call_model(model, "embed", text)["embedding"]
        assert math.dist(single, vector) < 1e-3  # which texts share a batch changes the last digits
    story, sum_, same_story = vectors
    assert math.dist(story, same_story) < math.dist(story, sum_)


# Predictions ---------------------------------------------------------------------------------------------------------


def test_response_streams_fragments_between_callbacks(js: JsClient) -> None:
    run = js.run("predict", model={"key": LLM}, input="What is the capital of Norway?", opts=EXACT)

    result = run.value
    assert "Oslo" in result["content"]
    assert "".join(result["streamed"]) == result["content"] == result["nonReasoningContent"]
    fragments = run.all("fragment")
    assert [fragment["content"] for fragment in fragments] == result["streamed"]
    assert len(fragments) > 3
    assert {(fragment["reasoningType"], fragment["isStructural"]) for fragment in fragments} == {("none", False)}
    names = [name for name, _ in run.events]
    assert names == sorted(names, key=["progress", "firstToken", "fragment", "message"].index)
    assert names.count("firstToken") == 1
    assert run.all("message") == [{"role": "assistant", "text": result["content"]}]


def test_prompt_processing_progress_rises_from_zero_to_one(js: JsClient) -> None:
    run = js.run("predict", model={"key": LLM}, input="Tell me a story. " * 60, opts={**EXACT, "maxTokens": 2})

    reports = run.all("progress")
    values = [report["progress"] for report in reports]
    assert values == sorted(set(values))
    assert (values[0], values[-1]) == (0, 1)
    for details in (report["details"] for report in reports):
        parts = ("cachedTokenCount", "processedPromptTokenCount", "unprocessedPromptTokenCount")
        assert sum(details[part] for part in parts) == details["totalPromptTokenCount"]
    assert reports[-1]["details"]["unprocessedPromptTokenCount"] == 0


def test_statistics_and_model_of_a_response(js: JsClient) -> None:
    result = js.run("predict", model={"key": LLM}, input="What is the capital of Norway?", opts=EXACT).value

    stats = result["stats"]
    assert stats["stopReason"] == "eosFound"
    assert stats["promptTokensCount"] > 0
    assert stats["predictedTokensCount"] >= len(result["streamed"])
    assert stats["totalTokensCount"] == stats["promptTokensCount"] + stats["predictedTokensCount"]
    assert stats["tokensPerSecond"] > 0
    assert 0 < stats["timeToFirstTokenSec"] <= stats["totalTimeSec"]
    assert_contains(result["modelInfo"], {"modelKey": LLM, "type": "llm", "path": LLM_PATH})
    assert {"key": "llm.prediction.temperature", "value": 0} in result["predictionConfig"]["fields"]


def test_whole_chat_reaches_the_model(scripted: JsClient, engine: ScriptedEngine) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "And now?"},
    ]
    result = scripted.run("predict", model={"key": CHAT}, input=chat).value

    assert result["content"] == "You said: And now?"
    assert [(message["role"], message["content"]) for message in engine.chats[-1].messages] == [
        (message["role"], message["content"]) for message in chat
    ]


@pytest.mark.parametrize("how", ["cancelAfter", "abortAfter"])
@pytest.mark.parametrize("method", ["respond", "complete"])
def test_cancelled_prediction_ends_with_what_there_is(
    scripted: JsClient, engine: ScriptedEngine, how: str, method: str
) -> None:
    engine.reply = Reply(["One", " two", Gate(), " three"])  # never opened: only the cancel can end this
    result = scripted.run("predict", model={"key": CHAT}, method=method, input="Count.", **{how: 2}).value

    assert result["content"] == "One two"
    assert result["stats"]["stopReason"] == "userStopped"
    assert engine.wait_for_cancel()


def test_prediction_is_cancelled_while_the_prompt_is_read(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = Reply("Too late.", prompt_gate=Gate())
    result = scripted.run("predict", model={"key": CHAT}, input="Count.", abortAfter=0).value

    assert (result["content"], result["stats"]["stopReason"]) == ("", "userStopped")


def test_real_engine_stops_when_cancelled(js: JsClient) -> None:
    story = {"model": {"key": LLM}, "input": "Tell me a long story about a fox.", "opts": EXACT}
    result = js.run("predict", cancelAfter=1, **story).value

    assert result["stats"]["stopReason"] == "userStopped"
    assert js.run("predict", **story).value["content"].startswith(result["content"])


def test_completes_a_raw_prompt(scripted: JsClient, engine: ScriptedEngine) -> None:
    prompt = "<|im_start|> The capital of France is"
    engine.reply = " Paris."
    result = scripted.run("predict", model={"key": CHAT}, method="complete", input=prompt).value

    assert (result["content"], engine.requests[-1].prompt, engine.chats) == (" Paris.", prompt, [])


def test_real_engine_completes_a_raw_prompt(js: JsClient) -> None:
    prompt = "<|im_start|>user\nWhat is the capital of Norway?<|im_end|>\n<|im_start|>assistant\n"
    result = js.run("predict", model={"key": LLM}, method="complete", input=prompt, opts=EXACT).value

    assert "Oslo" in result["content"]


def test_stop_string_ends_the_text_and_is_not_part_of_it(js: JsClient) -> None:
    opts = {**EXACT, "stopStrings": ["nowhere to be found", "Oslo"]}
    result = js.run("predict", model={"key": LLM}, input="What is the capital of Norway?", opts=opts).value

    assert_contains(result["stats"], {"stopReason": "stopStringFound", "stopString": "Oslo"})
    assert "Oslo" not in result["content"]


def test_max_tokens_ends_the_text(js: JsClient) -> None:
    result = js.run("predict", model={"key": LLM}, input="Tell me a story.", opts={**EXACT, "maxTokens": 3}).value

    assert_contains(result["stats"], {"stopReason": "maxPredictedTokensReached", "predictedTokensCount": 3})


def test_log_probabilities_come_with_the_fragments(js: JsClient) -> None:
    run = js.run("predict", model={"key": LLM}, input="Hello", opts={**EXACT, "maxTokens": 3, "logProbs": 2})

    tokens = [token for fragment in run.all("fragment") for token in fragment["tokens"]]
    assert tokens
    assert all(token["logProb"] <= 0 and len(token["candidates"]) == 2 for token in tokens)


PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
QUESTION = "Extract the name and age as JSON: Nina is 31 years old."


def test_zod_schema_is_obeyed_and_parsed(js: JsClient) -> None:
    result = js.run("predict", model={"key": LLM}, input=QUESTION, opts=EXACT, zod="person").value

    assert result["parsed"] == {"name": "Nina", "age": 31}


def test_json_schema_is_obeyed(js: JsClient) -> None:
    # A story is as far from the schema as it gets; without the schema this is no JSON.
    opts = {**EXACT, "maxTokens": 200, "structured": {"type": "json", "jsonSchema": {"enum": ["red", "green"]}}}
    result = js.run("predict", model={"key": LLM}, input="Tell me a story.", opts=opts).value

    assert result["content"] in ('"red"', '"green"')


def test_grammar_is_obeyed(js: JsClient) -> None:
    structured = {"type": "gbnf", "gbnfGrammar": 'root ::= "yes" | "no"'}
    result = js.run("predict", model={"key": LLM}, input="Hello", opts={**EXACT, "structured": structured}).value

    assert result["content"] in ("yes", "no")


def test_reasoning_is_told_apart(scripted: JsClient, engine: ScriptedEngine) -> None:
    engine.reply = "<think>Let me see.</think>It is 4."
    run = scripted.run("predict", model={"key": CHAT}, input="2 + 2?")

    assert_contains(run.value, {"reasoningContent": "Let me see.", "nonReasoningContent": "It is 4."})
    assert run.value["content"] == "<think>Let me see.</think>It is 4."


@pytest.mark.parametrize("method", ["respond", "complete"])
def test_twenty_predictions_at_once_keep_apart(scripted: JsClient, engine: ScriptedEngine, method: str) -> None:
    inputs = [f"Number {number}" for number in range(20)]
    engine.reply = lambda request: Reply(request.prompt.replace("<|", " <|"), delay_seconds=0.001)
    results = scripted.run("predictMany", model={"key": CHAT}, method=method, inputs=inputs).value

    for text, result in zip(inputs, results, strict=True):
        assert text in result["content"]
        assert "".join(result["streamed"]) == result["content"]


def test_real_engine_predicts_twenty_at_once(js: JsClient) -> None:
    questions = [f"What is the capital of {country}?" for country in ("Norway", "France", "Japan", "Italy")] * 5
    results = js.run("predictMany", model={"key": LLM}, inputs=questions, opts=EXACT).value

    assert [result["stats"]["stopReason"] for result in results] == ["eosFound"] * 20
    assert all("Oslo" in result["content"] for result in results[::4])


def test_state_of_an_instance_follows_its_predictions(scripted: JsClient, engine: ScriptedEngine) -> None:
    model, gate = {"key": CHAT}, Gate()
    assert scripted.call_model(model, "getInstanceProcessingState") == {"status": "idle", "queued": 0}
    engine.reply = Reply(["One", gate, " two"])
    run = scripted.begin("predict", model=model, input="Count.")
    assert gate.reached()

    assert scripted.call_model(model, "getInstanceProcessingState") == {"status": "generating", "queued": 1}
    gate.open()
    assert run.end()["content"] == "One two"
