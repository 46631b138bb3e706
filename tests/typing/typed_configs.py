"""What a type checker must make of configurations and loading. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import assert_type

import lmstudio as lms

# Configurations are dicts or structs ----------------------------------------------------------------------------------


def load_configs(client: lms.Client) -> None:
    client.llm.model("key", config={"contextLength": 4096, "gpu": {"ratio": "max"}, "seed": False})
    client.llm.model("key", config=lms.LlmLoadModelConfig(context_length=4096, gpu=lms.GpuSetting(ratio=0.5)))
    client.llm.load_new_instance("key", "name", ttl=None, config={"flashAttention": True})
    client.embedding.model("key", config={"contextLength": 512})
    client.embedding.model("key", config=lms.EmbeddingLoadModelConfig(context_length=512))
    lms.llm("key", ttl=60, config={"llamaKCacheQuantizationType": "q8_0", "ropeFrequencyBase": 1.5})
    lms.embedding_model("key", config={"gpu": {"mainGpu": 0, "splitStrategy": "favorMainGpu"}})


def load_configs_of_lmstudio_js(client: lms.Client) -> None:
    gpu = lms.GpuSetting(ratio="off", num_cpu_expert_layers_ratio=0.5, main_gpu=0, disabled_gpus=[1])
    client.llm.model("key", config=lms.LlmLoadModelConfig(gpu=gpu, max_parallel_predictions=2, seed=False))
    client.llm.model("key", config={"autoFit": True, "gpu": {"disabledGpus": [1]}})
    client.llm.model("key", config={"speculativeDraftSimple": True, "speculativeDraftModel": "tiny"})
    client.llm.model("key", config={"mlxKvCacheQuantization": False, "llamaVCacheQuantizationType": False})


def wrong_load_configs(client: lms.Client) -> None:
    client.llm.model("key", config={"contextLenght": 4096})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # misspelt
    client.llm.model("key", config={"contextLength": "long"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no number
    client.llm.model("key", config={"gpu": {"ratio": "half"}})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no ratio
    client.embedding.model("key", config=lms.LlmLoadModelConfig())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # of the other kind
    lms.LlmLoadModelConfig(True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # keywords only
    lms.LlmLoadModelConfig(context_lenght=4096)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # misspelt


def prediction_configs(model: lms.LLM) -> None:
    model.respond("Hi", config={"temperature": 0.5, "maxTokens": 100, "stopStrings": ["END"], "topPSampling": False})
    model.respond("Hi", config=lms.LlmPredictionConfig(temperature=0.5, max_tokens=False))
    model.complete("Hi", config={"reasoningBudget": 0, "enableThinking": False})
    model.respond("Hi", config={"structured": {"type": "json"}, "raw": {"fields": [{"key": "x", "value": 1}]}})
    model.respond("Hi", config={"toolChoice": {"type": "generic", "mode": "required"}, "toolNaming": "snakeCase"})
    model.respond("Hi", config={"rawTools": {"type": "toolArray", "tools": [], "force": True}, "xtcProbability": False})
    model.respond("Hi", config={"toolNaming": "kebab"})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # no such way
    model.respond("Hi", config={"reasoningParsing": {"enabled": True}})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # incomplete
    kept: lms.LlmPredictionConfigDict = {"temperature": 0.5}
    kept["maxTokens"] = 5
    model.respond("Hi", config=kept)


def configs_made_at_run_time(model: lms.LLM, settings: Mapping[str, Any], stop: list[str]) -> None:
    model.respond("Hi", config=lms.LlmPredictionConfig.from_dict(settings))
    model.respond("Hi", config={"temperature": float(settings["t"]), "stopStrings": stop})
    model.respond("Hi", config=settings)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # so that misspelt keys are found


def configs_are_read(model: lms.LLM, other: lms.EmbeddingModel) -> None:
    assert_type(model.get_load_config(), lms.LlmLoadModelConfig)
    assert_type(other.get_load_config(), lms.EmbeddingLoadModelConfig)
    assert_type(lms.LlmLoadModelConfig.from_dict({"contextLength": 1}), lms.LlmLoadModelConfig)


# Models ---------------------------------------------------------------------------------------------------------------


def sync_models() -> None:
    assert_type(lms.llm(), lms.LLM)
    assert_type(lms.embedding_model("key"), lms.EmbeddingModel)
    with lms.Client("localhost:1234", api_token=None) as client:
        assert_type(client, lms.Client)
        model = client.llm.model("key", on_load_progress=print)
        assert_type(model, lms.LLM)
        assert_type(client.llm.load_new_instance("key"), lms.LLM)
        assert_type(client.llm.list_loaded(), list[lms.LLM])
        assert_type(client.embedding.list_loaded(), list[lms.EmbeddingModel])
        assert_type(client.llm.list_downloaded(), list[lms.DownloadedLlm])
        assert_type(client.llm.list_downloaded()[0].model(config={"seed": 1}), lms.LLM)
        assert_type(client.llm.list_downloaded()[0].info.vision, bool)
        assert_type(client.embedding.list_downloaded()[0].model(), lms.EmbeddingModel)
        assert_type(client.list_loaded_models(), list[lms.LLM | lms.EmbeddingModel])
        assert_type(client.llm.get_model_info("key"), lms.LlmInstanceInfo)
        assert_type(client.llm.get_model_info({"identifier": "key"}), lms.LlmInstanceInfo)
        assert_type(client.embedding.get_model_info(lms.ModelQuery()), lms.EmbeddingModelInstanceInfo)
        assert_type(model.get_info(), lms.LlmInstanceInfo)
        assert_type(model.identifier, str)
        assert_type(model.get_context_length(), int)


async def async_models() -> None:
    async with lms.AsyncClient() as client:
        model = await client.llm.model()
        assert_type(model, lms.AsyncLLM)
        assert_type(await client.embedding.model("key"), lms.AsyncEmbeddingModel)
        assert_type(await client.llm.list_loaded(), list[lms.AsyncLLM])
        assert_type(await client.llm.list_downloaded(), list[lms.AsyncDownloadedLlm])
        assert_type(await (await client.llm.list_downloaded())[0].load_new_instance(), lms.AsyncLLM)
        assert_type(await client.list_downloaded_models(), list[lms.AnyAsyncDownloadedModel])
        assert_type(await model.get_info(), lms.LlmInstanceInfo)
        assert_type(await model.get_load_config(), lms.LlmLoadModelConfig)


# Texts ----------------------------------------------------------------------------------------------------------------


def sync_texts(model: lms.LLM, other: lms.EmbeddingModel, texts: tuple[str, ...]) -> None:
    assert_type(model.tokenize("text"), list[int])
    assert_type(model.tokenize(["a", "b"]), list[list[int]])
    assert_type(model.tokenize(texts), list[list[int]])
    assert_type(other.embed("text"), list[float])
    assert_type(other.embed(text for text in texts), list[list[float]])
    assert_type(model.count_tokens("text"), int)
    assert_type(model.apply_prompt_template("Hi", {"omit_bos_token": True}), str)


async def async_texts(model: lms.AsyncLLM, other: lms.AsyncEmbeddingModel) -> None:
    assert_type(await model.tokenize("text"), list[int])
    assert_type(await other.embed(["a", "b"]), list[list[float]])


# Errors ---------------------------------------------------------------------------------------------------------------


def errors(error: lms.LMStudioError) -> None:
    match error:
        case lms.LMStudioStructuredOutputError():
            assert_type(error.content, str)
            assert_type(error.stop_reason, str | None)
        case lms.LMStudioServerError():
            assert_type(error.server_error, lms.SerializedLMSExtendedError | None)
            assert_type(error.code, str | None)
        case _:
            assert_type(error, lms.LMStudioError)
    try:
        lms.llm()
    except (lms.LMStudioTimeoutError, TimeoutError) as timeout:
        print(timeout)


# As with the official SDK: members that it does not know need not be given --------------------------------------------


def official_constructors() -> None:
    request = lms.ToolCallRequest(type="function", name="add", arguments={"a": 1})
    lms.ToolCallRequest(type="method", name="add")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # there is one type
    assert_type(lms.ToolCallRequestData(tool_call_request=request), lms.ToolCallRequestData)
    fragment = lms.LlmPredictionFragment(content="", tokens_count=1, contains_drafted=False, reasoning_type="none")
    assert_type(fragment.is_structural, bool)
    info = lms.EmbeddingModelInfo(
        model_key="m", format="gguf", display_name="M", path="p/m", size_bytes=1, max_context_length=512
    )
    assert_type(info.publisher, str)
