"""What a type checker must make of clients, sessions and handles. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import lmstudio as lms

# Names ----------------------------------------------------------------------------------------------------------------


def names() -> None:
    assert_type(lms.__version__, str)
    print(lms.errors.LMStudioError, lms.history.Chat, lms.json_api.Multiplexer, lms.sdk_api, lms.sync_api.Client)
    lms.Lmm()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


# Handles in the user's own annotations --------------------------------------------------------------------------------


class Assistant:
    """Somebody's own, with a model as attribute."""

    model: lms.LLM
    embedder: lms.EmbeddingModel | None = None

    def __init__(self, model: lms.LLM | None = None) -> None:
        self.model = model or lms.llm()
        self.chat = lms.Chat("Be brief.")

    def ask(self, question: str) -> str:
        self.chat.add_user_message(question)
        return str(self.model.respond(self.chat, on_message=self.chat.append))


def describe(model: lms.LLM | lms.EmbeddingModel) -> str:
    if isinstance(model, lms.LLM):
        return f"{model.identifier}, {model.vision}, {model.trained_for_tool_use}"
    return assert_type(model, lms.EmbeddingModel).identifier


def any_handle(model: lms.SyncModelHandle[Any, Any]) -> int:
    return model.context_length


def handles(client: lms.Client) -> None:
    model = client.llm.model("key", ttl=None, on_load_progress=lambda progress: None, on_mismatch="reload")
    assert_type(model, lms.LLM)
    any_handle(model)
    assert_type(model.info, lms.LlmInstanceInfo | None)
    assert_type(model.quantization, lms.Quantization | None)
    assert_type(model.get_base_prediction_config(), lms.LlmPredictionConfig)
    assert_type(model.get_instance_processing_state(), lms.ModelProcessingState)
    assert_type(model.get_instance_processing_state().queued, int)
    assert_type(model.preload_draft_model("draft"), None)
    assert_type(model.unload(), None)
    client.llm.model("key", on_mismatch="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.llm.model(model_key="key", contextLength=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    model.identifier = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # cannot be changed


def other_ways_to_a_handle(client: lms.Client) -> None:
    assert_type(client.llm.create_dynamic_handle("key"), lms.LLM)
    assert_type(client.llm.create_dynamic_handle({"identifier": "key"}), lms.LLM)
    assert_type(client.llm.create_dynamic_handle(path="publisher/repository", vision=True), lms.LLM)
    assert_type(client.embedding.create_dynamic_handle(lms.ModelQuery(identifier="key")), lms.EmbeddingModel)
    assert_type(client.llm.create_dynamic_handle_from_instance_reference("reference"), lms.LLM)
    for loaded in client.list_loaded_models("llm"):
        assert_type(loaded, lms.LLM | lms.EmbeddingModel)
    for downloaded in client.list_downloaded_models():
        assert_type(downloaded, lms.AnyDownloadedModel)
        assert_type(downloaded.model_key, str)
        assert_type(downloaded.info.size_bytes, int)


# Sessions -------------------------------------------------------------------------------------------------------------


def sessions(client: lms.Client) -> None:
    estimate = client.llm.estimate_resources_usage("key", {"contextLength": 4096})
    assert_type(estimate, lms.EstimatedResourcesUsage)
    assert_type(estimate.passes_guardrails, bool)
    client.llm.unload("key")
    client.llm.unload(client.llm.model())
    client.embedding.unload(client.llm.model())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with client.llm as llms, client.embedding as embedding_models:
        assert_type(llms.list_loaded(), list[lms.LLM])
        assert_type(embedding_models.list_loaded(), list[lms.EmbeddingModel])
    assert_type(client.llm.client, lms.Client)
    assert_type(client.llm.connected, bool)


async def async_sessions(client: lms.AsyncClient) -> None:
    async def on_progress(progress: float) -> None: ...

    model = await client.llm.model("key", on_load_progress=on_progress, signal=lms.AbortSignal())
    assert_type(model, lms.AsyncLLM)
    assert_type(model.vision, bool)
    assert_type(await model.count_tokens("Hi"), int)
    assert_type(await model.count_chat_tokens("Hi"), int)
    assert_type(client.llm.create_dynamic_handle("key"), lms.AsyncLLM)
    assert_type(await client.embedding.list_loaded(), list[lms.AsyncEmbeddingModel])
    async with client.llm as llms:
        assert_type(await llms.list_loaded(), list[lms.AsyncLLM])


def clients(token: str | None) -> None:
    assert_type(lms.get_default_client(), lms.Client)
    lms.configure_default_client("localhost:1234", api_token=token)
    assert_type(lms.Client.find_default_local_api_host(), str | None)
    assert_type(lms.Client.is_valid_api_host("localhost:1234"), bool)
    assert_type(lms.list_loaded_models(), list[lms.LLM | lms.EmbeddingModel])
    lms.Client(1234)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a port alone is no address
    lms.Client(host="localhost:1234")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # api_host
